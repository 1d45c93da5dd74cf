"""What a unit of scarce stock is worth where it lies: the forward-looking part of a plan's cost (feature C8).

Taking the last unit in Reno for a customer in the east is cheap today and dear tomorrow, when a customer in the west wants it and it has
to come from Newark. What it makes dearer is its price, the opportunity cost of the unit. It follows from the units on the shelves, the
demand that is expected while they last, and what shipping costs: the dual values of the transportation problem

    least  sum of cost(location, region) * shipped(location, region)
    so that every region gets its demand, and no location ships more than it has.

Sources: Acimovic and Graves, Making Better Fulfillment Decisions on the Fly in an Online Retail Environment, Manufacturing & Service
Operations Management 17(1), 2015 (dual values of one such problem per SKU, added to the cost of shipping; they report 36% of the gap to
perfect hindsight on a retailer's data); Jasin and Sinha, An LP-Based Correlated Rounding Scheme for Multi-Item Ecommerce Order
Fulfillment, Operations Research 63(6), 2015 (the same relaxation, with demand replaced by its expectation). HiGHS solves the problems.

Three rules make of that one number per SKU and location (docs/decisions/0024-stock-prices.md):

- Demand beyond the stock of a SKU is scaled down in every region alike: orders are served as they come until nothing is left.
- Dual values are often not unique. The price is the greatest: what the remaining orders would cost more without the unit. That one is
  unique, whatever way of shipping the solver finds; it is worked out from the flows, not taken from the solver.
- An order takes its units from somewhere, so only differences between locations matter: the cheapest place of a SKU has the price zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import highspy
import numpy as np
from numpy.typing import NDArray

Amounts = NDArray[np.float64]

NOTHING = 1e-7
"""Shares of a SKU's stock below this are the solver's rounding."""
MOST_VARIABLES_AT_ONCE = 4_000
"""SKUs are solved together up to this size: larger problems take longer per SKU, smaller ones are mostly overhead."""


class StockPriceError(RuntimeError):
    """No prices: the solver found no optimum, or a number is none."""


def stock_prices(
    shelves: Mapping[tuple[str, str], int],
    demand: Mapping[tuple[str, str], float],
    shipping_cost_cents: Mapping[tuple[str, str], float],
) -> dict[tuple[str, str], float]:
    """The price of one unit in cents, per (SKU, location). What is not named costs nothing to take.

    Whole costs give whole prices. The same numbers give the same prices, in any order.

    Args:
        shelves: units that can be taken, per (SKU, location).
        demand: units that are expected to be ordered while this stock has to last, per (SKU, region); fractions are meant.
        shipping_cost_cents: of one parcel, per (location, region). What is missing cannot be shipped.

    Raises:
        StockPriceError: a number is infinite, none, or a cost below zero; or the solver gave up.
    """
    costs = _Costs(shipping_cost_cents)
    prices: dict[tuple[str, str], float] = {}
    for batch in _batches(_scarce(shelves, demand, costs)):
        for problem, flows in zip(batch, _cheapest_flows(batch), strict=True):
            prices |= _prices_of(problem, flows)
    return prices


class _Costs:
    """The costs as a table, with infinity where nothing can be shipped."""

    def __init__(self, shipping_cost_cents: Mapping[tuple[str, str], float]) -> None:
        for (location, region), cents in shipping_cost_cents.items():
            if not isfinite(cents) or cents < 0:
                raise StockPriceError(f"shipping_cost_cents[{location!r}, {region!r}] is {cents}; give cents from 0 on, or leave it out")
        self.locations = {location: place for place, location in enumerate(sorted({location for location, _ in shipping_cost_cents}))}
        self.regions = {region: place for place, region in enumerate(sorted({region for _, region in shipping_cost_cents}))}
        self.whole = all(isinstance(cents, int) for cents in shipping_cost_cents.values())
        self.table = np.full((len(self.locations), len(self.regions)), np.inf)
        for (location, region), cents in shipping_cost_cents.items():
            self.table[self.locations[location], self.regions[region]] = cents


@dataclass(frozen=True, slots=True)
class _Problem:
    """One SKU: its locations with stock, its regions with demand (scaled to what is there), and the costs between them."""

    sku: str
    locations: Sequence[str]
    stock: Amounts
    wanted: Amounts
    cents: Amounts
    unserved_cents: float
    """More than any detour: nobody is left unserved whom somebody could serve."""
    whole: bool


def _scarce(shelves: Mapping[tuple[str, str], int], demand: Mapping[tuple[str, str], float], costs: _Costs) -> Iterator[_Problem]:
    """The SKUs whose units are not free everywhere: at least two locations, and more demand than the nearest ones can serve."""
    stock_by_sku: dict[str, list[tuple[str, int]]] = {}
    for (sku, location), units in sorted(shelves.items()):
        if units > 0 and location in costs.locations:
            stock_by_sku.setdefault(sku, []).append((location, units))
    demand_by_sku: dict[str, list[tuple[str, float]]] = {}
    for (sku, region), expected in sorted(demand.items()):
        if not isfinite(expected):
            raise StockPriceError(f"demand[{sku!r}, {region!r}] is {expected}; give units from 0 on, or leave it out")
        if expected > 0 and region in costs.regions:
            demand_by_sku.setdefault(sku, []).append((region, expected))
    for sku, stocked in stock_by_sku.items():
        asked = demand_by_sku.get(sku, [])
        if len(stocked) < 2 or not asked:
            continue
        cents = costs.table[np.ix_([costs.locations[name] for name, _ in stocked], [costs.regions[name] for name, _ in asked])]
        served = np.isfinite(cents).any(axis=0)
        cents = cents[:, served]
        wanted = np.array([float(units) for _, units in asked])[served]
        stock = np.array([float(units) for _, units in stocked])
        if not len(wanted):
            continue
        wanted *= min(1.0, stock.sum() / wanted.sum())
        nearest = np.bincount(cents.argmin(axis=0), weights=wanted, minlength=len(stock))
        if (nearest < stock * (1 - NOTHING)).all():
            continue
        detour = float(cents[np.isfinite(cents)].max()) * (len(stock) + 1) + 1
        yield _Problem(sku, [name for name, _ in stocked], stock, wanted, cents, detour, costs.whole)


def _batches(problems: Iterator[_Problem]) -> Iterator[list[_Problem]]:
    """Problems that are solved together."""
    batch: list[_Problem] = []
    size = 0
    for problem in problems:
        batch.append(problem)
        size += problem.cents.size
        if size >= MOST_VARIABLES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Solver(highspy.Highs):
    """HiGHS that prints nothing: its greeting comes with the callbacks, which nobody uses here."""

    def enableCallbacks(self) -> None:  # noqa: N802  # the library's name
        self.silent()


def _cheapest_flows(batch: Sequence[_Problem]) -> list[Amounts]:
    """How much each location ships to each region when all of them are served at the least cost."""
    model = _model(batch)
    solver = Solver()  # type: ignore[no-untyped-call]  # the stubs of its base leave the return type out
    for option, setting in (("threads", 1), ("presolve", "off")):
        solver.setOptionValue(option, setting)
    solver.passModel(model)
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise StockPriceError(f"HiGHS found no optimum for {batch[0].sku} and {len(batch) - 1} more: {solver.modelStatusToString(status)}")
    values = np.array(solver.getSolution().col_value)
    flows = []
    begin = 0
    for problem in batch:
        carried = np.isfinite(problem.cents)
        own = np.zeros(problem.cents.shape)
        count = int(carried.sum())
        own[carried] = values[begin : begin + count]
        begin += count + len(problem.wanted)
        flows.append(own)
    return flows


def _model(batch: Sequence[_Problem]) -> highspy.HighsLp:
    """All problems of a batch as one, side by side: per SKU a column for each way, then one per region for what stays unserved; a row for
    each location, then one for each region."""
    cost, origin, target, lower, upper = [], [], [], [], []
    row = 0
    for problem in batch:
        count, regions = problem.cents.shape
        of_location, of_region = np.nonzero(np.isfinite(problem.cents))
        cost += [problem.cents[of_location, of_region], np.full(regions, problem.unserved_cents)]
        origin += [row + of_location, np.full(regions, -1)]
        target += [row + count + of_region, row + count + np.arange(regions)]
        lower += [np.full(count, -np.inf), problem.wanted]
        upper += [problem.stock, problem.wanted]
        row += count + regions
    origins, targets = np.concatenate(origin), np.concatenate(target)
    entries = np.stack([origins, targets], axis=1)
    model = highspy.HighsLp()
    model.num_col_ = len(targets)
    model.num_row_ = row
    model.col_cost_ = np.concatenate(cost)
    model.col_lower_ = np.zeros(len(targets))
    model.col_upper_ = np.full(len(targets), np.inf)
    model.row_lower_ = np.concatenate(lower)
    model.row_upper_ = np.concatenate(upper)
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.concatenate([[0], np.cumsum((entries >= 0).sum(axis=1))]).astype(np.int32)
    model.a_matrix_.index_ = entries[entries >= 0].astype(np.int32)
    model.a_matrix_.value_ = np.ones(int((entries >= 0).sum()))
    return model


def _prices_of(problem: _Problem, flows: Amounts) -> Mapping[tuple[str, str], float]:
    """What one unit less at each location costs: the cheapest way to serve its customers from elsewhere.

    ``dearer[a, b]``: what it costs more when ``b`` takes over a unit of what ``a`` ships now. A location with units to spare can take
    over for nothing more; one without passes one of its own customers on; at the end of a chain somebody may stay unserved.
    """
    little = NOTHING * problem.stock.sum()
    ships = flows > little
    with np.errstate(invalid="ignore"):
        moved = np.where(ships[:, None, :], problem.cents[None, :, :] - problem.cents[:, None, :], np.inf)
    dearer = moved.min(axis=2)
    unserved = np.where(ships, problem.unserved_cents - problem.cents, np.inf).min(axis=1)
    spare = problem.stock - flows.sum(axis=1) > little
    prices = np.where(spare, 0.0, unserved)
    for _ in problem.locations:
        prices = np.minimum(prices, (dearer + prices[None, :]).min(axis=1))
    prices -= prices.min()
    return {
        (problem.sku, location): round(price) if problem.whole else float(price)
        for location, price in zip(problem.locations, prices, strict=True)
        if price > 0
    }
