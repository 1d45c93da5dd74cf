"""The copy of each order: what was paid, what changed, what shipped and arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from services.returns.decide.books import OrderBooks, open_books, repeated_line
from services.returns.decide.edits import EditRefused, add_payment, apply_edit
from services.returns.handlers.loading import lock_books, save_books
from services.returns.queries import orders as queries
from shared.contracts.fulfillment import FulfillmentDelivered, FulfillmentShipped
from shared.contracts.orders import OrderCancelled, OrderEdited, OrderPlaced, PaymentCollected
from shared.messaging.message import Outgoing, Received, Transaction


async def open_books_of_placed_orders(tx: Transaction, messages: Sequence[Received[OrderPlaced]]) -> Sequence[Outgoing]:
    """A paid order: everything that was paid is captured."""
    opened: dict[UUID, OrderBooks] = {}
    for message in messages:
        repeated = repeated_line(message.data.lines)
        if repeated is not None:
            tx.park(message, f"lines: line_id {repeated!r} appears twice; send each line once")
            continue
        opened.setdefault(message.data.order_id, open_books(message.data))
    if opened:
        new = await queries.insert_orders(tx.connection, list(opened.values()))
        lines = [(order_id, line) for order_id in new for line in opened[order_id].lines.values()]
        if lines:
            await queries.upsert_lines(tx.connection, lines)
    return []


async def apply_edits(tx: Transaction, messages: Sequence[Received[OrderEdited]]) -> Sequence[Outgoing]:
    """An edited order: captured money follows the goods, and what they no longer need waits for the refund of the edit."""
    before = await lock_books(tx.connection, (message.data.order_id for message in messages))
    after = dict(before)
    changes = []
    for message in sorted(messages, key=lambda message: message.data.order_version):
        edit = message.data
        books = after.get(edit.order_id)
        if books is None:
            tx.defer(message, f"order {edit.order_id} has not arrived")
            continue
        edited = apply_edit(books, edit)
        if isinstance(edited, EditRefused):
            refunded_ahead = any(line.edited_cents for line in books.lines.values())
            if edit.money_delta_cents > 0 or edit.order_version > books.lines_version + 1 or refunded_ahead:
                # Routing makes an edit that costs more only once it is paid: the payment's message is on its way. So is the next edit, when
                # its refund came first: this one then needs more than there is, and is an older one once that is here.
                tx.defer(message, f"order {edit.order_id}: a payment has not arrived, or the edit of a refund; {edited.reason}")
            else:
                tx.park(message, edited.reason)
            continue
        after[edit.order_id] = edited
        changes.append((edit.order_id, edit.change_id, "edited", edit.order_version))
    await save_books(tx.connection, before, after)
    if changes:
        await queries.insert_changes(tx.connection, changes)
    return []


async def book_payments(tx: Transaction, messages: Sequence[Received[PaymentCollected]]) -> Sequence[Outgoing]:
    """An order has paid more: until its edit arrives, or the refund of it, no line needs the money."""
    before = await lock_books(tx.connection, (message.data.order_id for message in messages))
    after = dict(before)
    paid: dict[UUID, PaymentCollected] = {}
    for message in messages:
        books = before.get(message.data.order_id)
        if books is None:
            tx.defer(message, f"order {message.data.order_id} has not arrived")
        elif books.currency != message.data.currency:
            tx.park(message, f"currency: {message.data.currency}, but the order was paid in {books.currency}")
        else:
            paid.setdefault(message.data.payment_id, message.data)
    new = await queries.insert_payments(tx.connection, list(paid.values())) if paid else set()
    for payment_id in new:
        order_id = paid[payment_id].order_id
        after[order_id] = add_payment(after[order_id], paid[payment_id].amount_cents)
    await save_books(tx.connection, before, after)
    return []


async def apply_cancellations(tx: Transaction, messages: Sequence[Received[OrderCancelled]]) -> Sequence[Outgoing]:
    """A cancelled order: which units will not ship. Its money goes back by the refund that routing asks for, not by this message."""
    before = await lock_books(tx.connection, (message.data.order_id for message in messages))
    after = dict(before)
    changes = []
    units: list[tuple[UUID, str, int]] = []
    for message in messages:
        cancelled = message.data
        books = after.get(cancelled.order_id)
        if books is None:
            tx.defer(message, f"order {cancelled.order_id} has not arrived")
            continue
        changes.append((cancelled.order_id, cancelled.change_id, "cancelled", cancelled.order_version))
        if books.cancelled_at is None:
            after[cancelled.order_id] = replace(books, cancelled_at=cancelled.cancelled_at)
            units.extend((cancelled.order_id, line.line_id, line.quantity) for line in cancelled.lines)
    await save_books(tx.connection, before, after)
    if changes:
        await queries.insert_changes(tx.connection, changes)
    if units:
        await queries.insert_cancelled_units(tx.connection, units)
    return []


async def record_shipments(tx: Transaction, messages: Sequence[Received[FulfillmentShipped]]) -> Sequence[Outgoing]:
    """A parcel left: its units may come back. It may arrive before its order."""
    parcels: dict[UUID, FulfillmentShipped] = {}
    for message in messages:
        parcels.setdefault(message.data.fulfillment_id, message.data)
    new = await queries.record_shipped(
        tx.connection, [(parcel.fulfillment_id, parcel.order_id, parcel.shipped_at) for parcel in parcels.values()]
    )
    units = [
        (parcel.fulfillment_id, parcel.order_id, line.line_id, line.sku, line.quantity)
        for parcel in parcels.values()
        if parcel.fulfillment_id in new
        for line in parcel.lines
    ]
    if units:
        await queries.insert_shipped_units(tx.connection, units)
    return []


async def record_deliveries(tx: Transaction, messages: Sequence[Received[FulfillmentDelivered]]) -> Sequence[Outgoing]:
    """A parcel arrived: the window of its units starts anew. It may be heard of before the shipment."""
    parcels: dict[UUID, FulfillmentDelivered] = {}
    for message in messages:
        known = parcels.get(message.data.fulfillment_id)
        if known is None or message.data.delivered_at < known.delivered_at:
            parcels[message.data.fulfillment_id] = message.data
    await queries.record_delivered(
        tx.connection, [(parcel.fulfillment_id, parcel.order_id, parcel.delivered_at) for parcel in parcels.values()]
    )
    return []
