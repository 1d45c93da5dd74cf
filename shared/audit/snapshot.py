"""One read-only look at all schemas at the same instant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from asyncpg import Record

from shared.database import prepare_connection
from shared.errors import OrdermeshError
from shared.messaging.message import Connection

STATEMENT_TIMEOUT = "10min"


class SchemaMissing(OrdermeshError):
    """A service has no schema in this database: run python -m shared.migrate first, or point the auditor at the right database."""


@dataclass
class Snapshot:
    """A REPEATABLE READ transaction that writes nothing."""

    connection: Connection

    async def enter(self, service: str) -> None:
        """Makes unqualified names mean this service's tables."""
        await self.connection.execute("SELECT set_config('search_path', quote_ident($1), true)", service)

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """Runs a query; when it fails, the snapshot stays usable."""
        async with self.connection.transaction():
            return await self.connection.fetch(sql, *arguments)

    async def fetch_across(self, template: str, producer: str, consumer: str, *arguments: Any) -> list[Record]:
        """Runs a query over two schemas: ``%1$I`` is the producer's and ``%2$I`` the consumer's, quoted by Postgres itself."""
        sql: str = await self.connection.fetchval("SELECT format($1, $2::text, $3::text)", template, producer, consumer)
        return await self.fetch(sql, *arguments)


@asynccontextmanager
async def open_snapshot(database_url: str, services: list[str]) -> AsyncIterator[Snapshot]:
    """Opens the snapshot.

    Raises:
        SchemaMissing: a service's schema is not there.
    """
    # Without the statement cache, a query text that two services share is planned anew for each search path. Compiling queries that run
    # once costs more than it saves.
    connection = await asyncpg.connect(
        database_url, timeout=10, statement_cache_size=0, server_settings={"application_name": "audit", "jit": "off"}
    )
    try:
        await prepare_connection(connection)
        await connection.execute("SELECT set_config('statement_timeout', $1, false)", STATEMENT_TIMEOUT)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known = {row["name"] for row in await connection.fetch("SELECT nspname::text AS name FROM pg_namespace")}
            missing = [service for service in services if service not in known]
            if missing:
                raise SchemaMissing(
                    f"no schema {', '.join(missing)} in this database: run python -m shared.migrate, or name the right database in "
                    "ORDERMESH_AUDIT_DATABASE_URL or ADMIN_DATABASE_URL"
                )
            yield Snapshot(connection)
    finally:
        await connection.close()
