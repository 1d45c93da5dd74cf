"""Cancellations that channels ask for, and what a channel is told of changes of its orders, in its own line ids (features D3, D4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid5

from services.sync.decide.orders import OrderKey
from services.sync.decide.shipments import OrderLines, announce, order_lines
from shared.contracts.channels import (
    ChannelCancelDecided,
    ChannelCancelRequested,
    ChannelLineNotCancelled,
    ChannelLineUnits,
    ChannelOrderChanged,
)
from shared.contracts.orders import (
    Actor,
    LineNotCancelled,
    LineToCancel,
    LineUnits,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderEdited,
    OrderLine,
)

WAITS_FOR_ITS_ORDER = timedelta(days=7)
"""How long a cancellation waits for its order; then the channel is told that there is none."""

ASKED_AGAIN_AFTER = timedelta(seconds=30)
"""When a cancellation that met another open change is asked for again."""

CancellationKey: TypeAlias = tuple[str, str, str]
"""(channel, external id, cancellation id): what makes a cancellation one cancellation for ever."""

Outcome = Literal["cancelled", "cancelled_in_part", "refused"]
Answer = OrderCancelled | OrderCancelRejected | OrderEdited


@dataclass(frozen=True, slots=True)
class Asked:
    """A cancellation as a channel asked for it. ``change_id`` is what routing is asked for; None while it waits."""

    key: CancellationKey
    lines: Sequence[Mapping[str, Any]]
    reason: str
    event_id: UUID
    traceparent: str | None
    change_id: UUID | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What routing made of a change."""

    change_id: UUID
    outcome: Outcome


def key_of(request: ChannelCancelRequested) -> CancellationKey:
    """Which cancellation this message asks for."""
    return (request.channel, request.external_id, request.cancellation_id)


def lines_of(request: ChannelCancelRequested) -> list[dict[str, Any]]:
    """The named lines as they are stored, in one order whatever order they came in."""
    return sorted((line.model_dump(mode="json") for line in request.lines), key=lambda line: str(line["external_line_id"]))


def change_id_of(order_id: UUID, cancellation_id: str, attempt: int) -> UUID:
    """The change that routing is asked for: the same for every repetition of one attempt."""
    return uuid5(order_id, f"channel cancellation {cancellation_id} {attempt}")


def command_of(order_id: UUID, change_id: UUID, asked: Asked) -> OrderCancelRequested:
    """The same cancellation in the words of the order."""
    return OrderCancelRequested(
        order_id=order_id,
        change_id=change_id,
        actor=Actor(kind="channel", name=asked.key[0]),
        reason=asked.reason,
        lines=[LineToCancel(line_id=line["external_line_id"], quantity=line["quantity"]) for line in asked.lines],
    )


def outcome_of(answer: Answer) -> Outcome:
    """What routing's answer means to who asked. That an order was cancelled before is what was asked for."""
    if isinstance(answer, OrderCancelRejected):
        return "cancelled" if answer.reason == "already_cancelled" else "refused"
    partly = bool(answer.return_ids) or (isinstance(answer, OrderEdited) and bool(answer.not_cancelled))
    return "cancelled_in_part" if partly else "cancelled"


def is_to_be_asked_again(answer: Answer) -> bool:
    """Another change is open: the channel need not ask again, we do once that may be over."""
    return isinstance(answer, OrderCancelRejected) and answer.reason == "change_in_progress"


def decision(key: CancellationKey, answer: Answer, order: OrderLines, decided_at: datetime) -> ChannelCancelDecided:
    """What the channel is told of its cancellation."""
    channel, external_id, cancellation_id = key
    units: Sequence[LineUnits] = []
    missed: Sequence[LineNotCancelled] = []
    refund_cents = 0
    if isinstance(answer, OrderCancelled):
        units, refund_cents = answer.lines, answer.refund_cents
    elif isinstance(answer, OrderEdited):
        units, missed, refund_cents = answer.cancelled, answer.not_cancelled, max(0, -answer.money_delta_cents)
    else:
        missed = answer.not_cancelled
    return ChannelCancelDecided(
        channel=channel,
        external_id=external_id,
        cancellation_id=cancellation_id,
        outcome=outcome_of(answer),
        reason=answer.reason if isinstance(answer, OrderCancelRejected) else None,
        detail=answer.detail if isinstance(answer, OrderCancelRejected) else "",
        cancelled=in_channel_terms(units, order),
        not_cancelled=[
            ChannelLineNotCancelled(external_line_id=line.line_id, quantity=line.quantity, reason=line.reason, detail=line.detail)
            for line in missed
        ],
        refund_cents=refund_cents,
        return_ids=answer.return_ids,
        decided_at=decided_at,
    )


def refusal(key: CancellationKey, reason: str, detail: str, decided_at: datetime) -> ChannelCancelDecided:
    """What the channel is told of a cancellation that routing was never asked for."""
    channel, external_id, cancellation_id = key
    return ChannelCancelDecided(
        channel=channel,
        external_id=external_id,
        cancellation_id=cancellation_id,
        outcome="refused",
        reason=reason,
        detail=detail[:500],
        decided_at=decided_at,
    )


def in_channel_terms(units: Iterable[LineUnits], order: OrderLines) -> list[ChannelLineUnits]:
    """Units of order lines by the channel's own lines: a kit is one of them, and counts where all of it is there."""
    said = announce(list(units), order, {}).lines
    return [ChannelLineUnits(external_line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in said]


def order_as_edited(edited: OrderEdited, key: OrderKey) -> ChannelOrderChanged:
    """What the channel is told of an order that was edited, or of which some lines were cancelled."""
    order = order_lines([line.model_dump(mode="json") for line in edited.lines])
    return ChannelOrderChanged(
        channel=key[0],
        external_id=key[1],
        order_version=edited.order_version,
        change_id=edited.change_id,
        status="edited",
        lines=in_channel_terms((_units_of(line) for line in edited.lines), order),
        cancelled=in_channel_terms(edited.cancelled, order),
        money_delta_cents=edited.money_delta_cents,
        shipping_delta_cents=edited.shipping_delta_cents,
        service_level=edited.service_level,
        changed_at=edited.edited_at,
    )


def order_as_cancelled(cancelled: OrderCancelled, key: OrderKey, stored: Sequence[Mapping[str, Any]]) -> ChannelOrderChanged:
    """What the channel is told of an order of which nothing more ships."""
    return ChannelOrderChanged(
        channel=key[0],
        external_id=key[1],
        order_version=cancelled.order_version,
        change_id=cancelled.change_id,
        status="cancelled",
        cancelled=in_channel_terms(cancelled.lines, order_lines(stored)),
        money_delta_cents=-cancelled.refund_cents,
        changed_at=cancelled.cancelled_at,
    )


def _units_of(line: OrderLine) -> LineUnits:
    return LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity)
