"""Working days of a location: when an order handed over now leaves, and when goods that arrive can leave again.

Routing plans parcels by it, allocation promises ship dates by it; so a promise never names a day on which the location rests.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONDAY_TO_FRIDAY = frozenset({1, 2, 3, 4, 5})
"""ISO weekdays, Monday is 1."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The day on which an order handed over now leaves, and until when that holds. ``ship_by`` is the end of that day at the location."""

    day: date
    ship_by: datetime
    holds_from: datetime
    holds_until: datetime


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """When a location works.

    Args:
        time_zone: where its clock hangs.
        order_cutoff: local time until which an order leaves the same working day.
        working_days: ISO weekdays, at least one.
        holidays: days on which it rests all the same.
        dock_to_stock_days: working days between the day goods arrive and the day they can be picked; 0: the moment they arrive.
    """

    time_zone: ZoneInfo
    order_cutoff: time = time(15, 0)
    working_days: Collection[int] = MONDAY_TO_FRIDAY
    holidays: Collection[date] = frozenset()
    dock_to_stock_days: int = 0

    def works_on(self, day: date) -> bool:
        """Whether anything is received or leaves that day."""
        return day.isoweekday() in self.working_days and day not in self.holidays

    def next_working_day(self, day: date) -> date:
        """The first working day after ``day``."""
        day += timedelta(days=1)
        while not self.works_on(day):
            day += timedelta(days=1)
        return day

    def dispatch(self, now: datetime) -> Dispatch:
        """When an order handed over at ``now`` leaves: the same working day until the cutoff, else the next one."""
        local = now.astimezone(self.time_zone)
        day = local.date()
        if not self.works_on(day) or local.time() >= self.order_cutoff:
            day = self.next_working_day(day)
        return Dispatch(
            day=day,
            ship_by=self.end_of(day),
            holds_from=now,
            holds_until=self.cutoff_on(day),
        )

    def end_of(self, day: date) -> datetime:
        """The last second of a day, as an instant."""
        return datetime.combine(day, time(23, 59, 59), self.time_zone).astimezone(UTC)

    def cutoff_on(self, day: date) -> datetime:
        """The instant of the order cutoff of a day."""
        return datetime.combine(day, self.order_cutoff, self.time_zone).astimezone(UTC)

    def ships_goods_arriving(self, arrival: datetime) -> datetime:
        """When orders that wait for goods arriving at ``arrival`` leave: the cutoff of that day, as an instant.

        Goods that arrive while the location rests are received on its next working day. With a dock-to-stock time they can be picked from
        the morning of that many working days later; without one from the moment they arrive.
        """
        if self.dock_to_stock_days == 0:
            return self.dispatch(arrival).holds_until
        day = arrival.astimezone(self.time_zone).date()
        if not self.works_on(day):
            day = self.next_working_day(day)
        for _ in range(self.dock_to_stock_days):
            day = self.next_working_day(day)
        return self.cutoff_on(day)
