"""What exists on the broker and who may use it, declared in one place and applied by one administrator's step.

``names``: what everything is called. ``plan``: exchanges, queues, bindings and users, computed from the services' tables of contents and
the partners. ``definitions``: the same as RabbitMQ reads it. ``broker``: talking to a live broker. Services connect without configure
rights: they find everything in place, or say what is missing. Command line: ``python -m shared.messaging.topology``.
"""

from shared.messaging.topology.names import (
    COMMANDS_EXCHANGE,
    DEAD_LETTER_EXCHANGE,
    EVENTS_EXCHANGE,
    INBOUND_EXCHANGE,
    PARTNER_DEAD_LETTERS,
    UNROUTED_EXCHANGE,
    UNROUTED_QUEUE,
    PartnerKind,
    binding_key_of,
    dead_letter_queue_of,
    partner_queue_of,
    partner_user_of,
    queue_of,
    service_user_of,
)
from shared.messaging.topology.plan import Binding, Exchange, Queue, Right, ServiceMessages, Topology, User, topology

__all__ = [
    "COMMANDS_EXCHANGE",
    "DEAD_LETTER_EXCHANGE",
    "EVENTS_EXCHANGE",
    "INBOUND_EXCHANGE",
    "PARTNER_DEAD_LETTERS",
    "UNROUTED_EXCHANGE",
    "UNROUTED_QUEUE",
    "Binding",
    "Exchange",
    "PartnerKind",
    "Queue",
    "Right",
    "ServiceMessages",
    "Topology",
    "User",
    "binding_key_of",
    "dead_letter_queue_of",
    "partner_queue_of",
    "partner_user_of",
    "queue_of",
    "service_user_of",
    "topology",
]
