"""What a 3PL's user may and may not do, tried with a client that is not ours (amqp-tools, Debian's command line client of librabbitmq)."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE

import aio_pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from tests.topology.conftest import Rehearsal

ACME = "3pl-rehearsal-acme"
OWN_QUEUE = "3pl.rehearsal-acme.commands"
FOREIGN_QUEUE = "3pl.rehearsal-zeta.commands"
SERVICE_QUEUE = "rehearsal_planning.3pl.shipped.v1"
FIVE_MEGABYTES = 5_000_000

with_amqp_tools = pytest.mark.skipif(
    shutil.which("amqp-publish") is None, reason="amqp-tools is not installed (Debian/Ubuntu: apt-get install amqp-tools)"
)


async def run(rehearsal: Rehearsal, command: str, *arguments: str, user: str = ACME, body: bytes | None = None) -> tuple[int, str, str]:
    """Runs one of amqp-tools as a user; returns its exit code, what it printed and what it complained of."""
    password = rehearsal.passwords.get(user, "guest")
    where = ["--server", rehearsal.host, "--port", str(rehearsal.port), "--vhost", rehearsal.vhost]
    who = ["--username", user, "--password", password]
    process = await asyncio.create_subprocess_exec(
        command, *where, *who, *arguments, stdin=DEVNULL if body is None else PIPE, stdout=PIPE, stderr=PIPE
    )
    output, complaint = await asyncio.wait_for(process.communicate(body), timeout=30)
    return process.returncode or 0, output.decode(), complaint.decode()


async def refusal(rehearsal: Rehearsal, command: str, *arguments: str) -> str:
    """The broker's words when it refuses; fails when it does not."""
    code, _, complaint = await run(rehearsal, command, *arguments)
    assert code == 1, "the broker let it through"
    return complaint


@with_amqp_tools
async def test_a_3pl_may_say_its_own_keys(rehearsal: Rehearsal) -> None:
    code, _, complaint = await run(
        rehearsal, "amqp-publish", "-e", "oms.inbound", "-r", "3pl.rehearsal-acme.shipped.v1", "-p", "-C", "application/json", "-b", "{}"
    )
    assert (code, complaint) == (0, "")
    assert [message.body for message in await rehearsal.empty(SERVICE_QUEUE)] == [b"{}"]


@with_amqp_tools
async def test_a_major_version_of_tomorrow_reaches_the_service_that_parks_it(rehearsal: Rehearsal) -> None:
    code, _, _ = await run(rehearsal, "amqp-publish", "-e", "oms.inbound", "-r", "3pl.rehearsal-acme.shipped.v2", "-b", "{}")
    assert code == 0
    assert [message.routing_key for message in await rehearsal.empty(SERVICE_QUEUE)] == ["3pl.rehearsal-acme.shipped.v2"]


@with_amqp_tools
async def test_a_3pl_may_read_its_own_queue(rehearsal: Rehearsal) -> None:
    await rehearsal.publish("oms.commands", "3pl.rehearsal-acme.fulfillment.requested.v1", b"pick this")
    code, output, _ = await run(rehearsal, "amqp-consume", "-q", OWN_QUEUE, "-c", "1", "cat")
    assert (code, output) == (0, "pick this")
    assert await rehearsal.empty(OWN_QUEUE) == []


@with_amqp_tools
@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        ("oms.inbound", "3pl.rehearsal-zeta.shipped.v1"),
        ("oms.inbound", "channel.rehearsal-shop.order_received.v1"),
        ("oms.inbound", "3pl.rehearsal-acme.shiped.v1"),
        ("oms.inbound", "3pl.rehearsal-acme.shipped.v1.more"),
        ("oms.inbound", "3pl.rehearsal-acme"),
        ("oms.inbound", "xxx3pl.rehearsal-acme.shipped.v1"),
        ("oms.events", "order.placed.v1"),
        ("oms.events", "fulfillment.planned.v1"),
        ("oms.commands", "order.cancel_requested.v1"),
        ("oms.commands", "3pl.rehearsal-acme.fulfillment.requested.v1"),
        ("oms.dead", "rehearsal_planning"),
        ("oms.unrouted", ""),
        ("", OWN_QUEUE),
        ("", SERVICE_QUEUE),
    ],
)
async def test_a_3pl_may_not_say_anything_else(rehearsal: Rehearsal, exchange: str, key: str) -> None:
    complaint = await refusal(rehearsal, "amqp-publish", "-e", exchange, "-r", key, "-b", "{}")
    assert "ACCESS_REFUSED" in complaint
    for queue in rehearsal.topology.queues:
        assert await rehearsal.empty(queue.name) == []


@with_amqp_tools
@pytest.mark.parametrize(
    "queue", [FOREIGN_QUEUE, "channel.rehearsal-shop.commands", SERVICE_QUEUE, "partners.dead", "oms.unrouted", "rehearsal_planning.dead"]
)
async def test_a_3pl_may_not_read_another_queue(rehearsal: Rehearsal, queue: str) -> None:
    assert "ACCESS_REFUSED" in await refusal(rehearsal, "amqp-get", "-q", queue)
    assert "ACCESS_REFUSED" in await refusal(rehearsal, "amqp-consume", "-q", queue, "-c", "1", "cat")


@with_amqp_tools
@pytest.mark.parametrize("queue", ["mine", OWN_QUEUE, FOREIGN_QUEUE, SERVICE_QUEUE])
async def test_a_3pl_may_not_declare_a_queue(rehearsal: Rehearsal, queue: str) -> None:
    assert "ACCESS_REFUSED" in await refusal(rehearsal, "amqp-declare-queue", "-d", "-q", queue)


@with_amqp_tools
@pytest.mark.parametrize("queue", [OWN_QUEUE, FOREIGN_QUEUE, SERVICE_QUEUE])
async def test_a_3pl_may_not_delete_a_queue(rehearsal: Rehearsal, queue: str) -> None:
    assert "ACCESS_REFUSED" in await refusal(rehearsal, "amqp-delete-queue", "-q", queue)


@with_amqp_tools
async def test_a_3pl_may_not_listen_in_on_the_events(rehearsal: Rehearsal) -> None:
    assert "ACCESS_REFUSED" in await refusal(rehearsal, "amqp-consume", "-e", "oms.events", "-r", "#", "-c", "1", "cat")


@with_amqp_tools
async def test_five_megabytes_are_refused_and_four_are_taken(rehearsal: Rehearsal) -> None:
    arguments = ("amqp-publish", "-e", "oms.inbound", "-r", "3pl.rehearsal-acme.shipped.v1")
    code, _, complaint = await run(rehearsal, *arguments, body=b"x" * FIVE_MEGABYTES)
    assert code == 1
    assert "larger than configured max size" in complaint
    assert await rehearsal.empty(SERVICE_QUEUE) == []
    code, _, _ = await run(rehearsal, *arguments, body=b"x" * 4_000_000)
    assert code == 0
    assert [len(message.body) for message in await rehearsal.empty(SERVICE_QUEUE)] == [4_000_000]


@with_amqp_tools
async def test_a_wrong_password_is_refused(rehearsal: Rehearsal) -> None:
    code, _, complaint = await run(rehearsal, "amqp-get", "-q", OWN_QUEUE, user="3pl-rehearsal-nobody")
    assert code == 1
    assert "ACCESS_REFUSED" in complaint


# amqp-tools can neither bind an existing queue, nor purge, nor name another user in a message: these are tried with a plain client.


async def test_a_3pl_may_not_bind_its_queue_to_the_events(rehearsal: Rehearsal) -> None:
    async with await aio_pika.connect(rehearsal.url(ACME)) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(OWN_QUEUE, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind("oms.events", "#")


@pytest.mark.parametrize("queue", [FOREIGN_QUEUE, SERVICE_QUEUE])
async def test_a_3pl_may_not_purge_another_queue(rehearsal: Rehearsal, queue: str) -> None:
    async with await aio_pika.connect(rehearsal.url(ACME)) as connection:
        channel = await connection.channel()
        foreign = await channel.get_queue(queue, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await foreign.purge()


async def test_a_3pl_may_not_put_another_users_name_on_a_message(rehearsal: Rehearsal) -> None:
    async with await aio_pika.connect(rehearsal.url(ACME)) as connection:
        channel = await connection.channel()
        inbound = await channel.get_exchange("oms.inbound", ensure=False)
        own = aio_pika.Message(b"{}", user_id=ACME)
        await inbound.publish(own, "3pl.rehearsal-acme.shipped.v1")
        spoofed = aio_pika.Message(b"{}", user_id="3pl-rehearsal-zeta")
        with pytest.raises(ChannelPreconditionFailed, match="user_id"):
            await inbound.publish(spoofed, "3pl.rehearsal-acme.shipped.v1")
    assert [message.user_id for message in await rehearsal.empty(SERVICE_QUEUE)] == [ACME]


@pytest.mark.parametrize("exchange", ["mine", "oms.inbound"])
async def test_a_3pl_may_not_declare_or_delete_an_exchange(rehearsal: Rehearsal, exchange: str) -> None:
    async with await aio_pika.connect(rehearsal.url(ACME)) as connection:
        with pytest.raises(ChannelAccessRefused):
            await (await connection.channel()).declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
    async with await aio_pika.connect(rehearsal.url(ACME)) as connection:
        with pytest.raises(ChannelAccessRefused):
            await (await connection.channel()).exchange_delete(exchange)


async def test_a_service_may_not_publish_what_its_table_of_contents_does_not_say(rehearsal: Rehearsal) -> None:
    async with await aio_pika.connect(rehearsal.url("ordermesh_rehearsal_planning")) as connection:
        channel = await connection.channel()
        events = await channel.get_exchange("oms.events", ensure=False)
        await events.publish(aio_pika.Message(b"{}"), "fulfillment.planned.v1")
        with pytest.raises(ChannelAccessRefused):
            await events.publish(aio_pika.Message(b"{}"), "order.placed.v1")
    assert len(await rehearsal.empty("rehearsal_selling.fulfillment.planned.v1")) == 1


async def test_a_service_may_not_read_another_services_queue(rehearsal: Rehearsal) -> None:
    async with await aio_pika.connect(rehearsal.url("ordermesh_rehearsal_planning")) as connection:
        channel = await connection.channel()
        foreign = await channel.get_queue("rehearsal_selling.fulfillment.planned.v1", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await foreign.get(timeout=5)
