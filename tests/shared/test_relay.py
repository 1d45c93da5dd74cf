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

from shared.config import Partners
from shared.contracts.base import EVENTS_EXCHANGE
from shared.messaging import outbox
from shared.messaging.relay import Publisher, Relay
from shared.messaging.topology import topology
from shared.messaging.topology.broker import apply_over_amqp
from tests.shared.conftest import Workshop, an_order, delivery_of


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
