"""The locations that ship."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.routing.decide.geography import Place, place_as_json
from shared.contracts.fulfillment import CARRIER_SERVICES, LocationRegistrationRequested, iso_weekdays
from shared.messaging.message import Connection


async def read_footing(connection: Connection, rate_cards: str) -> Record:
    """What plans stand on: revision and version of the network (None and 0 before the first registration), the version of the rules in
    force (0: none), and whether these rate cards are kept."""
    footing: Record | None = await connection.fetchrow(
        """
        SELECT network.revision, COALESCE(network.version, 0) AS version,
               COALESCE((SELECT version FROM rules_in_force), 0) AS rules,
               EXISTS (SELECT FROM rate_cards WHERE version = $1) AS cards_are_kept
        FROM (SELECT) AS always LEFT JOIN network ON true
        """,
        rate_cards,
    )
    assert footing is not None
    return footing


async def keep_rate_cards(connection: Connection, version: str, files: Mapping[str, str], now: datetime) -> None:
    """Keeps the files of a set of rate cards, once."""
    await connection.execute(
        "INSERT INTO rate_cards (version, files, kept_at) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING", version, files, now
    )


async def read_rate_cards(connection: Connection, version: str) -> dict[str, str] | None:
    """The files of a set of rate cards; None when it is not kept."""
    files: dict[str, str] | None = await connection.fetchval("SELECT files FROM rate_cards WHERE version = $1", version)
    return files


async def read_locations_of(connection: Connection, version: int) -> list[dict[str, Any]]:
    """The locations as they were in a version of the network, as documents by code, with their ``place`` where that is kept (null: on no
    map)."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT ON (v.location)
               v.document || CASE WHEN p.location IS NULL THEN '{}' ELSE jsonb_build_object('place', p.place) END AS document
        FROM location_versions v LEFT JOIN location_places p ON p.location = v.location AND p.version = v.version
        WHERE v.version <= $1 ORDER BY v.location, v.version DESC
        """,
        version,
    )
    return [row["document"] for row in rows]


async def is_kept(connection: Connection, version: int) -> bool:
    """Whether there was such a version of the network."""
    kept: bool = await connection.fetchval("SELECT $1::bigint = 0 OR EXISTS (SELECT FROM location_versions WHERE version = $1)", version)
    return kept


async def read_codes(connection: Connection) -> set[str]:
    """The codes of all locations."""
    return {row["location"] for row in await connection.fetch("SELECT location FROM locations")}


async def save_locations(
    connection: Connection, locations: Sequence[tuple[LocationRegistrationRequested, Place]], revision: UUID, now: datetime
) -> None:
    """Registers locations where they lie, each code once, and counts the network's version up.

    That also makes registrations wait for each other.
    """
    await connection.execute(
        """
        WITH renewed AS (
            INSERT INTO network (revision) VALUES ($11) ON CONFLICT (only_row)
            DO UPDATE SET revision = excluded.revision, version = network.version + 1 RETURNING version
        ), placed AS (
            INSERT INTO location_places (location, version, place)
            SELECT new.location, renewed.version, new.place::jsonb FROM renewed, unnest($1::text[], $19::text[]) AS new (location, place)
        ), saved AS (
            INSERT INTO locations (location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active,
                                   registered_at, working_days, holidays, dock_to_stock_days, capabilities, fulfillments_per_day,
                                   fulfillments_per_hour, work_starts, services, carriers)
            SELECT location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, $10,
                   string_to_array(working_days, ' ')::smallint[], string_to_array(holidays, ' ')::date[], dock_to_stock_days,
                   string_to_array(capabilities, ' '), fulfillments_per_day, fulfillments_per_hour, work_starts,
                   string_to_array(services, ' '), string_to_array(carriers, chr(10))
            FROM renewed, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[],
                                 $9::boolean[], $12::text[], $13::text[], $14::int[], $15::text[], $16::int[], $17::int[],
                                 $18::text[], $20::text[], $21::text[])
                 AS new (location, name, partner, postal_code, country, time_zone, order_cutoff, hazmat_certified, active, working_days,
                         holidays, dock_to_stock_days, capabilities, fulfillments_per_day, fulfillments_per_hour, work_starts,
                         services, carriers)
            ON CONFLICT (location) DO UPDATE
            SET name = excluded.name, partner = excluded.partner, postal_code = excluded.postal_code, country = excluded.country,
                time_zone = excluded.time_zone, order_cutoff = excluded.order_cutoff, hazmat_certified = excluded.hazmat_certified,
                active = excluded.active, registered_at = excluded.registered_at,
                working_days = excluded.working_days, holidays = excluded.holidays, dock_to_stock_days = excluded.dock_to_stock_days,
                capabilities = excluded.capabilities, fulfillments_per_day = excluded.fulfillments_per_day,
                fulfillments_per_hour = excluded.fulfillments_per_hour, work_starts = excluded.work_starts,
                services = excluded.services, carriers = excluded.carriers
            RETURNING locations.*
        )
        INSERT INTO location_versions (location, version, document)
        SELECT saved.location, renewed.version, to_jsonb(saved) FROM saved, renewed
        """,
        [item.location for item, _ in locations],
        [item.name for item, _ in locations],
        [item.partner for item, _ in locations],
        [item.postal_code for item, _ in locations],
        [item.country for item, _ in locations],
        [item.time_zone for item, _ in locations],
        [item.order_cutoff for item, _ in locations],
        [item.hazmat_certified for item, _ in locations],
        [item.active for item, _ in locations],
        now,
        revision,
        # unnest makes no rows of arrays in arrays, so days and words travel as text
        [" ".join(str(day) for day in iso_weekdays(item.working_days)) for item, _ in locations],
        [" ".join(sorted(day.isoformat() for day in set(item.holidays))) for item, _ in locations],
        [item.dock_to_stock_days for item, _ in locations],
        [" ".join(sorted(set(item.capabilities))) for item, _ in locations],
        [item.fulfillments_per_day for item, _ in locations],
        [item.fulfillments_per_hour for item, _ in locations],
        [item.work_starts for item, _ in locations],
        [json.dumps(place_as_json(place)) for _, place in locations],
        [" ".join(service for service in CARRIER_SERVICES if service in item.services) for item, _ in locations],
        ["\n".join(sorted(set(item.carriers))) for item, _ in locations],
    )
