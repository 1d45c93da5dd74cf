"""Money for edits: collected, or refused."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.book import Book
from services.routing.decide.paying import refuse_payment, settle_payment
from services.routing.handlers.planning import plan_touched
from services.routing.queries import changes
from shared.contracts.orders import PaymentCollected, PaymentRefused
from shared.messaging.message import Outgoing, Received, Transaction


async def take_payments(tx: Transaction, messages: Sequence[Received[PaymentCollected]]) -> Sequence[Outgoing]:
    """Makes the edits that were paid for; money that comes too late goes back, once."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    known = {row["change_id"]: row for row in await changes.read_changes(tx.connection, [message.data.change_id for message in messages])}
    for message in messages:
        paid = message.data
        order, asked = book.orders.get(paid.order_id), known.get(paid.change_id)
        if order is None or asked is None or asked["payment_id"] != paid.payment_id:
            tx.park(message, f"payment_id: {paid.payment_id} was never asked for by order {paid.order_id}: give the money back by hand")
            continue
        settled = settle_payment(order, book.payment_of(paid.change_id) or asked["payment"], paid, tx.now, book.deadlines)
        if settled is not None:
            outcome, became = settled
            book.apply(outcome, message)
            book.note_payment(paid.change_id, became)
    await plan_touched(book)
    return await book.save()


async def drop_refused_payments(tx: Transaction, messages: Sequence[Received[PaymentRefused]]) -> Sequence[Outgoing]:
    """Drops the edits that nobody pays for."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    for message in messages:
        order = book.orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order_id: order {message.data.order_id} has not arrived yet")
        else:
            book.apply(refuse_payment(order, message.data, tx.now, book.deadlines), message)
    await plan_touched(book)
    return await book.save()
