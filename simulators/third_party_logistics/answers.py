"""What a 3PL says, and what it owes an acknowledgement for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from shared.contracts.base import PartnerMessage
from shared.contracts.envelope import CONTENT_TYPE, new_id


class Delivery(NamedTuple):
    """One command as the broker handed it over: ``session`` counts connections, ``tag`` is the broker's number within it."""

    session: int
    tag: int


@dataclass(slots=True)
class Answer:
    """One message to ``oms.inbound``. ``deliveries`` are acknowledged once the broker has confirmed it."""

    data: PartnerMessage
    subject: str | None
    traceparent: str | None
    said_at: datetime
    event_id: UUID = field(default_factory=new_id)
    deliveries: list[Delivery] = field(default_factory=list)
    _body: bytes | None = field(default=None, repr=False, compare=False)

    def again(self, *, event_id: UUID | None = None) -> Answer:
        """The same fact said once more, under a new event id unless one is given."""
        return Answer(self.data, self.subject, self.traceparent, self.said_at, event_id or new_id())

    def body(self, source: str) -> bytes:
        """The CloudEvents envelope as bytes, made once."""
        if self._body is None:
            self._body = self._write(source)
        return self._body

    def _write(self, source: str) -> bytes:
        head = {
            "specversion": "1.0",
            "id": str(self.event_id),
            "source": source,
            "type": self.data.type,
            "time": self.said_at.astimezone(UTC).isoformat(),
            "datacontenttype": CONTENT_TYPE,
        }
        if self.subject is not None:
            head["subject"] = self.subject
        if self.traceparent is not None:
            head["traceparent"] = self.traceparent
        return f'{json.dumps(head)[:-1]}, "data": {self.data.model_dump_json()}}}'.encode()


@dataclass(slots=True)
class Reaction:
    """What follows from one command or one due step: messages to send, and commands that need no answer (any more)."""

    answers: list[Answer] = field(default_factory=list)
    settled: list[Delivery] = field(default_factory=list)
