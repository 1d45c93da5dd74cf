"""A real broker, brought to the topology and compared with it: every planted difference is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from deploy.local.stack import Stack
from shared.config import Partners
from shared.messaging.topology import ServiceMessages, topology
from shared.messaging.topology.broker import apply, apply_over_amqp, inspect_queues
from shared.messaging.topology.check import differences
from shared.messaging.topology.management import Management
from tests.topology.conftest import PARTNERS, SERVICES, Rehearsal, said_nothing


async def found(rehearsal: Rehearsal, *, consumers_expected: bool = False) -> list[str]:
    live = await differences(rehearsal.topology, rehearsal.admin_url, rehearsal.management, consumers_expected=consumers_expected)
    # Another administrator of this broker may have kept the user guest; that is tested where the broker is ours alone.
    return [difference for difference in live if "user guest" not in difference]


async def ignore(_: AbstractIncomingMessage) -> None:
    """A consumer that does nothing."""


@pytest.fixture
async def tidy(rehearsal: Rehearsal) -> AsyncIterator[Rehearsal]:
    """The broker as it should be, and so again afterwards."""
    assert await found(rehearsal) == []
    yield rehearsal
    await apply(rehearsal.topology, rehearsal.passwords, rehearsal.management, rehearsal.admin_url, keep_guest=True, say=said_nothing)
    assert await found(rehearsal) == []


async def test_applying_twice_changes_nothing(tidy: Rehearsal) -> None:
    before = await tidy.management.rows("queues", tidy.vhost), await tidy.management.rows("users")
    await apply(tidy.topology, tidy.passwords, tidy.management, tidy.admin_url, keep_guest=True, say=said_nothing)
    assert (await tidy.management.rows("queues", tidy.vhost), await tidy.management.rows("users")) == before


async def test_applying_again_keeps_messages(tidy: Rehearsal) -> None:
    await tidy.publish("oms.events", "order.placed.v1", b"kept")
    await apply(tidy.topology, tidy.passwords, tidy.management, tidy.admin_url, keep_guest=True, say=said_nothing)
    assert [message.body for message in await tidy.empty("rehearsal_planning.order.placed.v1")] == [b"kept"]


async def test_a_missing_queue_is_named_and_declared_again(tidy: Rehearsal) -> None:
    await tidy.management.delete("queues", tidy.vhost, "rehearsal_planning.order.placed.v1")
    named = await found(tidy)
    assert "queue rehearsal_planning.order.placed.v1 is missing: apply the topology" in named
    assert "binding oms.events -> rehearsal_planning.order.placed.v1 by order.placed.v1 is missing: apply the topology" in named


async def test_a_queue_that_nobody_declared_here_is_named(tidy: Rehearsal) -> None:
    await tidy.management.put({"durable": True}, "queues", tidy.vhost, "somebody.else")
    assert await found(tidy) == ["queue somebody.else does not belong to the topology: nobody reads it; delete it once it is empty"]
    await tidy.management.delete("queues", tidy.vhost, "somebody.else")


async def test_a_queue_of_another_kind_is_named(tidy: Rehearsal) -> None:
    await tidy.management.delete("queues", tidy.vhost, "rehearsal_selling.dead")
    await tidy.management.put({"durable": True, "arguments": {"x-queue-type": "classic"}}, "queues", tidy.vhost, "rehearsal_selling.dead")
    assert any("rehearsal_selling.dead was declared differently" in difference for difference in await found(tidy))
    await tidy.management.delete("queues", tidy.vhost, "rehearsal_selling.dead")


async def test_a_binding_that_leads_somewhere_else_is_named(tidy: Rehearsal) -> None:
    path = ("bindings", tidy.vhost, "e", "oms.events", "q", "3pl.rehearsal-acme.commands")
    await tidy.management.post({"routing_key": "order.placed.v1"}, *path)
    assert await found(tidy) == ["binding oms.events -> 3pl.rehearsal-acme.commands by order.placed.v1 does not belong to the topology"]
    await tidy.management.delete(*path, "order.placed.v1")


async def test_rights_beyond_the_topology_are_named_and_taken_back(tidy: Rehearsal) -> None:
    await tidy.management.put({"configure": ".*", "write": ".*", "read": ".*"}, "permissions", tidy.vhost, "3pl-rehearsal-acme")
    assert await found(tidy) == ["rights of user 3pl-rehearsal-acme differ: apply the topology"]


async def test_publishing_rights_beyond_the_topology_are_named(tidy: Rehearsal) -> None:
    right = {"exchange": "oms.inbound", "write": ".*", "read": "^$"}
    await tidy.management.put(right, "topic-permissions", tidy.vhost, "3pl-rehearsal-acme")
    assert await found(tidy) == ["publishing rights of user 3pl-rehearsal-acme at oms.inbound differ: apply the topology"]


async def test_a_partner_that_was_dropped_loses_its_rights(tidy: Rehearsal) -> None:
    fewer = PARTNERS.model_copy(update={"third_party_logistics": PARTNERS.third_party_logistics[:1]})
    smaller = topology(SERVICES, fewer)
    assert any(
        "user 3pl-rehearsal-zeta has rights but is no service or partner" in difference
        for difference in await differences(smaller, tidy.admin_url, tidy.management, consumers_expected=False)
    )
    said: list[str] = []
    await apply(smaller, tidy.passwords, tidy.management, tidy.admin_url, keep_guest=True, say=said.append)
    assert said == ["took all rights from 3pl-rehearsal-zeta: it is no longer a service or a partner"]
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(tidy.url("3pl-rehearsal-zeta"))


async def test_a_queue_without_its_service_is_named(tidy: Rehearsal) -> None:
    queue = "rehearsal_selling.fulfillment.planned.v1"
    sentence = f"queue {queue} has no consumer (0 messages wait): is its service running?"
    assert sentence in await found(tidy, consumers_expected=True)
    service = await aio_pika.connect(tidy.url("ordermesh_rehearsal_selling"))
    channel = await service.channel()
    await (await channel.get_queue(queue, ensure=False)).consume(ignore)
    assert sentence not in await found(tidy, consumers_expected=True)
    await service.close()


async def test_a_partner_that_is_away_is_no_difference(tidy: Rehearsal) -> None:
    assert not any("3pl.rehearsal-acme.commands" in difference for difference in await found(tidy, consumers_expected=True))


async def test_a_message_that_nobody_wants_is_caught_and_named(tidy: Rehearsal) -> None:
    await tidy.publish("oms.events", "order.vanished.v9", b"unwanted")
    assert await found(tidy) == ["queue oms.unrouted must be empty and holds 1 messages"]
    [message] = await tidy.empty("oms.unrouted")
    assert (message.body, message.routing_key) == (b"unwanted", "order.vanished.v9")


async def test_a_rejected_message_falls_into_its_services_safety_net_and_tells_where_from(tidy: Rehearsal) -> None:
    queue = "rehearsal_planning.order.placed.v1"
    await tidy.publish("oms.events", "order.placed.v1", b"poison")
    channel = await tidy.connection.channel()
    delivered = await (await channel.get_queue(queue, ensure=False)).get(timeout=5)
    assert delivered is not None
    await delivered.reject(requeue=False)
    await channel.close()
    for _ in range(50):
        if "queue rehearsal_planning.dead must be empty and holds 1 messages" in await found(tidy):
            break
        await asyncio.sleep(0.1)
    [message] = await tidy.empty("rehearsal_planning.dead")
    assert message.body == b"poison"
    assert message.headers["x-first-death-queue"] == queue


async def test_over_amqp_alone_everything_but_users_and_the_policy_is_declared(servers: dict[str, str]) -> None:
    """A broker whose management API we are not given still gets all queues."""
    if not servers.get("RABBITMQ_MANAGEMENT_URL"):
        pytest.skip("RABBITMQ_MANAGEMENT_URL is not set: no virtual host can be made for this test")
    vhost = "rehearsal-amqp-only"
    admin = urlsplit(servers["AMQP_URL"])
    async with Management(servers["RABBITMQ_MANAGEMENT_URL"], vhost) as management:
        await management.put({}, "vhosts", vhost)
        url = admin._replace(path=f"/{vhost}").geturl()
        planned = topology(SERVICES, PARTNERS)
        await apply_over_amqp(planned, url, said_nothing)
        await apply_over_amqp(planned, url, said_nothing)
        assert await differences(planned, url, None, consumers_expected=False) == []
        named = [text for text in await differences(planned, url, management, consumers_expected=False) if "guest" not in text]
        assert all("the user is missing" in text or "are missing" in text or text.startswith("policy") for text in named), named
        assert any(text.startswith("policy") for text in named)
        await management.delete("vhosts", vhost)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker that may be killed."""
    stack = Stack(tmp_path_factory.mktemp("broker"))
    try:
        stack.rabbitmq.start()
        yield stack
    finally:
        stack.discard()


async def test_a_broker_killed_while_queues_are_declared_is_healed_by_applying_again(own_broker: Stack) -> None:
    """RabbitMQ 3.10 then comes up with quorum queues that never elect a leader, and calls them healthy."""
    planned = topology({f"rehearsal_{number}": service for number in range(8) for service in SERVICES.values()}, PARTNERS)
    passwords = {user.name: "only-in-tests" for user in planned.users}
    connection = await aio_pika.connect(own_broker.rabbitmq.url)
    await apply_over_amqp(topology({}, Partners()), own_broker.rabbitmq.url, said_nothing)
    channel = await connection.channel()
    for queue in planned.queues[1:]:
        await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
    await asyncio.to_thread(own_broker.rabbitmq.kill)
    await asyncio.to_thread(own_broker.rabbitmq.start)
    async with Management(own_broker.rabbitmq.management_url) as management:
        await apply(planned, passwords, management, own_broker.rabbitmq.url, say=said_nothing)
        assert await differences(planned, own_broker.rabbitmq.url, management, consumers_expected=False) == []
        states = await inspect_queues([queue.name for queue in planned.queues], own_broker.rabbitmq.url, 5)
        assert {state.has_leader for state in states.values() if state is not None} == {True}
        assert None not in states.values()
        assert "guest" not in {str(user["name"]) for user in await management.rows("users")}


async def test_guest_is_removed_and_named_when_it_comes_back(own_broker: Stack) -> None:
    planned = topology({"rehearsal": ServiceMessages([], [])}, Partners())
    async with Management(own_broker.rabbitmq.management_url) as management:
        await management.put({"password": "guest", "tags": "administrator"}, "users", "guest")
        said: list[str] = []
        await apply(planned, {"ordermesh_rehearsal": "only-in-tests"}, management, own_broker.rabbitmq.url, say=said.append)
        assert "removed the user guest" in said
        assert not any("guest" in text for text in await differences(planned, own_broker.rabbitmq.url, management))
        await management.put({"password": "guest", "tags": "administrator"}, "users", "guest")
        assert "the user guest exists: apply the topology as another administrator" in await differences(
            planned, own_broker.rabbitmq.url, management
        )
