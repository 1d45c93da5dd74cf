"""What comes of recorded decisions when they are made again, and otherwise: counted one after the other, told at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.routing.decide.carrying import CameBack, CarriedStock
from services.routing.decide.comparing import Habits, Totals, baselines_of, side_by_side
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest
from services.routing.decide.recording import canonical

MOST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the recorded decisions, beside whether they come out the same."""

    varied: bool = False
    """Each is also made by another planner."""
    carried: bool = True
    """With the stock that the other plans before would have left, instead of what was recorded."""
    current_prices: bool = False
    without_capacity: bool = False
    savings: bool = False
    by_hand: Sequence[str] | None = None
    """The favourites first; None: all locations by their codes."""


class Account:
    """Takes decisions in the order in which they were made."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.live, self.other = Totals(), Totals()
        self._habits = Habits()
        self._stock = CarriedStock()
        self._short_units = self._short_decisions = 0
        self.different: list[str] = []
        self.refused: Counter[str] = Counter()
        self.locations: set[str] = set()

    def take(
        self,
        name: str,
        record: Mapping[str, Any],
        planner: Planner,
        varied: Planner,
        request: PlanRequest,
        came_back: Sequence[CameBack] = (),
    ) -> None:
        """Makes a decision again, and otherwise where that was asked.

        Args:
            name: what the reader finds it by.
            record: as it was kept.
            planner: as it was.
            varied: the other one.
            request: what was asked.
            came_back: units of it that did not ship.
        """
        self.locations.update(location.code for location in planner.network.locations)
        plan = planner.plan(request)
        self.live.add(plan)
        if canonical(plan.record) != canonical(record):
            self.different.append(f"  {name}: {_differences(record, plan.record)}")
        if self._question.varied:
            self._ask_otherwise(plan, varied, request, came_back)
        if self._question.savings:
            codes = self._question.by_hand
            if codes is None:
                codes = sorted(location.code for location in planner.network.locations)
            self._habits.add(baselines_of(planner, request, codes))

    def _ask_otherwise(self, live: Plan, varied: Planner, request: PlanRequest, came_back: Sequence[CameBack]) -> None:
        if self._question.without_capacity:
            request = replace(request, slots={})
        if self._question.current_prices:
            request = replace(request, stock_prices=None)
        if not self._question.carried:
            self.other.add(varied.plan(request))
            return
        seen = self._stock.seen_by(request)
        other = varied.plan(seen)
        self._stock.take(live, other, came_back)
        self.other.add(other)
        missing = sum(other.unplaced.values())
        if missing and seen is not request:
            # Whatever the other planner would not have shipped anyway is no matter of stock.
            missing -= sum(varied.plan(request).unplaced.values())
            if missing > 0:
                self._short_units += missing
                self._short_decisions += 1

    def lines(self) -> Iterator[str]:
        """The report."""
        for reason, count in self.refused.items():
            yield f"{count:,} decisions cannot be made again: {reason}"
        same = self.live.decisions - len(self.different)
        yield f"{same:,} of {self.live.decisions:,} decisions came out as they were recorded, byte for byte"
        yield from self.different[:MOST_SHOWN]
        if len(self.different) > MOST_SHOWN:
            yield f"  ... and {len(self.different) - MOST_SHOWN:,} more"
        if self._question.varied and self.live.decisions:
            stood_on = (
                "stock carried forward: each finds what the plans before it would have left"
                if self._question.carried
                else "each with the stock that its decision was recorded with"
            )
            yield f"\nThe same orders, {stood_on}; nothing was changed:\n"
            yield from side_by_side(("as recorded", "what if"), (self.live, self.other))
            if self._question.carried:
                yield ""
                yield from self._told_of_stock()
        if self._question.savings and self.live.decisions:
            yield "\nThe same orders by other habits, each with the stock that its decision was recorded with:\n"
            yield from self._habits.lines(self.live)

    def _told_of_stock(self) -> Iterator[str]:
        yield f"in the end {self._stock.shelves:,} shelves (SKU and location) hold something else than they do"
        if self._short_units:
            yield (
                f"{self._short_units:,} units of {self._short_decisions:,} decisions found no stock, because earlier orders had taken it; "
                "they would have waited and are in none of the what-if's sums but the unplaced units"
            )


def _differences(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """The fields that differ, and the values of the first of them."""
    names = [name for name in {**recorded, **made} if recorded.get(name) != json.loads(json.dumps(made.get(name)))]
    first = names[0] if names else ""
    return f"{', '.join(names)}; {first} was {json.dumps(recorded.get(first))[:120]}, now {json.dumps(made.get(first))[:120]}"
