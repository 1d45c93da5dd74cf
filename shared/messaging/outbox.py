"""The outbox: what a service has to say, committed together with the work that it speaks of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.contracts.base import COMMANDS_EXCHANGE, Kind
from shared.contracts.registry import exchange_of, routing_key_of
from shared.messaging.message import Connection, Outgoing
from shared.telemetry import traceparent_of


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message as it will be published: the body is the whole envelope."""

    event_id: UUID
    type: str
    subject: str | None
    exchange: str
    routing_key: str
    body: bytes


def encode(outgoing: Outgoing, *, source: str, service_number: int, now: datetime, sample_ratio: float = 1.0) -> bytes:
    """The CloudEvents envelope of an outgoing message as JSON bytes.

    Written by hand around pydantic's own serialisation of ``data``: building an envelope model first would double the cost of a message.
    """
    cause = outgoing.because
    if cause is None:
        traceparent = traceparent_of(None, outgoing.event_id, service_number, sample_ratio=sample_ratio)
    else:
        traceparent = traceparent_of(cause.traceparent, cause.event_id, service_number, sample_ratio=sample_ratio)
    subject = "" if outgoing.subject is None else f'"subject":{json.dumps(outgoing.subject)},'
    head = (
        f'{{"specversion":"1.0","id":"{outgoing.event_id}","source":"{source}","type":"{outgoing.data.type}",{subject}'
        f'"time":"{now.isoformat().replace("+00:00", "Z")}","datacontenttype":"application/json",'
        f'"dataschema":"ordermesh:{outgoing.data.type}","traceparent":"{traceparent}","data":'
    )
    return head.encode() + outgoing.data.__pydantic_serializer__.to_json(outgoing.data) + b"}"


def rows_of(outgoing: Sequence[Outgoing], *, source: str, service_number: int, now: datetime, sample_ratio: float = 1.0) -> list[OutboxRow]:
    """What is to be published of a handler's messages; answers are not."""
    return [
        OutboxRow(
            event_id=message.event_id,
            type=message.data.type,
            subject=message.subject,
            exchange=exchange_of(type(message.data)),
            routing_key=routing_key_of(type(message.data), message.partner),
            body=encode(message, source=source, service_number=service_number, now=now, sample_ratio=sample_ratio),
        )
        for message in outgoing
        if message.data.kind is not Kind.ANSWER
    ]


async def insert(connection: Connection, rows: Sequence[OutboxRow], now: datetime) -> None:
    """Adds messages to the outbox."""
    await connection.execute(
        """
        INSERT INTO outbox (event_id, type, subject, exchange, routing_key, body, created_at)
        SELECT event_id, type, subject, exchange, routing_key, body, $7
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
             AS new (event_id, type, subject, exchange, routing_key, body)
        """,
        [row.event_id for row in rows],
        [row.type for row in rows],
        [row.subject for row in rows],
        [row.exchange for row in rows],
        [row.routing_key for row in rows],
        [row.body for row in rows],
        now,
    )


async def claim_unsent(connection: Connection, limit: int) -> list[Record]:
    """Locks the oldest messages that no broker has confirmed; other relays skip them.

    Rows are claimed, not read behind a cursor: sequence or time gaps of slow transactions would be lost.
    """
    return await connection.fetch(
        """
        SELECT event_id, type, exchange, routing_key, body, created_at
        FROM outbox WHERE sent_at IS NULL ORDER BY event_id LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        limit,
    )


async def mark_sent(connection: Connection, event_ids: Sequence[UUID], now: datetime) -> None:
    """The broker has confirmed these. The bounds let Postgres visit only the partitions they are in."""
    await connection.execute(
        "UPDATE outbox SET sent_at = $2 WHERE event_id = ANY($1::uuid[]) AND event_id >= $3 AND event_id <= $4",
        list(event_ids),
        now,
        min(event_ids),
        max(event_ids),
    )


async def count_unsent(connection: Connection) -> int:
    """How many messages the broker has not confirmed."""
    unsent: int = await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
    return unsent


async def mark_unsent_since(connection: Connection, since: datetime) -> int:
    """Sends everything again that was created at or after ``since``: refills a broker that lost its queues. Inboxes stop the duplicates."""
    status = await connection.execute(
        """
        UPDATE outbox SET sent_at = NULL
        WHERE created_at >= $1 AND event_id >= uuid_floor($1 - interval '1 day') AND sent_at IS NOT NULL
        """,
        since,
    )
    return int(status.rsplit(" ", 1)[1])


async def about_subject(connection: Connection, subject: str) -> list[Record]:
    """Everything this service said about one subject, oldest first; ``partner`` (``3pl/west``) is whose queue a message went to, if it
    went to a partner's. A rare question, so it scans the retained days."""
    return await connection.fetch(
        """
        SELECT event_id, type, exchange, routing_key, created_at, sent_at,
               convert_from(body, 'UTF8')::jsonb ->> 'traceparent' AS traceparent,
               CASE WHEN exchange = $2 AND routing_key <> type
                    THEN split_part(routing_key, '.', 1) || '/' || split_part(routing_key, '.', 2) END AS partner
        FROM outbox WHERE subject = $1 ORDER BY event_id LIMIT 1000
        """,
        subject,
        COMMANDS_EXCHANGE,
    )


async def heard_about_subject(connection: Connection, subject: str) -> list[Record]:
    """Everything this service heard about one subject, oldest first."""
    return await connection.fetch(
        """
        SELECT event_id, source, type, status, attempts, reason, received_at, handled_at, traceparent
        FROM inbox WHERE subject = $1 ORDER BY event_id LIMIT 1000
        """,
        subject,
    )
