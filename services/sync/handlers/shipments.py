"""Parcels that a channel has to be told about."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.sync.queries import shipments as queries
from services.sync.queries.orders import read_addresses
from services.sync.queries.shipments import NewNotice
from shared.contracts.fulfillment import FulfillmentShipped
from shared.messaging.message import Outgoing, Received, Transaction


async def schedule_notices(tx: Transaction, messages: Sequence[Received[FulfillmentShipped]]) -> list[Outgoing]:
    """Schedules one notice per parcel to the channel its order came from."""
    orders = await read_addresses(tx.connection, {message.data.order_id for message in messages})
    notices: dict[UUID, NewNotice] = {}
    for message in messages:
        order = orders.get(message.data.order_id)
        if order is None:
            tx.defer(message, f"order {message.data.order_id} has not been placed here yet")
        else:
            notice = NewNotice(message.data, order, message.event_id, message.traceparent)
            notices.setdefault(message.data.fulfillment_id, notice)
    if notices:
        await queries.insert_notices(tx.connection, list(notices.values()), tx.now)
    return []
