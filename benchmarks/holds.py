"""Checkout holds: how long a shopper waits for the answer, over HTTP and by queue, at a fixed rate.

Open loop: every request has its moment, and the clock of its answer starts at that moment, whether the system was ready for it or not. Each
request holds one or two units as a channel's adapter would: signed over HTTP, or with the channel's own limited broker user.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal
from uuid import UUID

import aio_pika
import aiohttp
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.allocation import FILLED, AllocationBench
from benchmarks.broker import bulk_publisher, watched_queues, work_queues
from benchmarks.catalogue import envelope, sku_number
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.processes import MeasuredProcesses
from benchmarks.sizes import Sizes
from deploy.local.process_table import CHANNELS, partners_document
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.base import INBOUND_EXCHANGE
from shared.contracts.envelope import new_id
from shared.contracts.holds import ChannelHoldRequested, HoldLine
from shared.contracts.registry import routing_key_of
from shared.messaging.message import Connection
from shared.messaging.pipelining import Publication
from shared.messaging.topology.names import partner_queue_of, partner_user_of
from shared.signing import SIGNATURE_HEADER

RUN = "holds_run"
HOLDS_PER_SECOND = 200.0
WARM_UP_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 30.0
CHANNEL = CHANNELS[0]

Way = Literal["HTTP", "AMQP"]
Ask = Callable[[ChannelHoldRequested], Awaitable[None]]


@dataclass(frozen=True)
class HoldsRun:
    """One way of asking, at one rate."""

    way: Way
    hot: bool
    rate: float
    answers: Percentiles

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


def wishes(count: int, skus: int, *, hot: bool, seed: int) -> list[ChannelHoldRequested]:
    """Holds of one hot SKU, or of one to three of all."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        positions = [0] if hot else chance.sample(range(1, skus), chance.randint(1, 3))
        lines = [HoldLine(sku=sku_number(position), quantity=chance.randint(1, 2)) for position in positions]
        found.append(ChannelHoldRequested(hold_id=new_id(), channel=CHANNEL, lines=lines, ttl_seconds=3_600))
    return found


async def offer(requests: Sequence[ChannelHoldRequested], rate: float, ask: Ask) -> list[float]:
    """Asks at so many a second; per request the seconds from its moment to its answer."""
    began = time.perf_counter()
    waited: list[float] = []

    async def one(request: ChannelHoldRequested, moment: float) -> None:
        await ask(request)
        waited.append(time.perf_counter() - moment)

    tasks = []
    for number, request in enumerate(requests):
        moment = began + number / rate
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        tasks.append(asyncio.create_task(one(request, moment)))
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        await asyncio.gather(*tasks)
    return waited


@dataclass
class _Mailbox:
    """The channel's own queue: answers by hold."""

    answers: dict[UUID, asyncio.Future[str]] = field(default_factory=dict)

    async def hear(self, message: AbstractIncomingMessage) -> None:
        document = json.loads(message.body)
        waiting = self.answers.pop(UUID(document["data"]["hold_id"]), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(document["data"]["outcome"])


class HoldsBench:
    """Runs allocation on fresh copies of the filled database and asks it for holds."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress

    async def measure(self, filled: AllocationBench) -> list[HoldsRun]:
        """Both ways, over many SKUs and over one hot one."""
        await filled.fill()
        return [await self.run(way, hot=hot) for hot in (False, True) for way in ("HTTP", "AMQP")]

    async def run(self, way: Way, *, hot: bool) -> HoldsRun:
        """One way; the database is filled."""
        with self._progress.step(f"holds by {way}, {'one hot SKU' if hot else 'uniform'}") as step:
            await self._databases.copy(FILLED, RUN)
            processes = MeasuredProcesses(self._stack, RUN)
            connection = await self._databases.connect(RUN)
            try:
                async with watched_queues(self._stack.rabbitmq.url, work_queues(processes)) as queues:
                    await queues.empty()
                    await asyncio.to_thread(processes.start, ["allocation"])
                    try:
                        run = await self._measured(way, processes, hot=hot)
                        await _check(connection)
                    finally:
                        await asyncio.to_thread(processes.stop, ["allocation"])
                        await queues.empty()
            finally:
                await connection.close()
            await self._databases.drop(RUN)
            step.result = f"p50 {run.answers.p50_ms:.1f} ms, p99 {run.answers.p99_ms:.1f} ms"
        return run

    async def _measured(self, way: Way, processes: MeasuredProcesses, *, hot: bool) -> HoldsRun:
        ways = {"HTTP": self._over_http, "AMQP": self._by_queue}
        async with ways[way](processes) as ask:
            warming = wishes(int(WARM_UP_SECONDS * HOLDS_PER_SECOND), self._sizes.skus, hot=hot, seed=1)
            await offer(warming, HOLDS_PER_SECOND, ask)
            requests = wishes(int(self._sizes.hold_seconds * HOLDS_PER_SECOND), self._sizes.skus, hot=hot, seed=2)
            began = time.perf_counter()
            waited = await offer(requests, HOLDS_PER_SECOND, ask)
            return HoldsRun(way, hot, len(requests) / (time.perf_counter() - began), percentiles(waited))

    @asynccontextmanager
    async def _over_http(self, processes: MeasuredProcesses) -> AsyncIterator[Ask]:
        channels = partners_document(processes.surroundings)["channels"]
        assert isinstance(channels, list)
        secret = next(channel["webhook_secrets"][0] for channel in channels if channel["code"] == CHANNEL)
        url = f"{processes.url('allocation')}/channels/{CHANNEL}/holds"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(request: ChannelHoldRequested) -> None:
                body = request.model_dump_json().encode()
                signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
                headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature}
                async with session.post(url, data=body, headers=headers) as answer:
                    document = await answer.json()
                    if answer.status != 200 or document["outcome"] != "held":
                        raise BenchmarkError(f"a hold was answered {answer.status} {document}")

            yield ask

    @asynccontextmanager
    async def _by_queue(self, processes: MeasuredProcesses) -> AsyncIterator[Ask]:
        url = processes.surroundings.amqp_url(partner_user_of("channel", CHANNEL))
        mailbox = _Mailbox()
        key = routing_key_of(ChannelHoldRequested, CHANNEL)
        connection = await aio_pika.connect(url, timeout=10)
        async with connection, bulk_publisher(url) as publisher:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.get_queue(partner_queue_of("channel", CHANNEL), ensure=False)
            await queue.consume(mailbox.hear, no_ack=True)

            async def ask(request: ChannelHoldRequested) -> None:
                answer = mailbox.answers[request.hold_id] = asyncio.get_running_loop().create_future()
                body = envelope(request, source=f"channel/{CHANNEL}")
                await publisher.publish([Publication(INBOUND_EXCHANGE, key, body, request.type)])
                outcome = await answer
                if outcome != "held":
                    raise BenchmarkError(f"a hold was answered {outcome}")

            yield ask


async def _check(connection: Connection) -> None:
    """Every unit that pools say is held is held by somebody.

    Raises:
        BenchmarkError: the books do not hold, so the figures are worth nothing.
    """
    row = await connection.fetchrow(
        """
        SELECT (SELECT sum(held) FROM allocation.stock_pools) AS pools, (SELECT sum(held) FROM allocation.hold_lines) AS holds,
               (SELECT sum(quantity) FROM allocation.movements WHERE kind IN ('held', 'unheld')) AS ledger
        """
    )
    assert row is not None
    if not row["pools"] or len(set(row.values())) != 1:
        raise BenchmarkError(f"pools, holds and ledger disagree about what is held: {dict(row)}")
