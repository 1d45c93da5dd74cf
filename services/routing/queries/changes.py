"""Changes that were asked for, and the refunds they caused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from shared.contracts.returns import RefundRequested
from shared.messaging.message import Connection


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change and its last answer. ``answered_at`` is None while it waits for 3PLs."""

    change_id: UUID
    order_id: UUID
    kind: str
    request: dict[str, Any]
    awaiting: list[UUID]
    answer_due_at: datetime | None
    answer_type: str
    answer: dict[str, Any]
    requested_at: datetime
    answered_at: datetime | None
    payment_id: UUID | None = None
    payment_cents: int | None = None
    payment: str | None = None


async def read_changes(connection: Connection, change_ids: Sequence[UUID]) -> list[Record]:
    """Changes by id."""
    return await connection.fetch(
        """
        SELECT change_id, order_id, kind, request, awaiting, answer_due_at, answer_type, answer, requested_at, answered_at,
               payment_id, payment_cents, payment
        FROM changes WHERE change_id = ANY($1::uuid[])
        """,
        list(change_ids),
    )


async def save_changes(connection: Connection, changes: Sequence[ChangeRow]) -> None:
    """Remembers changes with their answers; a later answer of the same change replaces the earlier one."""
    await connection.execute(
        """
        INSERT INTO changes (change_id, order_id, kind, request, awaiting, answer_due_at, answer_type, answer, requested_at, answered_at,
                             payment_id, payment_cents, payment)
        SELECT change_id, order_id, kind, request, string_to_array(awaiting, ',')::uuid[], answer_due_at, answer_type,
               answer, requested_at, answered_at, payment_id, payment_cents, payment
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::text[], $8::jsonb[],
                    $9::timestamptz[], $10::timestamptz[], $11::uuid[], $12::bigint[], $13::text[])
             AS new (change_id, order_id, kind, request, awaiting, answer_due_at, answer_type, answer, requested_at, answered_at,
                     payment_id, payment_cents, payment)
        ON CONFLICT (change_id) DO UPDATE
        SET answer_type = excluded.answer_type, answer = excluded.answer, answered_at = excluded.answered_at,
            awaiting = excluded.awaiting, answer_due_at = excluded.answer_due_at
        """,
        [change.change_id for change in changes],
        [change.order_id for change in changes],
        [change.kind for change in changes],
        [change.request for change in changes],
        [",".join(str(fulfillment_id) for fulfillment_id in change.awaiting) for change in changes],
        [change.answer_due_at for change in changes],
        [change.answer_type for change in changes],
        [change.answer for change in changes],
        [change.requested_at for change in changes],
        [change.answered_at for change in changes],
        [change.payment_id for change in changes],
        [change.payment_cents for change in changes],
        [change.payment for change in changes],
    )


async def note_payments(connection: Connection, payments: Sequence[tuple[UUID, str]]) -> None:
    """What became of the payments of changes."""
    await connection.execute(
        """
        UPDATE changes SET payment = new.payment FROM unnest($1::uuid[], $2::text[]) AS new (change_id, payment)
        WHERE changes.change_id = new.change_id AND changes.payment_id IS NOT NULL
        """,
        [change_id for change_id, _ in payments],
        [payment for _, payment in payments],
    )


async def insert_refunds(connection: Connection, refunds: Sequence[RefundRequested], now: datetime) -> None:
    """Notes what was asked to be given back; the same cause asks once."""
    await connection.execute(
        """
        INSERT INTO refunds (refund_id, order_id, cause, cause_id, lines, shipping_cents, amount_cents, currency, requested_at)
        SELECT refund_id, order_id, cause, cause_id, lines::jsonb, shipping_cents, amount_cents, currency, $9
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::text[])
             AS new (refund_id, order_id, cause, cause_id, lines, shipping_cents, amount_cents, currency)
        ON CONFLICT (refund_id) DO NOTHING
        """,
        [refund.refund_id for refund in refunds],
        [refund.order_id for refund in refunds],
        [refund.cause for refund in refunds],
        [refund.cause_id for refund in refunds],
        # As text: asyncpg takes a list within a list for a further dimension of the array, not for a JSON value.
        [json.dumps([line.model_dump() for line in refund.lines]) for refund in refunds],
        [refund.shipping_cents for refund in refunds],
        [refund.amount_cents for refund in refunds],
        [refund.currency for refund in refunds],
        now,
    )
