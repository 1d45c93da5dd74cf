"""Every message type there is, by its type string, and how it is addressed."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from shared.contracts import channels, feeds, fulfillment, holds, orders, returns, routing_rules, rules, stock
from shared.contracts.base import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, INBOUND_EXCHANGE, Kind, Message


def _concrete(module: ModuleType) -> Iterator[type[Message]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__:
            yield value


MESSAGES: dict[str, type[Message]] = {
    message.type: message
    for module in (channels, orders, stock, feeds, holds, rules, routing_rules, fulfillment, returns)
    for message in _concrete(module)
}


def exchange_of(message: type[Message]) -> str:
    """The exchange a message type is published to.

    Raises:
        ValueError: an answer, which is never published.
    """
    if message.kind is Kind.ANSWER:
        raise ValueError(f"{message.type} is an answer: it goes back to the one who asked and is never published")
    if message.kind is Kind.EVENT:
        return EVENTS_EXCHANGE
    if message.kind is Kind.INBOUND:
        return INBOUND_EXCHANGE
    return COMMANDS_EXCHANGE


def partner_kind_of(message: type[Message]) -> str:
    """``channel`` or ``3pl``: which kind of partner says or hears this type."""
    return "channel" if message.type.startswith("channel.") else "3pl"


def routing_key_of(message: type[Message], partner: str | None = None) -> str:
    """The routing key of a message type.

    Args:
        message: the message class.
        partner: the partner's code, needed for (and only for) what goes to or comes from a partner.

    Raises:
        ValueError: a partner message without a partner, or the other way round.
    """
    addressed = message.kind in (Kind.INBOUND, Kind.PARTNER_COMMAND)
    if addressed is (partner is None):
        raise ValueError(f"{message.type}: a partner code is {'needed' if addressed else 'not allowed'} in its routing key")
    if partner is None:
        return message.type
    kind = partner_kind_of(message)
    rest = message.type.removeprefix(f"{kind}.")
    return f"{kind}.{partner}.{rest}"


def partner_of(routing_key: str) -> str | None:
    """The partner's code in the routing key of an inbound message; the broker lets a partner write only its own."""
    parts = routing_key.split(".")
    return parts[1] if len(parts) >= 4 and parts[0] in ("channel", "3pl") else None
