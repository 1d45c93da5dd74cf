"""Fixtures that every part of the suite uses: real servers, a freshly migrated database per test, and ../shared when it is there."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis.strategies import uuids
from xdist.scheduler import LoadScopeScheduling

from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.audit_model import Invariant
from shared.database import prepare_connection
from shared.messaging.message import Connection
from shared.migrate import AUDITOR, migrate, role_of, service_names
from shared.telemetry import configure_logging

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "only-in-tests"


configure_logging("tests", "ERROR")

# Imported now and not by the first test that draws an id: CPython 3.11 may trip when a module is compiled while another thread compiles.
uuids().validate()

# Settings of the stack that `make test` runs in are not the tests' own: each test says what its services are to be told. What the tests
# themselves are told (ORDERMESH_TEST_...) stays.
for _name in [name for name in os.environ if name.startswith("ORDERMESH_") and not name.startswith("ORDERMESH_TEST_")]:
    del os.environ[_name]


LONGEST_FIRST = ("faults", "journeys", "cases", "demo", "local", "topology", "benchmarks")
"""Folders whose tests take long: workers finish at about the same time when these begin first."""

ONE_WORKER_EACH = ("faults", "journeys", "cases", "local", "topology")
"""Folders whose tests share one running system, servers that they break, or users of the one broker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Brings the long ones to the front."""
    rank = {folder: number for number, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(_folder_of(item.nodeid), len(rank)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Two workers share the suite file by file, or folder by folder where the tests of a folder share a system."""
    return _ByFileOrFolder(config, log)


class _ByFileOrFolder(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is not typed
    def _split_scope(self, nodeid: str) -> str:
        folder = _folder_of(nodeid)
        return folder if folder in ONE_WORKER_EACH else nodeid.split("::", 1)[0]


def _folder_of(nodeid: str) -> str:
    parts = nodeid.split("::", 1)[0].split("/")
    return parts[1] if parts[0] == "tests" and len(parts) > 2 else ""


_folders: dict[str, ExitStack] = {}


def until_folder_ends(folder: str) -> ExitStack:
    """Where a session's fixture puts what only the tests of its folder need: closed after the last of them.

    Whole systems of a dozen processes would otherwise poll until the end of the suite, at a quarter of a processor each.
    """
    return _folders.setdefault(folder, ExitStack())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Closes what a folder has opened when the next test is of another."""
    folder = _folder_of(item.nodeid)
    if folder in _folders and (nextitem is None or _folder_of(nextitem.nodeid) != folder):
        _folders.pop(folder).close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of a real Postgres and RabbitMQ: those of ``make test``, or private ones for a bare ``pytest``."""
    if os.environ.get("ADMIN_DATABASE_URL"):
        yield dict(os.environ)
        return
    stack = Stack(tmp_path_factory.mktemp("stack"), progress=Progress())
    stack.start()
    yield stack.environment()
    stack.discard()


def with_database(url: str, database: str, *, user: str | None = None, password: str | None = None) -> str:
    """The same server, another database, and another user when one is given."""
    parts = urlsplit(url)
    location = parts.netloc if user is None else f"{user}:{password}@{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=location, path=f"/{database}"))


@pytest.fixture(scope="session")
def migrated_template(servers: dict[str, str]) -> Iterator[str]:
    """The name of a database with every service's schema, from which each test's own is copied."""
    url = servers["ADMIN_DATABASE_URL"]
    name = f"template_{secrets.token_hex(4)}"

    async def make() -> None:
        admin = await asyncpg.connect(url)
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        roles = [role_of(service) for service in service_names()] + [AUDITOR]
        await migrate(with_database(url, name), dict.fromkeys(roles, PASSWORD))

    async def drop() -> None:
        admin = await asyncpg.connect(url)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

    asyncio.run(make())
    yield name
    asyncio.run(drop())


class Databases:
    """One test's own database and the connections it opened to it.

    Between tests on the reused database, connections are kept in ``kept``: what a backend has read of the catalogue and planned is half the
    time of a short test.
    """

    def __init__(self, admin_url: str, name: str, kept: dict[str, list[Connection]] | None = None) -> None:
        self.admin_url = with_database(admin_url, name)
        self.name = name
        self._kept = kept
        self._connections: list[tuple[str, Connection]] = []

    def url(self, service: str) -> str:
        """The DSN of a service's own role."""
        return with_database(self.admin_url, self.name, user=role_of(service), password=PASSWORD)

    async def connect(self, service: str) -> Connection:
        """A connection as that service has it: its role, its schema, its codecs."""
        return await self._connect(service, self.url(service), {"jit": "off"})

    async def connect_as_admin(self) -> Connection:
        """A connection that may do anything, for planting corruptions."""
        return await self._connect("", self.admin_url, {})

    async def _connect(self, service: str, url: str, settings: dict[str, str]) -> Connection:
        idle = (self._kept or {}).get(service)
        if idle:
            connection = idle.pop()
        else:
            connection = await asyncpg.connect(url, server_settings=settings, max_cacheable_statement_size=0)  # 0: audits are long
            await prepare_connection(connection)
        self._connections.append((service, connection))
        return connection

    async def close(self) -> None:
        """Closes what was opened, or keeps it for the next test, as if it were new."""
        for service, connection in self._connections:
            if self._kept is None or connection.is_closed() or connection.is_in_transaction():
                await connection.close()
            else:
                await connection.reset()
                self._kept.setdefault(service, []).append(connection)


def as_one_statement(invariants: Sequence[Invariant]) -> str:
    """All rules of a service in one question: (rule, subject, detail) of whatever breaks one. Asked after every message, it counts."""
    return " UNION ALL ".join(
        f"SELECT '{invariant.id}', broken.* FROM ({invariant.sql}) AS broken (subject, detail)"  # noqa: S608  # our own statements
        for invariant in invariants
    )


async def create_from(admin_url: str, name: str, template: str) -> None:
    """A copy of the template for tests. Nothing that they prove is about a server that dies, so their commits do not wait for its disk."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await admin.close()


async def drop_database(admin_url: str, name: str) -> None:
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


EMPTY_THE_TABLES = """
DO $$
DECLARE
    candidate record;
    large text[] := '{}';
BEGIN
    -- Foreign keys and triggers are not asked: everything goes.
    SET LOCAL session_replication_role = replica;
    FOR candidate IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_relation_size(c.oid) AS bytes
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relname <> 'migrations' AND n.nspname !~ '^(pg_|information_schema|public)'
    LOOP
        -- TRUNCATE makes every connection plan anew what reads the table, and costs more than deleting some rows.
        IF candidate.bytes > 1000000 THEN
            large := large || candidate.name;
        ELSIF candidate.bytes > 0 THEN
            EXECUTE 'DELETE FROM ' || candidate.name;
        END IF;
    END LOOP;
    IF cardinality(large) > 0 THEN
        EXECUTE 'TRUNCATE ' || array_to_string(large, ', ') || ' CASCADE';
    END IF;
END $$
"""


@pytest.fixture(scope="session")
def reused_database(servers: dict[str, str], migrated_template: str) -> Iterator[str]:
    """One database for the tests that only fill tables; they are emptied before each test."""
    name = f"test_{secrets.token_hex(6)}"
    asyncio.run(create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template))
    yield name
    asyncio.run(drop_database(servers["ADMIN_DATABASE_URL"], name))


@pytest.fixture(scope="session")
async def kept_connections() -> AsyncIterator[dict[str, list[Connection]]]:
    """The idle connections to the reused database, by the service whose they are; the administrator's under an empty name."""
    kept: dict[str, list[Connection]] = {}
    yield kept
    for connection in itertools.chain.from_iterable(kept.values()):
        await connection.close()


@pytest.fixture
async def databases(
    servers: dict[str, str], reused_database: str, kept_connections: dict[str, list[Connection]]
) -> AsyncIterator[Databases]:
    """A migrated database with empty tables. Tests that change its structure use ``fresh_databases``."""
    own = Databases(servers["ADMIN_DATABASE_URL"], reused_database, kept_connections)
    admin = await own.connect_as_admin()
    await admin.execute(EMPTY_THE_TABLES)
    yield own
    await own.close()


@pytest.fixture
async def fresh_databases(servers: dict[str, str], migrated_template: str) -> AsyncIterator[Databases]:
    """A database of this test's own, whose structure it may change."""
    name = f"test_{secrets.token_hex(6)}"
    await create_from(servers["ADMIN_DATABASE_URL"], name, migrated_template)
    own = Databases(servers["ADMIN_DATABASE_URL"], name)
    yield own
    await own.close()
    await drop_database(servers["ADMIN_DATABASE_URL"], name)


@pytest.fixture
async def database(databases: Databases) -> Callable[[str], Awaitable[Connection]]:
    """``await database("allocation")``: a connection as that service's role on a freshly migrated database."""
    return databases.connect


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """The folder of real inputs beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real inputs: {folder} is not there")
    return folder
