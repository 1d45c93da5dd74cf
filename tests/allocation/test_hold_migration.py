"""A database that was in use before units could be held or kept back: what it holds means the same afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.migrate import migrate_service
from tests.allocation.conftest import Desk, violations
from tests.allocation.messages import at, line, location, products, receipt, supply
from tests.allocation.wishes import channel_rule, hold, safety, sold_by
from tests.conftest import PASSWORD, ROOT, Databases

MIGRATION = "0008_holds.sql"


async def test_a_database_in_use_keeps_its_numbers_and_can_hold_and_keep_back_from_then_on(
    fresh_databases: Databases, tmp_path: Path
) -> None:
    for folder in ("services/allocation/migrations", "shared/messaging/migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(MIGRATION))
    admin = await fresh_databases.connect_as_admin()
    await admin.execute("DROP SCHEMA allocation CASCADE")
    await migrate_service(admin, "allocation", password=PASSWORD, root=tmp_path)
    connection = await fresh_databases.connect("allocation")
    await connection.execute("INSERT INTO products (sku, hazmat, registered_at) VALUES ('MUG', false, now())")
    await connection.execute("INSERT INTO stock_pools (sku, sellable, safety, queued) VALUES ('MUG', 9, 4, 0)")
    before = await connection.fetchval("SELECT available FROM stock_pools")

    shutil.copy(ROOT / "services/allocation/migrations" / MIGRATION, tmp_path / "services/allocation/migrations")
    assert await migrate_service(admin, "allocation", password=PASSWORD, root=tmp_path) == [f"allocation/{MIGRATION}"]

    row = await connection.fetchrow("SELECT available, safety, sku_safety, held, fenced, ruled FROM stock_pools")
    assert row is not None
    assert tuple(row) == (before, 4, 4, 0, 0, False)
    await connection.execute("UPDATE stock_pools SET sellable = 0")
    desk = Desk(connection)
    await desk.hear(products("CUP"))
    await desk.hear(location("east"))
    await desk.hear(receipt(9), receipt(9, "CUP"))
    await desk.hear(safety(2), safety(1, sku="CUP", location="east"))
    await desk.hear(channel_rule("shop", fence=3, sku="CUP"))
    await desk.hear(hold(("MUG", 2), ("CUP", 1)))
    await desk.hear(supply(5, at(600), sku="CUP"))
    await desk.hear(sold_by("web", line(9), line(9, "CUP", "2")))
    assert await violations(connection) == []
