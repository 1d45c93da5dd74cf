"""Where the state machine plays: a database, some connections to it, and the service under test as it was imported for it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import uvloop
from asyncpg.prepared_stmt import PreparedStatement

from services.allocation.audit import INVARIANTS
from shared.contracts.base import Message
from shared.database import prepare_connection
from shared.messaging.message import Connection, Outgoing, ScheduledHandler, Transaction
from shared.migrate import migrate, role_of
from shared.service import Service
from tests.allocation.happenings import Batch
from tests.allocation.model import UploadedRow
from tests.conftest import PASSWORD, as_one_statement, create_from, drop_database, with_database

AnyT = TypeVar("AnyT")
Books = dict[str, dict[str, Any]]
"""What stands in which table, by key."""
Task = Batch | str
"""Messages, or the name of a schedule."""

CONNECTIONS = 5
MOST_STEPS = 300
FEW_AT_ONCE = {"LINES_AT_ONCE": 2, "DATED_AT_ONCE": 3, "TOLD_AT_ONCE": 2}
"""Limits of one transaction, set so low that short queues are served, dated and told in steps."""

REAL_TIME = ("prepare_ledger",)
"""Schedules that work by the calendar of the machine: the ledger's months are those in which its ids are made."""

BOOKS = """
SELECT json_build_object(
    'pools', (SELECT json_agg(json_build_array(sku, json_build_array(
        available, reserved, queued, held, safety, extract(epoch FROM release_at)::bigint, early_release))) FROM stock_pools),
    'rules', (SELECT json_agg(json_build_array(concat_ws(' ', sku, channel), json_build_array(
        fence, cap, share_percent, open, queued))) FROM channel_pools),
    'holds', (SELECT json_agg(json_build_array(hold_id, json_build_array(
        channel, state, policy, extract(epoch FROM expires_at)::bigint, order_id))) FROM holds),
    'hold lines', (SELECT json_agg(json_build_array(concat_ws(' ', hold_id, sku), json_build_array(asked, granted, held, used)))
        FROM hold_lines),
    'shelves', (SELECT json_agg(json_build_array(sku || ' at ' || location, json_build_array(
        on_shelf, assigned, damaged, quality_control, counts)))
        FROM stock_locations WHERE (on_shelf, assigned, damaged, quality_control) <> (0, 0, 0, 0)),
    'orders', (SELECT json_agg(json_build_array(order_id, json_build_array(order_version, cancelled_version))) FROM orders),
    'lines', (SELECT json_agg(json_build_array(concat_ws(' ', order_id, line_id, sku), rows)) FROM (
        SELECT order_id, line_id, sku, json_agg(json_build_array(queued, reserved, assigned, shipped, cancelled,
                   CASE WHEN queued > 0 THEN extract(epoch FROM promised_ship_at)::bigint END, demand_id) ORDER BY demand_id) AS rows
        FROM demand WHERE units > 0 GROUP BY order_id, line_id, sku) line),
    'ties', (SELECT json_agg(json_build_array(concat_ws(' ', fulfillment_id, line_id, sku), json_build_array(open, shipped, recalled)))
        FROM assignments WHERE (open, shipped, recalled) <> (0, 0, 0)),
    'supplies', (SELECT json_agg(json_build_array(supply_id, json_build_array(
        CASE WHEN EXISTS (SELECT FROM supply_lines line WHERE line.supply_id = supplies.supply_id AND open)
             THEN extract(epoch FROM ships_at)::bigint END, overdue, cancelled))) FROM supplies),
    'supply lines', (SELECT json_agg(json_build_array(concat_ws(' ', supply_id, sku), json_build_array(
        quantity, received, called_off, open))) FROM supply_lines),
    'feeds', (SELECT json_agg(json_build_array(location, json_build_array(sequence_floor, (
        SELECT COALESCE(json_agg(sequence ORDER BY sequence), '[]') FROM feed_sequences feed
        WHERE feed.location = locations.location AND sequence > sequence_floor)))) FROM locations),
    'strangers', (SELECT json_agg(json_build_array(location || ' ' || sku, json_build_array(
        on_hand, damaged, quality_control, watermark))) FROM unregistered_counts),
    'kits', (SELECT json_agg(json_build_array(kit_sku, json_build_array(
        available, mode, extract(epoch FROM next_ship_at)::bigint))) FROM kits),
    'dating', (SELECT json_agg(json_build_array(sku, true)) FROM promise_dating),
    'telling', (SELECT json_agg(json_build_array(round_id, true)) FROM promise_rounds),
    'work', (SELECT json_agg(DISTINCT sku) FROM queue_work)
)::text
"""

AUDIT = as_one_statement(INVARIANTS)

EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relname <> 'migrations' AND n.nspname = 'allocation'
    LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
END $$
"""


@dataclass(frozen=True)
class Loaded:
    """The service under test: its table of contents, and its modules by name."""

    service: Service
    modules: Mapping[str, ModuleType]

    @property
    def handlers(self) -> dict[type[Message], Callable[..., Awaitable[Sequence[Outgoing]]]]:
        return {item.message: item.handler for item in self.service.consumes}

    @property
    def schedules(self) -> dict[str, ScheduledHandler]:
        return {schedule.run.__name__: schedule.run for schedule in self.service.schedules}

    def set_limits(self, *, low: bool) -> None:
        """Sets how much one transaction does, everywhere; or what it was."""
        for name, module in self.modules.items():
            for limit, few in FEW_AT_ONCE.items():
                if hasattr(module, limit):
                    usual = self._usual.setdefault((name, limit), getattr(module, limit))
                    setattr(module, limit, few if low else usual)

    _usual: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass
class Heard:
    """What came of one task: what is said, what is parked, what waits."""

    outgoing: Sequence[Outgoing] = ()
    parked: set[UUID] = field(default_factory=set)
    deferred: set[UUID] = field(default_factory=set)
    more_is_due: bool = False


@dataclass
class Ground:
    """A database, connections to it, and the service under test. Machines play on it one after the other."""

    loaded: Loaded
    runner: asyncio.Runner
    connections: list[Connection]
    admin: Connection
    audit: PreparedStatement
    done: Counter[str] = field(default_factory=Counter)
    """How often each kind of message was heard alone or at once, each schedule ran, and how many steps were looked at."""

    def run(self, work: Coroutine[Any, Any, AnyT]) -> AnyT:
        """Waits for something."""
        return self.runner.run(work)

    async def empty(self) -> None:
        """A new day: no books yet."""
        await self.admin.execute(EMPTY)

    async def do(self, task: Task, now: datetime, connection: Connection | None = None) -> Heard:
        """One task in one transaction."""
        connection = connection or self.connections[0]
        self.done[task if isinstance(task, str) else type(task[0].data).type] += 1
        async with connection.transaction():
            tx = Transaction(connection, datetime.now(UTC) if task in REAL_TIME else now)
            if isinstance(task, str):
                outgoing = await self.loaded.schedules[task](tx)
            else:
                outgoing = await self.loaded.handlers[type(task[0].data)](tx, task)
        return Heard(outgoing, set(tx.parked), set(tx.deferred), tx.more_is_due)

    async def do_all(self, schedule: str, now: datetime) -> list[Heard]:
        """A schedule, as often as it asks for."""
        heard = [await self.do(schedule, now)]
        while heard[-1].more_is_due:
            heard.append(await self.do(schedule, now))
            assert len(heard) < MOST_STEPS, f"{schedule} never ends"
        return heard

    async def upload(self, upload_id: UUID, rows: Sequence[UploadedRow], now: datetime, *, whole: bool) -> None:
        """What the upload page and its button do."""
        sql, pages = (self.loaded.modules[f"services.allocation.{name}"] for name in ("queries.uploads", "handlers.uploading"))
        row_of = self.loaded.modules["services.allocation.decide.uploads"].CountRow
        connection = self.connections[0]
        async with connection.transaction():
            await sql.insert_upload(connection, upload_id, "counts.csv", "kim", now, now + timedelta(days=400))
            await pages.keep_rows(
                connection,
                upload_id,
                [row_of(number, row.sku, row.location, row.on_hand, None, None) for number, row in enumerate(rows, 2)],
            )
            await sql.mark_repeated_rows(connection, upload_id)
            await sql.finish_reading(connection, upload_id, "ascii", ",", None, None)
            upload, counts = await sql.lock_upload(connection, upload_id), await sql.read_upload(connection, upload_id)
            tx = Transaction(connection, now)
            assert await pages.start(tx, upload, counts, all_or_nothing=whole, reason="counted", operator="kim") is None

    async def read(self) -> Books:
        """The books of the service."""
        found: dict[str, list[Any] | None] = json.loads(await self.connections[0].fetchval(BOOKS))
        for _, feed in found["feeds"] or ():
            feed[:] = without_gap(*feed)
        return {
            name: dict.fromkeys(rows or (), True) if name == "work" else {str(key): value for key, value in rows or ()}
            for name, rows in found.items()
        }

    async def violations(self) -> list[tuple[str, ...]]:
        """What the service's audit has to say."""
        return [tuple(row) for row in await self.audit.fetch()]


@asynccontextmanager
async def _connected(url: str, admin_url: str) -> AsyncIterator[tuple[list[Connection], Connection, PreparedStatement]]:
    connections: list[Connection] = []
    try:
        for address in (*[url] * CONNECTIONS, admin_url):
            # nothing here has to survive a crash
            settings = {"jit": "off", "synchronous_commit": "off"}
            connections.append(await asyncpg.connect(address, server_settings=settings))
            await prepare_connection(connections[-1])
        *own, admin = connections
        # planned once: it is too long for the driver to keep
        yield own, admin, await own[0].prepare(AUDIT)
    finally:
        for connection in connections:
            await connection.close()


class Stage:
    """Opens a ground to play on, and closes it."""

    def __init__(self, url: str, admin_url: str) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._connected = _connected(url, admin_url)

    def __enter__(self) -> Stage:
        self._runner.__enter__()
        self._connections = self._runner.run(self._connected.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._connected.__aexit__(None, None, None))
        self._runner.__exit__(None, None, None)

    def ground(self, loaded: Loaded) -> Ground:
        """The ground with a service on it."""
        connections, admin, audit = self._connections
        return Ground(loaded, self._runner, connections, admin, audit)


def without_gap(floor: int, arrived: list[int]) -> list[Any]:
    """A feed as if the schedule that forgets settled sequences had just run."""
    while arrived and arrived[0] == floor + 1:
        floor, *arrived = arrived
    return [floor, arrived]


@contextmanager
def own_stage(admin_url: str, template: str | None = None) -> Iterator[Stage]:
    """A stage on a database that is made for it and goes with it: a copy of a migrated one, or migrated itself."""
    name = f"machine_{secrets.token_hex(6)}"

    async def make() -> None:
        if template is not None:
            await create_from(admin_url, name, template)
            return
        admin = await asyncpg.connect(admin_url)
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        await migrate(with_database(admin_url, name), {role_of("allocation"): PASSWORD})

    asyncio.run(make())
    try:
        own = with_database(admin_url, name)
        with Stage(with_database(own, name, user=role_of("allocation"), password=PASSWORD), own) as stage:
            yield stage
    finally:
        asyncio.run(drop_database(admin_url, name))
