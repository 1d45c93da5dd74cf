"""What has arrived of each location's feed, what is missing, and what was decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_arrived(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """Which sequences above the floors have arrived, as runs without a gap: first, last, and since when the first of each run is here."""
    return await connection.fetch(
        """
        SELECT location, min(sequence) AS first, max(sequence) AS last, min(arrived_at) AS since
        FROM (
            SELECT feed.location, feed.sequence, feed.arrived_at,
                   feed.sequence - row_number() OVER (PARTITION BY feed.location ORDER BY feed.sequence) AS run
            FROM feed_sequences feed JOIN locations USING (location)
            WHERE feed.location = ANY($1::text[]) AND feed.sequence > locations.sequence_floor
        ) numbered
        GROUP BY location, run ORDER BY location, first
        """,
        locations,
    )


async def read_awaited(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """Watermarks of counts that wait."""
    return await connection.fetch(
        "SELECT location, watermark, since FROM awaited_watermarks WHERE location = ANY($1::text[]) ORDER BY location, watermark", locations
    )


async def note_awaited(connection: Connection, locations: Sequence[str], watermarks: Sequence[int], now: datetime) -> None:
    """Remembers since when counts wait for messages up to their watermark."""
    await connection.execute(
        """
        INSERT INTO awaited_watermarks (location, watermark, since)
        SELECT location, watermark, $3 FROM unnest($1::text[], $2::bigint[]) AS waiting(location, watermark)
        ON CONFLICT DO NOTHING
        """,
        locations,
        watermarks,
        now,
    )


async def forget_awaited(connection: Connection) -> None:
    """Watermarks that a feed has reached are waited for no more."""
    await connection.execute(
        """
        DELETE FROM awaited_watermarks waiting USING locations
        WHERE locations.location = waiting.location AND locations.sequence_floor >= waiting.watermark
        """
    )


async def lock_unsettled_locations(connection: Connection) -> list[Record]:
    """Locks locations of which single sequences are remembered; those that somebody works on are left for the next time."""
    return await connection.fetch(
        """
        SELECT location, sequence_floor FROM locations
        WHERE EXISTS (SELECT FROM feed_sequences feed WHERE feed.location = locations.location)
        ORDER BY location FOR NO KEY UPDATE SKIP LOCKED
        """
    )


async def record_counts(
    connection: Connection,
    locations: Sequence[str],
    as_of: Sequence[datetime],
    watermarks: Sequence[int],
    lines: Sequence[int],
    now: datetime,
) -> None:
    """Notes the newest count of each feed; one that is older than what is noted only shows that the sender lives."""
    await connection.execute(
        """
        INSERT INTO feeds AS feed (location, last_heard_at, counted_at, counted_as_of, counted_watermark, counted_lines)
        SELECT location, $5, $5, as_of, watermark, lines
        FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::int[]) AS count(location, as_of, watermark, lines)
        ORDER BY location
        ON CONFLICT (location) DO UPDATE
        SET last_heard_at = excluded.last_heard_at,
            (counted_at, counted_as_of, counted_watermark, counted_lines) = (
                SELECT * FROM (VALUES (feed.counted_at, feed.counted_as_of, feed.counted_watermark, feed.counted_lines),
                                      (excluded.counted_at, excluded.counted_as_of, excluded.counted_watermark, excluded.counted_lines))
                    AS known(counted_at, counted_as_of, counted_watermark, counted_lines)
                ORDER BY counted_watermark DESC NULLS LAST, counted_as_of DESC NULLS LAST LIMIT 1
            )
        """,
        locations,
        as_of,
        watermarks,
        lines,
        now,
    )


async def set_settings(
    connection: Connection, location: str, stale_after_seconds: int | None, patience_seconds: int | None, now: datetime
) -> None:
    """How a feed is watched from now on; null is the default. With a limit set, counts are expected from now on at the latest."""
    await connection.execute(
        """
        INSERT INTO feeds AS feed (location, stale_after_seconds, patience_seconds, expected_since)
        VALUES ($1, $2, $3, CASE WHEN $2::int IS NULL THEN NULL ELSE $4::timestamptz END)
        ON CONFLICT (location) DO UPDATE
        SET stale_after_seconds = excluded.stale_after_seconds, patience_seconds = excluded.patience_seconds,
            expected_since = CASE WHEN excluded.expected_since IS NULL THEN NULL
                                  ELSE COALESCE(feed.expected_since, excluded.expected_since) END
        """,
        location,
        stale_after_seconds,
        patience_seconds,
        now,
    )


async def list_feeds(connection: Connection, location: str | None) -> list[Record]:
    """All locations, or one, with what is known of their feeds."""
    return await connection.fetch(
        """
        SELECT locations.location, name, partner, active, sequence_floor, stale_after_seconds, patience_seconds, expected_since,
               last_heard_at, counted_at, counted_as_of, counted_watermark, counted_lines,
               (SELECT count(*) FROM unregistered_counts unknown WHERE unknown.location = locations.location) AS unregistered_skus,
               (SELECT count(DISTINCT sku) FROM adjustments JOIN stock_locations shelf USING (location, sku)
                WHERE adjustments.location = locations.location AND below_zero_units > 0 AND on_shelf < 0) AS shelves_below_zero
        FROM locations LEFT JOIN feeds USING (location)
        WHERE $1::text IS NULL OR locations.location = $1 ORDER BY locations.location
        """,
        location,
    )


async def list_below_zero(connection: Connection, location: str, limit: int) -> list[Record]:
    """Shelves of a location that a correction took below zero and that are there still, each with the newest such correction."""
    return await connection.fetch(
        """
        SELECT DISTINCT ON (sku) sku, -on_shelf AS missing, adjustment_id, reason, author, adjusted_at
        FROM adjustments JOIN stock_locations shelf USING (location, sku)
        WHERE location = $1 AND below_zero_units > 0 AND on_shelf < 0
        ORDER BY sku, adjusted_at DESC LIMIT $2
        """,
        location,
        limit,
    )


async def list_decisions(connection: Connection, location: str, limit: int) -> list[Record]:
    """What was decided about a feed, newest first."""
    return await connection.fetch(
        """
        SELECT kind, first_sequence, last_sequence, missing, reason, author, decided_at FROM feed_decisions
        WHERE location = $1 ORDER BY decision_id DESC LIMIT $2
        """,
        location,
        limit,
    )


async def insert_decisions(
    connection: Connection,
    decision_ids: Sequence[UUID],
    locations: Sequence[str],
    kind: str,
    first_sequences: Sequence[int | None],
    last_sequences: Sequence[int | None],
    missing: Sequence[int | None],
    reason: str,
    author: str,
    now: datetime,
) -> None:
    """Remembers what was decided about feeds, by whom and why."""
    await connection.execute(
        """
        INSERT INTO feed_decisions (decision_id, location, kind, first_sequence, last_sequence, missing, reason, author, decided_at)
        SELECT decision_id, location, $3, first_sequence, last_sequence, missing, $7, $8, $9
        FROM unnest($1::uuid[], $2::text[], $4::bigint[], $5::bigint[], $6::bigint[])
            AS decided(decision_id, location, first_sequence, last_sequence, missing)
        ON CONFLICT DO NOTHING
        """,
        decision_ids,
        locations,
        kind,
        first_sequences,
        last_sequences,
        missing,
        reason,
        author,
        now,
    )


async def insert_missed_units(
    connection: Connection,
    missed_ids: Sequence[UUID],
    locations: Sequence[str],
    skus: Sequence[str],
    fulfillment_ids: Sequence[UUID],
    quantities: Sequence[int],
    happened_at: Sequence[datetime],
) -> None:
    """Remembers what pickers did not find."""
    await connection.execute(
        """
        INSERT INTO missed_units (missed_id, location, sku, fulfillment_id, quantity, happened_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::int[], $6::timestamptz[])
        """,
        missed_ids,
        locations,
        skus,
        fulfillment_ids,
        quantities,
        happened_at,
    )
