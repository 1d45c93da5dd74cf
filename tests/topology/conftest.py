"""A virtual host of this suite's own on a real broker, with a small topology applied to it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection

from shared.config import Partners
from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected
from shared.contracts.fulfillment import (
    FulfillmentCancelRequested,
    FulfillmentPlanned,
    FulfillmentRequested,
    ThirdPartyAccepted,
    ThirdPartyShipped,
)
from shared.contracts.orders import OrderCancelRequested, OrderPlaced
from shared.messaging.topology import ServiceMessages, Topology, topology
from shared.messaging.topology.broker import apply
from shared.messaging.topology.management import Management

# Names that no running system uses: users belong to the whole broker, not to a virtual host.
SERVICES = {
    "rehearsal_planning": ServiceMessages(
        consumes=[OrderPlaced, OrderCancelRequested, ThirdPartyAccepted, ThirdPartyShipped],
        publishes=[FulfillmentPlanned, FulfillmentRequested, FulfillmentCancelRequested],
    ),
    "rehearsal_selling": ServiceMessages(
        consumes=[ChannelOrderReceived, FulfillmentPlanned],
        publishes=[OrderPlaced, ChannelOrderRejected],
    ),
}
PARTNERS = Partners.model_validate(
    {
        "channels": [{"code": "rehearsal-shop", "base_url": "http://localhost:1"}],
        "third_party_logistics": [{"code": "rehearsal-acme"}, {"code": "rehearsal-zeta"}],
    }
)


@dataclass
class Rehearsal:
    """The applied topology, the passwords of its users, and the administrator's way in."""

    topology: Topology
    passwords: dict[str, str]
    management: Management
    connection: AbstractConnection
    admin_url: str
    host: str
    port: int
    vhost: str

    def url(self, user: str) -> str:
        """The AMQP address of one user."""
        return f"amqp://{user}:{self.passwords[user]}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    async def publish(self, exchange: str, key: str, body: bytes = b"{}") -> None:
        """Publishes as the administrator."""
        channel = await self.connection.channel()
        await (await channel.get_exchange(exchange, ensure=False)).publish(aio_pika.Message(body), key)
        await channel.close()

    async def empty(self, queue: str) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """Takes everything out of a queue as the administrator."""
        channel = await self.connection.channel()
        taken = []
        source = await channel.get_queue(queue, ensure=False)
        while (message := await source.get(no_ack=True, fail=False)) is not None:
            taken.append(message)
        await channel.close()
        return taken


def said_nothing(_: str) -> None:
    """For applying without printing."""


@pytest.fixture(scope="session")
async def rehearsal(servers: dict[str, str]) -> AsyncIterator[Rehearsal]:
    """The topology of two services, a channel and two 3PLs on a fresh virtual host; deleted with its users at the end."""
    if not servers.get("RABBITMQ_MANAGEMENT_URL"):
        pytest.skip("RABBITMQ_MANAGEMENT_URL is not set: users and virtual hosts cannot be made for these tests")
    vhost = f"rehearsal-{secrets.token_hex(4)}"
    admin = urlsplit(servers["AMQP_URL"])
    planned = topology(SERVICES, PARTNERS)
    passwords = {user.name: secrets.token_urlsafe(12) for user in planned.users}
    async with Management(servers["RABBITMQ_MANAGEMENT_URL"], vhost) as management:
        admin_url = urlunsplit(admin._replace(path=f"/{vhost}"))
        await apply(planned, passwords, management, admin_url, keep_guest=True, say=said_nothing)
        connection = await aio_pika.connect(admin_url)
        yield Rehearsal(planned, passwords, management, connection, admin_url, admin.hostname or "localhost", admin.port or 5672, vhost)
        await connection.close()
        await management.delete("vhosts", vhost)
        for user in planned.users:
            await management.delete("users", user.name)
