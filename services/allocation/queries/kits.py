"""Kits, what they are made of, and what channels were told of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from asyncpg import Record

from shared.messaging.message import Connection

COMPOSITIONS_LOCK = 7_305_991_203
"""Advisory lock: whoever changes what a kit is made of holds it alone; comes before all other locks."""


async def hold_compositions(connection: Connection) -> None:
    """Lets nobody change the composition of a kit until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", COMPOSITIONS_LOCK)


async def lock_kits_of(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Locks the kits that are made of any of these SKUs, in SKU order; comes after all pools. Read their components afterwards."""
    return await connection.fetch(
        """
        SELECT kit_sku, available, mode, next_ship_at, version FROM kits
        WHERE kit_sku IN (SELECT part.kit_sku FROM kit_components part WHERE part.sku = ANY($1::text[]))
        ORDER BY kit_sku FOR NO KEY UPDATE
        """,
        skus,
    )


async def lock_kits(connection: Connection, kit_skus: Sequence[str]) -> list[Record]:
    """Locks kits in SKU order; comes after all pools."""
    return await connection.fetch(
        """
        SELECT kit_sku, available, mode, next_ship_at, version FROM kits
        WHERE kit_sku = ANY($1::text[]) ORDER BY kit_sku FOR NO KEY UPDATE
        """,
        kit_skus,
    )


async def read_components(connection: Connection, kit_skus: Sequence[str]) -> list[Record]:
    """What kits are made of, with the pools of their components."""
    return await connection.fetch(
        """
        SELECT part.kit_sku, part.sku, part.quantity, pool.available, pool.release_at,
               -- where channels have rules, who waits may not take what is available, and some of them wait for what is set aside for them
               CASE WHEN NOT pool.ruled THEN pool.queued
                    WHEN pool.available > 0 AND pool.release_at IS NULL THEN 0
                    ELSE pool.queued + (
                        SELECT sum(GREATEST(0, LEAST(rule.queued, CASE WHEN rule.cap IS NOT NULL THEN GREATEST(0, rule.cap - rule.open) END)
                                               - GREATEST(0, rule.fence - rule.open)) - rule.queued)::int
                        FROM channel_pools rule WHERE rule.sku = part.sku
                    )
               END AS queued
        FROM kit_components part JOIN stock_pools pool ON pool.sku = part.sku AND pool.pool = 'default'
        WHERE part.kit_sku = ANY($1::text[]) ORDER BY part.kit_sku, part.sku
        """,
        kit_skus,
    )


async def read_kits(connection: Connection, skus: Collection[str]) -> list[Record]:
    """Those of the SKUs that are kits, with the SKUs that they are made of."""
    return await connection.fetch(
        """
        SELECT kit_sku, version, (SELECT array_agg(part.sku ORDER BY part.sku) FROM kit_components part
                                  WHERE part.kit_sku = kits.kit_sku) AS components
        FROM kits WHERE kit_sku = ANY($1::text[])
        """,
        sorted(skus),
    )


async def update_kits(
    connection: Connection,
    kit_skus: Sequence[str],
    available: Sequence[int],
    modes: Sequence[str],
    next_ship_at: Sequence[datetime | None],
) -> None:
    """Notes what channels are told of kits from now on."""
    await connection.execute(
        """
        UPDATE kits SET available = told.available, mode = told.mode, next_ship_at = told.next_ship_at, version = kits.version + 1
        FROM unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[]) AS told(kit_sku, available, mode, next_ship_at)
        WHERE kits.kit_sku = told.kit_sku
        """,
        kit_skus,
        available,
        modes,
        next_ship_at,
    )


async def insert_kits(connection: Connection, kit_skus: Sequence[str], registered_at: Sequence[datetime]) -> list[Record]:
    """Kits that are new or composed anew; the newest registration wins. Returns which, and whether each is new."""
    return await connection.fetch(
        """
        INSERT INTO kits (kit_sku, registered_at)
        SELECT kit_sku, registered_at FROM unnest($1::text[], $2::timestamptz[]) AS told(kit_sku, registered_at) ORDER BY kit_sku
        ON CONFLICT (kit_sku) DO UPDATE SET registered_at = excluded.registered_at WHERE kits.registered_at < excluded.registered_at
        RETURNING kit_sku, xmax = 0 AS is_new
        """,
        kit_skus,
        registered_at,
    )


async def replace_components(connection: Connection, kit_skus: Sequence[str], skus: Sequence[str], quantities: Sequence[int]) -> None:
    """The composition of kits in place of the one before; their rows and the pools of all components, old and new, are locked."""
    await connection.execute(
        """
        WITH wanted AS (
            SELECT kit_sku, sku, quantity FROM unnest($1::text[], $2::text[], $3::int[]) AS wanted(kit_sku, sku, quantity)
        ), gone AS (
            DELETE FROM kit_components old WHERE old.kit_sku = ANY($1::text[])
              AND NOT EXISTS (SELECT FROM wanted WHERE wanted.kit_sku = old.kit_sku AND wanted.sku = old.sku)
        )
        INSERT INTO kit_components (kit_sku, sku, quantity) SELECT kit_sku, sku, quantity FROM wanted
        ON CONFLICT (kit_sku, sku) DO UPDATE SET quantity = excluded.quantity
        """,
        kit_skus,
        skus,
        quantities,
    )


async def mark_components(connection: Connection, skus: Sequence[str]) -> None:
    """Notes on pools, which are locked, whether a kit is made of their SKU."""
    await connection.execute(
        """
        UPDATE stock_pools pool SET in_kits = NOT pool.in_kits
        WHERE pool.sku = ANY($1::text[])
          AND pool.in_kits <> EXISTS (SELECT FROM kit_components part WHERE part.sku = pool.sku)
        """,
        skus,
    )
