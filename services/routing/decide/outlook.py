"""What later orders will probably ask for, what is left for them, and from that, piece by piece, what scarce stock is worth (feature C8).

Demand is what customers were planned for lately, newer orders counting more (exponential smoothing: after a quarter of the history an order
counts half), carried on for some days: the same orders, with the same products together, from the same regions. What nobody had in
stock was not planned and is not seen. The stock is what allocation told with the newest order for the SKU, less what that order took. A
region is all destinations that lie in the same zones of every location: their parcels cost the same.

First every SKU is priced by itself (``scarcity.py``). Then those that are ordered with others are priced anew, in clusters, by whole plans
(``whole_plans.py``), those that are wanted most first. Who stops in between has a price for every SKU, the better one for some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

from services.routing.decide.calendar import PROMISED_BUSINESS_DAYS
from services.routing.decide.geography import Place
from services.routing.decide.network import Network
from services.routing.decide.scarcity import StockPriceError, stock_prices
from services.routing.decide.tariffs import SCORE_PER_CENT, Prices, Tariffs, Ways, billable_pounds
from services.routing.decide.together import clusters
from services.routing.decide.whole_plans import Lines, Orders, Parcels, in_order, plan_prices, while_it_lasts

HALF_LIVES = 4.0
"""How many times within the history the weight of an order halves."""
SKUS_AT_ONCE = 250
"""So few that one question is answered in less than a second and a stopping service need not wait."""
SHORTEST_SPAN_DAYS = 1.0
"""A history that is younger counts as this long: one order in the first minute is no rush."""

Shelves = Mapping[str, Mapping[str, int]]
"""Units per SKU and location."""


class Ordered(NamedTuple):
    """Orders that are alike. ``orders``: how many, newer ones counting more."""

    lines: Lines
    place: Place
    service_level: str
    residential: bool
    orders: float


class Told(NamedTuple):
    """What allocation told with the newest order for a SKU, and what was planned of it: the record's stock, ``lines`` and ``chosen``."""

    sku: str
    stock: Mapping[str, int]
    lines: Sequence[Sequence[Any]]
    chosen: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What prices follow from.

    Args:
        network: where the stock lies.
        tariffs: what parcels cost.
        split_cents: what another parcel of an order counts beside its cost.
        shelves: what later orders can have.
        unit_grams: weight per SKU.
        ordered: what was ordered, in any order.
        days: for how many days of the weighed history the stock has to last.
    """

    network: Network
    tariffs: Tariffs
    split_cents: int
    shelves: Shelves
    unit_grams: Mapping[str, int]
    ordered: Sequence[Ordered]
    days: float


@dataclass(frozen=True, slots=True)
class Priced:
    """The prices of some SKUs, in whole cents; what is not named costs nothing to take.

    Args:
        skus: whose prices these are, instead of any that came before.
        cents: per (SKU, location).
        together: whether they follow from whole plans; else from each SKU by itself.
        to_come: how many SKUs are still to be priced by whole plans.
        problem: why they are not, where they should have been.
    """

    skus: Sequence[str]
    cents: Mapping[tuple[str, str], int]
    together: bool = False
    to_come: int = 0
    problem: str | None = None


class StockPriceList:
    """Prices as they come, piece by piece, and how each SKU came to its own."""

    def __init__(self) -> None:
        self._by_sku: dict[str, dict[tuple[str, str], int]] = {}
        self.together: set[str] = set()
        self.alone_after_all: set[str] = set()
        self.to_come = 0
        self.problem: str | None = None

    def take(self, priced: Priced) -> None:
        """Puts the prices of some SKUs in the place of those of before."""
        for sku in priced.skus:
            self._by_sku[sku] = {}
        for (sku, code), cents in priced.cents.items():
            self._by_sku[sku][sku, code] = cents
        if priced.together:
            self.together.update(priced.skus)
        if priced.problem is not None:
            self.alone_after_all.update(priced.skus)
        self.to_come = priced.to_come
        self.problem = self.problem or priced.problem

    @property
    def skus(self) -> int:
        """How many were looked at."""
        return len(self._by_sku)

    @property
    def cents(self) -> dict[tuple[str, str], int]:
        """Per (SKU, location), of all."""
        return {key: cents for own in self._by_sku.values() for key, cents in own.items()}


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


def most_wanted(ordered: Iterable[Ordered], most: int) -> set[str]:
    """The SKUs of which most is wanted."""
    wanted: dict[str, float] = {}
    for entry in ordered:
        for sku, units in entry.lines:
            wanted[sku] = wanted.get(sku, 0.0) + units * entry.orders
    return set(sorted(wanted, key=lambda sku: (-wanted[sku], sku))[:most])


def in_pieces(outlook: Outlook) -> Iterator[Priced]:
    """The prices of all SKUs, in pieces of work of about a second; what comes later about a SKU replaces what came before.

    Raises:
        StockPriceError: the solver gave up.
    """
    active = {location.code for location in outlook.network.locations if location.active}
    shelves = {
        sku: {code: units for code, units in sorted(places.items()) if units > 0 and code in active}
        for sku, places in sorted(outlook.shelves.items())
    }
    ordered = list(in_order(outlook.ordered, _sequence))
    known: dict[tuple[str, str], float] = {}
    for question in _questions(outlook, ordered, shelves):
        found = stock_prices(question.shelves, question.demand, question.shipping_cost_cents)
        known |= found
        yield Priced(question.skus, _whole(found))
    ways = _Ways(outlook)
    stock = {sku: float(sum(places.values())) for sku, places in shelves.items()}
    expected = [
        Orders(lines, ways.name_of(entry), entry.orders * outlook.days)
        for entry in ordered
        if (lines := tuple(line for line in entry.lines if stock.get(line[0])))
    ]
    parcels = Parcels(ways.prices, outlook.unit_grams, outlook.split_cents)
    found_together = clusters(while_it_lasts(expected, stock), shelves)
    to_come = sum(len(skus) for skus, _ in found_together)
    yield Priced((), {}, to_come=to_come)
    for skus, own in found_together:
        to_come -= len(skus)
        units = {(sku, code): count for sku in {sku for entry in own for sku, _ in entry.lines} for code, count in shelves[sku].items()}
        try:
            found = plan_prices(skus, units, own, parcels, known)
        except StockPriceError as error:
            kept = {key: cents for key, cents in known.items() if key[0] in skus}
            yield Priced(skus, _whole(kept), to_come=to_come, problem=str(error))
        else:
            known |= found
            yield Priced(skus, _whole(found), together=True, to_come=to_come)


def _sequence(entry: Ordered) -> tuple[Any, ...]:
    """Sums of fractions depend on their sequence; this one is always the same."""
    return (entry.lines, entry.place.country, entry.place.postal_code, entry.service_level, entry.residential, entry.orders)


def _whole(found: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], int]:
    return {key: round(cents) for key, cents in found.items() if round(cents)}


class _Ways:
    """What parcels cost to whom, each way once."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        self._names: dict[tuple[Place, str, bool], str] = {}
        self.prices: dict[str, Mapping[str, Prices]] = {}

    def name_of(self, entry: Ordered) -> str:
        """The way to the customers of some orders."""
        key = (entry.place, entry.service_level, entry.residential)
        if key not in self._names:
            self._names[key] = self._look(*key)
        return self._names[key]

    def _look(self, place: Place, service_level: str, residential: bool) -> str:
        tariffs = self._outlook.tariffs
        reaches = [reach for reach in self._outlook.network.reach(place, tariffs) if reach.location.active]
        # That keep the promise when the parcel leaves on the day of the order.
        limit = PROMISED_BUSINESS_DAYS.get(service_level)
        allowed = {reach.location.code: tuple(way for way in reach.ways if limit is None or way.days <= limit) for reach in reaches}
        if not any(allowed.values()):
            # Nothing is in time: the planner takes the earliest day then; which one that is matters little here.
            allowed = {reach.location.code: reach.ways for reach in reaches}
        carried = {code: ways for code, ways in sorted(allowed.items()) if ways}
        name = " ".join(f"{code}:{_name(ways)}" for code, ways in carried.items()) + f" {residential}"
        if name not in self.prices:
            found = {code: tariffs.prices(ways, residential=residential) for code, ways in carried.items()}
            self.prices[name] = {code: prices for code, prices in found.items() if prices is not None}
        return name


def _name(ways: Ways) -> str:
    """What parcels cost by some ways, as a text: those with the same name cost the same."""
    return ",".join(f"{way.carrier}.{way.service}.{way.zone}" for way in ways)


@dataclass(frozen=True, slots=True)
class _Question:
    """The arguments of ``stock_prices`` for some SKUs of about the same weight."""

    skus: Sequence[str]
    shelves: Mapping[tuple[str, str], int]
    demand: Mapping[tuple[str, str], float]
    shipping_cost_cents: Mapping[tuple[str, str], int]


def _questions(outlook: Outlook, ordered: Iterable[Ordered], shelves: Shelves) -> Iterator[_Question]:
    """What there is to answer of SKUs by themselves."""
    demand: dict[str, dict[str, float]] = {}
    regions: dict[str, dict[str, Ways]] = {}
    known: dict[Place, str] = {}
    for entry in ordered:
        if entry.place not in known:
            reaches = outlook.network.reach(entry.place, outlook.tariffs)
            ways = {reach.location.code: reach.ways for reach in reaches if reach.ways}
            known[entry.place] = " ".join(f"{code}:{_name(own)}" for code, own in sorted(ways.items()))
            regions[known[entry.place]] = ways
        region = known[entry.place]
        for sku, units in entry.lines:
            if len(shelves.get(sku, ())) >= 2:
                own = demand.setdefault(sku, {})
                own[region] = own.get(region, 0.0) + units * entry.orders * outlook.days
    by_pounds: dict[int, list[str]] = {}
    for sku in sorted(demand):
        by_pounds.setdefault(billable_pounds(outlook.unit_grams[sku]), []).append(sku)
    for weight, skus in sorted(by_pounds.items()):
        costs = _costs(outlook.tariffs, regions, weight)
        for some in _cut(skus, SKUS_AT_ONCE):
            yield _Question(
                some,
                {(sku, code): units for sku in some for code, units in shelves[sku].items()},
                {(sku, region): units for sku in some for region, units in demand[sku].items()},
                costs,
            )


def _cut(skus: Sequence[str], most: int) -> Iterable[Sequence[str]]:
    return (skus[begin : begin + most] for begin in range(0, len(skus), most))


def _costs(tariffs: Tariffs, regions: Mapping[str, Mapping[str, Ways]], pounds: int) -> dict[tuple[str, str], int]:
    """What a parcel of so many pounds to a home costs, by whatever is cheapest."""
    costs = {}
    for region, ways_by_location in regions.items():
        for code, ways in ways_by_location.items():
            prices = tariffs.prices(ways, residential=True)
            if prices is not None:
                costs[code, region] = prices[pounds] // SCORE_PER_CENT
    return costs
