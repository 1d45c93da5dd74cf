"""One schema and one role per service, migrations applied once, partitions made and dropped."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.contracts.envelope import new_id, time_of_id
from shared.messaging.message import Connection
from shared.migrate import MigrationChanged, ensure_role, migrate_service
from tests.conftest import PASSWORD, Databases


def a_project(folder: Path, sql: str) -> Path:
    """A project root with one service that has one migration besides the messaging tables."""
    migrations = folder / "services" / "toy" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "0001_toy.sql").write_text(sql)
    messaging = folder / "shared" / "messaging" / "migrations"
    messaging.mkdir(parents=True)
    real = Path(__file__).resolve().parents[2] / "shared" / "messaging" / "migrations"
    for file in real.glob("*.sql"):
        (messaging / file.name).write_text(file.read_text())
    return folder


async def test_migrations_are_applied_once_and_a_changed_file_stops_the_run(fresh_databases: Databases, tmp_path: Path) -> None:
    root = a_project(tmp_path, "CREATE TABLE things (id uuid PRIMARY KEY);")
    admin = await fresh_databases.connect_as_admin()
    assert await migrate_service(admin, "toy", root=root) == [
        "messaging/0001_messaging.sql",
        "messaging/0002_content_digest.sql",
        "messaging/0003_dismissal.sql",
        "toy/0001_toy.sql",
    ]
    assert await migrate_service(admin, "toy", root=root) == []
    (root / "services/toy/migrations/0002_more.sql").write_text("ALTER TABLE things ADD COLUMN name text;")
    assert await migrate_service(admin, "toy", root=root) == ["toy/0002_more.sql"]
    (root / "services/toy/migrations/0001_toy.sql").write_text("CREATE TABLE others (id uuid PRIMARY KEY);")
    with pytest.raises(MigrationChanged, match=r"toy/0001_toy\.sql was changed after it was applied to schema toy"):
        await migrate_service(admin, "toy", root=root)


async def test_databases_on_one_server_may_be_migrated_at_once_though_their_roles_are_the_same(
    fresh_databases: Databases,
) -> None:
    connections = [await fresh_databases.connect_as_admin() for _ in range(6)]
    role = "ordermesh_toy_of_many"

    async def again_and_again(connection: Connection) -> None:
        for _ in range(20):
            await ensure_role(connection, role, PASSWORD)

    try:
        # Without trying again this stops with "tuple concurrently updated".
        await asyncio.gather(*(again_and_again(connection) for connection in connections))
    finally:
        await connections[0].execute(f"DROP ROLE IF EXISTS {role}")


async def test_a_service_may_fill_its_tables_but_not_change_them_nor_rewrite_a_ledger(fresh_databases: Databases, tmp_path: Path) -> None:
    root = a_project(tmp_path, "-- append-only: ledger\nCREATE TABLE ledger (units integer);\nCREATE TABLE things (units integer);")
    admin = await fresh_databases.connect_as_admin()
    await migrate_service(admin, "toy", password=PASSWORD, root=root)
    await migrate_service(admin, "other", password=PASSWORD, root=root)
    toy = await fresh_databases.connect("toy")
    await toy.execute("INSERT INTO ledger VALUES (5)")
    await toy.execute("INSERT INTO things VALUES (5)")
    await toy.execute("UPDATE things SET units = 6")
    for forbidden in (
        "UPDATE ledger SET units = 6",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "ALTER TABLE things ADD COLUMN more text",
        "CREATE TABLE mine (id integer)",
        "DROP TABLE things",
        "SELECT * FROM other.inbox",
        "INSERT INTO other.inbox DEFAULT VALUES",
        "SET ROLE ordermesh_owner",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
            await toy.execute(forbidden)


async def test_partitions_follow_the_calendar_and_keep_what_still_waits(fresh_databases: Databases, tmp_path: Path) -> None:
    root, today = a_project(tmp_path, "SELECT 1;"), datetime(2026, 1, 10, tzinfo=UTC)
    admin = await fresh_databases.connect_as_admin()
    # the days of a system that was set up before messages could be dismissed
    dismissal = root / "shared/messaging/migrations/0003_dismissal.sql"
    later = dismissal.rename(tmp_path / "later.sql")
    await migrate_service(admin, "toy", password=PASSWORD, root=root, today=today)
    later.rename(dismissal)
    assert await migrate_service(admin, "toy", root=root, today=today) == ["messaging/0003_dismissal.sql"]
    toy = await fresh_databases.connect("toy")

    async def tables() -> set[str]:
        rows = await toy.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'inbox'::regclass")
        return {row["name"] for row in rows}

    assert {"inbox_20260109", "inbox_20260110", "inbox_20260113", "inbox_default"} <= await tables()
    for day, status in ((date(2026, 1, 9), "dismissed"), (date(2026, 1, 10), "parked")):
        event_id = await toy.fetchval("SELECT uuid_floor($1::date + interval '5 hours')", day)
        await toy.execute(
            "INSERT INTO inbox (event_id, source, type, status, reason, body, received_at) VALUES ($1, 's', 't', $2, 'r', '', now())",
            event_id,
            status,
        )
    await toy.fetchval("SELECT maintain_partitions($1, 3, 7)", date(2026, 1, 30))
    left = await tables()
    assert "inbox_20260109" not in left, "its retention is over, and what was dismissed does not wait"
    assert "inbox_20260110" in left, "something in it waits for a person"
    assert "inbox_20260131" in left


async def test_rows_that_came_before_their_partition_move_into_it(fresh_databases: Databases, tmp_path: Path) -> None:
    root = a_project(tmp_path, "SELECT 1;")
    admin = await fresh_databases.connect_as_admin()
    await migrate_service(admin, "toy", password=PASSWORD, root=root, today=datetime(2026, 1, 10, tzinfo=UTC))
    toy = await fresh_databases.connect("toy")
    early: UUID = await toy.fetchval("SELECT uuid_floor('2026-01-20 12:00+00')")
    for event_id in (early, uuid4()):
        await toy.execute("INSERT INTO inbox (event_id, source, type, status, received_at) VALUES ($1, 's', 't', 'done', now())", event_id)
    assert await toy.fetchval("SELECT count(*) FROM inbox_default") == 2
    await toy.fetchval("SELECT maintain_partitions($1, 3, 30)", date(2026, 1, 20))
    assert await toy.fetchval("SELECT tableoid::regclass::text FROM inbox WHERE event_id = $1", early) == "inbox_20260120"
    assert await toy.fetchval("SELECT count(*) FROM inbox_default") == 1


async def test_the_smallest_id_of_an_instant_sorts_before_every_id_made_after_it(databases: Databases) -> None:
    admin = await databases.connect_as_admin()
    event_id = new_id()
    made_at = time_of_id(event_id)
    assert made_at is not None
    services = await admin.fetchval(
        "SELECT nspname FROM pg_namespace WHERE nspname IN ('allocation', 'routing', 'sync', 'returns', 'portal') LIMIT 1"
    )
    await admin.execute(f"SET search_path = {services}")
    assert await admin.fetchval("SELECT uuid_floor($1::timestamptz) <= $2", made_at, event_id)
    assert await admin.fetchval("SELECT uuid_floor($1::timestamptz + interval '1 second') > $2", made_at, event_id)
