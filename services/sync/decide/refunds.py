"""Money back at the channel, exactly once: requested -> sent -> succeeded | failed | unknown (blueprint section 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from services.sync.channels.protocol import Accepted, Answer, Refused
from services.sync.decide.calls import failure_text, next_call
from shared.contracts.returns import RefundExecutionRequested, RefundFailed, RefundSucceeded

RefundState: TypeAlias = Literal["requested", "sent", "unknown", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class RefundableOrder:
    """What bounds the refunds of one order. ``refunded_cents`` counts every refund that has not failed for good."""

    channel: str
    external_id: str
    currency: str
    captured_cents: int
    refunded_cents: int


@dataclass(frozen=True, slots=True)
class BookedRefund:
    """A refund that was requested before."""

    request: RefundExecutionRequested
    state: RefundState


@dataclass
class RefundBook:
    """Orders and refunds as they stand while the requests of one batch are gone through, one after the other.

    Args:
        orders: by order id, those of the orders asked about that were placed here.
        refunds: by refund id, what was requested before.
        keys: refund id by (channel, idempotency key), of the keys asked about.
    """

    orders: dict[UUID, RefundableOrder]
    refunds: dict[UUID, BookedRefund]
    keys: dict[tuple[str, str], UUID]

    def request(self, request: RefundExecutionRequested) -> Literal["new", "again", "known"] | Refused | None:
        """Books a refund: new, again (the channel had refused it and somebody wants it tried once more), known already, refused with the
        reason, or None while its order has not been heard of.
        """
        known = self.refunds.get(request.refund_id)
        if known is not None and known.request != request:
            return Refused(f"refund_id: {request.refund_id} was already requested with different content")
        if known is not None and known.state != "failed":
            return "known"
        order = self.orders.get(request.order_id)
        if order is None:
            return None
        problem = self._problem(request, order)
        if problem is not None:
            return Refused(problem)
        self.refunds[request.refund_id] = BookedRefund(request, "requested")
        self.keys[(request.channel, request.idempotency_key)] = request.refund_id
        self.orders[request.order_id] = replace(order, refunded_cents=order.refunded_cents + request.amount_cents)
        return "new" if known is None else "again"

    def _problem(self, request: RefundExecutionRequested, order: RefundableOrder) -> str | None:
        if (request.channel, request.external_id) != (order.channel, order.external_id):
            return f"external_id: order {request.order_id} is {order.external_id!r} of {order.channel!r}, send the refund there"
        if request.currency != order.currency:
            return f"currency: order {request.order_id} was paid in {order.currency}, not {request.currency}"
        if request.amount_cents == 0:
            return "amount_cents: there is nothing to give back, close the return without a refund"
        left = order.captured_cents - order.refunded_cents
        if request.amount_cents > left:
            return f"amount_cents: {request.amount_cents} is more than the {left} cents that are left of what order {request.order_id} paid"
        holder = self.keys.get((request.channel, request.idempotency_key))
        if holder is not None and holder != request.refund_id:
            return f"idempotency_key: {request.idempotency_key!r} belongs to refund {holder}, use a key of its own"
        return None


@dataclass(frozen=True, slots=True)
class RefundRow:
    """One refund as it stands when the answer to an attempt is recorded."""

    refund_id: UUID
    order_id: UUID
    amount_cents: int
    currency: str
    state: RefundState
    attempts: int
    due_at: datetime | None
    last_failure: str | None
    provider_reference: str | None
    settled_at: datetime | None
    cause_event_id: UUID
    cause_traceparent: str | None


def settle_refund(
    refund: RefundRow, attempt: int, answer: Answer, now: datetime, jitter: float
) -> tuple[RefundRow, RefundSucceeded | RefundFailed | None]:
    """A refund after the channel's answer to one attempt, and what everybody is told; told once, because a settled refund stays as it is.

    That money moved is believed of any attempt. A refusal or an open outcome only counts for the newest attempt, because a later one may
    be under way.
    """
    if refund.state in ("succeeded", "failed"):
        return refund, None
    if isinstance(answer, Accepted) and answer.reference is not None:
        settled = replace(refund, state="succeeded", due_at=None, last_failure=None, provider_reference=answer.reference, settled_at=now)
        return settled, RefundSucceeded(
            refund_id=refund.refund_id,
            order_id=refund.order_id,
            amount_cents=refund.amount_cents,
            currency=refund.currency,
            provider_reference=answer.reference,
            succeeded_at=now,
        )
    if attempt != refund.attempts or isinstance(answer, Accepted):
        return refund, None
    if isinstance(answer, Refused):
        reason = answer.reason[:500]
        return replace(refund, state="failed", due_at=None, last_failure=reason, settled_at=now), RefundFailed(
            refund_id=refund.refund_id,
            order_id=refund.order_id,
            amount_cents=refund.amount_cents,
            currency=refund.currency,
            reason=reason,
            failed_at=now,
        )
    due_at = next_call(answer, refund.attempts, now, jitter)
    return replace(refund, state="unknown", due_at=due_at, last_failure=failure_text(answer)[:500]), None
