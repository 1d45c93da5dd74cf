"""How allocation's speed changes with what it lives with: more products, years of history, a long queue, more processes; and a flash sale.

Every comparison alternates between its candidates, round after round, and keeps each one's best: a machine that becomes slower or faster
meanwhile then decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from uuid import UUID

from benchmarks.allocation import AllocationBench
from benchmarks.broker import GROUP, BulkPublisher, bulk_publisher
from benchmarks.catalogue import for_one, places
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.databases import Databases
from benchmarks.drain import TIMEOUT_SECONDS, allocations, drained_per_second, start
from benchmarks.failure import BenchmarkError
from benchmarks.growth import grow_catalogue, grow_history
from benchmarks.neighbours import HOT
from benchmarks.orders import draw_skus, placed_order, placed_orders
from benchmarks.sizes import Sizes
from benchmarks.waiting import handled, until_handled, until_sent
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.base import Message
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockBackordered, StockReserved, SupplyLine, SupplyReceived
from shared.messaging.message import Connection
from shared.messaging.pipelining import Publication

_PRODUCT = Product(sku=HOT, title=HOT, unit_price_cents=100)

GROWERS = 2
"""Connections that write history at once."""

SMALL = "scaling_small"
GROWN = "scaling_grown"
SALE = "scaling_sale"


@dataclass(frozen=True)
class ScalingRun:
    """What allocation does per second with so much of something."""

    of: str
    """What there is more of: ``skus``, ``history``, ``queue`` or ``processes``."""
    size: int
    orders_per_second: float
    """The best of all rounds."""
    ratio: float
    """To the first size of the same comparison."""


@dataclass(frozen=True)
class FlashSale:
    """Everybody wants the same few units at once."""

    buyers: int
    units: int
    processes: int
    sold: int
    seconds: float
    """From the first buyer's order until the broker has the last answer."""
    answers: Percentiles
    """From a buyer's order being handed to the broker until the broker has the answer, also of those who come too late."""


class ScalingBench:
    """Runs allocation on databases of several sizes."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress
        self._seed = 0

    async def measure(self) -> dict[str, object]:
        """All comparisons but that by history, and the flash sale; for the result file."""
        await AllocationBench(self._stack, self._databases, self._sizes, self._progress).fill_one(SMALL, min(self._sizes.scaling_skus))
        runs = [*await self.by_catalogue(), *await self.by_processes(), *await self.by_queue()]
        return {"runs": [asdict(run) for run in runs], "flash_sale": asdict(await self.flash_sale())}

    async def measure_history(self) -> dict[str, object]:
        """The comparison by history alone: the longest takes a quarter of an hour to write."""
        await AllocationBench(self._stack, self._databases, self._sizes, self._progress).fill_one(SMALL, min(self._sizes.scaling_skus))
        return {"runs": [asdict(run) for run in await self.by_history()]}

    async def by_catalogue(self) -> list[ScalingRun]:
        """The same orders against catalogues of several sizes."""
        sizes = self._sizes.scaling_skus
        for skus in sizes:
            await self.grown(f"{GROWN}_{skus}", skus)

        async def round_of(skus: int) -> float:
            return await self._drained(f"{GROWN}_{skus}", self._orders(skus))

        runs = await self._compare("skus", sizes, round_of)
        for skus in sizes:
            await self._databases.drop(f"{GROWN}_{skus}")
        return runs

    async def by_processes(self) -> list[ScalingRun]:
        """One process against several, all of them on this machine's processors."""
        skus = self._sizes.history_skus
        await self.grown(GROWN, skus)

        async def round_of(processes: int) -> float:
            return await self._drained(GROWN, self._orders(skus), processes=processes)

        return await self._compare("processes", self._sizes.scaling_processes, round_of)

    async def by_history(self) -> list[ScalingRun]:
        """Without history, and with more and more of it. Between two sizes without it, so that the machine's mood shows."""
        skus = self._sizes.history_skus
        names = [f"{GROWN}_{lines}_lines" for lines in self._sizes.historic_lines]
        for name, lines in zip(names, self._sizes.historic_lines, strict=True):
            await self.grown(name, skus, lines)

        async def round_of(lines: int) -> float:
            return await self._drained(f"{GROWN}_{lines}_lines", self._orders(skus))

        runs = await self._compare("history", self._sizes.historic_lines, round_of)
        for name in names:
            await self._books_hold(name)
            await self._databases.drop(name)
        return runs

    async def by_queue(self) -> list[ScalingRun]:
        """Orders of which each wants, beside two other things, one for which few or many wait already."""
        skus = self._sizes.history_skus
        for waiting in self._sizes.waiting_lines:
            name = f"{GROWN}_{waiting}_waiting"
            await self.grown(name, skus)
            with self._progress.step(f"{waiting:,} lines wait for one SKU"):
                await self._queue_up(name, waiting)

        async def round_of(waiting: int) -> float:
            return await self._drained(f"{GROWN}_{waiting}_waiting", self._orders(skus, and_hot=True))

        runs = await self._compare("queue", self._sizes.waiting_lines, round_of)
        for waiting in self._sizes.waiting_lines:
            await self._databases.drop(f"{GROWN}_{waiting}_waiting")
        return runs

    async def flash_sale(self) -> FlashSale:
        """All buyers at once, one unit each, several processes.

        Raises:
            BenchmarkError: more or fewer units were sold than there were, or somebody got no answer.
        """
        sizes = self._sizes
        await self._databases.copy(SMALL, SALE)
        random = Random("flash sale")
        buyers = [placed_order(random, [HOT], f"buyer-{number}") for number in range(sizes.flash_buyers)]
        connection = await self._databases.connect(SALE)
        with self._progress.step(f"flash sale: {sizes.flash_buyers:,} buyers of {sizes.flash_units:,} units") as step:
            try:
                async with allocations(self._stack, SALE, processes=sizes.flash_processes) as everyone:
                    await start(everyone)
                    async with bulk_publisher(self._stack.rabbitmq.url) as publisher:
                        await _tell(connection, publisher, ProductRegistered(products=[_PRODUCT]))
                        line = SupplyLine(sku=HOT, quantity=sizes.flash_units)
                        await _tell(connection, publisher, SupplyReceived(receipt_id=new_id(), location=places()[0].code, lines=[line]))
                        sent_at: dict[UUID, float] = {}
                        for first in range(0, len(buyers), GROUP):
                            group = buyers[first : first + GROUP]
                            now = time.time()
                            sent_at.update((order_id, now) for order_id, _ in group)
                            await publisher.publish([publication for _, publication in group])
                    await until_handled(connection, "allocation", OrderPlaced.type, len(buyers), timeout_seconds=TIMEOUT_SECONDS)
                    await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.05)
                    sale = await _sale(connection, sizes, sent_at)
            finally:
                await connection.close()
            await self._databases.drop(SALE)
            step.result = f"{sale.sold:,} sold in {sale.seconds:.1f} s, p99 {sale.answers.p99_ms:,.0f} ms"
        return sale

    async def _compare(self, of: str, sizes: Sequence[int], round_of: Callable[[int], Awaitable[float]]) -> list[ScalingRun]:
        best: dict[int, float] = dict.fromkeys(sizes, 0.0)
        for number in range(self._sizes.scaling_rounds):
            for size in sizes:
                with self._progress.step(f"{of} {size:,}, round {number + 1}") as step:
                    rate = await round_of(size)
                    step.result = f"{rate:,.0f} orders/s"
                best[size] = max(best[size], rate)
        return [ScalingRun(of, size, best[size], best[size] / best[sizes[0]]) for size in sizes]

    async def grown(self, name: str, skus: int, historic_lines: int = 0) -> None:
        """A copy of the small database that has grown to so many products and so many lines shipped."""
        with self._progress.step(f"{skus:,} SKUs, {historic_lines:,} lines shipped before"):
            await self._databases.copy(SMALL, name)
            connections = [await self._databases.connect(name) for _ in range(GROWERS)]
            try:
                await grow_catalogue(connections[0], skus, already=min(self._sizes.scaling_skus))
                if historic_lines:
                    await grow_history(connections, historic_lines, skus=skus)
            finally:
                for connection in connections:
                    await connection.close()
            await self._databases.checkpoint()

    def _orders(self, skus: int, *, and_hot: bool = False) -> list[Publication]:
        self._seed += 1
        count = self._sizes.scaling_orders
        if not and_hot:
            return placed_orders(count, skus, hot=False, seed=self._seed)
        random = Random(f"waiting too {self._seed}")
        wanted = ([HOT, *draw_skus(random, skus, hot=False)[1:]] for _ in range(count))
        return [placed_order(random, skus_of_one, f"waits-too-{self._seed}-{number}")[1] for number, skus_of_one in enumerate(wanted)]

    async def _drained(self, name: str, orders: Sequence[Publication], *, processes: int = 1) -> float:
        return await drained_per_second(self._stack, self._databases, name, orders, processes=processes)

    async def _books_hold(self, name: str) -> None:
        connection = await self._databases.connect(name)
        try:
            found = await connection.fetchval("SELECT min(explanation) FROM allocation.audit_findings")
        finally:
            await connection.close()
        if found is not None:
            raise BenchmarkError(f"{name}: the auditor looked into its books meanwhile, as in no sound database: {found}")

    async def _queue_up(self, name: str, lines: int) -> None:
        random = Random("waiting")
        connection = await self._databases.connect(name)
        try:
            async with allocations(self._stack, name) as everyone, bulk_publisher(self._stack.rabbitmq.url) as publisher:
                await start(everyone)
                await _tell(connection, publisher, ProductRegistered(products=[_PRODUCT]))
                await publisher.publish([placed_order(random, [HOT], f"waits-{number}")[1] for number in range(lines)])
                await until_handled(connection, "allocation", OrderPlaced.type, lines, timeout_seconds=TIMEOUT_SECONDS)
                await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS)
        finally:
            await connection.close()
        await self._databases.analyze(name)


async def _tell(connection: Connection, publisher: BulkPublisher, message: Message) -> None:
    """One message for allocation; returns when it is handled."""
    before = await handled(connection, "allocation", message.type)
    await publisher.publish([for_one("allocation", message)])
    await until_handled(connection, "allocation", message.type, before + 1, timeout_seconds=TIMEOUT_SECONDS)


async def _sale(connection: Connection, sizes: Sizes, sent_at: Mapping[UUID, float]) -> FlashSale:
    answers = await connection.fetch(
        "SELECT subject, type, sent_at FROM allocation.outbox WHERE type = ANY($1::text[]) AND subject = ANY($2::text[])",
        [StockReserved.type, StockBackordered.type],
        [str(order_id) for order_id in sent_at],
    )
    sold = sum(answer["type"] == StockReserved.type for answer in answers)
    books = await connection.fetchrow(
        """
        SELECT pool.reserved, pool.queued, (SELECT sum(reserved) FROM allocation.demand WHERE sku = $1) AS promised,
               (SELECT sum(quantity) FROM allocation.movements WHERE sku = $1 AND kind = 'reserved') AS ledger
        FROM allocation.stock_pools pool WHERE sku = $1
        """,
        HOT,
    )
    units, late = sizes.flash_units, sizes.flash_buyers - sizes.flash_units
    if books is None or tuple(books) != (units, late, units, units) or (sold, len(answers)) != (units, sizes.flash_buyers):
        told = f"{sold:,} were told yes, {len(answers):,} got an answer"
        raise BenchmarkError(f"{sizes.flash_buyers:,} buyers of {units:,} units: {told}, the books say {books}")
    waited = [answer["sent_at"].timestamp() - sent_at[UUID(answer["subject"])] for answer in answers]
    seconds = max(answer["sent_at"].timestamp() for answer in answers) - min(sent_at.values())
    return FlashSale(sizes.flash_buyers, units, sizes.flash_processes, sold, seconds, percentiles(waited))
