"""What allocation says about units."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.book import Book
from services.routing.decide import stock
from services.routing.handlers.planning import plan_new, plan_touched
from services.routing.queries import orders
from shared.contracts.stock import StockBackordered, StockPromiseChanged, StockReserved
from shared.messaging.message import Outgoing, Received, Transaction


async def plan_reserved_units(tx: Transaction, messages: Sequence[Received[StockReserved]]) -> Sequence[Outgoing]:
    """Plans units that were reserved. What overtook its order is kept until that arrives."""
    book = Book(tx, current.deadlines())
    wanted = {message.data.order_id for message in messages}
    await orders.lock_arrivals(tx.connection, list(wanted))
    await book.open(wanted)
    early = []
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            early.append((message.event_id, message.data.order_id, message.data.model_dump(mode="json")))
        else:
            book.apply(stock.reserve(order, message.data, tx.now, book.deadlines), message)
    if early:
        await orders.insert_early_reservations(tx.connection, early, tx.now)
    await plan_new(book)
    return await book.save()


async def note_backorders(tx: Transaction, messages: Sequence[Received[StockBackordered]]) -> Sequence[Outgoing]:
    """Notes units that wait for supply, and until when."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order {message.data.order_id} has not arrived yet")
        else:
            book.apply(stock.backorder(order, message.data, tx.now, book.deadlines), message)
    await plan_touched(book)
    return await book.save()


async def move_promises(tx: Transaction, messages: Sequence[Received[StockPromiseChanged]]) -> Sequence[Outgoing]:
    """Notes new dates of units that wait for supply."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order {message.data.order_id} has not arrived yet")
        else:
            book.apply(stock.move_promise(order, message.data, tx.now, book.deadlines), message)
    return await book.save()
