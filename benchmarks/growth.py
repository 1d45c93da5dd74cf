"""Databases that have grown: a catalogue of any size and years of shipped orders, written by Postgres itself with books that hold.

Only the filling is short-cut. A small catalogue goes in through allocation's handlers; what is added is copies
of those rows, balances and ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.catalogue import FIRST_SKU, UNITS_PER_SHELF, places, sku_number
from benchmarks.failure import BenchmarkError
from shared.messaging.message import Connection

LINES_PER_HISTORIC_ORDER = 3
SKUS_PER_STEP = 50_000
ORDERS_PER_STEP = 100_000
SKUS_PER_RECEIPT = 500
ORDERS_PER_RECEIPT = 800
"""How many orders' goods came together, a receipt for each location."""
HISTORY_MONTHS = 11

_IDENTITY = """
    CREATE OR REPLACE FUNCTION pg_temp.identity(instant timestamptz, kind integer, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex((extract(epoch FROM instant) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0')
                || '8' || lpad(to_hex(number), 15, '0'))::uuid
    $$
"""
"""Ids that sort by time, as UUIDv7 do: an instant, what the row is, and its number."""

_SHIPPED = """
    historic_order AS MATERIALIZED (
        SELECT number, instant, (ARRAY['{places}'])[1 + number % {places_count}] AS location,
               pg_temp.identity(came_at, 8, number / {receipt_orders} * {places_count} + number % {places_count}) AS receipt_id, came_at,
               pg_temp.identity(instant, 1, number) AS order_id, pg_temp.identity(instant, 2, number) AS plan_id,
               pg_temp.identity(instant, 3, number) AS fulfillment_id
        FROM generate_series($1::bigint, $2::bigint - 1) AS number,
             LATERAL (SELECT now() - interval '300 days' + number * interval '300 days' / $3::bigint AS instant,
                             now() - interval '300 days' + number / {receipt_orders} * {receipt_orders} * interval '300 days' / $3::bigint
                                 AS came_at) at
    ), line AS MATERIALIZED (
        SELECT o.*, n::text AS line_id, ({first_sku} + 1 + (o.number * {lines} + n) % ($4::int - 1))::text AS sku,
               o.number * {lines} + n AS line_number
        FROM historic_order o, generate_series(0, {lines} - 1) AS n
    ), placed AS (
        INSERT INTO allocation.orders (order_id, order_version, split_policy, placed_at)
        SELECT order_id, 1, 'ship_available', instant FROM historic_order
    ), received AS (
        INSERT INTO allocation.receipts (receipt_id, location, received_at)
        SELECT DISTINCT receipt_id, location, came_at FROM historic_order
    ), planned AS (
        INSERT INTO allocation.plans (plan_id, order_id, outcome, decided_at)
        SELECT plan_id, order_id, 'assigned', instant FROM historic_order
    ), fulfilled AS (
        INSERT INTO allocation.fulfillments (fulfillment_id, plan_id, order_id, location, assigned, shipped_at)
        SELECT fulfillment_id, plan_id, order_id, location, true, instant FROM historic_order
    ), demanded AS (
        INSERT INTO allocation.demand (order_id, line_id, demand_id, sku, units, queued, reserved, shipped)
        SELECT order_id, line_id, pg_temp.identity(instant, 4, line_number), sku, 1, 0, 0, 1 FROM line
    ), assigned AS (
        INSERT INTO allocation.assignments (fulfillment_id, line_id, order_id, sku, location, units, open, shipped)
        SELECT fulfillment_id, line_id, order_id, sku, location, 1, 0, 1 FROM line
    )
    INSERT INTO allocation.movements
        (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id, happened_at)
    SELECT pg_temp.identity(instant, step.kind, line_number), step.movement::allocation.movement_kind, step.quantity, sku,
           CASE WHEN step.movement <> 'reserved' THEN location END, CASE WHEN step.movement <> 'received' THEN order_id END,
           CASE WHEN step.movement <> 'received' THEN line_id END,
           CASE WHEN step.movement IN ('assigned', 'shipped') THEN fulfillment_id END,
           CASE step.movement WHEN 'received' THEN receipt_id WHEN 'assigned' THEN plan_id WHEN 'shipped' THEN fulfillment_id END,
           CASE WHEN step.movement = 'received' THEN receipt_id END, CASE WHEN step.movement <> 'reserved' THEN instant END
    FROM line, (VALUES (4, 'reserved', 1), (5, 'received', 1), (6, 'assigned', 1), (7, 'shipped', -1)) AS step(kind, movement, quantity)
"""


async def grow_catalogue(connection: Connection, skus: int, *, already: int) -> None:
    """Adds products with stock at every location, copies of one that is there, up to so many in all.

    Args:
        connection: the administrator's, to the database that grows.
        skus: how many there shall be.
        already: how many there are, at least two (the hot one and one like all others).

    Raises:
        BenchmarkError: an added product has no stock.
    """
    await connection.execute(_IDENTITY)
    model = sku_number(1)
    for start in range(already, skus, SKUS_PER_STEP):
        end = min(skus, start + SKUS_PER_STEP)
        async with connection.transaction():
            await connection.execute(
                f"""
                INSERT INTO allocation.products (sku, hazmat, registered_at)
                SELECT ({FIRST_SKU} + number)::text, p.hazmat, p.registered_at
                FROM allocation.products p, generate_series($2::int, $3::int - 1) AS number WHERE p.sku = $1
                """,  # noqa: S608 - a number of this module
                model,
                start,
                end,
            )
            await connection.execute(
                f"""
                INSERT INTO allocation.stock_pools (sku, sellable, locations, assignable)
                SELECT ({FIRST_SKU} + number)::text, p.sellable, p.locations, p.assignable
                FROM allocation.stock_pools p, generate_series($2::int, $3::int - 1) AS number WHERE p.sku = $1
                """,  # noqa: S608
                model,
                start,
                end,
            )
            await connection.execute(
                f"""
                WITH shelves AS (
                    INSERT INTO allocation.stock_locations (sku, location, on_shelf, counts)
                    SELECT ({FIRST_SKU} + number)::text, l.location, l.on_shelf, l.counts
                    FROM generate_series($2::int, $3::int - 1) AS number, allocation.stock_locations l
                    WHERE l.sku = $1 ORDER BY number, l.location
                    RETURNING sku, location, on_shelf
                ), placed AS (
                    SELECT *, row_number() OVER (PARTITION BY sku ORDER BY location) AS place FROM shelves
                ), lines AS (
                    SELECT *, pg_temp.identity(now(), 8, sku::bigint / {SKUS_PER_RECEIPT} * 16 + place) AS receipt_id FROM placed
                ), received AS (
                    INSERT INTO allocation.receipts (receipt_id, location, received_at)
                    SELECT DISTINCT receipt_id, location, now() FROM lines
                )
                INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, cause_id, event_id, happened_at)
                SELECT pg_temp.identity(now(), 0, sku::bigint * 16 + place), 'received', on_shelf, sku, location, receipt_id, receipt_id,
                       now()
                FROM lines
                """,  # noqa: S608
                model,
                start,
                end,
            )
    await connection.execute("VACUUM ANALYZE")
    row = await connection.fetchrow("SELECT count(*) AS skus, min(available) AS least FROM allocation.stock_pools")
    if row is None or (row["skus"], row["least"]) != (skus, UNITS_PER_SHELF * len(places())):
        raise BenchmarkError(f"the catalogue grew wrongly: {row}, wanted {skus} products with stock")


async def grow_history(connections: Sequence[Connection], lines: int, *, skus: int) -> None:
    """Adds shipped order lines of one unit each, spread over the last 300 days and all products.

    The units were received for the purpose, so the shelves hold what they held, and the continuous auditor finds nothing to look into.

    Args:
        connections: the administrator's, to the database that grows; they share the work.
        lines: how many to add.
        skus: how many products there are.
    """
    months = HISTORY_MONTHS
    await connections[0].execute(f"SELECT allocation.prepare_ledger_months((now() - interval '{months} months')::date, {months})")
    statement = "WITH " + _SHIPPED.format(
        places="','".join(place.code for place in places()),
        places_count=len(places()),
        first_sku=FIRST_SKU,
        lines=LINES_PER_HISTORIC_ORDER,
        receipt_orders=ORDERS_PER_RECEIPT,
    )
    orders = lines // LINES_PER_HISTORIC_ORDER
    steps = iter(range(0, orders, ORDERS_PER_STEP))

    async def work(connection: Connection) -> None:
        await connection.execute(_IDENTITY)
        for start in steps:
            await connection.execute(statement, start, min(orders, start + ORDERS_PER_STEP), orders, skus)

    await asyncio.gather(*(work(connection) for connection in connections))
    await connections[0].execute("VACUUM ANALYZE")
