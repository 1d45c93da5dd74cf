"""What holds and rules cost depends on what they are about, not on how much there is of all else: no statement reads whole tables."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.allocation.queries import holds, kits, pools, promises
from shared.messaging.message import Connection
from tests.allocation.test_promise_plans import Asked
from tests.conftest import Databases, create_from, drop_database

NOW = datetime(2026, 3, 6, tzinfo=UTC)
BIG_TABLES = {"demand", "orders", "stock_pools", "assignments", "holds", "hold_lines", "channel_pools", "rule_changes"}

FILL = """
INSERT INTO products (sku, hazmat, registered_at) SELECT 'S' || n, false, now() FROM generate_series(1, 2000) n;
INSERT INTO stock_pools (sku, sellable, queued, ruled) SELECT 'S' || n, 100, 10, true FROM generate_series(1, 2000) n;
INSERT INTO orders (order_id, order_version, split_policy, placed_at)
SELECT lpad(n::text, 32, '0')::uuid, 1, 'ship_available', now() FROM generate_series(1, 40000) n;
INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, assigned, channel)
SELECT lpad(n::text, 32, '0')::uuid, '1', lpad(n::text, 32, '0')::uuid, 'S' || 1 + n % 2000, 1,
       (n % 20 = 0)::int, (n % 20 > 0)::int, (n % 20 > 1)::int, 'c' || n % 7
FROM generate_series(1, 40000) n;
INSERT INTO assignments (fulfillment_id, line_id, order_id, sku, location, units, open, shipped)
SELECT lpad(n::text, 32, '0')::uuid, '1', lpad(n::text, 32, '0')::uuid, 'S' || 1 + n % 2000, 'e', 1, (n % 100 = 2)::int, (n % 100 <> 2)::int
FROM generate_series(1, 40000) n WHERE n % 20 > 1;
INSERT INTO holds (hold_id, channel, state, policy, opened_at, expires_at, closed_at)
SELECT lpad(n::text, 32, '0')::uuid, 'c' || n % 7, CASE WHEN n % 50 = 0 THEN 'held' ELSE 'released' END, 'partial', now(),
       timestamptz '2026-03-01' + n * interval '1 minute', CASE WHEN n % 50 > 0 THEN timestamptz '2026-03-01' + n * interval '1 minute' END
FROM generate_series(1, 40000) n;
INSERT INTO hold_lines (hold_id, sku, asked, granted, held)
SELECT lpad(n::text, 32, '0')::uuid, 'S' || 1 + n % 2000, 2, 2, CASE WHEN n % 50 = 0 THEN 2 ELSE 0 END FROM generate_series(1, 40000) n;
INSERT INTO channel_pools (sku, channel, fence, seniority, rule_version)
SELECT 'S' || n, 'c' || c, 5, lpad((n * 10 + c)::text, 32, '0')::uuid, 1 FROM generate_series(1, 2000) n, generate_series(0, 6) c;
INSERT INTO rule_changes (change_id, kind, sku, reason, author, changed_at)
SELECT lpad(n::text, 32, '0')::uuid, 'safety', 'S1', 'x', 'x', now() FROM generate_series(1, 40000) n;
ANALYZE;
"""


@pytest.fixture(scope="module")
async def full(migrated_template: str, servers: dict[str, str]) -> AsyncIterator[Connection]:
    """Much of everything; filled once, because nothing is changed."""
    name = f"hold_plans_{secrets.token_hex(6)}"
    await create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template)
    databases = Databases(servers["ADMIN_DATABASE_URL"], name)
    admin = await databases.connect_as_admin()
    await admin.execute("SET search_path = allocation")
    await admin.execute(FILL)
    yield admin
    await databases.close()
    await drop_database(servers["ADMIN_DATABASE_URL"], name)


IDS = [UUID(int=int(f"{number}", 16)) for number in (50, 51, 52)]
NO_ROWS: list[Any] = []
STATEMENTS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "asking for holds": lambda asked: holds.claim_holds(asked, IDS, ["c1"] * 3, ["held"] * 3, ["partial"] * 3, [NOW] * 3, NOW),
    "locking holds that orders name": lambda asked: holds.lock_holds(asked, IDS),
    "locking pools for holds": lambda asked: holds.lock_pools_for_holds(asked, ["S7", "S8"]),
    "reading the lines of holds": lambda asked: holds.read_hold_lines(asked, IDS),
    "reading what is held of a SKU": lambda asked: holds.read_held_units(asked, ["S7"]),
    "holds whose time is up": lambda asked: holds.claim_expired_holds(asked, NOW, 200),
    "forgetting holds": lambda asked: holds.forget_holds(asked, datetime(2026, 3, 1, 1, tzinfo=UTC), 50),
    "reading rules": lambda asked: pools.read_channel_pools(asked, ["S7"]),
    "what channels have and wait for": lambda asked: pools.count_channel_units(asked, ["S7"], ["c1"]),
    "heads of queues by channel": lambda asked: pools.read_queue_heads_by_channel(
        asked, ["S7", "S7"], [None, "c1"], [3, 3], NO_ROWS, [("S7", "c1")]
    ),
    "units ahead by channel": lambda asked: pools.read_units_ahead_by_channel(asked, ["S7"], [5], [IDS[0]]),
    "changes made before": lambda asked: pools.read_rule_changes(asked, IDS),
    "dating a queue under rules": lambda asked: promises.move_promises(asked, ["S7"], IDS[0], 5_000),
    "components with rules": lambda asked: kits.read_components(asked, ["SET"]),
}


@pytest.mark.parametrize("ask", STATEMENTS.values(), ids=STATEMENTS)
async def test_no_statement_about_holds_and_rules_reads_a_whole_table(full: Connection, ask: Callable[[Any], Awaitable[Any]]) -> None:
    asked = Asked()
    await ask(asked)
    plan = "\n".join(row[0] for row in await full.fetch(f"EXPLAIN {asked.sql}", *asked.arguments))
    read_whole = {table for table in BIG_TABLES if f"Seq Scan on {table}" in plan}
    assert not read_whole, plan
