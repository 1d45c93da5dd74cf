"""The customer's business days: when a parcel arrives, and when it must. Monday to Friday count; carriers rest on weekends.

When a parcel leaves is for the location's own calendar to say (``shared/calendar.py``).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.calendar import WorkCalendar

PROMISE_CUTOFF = time(15, 0)
"""Orders placed by then, where the customer lives, count as placed that business day. Source: the default order cutoff of locations."""

PROMISED_BUSINESS_DAYS = {"two_day": 2, "next_day": 1}
"""Days from the day an order counts as placed to the day it must arrive; ``standard`` promises no date."""


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


def promised_day(service_level: str, deliver_by: datetime | None, promise_from: datetime, time_zone: ZoneInfo) -> date | None:
    """The last day on which a parcel keeps the promise, where the customer lives; None when no day was promised.

    A date that the customer was told wins over the service level.
    """
    if deliver_by is not None:
        return deliver_by.astimezone(time_zone).date()
    days = PROMISED_BUSINESS_DAYS.get(service_level)
    if days is None:
        return None
    return add_business_days(WorkCalendar(time_zone, PROMISE_CUTOFF).dispatch(promise_from).day, days)
