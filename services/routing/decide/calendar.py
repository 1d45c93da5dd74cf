"""Business days: when a parcel leaves, and when it arrives. Monday to Friday count; carriers and warehouses rest on weekends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PROMISE_CUTOFF = time(15, 0)
"""Orders placed by then, where the customer lives, count as placed that business day. Source: the default order cutoff of locations."""

PROMISED_BUSINESS_DAYS = {"two_day": 2, "next_day": 1}
"""Days from the day an order counts as placed to the day it must arrive; ``standard`` promises no date."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The day on which an order handed over now leaves, and until when that holds. ``ship_by`` is the end of that day at the location."""

    day: date
    ship_by: datetime
    holds_from: datetime
    holds_until: datetime


def is_business_day(day: date) -> bool:
    """Monday to Friday."""
    return day.weekday() < 5


def next_business_day(day: date) -> date:
    """The first business day after ``day``."""
    day += timedelta(days=1)
    while not is_business_day(day):
        day += timedelta(days=1)
    return day


def add_business_days(day: date, days: int) -> date:
    """``days`` business days after ``day``."""
    for _ in range(days):
        day = next_business_day(day)
    return day


def dispatch_at(now: datetime, time_zone: ZoneInfo, order_cutoff: time) -> Dispatch:
    """When an order handed over at ``now`` leaves: the same business day until the location's cutoff, else the next one."""
    local = now.astimezone(time_zone)
    day = local.date()
    if not is_business_day(day) or local.time() >= order_cutoff:
        day = next_business_day(day)
    return Dispatch(
        day=day,
        ship_by=datetime.combine(day, time(23, 59, 59), time_zone).astimezone(UTC),
        holds_from=now,
        holds_until=datetime.combine(day, order_cutoff, time_zone).astimezone(UTC),
    )


def promised_day(service_level: str, deliver_by: datetime | None, promise_from: datetime, time_zone: ZoneInfo) -> date | None:
    """The last day on which a parcel keeps the promise, where the customer lives; None when no day was promised.

    A date that the customer was told wins over the service level.
    """
    if deliver_by is not None:
        return deliver_by.astimezone(time_zone).date()
    days = PROMISED_BUSINESS_DAYS.get(service_level)
    if days is None:
        return None
    return add_business_days(dispatch_at(promise_from, time_zone, PROMISE_CUTOFF).day, days)
