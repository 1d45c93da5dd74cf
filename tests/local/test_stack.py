"""The private servers: started, broken, restarted and stopped for real."""

import asyncio
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import psutil
import pytest

from deploy.local.failure import LocalStackError
from deploy.local.running import members_of
from deploy.local.stack import Stack

MEBIBYTE = 1024 * 1024
# RabbitMQ saves its directory of quorum queues half a second late; one that is killed before can forget who leads a new queue.
DIRECTORY_SAVE_SECONDS = 1.0


def listening_addresses(stack: Stack) -> set[IPv4Address | IPv6Address]:
    connections = []
    for process in members_of(stack.directory):
        # Postgres has workers that live for moments.
        with suppress(psutil.NoSuchProcess):
            connections += process.net_connections(kind="tcp")
    return {ip_address(connection.laddr.ip) for connection in connections if connection.status == psutil.CONN_LISTEN}


def without_credentials(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def with_credentials(url: str, credentials: str) -> str:
    return urlsplit(url)._replace(netloc=f"{credentials}@{without_credentials(url)}").geturl()


async def rows_written(stack: Stack) -> list[int]:
    connection = await asyncpg.connect(stack.postgres.url)
    try:
        return [row["number"] for row in await connection.fetch("SELECT number FROM written ORDER BY number")]
    finally:
        await connection.close()


async def has_queue(stack: Stack, name: str) -> bool:
    async with await aio_pika.connect(stack.rabbitmq.url) as connection:
        channel = await connection.channel()
        try:
            await channel.declare_queue(name, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        return True


async def take_message(stack: Stack, queue_name: str) -> bytes:
    """The next message of a queue; waits for it, since a quorum queue elects its leader a moment after the broker is back."""
    async with await aio_pika.connect(stack.rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(queue_name)
        async with queue.iterator(timeout=15, no_ack=True) as messages:
            return (await anext(messages)).body


def test_every_server_listens_on_the_loopback_interface_only(private_stack: Stack) -> None:
    addresses = listening_addresses(private_stack)
    assert ip_address("127.0.0.1") in addresses
    assert all(address.is_loopback for address in addresses)


async def test_the_database_is_named_ordermesh_and_keeps_what_it_confirms(private_stack: Stack) -> None:
    connection = await asyncpg.connect(private_stack.postgres.url)
    try:
        settings = {
            row["name"]: row["setting"]
            for row in await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", DURABILITY_SETTINGS)
        }
        assert await connection.fetchval("SELECT current_database()") == "ordermesh"
        assert settings == dict.fromkeys(DURABILITY_SETTINGS, "on")
    finally:
        await connection.close()


DURABILITY_SETTINGS = ["fsync", "full_page_writes", "synchronous_commit"]


async def test_a_wrong_password_opens_neither_server(private_stack: Stack) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(with_credentials(private_stack.postgres.url, "postgres:wrong"))
    for credentials in ("admin:wrong", "guest:guest"):
        with pytest.raises(aio_pika.exceptions.AMQPConnectionError):
            await aio_pika.connect(with_credentials(private_stack.rabbitmq.url, credentials))


async def test_a_message_beyond_four_mebibytes_is_refused(private_stack: Stack) -> None:
    async with await aio_pika.connect(private_stack.rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"x" * (4 * MEBIBYTE)), queue.name)
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed, match="message size"):
            await channel.default_exchange.publish(aio_pika.Message(b"x" * (4 * MEBIBYTE + 1)), queue.name)


async def test_postgres_comes_back_on_its_port_with_what_it_confirmed_after_a_kill(private_stack: Stack) -> None:
    url = private_stack.postgres.url
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE written (number integer)")
    await connection.execute("INSERT INTO written VALUES (1)")
    uncommitted = connection.transaction()
    await uncommitted.start()
    await connection.execute("INSERT INTO written VALUES (2)")

    private_stack.postgres.kill()
    assert not private_stack.postgres.is_running
    connection.terminate()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncpg.connect(url)

    private_stack.postgres.start()
    assert private_stack.postgres.url == url
    assert await rows_written(private_stack) == [1]


async def test_postgres_wiped_is_empty_and_on_the_same_port(private_stack: Stack) -> None:
    url = private_stack.postgres.url
    private_stack.postgres.wipe()
    assert private_stack.postgres.url == url
    with pytest.raises(asyncpg.UndefinedTableError):
        await rows_written(private_stack)


async def test_rabbitmq_keeps_confirmed_messages_over_a_kill_and_loses_all_when_wiped(private_stack: Stack) -> None:
    url = private_stack.rabbitmq.url
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"paid", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    await asyncio.sleep(DIRECTORY_SAVE_SECONDS)

    private_stack.rabbitmq.kill()
    assert not private_stack.rabbitmq.is_running
    private_stack.rabbitmq.start()
    assert private_stack.rabbitmq.url == url
    assert await take_message(private_stack, "kept") == b"paid"

    private_stack.rabbitmq.wipe()
    assert private_stack.rabbitmq.url == url
    assert not await has_queue(private_stack, "kept")


def test_another_stack_object_of_the_same_directory_sees_the_same_servers(private_stack: Stack) -> None:
    again = Stack(private_stack.directory)
    assert again.is_running
    assert again.environment() == private_stack.environment()


def test_a_given_server_is_used_and_never_killed_or_wiped(private_stack: Stack, tmp_path: Path) -> None:
    guest = Stack(tmp_path, database_url=private_stack.postgres.url, amqp_url=private_stack.rabbitmq.url)
    guest.start()
    try:
        assert guest.environment()["ADMIN_DATABASE_URL"] == private_stack.postgres.url
        assert guest.environment()["AMQP_URL"] == private_stack.rabbitmq.url
        assert members_of(tmp_path) == []
        with pytest.raises(LocalStackError, match="given by DATABASE_URL"):
            guest.postgres.kill()
        with pytest.raises(LocalStackError, match="given by AMQP_URL"):
            guest.rabbitmq.wipe()
    finally:
        guest.discard()
    assert private_stack.is_running


def test_a_given_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    stack = Stack(tmp_path, database_url="postgresql://postgres@127.0.0.1:1/ordermesh", amqp_url="amqp://127.0.0.1:1/")
    with pytest.raises(LocalStackError, match=r"of (DATABASE_URL|AMQP_URL) cannot be used"):
        stack.start()


@pytest.mark.parametrize("url", ["amqp://guest:guest@localhost:many/", "amqp://guest:pass/word@localhost/", "amqp://[::1/"])
def test_a_given_url_that_cannot_be_one_is_named_and_not_remembered(tmp_path: Path, url: str) -> None:
    with pytest.raises(LocalStackError, match=r"^AMQP_URL is no URL of a server: check its host and port"):
        Stack(tmp_path, amqp_url=url)
    assert list(tmp_path.iterdir()) == []
