"""Work that is due: deadlines of orders, and reservations that slipped in beside their order."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.book import Book
from services.routing.decide import consent, stock
from services.routing.decide.fulfillment import State
from services.routing.decide.handover import call_off_closed
from services.routing.decide.waiting import wake
from services.routing.handlers.planning import plan_due, plan_new
from services.routing.queries import orders
from shared.contracts.stock import StockReserved
from shared.messaging.message import Outgoing, Transaction

MOST_AT_ONCE = 200


async def wake_due_orders(tx: Transaction) -> Sequence[Outgoing]:
    """Does what is due: asks silent 3PLs again, calls off what waits at a closed location, calls a person, plans anew after a pause,
    cancels what no customer agreed to wait for."""
    book = Book(tx, current.deadlines())
    await book.open_due(MOST_AT_ONCE)
    not_accepted = any(
        item.state is State.SUBMITTED or (item.state is State.PLANNED and item.assigned)
        for order in book.orders.values()
        for item in order.fulfillments
    )
    closed = await current.closed_locations(tx.connection) if not_accepted else frozenset[str]()
    for order_id, order in list(book.orders.items()):
        # First, so that nothing that wakes, as a change that was not paid in time, hands work to a location that has closed.
        recalled = call_off_closed(order, closed, tx.now, book.deadlines)
        book.apply(recalled.then(lambda known: wake(known, tx.now, book.deadlines)), None)
        woken = book.orders[order_id]
        cancellation = consent.overdue_answer(woken, tx.now)
        if cancellation is not None:
            book.apply(consent.lapse(woken, cancellation, tx.now, book.deadlines), None, cancellation)
    await plan_due(book)
    return await book.save()


async def adopt_early_reservations(tx: Transaction) -> Sequence[Outgoing]:
    """Takes up reservations that were written beside the order's arrival, when neither transaction could see the other."""
    order_ids = await orders.orders_with_early_reservations(tx.connection, MOST_AT_ONCE)
    if not order_ids:
        return ()
    book = Book(tx, current.deadlines())
    await book.open(order_ids)
    for row in await orders.take_early_reservations(tx.connection, order_ids):
        order = book.orders[row["order_id"]]
        book.apply(stock.reserve(order, StockReserved.model_validate(row["message"]), tx.now, book.deadlines), None)
    await plan_new(book)
    return await book.save()
