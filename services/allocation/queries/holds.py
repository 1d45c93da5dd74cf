"""Checkout holds. A hold's row is locked before the pools of its SKUs, its lines are read and written under those."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def claim_holds(
    connection: Connection,
    hold_ids: Sequence[UUID],
    channels: Sequence[str],
    states: Sequence[str],
    policies: Sequence[str],
    expires_at: Sequence[datetime],
    now: datetime,
) -> list[Record]:
    """Opens holds under ids that nobody has used and locks the others, all in the order of their ids, and returns them as they stand.

    Of two who open the same hold at once, the second one waits here and then finds it there. Writing the state back over itself is
    what locks a row that exists; a row that this statement has made has no ``xmax``.
    """
    return await connection.fetch(
        """
        INSERT INTO holds (hold_id, channel, state, policy, opened_at, expires_at, closed_at)
        SELECT hold_id, channel, state, policy, $6::timestamptz, expires_at, CASE WHEN state <> 'held' THEN $6::timestamptz END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS new(hold_id, channel, state, policy, expires_at)
        ORDER BY hold_id
        ON CONFLICT (hold_id) DO UPDATE SET state = holds.state
        RETURNING hold_id, channel, state, policy, expires_at, xmax = 0 AS is_new
        """,
        hold_ids,
        channels,
        states,
        policies,
        expires_at,
        now,
    )


async def lock_holds(connection: Connection, hold_ids: Sequence[UUID]) -> list[Record]:
    """Locks the holds that there are, in the order of their ids."""
    return await connection.fetch(
        """
        SELECT hold_id, channel, state, policy, expires_at FROM holds
        WHERE hold_id = ANY($1::uuid[]) ORDER BY hold_id FOR NO KEY UPDATE
        """,
        hold_ids,
    )


async def claim_expired_holds(connection: Connection, now: datetime, limit: int) -> list[Record]:
    """Locks holds whose time is up, the longest overdue first; other processes, and whoever is just using one, are not waited for."""
    return await connection.fetch(
        """
        SELECT hold_id, channel, state, policy, expires_at FROM holds
        WHERE state = 'held' AND expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )


async def read_skus_of_holds(connection: Connection, hold_ids: Sequence[UUID]) -> list[Record]:
    """The SKUs that these holds speak of, which never change. Read before their pools are locked."""
    return await connection.fetch("SELECT DISTINCT sku FROM hold_lines WHERE hold_id = ANY($1::uuid[])", hold_ids)


async def read_hold_lines(connection: Connection, hold_ids: Sequence[UUID]) -> list[Record]:
    """What these holds hold; read under the locks of their pools."""
    return await connection.fetch(
        """
        SELECT line.hold_id, holds.channel, line.sku, holds.opened_at, line.asked, line.granted, line.held
        FROM hold_lines line JOIN holds USING (hold_id) WHERE line.hold_id = ANY($1::uuid[]) ORDER BY line.hold_id, line.sku
        """,
        hold_ids,
    )


async def read_held_units(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Everything that is held of these SKUs; read under the locks of their pools."""
    return await connection.fetch(
        """
        SELECT line.hold_id, holds.channel, line.sku, holds.opened_at, line.asked, line.granted, line.held
        FROM hold_lines line JOIN holds USING (hold_id) WHERE line.held > 0 AND line.sku = ANY($1::text[])
        """,
        skus,
    )


async def lock_pools_for_holds(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Locks the pools in SKU order and reads what is free."""
    return await connection.fetch(
        """
        SELECT sku, available + fenced AS free, queued, version, release_at, ruled, in_kits
        FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default'
        ORDER BY sku FOR NO KEY UPDATE
        """,
        skus,
    )


class HeldRows(NamedTuple):
    """Columns of what a batch of holds writes; lists of one group have the same length."""

    pool_skus: list[str]
    pool_held: list[int]
    pool_fenced: list[int]
    prolonged_ids: list[UUID]
    prolonged_until: list[datetime]
    empty_ids: list[UUID]
    hold_ids: list[UUID]
    skus: list[str]
    asked: list[int]
    held: list[int]
    movement_ids: list[UUID]
    event_ids: list[UUID]


async def save_holds(connection: Connection, rows: HeldRows, now: datetime) -> None:
    """Takes the units from the pools, writes the holds' lines and the ledger, and forgets holds that hold nothing, in one statement."""
    await connection.execute(
        """
        WITH lines AS MATERIALIZED (
            SELECT * FROM unnest($7::uuid[], $8::text[], $9::int[], $10::int[], $11::uuid[], $12::uuid[])
                AS line(hold_id, sku, asked, held, movement_id, event_id)
        ), pooled AS (
            UPDATE stock_pools p SET held = p.held + claim.held, fenced = p.fenced + claim.fenced, version = p.version + 1
            FROM unnest($1::text[], $2::int[], $3::int[]) AS claim(sku, held, fenced)
            WHERE p.sku = claim.sku AND p.pool = 'default'
        ), prolonged AS (
            UPDATE holds SET expires_at = longer.expires_at
            FROM unnest($4::uuid[], $5::timestamptz[]) AS longer(hold_id, expires_at) WHERE holds.hold_id = longer.hold_id
        ), forgotten AS (
            DELETE FROM holds WHERE hold_id = ANY($6::uuid[])
        ), lined AS (
            INSERT INTO hold_lines (hold_id, sku, asked, granted, held) SELECT hold_id, sku, asked, held, held FROM lines
        )
        INSERT INTO movements (movement_id, kind, quantity, sku, cause_id, event_id, happened_at)
        SELECT movement_id, 'held', held, sku, hold_id, event_id, $13::timestamptz FROM lines WHERE held > 0
        """,
        *rows,
        now,
    )


async def close_holds(connection: Connection, hold_ids: Sequence[UUID], state: str, now: datetime) -> None:
    """Holds that are released or expired; what their lines held is saved with the books."""
    await connection.execute(
        "UPDATE holds SET state = $2, closed_at = $3 WHERE hold_id = ANY($1::uuid[])",
        hold_ids,
        state,
        now,
    )


async def update_hold_lines(connection: Connection, hold_ids: Sequence[UUID], skus: Sequence[str], held: Sequence[int]) -> None:
    """What is still held; the differences stand in pools and ledger."""
    await connection.execute(
        """
        UPDATE hold_lines line SET held = change.held
        FROM unnest($1::uuid[], $2::text[], $3::int[]) AS change(hold_id, sku, held)
        WHERE line.hold_id = change.hold_id AND line.sku = change.sku
        """,
        hold_ids,
        skus,
        held,
    )


class ConfirmedRows(NamedTuple):
    """Columns of holds that became orders; lists of one group have the same length."""

    hold_ids: list[UUID]
    order_ids: list[UUID]
    line_hold_ids: list[UUID]
    line_skus: list[str]
    line_held: list[int]
    line_used: list[int]
    movement_ids: list[UUID]
    event_ids: list[UUID]


async def confirm_holds(connection: Connection, rows: ConfirmedRows, now: datetime) -> None:
    """Empties holds whose orders have come, and says so in the ledger; the pools change with the orders themselves."""
    await connection.execute(
        """
        WITH lines AS MATERIALIZED (
            SELECT * FROM unnest($3::uuid[], $4::text[], $5::int[], $6::int[], $7::uuid[], $8::uuid[])
                AS line(hold_id, sku, held, used, movement_id, event_id)
        ), confirmed AS (
            UPDATE holds SET state = 'confirmed', order_id = taken.order_id, closed_at = $9::timestamptz
            FROM unnest($1::uuid[], $2::uuid[]) AS taken(hold_id, order_id) WHERE holds.hold_id = taken.hold_id
        ), emptied AS (
            UPDATE hold_lines line SET held = 0, used = lines.used
            FROM lines WHERE line.hold_id = lines.hold_id AND line.sku = lines.sku
        )
        INSERT INTO movements (movement_id, kind, quantity, sku, cause_id, event_id, happened_at)
        SELECT movement_id, 'unheld', -held, sku, hold_id, event_id, $9::timestamptz FROM lines WHERE held > 0
        """,
        *rows,
        now,
    )


async def forget_holds(connection: Connection, closed_before: datetime, limit: int) -> int:
    """Drops holds that were closed long ago; returns how many."""
    status = await connection.execute(
        """
        DELETE FROM holds WHERE hold_id IN (
            SELECT hold_id FROM holds WHERE closed_at < $1 ORDER BY closed_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        closed_before,
        limit,
    )
    return int(status.rsplit(" ", 1)[1])


async def read_hold(connection: Connection, hold_id: UUID) -> Record | None:
    """One hold, for people."""
    return await connection.fetchrow(
        "SELECT hold_id, channel, state, policy, opened_at, expires_at, closed_at, order_id FROM holds WHERE hold_id = $1", hold_id
    )


async def list_hold_lines(connection: Connection, hold_ids: Sequence[UUID]) -> list[Record]:
    """What holds were granted, hold, and gave to their orders."""
    return await connection.fetch(
        "SELECT hold_id, sku, asked, granted, held, used FROM hold_lines WHERE hold_id = ANY($1::uuid[]) ORDER BY hold_id, sku", hold_ids
    )


async def list_open_holds(connection: Connection, sku: str | None, channel: str | None, limit: int) -> list[Record]:
    """Open holds, of one SKU or channel or all, those that end first."""
    return await connection.fetch(
        """
        SELECT hold_id, channel, state, policy, opened_at, expires_at, closed_at, order_id FROM holds
        WHERE state = 'held' AND ($2::text IS NULL OR channel = $2)
          AND ($1::text IS NULL OR hold_id IN (SELECT hold_id FROM hold_lines WHERE sku = $1 AND held > 0))
        ORDER BY expires_at, hold_id LIMIT $3
        """,
        sku,
        channel,
        limit,
    )
