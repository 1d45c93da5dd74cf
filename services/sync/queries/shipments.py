"""Notices of shipments to channels."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.sync.channels.protocol import Shipment, ShippedLine
from services.sync.decide.orders import OrderKey
from services.sync.decide.shipments import Announcement, ShipmentNotice
from shared.contracts.fulfillment import FulfillmentShipped
from shared.messaging.message import Connection


@dataclass(frozen=True, slots=True)
class NoticeTask:
    """One claimed notice."""

    shipment: Shipment
    attempt: int
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class NewNotice:
    """One parcel of an order that came from a channel."""

    shipped: FulfillmentShipped
    said: Announcement
    order: OrderKey
    cause_event_id: UUID
    cause_traceparent: str | None


async def insert_notices(connection: Connection, notices: Sequence[NewNotice], now: datetime) -> None:
    """Schedules notices; a parcel that is known already stays as it is."""
    sorted_notices = sorted(notices, key=lambda notice: notice.shipped.fulfillment_id)
    lines = [
        [{"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity} for line in notice.said.lines] for notice in sorted_notices
    ]
    await connection.execute(
        """
        INSERT INTO shipment_notices (fulfillment_id, order_id, channel, external_id, carrier, tracking_number, lines, shipped_at, due_at,
                                      cause_event_id, cause_traceparent, component_units)
        SELECT fulfillment_id, order_id, channel, external_id, carrier, tracking_number, lines::jsonb, shipped_at, $11, cause_event_id,
               cause_traceparent, component_units::jsonb
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::uuid[],
                    $10::text[], $12::text[])
             AS new (fulfillment_id, order_id, channel, external_id, carrier, tracking_number, lines, shipped_at, cause_event_id,
                     cause_traceparent, component_units)
        ON CONFLICT (fulfillment_id) DO NOTHING
        """,
        [notice.shipped.fulfillment_id for notice in sorted_notices],
        [notice.shipped.order_id for notice in sorted_notices],
        [notice.order[0] for notice in sorted_notices],
        [notice.order[1] for notice in sorted_notices],
        [notice.shipped.carrier for notice in sorted_notices],
        [notice.shipped.tracking_number for notice in sorted_notices],
        [json.dumps(item) for item in lines],
        [notice.shipped.shipped_at for notice in sorted_notices],
        [notice.cause_event_id for notice in sorted_notices],
        [notice.cause_traceparent for notice in sorted_notices],
        now,
        [json.dumps(notice.said.component_units) if notice.said.component_units else None for notice in sorted_notices],
    )


async def lock_component_units(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, dict[UUID, Mapping[str, int]]]:
    """Units of kits in every known parcel of these orders, by order and parcel. The orders are locked, in the order of their ids."""
    await connection.execute(
        "SELECT FROM channel_orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE", sorted(order_ids)
    )
    # A second statement: it sees the parcels that were committed while this one waited for the locks.
    rows = await connection.fetch(
        "SELECT order_id, fulfillment_id, component_units FROM shipment_notices WHERE order_id = ANY($1::uuid[])", sorted(order_ids)
    )
    told: dict[UUID, dict[UUID, Mapping[str, int]]] = {}
    for row in rows:
        told.setdefault(row["order_id"], {})[row["fulfillment_id"]] = row["component_units"] or {}
    return told


async def claim_notices(connection: Connection, channel: str, now: datetime, leased_until: datetime, limit: int) -> list[NoticeTask]:
    """Takes notices of one channel that are due, longest waiting first; none while the channel is paused, one while it is probed."""
    rows = await connection.fetch(
        """
        WITH open AS (
            SELECT CASE WHEN paused_until > $2 THEN 0 WHEN trips > 0 THEN 1 ELSE $4::int END AS calls FROM channels WHERE code = $1
        ), due AS (
            SELECT fulfillment_id FROM shipment_notices WHERE channel = $1 AND due_at <= $2
            ORDER BY due_at, fulfillment_id LIMIT COALESCE((SELECT calls FROM open), 0)
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE shipment_notices AS notices SET attempts = attempts + 1, due_at = $3
        FROM due WHERE notices.fulfillment_id = due.fulfillment_id
        RETURNING notices.fulfillment_id, external_id, carrier, tracking_number, lines, attempts, cause_traceparent
        """,
        channel,
        now,
        leased_until,
        limit,
    )
    return [
        NoticeTask(
            shipment=Shipment(
                fulfillment_id=row["fulfillment_id"],
                external_order_id=row["external_id"],
                carrier=row["carrier"],
                tracking_number=row["tracking_number"],
                lines=[ShippedLine(**line) for line in row["lines"]],
            ),
            attempt=row["attempts"],
            traceparent=row["cause_traceparent"],
        )
        for row in rows
    ]


async def lock_notices(connection: Connection, fulfillment_ids: Collection[UUID]) -> dict[UUID, ShipmentNotice]:
    """Notices locked in the order of their ids."""
    rows = await connection.fetch(
        """
        SELECT fulfillment_id, state, attempts, due_at, last_failure, settled_at
        FROM shipment_notices WHERE fulfillment_id = ANY($1::uuid[]) ORDER BY fulfillment_id FOR NO KEY UPDATE
        """,
        sorted(fulfillment_ids),
    )
    return {row["fulfillment_id"]: ShipmentNotice(*row) for row in rows}


async def save_notices(connection: Connection, notices: Sequence[ShipmentNotice]) -> None:
    """Records what became of notices; the rows are locked already."""
    await connection.execute(
        """
        UPDATE shipment_notices AS notices
        SET state = new.state, due_at = new.due_at, last_failure = new.last_failure, settled_at = new.settled_at
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[])
             AS new (fulfillment_id, state, due_at, last_failure, settled_at)
        WHERE notices.fulfillment_id = new.fulfillment_id
        """,
        [notice.fulfillment_id for notice in notices],
        [notice.state for notice in notices],
        [notice.due_at for notice in notices],
        [notice.last_failure for notice in notices],
        [notice.settled_at for notice in notices],
    )
