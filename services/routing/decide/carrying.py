"""The stock that other plans would have left, carried from order to order (feature C11).

Every decision is recorded with the stock of its moment, and that is what the plans before it left. Plans under other rules leave something
else: where order 1 ships from Reno instead of Newark, order 2 finds one unit more in Newark and one less in Reno. Carried is only this
difference, so that everything else that happened to the shelves (receipts, counts, returns) stays as it was recorded. Under the rules of
the day there is no difference, and every plan comes out as it was.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from services.routing.decide.plans import Plan, PlanRequest

Shelf = tuple[str, str]
"""SKU and location."""


class CameBack(NamedTuple):
    """Units of a decision that did not ship from there after all: rejected, not found, called off or cancelled; ``at`` the time from which
    they were on the shelf again as far as records tell."""

    location: str
    line_id: str
    units: int
    at: datetime


@dataclass(slots=True)
class _Left:
    """Units of a line in a parcel of the other plan that have not come back."""

    location: str
    line_id: str
    units: int


class CarriedStock:
    """How much more (or less) lies on each shelf because other plans were made.

    Decisions are taken in their order. What is remembered: shelves that differ, and differences that end when units come back.
    """

    def __init__(self) -> None:
        self._more: dict[str, dict[str, int]] = {}
        # When, in which order, and by how much shelves change then.
        self._ends: list[tuple[datetime, int, tuple[tuple[Shelf, int], ...]]] = []
        self._count = 0

    @property
    def shelves(self) -> int:
        """How many shelves differ now."""
        return sum(len(locations) for locations in self._more.values())

    def seen_by(self, request: PlanRequest) -> PlanRequest:
        """The request with the stock that it would have found; the same where nothing differs."""
        while self._ends and self._ends[0][0] <= request.now:
            self._apply(heapq.heappop(self._ends)[2])
        wanted = dict.fromkeys(entry.sku for entry in request.wanted)
        if not any(sku in self._more for sku in wanted):
            return request
        stock = dict(request.assignable)
        for sku in wanted:
            if sku in self._more:
                known = dict(stock.get(sku, {}))
                for location, more in self._more[sku].items():
                    # Below zero where units left the shelf for other reasons than orders: nobody can take those.
                    known[location] = max(0, known.get(location, 0) + more)
                stock[sku] = known
        return replace(request, assignable=stock)

    def take(self, live: Plan, other: Plan, came_back: Sequence[CameBack] = ()) -> None:
        """Notes what the other plan takes instead of the live one, and when units of both come back.

        Args:
            live: the plan of the day.
            other: the one that is made instead.
            came_back: units of the live plan that did not ship. As many of the same lines come back from where the other plan took them.
        """
        self._apply([*_taken(live, +1), *_taken(other, -1)])
        if not came_back:
            return
        went = {(parcel.location.code, line_id): (sku, units) for parcel in live.parcels for line_id, sku, units in parcel.units}
        left = [_Left(parcel.location.code, line_id, units) for parcel in other.parcels for line_id, _, units in parcel.units]
        for back in came_back:
            if (back.location, back.line_id) not in went:
                continue
            of_sku, most = went[back.location, back.line_id]
            changes: dict[Shelf, int] = {(of_sku, back.location): -min(back.units, most)}
            missing = back.units
            for parcel_line in left:
                given = min(missing, parcel_line.units) if parcel_line.line_id == back.line_id else 0
                if given:
                    parcel_line.units -= given
                    missing -= given
                    shelf = (of_sku, parcel_line.location)
                    changes[shelf] = changes.get(shelf, 0) + given
            ending = tuple((shelf, change) for shelf, change in changes.items() if change)
            if ending:
                self._count += 1
                heapq.heappush(self._ends, (back.at, self._count, ending))

    def _apply(self, changes: Iterable[tuple[Shelf, int]]) -> None:
        for (sku, location), change in changes:
            locations = self._more.setdefault(sku, {})
            more = locations.get(location, 0) + change
            if more:
                locations[location] = more
            else:
                locations.pop(location, None)
            if not locations:
                del self._more[sku]


def _taken(plan: Plan, sign: int) -> Iterable[tuple[Shelf, int]]:
    for parcel in plan.parcels:
        for _, sku, units in parcel.units:
            yield (sku, parcel.location.code), sign * units
