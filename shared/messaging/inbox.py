"""The inbox: which events a service has handled, which wait for another try, which are parked for a person.

The insert comes first in every batch's transaction, so a duplicate stops before any work is done, and an event counts as handled exactly
when its effects are committed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection

Key = tuple[UUID, str]
"""(event id, source): what makes an event unique."""

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One delivered event as the inbox remembers it. Body and routing key are kept only while it waits."""

    event_id: UUID
    source: str
    type: str
    subject: str | None
    routing_key: str
    body: bytes
    traceparent: str | None = None
    """Only of what came from outside; of our own events the sender's outbox has it."""
    content_digest: bytes | None = None
    """Only of what a partner says: tells a repetition from another message under the same id."""

    @property
    def key(self) -> Key:
        """Identifies the event."""
        return (self.event_id, self.source)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why an event is not done: parked for a person (``due_at`` is None) or to be tried again at ``due_at``."""

    entry: InboxEntry
    reason: str
    attempts: int
    due_at: datetime | None


def retry_delay(attempts: int, jitter: float) -> timedelta:
    """How long to wait before try number ``attempts + 1``: doubling, bounded, and spread by ``jitter`` in 0..1 so that crowds disperse.

    Source: "full jitter" halved, AWS Architecture Blog, Exponential Backoff and Jitter (2015).
    """
    longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempts, 16))
    return timedelta(seconds=longest * (0.5 + 0.5 * jitter))


def next_try(now: datetime, attempts: int) -> datetime:
    """When to try again after ``attempts`` tries."""
    return now + retry_delay(attempts, random.random())  # noqa: S311 - spreading load needs no secrecy


async def insert_handled(connection: Connection, entries: Sequence[InboxEntry], now: datetime) -> set[Key]:
    """Remembers events as handled and returns those that are new; the others were handled, or wait, already."""
    rows = await connection.fetch(
        """
        INSERT INTO inbox (event_id, source, type, subject, traceparent, content_digest, status, received_at, handled_at)
        SELECT event_id, source, type, subject, traceparent, content_digest, 'done', $7, $7
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
             AS new (event_id, source, type, subject, traceparent, content_digest)
        ON CONFLICT (event_id, source) DO NOTHING
        RETURNING event_id, source
        """,
        [entry.event_id for entry in entries],
        [entry.source for entry in entries],
        [entry.type for entry in entries],
        [entry.subject for entry in entries],
        [entry.traceparent for entry in entries],
        [entry.content_digest for entry in entries],
        now,
    )
    return {(row["event_id"], row["source"]) for row in rows}


async def read_digests(connection: Connection, keys: Sequence[Key]) -> dict[Key, bytes]:
    """What events said that are known already, as digests; those without one are left out."""
    rows = await connection.fetch(
        """
        SELECT event_id, source, content_digest
        FROM unnest($1::uuid[], $2::text[]) AS wanted (event_id, source) JOIN inbox USING (event_id, source)
        WHERE content_digest IS NOT NULL
        """,
        [key[0] for key in keys],
        [key[1] for key in keys],
    )
    return {(row["event_id"], row["source"]): row["content_digest"] for row in rows}


async def mark_waiting(connection: Connection, waiting: Sequence[Waiting], now: datetime) -> None:
    """Turns events of this transaction into waiting ones, or inserts them as such when the transaction that knew them was rolled back.

    An event that is already done elsewhere stays done.
    """
    await connection.execute(
        """
        INSERT INTO inbox
            (event_id, source, type, subject, status, attempts, due_at, reason, routing_key, body, content_digest, received_at)
        SELECT event_id, source, type, subject, CASE WHEN due_at IS NULL THEN 'parked' ELSE 'retry' END, attempts, due_at, reason,
               routing_key, body, content_digest, $11
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::text[], $8::text[], $9::bytea[],
                    $10::bytea[])
             AS new (event_id, source, type, subject, attempts, due_at, reason, routing_key, body, content_digest)
        ON CONFLICT (event_id, source) DO UPDATE
        SET status = excluded.status, attempts = excluded.attempts, due_at = excluded.due_at, reason = excluded.reason,
            routing_key = excluded.routing_key, body = excluded.body, content_digest = excluded.content_digest, handled_at = NULL
        """,
        [item.entry.event_id for item in waiting],
        [item.entry.source for item in waiting],
        [item.entry.type for item in waiting],
        [item.entry.subject for item in waiting],
        [item.attempts for item in waiting],
        [item.due_at for item in waiting],
        [item.reason for item in waiting],
        [item.entry.routing_key for item in waiting],
        [item.entry.body for item in waiting],
        [item.entry.content_digest for item in waiting],
        now,
    )


async def claim_due(connection: Connection, types: Sequence[str], now: datetime, limit: int) -> list[Record]:
    """Locks events whose next try is due, oldest first; other workers skip them."""
    return await connection.fetch(
        """
        SELECT event_id, source, type, subject, routing_key, body, attempts, received_at
        FROM inbox WHERE status = 'retry' AND due_at <= $2 AND type = ANY($1::text[])
        ORDER BY due_at LIMIT $3
        FOR UPDATE SKIP LOCKED
        """,
        list(types),
        now,
        limit,
    )


async def mark_handled(connection: Connection, keys: Sequence[Key], now: datetime) -> None:
    """Waiting events that have now been handled."""
    await connection.execute(
        """
        UPDATE inbox SET status = 'done', handled_at = $3, due_at = NULL, reason = NULL, routing_key = NULL, body = NULL
        FROM unnest($1::uuid[], $2::text[]) AS done (event_id, source)
        WHERE inbox.event_id = done.event_id AND inbox.source = done.source
        """,
        [key[0] for key in keys],
        [key[1] for key in keys],
        now,
    )


async def redrive(connection: Connection, event_id: UUID, now: datetime) -> bool:
    """Gives a parked or dismissed event a fresh start; False when nothing of that id waits or was dismissed."""
    status = await connection.execute(
        """
        UPDATE inbox SET status = 'retry', attempts = 0, due_at = $2, received_at = $2
        WHERE event_id = $1 AND status IN ('parked', 'retry', 'dismissed')
        """,
        event_id,
        now,
    )
    return status != "UPDATE 0"


async def dismiss(connection: Connection, event_id: UUID, reason: str, operator: str, now: datetime) -> bool:
    """Closes a parked event that nobody will handle, and keeps it with who closed it and why; False when nothing of that id is parked."""
    status = await connection.execute(
        """
        WITH closed AS (
            UPDATE inbox SET status = 'dismissed' WHERE event_id = $1 AND status = 'parked'
            RETURNING event_id, source, type, subject, attempts, reason, body, received_at
        )
        INSERT INTO dismissals (event_id, source, type, subject, attempts, parked_reason, body, received_at, reason, operator, dismissed_at)
        SELECT event_id, source, type, subject, attempts, reason, body, received_at, $2, $3, $4 FROM closed
        """,
        event_id,
        reason,
        operator,
        now,
    )
    return status != "INSERT 0 0"


async def hasten(connection: Connection, message_type: str, now: datetime) -> None:
    """Has waiting events of one type tried again at once, because what they wait for may just have come.

    Those that are being tried at this moment are left alone: waiting for them could be waiting for each other.
    """
    await connection.execute(
        """
        UPDATE inbox SET due_at = $2 WHERE (event_id, source) IN (
            SELECT event_id, source FROM inbox WHERE status = 'retry' AND type = $1 AND due_at > $2 FOR UPDATE SKIP LOCKED
        )
        """,
        message_type,
        now,
    )


async def list_waiting(connection: Connection, status: str, limit: int, mentioned: str = "") -> list[Record]:
    """Events that wait, newest first; with ``mentioned`` only those in whose body this text stands."""
    return await connection.fetch(
        """
        SELECT event_id, source, type, subject, status, attempts, due_at, reason, routing_key, received_at, body
        FROM inbox WHERE status = $1 AND position(convert_to($3, 'UTF8') IN body) > 0
        ORDER BY received_at DESC LIMIT $2
        """,
        status,
        limit,
        mentioned,
    )


async def read_waiting(connection: Connection, event_id: UUID) -> Record | None:
    """One event that waits or was dismissed and is still remembered, or None."""
    return await connection.fetchrow(
        """
        SELECT event_id, source, type, subject, status, attempts, due_at, reason, routing_key, received_at, body
        FROM inbox WHERE event_id = $1 AND status IN ('retry', 'parked', 'dismissed')
        ORDER BY received_at DESC LIMIT 1
        """,
        event_id,
    )


async def list_dismissals(connection: Connection, limit: int) -> list[Record]:
    """What was dismissed, newest first."""
    return await connection.fetch(
        """
        SELECT event_id, source, type, subject, attempts, parked_reason, body, received_at, reason, operator, dismissed_at
        FROM dismissals ORDER BY dismissed_at DESC LIMIT $1
        """,
        limit,
    )


async def read_dismissals(connection: Connection, event_id: UUID) -> list[Record]:
    """Each time that one event was dismissed, newest first."""
    return await connection.fetch(
        """
        SELECT event_id, source, type, subject, attempts, parked_reason, body, received_at, reason, operator, dismissed_at
        FROM dismissals WHERE event_id = $1 ORDER BY dismissed_at DESC
        """,
        event_id,
    )


async def count_waiting(connection: Connection) -> dict[str, int]:
    """How many events wait, by status."""
    rows = await connection.fetch(
        """
        SELECT 'retry' AS status, count(*) AS events FROM inbox WHERE status = 'retry'
        UNION ALL
        SELECT 'parked', count(*) FROM inbox WHERE status = 'parked'
        """
    )
    return {row["status"]: row["events"] for row in rows}


async def due_types(connection: Connection, now: datetime) -> list[str]:
    """Types that have messages whose next try is due."""
    rows = await connection.fetch("SELECT DISTINCT type FROM inbox WHERE status = 'retry' AND due_at <= $1", now)
    return [row["type"] for row in rows]
