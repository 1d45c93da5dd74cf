"""A database that was in use before supply could change: what it holds is brought up to date, and wrong dates are told anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.allocation.handlers.promising import continue_dating, tell_promises
from shared.contracts.envelope import new_id
from shared.contracts.stock import StockPromiseChanged
from shared.migrate import migrate_service
from tests.allocation.conftest import Desk
from tests.allocation.messages import NOW, at
from tests.conftest import PASSWORD, ROOT, Databases

MIGRATION = "0007_supply.sql"


async def test_a_database_in_use_is_brought_up_to_date_and_every_queue_is_dated_once(fresh_databases: Databases, tmp_path: Path) -> None:
    for folder in ("services/allocation/migrations", "shared/messaging/migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(MIGRATION))
    admin = await fresh_databases.connect_as_admin()
    await admin.execute("DROP SCHEMA allocation CASCADE")
    await migrate_service(admin, "allocation", password=PASSWORD, root=tmp_path)
    connection = await fresh_databases.connect("allocation")
    order_id, closed, surplus, coming = (new_id() for _ in range(4))
    await connection.execute("INSERT INTO products (sku, hazmat, registered_at) VALUES ('MUG', false, $1)", NOW)
    await connection.execute(
        "INSERT INTO locations (location, name, partner, hazmat_certified, active, registered_at) VALUES ('e', 'e', 'e', false, true, $1)",
        NOW,
    )
    await connection.execute("INSERT INTO stock_pools (sku, queued) VALUES ('MUG', 1)")
    await connection.execute(
        "INSERT INTO orders (order_id, order_version, split_policy, placed_at) VALUES ($1, 1, 'ship_available', $2)", order_id, NOW
    )
    await connection.execute(
        "INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, promised_ship_at) "
        "VALUES ($1, '1', $1, 'MUG', 1, 1, 0, $2)",
        order_id,
        at(100),
    )
    for supply_id, cancelled, quantity, received in ((closed, True, 5, 2), (surplus, False, 4, 6), (coming, False, 3, 1)):
        await connection.execute(
            "INSERT INTO supplies (supply_id, location, expected_at, cancelled) VALUES ($1, 'e', $2, $3)", supply_id, at(600), cancelled
        )
        await connection.execute(
            "INSERT INTO supply_lines (supply_id, sku, quantity, received, open) VALUES ($1, 'MUG', $2, $3, $4)",
            supply_id,
            quantity,
            received,
            not cancelled and received < quantity,
        )

    shutil.copy(ROOT / "services/allocation/migrations" / MIGRATION, tmp_path / "services/allocation/migrations")
    assert await migrate_service(admin, "allocation", password=PASSWORD, root=tmp_path) == [f"allocation/{MIGRATION}"]

    rows = await connection.fetch("SELECT supply_id, called_off, over_received FROM supply_lines")
    assert {row["supply_id"]: (row["called_off"], row["over_received"]) for row in rows} == {
        closed: (3, 0),
        surplus: (0, 2),
        coming: (0, 0),
    }
    desk = Desk(connection, now=at(24 * 60))  # the migration has dated by the server's clock
    await desk.work(continue_dating)
    told = (await desk.work(tell_promises)).one(StockPromiseChanged)
    assert (told.order_id, told.cause) == (order_id, "queue_moved")
    assert (told.lines[0].old_ship_at, told.lines[0].new_ship_at) == (at(100), at(600))
