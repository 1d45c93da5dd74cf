"""The topology as RabbitMQ reads it: the definitions documents of its management API. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import BadConfiguration
from shared.messaging.topology.plan import Topology, User

NOTHING = "^$"
"""A regular expression that matches no name (the default exchange is asked for as ``amq.default``)."""

DELIVERY_LIMIT = 1_000_000
"""RabbitMQ 4 drops a message at its 20th redelivery unless told otherwise; redeliveries are normal here (crashes, deploys), and what
cannot be handled is parked in Postgres. Traps, number 10."""

POLICY = "ordermesh"


def definitions(topology: Topology, vhost: str = "/") -> dict[str, Any]:
    """The definitions document of exchanges, queues, bindings and the policy. The same arguments give the same document, so that applying
    it twice changes nothing.

    Args:
        topology: what must exist.
        vhost: the virtual host that holds it all.
    """
    return {
        "vhosts": [{"name": vhost}],
        "policies": [{"vhost": vhost, **policy()}],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange_arguments(exchange.alternate),
            }
            for exchange in topology.exchanges
        ],
        "queues": [
            {"name": queue.name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": queue.arguments}
            for queue in topology.queues
        ],
        "bindings": [
            {
                "source": binding.exchange,
                "vhost": vhost,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.key,
                "arguments": {},
            }
            for binding in topology.bindings
        ],
    }


def user_definitions(topology: Topology, passwords: Mapping[str, str], vhost: str = "/") -> dict[str, Any]:
    """The definitions document of users and their rights. The same arguments give the same document.

    Args:
        topology: whose users.
        passwords: by user name; every user needs one.
        vhost: the virtual host that they may use.

    Raises:
        BadConfiguration: names the users without a password.
    """
    missing = [user.name for user in topology.users if not passwords.get(user.name)]
    if missing:
        raise BadConfiguration(f'no password for the broker users {", ".join(missing)}: add them under "broker_users" of the secrets file')
    return {
        "users": [_user(user, passwords[user.name]) for user in topology.users],
        "permissions": [{"vhost": vhost, **permission(user)} for user in topology.users],
        "topic_permissions": [{"vhost": vhost, **right} for user in topology.users for right in topic_permissions(user)],
    }


def exchange_arguments(alternate: str | None) -> dict[str, str]:
    """An exchange's arguments: where messages go that no queue wants."""
    return {} if alternate is None else {"alternate-exchange": alternate}


def policy() -> dict[str, Any]:
    """The one policy over all our queues."""
    return {
        "name": POLICY,
        "pattern": r"^(?!amq\.)",
        "apply-to": "queues",
        "priority": 0,
        "definition": {"delivery-limit": DELIVERY_LIMIT},
    }


def permission(user: User) -> dict[str, str]:
    """Which exchanges a user may publish to and which queues it may read. Nobody but the administrator may declare anything."""
    return {
        "user": user.name,
        "configure": NOTHING,
        "write": any_of([right.exchange for right in user.writes]),
        "read": any_of(user.reads),
    }


def topic_permissions(user: User) -> list[dict[str, str]]:
    """Which keys a user may publish, exchange by exchange."""
    return [{"user": user.name, "exchange": right.exchange, "write": any_of(right.keys), "read": NOTHING} for right in user.writes]


def any_of(names: Sequence[str]) -> str:
    """A regular expression that matches exactly these names; ``*`` in a name stands for one word of a routing key."""
    if not names:
        return NOTHING
    return f"^({'|'.join(name.replace('.', '[.]').replace('*', '[^.]+') for name in names)})$"


def _user(user: User, password: str) -> dict[str, Any]:
    # RabbitMQ's own format: base64(salt + sha256(salt + password)), a salt of four bytes. The salt comes from the name and the password
    # so that the same secrets give the same document; passwords are long random strings, which no table of hashes covers.
    salt = hashlib.sha256(f"{user.name}\0{password}".encode()).digest()[:4]
    salted = salt + hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": user.name,
        "password_hash": b64encode(salted).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [],
    }
