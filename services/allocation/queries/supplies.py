"""Inbound supply: what is expected, when, and how much of it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def read_open_supplies(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Units still expected of these SKUs, per SKU earliest first, undated last. ``quantity`` is what of them is for the queue and for sale:
    the first that come to a location fill up what is kept back there."""
    return await connection.fetch(
        """
        SELECT sku, ships_at, expected, (expected - LEAST(expected, GREATEST(0, lacking - earlier)))::int AS quantity
        FROM (
            SELECT line.sku, supply.ships_at, line.supply_id, line.quantity - line.called_off - line.received AS expected,
                   sum(line.quantity - line.called_off - line.received)
                       OVER (PARTITION BY line.sku, supply.location ORDER BY supply.ships_at, line.supply_id)
                   - (line.quantity - line.called_off - line.received) AS earlier,
                   CASE WHEN shelf.counts THEN GREATEST(0, shelf.safety - GREATEST(0, shelf.on_shelf)) ELSE 0 END AS lacking
            FROM supply_lines line JOIN supplies supply USING (supply_id)
            LEFT JOIN stock_locations shelf ON shelf.sku = line.sku AND shelf.location = supply.location
            WHERE line.open AND line.sku = ANY($1::text[])
        ) coming
        ORDER BY sku, ships_at, supply_id
        """,
        skus,
    )


async def read_scheduled(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """Which of these supplies were announced before, and how."""
    return await connection.fetch("SELECT supply_id, scheduled FROM supplies WHERE supply_id = ANY($1::uuid[])", supply_ids)


async def share_locations_of(connection: Connection, supply_ids: Sequence[UUID]) -> None:
    """Keeps the locations of supplies from being registered anew until the transaction ends. Comes before the supplies."""
    await connection.execute(
        """
        SELECT FROM locations WHERE location IN (SELECT location FROM supplies WHERE supply_id = ANY($1::uuid[]))
        ORDER BY location FOR SHARE
        """,
        supply_ids,
    )


async def lock_supplies(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """Locks supplies by id. Comes after the locations and before the pools."""
    return await connection.fetch(
        """
        SELECT supply_id, location, expected_at, leaves_at, cancelled, overdue, rescheduled_at, scheduled FROM supplies
        WHERE supply_id = ANY($1::uuid[]) ORDER BY supply_id FOR NO KEY UPDATE
        """,
        supply_ids,
    )


async def read_calendars(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """When these locations work."""
    return await connection.fetch(
        """
        SELECT location, time_zone, order_cutoff, working_days, holidays, dock_to_stock_days
        FROM locations WHERE location = ANY($1::text[])
        """,
        locations,
    )


async def read_supply_lines(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """What supplies bring; the supplies are locked."""
    return await connection.fetch(
        """
        SELECT supply_id, sku, quantity, received, called_off, changed_at, open FROM supply_lines
        WHERE supply_id = ANY($1::uuid[]) ORDER BY supply_id, sku
        """,
        supply_ids,
    )


async def read_unfinished_supplies(connection: Connection, locations: Sequence[str]) -> list[Record]:
    """Supplies on their way to these locations."""
    return await connection.fetch(
        """
        SELECT supply_id FROM supplies
        WHERE location = ANY($1::text[]) AND NOT cancelled
          AND EXISTS (SELECT FROM supply_lines line WHERE line.supply_id = supplies.supply_id AND line.open)
        """,
        locations,
    )


async def read_late_supplies(connection: Connection, before: datetime, limit: int) -> list[Record]:
    """Supplies whose ship date lies before an instant and of which units are still expected; the latest first."""
    return await connection.fetch(
        """
        SELECT supply_id FROM supplies
        WHERE ships_at < $1 AND NOT cancelled
          AND EXISTS (SELECT FROM supply_lines line WHERE line.supply_id = supplies.supply_id AND line.open)
        ORDER BY ships_at LIMIT $2
        """,
        before,
        limit,
    )


async def insert_supply(
    connection: Connection,
    supply_id: UUID,
    location: str,
    expected_at: datetime,
    leaves_at: datetime | None,
    purchase_order: str | None,
    scheduled: Mapping[str, Any],
) -> None:
    """Goods that are on their way."""
    await connection.execute(
        """
        INSERT INTO supplies (supply_id, location, expected_at, leaves_at, purchase_order, scheduled) VALUES ($1, $2, $3, $4, $5, $6)
        """,
        supply_id,
        location,
        expected_at,
        leaves_at,
        purchase_order,
        scheduled,
    )


async def update_supplies(
    connection: Connection,
    supply_ids: Sequence[UUID],
    expected_at: Sequence[datetime],
    leaves_at: Sequence[datetime | None],
    cancelled: Sequence[bool],
    overdue: Sequence[bool],
    rescheduled_at: Sequence[datetime | None],
) -> None:
    """Sets dates and life of supplies."""
    await connection.execute(
        """
        UPDATE supplies
        SET expected_at = change.expected_at, leaves_at = change.leaves_at, cancelled = change.cancelled, overdue = change.overdue,
            rescheduled_at = change.rescheduled_at
        FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::bool[], $5::bool[], $6::timestamptz[])
            AS change(supply_id, expected_at, leaves_at, cancelled, overdue, rescheduled_at)
        WHERE supplies.supply_id = change.supply_id
        """,
        supply_ids,
        expected_at,
        leaves_at,
        cancelled,
        overdue,
        rescheduled_at,
    )


class SupplyLineRows(NamedTuple):
    """Columns of supply lines as they are to be; lists have the same length."""

    supply_ids: list[UUID]
    skus: list[str]
    quantities: list[int]
    received: list[int]
    called_off: list[int]
    changed_at: list[datetime | None]


async def save_supply_lines(connection: Connection, rows: SupplyLineRows) -> None:
    """Sets what supplies bring, what of it has come and what will not; a line that is complete is expected no more."""
    await connection.execute(
        """
        INSERT INTO supply_lines (supply_id, sku, quantity, received, called_off, changed_at, open)
        SELECT supply_id, sku, quantity, received, called_off, changed_at, received < quantity - called_off
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[], $6::timestamptz[])
            AS line(supply_id, sku, quantity, received, called_off, changed_at)
        ON CONFLICT (supply_id, sku) DO UPDATE
        SET quantity = excluded.quantity, received = excluded.received, called_off = excluded.called_off,
            changed_at = excluded.changed_at, open = excluded.open
        """,
        *rows,
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
