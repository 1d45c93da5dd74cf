"""Which locations may ship something of an order, and why the others may not.

Candidates are the registered locations that are active, were not excluded for this order, for hazardous goods are certified, and may ship
something by the rules in force (``guidance.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.routing.decide.geography import NOT_CARRIED
from services.routing.decide.guidance import Guidance, WantedItem, guide
from services.routing.decide.network import Network, Reach, named
from services.routing.decide.plans import EXCLUDED, INACTIVE, PlanRequest, Wanted
from services.routing.decide.rules import LocationFacts, RuleSet
from services.routing.decide.tariffs import Prices, Tariffs, Ways


@dataclass(slots=True)
class Item:
    """All wanted units of one SKU; lines of the same SKU are planned together, so that no unit is counted twice."""

    sku: str
    units: int
    unit_grams: int
    hazmat: bool
    unit_volume: int = 0

    @property
    def grams(self) -> int:
        """What all of it weighs."""
        return self.units * self.unit_grams

    @property
    def volume(self) -> int:
        """What all of it fills, in cubic centimetres; 0 where that is not known."""
        return self.units * self.unit_volume


@dataclass(slots=True)
class Candidate:
    """A location that may be asked. ``stock`` is per item, in the order of the items; ``whole`` has a bit for each that it has in full.

    ``extra`` is what a parcel from there counts more than it costs: distance when closeness is the goal, and what rules say.
    """

    reach: Reach
    stock: list[int]
    whole: int = 0
    extra: int = 0
    ways: Ways = ()
    """Those that arrive by the day that was last looked at."""
    prices: Prices | None = None
    """What a parcel costs by them."""


def items_of(wanted: Sequence[Wanted]) -> list[Item]:
    """What is wanted, by SKU."""
    items: dict[str, Item] = {}
    for entry in wanted:
        known = items.get(entry.sku)
        if known is None:
            items[entry.sku] = Item(entry.sku, entry.units, entry.unit_weight_grams, entry.hazmat, entry.unit_volume_cubic_centimetres)
        else:
            known.units += entry.units
            known.hazmat = known.hazmat or entry.hazmat
            known.unit_grams = max(known.unit_grams, entry.unit_weight_grams)
            known.unit_volume = max(known.unit_volume, entry.unit_volume_cubic_centimetres)
    return list(items.values())


def candidates_of(
    network: Network, tariffs: Tariffs, rules: RuleSet | None, request: PlanRequest, items: Sequence[Item]
) -> tuple[list[Candidate], list[list[Any]], Guidance | None]:
    """Locations that may ship something, nearest first, why the others may not, and what the rules say."""
    stocks = [request.assignable.get(item.sku, {}) for item in items]
    hazardous = any(item.hazmat for item in items)
    excluded: list[list[Any]] = [[code, NOT_CARRIED, 0, "its postal code is on no map"] for code in network.off_map]
    asked: list[tuple[Reach, list[int]]] = []
    for reach in network.reach(request.destination, tariffs):
        location = reach.location
        if not location.active:
            excluded.append([location.code, reach.zone, reach.miles, INACTIVE])
        elif not reach.ways:
            border = f"no rate from {location.place.country} to {request.destination.country}"
            if tariffs.ways(location.place, request.destination):
                border += f" by {named(location, tariffs)}, which it is registered with"
            excluded.append([location.code, reach.zone, reach.miles, border])
        elif location.code in request.excluded:
            excluded.append([location.code, reach.zone, reach.miles, EXCLUDED])
        elif location.code in request.slots and request.slots[location.code] is None:
            excluded.append([location.code, reach.zone, reach.miles, "capacity exhausted for a year"])
        else:
            stock = [have.get(location.code, 0) for have in stocks]
            if hazardous and not location.hazmat_certified:
                stock = [0 if item.hazmat else have for item, have in zip(items, stock, strict=True)]
            asked.append((reach, stock))
    guidance = _guidance(rules, request, items, asked)
    candidates = []
    for reach, stock in asked:
        if any(stock):
            candidates.append(Candidate(reach, stock))
            continue
        location = reach.location
        reason = None if guidance is None else _rule_against(guidance.kept_out.get(location.code, {}), location.code, stocks)
        if reason is None:
            reason = "not certified for hazmat" if hazardous and not location.hazmat_certified else "no stock"
        excluded.append([location.code, reach.zone, reach.miles, reason])
    return candidates, excluded, guidance


def _guidance(
    rules: RuleSet | None,
    request: PlanRequest,
    items: Sequence[Item],
    asked: Sequence[tuple[Reach, list[int]]],
) -> Guidance | None:
    """Applies the rules to the stock of the locations that may be asked."""
    if rules is None or not rules.rules or request.order is None:
        return None
    locations = [
        LocationFacts(
            reach,
            reach.usual_days,
            sum(min(have, item.units) for item, have in zip(items, stock, strict=True)),
            all(have >= item.units for item, have in zip(items, stock, strict=True)),
        )
        for reach, stock in asked
    ]
    stock_by_code = {reach.location.code: stock for reach, stock in asked}
    return guide(rules, request.order, request.destination, _asked(items), locations, stock_by_code)


def _rule_against(reasons: Mapping[int, str], code: str, stocks: Sequence[Mapping[str, int]]) -> str | None:
    """The rule for which a location ships nothing: one that kept out what lies there, or all that is wanted."""
    for position, reason in reasons.items():
        if stocks[position].get(code, 0) or len(reasons) == len(stocks):
            return reason
    return None


def _asked(items: Sequence[Item]) -> list[WantedItem]:
    return [WantedItem(item.sku, item.units, item.unit_grams, item.hazmat) for item in items]


def told_of_rules(rules: RuleSet | None, request: PlanRequest, items: Sequence[Item], guidance: Guidance | None) -> dict[str, Any] | None:
    """What the rules said, for the record: at least their version. None where none are known."""
    if guidance is not None:
        return guidance.record(_asked(items))
    return None if rules is None or request.order is None else {"version": rules.version, "fired": []}


def unplaced_units(items: Sequence[Item], candidates: Sequence[Candidate]) -> dict[str, int]:
    """Units that no location may ship, per SKU."""
    if not candidates:
        return {item.sku: item.units for item in items}
    there = map(sum, zip(*(candidate.stock for candidate in candidates), strict=True))
    return {item.sku: item.units - have for item, have in zip(items, there, strict=True) if have < item.units}


def without_unplaced(items: Sequence[Item], candidates: Sequence[Candidate], unplaced: Mapping[str, int]) -> list[Item]:
    """The items without the units that no location may ship; notes at each candidate which of them it has in full."""
    kept = []
    positions = []
    for position, item in enumerate(items):
        units = item.units - unplaced.get(item.sku, 0)
        if units:
            kept.append(item if units == item.units else Item(item.sku, units, item.unit_grams, item.hazmat, item.unit_volume))
            positions.append(position)
    if len(positions) < len(items):
        for candidate in candidates:
            candidate.stock = [candidate.stock[position] for position in positions]
    wholes = [0] * len(candidates)
    for place, (item, stock) in enumerate(zip(kept, zip(*(candidate.stock for candidate in candidates), strict=True), strict=False)):
        bit, units = 1 << place, item.units
        wholes = [whole | bit if have >= units else whole for whole, have in zip(wholes, stock, strict=True)]
    for candidate, whole in zip(candidates, wholes, strict=True):
        candidate.whole = whole
    return kept
