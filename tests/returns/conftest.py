"""A returns desk on a real database. Whatever a test does, the service's own audit must be clean at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import pytest

from services.returns.__main__ import SERVICE
from services.returns.audit import INVARIANTS
from shared.contracts.base import Message
from shared.messaging import outbox
from shared.messaging.message import Connection, Outgoing, Received, Transaction
from tests.conftest import Databases, as_one_statement
from tests.returns.messages import NOW, RENO, received

MessageT = TypeVar("MessageT", bound=Message)
HANDLERS: dict[type[Message], Callable[..., Awaitable[Sequence[Outgoing]]]] = {item.message: item.handler for item in SERVICE.consumes}
AUDIT = as_one_statement(INVARIANTS)


@dataclass
class Heard:
    """What one batch led to."""

    outgoing: Sequence[Outgoing]
    parked: list[str]
    deferred: list[str]

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """The messages of one type that would be published."""
        return [item.data for item in self.outgoing if isinstance(item.data, kind)]

    def one(self, kind: type[MessageT]) -> MessageT:
        """The only message of a type."""
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} of {kind.type} in {[item.data.type for item in self.outgoing]}, parked: {self.parked}"
        return found[0]


@dataclass
class Desk:
    """Handles messages as the runtime would: one transaction per call, with the outbox."""

    connection: Connection
    now: datetime = NOW
    reasons: list[str] = field(default_factory=list)

    async def hear(self, *messages: Message | Received[Any]) -> Heard:
        """One batch of messages of one type."""
        batch = [message if isinstance(message, Received) else received(message) for message in messages]
        async with self.connection.transaction():
            tx = Transaction(self.connection, self.now)
            outgoing = await HANDLERS[type(batch[0].data)](tx, batch)
            await self.say(outgoing)
        self.reasons.extend(tx.parked.values())
        return Heard(outgoing, list(tx.parked.values()), list(tx.deferred.values()))

    async def say(self, outgoing: Sequence[Outgoing]) -> None:
        """Writes messages to the outbox, where the audit looks for them."""
        rows = outbox.rows_of(outgoing, source="ordermesh/returns", service_number=1, now=self.now)
        if rows:
            await outbox.insert(self.connection, rows, self.now)

    async def violations(self) -> list[tuple[str, str, str]]:
        """What the audit has to say."""
        return [(row[0], row[1], row[2]) for row in await self.connection.fetch(AUDIT)]


@pytest.fixture
async def desk(databases: Databases) -> AsyncIterator[Desk]:
    """One desk that knows its warehouse; the books must balance when the test is done with it."""
    desk = Desk(await databases.connect("returns"))
    await desk.hear(RENO)
    yield desk
    assert await desk.violations() == []
