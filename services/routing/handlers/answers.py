"""What 3PLs answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import structlog

from services.routing import current
from services.routing.book import Book
from services.routing.decide.answers import Answer, answer
from services.routing.decide.clocks import at_sound_time
from services.routing.handlers.planning import plan_touched
from shared.messaging.message import Outgoing, Received, Transaction

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT", bound=Answer)


async def hear_third_parties(tx: Transaction, messages: Sequence[Received[AnswerT]]) -> Sequence[Outgoing]:
    """Takes the answers of 3PLs, of one kind at a time. A 3PL may speak of its own fulfillments only."""
    book = Book(tx, current.deadlines())
    await book.open_by_fulfillment({message.data.fulfillment_id for message in messages})
    for message in messages:
        fulfillment_id = message.data.fulfillment_id
        order_id = book.order_of_fulfillment.get(fulfillment_id)
        if order_id is None:
            tx.defer(message, f"fulfillment_id: {fulfillment_id} is not known here; answer with the id of the request")
            continue
        order = book.orders[order_id]
        owner = order.fulfillment(fulfillment_id).partner
        if message.partner is not None and message.partner != owner:
            tx.park(message, f"fulfillment_id: {fulfillment_id} was not handed to {message.partner}; a 3PL answers only for its own")
            continue
        sound = at_sound_time(message.data, order.fulfillment(fulfillment_id), message.time, tx.now)
        if sound is not message.data:
            log.warning("third_party_clock_off", partner=owner, type=sound.type, fulfillment_id=str(fulfillment_id))
        book.apply(answer(order, sound, tx.now, book.deadlines), message)
    await plan_touched(book)
    return await book.save()
