"""Orders that change after they were placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.changing import cancel_order, edit_order
from services.allocation.decide.stock import Cause
from services.allocation.handlers.loading import load_orders, open_books
from services.allocation.handlers.settling import settle
from services.allocation.queries.books import lock_orders, read_skus_of_orders, set_split_policies
from shared.contracts.orders import OrderCancelled, OrderEdited
from shared.messaging.message import Outgoing, Received, Transaction

ChangeT = TypeVar("ChangeT", OrderCancelled, OrderEdited)


async def release_cancelled_orders(tx: Transaction, messages: Sequence[Received[OrderCancelled]]) -> list[Outgoing]:
    """Gives the units of cancelled orders back: waiting, reserved or assigned (features A2, D4)."""
    known = await _known(tx, messages)
    if not known:
        return []
    books = await _open(tx, known, ())
    for message in sorted(known, key=lambda message: message.data.order_version):
        event = message.data
        cancel_order(books, event, Cause(message.event_id, event.cancelled_at, event.change_id))
    return await settle(tx, books, known)


async def apply_edited_orders(tx: Transaction, messages: Sequence[Received[OrderEdited]]) -> list[Outgoing]:
    """Brings reservations and queue in line with the newest version of edited orders (feature D1)."""
    known = await _known(tx, messages)
    if not known:
        return []
    books = await _open(tx, known, {line.sku for message in known for line in message.data.lines})
    ready = []
    for message in known:
        stranger = next((line.sku for line in message.data.lines if line.sku not in books.pools), None)
        if stranger is None:
            ready.append(message)
        elif stranger in books.kits:
            tx.park(
                message,
                f"lines: SKU {stranger!r} is a kit and cannot be reserved itself: a kit is added to an order with its components "
                "(line_changes.components of order.edit_requested)",
            )
        else:
            tx.defer(message, f"lines: SKU {stranger!r} is not registered here yet; it comes with product.registered")
    for message in sorted(ready, key=lambda message: message.data.order_version):
        event = message.data
        edit_order(books, event, Cause(message.event_id, event.edited_at, event.change_id), tx.new_id)
    if not ready:
        return []
    said = await settle(tx, books, ready)
    policies = [(event.order_id, event.order_version, event.split_policy) for message in ready if (event := message.data).split_policy]
    if policies:
        await set_split_policies(tx.connection, policies)
    return said


async def _known(tx: Transaction, messages: Sequence[Received[ChangeT]]) -> list[Received[ChangeT]]:
    """Locks the orders; messages about orders that were not placed yet wait."""
    rows = await lock_orders(tx.connection, sorted({message.data.order_id for message in messages}))
    here = {row["order_id"] for row in rows}
    for message in messages:
        if message.data.order_id not in here:
            tx.defer(message, f"order_id: order {message.data.order_id} has not arrived yet; it comes with order.placed")
    return [message for message in messages if message.data.order_id in here]


async def _open(tx: Transaction, messages: Sequence[Received[OrderCancelled] | Received[OrderEdited]], skus: set[str] | tuple[()]) -> Books:
    order_ids: list[UUID] = [message.data.order_id for message in messages]
    own = {row["sku"] for row in await read_skus_of_orders(tx.connection, order_ids)}
    books = await open_books(tx.connection, own | set(skus))
    await load_orders(tx.connection, books, order_ids)
    return books
