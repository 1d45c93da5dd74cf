"""Exchanges, queues, bindings and users, computed from what the services say they read and publish. No input or output here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.config import Partners
from shared.contracts.base import Kind, Message
from shared.contracts.registry import exchange_of, partner_kind_of, routing_key_of
from shared.messaging.topology.names import (
    ANY_WORD,
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
    inbound_key_of,
    partner_queue_of,
    partner_user_of,
    queue_of,
    service_user_of,
)


@dataclass(frozen=True, slots=True)
class ServiceMessages:
    """What one service reads from queues and what it may publish: its table of contents, as far as the broker is concerned."""

    consumes: Sequence[type[Message]]
    publishes: Sequence[type[Message]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange. What no queue wants goes to ``alternate``."""

    name: str
    type: Literal["topic", "fanout", "direct"]
    alternate: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue.

    Args:
        name: what it is called.
        purpose: ``work`` is read by a service and must have a consumer; ``partner`` is read by a partner whenever it likes; ``safety``
            must stay empty.
        dead_letters_of: the owner of the safety net behind it; safety nets have none.
    """

    name: str
    purpose: Literal["work", "partner", "safety"]
    dead_letters_of: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """The queue's arguments; they cannot be changed later, so they hold only what never changes (limits are a policy)."""
        arguments = {"x-queue-type": "quorum"}
        if self.dead_letters_of is not None:
            arguments["x-dead-letter-exchange"] = DEAD_LETTER_EXCHANGE
            arguments["x-dead-letter-routing-key"] = self.dead_letters_of
        return arguments


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """Messages with this key at this exchange go to this queue. ``*`` stands for one word, ``#`` for any number."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """Permission to publish these keys (with ``*`` for one word) to one exchange."""

    exchange: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A broker user with the least it needs: it declares nothing, publishes ``writes`` and reads ``reads``."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[Right, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that must exist on the broker, and nothing else."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    users: tuple[User, ...]


EXCHANGES = (
    Exchange(EVENTS_EXCHANGE, "topic", alternate=UNROUTED_EXCHANGE),
    Exchange(COMMANDS_EXCHANGE, "topic", alternate=UNROUTED_EXCHANGE),
    Exchange(INBOUND_EXCHANGE, "topic", alternate=UNROUTED_EXCHANGE),
    Exchange(UNROUTED_EXCHANGE, "fanout"),
    Exchange(DEAD_LETTER_EXCHANGE, "direct"),
)


def topology(services: Mapping[str, ServiceMessages], partners: Partners) -> Topology:
    """The whole topology. The same arguments give the same result, in the same order.

    Raises:
        ValueError: a service claims to consume what never comes by queue.
    """
    everyone = _partners(partners)
    queues = [Queue(UNROUTED_QUEUE, "safety")]
    bindings = [Binding(UNROUTED_EXCHANGE, UNROUTED_QUEUE, "")]
    for owner in [*sorted(services), *([PARTNER_DEAD_LETTERS] if everyone else [])]:
        queues.append(Queue(dead_letter_queue_of(owner), "safety"))
        bindings.append(Binding(DEAD_LETTER_EXCHANGE, dead_letter_queue_of(owner), owner))
    for service in sorted(services):
        for message in _by_type(services[service].consumes):
            queues.append(Queue(queue_of(service, message), "work", dead_letters_of=service))
            bindings.append(Binding(exchange_of(message), queue_of(service, message), binding_key_of(message)))
    for kind, code in everyone:
        queues.append(Queue(partner_queue_of(kind, code), "partner", dead_letters_of=PARTNER_DEAD_LETTERS))
        bindings.append(Binding(COMMANDS_EXCHANGE, partner_queue_of(kind, code), f"{kind}.{code}.#"))
    users = [_service_user(service, services[service]) for service in sorted(services)]
    users += [_partner_user(kind, code, services) for kind, code in everyone]
    return Topology(EXCHANGES, tuple(queues), tuple(bindings), tuple(users))


def unheard(services: Mapping[str, ServiceMessages]) -> list[str]:
    """What a service publishes and nobody would read, one sentence each; such messages would end up in the unrouted queue."""
    heard = {message.type for service in services.values() for message in service.consumes}
    return [
        f"{service} publishes {message.type}, which no service consumes"
        for service in sorted(services)
        for message in _by_type(services[service].publishes)
        if message.kind in (Kind.EVENT, Kind.COMMAND) and message.type not in heard
    ]


def partner_may_say(services: Mapping[str, ServiceMessages], kind: PartnerKind) -> list[type[Message]]:
    """The inbound types of one kind of partner that some service reads.

    A partner may write exactly these, in any major version: a misspelt type is refused to its face instead of going nowhere.
    """
    read = {message for service in services.values() for message in service.consumes if message.kind is Kind.INBOUND}
    return [message for message in _by_type(read) if partner_kind_of(message) == kind]


def _by_type(messages: Iterable[type[Message]]) -> list[type[Message]]:
    return sorted(set(messages), key=lambda message: message.type)


def _partners(partners: Partners) -> list[tuple[PartnerKind, str]]:
    channels: Iterator[tuple[PartnerKind, str]] = (("channel", channel.code) for channel in partners.channels)
    third_parties: Iterator[tuple[PartnerKind, str]] = (("3pl", third_party.code) for third_party in partners.third_party_logistics)
    return sorted({*channels, *third_parties})


def _service_user(service: str, messages: ServiceMessages) -> User:
    keys: dict[str, list[str]] = {}
    for message in _by_type(messages.publishes):
        if message.kind is not Kind.ANSWER:
            partner = ANY_WORD if message.kind in (Kind.PARTNER_COMMAND, Kind.INBOUND) else None
            keys.setdefault(exchange_of(message), []).append(routing_key_of(message, partner))
    return User(
        service_user_of(service),
        reads=tuple(queue_of(service, message) for message in _by_type(messages.consumes)),
        writes=tuple(Right(exchange, tuple(keys[exchange])) for exchange in sorted(keys)),
    )


def _partner_user(kind: PartnerKind, code: str, services: Mapping[str, ServiceMessages]) -> User:
    keys = tuple(inbound_key_of(message, code) for message in partner_may_say(services, kind))
    return User(
        partner_user_of(kind, code),
        reads=(partner_queue_of(kind, code),),
        writes=(Right(INBOUND_EXCHANGE, keys),) if keys else (),
    )
