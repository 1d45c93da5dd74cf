"""From bytes to a message: contract validation with field-level problems, never an exception."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ValidationError

from shared.contracts.base import Kind, Message
from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import Envelope
from shared.contracts.registry import MESSAGES, partner_kind_of, partner_of
from shared.messaging.inbox import InboxEntry
from shared.messaging.message import Received

DataT = TypeVar("DataT", bound=Message)

JSON_CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json"})
PARKED_TEXT_LIMIT = 2_000
PROBLEMS_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived, before anybody has looked inside."""

    body: bytes
    routing_key: str
    content_type: str | None = "application/json"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A delivery that is no valid message: what is wrong, field by field, and as much of its identity as could be read."""

    event_id: UUID
    partner: str | None
    problems: tuple[FieldProblem, ...]
    document: Any

    @property
    def reason(self) -> str:
        """All problems in one text, for the parked row."""
        text = "; ".join(f"{problem.field}: {problem.problem} ({problem.remedy})" for problem in self.problems)
        return text[:PARKED_TEXT_LIMIT]


@dataclass(frozen=True, slots=True)
class Read(Generic[DataT]):
    """One delivery as the inbox knows it, and either its message or what is wrong with it."""

    entry: InboxEntry
    content: Received[DataT] | Unreadable


def problems_of(error: ValidationError) -> tuple[FieldProblem, ...]:
    """A pydantic error as problems that name the field and the way out."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False)[:PROBLEMS_LIMIT]:
        name = ".".join(str(part) for part in problem["loc"]) or "body"
        remedy = "leave out what the schema does not ask for" if problem["type"] == "extra_forbidden" else "see contracts/schemas"
        if problem["type"] == "missing":
            remedy = "add this field"
        problems.append(FieldProblem(field=name[:120], problem=problem["msg"][:500], remedy=remedy))
    return tuple(problems)


def _one_problem(name: str, problem: str, remedy: str) -> tuple[FieldProblem, ...]:
    return (FieldProblem(field=name, problem=problem[:500], remedy=remedy),)


def _storable(text: str) -> str:
    """Postgres stores neither NUL nor half a surrogate pair; an envelope that carries one must not stop the queue behind it."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


class Reader(Generic[DataT]):
    """Reads deliveries of one message type.

    The identity of a partner's message is (its id, the partner the broker vouches for), whatever its ``source`` claims, so that no
    partner can make another's message look like a duplicate.
    """

    def __init__(self, message: type[DataT]) -> None:
        self.message = message
        self._envelope: type[Envelope[DataT]] = Envelope[message]  # type: ignore[valid-type]  # the model of this one type

    def read(self, delivery: Delivery) -> Read[DataT]:
        """Validates one delivery."""
        partner = partner_of(delivery.routing_key) if self.message.kind is Kind.INBOUND else None
        if delivery.content_type not in JSON_CONTENT_TYPES:
            problems = _one_problem(
                "content_type",
                f"{delivery.content_type!r} is not application/json",
                "publish JSON with content-type application/json",
            )
            return self._unreadable(delivery, partner, None, problems)
        try:
            envelope = self._envelope.model_validate_json(delivery.body)
        except ValidationError as error:
            return self._diagnose(delivery, partner, error)
        if envelope.type != self.message.type:
            return self._unreadable(delivery, partner, {"id": str(envelope.id)}, self._wrong_type(envelope.type))
        source = _storable(envelope.source) if partner is None else f"{partner_kind_of(self.message)}/{partner}"
        subject = None if envelope.subject is None else _storable(envelope.subject)
        traceparent = None if source.startswith("ordermesh/") else envelope.traceparent
        return Read(
            entry=InboxEntry(envelope.id, source, envelope.type, subject, delivery.routing_key, delivery.body, traceparent),
            content=Received(
                event_id=envelope.id,
                source=source,
                data=envelope.data,
                subject=subject,
                time=envelope.time,
                traceparent=envelope.traceparent,
                partner=partner,
            ),
        )

    def _diagnose(self, delivery: Delivery, partner: str | None, error: ValidationError) -> Read[DataT]:
        try:
            document = json.loads(delivery.body)
        except (ValueError, RecursionError) as broken:
            problems = _one_problem("body", f"not valid JSON: {str(broken)[:200]}", "send one JSON document in UTF-8")
            return self._unreadable(delivery, partner, None, problems)
        if isinstance(document, dict):
            stated = document.get("type")
            if isinstance(stated, str) and stated != self.message.type:
                return self._unreadable(delivery, partner, document, self._wrong_type(stated))
        return self._unreadable(delivery, partner, document, problems_of(error))

    def _wrong_type(self, stated: str) -> tuple[FieldProblem, ...]:
        known = "another type" if stated in MESSAGES else "an unknown type or version"
        return _one_problem("type", f"{stated[:100]!r} is {known} here, {self.message.type!r} is expected", "match type and routing key")

    def _unreadable(self, delivery: Delivery, partner: str | None, document: Any, problems: Sequence[FieldProblem]) -> Read[DataT]:
        # Without a usable id the content identifies the message, so that a redelivery is parked once.
        event_id = uuid5(NAMESPACE_URL, f"{delivery.routing_key}\n{delivery.content_type}\n" + delivery.body.hex())
        subject = None
        if isinstance(document, dict):
            subject = _storable(document["subject"][:200]) if isinstance(document.get("subject"), str) else None
        source = "unknown" if partner is None else f"{partner_kind_of(self.message)}/{partner}"
        entry = InboxEntry(event_id, source, self.message.type, subject, delivery.routing_key, delivery.body)
        return Read(entry=entry, content=Unreadable(event_id, partner, tuple(problems), document))
