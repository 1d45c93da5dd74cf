"""Prices of scarce stock, and what they are worked out from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


async def take_lease(connection: Connection, now: datetime, until: datetime, refresh_seconds: float) -> bool:
    """Whether the prices are due; then nobody else works them out until the lease ends.

    They are due earlier than they were when they were worked out, if the setting is shorter by now. What is due before ``until`` may be
    somebody's lease, and what failed is tried again at its own time.
    """
    taken = await connection.fetchval(
        """
        INSERT INTO stock_price_refresh AS known (due_at, version) VALUES ($2, 0)
        ON CONFLICT (only_row) DO UPDATE SET due_at = $2
        WHERE known.due_at <= $1
           OR (known.due_at > $2 AND known.problem IS NULL AND known.computed_at + make_interval(secs => $3) <= $1)
        RETURNING true
        """,
        now,
        until,
        refresh_seconds,
    )
    return taken is not None


class Looked(NamedTuple):
    """How many SKUs were looked at, how many of them by whole plans, and why not more."""

    skus: int
    skus_together: int
    fallback: str | None


async def read_ordered(
    connection: Connection, first_id: UUID, now: datetime, half_life_seconds: float, most_orders: int
) -> Sequence[Record]:
    """What was ordered by orders that were planned since, alike ones together, older ones counting less; of the newest orders. ``begun`` is
    when the oldest of these was planned. An area is the first three digits in the US, elsewhere the code itself; ``postal_code`` is one
    of it."""
    return await connection.fetch(
        """
        WITH planned AS (
            SELECT order_id, min(decided_at) AS planned_at FROM decisions WHERE decision_id >= $1
            GROUP BY order_id ORDER BY min(decided_at) DESC, order_id LIMIT $4
        ), wanted AS (
            SELECT order_id, sku, sum(quantity - cancelled)::bigint AS units, max(unit_weight_grams)::bigint AS grams
            FROM planned JOIN order_lines USING (order_id) WHERE quantity > cancelled GROUP BY order_id, sku
        ), baskets AS (
            SELECT order_id, array_agg(sku ORDER BY sku) AS skus, array_agg(units ORDER BY sku) AS units,
                   array_agg(grams ORDER BY sku) AS grams
            FROM wanted GROUP BY order_id
        )
        SELECT baskets.skus, baskets.units, baskets.grams, min(orders.ship_to ->> 'postal_code') AS postal_code,
               orders.ship_to ->> 'country' AS country, orders.service_level, orders.segment = 'dtc' AS residential,
               sum(power(0.5, GREATEST(0, extract(epoch FROM $2 - planned.planned_at)) / $3::float8))::float8 AS orders,
               (SELECT min(planned_at) FROM planned) AS begun
        FROM planned JOIN orders USING (order_id) JOIN baskets USING (order_id)
        GROUP BY baskets.skus, baskets.units, baskets.grams, orders.ship_to ->> 'country',
                 CASE orders.ship_to ->> 'country' WHEN 'US' THEN left(orders.ship_to ->> 'postal_code', 3)
                 ELSE orders.ship_to ->> 'postal_code' END,
                 orders.service_level, orders.segment = 'dtc'
        ORDER BY baskets.skus, postal_code
        """,
        first_id,
        now,
        half_life_seconds,
        most_orders,
    )


async def read_told(connection: Connection, first_id: UUID, skus: Sequence[str]) -> Sequence[Record]:
    """Of the newest decision about each SKU: the stock that allocation had told, what was asked for and what was chosen."""
    return await connection.fetch(
        """
        SELECT DISTINCT ON (stock.sku) stock.sku, stock.places,
               decisions.record -> 'asked' -> 'lines' AS lines, decisions.record -> 'chosen' AS chosen
        FROM decisions, jsonb_each(decisions.record -> 'asked' -> 'stock') AS stock (sku, places)
        WHERE decisions.decision_id >= $1 AND stock.sku = ANY($2::text[])
        ORDER BY stock.sku, decisions.decision_id DESC
        """,
        first_id,
        list(skus),
    )


async def save_prices(
    connection: Connection, prices: Mapping[tuple[str, str], int], looked: Looked, computed_at: datetime, due_at: datetime
) -> None:
    """A new version of all prices, instead of the one before.

    Args:
        connection: the transaction.
        prices: cents by SKU and location.
        looked: how many SKUs they are for.
        computed_at: when what they follow from was read.
        due_at: when they are worked out again.
    """
    await connection.execute(
        """
        UPDATE stock_price_refresh
        SET version = version + 1, computed_at = $1, due_at = $2, skus = $3, skus_together = $4, fallback = $5, problem = NULL
        """,
        computed_at,
        due_at,
        *looked,
    )
    await connection.execute("DELETE FROM stock_prices")
    await connection.execute(
        """
        INSERT INTO stock_prices (sku, location, cents)
        SELECT sku, location, cents FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (sku, location, cents) ORDER BY sku, location
        """,
        [sku for sku, _ in prices],
        [location for _, location in prices],
        list(prices.values()),
    )


async def note_problem(connection: Connection, problem: str, due_at: datetime) -> None:
    """Why there are no new prices; those of before stay until they are too old."""
    await connection.execute("UPDATE stock_price_refresh SET problem = $1, due_at = $2", problem, due_at)


async def read_refresh(connection: Connection) -> Record:
    """Which version the prices are, how old, and what became of the last try."""
    row: Record | None = await connection.fetchrow(
        """
        SELECT COALESCE(version, 0) AS version, computed_at, due_at, COALESCE(skus, 0) AS skus, COALESCE(skus_together, 0) AS skus_together,
               fallback, problem,
               (SELECT count(*) FROM stock_prices) AS prices
        FROM (SELECT) AS always LEFT JOIN stock_price_refresh ON true
        """
    )
    assert row is not None
    return row


async def read_prices(connection: Connection, skus: Sequence[str] | None) -> Sequence[Record]:
    """The version of the prices, and those of some SKUs (None: of all) as documents of cents by location; one row without a SKU when none
    of them has a price. One statement, so that all are of one version."""
    return await connection.fetch(
        """
        SELECT refresh.version, refresh.computed_at, priced.sku, priced.cents
        FROM (SELECT) AS always LEFT JOIN stock_price_refresh refresh ON true LEFT JOIN (
            SELECT sku, jsonb_object_agg(location, cents) AS cents FROM stock_prices
            WHERE $1::text[] IS NULL OR sku = ANY($1) GROUP BY sku
        ) priced ON true
        ORDER BY priced.sku
        """,
        None if skus is None else list(skus),
    )


async def list_prices(connection: Connection, sku: str | None, limit: int) -> Sequence[Record]:
    """The dearest units, or those of one SKU."""
    return await connection.fetch(
        "SELECT sku, location, cents FROM stock_prices WHERE $1::text IS NULL OR sku = $1 ORDER BY cents DESC, sku, location LIMIT $2",
        sku,
        limit,
    )


async def is_ordered(connection: Connection, sku: str) -> bool:
    """Whether any order has lines of a SKU: routing knows no others."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM order_lines WHERE sku = $1)", sku))
