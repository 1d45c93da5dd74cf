"""A small service to try the runtime with: its handler writes one effect per order and says what the test tells it to say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from shared.config import Settings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.orders import Address, Customer, OrderLine, OrderPlaced
from shared.contracts.stock import StockReserved
from shared.database import open_pool
from shared.messaging.batching import Processor, Subscription, Surroundings
from shared.messaging.message import Outgoing, Received, Transaction
from shared.messaging.outbox import encode
from shared.messaging.reading import Delivery
from shared.migrate import migrate_service
from shared.telemetry import Metrics, service_number
from tests.conftest import PASSWORD, Databases

Behaviour = Callable[[Transaction, Received[OrderPlaced]], Awaitable[None]]


def an_order(external_id: str = "1001", quantity: int = 2) -> OrderPlaced:
    """A plausible order; ``external_id`` lets a test tell its handler what to do with it."""
    return OrderPlaced(
        order_id=new_id(),
        channel="shopify",
        external_id=external_id,
        placed_at=datetime.now(UTC),
        currency="USD",
        segment="dtc",
        lines=[OrderLine(line_id="1", sku="MUG", title="Mug", quantity=quantity, unit_price_cents=1_250, unit_weight_grams=400)],
        ship_to=Address(name="A. Shopper", line1="1 Main St", city="Reno", region="NV", postal_code="89501", country="US"),
        customer=Customer(email="shopper@example.com"),
    )


def delivery_of(data: Message, *, source: str = "ordermesh/sync", event_id: UUID | None = None, routing_key: str | None = None) -> Delivery:
    """The bytes of a message as another service would publish it."""
    outgoing = Outgoing(data, subject="test", event_id=event_id or new_id())
    body = encode(outgoing, source=source, service_number=service_number("sync"), now=datetime.now(UTC))
    return Delivery(body, routing_key or data.type)


@dataclass
class Workshop:
    """A processor on a real database, and what its handler has seen."""

    around: Surroundings
    databases: Databases
    behaviour: Behaviour | None = None
    seen: list[str] = field(default_factory=list)
    offset: timedelta = timedelta()
    wakes: int = 0

    async def handle(self, tx: Transaction, messages: Sequence[Received[OrderPlaced]]) -> Sequence[Outgoing]:
        """Writes one effect per order, unless the test's behaviour has it otherwise."""
        outgoing = []
        for message in messages:
            self.seen.append(message.data.external_id)
            if self.behaviour is not None:
                await self.behaviour(tx, message)
            if message.event_id in tx.parked or message.event_id in tx.deferred:
                continue
            await tx.connection.execute("INSERT INTO effects (order_id) VALUES ($1)", message.data.order_id)
            reserved = StockReserved(
                order_id=message.data.order_id, order_version=1, cause="placed", lines=[], assignable=[], reserved_at=tx.now
            )
            outgoing.append(Outgoing(reserved, subject=str(message.data.order_id), because=message))
        return outgoing

    def processor(self) -> Processor:
        """A processor as a service process has it; several make several replicas."""
        return Processor(Subscription(OrderPlaced, self.handle), self.around)

    async def statuses(self) -> dict[str, int]:
        """Inbox rows by status."""
        rows = await self.around.pool.fetch("SELECT status, count(*) AS events FROM inbox GROUP BY status")
        return {row["status"]: row["events"] for row in rows}

    async def reasons(self) -> list[str]:
        """Why messages wait."""
        rows = await self.around.pool.fetch("SELECT reason FROM inbox WHERE status <> 'done' ORDER BY received_at")
        return [row["reason"] for row in rows]

    async def effects(self) -> int:
        """How often the handler's work was committed."""
        count: int = await self.around.pool.fetchval("SELECT count(*) FROM effects")
        return count

    async def unsent(self) -> int:
        """Messages in the outbox that nobody has published."""
        count: int = await self.around.pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
        return count


@pytest.fixture
async def workshop(databases: Databases, tmp_path: Path) -> AsyncIterator[Workshop]:
    """A runtime on a database of its own."""
    admin = await databases.connect_as_admin()
    await migrate_service(admin, "workshop", password=PASSWORD)
    await admin.execute("CREATE TABLE IF NOT EXISTS workshop.effects (order_id uuid NOT NULL)")
    await admin.execute("GRANT ALL ON workshop.effects TO ordermesh_workshop")
    settings = Settings(
        database_url=databases.url("workshop"), amqp_url="amqp://unused", operator_token="only-for-this-test", error_attempts=3
    )
    pool = await open_pool(settings.database_url, application_name="test", size=6, command_timeout_seconds=10)
    around = Surroundings("workshop", pool, settings, Metrics("workshop"), lambda: datetime.now(UTC), lambda: None)
    shop = Workshop(around, databases)

    def committed() -> None:
        shop.wakes += 1

    around.now = lambda: datetime.now(UTC) + shop.offset
    around.committed = committed
    yield shop
    await pool.close()
