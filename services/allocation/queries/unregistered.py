"""Counts of SKUs that feeds list and that are not registered here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection

REMEMBERED_FOR = timedelta(days=30)
"""How long a SKU that no feed lists any more stays on the report."""

REMEMBERED_PER_LOCATION = 20_000
"""How many unregistered SKUs of one location are remembered: a distributor's whole catalogue, but no more than that."""


class UnregisteredRows(NamedTuple):
    """Counted SKUs that are unknown here. Lists have the same length."""

    locations: list[str]
    skus: list[str]
    on_hand: list[int]
    damaged: list[int]
    quality_control: list[int]
    set_aside: list[int]
    as_of: list[datetime]
    watermarks: list[int]
    event_ids: list[UUID]


async def remember(connection: Connection, rows: UnregisteredRows, now: datetime) -> None:
    """Keeps the newest count of each unregistered SKU at each location. Rows come sorted by location and SKU."""
    await connection.execute(
        """
        INSERT INTO unregistered_counts AS known
            (location, sku, on_hand, damaged, quality_control, set_aside, as_of, watermark, event_id, first_seen_at, last_seen_at)
        SELECT location, sku, on_hand, damaged, quality_control, set_aside, as_of, watermark, event_id, $10, $10
        FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int[], $6::int[], $7::timestamptz[], $8::bigint[], $9::uuid[])
            AS counted(location, sku, on_hand, damaged, quality_control, set_aside, as_of, watermark, event_id)
        ON CONFLICT (location, sku) DO UPDATE
        SET on_hand = excluded.on_hand, damaged = excluded.damaged, quality_control = excluded.quality_control,
            set_aside = excluded.set_aside, as_of = excluded.as_of, watermark = excluded.watermark, event_id = excluded.event_id,
            last_seen_at = excluded.last_seen_at
        WHERE (known.watermark, known.as_of) <= (excluded.watermark, excluded.as_of)
        """,
        *rows,
        now,
    )


async def locations_to_settle(connection: Connection, limit: int) -> list[Record]:
    """Locations whose feeds have counted SKUs that have been registered since."""
    return await connection.fetch("SELECT DISTINCT location FROM unregistered_counts JOIN products USING (sku) LIMIT $1", limit)


async def claim_registered(connection: Connection, locations: Sequence[str], limit: int) -> list[Record]:
    """Takes counts of SKUs that have been registered since off the list. Their locations are locked."""
    return await connection.fetch(
        """
        DELETE FROM unregistered_counts
        WHERE (location, sku) IN (
            SELECT location, sku FROM unregistered_counts JOIN products USING (sku)
            WHERE location = ANY($1::text[]) ORDER BY location, sku LIMIT $2 FOR UPDATE OF unregistered_counts SKIP LOCKED
        )
        RETURNING location, sku, on_hand, damaged, quality_control, set_aside, as_of, watermark, event_id
        """,
        locations,
        limit,
    )


async def forget(connection: Connection, before: datetime, per_location: int) -> None:
    """Drops what no feed has listed since ``before``, and the least recently seen beyond ``per_location``."""
    await connection.execute(
        """
        DELETE FROM unregistered_counts WHERE (location, sku) IN (
            SELECT location, sku FROM unregistered_counts
            WHERE last_seen_at < $1 OR (location, sku) IN (
                SELECT location, sku FROM (
                    SELECT location, sku, row_number() OVER (PARTITION BY location ORDER BY last_seen_at DESC, sku) AS place
                    FROM unregistered_counts
                ) ranked WHERE place > $2
            )
            FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        per_location,
    )


async def list_unregistered(connection: Connection, location: str, limit: int) -> list[Record]:
    """SKUs that the feed of a location lists and that are not registered here, the most recently seen first."""
    return await connection.fetch(
        """
        SELECT sku, on_hand, as_of, first_seen_at, last_seen_at FROM unregistered_counts
        WHERE location = $1 ORDER BY last_seen_at DESC, sku LIMIT $2
        """,
        location,
        limit,
    )
