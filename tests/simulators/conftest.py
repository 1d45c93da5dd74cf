"""A virtual host with the real rights of a 3PL and a channel, for the simulators that act as them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aio_pika
import pytest

from shared.config import Partners
from shared.contracts.base import Message
from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected
from shared.contracts.fulfillment import (
    FulfillmentCancelRequested,
    FulfillmentRequested,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyDelivered,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.registry import MESSAGES, exchange_of, routing_key_of
from shared.contracts.stock import ThirdPartyReceipt, ThirdPartyStockAdjusted, ThirdPartyStockSnapshot
from shared.messaging.topology import ServiceMessages, topology
from shared.messaging.topology.broker import apply
from shared.messaging.topology.management import Management

HEARD: Sequence[type[Message]] = (
    ChannelOrderReceived,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyDelivered,
    ThirdPartyLabelPrinted,
    ThirdPartyReceipt,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
    ThirdPartyStockAdjusted,
    ThirdPartyStockSnapshot,
)
SERVICE = "simulated_oms"
SAID: Sequence[type[Message]] = (FulfillmentRequested, FulfillmentCancelRequested, ChannelOrderRejected)


@dataclass
class Bench:
    """A broker on which the test plays the OMS and the simulators play the partners, each with a partner's rights and no more."""

    connection: aio_pika.abc.AbstractConnection
    channel: aio_pika.abc.AbstractChannel
    urls: dict[str, str]
    codes: dict[str, str]

    async def say(self, message: type[Message], partner: str, body: bytes) -> None:
        """Publishes as the OMS."""
        exchange = await self.channel.get_exchange(exchange_of(message), ensure=False)
        await exchange.publish(aio_pika.Message(body, delivery_mode=2), routing_key_of(message, partner), mandatory=True)

    async def hear(self, count: int, timeout_seconds: float = 20) -> list[dict[str, Any]]:
        """The next messages that partners said, as envelopes with their routing key."""
        heard: list[dict[str, Any]] = []
        async with asyncio.timeout(timeout_seconds):
            while len(heard) < count:
                before = len(heard)
                heard += await self.hear_now()
                if len(heard) == before:
                    await asyncio.sleep(0.02)
        return heard

    async def hear_now(self) -> list[dict[str, Any]]:
        """Everything that lies in the inbound queues now."""
        heard: list[dict[str, Any]] = []
        for message in HEARD:
            queue = await self.channel.get_queue(f"{SERVICE}.{message.type}", ensure=False)
            while (delivered := await queue.get(no_ack=True, fail=False)) is not None:
                heard.append({**read_checked(delivered.body), "routing_key": delivered.routing_key})
        return heard

    async def waiting(self, queue_name: str) -> int:
        """Messages that lie ready in a queue."""
        queue = await self.channel.declare_queue(queue_name, passive=True)
        return queue.declaration_result.message_count or 0


def read_checked(body: bytes) -> dict[str, Any]:
    """An envelope whose data must fit the contract that its type names."""
    envelope: dict[str, Any] = json.loads(body)
    MESSAGES[envelope["type"]].model_validate(envelope["data"])
    return envelope


@pytest.fixture
async def bench(servers: dict[str, str]) -> AsyncIterator[Bench]:
    if not servers.get("RABBITMQ_MANAGEMENT_URL"):
        pytest.skip("RABBITMQ_MANAGEMENT_URL is not set: users and virtual hosts cannot be made for these tests")
    mark = secrets.token_hex(4)
    shop, west, east = f"shop-{mark}", f"west-{mark}", f"east-{mark}"
    partners = Partners.model_validate(
        {"channels": [{"code": shop, "base_url": "http://localhost:1"}], "third_party_logistics": [{"code": west}, {"code": east}]}
    )
    planned = topology({SERVICE: ServiceMessages(consumes=HEARD, publishes=SAID)}, partners)
    passwords = {user.name: secrets.token_urlsafe(12) for user in planned.users}
    admin = urlsplit(servers["AMQP_URL"])
    vhost = f"simulators-{mark}"

    def url(user: str) -> str:
        return f"amqp://{user}:{passwords[user]}@{admin.hostname}:{admin.port}/{quote(vhost, safe='')}"

    async with Management(servers["RABBITMQ_MANAGEMENT_URL"], vhost) as management:
        await management.put({}, "vhosts", vhost)
        admin_url = urlunsplit(admin._replace(path=f"/{vhost}"))
        await apply(planned, passwords, management, admin_url, keep_guest=True, say=lambda _: None)
        connection = await aio_pika.connect(admin_url)
        urls = {"shop": url(f"channel-{shop}"), "west": url(f"3pl-{west}"), "east": url(f"3pl-{east}")}
        yield Bench(connection, await connection.channel(), urls, {"shop": shop, "west": west, "east": east})
        await connection.close()
        await management.delete("vhosts", vhost)
        for user in planned.users:
            await management.delete("users", user.name)
