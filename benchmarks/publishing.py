"""Publishing: all frames of a batch in one write (what the relay does) against aio-pika's own publish, persistent and confirmed both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel
from aiormq.channel import Channel

from benchmarks.broker import BulkPublisher
from benchmarks.databases import Databases
from benchmarks.processes import MeasuredProcesses
from benchmarks.processor_time import BENCHMARK, BROKER, ProcessorClock
from benchmarks.sizes import Sizes
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.messaging.pipelining import Publication

QUEUE = "benchmark.publishing"
BODY_BYTES = 1_200
AT_ONCE = 500


@dataclass(frozen=True)
class PublishingRun:
    """One way to publish."""

    name: str
    messages_per_second: float
    publisher_us_per_message: float
    broker_us_per_message: float

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


async def measure_publishing(stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> list[PublishingRun]:
    """Publishes the same messages to one quorum queue in three ways."""
    clock = ProcessorClock(stack, MeasuredProcesses(stack, ""), databases, None)
    body = b"x" * BODY_BYTES

    async def pipelined(channel: AbstractChannel, count: int) -> None:
        publisher = BulkPublisher(cast(Channel, await channel.get_underlay_channel()))
        await publisher.publish([Publication("", QUEUE, body, "benchmark.v1")] * count)

    async def gathered(channel: AbstractChannel, count: int) -> None:
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(*(_publish(channel, body) for _ in range(min(AT_ONCE, count - start))))

    async def awaited(channel: AbstractChannel, count: int) -> None:
        for _ in range(count):
            await _publish(channel, body)

    ways: list[tuple[str, Callable[[AbstractChannel, int], Awaitable[None]], int]] = [
        (f"one write per batch of {AT_ONCE} (the relay)", pipelined, sizes.published_messages),
        (f"aio-pika publish, {AT_ONCE} under way", gathered, sizes.published_messages),
        ("aio-pika publish, one after the other", awaited, sizes.published_messages // 10),
    ]
    runs = []
    for name, publish, count in ways:
        connection = await aio_pika.connect(stack.rabbitmq.url, timeout=10)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            try:
                await publish(channel, AT_ONCE)
                with progress.step(name) as step:
                    before, began = await clock.read(), time.perf_counter()
                    await publish(channel, count)
                    seconds = time.perf_counter() - began
                    used = (await clock.read()).since(before)
                    run = PublishingRun(name, count / seconds, used[BENCHMARK] / count * 1e6, used.get(BROKER, 0.0) / count * 1e6)
                    step.result = f"{run.messages_per_second:,.0f} messages/s"
                runs.append(run)
            finally:
                await queue.delete(if_empty=False, if_unused=False)
    return runs


async def _publish(channel: AbstractChannel, body: bytes) -> None:
    message = aio_pika.Message(body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT, type="benchmark.v1")
    await channel.default_exchange.publish(message, QUEUE, mandatory=True)
