"""What everything on the broker is called."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, INBOUND_EXCHANGE, UNROUTED_EXCHANGE, Kind, Message
from shared.contracts.registry import MESSAGES, routing_key_of

__all__ = [
    "COMMANDS_EXCHANGE",
    "DEAD_LETTER_EXCHANGE",
    "EVENTS_EXCHANGE",
    "INBOUND_EXCHANGE",
    "PARTNER_DEAD_LETTERS",
    "UNROUTED_EXCHANGE",
    "UNROUTED_QUEUE",
    "PartnerKind",
    "binding_key_of",
    "dead_letter_queue_of",
    "inbound_key_of",
    "partner_queue_of",
    "partner_user_of",
    "queue_of",
    "service_user_of",
]

PartnerKind = Literal["channel", "3pl"]

UNROUTED_QUEUE = "oms.unrouted"
"""What no binding wanted. Must stay empty; alarmed."""

DEAD_LETTER_EXCHANGE = "oms.dead"

PARTNER_DEAD_LETTERS = "partners"
"""Owner of the one dead-letter queue behind all partners' queues."""

ANY_WORD = "*"
"""Stands for one word of a key in bindings, and in the rights made from them."""


def queue_of(service: str, message: type[Message]) -> str:
    """The queue from which a service reads one message type."""
    return f"{service}.{message.type}"


def binding_key_of(message: type[Message]) -> str:
    """The key that brings a message type to the services that read it; an inbound type comes from any partner.

    Raises:
        ValueError: an answer or a partner's command, which no service reads from a queue.
    """
    if message.kind in (Kind.ANSWER, Kind.PARTNER_COMMAND):
        raise ValueError(f"{message.type} cannot be consumed by a service: it goes to the one who asked or to a partner's queue")
    return inbound_key_of(message, ANY_WORD) if message.kind is Kind.INBOUND else routing_key_of(message)


def inbound_key_of(message: type[Message], partner: str) -> str:
    """The keys under which a partner says a message type.

    A partner may be ahead of us, so a major version that we do not know yet comes to the queue of the one we know, where it is parked with
    its reason (blueprint section 4). Once there are two versions, each has its own queue and only those are taken.
    """
    key = routing_key_of(message, partner)
    name, _, _ = message.type.rpartition(".")
    versions = [other for other in MESSAGES if other.rpartition(".")[0] == name]
    return f"{key.rpartition('.')[0]}.{ANY_WORD}" if len(versions) == 1 else key


def partner_queue_of(kind: PartnerKind, code: str) -> str:
    """The one queue that a partner reads: everything addressed to it."""
    return f"{kind}.{code}.commands"


def dead_letter_queue_of(owner: str) -> str:
    """The safety net behind all queues of one service (or of all partners). Must stay empty; ``x-death`` names the queue of origin."""
    return f"{owner}.dead"


def service_user_of(service: str) -> str:
    """The broker user of a service; the database role has the same name."""
    return f"ordermesh_{service}"


def partner_user_of(kind: PartnerKind, code: str) -> str:
    """The broker user of one partner."""
    return f"{kind}-{code}"
