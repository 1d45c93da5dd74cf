"""Refunds, what they pay for, and their ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.returns.decide.refunds import ClaimedLine, Refund
from shared.messaging.message import Connection


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One thing that happened to a refund, for ever."""

    entry_id: UUID
    refund_id: UUID
    kind: str
    amount_cents: int
    detail: str


@dataclass(frozen=True, slots=True)
class RefundState:
    """Where a refund stands after an answer or a retry."""

    refund_id: UUID
    state: str
    settled_at: datetime | None
    provider_reference: str | None
    failure_reason: str | None


async def read_refunds(connection: Connection, refund_ids: Sequence[UUID]) -> list[Record]:
    """Refunds as they stand."""
    return await connection.fetch(
        """
        SELECT refund_id, order_id, cause, cause_id, return_id, shipping_cents, currency, state
        FROM refunds WHERE refund_id = ANY($1::uuid[])
        """,
        list(refund_ids),
    )


async def read_refund_lines(connection: Connection, refund_ids: Sequence[UUID]) -> list[Record]:
    """What refunds pay for."""
    return await connection.fetch(
        "SELECT refund_id, line_id, quantity, amount_cents FROM refund_lines WHERE refund_id = ANY($1::uuid[]) ORDER BY refund_id, line_id",
        list(refund_ids),
    )


async def read_orders_of_refunds(connection: Connection, refund_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Which order each refund belongs to; that never changes, so it may be read before the order is locked."""
    rows = await connection.fetch("SELECT refund_id, order_id FROM refunds WHERE refund_id = ANY($1::uuid[])", list(refund_ids))
    return {row["refund_id"]: row["order_id"] for row in rows}


async def insert_refunds(connection: Connection, refunds: Sequence[Refund], now: datetime) -> None:
    """Adds refunds to the ledger's head table."""
    await connection.execute(
        """
        INSERT INTO refunds (refund_id, order_id, cause, cause_id, return_id, amount_cents, shipping_cents, currency, state, requested_at,
                             settled_at)
        SELECT refund_id, order_id, cause, cause_id, return_id, amount_cents, shipping_cents, currency, state, $10::timestamptz,
               CASE WHEN state = 'succeeded' THEN $10::timestamptz END
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
             AS new (refund_id, order_id, cause, cause_id, return_id, amount_cents, shipping_cents, currency, state)
        """,
        [refund.claim.refund_id for refund in refunds],
        [refund.claim.order_id for refund in refunds],
        [refund.claim.cause for refund in refunds],
        [refund.claim.cause_id for refund in refunds],
        [refund.claim.return_id for refund in refunds],
        [refund.claim.amount_cents for refund in refunds],
        [refund.claim.shipping_cents for refund in refunds],
        [refund.claim.currency for refund in refunds],
        [refund.state for refund in refunds],
        now,
    )


async def insert_refund_lines(connection: Connection, lines: Sequence[tuple[UUID, ClaimedLine]]) -> None:
    """Adds what refunds pay for."""
    await connection.execute(
        """
        INSERT INTO refund_lines (refund_id, line_id, quantity, amount_cents)
        SELECT refund_id, line_id, quantity, amount_cents
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) AS new (refund_id, line_id, quantity, amount_cents)
        """,
        [refund_id for refund_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.quantity for _, line in lines],
        [line.amount_cents for _, line in lines],
    )


async def insert_ledger_entries(connection: Connection, entries: Sequence[LedgerEntry], now: datetime) -> None:
    """Adds entries; the service's role can not change or delete them."""
    await connection.execute(
        """
        INSERT INTO refund_ledger (entry_id, refund_id, kind, amount_cents, detail, recorded_at)
        SELECT entry_id, refund_id, kind, amount_cents, detail, $6
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[])
             AS new (entry_id, refund_id, kind, amount_cents, detail)
        """,
        [entry.entry_id for entry in entries],
        [entry.refund_id for entry in entries],
        [entry.kind for entry in entries],
        [entry.amount_cents for entry in entries],
        [entry.detail for entry in entries],
        now,
    )


async def update_states(connection: Connection, states: Sequence[RefundState]) -> None:
    """Writes where refunds stand; their orders are locked."""
    await connection.execute(
        """
        UPDATE refunds
        SET state = new.state, settled_at = new.settled_at, provider_reference = new.provider_reference, failure_reason = new.failure_reason
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[])
             AS new (refund_id, state, settled_at, provider_reference, failure_reason)
        WHERE refunds.refund_id = new.refund_id
        """,
        [state.refund_id for state in states],
        [state.state for state in states],
        [state.settled_at for state in states],
        [state.provider_reference for state in states],
        [state.failure_reason for state in states],
    )


async def list_refunds(
    connection: Connection, order_id: UUID | None, return_ids: Sequence[UUID] | None, state: str | None, limit: int
) -> list[Record]:
    """Refunds for pages, newest first; every condition is optional."""
    return await connection.fetch(
        """
        SELECT refund_id, order_id, cause, cause_id, return_id, amount_cents, shipping_cents, currency, state, requested_at, settled_at,
               provider_reference, failure_reason
        FROM refunds
        WHERE ($1::uuid IS NULL OR order_id = $1)
          AND ($2::uuid[] IS NULL OR return_id = ANY($2))
          AND ($3::text IS NULL OR state = $3)
        ORDER BY requested_at DESC, refund_id LIMIT $4
        """,
        order_id,
        None if return_ids is None else list(return_ids),
        state,
        limit,
    )


async def read_ledger(connection: Connection, refund_ids: Sequence[UUID]) -> list[Record]:
    """Everything that happened to these refunds, oldest first."""
    return await connection.fetch(
        """
        SELECT refund_id, kind, amount_cents, detail, recorded_at
        FROM refund_ledger WHERE refund_id = ANY($1::uuid[]) ORDER BY recorded_at, entry_id
        """,
        list(refund_ids),
    )
