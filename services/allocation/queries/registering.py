"""Products and locations that exist."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from shared.messaging.message import Connection


async def upsert_products(connection: Connection, skus: Sequence[str], hazmat: Sequence[bool], registered_at: Sequence[datetime]) -> None:
    """Registers products; the newest registration of a SKU wins whatever the order in which they arrive."""
    await connection.execute(
        """
        INSERT INTO products (sku, hazmat, registered_at)
        SELECT DISTINCT ON (sku) sku, hazmat, registered_at
        FROM unnest($1::text[], $2::bool[], $3::timestamptz[]) AS told(sku, hazmat, registered_at)
        ORDER BY sku, registered_at DESC
        ON CONFLICT (sku) DO UPDATE SET hazmat = excluded.hazmat, registered_at = excluded.registered_at
        WHERE products.registered_at < excluded.registered_at
        """,
        skus,
        hazmat,
        registered_at,
    )


async def insert_pools(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Opens the pools of products that have none yet; returns which."""
    return await connection.fetch(
        """
        INSERT INTO stock_pools (sku) SELECT DISTINCT sku FROM unnest($1::text[]) AS told(sku) ORDER BY sku
        ON CONFLICT (sku, pool) DO NOTHING RETURNING sku, version
        """,
        skus,
    )


async def upsert_locations(
    connection: Connection,
    locations: Sequence[str],
    names: Sequence[str],
    partners: Sequence[str],
    hazmat_certified: Sequence[bool],
    active: Sequence[bool],
    registered_at: Sequence[datetime],
) -> None:
    """Registers locations, locking them; the newest registration wins whatever the order in which they arrive."""
    await connection.execute(
        """
        INSERT INTO locations (location, name, partner, hazmat_certified, active, registered_at)
        SELECT DISTINCT ON (location) location, name, partner, hazmat_certified, active, registered_at
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::bool[], $6::timestamptz[])
            AS told(location, name, partner, hazmat_certified, active, registered_at)
        ORDER BY location, registered_at DESC
        ON CONFLICT (location) DO UPDATE
        SET name = excluded.name, partner = excluded.partner, hazmat_certified = excluded.hazmat_certified, active = excluded.active,
            registered_at = excluded.registered_at
        WHERE locations.registered_at < excluded.registered_at
        """,
        locations,
        names,
        partners,
        hazmat_certified,
        active,
        registered_at,
    )


async def read_misjudged_skus(connection: Connection, skus: Sequence[str], locations: Sequence[str]) -> list[Record]:
    """SKUs with a shelf that counts though it may not, or the other way round: of these SKUs, or at these locations."""
    return await connection.fetch(
        """
        SELECT DISTINCT shelf.sku
        FROM stock_locations shelf JOIN locations USING (location) JOIN products USING (sku)
        WHERE (shelf.sku = ANY($1::text[]) OR shelf.location = ANY($2::text[]))
          AND shelf.counts <> (locations.active AND (locations.hazmat_certified OR NOT products.hazmat))
        """,
        skus,
        locations,
    )


async def read_locations_of_skus(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """The locations where these SKUs have shelves."""
    return await connection.fetch(
        """
        SELECT location, partner, active, hazmat_certified FROM locations
        WHERE location IN (SELECT shelf.location FROM stock_locations shelf WHERE shelf.sku = ANY($1::text[]))
        """,
        skus,
    )


async def prepare_ledger_months(connection: Connection, now: datetime, months_ahead: int) -> int:
    """Makes the ledger's partitions of this month and the coming ones; returns how many were missing."""
    made: int = await connection.fetchval("SELECT prepare_ledger_months($1::date, $2)", now.date(), months_ahead)
    return made
