"""Products and locations that exist."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time

from asyncpg import Record

from shared.messaging.message import Connection


async def share_all_locations(connection: Connection) -> None:
    """Keeps locations from being registered anew until the transaction ends; there are few. Comes before the pools."""
    await connection.execute("SELECT FROM locations ORDER BY location FOR SHARE")


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


async def update_calendars(
    connection: Connection,
    locations: Sequence[str],
    registered_at: Sequence[datetime],
    time_zones: Sequence[str | None],
    order_cutoffs: Sequence[time],
    working_days: Sequence[Sequence[int]],
    holidays: Sequence[Sequence[date]],
    dock_to_stock_days: Sequence[int],
) -> list[Record]:
    """Sets when locations work, as their newest registration says; returns those that work differently than before."""
    return await connection.fetch(
        """
        UPDATE locations
        SET time_zone = told.time_zone, order_cutoff = told.order_cutoff, working_days = told.working_days, holidays = told.holidays,
            dock_to_stock_days = told.dock_to_stock_days
        FROM (
            SELECT DISTINCT ON (location) location, registered_at, time_zone, order_cutoff,
                   string_to_array(working_days, ' ')::smallint[] AS working_days, string_to_array(holidays, ' ')::date[] AS holidays,
                   dock_to_stock_days
            FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::time[], $5::text[], $6::text[], $7::int[])
                AS told(location, registered_at, time_zone, order_cutoff, working_days, holidays, dock_to_stock_days)
            ORDER BY location, registered_at DESC
        ) told
        WHERE locations.location = told.location AND locations.registered_at = told.registered_at
          AND (locations.time_zone, locations.order_cutoff, locations.working_days, locations.holidays, locations.dock_to_stock_days)
              IS DISTINCT FROM
              (told.time_zone, told.order_cutoff, told.working_days, told.holidays, told.dock_to_stock_days)
        RETURNING locations.location
        """,
        locations,
        registered_at,
        time_zones,
        order_cutoffs,
        # unnest makes no rows of arrays in arrays, so the days travel as text
        [" ".join(str(day) for day in days) for days in working_days],
        [" ".join(sorted(day.isoformat() for day in set(days))) for days in holidays],
        dock_to_stock_days,
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
