"""What a scan in the warehouse means for a return: dispositions, the refund for what came, and what is still missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

from services.returns.decide.books import OrderBooks
from services.returns.decide.prices import share_cents
from services.returns.decide.refunds import Claim, ClaimedLine
from shared.contracts.returns import Disposition, DispositionLine, ReturnScanRequested

LATE_PARCEL_GRACE = timedelta(days=14)
"""How long after its label has expired a parcel may still arrive: it may have been posted on the last day."""

ReturnStatus = Literal["approved", "declined", "received", "inspected", "closed", "cancelled"]
ScanRefusal = Literal["unknown_return", "already_closed", "quantity_exceeds_approved", "unknown_line"]


@dataclass(frozen=True, slots=True)
class ReturnLineBooks:
    """One line of a return. ``quote_cents`` is what all approved units pay; units that come in parts are paid cumulatively."""

    line_id: str
    sku: str
    approved_units: int
    quote_cents: int
    restocked_units: int = 0
    damaged_units: int = 0
    missing_units: int = 0
    refunded_cents: int = 0

    @property
    def received_units(self) -> int:
        """Units that arrived, in whatever condition."""
        return self.restocked_units + self.damaged_units

    @property
    def outstanding_units(self) -> int:
        """Units that may still arrive."""
        return self.approved_units - self.received_units - self.missing_units


@dataclass(frozen=True, slots=True)
class ReturnBooks:
    """One return. ``unsettled_refunds`` counts its refunds that have not succeeded."""

    return_id: UUID
    order_id: UUID
    status: ReturnStatus
    expires_at: datetime | None
    lines: Mapping[str, ReturnLineBooks]
    succeeded_cents: int = 0
    unsettled_refunds: int = 0
    inspected_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def outstanding_units(self) -> int:
        """Units of all lines that may still arrive."""
        return sum(line.outstanding_units for line in self.lines.values())


@dataclass(frozen=True, slots=True)
class BookedScan:
    """A scan that was booked before."""

    scan_id: UUID
    return_id: UUID
    location: str
    units: tuple[tuple[str, str, int], ...]
    closes: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """A scan that may be booked, and everything that follows from it. ``claim`` is None when nothing is to be paid."""

    dispositions: tuple[DispositionLine, ...]
    claim: Claim | None
    books: OrderBooks
    returned: ReturnBooks


@dataclass(frozen=True, slots=True)
class ScanRefused:
    """The scan contradicts the return; the operator is told."""

    reason: ScanRefusal
    detail: str


@dataclass(frozen=True, slots=True)
class ScanTooEarly:
    """The scan comes before what it builds on; it waits for a while, then a person must look."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScanInvalid:
    """The message makes no sense as it is; it is parked with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScanRepeated:
    """This very scan is booked already: nothing to do."""


ScanDecision = Inspection | ScanRefused | ScanTooEarly | ScanInvalid | ScanRepeated


def scan_content(scan: ReturnScanRequested) -> BookedScan:
    """What makes two messages the same scan."""
    units = sorted((unit.line_id, unit.condition, unit.quantity) for unit in scan.units)
    return BookedScan(scan.scan_id, scan.return_id, scan.location, tuple(units), scan.closes)


def inspect(
    books: OrderBooks | None,
    returned: ReturnBooks | None,
    scan: ReturnScanRequested,
    booked: BookedScan | None,
    now: datetime,
    *,
    location_known: bool,
) -> ScanDecision:
    """Judges a scan: sellable units are restocked, others booked as damaged; both are refunded in full, missing ones are not.

    When the scan closes the return, or nothing is outstanding after it, the units that did not come are missing: the customer keeps them,
    the money held for them is free again and they may be authorised anew. Nothing is booked, and so nothing is paid, at a place that is not
    registered: no shelf there could take the units.
    """
    if booked is not None:
        if booked == scan_content(scan):
            return ScanRepeated()
        return ScanInvalid(f"scan_id: {scan.scan_id} was booked with other content; use a fresh scan_id for another scan")
    if returned is None or books is None or returned.status == "declined":
        return ScanRefused("unknown_return", f"no return {scan.return_id} was approved; authorise it first")
    if returned.status not in ("approved", "received"):
        return ScanRefused("already_closed", f"return {scan.return_id} is {returned.status}; authorise a new one for units that came later")
    if not scan.units and not scan.closes:
        return ScanInvalid("units: the list is empty and closes is false, so there is nothing to book; list the units or set closes")
    sellable, damaged = _counted(scan, "sellable"), _counted(scan, "damaged")
    for line_id in {**sellable, **damaged}:
        line = returned.lines.get(line_id)
        if line is None:
            return ScanRefused("unknown_line", f"line {line_id} is no part of return {scan.return_id}")
        found = sellable.get(line_id, 0) + damaged.get(line_id, 0)
        if found > line.outstanding_units:
            return ScanRefused(
                "quantity_exceeds_approved",
                f"line {line_id}: {found} units scanned, {line.outstanding_units} of {line.approved_units} approved are still expected",
            )
    if not location_known:
        return ScanTooEarly(
            f"location: {scan.location!r} is not registered here, so nothing was booked and nothing is refunded; scan again with the code "
            "of the location where the parcel is, or register this one"
        )
    scanned = [_scanned(line, sellable.get(line.line_id, 0), damaged.get(line.line_id, 0)) for line in returned.lines.values()]
    return _book(books, returned, scan, scanned, now)


def _counted(scan: ReturnScanRequested, condition: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for unit in scan.units:
        if unit.condition == condition:
            counted[unit.line_id] = counted.get(unit.line_id, 0) + unit.quantity
    return counted


def _scanned(line: ReturnLineBooks, sellable: int, damaged: int) -> ReturnLineBooks:
    received = line.received_units + sellable + damaged
    return replace(
        line,
        restocked_units=line.restocked_units + sellable,
        damaged_units=line.damaged_units + damaged,
        refunded_cents=share_cents(line.quote_cents, received, line.approved_units),
    )


def _given_up(line: ReturnLineBooks) -> ReturnLineBooks:
    return replace(line, missing_units=line.missing_units + line.outstanding_units)


def _book(books: OrderBooks, returned: ReturnBooks, scan: ReturnScanRequested, scanned: list[ReturnLineBooks], now: datetime) -> Inspection:
    if scan.closes:
        scanned = [_given_up(line) for line in scanned]
    complete = all(line.outstanding_units == 0 for line in scanned)
    before = returned.lines
    claimed = tuple(
        ClaimedLine(line.line_id, line.received_units - before[line.line_id].received_units, paid)
        for line in scanned
        if (paid := line.refunded_cents - before[line.line_id].refunded_cents) > 0
    )
    claim = None
    if claimed:
        # The same scan always makes the same refund, so it can never pay twice.
        claim = Claim(
            uuid5(scan.scan_id, "refund"), books.order_id, "returned", scan.scan_id, claimed, 0, books.currency, returned.return_id
        )
    after = replace(
        returned,
        status="inspected" if complete else "received",
        inspected_at=now if complete else None,
        lines={line.line_id: line for line in scanned},
        unsettled_refunds=returned.unsettled_refunds + (1 if claim else 0),
    )
    return Inspection(_dispositions(before, scanned), claim, _settle_lines(books, before, scanned), close_when_settled(after, now))


def _dispositions(before: Mapping[str, ReturnLineBooks], after: list[ReturnLineBooks]) -> tuple[DispositionLine, ...]:
    lines = []
    for line in after:
        old = before[line.line_id]
        units: dict[Disposition, int] = {
            "restocked": line.restocked_units - old.restocked_units,
            "damaged": line.damaged_units - old.damaged_units,
            "missing": line.missing_units - old.missing_units,
        }
        lines += [
            DispositionLine(line_id=line.line_id, sku=line.sku, quantity=count, disposition=disposition)
            for disposition, count in units.items()
            if count > 0
        ]
    return tuple(lines)


def _settle_lines(books: OrderBooks, before: Mapping[str, ReturnLineBooks], after: list[ReturnLineBooks]) -> OrderBooks:
    """Turns held money into refunded money for what came, and frees what was held for what did not."""
    changed = []
    for line in after:
        old = before[line.line_id]
        order_line = books.lines[line.line_id]
        paid = line.refunded_cents - old.refunded_cents
        freed = line.quote_cents - line.refunded_cents if line.outstanding_units == 0 and old.outstanding_units > 0 else 0
        changed.append(
            replace(
                order_line,
                held_cents=order_line.held_cents - paid - freed,
                returned_cents=order_line.returned_cents + paid,
                open_units=order_line.open_units - (old.outstanding_units - line.outstanding_units),
                received_units=order_line.received_units + line.received_units - old.received_units,
            )
        )
    return books.with_lines(changed)


def close_when_settled(returned: ReturnBooks, now: datetime) -> ReturnBooks:
    """A return is closed once it is inspected and every refund it caused has succeeded."""
    if returned.status == "inspected" and returned.unsettled_refunds == 0:
        return replace(returned, status="closed", closed_at=now)
    return returned


def expire(books: OrderBooks, returned: ReturnBooks, now: datetime) -> tuple[OrderBooks, ReturnBooks]:
    """Gives up what has not arrived long after its label expired: nothing waits for ever, and the held money is free again."""
    if returned.status not in ("approved", "received") or returned.expires_at is None or now <= returned.expires_at + LATE_PARCEL_GRACE:
        return books, returned
    given_up = [_given_up(line) for line in returned.lines.values()]
    lines = {line.line_id: line for line in given_up}
    freed = _settle_lines(books, returned.lines, given_up)
    if returned.status == "approved":
        return freed, replace(returned, status="cancelled", closed_at=now, lines=lines)
    return freed, close_when_settled(replace(returned, status="inspected", inspected_at=now, lines=lines), now)
