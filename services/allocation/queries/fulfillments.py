"""Plans and fulfillments, each decided, shipped and called off once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_plans(connection: Connection, plan_ids: Sequence[UUID]) -> list[Record]:
    """Plans that were decided before."""
    return await connection.fetch("SELECT plan_id FROM plans WHERE plan_id = ANY($1::uuid[])", plan_ids)


async def insert_plans(
    connection: Connection, plan_ids: Sequence[UUID], order_ids: Sequence[UUID], outcomes: Sequence[str], decided_at: datetime
) -> None:
    """Remembers what was decided about plans."""
    await connection.execute(
        """
        INSERT INTO plans (plan_id, order_id, outcome, decided_at)
        SELECT decided.*, $4::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS decided(plan_id, order_id, outcome)
        """,
        plan_ids,
        order_ids,
        outcomes,
        decided_at,
    )


async def read_fulfillments(connection: Connection, fulfillment_ids: Sequence[UUID]) -> list[Record]:
    """What is known of fulfillments."""
    return await connection.fetch(
        """
        SELECT fulfillment_id, plan_id, order_id, location, assigned, shipped_at
        FROM fulfillments WHERE fulfillment_id = ANY($1::uuid[])
        """,
        fulfillment_ids,
    )


async def insert_fulfillments(
    connection: Connection,
    fulfillment_ids: Sequence[UUID],
    plan_ids: Sequence[UUID],
    order_ids: Sequence[UUID],
    locations: Sequence[str],
    assigned: Sequence[bool],
) -> None:
    """Remembers the fulfillments of plans, tied to stock or not."""
    await connection.execute(
        """
        INSERT INTO fulfillments (fulfillment_id, plan_id, order_id, location, assigned)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bool[])
        """,
        fulfillment_ids,
        plan_ids,
        order_ids,
        locations,
        assigned,
    )


async def mark_shipped(connection: Connection, fulfillment_ids: Sequence[UUID], shipped_at: Sequence[datetime]) -> None:
    """Notes that fulfillments have left; told again, they deduct nothing."""
    await connection.execute(
        """
        UPDATE fulfillments SET shipped_at = told.shipped_at
        FROM unnest($1::uuid[], $2::timestamptz[]) AS told(fulfillment_id, shipped_at)
        WHERE fulfillments.fulfillment_id = told.fulfillment_id
        """,
        fulfillment_ids,
        shipped_at,
    )


async def read_cancellations(connection: Connection, fulfillment_ids: Sequence[UUID]) -> list[Record]:
    """Call-offs of these fulfillments that were booked before."""
    return await connection.fetch(
        "SELECT fulfillment_id, cause, cancelled_at, said FROM fulfillment_cancellations WHERE fulfillment_id = ANY($1::uuid[])",
        fulfillment_ids,
    )


async def insert_cancellations(
    connection: Connection, fulfillment_ids: Sequence[UUID], causes: Sequence[str], cancelled_at: Sequence[datetime], said: Sequence[str]
) -> None:
    """Remembers call-offs."""
    await connection.execute(
        """
        INSERT INTO fulfillment_cancellations (fulfillment_id, cause, cancelled_at, said)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[])
        """,
        fulfillment_ids,
        causes,
        cancelled_at,
        said,
    )
