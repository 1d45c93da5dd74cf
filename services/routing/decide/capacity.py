"""When a location that limits its work has a free slot (feature C7). One fulfillment order takes one slot.

A location whose day is full is not closed: what it is asked to do falls on its next working day with a slot, and leaves then. An hour is
a clock hour at the location, from the start of its work to its order cutoff. docs/decisions/0022-capacity.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple, TypeVar

from shared.calendar import WorkCalendar

WHOLE_DAY = -1
"""The hour of the count of a day."""
MOST_DAYS_AHEAD = 366
"""How far ahead slots are looked for."""

SlotKey = tuple[str, date, int]
"""Location, day, and hour or ``WHOLE_DAY``: one count of taken slots."""

KeyT = TypeVar("KeyT")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many fulfillment orders a location takes; None: any number."""

    per_day: int | None
    per_hour: int | None
    work_starts: time = time(8, 0)

    def of(self, hour: int) -> int | None:
        """The capacity of an hour, or of the whole day."""
        return self.per_day if hour == WHOLE_DAY else self.per_hour


class Slot(NamedTuple):
    """The first free slot of a location: the day on which what takes it leaves.

    ``put_off`` counts the working days that are full before it. ``day_taken`` and ``hour_taken`` are what is taken beside it.
    """

    day: date
    hour: int | None
    put_off: int
    day_taken: int
    hour_taken: int | None


def keys_of(location: str, day: date, hour: int | None) -> tuple[SlotKey, ...]:
    """The counts in which a slot is counted."""
    whole_day = (location, day, WHOLE_DAY)
    return (whole_day,) if hour is None else (whole_day, (location, day, hour))


def first_free(location: str, capacity: Capacity, calendar: WorkCalendar, taken: Mapping[SlotKey, int], now: datetime) -> Slot | None:
    """The first slot in which a location can work on what it is given now; None when a year is full."""
    today = now.astimezone(calendar.time_zone)
    day = calendar.dispatch(now).day
    last = day + timedelta(days=MOST_DAYS_AHEAD)
    put_off = 0
    while day <= last:
        day_taken = taken.get((location, day, WHOLE_DAY), 0)
        if capacity.per_day is None or day_taken < capacity.per_day:
            if capacity.per_hour is None:
                return Slot(day, None, put_off, day_taken, None)
            begin = capacity.work_starts.hour
            if day == today.date():
                begin = max(begin, today.hour)
            for hour in range(begin, _last_hour(calendar.order_cutoff) + 1):
                hour_taken = taken.get((location, day, hour), 0)
                if hour_taken < capacity.per_hour:
                    return Slot(day, hour, put_off, day_taken, hour_taken)
        day = calendar.next_working_day(day)
        put_off += 1
    return None


def _last_hour(cutoff: time) -> int:
    return cutoff.hour if cutoff.minute else cutoff.hour - 1


def price_cents(capacity: Capacity, slot: Slot, full_cents: int) -> int:
    """What a slot of a location counts more than it costs: nothing while all are free, ``full_cents`` for the last one, and as much again
    for every full day that is skipped.

    The share of the slots that is left is weighed by the penalty function of Golrezaei, Nazerzadeh and Rusmevichientong, Real-Time
    Optimization of Personalized Assortments (Management Science 60, 2014): 1 - e / (e - 1) (1 - exp(-share)).
    """
    shares = [
        (limit - taken) / limit
        for limit, taken in ((capacity.per_day, slot.day_taken), (capacity.per_hour, slot.hour_taken))
        if limit is not None and taken is not None
    ]
    penalty = 1 - math.e / (math.e - 1) * (1 - math.exp(-min(shares)))
    return full_cents * slot.put_off + round(full_cents * penalty)


class Openings:
    """The first free slots as one batch sees them: after what is committed, and after what its own plans take.

    Args:
        limited: capacity and calendar of every location that limits its work.
        taken: slots that are taken.
        now: the time.
    """

    def __init__(self, limited: Mapping[str, tuple[Capacity, WorkCalendar]], taken: Mapping[SlotKey, int], now: datetime) -> None:
        self._limited = limited
        self._taken = dict(taken)
        self._now = now
        self._first: dict[str, Slot | None] = {}

    def seen(self, locations: Iterable[str]) -> dict[str, Slot | None]:
        """The first free slot of those of these locations that limit their work, in the order of their codes."""
        return {code: self._first_of(code) for code in sorted(self._limited.keys() & set(locations))}

    def take(self, location: str, slot: Slot) -> None:
        """A plan of this batch takes a slot."""
        for key in keys_of(location, slot.day, slot.hour):
            self._taken[key] = self._taken.get(key, 0) + 1
        self._first.pop(location, None)

    def _first_of(self, location: str) -> Slot | None:
        if location not in self._first:
            capacity, calendar = self._limited[location]
            self._first[location] = first_free(location, capacity, calendar, self._taken, self._now)
        return self._first[location]


def without_a_slot(
    wanted: Iterable[tuple[KeyT, Sequence[SlotKey]]], taken: Mapping[SlotKey, int], limits: Mapping[SlotKey, int | None]
) -> set[KeyT]:
    """Who comes too late, because somebody else has taken the slots since they were looked at. First come, first served, all or nothing.

    Args:
        wanted: who wants which, in their turn.
        taken: slots that are taken, the counts locked.
        limits: how many there are; None: any number.
    """
    counts = dict(taken)
    late = set()
    for who, keys in wanted:
        after = {key: counts.get(key, 0) + keys.count(key) for key in keys}
        if any((limit := limits[key]) is not None and count > limit for key, count in after.items()):
            late.add(who)
        else:
            counts |= after
    return late
