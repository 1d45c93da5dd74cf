"""What an event adds to the story of its order, and what the customer is told because of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from typing import Any, Literal
from uuid import UUID, uuid5

from shared.contracts.base import Message
from shared.contracts.fulfillment import (
    FulfillmentCancelled,
    FulfillmentDelivered,
    FulfillmentInterceptionMoved,
    FulfillmentShipped,
    FulfillmentStarted,
    OrderNeedsAttention,
)
from shared.contracts.orders import (
    LineUnits,
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderDelayConsentSettled,
    OrderDelayed,
    OrderEdited,
    OrderEditRejected,
    OrderPaymentRequested,
    OrderPlaced,
)
from shared.contracts.returns import RefundFailed, RefundSucceeded, ReturnApproved, ReturnClosed, ReturnDeclined, ReturnInspected
from shared.contracts.stock import (
    ReleasedLine,
    ReservedLine,
    StockBackordered,
    StockPromiseChanged,
    StockReservationReleased,
    StockReserved,
)

NotificationKind = Literal[
    "confirmation", "changed", "delay", "shipped", "cancelled", "change_refused", "return_label", "refund", "payment_due", "payment_dropped"
]

ORDER_HAS_MOVED_ON = frozenset({"fulfillment_started", "already_shipped"})
"""Refusals of which a customer who asked must hear by mail. All others (a stale version, an unknown line) concern only the one who asked
just now."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of an order's timeline.

    Args:
        order_id: the order it is about.
        fact_id: names the business fact: the same fact told twice, under whatever event ids, is one row.
        at: when it happened by its owner's clock; None where the event does not say, then the envelope's time counts.
        data: what a person wants to know of it. No personal data.
        tells: the notification it causes, if the customer hears of it.
    """

    order_id: UUID
    fact_id: UUID
    at: datetime | None
    data: dict[str, Any]
    tells: NotificationKind | None = None


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _units(lines: Iterable[LineUnits | ReservedLine | ReleasedLine]) -> list[dict[str, Any]]:
    return [{"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity} for line in lines]


@singledispatch
def fact_of(message: Message, event_id: UUID) -> Fact:
    """What one event adds to its order's timeline.

    Raises:
        TypeError: the portal does not know this type; the service's table of contents and this module disagree.
    """
    raise TypeError(f"{message.type} ({event_id}) is no event of an order's timeline")


@fact_of.register
def _(message: OrderPlaced, event_id: UUID) -> Fact:
    units = sum(line.quantity for line in message.lines)
    data = {"order_version": message.order_version, "lines": len(message.lines), "units": units}
    return Fact(message.order_id, message.order_id, message.placed_at, data, "confirmation")


@fact_of.register
def _(message: OrderEdited, event_id: UUID) -> Fact:
    data = {
        "change_id": str(message.change_id),
        "order_version": message.order_version,
        "actor": message.actor.kind,
        "money_delta_cents": message.money_delta_cents,
        "shipping_delta_cents": message.shipping_delta_cents,
        "withdrawn_fulfillments": len(message.withdrawn_fulfillment_ids),
        "cancelled": sum(line.quantity for line in message.cancelled),
        "not_cancelled": sum(line.quantity for line in message.not_cancelled),
    }
    return Fact(message.order_id, message.change_id, message.edited_at, data, "changed")


def _refusal(message: OrderEditRejected | OrderCancelRejected, change: str) -> Fact:
    data = {
        "change_id": str(message.change_id),
        "change": change,
        "actor": message.actor.kind if message.actor else None,
        "reason": message.reason,
        "detail": message.detail,
        "returns": len(message.return_ids) if isinstance(message, OrderCancelRejected) else 0,
    }
    if isinstance(message, OrderEditRejected) and message.unpaid is not None:
        # Who was told to pay is told that it is over, whoever had asked for the change. Where the whole order is cancelled
        # they hear it by the mail of that; one of some units says nothing of the change.
        return Fact(message.order_id, message.change_id, None, {**data, "unpaid": message.unpaid}, _end_of_payment(message.unpaid))
    # The mail says "you asked us": what an operator or the channel asked for is not told as the customer's wish.
    asked_by_customer = message.actor is None or message.actor.kind == "shopper"
    tells: NotificationKind | None = "change_refused" if asked_by_customer and message.reason in ORDER_HAS_MOVED_ON else None
    return Fact(message.order_id, message.change_id, None, data, tells)


def _end_of_payment(unpaid: str) -> NotificationKind | None:
    return None if unpaid == "cancelled" else "payment_dropped"


@fact_of.register
def _(message: OrderEditRejected, event_id: UUID) -> Fact:
    return _refusal(message, "edit")


@fact_of.register
def _(message: OrderCancelRejected, event_id: UUID) -> Fact:
    return _refusal(message, "cancel")


@fact_of.register
def _(message: OrderChangePending, event_id: UUID) -> Fact:
    data = {
        "change_id": str(message.change_id),
        "change": message.change,
        "actor": message.actor.kind if message.actor else None,
        "answer_due_at": _moment(message.answer_due_at),
    }
    return Fact(message.order_id, message.change_id, None, data)


@fact_of.register
def _(message: OrderPaymentRequested, event_id: UUID) -> Fact:
    data = {
        "change_id": str(message.change_id),
        "change": "payment",
        "actor": message.actor.kind,
        "amount_cents": message.amount_cents,
        "answer_due_at": _moment(message.due_at),
    }
    return Fact(message.order_id, message.change_id, None, data, "payment_due")


@fact_of.register
def _(message: OrderCancelled, event_id: UUID) -> Fact:
    data = {
        "change_id": str(message.change_id),
        "actor": message.actor.kind,
        "reason": message.reason,
        "refund_cents": message.refund_cents,
        "returns": len(message.return_ids),
        "lines": _units(message.lines),
    }
    return Fact(message.order_id, message.change_id, message.cancelled_at, data, "cancelled")


@fact_of.register
def _(message: OrderNeedsAttention, event_id: UUID) -> Fact:
    data = {"reason": message.reason, "detail": message.detail, "due_at": _moment(message.due_at)}
    return Fact(message.order_id, event_id, None, data)


@fact_of.register
def _(message: StockReserved, event_id: UUID) -> Fact:
    data = {"cause": message.cause, "order_version": message.order_version, "lines": _units(message.lines)}
    return Fact(message.order_id, event_id, message.reserved_at, data)


@fact_of.register
def _(message: StockBackordered, event_id: UUID) -> Fact:
    lines = [
        {
            "line_id": line.line_id,
            "sku": line.sku,
            "quantity": line.quantity,
            "demand_kind": line.demand_kind,
            "promised_ship_at": _moment(line.promised_ship_at),
        }
        for line in message.lines
    ]
    data = {"cause": message.cause, "order_version": message.order_version, "lines": lines}
    # Units that are lost later are a delay, of which the customer hears by order.delayed.
    tells: NotificationKind | None = "delay" if message.cause in ("placed", "edited") else None
    return Fact(message.order_id, event_id, message.backordered_at, data, tells)


@fact_of.register
def _(message: StockPromiseChanged, event_id: UUID) -> Fact:
    lines = [
        {
            "line_id": line.line_id,
            "sku": line.sku,
            "quantity": line.quantity,
            "old_ship_at": _moment(line.old_ship_at),
            "new_ship_at": _moment(line.new_ship_at),
        }
        for line in message.lines
    ]
    # A cause that comes again with other dates is another fact. Customers hear of it by order.delayed, in which routing says what it asks.
    dates = ",".join(sorted(f"{line['line_id']}={line['new_ship_at']}" for line in lines))
    data = {"cause": message.cause, "cause_id": str(message.cause_id), "lines": lines}
    return Fact(message.order_id, uuid5(message.cause_id, dates), message.changed_at, data)


@fact_of.register
def _(message: OrderDelayed, event_id: UUID) -> Fact:
    lines = [
        {
            "line_id": line.line_id,
            "sku": line.sku,
            "quantity": line.quantity,
            "old_ship_at": _moment(line.old_ship_at),
            "new_ship_at": _moment(line.new_ship_at),
        }
        for line in message.lines
    ]
    data = {
        "cause": message.cause,
        "cause_id": str(message.cause_id),
        "old_ship_at": _moment(message.old_ship_at),
        "new_ship_at": _moment(message.new_ship_at),
        "consent": message.consent,
        "consent_id": None if message.consent_id is None else str(message.consent_id),
        "answer_by": _moment(message.answer_by),
        "lines": lines,
    }
    # Invariant I12: one notification per customer and cause; routing names each by its own id.
    return Fact(message.order_id, message.delay_id, message.told_at, data, "delay")


@fact_of.register
def _(message: OrderDelayConsentSettled, event_id: UUID) -> Fact:
    data = {
        "consent_id": str(message.consent_id),
        "outcome": message.outcome,
        "agreed_ship_at": _moment(message.agreed_ship_at),
    }
    # Who has agreed may take it back, so a question may end twice, each time in another way.
    return Fact(message.order_id, uuid5(message.consent_id, message.outcome), message.settled_at, data)


@fact_of.register
def _(message: StockReservationReleased, event_id: UUID) -> Fact:
    return Fact(message.order_id, event_id, message.released_at, {"cause": message.cause, "lines": _units(message.lines)})


@fact_of.register
def _(message: FulfillmentStarted, event_id: UUID) -> Fact:
    data = {"fulfillment_id": str(message.fulfillment_id), "location": message.location, "lines": _units(message.lines)}
    return Fact(message.order_id, message.fulfillment_id, message.started_at, data)


@fact_of.register
def _(message: FulfillmentShipped, event_id: UUID) -> Fact:
    data = {
        "fulfillment_id": str(message.fulfillment_id),
        "location": message.location,
        "carrier": message.carrier,
        "tracking_number": message.tracking_number,
        "lines": _units(message.lines),
    }
    return Fact(message.order_id, message.fulfillment_id, message.shipped_at, data, "shipped")


@fact_of.register
def _(message: FulfillmentDelivered, event_id: UUID) -> Fact:
    return Fact(message.order_id, message.fulfillment_id, message.delivered_at, {"fulfillment_id": str(message.fulfillment_id)})


@fact_of.register
def _(message: FulfillmentCancelled, event_id: UUID) -> Fact:
    # One fulfillment can lose units several times (two short picks), so the event itself is the fact.
    data = {
        "fulfillment_id": str(message.fulfillment_id),
        "location": message.location,
        "cause": message.cause,
        "lines": _units(message.lines),
        "missing": _units(message.missing),
    }
    return Fact(message.order_id, event_id, message.cancelled_at, data)


@fact_of.register
def _(message: FulfillmentInterceptionMoved, event_id: UUID) -> Fact:
    data = {
        "fulfillment_id": str(message.fulfillment_id),
        "change_id": str(message.change_id),
        "location": message.location,
        "outcome": message.outcome,
        "detail": message.detail,
        "return_id": None if message.return_id is None else str(message.return_id),
    }
    # A 3PL may find the parcel after it has said that it cannot: every outcome is a fact of its own. The customer hears of the end by the
    # answer to the cancellation and by the label.
    return Fact(message.order_id, uuid5(message.fulfillment_id, f"{message.change_id} {message.outcome}"), message.moved_at, data)


@fact_of.register
def _(message: ReturnApproved, event_id: UUID) -> Fact:
    data = {
        "return_id": str(message.return_id),
        "lines": [{"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity} for line in message.lines],
        "refund_quote_cents": message.refund_quote_cents,
        "label_carrier": message.label_carrier,
        "label_tracking_number": message.label_tracking_number,
        "expires_at": _moment(message.expires_at),
        "cancelled_too_late": message.fulfillment_id is not None,
    }
    return Fact(message.order_id, message.return_id, None, data, "return_label")


@fact_of.register
def _(message: ReturnDeclined, event_id: UUID) -> Fact:
    data = {"return_id": str(message.return_id), "reason": message.reason, "detail": message.detail}
    return Fact(message.order_id, message.return_id, None, data)


@fact_of.register
def _(message: ReturnInspected, event_id: UUID) -> Fact:
    lines = [
        {"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity, "disposition": line.disposition}
        for line in message.dispositions
    ]
    data = {"return_id": str(message.return_id), "location": message.location, "lines": lines}
    return Fact(message.order_id, message.scan_id, message.inspected_at, data)


@fact_of.register
def _(message: ReturnClosed, event_id: UUID) -> Fact:
    data = {"return_id": str(message.return_id), "refunded_cents": message.refunded_cents}
    return Fact(message.order_id, message.return_id, message.closed_at, data)


@fact_of.register
def _(message: RefundSucceeded, event_id: UUID) -> Fact:
    data = {"refund_id": str(message.refund_id), "amount_cents": message.amount_cents, "currency": message.currency}
    return Fact(message.order_id, message.refund_id, message.succeeded_at, data, "refund")


@fact_of.register
def _(message: RefundFailed, event_id: UUID) -> Fact:
    data = {
        "refund_id": str(message.refund_id),
        "amount_cents": message.amount_cents,
        "currency": message.currency,
        "reason": message.reason,
    }
    return Fact(message.order_id, message.refund_id, message.failed_at, data)
