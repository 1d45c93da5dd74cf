"""Compares a live broker with the topology (invariant I13) and names every difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.messaging.topology.broker import QueueState, inspect_queues, strangers
from shared.messaging.topology.definitions import exchange_arguments, permission, policy, topic_permissions
from shared.messaging.topology.management import Management
from shared.messaging.topology.plan import Binding, Queue, Topology

PROBE_TIMEOUT_SECONDS = 5.0


async def differences(topology: Topology, amqp_url: str, management: Management | None, *, consumers_expected: bool = True) -> list[str]:
    """Every way in which the broker differs from the topology, one sentence each; empty when all is well.

    Without the management API only what AMQP shows is compared: missing queues, leaders, consumers, and that safety nets are empty.
    """
    states = await inspect_queues([queue.name for queue in topology.queues], amqp_url, PROBE_TIMEOUT_SECONDS)
    found = queue_differences(topology.queues, states, consumers_expected=consumers_expected)
    if management is not None:
        found += exchange_differences(topology, await management.rows("exchanges", management.vhost))
        found += foreign_queues(topology, await management.rows("queues", management.vhost))
        found += binding_differences(topology, await management.rows("bindings", management.vhost))
        found += await _rights_differences(topology, management)
    return found


def queue_differences(queues: Iterable[Queue], states: Mapping[str, QueueState | None], *, consumers_expected: bool) -> list[str]:
    """Queues that are missing, have no leader or no consumer, and safety nets that caught something."""
    found = []
    for queue in queues:
        state = states[queue.name]
        if state is None:
            found.append(f"queue {queue.name} is missing: apply the topology")
            continue
        if state.has_leader is False:
            found.append(f"queue {queue.name} has no leader: apply the topology again")
        if queue.purpose == "work" and consumers_expected and state.consumers == 0:
            found.append(f"queue {queue.name} has no consumer ({state.messages} messages wait): is its service running?")
        if queue.purpose == "safety" and state.messages > 0:
            found.append(f"queue {queue.name} must be empty and holds {state.messages} messages")
    return found


def exchange_differences(topology: Topology, live: Iterable[Mapping[str, Any]]) -> list[str]:
    """Exchanges that are missing, differ or do not belong here."""
    by_name = {str(row["name"]): row for row in live if row["name"] and not str(row["name"]).startswith("amq.")}
    found = [f"exchange {name} does not belong to the topology" for name in sorted(by_name.keys() - {e.name for e in topology.exchanges})]
    for exchange in topology.exchanges:
        row = by_name.get(exchange.name)
        if row is None:
            found.append(f"exchange {exchange.name} is missing: apply the topology")
        elif (row["type"], row["durable"], row["arguments"]) != (exchange.type, True, exchange_arguments(exchange.alternate)):
            found.append(f"exchange {exchange.name} was declared differently: delete it and apply the topology")
    return found


def foreign_queues(topology: Topology, live: Iterable[Mapping[str, Any]]) -> list[str]:
    """Queues that were declared differently or do not belong here; somebody's private, exclusive queues are none of our business."""
    ours = {queue.name: queue for queue in topology.queues}
    found = []
    for row in live:
        queue = ours.get(str(row["name"]))
        if queue is None and not row.get("exclusive"):
            found.append(f"queue {row['name']} does not belong to the topology: nobody reads it; delete it once it is empty")
        elif queue is not None and (row["durable"], row["arguments"]) != (True, queue.arguments):
            found.append(f"queue {queue.name} was declared differently: delete it once it is empty and apply the topology")
    return found


def binding_differences(topology: Topology, live: Iterable[Mapping[str, Any]]) -> list[str]:
    """Bindings that are missing or lead somewhere else."""
    expected = set(topology.bindings)
    ours = {exchange.name for exchange in topology.exchanges}
    found = {Binding(str(row["source"]), str(row["destination"]), str(row["routing_key"])) for row in live if row["source"] in ours}
    return [
        f"binding {binding.exchange} -> {binding.queue} by {binding.key or 'any key'} is missing: apply the topology"
        for binding in sorted(expected - found)
    ] + [
        f"binding {binding.exchange} -> {binding.queue} by {binding.key or 'any key'} does not belong to the topology"
        for binding in sorted(found - expected)
    ]


async def _rights_differences(topology: Topology, management: Management) -> list[str]:
    found = [f"user {user} has rights but is no service or partner: apply the topology" for user in await strangers(topology, management)]
    users = {str(user["name"]) for user in await management.rows("users")}
    if "guest" in users:
        found.append("the user guest exists: apply the topology as another administrator")
    expected = [permission(user) for user in topology.users]
    found += _row_differences("rights of user {user}", expected, await management.rows("vhosts", management.vhost, "permissions"), users)
    topics = [right for user in topology.users for right in topic_permissions(user)]
    live_topics = await management.rows("vhosts", management.vhost, "topic-permissions")
    found += _row_differences("publishing rights of user {user} at {exchange}", topics, live_topics, users)
    live_policies = {str(row["name"]): row for row in await management.rows("policies", management.vhost)}
    wanted = policy()
    live_policy = live_policies.get(wanted["name"])
    if live_policy is None or any(live_policy.get(field) != value for field, value in wanted.items()):
        found.append(f"policy {wanted['name']} is missing or differs: apply the topology")
    return found


def _row_differences(title: str, expected: Iterable[Mapping[str, str]], live: Iterable[Mapping[str, Any]], users: set[str]) -> list[str]:
    """Rights in ``expected`` that are not exactly so on the broker, and rights of the same users beyond them."""
    wanted = {(row["user"], row.get("exchange", "")): row for row in expected}
    present = {(str(row["user"]), str(row.get("exchange", ""))): row for row in live}
    ours = {user for user, _ in wanted}
    found = []
    for key, row in wanted.items():
        name = title.format_map(row)
        if key[0] not in users:
            found.append(f"{name}: the user is missing: apply the topology")
        elif key not in present:
            found.append(f"{name} are missing: apply the topology")
        elif any(present[key].get(field) != value for field, value in row.items()):
            found.append(f"{name} differ: apply the topology")
    extra = [key for key in sorted(present.keys() - wanted.keys()) if key[0] in ours]
    return found + [f"{title.format_map(present[key])} exceed the topology: delete them" for key in extra]
