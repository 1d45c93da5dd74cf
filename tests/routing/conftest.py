"""A routing desk on a real database. Whatever a test does, the service's own audit must be clean at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest

from services.routing import handlers
from services.routing.__main__ import SERVICE
from services.routing.audit import INVARIANTS
from shared.contracts.base import Message
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentPlanned,
    FulfillmentRequested,
    LocationRegistrationRequested,
)
from shared.contracts.orders import OrderPlaced
from shared.messaging.message import Connection, Outgoing, Received, Transaction
from tests.conftest import Databases, as_one_statement
from tests.routing.messages import NEWARK, NOON, RENO, Stock, received, reserved

MessageT = TypeVar("MessageT", bound=Message)
HANDLERS: dict[type[Message], Callable[..., Awaitable[Sequence[Outgoing]]]] = {item.message: item.handler for item in SERVICE.consumes}
AUDIT = as_one_statement(INVARIANTS)


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
        assert len(found) == 1, f"{len(found)} of {kind.type} in {[item.data.type for item in self.outgoing]}, parked: {self.parked}"
        return found[0]

    @property
    def types(self) -> list[str]:
        """What would be published, by type."""
        return [item.data.type for item in self.outgoing]


@dataclass
class Desk:
    """Handles messages as the runtime would: one transaction per call."""

    connection: Connection
    now: datetime = NOON

    async def hear(self, *messages: Message | Received[Any], partner: str | None = None) -> Heard:
        """One batch of messages of one type."""
        batch = [message if isinstance(message, Received) else received(message, partner=partner) for message in messages]
        async with self.connection.transaction():
            tx = Transaction(self.connection, self.now)
            outgoing = await HANDLERS[type(batch[0].data)](tx, batch)
        return Heard(outgoing, list(tx.parked.values()), list(tx.deferred.values()))

    async def wake(self, after: timedelta = timedelta(0)) -> Heard:
        """Lets time pass and the schedules run."""
        self.now += after
        async with self.connection.transaction():
            tx = Transaction(self.connection, self.now)
            outgoing = [*await handlers.wake_due_orders(tx), *await handlers.adopt_early_reservations(tx)]
        return Heard(outgoing)

    async def retry(self, order_id: UUID) -> Heard:
        """An operator lets an order go on."""
        async with self.connection.transaction():
            retried = await handlers.retry_order(Transaction(self.connection, self.now), order_id)
        assert retried.needed_attention
        return Heard(retried.outgoing)

    async def register(self, *locations: LocationRegistrationRequested) -> None:
        """Registers locations."""
        await self.hear(*locations)

    async def plan(self, placed: OrderPlaced, assignable: Stock) -> FulfillmentPlanned:
        """Takes an order in and plans it on this stock."""
        await self.hear(placed)
        return (await self.hear(reserved(placed, assignable))).one(FulfillmentPlanned)

    async def hand_over(self, placed: OrderPlaced, assignable: Stock) -> list[FulfillmentRequested]:
        """Takes an order all the way to the 3PLs."""
        plan = await self.plan(placed, assignable)
        heard = await self.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
        return heard.of(FulfillmentRequested)

    async def order(self, order_id: UUID) -> dict[str, Any]:
        """The order's row."""
        row = await self.connection.fetchrow("SELECT * FROM orders WHERE order_id = $1", order_id)
        assert row is not None
        return dict(row)

    async def states(self, order_id: UUID) -> list[str]:
        """The states of the order's fulfillments, in the order in which they were planned."""
        rows = await self.connection.fetch("SELECT state FROM fulfillments WHERE order_id = $1 ORDER BY fulfillment_id", order_id)
        return [row["state"] for row in rows]

    async def violations(self) -> list[tuple[str, str, str]]:
        """What the audit has to say."""
        return [(row[0], row[1], row[2]) for row in await self.connection.fetch(AUDIT)]


@pytest.fixture
async def desk(databases: Databases) -> AsyncIterator[Desk]:
    """A desk with two locations, Reno (3PL west) and Newark (3PL east); the books must balance when the test is done with it."""
    desk = Desk(await databases.connect("routing"))
    await desk.register(RENO, NEWARK)
    yield desk
    assert await desk.violations() == []
