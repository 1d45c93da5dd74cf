"""New orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.routing import current
from services.routing.book import Book
from services.routing.decide import stock
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.editing import address_as_json
from services.routing.decide.order import Order, StockWait, line_of
from services.routing.decide.waiting import settled
from services.routing.handlers.planning import plan_new
from services.routing.queries import orders
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockReserved
from shared.messaging.message import Outgoing, Received, Transaction


async def take_placed_orders(tx: Transaction, messages: Sequence[Received[OrderPlaced]]) -> Sequence[Outgoing]:
    """Keeps routing's copy of new orders and takes up reservations that overtook them. An order that is known stays as it is."""
    book = Book(tx, current.deadlines())
    new: dict[object, Received[OrderPlaced]] = {}
    for message in messages:
        line_ids = [line.line_id for line in message.data.lines]
        if len(set(line_ids)) < len(line_ids):
            twice = next(line_id for line_id in line_ids if line_ids.count(line_id) > 1)
            tx.park(message, f"lines: line_id {twice} appears twice; send each line once")
        else:
            new.setdefault(message.data.order_id, message)
    await orders.lock_arrivals(tx.connection, [message.data.order_id for message in new.values()])
    copies = [settled(copy_of(message.data, tx.now, book.deadlines), tx.now, book.deadlines) for message in new.values()]
    if not copies:
        return ()
    inserted = await orders.insert_orders(tx.connection, copies)
    fresh = [order for order in copies if order.order_id in inserted]
    if not fresh:
        return ()
    await orders.insert_lines(
        tx.connection, [(order.order_id, position, line) for order in fresh for position, line in enumerate(order.lines)]
    )
    early = await orders.take_early_reservations(tx.connection, [order.order_id for order in fresh])
    if not early:
        return ()
    waiting = {row["order_id"] for row in early}
    for order in fresh:
        if order.order_id in waiting:
            book.add(order, new[order.order_id])
    for row in early:
        order = book.orders[row["order_id"]]
        reserved = StockReserved.model_validate(row["message"])
        book.apply(stock.reserve(order, reserved, tx.now, book.deadlines), new[order.order_id])
    await plan_new(book)
    return await book.save()


def copy_of(placed: OrderPlaced, now: datetime, deadlines: Deadlines) -> Order:
    """What routing keeps of an order: nothing of the customer beyond where the parcel goes."""
    return Order(
        order_id=placed.order_id,
        order_version=placed.order_version,
        channel=placed.channel,
        external_id=placed.external_id,
        placed_at=placed.placed_at,
        currency=placed.currency,
        segment=placed.segment,
        service_level=placed.service_level,
        deliver_by=placed.deliver_by,
        shipping_paid_cents=placed.shipping_paid_cents,
        split_policy=placed.split_policy,
        ship_to=address_as_json(placed.ship_to),
        promise_from=now,
        lines=tuple(line_of(line) for line in placed.lines),
        stock_wait=StockWait("allocation", now + deadlines.allocation),
    )
