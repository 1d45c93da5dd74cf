"""How money, dates and states are written for people. Everything is plain text; templates escape it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.portal.decide.facts import ORDER_HAS_MOVED_ON

SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CAD": "CA$", "AUD": "A$"}
DIGITS_AFTER_POINT: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Minor units of the currencies that do not have two. Source: ISO 4217, table A.1."""

MONTHS: Final = {
    "en": ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
    "de": ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"],
}

STATUS_LABELS: Final = {
    "announced": "Not yet known",
    "placed": "Placed",
    "partially_allocated": "Partly waiting",
    "fully_allocated": "Allocated",
    "in_fulfillment": "In fulfillment",
    "partially_shipped": "Partly shipped",
    "shipped": "Shipped",
    "delivered": "Delivered",
    "cancelled": "Cancelled",
}
"""For operators: short, in the words of the system."""

EVENT_LABELS: Final = {
    "order.placed.v1": "Order placed",
    "order.edited.v1": "Order changed",
    "order.edit_rejected.v1": "Change refused",
    "order.change_pending.v1": "Change waits for the warehouse",
    "order.payment_requested.v1": "Change waits for its payment",
    "order.cancelled.v1": "Order cancelled",
    "order.cancel_rejected.v1": "Cancellation refused",
    "order.delayed.v1": "Customer told of a date",
    "order.delay_consent_settled.v1": "Question about the delay settled",
    "order.needs_attention.v1": "Needs attention",
    "stock.reserved.v1": "Stock reserved",
    "stock.backordered.v1": "Waiting for stock",
    "stock.promise_changed.v1": "Ship date changed",
    "stock.reservation_released.v1": "Stock released",
    "fulfillment.started.v1": "Warehouse started",
    "fulfillment.shipped.v1": "Parcel shipped",
    "fulfillment.delivered.v1": "Parcel delivered",
    "fulfillment.cancelled.v1": "Fulfillment called off",
    "fulfillment.interception_moved.v1": "Interception",
    "return.approved.v1": "Return approved",
    "return.declined.v1": "Return declined",
    "return.inspected.v1": "Return inspected",
    "return.closed.v1": "Return closed",
    "refund.succeeded.v1": "Refund paid",
    "refund.failed.v1": "Refund failed",
}


SHOPPER_LABELS: Final = {
    "order.placed.v1": "We received your order",
    "order.edited.v1": "Your order was changed",
    "order.change_pending.v1": "We asked the warehouse about a change",
    "order.payment_requested.v1": "A change waits for its payment",
    "order.cancelled.v1": "Your order was cancelled",
    "stock.backordered.v1": "Some items are waiting for stock",
    "order.delayed.v1": "There is a new date",
    "fulfillment.started.v1": "The warehouse began to pack",
    "fulfillment.shipped.v1": "A parcel left the warehouse",
    "fulfillment.delivered.v1": "A parcel was delivered",
    "return.approved.v1": "Your return was approved",
    "return.declined.v1": "A return was not possible",
    "return.inspected.v1": "Your return arrived",
    "return.closed.v1": "Your return is done",
    "refund.succeeded.v1": "We sent your money back",
}
"""For shoppers: what concerns them, in their words. Other events are not shown to them."""

SHOPPER_ANSWERS: Final = {
    "consented": "You agreed to wait",
    "refused": "You did not want to wait",
    "lapsed": "We had no answer in time",
}
"""How a question about a delay ended, where shoppers had a part in it."""


SHOPPER_INTERCEPTIONS: Final = {
    "requested": "We asked the warehouse to hold a parcel back",
    "succeeded": "The warehouse held a parcel back",
    "failed": "A parcel could not be held back",
}
"""How far it is with a parcel whose order was cancelled."""

SHOPPER_REFUSALS: Final = {
    "order.edit_rejected.v1": "It was too late to change your order",
    "order.cancel_rejected.v1": "It was too late to cancel",
}
"""What shoppers asked for in vain, because the order had moved on."""


def shopper_words(event_type: str, data: Mapping[str, Any]) -> str | None:
    """What an event is called on a shopper's page; None for what is not shown there."""
    if event_type == "order.delay_consent_settled.v1":
        return SHOPPER_ANSWERS.get(data["outcome"])
    if event_type == "order.delayed.v1" and data["consent"] == "required":
        return "We asked whether you want to wait"
    if event_type == "fulfillment.interception_moved.v1":
        return SHOPPER_INTERCEPTIONS[data["outcome"]]
    if event_type in SHOPPER_REFUSALS:
        # Cancelling twice, or while a change waits, is none of the order's story; nor is what somebody else asked for.
        asked_by_shopper = data.get("actor") in (None, "shopper")
        return SHOPPER_REFUSALS[event_type] if asked_by_shopper and data["reason"] in ORDER_HAS_MOVED_ON else None
    return SHOPPER_LABELS.get(event_type)


def language_of(locale: str) -> str:
    """The language part of a locale."""
    return locale.split("-", 1)[0].lower()


def money(cents: int, currency: str, locale: str = "en") -> str:
    """An amount in minor units as people write it: ``$1,234.50``, ``1.234,50 €``."""
    digits = DIGITS_AFTER_POINT.get(currency, 2)
    sign = "−" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 10**digits)
    amount = f"{whole:,}" + (f".{rest:0{digits}d}" if digits else "")
    if language_of(locale) == "de":
        amount = amount.translate(str.maketrans(",.", ".,"))
        return f"{sign}{amount} {SYMBOLS.get(currency, currency)}"
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency}"


def _as_moment(moment: datetime | str) -> datetime:
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).astimezone(UTC)


def day(moment: datetime | str | None, locale: str = "en") -> str:
    """A date in words; empty for no date."""
    if not moment:
        return ""
    when = _as_moment(moment)
    language = language_of(locale)
    month = MONTHS.get(language, MONTHS["en"])[when.month - 1]
    return f"{when.day}. {month} {when.year}" if language == "de" else f"{when.day} {month} {when.year}"


def clock(moment: datetime | str | None) -> str:
    """Date and time in UTC, for operators."""
    return "" if not moment else _as_moment(moment).strftime("%Y-%m-%d %H:%M:%S")


def minute(moment: datetime | str | None, locale: str = "en") -> str:
    """Date and time to the minute in UTC, for shoppers."""
    if not moment:
        return ""
    when = _as_moment(moment)
    if language_of(locale) == "de":
        return f"{day(when, locale)}, {when:%H:%M} Uhr UTC"
    return f"{when.day} {MONTHS['en'][when.month - 1][:3]} {when.year}, {when:%H:%M} UTC"


def duration(seconds: float | None) -> str:
    """A length of time as people say it: the two largest units; empty for none."""
    if seconds is None:
        return ""
    left, parts = int(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def tail(identifier: object) -> str:
    """The end of an id, which tells ids of the same minute apart better than their beginning."""
    return f"…{str(identifier)[-10:]}"


def sentence(code: str) -> str:
    """A code of the contracts as words: ``no_location_can_ship`` -> ``No location can ship``."""
    return code.replace("_", " ").capitalize() if code else ""
