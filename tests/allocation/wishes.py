"""What channels and operators wish for beside orders: checkout holds, safety stock, channel pools."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.allocation.handlers.holding import expire_holds
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.holds import (
    ChannelHoldReleaseRequested,
    ChannelHoldRequested,
    HoldLine,
    HoldPolicy,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.contracts.orders import OrderLine, OrderPlaced
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested
from shared.messaging.message import Received, Transaction
from tests.allocation.conftest import Desk, Heard, violations
from tests.allocation.messages import order, received


def hold(
    *lines: tuple[str, int],
    hold_id: UUID | None = None,
    channel: str = "web",
    policy: HoldPolicy = "partial",
    ttl_seconds: int = 600,
) -> StockHoldRequested:
    """Units to keep for a shopper; by default one mug."""
    return StockHoldRequested(
        hold_id=hold_id or new_id(),
        channel=channel,
        lines=[HoldLine(sku=sku, quantity=quantity) for sku, quantity in lines or [("MUG", 1)]],
        ttl_seconds=ttl_seconds,
        policy=policy,
    )


def from_channel(wish: StockHoldRequested | StockHoldReleaseRequested, partner: str | None = None) -> Received[Any]:
    """The same wish by queue, from the channel's own user."""
    kind: type[Message] = ChannelHoldRequested if isinstance(wish, StockHoldRequested) else ChannelHoldReleaseRequested
    return received(kind.model_validate(wish.model_dump()), partner=partner or wish.channel)


def release(wish: StockHoldRequested, *, channel: str | None = None) -> StockHoldReleaseRequested:
    """The shopper left."""
    return StockHoldReleaseRequested(hold_id=wish.hold_id, channel=channel or wish.channel)


def sold_by(channel: str, *lines: OrderLine) -> OrderPlaced:
    """A paid order of one channel."""
    return order(*lines).model_copy(update={"channel": channel})


def naming(wish: StockHoldRequested, *lines: OrderLine, channel: str | None = None) -> OrderPlaced:
    """A paid order that names a hold."""
    return order(*lines).model_copy(update={"hold_id": wish.hold_id, "channel": channel or wish.channel})


def safety(units: int, *, sku: str = "MUG", location: str | None = None, expected: int | None = None) -> StockSafetyRequested:
    """An operator keeps units back."""
    return StockSafetyRequested(
        change_id=new_id(),
        sku=sku,
        location=location,
        safety_units=units,
        expected_safety_units=expected,
        reason="counts are off",
        operator="kim",
    )


def channel_rule(
    channel: str = "web",
    *,
    fence: int | None = None,
    cap: int | None = None,
    share: int | None = None,
    expected: int | None = None,
    sku: str = "MUG",
) -> ChannelPoolRequested:
    """An operator decides what a channel may take; nothing: no rule."""
    return ChannelPoolRequested(
        change_id=new_id(),
        sku=sku,
        channel=channel,
        fence_units=fence,
        cap_units=cap,
        share_percent=share,
        expected_rule_version=expected,
        reason="campaign",
        operator="kim",
    )


async def sweep(desk: Desk) -> Heard:
    """The schedule that ends holds, at the desk's time."""
    async with desk.connection.transaction():
        outgoing = await expire_holds(Transaction(desk.connection, desk.now))
    assert await violations(desk.connection) == []
    return Heard(outgoing)
