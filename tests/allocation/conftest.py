"""An allocation desk on a real database. After every batch the service's own audit must be clean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from asyncpg import Record

from services.allocation.__main__ import SERVICE
from services.allocation.audit import INVARIANTS
from services.allocation.handlers.serving import serve_queues
from shared.contracts.base import Message
from shared.database import open_pool
from shared.messaging.message import Connection, Outgoing, Received, ScheduledHandler, Transaction
from tests.allocation.messages import NOW, received
from tests.conftest import Databases, as_one_statement

AUDIT = as_one_statement(INVARIANTS)
MOST_STEPS = 2_000
CONNECTIONS = 8
MessageT = TypeVar("MessageT", bound=Message)
HANDLERS: dict[type[Message], Callable[..., Awaitable[Sequence[Outgoing]]]] = {item.message: item.handler for item in SERVICE.consumes}


@dataclass
class Heard:
    """What one batch led to."""

    outgoing: Sequence[Outgoing]
    parked: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """The messages of one type that would be published."""
        return [item.data for item in self.outgoing if isinstance(item.data, kind)]

    def one(self, kind: type[MessageT]) -> MessageT:
        """The only message of a type."""
        found = self.of(kind)
        said = [item.data.type for item in self.outgoing]
        assert len(found) == 1, f"{len(found)} of {kind.type} in {said}, parked: {self.parked}, deferred: {self.deferred}"
        return found[0]


async def violations(connection: Connection) -> list[tuple[str, str, str]]:
    """What the audit has to say."""
    return [(row[0], row[1], row[2]) for row in await connection.fetch(AUDIT)]


@dataclass
class Desk:
    """Handles messages as the runtime would: one transaction per call."""

    connection: Connection
    now: datetime = NOW
    audited: bool = True

    async def hear(self, *messages: Message | Received[Any]) -> Heard:
        """One batch of messages of one type; the books must balance after it."""
        batch = [message if isinstance(message, Received) else received(message) for message in messages]
        async with self.connection.transaction():
            tx = Transaction(self.connection, self.now)
            outgoing = await HANDLERS[type(batch[0].data)](tx, batch)
        if self.audited:
            assert await violations(self.connection) == []
        return Heard(outgoing, list(tx.parked.values()), list(tx.deferred.values()))

    async def serve(self) -> list[Heard]:
        """Runs the schedule that serves queues until no work is left; returns what each step said."""
        steps = []
        while await self.connection.fetchval("SELECT count(*) FROM queue_work"):
            async with self.connection.transaction():
                tx = Transaction(self.connection, self.now)
                outgoing = await serve_queues(tx)
            if self.audited:
                assert await violations(self.connection) == []
            steps.append(Heard(outgoing, list(tx.parked.values()), list(tx.deferred.values())))
            assert len(steps) < MOST_STEPS, "the work on queues never ends"
        return steps

    async def work(self, run: ScheduledHandler, *, most: int = 1_000) -> Heard:
        """What a schedule does until it finds nothing more, one transaction each time; the books must balance in between."""
        said: list[Outgoing] = []
        for _ in range(most):
            async with self.connection.transaction():
                tx = Transaction(self.connection, self.now)
                said += await run(tx)
            if self.audited:
                assert await violations(self.connection) == []
            if not tx.more_is_due:
                break
        return Heard(said)

    async def pool(self, sku: str = "MUG") -> Record:
        """The pool row of a SKU."""
        row = await self.connection.fetchrow("SELECT * FROM stock_pools WHERE sku = $1", sku)
        assert row is not None
        return row

    async def available(self, sku: str = "MUG") -> int:
        """What may be sold of a SKU."""
        units: int = (await self.pool(sku))["available"]
        return max(0, units)

    async def shelf(self, location: str = "east", sku: str = "MUG") -> Record:
        """The shelf of a SKU at a location."""
        row = await self.connection.fetchrow("SELECT * FROM stock_locations WHERE sku = $1 AND location = $2", sku, location)
        assert row is not None
        return row

    async def line(self, order_id: UUID, line_id: str = "1") -> dict[str, int]:
        """The states of an order line's units, summed."""
        row = await self.connection.fetchrow(
            """
            SELECT sum(units)::int AS units, sum(queued)::int AS queued, sum(reserved)::int AS reserved, sum(assigned)::int AS assigned,
                   sum(shipped)::int AS shipped, sum(cancelled)::int AS cancelled
            FROM demand WHERE order_id = $1 AND line_id = $2
            """,
            order_id,
            line_id,
        )
        assert row is not None
        return {name: value for name, value in row.items() if value}

    async def ledger(self, kind: str) -> int:
        """The sum of the ledger's entries of one kind."""
        units: int = await self.connection.fetchval(
            "SELECT COALESCE(sum(quantity), 0) FROM movements WHERE kind = $1::text::movement_kind", kind
        )
        return units


@pytest.fixture
async def desk(databases: Databases) -> AsyncIterator[Desk]:
    """One desk; the books must balance when the test is done with it."""
    desk = Desk(await databases.connect("allocation"))
    yield desk
    assert await violations(desk.connection) == []


@dataclass
class Crowd:
    """Several workers of one service, each with transactions of its own."""

    pool: asyncpg.Pool[asyncpg.Record]

    async def hear(self, *messages: Message | Received[Any]) -> Heard:
        """One batch in a transaction of its own, on whichever connection is free. Contention is not caught: there must be none."""
        batch = [message if isinstance(message, Received) else received(message) for message in messages]
        async with self.pool.acquire() as connection, connection.transaction():
            tx = Transaction(connection, NOW)
            outgoing = await HANDLERS[type(batch[0].data)](tx, batch)
        return Heard(outgoing, list(tx.parked.values()), list(tx.deferred.values()))

    async def together(self, batches: Sequence[Sequence[Message | Received[Any]]]) -> list[Heard]:
        """All batches at once."""
        return await asyncio.gather(*(self.hear(*batch) for batch in batches))


@pytest.fixture
async def crowd(databases: Databases) -> AsyncIterator[Crowd]:
    """Eight workers."""
    pool = await open_pool(databases.url("allocation"), application_name="crowd", size=CONNECTIONS, command_timeout_seconds=60)
    yield Crowd(pool)
    await pool.close()
