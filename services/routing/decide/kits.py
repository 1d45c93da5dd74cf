"""Kits of an order: their components are planned together or not at all, and change together.

A kit is so many units of several lines. Its units become free to plan in complete kits only: no parcel leaves with half a kit because the
other half waits for stock. What has left counts: when a warehouse could not find one component of a kit that it was packing, the
replacement may follow by itself, because it completes the kit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from services.routing.decide.order import Line, Order, live_units
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted


def lines_of_kit(order: Order, kit_line_id: str) -> list[Line]:
    """The lines of the kit of this line id that the order still has."""
    return [line for line in order.lines if line.kit is not None and line.kit.line_id == kit_line_id and line.quantity]


def in_whole_kits(order: Order, wanted: Sequence[Wanted], live: Mapping[str, int]) -> list[Wanted]:
    """What may be planned of ``wanted``: of kits only as much as makes them whole, everything else as it is.

    Args:
        order: the order.
        wanted: units that are free to plan, per line.
        live: units per line that live fulfillments still have to ship.
    """
    units = {entry.line_id: entry.units for entry in wanted}
    for kit in _kits(order):
        units |= _whole(kit, units, live)
    kept = (entry if units[entry.line_id] == entry.units else entry._replace(units=units[entry.line_id]) for entry in wanted)
    return [entry for entry in kept if entry.units > 0]


def plan_whole_kits(order: Order, request: PlanRequest, plan: Plan, planner: Planner) -> Plan:
    """A plan of the request in which every kit is whole, given one that may not be: a location may be there for one component only.

    Kits are looked at in the order's order. Of the first that is not whole, only as much is asked for as makes it whole, and all is planned
    again: what it set free may complete the next.
    """
    if not plan.parcels or not plan.unplaced or not any(line.kit is not None for line in order.lines):
        return plan
    live = live_units(order)
    wanted: Sequence[Wanted] = request.wanted
    whole = plan
    while (less := _without_first_half(order, wanted, whole, live)) is not None:
        wanted = less
        whole = planner.plan(replace(request, wanted=wanted))
    # What no location may ship is what the first plan found, not the other components that now stay with it.
    return plan if whole is plan else replace(whole, unplaced=plan.unplaced)


def _kits(order: Order) -> Iterable[list[Line]]:
    kits: dict[str, list[Line]] = {}
    for line in order.lines:
        if line.kit is not None and line.quantity:
            kits.setdefault(line.kit.line_id, []).append(line)
    return kits.values()


def _whole(kit: Sequence[Line], units: Mapping[str, int], live: Mapping[str, int]) -> dict[str, int]:
    """Of the units of each line of a kit, those that belong to whole kits, counting what has left and what is being packed."""
    out = {line.line_id: line.shipped + live.get(line.line_id, 0) for line in kit}
    per_kit = {line.line_id: line.kit.units for line in kit if line.kit is not None}
    whole = min((out[line_id] + units.get(line_id, 0)) // count for line_id, count in per_kit.items())
    return {line_id: max(0, min(units[line_id], whole * count - out[line_id])) for line_id, count in per_kit.items() if line_id in units}


def _without_first_half(order: Order, wanted: Sequence[Wanted], plan: Plan, live: Mapping[str, int]) -> list[Wanted] | None:
    """What to ask for instead, when a plan would send a part of a kit; None when every kit of it is whole."""
    placed: dict[str, int] = dict.fromkeys((entry.line_id for entry in wanted), 0)
    for parcel in plan.parcels:
        for line_id, _, units in parcel.units:
            placed[line_id] += units
    for kit in _kits(order):
        whole = _whole(kit, placed, live)
        if any(units < placed[line_id] for line_id, units in whole.items()):
            kept = (entry._replace(units=whole.get(entry.line_id, entry.units)) for entry in wanted)
            return [entry for entry in kept if entry.units > 0]
    return None
