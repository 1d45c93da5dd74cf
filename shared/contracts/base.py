"""What every message has in common: frozen, tolerant readers, closed writers, one registry of types.

A message class is the ``data`` part of a CloudEvents envelope. Its ``type`` ends in its major version; producers may only add optional
fields within a version (docs/decisions/0003-contracts.md). Unknown fields are ignored when reading, so that an older consumer survives a
newer producer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

EVENTS_EXCHANGE = "oms.events"
COMMANDS_EXCHANGE = "oms.commands"
INBOUND_EXCHANGE = "oms.inbound"
UNROUTED_EXCHANGE = "oms.unrouted"


class Kind(Enum):
    """Who may say a message and how it is addressed; decides exchange and routing key."""

    EVENT = "event"
    """A fact: published by its owner to ``oms.events``, routing key = type."""
    COMMAND = "command"
    """A request to one service: ``oms.commands``, routing key = type."""
    PARTNER_COMMAND = "partner_command"
    """A request or answer to one partner: ``oms.commands``, routing key ``<partner kind>.<code>.<type>``, read from the partner's queue."""
    ANSWER = "answer"
    """What only the one who asked wants to know: it goes back in the HTTP answer and is never published. A refusal of a command that
    came by queue is parked with its ``detail``, because nobody is there to hear it."""
    INBOUND = "inbound"
    """What a partner says: ``oms.inbound``, routing key ``<partner kind>.<code>.<rest of type>``."""


class Part(BaseModel):
    """A value inside a message."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="iso8601")


class Message(Part):
    """The ``data`` of one envelope. Subclasses name their ``type`` and are listed in the registry by themselves."""

    type: ClassVar[str]
    kind: ClassVar[Kind]


class Event(Message):
    """A fact that a service owns and everybody may hear."""

    kind: ClassVar[Kind] = Kind.EVENT


class Command(Message):
    """A request to the one service that decides about it."""

    kind: ClassVar[Kind] = Kind.COMMAND


class Answer(Message):
    """A direct answer to a command."""

    kind: ClassVar[Kind] = Kind.ANSWER


class Refusal(Answer):
    """A direct answer that says no, and why."""

    detail: Annotated[str, StringConstraints(max_length=500)]


class PartnerCommand(Message):
    """What a partner (3PL or channel adapter) reads from its own queue."""

    kind: ClassVar[Kind] = Kind.PARTNER_COMMAND


class PartnerMessage(Message):
    """What a partner says to us through ``oms.inbound``."""

    kind: ClassVar[Kind] = Kind.INBOUND


Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""A partner, channel, location or pool code: lower case, so that it can stand in a routing key."""

Sku = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True, pattern=r"^[^\x00-\x1f]+$")]
"""A stock keeping unit exactly as the merchant writes it; case matters."""

LineId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""Names one line of one order; stable through edits."""

Text = Annotated[str, StringConstraints(max_length=500)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=120)]

Units = Annotated[int, Field(gt=0, le=1_000_000, strict=True)]
"""A count of whole sellable units, at least one."""

Volume = Annotated[int, Field(ge=0, le=10_000_000, strict=True)]
"""Cubic centimetres of one unit as it is packed; 0: not known."""

UnitCount = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
"""A count of units that may be zero."""

MOST_CENTS = 100_000_000_00

Cents = Annotated[int, Field(ge=0, le=MOST_CENTS, strict=True)]
"""Money in minor units of the order's currency (cents for USD, yen for JPY); never negative."""

SignedCents = Annotated[int, Field(ge=-MOST_CENTS, le=MOST_CENTS, strict=True)]

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217 code."""

Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2 code."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _of_our_days(time: datetime) -> datetime:
    """Refuses times that only a mistake gives (a default of 0001 or 9999): no deadline could be reckoned from them."""
    if not EARLIEST <= time < LATEST:
        raise ValueError(f"must lie between {EARLIEST.year} and {LATEST.year}")
    return time


Time = Annotated[AwareDatetime, AfterValidator(_of_our_days)]
"""An instant with its offset; written as UTC, RFC 3339."""
