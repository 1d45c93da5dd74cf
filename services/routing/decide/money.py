"""What units are worth, to the cent, however a line is divided, and what goes back to the customer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from services.routing.decide.order import Line, Order, Payment
from shared.contracts.returns import RefundLine, RefundRequested

REFUNDS = UUID("5b0b6a4e-6f0e-5b52-9f2a-2f3c1d5b7a10")
"""The name space of refund ids, so that one cause has one refund id for ever (RFC 9562, version 5)."""


@dataclass(frozen=True, slots=True)
class Fall:
    """By how much one line got cheaper."""

    line_id: str
    units: int
    cents: int


def share_cents(total_cents: int, part: int, whole: int) -> int:
    """``part`` out of ``whole`` units' share of an amount, rounded half up.

    Shares are cumulative: what the units between two shares are worth is their difference, so partial amounts always add up to the whole.
    """
    return 0 if whole <= 0 else (2 * total_cents * part + whole) // (2 * whole)


def first_units_cents(line: Line, units: int) -> int:
    """What the first ``units`` of a line are worth: their price and their share of the line's tax."""
    return line.unit_price_cents * units + share_cents(line.tax_cents, units, line.quantity)


def total_cents(lines: Iterable[Line]) -> int:
    """What lines cost as they stand."""
    return sum(line.unit_price_cents * line.quantity + line.tax_cents for line in lines)


def refund_id_of(order_id: UUID, change_id: UUID) -> UUID:
    """The refund that a change of an order causes; the same for every repetition."""
    return uuid5(REFUNDS, f"{order_id}/{change_id}")


def cancellation_refund(order: Order, change_id: UUID) -> RefundRequested | None:
    """The money for every unit that will not ship.

    Shipped units count as the first ones of their line and keep their share. What was paid for shipping goes back only when nothing of the
    order has shipped. None when there is nothing to give back.
    """
    lines = []
    for line in order.lines:
        kept = line.quantity - line.open - line.cancelled
        if line.open:
            cents = first_units_cents(line, kept + line.open) - first_units_cents(line, kept)
            lines.append(RefundLine(line_id=line.line_id, quantity=line.open, amount_cents=cents))
    untouched = not any(line.shipped or line.cancelled for line in order.lines)
    shipping_cents = order.shipping_paid_cents if untouched else 0
    amount_cents = sum(line.amount_cents for line in lines) + shipping_cents
    if amount_cents == 0:
        return None
    return RefundRequested(
        refund_id=refund_id_of(order.order_id, change_id),
        order_id=order.order_id,
        cause="cancelled",
        cause_id=change_id,
        lines=lines,
        shipping_cents=shipping_cents,
        amount_cents=amount_cents,
        currency=order.currency,
    )


def edit_refund(
    order: Order, change_id: UUID, falls: Sequence[Fall], amount_cents: int, shipping_fall_cents: int = 0
) -> RefundRequested | None:
    """The money by which an edit made the order cheaper, taken from shipping and then from the lines that fell, until it is covered.

    Lines that rose are paid out of what fell, so a line may give back less than it fell by.
    """
    if amount_cents <= 0:
        return None
    lines = []
    shipping_cents = min(amount_cents, max(0, shipping_fall_cents))
    open_cents = amount_cents - shipping_cents
    for fall in falls:
        cents = min(fall.cents, open_cents)
        open_cents -= cents
        if cents or fall.units:
            lines.append(RefundLine(line_id=fall.line_id, quantity=fall.units, amount_cents=cents))
    return RefundRequested(
        refund_id=refund_id_of(order.order_id, change_id),
        order_id=order.order_id,
        cause="edited",
        cause_id=change_id,
        lines=lines,
        shipping_cents=shipping_cents,
        amount_cents=amount_cents,
        currency=order.currency,
    )


def payment_refund(order: Order, payment: Payment) -> RefundRequested:
    """What was paid for an edit that was not made, all of it. It is money of no unit: the first line carries it."""
    return RefundRequested(
        refund_id=refund_id_of(order.order_id, payment.payment_id),
        order_id=order.order_id,
        cause="edited",
        cause_id=payment.payment_id,
        lines=[RefundLine(line_id=order.lines[0].line_id, quantity=0, amount_cents=payment.amount_cents)],
        amount_cents=payment.amount_cents,
        currency=order.currency,
    )
