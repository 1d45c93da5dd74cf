"""What comes of recorded decisions when they are made again, and otherwise: counted one after the other, told at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.routing.decide.carrying import CameBack, CarriedStock
from services.routing.decide.comparing import Baselines, Habits, Totals, baselines_of, side_by_side
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest
from services.routing.decide.recording import DAMAGE, NotReplayableError, canonical, damaged

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
        self.made = self.superseded = 0
        """Decisions that were made again, and those of them whose units a later one counts."""
        self.different: list[str] = []
        self.refused: dict[str, list[str]] = {}
        self.locations: set[str] = set()

    def take(
        self,
        name: str,
        record: Mapping[str, Any],
        planner: Planner,
        varied: Planner,
        request: PlanRequest,
        came_back: Sequence[CameBack] = (),
        counted: Mapping[str, int] | None = None,
    ) -> None:
        """Makes a decision again, and otherwise where that was asked.

        Args:
            name: what the reader finds it by.
            record: as it was kept.
            planner: as it was.
            varied: the other one.
            request: what was asked.
            came_back: units of it that did not ship.
            counted: units per line that it counts for; None: all.
        """
        self.locations.update(location.code for location in planner.network.locations)
        try:
            plan = planner.plan(request)
        except DAMAGE as error:
            self.refuse(name, damaged(error))
            return
        self.made += 1
        if canonical(plan.record) != canonical(record):
            self.different.append(f"  {name}: {_differences(record, plan.record)}")
        part = request if counted is None else _only(request, counted)
        if part.wanted:
            live = plan if part is request else _live_part(planner, part, plan)
            self.live.add(live)
            if self._question.savings:
                self._habits.add(*self._by_habits(planner, part, live))
        else:
            self.superseded += 1
        if self._question.varied:
            self._ask_otherwise(plan, varied, request, part, came_back)

    def refuse(self, name: str, reason: NotReplayableError) -> None:
        """Notes a decision that cannot be made again."""
        self.refused.setdefault(str(reason), []).append(name)

    def _by_habits(self, planner: Planner, request: PlanRequest, live: Plan) -> tuple[Baselines | None, int]:
        """How the units that a live plan ships would ship by habit, and how many it does not ship."""
        codes = self._question.by_hand
        if codes is None:
            codes = sorted(location.code for location in planner.network.locations)
        unplaced = sum(live.unplaced.values())
        shipped = _only(request, _placed(live)) if unplaced else request
        return (baselines_of(planner, shipped, codes) if shipped.wanted else None), unplaced

    def _ask_otherwise(self, live: Plan, varied: Planner, request: PlanRequest, part: PlanRequest, came_back: Sequence[CameBack]) -> None:
        """Makes the other plan of the part that a decision counts for, and lets that and what came back later leave the shelves."""
        if self._question.without_capacity:
            request, part = replace(request, slots={}), replace(part, slots={})
        if self._question.current_prices:
            request, part = replace(request, stock_prices=None), replace(part, stock_prices=None)
        if not self._question.carried:
            if part.wanted:
                self.other.add(varied.plan(part))
            return
        units = _placed(live)
        for entry in part.wanted:
            units[entry.line_id] = max(entry.units, units.get(entry.line_id, 0))
        # Units that were not placed and are decided about again are taken then.
        request = _only(request, units)
        seen = self._stock.seen_by(request)
        other = varied.plan(seen)
        self._stock.take(live, other, came_back)
        if not part.wanted:
            return
        if part.wanted != request.wanted:
            other = varied.plan(replace(part, assignable=seen.assignable))
        self.other.add(other)
        missing = sum(other.unplaced.values())
        if missing and seen is not request:
            # Whatever the other planner would not have shipped anyway is no matter of stock.
            missing -= sum(varied.plan(part).unplaced.values())
            if missing > 0:
                self._short_units += missing
                self._short_decisions += 1

    def lines(self) -> Iterator[str]:
        """The report."""
        for reason, names in self.refused.items():
            yield f"{len(names):,} decisions cannot be made again: {reason}"
            yield from (f"  {name}" for name in names[:MOST_SHOWN])
            if len(names) > MOST_SHOWN:
                yield f"  ... and {len(names) - MOST_SHOWN:,} more"
        same = self.made - len(self.different)
        yield f"{same:,} of {self.made:,} decisions came out as they were recorded, byte for byte"
        yield from self.different[:MOST_SHOWN]
        if len(self.different) > MOST_SHOWN:
            yield f"  ... and {len(self.different) - MOST_SHOWN:,} more"
        if self.superseded:
            yield (
                f"{self.superseded:,} decisions are in no sum: their units were decided about again, and count where they were last placed"
            )
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


def _only(request: PlanRequest, units: Mapping[str, int]) -> PlanRequest:
    """The request for so many units per line; itself where those are all."""
    wanted = [entry._replace(units=min(entry.units, units.get(entry.line_id, 0))) for entry in request.wanted]
    return request if wanted == list(request.wanted) else replace(request, wanted=[entry for entry in wanted if entry.units])


def _placed(plan: Plan) -> dict[str, int]:
    """Units per line that a plan ships."""
    placed: dict[str, int] = {}
    for parcel in plan.parcels:
        for line_id, _, units in parcel.units:
            placed[line_id] = placed.get(line_id, 0) + units
    return placed


def _live_part(planner: Planner, part: PlanRequest, plan: Plan) -> Plan:
    """What a decision cost for a part of its units: as it was where the part has all that it placed, else as that part would have been
    planned."""
    placed = _placed(plan)
    units = {entry.line_id: entry.units for entry in part.wanted}
    if any(count > units.get(line_id, 0) for line_id, count in placed.items()):
        return planner.plan(part)
    unplaced: dict[str, int] = {}
    for entry in part.wanted:
        left = entry.units - placed.get(entry.line_id, 0)
        if left:
            unplaced[entry.sku] = unplaced.get(entry.sku, 0) + left
    return replace(plan, unplaced=unplaced)


def _differences(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """The fields that differ, and the values of the first of them."""
    names = [name for name in {**recorded, **made} if recorded.get(name) != json.loads(json.dumps(made.get(name)))]
    first = names[0] if names else ""
    return f"{', '.join(names)}; {first} was {json.dumps(recorded.get(first))[:120]}, now {json.dumps(made.get(first))[:120]}"
