"""Orders as the channels sent them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.sync.decide.orders import Article, OrderKey
from services.sync.queries.catalogue import read_kits
from shared.messaging.message import Connection


@dataclass(frozen=True, slots=True)
class NewOrder:
    """One row of channel_orders."""

    order_id: UUID
    channel: str
    external_id: str
    content_digest: bytes
    placed_at: datetime
    currency: str
    captured_cents: int
    lines: list[dict[str, Any]]


async def read_catalogue(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Article]:
    """What is known of SKUs on channels, by (channel, SKU); unknown SKUs are left out. Kits cost one query more."""
    pairs = sorted(wanted)
    rows = await connection.fetch(
        """
        SELECT wanted.channel, sku, title, unit_weight_grams, unit_volume_cubic_centimetres, hazmat,
               listings.sku IS NOT NULL AS listed, is_kit
        FROM unnest($1::text[], $2::text[]) AS wanted (channel, sku)
        JOIN products USING (sku)
        LEFT JOIN listings USING (channel, sku)
        """,
        [channel for channel, _ in pairs],
        [sku for _, sku in pairs],
    )
    kit_skus = {row["sku"] for row in rows if row["is_kit"]}
    kits = await read_kits(connection, kit_skus) if kit_skus else {}
    return {
        (row["channel"], row["sku"]): Article(
            row["title"],
            row["unit_weight_grams"],
            row["hazmat"],
            row["listed"],
            kits.get(row["sku"], ()),
            row["unit_volume_cubic_centimetres"],
        )
        for row in rows
    }


async def insert_orders(connection: Connection, orders: Sequence[NewOrder], now: datetime) -> set[UUID]:
    """Takes orders, in the order of their keys, and returns the ids of those that nobody had taken before."""
    sorted_orders = sorted(orders, key=lambda order: (order.channel, order.external_id))
    rows = await connection.fetch(
        """
        INSERT INTO channel_orders
            (order_id, channel, external_id, content_digest, placed_at, received_at, currency, captured_cents, lines)
        SELECT order_id, channel, external_id, content_digest, placed_at, $9, currency, captured_cents, lines::jsonb
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::text[], $7::bigint[], $8::text[])
             AS new (order_id, channel, external_id, content_digest, placed_at, currency, captured_cents, lines)
        ON CONFLICT (channel, external_id) DO NOTHING
        RETURNING order_id
        """,
        [order.order_id for order in sorted_orders],
        [order.channel for order in sorted_orders],
        [order.external_id for order in sorted_orders],
        [order.content_digest for order in sorted_orders],
        [order.placed_at for order in sorted_orders],
        [order.currency for order in sorted_orders],
        [order.captured_cents for order in sorted_orders],
        [json.dumps(order.lines) for order in sorted_orders],
        now,
    )
    return {row["order_id"] for row in rows}


async def read_digests(connection: Connection, keys: Collection[OrderKey]) -> dict[OrderKey, tuple[UUID, bytes]]:
    """Order id and content digest of orders that were taken, by (channel, external id)."""
    wanted = sorted(keys)
    rows = await connection.fetch(
        """
        SELECT channel, external_id, order_id, content_digest
        FROM unnest($1::text[], $2::text[]) AS wanted (channel, external_id)
        JOIN channel_orders USING (channel, external_id)
        """,
        [channel for channel, _ in wanted],
        [external_id for _, external_id in wanted],
    )
    return {(row["channel"], row["external_id"]): (row["order_id"], row["content_digest"]) for row in rows}


async def read_addresses(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, OrderKey]:
    """Where orders came from: (channel, external id) by order id."""
    rows = await connection.fetch(
        "SELECT order_id, channel, external_id FROM channel_orders WHERE order_id = ANY($1::uuid[])", sorted(order_ids)
    )
    return {row["order_id"]: (row["channel"], row["external_id"]) for row in rows}


async def read_order_lines(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, tuple[OrderKey, list[dict[str, Any]]]]:
    """Where orders came from, and their lines under the newest version known here."""
    rows = await connection.fetch(
        "SELECT order_id, channel, external_id, lines FROM channel_orders WHERE order_id = ANY($1::uuid[])", sorted(order_ids)
    )
    return {row["order_id"]: ((row["channel"], row["external_id"]), row["lines"]) for row in rows}


async def record_edits(connection: Connection, edits: Sequence[tuple[UUID, int, list[dict[str, Any]]]]) -> set[UUID]:
    """The newest version of each order and its lines; an older version changes nothing. Returns the orders that changed."""
    rows = await connection.fetch(
        """
        WITH edits AS (
            SELECT order_id, order_version, lines::jsonb
            FROM unnest($1::uuid[], $2::int[], $3::text[]) AS edits (order_id, order_version, lines)
        ), locked AS (
            SELECT order_id FROM channel_orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE
        )
        UPDATE channel_orders AS orders SET order_version = edits.order_version, lines = edits.lines
        FROM edits JOIN locked USING (order_id)
        WHERE orders.order_id = edits.order_id AND orders.order_version < edits.order_version
        RETURNING orders.order_id
        """,
        [order_id for order_id, _, _ in edits],
        [order_version for _, order_version, _ in edits],
        [json.dumps(lines) for _, _, lines in edits],
    )
    return {row["order_id"] for row in rows}


async def record_cancellations(connection: Connection, cancellations: Sequence[tuple[UUID, datetime, str]]) -> set[UUID]:
    """Orders that ship nothing more; the first word about it stands. Returns the orders of which it is the first."""
    rows = await connection.fetch(
        """
        WITH cancellations AS (
            SELECT order_id, cancelled_at, reason
            FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) AS cancellations (order_id, cancelled_at, reason)
        ), locked AS (
            SELECT order_id FROM channel_orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE
        )
        UPDATE channel_orders AS orders SET cancelled_at = cancellations.cancelled_at, cancel_reason = cancellations.reason
        FROM cancellations JOIN locked USING (order_id)
        WHERE orders.order_id = cancellations.order_id AND orders.cancelled_at IS NULL
        RETURNING orders.order_id
        """,
        [order_id for order_id, _, _ in cancellations],
        [cancelled_at for _, cancelled_at, _ in cancellations],
        [reason for _, _, reason in cancellations],
    )
    return {row["order_id"] for row in rows}


async def read_order(connection: Connection, order_id: UUID) -> Record | None:
    """One order for the console."""
    return await connection.fetchrow(
        """
        SELECT order_id, channel, external_id, placed_at, received_at, currency, captured_cents, order_version, lines, cancelled_at,
               cancel_reason
        FROM channel_orders WHERE order_id = $1
        """,
        order_id,
    )


async def read_order_by_external_id(connection: Connection, channel: str, external_id: str) -> Record | None:
    """One order for the console, by what its channel calls it."""
    return await connection.fetchrow(
        """
        SELECT order_id, channel, external_id, placed_at, received_at, currency, captured_cents, order_version, lines, cancelled_at,
               cancel_reason
        FROM channel_orders WHERE channel = $1 AND external_id = $2
        """,
        channel,
        external_id,
    )


async def read_refunds_of(connection: Connection, order_id: UUID) -> list[Record]:
    """Refunds of one order, oldest first."""
    return await connection.fetch(
        """
        SELECT refund_id, state, amount_cents, currency, attempts, due_at, last_failure, provider_reference, requested_at, settled_at
        FROM refunds WHERE order_id = $1 ORDER BY requested_at, refund_id
        """,
        order_id,
    )


async def read_notices_of(connection: Connection, order_id: UUID) -> list[Record]:
    """Shipment notices of one order, oldest first."""
    return await connection.fetch(
        """
        SELECT fulfillment_id, state, carrier, tracking_number, attempts, due_at, last_failure, shipped_at, settled_at
        FROM shipment_notices WHERE order_id = $1 ORDER BY shipped_at, fulfillment_id
        """,
        order_id,
    )
