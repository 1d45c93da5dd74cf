"""Recorded decisions, to be made again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def first_of_last(connection: Connection, since: datetime | None, count: int) -> UUID | None:
    """The oldest of the last so many decisions; None when there are not so many."""
    first: UUID | None = await connection.fetchval(
        """
        SELECT decision_id FROM decisions WHERE $1::timestamptz IS NULL OR decided_at >= $1
        ORDER BY decision_id DESC OFFSET $2 - 1 LIMIT 1
        """,
        since,
        count,
    )
    return first


async def next_decisions(connection: Connection, after: UUID | None, since: datetime | None, limit: int) -> Sequence[Record]:
    """A page of decisions in the order in which they were made, from those after one of them (None: from the first on)."""
    return await connection.fetch(
        """
        SELECT decision_id, order_id, decided_at, record FROM decisions
        WHERE ($1::uuid IS NULL OR decision_id > $1) AND ($2::timestamptz IS NULL OR decided_at >= $2)
        ORDER BY decision_id LIMIT $3
        """,
        after,
        since,
        limit,
    )


async def read_all_of_orders(connection: Connection, order_ids: Sequence[UUID], first: UUID, since: datetime | None) -> Sequence[Record]:
    """What the decisions of these orders were about, from the first of a selection on, in the order in which they were made."""
    return await connection.fetch(
        """
        SELECT order_id, decision_id, decided_at, record -> 'asked' -> 'lines' AS lines, record -> 'chosen' AS chosen FROM decisions
        WHERE order_id = ANY($1::uuid[]) AND decision_id >= $2 AND ($3::timestamptz IS NULL OR decided_at >= $3)
        ORDER BY order_id, decision_id
        """,
        list(order_ids),
        first,
        since,
    )


async def read_came_back(connection: Connection, decision_ids: Sequence[UUID]) -> Sequence[Record]:
    """Units of decisions that did not ship from where they were planned, and when that is known to have been over: with the next decision
    that wants the line again, or when an edit or a cancellation of the order was made. Those of which neither is known are left out."""
    return await connection.fetch(
        """
        WITH back AS (
            SELECT plan_id, order_id, location, line_id, planned_at,
                   CASE WHEN state IN ('called_off', 'intercepted', 'rejected', 'emptied', 'withdrawn') THEN planned - lines.shipped
                   ELSE called_off END AS units
            FROM fulfillments JOIN fulfillment_lines lines USING (fulfillment_id)
            WHERE order_id IN (SELECT order_id FROM decisions WHERE decision_id = ANY($1::uuid[])) AND plan_id = ANY($1)
        )
        SELECT plan_id, location, line_id, units, LEAST(planned_again.at, changed.at) AS at
        FROM back, LATERAL (
            SELECT min(decided_at) AS at FROM decisions later
            WHERE later.order_id = back.order_id AND later.decision_id > back.plan_id AND EXISTS (
                SELECT FROM jsonb_array_elements(later.record -> 'asked' -> 'lines') AS wanted (line) WHERE line ->> 0 = back.line_id)
        ) planned_again, LATERAL (
            SELECT min(answered_at) AS at FROM changes
            WHERE changes.order_id = back.order_id AND answered_at > planned_at
                  AND answer_type IN ('order.edited.v1', 'order.cancelled.v1')
        ) changed
        WHERE units > 0 AND LEAST(planned_again.at, changed.at) IS NOT NULL
        ORDER BY plan_id, location, line_id
        """,
        list(decision_ids),
    )
