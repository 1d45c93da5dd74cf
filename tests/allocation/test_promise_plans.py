"""What promises cost depends on the queue they are about, not on how much there is of everything else: no statement reads whole tables."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.allocation.queries import preorders, promises, supplies
from shared.messaging.message import Connection
from tests.conftest import Databases, create_from, drop_database

NOW = datetime(2026, 3, 6, tzinfo=UTC)
BIG_TABLES = {"demand", "orders", "stock_pools", "supplies", "supply_lines", "promise_changes"}

FILL = """
INSERT INTO products (sku, hazmat, registered_at) SELECT 'S' || n, false, now() FROM generate_series(1, 2000) n;
INSERT INTO stock_pools (sku, queued) SELECT 'S' || n, 10 FROM generate_series(1, 2000) n;
INSERT INTO locations (location, name, partner, hazmat_certified, active, registered_at)
VALUES ('e', 'e', 'e', false, true, now());
INSERT INTO orders (order_id, order_version, split_policy, placed_at)
SELECT lpad(n::text, 32, '0')::uuid, 1, 'ship_available', now() FROM generate_series(1, 40000) n;
INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved)
SELECT lpad(n::text, 32, '0')::uuid, '1', lpad(n::text, 32, '0')::uuid, 'S' || 1 + n % 2000, 1, (n % 2)::int, 1 - n % 2
FROM generate_series(1, 40000) n;
INSERT INTO supplies (supply_id, location, expected_at) SELECT lpad(n::text, 32, '0')::uuid, 'e', now() + n * interval '1 minute'
FROM generate_series(1, 20000) n;
INSERT INTO supply_lines (supply_id, sku, quantity, received, open)
SELECT lpad(n::text, 32, '0')::uuid, 'S' || 1 + n % 2000, 5, CASE WHEN n > 2000 THEN 5 ELSE 0 END, n <= 2000
FROM generate_series(1, 20000) n;
INSERT INTO promise_changes (round_id, order_id, line_id, demand_id, sku, quantity)
SELECT '00000000-0000-0000-0000-000000000007', lpad(n::text, 32, '0')::uuid, '1', lpad(n::text, 32, '0')::uuid, 'S1', 1
FROM generate_series(1, 40000) n;
ANALYZE;
"""


class Asked:
    """Stands where a connection stands and keeps the statement."""

    sql: str
    arguments: tuple[Any, ...]

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Keeps it."""
        self.sql, self.arguments = sql, arguments
        return []

    fetchval = fetchrow = fetch

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Keeps it."""
        await self.fetch(sql, *arguments)
        return "DELETE 0"


@pytest.fixture(scope="module")
async def full(migrated_template: str, servers: dict[str, str]) -> AsyncIterator[Connection]:
    """Much of everything; filled once, because nothing is changed."""
    name = f"promise_plans_{secrets.token_hex(6)}"
    await create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template)
    databases = Databases(servers["ADMIN_DATABASE_URL"], name)
    admin = await databases.connect_as_admin()
    await admin.execute("SET search_path = allocation")
    await admin.execute(FILL)
    yield admin
    await databases.close()
    await drop_database(servers["ADMIN_DATABASE_URL"], name)


ROUND = UUID(int=7)
STATEMENTS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "dating a queue": lambda asked: promises.move_promises(asked, ["S7"], ROUND, 5_000),
    "telling the next orders": lambda asked: promises.take_changes(asked, ROUND, UUID(int=20_000), 200),
    "what is on its way": lambda asked: supplies.read_open_supplies(asked, ["S7", "S8"]),
    "late supplies": lambda asked: supplies.read_late_supplies(asked, NOW, 20),
    "preorders to release": lambda asked: preorders.find_due_preorders(asked, NOW, 20),
}


@pytest.mark.parametrize("ask", STATEMENTS.values(), ids=STATEMENTS)
async def test_no_statement_about_promises_reads_a_whole_table(full: Connection, ask: Callable[[Any], Awaitable[Any]]) -> None:
    asked = Asked()
    await ask(asked)
    plan = "\n".join(row[0] for row in await full.fetch(f"EXPLAIN {asked.sql}", *asked.arguments))
    read_whole = {table for table in BIG_TABLES if f"Seq Scan on {table}" in plan}
    assert not read_whole, plan
