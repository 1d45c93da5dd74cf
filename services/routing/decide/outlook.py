"""What later orders will probably ask for, and what is left for them: the questions that the prices of stock answer (feature C8).

Demand of a SKU in a region is what customers there were planned for lately, newer orders counting more (exponential smoothing: after a
quarter of the history an order counts half), carried on for some days. What nobody had in stock was not planned and is not seen. The
stock is what allocation told with the newest order for the SKU, less what that order took. A region is all destinations that lie in the
same zones of every location: their parcels cost the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

from services.routing.decide.geography import Place
from services.routing.decide.network import Network
from services.routing.decide.tariffs import SCORE_PER_CENT, SERVICES, Tariffs, billable_pounds

HALF_LIVES = 4.0
"""How many times within the history the weight of an order halves."""
SKUS_AT_ONCE = 250
"""So few that one question is answered in less than a second and a stopping service need not wait."""
SHORTEST_SPAN_DAYS = 1.0
"""A history that is younger counts as this long: one order in the first minute is no rush."""


class Wanted(NamedTuple):
    """Units of a SKU that were ordered from some place, those of newer orders counting more."""

    sku: str
    place: Place
    units: float
    unit_weight_grams: int


class Told(NamedTuple):
    """What allocation told with the newest order for a SKU, and what was planned of it: the record's stock, ``lines`` and ``chosen``."""

    sku: str
    stock: Mapping[str, int]
    lines: Sequence[Sequence[Any]]
    chosen: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of ``stock_prices`` for some SKUs of about the same weight."""

    shelves: Mapping[tuple[str, str], int]
    demand: Mapping[tuple[str, str], float]
    shipping_cost_cents: Mapping[tuple[str, str], int]


def weighed_days(span_days: float, history_days: float) -> float:
    """How many days a history counts as, when older days weigh less.

    Args:
        span_days: from its first order until now.
        history_days: how far back it is looked at, at most.
    """
    half_life = history_days / HALF_LIVES
    span = min(max(span_days, SHORTEST_SPAN_DAYS), history_days)
    return float(half_life / log(2) * (1 - 0.5 ** (span / half_life)))


def left_on_shelves(told: Told) -> dict[str, int]:
    """Units per location that later orders can have."""
    skus = {line[0]: line[1] for line in told.lines}
    left = dict(told.stock)
    for location, _, _, units in told.chosen:
        taken = sum(count for line_id, count in units.items() if skus[line_id] == told.sku)
        left[location] = max(0, left.get(location, 0) - taken)
    return left


def questions(network: Network, tariffs: Tariffs, told: Iterable[Told], wanted: Iterable[Wanted], days: float) -> Iterator[Question]:
    """What there is to answer, in pieces.

    Args:
        network: where the stock lies.
        tariffs: what parcels cost.
        told: the newest word on the stock of each SKU.
        wanted: what was ordered.
        days: for how many days of the weighed history the stock has to last.
    """
    active = {location.code for location in network.locations if location.active}
    shelves = {entry.sku: {code: units for code, units in left_on_shelves(entry).items() if code in active} for entry in told}
    demand: dict[str, dict[str, float]] = {}
    pounds: dict[str, int] = {}
    regions: dict[str, dict[str, int]] = {}
    known: dict[Place, str] = {}
    for entry in wanted:
        if len(shelves.get(entry.sku, ())) < 2:
            continue
        if entry.place not in known:
            zones = {reach.location.code: reach.zone for reach in network.reach(entry.place, tariffs.chart) if reach.carried}
            known[entry.place] = " ".join(f"{code}:{zone}" for code, zone in sorted(zones.items()))
            regions[known[entry.place]] = zones
        region = known[entry.place]
        own = demand.setdefault(entry.sku, {})
        own[region] = own.get(region, 0.0) + entry.units * days
        pounds[entry.sku] = max(pounds.get(entry.sku, 1), billable_pounds(entry.unit_weight_grams))
    by_pounds: dict[int, list[str]] = {}
    for sku in sorted(demand):
        by_pounds.setdefault(pounds[sku], []).append(sku)
    for weight, skus in sorted(by_pounds.items()):
        costs = _costs(tariffs, regions, weight)
        for begin in range(0, len(skus), SKUS_AT_ONCE):
            some = skus[begin : begin + SKUS_AT_ONCE]
            yield Question(
                {(sku, code): units for sku in some for code, units in shelves[sku].items()},
                {(sku, region): units for sku in some for region, units in demand[sku].items()},
                costs,
            )


def _costs(tariffs: Tariffs, regions: Mapping[str, Mapping[str, int]], pounds: int) -> dict[tuple[str, str], int]:
    """What a parcel of so many pounds to a home costs, by whatever service is cheapest."""
    costs = {}
    for region, zones in regions.items():
        for code, zone in zones.items():
            prices = tariffs.prices(zone, SERVICES, residential=True)
            if prices is not None:
                costs[code, region] = prices[pounds] // SCORE_PER_CENT
    return costs
