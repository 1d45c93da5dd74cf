"""Channels: who they are and how they have been answering."""

from __future__ import annotations

from datetime import datetime

from asyncpg import Record

from services.sync.decide.calls import ChannelHealth
from shared.messaging.message import Connection


async def register_channel(connection: Connection, code: str, now: datetime) -> bool:
    """Makes a channel known; True when it was known before."""
    status = await connection.execute("INSERT INTO channels (code, registered_at) VALUES ($1, $2) ON CONFLICT (code) DO NOTHING", code, now)
    return status == "INSERT 0 0"


async def lock_health(connection: Connection, code: str) -> ChannelHealth:
    """How a channel has been answering, locked. Locked after the rows whose answers are recorded, by everybody."""
    row = await connection.fetchrow(
        """
        SELECT consecutive_failures, trips, paused_until, last_accepted_at, last_failure_at, last_failure
        FROM channels WHERE code = $1 FOR NO KEY UPDATE
        """,
        code,
    )
    return ChannelHealth() if row is None else ChannelHealth(*row)


async def save_health(connection: Connection, code: str, health: ChannelHealth) -> None:
    """Records how a channel has been answering."""
    await connection.execute(
        """
        UPDATE channels
        SET consecutive_failures = $2, trips = $3, paused_until = $4, last_accepted_at = $5, last_failure_at = $6, last_failure = $7
        WHERE code = $1
        """,
        code,
        health.consecutive_failures,
        health.trips,
        health.paused_until,
        health.last_accepted_at,
        health.last_failure_at,
        health.last_failure,
    )


async def read_channels(connection: Connection) -> list[Record]:
    """Every channel with its health and what waits for it."""
    return await connection.fetch(
        """
        SELECT code, registered_at, consecutive_failures, trips, paused_until, last_accepted_at, last_failure_at, last_failure,
               (SELECT count(*) FROM listings WHERE channel = code) AS listings,
               (SELECT count(*) FROM listing_stock WHERE channel = code AND due_at IS NOT NULL) AS pushes_waiting,
               (SELECT min(COALESCE(sending_since, stale_since)) FROM listing_stock
                WHERE channel = code AND due_at IS NOT NULL) AS stale_since,
               (SELECT max(accepted_at) FROM listing_stock WHERE channel = code) AS last_push_at,
               (SELECT count(*) FROM refunds WHERE channel = code AND due_at IS NOT NULL) AS refunds_waiting,
               (SELECT count(*) FROM refunds WHERE channel = code AND due_at IS NOT NULL AND state = 'unknown') AS refunds_unknown,
               (SELECT count(*) FROM shipment_notices WHERE channel = code AND due_at IS NOT NULL) AS notices_waiting
        FROM channels ORDER BY code
        """
    )
