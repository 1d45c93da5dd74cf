"""What a period costs at least for somebody who knows all its orders beforehand: a mixed-integer programme over plans, for HiGHS.

Orders that are alike (same products, same customer's place, same promise) are one kind. A column is a plan of one kind, its value how
many orders ship so; every order ships once and no shelf gives more than it has. Columns are found as they are needed: the linear
programme prices every shelf, and the plan of each kind that is cheapest at these prices comes in. When none improves, no plan anybody could
think of would; stopped before that, what is missing is bounded (Lagrange). Then HiGHS looks for whole numbers among the columns
found. So two figures come out: a plan for the whole period, and a proven bound below which nobody can get.

Takes nothing from the planner but its prices; each policy's own plans are priced by both, and must cost the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import highspy
import numpy as np
from numpy.typing import NDArray

from benchmarks.failure import BenchmarkError
from benchmarks.savings.scenario import NOON, Order, Scenario
from benchmarks.savings.simulation import Outcome, Shipped
from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.tariffs import SCORE_PER_CENT, SERVICES, Service, billable_pounds_of_many

Cents = NDArray[np.float64]

CLOSE_ENOUGH = 1e-4
"""Relative: nearer to its bound than this, a programme counts as solved."""
WHOLE_ENOUGH = 5e-4
"""The same for whole orders: nobody searches on for the rest."""
Column = tuple[int, tuple[int, ...]]
"""A kind of order, and the position of the location of each of its products."""


@dataclass(frozen=True, slots=True)
class Clairvoyant:
    """The best plan for the whole period that was found, and the proven bound."""

    cost_cents: float
    parcels: int
    bound_cents: float
    seconds: float

    @property
    def gap(self) -> float:
        """By how much the best there is may at most be cheaper, as a share."""
        return (self.cost_cents - self.bound_cents) / self.bound_cents if self.bound_cents else 0.0


def best_in_hindsight(scenario: Scenario, outcomes: Sequence[Outcome], *, most_seconds: float) -> Clairvoyant:
    """Ships the same units of the same orders as every policy did, at the least cost of the period.

    Args:
        scenario: the period.
        outcomes: what policies made of it; the search begins with their plans, so it ends no worse than the best of them.
        most_seconds: processor time, half of it for the bound and half for whole numbers.
    """
    began = time.thread_time()
    kinds = _Kinds(scenario, outcomes)
    programme = _Programme(kinds)
    for outcome in outcomes:
        programme.add(kinds.columns_of(outcome))
    bound = -np.inf
    while True:
        cost, prices, per_order = programme.solve()
        found, least = kinds.cheapest_plans(prices, per_order)
        bound = max(bound, least)
        out_of_time = time.thread_time() - began > most_seconds / 2
        if cost - bound <= CLOSE_ENOUGH * cost or out_of_time or not programme.add(found):
            break
    best = min(outcomes, key=lambda outcome: outcome.cost_cents)
    chosen = programme.whole_numbers(kinds.columns_of(best), bound, most_seconds / 2)
    whole_cost = kinds.total(chosen)
    parcels = sum(len(set(column[1])) * count for column, count in chosen.items())
    return Clairvoyant(whole_cost, parcels, min(bound, whole_cost), time.thread_time() - began)


class _Kinds:
    """The kinds of orders, with the price of every parcel that could be made of them."""

    def __init__(self, scenario: Scenario, outcomes: Sequence[Outcome]) -> None:
        self.codes = [location.code for location in scenario.planner.network.locations]
        self.skus = sorted(scenario.stock)
        code_of = {code: position for position, code in enumerate(self.codes)}
        sku_of = {sku: position for position, sku in enumerate(self.skus)}
        self.stock = np.zeros((len(self.skus), len(self.codes)), dtype=np.int64)
        for sku, places in scenario.stock.items():
            for code, units in places.items():
                self.stock[sku_of[sku], code_of[code]] = units
        kind_of: dict[tuple[object, ...], int] = {}
        self._kinds: list[int | None] = []
        self.items: list[tuple[int, ...]] = []
        parcels: list[Cents] = []
        self._positions: list[tuple[str, ...]] = []
        for order, shipped in zip(scenario.orders, outcomes[0].shipped, strict=True):
            skus = tuple(sorted(shipped))
            if not skus:
                self._kinds.append(None)
                continue
            key = (skus, order.destination.postal_code, order.service_level, order.residential)
            if key not in kind_of:
                kind_of[key] = len(self.items)
                self.items.append(tuple(sku_of[sku] for sku in skus))
                self._positions.append(skus)
                parcels.append(_parcel_cents(scenario, order, skus, self.stock[list(self.items[-1])]))
            self._kinds.append(kind_of[key])
        self._code_of = code_of
        self.counts = np.bincount([kind for kind in self._kinds if kind is not None], minlength=len(self.items))
        self._parcels = parcels
        self._groups = [
            (kinds, np.array([self.items[kind] for kind in kinds]), np.stack([parcels[kind] for kind in kinds]))
            for size in sorted({len(items) for items in self.items})
            for kinds in [[kind for kind, items in enumerate(self.items) if len(items) == size]]
        ]

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
        skus = self._positions[kind]
        if len(shipped) != len(skus):
            raise BenchmarkError(f"{sorted(shipped)} and {sorted(skus)} were shipped of the same order")
        return kind, tuple(self._code_of[shipped[sku]] for sku in skus)

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
            totals, cuts = _cheapest_cuts(best, count)
            bound += float((totals * self.counts[kinds]).sum())
            for row in np.nonzero(totals < per_order[kinds] - 1e-6)[0]:
                places = [0] * count
                for block in _blocks(cuts[row], count):
                    place = int(scores[row, :, block].argmin())
                    for position in range(count):
                        if block >> position & 1:
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
    for reach in planner.network.reach(order.destination):
        services: tuple[Service, ...] = SERVICES
        if limit is not None:
            leaves = planner.network.dispatch(reach.index, NOON).day
            days = planner.tariffs.days_of_services(reach.zone, offshore=reach.offshore)
            services = tuple(service for service, count in zip(SERVICES, days, strict=True) if add_business_days(leaves, count) <= limit)
        prices = planner.tariffs.prices(reach.zone, services, residential=order.residential) if services else None
        if prices is not None:
            cents[reach.index] = prices.scores(pounds) // SCORE_PER_CENT + picks
    for position in range(len(skus)):
        having = np.arange(size) >> position & 1 == 1
        cents[np.ix_(stock[position] == 0, having)] = np.inf
    cents[:, 0] = 0
    return cents


def _cheapest_cuts(best: Cents, count: int) -> tuple[Cents, NDArray[np.int64]]:
    """For many orders at once: the least cost in any number of parcels, and per set of products its first parcel."""
    totals = best.copy()
    totals[:, 0] = 0
    cuts = np.tile(np.arange(1 << count), (len(best), 1))
    for whole in range(1, 1 << count):
        low = whole & -whole
        rest = whole ^ low
        part = (rest - 1) & rest
        while rest:
            costs = best[:, part | low] + totals[:, rest ^ part]
            better = costs < totals[:, whole]
            totals[better, whole] = costs[better]
            cuts[better, whole] = part | low
            if not part:
                break
            part = (part - 1) & rest
    return totals[:, -1], cuts


def _blocks(cuts: NDArray[np.int64], count: int) -> Sequence[int]:
    left = (1 << count) - 1
    blocks = []
    while left:
        blocks.append(int(cuts[left]))
        left ^= blocks[-1]
    return blocks


class _Programme:
    """The programme in HiGHS: a row per kind, a row per shelf that could run out, a column per plan."""

    def __init__(self, kinds: _Kinds) -> None:
        self._kinds = kinds
        self._columns: dict[Column, int] = {}
        wanted = np.zeros(len(kinds.skus), dtype=np.int64)
        for items, count in zip(kinds.items, kinds.counts, strict=True):
            wanted[list(items)] += count
        self._shelves = np.argwhere((kinds.stock > 0) & (kinds.stock < wanted[:, None]))
        self._row_of = {(int(sku), int(place)): len(kinds.items) + row for row, (sku, place) in enumerate(self._shelves)}
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]  # its stubs leave the return type out
        for option, setting in (("log_to_console", False), ("output_flag", False), ("threads", 1), ("random_seed", 1)):
            self._solver.setOptionValue(option, setting)
        counts = kinds.counts.astype(float)
        stock = kinds.stock[tuple(self._shelves.T)].astype(float)
        lower = np.concatenate([counts, np.full(len(stock), -np.inf)])
        none = np.zeros(0, dtype=np.int32)
        rows = len(lower)
        self._solver.addRows(rows, lower, np.concatenate([counts, stock]), 0, np.zeros(rows, dtype=np.int32), none, np.zeros(0))

    def add(self, columns: Mapping[Column, int] | Sequence[Column]) -> int:
        """Takes columns in; returns how many of them are new."""
        new = [column for column in dict.fromkeys(columns) if column not in self._columns]
        starts: list[int] = []
        index: list[int] = []
        value: list[float] = []
        for column in new:
            self._columns[column] = len(self._columns)
            starts.append(len(index))
            entries = {column[0]: 1.0}
            for item, place in zip(self._kinds.items[column[0]], column[1], strict=True):
                row = self._row_of.get((item, place))
                if row is not None:
                    entries[row] = entries.get(row, 0.0) + 1.0
            index.extend(entries)
            value.extend(entries.values())
        if new:
            costs = np.array([self._kinds.cost_of(column) for column in new])
            upper = self._kinds.counts[[column[0] for column in new]].astype(float)
            numbers = np.array(starts, dtype=np.int32), np.array(index, dtype=np.int32), np.array(value)
            self._solver.addCols(len(new), costs, np.zeros(len(new)), upper, len(index), *numbers)
        return len(new)

    def solve(self) -> tuple[float, Cents, Cents]:
        """The least cost with parts of orders allowed, the price per unit of each shelf, and what one order of each kind is worth."""
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise BenchmarkError(f"HiGHS did not solve the linear programme: {self._solver.modelStatusToString(status)}")
        duals = np.array(self._solver.getSolution().row_dual)
        prices = np.zeros(self._kinds.stock.shape)
        prices[tuple(self._shelves.T)] = np.maximum(0.0, -duals[len(self._kinds.items) :])
        return self._solver.getInfo().objective_function_value, prices, duals[: len(self._kinds.items)]

    def whole_numbers(self, start: Mapping[Column, int], bound: float, most_seconds: float) -> Counter[Column]:
        """The best plan in whole orders that is found among the columns in time.

        First the orders that the linear programme already ships in one piece stay so, and only the others are looked at; where that is not
        close enough to the bound, everything is, from the better of what is known so far.
        """
        count = len(self._columns)
        every = np.arange(count, dtype=np.int32)
        upper = np.array([float(self._kinds.counts[column[0]]) for column in self._columns])
        settled = np.floor(np.array(self._solver.getSolution().col_value) + 1e-6)
        known = np.array([float(start.get(column, 0)) for column in self._columns])
        self._solver.changeColsIntegrality(count, every, np.full(count, int(highspy.HighsVarType.kInteger), dtype=np.uint8))
        self._solver.setOptionValue("mip_rel_gap", CLOSE_ENOUGH)
        best = self._kinds.total(self._chosen(known))
        for lower in (settled, np.zeros(count)):
            self._solver.changeColsBounds(count, every, lower, upper)
            self._solver.setOptionValue("time_limit", self._solver.getRunTime() + most_seconds / 2)
            if not lower.any():
                self._solver.setSolution(count, every, known)
            self._solver.run()
            found = np.array(self._solver.getSolution().col_value)
            chosen = self._chosen(found)
            if self._kinds.is_shipped_by(chosen) and self._kinds.total(chosen) < best:
                best, known = self._kinds.total(chosen), found
            if best - bound <= WHOLE_ENOUGH * bound:
                break
        return self._chosen(known)

    def _chosen(self, values: Cents) -> Counter[Column]:
        units = {column: round(value) for column, value in zip(self._columns, values, strict=True)}
        return Counter({column: count for column, count in units.items() if count})
