"""The auditor's looks read no large table from end to end, however large it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.allocation.handlers.auditing import FIRST_ID
from services.allocation.queries import auditing, examining
from shared.messaging.message import Connection
from tests.conftest import Databases

FILL = """
SET search_path = allocation;
INSERT INTO products SELECT 'SKU-' || n, false, now() FROM generate_series(1, 5000) n;
INSERT INTO locations SELECT 'loc-' || n, 'x', 'acme', false, true, now() FROM generate_series(1, 2) n;
INSERT INTO stock_pools (sku, sellable) SELECT sku, 1000 FROM products;
INSERT INTO stock_locations (sku, location, counts, on_shelf) SELECT sku, location, true, 200 FROM products, locations;
CREATE FUNCTION pg_temp.id(n int, salt text DEFAULT '') RETURNS uuid LANGUAGE sql AS
    $$ SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 40000000 + n * 1000), 12, '0')
               || '7' || substr(md5(n || salt), 1, 19))::uuid $$;
INSERT INTO orders SELECT pg_temp.id(n), 1, 'ship_available', now() FROM generate_series(1, 8000) n;
INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved)
    SELECT pg_temp.id(n), '1', pg_temp.id(n), 'SKU-' || 1 + n % 5000, 1, 0, 1 FROM generate_series(1, 8000) n;
INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id, event_id)
    SELECT demand_id, 'reserved', 1, sku, order_id, line_id, gen_random_uuid() FROM demand;
INSERT INTO assignments (fulfillment_id, line_id, order_id, sku, location, units, open)
    SELECT order_id, '1', order_id, sku, 'loc-1', 1, (row_number() OVER () % 20 = 0)::int FROM demand;
INSERT INTO movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id, happened_at, pool_version)
    SELECT pg_temp.id((row_number() OVER ())::int, 'a'), 'assigned', 1, sku, location, order_id, line_id, fulfillment_id, now(), 2
    FROM assignments;
INSERT INTO supplies SELECT pg_temp.id(n), 'loc-1', now() FROM generate_series(1, 4000) n;
INSERT INTO supply_lines SELECT supply_id, 'SKU-1', 1, 1, false FROM supplies;
INSERT INTO receipts SELECT supply_id, supply_id, location, now() FROM supplies;
INSERT INTO movements (movement_id, kind, quantity, sku, location, cause_id, happened_at, pool_version)
    SELECT pg_temp.id((row_number() OVER ())::int, 'r'), 'received', 1, 'SKU-1', location, receipt_id, now(), 3 FROM receipts;
INSERT INTO holds (hold_id, channel, state, policy, opened_at, expires_at)
    SELECT pg_temp.id(n), 'web', 'held', 'partial', now(), now() FROM generate_series(1, 4000) n;
INSERT INTO hold_lines (hold_id, sku, asked, granted, held) SELECT hold_id, 'SKU-' || row_number() OVER (), 1, 1, 1 FROM holds;
INSERT INTO channel_pools (sku, channel, seniority, rule_version)
    SELECT sku, channel, gen_random_uuid(), 1 FROM (SELECT sku FROM products LIMIT 3000) ruled, unnest('{web,shop}'::text[]) AS channel;
INSERT INTO inspections SELECT pg_temp.id(n), pg_temp.id(n), pg_temp.id(n), 'loc-1', now() FROM generate_series(1, 4000) n;
INSERT INTO inspected_units SELECT scan_id, '1', 'restocked', 'SKU-1', 1 FROM inspections;
ANALYZE;
"""


@dataclass
class Recorder:
    """Stands in for a connection and remembers what it was asked."""

    connection: Connection
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        self.asked.append((sql, arguments))
        return await self.connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        self.asked.append((sql, arguments))
        return await self.connection.fetchrow(sql, *arguments)

    async def sequential_scans(self) -> list[tuple[str, str]]:
        """Tables with many rows that the plans read from end to end."""
        filled = await self.connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > 1000")
        large = {row["relname"] for row in filled}
        found = []
        for sql, arguments in self.asked:
            plan = "\n".join(row[0] for row in await self.connection.fetch(f"EXPLAIN {sql}", *arguments))
            found += [(table, sql) for table in re.findall(r"Seq Scan on (\w+)", plan) if table in large]
        return found


@pytest.fixture
async def large(databases: Databases) -> Recorder:
    """Many SKUs, orders, entries, receipts and scans."""
    admin = await databases.connect_as_admin()
    await admin.execute(FILL)
    return Recorder(await databases.connect("allocation"))


async def test_no_look_reads_a_large_table_from_end_to_end(large: Recorder) -> None:
    """What a look asks for a page of SKUs, orders, supplies, receipts and scans; the ledger is read from where the last look ended."""
    connection: Any = large
    now = datetime.now(UTC)
    snapshot = (await auditing.current_snapshot(large.connection))["snapshot"]
    skus = [row["sku"] for row in await auditing.next_skus(connection, "", 100, 20_000)]
    orders = [row["id"] for row in await auditing.next_orders(connection, FIRST_ID, 100)]
    receipts = [row["id"] for row in await auditing.next_receipts(connection, FIRST_ID, 50)]
    scans = [row["id"] for row in await auditing.next_scans(connection, FIRST_ID, 50)]
    supplies = [row["id"] for row in await auditing.next_supplies(connection, FIRST_ID, 50)]
    ruled = [row["sku"] for row in await auditing.next_ruled_skus(connection, "", 20)]
    last: UUID = await large.connection.fetchval("SELECT demand_id FROM demand ORDER BY demand_id DESC OFFSET 100 LIMIT 1")
    await auditing.add_page(connection, 1, last, None, snapshot, 1_000)
    floor = now - timedelta(seconds=30)
    await examining.skus_that_differ_from_the_ledger(connection, skus, round_=1, floor=floor, seen=snapshot, target=None, position=FIRST_ID)
    await examining.skus_that_differ_from_their_copies(connection, skus)
    await examining.skus_of_orders_that_do_not_balance(connection, orders)
    await examining.skus_of_causes_that_do_not_fit(connection, receipts, scans)
    await examining.skus_of_supplies_that_do_not_fit(connection, supplies)
    await examining.skus_of_rules_that_do_not_fit(connection, ruled)
    await examining.skus_of_lost_lines(connection, last, 100)
    assert len(large.asked) == 14
    assert [(table, sql[:90]) for table, sql in await large.sequential_scans()] == []
