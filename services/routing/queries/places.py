"""Where the versions of locations lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from services.routing.decide.geography import Place, place_as_json
from services.routing.decide.registration import Unplaced
from shared.messaging.message import Connection


async def read_unplaced(connection: Connection) -> list[Unplaced]:
    """Versions of which it is not kept where they lie, and the newest of locations that were on no map."""
    rows = await connection.fetch(
        """
        SELECT v.location, v.version, v.document ->> 'postal_code' AS postal_code, v.document ->> 'country' AS country,
               v.version = newest.version AS newest, p.location IS NOT NULL AS looked_for
        FROM location_versions v
        JOIN (SELECT location, max(version) AS version FROM location_versions GROUP BY location) newest USING (location)
        LEFT JOIN location_places p ON p.location = v.location AND p.version = v.version
        WHERE p.location IS NULL OR (p.place IS NULL AND v.version = newest.version)
        ORDER BY v.location, v.version
        """
    )
    return [Unplaced(*row) for row in rows]


async def lock_network(connection: Connection) -> None:
    """Lets registrations, and other processes that start, wait for the end of this transaction."""
    await connection.execute("SELECT FROM network FOR UPDATE")


async def keep_places(connection: Connection, found: Sequence[tuple[str, int, Place]]) -> None:
    """Keeps where versions of locations lie."""
    await connection.execute(
        """
        INSERT INTO location_places (location, version, place)
        SELECT location, version, place::jsonb FROM unnest($1::text[], $2::bigint[], $3::text[]) AS new (location, version, place)
        ON CONFLICT DO NOTHING
        """,
        [location for location, _, _ in found],
        [version for _, version, _ in found],
        [json.dumps(place_as_json(place)) for _, _, place in found],
    )


async def begin_version(connection: Connection, moved: Sequence[tuple[str, Place | None]], revision: UUID) -> None:
    """A new version of the network, in which these locations lie there, or on no map; nothing else of them changes."""
    await connection.execute(
        """
        WITH renewed AS (
            UPDATE network SET revision = $1, version = version + 1 RETURNING version
        ), placed AS (
            INSERT INTO location_places (location, version, place)
            SELECT new.location, renewed.version, new.place::jsonb FROM renewed, unnest($2::text[], $3::text[]) AS new (location, place)
        )
        INSERT INTO location_versions (location, version, document)
        SELECT l.location, renewed.version, to_jsonb(l) FROM renewed, locations l WHERE l.location = ANY($2)
        """,
        revision,
        [location for location, _ in moved],
        [None if place is None else json.dumps(place_as_json(place)) for _, place in moved],
    )
