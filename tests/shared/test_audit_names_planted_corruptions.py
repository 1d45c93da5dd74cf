"""Who audits the auditor: after a day on which everything balances, each planted corruption must be named by the right check.

The day is lived once, by all five services with a channel and a 3PL; each corruption is planted in a transaction that is rolled back.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from shared.audit import Check
from shared.audit.invariants import check_invariants
from shared.audit.running import run_checks
from shared.audit.snapshot import Snapshot
from shared.audit.statements import load_statements
from shared.messaging.message import Connection
from tests.conftest import Databases, create_from, drop_database
from tests.shared.plants import PLANTS, Plant
from tests.shared.world import open_world

SERVICES = load_statements()


@pytest.fixture(scope="module")
async def day(
    servers: dict[str, str], migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """An administrator's connection to the books of a lived day."""
    name = f"day_{secrets.token_hex(6)}"
    await create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template)
    databases = Databases(servers["ADMIN_DATABASE_URL"], name)
    async with open_world(databases, tmp_path_factory.mktemp("day")) as world:
        await world.live_a_day()
        assert await world.waiting() == []
    connection = await asyncpg.connect(databases.admin_url, statement_cache_size=0, server_settings={"jit": "off"})
    yield connection
    await connection.close()
    await databases.close()
    await drop_database(servers["ADMIN_DATABASE_URL"], name)


async def names_of(connection: Connection) -> dict[str, str]:
    """The ids of the day's orders and of the one scan, as SQL literals."""
    rows = await connection.fetch("SELECT external_id AS name, order_id AS id FROM sync.channel_orders")
    rows += await connection.fetch("SELECT 'scan' AS name, scan_id AS id FROM returns.return_scans")
    return {row["name"]: f"'{row['id']}'::uuid" for row in rows}


def with_names(statement: str, names: dict[str, str]) -> str:
    """The statement with ids in place of names."""
    return re.sub(r"(?<!:):([a-z]+)\b", lambda found: names[found.group(1)], statement)


async def checks_of(connection: Connection) -> list[Check]:
    """Every check as this connection's transaction sees the books."""
    checks, _ = await run_checks(Snapshot(connection), SERVICES, strict=True)
    return checks


async def named_checks(connection: Connection, plant: Plant) -> list[Check]:
    """The checks that must name a corruption: by themselves where they are rules of single services, which know nothing of one another."""
    named = [(service, [rule for rule in service.invariants if (service.service, rule.id) in plant.caught_by]) for service in SERVICES]
    if sum(len(rules) for _, rules in named) < len(plant.caught_by):
        return await checks_of(connection)
    snapshot = Snapshot(connection)
    return [check for service, rules in named if rules for check in await check_invariants(snapshot, replace(service, invariants=rules))]


async def test_the_books_of_the_day_balance(day: asyncpg.Connection[asyncpg.Record]) -> None:
    async with day.transaction():
        checks = await checks_of(day)
    assert [(check.service, check.id, check.violations) for check in checks if not check.holds] == []
    assert len(checks) > 90


async def test_something_of_everything_has_happened(day: asyncpg.Connection[asyncpg.Record]) -> None:
    """A corruption that is planted into nothing would prove nothing."""
    happened = {row["type"] for service in SERVICES for row in await day.fetch(f"SELECT DISTINCT type FROM {service.service}.outbox")}  # noqa: S608
    assert happened >= {
        "order.placed.v1",
        "order.edited.v1",
        "order.cancelled.v1",
        "stock.reserved.v1",
        "stock.backordered.v1",
        "stock.promise_changed.v1",
        "order.delayed.v1",
        "order.delay_consent_settled.v1",
        "fulfillment.shipped.v1",
        "fulfillment.delivered.v1",
        "fulfillment.cancelled.v1",
        "return.approved.v1",
        "return.inspected.v1",
        "return.closed.v1",
        "refund.requested.v1",
        "refund.succeeded.v1",
    }


@pytest.mark.parametrize("plant", PLANTS, ids=str)
async def test_a_planted_corruption_is_named(day: asyncpg.Connection[asyncpg.Record], plant: Plant) -> None:
    transaction = day.transaction()
    await transaction.start()
    names = await names_of(day)
    try:
        touched = [await day.execute(with_names(statement, names)) for statement in plant.statements]
        assert not touched[-1].endswith(" 0"), "the corruption was planted into nothing"
        subject = await day.fetchval(with_names(plant.subject, names))
        checks = await named_checks(day, plant)
    finally:
        await transaction.rollback()
    found = {(check.service, check.id): check for check in checks if not check.holds}
    assert set(plant.caught_by) <= set(found)
    named = [violation for key in plant.caught_by for violation in found[key].violations]
    assert any(subject in violation.subject or subject in violation.detail for violation in named), named


async def test_every_check_has_a_corruption_that_it_names(day: asyncpg.Connection[asyncpg.Record]) -> None:
    proven = {key for plant in PLANTS for key in plant.caught_by}
    proven_for_some_service = {check_id for _, check_id in proven}
    async with day.transaction():
        checks = await checks_of(day)
    own_rules = {(service.service, invariant.id) for service in SERVICES for invariant in service.invariants}
    unproven = [
        (check.service, check.id)
        for check in checks
        if ((check.service, check.id) not in proven if (check.service, check.id) in own_rules else check.id not in proven_for_some_service)
    ]
    assert unproven == []


def test_corruptions_have_names_of_their_own() -> None:
    names = [str(plant) for plant in PLANTS]
    assert len(names) == len(set(names))
