"""SKUs that are sold before their release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from shared.messaging.message import Connection


async def update_preorders(
    connection: Connection,
    skus: Sequence[str],
    release_at: Sequence[datetime | None],
    early_release: Sequence[bool],
    said_at: Sequence[datetime | None],
) -> None:
    """Opens, moves and ends preorders; the pools are locked."""
    await connection.execute(
        """
        UPDATE stock_pools pool
        SET release_at = change.release_at, early_release = change.early_release, preorder_said_at = change.said_at
        FROM unnest($1::text[], $2::timestamptz[], $3::bool[], $4::timestamptz[]) AS change(sku, release_at, early_release, said_at)
        WHERE pool.sku = change.sku AND pool.pool = 'default'
        """,
        skus,
        release_at,
        early_release,
        said_at,
    )


async def find_due_preorders(connection: Connection, now: datetime, limit: int) -> list[Record]:
    """Preorders whose date has come and whose goods are there. Not locked: lock the pools and judge again."""
    return await connection.fetch(
        """
        SELECT sku FROM stock_pools WHERE release_at <= $1 AND available + fenced > 0 AND pool = 'default' ORDER BY release_at, sku LIMIT $2
        """,
        now,
        limit,
    )


async def list_preorders(connection: Connection, after: str, limit: int) -> list[Record]:
    """SKUs in preorder behind a given one."""
    return await connection.fetch(
        """
        SELECT sku, available, available + fenced AS free, queued, release_at, early_release, version FROM stock_pools
        WHERE release_at IS NOT NULL AND pool = 'default' AND sku > $1 ORDER BY sku LIMIT $2
        """,
        after,
        limit,
    )
