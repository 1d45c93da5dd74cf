"""Handing events to the portal's handlers as the runtime does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.portal import handlers
from shared.contracts.base import Message
from shared.contracts.orders import OrderEdited, OrderPlaced
from shared.database import Pool
from shared.messaging.message import Connection, Outgoing, Received, Transaction
from tests.portal.stories import NOON, received


async def hand_over(connection: Connection, message: Received[Any]) -> Sequence[Outgoing]:
    """One message in one transaction."""
    async with connection.transaction():
        transaction = Transaction(connection, NOON)
        if isinstance(message.data, OrderPlaced):
            return await handlers.record_placed_orders(transaction, [message])
        if isinstance(message.data, OrderEdited):
            return await handlers.record_edited_orders(transaction, [message])
        return await handlers.record_progress(transaction, [message])


async def happened(pool: Pool, *messages: Message, traceparent: str | None = None) -> None:
    """These events, in this order."""
    async with pool.acquire() as connection:
        for message in messages:
            await hand_over(connection, received(message, traceparent=traceparent))
