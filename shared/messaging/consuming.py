"""Who feeds the batchers: two interchangeable drivers on one FastStream broker. Handlers can not tell which one drives them.

``aio_pika`` consumes on the broker's connection and acknowledges a whole batch with one frame; ``faststream`` registers a FastStream
subscriber per queue whose handler awaits the group commit. docs/decisions/0004-consumer-driver.md has the measurement and the reason for
the default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aiormq.abc import AbstractChannel as UnderlyingChannel
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

from shared.messaging.batching import Batcher, Processor
from shared.messaging.reading import Delivery
from shared.messaging.trouble import BROKER_TROUBLE, first_ended, losses_named

log = structlog.get_logger()

Token = tuple[UnderlyingChannel, int]
"""The channel a delivery came on and its tag there: what an acknowledgement needs."""

ACKNOWLEDGE_SECONDS = 5.0


@dataclass(frozen=True)
class Feed:
    """One queue and the processor of its messages."""

    queue: str
    processor: Processor


class Driver(Protocol):
    """Moves deliveries from queues to batchers and acknowledgements back."""

    async def start(self) -> None:
        """Begins to consume."""

    async def stop(self) -> None:
        """Stops taking deliveries; those already taken can still be acknowledged until the broker is closed."""

    async def drained(self) -> None:
        """Returns when all deliveries that were taken are committed and acknowledged."""

    def failed(self) -> BaseException | None:
        """What ended a worker that should run for ever, if anything did."""


class _Workers:
    """The batcher tasks of a driver."""

    def __init__(self) -> None:
        self.batchers: list[Batcher] = []
        self.tasks: list[asyncio.Task[None]] = []

    def add(self, batcher: Batcher, name: str) -> None:
        self.batchers.append(batcher)
        self.tasks.append(asyncio.create_task(batcher.run(), name=f"batcher {name}"))

    async def drained(self) -> None:
        await asyncio.gather(*(batcher.drained() for batcher in self.batchers))

    async def cancel(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def failed(self) -> BaseException | None:
        return first_ended(self.tasks)


@dataclass
class AioPikaDriver:
    """Consumes with aio-pika on FastStream's connection: one channel per queue, one acknowledgement per batch."""

    broker: RabbitBroker
    feeds: Sequence[Feed]
    batch_messages: int
    prefetch_messages: int
    _workers: _Workers = field(default_factory=_Workers)
    _consumers: list[tuple[AbstractQueue, str]] = field(default_factory=list)
    _channels: list[AbstractChannel] = field(default_factory=list)

    async def start(self) -> None:
        """Opens a channel per queue and consumes."""
        connection = await self.broker.connect()
        for feed in self.feeds:
            batcher = Batcher(feed.processor.process, self._acknowledge, self.batch_messages)
            self._workers.add(batcher, feed.queue)
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=self.prefetch_messages)
            # Declared passively, not only named: aio-pika restores consumers after a reconnect only of queues that it knows as declared.
            queue = await channel.declare_queue(feed.queue, passive=True)
            self._channels.append(channel)
            self._consumers.append((queue, await queue.consume(self._receiver(batcher))))

    @staticmethod
    def _receiver(batcher: Batcher) -> Any:
        async def receive(message: AbstractIncomingMessage) -> None:
            delivery = Delivery(message.body, message.routing_key or "", message.content_type, message.message_id)
            batcher.put(delivery, (message.channel, message.delivery_tag or 0))

        return receive

    @staticmethod
    async def _acknowledge(tokens: Sequence[Token]) -> None:
        """One multiple acknowledgement per channel: everything up to the batch's last delivery has been committed.

        A batch spans two channels after a reconnect. On the one that died there is nothing to do: the broker delivers again and the
        inbox knows better.
        """
        last_tags = dict(tokens)
        for channel, tag in last_tags.items():
            try:
                async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                    with losses_named():
                        await channel.basic_ack(tag, multiple=True)
            except BROKER_TROUBLE as error:
                log.info("acknowledgement_lost", error=type(error).__name__)

    async def stop(self) -> None:
        """Cancels the consumers."""
        for queue, tag in self._consumers:
            try:
                with losses_named():
                    await queue.cancel(tag, timeout=2.0)
            except BROKER_TROUBLE as error:
                log.info("consumer_cancel", error=type(error).__name__)
        self._consumers.clear()

    async def drained(self) -> None:
        """Waits for the batchers, then ends them."""
        await self._workers.drained()
        await self._workers.cancel()

    def failed(self) -> BaseException | None:
        """See Driver."""
        return self._workers.failed()


async def _undecoded(message: RabbitMessage) -> RabbitMessage:
    """Keeps FastStream from parsing the body: a malformed one must reach our reader, which parks it with a reason."""
    return message


@dataclass
class FastStreamDriver:
    """Consumes with FastStream subscribers that await the group commit and then acknowledge each message themselves."""

    broker: RabbitBroker
    feeds: Sequence[Feed]
    batch_messages: int
    prefetch_messages: int
    _workers: _Workers = field(default_factory=_Workers)
    _unacknowledged: set[asyncio.Future[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Registers a subscriber per queue and starts the broker."""
        for feed in self.feeds:
            batcher = Batcher(feed.processor.process, self._release, self.batch_messages)
            self._workers.add(batcher, feed.queue)
            self._subscribe(feed.queue, batcher)
        await self.broker.start()

    def _subscribe(self, queue: str, batcher: Batcher) -> None:
        # no_reply: FastStream would answer a hostile reply_to with our credentials.
        @self.broker.subscriber(
            RabbitQueue(queue, declare=False),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            channel=Channel(prefetch_count=self.prefetch_messages),
            decoder=_undecoded,
        )
        async def receive(message: RabbitMessage) -> None:
            committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            raw = message.raw_message
            self._unacknowledged.add(committed)
            try:
                batcher.put(Delivery(raw.body, raw.routing_key or "", raw.content_type, raw.message_id), committed)
                await committed
                await message.ack()
            finally:
                self._unacknowledged.discard(committed)

    @staticmethod
    async def _release(committed: Sequence[asyncio.Future[None]]) -> None:
        for future in committed:
            if not future.done():
                future.set_result(None)

    async def stop(self) -> None:
        """Stops the subscribers."""
        for subscriber in self.broker.subscribers:
            await subscriber.stop()

    async def drained(self) -> None:
        """Waits for the batchers, then ends them."""
        await self._workers.drained()
        while self._unacknowledged:
            await asyncio.wait(self._unacknowledged, timeout=0.1)
            await asyncio.sleep(0)
        await self._workers.cancel()

    def failed(self) -> BaseException | None:
        """See Driver."""
        return self._workers.failed()
