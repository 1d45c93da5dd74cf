"""What the benchmark does with the broker: publish much at little cost, look how much waits, empty queues."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel
from aiormq.channel import Channel

from benchmarks.failure import BenchmarkError
from deploy.local.processes import Processes
from shared.config import load_partners
from shared.messaging.pipelining import Publication, publish_together
from shared.messaging.topology import topology
from shared.messaging.topology.tables import load_services

GROUP = 500
"""Messages that are on their way at once."""
CONFIRM_TIMEOUT_SECONDS = 60.0


class BulkPublisher:
    """One connection that publishes with pipelined confirms."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Returns when the broker has confirmed every one.

        Raises:
            BenchmarkError: it did not.
        """
        for start in range(0, len(publications), GROUP):
            outcomes = await publish_together(self.channel, publications[start : start + GROUP], timeout_seconds=CONFIRM_TIMEOUT_SECONDS)
            failure = next((outcome for outcome in outcomes if outcome is not None), None)
            if failure is not None:
                raise BenchmarkError(f"the broker did not take a message for {publications[start].routing_key}: {failure!r}")


@asynccontextmanager
async def bulk_publisher(amqp_url: str) -> AsyncIterator[BulkPublisher]:
    """A publisher on a connection of its own."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield BulkPublisher(cast(Channel, await channel.get_underlay_channel()))


def work_queues(processes: Processes) -> list[str]:
    """The names of all queues of the topology."""
    return [queue.name for queue in topology(load_services(), load_partners(processes.surroundings.partners_file)).queues]


class Queues:
    """Some queues, seen by the administrator."""

    def __init__(self, channel: AbstractChannel, names: Sequence[str]) -> None:
        self._channel = channel
        self._names = names

    async def depths(self) -> Mapping[str, int]:
        """Messages that wait for a consumer, by queue; those already handed over and not yet acknowledged are not among them."""
        channel = await self._channel.get_underlay_channel()
        declared = {name: await channel.queue_declare(name, passive=True) for name in self._names}
        return {name: answer.message_count or 0 for name, answer in declared.items()}

    async def empty(self, names: Iterable[str] | None = None) -> None:
        """Deletes what waits in these queues, by default in all."""
        channel = await self._channel.get_underlay_channel()
        for name in self._names if names is None else names:
            await channel.queue_purge(name)


@asynccontextmanager
async def watched_queues(amqp_url: str, names: Sequence[str]) -> AsyncIterator[Queues]:
    """Queues on a connection of their own, which is not disturbed by publishing."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        yield Queues(await connection.channel(publisher_confirms=False), names)
