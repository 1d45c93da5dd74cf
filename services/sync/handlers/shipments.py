"""Parcels that a channel has to be told about."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.sync.decide.shipments import OrderLines, announce, order_lines
from services.sync.queries import shipments as queries
from services.sync.queries.orders import read_order_lines
from services.sync.queries.shipments import NewNotice
from shared.contracts.fulfillment import FulfillmentShipped
from shared.messaging.message import Outgoing, Received, Transaction


async def schedule_notices(tx: Transaction, messages: Sequence[Received[FulfillmentShipped]]) -> list[Outgoing]:
    """Schedules one notice per parcel to the channel its order came from, in the channel's own line ids.

    Kits cost two queries more: which parcel completes a kit is settled one parcel of an order after the other.
    """
    orders = await read_order_lines(tx.connection, {message.data.order_id for message in messages})
    lines = {order_id: order_lines(stored) for order_id, (_, stored) in orders.items()}
    known = [message for message in messages if _is_known(tx, message, lines)]
    with_kits = {message.data.order_id for message in known if lines[message.data.order_id].kits}
    told = await queries.lock_component_units(tx.connection, with_kits) if with_kits else {}
    notices: dict[UUID, NewNotice] = {}
    for message in known:
        shipped = message.data
        own = told.setdefault(shipped.order_id, {})
        if shipped.fulfillment_id in own or shipped.fulfillment_id in notices:
            continue
        earlier: dict[str, int] = {}
        for units in own.values():
            for line_id, count in units.items():
                earlier[line_id] = earlier.get(line_id, 0) + count
        said = announce(shipped.lines, lines[shipped.order_id], earlier)
        own[shipped.fulfillment_id] = said.component_units
        notices[shipped.fulfillment_id] = NewNotice(shipped, said, orders[shipped.order_id][0], message.event_id, message.traceparent)
    if notices:
        await queries.insert_notices(tx.connection, list(notices.values()), tx.now)
    return []


def _is_known(tx: Transaction, message: Received[FulfillmentShipped], orders: dict[UUID, OrderLines]) -> bool:
    """Whether the order and all lines in the parcel are known here; what is not is on its way."""
    order = orders.get(message.data.order_id)
    if order is None:
        tx.defer(message, f"order {message.data.order_id} has not been placed here yet")
        return False
    stranger = next((line.line_id for line in message.data.lines if line.line_id not in order.line_ids), None)
    if stranger is not None:
        tx.defer(message, f"lines: order {message.data.order_id} has no line {stranger!r} here yet; it comes with order.edited")
    return stranger is None
