"""Calling a person to an order that cannot go on by itself, and letting it go on when the reason is gone."""

from __future__ import annotations

from datetime import datetime

from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import LIVE, State
from services.routing.decide.order import Attention, AttentionReason, Order
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.values import replace
from shared.contracts.fulfillment import OrderNeedsAttention


def call_for_attention(order: Order, reason: AttentionReason, detail: str, now: datetime, deadlines: Deadlines) -> Outcome:
    """A person must look. Said once for the same reason and detail, and again when its deadline has passed."""
    known = order.attention
    if known is not None and known.reason == reason and known.detail == detail and known.due_at > now:
        return Outcome(order)
    attention = Attention(reason, detail, now + deadlines.attention)
    announcement = OrderNeedsAttention(order_id=order.order_id, reason=reason, detail=detail[:500], due_at=attention.due_at)
    return Outcome(replace(order, attention=attention), (Say(announcement),))


def settle_attention(order: Order, *reasons: AttentionReason) -> Order:
    """The order once one of these reasons is gone."""
    if order.attention is not None and order.attention.reason in reasons:
        return replace(order, attention=None)
    return order


def settle_overdue(order: Order) -> Order:
    """The order once nothing of it is overdue any more: every fulfillment that had been given up waiting for has moved on."""
    given_up = any(
        item.state in LIVE and item.due_at is None and not (item.state is State.PLANNED and item.assigned) for item in order.fulfillments
    )
    return order if given_up else settle_attention(order, "third_party_silent", "overdue")
