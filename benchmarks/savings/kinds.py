"""Orders that are alike, and what every parcel that could be made of them costs: what the programmes of this package are made of.

Takes nothing from the planner but its prices, and from the prices of stock only how an order is cut into its cheapest parcels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.failure import BenchmarkError
from benchmarks.savings.scenario import NOON, Order, Scenario
from benchmarks.savings.simulation import Outcome, Shipped
from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.tariffs import SCORE_PER_CENT, billable_pounds_of_many
from services.routing.decide.whole_plans import cheapest_cuts, parcels_of

Cents = NDArray[np.float64]
Column = tuple[int, tuple[int, ...]]
"""A plan: a kind of order, and the position of the location of each of its products."""


class Kinds:
    """The kinds of orders, with the price of every parcel that could be made of them.

    Args:
        scenario: network, cards, weights and opening stock.
        wanted: orders, and which of their products are to be shipped.
    """

    def __init__(self, scenario: Scenario, wanted: Sequence[tuple[Order, Iterable[str]]]) -> None:
        self.codes = [location.code for location in scenario.planner.network.locations]
        self.skus = sorted(scenario.stock)
        self._place_of = {code: position for position, code in enumerate(self.codes)}
        self._item_of = {sku: position for position, sku in enumerate(self.skus)}
        self.stock = self.stock_of(scenario.stock)
        kind_of: dict[tuple[object, ...], int] = {}
        self._kinds: list[int | None] = []
        self.items: list[tuple[int, ...]] = []
        self._skus: list[tuple[str, ...]] = []
        self._parcels: list[Cents] = []
        for order, there in wanted:
            skus = tuple(sorted(there))
            key = (skus, order.destination.postal_code, order.service_level, order.residential)
            if skus and key not in kind_of:
                kind_of[key] = len(self.items)
                self.items.append(tuple(self._item_of[sku] for sku in skus))
                self._skus.append(skus)
                self._parcels.append(_parcel_cents(scenario, order, skus, self.stock[list(self.items[-1])]))
            self._kinds.append(kind_of.get(key))
        self.counts = np.bincount([kind for kind in self._kinds if kind is not None], minlength=len(self.items))
        self._groups = [
            (kinds, np.array([self.items[kind] for kind in kinds]), np.stack([self._parcels[kind] for kind in kinds]))
            for size in sorted({len(items) for items in self.items})
            for kinds in [[kind for kind, items in enumerate(self.items) if len(items) == size]]
        ]

    def stock_of(self, shelves: Mapping[str, Mapping[str, int]]) -> NDArray[np.int64]:
        """Units per product and location, as an array."""
        stock = np.zeros((len(self.skus), len(self.codes)), dtype=np.int64)
        for sku, places in shelves.items():
            for code, units in places.items():
                stock[self._item_of[sku], self._place_of[code]] = units
        return stock

    def columns_of(self, outcome: Outcome) -> Counter[Column]:
        """The plans of a policy, and how often it used each.

        Raises:
            BenchmarkError: the policy paid something else for one than it costs here, or shipped other units than the first policy.
        """
        columns: Counter[Column] = Counter()
        for kind, shipped, cents in zip(self._kinds, outcome.shipped, outcome.cents, strict=True):
            if kind is None:
                continue
            column = self._column(kind, shipped)
            if abs(self.cost_of(column) - cents) > 1e-6:
                raise BenchmarkError(f"{shipped} costs {cents} by its plan and {self.cost_of(column)} by the cards")
            columns[column] += 1
        return columns

    def _column(self, kind: int, shipped: Shipped) -> Column:
        skus = self._skus[kind]
        if len(shipped) != len(skus):
            raise BenchmarkError(f"{sorted(shipped)} and {sorted(skus)} were shipped of the same order")
        return kind, tuple(self._place_of[shipped[sku]] for sku in skus)

    def cost_of(self, column: Column) -> float:
        """Cents of one order that ships so."""
        kind, places = column
        loads: dict[int, int] = {}
        for position, place in enumerate(places):
            loads[place] = loads.get(place, 0) | 1 << position
        return float(sum(self._parcels[kind][place, load] for place, load in loads.items()))

    def total(self, chosen: Mapping[Column, int]) -> float:
        """Cents of all of these."""
        return sum(self.cost_of(column) * count for column, count in chosen.items())

    def is_shipped_by(self, chosen: Mapping[Column, int]) -> bool:
        """Whether these plans ship every order once, from what is there. HiGHS may come back with nothing when its time is over."""
        shipped = np.zeros(len(self.items), dtype=np.int64)
        taken = np.zeros_like(self.stock)
        for (kind, places), count in chosen.items():
            shipped[kind] += count
            for item, place in zip(self.items[kind], places, strict=True):
                taken[item, place] += count
        return bool((shipped == self.counts).all() and (taken <= self.stock).all())

    def cheapest_plans(self, prices: Cents, per_order: Cents) -> tuple[list[Column], float]:
        """At a price per unit of each shelf: the plans that cost less than an order is worth, and the bound that follows for the period."""
        columns: list[Column] = []
        bound = -float((prices * self.stock).sum())
        for kinds, items, parcels in self._groups:
            count = items.shape[1]
            scores = parcels.copy()
            for position in range(count):
                having = np.arange(1 << count) >> position & 1 == 1
                scores[:, :, having] += prices[items[:, position]][:, :, None]
            best = scores.min(axis=1)
            totals, cuts = cheapest_cuts(best, count)
            bound += float((totals * self.counts[kinds]).sum())
            for row in np.nonzero(totals < per_order[kinds] - 1e-6)[0]:
                places = [0] * count
                for parcel in parcels_of(cuts[row], count):
                    place = int(scores[row, :, parcel].argmin())
                    for position in range(count):
                        if parcel >> position & 1:
                            places[position] = place
                columns.append((kinds[row], tuple(places)))
        return columns, bound


def _parcel_cents(scenario: Scenario, order: Order, skus: Sequence[str], stock: NDArray[np.int64]) -> Cents:
    """Of every set of these products (a bit each) from every location, in time; infinite where that is not possible."""
    planner = scenario.planner
    size = 1 << len(skus)
    grams = np.zeros(size, dtype=np.int64)
    picks = np.zeros(size, dtype=np.int64)
    for position, sku in enumerate(skus):
        having = np.arange(size) >> position & 1 == 1
        grams[having] += scenario.unit_grams[sku]
        picks[having] += planner.pick_cents
    pounds = billable_pounds_of_many(grams)
    cents = np.full((len(planner.network.locations), size), np.inf)
    limit = promised_day(order.service_level, None, NOON, ZoneInfo(order.destination.time_zone))
    for reach in planner.network.reach(order.destination, planner.tariffs):
        leaves = planner.network.dispatch(reach.index, NOON).day
        ways = tuple(way for way in reach.ways if limit is None or add_business_days(leaves, way.days) <= limit)
        prices = planner.tariffs.prices(ways, residential=order.residential)
        if prices is not None:
            cents[reach.index] = prices.scores(pounds) // SCORE_PER_CENT + picks
    for position in range(len(skus)):
        having = np.arange(size) >> position & 1 == 1
        cents[np.ix_(stock[position] == 0, having)] = np.inf
    cents[:, 0] = 0
    return cents
