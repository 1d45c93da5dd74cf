"""Publishing in groups leans on parts of aiormq that are not documented: these tests notice when they change."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import aio_pika
import aiormq
import pytest
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError, PublishError
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from shared.messaging import pipelining
from shared.messaging.pipelining import Publication, encode, publish_together


def encoded_by_aiormq(publication: Publication, message_id: str, channel_number: int, content_size: int) -> bytes:
    """The same message through aiormq's own encoder."""
    properties = commands.Basic.Properties(
        content_type=publication.content_type, delivery_mode=2, message_id=message_id, message_type=publication.message_type
    )
    parts = [publication.body[start : start + content_size] for start in range(0, len(publication.body), content_size)]
    return ChannelFrame.marshall(
        channel_number=channel_number,
        frames=[
            commands.Basic.Publish(exchange=publication.exchange, routing_key=publication.routing_key, mandatory=True),
            ContentHeader(properties=properties, body_size=len(publication.body)),
            *(ContentBody(part) for part in parts),
        ],
    ).payload


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 1_000, b"y" * 100_001], ids=["empty", "tiny", "small", "several frames"])
def test_our_frames_are_the_bytes_that_aiormq_would_send(body: bytes) -> None:
    publication = Publication("oms.inbound", "3pl.west.accepted.v1", body, "3pl.accepted.v1")
    assert encode(publication, "a-0", 3, 50_000) == encoded_by_aiormq(publication, "a-0", 3, 50_000)


def test_text_beyond_ascii_survives_in_the_routing_key() -> None:
    publication = Publication("oms.events", "größe", b"1", "ß")
    assert encode(publication, "a-0", 1, 4_000) == encoded_by_aiormq(publication, "a-0", 1, 4_000)


class Wire:
    """An exchange and a queue of this test's own."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, bare: Channel, exchange: str, queue: aio_pika.abc.AbstractQueue) -> None:
        self.channel = channel
        self.bare = bare
        self.exchange = exchange
        self.queue = queue


@pytest.fixture
async def wire(servers: dict[str, str]) -> AsyncIterator[Wire]:
    connection = await aio_pika.connect(servers["AMQP_URL"])
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    name = f"test.pipelining.{secrets.token_hex(4)}"
    exchange = await channel.declare_exchange(name, "topic", auto_delete=True)
    queue = await channel.declare_queue(name, exclusive=True)
    await queue.bind(exchange, "bound.#")
    bare = await channel.get_underlay_channel()
    assert isinstance(bare, Channel)
    yield Wire(channel, bare, name, queue)
    await connection.close()


async def test_a_group_arrives_complete_in_order_and_unchanged(wire: Wire) -> None:
    bodies = [b"%d" % number + b"x" * (number * 700) for number in range(300)]
    outcomes = await publish_together(
        wire.bare, [Publication(wire.exchange, "bound.a", body, "t.v1") for body in bodies], timeout_seconds=20
    )
    assert outcomes == [None] * 300
    received = [await wire.queue.get(no_ack=True) for _ in bodies]
    assert [message.body for message in received] == bodies
    first = received[0]
    assert first is not None
    assert (first.content_type, first.type, first.delivery_mode) == ("application/json", "t.v1", aio_pika.DeliveryMode.PERSISTENT)


async def test_a_message_that_no_queue_wants_is_the_only_one_that_fails(wire: Wire) -> None:
    keys = ["bound.a", "nowhere", "bound.b", "nowhere.else", "bound.c"]
    outcomes = await publish_together(wire.bare, [Publication(wire.exchange, key, b"1", "t.v1") for key in keys], timeout_seconds=10)
    assert [type(outcome) for outcome in outcomes] == [type(None), PublishError, type(None), PublishError, type(None)]


async def test_single_publishes_and_groups_may_share_a_channel(wire: Wire) -> None:
    async def single() -> None:
        await wire.bare.basic_publish(b"one", exchange=wire.exchange, routing_key="bound.a", mandatory=True, wait=False)

    group = [Publication(wire.exchange, "bound.a", b"many", "t.v1")] * 20
    results = await asyncio.gather(
        *(single() for _ in range(20)), *(publish_together(wire.bare, group, timeout_seconds=10) for _ in range(5))
    )
    assert results[20:] == [[None] * 20] * 5
    counted = await wire.channel.declare_queue(wire.queue.name, passive=True)
    assert counted.declaration_result.message_count == 120


async def test_a_missing_exchange_fails_every_message_and_the_channel(wire: Wire) -> None:
    outcomes = await publish_together(wire.bare, [Publication("no-such-exchange", "k", b"1", "t.v1")] * 3, timeout_seconds=5)
    assert all(isinstance(outcome, BaseException) for outcome in outcomes)
    with pytest.raises(AMQPError):
        await publish_together(wire.bare, [Publication(wire.exchange, "bound.a", b"1", "t.v1")], timeout_seconds=5)


async def test_another_version_of_aiormq_gets_one_publish_per_message(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelining, "can_pipeline", lambda _: False)
    keys = ["bound.a", "nowhere", "bound.b"]
    outcomes = await publish_together(wire.bare, [Publication(wire.exchange, key, b"1", "t.v1") for key in keys], timeout_seconds=10)
    assert [type(outcome) for outcome in outcomes] == [type(None), PublishError, type(None)]
    received = await wire.queue.get(no_ack=True)
    assert received is not None
    assert (received.content_type, received.type) == ("application/json", "t.v1")


def test_the_installed_aiormq_can_be_pipelined() -> None:
    assert {"lock", "_on_confirm_frame", "_on_return_frame"} <= set(dir(aiormq.channel.Channel))
