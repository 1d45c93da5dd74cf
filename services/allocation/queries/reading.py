"""What people ask: stock, an order's units, supplies. Nothing here is on the way of an order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def list_pools(connection: Connection, after: str, limit: int) -> list[Record]:
    """Pools in SKU order, behind a given SKU."""
    return await connection.fetch(
        """
        SELECT sku, pool, sellable, pending_shortage, reserved, held, queued, safety, fenced, available, version, ruled
        FROM stock_pools WHERE sku > $1 ORDER BY sku, pool LIMIT $2
        """,
        after,
        limit,
    )


async def read_pool(connection: Connection, sku: str) -> Record | None:
    """One pool with its product."""
    return await connection.fetchrow(
        """
        SELECT sku, pool, sellable, pending_shortage, reserved, held, queued, safety, sku_safety, fenced, available,
               available + fenced AS free, version, ruled, hazmat, release_at, early_release
        FROM stock_pools JOIN products USING (sku) WHERE sku = $1 AND pool = 'default'
        """,
        sku,
    )


async def read_kit(connection: Connection, sku: str) -> Record | None:
    """One kit; it is hazardous if a component is."""
    return await connection.fetchrow(
        """
        SELECT kit_sku AS sku, version, (SELECT bool_or(hazmat) FROM kit_components part JOIN products USING (sku)
                                         WHERE part.kit_sku = kits.kit_sku) AS hazmat
        FROM kits WHERE kit_sku = $1
        """,
        sku,
    )


async def list_shelves(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """The shelves of some SKUs."""
    return await connection.fetch(
        """
        SELECT sku, location, GREATEST(on_shelf, 0) + damaged + quality_control AS on_hand, on_shelf, assigned, pending_shortage,
               damaged, quality_control, counts, counted_as_of, counted_watermark, safety
        FROM stock_locations WHERE sku = ANY($1::text[]) ORDER BY sku, location
        """,
        skus,
    )


async def list_queue(connection: Connection, sku: str, limit: int) -> list[Record]:
    """The first places in the queue of a SKU."""
    return await connection.fetch(
        """
        SELECT demand_id, order_id, line_id, queued, promised_ship_at, priority,
               sum(queued) OVER (ORDER BY priority, demand_id) - queued AS units_ahead
        FROM (SELECT * FROM demand WHERE sku = $1 AND queued > 0 ORDER BY priority, demand_id LIMIT $2) place
        ORDER BY priority, demand_id
        """,
        sku,
        limit,
    )


async def list_order_demand(connection: Connection, order_id: UUID) -> list[Record]:
    """An order's units by state; for those that wait, how many units wait before them."""
    return await connection.fetch(
        """
        SELECT own.demand_id, own.line_id, own.sku, own.units, own.queued, own.reserved, own.assigned, own.shipped, own.cancelled,
               own.promised_ship_at,
               CASE WHEN own.queued > 0 THEN (
                   SELECT COALESCE(sum(earlier.queued), 0) FROM demand earlier
                   WHERE earlier.sku = own.sku AND earlier.queued > 0
                     AND (earlier.priority, earlier.demand_id) < (own.priority, own.demand_id)
               ) END AS units_ahead
        FROM demand own WHERE own.order_id = $1 ORDER BY own.demand_id
        """,
        order_id,
    )


async def read_order(connection: Connection, order_id: UUID) -> Record | None:
    """An order as allocation knows it."""
    return await connection.fetchrow(
        """
        SELECT order_id, order_version, split_policy, placed_at, cancelled_version, priority, segment FROM orders WHERE order_id = $1
        """,
        order_id,
    )


async def list_order_assignments(connection: Connection, order_id: UUID) -> list[Record]:
    """Which units of an order are, or were, tied to which location."""
    return await connection.fetch(
        """
        SELECT held.fulfillment_id, held.line_id, held.sku, held.location, held.units, held.open, held.shipped, fulfillment.shipped_at
        FROM fulfillments fulfillment JOIN assignments held USING (fulfillment_id)
        WHERE fulfillment.order_id = $1 ORDER BY held.fulfillment_id, held.line_id
        """,
        order_id,
    )


async def list_supplies(
    connection: Connection, sku: str | None, purchase_order: str | None, only_over_received: bool, after: UUID, limit: int
) -> list[Record]:
    """Supplies behind a given id, of one SKU or purchase order or all, or only those of which too much came."""
    return await connection.fetch(
        """
        SELECT supply_id, purchase_order, location, expected_at, ships_at, overdue, cancelled FROM supplies
        WHERE supply_id > $2
          AND ($1::text IS NULL OR EXISTS (SELECT FROM supply_lines line WHERE line.supply_id = supplies.supply_id AND line.sku = $1))
          AND ($4::text IS NULL OR purchase_order = $4)
          AND (NOT $5::bool
               OR EXISTS (SELECT FROM supply_lines line WHERE line.supply_id = supplies.supply_id AND line.over_received > 0))
        ORDER BY supply_id LIMIT $3
        """,
        sku,
        after,
        limit,
        purchase_order,
        only_over_received,
    )


async def list_supply_lines(connection: Connection, supply_ids: Sequence[UUID]) -> list[Record]:
    """What supplies bring and what of it has come."""
    return await connection.fetch(
        """
        SELECT supply_id, sku, quantity, received, called_off, over_received,
               CASE WHEN open THEN quantity - called_off - received ELSE 0 END AS expected
        FROM supply_lines
        WHERE supply_id = ANY($1::uuid[]) ORDER BY supply_id, sku
        """,
        supply_ids,
    )


async def read_chosen_policy(connection: Connection) -> Record | None:
    """The shortage policy that an operator chose last."""
    return await connection.fetchrow("SELECT policy, operator, set_at FROM shortage_policies ORDER BY set_at DESC, change_id DESC LIMIT 1")


async def list_channel_pools(connection: Connection, channel: str | None, after: str, limit: int) -> list[Record]:
    """SKUs with rules, behind a given SKU: their rules, oldest first, and what is free of each."""
    return await connection.fetch(
        """
        SELECT rule.sku, rule.channel, rule.fence, rule.cap, rule.share_percent, rule.open, rule.queued, rule.seniority, rule.rule_version
        FROM channel_pools rule
        WHERE rule.sku IN (
            SELECT DISTINCT sku FROM channel_pools WHERE sku > $2 AND ($1::text IS NULL OR channel = $1) ORDER BY sku LIMIT $3
        )
        ORDER BY rule.sku, rule.seniority
        """,
        channel,
        after,
        limit,
    )


async def read_pools(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """The pools of some SKUs, in SKU order."""
    return await connection.fetch(
        """
        SELECT sku, available + fenced AS free, queued, release_at
        FROM stock_pools WHERE sku = ANY($1::text[]) AND pool = 'default' ORDER BY sku
        """,
        skus,
    )


async def list_adjustments(
    connection: Connection, sku: str | None, location: str | None, before: datetime, before_id: UUID, limit: int
) -> list[Record]:
    """Corrections of what is on hand by operators and 3PLs, newest first, from before a given one."""
    return await connection.fetch(
        """
        SELECT adjustment_id, sku, location, old_on_hand, new_on_hand, reason, author, adjusted_at
        FROM adjustments
        WHERE (adjusted_at, adjustment_id) < ($3, $4) AND ($1::text IS NULL OR sku = $1) AND ($2::text IS NULL OR location = $2)
        ORDER BY adjusted_at DESC, adjustment_id DESC LIMIT $5
        """,
        sku,
        location,
        before,
        before_id,
        limit,
    )


async def list_rule_changes(connection: Connection, sku: str | None, before: datetime, before_id: UUID, limit: int) -> list[Record]:
    """Changes of safety stock and channel pools, newest first, from before a given one."""
    return await connection.fetch(
        """
        SELECT change_id, kind, sku, location, channel, old_safety, new_safety, old_fence, new_fence, old_cap, new_cap,
               old_share_percent, new_share_percent, rule_version, reason, author, changed_at
        FROM rule_changes
        WHERE (changed_at, change_id) < ($2, $3) AND ($1::text IS NULL OR sku = $1)
        ORDER BY changed_at DESC, change_id DESC LIMIT $4
        """,
        sku,
        before,
        before_id,
        limit,
    )
