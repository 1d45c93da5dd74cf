"""A date change for a long queue: until every order is promised anew and told, and what the neighbours of that SKU feel of it.

Everybody waits for one SKU and has been told a date. Then the supply that will bring it is rescheduled.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from benchmarks.broker import BulkPublisher
from benchmarks.catalogue import for_one, places
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.neighbours import HOT, TIMEOUT_SECONDS, WARM_UP_SECONDS, Offer, allocation_on, latencies, queue_up
from benchmarks.sizes import Sizes
from benchmarks.waiting import until_sent
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.envelope import new_id
from shared.contracts.stock import StockPromiseChanged, SupplyLine, SupplyRescheduled, SupplyScheduled
from shared.messaging.message import Connection

DATABASE = "promises"
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class PromisesRun:
    """One date change."""

    waiting_orders: int
    seconds: float
    """From the publish of the change until the broker has confirmed the last message about it."""
    rate: float
    quiet: Percentiles
    meanwhile: Percentiles

    @property
    def orders_per_second(self) -> float:
        """Orders that were promised anew and told, per second."""
        return self.waiting_orders / self.seconds

    @property
    def ratio(self) -> float:
        """The neighbours' p99 meanwhile to their quiet one."""
        return self.meanwhile.p99_ms / self.quiet.p99_ms

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return {**asdict(self), "orders_per_second": self.orders_per_second, "p99_ratio": self.ratio}


class PromisesBench:
    """Runs allocation on a database of its own."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress

    async def measure(self) -> PromisesRun:
        """One date change.

        Raises:
            BenchmarkError: it did not end in time, or somebody was told twice or not at all.
        """
        orders = self._sizes.queued_orders
        async with allocation_on(self._stack, self._databases, DATABASE) as (connection, publisher):
            with self._progress.step("a queue with a date") as step:
                await queue_up(connection, publisher, skus=self._sizes.restock_skus, orders=orders)
                supply_id = await self._promise(connection, publisher)
                await self._databases.analyze(DATABASE)
                await self._databases.checkpoint()
                step.result = f"{orders:,} orders wait"
            with self._progress.step("another date") as step:
                run = await self._change_date(connection, publisher, supply_id)
                step.result = f"{run.seconds:.1f} s, neighbours' p99 {run.ratio:.2f} x quiet"
            await _check(connection, orders)
        return run

    async def _promise(self, connection: Connection, publisher: BulkPublisher) -> UUID:
        """Tells everybody who waits a first date; returns the supply that will bring the goods."""
        supply = SupplyScheduled(
            supply_id=new_id(),
            location=places()[0].code,
            expected_at=datetime.now(UTC) + timedelta(days=9),
            lines=[SupplyLine(sku=HOT, quantity=self._sizes.queued_orders)],
        )
        await publisher.publish([for_one("allocation", supply)])
        await _until_told(connection, "SELECT EXISTS (SELECT FROM allocation.supplies WHERE supply_id = $1)", supply.supply_id)
        return supply.supply_id

    async def _change_date(self, connection: Connection, publisher: BulkPublisher, supply_id: UUID) -> PromisesRun:
        sizes = self._sizes
        offer = Offer(publisher, sizes.restock_skus, sizes.neighbour_rate)
        await offer.during(WARM_UP_SECONDS)
        quiet_ids = await offer.during(sizes.quiet_seconds)
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
        quiet = percentiles(await latencies(connection, quiet_ids, offer.sent_at))
        stop = asyncio.Event()
        offering = asyncio.create_task(offer.until(stop))
        change = SupplyRescheduled(supply_id=supply_id, change_id=new_id(), expected_at=datetime.now(UTC) + timedelta(days=12))
        began = time.time()
        try:
            await publisher.publish([for_one("allocation", change)])
            await _until_told(connection, "SELECT EXISTS (SELECT FROM allocation.supply_changes WHERE change_id = $1)", change.change_id)
        finally:
            stop.set()
            meanwhile_ids = await offering
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.02)
        last: datetime = await connection.fetchval("SELECT max(sent_at) FROM allocation.outbox WHERE type = $1", StockPromiseChanged.type)
        inside = [order_id for order_id in meanwhile_ids if began <= offer.sent_at[order_id] <= last.timestamp()]
        return PromisesRun(
            waiting_orders=sizes.queued_orders,
            seconds=last.timestamp() - began,
            rate=sizes.neighbour_rate,
            quiet=quiet,
            meanwhile=percentiles(await latencies(connection, inside, offer.sent_at)),
        )


async def _until_told(connection: Connection, begun: str, cause_id: UUID) -> None:
    """Waits until a cause has been handled, no date is left to set or to tell, and the broker has all that was said about dates."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    under_way = """
        SELECT EXISTS (SELECT FROM allocation.promise_rounds) OR EXISTS (SELECT FROM allocation.promise_changes)
            OR EXISTS (SELECT FROM allocation.outbox WHERE sent_at IS NULL AND type = $1)
        """
    while not await connection.fetchval(begun, cause_id) or await connection.fetchval(under_way, StockPromiseChanged.type):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not everybody was told of a new date within {TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


async def _check(connection: Connection, orders: int) -> None:
    """Speed is worth nothing when somebody was told twice or not at all."""
    rows = await connection.fetch(
        """
        SELECT convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'cause' AS cause, count(*) AS messages, count(DISTINCT subject) AS told
        FROM allocation.outbox WHERE type = $1 GROUP BY 1 ORDER BY 1
        """,
        StockPromiseChanged.type,
    )
    said = [tuple(row) for row in rows]
    if said != [("supply_rescheduled", orders, orders), ("supply_scheduled", orders, orders)]:
        raise BenchmarkError(f"of {orders} orders, the causes of new dates and who was told of them are wrong: {said}")
