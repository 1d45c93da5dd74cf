"""Inbound supply: what is expected, when, and how much of it has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_open_supplies(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Units still expected of these SKUs, per SKU earliest first."""
    return await connection.fetch(
        """
        SELECT line.sku, supply.expected_at, line.quantity - line.received AS quantity
        FROM supply_lines line JOIN supplies supply USING (supply_id)
        WHERE line.open AND line.quantity > line.received AND line.sku = ANY($1::text[])
        ORDER BY line.sku, supply.expected_at, line.supply_id
        """,
        skus,
    )


async def read_supplies(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """Which of these supplies were announced before."""
    return await connection.fetch("SELECT supply_id FROM supplies WHERE supply_id = ANY($1::uuid[])", supply_ids)


async def lock_supplies(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """Locks supplies by id. Comes before the pools."""
    return await connection.fetch(
        """
        SELECT supply_id, location, expected_at, cancelled, rescheduled_at FROM supplies
        WHERE supply_id = ANY($1::uuid[]) ORDER BY supply_id FOR NO KEY UPDATE
        """,
        supply_ids,
    )


async def read_supply_lines(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """What supplies bring; the supplies are locked."""
    return await connection.fetch(
        "SELECT supply_id, sku, quantity, received, open FROM supply_lines WHERE supply_id = ANY($1::uuid[])", supply_ids
    )


async def read_expected(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Like :func:`read_open_supplies`, with the supply's id; the pools are locked."""
    return await connection.fetch(
        """
        SELECT line.supply_id, line.sku, supply.expected_at, line.quantity - line.received AS quantity
        FROM supply_lines line JOIN supplies supply USING (supply_id)
        WHERE line.open AND line.quantity > line.received AND line.sku = ANY($1::text[])
        ORDER BY line.sku, supply.expected_at, line.supply_id
        """,
        skus,
    )


async def insert_supplies(
    connection: Connection, supply_ids: Sequence[UUID], locations: Sequence[str], expected_at: Sequence[datetime]
) -> None:
    """Goods that are on their way."""
    await connection.execute(
        """
        INSERT INTO supplies (supply_id, location, expected_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
        """,
        supply_ids,
        locations,
        expected_at,
    )


async def insert_supply_lines(connection: Connection, supply_ids: Sequence[UUID], skus: Sequence[str], quantities: Sequence[int]) -> None:
    """What they bring."""
    await connection.execute(
        "INSERT INTO supply_lines (supply_id, sku, quantity) SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[])",
        supply_ids,
        skus,
        quantities,
    )


async def update_supplies(
    connection: Connection,
    supply_ids: Sequence[UUID],
    expected_at: Sequence[datetime],
    cancelled: Sequence[bool],
    rescheduled_at: Sequence[datetime | None],
) -> None:
    """Sets dates and life of supplies; the lines of a cancelled one are expected no more."""
    await connection.execute(
        """
        WITH change AS (
            SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bool[], $4::timestamptz[])
                AS change(supply_id, expected_at, cancelled, rescheduled_at)
        ), closed AS (
            UPDATE supply_lines SET open = false FROM change WHERE supply_lines.supply_id = change.supply_id AND change.cancelled
        )
        UPDATE supplies
        SET expected_at = change.expected_at, cancelled = change.cancelled, rescheduled_at = change.rescheduled_at
        FROM change WHERE supplies.supply_id = change.supply_id
        """,
        supply_ids,
        expected_at,
        cancelled,
        rescheduled_at,
    )


async def add_received(connection: Connection, supply_ids: Sequence[UUID], skus: Sequence[str], quantities: Sequence[int]) -> None:
    """Notes what has come of supplies; a line that is complete is expected no more."""
    await connection.execute(
        """
        UPDATE supply_lines line
        SET received = line.received + came.quantity, open = line.open AND line.received + came.quantity < line.quantity
        FROM (
            SELECT supply_id, sku, sum(quantity)::int AS quantity
            FROM unnest($1::uuid[], $2::text[], $3::int[]) AS part(supply_id, sku, quantity) GROUP BY supply_id, sku
        ) came
        WHERE line.supply_id = came.supply_id AND line.sku = came.sku
        """,
        supply_ids,
        skus,
        quantities,
    )


async def read_supply_changes(connection: Connection, change_ids: Sequence[UUID]) -> list[Record]:
    """Changes of supplies that were made before."""
    return await connection.fetch("SELECT change_id FROM supply_changes WHERE change_id = ANY($1::uuid[])", change_ids)


async def insert_supply_changes(
    connection: Connection, change_ids: Sequence[UUID], supply_ids: Sequence[UUID], changed_at: datetime
) -> None:
    """Remembers changes of supplies."""
    await connection.execute(
        """
        INSERT INTO supply_changes (change_id, supply_id, changed_at)
        SELECT made.*, $3::timestamptz FROM unnest($1::uuid[], $2::uuid[]) AS made(change_id, supply_id)
        """,
        change_ids,
        supply_ids,
        changed_at,
    )


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
