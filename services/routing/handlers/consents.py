"""What customers answer to delays."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.book import Book
from services.routing.decide.consent import hear_answer, refused_wait
from services.routing.decide.order import Order, Question
from services.routing.handlers.planning import plan_touched
from services.routing.queries import consents
from services.routing.rows import question_of
from shared.contracts.orders import OrderDelayAnswered
from shared.messaging.message import Outgoing, Received, Transaction


async def answer_delays(tx: Transaction, messages: Sequence[Received[OrderDelayAnswered]]) -> Sequence[Outgoing]:
    """Takes the answers of customers: who agrees waits on, for who does not everything that has not shipped is cancelled."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    earlier = {
        (row["order_id"], row["consent_id"]): question_of(row)
        for row in await consents.read_consents(tx.connection, [message.data.consent_id for message in messages])
    }
    for message in messages:
        answer = message.data
        order = book.orders.get(answer.order_id)
        if order is None:
            tx.defer(message, f"order_id: order {answer.order_id} has not arrived yet")
            continue
        asked = _newest(order, answer) or earlier.get((answer.order_id, answer.consent_id))
        cancellation = refused_wait(order, answer)
        book.apply(hear_answer(order, answer, asked, cancellation, tx.now, book.deadlines), message, cancellation)
    await plan_touched(book)
    return await book.save()


def _newest(order: Order, answer: OrderDelayAnswered) -> Question | None:
    """The question as answers of the same batch have left it."""
    return order.question if order.question is not None and order.question.consent_id == answer.consent_id else None
