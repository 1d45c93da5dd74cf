"""Everything that happens to an order becomes a row of its timeline, and a notification where the customer hears of it.

All events go the same way: the rule what an event adds is ``decide.facts``. Nothing is published, nothing waits for another event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.portal import queries
from services.portal.decide.facts import fact_of
from services.portal.queries import Told
from shared.contracts.envelope import time_of_id
from shared.contracts.orders import OrderEdited, OrderPlaced
from shared.messaging.message import Outgoing, Received, Transaction
from shared.telemetry import trace_id_of


def _told(message: Received[Any], now: datetime) -> Told:
    fact = fact_of(message.data, message.event_id)
    return Told(
        fact=fact,
        event_id=message.event_id,
        type=message.data.type,
        source=message.source,
        at=fact.at or message.time or time_of_id(message.event_id) or now,
        trace_id=UUID(hex=trace_id_of(message.traceparent, message.event_id)),
    )


async def record_progress(transaction: Transaction, messages: Sequence[Received[Any]]) -> Sequence[Outgoing]:
    """Adds events to the timelines of their orders."""
    told = [_told(message, transaction.now) for message in messages]
    await queries.record_facts(transaction.connection, told, transaction.now)
    return ()


async def record_edited_orders(transaction: Transaction, messages: Sequence[Received[OrderEdited]]) -> Sequence[Outgoing]:
    """Keeps the order as it now stands, and adds the change to its timeline."""
    await queries.record_versions(transaction.connection, [message.data for message in messages])
    return await record_progress(transaction, messages)


async def record_placed_orders(transaction: Transaction, messages: Sequence[Received[OrderPlaced]]) -> Sequence[Outgoing]:
    """Keeps who bought what, and starts the timeline unless later events have started it already."""
    orders = [message.data for message in messages]
    await queries.record_orders(transaction.connection, orders)
    await queries.record_versions(transaction.connection, orders)
    return await record_progress(transaction, messages)
