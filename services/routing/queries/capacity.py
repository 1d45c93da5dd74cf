"""The slots of locations that limit their work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from services.routing.decide.capacity import SlotKey
from shared.messaging.message import Connection


async def read_slots(connection: Connection, locations: Sequence[str], since: date) -> dict[SlotKey, int]:
    """The slots of these locations that are taken from a day on."""
    rows = await connection.fetch(
        "SELECT location, day, hour, taken FROM capacity_slots WHERE location = ANY($1::text[]) AND day >= $2", list(locations), since
    )
    return {(row["location"], row["day"], row["hour"]): row["taken"] for row in rows}


async def lock_slots(connection: Connection, capacities: Mapping[SlotKey, int | None]) -> dict[SlotKey, int]:
    """Locks counts, in the order of their keys, and tells how many slots of each are taken; those that are not there yet are begun.

    The capacity of today is noted, but never less than is taken already.
    """
    rows = await connection.fetch(
        """
        INSERT INTO capacity_slots (location, day, hour, taken, capacity)
        SELECT location, day, hour, 0, capacity
        FROM unnest($1::text[], $2::date[], $3::smallint[], $4::int[]) AS wanted (location, day, hour, capacity)
        ORDER BY location, day, hour
        ON CONFLICT (location, day, hour) DO UPDATE
        SET capacity = CASE WHEN excluded.capacity IS NOT NULL THEN GREATEST(excluded.capacity, capacity_slots.taken) END
        RETURNING location, day, hour, taken
        """,
        [location for location, _, _ in capacities],
        [day for _, day, _ in capacities],
        [hour for _, _, hour in capacities],
        list(capacities.values()),
    )
    return {(row["location"], row["day"], row["hour"]): row["taken"] for row in rows}


async def change_slots(connection: Connection, changes: Mapping[SlotKey, int]) -> None:
    """Takes slots (above zero) and gives slots back (below it), in the order of their keys."""
    await connection.execute(
        """
        WITH locked AS MATERIALIZED (
            SELECT location, day, hour, change
            FROM capacity_slots JOIN unnest($1::text[], $2::date[], $3::smallint[], $4::int[]) AS changes (location, day, hour, change)
                 USING (location, day, hour)
            ORDER BY location, day, hour
            FOR UPDATE OF capacity_slots
        )
        UPDATE capacity_slots SET taken = taken + change
        FROM locked
        WHERE (capacity_slots.location, capacity_slots.day, capacity_slots.hour) = (locked.location, locked.day, locked.hour)
        """,
        [location for location, _, _ in changes],
        [day for _, day, _ in changes],
        [hour for _, _, hour in changes],
        list(changes.values()),
    )
