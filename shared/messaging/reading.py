"""From bytes to a message: contract validation with field-level problems, never an exception."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from shared.contracts.base import Kind, Message
from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import Envelope
from shared.contracts.registry import MESSAGES, partner_kind_of, partner_of
from shared.contracts.unknown_fields import SLIP, UnknownField, closest_name, ignored, slips, unknown_fields
from shared.json_document import NUL, MalformedJson, nul_problems, readable_part_of
from shared.messaging.inbox import InboxEntry
from shared.messaging.message import Received

log = structlog.get_logger()

DataT = TypeVar("DataT", bound=Message)

JSON_CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json"})
PARKED_TEXT_LIMIT = 2_000
PROBLEMS_LIMIT = 50
NOTED_FIELDS_LIMIT = 1_000
"""Unknown fields that are remembered as logged: each is logged once per process, not once per message."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived, before anybody has looked inside."""

    body: bytes
    routing_key: str
    content_type: str | None = "application/json"
    message_id: str | None = None
    """The broker's message id: how a sender may know a message of which nothing can be read."""
    from_outside: bool = False
    """It may have been written by hand and not by one of our services, whatever its type: slips of the pen in field names are refused."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A delivery that is no valid message: what is wrong, field by field, and as much of its identity as could be read.

    ``event_id`` is ours, made from the content; ``stated_id`` is the sender's own: the envelope's id or else the broker's message id.
    """

    event_id: UUID
    partner: str | None
    problems: tuple[FieldProblem, ...]
    document: Any
    stated_id: UUID | None = None

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


def schema_of(message: type[Message]) -> str:
    """The file that says what a message of this type looks like."""
    return f"contracts/schemas/{message.type}.json"


def problems_of(error: ValidationError, schema: str) -> tuple[FieldProblem, ...]:
    """A pydantic error as problems that name the field and the way out.

    Args:
        error: what pydantic found.
        schema: where the sender can read what would be right.
    """
    problems = []
    for problem in error.errors(include_url=False)[:PROBLEMS_LIMIT]:
        name = ".".join(str(part) for part in problem["loc"]) or "body"
        remedy = f"see {schema}"
        if problem["type"] == "extra_forbidden":
            remedy = f"leave out what the schema does not ask for; see {schema}"
        if problem["type"] == "missing":
            remedy = _how_to_add(str(problem["loc"][-1]), problem["input"])
        problems.append(FieldProblem(field=name[:120], problem=in_words(problem)[:500], remedy=remedy[:500]))
    return tuple(problems)


PATTERNS_IN_WORDS = {
    r"^[a-z0-9][a-z0-9_-]{0,39}$": "should be a code: at most 40 of a-z, 0-9, - and _, the first a letter or a digit",
    r"^[^\x00-\x1f]+$": "should have no control characters",
    r"^[A-Z]{3}$": "should be three capital letters, like USD",
    r"^[A-Z]{2}$": "should be two capital letters, like US",
    r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$": "is not a W3C traceparent",
    r"^([01]\d|2[0-3]):[0-5]\d$": "is not a time of day, like 17:30",
    r"^[^@\s]+@[^@\s]+$": "is not an e-mail address",
    r"^[a-z]{2}(-[A-Z]{2})?$": "is not a language, like en or en-US",
    r"^[^\x00-\x1f']{1,60}$": "should be 1 to 60 characters without control characters and apostrophes",
}
"""What the patterns of contracts ask for: who sends a message need not read regular expressions."""


def in_words(problem: ErrorDetails) -> str:
    """What pydantic found, without its regular expressions."""
    words = PATTERNS_IN_WORDS.get(str(problem.get("ctx", {}).get("pattern"))) if problem["type"] == "string_pattern_mismatch" else None
    return words or problem["msg"]


def _how_to_add(name: str, given: Any) -> str:
    misspelt = closest_name(name, [key for key in given if isinstance(key, str)], SLIP) if isinstance(given, dict) else None
    return "add this field" if misspelt is None else f"add this field; did you mean it by {misspelt[:100]!r}?"


def _uuid_in(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _one_problem(name: str, problem: str, remedy: str) -> tuple[FieldProblem, ...]:
    return (FieldProblem(field=name, problem=problem[:500], remedy=remedy),)


def _storable(text: str) -> str:
    """Postgres stores neither NUL nor half a surrogate pair; an envelope that carries one must not stop the queue behind it."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


class Reader(Generic[DataT]):
    """Reads deliveries of one message type.

    The identity of a partner's message is (its id, the partner the broker vouches for), whatever its ``source`` claims, so that no
    partner can make another's message look like a duplicate.

    Unknown fields are ignored. In what comes from outside, one whose name is a slip of a field that was left out is refused, and the others
    are logged.
    """

    def __init__(self, message: type[DataT]) -> None:
        self.message = message
        self._envelope: type[Envelope[DataT]] = Envelope[message]  # type: ignore[valid-type]  # the model of this one type
        self._noted: set[tuple[str | None, str]] = set()

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
            envelope, unknown = self._validate(delivery)
        except ValidationError as error:
            return self._diagnose(delivery, partner, error)
        if envelope.type != self.message.type:
            return self._unreadable(delivery, partner, {"id": str(envelope.id)}, self._wrong_type(envelope.type))
        if misspelt := slips(unknown):
            return self._unreadable(delivery, partner, from_json(delivery.body), misspelt)
        # Unknown fields are ignored whatever they say, so it is looked for in what the contract knows.
        if NUL in delivery.body and (faults := nul_problems(envelope.data.__pydantic_serializer__.to_json(envelope.data), "data")):
            return self._unreadable(delivery, partner, from_json(delivery.body), faults)
        self._note_ignored(partner, unknown)
        source = _storable(envelope.source) if partner is None else f"{partner_kind_of(self.message)}/{partner}"
        subject = None if envelope.subject is None else _storable(envelope.subject)
        traceparent = None if source.startswith("ordermesh/") else envelope.traceparent
        return Read(
            entry=InboxEntry(
                envelope.id, source, envelope.type, subject, delivery.routing_key, delivery.body, traceparent, self._digest(envelope.data)
            ),
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

    def _validate(self, delivery: Delivery) -> tuple[Envelope[DataT], Sequence[UnknownField]]:
        """The message and, if it comes from outside, what it holds that its contract does not know."""
        if self.message.kind is not Kind.INBOUND and not delivery.from_outside:
            return self._envelope.model_validate_json(delivery.body), ()
        try:
            # Costs nothing; only a message that holds something unknown is read again, field by field.
            return self._envelope.model_validate_json(delivery.body, extra="forbid"), ()
        except ValidationError:
            envelope = self._envelope.model_validate_json(delivery.body)
        # Other attributes of the envelope are extensions of CloudEvents.
        return envelope, unknown_fields(envelope.data, from_json(delivery.body)["data"], "data")

    def _note_ignored(self, partner: str | None, unknown: Sequence[UnknownField]) -> None:
        fresh = [name for name in ignored(unknown) if (partner, name) not in self._noted]
        if fresh and len(self._noted) < NOTED_FIELDS_LIMIT:
            self._noted.update((partner, name) for name in fresh)
            log.warning("unknown_fields_ignored", type=self.message.type, partner=partner, fields=fresh[:20])

    def _digest(self, data: DataT) -> bytes | None:
        """What a partner's message says, however it was written down; fields that a later version adds make no difference until used."""
        if self.message.kind is not Kind.INBOUND:
            return None
        return hashlib.sha256(data.__pydantic_serializer__.to_json(data, exclude_defaults=True)).digest()

    def contradiction(self, read: Read[DataT]) -> Read[DataT]:
        """A message under an id that its sender has used for something else: it is not handled unseen, and it must not vanish.

        It gets an id of its own, made from its content, so that it is parked once however often it comes; whoever re-drives it has it
        handled as the message that it is.
        """
        known = read.entry
        event_id = uuid5(NAMESPACE_URL, f"{known.source}\n{known.event_id}\n{(known.content_digest or b'').hex()}")
        problems = _one_problem(
            "id",
            f"{known.event_id} was used before for a message with other content",
            "send every message under an id of its own; repeat an id only with the same content",
        )
        partner = partner_of(known.routing_key)
        content = Unreadable(event_id, partner, problems, from_json(known.body), known.event_id)
        return Read(replace(known, event_id=event_id), content)

    def _diagnose(self, delivery: Delivery, partner: str | None, error: ValidationError) -> Read[DataT]:
        try:
            document = readable_part_of(delivery.body)
        except MalformedJson as broken:
            return self._unreadable(delivery, partner, None, broken.faults)
        if isinstance(document, dict):
            stated = document.get("type")
            if isinstance(stated, str) and stated != self.message.type:
                return self._unreadable(delivery, partner, document, self._wrong_type(stated))
        return self._unreadable(delivery, partner, document, problems_of(error, schema_of(self.message)))

    def _wrong_type(self, stated: str) -> tuple[FieldProblem, ...]:
        known = "another type" if stated in MESSAGES else "an unknown type or version"
        return _one_problem("type", f"{stated[:100]!r} is {known} here, {self.message.type!r} is expected", "match type and routing key")

    def _unreadable(self, delivery: Delivery, partner: str | None, document: Any, problems: Sequence[FieldProblem]) -> Read[DataT]:
        # Without a usable id the content identifies the message, so that a redelivery is parked once.
        event_id = uuid5(NAMESPACE_URL, f"{delivery.routing_key}\n{delivery.content_type}\n" + delivery.body.hex())
        subject = stated_id = None
        if isinstance(document, dict):
            stated_id = _uuid_in(document.get("id"))
            subject = _storable(document["subject"][:200]) if isinstance(document.get("subject"), str) else None
        source = "unknown" if partner is None else f"{partner_kind_of(self.message)}/{partner}"
        entry = InboxEntry(event_id, source, self.message.type, subject, delivery.routing_key, delivery.body)
        stated_id = stated_id or _uuid_in(delivery.message_id)
        return Read(entry=entry, content=Unreadable(event_id, partner, tuple(problems), document, stated_id))
