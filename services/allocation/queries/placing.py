"""The two statements of the hot path: read under lock, write everything at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def lock_pools_for_orders(connection: Connection, skus: Sequence[str], order_ids: Sequence[UUID]) -> list[Record]:
    """Locks the pools in SKU order and reads their counters and what each location could still be assigned.

    ``known_order_ids`` (the same on every row) are those of ``order_ids`` that were placed before, as of the statement's start: an order
    placed twice at the same moment breaks on its primary key.
    """
    return await connection.fetch(
        """
        SELECT sku, available, queued, version, locations, assignable, release_at, in_kits,
               (SELECT array_agg(order_id) FROM orders WHERE order_id = ANY($2::uuid[])) AS known_order_ids,
               available + fenced AS free, ruled
        FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default'
        ORDER BY sku FOR NO KEY UPDATE
        """,
        skus,
        order_ids,
    )


class PlacedRows(NamedTuple):
    """Columns of what a batch of new orders writes; lists of one group have the same length."""

    pool_skus: list[str]
    pool_reserved: list[int]
    pool_queued: list[int]
    pool_unheld: list[int]
    pool_fenced: list[int]
    order_ids: list[UUID]
    order_versions: list[int]
    split_policies: list[str]
    placed_at: list[datetime]
    priorities: list[int]
    segments: list[str]
    line_order_ids: list[UUID]
    line_ids: list[str]
    line_skus: list[str]
    demand_ids: list[UUID]
    units: list[int]
    reserved: list[int]
    promised_ship_at: list[datetime | None]
    event_ids: list[UUID]
    line_priorities: list[int]
    hold_all: list[bool]
    line_channels: list[str]


async def save_placed_orders(connection: Connection, rows: PlacedRows) -> None:
    """Takes the units from the pools, and writes orders, demand and ledger, in one statement.

    The ledger entry of a line's first reservation carries the demand's own id.
    """
    await connection.execute(
        """
        WITH lines AS MATERIALIZED (
            SELECT * FROM unnest($12::uuid[], $13::text[], $14::text[], $15::uuid[], $16::int[], $17::int[], $18::timestamptz[],
                                 $19::uuid[], $20::smallint[], $21::bool[], $22::text[])
                AS line(order_id, line_id, sku, demand_id, units, reserved, promised_ship_at, event_id, priority, hold_all, channel)
        ), pooled AS (
            UPDATE stock_pools p
            SET reserved = p.reserved + claim.reserved, queued = p.queued + claim.queued, held = p.held - claim.unheld,
                fenced = p.fenced + claim.fenced, version = p.version + 1
            FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::int[]) AS claim(sku, reserved, queued, unheld, fenced)
            WHERE p.sku = claim.sku AND p.pool = 'default'
        ), placed AS (
            INSERT INTO orders (order_id, order_version, split_policy, placed_at, priority, segment)
            SELECT * FROM unnest($6::uuid[], $7::int[], $8::text[], $9::timestamptz[], $10::smallint[], $11::text[])
        ), demanded AS (
            INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, promised_ship_at, priority, hold_all,
                                channel)
            SELECT order_id, line_id, demand_id, sku, units, units - reserved, reserved, promised_ship_at, priority, hold_all, channel
            FROM lines
        )
        INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id, event_id)
        SELECT demand_id, 'reserved', reserved, sku, order_id, line_id, event_id FROM lines WHERE reserved > 0
        """,
        *rows,
    )
