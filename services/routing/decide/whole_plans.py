"""What a unit of scarce stock is worth where it lies, when orders of several products are seen whole (feature C8).

The price of a SKU by itself (``scarcity.py``) knows what a longer way costs, and not that an empty shelf makes two parcels of an order. So
here orders are shipped by plans, as the planner ships them: which location sends what, each parcel at its price by weight. The prices are
the dual values of the shelves in the linear programme

    least  sum of cost(plan) * orders shipped so
    so that every order that is expected is shipped, and no shelf gives more than it has.

There are far more plans than orders; those that matter are found as they are needed (column generation): the prices of the shelves say
which plan of each kind of orders would be cheapest now, and when no new one is cheaper, none that anybody could think of is. Sources: those
of ``scarcity.py``; the relaxation of Jasin and Sinha (2015) is over whole orders, too.

Rules that make one number of it (docs/decisions/0024-stock-prices.md):

- What is wanted more than there is lasts for a part of the time only. Orders that come later are orders for the rest of their products, so
  nobody is turned away for living far off.
- Dual values are often not unique. Every shelf counts as holding a trace less than it does, and no two the same trace: so the prices are
  those of units that are missed, and the same whatever way the solver takes.
- Only differences between locations matter: the cheapest place of a SKU has the price zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, TypeVar

import highspy
import numpy as np
from numpy.typing import NDArray

from services.routing.decide.scarcity import Solver, StockPriceError
from services.routing.decide.tariffs import SCORE_PER_CENT, Prices, billable_pounds_of_many

Amounts = NDArray[np.float64]
Whole = NDArray[np.int64]

MOST_LINES = 6
"""Larger orders count as several of at most so many products."""
MOST_KINDS = 1_500
"""Of more kinds of orders in one programme, evenly chosen ones speak for all."""
MOST_ROUNDS = 30
"""Prices are good enough then; mostly nothing new is found long before."""
LEAST_GAIN_CENTS = 0.01
"""Plans that are cheaper by less are not worth a round."""
TRACE_UNITS = 1e-4
GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, are all different and evenly spread."""

Places = tuple[int, ...]
"""A plan: the position of the location of each line."""


Lines = tuple[tuple[str, int], ...]
"""Units per SKU, in the order of the SKUs."""


class HasLines(Protocol):
    """Something that is ordered."""

    @property
    def lines(self) -> Lines:
        """What is ordered."""


WithLines = TypeVar("WithLines", bound=HasLines)


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders that are alike: what is ordered, how parcels reach the customers, and how many are expected."""

    lines: Lines
    way: str
    count: float


@dataclass(frozen=True, slots=True)
class Parcels:
    """What parcels cost.

    Args:
        ways: by name, what a location's parcels cost by weight; a location that is missing does not ship there.
        unit_grams: weight per SKU.
        each_cents: what a parcel counts beside its price.
    """

    ways: Mapping[str, Mapping[str, Prices]]
    unit_grams: Mapping[str, int]
    each_cents: int = 0


def while_it_lasts(orders: Sequence[Orders], stock: Mapping[str, float]) -> list[Orders]:
    """Orders as they will be shipped: each product in the part of the time in which there is some, first what lasts longest.

    Args:
        orders: as they are expected to come.
        stock: units of each SKU in all places.
    """
    wanted: dict[str, float] = {}
    for entry in orders:
        if not isfinite(entry.count):
            raise StockPriceError(f"the count of orders for {dict(entry.lines)} is {entry.count}; give a number from 0 on")
        for sku, units in entry.lines:
            wanted[sku] = wanted.get(sku, 0.0) + units * entry.count
    lasts = {sku: min(1.0, stock.get(sku, 0.0) / units) if units > 0 else 0.0 for sku, units in wanted.items()}
    shipped: dict[tuple[Lines, str], float] = {}
    for entry in orders:
        ends = sorted({lasts[sku] for sku, _ in entry.lines} - {0.0})
        begin = 0.0
        for end in ends:
            lines = tuple(line for line in entry.lines if lasts[line[0]] >= end)
            for first in range(0, len(lines), MOST_LINES):
                key = (lines[first : first + MOST_LINES], entry.way)
                shipped[key] = shipped.get(key, 0.0) + entry.count * (end - begin)
            begin = end
    found = (Orders(lines, way, count) for (lines, way), count in shipped.items() if count > 0)
    return list(in_order(found, lambda entry: (entry.lines, entry.way)))


def in_order(entries: Iterable[WithLines], key: Callable[[WithLines], Any]) -> Iterator[WithLines]:
    """Sorted by a key that begins with the lines. One sort of everything would hold up the whole process, as it cannot be interrupted."""
    by_first_sku: dict[str, list[WithLines]] = {}
    for entry in entries:
        by_first_sku.setdefault(entry.lines[0][0], []).append(entry)
    for sku in sorted(by_first_sku):
        yield from sorted(by_first_sku[sku], key=key)


def plan_prices(
    skus: Sequence[str],
    shelves: Mapping[tuple[str, str], int],
    orders: Sequence[Orders],
    parcels: Parcels,
    known: Mapping[tuple[str, str], float],
) -> dict[tuple[str, str], float]:
    """The price of one unit in cents, per (SKU, location), for some SKUs together.

    The same numbers give the same prices, in any order.

    Args:
        skus: whose prices are asked for.
        shelves: units that can be taken, per (SKU, location), of everything that is ordered.
        orders: all that have one of these SKUs, as they will be shipped (:func:`while_it_lasts`).
        parcels: what parcels cost.
        known: prices of other SKUs in the same orders.

    Raises:
        StockPriceError: the solver gave up.
    """
    problem = _Problem(skus, shelves, orders, parcels, known)
    if not problem.groups:
        return {}
    programme = _Programme(problem)
    programme.add((kind, (problem.lost,) * group.count) for group in problem.groups for kind in group.kinds)
    programme.add(problem.cheapest_plans(problem.known, None))
    prices, per_order = programme.solve()
    for _ in range(MOST_ROUNDS):
        if not programme.add(problem.cheapest_plans(prices, per_order)):
            break
        prices, per_order = programme.solve()
    return problem.told(prices)


@dataclass(frozen=True, slots=True)
class _Group:
    """Kinds of orders with the same number of lines: positions of the items, units; cents per location and set of lines (a bit each)."""

    kinds: Sequence[int]
    items: Whole
    units: Whole
    cents: Amounts

    @property
    def count(self) -> int:
        return len(self.items[0])


class _Problem:
    """Kinds of orders, shelves, and what every parcel costs that could be made of an order.

    Beside the locations there is one place, the last, in which orders are lost, for more than any detour.
    """

    def __init__(
        self,
        skus: Sequence[str],
        shelves: Mapping[tuple[str, str], int],
        orders: Sequence[Orders],
        parcels: Parcels,
        known: Mapping[tuple[str, str], float],
    ) -> None:
        priced = set(skus)
        chosen, self._shares = _evenly(sorted(orders, key=lambda entry: (entry.lines, entry.way)), priced)
        self._items = sorted({sku for entry in chosen for sku, _ in entry.lines})
        item_of = {sku: position for position, sku in enumerate(self._items)}
        self._codes = sorted({code for _, code in shelves})
        self.words = f"{skus[0]} and {len(skus) - 1} more"
        self.lost = len(self._codes)
        self.stock = np.zeros((len(self._items), self.lost + 1))
        self.known = np.zeros_like(self.stock)
        for sku, row in item_of.items():
            for place, code in enumerate(self._codes):
                self.stock[row, place] = shelves.get((sku, code), 0)
                self.known[row, place] = known.get((sku, code), 0.0)
        self.priced = np.array([sku in priced for sku in self._items])
        self.counts: list[float] = []
        self.groups: list[_Group] = []
        by_size: dict[int, list[Orders]] = {}
        for entry in chosen:
            by_size.setdefault(len(entry.lines), []).append(entry)
        for _, alike in sorted(by_size.items()):
            self._add(alike, item_of, parcels)
        dearest = max((float(group.cents[np.isfinite(group.cents)].max(initial=0.0)) for group in self.groups), default=0.0)
        lost_cents = (dearest + 1) * (self.lost + 1)
        for group in self.groups:
            lines = np.array([subset.bit_count() for subset in range(1 << group.count)])
            group.cents[:, self.lost, :] = lost_cents * lines
        demand = np.zeros(len(self._items))
        for group in self.groups:
            for kind, items, units in zip(group.kinds, group.items, group.units, strict=True):
                demand[items] += units * self.counts[kind]
        two = (self.stock[:, : self.lost] > 0).sum(axis=1) >= 2
        held = self.stock[:, : self.lost] * np.array([self._shares.get(sku, 1.0) for sku in self._items])[:, None]
        short = (held > 0) & (held < demand[:, None] * (1 + TRACE_UNITS)) & (self.priced & two)[:, None]
        self.rows = np.argwhere(short)
        traces = TRACE_UNITS * (1 + np.modf(GOLDEN * np.arange(1, len(self.rows) + 1))[0])
        self.held = np.maximum(0.0, held[tuple(self.rows.T)] - traces)

    def _add(self, alike: Sequence[Orders], item_of: Mapping[str, int], parcels: Parcels) -> None:
        """Takes orders of one size in, without those that nobody could ship."""
        items = np.array([[item_of[sku] for sku, _ in entry.lines] for entry in alike])
        units = np.array([[count for _, count in entry.lines] for entry in alike])
        count = items.shape[1]
        having = np.arange(1 << count)[:, None] >> np.arange(count) & 1 == 1
        grams = np.array([parcels.unit_grams[sku] for sku in self._items])[items] * units
        heavy, weights = np.unique(billable_pounds_of_many(grams @ having.T.astype(np.int64)), return_inverse=True)
        # One row of the table per price list, the first for where nothing is carried to.
        table = [np.full(len(heavy), np.inf)]
        row_of: dict[int, int] = {}
        lists = np.zeros((len(alike), self.lost + 1), dtype=np.int64)
        for way, numbers in _by_way(alike).items():
            for place, code in enumerate(self._codes):
                prices = parcels.ways[way].get(code)
                if prices is None:
                    continue
                if id(prices) not in row_of:
                    row_of[id(prices)] = len(table)
                    table.append(prices.scores(heavy) // SCORE_PER_CENT + float(parcels.each_cents))
                lists[numbers, place] = row_of[id(prices)]
        cents = np.stack(table)[lists[:, :, None], weights.reshape(len(alike), 1, 1 << count)]
        there = self.stock[items]
        enough = there >= units[:, :, None]
        enough[:, :, self.lost] = False
        enough |= ~enough.any(axis=2, keepdims=True) & (there > 0)
        for position in range(count):
            refused = ~enough[:, position, : self.lost, None] & having[None, None, :, position]
            cents[:, : self.lost][refused] = np.inf
        cents[:, :, 0] = 0.0
        kinds = range(len(self.counts), len(self.counts) + len(alike))
        self.counts.extend(entry.count for entry in alike)
        self.groups.append(_Group(kinds, items, units, cents))

    def cheapest_plans(self, prices: Amounts, per_order: Amounts | None) -> Iterator[tuple[int, Places]]:
        """At a price per unit of each shelf: the best plan of each kind of orders, where it costs less than such an order is worth."""
        for group in self.groups:
            count = group.count
            scores = group.cents.copy()
            for position in range(count):
                having = np.arange(1 << count) >> position & 1 == 1
                scores[:, :, having] += (prices[group.items[:, position]] * group.units[:, position, None])[:, :, None]
            places, best = scores.argmin(axis=1), scores.min(axis=1)
            totals, cuts = cheapest_cuts(best, count)
            better = np.ones(len(totals), dtype=bool)
            if per_order is not None:
                better = totals < per_order[group.kinds] - LEAST_GAIN_CENTS
            for row in np.nonzero(better)[0]:
                chosen = [0] * count
                for parcel in parcels_of(cuts[row], count):
                    for position in range(count):
                        if parcel >> position & 1:
                            chosen[position] = int(places[row, parcel])
                yield group.kinds[int(row)], tuple(chosen)

    def told(self, prices: Amounts) -> dict[tuple[str, str], float]:
        """The prices above that of the cheapest place, of the SKUs that were asked for."""
        return {
            (sku, self._codes[place]): float(max(0.0, prices[row, place] - prices[row, there].min()))
            for row, sku in enumerate(self._items)
            if self.priced[row]
            for there in [np.nonzero(self.stock[row, : self.lost] > 0)[0]]
            for place in there
        }


def _by_way(orders: Sequence[Orders]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(orders):
        numbers.setdefault(entry.way, []).append(number)
    return numbers


def _evenly(orders: Sequence[Orders], priced: Collection[str]) -> tuple[list[Orders], dict[str, float]]:
    """Not more kinds than can be looked at, and which share of the demand of each SKU they come to, where that is not all of it.

    Each stands for as many orders as the others, so rare kinds are there as often as they should be.
    """
    if len(orders) <= MOST_KINDS:
        return list(orders), {}
    ends = np.cumsum([entry.count for entry in orders])
    each = ends[-1] / MOST_KINDS
    hits = np.bincount(np.searchsorted(ends, (np.arange(MOST_KINDS) + 0.5) * each), minlength=len(orders))
    chosen = [Orders(entry.lines, entry.way, int(count) * each) for entry, count in zip(orders, hits, strict=True) if count]
    before, after = _units(orders, priced), _units(chosen, priced)
    return chosen, {sku: units / before[sku] for sku, units in after.items()}


def _units(orders: Sequence[Orders], priced: Collection[str]) -> dict[str, float]:
    units: dict[str, float] = {}
    for entry in orders:
        for sku, count in entry.lines:
            if sku in priced:
                units[sku] = units.get(sku, 0.0) + count * entry.count
    return units


def cheapest_cuts(best: Amounts, count: int) -> tuple[Amounts, Whole]:
    """The cheapest way to make parcels of many orders at once.

    Args:
        best: the least cost of each set of lines (a bit each) in one parcel, a row per order; an empty parcel costs nothing.
        count: lines per order.

    Returns:
        The least cost of each order in any number of parcels; and the first parcel of each set of lines, of which :func:`parcels_of`
        makes all parcels.
    """
    totals = best.copy()
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


def parcels_of(cuts: Whole, count: int) -> Iterator[int]:
    """The parcels of one order of so many lines, each as its set of lines, by its row of what :func:`cheapest_cuts` found."""
    left = (1 << count) - 1
    while left:
        parcel = int(cuts[left])
        left ^= parcel
        yield parcel


class _Programme:
    """The linear programme in HiGHS: a row per kind of orders, a row per shelf that could run out, a column per plan."""

    def __init__(self, problem: _Problem) -> None:
        self._problem = problem
        self._columns: set[tuple[int, Places]] = set()
        self._of_kind = {kind: (group, row) for group in problem.groups for row, kind in enumerate(group.kinds)}
        self._row_of = {(int(item), int(place)): len(problem.counts) + row for row, (item, place) in enumerate(problem.rows)}
        self._solver = Solver()  # type: ignore[no-untyped-call]  # the stubs of its base leave the return type out
        for option, setting in (("threads", 1), ("random_seed", 1)):
            self._solver.setOptionValue(option, setting)
        counts = np.array(problem.counts)
        lower = np.concatenate([counts, np.full(len(problem.held), -np.inf)])
        upper = np.concatenate([counts, problem.held])
        none = np.zeros(0, dtype=np.int32)
        self._solver.addRows(len(lower), lower, upper, 0, np.zeros(len(lower), dtype=np.int32), none, np.zeros(0))

    def add(self, columns: Iterable[tuple[int, Places]]) -> int:
        """Takes plans in; returns how many of them are new."""
        new = [column for column in columns if column not in self._columns]
        costs: list[float] = []
        starts: list[int] = []
        index: list[int] = []
        value: list[float] = []
        for kind, places in new:
            self._columns.add((kind, places))
            group, row = self._of_kind[kind]
            loads: dict[int, int] = {}
            entries = {kind: 1.0}
            for position, place in enumerate(places):
                loads[place] = loads.get(place, 0) | 1 << position
                shelf = self._row_of.get((int(group.items[row, position]), place))
                if shelf is not None:
                    entries[shelf] = float(group.units[row, position])
            known = sum(
                float(self._problem.known[group.items[row, position], place] * group.units[row, position])
                for position, place in enumerate(places)
                if not self._problem.priced[group.items[row, position]]
            )
            costs.append(sum(float(group.cents[row, place, load]) for place, load in loads.items()) + known)
            starts.append(len(index))
            index.extend(entries)
            value.extend(entries.values())
        if new:
            numbers = np.array(starts, dtype=np.int32), np.array(index, dtype=np.int32), np.array(value)
            self._solver.addCols(len(new), np.array(costs), np.zeros(len(new)), np.full(len(new), np.inf), len(index), *numbers)
        return len(new)

    def solve(self) -> tuple[Amounts, Amounts]:
        """The price per unit of each shelf, and what one order of each kind is worth."""
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise StockPriceError(f"HiGHS found no optimum for {self._problem.words}: {self._solver.modelStatusToString(status)}")
        duals = np.array(self._solver.getSolution().row_dual)
        prices = np.where(self._problem.priced[:, None], 0.0, self._problem.known)
        prices[tuple(self._problem.rows.T)] = np.maximum(0.0, -duals[len(self._problem.counts) :])
        return prices, duals[: len(self._problem.counts)]
