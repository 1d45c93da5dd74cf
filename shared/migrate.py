"""Brings every service's schema to its newest version: ``python -m shared.migrate``.

Run by one admin step before the services start. Each service has one schema and one login role of its own; the tables belong to
``ordermesh_owner``, which nobody logs in as, so no service can change a table's shape. Migrations are plain numbered SQL files, applied
under an advisory lock and remembered with their checksum: a file that changed after it was applied stops the run.

A line ``-- append-only: TABLE`` in a migration takes UPDATE, DELETE and TRUNCATE of that table away from the service.

Reads ``ADMIN_DATABASE_URL`` and ``ORDERMESH_SECRETS_FILE`` (JSON: ``{"database_roles": {role: password}}``).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from shared.errors import BadConfiguration, OrdermeshError
from shared.messaging.message import Connection

ROOT = Path(__file__).resolve().parent.parent
OWNER = "ordermesh_owner"
AUDITOR = "ordermesh_audit"
PARTITION_DAYS_AHEAD = 3
LOCK_KEY = 7_305_991_142
ROLE_ATTEMPTS = 20
ROLE_PAUSE_SECONDS = 0.1


class MigrationChanged(OrdermeshError):
    """A migration file differs from what was applied. Restore it and put the change into a new file with the next number."""


@dataclass(frozen=True)
class Migration:
    """One SQL file of one service."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Tells whether the file is still what was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def append_only_tables(self) -> list[str]:
        """Tables that the service may only add to."""
        return re.findall(r"^-- append-only: ([a-z_]+)\s*$", self.sql, re.MULTILINE)


def service_names(root: Path = ROOT) -> list[str]:
    """Every service that owns a schema: a folder under services/ with migrations."""
    return sorted(folder.parent.name for folder in root.glob("services/*/migrations"))


def migrations_of(service: str, root: Path = ROOT) -> list[Migration]:
    """The messaging tables, then the service's own files, in the order of their numbers."""
    shared = sorted((root / "shared/messaging/migrations").glob("*.sql"))
    own = sorted((root / "services" / service / "migrations").glob("*.sql"))
    return [Migration(f"messaging/{file.name}", file.read_text()) for file in shared] + [
        Migration(f"{service}/{file.name}", file.read_text()) for file in own
    ]


def role_of(service: str) -> str:
    """The login role of a service; it can read and write its own schema and nothing else."""
    return f"ordermesh_{service}"


async def _quoted(connection: Connection, template: str, *names: str) -> str:
    """Builds DDL, which takes no parameters, with every name and literal quoted by Postgres itself."""
    statement: str = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(names))
    return statement


async def _execute_quoted(connection: Connection, template: str, *names: str) -> None:
    await connection.execute(await _quoted(connection, template, *names))


async def _change_role(connection: Connection, template: str, *names: str) -> None:
    """Changes a role, and again when another database's migration changed the same role in that moment.

    Roles belong to the whole server but an advisory lock to one database, so two databases on one server cannot wait for each other.
    """
    statement = await _quoted(connection, template, *names)
    for attempt in range(1, ROLE_ATTEMPTS):
        try:
            await connection.execute(statement)
        except asyncpg.InternalServerError as error:
            if "tuple concurrently updated" not in str(error):
                raise
        except asyncpg.UniqueViolationError:
            # The other one has granted the same membership and not yet committed it when we looked.
            pass
        else:
            return
        await asyncio.sleep(random.uniform(0, ROLE_PAUSE_SECONDS * attempt))  # noqa: S311 - spreading load needs no secrecy
    await connection.execute(statement)


async def ensure_role(connection: Connection, role: str, password: str | None) -> None:
    """Creates a role, or sets its password again. Without a password nobody can log in as it."""
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
        with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await _execute_quoted(connection, "CREATE ROLE %I", role)
    if password is not None:
        await _change_role(connection, "ALTER ROLE %I LOGIN PASSWORD %L", role, password)


async def _prepare_schema(connection: Connection, service: str, password: str | None) -> None:
    role = role_of(service)
    await ensure_role(connection, role, password)
    await _execute_quoted(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", service, OWNER)
    await _execute_quoted(connection, "GRANT USAGE ON SCHEMA %I TO %I, %I", service, role, AUDITOR)
    await _change_role(connection, "ALTER ROLE %I SET search_path = %I", role, service)
    # A stopped process must not keep its row locks for ever, nor a runaway statement a connection.
    await _change_role(connection, "ALTER ROLE %I SET idle_in_transaction_session_timeout = '15s'", role)
    await _change_role(connection, "ALTER ROLE %I SET statement_timeout = '30s'", role)
    await _change_role(connection, "ALTER ROLE %I SET timezone = 'UTC'", role)
    for privileges, grantee in (("SELECT, INSERT, UPDATE, DELETE", role), ("SELECT", AUDITOR)):
        await _execute_quoted(
            connection,
            f"ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT {privileges} ON TABLES TO %I",
            OWNER,
            service,
            grantee,
        )
    await _execute_quoted(
        connection, "ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT USAGE ON SEQUENCES TO %I", OWNER, service, role
    )


async def _apply(connection: Connection, service: str, migrations: Sequence[Migration]) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL)"
    )
    known = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM migrations")}
    applied = []
    for migration in migrations:
        if migration.name in known:
            if known[migration.name] != migration.checksum:
                raise MigrationChanged(
                    f"{migration.name} was changed after it was applied to schema {service}: "
                    "restore the file and put the change into a new one with the next number"
                )
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            for table in migration.append_only_tables:
                await _execute_quoted(connection, "REVOKE UPDATE, DELETE, TRUNCATE ON %I FROM %I", table, role_of(service))
            await connection.execute(
                "INSERT INTO migrations (name, checksum, applied_at) VALUES ($1, $2, $3)",
                migration.name,
                migration.checksum,
                datetime.now(UTC),
            )
        applied.append(migration.name)
    return applied


async def migrate_service(
    connection: Connection, service: str, *, password: str | None = None, root: Path = ROOT, today: datetime | None = None
) -> list[str]:
    """Brings one service's schema up to date and returns the names of the files that were applied.

    Raises:
        MigrationChanged: an applied file was edited.
    """
    await _prepare_schema(connection, service, password)
    await _execute_quoted(connection, "SET ROLE %I", OWNER)
    await _execute_quoted(connection, "SET search_path = %I", service)
    try:
        applied = await _apply(connection, service, migrations_of(service, root))
        # The function runs with the owner's rights, so its search path must not be the caller's to choose.
        await _execute_quoted(
            connection, "ALTER FUNCTION maintain_partitions(date, integer, integer) SET search_path = %I, pg_temp", service
        )
        day = (today or datetime.now(UTC)).date()
        await connection.fetchval("SELECT maintain_partitions($1, $2, $3)", day, PARTITION_DAYS_AHEAD, 36_500)
    finally:
        await connection.execute("RESET search_path")
        await connection.execute("RESET ROLE")
    return applied


async def prepare_owner(connection: Connection, auditor_password: str | None) -> None:
    """Creates the two roles that all services share: the owner of the tables and the auditor, who may read everything."""
    await ensure_role(connection, OWNER, None)
    await ensure_role(connection, AUDITOR, auditor_password)
    database = await connection.fetchval("SELECT current_database()")
    await _execute_quoted(connection, "GRANT CREATE ON DATABASE %I TO %I", database, OWNER)
    user = await connection.fetchval("SELECT current_user")
    await _change_role(connection, "GRANT %I TO %I", OWNER, user)


async def migrate(database_url: str, passwords: Mapping[str, str], root: Path = ROOT) -> dict[str, list[str]]:
    """Brings every schema up to date. Safe to run by several at once: one works, the others wait and find nothing to do."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        await prepare_owner(connection, passwords.get(AUDITOR))
        return {
            service: await migrate_service(connection, service, password=passwords.get(role_of(service)), root=root)
            for service in service_names(root)
        }
    finally:
        await connection.close()


def read_passwords(file: str | None) -> dict[str, str]:
    """The passwords of the database roles, from the secrets file.

    Raises:
        BadConfiguration: the file is missing or has no ``database_roles``.
    """
    if file is None:
        return {}
    try:
        roles = json.loads(Path(file).read_text())["database_roles"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise BadConfiguration(
            f'ORDERMESH_SECRETS_FILE: {file} must be JSON with "database_roles": {{role: password}} ({error})'
        ) from error
    return {str(role): str(password) for role, password in roles.items()}


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m shared.migrate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args()
    url = os.environ.get("ADMIN_DATABASE_URL")
    if not url:
        print("ADMIN_DATABASE_URL is not set: give the DSN of a Postgres user that may create roles and schemas", file=sys.stderr)
        return 2
    try:
        applied = asyncio.run(migrate(url, read_passwords(os.environ.get("ORDERMESH_SECRETS_FILE"))))
    except (OrdermeshError, OSError, asyncpg.PostgresError) as error:
        print(f"migration failed: {error}", file=sys.stderr)
        return 1
    for service, names in applied.items():
        print(f"{service}: {', '.join(names) if names else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
