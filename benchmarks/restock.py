"""(d) A restock of one SKU against a long queue: how fast it is shared out, and what the neighbours of that SKU feel of it.

The queue is made of real orders that found nothing. Orders of other SKUs are offered at a fixed rate, first while nothing else happens and
then while the restock is shared out. An order's latency is from the moment when it is handed to the broker until the broker has confirmed
the reservation, so it includes waiting behind the messages of the restock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from random import Random
from uuid import UUID

from benchmarks.broker import BulkPublisher, bulk_publisher, watched_queues, work_queues
from benchmarks.catalogue import filling_of_allocation, for_one, places
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.orders import draw_skus, placed_order
from benchmarks.processes import MeasuredProcesses
from benchmarks.sizes import Sizes
from benchmarks.waiting import until_handled, until_sent
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockReserved, SupplyLine, SupplyReceived
from shared.messaging.message import Connection

DATABASE = "restock"
HOT = "9999999"
"""The SKU that everybody waits for; not part of the catalogue, whose SKUs all have stock."""
TICK_SECONDS = 0.005
POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 600.0
WARM_UP_SECONDS = 2.0


@dataclass(frozen=True)
class RestockRun:
    """What one restock did, and to whom."""

    queued_lines: int
    lines_per_second: float
    """From the receipt's commit until the broker has confirmed the last reservation."""
    longest_step_lines: int
    """Most lines that one transaction served."""
    rate: float
    quiet: Percentiles
    during: Percentiles

    @property
    def ratio(self) -> float:
        """The neighbours' p99 during the restock to their quiet one."""
        return self.during.p99_ms / self.quiet.p99_ms

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return {**asdict(self), "p99_ratio": self.ratio}


class RestockBench:
    """Runs allocation on a database of its own."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress

    async def measure(self) -> RestockRun:
        """One restock.

        Raises:
            BenchmarkError: it did not end in time, or the books are wrong.
        """
        await self._databases.create(DATABASE)
        try:
            async with self._running() as (connection, publisher):
                await self._fill(connection, publisher)
                with self._progress.step("restock of one SKU") as step:
                    run = await self._restock(connection, publisher)
                    step.result = f"{run.lines_per_second:,.0f} lines/s, neighbours' p99 {run.ratio:.2f} x quiet"
                await _check(connection, run.queued_lines)
        finally:
            await self._databases.drop(DATABASE)
        return run

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[tuple[Connection, BulkPublisher]]:
        processes = MeasuredProcesses(self._stack, DATABASE)
        connection = await self._databases.connect(DATABASE)
        try:
            async with watched_queues(self._stack.rabbitmq.url, work_queues(processes)) as queues:
                await queues.empty()
                try:
                    await asyncio.to_thread(processes.start, ["allocation"])
                    async with bulk_publisher(self._stack.rabbitmq.url) as publisher:
                        yield connection, publisher
                finally:
                    await asyncio.to_thread(processes.stop, ["allocation"])
                    await queues.empty()
        finally:
            await connection.close()

    async def _fill(self, connection: Connection, publisher: BulkPublisher) -> None:
        with self._progress.step("a queue for one SKU") as step:
            for publications in filling_of_allocation(self._sizes.restock_skus):
                await publisher.publish(publications)
                kind = publications[0].message_type
                await until_handled(connection, "allocation", kind, len(publications), timeout_seconds=TIMEOUT_SECONDS)
            known = ProductRegistered(products=[Product(sku=HOT, title=HOT, unit_price_cents=100)])
            await publisher.publish([for_one("allocation", known)])
            random = Random("waiting")
            waiting = [placed_order(random, [HOT], f"waits-{number}")[1] for number in range(self._sizes.queued_lines)]
            await publisher.publish(waiting)
            await until_handled(connection, "allocation", OrderPlaced.type, len(waiting), timeout_seconds=TIMEOUT_SECONDS)
            await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
            await self._databases.analyze(DATABASE)
            await self._databases.checkpoint()
            step.result = f"{len(waiting):,} lines wait"

    async def _restock(self, connection: Connection, publisher: BulkPublisher) -> RestockRun:
        sizes = self._sizes
        offer = Offer(publisher, sizes.restock_skus, sizes.neighbour_rate)
        await offer.during(WARM_UP_SECONDS)
        quiet_ids = await offer.during(sizes.quiet_seconds)
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
        quiet = percentiles(await _latencies(connection, quiet_ids, offer.sent_at))
        stop = asyncio.Event()
        offering = asyncio.create_task(offer.until(stop))
        goods = SupplyReceived(receipt_id=new_id(), location=places()[0].code, lines=[SupplyLine(sku=HOT, quantity=sizes.queued_lines)])
        try:
            await publisher.publish([for_one("allocation", goods)])
            await _until_shared_out(connection)
        finally:
            stop.set()
            during_ids = await offering
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.02)
        began, ended = await _restock_interval(connection)
        inside = [order_id for order_id in during_ids if began <= offer.sent_at[order_id] <= ended]
        return RestockRun(
            queued_lines=sizes.queued_lines,
            lines_per_second=sizes.queued_lines / (ended - began),
            longest_step_lines=await _longest_step(connection),
            rate=sizes.neighbour_rate,
            quiet=quiet,
            during=percentiles(await _latencies(connection, inside, offer.sent_at)),
        )


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


async def _latencies(connection: Connection, order_ids: Sequence[UUID], sent_at: Mapping[UUID, float]) -> list[float]:
    """Per order from the broker's hands to its confirmed reservation."""
    rows = await connection.fetch(
        "SELECT subject, sent_at FROM allocation.outbox WHERE type = $1 AND subject = ANY($2::text[])",
        StockReserved.type,
        [str(order_id) for order_id in order_ids],
    )
    if len(rows) != len(order_ids):
        raise BenchmarkError(f"{len(rows)} of {len(order_ids)} neighbouring orders were reserved")
    return [row["sent_at"].timestamp() - sent_at[UUID(row["subject"])] for row in rows]


async def _until_shared_out(connection: Connection) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    question = "SELECT reserved > 0 AND queued = 0 FROM allocation.stock_pools WHERE sku = $1"
    while not await connection.fetchval(question, HOT):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the restock was not shared out within {TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


async def _restock_interval(connection: Connection) -> tuple[float, float]:
    """From the receipt's handling until the last reservation was confirmed (seconds since the epoch)."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT max(handled_at) FROM allocation.inbox WHERE type = $1) AS began,
               (SELECT max(o.sent_at) FROM allocation.outbox o
                WHERE o.type = $2 AND convert_from(o.body, 'UTF8')::jsonb -> 'data' ->> 'cause' = 'restocked') AS ended
        """,
        SupplyReceived.type,
        StockReserved.type,
    )
    assert row is not None
    return row["began"].timestamp(), row["ended"].timestamp()


async def _longest_step(connection: Connection) -> int:
    lines: int = await connection.fetchval(
        """
        SELECT max(lines) FROM (
            SELECT count(*) AS lines FROM allocation.outbox
            WHERE type = $1 AND convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'cause' = 'restocked' GROUP BY created_at
        ) step
        """,
        StockReserved.type,
    )
    return lines


async def _check(connection: Connection, lines: int) -> None:
    """Speed with wrong books is worth nothing."""
    row = await connection.fetchrow(
        """
        SELECT pool.reserved, pool.queued, (SELECT sum(reserved) FROM allocation.demand WHERE sku = $1) AS promised,
               (SELECT sum(quantity) FROM allocation.movements WHERE sku = $1 AND kind = 'reserved') AS ledger
        FROM allocation.stock_pools pool WHERE sku = $1
        """,
        HOT,
    )
    if row is None or tuple(row) != (lines, 0, lines, lines):
        raise BenchmarkError(f"the books of the restocked SKU are wrong: {row} for {lines} lines")
