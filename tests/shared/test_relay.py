"""From outbox to broker: confirmed, persistent, never lost, never blocked by one message that can not be routed."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue
from yarl import URL

from shared.config import Partners
from shared.contracts.base import EVENTS_EXCHANGE
from shared.messaging import outbox
from shared.messaging.relay import Publisher, Relay
from shared.messaging.topology import topology
from shared.messaging.topology.broker import apply_over_amqp
from shared.messaging.trouble import first_ended, losses_named
from tests.shared.conftest import Workshop, an_order, delivery_of
from tests.tcp_proxy import proxy_to


class Listener:
    """A queue that hears everything of a type, on the real exchange names."""

    def __init__(self, channel: AbstractChannel, queue: AbstractQueue, url: str) -> None:
        self.channel = channel
        self.queue = queue
        self.url = url

    async def messages(self) -> list[aio_pika.abc.AbstractIncomingMessage]:
        found = []
        while (message := await self.queue.get(no_ack=True, fail=False)) is not None:
            found.append(message)
        return found


@pytest.fixture
async def listener(servers: dict[str, str]) -> AsyncIterator[Listener]:
    connection = await aio_pika.connect(servers["AMQP_URL"])
    channel = await connection.channel()
    await apply_over_amqp(topology({}, Partners()), servers["AMQP_URL"], lambda _: None)
    queue = await channel.declare_queue(f"listener.{secrets.token_hex(4)}", exclusive=True)
    await queue.bind(EVENTS_EXCHANGE, "stock.reserved.v1")
    yield Listener(channel, queue, servers["AMQP_URL"])
    await connection.close()


async def test_what_was_committed_is_published_persistent_with_its_trace(workshop: Workshop, listener: Listener) -> None:
    order = an_order()
    incoming = delivery_of(order)
    await workshop.processor().process([incoming])
    relay = Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5))
    await relay.flush(10)
    (message,) = await listener.messages()
    envelope = json.loads(message.body)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    assert envelope["type"] == "stock.reserved.v1"
    assert envelope["source"] == "ordermesh/workshop"
    assert envelope["subject"] == envelope["data"]["order_id"] == str(order.order_id)
    assert envelope["traceparent"][:35] == json.loads(incoming.body)["traceparent"][:35], "the order's trace goes on"
    assert await workshop.unsent() == 0


async def test_two_relays_publish_everything_and_nothing_twice(workshop: Workshop, listener: Listener) -> None:
    await workshop.processor().process([delivery_of(an_order(str(number))) for number in range(300)])
    relays = [Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5)) for _ in range(3)]
    await asyncio.gather(*(relay.flush(20) for relay in relays))
    published = [json.loads(message.body)["id"] for message in await listener.messages()]
    assert len(published) == 300
    assert len(set(published)) == 300


async def test_a_message_that_nobody_can_receive_does_not_hold_the_others_back(workshop: Workshop, listener: Listener) -> None:
    await workshop.processor().process([delivery_of(an_order(str(number))) for number in range(20)])
    stray = await workshop.around.pool.fetchval("SELECT event_id FROM outbox ORDER BY event_id LIMIT 1")
    await workshop.around.pool.execute(
        "UPDATE outbox SET exchange = $2, routing_key = 'nobody.listens' WHERE event_id = $1", stray, "oms.commands"
    )
    relay = Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5))
    await relay.flush(4)
    assert len(await listener.messages()) == 19
    assert await workshop.unsent() == 0, "it lies in the queue of the unrouted, where an alarm looks"


async def test_while_the_broker_is_away_messages_wait_and_then_go_out(workshop: Workshop, listener: Listener) -> None:
    await workshop.processor().process([delivery_of(an_order())])
    away = Relay(workshop.around, Publisher("amqp://guest:guest@127.0.0.1:1/", name="test", timeout_seconds=1))
    await away.flush(3)
    assert away.broker_away
    assert await workshop.unsent() == 1
    await Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5)).flush(10)
    assert len(await listener.messages()) == 1
    assert await workshop.unsent() == 0


async def test_a_connection_that_dies_is_never_the_end_of_the_relay(workshop: Workshop, listener: Listener) -> None:
    address = URL(listener.url)
    async with proxy_to(address.host or "", address.port or 5672) as proxy:
        relay = Relay(workshop.around, Publisher(str(address.with_host("127.0.0.1").with_port(proxy.port)), name="test", timeout_seconds=2))
        workshop.around.settings = workshop.around.settings.model_copy(update={"relay_poll_seconds": 0.05})
        running = asyncio.create_task(relay.run())
        try:
            for number in range(4):
                await workshop.processor().process([delivery_of(an_order(str(number)))])
                async with asyncio.timeout(20):
                    while await workshop.unsent():
                        assert not running.done()
                        await asyncio.sleep(0.01)
                proxy.cut()
        finally:
            running.cancel()
    assert proxy.connections >= 3


@pytest.mark.parametrize(
    ("raised", "named"), [(RuntimeError("<Connection> closed"), "closed"), (asyncio.CancelledError(), "the connection was lost")]
)
async def test_whatever_aiormq_calls_a_lost_connection_is_named_one(raised: BaseException, named: str) -> None:
    with pytest.raises(ConnectionError, match=named), losses_named():
        raise raised


async def test_who_is_told_to_end_ends() -> None:
    async def wait() -> None:
        with losses_named():
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_worker_that_ends_in_silence_is_noticed() -> None:
    async def end() -> None:
        return

    async def go_on() -> None:
        await asyncio.sleep(60)

    working, ended = asyncio.create_task(go_on(), name="one"), asyncio.create_task(end(), name="other")
    await ended
    assert first_ended([working]) is None
    assert "other has ended" in str(first_ended([working, ended]))
    working.cancel()


async def test_a_broker_that_lost_its_queues_is_refilled_from_the_outbox(workshop: Workshop, listener: Listener) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await workshop.processor().process([delivery_of(an_order(str(number))) for number in range(5)])
    relay = Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5))
    await relay.flush(10)
    await listener.messages()
    async with workshop.around.pool.acquire() as connection:
        assert await outbox.mark_unsent_since(connection, datetime.now(UTC) + timedelta(hours=1)) == 0
        assert await outbox.mark_unsent_since(connection, before) == 5
    await relay.flush(10)
    assert len(await listener.messages()) == 5


async def test_a_commit_wakes_the_relay_without_waiting_for_the_poll(workshop: Workshop, listener: Listener) -> None:
    relay = Relay(workshop.around, Publisher(listener.url, name="test", timeout_seconds=5))
    workshop.around.settings = workshop.around.settings.model_copy(update={"relay_poll_seconds": 60.0})
    workshop.around.committed = relay.wake
    running = asyncio.create_task(relay.run())
    try:
        await workshop.processor().process([delivery_of(an_order())])
        async with asyncio.timeout(10):
            while await workshop.unsent():  # noqa: ASYNC110 - it asks a server, which sets no asyncio.Event
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert len(await listener.messages()) == 1
