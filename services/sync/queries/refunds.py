"""Refunds at channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.sync.channels.protocol import RefundOrder
from services.sync.decide.refunds import BookedRefund, RefundableOrder, RefundRow
from shared.contracts.returns import RefundExecutionRequested
from shared.messaging.message import Connection


@dataclass(frozen=True, slots=True)
class RefundTask:
    """One claimed refund. ``attempt`` above 1 means that an earlier call may have moved the money: look it up first."""

    order: RefundOrder
    attempt: int
    traceparent: str | None


async def lock_orders(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, RefundableOrder]:
    """Orders locked in the order of their ids, so that two refunds of one order are booked one after the other."""
    await connection.execute(
        "SELECT FROM channel_orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE", sorted(order_ids)
    )
    # A second statement: it sees the refunds that were committed while this one waited for the locks.
    rows = await connection.fetch(
        """
        SELECT order_id, channel, external_id, currency, captured_cents,
               (SELECT COALESCE(sum(amount_cents), 0)::bigint FROM refunds
                WHERE refunds.order_id = channel_orders.order_id AND state <> 'failed') AS refunded_cents
        FROM channel_orders WHERE order_id = ANY($1::uuid[])
        """,
        sorted(order_ids),
    )
    return {
        row["order_id"]: RefundableOrder(row["channel"], row["external_id"], row["currency"], row["captured_cents"], row["refunded_cents"])
        for row in rows
    }


async def read_requests(connection: Connection, refund_ids: Collection[UUID], keys: Collection[tuple[str, str]]) -> list[BookedRefund]:
    """Refunds requested before that have one of the ids or one of the (channel, idempotency key)."""
    rows = await connection.fetch(
        """
        SELECT refund_id, order_id, channel, external_id, amount_cents, currency, idempotency_key, state
        FROM refunds WHERE refund_id = ANY($1::uuid[])
        UNION
        SELECT refund_id, order_id, channel, external_id, amount_cents, currency, idempotency_key, state
        FROM unnest($2::text[], $3::text[]) AS asked (channel, idempotency_key) JOIN refunds USING (channel, idempotency_key)
        """,
        sorted(refund_ids),
        [channel for channel, _ in keys],
        [key for _, key in keys],
    )
    return [
        BookedRefund(
            RefundExecutionRequested(
                refund_id=row["refund_id"],
                order_id=row["order_id"],
                channel=row["channel"],
                external_id=row["external_id"],
                amount_cents=row["amount_cents"],
                currency=row["currency"],
                idempotency_key=row["idempotency_key"],
            ),
            row["state"],
        )
        for row in rows
    ]


async def insert_refunds(
    connection: Connection, refunds: Sequence[tuple[RefundExecutionRequested, UUID, str | None]], now: datetime
) -> None:
    """Books refunds, each with the event that caused it and its trace; they are due at once."""
    await connection.execute(
        """
        INSERT INTO refunds (refund_id, order_id, channel, external_id, amount_cents, currency, idempotency_key, due_at, requested_at,
                             cause_event_id, cause_traceparent)
        SELECT refund_id, order_id, channel, external_id, amount_cents, currency, idempotency_key, $8, $8, cause_event_id,
               cause_traceparent
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $9::uuid[], $10::text[])
             AS new (refund_id, order_id, channel, external_id, amount_cents, currency, idempotency_key, cause_event_id,
                     cause_traceparent)
        """,
        [refund.refund_id for refund, _, _ in refunds],
        [refund.order_id for refund, _, _ in refunds],
        [refund.channel for refund, _, _ in refunds],
        [refund.external_id for refund, _, _ in refunds],
        [refund.amount_cents for refund, _, _ in refunds],
        [refund.currency for refund, _, _ in refunds],
        [refund.idempotency_key for refund, _, _ in refunds],
        now,
        [event_id for _, event_id, _ in refunds],
        [traceparent for _, _, traceparent in refunds],
    )


async def reopen_refunds(connection: Connection, refunds: Sequence[tuple[UUID, UUID, str | None]], now: datetime) -> None:
    """Refused refunds that shall be tried again, each with the event that asks for it and its trace. Attempts count on, so the next one
    looks up first what the key has moved.
    """
    await connection.execute(
        """
        UPDATE refunds SET state = 'requested', due_at = $4, settled_at = NULL, cause_event_id = again.event_id,
                           cause_traceparent = again.traceparent
        FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS again (refund_id, event_id, traceparent)
        WHERE refunds.refund_id = again.refund_id AND state = 'failed'
        """,
        [refund_id for refund_id, _, _ in refunds],
        [event_id for _, event_id, _ in refunds],
        [traceparent for _, _, traceparent in refunds],
        now,
    )


async def claim_refunds(connection: Connection, channel: str, now: datetime, leased_until: datetime, limit: int) -> list[RefundTask]:
    """Takes refunds of one channel that are due, longest waiting first, and notes that money may move from now on.

    None while the channel is paused, one while it is probed.
    """
    rows = await connection.fetch(
        """
        WITH open AS (
            SELECT CASE WHEN paused_until > $2 THEN 0 WHEN trips > 0 THEN 1 ELSE $4::int END AS calls FROM channels WHERE code = $1
        ), due AS (
            SELECT refund_id FROM refunds WHERE channel = $1 AND due_at <= $2
            ORDER BY due_at, refund_id LIMIT COALESCE((SELECT calls FROM open), 0)
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE refunds SET state = 'sent', attempts = attempts + 1, due_at = $3
        FROM due WHERE refunds.refund_id = due.refund_id
        RETURNING refunds.refund_id, external_id, idempotency_key, amount_cents, currency, attempts, cause_traceparent
        """,
        channel,
        now,
        leased_until,
        limit,
    )
    return [
        RefundTask(
            order=RefundOrder(row["refund_id"], row["external_id"], row["idempotency_key"], row["amount_cents"], row["currency"]),
            attempt=row["attempts"],
            traceparent=row["cause_traceparent"],
        )
        for row in rows
    ]


async def lock_refunds(connection: Connection, refund_ids: Collection[UUID]) -> dict[UUID, RefundRow]:
    """Refunds locked in the order of their ids."""
    rows = await connection.fetch(
        """
        SELECT refund_id, order_id, amount_cents, currency, state, attempts, due_at, last_failure, provider_reference, settled_at,
               cause_event_id, cause_traceparent
        FROM refunds WHERE refund_id = ANY($1::uuid[]) ORDER BY refund_id FOR NO KEY UPDATE
        """,
        sorted(refund_ids),
    )
    return {row["refund_id"]: RefundRow(*row) for row in rows}


async def save_refunds(connection: Connection, refunds: Sequence[RefundRow]) -> None:
    """Records what became of refunds; the rows are locked already."""
    await connection.execute(
        """
        UPDATE refunds
        SET state = new.state, due_at = new.due_at, last_failure = new.last_failure, provider_reference = new.provider_reference,
            settled_at = new.settled_at
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[])
             AS new (refund_id, state, due_at, last_failure, provider_reference, settled_at)
        WHERE refunds.refund_id = new.refund_id
        """,
        [refund.refund_id for refund in refunds],
        [refund.state for refund in refunds],
        [refund.due_at for refund in refunds],
        [refund.last_failure for refund in refunds],
        [refund.provider_reference for refund in refunds],
        [refund.settled_at for refund in refunds],
    )
