"""Loads the books of some SKUs under their pool locks, and saves what changed. Quantities are saved as differences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def lock_pools(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Locks the pools in SKU order. Everything else of these SKUs stands still until the transaction ends; read it afterwards."""
    return await connection.fetch(
        """
        SELECT sku, sellable, pending_shortage, reserved, queued, safety, version, release_at, early_release, preorder_said_at,
               held, sku_safety, ruled, in_kits
        FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default'
        ORDER BY sku FOR NO KEY UPDATE
        """,
        skus,
    )


async def read_shelves(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """All shelves of these SKUs."""
    return await connection.fetch(
        """
        SELECT sku, location, counts, on_shelf, assigned, damaged, quality_control, counted_as_of, counted_watermark, counted_short,
               missed, safety
        FROM stock_locations WHERE sku = ANY($1::text[])
        """,
        skus,
    )


async def read_hazmat(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Which of these products are hazardous."""
    return await connection.fetch("SELECT sku, hazmat FROM products WHERE sku = ANY($1::text[])", skus)


async def lock_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Locks orders by id, so that no other change of the same order runs beside this one. Comes before the pools."""
    return await connection.fetch(
        "SELECT order_id FROM orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE", order_ids
    )


async def read_skus_of_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """The SKUs that these orders have or had units of."""
    return await connection.fetch("SELECT DISTINCT sku FROM demand WHERE order_id = ANY($1::uuid[])", order_ids)


async def read_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Version and life of these orders; read after the pool locks, because an edit holds all pools of its order."""
    return await connection.fetch(
        """
        SELECT order_id, order_version, cancelled_version, priority, split_policy = 'hold_all' AS hold_all, segment
        FROM orders WHERE order_id = ANY($1::uuid[])
        """,
        order_ids,
    )


async def read_demand_of_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Every demand row of these orders."""
    return await connection.fetch(
        """
        SELECT demand_id, order_id, line_id, sku, units, queued, reserved, assigned, shipped, cancelled, promised_ship_at,
               priority, hold_all, channel
        FROM demand WHERE order_id = ANY($1::uuid[])
        """,
        order_ids,
    )


async def read_open_assignments(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Assignments of these orders that still hold units, or whose units were recalled."""
    return await connection.fetch(
        """
        SELECT fulfillment_id, order_id, line_id, sku, location, units, open, shipped, recalled
        FROM assignments WHERE order_id = ANY($1::uuid[]) AND (open > 0 OR recalled > 0)
        """,
        order_ids,
    )


async def read_assignments(connection: Connection, fulfillment_ids: Sequence[UUID]) -> list[Record]:
    """The assignments of these fulfillments, open or not."""
    return await connection.fetch(
        """
        SELECT fulfillment_id, order_id, line_id, sku, location, units, open, shipped, recalled
        FROM assignments WHERE fulfillment_id = ANY($1::uuid[])
        """,
        fulfillment_ids,
    )


class ShelfRows(NamedTuple):
    """Differences of shelves; of a new shelf everything. Lists have the same length."""

    skus: list[str]
    locations: list[str]
    counts: list[bool]
    on_shelf: list[int]
    assigned: list[int]
    pending_shortage: list[int]
    damaged: list[int]
    quality_control: list[int]
    counted_as_of: list[datetime | None]
    counted_watermark: list[int]
    counted_short: list[int]
    missed: list[int]
    safety: list[int]


async def insert_shelves(connection: Connection, rows: ShelfRows) -> None:
    """Shelves that a SKU did not have yet."""
    await connection.execute(
        """
        INSERT INTO stock_locations (sku, location, counts, on_shelf, assigned, pending_shortage, damaged, quality_control,
                                     counted_as_of, counted_watermark, counted_short, missed, safety)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bool[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[],
                             $9::timestamptz[], $10::bigint[], $11::int[], $12::int[], $13::int[])
        """,
        *rows,
    )


async def update_shelves(connection: Connection, rows: ShelfRows) -> None:
    """Adds differences to shelves; what belongs to the newest count, what is kept back, and whether the shelf counts, is set."""
    await connection.execute(
        """
        UPDATE stock_locations shelf
        SET counts = change.counts, on_shelf = shelf.on_shelf + change.on_shelf, assigned = shelf.assigned + change.assigned,
            pending_shortage = shelf.pending_shortage + change.pending_shortage, damaged = shelf.damaged + change.damaged,
            quality_control = shelf.quality_control + change.quality_control,
            counted_as_of = change.counted_as_of, counted_watermark = change.counted_watermark,
            counted_short = change.counted_short, missed = change.missed, safety = change.safety
        FROM unnest($1::text[], $2::text[], $3::bool[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[],
                    $9::timestamptz[], $10::bigint[], $11::int[], $12::int[], $13::int[])
            AS change(sku, location, counts, on_shelf, assigned, pending_shortage, damaged, quality_control,
                      counted_as_of, counted_watermark, counted_short, missed, safety)
        WHERE shelf.sku = change.sku AND shelf.location = change.location
        """,
        *rows,
    )


async def update_pools(
    connection: Connection,
    skus: Sequence[str],
    sellable: Sequence[int],
    pending_shortage: Sequence[int],
    reserved: Sequence[int],
    queued: Sequence[int],
) -> None:
    """Adds differences to pools and copies what their shelves could be assigned. Comes after the shelves."""
    await connection.execute(
        """
        UPDATE stock_pools pool
        SET sellable = pool.sellable + change.sellable, pending_shortage = pool.pending_shortage + change.pending_shortage,
            reserved = pool.reserved + change.reserved, queued = pool.queued + change.queued, version = pool.version + 1,
            locations = shelves.locations, assignable = shelves.assignable
        FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::int[]) AS change(sku, sellable, pending_shortage, reserved, queued)
        CROSS JOIN LATERAL (
            SELECT COALESCE(array_agg(location ORDER BY location), '{}') AS locations,
                   COALESCE(array_agg(on_shelf - assigned ORDER BY location), '{}') AS assignable
            FROM stock_locations WHERE sku = change.sku AND counts AND on_shelf > assigned
        ) shelves
        WHERE pool.sku = change.sku AND pool.pool = 'default'
        """,
        skus,
        sellable,
        pending_shortage,
        reserved,
        queued,
    )


async def update_orders(
    connection: Connection, order_ids: Sequence[UUID], versions: Sequence[int], cancelled_versions: Sequence[int | None]
) -> None:
    """Sets the version and life of orders."""
    await connection.execute(
        """
        UPDATE orders SET order_version = change.order_version, cancelled_version = change.cancelled_version
        FROM unnest($1::uuid[], $2::int[], $3::int[]) AS change(order_id, order_version, cancelled_version)
        WHERE orders.order_id = change.order_id
        """,
        order_ids,
        versions,
        cancelled_versions,
    )


async def set_split_policies(connection: Connection, policies: Sequence[tuple[UUID, int, str]]) -> None:
    """What an edit made of the split policy of orders that stand at its version and live. Their place in every queue stays."""
    await connection.execute(
        """
        WITH wanted AS (
            SELECT orders.order_id, new.split_policy
            FROM unnest($1::uuid[], $2::int[], $3::text[]) AS new (order_id, order_version, split_policy)
            JOIN orders USING (order_id, order_version)
            WHERE orders.split_policy <> new.split_policy AND orders.cancelled_version IS NULL
        ), changed AS (
            UPDATE orders SET split_policy = wanted.split_policy FROM wanted WHERE orders.order_id = wanted.order_id
        )
        UPDATE demand SET hold_all = wanted.split_policy = 'hold_all' FROM wanted WHERE demand.order_id = wanted.order_id
        """,
        [order_id for order_id, _, _ in policies],
        [order_version for _, order_version, _ in policies],
        [split_policy for _, _, split_policy in policies],
    )


class DemandRows(NamedTuple):
    """Differences of demand; of new demand everything. Lists have the same length."""

    order_ids: list[UUID]
    line_ids: list[str]
    demand_ids: list[UUID]
    skus: list[str]
    units: list[int]
    queued: list[int]
    reserved: list[int]
    assigned: list[int]
    shipped: list[int]
    cancelled: list[int]
    promised_ship_at: list[datetime | None]
    priorities: list[int]
    hold_all: list[bool]
    channels: list[str]


async def insert_demand(connection: Connection, rows: DemandRows) -> None:
    """Demand that an edit added."""
    await connection.execute(
        """
        INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, assigned, shipped, cancelled, promised_ship_at,
                            priority, hold_all, channel)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[],
                             $10::int[], $11::timestamptz[], $12::smallint[], $13::bool[], $14::text[])
        """,
        *rows,
    )


async def update_demand(connection: Connection, rows: DemandRows) -> None:
    """Adds differences to demand; the promised date is set. The place in the queue never changes."""
    await connection.execute(
        """
        UPDATE demand
        SET units = demand.units + change.units, queued = demand.queued + change.queued, reserved = demand.reserved + change.reserved,
            assigned = demand.assigned + change.assigned, shipped = demand.shipped + change.shipped,
            cancelled = demand.cancelled + change.cancelled, promised_ship_at = change.promised_ship_at
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[],
                    $10::int[], $11::timestamptz[])
            AS change(order_id, line_id, demand_id, sku, units, queued, reserved, assigned, shipped, cancelled, promised_ship_at)
        WHERE demand.order_id = change.order_id AND demand.line_id = change.line_id AND demand.demand_id = change.demand_id
        """,
        *rows[:11],
    )


class AssignmentRows(NamedTuple):
    """Differences of assignments; of new ones everything. Lists have the same length."""

    fulfillment_ids: list[UUID]
    line_ids: list[str]
    order_ids: list[UUID]
    skus: list[str]
    locations: list[str]
    units: list[int]
    open: list[int]
    shipped: list[int]
    recalled: list[int]


async def insert_assignments(connection: Connection, rows: AssignmentRows) -> None:
    """Units newly tied to locations."""
    await connection.execute(
        """
        INSERT INTO assignments (fulfillment_id, line_id, order_id, sku, location, units, open, shipped, recalled)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::int[], $8::int[], $9::int[])
        """,
        *rows,
    )


async def update_assignments(connection: Connection, rows: AssignmentRows) -> None:
    """Adds differences to assignments."""
    await connection.execute(
        """
        UPDATE assignments a
        SET units = a.units + change.units, open = a.open + change.open, shipped = a.shipped + change.shipped,
            recalled = a.recalled + change.recalled
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::int[], $8::int[], $9::int[])
            AS change(fulfillment_id, line_id, order_id, sku, location, units, open, shipped, recalled)
        WHERE a.fulfillment_id = change.fulfillment_id AND a.line_id = change.line_id
        """,
        *rows,
    )


class MovementRows(NamedTuple):
    """Columns of ledger entries; lists have the same length."""

    movement_ids: list[UUID]
    kinds: list[str]
    quantities: list[int]
    skus: list[str]
    locations: list[str | None]
    order_ids: list[UUID | None]
    line_ids: list[str | None]
    fulfillment_ids: list[UUID | None]
    cause_ids: list[UUID | None]
    event_ids: list[UUID]
    happened_at: list[datetime]
    sequences: list[int | None]
    pool_versions: list[int]
    on_shelf_after: list[int | None]
    assigned_after: list[int | None]
    set_aside_after: list[int | None]
    compensates: list[UUID | None]


async def insert_movements(connection: Connection, rows: MovementRows) -> None:
    """Writes the ledger; with each entry the balances of its shelf that it moved, as this transaction leaves them."""
    await connection.execute(
        """
        INSERT INTO movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id,
                               happened_at, sequence, pool_version, on_shelf_after, assigned_after, set_aside_after, compensates)
        SELECT movement_id, kind::movement_kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id,
               happened_at, sequence, pool_version, on_shelf_after, assigned_after, set_aside_after, compensates
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::uuid[], $9::uuid[],
                    $10::uuid[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::int[], $15::int[], $16::int[], $17::uuid[])
            AS entry(movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id,
                     happened_at, sequence, pool_version, on_shelf_after, assigned_after, set_aside_after, compensates)
        """,
        *rows,
    )
