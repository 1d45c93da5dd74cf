"""Refunds to execute at a channel."""

from __future__ import annotations

from collections.abc import Sequence

from services.sync.channels.protocol import Refused
from services.sync.decide.refunds import RefundBook
from services.sync.queries import refunds as queries
from shared.contracts.returns import RefundExecutionRequested
from shared.messaging.message import Outgoing, Received, Transaction


async def request_refunds(tx: Transaction, messages: Sequence[Received[RefundExecutionRequested]]) -> list[Outgoing]:
    """Books each refund once; the errand moves the money. What contradicts the order or an earlier request is parked.

    A refund that the channel refused for good is tried again, under its old key, when it is requested again (returns' ``retry``).
    """
    orders = await queries.lock_orders(tx.connection, {message.data.order_id for message in messages})
    known = await queries.read_requests(
        tx.connection,
        {message.data.refund_id for message in messages},
        sorted({(message.data.channel, message.data.idempotency_key) for message in messages}),
    )
    book = RefundBook(
        orders=orders,
        refunds={booked.request.refund_id: booked for booked in known},
        keys={(booked.request.channel, booked.request.idempotency_key): booked.request.refund_id for booked in known},
    )
    new = []
    again = []
    for message in messages:
        verdict = book.request(message.data)
        if verdict is None:
            tx.defer(message, f"order {message.data.order_id} has not been placed here yet")
        elif isinstance(verdict, Refused):
            tx.park(message, verdict.reason)
        elif verdict == "new":
            new.append((message.data, message.event_id, message.traceparent))
        elif verdict == "again":
            again.append((message.data.refund_id, message.event_id, message.traceparent))
    if new:
        await queries.insert_refunds(tx.connection, new, tx.now)
    if again:
        await queries.reopen_refunds(tx.connection, again, tx.now)
    return []
