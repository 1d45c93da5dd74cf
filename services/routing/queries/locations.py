"""The locations that ship."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.contracts.fulfillment import LocationRegistrationRequested, iso_weekdays
from shared.messaging.message import Connection


async def planning_revision(connection: Connection) -> tuple[UUID | None, int]:
    """What changes with every registration (None before the first), and the version of the rules in force."""
    row = await connection.fetchrow("SELECT (SELECT revision FROM network) AS network, version FROM rules_in_force")
    assert row is not None, "the migration puts version 0 in force"
    return row["network"], row["version"]


async def read_locations(connection: Connection) -> list[Record]:
    """All locations, by code."""
    return await connection.fetch(
        """
        SELECT location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, registered_at,
               working_days, holidays, dock_to_stock_days, capabilities
        FROM locations ORDER BY location
        """
    )


async def save_locations(connection: Connection, locations: Sequence[LocationRegistrationRequested], revision: UUID, now: datetime) -> None:
    """Registers locations, each code once, and changes the revision, which also makes registrations wait for each other."""
    await connection.execute(
        """
        WITH renewed AS (
            INSERT INTO network (revision) VALUES ($11) ON CONFLICT (only_row) DO UPDATE SET revision = excluded.revision RETURNING 1
        )
        INSERT INTO locations (location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active,
                               registered_at, working_days, holidays, dock_to_stock_days, capabilities)
        SELECT location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, $10,
               string_to_array(working_days, ' ')::smallint[], string_to_array(holidays, ' ')::date[], dock_to_stock_days,
               string_to_array(capabilities, ' ')
        FROM renewed, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[],
                             $9::boolean[], $12::text[], $13::text[], $14::int[], $15::text[])
             AS new (location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, working_days,
                     holidays, dock_to_stock_days, capabilities)
        ON CONFLICT (location) DO UPDATE
        SET name = excluded.name, partner = excluded.partner, postal_code = excluded.postal_code, country = excluded.country,
            time_zone = excluded.time_zone, order_cutoff = excluded.order_cutoff, hazmat_certified = excluded.hazmat_certified,
            active = excluded.active, registered_at = excluded.registered_at,
            working_days = excluded.working_days, holidays = excluded.holidays, dock_to_stock_days = excluded.dock_to_stock_days,
            capabilities = excluded.capabilities
        """,
        [item.location for item in locations],
        [item.name for item in locations],
        [item.partner for item in locations],
        [item.postal_code for item in locations],
        [item.country for item in locations],
        [item.time_zone for item in locations],
        [item.order_cutoff for item in locations],
        [item.hazmat_certified for item in locations],
        [item.active for item in locations],
        now,
        revision,
        # unnest makes no rows of arrays in arrays, so days and words travel as text
        [" ".join(str(day) for day in iso_weekdays(item.working_days)) for item in locations],
        [" ".join(sorted(day.isoformat() for day in set(item.holidays))) for item in locations],
        [item.dock_to_stock_days for item in locations],
        [" ".join(sorted(set(item.capabilities))) for item in locations],
    )
