"""(a) Allocation alone: orders per second from its queue to commit and confirmed publish.

The queue is filled first, then the service is started. The start is not counted: the clock runs from the moment when a tenth of the orders
is done until the broker has confirmed the last message about them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Literal

from benchmarks.broker import bulk_publisher, watched_queues, work_queues
from benchmarks.catalogue import filling_of_allocation
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.orders import LINES, placed_orders
from benchmarks.processes import MeasuredProcesses
from benchmarks.processor_time import ProcessorClock, Reading, microseconds_per_order
from benchmarks.sizes import Sizes
from benchmarks.waiting import handled, until_handled, until_sent
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockReserved
from shared.messaging.message import Connection

Driver = Literal["aio_pika", "faststream"]

FILLED = "allocation"
RUN = "allocation_run"
LEFT_OUT_SHARE = 0.1
"""Of the orders: those during which the process starts and caches fill."""
POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class AllocationRun:
    """What one run of the service did."""

    driver: Driver
    hot: bool
    orders: int
    orders_per_second: float
    """Confirmed publishes per second without the first tenth."""
    messages_per_batch: float
    processor_us_per_order: Mapping[str, float]
    sample_body: bytes
    """A typical stock.reserved envelope, for the comparison."""

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        document = asdict(self)
        document["sample_body_bytes"] = len(document.pop("sample_body"))
        return document


class AllocationBench:
    """Runs allocation on fresh copies of one filled database."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress
        self._filled = False

    async def fill(self) -> None:
        """The database of which every run gets a copy; done once."""
        if not self._filled:
            await self.fill_one(FILLED, self._sizes.skus)
        self._filled = True

    async def fill_one(self, name: str, skus: int) -> None:
        """Products, locations and stock, through allocation's own handlers."""
        with self._progress.step("filling allocation") as step:
            await self._databases.create(name)
            # A supply has a thousand lines: few of them in one transaction.
            async with self._running(name, {"ORDERMESH_BATCH_MESSAGES": "4"}) as (connection, processes, _):
                await asyncio.to_thread(processes.start, ["allocation"])
                async with bulk_publisher(self._stack.rabbitmq.url) as publisher:
                    for publications in filling_of_allocation(skus):
                        await publisher.publish(publications)
                        kind = publications[0].message_type
                        await until_handled(connection, "allocation", kind, len(publications), timeout_seconds=TIMEOUT_SECONDS)
                await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
            await self._databases.analyze(name)
            step.result = f"{skus:,} SKUs at 5 locations"

    @asynccontextmanager
    async def _running(
        self, database: str, changes: Mapping[str, str]
    ) -> AsyncIterator[tuple[Connection, MeasuredProcesses, ProcessorClock]]:
        """Surroundings of one run: empty queues before and after, and allocation stopped at the end."""
        processes = MeasuredProcesses(self._stack, database, changes)
        clock = ProcessorClock(self._stack, processes, self._databases, database)
        connection = await self._databases.connect(database)
        try:
            async with watched_queues(self._stack.rabbitmq.url, work_queues(processes)) as queues:
                await queues.empty()
                try:
                    yield connection, processes, clock
                finally:
                    await asyncio.to_thread(processes.stop, ["allocation"])
                    await queues.empty()
        finally:
            await connection.close()

    async def measure(self, *, driver: Driver, hot: bool) -> AllocationRun:
        """One run over a queue full of orders."""
        await self.fill()
        name = f"allocation, {driver}, {'one hot SKU' if hot else 'uniform'}"
        with self._progress.step(name) as step:
            await self._databases.copy(FILLED, RUN)
            async with self._running(RUN, {"ORDERMESH_CONSUMER_DRIVER": driver}) as (connection, processes, clock):
                orders = placed_orders(self._sizes.orders, self._sizes.skus, hot=hot, seed=1)
                async with bulk_publisher(self._stack.rabbitmq.url) as publisher:
                    await publisher.publish(orders)
                starting = asyncio.create_task(asyncio.to_thread(processes.start, ["allocation"]))
                try:
                    used, counted = await self._processor_time(connection, clock)
                finally:
                    await starting
                run = AllocationRun(
                    driver=driver,
                    hot=hot,
                    orders=len(orders),
                    orders_per_second=await _orders_per_second(connection, len(orders)),
                    messages_per_batch=await _messages_per_batch(connection),
                    processor_us_per_order=microseconds_per_order(used, counted),
                    sample_body=await _sample_body(connection),
                )
                await _check(connection, len(orders))
            await self._databases.drop(RUN)
            step.result = f"{run.orders_per_second:,.0f} orders/s"
        return run

    async def _processor_time(self, connection: Connection, clock: ProcessorClock) -> tuple[dict[str, float], int]:
        """Waits for the end; returns the processor seconds used after the first tenth, and by how many orders."""
        left_out = int(self._sizes.orders * LEFT_OUT_SHARE)
        before: Reading | None = None
        done_before = 0
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            done = await handled(connection, "allocation", OrderPlaced.type)
            if before is None and done >= left_out:
                before, done_before = await clock.read(), done
            if done >= self._sizes.orders:
                break
            if time.monotonic() > deadline:
                raise BenchmarkError(f"allocation reserved {done} of {self._sizes.orders} orders within {TIMEOUT_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.02)
        after = await clock.read()
        assert before is not None
        return after.since(before), done - done_before


async def _orders_per_second(connection: Connection, orders: int) -> float:
    """Between the commit of the order that ends the first tenth and the last confirmation of anything.

    Not between two confirmations: a relay that starves until the queue is empty would look fast.
    """
    row = await connection.fetchrow(
        """
        SELECT (SELECT handled_at FROM allocation.inbox WHERE type = $1 ORDER BY handled_at OFFSET $3 LIMIT 1) AS began,
               (SELECT count(*) FROM allocation.outbox WHERE type = $2) AS told,
               (SELECT max(sent_at) FROM allocation.outbox) AS ended
        """,
        OrderPlaced.type,
        StockReserved.type,
        int(orders * LEFT_OUT_SHARE),
    )
    assert row is not None
    if row["told"] != orders:
        raise BenchmarkError(f"allocation announced {row['told']} reservations for {orders} orders")
    later = await connection.fetchval(
        "SELECT count(*) FROM allocation.inbox WHERE type = $1 AND handled_at > $2", OrderPlaced.type, row["began"]
    )
    return float(later / (row["ended"] - row["began"]).total_seconds())


async def _messages_per_batch(connection: Connection) -> float:
    mean = await connection.fetchval(
        "SELECT count(*)::float / count(DISTINCT handled_at) FROM allocation.inbox WHERE type = $1", OrderPlaced.type
    )
    return float(mean)


async def _sample_body(connection: Connection) -> bytes:
    body: bytes = await connection.fetchval(
        "SELECT body FROM allocation.outbox WHERE type = $1 ORDER BY length(body), event_id OFFSET $2 LIMIT 1",
        StockReserved.type,
        await connection.fetchval("SELECT count(*) / 2 FROM allocation.outbox WHERE type = $1", StockReserved.type),
    )
    return body


async def _check(connection: Connection, orders: int) -> None:
    """Speed with wrong books is worth nothing."""
    reserved, promised, ledger = await connection.fetchrow(  # type: ignore[misc]  # a row without WHERE is always there
        """
        SELECT (SELECT sum(reserved) FROM allocation.stock_pools), (SELECT sum(reserved) FROM allocation.demand),
               (SELECT sum(quantity) FROM allocation.movements WHERE kind = 'reserved')
        """
    )
    if not reserved == promised == ledger == orders * LINES:
        raise BenchmarkError(f"the books of allocation are wrong: {reserved}, {promised}, {ledger} units for {orders} orders")
