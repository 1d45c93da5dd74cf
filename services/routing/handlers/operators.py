"""What an operator decides about one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.routing import current
from services.routing.book import Book
from services.routing.decide.waiting import retry
from services.routing.handlers.planning import plan_touched
from shared.messaging.message import Outgoing, Transaction


@dataclass(frozen=True)
class Retried:
    """Whether the order is known, whether it needed anybody, and what there is to say."""

    known: bool
    needed_attention: bool
    outgoing: Sequence[Outgoing] = ()


async def retry_order(tx: Transaction, order_id: UUID) -> Retried:
    """Lets an order that needs attention go on: limits start anew, silent 3PLs are asked again, its units are planned again."""
    book = Book(tx, current.deadlines())
    await book.open([order_id])
    order = book.orders.get(order_id)
    if order is None:
        return Retried(known=False, needed_attention=False)
    if order.attention is None:
        return Retried(known=True, needed_attention=False)
    book.apply(retry(order, tx.now, book.deadlines), None)
    await plan_touched(book, guess_stock=True)
    return Retried(known=True, needed_attention=True, outgoing=await book.save())
