"""Both consumer drivers do the same: every delivery is committed before it is acknowledged, and nobody is ever replied to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from faststream.rabbit import RabbitBroker
from yarl import URL

from shared.contracts.orders import OrderPlaced
from shared.messaging.consuming import AioPikaDriver, Driver, FastStreamDriver, Feed
from shared.messaging.message import Received, Transaction
from tests.shared.conftest import Workshop, an_order, delivery_of
from tests.tcp_proxy import proxy_to


class Post:
    """A quorum queue of the test's own and a way to put messages into it."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel, queue: str, url: str) -> None:
        self.connection = connection
        self.channel = channel
        self.queue = queue
        self.url = url

    async def put(self, body: bytes, *, content_type: str = "application/json", reply_to: str | None = None) -> None:
        message = aio_pika.Message(body, content_type=content_type, reply_to=reply_to, delivery_mode=2)
        await self.channel.default_exchange.publish(message, self.queue)

    async def left(self) -> int:
        """Messages that somebody could take now."""
        queue = await self.channel.declare_queue(self.queue, passive=True)
        return queue.declaration_result.message_count or 0


@pytest.fixture
async def post(servers: dict[str, str]) -> AsyncIterator[Post]:
    connection = await aio_pika.connect(servers["AMQP_URL"])
    channel = await connection.channel()
    name = f"drivers.{secrets.token_hex(4)}"
    queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
    yield Post(connection, channel, name, servers["AMQP_URL"])
    await queue.delete(if_unused=False, if_empty=False)
    await connection.close()


DriverMaker = Callable[[RabbitBroker, list[Feed], int, int], Driver]

both = pytest.mark.parametrize("make", [AioPikaDriver, FastStreamDriver])


def a_broker(url: str) -> RabbitBroker:
    return RabbitBroker(url, apply_types=False, logger=None, reconnect_interval=0.2)


async def eventually(check: Callable[[], Awaitable[bool]], timeout_seconds: float = 20.0) -> None:
    async with asyncio.timeout(timeout_seconds):
        while not await check():  # noqa: ASYNC110 - it asks servers, which set no asyncio.Event
            await asyncio.sleep(0.02)


@both
async def test_every_message_is_handled_once_and_acknowledged(make: DriverMaker, workshop: Workshop, post: Post) -> None:
    broker = a_broker(post.url)
    driver = make(broker, [Feed(post.queue, workshop.processor())], 20, 60)
    await asyncio.gather(*(post.put(delivery_of(an_order(str(number))).body) for number in range(150)))
    await driver.start()
    await eventually(lambda: _handled(workshop, 150))
    await driver.stop()
    await driver.drained()
    await broker.stop()
    assert await post.left() == 0
    assert await workshop.effects() == 150
    assert driver.failed() is None


async def _handled(workshop: Workshop, count: int) -> bool:
    return sum((await workshop.statuses()).values()) >= count


@both
async def test_what_was_committed_but_not_acknowledged_comes_again_and_has_no_second_effect(
    make: DriverMaker, workshop: Workshop, post: Post
) -> None:
    """The connection dies while the work is done, so the acknowledgement finds nobody: as with a kill -9 between commit and ack."""
    url = URL(post.url)
    async with proxy_to(url.host or "", url.port or 0) as proxy:
        broker = a_broker(str(url.with_port(proxy.port)))
        driver = make(broker, [Feed(post.queue, workshop.processor())], 20, 60)
        cuts = 0

        async def cut_early(tx: Transaction, message: Received[OrderPlaced]) -> None:
            nonlocal cuts
            if cuts < 2:
                cuts += 1
                proxy.cut()

        workshop.behaviour = cut_early
        await asyncio.gather(*(post.put(delivery_of(an_order(str(number))).body) for number in range(30)))
        await driver.start()
        await eventually(lambda: _handled(workshop, 30))
        await eventually(lambda: _empty(post))
        await driver.stop()
        await driver.drained()
        await broker.stop()
    assert cuts == 2
    assert proxy.connections >= 2, "the driver came back by itself"
    assert await workshop.effects() == 30


async def _has_left(post: Post, count: int) -> bool:
    """Whether exactly this many messages can be had again: what was handled is acknowledged, the rest has come back to the queue."""
    return await post.left() == count


async def _empty(post: Post) -> bool:
    return await post.left() == 0


@both
async def test_malformed_bodies_reach_the_inbox_and_are_parked(make: DriverMaker, workshop: Workshop, post: Post) -> None:
    broker = a_broker(post.url)
    driver = make(broker, [Feed(post.queue, workshop.processor())], 20, 60)
    await post.put(b'{"half": ')
    await post.put(b"plain words", content_type="text/plain")
    await post.put(delivery_of(an_order()).body)
    await driver.start()
    await eventually(lambda: _handled(workshop, 3))
    await driver.stop()
    await driver.drained()
    await broker.stop()
    assert await workshop.statuses() == {"done": 1, "parked": 2}
    assert await post.left() == 0


@both
async def test_a_hostile_reply_to_gets_no_reply(make: DriverMaker, workshop: Workshop, post: Post) -> None:
    victim = await post.channel.declare_queue(exclusive=True)
    broker = a_broker(post.url)
    driver = make(broker, [Feed(post.queue, workshop.processor())], 20, 60)
    for reply_to in (victim.name, f"{victim.name}|", f"{victim.name}|amq.topic"):
        await post.put(delivery_of(an_order()).body, reply_to=reply_to)
    await driver.start()
    await eventually(lambda: _handled(workshop, 3))
    await driver.stop()
    await driver.drained()
    await broker.stop()
    assert await victim.get(fail=False) is None
    assert await workshop.effects() == 3


@both
async def test_stopping_finishes_what_was_taken(make: DriverMaker, workshop: Workshop, post: Post) -> None:
    async def slowly(tx: Transaction, message: Received[OrderPlaced]) -> None:
        await tx.connection.execute("SELECT pg_sleep(0.01)")

    workshop.behaviour = slowly
    broker = a_broker(post.url)
    driver = make(broker, [Feed(post.queue, workshop.processor())], 10, 30)
    await asyncio.gather(*(post.put(delivery_of(an_order(str(number))).body) for number in range(100)))
    await driver.start()
    await eventually(lambda: _handled(workshop, 10))
    await driver.stop()
    await driver.drained()
    await broker.stop()
    handled = await workshop.effects()
    await eventually(lambda: _has_left(post, 100 - handled))
    assert len(workshop.seen) == handled, "nothing was begun and thrown away"
