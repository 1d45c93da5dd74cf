"""May these units come back, what is paid for them, and under which label."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.returns.decide.books import LineBooks, OrderBooks, Policy
from shared.contracts.returns import ReturnLine, ReturnRefusal

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Digits and letters that nobody mistakes for one another. Source: Douglas Crockford, Base 32."""


@dataclass(frozen=True, slots=True)
class Label:
    """What the customer sticks on the parcel."""

    return_number: str
    carrier: str
    tracking_number: str
    return_address: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """Units of one line that may come back, and what is paid when all of them arrive."""

    line_id: str
    sku: str
    units: int
    quote_cents: int


@dataclass(frozen=True, slots=True)
class Approval:
    """The return may come; the quoted money is held for it in ``books``."""

    lines: tuple[QuotedLine, ...]
    label: Label
    books: OrderBooks

    @property
    def quote_cents(self) -> int:
        """What is paid when everything arrives."""
        return sum(line.quote_cents for line in self.lines)


@dataclass(frozen=True, slots=True)
class Declined:
    """The return may not come, and why."""

    reason: ReturnRefusal
    detail: str


@dataclass(frozen=True, slots=True)
class Returnable:
    """How many units of a line may still come back. ``closes_at`` is when the last open window closes; None without an open window."""

    line: LineBooks
    units: int
    closes_at: datetime | None


def returnable_units(line: LineBooks, policy: Policy, now: datetime) -> Returnable:
    """Shipped units whose window is open, less those that came back or may come back already.

    Units of a line are alike, so earlier returns count against the oldest parcels first: the customer keeps the longest windows.
    """
    window = timedelta(days=policy.window_days)
    open_parcels = [parcel for parcel in line.shipped if now <= parcel.window_starts_at + window]
    in_window = sum(parcel.quantity for parcel in open_parcels)
    units = max(0, min(in_window, line.shipped_units - line.spoken_for_units))
    closes_at = max((parcel.window_starts_at + window for parcel in open_parcels), default=None)
    return Returnable(line, units, closes_at if units else None)


def quote_cents(line: LineBooks, units: int) -> int:
    """What ``units`` more of a line are worth: the value of all units spoken for, less what is already paid or held for them.

    Counting cumulatively makes the refunds of a line add up to the line exactly, in whatever steps it comes back. Never more than is left
    of what was captured. Shipping is no part of a line, so no return refunds it.
    """
    spoken_for = min(line.quantity, line.spoken_for_units + units)
    due_cents = line.value_cents(spoken_for) - line.returned_cents - line.held_cents
    return max(0, min(due_cents, line.free_cents))


def authorise(
    books: OrderBooks, return_id: UUID, lines: Sequence[ReturnLine], now: datetime, *, cancelled_in_time: bool = False
) -> Approval | Declined:
    """Decides about a whole request; one line that may not come back declines it all, and the detail names it.

    No window stands against a parcel that was cancelled before it left: its customer never wanted it.
    """
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.line_id] = wanted.get(line.line_id, 0) + line.quantity
    quoted = []
    for line_id, units in wanted.items():
        known = books.lines.get(line_id)
        if known is None:
            return Declined("unknown_line", f"the order has no line {line_id}")
        unreturned = known.shipped_units - known.spoken_for_units
        refusal = None if cancelled_in_time and units <= unreturned else _refusal(known, units, books.policy, now)
        if refusal is not None:
            return refusal
        quoted.append(QuotedLine(line_id, known.sku, units, quote_cents(known, units)))
    held = books.with_lines(
        replace(
            books.lines[line.line_id],
            held_cents=books.lines[line.line_id].held_cents + line.quote_cents,
            open_units=books.lines[line.line_id].open_units + line.units,
        )
        for line in quoted
    )
    return Approval(tuple(quoted), make_label(return_id, books.policy, now), held)


def _refusal(line: LineBooks, units: int, policy: Policy, now: datetime) -> Declined | None:
    found = returnable_units(line, policy, now)
    if units <= found.units:
        return None
    if line.shipped_units == 0:
        return Declined("not_shipped", f"nothing of line {line.line_id} has shipped yet; cancel or edit the order instead")
    unreturned = line.shipped_units - line.spoken_for_units
    if units <= unreturned:
        return Declined(
            "window_closed",
            f"line {line.line_id}: {units} units asked for, {found.units} can still come back; "
            f"the window is {policy.window_days} days from delivery",
        )
    return Declined(
        "quantity_exceeds_shipped",
        f"line {line.line_id}: {units} units asked for, {line.shipped_units} shipped, "
        f"{line.spoken_for_units} of them came back or are on their way back",
    )


def return_number(return_id: UUID) -> str:
    """What people call a return: 60 bits of the id's digest in letters and digits that can be read out."""
    bits = int.from_bytes(hashlib.sha256(return_id.bytes).digest()[:8], "big") >> 4
    number = "".join(CROCKFORD[(bits >> shift) & 31] for shift in range(55, -1, -5))
    return f"R-{number[:4]}-{number[4:8]}-{number[8:]}"


def make_label(return_id: UUID, policy: Policy, now: datetime) -> Label:
    """The label of a return. Its numbers follow from the return's id, so that printing it again prints the same label."""
    digest = hashlib.sha256(return_id.bytes).digest()
    digits = f"{int.from_bytes(digest[8:16], 'big') % 10**17:017d}"
    return Label(
        return_number=return_number(return_id),
        carrier=policy.label_carrier,
        tracking_number=f"RT{digits}{check_digit(digits)}",
        return_address=policy.return_address,
        expires_at=now + timedelta(days=policy.label_days),
    )


def check_digit(digits: str) -> int:
    """Catches a mistyped or swapped digit. Source: GS1 General Specifications, section 7.9, modulo 10 with weights 3 and 1."""
    total = sum(int(digit) * (3 if index % 2 == 0 else 1) for index, digit in enumerate(reversed(digits)))
    return -total % 10
