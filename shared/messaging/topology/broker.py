"""Brings a live broker to the topology, over its management API, or (without users) over AMQP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from pamqp.common import FieldTable

from shared.errors import OrdermeshError
from shared.messaging.topology.definitions import definitions, exchange_arguments, user_definitions
from shared.messaging.topology.management import Management
from shared.messaging.topology.names import partner_user_of, service_user_of
from shared.messaging.topology.plan import Topology

CONNECT_TIMEOUT_SECONDS = 30.0
LEADER_TIMEOUT_SECONDS = 10.0
DECLARE_ATTEMPTS = 3
PROBES_AT_A_TIME = 16

Say = Callable[[str], None]


class LeaderMissing(OrdermeshError):
    """A quorum queue elects no leader: nothing can be published to it or read from it. Names the queues and what to do."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the broker says of one queue. ``has_leader`` is None when nobody asked: what holds messages has a log, and so elects one."""

    messages: int
    consumers: int
    has_leader: bool | None


async def apply(
    topology: Topology,
    passwords: Mapping[str, str],
    management: Management,
    amqp_url: str,
    *,
    keep_guest: bool = False,
    say: Say = print,
) -> None:
    """Creates and corrects exchanges, queues, bindings, the policy, users and their rights, and takes rights from those who lost them.

    Users come last: on an empty broker nobody can log in, and publish into exchanges without queues, before everything is there. Safe to
    repeat on a running system. Queues that are no longer in the topology stay, because they may hold messages; ``check`` names them.
    Messages are never touched.

    Raises:
        BadConfiguration: a user has no password.
        LeaderMissing: a quorum queue has no leader, even after it was made anew.
    """
    rooms = definitions(topology, management.vhost)
    keys = user_definitions(topology, passwords, management.vhost)
    if management.vhost not in {str(vhost["name"]) for vhost in await management.rows("vhosts")}:
        await management.put({}, "vhosts", management.vhost)  # the one who creates it may use it; a definitions document grants nothing

    async def declare() -> None:
        await management.post(rooms, "definitions")

    await _declare_until_led(declare, topology, amqp_url, say)
    await management.post(keys, "definitions")
    for stranger in await strangers(topology, management):
        await management.delete("permissions", management.vhost, stranger)
        say(f"took all rights from {stranger}: it is no longer a service or a partner")
    if not keep_guest:
        await _remove_guest(management, say)


async def apply_over_amqp(topology: Topology, amqp_url: str, say: Say = print) -> None:
    """Declares exchanges, queues and bindings. Users, their rights and the policy need the management API.

    Raises:
        LeaderMissing: a quorum queue has no leader.
    """

    async def declare() -> None:
        async with await connect(amqp_url) as connection:
            channel = await connection.channel()
            for exchange in topology.exchanges:
                arguments: FieldTable = {**exchange_arguments(exchange.alternate)}
                await channel.declare_exchange(exchange.name, aio_pika.ExchangeType(exchange.type), durable=True, arguments=arguments)
            for queue in topology.queues:
                await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            for binding in topology.bindings:
                queue_to_bind = await channel.get_queue(binding.queue, ensure=False)
                await queue_to_bind.bind(binding.exchange, binding.key)

    await _declare_until_led(declare, topology, amqp_url, say)


async def strangers(topology: Topology, management: Management) -> list[str]:
    """Users that are named like ours and have rights here, but are no longer in the topology: a partner or a service that was dropped."""
    ours = {user.name for user in topology.users}
    prefixes = (service_user_of(""), partner_user_of("3pl", ""), partner_user_of("channel", ""))
    users = {str(permission["user"]) for permission in await management.rows("vhosts", management.vhost, "permissions")}
    return sorted(user for user in users - ours if user.startswith(prefixes))


async def connect(amqp_url: str) -> AbstractConnection:
    """One connection to the broker."""
    return await aio_pika.connect(amqp_url, timeout=CONNECT_TIMEOUT_SECONDS)


async def inspect_queues(queues: Iterable[str], amqp_url: str, timeout_seconds: float) -> dict[str, QueueState | None]:
    """The state of each queue; None for one that does not exist. Never takes a message away."""
    names = list(queues)
    limit = asyncio.Semaphore(PROBES_AT_A_TIME)
    async with await connect(amqp_url) as connection:
        # Every probe has a channel number of its own: aiormq may take a number again before the broker has heard that it is free.
        probes = (_inspect_queue(name, number, connection, limit, timeout_seconds) for number, name in enumerate(names, start=1))
        return dict(zip(names, await asyncio.gather(*probes), strict=True))


async def _inspect_queue(
    name: str, number: int, connection: AbstractConnection, limit: asyncio.Semaphore, timeout_seconds: float
) -> QueueState | None:
    async with limit:
        channel = await connection.channel(channel_number=number, publisher_confirms=False)
        try:
            queue = await channel.get_queue(name, ensure=True)
        except ChannelNotFoundEntity:
            return None
        counted = queue.declaration_result
        messages, consumers = counted.message_count or 0, counted.consumer_count or 0
        if messages > 0:
            return QueueState(messages, consumers, has_leader=None)
        # Only a leader can answer a read; should a message have come meanwhile, the end of the connection puts it back.
        try:
            await queue.get(fail=False, timeout=timeout_seconds)
        except (TimeoutError, AMQPError):
            return QueueState(messages, consumers, has_leader=False)
        return QueueState(messages, consumers, has_leader=True)


async def _declare_until_led(declare: Callable[[], Awaitable[None]], topology: Topology, amqp_url: str, say: Say) -> None:
    """Declares until every queue answers.

    RabbitMQ 3.10 that is killed while a quorum queue is being declared may come up with a queue whose log is empty: it never elects a
    leader, although the management API and a passive declaration claim that all is well. Such a queue holds nothing, so it is deleted
    and declared again.
    """
    names = [queue.name for queue in topology.queues]
    silent = await _leaderless(names, amqp_url)
    for _ in range(DECLARE_ATTEMPTS):
        if silent:  # before declaring: the broker would try for half a minute to tell such a queue its policy
            await _delete(silent, amqp_url)
            say(f"no leader, empty, declared again: {', '.join(silent)}")
        await declare()
        silent = await _leaderless(names, amqp_url)
        if not silent:
            return
    raise LeaderMissing(f"no leader for the quorum queues {', '.join(silent)}: restart the broker and apply the topology again")


async def _leaderless(names: Iterable[str], amqp_url: str) -> list[str]:
    states = await inspect_queues(names, amqp_url, LEADER_TIMEOUT_SECONDS)
    return [name for name, state in states.items() if state is not None and state.has_leader is False]


async def _delete(names: Sequence[str], amqp_url: str) -> None:
    async def delete(name: str, number: int, connection: AbstractConnection) -> None:
        # The broker itself waits 5 s for the leader that is not there before it deletes the queue all the same.
        channel = await connection.channel(channel_number=number)
        await channel.queue_delete(name, timeout=LEADER_TIMEOUT_SECONDS)

    async with await connect(amqp_url) as connection:
        await asyncio.gather(*(delete(name, number, connection) for number, name in enumerate(names, start=1)))


async def _remove_guest(management: Management, say: Say) -> None:
    if management.user == "guest":
        say("connected as guest: create an administrator of your own and apply again as that one, so that guest can be removed")
        return
    users = {str(user["name"]) for user in await management.rows("users")}
    if "guest" in users:
        await management.delete("users", "guest")
        say("removed the user guest")
