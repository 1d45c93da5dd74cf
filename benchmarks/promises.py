"""(d) A date change for a long queue: until every order is promised anew and told, and what other SKUs feel of it meanwhile.

Orders for ordinary products come at a fixed rate all the time, whatever the service does (open loop). How long one takes is seen from
outside: from its publish until the broker has confirmed its reservation. First without the change, then from the moment at which the supply
is rescheduled until the last waiting order has been told.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from benchmarks.allocation import FILLED, TIMEOUT_SECONDS, AllocationBench
from benchmarks.broker import BulkPublisher, bulk_publisher
from benchmarks.catalogue import for_one, places
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.orders import placed_orders, waiting_orders
from benchmarks.sizes import Sizes
from benchmarks.waiting import until_handled, until_sent
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockPromiseChanged, StockReserved, SupplyLine, SupplyRescheduled, SupplyScheduled
from shared.messaging.message import Connection
from shared.messaging.pipelining import Publication

RUN = "promises_run"
AWAITED_SKU = "9000000"
"""Everybody waits for it; behind all SKUs of the catalogue."""
RATE = 200.0
"""Orders a second for other SKUs: an ordinary busy shop."""
WARM_UP_SECONDS = 2.0
LONGEST_CHANGE_SECONDS = 120.0
TICK_SECONDS = 0.01
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

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


@dataclass
class _OpenLoad:
    """Orders at a fixed rate until told to stop."""

    publisher: BulkPublisher
    orders: Sequence[tuple[str, Publication]]
    published_at: dict[str, float] = field(default_factory=dict)
    """When each order was handed to the broker (seconds since the epoch), by its id."""
    taken: int = 0

    async def run(self, until: asyncio.Event) -> dict[str, float]:
        """Returns when the orders of this time were published, once the broker has all of them."""
        began, first = time.monotonic(), self.taken
        published_at: dict[str, float] = {}
        under_way: set[asyncio.Task[None]] = set()
        while not until.is_set():
            wanted = first + int((time.monotonic() - began) * RATE)
            if wanted > len(self.orders):
                raise BenchmarkError(f"the {len(self.orders)} orders that were drawn are not enough: it takes too long")
            due = self.orders[self.taken : wanted]
            self.taken += len(due)
            if due:
                now = time.time()
                published_at.update((order_id, now) for order_id, _ in due)
                under_way.add(asyncio.create_task(self.publisher.publish([publication for _, publication in due])))
            finished = {task for task in under_way if task.done()}
            under_way -= finished
            for task in finished:
                task.result()
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*under_way)
        return published_at

    async def run_for(self, seconds: float) -> dict[str, float]:
        """The same for a fixed time."""
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, over.set)
        return await self.run(over)


async def measure_promises(bench: AllocationBench, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> PromisesRun:
    """One date change for a queue of ``sizes.queued_orders``."""
    await bench.fill()
    with progress.step(f"date change for {sizes.queued_orders:,} waiting orders") as step:
        await databases.copy(FILLED, RUN)
        async with (
            bench.running(RUN, {}) as (connection, processes, _),
            bulk_publisher(stack.rabbitmq.url) as publisher,
        ):
            await asyncio.to_thread(processes.start, ["allocation"])
            supply_id = await _queue_up(connection, publisher, sizes)
            await databases.analyze(RUN)
            await databases.checkpoint()
            run = await _change_date(connection, publisher, sizes, supply_id)
        await databases.drop(RUN)
        step.result = f"{run.seconds:.1f} s, other SKUs p99 {run.quiet.p99_ms:,.0f} -> {run.meanwhile.p99_ms:,.0f} ms"
    return run


async def _queue_up(connection: Connection, publisher: BulkPublisher, sizes: Sizes) -> UUID:
    """Everybody waits for one SKU and has been told a date; returns the supply that will bring it."""
    product = Product(sku=AWAITED_SKU, title="Awaited thing", unit_price_cents=2_000)
    await _heard(connection, publisher, [for_one("allocation", ProductRegistered(products=[product]))], ProductRegistered.type)
    await _heard(connection, publisher, waiting_orders(sizes.queued_orders, AWAITED_SKU), OrderPlaced.type)
    supply = SupplyScheduled(
        supply_id=new_id(),
        location=places()[0].code,
        expected_at=datetime.now(UTC) + timedelta(days=9),
        lines=[SupplyLine(sku=AWAITED_SKU, quantity=sizes.queued_orders)],
    )
    await publisher.publish([for_one("allocation", supply)])
    await _until_told(connection, sizes.queued_orders, "supply_scheduled")
    await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
    return supply.supply_id


async def _heard(connection: Connection, publisher: BulkPublisher, publications: Sequence[Publication], message_type: str) -> None:
    known: int = await connection.fetchval("SELECT count(*) FROM allocation.inbox WHERE type = $1 AND status = 'done'", message_type)
    await publisher.publish(publications)
    await until_handled(connection, "allocation", message_type, known + len(publications), timeout_seconds=TIMEOUT_SECONDS)


async def _change_date(connection: Connection, publisher: BulkPublisher, sizes: Sizes, supply_id: UUID) -> PromisesRun:
    drawn = placed_orders(int(RATE * (WARM_UP_SECONDS + sizes.latency_seconds + LONGEST_CHANGE_SECONDS)), sizes.skus, hot=False, seed=7)
    load = _OpenLoad(publisher, [(json.loads(order.body)["subject"], order) for order in drawn])
    await load.run_for(WARM_UP_SECONDS)
    quiet_at = await load.run_for(sizes.latency_seconds)
    told = asyncio.Event()
    meanwhile = asyncio.create_task(load.run(told))
    changed_at = time.time()
    change = SupplyRescheduled(supply_id=supply_id, change_id=new_id(), expected_at=datetime.now(UTC) + timedelta(days=12))
    await publisher.publish([for_one("allocation", change)])
    try:
        await _until_told(connection, sizes.queued_orders, "supply_rescheduled")
    finally:
        told.set()
    meanwhile_at = await meanwhile
    await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.02)
    last: datetime = await connection.fetchval("SELECT max(sent_at) FROM allocation.outbox WHERE type = $1", StockPromiseChanged.type)
    return PromisesRun(
        waiting_orders=sizes.queued_orders,
        seconds=last.timestamp() - changed_at,
        rate=RATE,
        quiet=percentiles(await _latencies(connection, quiet_at)),
        meanwhile=percentiles(await _latencies(connection, meanwhile_at)),
    )


async def _until_told(connection: Connection, orders: int, cause: str) -> None:
    """Waits until every order has been told of a cause, exactly once.

    Raises:
        BenchmarkError: not in time, or somebody was told twice.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        # Looking into the bodies of many messages costs the database much, so it is done once, at the end.
        row = await connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM allocation.promise_changes) + (SELECT count(*) FROM allocation.promise_rounds) AS due,
                   EXISTS (SELECT FROM allocation.outbox WHERE sent_at IS NULL) AS unsent,
                   EXISTS (SELECT FROM allocation.supply_changes) OR $1 = 'supply_scheduled' AS begun,
                   EXISTS (SELECT FROM allocation.outbox WHERE type = $2) AS said
            """,
            cause,
            StockPromiseChanged.type,
        )
        assert row is not None
        if row["begun"] and row["said"] and not row["due"] and not row["unsent"]:
            break
        if time.monotonic() > deadline:
            raise BenchmarkError(f"allocation told not all of {orders} orders within {TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    messages, told = await connection.fetchrow(  # type: ignore[misc]  # a row without WHERE is always there
        """
        SELECT count(*), count(DISTINCT subject) FROM allocation.outbox
        WHERE type = $1 AND convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'cause' = $2
        """,
        StockPromiseChanged.type,
        cause,
    )
    if not messages == told == orders:
        raise BenchmarkError(f"{cause}: {messages} messages told {told} of {orders} orders")


async def _latencies(connection: Connection, published_at: dict[str, float]) -> list[float]:
    """Per order: until the broker has confirmed its reservation."""
    rows = await connection.fetch(
        "SELECT subject, max(sent_at) AS sent_at FROM allocation.outbox WHERE type = $1 AND subject = ANY($2::text[]) GROUP BY subject",
        StockReserved.type,
        list(published_at),
    )
    if len(rows) != len(published_at):
        raise BenchmarkError(f"allocation reserved {len(rows)} of {len(published_at)} orders")
    return [row["sent_at"].timestamp() - published_at[row["subject"]] for row in rows]
