"""Guards on what the queue's statements cost: at 200,000 rows each follows an index, and a guard goes red when that index is gone."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from services.allocation.queries import queue, reading
from services.allocation.queries.queue import Newcomers, Places, Work
from shared.contracts.envelope import new_id
from shared.messaging.message import Connection
from tests.conftest import Databases, create_from, drop_database

QUEUED = 100_000

FILL = """
INSERT INTO products (sku, hazmat, registered_at)
SELECT sku, false, now() FROM (SELECT 'HOT' AS sku UNION ALL SELECT 'S' || n FROM generate_series(1, 5000) n) made;
INSERT INTO stock_pools (sku) SELECT sku FROM products;
INSERT INTO orders (order_id, order_version, split_policy, placed_at, priority)
SELECT ('0190' || lpad(to_hex(n), 8, '0') || '-7000-8000-0000-00000000')::uuid, 1,
       CASE WHEN n % 5 = 0 THEN 'hold_all' ELSE 'ship_available' END, now(), CASE WHEN n % 100 = 0 THEN 2 WHEN n % 50 = 1 THEN 8 ELSE 5 END
FROM generate_series(1, 200000) n;
"""
"""Ids grow like UUIDv7 do."""

DEMAND = """
INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, shipped, priority, hold_all)
SELECT order_id, '1', order_id, CASE WHEN n <= 100000 THEN 'HOT' ELSE 'S' || n % 5000 + 1 END, 1,
       CASE WHEN n <= 100000 THEN 1 ELSE 0 END, CASE WHEN n > 199000 THEN 1 ELSE 0 END,
       CASE WHEN n > 100000 AND n <= 199000 THEN 1 ELSE 0 END, priority, split_policy = 'hold_all'
FROM (SELECT *, row_number() OVER (ORDER BY order_id) AS n FROM orders) o;
INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, priority, hold_all)
SELECT order_id, '2', gen_random_uuid(), 'HOT', 1, 0, 1, priority, true FROM orders WHERE split_policy = 'hold_all'
ORDER BY order_id DESC LIMIT 500;
UPDATE stock_pools SET queued = 100000 WHERE sku = 'HOT';
"""


def fresh(count: int = 1) -> list[UUID]:
    return [new_id() for _ in range(count)]


def newcomers(*, hold_all: bool) -> Newcomers:
    return Newcomers(["HOT"], [5], fresh(), [hold_all], fresh(), [None])


def places(priority: int) -> Places:
    one = fresh()
    return Places(["HOT"], [priority], one, one)


@dataclass
class Explaining:
    """A connection that explains statements in place of running them."""

    connection: Connection
    plans: list[dict[str, Any]] = field(default_factory=list)

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        text: str = await self.connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *arguments)
        self.plans.append(json.loads(text)[0]["Plan"])
        return []

    async def execute(self, statement: str, *arguments: Any) -> str:
        await self.fetch(statement, *arguments)
        return "INSERT 0 0"

    async def nodes_of(self, ask: Callable[[Any], Awaitable[Any]]) -> list[dict[str, Any]]:
        """Every step of the plan of one query function."""
        self.plans.clear()
        await ask(self)
        return [node for plan in self.plans for node in _nodes(plan)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


async def problems_of(explaining: Explaining, ask: Callable[[Any], Awaitable[Any]], indexes: str) -> list[str]:
    """What is wrong with the plan of a statement that must follow one of some indexes of demand."""
    nodes = await explaining.nodes_of(ask)
    found = [
        f"scans all of {node['Relation Name']}" for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
    ]
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    if not used.intersection(indexes.split()):
        found.append(f"does not use {indexes}, but {sorted(used)}")
    return found


LARGE = {"demand", "orders"}

GUARDED: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "the heads of the queues": (lambda c: queue.read_queue_heads(c, ["HOT"], [50_000], fresh(), 200), "demand_queued"),
    "units ahead of an ordinary newcomer": (lambda c: queue.read_units_ahead(c, ["HOT"], [5], [QUEUED]), "demand_queued demand_wanted"),
    "units ahead of an urgent newcomer": (lambda c: queue.read_units_ahead(c, ["HOT"], [1], [QUEUED]), "demand_queued demand_wanted"),
    "positions from the front": (lambda c: queue.read_positions_from_front(c, places(1)), "demand_queued"),
    "positions from the back": (lambda c: queue.read_positions_from_back(c, places(9)), "demand_queued"),
    "who must give": (lambda c: queue.read_holders(c, ["HOT"], 200), "demand_held"),
    "the highest rank that waits": (lambda c: queue.read_holders(c, ["HOT"], 200), "demand_wanted"),
    "who is owed": (lambda c: queue.read_claimants(c, ["HOT"], [9], fresh(), [200], fresh()), "demand_wanted"),
    "work after somebody began to wait": (lambda c: queue.insert_work(c, Work([], [], []), newcomers(hold_all=False)), "demand_held"),
    "work after an order became incomplete": (lambda c: queue.insert_work(c, Work([], [], []), newcomers(hold_all=True)), "demand_pkey"),
    "neglected queues": (lambda c: queue.find_neglected(c, new_id()), "demand_held demand_unassigned"),
    "the page of a queue": (lambda c: reading.list_queue(c, "HOT", 100), "demand_queued"),
    "units ahead of one order": (lambda c: reading.list_order_demand(c, new_id()), "demand_queued"),
}


@pytest.fixture(scope="module")
async def filled(migrated_template: str, servers: dict[str, str]) -> AsyncIterator[Connection]:
    """200,000 orders: half of them wait for one SKU, most of the rest have shipped, some hold units while they are incomplete."""
    name = f"plans_{secrets.token_hex(6)}"
    await create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template)
    databases = Databases(servers["ADMIN_DATABASE_URL"], name)
    admin: Connection = await databases.connect_as_admin()
    await admin.execute("SET search_path = allocation")
    await admin.execute(FILL)
    await admin.execute(DEMAND)
    await admin.execute("ANALYZE")
    yield admin
    await databases.close()
    await drop_database(servers["ADMIN_DATABASE_URL"], name)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("ask", "indexes"), GUARDED.values(), ids=GUARDED)
async def test_a_statement_about_queues_follows_its_index(
    filled: Connection, ask: Callable[[Any], Awaitable[Any]], indexes: str, mode: str
) -> None:
    async with filled.transaction():
        await filled.execute(f"SET LOCAL plan_cache_mode = {mode}")
        assert await problems_of(Explaining(filled), ask, indexes) == []


@pytest.mark.parametrize(("ask", "indexes"), GUARDED.values(), ids=GUARDED)
async def test_a_guard_goes_red_when_the_index_is_gone(filled: Connection, ask: Callable[[Any], Awaitable[Any]], indexes: str) -> None:
    gone = filled.transaction()
    await gone.start()
    for index in indexes.split():
        await filled.execute("ALTER TABLE demand DROP CONSTRAINT demand_pkey" if index == "demand_pkey" else f"DROP INDEX {index}")
    found = await problems_of(Explaining(filled), ask, indexes)
    await gone.rollback()
    assert found
