"""All SQL of the portal: the timeline, what customers are told, and the console's sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record
from pydantic import TypeAdapter

from services.portal.decide.facts import Fact
from shared.contracts.orders import OrderEdited, OrderLine, OrderPlaced
from shared.messaging.message import Connection

ORDER_LINES = TypeAdapter(list[OrderLine])


@dataclass(frozen=True, slots=True)
class Told:
    """A fact together with the event that told it."""

    fact: Fact
    event_id: UUID
    type: str
    source: str
    at: datetime
    trace_id: UUID


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one notification."""

    order_id: UUID
    kind: str
    cause_id: UUID
    status: str
    due_at: datetime
    reason: str | None


async def record_facts(connection: Connection, told: Sequence[Told], now: datetime) -> int:
    """Adds facts to the timelines of their orders, and a notification for each new fact that customers hear of.

    A fact that is known already changes nothing. Both inserts go in one order, so that two batches never wait for each other. Returns how
    many facts were new.
    """
    count: int = await connection.fetchval(
        """
        WITH arrived AS (
            SELECT DISTINCT ON (order_id, type, fact_id) *
            FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::uuid[], $8::jsonb[], $9::text[])
                 AS arrived (order_id, type, fact_id, event_id, source, at, trace_id, data, tells)
            ORDER BY order_id, type, fact_id, event_id
        ), added AS (
            INSERT INTO timeline (order_id, type, fact_id, event_id, source, at, trace_id, data)
            SELECT order_id, type, fact_id, event_id, source, at, trace_id, data FROM arrived
            ON CONFLICT (order_id, type, fact_id) DO NOTHING
            RETURNING order_id, type, fact_id
        ), notified AS (
            INSERT INTO notifications (order_id, kind, cause_id, type, created_at, due_at)
            SELECT order_id, tells, fact_id, type, $10, $10 FROM added JOIN arrived USING (order_id, type, fact_id)
            WHERE tells IS NOT NULL
            ON CONFLICT (order_id, kind, cause_id) DO NOTHING
        )
        SELECT count(*) FROM added
        """,
        [item.fact.order_id for item in told],
        [item.type for item in told],
        [item.fact.fact_id for item in told],
        [item.event_id for item in told],
        [item.source for item in told],
        [item.at for item in told],
        [item.trace_id for item in told],
        [item.fact.data for item in told],
        [item.fact.tells for item in told],
        now,
    )
    return count


async def record_orders(connection: Connection, orders: Sequence[OrderPlaced]) -> None:
    """Keeps who bought what where. An order that is known already stays as it is."""
    await connection.execute(
        """
        INSERT INTO orders (order_id, channel, external_id, placed_at, currency, shipping_paid_cents, service_level, deliver_by,
                            customer_email, customer_name, locale)
        SELECT DISTINCT ON (order_id) *
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[],
                    $9::text[], $10::text[], $11::text[]) AS placed (order_id)
        ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        """,
        [order.order_id for order in orders],
        [order.channel for order in orders],
        [order.external_id for order in orders],
        [order.placed_at for order in orders],
        [order.currency for order in orders],
        [order.shipping_paid_cents for order in orders],
        [order.service_level for order in orders],
        [order.deliver_by for order in orders],
        [order.customer.email for order in orders],
        [order.customer.name for order in orders],
        [order.customer.locale for order in orders],
    )


async def record_versions(connection: Connection, orders: Sequence[OrderPlaced | OrderEdited]) -> None:
    """Keeps the lines, the address and the service of each order version."""
    await connection.execute(
        """
        INSERT INTO order_versions (order_id, order_version, lines, ship_to, service_level, deliver_by)
        SELECT DISTINCT ON (order_id, order_version) order_id, order_version, lines::jsonb, ship_to::jsonb, service_level, deliver_by
        FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
             AS version (order_id, order_version, lines, ship_to, service_level, deliver_by)
        ORDER BY order_id, order_version
        ON CONFLICT (order_id, order_version) DO NOTHING
        """,
        [order.order_id for order in orders],
        [order.order_version for order in orders],
        [ORDER_LINES.dump_json(order.lines).decode() for order in orders],
        [order.ship_to.model_dump_json() for order in orders],
        [order.service_level for order in orders],
        [order.deliver_by for order in orders],
    )


async def read_order(connection: Connection, order_id: UUID) -> Record | None:
    """Identity and newest version of one order; a row as soon as anything of it is known, None otherwise."""
    return await connection.fetchrow(
        """
        SELECT known.order_id, orders.channel, orders.external_id, orders.placed_at, orders.currency, orders.shipping_paid_cents,
               COALESCE(version.service_level, orders.service_level) AS service_level,
               CASE WHEN version.service_level IS NULL THEN orders.deliver_by ELSE version.deliver_by END AS deliver_by,
               orders.customer_email, orders.customer_name, orders.locale,
               version.order_version, version.lines, version.ship_to
        FROM (SELECT order_id FROM timeline WHERE order_id = $1 LIMIT 1) AS known
        LEFT JOIN orders USING (order_id)
        LEFT JOIN LATERAL (
            SELECT order_version, lines, ship_to, service_level, deliver_by FROM order_versions
            WHERE order_versions.order_id = known.order_id ORDER BY order_version DESC LIMIT 1
        ) AS version ON true
        """,
        order_id,
    )


async def read_timeline(connection: Connection, order_id: UUID) -> list[Record]:
    """Everything that happened to one order."""
    return await connection.fetch(
        "SELECT type, fact_id, event_id, source, at, trace_id, data FROM timeline WHERE order_id = $1 LIMIT 5000", order_id
    )


async def read_trace_id(connection: Connection, order_id: UUID) -> UUID | None:
    """The trace of one order: the one of its placing, else of the first thing heard."""
    trace_id: UUID | None = await connection.fetchval(
        "SELECT trace_id FROM timeline WHERE order_id = $1 ORDER BY type <> 'order.placed.v1', at LIMIT 1", order_id
    )
    return trace_id


async def read_order_of_return(connection: Connection, return_id: UUID) -> UUID | None:
    """The order that an approved return belongs to."""
    order_id: UUID | None = await connection.fetchval(
        "SELECT order_id FROM timeline WHERE type = 'return.approved.v1' AND fact_id = $1 LIMIT 1", return_id
    )
    return order_id


async def newest_orders(connection: Connection, limit: int) -> list[Record]:
    """The orders placed last."""
    return await connection.fetch(
        """
        SELECT order_id, channel, external_id, placed_at, currency, shipping_paid_cents, service_level, deliver_by, customer_email,
               customer_name, locale
        FROM orders ORDER BY placed_at DESC LIMIT $1
        """,
        limit,
    )


async def search_orders(connection: Connection, text: str, order_id: UUID | None, limit: int) -> list[Record]:
    """Orders by their id, the channel's number, the customer's address or a tracking number; each search uses its index."""
    return await connection.fetch(
        """
        SELECT order_id, channel, external_id, placed_at, currency, shipping_paid_cents, service_level, deliver_by, customer_email,
               customer_name, locale
        FROM orders
        WHERE order_id IN (
            SELECT $2::uuid
            UNION ALL
            (SELECT order_id FROM orders WHERE external_id = $1 ORDER BY placed_at DESC LIMIT $3)
            UNION ALL
            (SELECT order_id FROM orders WHERE lower(customer_email) = lower($1) ORDER BY placed_at DESC LIMIT $3)
            UNION ALL
            (SELECT order_id FROM timeline WHERE type = 'fulfillment.shipped.v1' AND data ->> 'tracking_number' = $1 LIMIT $3)
        )
        ORDER BY placed_at DESC LIMIT $3
        """,
        text,
        order_id,
        limit,
    )


async def read_versions_of(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """The newest version of each of some orders."""
    return await connection.fetch(
        """
        SELECT DISTINCT ON (order_id) order_id, order_version, lines, ship_to
        FROM order_versions WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, order_version DESC
        """,
        list(order_ids),
    )


async def read_timelines_of(connection: Connection, order_ids: Sequence[UUID]) -> list[Record]:
    """Everything that happened to some orders."""
    return await connection.fetch(
        "SELECT order_id, type, fact_id, event_id, source, at, trace_id, data FROM timeline WHERE order_id = ANY($1::uuid[])",
        list(order_ids),
    )


async def claim_notifications(connection: Connection, now: datetime, leased_until: datetime, limit: int) -> list[Record]:
    """Takes due notifications of customers whose address is known, oldest first, with everything the mail needs; others skip them.

    The lease (``due_at`` moved forward) brings them back should this process die before it has settled them.
    """
    return await connection.fetch(
        """
        WITH due AS (
            SELECT notifications.order_id, kind, cause_id
            FROM notifications JOIN orders USING (order_id)
            WHERE status = 'due' AND due_at <= $1
            ORDER BY due_at LIMIT $3
            FOR UPDATE OF notifications SKIP LOCKED
        ), claimed AS (
            UPDATE notifications SET due_at = $2, attempts = attempts + 1
            FROM due
            WHERE notifications.order_id = due.order_id AND notifications.kind = due.kind AND notifications.cause_id = due.cause_id
            RETURNING notifications.order_id, notifications.kind, notifications.cause_id, notifications.type, notifications.created_at,
                      notifications.attempts
        )
        SELECT claimed.*, orders.external_id, orders.placed_at, orders.currency, orders.customer_email,
               orders.shipping_paid_cents + COALESCE((
                   SELECT sum((edits.data ->> 'shipping_delta_cents')::bigint)
                   FROM timeline AS edits WHERE edits.order_id = claimed.order_id AND edits.type = 'order.edited.v1'
               ), 0)::bigint AS shipping_paid_cents,
               orders.customer_name, orders.locale, timeline.data, version.lines, version.ship_to
        FROM claimed
        JOIN orders USING (order_id)
        JOIN timeline ON timeline.order_id = claimed.order_id AND timeline.type = claimed.type AND timeline.fact_id = claimed.cause_id
        LEFT JOIN LATERAL (
            SELECT lines, ship_to FROM order_versions
            WHERE order_versions.order_id = claimed.order_id ORDER BY order_version DESC LIMIT 1
        ) AS version ON true
        """,
        now,
        leased_until,
        limit,
    )


async def settle_notifications(connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    """Records what became of notifications: sent, failed for good, or due again."""
    await connection.execute(
        """
        UPDATE notifications
        SET status = settled.status, due_at = settled.due_at, reason = settled.reason,
            sent_at = CASE WHEN settled.status = 'sent' THEN $7::timestamptz END
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[])
             AS settled (order_id, kind, cause_id, status, due_at, reason)
        WHERE notifications.order_id = settled.order_id AND notifications.kind = settled.kind
          AND notifications.cause_id = settled.cause_id AND notifications.status = 'due'
        """,
        [item.order_id for item in settled],
        [item.kind for item in settled],
        [item.cause_id for item in settled],
        [item.status for item in settled],
        [item.due_at for item in settled],
        [item.reason for item in settled],
        now,
    )


async def read_notifications(connection: Connection, order_id: UUID) -> list[Record]:
    """What the customer was or will be told about one order."""
    return await connection.fetch(
        """
        SELECT kind, cause_id, created_at, status, attempts, due_at, sent_at, reason
        FROM notifications WHERE order_id = $1 ORDER BY created_at, kind
        """,
        order_id,
    )


async def failed_notifications(connection: Connection, limit: int) -> list[Record]:
    """Mails that were given up, the newest first."""
    return await connection.fetch(
        """
        SELECT order_id, kind, cause_id, created_at, attempts, reason, orders.external_id
        FROM notifications LEFT JOIN orders USING (order_id)
        WHERE status = 'failed' ORDER BY created_at DESC LIMIT $1
        """,
        limit,
    )


async def retry_notification(connection: Connection, order_id: UUID, kind: str, cause_id: UUID, now: datetime) -> bool:
    """Gives a mail that was given up a fresh start; False when there is none."""
    status = await connection.execute(
        """
        UPDATE notifications SET status = 'due', attempts = 0, created_at = $4, due_at = $4, reason = NULL
        WHERE order_id = $1 AND kind = $2 AND cause_id = $3 AND status = 'failed'
        """,
        order_id,
        kind,
        cause_id,
        now,
    )
    return status != "UPDATE 0"


async def start_session(connection: Connection, session_hash: bytes, now: datetime, expires_at: datetime) -> None:
    """Signs an operator in, and forgets sessions that are over."""
    await connection.execute(
        """
        WITH over AS (DELETE FROM console_sessions WHERE expires_at <= $2)
        INSERT INTO console_sessions (session_hash, created_at, expires_at) VALUES ($1, $2, $3)
        """,
        session_hash,
        now,
        expires_at,
    )


async def session_is_live(connection: Connection, session_hash: bytes, now: datetime) -> bool:
    """Whether this session was started here and is not over."""
    live: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM console_sessions WHERE session_hash = $1 AND expires_at > $2)", session_hash, now
    )
    return live


async def end_session(connection: Connection, session_hash: bytes) -> None:
    """Signs an operator out on the server, whatever the browser keeps."""
    await connection.execute("DELETE FROM console_sessions WHERE session_hash = $1", session_hash)


async def claim_key(connection: Connection, request: bytes, content: bytes, now: datetime) -> int | None:
    """Binds an Idempotency-Key to what is asked for under it and returns which attempt this is; None when the key is bound already."""
    attempt: int | None = await connection.fetchval(
        """
        INSERT INTO keyed_requests (request, content, asked_at) VALUES ($1, $2, $3)
        ON CONFLICT (request) DO UPDATE SET content = excluded.content, asked_at = excluded.asked_at, refused = false
        WHERE keyed_requests.refused
        RETURNING attempt
        """,
        request,
        content,
        now,
    )
    return attempt


async def read_key(connection: Connection, request: bytes) -> Record | None:
    """What was asked for under an Idempotency-Key."""
    return await connection.fetchrow("SELECT content, attempt, asked_at FROM keyed_requests WHERE request = $1", request)


async def free_key(connection: Connection, request: bytes, attempt: int) -> None:
    """What was asked for under an Idempotency-Key was refused, so that nothing was done under it."""
    await connection.execute(
        "UPDATE keyed_requests SET refused = true, attempt = attempt + 1 WHERE request = $1 AND attempt = $2 AND NOT refused",
        request,
        attempt,
    )
