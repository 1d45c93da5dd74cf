"""AsyncAPI 3.0 documents: per service what it reads and sends (what its outbox sends included), per kind of partner the same.

Each document takes the view of the application it is named after: a partner's document says what *the partner* receives and sends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shared.contracts.base import COMMANDS_EXCHANGE, INBOUND_EXCHANGE, Kind, Message
from shared.contracts.generate.meanings import as_markdown
from shared.contracts.registry import exchange_of, partner_kind_of, routing_key_of
from shared.messaging.topology import PartnerKind, ServiceMessages, binding_key_of, partner_queue_of, queue_of
from shared.messaging.topology.plan import partner_may_say

BINDING_VERSION = "0.3.0"
PARAMETER = "{code}"
ROOT = Path(__file__).resolve().parents[3]

PARTNER_TITLES: dict[PartnerKind, str] = {"3pl": "a third-party logistics provider (3PL)", "channel": "a sales channel's adapter"}


@dataclass(frozen=True)
class Place:
    """One channel of a document: a queue to read from, or an exchange and key to publish to.

    ``source`` tells, for a queue, by which exchange and key messages get there; AsyncAPI's AMQP binding has no word for it.
    """

    key: str
    address: str
    messages: tuple[type[Message], ...]
    action: Literal["receive", "send"]
    exchange: str
    source: str = ""


def service_document(service: str, summary: str, messages: ServiceMessages) -> dict[str, Any]:
    """The document of one service."""
    reads = [
        Place(
            key=queue_of(service, message),
            address=queue_of(service, message),
            messages=(message,),
            action="receive",
            exchange=exchange_of(message),
            source=binding_key_of(message),
        )
        for message in _by_type(messages.consumes)
    ]
    sends = [_sending(message) for message in _by_type(messages.publishes) if message.kind is not Kind.ANSWER]
    return _document(f"ordermesh:{service}", f"Ordermesh {service}", as_markdown(summary), [*reads, *sends])


def partner_document(kind: PartnerKind, services: Mapping[str, ServiceMessages]) -> dict[str, Any]:
    """The document for one kind of partner: its command queue, and what it may say."""
    published = {message for service in services.values() for message in service.publishes if message.kind is Kind.PARTNER_COMMAND}
    hears = tuple(message for message in _by_type(published) if partner_kind_of(message) == kind)
    queue = partner_queue_of(kind, PARAMETER)
    reads = Place(
        key=f"{kind}.commands",
        address=queue,
        messages=hears,
        action="receive",
        exchange=COMMANDS_EXCHANGE,
        source=f"{kind}.{PARAMETER}.#",
    )
    says = [
        Place(
            key=message.type,
            address=routing_key_of(message, PARAMETER),
            messages=(message,),
            action="send",
            exchange=INBOUND_EXCHANGE,
        )
        for message in partner_may_say(services, kind)
    ]
    description = (
        f"What {PARTNER_TITLES[kind]} hears from and says to Ordermesh.\n\n"
        f"Connect as your own user. It may read the queue `{queue}` and publish to the exchange `{INBOUND_EXCHANGE}` under the routing "
        "keys below, `{code}` being your code; everything else is refused. Declare nothing: the queue is there. Publish persistent "
        "messages with publisher confirms, acknowledge a command once you have stored it, and expect every command more than once: "
        "the id in the message decides, not the delivery. Ignore fields you do not know."
    )
    return _document(f"ordermesh:partner-{kind}", f"Ordermesh for {PARTNER_TITLES[kind]}", description, [reads, *says])


def _by_type(messages: Iterable[type[Message]]) -> list[type[Message]]:
    return sorted(set(messages), key=lambda message: message.type)


def _sending(message: type[Message]) -> Place:
    addressed = message.kind in (Kind.PARTNER_COMMAND, Kind.INBOUND)
    return Place(
        key=message.type,
        address=routing_key_of(message, PARAMETER if addressed else None),
        messages=(message,),
        action="send",
        exchange=exchange_of(message),
    )


def _document(identifier: str, title: str, description: str, places: list[Place]) -> dict[str, Any]:
    messages = {message.type: message for place in places for message in place.messages}
    return {
        "asyncapi": "3.0.0",
        "id": identifier,
        "info": {"title": title, "version": _version(), "description": description},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{host}:{port}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ; every application has a user of its own with the least rights.",
                "variables": {"host": {"default": "localhost"}, "port": {"default": "5672"}},
                "security": [{"$ref": "#/components/securitySchemes/user"}],
            }
        },
        "channels": {place.key: _channel(place) for place in places},
        "operations": {f"{place.action}.{place.key}": _operation(place) for place in places},
        "components": {
            "messages": {name: _message(messages[name]) for name in sorted(messages)},
            "securitySchemes": {"user": {"type": "userPassword", "description": "The broker user of this application."}},
        },
    }


def _channel(place: Place) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": place.address,
        "messages": {message.type: {"$ref": f"#/components/messages/{message.type}"} for message in place.messages},
    }
    if PARAMETER in place.address:
        channel["parameters"] = {"code": {"description": "The partner's code, lower case.", "examples": ["acme"]}}
    if place.action == "receive":
        channel["description"] = f"Quorum queue, bound to the exchange `{place.exchange}` by `{place.source}`."
        channel["x-ordermesh-source"] = {"exchange": place.exchange, "bindingKey": place.source}
        channel["bindings"] = {"amqp": {"is": "queue", "queue": _amqp(place.address, exclusive=False), "bindingVersion": BINDING_VERSION}}
    else:
        exchange = {**_amqp(place.exchange), "type": "topic"}
        channel["bindings"] = {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": BINDING_VERSION}}
    return channel


def _amqp(name: str, **more: bool) -> dict[str, Any]:
    return {"name": name, "durable": True, "autoDelete": False, "vhost": "/", **more}


def _operation(place: Place) -> dict[str, Any]:
    to_partner = place.action == "receive" and PARAMETER in place.address
    binding: dict[str, Any] = {"ack": True} if place.action == "receive" else {"deliveryMode": 2, "mandatory": True}
    return {
        "action": place.action,
        "channel": {"$ref": f"#/channels/{place.key}"},
        "summary": "Everything addressed to the partner." if to_partner else _first_sentence(place.messages[0]),
        "bindings": {"amqp": {**binding, "bindingVersion": BINDING_VERSION}},
        "messages": [{"$ref": f"#/channels/{place.key}/messages/{message.type}"} for message in place.messages],
    }


def _message(message: type[Message]) -> dict[str, Any]:
    return {
        "name": message.type,
        "title": message.__name__,
        "summary": _first_sentence(message),
        "description": as_markdown(message.__doc__),
        "contentType": "application/json",
        "payload": {"$ref": f"./schemas/{message.type}.json"},
    }


def _first_sentence(message: type[Message]) -> str:
    return as_markdown(message.__doc__).split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".") + "."


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
