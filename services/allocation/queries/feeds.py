"""What partners and operators tell about shelves, each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def share_locations(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """Reads locations and keeps them from being registered anew until the transaction ends. Comes before the pools."""
    return await connection.fetch(
        """
        SELECT location, partner, active, hazmat_certified FROM locations
        WHERE location = ANY($1::text[]) ORDER BY location FOR SHARE
        """,
        locations,
    )


async def lock_counted_locations(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """Locks locations whose feed is about to be settled up to a watermark, with what is known of their feeds. Comes before the pools."""
    return await connection.fetch(
        """
        SELECT location, partner, active, hazmat_certified, sequence_floor,
               feed.patience_seconds, feed.counted_as_of, feed.counted_watermark
        FROM locations LEFT JOIN feeds feed USING (location)
        WHERE location = ANY($1::text[]) ORDER BY location FOR NO KEY UPDATE OF locations
        """,
        locations,
    )


async def record_arrivals(connection: Connection, locations: Sequence[str], sequences: Sequence[int | None], now: datetime) -> None:
    """Remembers that messages of feeds have come, those with a sequence for counts that wait for them.

    One told twice, or from a place unknown, changes nothing.
    """
    await connection.execute(
        """
        WITH told AS (
            SELECT DISTINCT location, arrived.sequence, sequence_floor
            FROM unnest($1::text[], $2::bigint[]) AS arrived(location, sequence) JOIN locations USING (location)
        ), noted AS (
            INSERT INTO feed_sequences (location, sequence, arrived_at)
            SELECT location, sequence, $3 FROM told WHERE sequence > sequence_floor ORDER BY location, sequence
            ON CONFLICT DO NOTHING
        )
        INSERT INTO feeds AS feed (location, last_heard_at) SELECT DISTINCT location, $3::timestamptz FROM told ORDER BY location
        ON CONFLICT (location) DO UPDATE SET last_heard_at = excluded.last_heard_at
        WHERE feed.last_heard_at IS NULL OR feed.last_heard_at < excluded.last_heard_at
        """,
        locations,
        sequences,
        now,
    )


async def count_arrived(connection: Connection, locations: Sequence[str], watermarks: Sequence[int]) -> list[Record]:
    """For each pair, how many messages of the location's feed above its floor and up to the watermark have arrived."""
    return await connection.fetch(
        """
        SELECT asked.location, asked.watermark, count(feed.sequence) AS arrived
        FROM unnest($1::text[], $2::bigint[]) AS asked(location, watermark)
        LEFT JOIN feed_sequences feed ON feed.location = asked.location AND feed.sequence <= asked.watermark
            AND feed.sequence > (SELECT sequence_floor FROM locations WHERE locations.location = asked.location)
        GROUP BY asked.location, asked.watermark
        """,
        locations,
        watermarks,
    )


async def raise_floors(connection: Connection, locations: Sequence[str], floors: Sequence[int]) -> None:
    """Notes that a feed has arrived without gaps up to a sequence, and forgets the single sequences below it."""
    await connection.execute(
        """
        WITH raised AS (
            UPDATE locations SET sequence_floor = settled.floor
            FROM unnest($1::text[], $2::bigint[]) AS settled(location, floor)
            WHERE locations.location = settled.location AND locations.sequence_floor < settled.floor
        )
        DELETE FROM feed_sequences feed USING unnest($1::text[], $2::bigint[]) AS settled(location, floor)
        WHERE feed.location = settled.location AND feed.sequence <= settled.floor
        """,
        locations,
        floors,
    )


async def read_moved_since(
    connection: Connection,
    skus: Sequence[str],
    locations: Sequence[str],
    watermarks: Sequence[int],
    as_of: Sequence[datetime],
    now: datetime,
) -> list[Record]:
    """What the ledger shows beyond each count: movements of a later sequence or, for those without one, of a later time.

    What was written off is left out, because it depends on the count; what pickers missed after the count comes with it instead. An entry
    is never written long before its units moved, so entries of more than a day before the count cannot matter. ``now`` is the service's
    clock, which rehearsals move; the ledger's keys tell real time.
    """
    return await connection.fetch(
        """
        SELECT asked.sku, asked.location, asked.watermark, asked.as_of,
               COALESCE(sum(entry.quantity) FILTER (
                   WHERE entry.kind IN ('received', 'adjusted', 'returned', 'shipped')), 0)::int AS on_shelf,
               COALESCE(sum(entry.quantity) FILTER (WHERE entry.kind = 'damaged'), 0)::int AS damaged,
               COALESCE(sum(entry.quantity) FILTER (WHERE entry.kind = 'quarantined'), 0)::int AS quality_control,
               COALESCE(-sum(entry.quantity) FILTER (WHERE entry.kind = 'shipped'), 0)::int AS shipped,
               COALESCE((
                   SELECT sum(missed.quantity) FROM missed_units missed
                   WHERE missed.location = asked.location AND missed.sku = asked.sku AND missed.happened_at > asked.as_of
               ), 0)::int AS missed
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) AS asked(sku, location, watermark, as_of)
        LEFT JOIN movements entry ON entry.location = asked.location AND entry.sku = asked.sku
            AND entry.kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped', 'damaged', 'quarantined')
            AND entry.movement_id >= movement_floor(asked.as_of + (clock_timestamp() - $5::timestamptz) - interval '1 day')
            AND CASE WHEN entry.sequence IS NULL THEN entry.happened_at > asked.as_of ELSE entry.sequence > asked.watermark END
        GROUP BY asked.sku, asked.location, asked.watermark, asked.as_of
        """,
        skus,
        locations,
        watermarks,
        as_of,
        now,
    )


async def read_adjustments(connection: Connection, adjustment_ids: Sequence[UUID]) -> list[Record]:
    """Adjustments that were made before."""
    return await connection.fetch(
        """
        SELECT adjustment_id, sku, location, old_on_hand, new_on_hand, adjusted_at
        FROM adjustments WHERE adjustment_id = ANY($1::uuid[])
        """,
        adjustment_ids,
    )


async def insert_adjustments(
    connection: Connection,
    adjustment_ids: Sequence[UUID],
    skus: Sequence[str],
    locations: Sequence[str],
    old_on_hand: Sequence[int],
    new_on_hand: Sequence[int],
    reasons: Sequence[str],
    authors: Sequence[str],
    below_zero_units: Sequence[int],
    adjusted_at: datetime,
) -> None:
    """Remembers who corrected what and why, and how far below zero it left the shelf."""
    await connection.execute(
        """
        INSERT INTO adjustments (adjustment_id, sku, location, old_on_hand, new_on_hand, reason, author, below_zero_units, adjusted_at)
        SELECT made.*, $9::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::int[])
            AS made(adjustment_id, sku, location, old_on_hand, new_on_hand, reason, author, below_zero_units)
        """,
        adjustment_ids,
        skus,
        locations,
        old_on_hand,
        new_on_hand,
        reasons,
        authors,
        below_zero_units,
        adjusted_at,
    )


async def read_receipts(connection: Connection, receipt_ids: Sequence[UUID]) -> list[Record]:
    """Receipts that were booked before."""
    return await connection.fetch("SELECT receipt_id FROM receipts WHERE receipt_id = ANY($1::uuid[])", receipt_ids)


async def insert_receipts(
    connection: Connection,
    receipt_ids: Sequence[UUID],
    supply_ids: Sequence[UUID | None],
    locations: Sequence[str],
    received_at: Sequence[datetime],
) -> None:
    """Remembers which goods came."""
    await connection.execute(
        """
        INSERT INTO receipts (receipt_id, supply_id, location, received_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
        """,
        receipt_ids,
        supply_ids,
        locations,
        received_at,
    )


async def read_inspections(connection: Connection, scan_ids: Sequence[UUID]) -> list[Record]:
    """Scans that were booked before."""
    return await connection.fetch("SELECT scan_id FROM inspections WHERE scan_id = ANY($1::uuid[])", scan_ids)


async def insert_inspections(
    connection: Connection,
    scan_ids: Sequence[UUID],
    return_ids: Sequence[UUID],
    order_ids: Sequence[UUID],
    locations: Sequence[str],
    inspected_at: Sequence[datetime],
) -> None:
    """Remembers which returned parcels were judged."""
    await connection.execute(
        """
        INSERT INTO inspections (scan_id, return_id, order_id, location, inspected_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[])
        """,
        scan_ids,
        return_ids,
        order_ids,
        locations,
        inspected_at,
    )


async def insert_inspected_units(
    connection: Connection,
    scan_ids: Sequence[UUID],
    line_ids: Sequence[str],
    dispositions: Sequence[str],
    skus: Sequence[str],
    quantities: Sequence[int],
) -> None:
    """Remembers what became of returned units; a line named twice adds up."""
    await connection.execute(
        """
        INSERT INTO inspected_units (scan_id, line_id, disposition, sku, quantity)
        SELECT scan_id, line_id, disposition, sku, sum(quantity)
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[]) AS judged(scan_id, line_id, disposition, sku, quantity)
        GROUP BY scan_id, line_id, disposition, sku
        """,
        scan_ids,
        line_ids,
        dispositions,
        skus,
        quantities,
    )
