"""Recorded decisions, to be made again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def last_decisions(connection: Connection, before: UUID, since: datetime | None, limit: int) -> Sequence[Record]:
    """A page of decisions, newest first, from those before one of them."""
    return await connection.fetch(
        """
        SELECT decision_id, order_id, decided_at, record FROM decisions
        WHERE decision_id < $1 AND ($2::timestamptz IS NULL OR decided_at >= $2)
        ORDER BY decision_id DESC LIMIT $3
        """,
        before,
        since,
        limit,
    )
