"""(d) A restock of one SKU against a long queue: how fast it is shared out, and what the neighbours of that SKU feel of it.

The queue is made of real orders that found nothing; the goods come in one receipt.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass

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
from shared.contracts.stock import StockReserved, SupplyLine, SupplyReceived
from shared.messaging.message import Connection

DATABASE = "restock"
POLL_SECONDS = 0.1


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
        sizes = self._sizes
        async with allocation_on(self._stack, self._databases, DATABASE) as (connection, publisher):
            with self._progress.step("a queue for one SKU") as step:
                await queue_up(connection, publisher, skus=sizes.restock_skus, orders=sizes.queued_lines)
                await self._databases.analyze(DATABASE)
                await self._databases.checkpoint()
                step.result = f"{sizes.queued_lines:,} lines wait"
            with self._progress.step("restock of one SKU") as step:
                run = await self._restock(connection, publisher)
                step.result = f"{run.lines_per_second:,.0f} lines/s, neighbours' p99 {run.ratio:.2f} x quiet"
            await _check(connection, run.queued_lines)
        return run

    async def _restock(self, connection: Connection, publisher: BulkPublisher) -> RestockRun:
        sizes = self._sizes
        offer = Offer(publisher, sizes.restock_skus, sizes.neighbour_rate)
        await offer.during(WARM_UP_SECONDS)
        quiet_ids = await offer.during(sizes.quiet_seconds)
        await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
        quiet = percentiles(await latencies(connection, quiet_ids, offer.sent_at))
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
            during=percentiles(await latencies(connection, inside, offer.sent_at)),
        )


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
