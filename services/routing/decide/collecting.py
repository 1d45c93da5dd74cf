"""Edits that cost more than was paid: the difference is asked for first (docs/decisions/0023-collecting-money.md).

The edit is the order's open change while it waits, so nothing is planned or handed over meanwhile. It is made when the money is there; it
is dropped when the customer does not pay in time, or cancels. Money that comes for an edit that is not made goes back, once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID, uuid5

from services.routing.decide.deadlines import Deadlines
from services.routing.decide.editing import dearer_field, shipping_delta_cents
from services.routing.decide.money import payment_refund
from services.routing.decide.order import Change, Order, Payment
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.values import replace
from shared.contracts.orders import OrderEditRejected, OrderEditRequested, OrderPaymentRequested, OrderPaymentVoided

PAYMENTS = UUID("3d6d1a57-54a5-5a2b-9c37-0d9f0b8a2e61")
"""The name space of payments that edits ask for, so that one edit is paid once (RFC 9562, version 5)."""

Dropped = Literal["cancelled", "cancelled_in_part", "lapsed", "refused"]

WORDS: dict[Dropped, str] = {
    "cancelled": "the order was cancelled before the change was paid",
    "cancelled_in_part": "a cancellation of some units came before the change was paid",
    "lapsed": "the change was not paid in time",
    "refused": "the payment for the change was refused",
}


def payment_id_of(order_id: UUID, change_id: UUID) -> UUID:
    """The payment of an edit; the same for every repetition."""
    return uuid5(PAYMENTS, f"{order_id}/{change_id}")


def awaits_payment(order: Order) -> bool:
    """Whether the open change waits for its money."""
    return order.change is not None and order.change.payment is not None and not order.change.payment.collected


def ask_for_payment(order: Order, request: OrderEditRequested, amount_cents: int, now: datetime, deadlines: Deadlines) -> Outcome:
    """Holds the edit open and asks for what it costs more."""
    payment = Payment(payment_id_of(order.order_id, request.change_id), amount_cents)
    due_at = now + deadlines.payment
    change = Change(request.change_id, "edit", request.model_dump(mode="json"), frozenset(), due_at, payment)
    asked = OrderPaymentRequested(
        order_id=order.order_id,
        order_version=order.order_version,
        change_id=request.change_id,
        actor=request.actor,
        payment_id=payment.payment_id,
        amount_cents=amount_cents,
        currency=order.currency,
        due_at=due_at,
    )
    return Outcome(replace(order, change=change), (Say(asked),))


def drop_unpaid(order: Order, because: Dropped, now: datetime, detail: str = "") -> Outcome:
    """The edit is not made. Who asked is told so once, by the field that costs more; a payment that was not refused is called off."""
    change = order.change
    assert change is not None
    assert change.payment is not None
    request = OrderEditRequested.model_validate(change.request)
    field = dearer_field(change.payment.amount_cents, shipping_delta_cents(order, request))
    words = f"{field}: {WORDS[because]} ({change.payment.amount_cents} cents {order.currency}){': ' if detail else ''}{detail}"
    rejected = OrderEditRejected(
        order_id=order.order_id,
        order_version=order.order_version,
        change_id=change.change_id,
        actor=request.actor,
        reason="payment_required",
        detail=words[:500],
        unpaid=because,
    )
    says = [Say(rejected)]
    if because != "refused":
        voided = OrderPaymentVoided(
            order_id=order.order_id,
            change_id=change.change_id,
            payment_id=change.payment.payment_id,
            reason="lapsed" if because == "lapsed" else "cancelled",
            voided_at=now,
        )
        says.append(Say(voided))
    return Outcome(replace(order, change=None), tuple(says))


def pay_back(order: Order, payment: Payment) -> Outcome:
    """Money that was paid for an edit that is not made. Its refund has one id, however often it is asked for."""
    return Outcome(order, (Say(payment_refund(order, payment)),))


def paid_back_if_refused(outcome: Outcome, payment: Payment | None) -> Outcome:
    """An outcome that may refuse an edit which is paid already."""
    refused = any(isinstance(say.data, OrderEditRejected) for say in outcome.says)
    return outcome.then(lambda order: pay_back(order, payment)) if payment is not None and refused else outcome
