"""A decision in words, with the plan that came second (feature C10).

The second plan is not recorded: it follows from the record like the first, so it is worked out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.routing.decide.conditions import without_kind
from services.routing.decide.foresight import recorded_prices
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Replanned

MOST_SKIPPED_TOLD = 5
"""The record names all of them."""


def runner_up(planner: Planner, request: PlanRequest, plan: Plan) -> Plan | None:
    """The best plan for as many units that leaves out one of the chosen locations; None when every unit needs each of them.

    Of a plan that looked ahead, what would have been planned otherwise, where that differs.
    """
    if "stock_prices" in plan.record["asked"]:
        today = replace(planner, stock_prices=None).plan(replace(request, stock_prices=None, assignable=request.assignable))
        if today.parcels and _places(today) != _places(plan) and _units(today) == _units(plan):
            return today
    others = [
        planner.plan(replace(request, excluded=request.excluded | {parcel.location.code}, assignable=request.assignable))
        for parcel in plan.parcels
    ]
    equal = [other for other in others if other.parcels and _units(other) == _units(plan)]
    return min(equal, key=lambda other: _rank(planner, other), default=None)


def in_words(plan: Plan, second: Plan | None) -> str:
    """``Reno, not Newark: 1 parcel for 9.35 instead of 1 parcel for 12.10``. Prices are in the currency of the rate cards."""
    if plan.held is not None:
        name, why = plan.held
        said = f"Held by rule '{name}': {why}"
    elif not plan.parcels:
        said = "No location may ship anything of it"
    else:
        said = _choice(plan, second) + _carried(plan) + _bulky(plan) + _full(plan) + _before_release(plan)
    return said + _skipped(plan)


def _skipped(plan: Plan) -> str:
    """The rules that did not apply because they failed: a location that one of them forbids may have been chosen."""
    skipped = plan.record.get("rules", {}).get("skipped", [])
    told = [f"; rule '{name}' could not be evaluated: {without_kind(why)}" for name, why in skipped[:MOST_SKIPPED_TOLD]]
    more = len(skipped) - len(told)
    return "".join(told) + (f"; nor could {more} more" if more else "")


def _carried(plan: Plan) -> str:
    """Who carries each parcel, and for how much the others would have, where there are several carriers."""
    told = []
    for parcel in plan.parcels:
        if parcel.cents_by_carrier:
            others = sorted((cents, name) for name, cents in parcel.cents_by_carrier.items() if name != parcel.way.carrier)
            instead = ", ".join(f"{name} {cents // 100}.{cents % 100:02d}" for cents, name in others)
            told.append(f"from {parcel.location.name} by {parcel.way.carrier}" + (f" (by {instead})" if instead else ""))
    return f"; {' and '.join(told)}" if told else ""


def _bulky(plan: Plan) -> str:
    """The parcels that cost more than their weight."""
    parcels = [(parcel.location.name, *parcel.billed_by_volume) for parcel in plan.parcels if parcel.billed_by_volume is not None]
    return "".join(f"; {name}'s parcel weighs {weighed} lb and is billed by its volume as {billed} lb" for name, weighed, billed in parcels)


def _full(plan: Plan) -> str:
    """The locations that had no slot on the day: they weighed in the choice whether they were chosen or not."""
    slots = plan.record["asked"].get("slots", {})
    full = [f"{code} until {slot[0]}" for code, slot in sorted(slots.items()) if slot is not None and slot[2]]
    return f"; capacity exhausted: {', '.join(full)}" if full else ""


def _before_release(plan: Plan) -> str:
    """Why the order did not get what it would have been given in its turn, and what that saved."""
    if "replanned" not in plan.record["asked"]:
        return ""
    saved = Replanned(*plan.record["asked"]["replanned"])
    whom = "" if not saved.others else f" with {saved.others} other{'' if saved.others == 1 else 's'}"
    terms = []
    if saved.parcels_saved:
        count = abs(saved.parcels_saved)
        terms.append(f"{count} parcel{'' if count == 1 else 's'} {'less' if saved.parcels_saved > 0 else 'more'}")
    if saved.cents_saved:
        cents = abs(saved.cents_saved)
        terms.append(f"{cents // 100}.{cents % 100:02d} {'less' if saved.cents_saved > 0 else 'more'}")
    return f"; re-planned{whom} before release: {', '.join(terms) or 'more is left to later orders'}"


def _choice(plan: Plan, second: Plan | None) -> str:
    chosen = _names(plan)
    if second is None:
        return f"{chosen}, because no other location could ship as much: {_terms(plan)}"
    ours = {parcel.location.code for parcel in plan.parcels}
    instead = [parcel.location.name for parcel in second.parcels if parcel.location.code not in ours]
    against = f"not {_listed(instead)}" if instead else f"not {_names(second)} alone"
    return f"{chosen}, {against}: {_terms(plan, beside=second)} instead of {_terms(second, beside=plan)}{_kept(plan, second)}"


def _kept(plan: Plan, second: Plan) -> str:
    """What a dearer plan leaves on the shelves for later orders: what the other would have taken of it, and what that is worth there."""
    prices = recorded_prices(plan.record["asked"].get("stock_prices"))
    if prices is None or plan.cost_cents <= second.cost_cents:
        return ""
    taken: dict[tuple[str, str], int] = {}
    for way, sign in ((plan, -1), (second, 1)):
        for parcel in way.parcels:
            for _, sku, count in parcel.units:
                key = (parcel.location.code, sku)
                taken[key] = taken.get(key, 0) + sign * count
    names = {parcel.location.code: parcel.location.name for parcel in second.parcels}
    kept = []
    for (code, sku), count in taken.items():
        cents = prices.cents.get(sku, {}).get(code, 0)
        if count > 0 and cents:
            have = plan.record["asked"]["stock"][sku][code]
            kept.append(f"{count} of {names[code]}'s {have} {sku}, worth {cents // 100}.{cents % 100:02d} each to later orders")
    return f"; it kept {' and '.join(kept)}" if kept else ""


def _rank(planner: Planner, plan: Plan) -> tuple[object, ...]:
    """What decides between two plans for the same units: the promise, then the objective."""
    last = max(parcel.arrives_on for parcel in plan.parcels)
    miles = sum(parcel.miles for parcel in plan.parcels) if planner.objective == "closest" else 0
    splits = planner.split_cents * (len(plan.parcels) - 1)
    worth = plan.record.get("stock_worth_cents", 0)
    return (plan.late, last if plan.late else None, miles, plan.cost_cents + splits + worth, len(plan.parcels))


def _places(plan: Plan) -> list[tuple[str, tuple[tuple[str, str, int], ...]]]:
    return [(parcel.location.code, parcel.units) for parcel in plan.parcels]


def _units(plan: Plan) -> int:
    return sum(count for parcel in plan.parcels for _, _, count in parcel.units)


def _terms(plan: Plan, beside: Plan | None = None) -> str:
    """Parcels, cost, what sets the plan apart in time, and in distance where the costs are the same."""
    parcels = sum(parcel.parcels for parcel in plan.parcels)
    terms = f"{parcels} parcel{'' if parcels == 1 else 's'} for {plan.cost_cents // 100}.{plan.cost_cents % 100:02d}"
    if plan.late:
        terms += ", late"
    if beside is not None and beside.late != plan.late and not plan.late:
        terms += ", in time"
    if beside is not None and beside.late == plan.late and plan.cost_cents >= beside.cost_cents:
        terms += f" over {sum(parcel.miles for parcel in plan.parcels):,} miles"
    return terms


def _names(plan: Plan) -> str:
    return _listed([parcel.location.name for parcel in plan.parcels])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
