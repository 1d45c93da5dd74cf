"""The places at which parcels may be opened."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messaging.message import Connection


async def insert_locations(connection: Connection, locations: Sequence[str]) -> None:
    """Remembers places that were registered; one that is known already stays as it is."""
    await connection.execute(
        """
        INSERT INTO locations (location)
        SELECT DISTINCT location FROM unnest($1::text[]) AS new (location) ORDER BY location
        ON CONFLICT (location) DO NOTHING
        """,
        list(locations),
    )


async def read_known_locations(connection: Connection, locations: Sequence[str]) -> set[str]:
    """Which of these places are registered."""
    rows = await connection.fetch("SELECT location FROM locations WHERE location = ANY($1::text[])", list(locations))
    return {row["location"] for row in rows}
