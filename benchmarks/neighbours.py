"""What other SKUs feel of something big that happens to one of them.

Orders of the other SKUs are offered at a fixed rate, first while nothing else happens and then meanwhile. An order's latency is from the
moment when it is handed to the broker until the broker has confirmed the reservation, so it includes waiting behind other messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from uuid import UUID

from benchmarks.broker import BulkPublisher, bulk_publisher, watched_queues, work_queues
from benchmarks.catalogue import filling_of_allocation, for_one
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.orders import draw_skus, placed_order
from benchmarks.processes import MeasuredProcesses
from benchmarks.waiting import until_handled, until_sent
from deploy.local.stack import Stack
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockReserved
from shared.messaging.message import Connection

HOT = "9999999"
"""The SKU that everybody waits for; not part of the catalogue, whose SKUs all have stock."""
TICK_SECONDS = 0.005
TIMEOUT_SECONDS = 600.0
WARM_UP_SECONDS = 2.0


@asynccontextmanager
async def allocation_on(stack: Stack, databases: Databases, database: str) -> AsyncIterator[tuple[Connection, BulkPublisher]]:
    """Allocation on a database of its own, which is deleted afterwards."""
    await databases.create(database)
    processes = MeasuredProcesses(stack, database)
    try:
        connection = await databases.connect(database)
        try:
            async with watched_queues(stack.rabbitmq.url, work_queues(processes)) as queues:
                await queues.empty()
                try:
                    await asyncio.to_thread(processes.start, ["allocation"])
                    async with bulk_publisher(stack.rabbitmq.url) as publisher:
                        yield connection, publisher
                finally:
                    await asyncio.to_thread(processes.stop, ["allocation"])
                    await queues.empty()
        finally:
            await connection.close()
    finally:
        await databases.drop(database)


async def queue_up(connection: Connection, publisher: BulkPublisher, *, skus: int, orders: int) -> None:
    """Stock of all neighbours, and orders that wait for one unit each of the SKU that has none."""
    for publications in filling_of_allocation(skus):
        await publisher.publish(publications)
        kind = publications[0].message_type
        await until_handled(connection, "allocation", kind, len(publications), timeout_seconds=TIMEOUT_SECONDS)
    known = ProductRegistered(products=[Product(sku=HOT, title=HOT, unit_price_cents=100)])
    await publisher.publish([for_one("allocation", known)])
    random = Random("waiting")
    waiting = [placed_order(random, [HOT], f"waits-{number}")[1] for number in range(orders)]
    await publisher.publish(waiting)
    await until_handled(connection, "allocation", OrderPlaced.type, len(waiting), timeout_seconds=TIMEOUT_SECONDS)
    await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)


class Offer:
    """Orders of the other SKUs at a fixed rate, whatever the service does (open loop)."""

    def __init__(self, publisher: BulkPublisher, skus: int, rate: float) -> None:
        self._publisher = publisher
        self._random = Random("neighbours")
        self._skus = skus
        self._rate = rate
        self.sent_at: dict[UUID, float] = {}
        """When each order was handed to the broker (seconds since the epoch), by its id."""

    async def during(self, seconds: float) -> list[UUID]:
        """Offers for a while; returns the ids of the orders."""
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        return await self.until(stop)

    async def until(self, stop: asyncio.Event) -> list[UUID]:
        """Offers until told to stop; returns the ids of the orders. A broker that confirms late does not slow it down."""
        began = time.monotonic()
        offered: list[UUID] = []
        under_way: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            due = int((time.monotonic() - began) * self._rate) - len(offered)
            group = [
                placed_order(self._random, draw_skus(self._random, self._skus, hot=False), f"neighbour-{new_id()}") for _ in range(due)
            ]
            if group:
                now = time.time()
                self.sent_at.update((order_id, now) for order_id, _ in group)
                offered.extend(order_id for order_id, _ in group)
                under_way.add(asyncio.create_task(self._publisher.publish([publication for _, publication in group])))
            finished = {task for task in under_way if task.done()}
            under_way -= finished
            for task in finished:
                task.result()
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*under_way)
        return offered


async def latencies(connection: Connection, order_ids: Sequence[UUID], sent_at: Mapping[UUID, float]) -> list[float]:
    """Per order from the broker's hands to its confirmed reservation; waits for the last of them.

    Raises:
        BenchmarkError: some were not reserved in time, although there is stock of everything.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        rows = await connection.fetch(
            "SELECT subject, sent_at FROM allocation.outbox WHERE type = $1 AND subject = ANY($2::text[]) AND sent_at IS NOT NULL",
            StockReserved.type,
            [str(order_id) for order_id in order_ids],
        )
        if len(rows) == len(order_ids):
            break
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{len(rows)} of {len(order_ids)} neighbouring orders were reserved within {TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(TICK_SECONDS)
    return [row["sent_at"].timestamp() - sent_at[UUID(row["subject"])] for row in rows]
