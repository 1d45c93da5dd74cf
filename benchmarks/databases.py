"""Databases of the benchmark's own on the stack's server: filled once, copied for each measurement, dropped at the end.

Every measurement so starts from the same tables, freshly copied, and nothing of the stack's own database is touched.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local.stack import Stack
from shared.messaging.message import Connection
from shared.migrate import migrate, read_passwords

PREFIX = "benchmark_"


def with_database(url: str, database: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


class Databases:
    """All databases whose name starts with ``benchmark_``."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def url(self, name: str) -> str:
        """The administrator's address of one of them."""
        return with_database(self._stack.postgres.url, PREFIX + name)

    async def connect(self, name: str) -> Connection:
        """A connection of the administrator; the caller closes it."""
        return await asyncpg.connect(self.url(name), timeout=10, server_settings={"jit": "off", "application_name": "benchmark"})

    async def create(self, name: str) -> None:
        """An empty one with every service's schema."""
        await self._replace(name, "CREATE DATABASE %I")
        await migrate(self.url(name), read_passwords(str(self._stack.secrets_file)))

    async def copy(self, source: str, name: str) -> None:
        """A copy of one that nobody is connected to. Ends with a checkpoint, so that none falls into the measurement."""
        await self._replace(name, "CREATE DATABASE %I TEMPLATE %I", PREFIX + source)
        await self.checkpoint()

    async def checkpoint(self) -> None:
        """Writes everything out."""
        admin = await self._admin()
        try:
            await admin.execute("CHECKPOINT")
        finally:
            await admin.close()

    async def analyze(self, name: str) -> None:
        """Tells the planner what is in the tables, and settles what the filling left behind."""
        connection = await self.connect(name)
        try:
            await connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()

    async def drop(self, name: str) -> None:
        """Deletes one, whoever is connected."""
        admin = await self._admin()
        try:
            await self._drop(admin, PREFIX + name)
        finally:
            await admin.close()

    async def drop_all(self) -> None:
        """Deletes all of them, also those that an interrupted run left behind."""
        admin = await self._admin()
        try:
            for row in await admin.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", PREFIX):
                await self._drop(admin, row["datname"])
        finally:
            await admin.close()

    async def server_version(self) -> str:
        """Postgres's version, without what the packager adds."""
        admin = await self._admin()
        try:
            full: str = await admin.fetchval("SHOW server_version")
        finally:
            await admin.close()
        return full.split(maxsplit=1)[0]

    async def _admin(self) -> Connection:
        return await asyncpg.connect(self._stack.postgres.url, timeout=10)

    async def _replace(self, name: str, create: str, *names: str) -> None:
        admin = await self._admin()
        try:
            await self._drop(admin, PREFIX + name)
            await _execute_quoted(admin, create, PREFIX + name, *names)
        finally:
            await admin.close()

    @staticmethod
    async def _drop(admin: Connection, database: str) -> None:
        await _execute_quoted(admin, "DROP DATABASE IF EXISTS %I WITH (FORCE)", database)


async def _execute_quoted(connection: Connection, template: str, *names: str) -> None:
    """Runs DDL, which takes no parameters, with every name quoted by Postgres itself."""
    statement: str = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(names))
    await connection.execute(statement)
