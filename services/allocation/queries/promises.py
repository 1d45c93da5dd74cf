"""Promised dates of whole queues, and who has still to be told that theirs moved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def move_promises(connection: Connection, skus: Sequence[str], round_id: UUID, most: int) -> int:
    """Dates the queues of these SKUs anew and notes what moved, ``most`` places at a time; returns how many did. The pools are locked.

    One pass over the queue and the supplies of a SKU, both as running sums of units: walking from the farthest unit back to the nearest,
    the smallest ship date seen is that of the supply which brings the unit. Fewer than ``most`` means that all dates are right now. A place
    that moves twice in one round keeps the date it was told first as its old one. Of SKUs with rules for channels it is what
    ``decide/pools.py::units_to_come`` says.
    """
    moved: int = await connection.fetchval(
        """
        WITH pool AS (
            SELECT sku, available, available + fenced AS free, ruled, release_at
            FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default'
        ), rule AS (
            SELECT sku, channel, share_percent, GREATEST(0, fence - open) AS unfilled,
                   CASE WHEN cap IS NOT NULL THEN GREATEST(0, cap - open) END AS room,
                   sum(GREATEST(0, fence - open)) OVER (PARTITION BY sku ORDER BY seniority) - GREATEST(0, fence - open) AS older
            FROM channel_pools WHERE sku = ANY($1::text[])
        ), own AS (
            SELECT demand.*, available, free, release_at, share_percent, unfilled, room, older,
                   sum(queued) OVER (PARTITION BY sku, channel ORDER BY priority, demand_id) AS own_units
            FROM demand JOIN pool USING (sku) LEFT JOIN rule USING (sku, channel) WHERE queued > 0 AND ruled
        ), wish AS (
            -- units that no fence protects are what is left of a channel's when its own fence and its cap are counted out
            SELECT own.*, GREATEST(0, LEAST(own_units, room) - COALESCE(unfilled, 0))
                          - GREATEST(0, LEAST(own_units - queued, room) - COALESCE(unfilled, 0)) AS common
            FROM own
        ), place AS (
            SELECT sku, order_id, line_id, demand_id, queued, promised_ship_at, release_at,
                   -- units that must come in until the place has all of its own; none when the shelf has them
                   sum(queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) - available AS units
            FROM demand JOIN pool USING (sku) WHERE queued > 0 AND NOT ruled
            UNION ALL
            SELECT sku, order_id, line_id, demand_id, queued, promised_ship_at, release_at,
                   CASE WHEN own_units > room THEN NULL
                        WHEN own_units <= unfilled THEN older + own_units - free
                        WHEN share_percent IS NULL THEN sum(common) OVER (PARTITION BY sku ORDER BY priority, demand_id) - available
                   END
            FROM wish
        ), coming AS (
            SELECT line.sku, supply.ships_at, line.supply_id, line.quantity - line.called_off - line.received AS expected,
                   sum(line.quantity - line.called_off - line.received)
                       OVER (PARTITION BY line.sku, supply.location ORDER BY supply.ships_at, line.supply_id)
                   - (line.quantity - line.called_off - line.received) AS earlier,
                   -- the first that come to a location fill up what is kept back there
                   CASE WHEN shelf.counts THEN GREATEST(0, shelf.safety - GREATEST(0, shelf.on_shelf)) ELSE 0 END AS lacking
            FROM supply_lines line JOIN supplies supply USING (supply_id)
            LEFT JOIN stock_locations shelf ON shelf.sku = line.sku AND shelf.location = supply.location
            WHERE line.open AND line.sku = ANY($1::text[])
        ), arrival AS (
            SELECT sku, ships_at,
                   sum(expected - LEAST(expected, GREATEST(0, lacking - earlier)))
                       OVER (PARTITION BY sku ORDER BY ships_at, supply_id) AS units
            FROM coming
        ), dated AS (
            SELECT step.*, min(step.ships_at) OVER (PARTITION BY step.sku ORDER BY step.units DESC, step.arrives DESC
                                                   ROWS UNBOUNDED PRECEDING) AS covered_at
            FROM (
                SELECT sku, order_id, line_id, demand_id, queued, promised_ship_at, release_at, units, false AS arrives,
                       NULL::timestamptz AS ships_at
                FROM place
                UNION ALL
                SELECT sku, NULL, NULL, NULL, NULL, NULL, NULL, units, true, ships_at FROM arrival
            ) step
        ), moved AS (
            SELECT order_id, line_id, demand_id, sku, queued, promised_ship_at AS old_ship_at, date.new_ship_at
            FROM dated
            CROSS JOIN LATERAL (
                SELECT CASE WHEN units <= 0 THEN COALESCE(release_at, promised_ship_at)
                            WHEN covered_at IS NOT NULL THEN GREATEST(covered_at, release_at) END AS new_ship_at
            ) date
            WHERE NOT arrives AND promised_ship_at IS DISTINCT FROM date.new_ship_at
            LIMIT $3
        ), renewed AS (
            UPDATE demand SET promised_ship_at = moved.new_ship_at FROM moved
            WHERE demand.order_id = moved.order_id AND demand.line_id = moved.line_id AND demand.demand_id = moved.demand_id
        ), noted AS (
            INSERT INTO promise_changes (round_id, order_id, line_id, demand_id, sku, quantity, old_ship_at, new_ship_at)
            SELECT $2, order_id, line_id, demand_id, sku, queued, old_ship_at, new_ship_at FROM moved
            ON CONFLICT (round_id, order_id, line_id, demand_id) DO UPDATE SET new_ship_at = excluded.new_ship_at
            RETURNING 1
        )
        SELECT count(*) FROM noted
        """,
        skus,
        round_id,
        most,
    )
    return moved


async def update_promises(
    connection: Connection,
    order_ids: Sequence[UUID],
    line_ids: Sequence[str],
    demand_ids: Sequence[UUID],
    promised_ship_at: Sequence[datetime | None],
) -> None:
    """Sets the dates that waiting lines were told."""
    await connection.execute(
        """
        UPDATE demand SET promised_ship_at = told.promised_ship_at
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS told(order_id, line_id, demand_id, promised_ship_at)
        WHERE demand.order_id = told.order_id AND demand.line_id = told.line_id AND demand.demand_id = told.demand_id
        """,
        order_ids,
        line_ids,
        demand_ids,
        promised_ship_at,
    )


async def insert_round(
    connection: Connection,
    round_id: UUID,
    cause: str,
    cause_id: UUID,
    event_id: UUID | None,
    traceparent: str | None,
    changed_at: datetime,
) -> None:
    """Remembers why dates moved until every order has been told."""
    await connection.execute(
        """
        INSERT INTO promise_rounds (round_id, cause, cause_id, event_id, traceparent, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
        """,
        round_id,
        cause,
        cause_id,
        event_id,
        traceparent,
        changed_at,
    )


async def set_changed_at(connection: Connection, round_id: UUID, changed_at: datetime) -> None:
    """Dates of a round have been set at this moment: who reads them knows that they are newer than what a line was told since its cause."""
    await connection.execute("UPDATE promise_rounds SET changed_at = GREATEST(changed_at, $2) WHERE round_id = $1", round_id, changed_at)


async def insert_dating(connection: Connection, skus: Sequence[str], round_id: UUID, due_at: datetime) -> list[Record]:
    """Queues that are to be dated anew; those whose dating is under way already stay with their round. Returns the others."""
    return await connection.fetch(
        """
        INSERT INTO promise_dating (sku, round_id, due_at) SELECT sku, $2, $3 FROM unnest($1::text[]) AS queue(sku)
        ON CONFLICT (sku) DO NOTHING RETURNING sku
        """,
        skus,
        round_id,
        due_at,
    )


async def read_dating(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Which queues are being dated, and for which cause. The pools are locked."""
    return await connection.fetch(
        """
        SELECT dating.sku, dating.round_id, told.cause
        FROM promise_dating dating JOIN promise_rounds told USING (round_id) WHERE dating.sku = ANY($1::text[])
        """,
        skus,
    )


async def find_due_dating(connection: Connection, now: datetime) -> str | None:
    """The SKU whose queue is to be dated next. Not locked: lock the pool and look again."""
    sku: str | None = await connection.fetchval(
        "SELECT sku FROM promise_dating WHERE due_at <= $1 ORDER BY due_at, round_id, sku LIMIT 1", now
    )
    return sku


async def delete_dating(connection: Connection, skus: Sequence[str]) -> None:
    """The dates of these queues are right."""
    await connection.execute("DELETE FROM promise_dating WHERE sku = ANY($1::text[])", skus)


async def claim_round(connection: Connection) -> Record | None:
    """The oldest round whose dates are all set and whose orders are to be told; other processes take the next one."""
    return await connection.fetchrow(
        """
        SELECT round_id, cause, cause_id, event_id, traceparent, changed_at, told_to FROM promise_rounds told
        WHERE NOT EXISTS (SELECT FROM promise_dating dating WHERE dating.round_id = told.round_id)
        ORDER BY round_id LIMIT 1 FOR UPDATE SKIP LOCKED
        """
    )


async def take_changes(connection: Connection, round_id: UUID, after: UUID, orders: int) -> list[Record]:
    """Takes what the next orders behind ``after`` are to be told, by order; lines that do not wait any more are not told.

    ``taken_to`` (the same on every row) is the last order that was looked at. No row means that all have been told; a row without ``sku``
    that there is nothing to say to these orders.
    """
    return await connection.fetch(
        """
        WITH next AS (
            SELECT DISTINCT order_id FROM promise_changes WHERE round_id = $1 AND order_id > $2 ORDER BY order_id LIMIT $3
        ), taken AS (
            DELETE FROM promise_changes change USING next
            WHERE change.round_id = $1 AND change.order_id = next.order_id RETURNING change.*
        ), told AS (
            SELECT taken.order_id, taken.line_id, taken.sku, demand.queued AS quantity, taken.old_ship_at, taken.new_ship_at,
                   orders.order_version
            FROM taken JOIN orders USING (order_id) JOIN demand USING (order_id, line_id, demand_id)
            WHERE demand.queued > 0 AND taken.old_ship_at IS DISTINCT FROM taken.new_ship_at
        )
        SELECT last.order_id AS taken_to, told.*
        FROM (SELECT order_id FROM next ORDER BY order_id DESC LIMIT 1) last LEFT JOIN told ON true
        ORDER BY told.order_id, told.line_id
        """,
        round_id,
        after,
        orders,
    )


async def set_told_to(connection: Connection, round_id: UUID, told_to: UUID) -> None:
    """Orders up to this one have been told."""
    await connection.execute("UPDATE promise_rounds SET told_to = $2 WHERE round_id = $1", round_id, told_to)


async def delete_round(connection: Connection, round_id: UUID) -> None:
    """Everybody has been told."""
    await connection.execute("DELETE FROM promise_rounds WHERE round_id = $1", round_id)
