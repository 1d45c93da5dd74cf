"""The auditor's looks: which duty is next, where it goes on, and what the ledger adds up to. Locks nothing but the auditor's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def take_one_snapshot(connection: Connection) -> None:
    """Everything that this transaction reads from now on is of one instant, by one processor: who sells goes first. Must be its first
    statement."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL max_parallel_workers_per_gather = 0")


async def claim_duties(connection: Connection, duties: Sequence[str], recounted_before: datetime, limit: int) -> list[Record]:
    """Takes the duties of these that nobody has at the moment, those whose turn it is first; a recount does not begin too often."""
    return await connection.fetch(
        """
        SELECT duty, position, cycles, round, seen::text, seen_at, target::text, target_at
        FROM audit_duties
        WHERE duty = ANY($1::text[])
          AND (duty <> 'recount' OR seen IS NOT NULL OR target IS NOT NULL OR looked_at <= $2)
        ORDER BY turn, duty LIMIT $3 FOR UPDATE SKIP LOCKED
        """,
        duties,
        recounted_before,
        limit,
    )


async def found_duties(connection: Connection, duties: Sequence[str], now: datetime) -> None:
    """Makes the rows of the duties, before the first look of all."""
    await connection.execute(
        "INSERT INTO audit_duties (duty, looked_at, round) SELECT duty, $2, CASE duty WHEN 'recount' THEN 2 ELSE 1 END "
        "FROM unnest($1::text[]) AS new(duty) ON CONFLICT DO NOTHING",
        duties,
        now,
    )


async def read_sums_state(connection: Connection) -> Record | None:
    """Which sums are valid, and which entries are in them; None before the first look."""
    return await connection.fetchrow(
        "SELECT round, position, seen::text, seen_at, target::text, target_at FROM audit_duties WHERE duty = 'ledger'"
    )


async def current_snapshot(connection: Connection) -> Record:
    """What this transaction sees, and since when; by the database's clock, which is also that of no entry."""
    row = await connection.fetchrow("SELECT pg_current_snapshot()::text AS snapshot, now() AS taken_at")
    assert row is not None
    return row


async def add_page(connection: Connection, round_: int, position: UUID, seen: str | None, target: str, limit: int) -> Record:
    """Adds the next entries behind a position to the sums: those that the target sees and that are not in the sums yet.

    Returns how many entries were looked at, the last one's id, and the SKUs, orders, receipts and scans that the new ones speak of.
    """
    row = await connection.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT movement_id, kind, quantity, sku, location, order_id, cause_id, written_in
            FROM movements WHERE movement_id > $2 ORDER BY movement_id LIMIT $5
        ), fresh AS MATERIALIZED (
            SELECT * FROM page
            WHERE CASE WHEN written_in IS NULL THEN $3::text::pg_snapshot IS NULL
                       ELSE pg_visible_in_snapshot(written_in, $4::text::pg_snapshot)
                            AND NOT COALESCE(pg_visible_in_snapshot(written_in, $3::text::pg_snapshot), false) END
        ), added AS (
            INSERT INTO audit_sums AS known (round, sku, location, on_shelf, assigned, damaged, quality_control, reserved, held)
            SELECT $1::int, sku, location,
                   COALESCE(sum(quantity) FILTER (WHERE kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped')), 0),
                   COALESCE(sum(quantity) FILTER (WHERE kind IN ('assigned', 'unassigned', 'shipped')), 0),
                   COALESCE(sum(quantity) FILTER (WHERE kind = 'damaged'), 0),
                   COALESCE(sum(quantity) FILTER (WHERE kind = 'quarantined'), 0),
                   0, 0
            FROM fresh WHERE location IS NOT NULL GROUP BY sku, location
            UNION ALL
            SELECT $1::int, sku, '', 0, 0, 0, 0,
                   COALESCE(sum(quantity) FILTER (WHERE kind IN ('reserved', 'released', 'requeued', 'shipped')), 0),
                   COALESCE(sum(quantity) FILTER (WHERE kind IN ('held', 'unheld')), 0)
            FROM fresh WHERE kind IN ('reserved', 'released', 'requeued', 'shipped', 'held', 'unheld') GROUP BY sku
            ON CONFLICT (round, sku, location) DO UPDATE
            SET on_shelf = known.on_shelf + excluded.on_shelf, assigned = known.assigned + excluded.assigned,
                damaged = known.damaged + excluded.damaged, quality_control = known.quality_control + excluded.quality_control,
                reserved = known.reserved + excluded.reserved, held = known.held + excluded.held
        )
        SELECT (SELECT count(*) FROM page) AS entries,
               (SELECT movement_id FROM page ORDER BY movement_id DESC LIMIT 1) AS last_id,
               ARRAY(SELECT DISTINCT sku FROM fresh) AS skus,
               ARRAY(SELECT DISTINCT order_id FROM fresh WHERE order_id IS NOT NULL) AS order_ids,
               ARRAY(SELECT DISTINCT cause_id FROM fresh WHERE kind = 'received' AND cause_id IS NOT NULL) AS receipt_ids,
               ARRAY(SELECT DISTINCT cause_id FROM fresh WHERE kind = 'returned' AND cause_id IS NOT NULL) AS scan_ids
        """,
        round_,
        position,
        seen,
        target,
        limit,
    )
    assert row is not None
    return row


class DutyState(NamedTuple):
    """What is noted about a duty after a look."""

    duty: str
    position: str
    cycles: int
    round: int = 1
    seen: str | None = None
    seen_at: datetime | None = None
    target: str | None = None
    target_at: datetime | None = None
    skus_examined: int = 0
    oldest_look_at: datetime | None = None


async def save_duty(connection: Connection, state: DutyState, now: datetime) -> None:
    """Notes where the next look begins."""
    await connection.execute(
        """
        UPDATE audit_duties
        SET position = $2, cycles = $3, round = $4, seen = $5::text::pg_snapshot, seen_at = $6, target = $7::text::pg_snapshot,
            target_at = $8, turn = (SELECT max(turn) + 1 FROM audit_duties), looked_at = $11, skus_examined = skus_examined + $9,
            oldest_look_at = COALESCE($10, oldest_look_at)
        WHERE duty = $1
        """,
        *state,
        now,
    )


async def forget_old_sums(connection: Connection, rounds: Sequence[int], limit: int) -> None:
    """Deletes some of the sums of rounds that are neither kept nor made."""
    await connection.execute(
        """
        DELETE FROM audit_sums WHERE (round, sku, location) IN (
            SELECT round, sku, location FROM audit_sums WHERE round <> ALL($1::int[]) LIMIT $2)
        """,
        rounds,
        limit,
    )


async def next_skus(connection: Connection, after: str, limit: int, rows_limit: int) -> list[Record]:
    """The next SKUs behind a given one, as many as have no more than some waiting units together (at least one), and their last look.

    A SKU that was never looked at waits since it was registered.
    """
    return await connection.fetch(
        """
        SELECT next.sku, COALESCE(seen.examined_at, products.registered_at) AS looked_at
        FROM (
            SELECT sku, sum(queued) OVER (ORDER BY sku) - queued AS rows_before
            FROM (SELECT sku, queued FROM stock_pools WHERE sku > $1 AND pool = 'default' ORDER BY sku LIMIT $2) pool
        ) next
        JOIN products USING (sku) LEFT JOIN audit_checkpoints seen USING (sku)
        WHERE next.rows_before <= $3 ORDER BY next.sku
        """,
        after,
        limit,
        rows_limit,
    )


async def next_orders(connection: Connection, after: UUID, limit: int) -> list[Record]:
    """The next orders behind a given one."""
    return await connection.fetch("SELECT order_id AS id FROM orders WHERE order_id > $1 ORDER BY order_id LIMIT $2", after, limit)


async def next_ruled_skus(connection: Connection, after: str, limit: int) -> list[Record]:
    """The next SKUs behind a given one of which some channel has a rule."""
    return await connection.fetch("SELECT DISTINCT sku FROM channel_pools WHERE sku > $1 ORDER BY sku LIMIT $2", after, limit)


async def next_supplies(connection: Connection, after: UUID, limit: int) -> list[Record]:
    """The next supplies behind a given one."""
    return await connection.fetch("SELECT supply_id AS id FROM supplies WHERE supply_id > $1 ORDER BY supply_id LIMIT $2", after, limit)


async def next_receipts(connection: Connection, after: UUID, limit: int) -> list[Record]:
    """The next receipts behind a given one."""
    return await connection.fetch("SELECT receipt_id AS id FROM receipts WHERE receipt_id > $1 ORDER BY receipt_id LIMIT $2", after, limit)


async def next_scans(connection: Connection, after: UUID, limit: int) -> list[Record]:
    """The next scans of returned parcels behind a given one."""
    return await connection.fetch("SELECT scan_id AS id FROM inspections WHERE scan_id > $1 ORDER BY scan_id LIMIT $2", after, limit)


async def note_examined(connection: Connection, skus: Sequence[str], right: Sequence[str], now: datetime) -> None:
    """Remembers that these SKUs were looked at, and of those that are right, up to which version of their pools."""
    await connection.execute(
        """
        INSERT INTO audit_checkpoints AS known (sku, examined_at, verified_at, verified_in, pool_version)
        SELECT sku, $3::timestamptz, CASE WHEN sku = ANY($2::text[]) THEN $3::timestamptz END,
               CASE WHEN sku = ANY($2::text[]) THEN pg_current_snapshot() END, CASE WHEN sku = ANY($2::text[]) THEN version END
        FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default' ORDER BY sku
        ON CONFLICT (sku) DO UPDATE
        SET examined_at = excluded.examined_at, verified_at = COALESCE(excluded.verified_at, known.verified_at),
            verified_in = COALESCE(excluded.verified_in, known.verified_in),
            pool_version = COALESCE(excluded.pool_version, known.pool_version)
        """,
        skus,
        right,
        now,
    )


async def correct_sums(connection: Connection, skus: Sequence[str], round_: int, seen: str, target: str | None, position: UUID) -> None:
    """Adds the ledger of some SKUs up anew, after their sums have raised a false alarm: an entry had come too late to be seen."""
    await connection.execute(
        """
        WITH entries AS MATERIALIZED (
            SELECT kind, quantity, sku, location FROM movements
            WHERE sku = ANY($1::text[])
              AND (written_in IS NULL OR pg_visible_in_snapshot(written_in, $3::text::pg_snapshot)
                   OR COALESCE(pg_visible_in_snapshot(written_in, $4::text::pg_snapshot) AND movement_id <= $5, false))
        ), wrong AS (
            DELETE FROM audit_sums WHERE round = $2 AND sku = ANY($1::text[])
                AND NOT EXISTS (SELECT FROM entries WHERE entries.sku = audit_sums.sku
                                AND (audit_sums.location = '' OR entries.location = audit_sums.location))
        )
        INSERT INTO audit_sums (round, sku, location, on_shelf, assigned, damaged, quality_control, reserved, held)
        SELECT $2::int, sku, location,
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped')), 0),
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('assigned', 'unassigned', 'shipped')), 0),
               COALESCE(sum(quantity) FILTER (WHERE kind = 'damaged'), 0),
               COALESCE(sum(quantity) FILTER (WHERE kind = 'quarantined'), 0), 0, 0
        FROM entries WHERE location IS NOT NULL GROUP BY sku, location
        UNION ALL
        SELECT $2::int, sku, '', 0, 0, 0, 0,
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('reserved', 'released', 'requeued', 'shipped')), 0),
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('held', 'unheld')), 0)
        FROM entries GROUP BY sku
        ON CONFLICT (round, sku, location) DO UPDATE
        SET on_shelf = excluded.on_shelf, assigned = excluded.assigned, damaged = excluded.damaged,
            quality_control = excluded.quality_control, reserved = excluded.reserved, held = excluded.held
        """,
        skus,
        round_,
        seen,
        target,
        position,
    )
