"""What a handler sees and returns: received messages, outgoing messages, and the transaction around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import asyncpg

from shared.contracts.base import Message
from shared.contracts.envelope import new_id

DataT = TypeVar("DataT", bound=Message)
if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection


@dataclass(frozen=True, slots=True)
class Received(Generic[DataT]):
    """One message of a batch.

    ``partner`` is the code the broker vouches for (from the routing key), or ``None`` when the message came from one of our services.
    """

    event_id: UUID
    source: str
    data: DataT
    subject: str | None = None
    time: datetime | None = None
    traceparent: str | None = None
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish once the transaction has committed.

    Args:
        data: what to say.
        subject: what it is about (the order id, where there is one); makes traces and timelines searchable.
        because: the received message that caused it; carries the trace on.
        partner: the partner's code, for messages to a partner's queue.
    """

    data: Message
    subject: str | None = None
    because: Received[Any] | None = None
    partner: str | None = None
    event_id: UUID = field(default_factory=new_id)


@dataclass(slots=True)
class Transaction:
    """The one transaction of a batch: inbox, work and outbox commit together or not at all.

    ``now`` is the service's clock at the start of the batch; rules get it as an argument, so that tests can move it.
    """

    connection: Connection
    now: datetime
    parked: dict[UUID, str] = field(default_factory=dict)
    deferred: dict[UUID, str] = field(default_factory=dict)
    unlimited: set[UUID] = field(default_factory=set)
    more_is_due: bool = False

    def park(self, message: Received[Any], reason: str) -> None:
        """Sets one message aside for a person, with the reason, and lets the rest of the batch go on.

        Work already written for it in this transaction stays, so park before you write.
        """
        self.parked[message.event_id] = reason

    def defer(self, message: Received[Any], reason: str, *, limited: bool = True) -> None:
        """Tries one message again later, because what it builds on has not arrived; the rest of the batch goes on.

        Args:
            message: the one that waits.
            reason: what it waits for.
            limited: whether it is parked when it has waited for ``ORDERMESH_DEFERRAL_SECONDS``; if not, the handler itself must see to an
                end of the waiting.
        """
        self.deferred[message.event_id] = reason
        if not limited:
            self.unlimited.add(message.event_id)

    def look_again(self) -> None:
        """Has a schedule that may have left due work behind run again at once, in a transaction of its own."""
        self.more_is_due = True

    def new_id(self) -> UUID:
        """A fresh UUIDv7 for a row or a message."""
        return new_id()


Handler = Callable[[Transaction, Sequence[Received[DataT]]], Awaitable[Sequence[Outgoing]]]
"""load, decide, save, return what to publish. Called with at least one message; never relies on order or on being called once."""

ScheduledHandler = Callable[[Transaction], Awaitable[Sequence[Outgoing]]]
"""Work that is due: claims its rows with FOR UPDATE SKIP LOCKED, decides, saves, returns what to publish."""
