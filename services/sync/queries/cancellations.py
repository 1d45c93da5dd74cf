"""Cancellations that channels asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.sync.decide.cancellations import Asked, CancellationKey, Decided
from shared.messaging.message import Connection


async def insert_cancellations(
    connection: Connection, asked: Sequence[Asked], now: datetime, waits_until: datetime
) -> set[CancellationKey]:
    """Keeps what channels asked for and returns what was not known."""
    rows = await connection.fetch(
        """
        INSERT INTO cancellations (channel, external_id, cancellation_id, lines, reason, cause_event_id, cause_traceparent, change_id,
                                   attempts, due_at, requested_at, waits_until)
        SELECT channel, external_id, cancellation_id, lines::jsonb, reason, cause_event_id, cause_traceparent, change_id,
               CASE WHEN change_id IS NULL THEN 0 ELSE 1 END, $9, $9, $10
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::uuid[])
             AS new (channel, external_id, cancellation_id, lines, reason, cause_event_id, cause_traceparent, change_id)
        ORDER BY channel, external_id, cancellation_id
        ON CONFLICT DO NOTHING
        RETURNING channel, external_id, cancellation_id
        """,
        [one.key[0] for one in asked],
        [one.key[1] for one in asked],
        [one.key[2] for one in asked],
        [json.dumps(one.lines) for one in asked],
        [one.reason for one in asked],
        [one.event_id for one in asked],
        [one.traceparent for one in asked],
        [one.change_id for one in asked],
        now,
        waits_until,
    )
    return {(row["channel"], row["external_id"], row["cancellation_id"]) for row in rows}


async def read_cancellations(connection: Connection, keys: Collection[CancellationKey]) -> list[Record]:
    """What was asked for under these names."""
    wanted = sorted(keys)
    return await connection.fetch(
        """
        SELECT channel, external_id, cancellation_id, lines
        FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (channel, external_id, cancellation_id)
        JOIN cancellations USING (channel, external_id, cancellation_id)
        """,
        [channel for channel, _, _ in wanted],
        [external_id for _, external_id, _ in wanted],
        [cancellation_id for _, _, cancellation_id in wanted],
    )


async def lock_waiting_cancellations(connection: Connection, now: datetime, limit: int) -> list[Record]:
    """Cancellations that can be asked for by now, or whose time to wait for their order is over, longest due first."""
    return await connection.fetch(
        """
        SELECT channel, external_id, cancellation_id, early.lines, reason, cause_event_id, cause_traceparent, attempts, orders.order_id
        FROM cancellations AS early LEFT JOIN channel_orders AS orders USING (channel, external_id)
        WHERE change_id IS NULL AND decided_at IS NULL AND due_at <= $1 AND (orders.order_id IS NOT NULL OR waits_until <= $1)
        ORDER BY due_at LIMIT $2
        FOR NO KEY UPDATE OF early SKIP LOCKED
        """,
        now,
        limit,
    )


async def note_passed_on(connection: Connection, passed_on: Sequence[tuple[CancellationKey, UUID]]) -> None:
    """The changes that routing is asked for."""
    await connection.execute(
        """
        UPDATE cancellations SET change_id = new.change_id, attempts = attempts + 1
        FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS new (channel, external_id, cancellation_id, change_id)
        WHERE (cancellations.channel, cancellations.external_id, cancellations.cancellation_id)
            = (new.channel, new.external_id, new.cancellation_id)
        """,
        [key[0] for key, _ in passed_on],
        [key[1] for key, _ in passed_on],
        [key[2] for key, _ in passed_on],
        [change_id for _, change_id in passed_on],
    )


async def ask_again(connection: Connection, change_ids: Sequence[UUID], due_at: datetime) -> None:
    """Cancellations that met another open change wait for a moment."""
    await connection.execute(
        "UPDATE cancellations SET change_id = NULL, due_at = $2 WHERE change_id = ANY($1::uuid[]) AND decided_at IS NULL",
        list(change_ids),
        due_at,
    )


async def give_up_waiting(connection: Connection, keys: Sequence[CancellationKey], now: datetime) -> None:
    """Cancellations of orders that never came."""
    await connection.execute(
        """
        UPDATE cancellations SET outcome = 'refused', decided_at = $4
        FROM unnest($1::text[], $2::text[], $3::text[]) AS over (channel, external_id, cancellation_id)
        WHERE (cancellations.channel, cancellations.external_id, cancellations.cancellation_id)
            = (over.channel, over.external_id, over.cancellation_id)
        """,
        [channel for channel, _, _ in keys],
        [external_id for _, external_id, _ in keys],
        [cancellation_id for _, _, cancellation_id in keys],
        now,
    )


async def decide(connection: Connection, decided: Sequence[Decided], now: datetime) -> dict[UUID, CancellationKey]:
    """Notes outcomes by change; returns those that a channel asked for and that were not decided before, by what the channel calls them."""
    rows = await connection.fetch(
        """
        WITH locked AS (
            SELECT change_id FROM cancellations WHERE change_id = ANY($1::uuid[]) AND decided_at IS NULL ORDER BY change_id
            FOR NO KEY UPDATE
        )
        UPDATE cancellations SET outcome = new.outcome, decided_at = $3
        FROM unnest($1::uuid[], $2::text[]) AS new (change_id, outcome) JOIN locked USING (change_id)
        WHERE cancellations.change_id = new.change_id AND cancellations.decided_at IS NULL
        RETURNING cancellations.change_id, channel, external_id, cancellation_id
        """,
        [one.change_id for one in decided],
        [one.outcome for one in decided],
        now,
    )
    return {row["change_id"]: (row["channel"], row["external_id"], row["cancellation_id"]) for row in rows}
