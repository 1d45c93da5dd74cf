"""A linear programme over plans, in HiGHS: how many orders of each kind ship in which way, from what is on the shelves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import highspy
import numpy as np

from benchmarks.failure import BenchmarkError
from benchmarks.savings.kinds import Cents, Column, Kinds

CLOSE_ENOUGH = 1e-4
"""Relative: nearer to its bound than this, a programme counts as solved."""
WHOLE_ENOUGH = 5e-4
"""The same for whole orders: nobody searches on for the rest."""


class Programme:
    """A row per kind, a row per shelf that could run out, a column per plan."""

    def __init__(self, kinds: Kinds) -> None:
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
            numbers = np.array(starts, dtype=np.int32), np.array(index, dtype=np.int32), np.array(value)
            self._solver.addCols(len(new), costs, np.zeros(len(new)), np.full(len(new), np.inf), len(index), *numbers)
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
