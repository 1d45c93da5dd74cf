"""Events as the other services publish them, with only what a test cares about spelled out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelled,
    FulfillmentDelivered,
    FulfillmentInterceptionMoved,
    FulfillmentShipped,
    FulfillmentStarted,
)
from shared.contracts.orders import (
    Actor,
    Address,
    Customer,
    LineUnits,
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderDelayConsentSettled,
    OrderDelayed,
    OrderEdited,
    OrderEditRejected,
    OrderLine,
    OrderPaymentRequested,
    OrderPlaced,
)
from shared.contracts.returns import (
    ApprovedLine,
    DispositionLine,
    RefundSucceeded,
    ReturnApproved,
    ReturnClosed,
    ReturnInspected,
)
from shared.contracts.stock import BackorderedLine, PromiseChange, ReservedLine, StockBackordered, StockPromiseChanged, StockReserved
from shared.messaging.message import Received

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ADDRESS = Address(name="Ada Lovelace", line1="12 St James Square", city="Portland", region="OR", postal_code="97201", country="US")
SHOPPER = Actor(kind="shopper", name="shopper")
SUPPORT = Actor(kind="support", name="kim")


def at(minutes: float) -> datetime:
    """A time after noon."""
    return NOON + timedelta(minutes=minutes)


def line(line_id: str = "1", quantity: int = 2, sku: str = "MUG-BLUE", title: str = "Blue mug", price: int = 1250) -> OrderLine:
    """One line of an order."""
    return OrderLine(line_id=line_id, sku=sku, title=title, quantity=quantity, unit_price_cents=price, tax_cents=100, unit_weight_grams=400)


def units(line_id: str = "1", quantity: int = 2, sku: str = "MUG-BLUE") -> LineUnits:
    """Some units of a line."""
    return LineUnits(line_id=line_id, sku=sku, quantity=quantity)


def placed(order_id: UUID, *, lines: Sequence[OrderLine] | None = None, **changes: Any) -> OrderPlaced:
    """A new order."""
    values: dict[str, Any] = {
        "order_id": order_id,
        "channel": "shop",
        "external_id": "#1001",
        "placed_at": at(0),
        "currency": "USD",
        "segment": "dtc",
        "lines": list(lines) if lines is not None else [line()],
        "shipping_paid_cents": 495,
        "ship_to": ADDRESS,
        "customer": Customer(email="ada@example.com", name="Ada Lovelace", locale="en-US"),
    }
    return OrderPlaced(**{**values, **changes})


def edited(order_id: UUID, version: int, lines: Sequence[OrderLine], minutes: float = 2, change_id: UUID | None = None) -> OrderEdited:
    """The order after a change."""
    return OrderEdited(
        order_id=order_id,
        order_version=version,
        change_id=change_id or new_id(),
        actor=SHOPPER,
        lines=list(lines),
        ship_to=ADDRESS,
        money_delta_cents=0,
        edited_at=at(minutes),
    )


def reserved(order_id: UUID, quantity: int = 2, *, cause: Any = "placed", line_id: str = "1", minutes: float = 1) -> StockReserved:
    """Units that now belong to the order."""
    lines = [ReservedLine(reservation_id=new_id(), line_id=line_id, sku="MUG-BLUE", quantity=quantity)] if quantity else []
    return StockReserved(order_id=order_id, order_version=1, cause=cause, lines=lines, assignable=[], reserved_at=at(minutes))


def backordered(
    order_id: UUID, quantity: int = 1, *, ship_at: datetime | None = None, line_id: str = "1", cause: Any = "placed"
) -> StockBackordered:
    """Units that wait for supply."""
    waiting = BackorderedLine(
        demand_id=new_id(), line_id=line_id, sku="MUG-BLUE", quantity=quantity, demand_kind="backorder", promised_ship_at=ship_at
    )
    return StockBackordered(order_id=order_id, order_version=1, cause=cause, lines=[waiting], backordered_at=at(1))


def promise_changed(
    order_id: UUID, new: datetime | None, *, old: datetime | None = None, cause_id: UUID | None = None, minutes: float = 3
) -> StockPromiseChanged:
    """A new date for a waiting line."""
    return StockPromiseChanged(
        order_id=order_id,
        order_version=1,
        cause="supply_rescheduled",
        cause_id=cause_id or new_id(),
        lines=[PromiseChange(line_id="1", sku="MUG-BLUE", quantity=1, old_ship_at=old, new_ship_at=new)],
        changed_at=at(minutes),
    )


def delayed(
    order_id: UUID,
    consent: str = "required",
    new: datetime | None = None,
    *,
    old: datetime | None = NOON + timedelta(days=2),
    consent_id: UUID | None = None,
    answer_by: datetime = NOON + timedelta(days=3),
    minutes: float = 3,
) -> OrderDelayed:
    """What routing has the customer told of a new date."""
    return OrderDelayed.model_validate(
        {
            "order_id": order_id,
            "order_version": 1,
            "delay_id": new_id(),
            "cause": "supply_rescheduled",
            "cause_id": new_id(),
            "old_ship_at": old,
            "new_ship_at": new,
            "consent": consent,
            "consent_id": None if consent == "not_needed" else consent_id or new_id(),
            "answer_by": answer_by if consent == "required" else None,
            "lines": [{"line_id": "1", "sku": "MUG-BLUE", "quantity": 1, "old_ship_at": old, "new_ship_at": new}],
            "told_at": at(minutes),
        }
    )


def delay_settled(
    order_id: UUID, consent_id: UUID, outcome: str, *, agreed: datetime | None = None, minutes: float = 30
) -> OrderDelayConsentSettled:
    """How a question about a delay ended."""
    return OrderDelayConsentSettled.model_validate(
        {
            "order_id": order_id,
            "order_version": 1,
            "consent_id": consent_id,
            "outcome": outcome,
            "agreed_ship_at": agreed,
            "settled_at": at(minutes),
        }
    )


def started(order_id: UUID, fulfillment_id: UUID, lines: Sequence[LineUnits] | None = None, minutes: float = 4) -> FulfillmentStarted:
    """The warehouse has begun."""
    return FulfillmentStarted(
        fulfillment_id=fulfillment_id, order_id=order_id, location="reno", lines=list(lines or [units()]), started_at=at(minutes)
    )


def shipped(order_id: UUID, fulfillment_id: UUID, lines: Sequence[LineUnits] | None = None, minutes: float = 5) -> FulfillmentShipped:
    """A parcel that left."""
    return FulfillmentShipped(
        fulfillment_id=fulfillment_id,
        order_id=order_id,
        location="reno",
        partner="acme",
        carrier="UPS",
        tracking_number=f"1Z{fulfillment_id.hex[-10:].upper()}",
        lines=list(lines or [units()]),
        shipping_cost_cents=740,
        shipped_at=at(minutes),
    )


def delivered(order_id: UUID, fulfillment_id: UUID, minutes: float = 6) -> FulfillmentDelivered:
    """A parcel that arrived."""
    return FulfillmentDelivered(fulfillment_id=fulfillment_id, order_id=order_id, delivered_at=at(minutes))


def fulfillment_cancelled(order_id: UUID, fulfillment_id: UUID, lines: Sequence[LineUnits], minutes: float = 5) -> FulfillmentCancelled:
    """Units that will not ship from there."""
    return FulfillmentCancelled(
        fulfillment_id=fulfillment_id,
        order_id=order_id,
        location="reno",
        cause="short_picked",
        lines=list(lines),
        missing=list(lines),
        cancelled_at=at(minutes),
    )


def cancelled(order_id: UUID, lines: Sequence[LineUnits] | None = None, change_id: UUID | None = None) -> OrderCancelled:
    """An order that ships nothing more."""
    return OrderCancelled(
        order_id=order_id,
        order_version=2,
        change_id=change_id or new_id(),
        actor=SHOPPER,
        reason="changed my mind",
        lines=list(lines or [units()]),
        refund_cents=3095,
        cancelled_at=at(3),
    )


def cancel_rejected(
    order_id: UUID, reason: Any = "fulfillment_started", change_id: UUID | None = None, actor: Actor | None = SHOPPER
) -> OrderCancelRejected:
    """A cancellation that comes too late."""
    return OrderCancelRejected(
        order_id=order_id, order_version=1, change_id=change_id or new_id(), actor=actor, reason=reason, detail="the warehouse has started"
    )


def change_pending(order_id: UUID, change_id: UUID) -> OrderChangePending:
    """A change that waits for the warehouse."""
    return OrderChangePending(order_id=order_id, order_version=1, change_id=change_id, change="cancel", answer_due_at=at(60))


def payment_requested(order_id: UUID, change_id: UUID | None = None) -> OrderPaymentRequested:
    """A change that costs more waits for its money."""
    return OrderPaymentRequested(
        order_id=order_id,
        order_version=1,
        change_id=change_id or new_id(),
        actor=SHOPPER,
        payment_id=new_id(),
        amount_cents=900,
        currency="USD",
        due_at=at(30),
    )


def payment_dropped(order_id: UUID, unpaid: Any, change_id: UUID | None = None) -> OrderEditRejected:
    """The change was not paid for."""
    words = {"reason": "payment_required", "detail": "line_changes: the change was not paid in time", "unpaid": unpaid}
    return OrderEditRejected(order_id=order_id, order_version=1, change_id=change_id or new_id(), actor=SUPPORT, **words)


def interception(order_id: UUID, fulfillment_id: UUID, outcome: Any, minutes: float = 5) -> FulfillmentInterceptionMoved:
    """How far it is with holding a parcel back."""
    return FulfillmentInterceptionMoved(
        fulfillment_id=fulfillment_id, order_id=order_id, change_id=order_id, location="reno", outcome=outcome, moved_at=at(minutes)
    )


def return_approved(order_id: UUID, return_id: UUID, quantity: int = 1) -> ReturnApproved:
    """A return with its label."""
    return ReturnApproved(
        return_id=return_id,
        order_id=order_id,
        lines=[ApprovedLine(line_id="1", sku="MUG-BLUE", quantity=quantity, refund_cents=1300)],
        refund_quote_cents=1300,
        currency="USD",
        label_carrier="UPS",
        label_tracking_number="1ZRETURN001",
        expires_at=at(60 * 24 * 30),
    )


def return_inspected(order_id: UUID, return_id: UUID) -> ReturnInspected:
    """Returned units that were judged."""
    return ReturnInspected(
        return_id=return_id,
        scan_id=new_id(),
        order_id=order_id,
        location="reno",
        dispositions=[DispositionLine(line_id="1", sku="MUG-BLUE", quantity=1, disposition="restocked")],
        inspected_at=at(20),
    )


def return_closed(order_id: UUID, return_id: UUID) -> ReturnClosed:
    """A return that is over."""
    return ReturnClosed(return_id=return_id, order_id=order_id, refunded_cents=1300, closed_at=at(22))


def refund_succeeded(order_id: UUID, refund_id: UUID, cents: int = 1300) -> RefundSucceeded:
    """Money that went back."""
    return RefundSucceeded(
        refund_id=refund_id, order_id=order_id, amount_cents=cents, currency="USD", provider_reference="re_1", succeeded_at=at(21)
    )


def received(data: Message, *, event_id: UUID | None = None, minutes: float = 10, traceparent: str | None = None) -> Received[Any]:
    """A message as the runtime hands it to a handler."""
    return Received(event_id=event_id or new_id(), source="ordermesh/test", data=data, time=at(minutes), traceparent=traceparent)


def preview(order_id: UUID, refusal: dict[str, str] | None = None) -> dict[str, Any]:
    """What routing says a change to one unit would do."""
    parcel = {
        "location": "reno",
        "carrier": "UPS",
        "service": "ground",
        "cost_cents": 900,
        "ship_by": NOON.isoformat(),
        "arrives_on": "2026-01-05",
    }
    quote = {"cost_cents": 900, "parcels": [parcel], "unplaced": {}}
    line_after = {"line_id": "1", "sku": "MUG-BLUE", "title": "Blue mug", "quantity": 1, "unit_price_cents": 1_000, "tax_cents": 0}
    return {
        "order_id": str(order_id),
        "order_version": 1,
        "currency": "USD",
        "refusal": refusal,
        "asks": ["west"],
        "lines": [] if refusal else [line_after],
        "total_before_cents": 2_000,
        "total_after_cents": 1_000,
        "money_delta_cents": -1_000,
        "added": [],
        "shipping_before": quote,
        "shipping_after": quote,
    }
