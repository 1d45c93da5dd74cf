"""Sync's side of a test: its schema, its handlers in transactions of their own, its errands, and the real channels simulator over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from services.sync.channels.generic import GenericChannel
from services.sync.errands.calls import CallMetrics, ChannelCalls
from services.sync.handlers import catalogue, orders, stock
from services.sync.queries.channels import register_channel
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockAvailabilityChanged
from shared.messaging import outbox
from shared.messaging.message import Connection, Handler, Outgoing, Received, Transaction
from shared.service import Errand
from simulators.channels.api import Simulator
from tests.conftest import Databases
from tests.sync.messages import NOW, an_order, listings, products, received
from tests.sync.service_side import SyncHttp, serve, write_partners


@dataclass
class Handled:
    """What became of a batch."""

    outgoing: list[Outgoing]
    parked: dict[UUID, str]
    deferred: dict[UUID, str]

    def said(self, message: type) -> list[Any]:
        """What was published of one type."""
        return [outgoing.data for outgoing in self.outgoing if isinstance(outgoing.data, message)]


@dataclass
class Desk:
    """Runs sync's handlers as the runtime does: one transaction per batch, outbox included. The clock stands still until it is moved."""

    connection: Connection
    now: datetime = NOW
    published: list[Outgoing] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        """Moves the clock."""
        self.now += timedelta(seconds=seconds)

    async def handle(self, handler: Handler[Any], *messages: Received[Any]) -> Handled:
        """One batch, committed."""
        async with self.connection.transaction():
            tx = Transaction(self.connection, self.now)
            outgoing = list(await handler(tx, messages))
            await self._say(outgoing)
        return Handled(outgoing, tx.parked, tx.deferred)

    async def _say(self, outgoing: Sequence[Outgoing]) -> None:
        rows = outbox.rows_of(outgoing, source="ordermesh/sync", service_number=1, now=self.now)
        if rows:
            await outbox.insert(self.connection, rows, self.now)
        self.published += outgoing

    async def set_up(self, *skus: str, channels: Sequence[str] = ("shop",)) -> None:
        """Channels that list some products."""
        for channel in channels:
            await register_channel(self.connection, channel, self.now)
        await self.handle(catalogue.register_products, received(products(*skus)))
        for channel in channels:
            await self.handle(catalogue.register_listings, received(listings(*skus, channel=channel)))

    async def place(self, **changes: Any) -> OrderPlaced:
        """A placed order."""
        handled = await self.handle(orders.receive_orders, received(an_order(**changes)))
        placed: OrderPlaced = handled.said(OrderPlaced)[0]
        return placed

    async def change_availability(self, *events: StockAvailabilityChanged) -> None:
        """One batch of availability events."""
        await self.handle(stock.change_availability, *(received(event) for event in events))

    async def run(self, errand: Errand[Any, Any]) -> int:
        """Claims, performs and settles once, as the runtime does; returns how many tasks there were."""
        tasks = await self.claim(errand)
        results = await asyncio.gather(*(errand.perform(task) for task in tasks))
        await self.settle(errand, list(zip(tasks, results, strict=True)))
        return len(tasks)

    async def claim(self, errand: Errand[Any, Any]) -> list[Any]:
        """The first third of an errand."""
        async with self.connection.transaction():
            return list(await errand.claim(Transaction(self.connection, self.now), errand.concurrency))

    async def settle(self, errand: Errand[Any, Any], results: Sequence[tuple[Any, Any]]) -> list[Outgoing]:
        """The last third of an errand."""
        if not results:
            return []
        async with self.connection.transaction():
            outgoing = list(await errand.settle(Transaction(self.connection, self.now), results))
            await self._say(outgoing)
        return outgoing

    async def run_until_idle(self, errand: Errand[Any, Any], *, seconds_between: float = 61.0, rounds: int = 200) -> int:
        """Runs an errand, moving the clock, until nothing has been due for two rounds; returns how many tasks there were."""
        total = idle = 0
        for _ in range(rounds):
            done = await self.run(errand)
            total += done
            idle = 0 if done else idle + 1
            if idle == 2:
                return total
            self.wait(seconds_between)
        raise AssertionError(f"{errand.name} still had something to do after {rounds} rounds")

    async def listing(self, sku: str, channel: str = "shop") -> dict[str, Any]:
        """One row of listing_stock."""
        row = await self.connection.fetchrow("SELECT * FROM listing_stock WHERE channel = $1 AND sku = $2", channel, sku)
        assert row is not None, f"{channel} has no number for {sku}"
        return dict(row)


@dataclass
class Shopfront:
    """The channels simulator as a test sees it."""

    base_url: str
    http: aiohttp.ClientSession
    code: str = "shop"

    async def behave(self, **behaviour: Any) -> None:
        """Sets how the channel behaves."""
        async with self.http.post(f"{self.base_url}/behaviour", json=behaviour) as response:
            assert response.status == 200, await response.text()

    async def state(self) -> dict[str, Any]:
        """Everything it was told."""
        async with self.http.get(f"{self.base_url}/state") as response:
            state: dict[str, Any] = await response.json()
            return state


@pytest.fixture
async def connection(databases: Databases) -> Connection:
    """A connection with sync's own rights."""
    return await databases.connect("sync")


@pytest.fixture
async def desk(connection: Connection) -> Desk:
    """Handlers and errands on an empty schema."""
    return Desk(connection)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session as a service has it."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def simulator_url() -> AsyncIterator[str]:
    """The channels simulator, listening."""
    runner = web.AppRunner(Simulator("tests").application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def shop(simulator_url: str, http: aiohttp.ClientSession) -> Shopfront:
    """The channel ``shop`` of the simulator."""
    return Shopfront(f"{simulator_url}/shop", http)


def calls_to(
    base_url: str,
    desk: Desk,
    http: aiohttp.ClientSession,
    *,
    code: str = "shop",
    timeout_seconds: float = 0.5,
    rate: float = 1_000.0,
    listings_per_call: int = 1,
) -> ChannelCalls:
    """Calls to a channel with the test's clock; one listing in each unless a test says otherwise."""
    return ChannelCalls(
        code,
        GenericChannel(base_url, http, timeout_seconds=timeout_seconds, listings_per_call=listings_per_call),
        requests_per_second=rate,
        concurrency=16,
        timeout_seconds=timeout_seconds,
        now=lambda: desk.now,
        metrics=CallMetrics(CollectorRegistry()),
    )


@pytest.fixture
def calls(shop: Shopfront, desk: Desk, http: aiohttp.ClientSession) -> ChannelCalls:
    """Calls to the channel ``shop``; half a second is all the patience they have."""
    return calls_to(shop.base_url, desk, http)


@pytest.fixture
async def sync(databases: Databases, tmp_path: Path, shop: Shopfront, http: aiohttp.ClientSession) -> AsyncIterator[SyncHttp]:
    """The service's HTTP side."""
    async with serve(databases.url("sync"), write_partners(tmp_path / "partners.json", shop_url=shop.base_url), http) as served:
        yield served
