"""Goods on their way: what may be said about a supply, and what it still brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from shared.calendar import WorkCalendar
from shared.contracts.stock import SupplyLine, SupplyScheduled

OLDEST_EXPECTED_DATE = timedelta(days=1)
"""How far before the moment at which it is said an expected date may lie: today's date without a time is fine anywhere on earth."""

OVERDUE_AFTER = timedelta(days=1)
"""How long after its ship date a supply that has not come keeps that date: receipts are often booked at the end of the day."""

SupplyStatus = Literal["expected", "partly_received", "overdue", "received", "closed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Supply:
    """Goods on their way.

    ``leaves_at`` is when orders that wait for them leave by the location's calendar, None where no calendar is known. ``said_at`` is when
    the newest change of the date was said. ``scheduled`` is what was said first.
    """

    supply_id: UUID
    location: str
    expected_at: datetime
    leaves_at: datetime | None = None
    cancelled: bool = False
    overdue: bool = False
    said_at: datetime | None = None
    scheduled: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExpectedLine:
    """One SKU of a supply. ``called_off`` units will not come; what came beyond the rest is over-received."""

    quantity: int
    received: int = 0
    called_off: int = 0
    changed_at: datetime | None = None

    @property
    def expected(self) -> int:
        """Units still to come."""
        return max(0, self.quantity - self.called_off - self.received)


class ReceivedUnits(NamedTuple):
    """Units of one SKU that a receipt brought, and how many of them nobody expected any more."""

    sku: str
    quantity: int
    over_received: int


def supply_status(*, cancelled: bool, overdue: bool, received: int, expected: int) -> SupplyStatus:
    """What a person calls the state of a supply. A cancelled one of which some came is closed."""
    if cancelled:
        return "closed" if received else "cancelled"
    if expected == 0:
        return "received"
    if overdue:
        return "overdue"
    return "partly_received" if received else "expected"


def units_by_sku(lines: Iterable[SupplyLine]) -> dict[str, int]:
    """Sums units per SKU: one message may name a SKU twice."""
    units: dict[str, int] = {}
    for line in lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    return units


def content_of(message: SupplyScheduled) -> dict[str, Any]:
    """What was said, in a form that can be kept and compared."""
    return {
        "location": message.location,
        "expected_at": message.expected_at.timestamp(),
        "purchase_order": message.purchase_order,
        "lines": units_by_sku(message.lines),
    }


def contradictions(known: Mapping[str, Any] | None, said: Mapping[str, Any]) -> list[str]:
    """The fields in which a supply that is scheduled again differs from what was scheduled under its id.

    Args:
        known: what was said first; None for supplies of an older version, which did not keep it.
        said: what is said now.
    """
    if known is None:
        return []
    return [name for name in ("location", "expected_at", "purchase_order", "lines") if known[name] != said[name]]


def is_past(expected_at: datetime, said_at: datetime) -> bool:
    """Whether a date lay in the past when it was said. Goods that are late get a new date, goods that are there are received."""
    return expected_at < said_at - OLDEST_EXPECTED_DATE


def is_overdue(ships_at: datetime, now: datetime) -> bool:
    """Whether goods that have not come can no longer keep their date: it is taken back, because nobody knows a better one."""
    return ships_at < now - OVERDUE_AFTER


def leaves_at(calendar: WorkCalendar | None, expected_at: datetime) -> datetime | None:
    """When orders that wait for goods expected at a location leave it; None where no calendar is known."""
    return None if calendar is None else calendar.ships_goods_arriving(expected_at)


def reschedule(supply: Supply, expected_at: datetime, calendar: WorkCalendar | None, said_at: datetime) -> Supply:
    """Moves the date, unless a newer change is known already: changes may arrive in any order."""
    if supply.said_at is not None and said_at < supply.said_at:
        return supply
    return replace(supply, expected_at=expected_at, leaves_at=leaves_at(calendar, expected_at), overdue=False, said_at=said_at)


def change_lines(
    lines: Mapping[str, ExpectedLine], wanted: Mapping[str, int], said_at: datetime
) -> tuple[dict[str, ExpectedLine], str | None]:
    """Lines of a supply that bring another quantity in all, and the first SKU of which more has come than is wanted, if any.

    A line about which something newer was said stays as it is.
    """
    changed: dict[str, ExpectedLine] = {}
    for sku, quantity in wanted.items():
        line = lines.get(sku, ExpectedLine(0))
        if line.changed_at is not None and said_at < line.changed_at:
            continue
        if quantity < line.received and quantity < line.quantity:
            return {}, sku
        changed[sku] = replace(line, quantity=quantity, changed_at=said_at)
    return changed, None


def call_off(lines: Mapping[str, ExpectedLine]) -> dict[str, ExpectedLine]:
    """Lines of a supply that brings nothing more."""
    return {sku: replace(line, called_off=line.called_off + line.expected) for sku, line in lines.items()}


def receive(lines: Mapping[str, ExpectedLine], came: Iterable[SupplyLine]) -> tuple[dict[str, ExpectedLine], Sequence[ReceivedUnits]]:
    """What a receipt leaves to come. Everything that is physically there is booked; what nobody expected is named."""
    left = dict(lines)
    units: list[ReceivedUnits] = []
    for sku, quantity in units_by_sku(came).items():
        line = left.get(sku, ExpectedLine(0))
        units.append(ReceivedUnits(sku, quantity, max(0, quantity - line.expected)))
        left[sku] = replace(line, received=line.received + quantity)
    return left, units
