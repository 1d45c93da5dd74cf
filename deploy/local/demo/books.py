"""What the databases say, read by the administrator. Literal SQL, one function each; the demo writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection

SERVICES = ("sync", "allocation", "routing", "returns", "portal")

ORDERS_AT_REST = frozenset({"stock", "customer_consent", "operator"})
"""What an order may wait for when the day is over; everything else is still moving."""


@dataclass(frozen=True, slots=True)
class Journey:
    """How many orders are where. ``waiting`` counts unfinished orders by what they wait for."""

    taken: int
    shipped: int
    cancelled: int
    waiting: Mapping[str, int]
    requested: int

    @property
    def moving(self) -> int:
        """Orders for which something is about to happen without anybody's help."""
        return self.taken - self.shipped - self.cancelled - sum(self.waiting.get(reason, 0) for reason in ORDERS_AT_REST)


async def read_journey(connection: Connection) -> Journey:
    """Where all orders are. An order counts as shipped once nothing of it is left to ship."""
    taken = await connection.fetchval("SELECT count(*) FROM sync.channel_orders")
    rows = await connection.fetch(
        """
        SELECT CASE WHEN status IN ('shipped', 'delivered', 'closed') THEN 'shipped'
                    WHEN status = 'cancelled' THEN 'cancelled' END AS outcome,
               CASE WHEN status IN ('shipped', 'delivered', 'closed', 'cancelled') THEN NULL ELSE waiting_for END AS waiting_for,
               count(*) AS orders
        FROM routing.orders GROUP BY 1, 2
        """
    )
    requested = await connection.fetchval("SELECT count(DISTINCT order_id) FROM routing.fulfillments WHERE requested_at IS NOT NULL")
    outcomes = {row["outcome"]: row["orders"] for row in rows if row["outcome"] is not None}
    waiting = {row["waiting_for"]: row["orders"] for row in rows if row["outcome"] is None}
    return Journey(taken, outcomes.get("shipped", 0), outcomes.get("cancelled", 0), waiting, requested)


async def read_undelivered(connection: Connection) -> int:
    """Shipped orders whose parcels are still on the road."""
    count: int = await connection.fetchval("SELECT count(*) FROM routing.orders WHERE status = 'shipped' AND waiting_for IS NOT NULL")
    return count


async def read_unsettled(connection: Connection) -> dict[str, int]:
    """Work that services still have in hand, by kind; only what is not zero."""
    counts = dict(
        await connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM sync.listing_stock WHERE due_at IS NOT NULL) AS stock_pushes,
                   (SELECT count(*) FROM sync.shipment_notices WHERE due_at IS NOT NULL) AS shipment_notices,
                   (SELECT count(*) FROM sync.refunds WHERE due_at IS NOT NULL) AS refunds_at_channels,
                   (SELECT count(*) FROM returns.refunds WHERE state = 'sent') AS refunds
            """
        )
        or {}
    )
    messages = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM sync.outbox WHERE sent_at IS NULL) + (SELECT count(*) FROM allocation.outbox WHERE sent_at IS NULL)
             + (SELECT count(*) FROM routing.outbox WHERE sent_at IS NULL) + (SELECT count(*) FROM returns.outbox WHERE sent_at IS NULL)
             + (SELECT count(*) FROM portal.outbox WHERE sent_at IS NULL) AS unsent_messages,
               (SELECT count(*) FROM sync.inbox WHERE status = 'retry') + (SELECT count(*) FROM allocation.inbox WHERE status = 'retry')
             + (SELECT count(*) FROM routing.inbox WHERE status = 'retry') + (SELECT count(*) FROM returns.inbox WHERE status = 'retry')
             + (SELECT count(*) FROM portal.inbox WHERE status = 'retry') AS deferred_messages
        """
    )
    return {name: count for name, count in {**counts, **dict(messages or {})}.items() if count}


async def read_messages_published(connection: Connection) -> int:
    """Messages that services have published, as far as their outboxes remember (seven days)."""
    count: int = await connection.fetchval(
        """
        SELECT (SELECT count(*) FROM sync.outbox WHERE sent_at IS NOT NULL)
             + (SELECT count(*) FROM allocation.outbox WHERE sent_at IS NOT NULL)
             + (SELECT count(*) FROM routing.outbox WHERE sent_at IS NOT NULL)
             + (SELECT count(*) FROM returns.outbox WHERE sent_at IS NOT NULL)
             + (SELECT count(*) FROM portal.outbox WHERE sent_at IS NOT NULL)
        """
    )
    return count


async def read_parked(connection: Connection) -> dict[str, int]:
    """Parked messages by service and type."""
    rows = await connection.fetch(
        """
        SELECT service, type, count(*) AS messages FROM (
            SELECT 'sync' AS service, type FROM sync.inbox WHERE status = 'parked'
            UNION ALL SELECT 'allocation', type FROM allocation.inbox WHERE status = 'parked'
            UNION ALL SELECT 'routing', type FROM routing.inbox WHERE status = 'parked'
            UNION ALL SELECT 'returns', type FROM returns.inbox WHERE status = 'parked'
            UNION ALL SELECT 'portal', type FROM portal.inbox WHERE status = 'parked'
        ) AS parked GROUP BY service, type ORDER BY service, type
        """
    )
    return {f"{row['service']}: {row['type']}": row["messages"] for row in rows}


async def read_latency_buckets(connection: Connection) -> dict[int, int]:
    """Accepted stock pushes by latency bucket, over all channels."""
    rows = await connection.fetch("SELECT bucket, sum(pushes)::bigint AS pushes FROM sync.push_latencies GROUP BY bucket")
    return {row["bucket"]: row["pushes"] for row in rows}


async def read_ever_short(connection: Connection) -> set[str]:
    """Numbers of orders that had to wait for stock at some time: their pick list is late for a reason that is not the system's speed."""
    rows = await connection.fetch(
        """
        SELECT placed.external_id FROM sync.channel_orders AS placed
        WHERE placed.order_id::text IN (SELECT subject FROM allocation.outbox WHERE type = 'stock.backordered.v1')
        """
    )
    return {row["external_id"] for row in rows}


async def read_decisions(connection: Connection) -> list[dict[str, Any]]:
    """Routing's decision records that chose parcels."""
    rows = await connection.fetch("SELECT record::text AS record FROM routing.decisions ORDER BY decision_id")
    records = [json.loads(row["record"]) for row in rows]
    return [record for record in records if record["chosen"]]


async def read_shelves(connection: Connection) -> dict[tuple[str, str], int]:
    """What allocation believes to stand on the shelves, fit to sell, by location and SKU."""
    rows = await connection.fetch("SELECT location, sku, on_shelf FROM allocation.stock_locations")
    return {(row["location"], row["sku"]): row["on_shelf"] for row in rows}


@dataclass(frozen=True, slots=True)
class ReturnsBooks:
    """What came back and what it cost."""

    returns_closed: int
    refunds_cents: Mapping[str, int]
    """By currency: amounts of two currencies are never one sum."""
    refunds: int
    refunds_failed: int


async def read_returns(connection: Connection) -> ReturnsBooks:
    """Closed returns and settled refunds."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM returns.returns WHERE status = 'closed') AS returns_closed,
               (SELECT count(*) FROM returns.refunds WHERE state = 'succeeded') AS refunds,
               (SELECT count(*) FROM returns.refunds WHERE state = 'failed') AS refunds_failed
        """
    )
    if row is None:
        raise AssertionError("a SELECT of sub-selects always gives a row")
    sums = await connection.fetch(
        """
        SELECT currency, sum(amount_cents)::bigint AS cents FROM returns.refunds
        WHERE state = 'succeeded' GROUP BY currency ORDER BY currency
        """
    )
    by_currency = {sum_of["currency"]: sum_of["cents"] for sum_of in sums}
    return ReturnsBooks(row["returns_closed"], by_currency, row["refunds"], row["refunds_failed"])


@dataclass(frozen=True, slots=True)
class SupplyBooks:
    """What became of the orders for a product that was sold before its release, and who was told that a purchase order is late."""

    preorder_sku: str | None
    preorder_orders: int
    preorder_orders_waiting: int
    orders_told_of_delay: int
    delay_mails: int


async def read_supply(connection: Connection, preorder_sku: str | None) -> SupplyBooks:
    """Preorders by order, mails about a rescheduled supply by order and in all."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(DISTINCT order_id) FROM portal.timeline
                WHERE type = 'stock.backordered.v1' AND data @> '{"lines": [{"demand_kind": "preorder"}]}') AS preorder_orders,
               (SELECT count(DISTINCT order_id) FROM allocation.demand WHERE sku = $1 AND queued > 0) AS preorder_orders_waiting,
               count(DISTINCT mail.order_id) AS orders_told_of_delay, count(*) AS delay_mails
        FROM portal.notifications mail
        JOIN portal.timeline fact ON fact.order_id = mail.order_id AND fact.type = mail.type AND fact.fact_id = mail.cause_id
        WHERE mail.type = 'order.delayed.v1' AND fact.data ->> 'cause' = 'supply_rescheduled'
        """,
        preorder_sku,
    )
    if row is None:
        raise AssertionError("counts always give a row")
    return SupplyBooks(preorder_sku, *row)


async def read_order_ids(connection: Connection) -> dict[tuple[str, str], UUID]:
    """Order ids by channel and number."""
    rows = await connection.fetch("SELECT channel, external_id, order_id FROM sync.channel_orders")
    return {(row["channel"], row["external_id"]): row["order_id"] for row in rows}


async def is_empty(connection: Connection) -> bool:
    """Whether no order was ever taken here."""
    taken: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM sync.channel_orders)")
    return not taken
