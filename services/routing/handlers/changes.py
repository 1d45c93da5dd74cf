"""Cancellations and edits."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.routing import current
from services.routing.book import Book
from services.routing.decide.changes import Request, request_change
from services.routing.decide.order import Order
from services.routing.decide.service_prices import priced
from services.routing.handlers.planning import plan_touched
from services.routing.postal_codes import find_place
from services.routing.queries import changes
from services.routing.queries.changes import ChangeRow
from shared.contracts.orders import (
    OrderCancelRejected,
    OrderCancelRequested,
    OrderEditRejected,
    OrderEditRequested,
)
from shared.contracts.registry import MESSAGES
from shared.messaging.message import Outgoing, Received, Transaction


async def cancel_orders(tx: Transaction, messages: Sequence[Received[OrderCancelRequested]]) -> Sequence[Outgoing]:
    """Cancels orders before the cutoff, asking 3PLs first where they hold a request."""
    return await _change_orders(tx, messages)


async def edit_orders(tx: Transaction, messages: Sequence[Received[OrderEditRequested]]) -> Sequence[Outgoing]:
    """Edits orders before the cutoff, asking 3PLs first where they hold a request."""
    return await _change_orders(tx, messages)


async def _change_orders(
    tx: Transaction, messages: Sequence[Received[OrderCancelRequested]] | Sequence[Received[OrderEditRequested]]
) -> Sequence[Outgoing]:
    """A change that was asked for before gets the answer that it got then, whatever has become of the order since."""
    book = Book(tx, current.deadlines())
    await book.open({message.data.order_id for message in messages})
    known: dict[UUID, ChangeRow] = {
        row["change_id"]: ChangeRow(*row)
        for row in await changes.read_changes(tx.connection, [message.data.change_id for message in messages])
    }
    for message in messages:
        request: Request = message.data
        order = book.orders.get(request.order_id)
        if order is None:
            tx.defer(message, f"order_id: order {request.order_id} has not arrived yet")
            continue
        earlier = book.answered(request.change_id) or known.get(request.change_id)
        if earlier is not None:
            book.outgoing.append(_same_answer(order, request, earlier, message))
            continue
        if isinstance(request, OrderEditRequested):
            request = priced(order, request, current.service_prices())
        ship_to = request.ship_to if isinstance(request, OrderEditRequested) else None
        on_map = ship_to is None or find_place(ship_to.postal_code, ship_to.country) is not None
        book.apply(request_change(order, request, tx.now, book.deadlines, postal_code_known=on_map), message, request)
    await plan_touched(book)
    return await book.save()


def _same_answer(
    order: Order, request: Request, earlier: ChangeRow, because: Received[OrderCancelRequested] | Received[OrderEditRequested]
) -> Outgoing:
    """The answer that this change got before. Another change under the same id is refused, and the first stays as it is."""
    kind = "cancel" if isinstance(request, OrderCancelRequested) else "edit"
    if earlier.order_id == order.order_id and earlier.kind == kind:
        answer = MESSAGES[earlier.answer_type].model_validate(earlier.answer)
        return Outgoing(answer, subject=str(order.order_id), because=because)
    rejected = OrderCancelRejected if kind == "cancel" else OrderEditRejected
    return Outgoing(
        rejected(
            order_id=order.order_id,
            order_version=order.order_version,
            change_id=request.change_id,
            actor=request.actor,
            reason="invalid",
            detail=f"change_id: {request.change_id} was used for another change; make a new one for every change",
        ),
        subject=str(order.order_id),
        because=because,
    )
