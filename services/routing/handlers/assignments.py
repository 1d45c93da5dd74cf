"""Allocation's word about plans."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.book import Book
from services.routing.decide import handover
from services.routing.handlers.planning import plan_touched
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentAssignmentRejected
from shared.messaging.message import Outgoing, Received, Transaction


async def hand_over_assigned_plans(tx: Transaction, messages: Sequence[Received[FulfillmentAssigned]]) -> Sequence[Outgoing]:
    """Sends the pick lists of plans whose units are tied to the 3PLs; what a closed location has is planned elsewhere."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    closed = await current.closed_locations(tx.connection)
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order {message.data.order_id} has not arrived yet")
        else:
            book.apply(handover.assign(order, message.data, tx.now, book.deadlines, closed), message)
    return await book.save()


async def plan_anew_after_refusals(tx: Transaction, messages: Sequence[Received[FulfillmentAssignmentRejected]]) -> Sequence[Outgoing]:
    """Plans again with the numbers that came with the refusal."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order {message.data.order_id} has not arrived yet")
        else:
            book.apply(handover.reject_assignment(order, message.data, tx.now, book.deadlines), message)
    await plan_touched(book)
    return await book.save()
