"""What the rules in force say about one order (features C2 to C5): where its items may ship from, what comes first, whether it waits.

How rules work together is fixed in docs/decisions/0018: forbid beats require, both beat pin and drain, those beat the promise, and within
what keeps the promise prefer comes before cost. Of pins, drains, splits, objectives and holds the first in the set's order counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from services.routing.decide.conditions import EvaluationError, Facts, facts_about
from services.routing.decide.geography import Place
from services.routing.decide.rules import LocationFacts, Rule, RuleSet

Objective = Literal["cheapest", "closest", "fastest", "forward_looking"]
"""``forward_looking``: the cheapest, counting what the units it takes are worth to later orders (``foresight.py``)."""

MOST_RANKS = 30
"""Places in the order of preference that are told apart; all beyond are equal."""


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What rules may ask of an order beside its destination. Units, weight and value are of all that was bought and not cancelled.

    ``holds_lifted``: an operator has let it go on, no rule holds it again.
    """

    channel: str
    segment: str
    service_level: str
    country: str
    units: int
    lines: int
    skus: tuple[str, ...]
    weight_grams: int
    value_cents: int
    currency: str
    hazmat: bool
    holds_lifted: bool = False


class WantedItem(NamedTuple):
    """All units of a SKU that are to be planned now."""

    sku: str
    units: int
    unit_grams: int
    hazmat: bool


@dataclass(slots=True)
class Guidance:
    """What follows from the rules.

    Attributes:
        version: of the rule set.
        fired: rules that applied, in their order.
        skipped: rules that could not be evaluated, and why.
        kept_out: why a location does not ship an item, by location and position of the item.
        pinned: the rule that chose the locations of a SKU.
        ranks: places in the order of preference, by location; smaller is better.
        handicaps: cents that a parcel from a location counts more than it costs.
        together: everything that ships now ships as one parcel, or in as few as possible.
        objective: instead of the usual one.
        held: the rule that holds the order, and its reason.
        instructions: for whoever packs.
    """

    version: int
    fired: list[str] = field(default_factory=list)
    skipped: list[list[str]] = field(default_factory=list)
    kept_out: dict[str, dict[int, str]] = field(default_factory=dict)
    pinned: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    handicaps: dict[str, int] = field(default_factory=dict)
    together: bool = False
    objective: Objective | None = None
    held: tuple[str, str] | None = None
    instructions: list[str] = field(default_factory=list)

    def record(self, items: Sequence[WantedItem]) -> dict[str, Any]:
        """For the decision record; what is empty is left out."""
        told: dict[str, Any] = {"version": self.version, "fired": self.fired}
        more = {
            "skipped": self.skipped,
            "held_by": None if self.held is None else self.held[0],
            "kept_out": [
                [code, items[position].sku, reason] for code, reasons in self.kept_out.items() for position, reason in reasons.items()
            ],
            "pinned": self.pinned,
            "ranks": self.ranks,
            "handicaps": self.handicaps,
            "instructions": self.instructions,
        }
        return told | {name: value for name, value in more.items() if value}


class _Applied(NamedTuple):
    """A rule whose conditions hold: the positions of the items, and the locations that it is about with their rank."""

    rule: Rule
    positions: Sequence[int]
    ranks: Mapping[str, int]


def guide(
    rule_set: RuleSet,
    order: OrderFacts,
    destination: Place,
    items: Sequence[WantedItem],
    locations: Sequence[LocationFacts],
    stock: dict[str, list[int]],
) -> Guidance:
    """Applies the rules. ``stock`` is changed: what a location may not ship by the rules is taken out.

    Args:
        rule_set: the rules in force.
        order: the order.
        destination: where it goes.
        items: what is to be planned.
        locations: the locations that may be asked, nearest first.
        stock: per location the units of each item that it may ship.
    """
    guidance = Guidance(rule_set.version)
    applied = list(_applying(rule_set, order, destination, items, locations, guidance))
    by_action: dict[str, list[_Applied]] = {}
    for entry in applied:
        by_action.setdefault(entry.rule.written.action, []).append(entry)
    for entry in by_action.get("hold", ()):
        guidance.held = guidance.held or (entry.rule.name, entry.rule.written.why)
    for entry in applied:
        if entry.rule.written.action in ("forbid", "require"):
            _keep_out(entry, stock, guidance)
    needs = [min(item.units, sum(have[position] for have in stock.values())) for position, item in enumerate(items)]
    chosen: set[int] = set()
    for entry in by_action.get("pin", ()):
        _pin(entry, items, needs, stock, chosen, guidance)
    for entry in by_action.get("drain", ()):
        _drain(entry, items, needs, stock, chosen, guidance)
    for entry in by_action.get("split", ())[:1]:
        _keep_together(entry, needs, stock, guidance)
    _prefer(by_action.get("prefer", ()), stock, guidance)
    for entry in by_action.get("weight", ()):
        for code in entry.ranks:
            guidance.handicaps[code] = guidance.handicaps.get(code, 0) + (entry.rule.written.cents or 0)
    guidance.objective = next((entry.rule.written.objective for entry in by_action.get("objective", ())), None)
    said = [said for entry in by_action.get("pack", ()) for said in entry.rule.written.instructions]
    guidance.instructions = list(dict.fromkeys(said))
    return guidance


def _applying(
    rule_set: RuleSet,
    order: OrderFacts,
    destination: Place,
    items: Sequence[WantedItem],
    locations: Sequence[LocationFacts],
    guidance: Guidance,
) -> Iterator[_Applied]:
    """The rules whose conditions hold. A rule that cannot be evaluated is skipped, and the record says so: no order waits for it."""
    values = _values(order, destination)
    order_facts: Facts = None
    item_facts: list[Facts] = []
    for rule in rule_set.rules_for(order.channel, order.segment):
        if rule.broken is not None:
            guidance.skipped.append([rule.name, rule.broken])
            continue
        if order.holds_lifted and rule.written.action == "hold":
            continue
        try:
            if rule.when is not None:
                order_facts = order_facts or facts_about("order", values)
                if not rule.when.holds(order_facts):
                    continue
            positions: Sequence[int] = range(len(items))
            if rule.items is not None:
                item_facts = item_facts or [facts_about("item", values | _item_values(item)) for item in items]
                positions = [position for position in positions if rule.items.holds(item_facts[position])]
                if not positions:
                    continue
            ranks = {}
            if rule.locations is not None or rule.written.ranking:
                for facts in locations:
                    rank = rule_set.rank(rule, facts)
                    if rank is not None:
                        ranks[facts.reach.location.code] = rank
        except EvaluationError as error:
            guidance.skipped.append([rule.name, str(error)])
            continue
        guidance.fired.append(rule.name)
        yield _Applied(rule, positions, ranks)


def _values(order: OrderFacts, destination: Place) -> dict[str, Any]:
    return {
        "order.channel": order.channel,
        "order.segment": order.segment,
        "order.service_level": order.service_level,
        "order.country": order.country,
        "order.state": destination.state,
        "order.postal_code": destination.postal_code,
        "order.area": destination.area,
        "order.units": order.units,
        "order.lines": order.lines,
        "order.skus": list(order.skus),
        "order.weight_grams": order.weight_grams,
        "order.value_cents": order.value_cents,
        "order.currency": order.currency,
        "order.hazmat": order.hazmat,
    }


def _item_values(item: WantedItem) -> dict[str, Any]:
    return {"item.sku": item.sku, "item.units": item.units, "item.unit_weight_grams": item.unit_grams, "item.hazmat": item.hazmat}


def _take_out(code: str, position: int, reason: str, stock: dict[str, list[int]], guidance: Guidance) -> None:
    stock[code][position] = 0
    guidance.kept_out.setdefault(code, {}).setdefault(position, reason)


def _keep_out(entry: _Applied, stock: dict[str, list[int]], guidance: Guidance) -> None:
    forbids = entry.rule.written.action == "forbid"
    for code in stock:
        if (code in entry.ranks) is forbids:
            for position in entry.positions:
                _take_out(code, position, f"excluded by rule '{entry.rule.name}'", stock, guidance)


def _pin(
    entry: _Applied, items: Sequence[WantedItem], needs: Sequence[int], stock: dict[str, list[int]], chosen: set[int], guidance: Guidance
) -> None:
    """Of the locations that have the item in full, those of the best rank ship it, and no others. Where none has, the pin says nothing."""
    for position in entry.positions:
        if position in chosen or not needs[position]:
            continue
        able = {code: rank for code, rank in entry.ranks.items() if stock[code][position] >= needs[position]}
        if not able:
            continue
        best = min(able.values())
        chosen.add(position)
        guidance.pinned[items[position].sku] = entry.rule.name
        for code, have in stock.items():
            if able.get(code) != best and have[position]:
                _take_out(code, position, f"pinned elsewhere by rule '{entry.rule.name}'", stock, guidance)


def _drain(
    entry: _Applied, items: Sequence[WantedItem], needs: Sequence[int], stock: dict[str, list[int]], chosen: set[int], guidance: Guidance
) -> None:
    """Takes what there is in the order of the ranking, then from the nearest, even where another location has the item in full."""
    order = sorted(stock, key=lambda code: entry.ranks.get(code, len(entry.rule.written.ranking)))
    for position in entry.positions:
        if position in chosen or not needs[position]:
            continue
        chosen.add(position)
        guidance.pinned[items[position].sku] = entry.rule.name
        left = needs[position]
        for code in order:
            have = stock[code][position]
            taken = min(have, left)
            left -= taken
            if have and not taken:
                _take_out(code, position, f"others are emptied first by rule '{entry.rule.name}'", stock, guidance)
            stock[code][position] = taken


def _keep_together(entry: _Applied, needs: Sequence[int], stock: dict[str, list[int]], guidance: Guidance) -> None:
    """Only locations that have all of what can ship now; with ``avoid`` only if there is one."""
    whole = {code for code, have in stock.items() if all(units >= need for units, need in zip(have, needs, strict=True))}
    if not whole and entry.rule.written.split == "avoid":
        return
    guidance.together = True
    for code, have in stock.items():
        if code not in whole:
            for position, units in enumerate(have):
                if units:
                    _take_out(code, position, f"has only a part, excluded by rule '{entry.rule.name}'", stock, guidance)


def _prefer(entries: Sequence[_Applied], stock: Mapping[str, list[int]], guidance: Guidance) -> None:
    """Places in the order of preference among the locations that are left; an earlier rule counts more than a later one."""
    left = [code for code, have in stock.items() if any(have)]
    places = {code: tuple(entry.ranks.get(code, max(entry.ranks.values(), default=0) + 1) for entry in entries) for code in left}
    dense = {place: min(rank, MOST_RANKS) for rank, place in enumerate(sorted(set(places.values())))}
    if len(dense) > 1:
        guidance.ranks = {code: dense[place] for code, place in places.items()}
