"""What a service's connections are set to, and what that is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asyncpg import Record

from shared import database
from shared.database import Pool, open_pool
from shared.messaging.message import Connection
from tests.conftest import Databases
from tests.shared.conftest import Workshop

JOIN = """
    SELECT count(*) FROM effects JOIN unnest($1::uuid[]) AS wanted (order_id) ON effects.order_id = wanted.order_id
"""
USES_UNTIL_GENERIC = 6
"""Postgres plans a prepared statement for its parameters five times and may then keep one plan for all."""


@asynccontextmanager
async def a_pool(databases: Databases, size: int = 1) -> AsyncIterator[Pool]:
    pool = await open_pool(databases.url("workshop"), application_name="test", size=size, command_timeout_seconds=10)
    try:
        yield pool
    finally:
        await pool.close()


async def prepared(connection: Connection) -> Record | None:
    """How the server has prepared the join."""
    return await connection.fetchrow("SELECT prepare_time, generic_plans FROM pg_prepared_statements WHERE statement LIKE '%wanted%'")


async def test_a_plan_made_while_a_table_was_empty_is_not_kept_for_ever(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_LIFETIME_SECONDS", 0.2)
    async with a_pool(workshop.databases) as pool, pool.acquire() as connection:
        for _ in range(USES_UNTIL_GENERIC):
            await connection.fetchval(JOIN, [])
        kept = await prepared(connection)
        assert kept is not None
        assert kept["generic_plans"] > 0, "Postgres kept no plan, so there is nothing to get rid of"
        await asyncio.sleep(0.4)
        await connection.fetchval(JOIN, [])
        fresh = await prepared(connection)
    assert fresh is not None
    assert fresh["prepare_time"] > kept["prepare_time"]


async def test_a_connection_that_comes_back_keeps_no_transaction_open(workshop: Workshop) -> None:
    async with a_pool(workshop.databases) as pool:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO effects (order_id) VALUES (gen_random_uuid())")
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM effects") == 0


async def test_coming_back_costs_no_round_trip(workshop: Workshop) -> None:
    async with a_pool(workshop.databases) as pool:
        async with pool.acquire() as connection:
            seen: list[str] = []
            connection.add_query_logger(lambda query: seen.append(query.query))
            await connection.fetchval("SELECT 1")
        assert seen == ["SELECT 1"]


async def test_small_tables_are_read_by_index_too(workshop: Workshop) -> None:
    async with a_pool(workshop.databases) as pool, pool.acquire() as connection:
        plan = await connection.fetch("EXPLAIN SELECT 1 FROM inbox WHERE event_id = gen_random_uuid()")
    assert "Seq Scan" not in "\n".join(row[0] for row in plan)
