"""From an owner's answer to the API's: done, refused with a reason, or not yet."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking
from services.portal.api.models import Document, ErrorAnswer, Outcome, OutcomeMessage
from services.portal.api.naming import Kind, Named, fault_of, missing_among, unknown
from services.portal.api.operation import Call, Problem, answered
from services.portal.asking import Answer, Reply, ServiceName
from shared.contracts.base import Message, Refusal
from shared.contracts.channels import FieldProblem, ListingRegistrationRejected
from shared.contracts.fulfillment import LocationRegistrationRejected
from shared.contracts.holds import StockHoldRejected
from shared.contracts.orders import (
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderEdited,
    OrderEditRejected,
    OrderPaymentRequested,
)
from shared.contracts.returns import ReturnApproved, ReturnDeclined, ReturnScanRejected
from shared.contracts.routing_rules import RoutingRulesRejected
from shared.contracts.stock import SupplyRejected

Result = Literal["done", "cancelled", "pending", "edited", "approved", "already_handled"]

DECISIONS: dict[type[Message], Result] = {
    OrderCancelled: "cancelled",
    OrderChangePending: "pending",
    OrderEdited: "edited",
    OrderPaymentRequested: "pending",
    ReturnApproved: "approved",
}
FIELD_FIRST = re.compile(r"([a-z][a-z0-9_.]{0,119}): (.+)", re.DOTALL)
REFUSALS = (OrderCancelRejected, OrderEditRejected, ReturnDeclined, Refusal)


FAULTS: dict[str, tuple[str, str]] = {
    "payment_required": ("line_changes", "keep the total at what was paid, or have what is added ordered and paid for separately"),
    "nothing_to_change": ("line_changes", "send what is to be different"),
    "empties_order": ("line_changes", "cancel the order instead"),
    "unknown_line": ("lines", "name a line of the order: GET /api/orders/{order_id} lists them"),
    "quantity_exceeds_shipped": ("lines", "ask for at most what has shipped and has not come back"),
    "quantity_exceeds_approved": ("units", "scan at most what was approved: GET /api/returns/{return_id} shows it"),
}
"""Which field is at fault, and the way out, of refusals whose words name none."""

FIELD = re.compile(r"[a-z_]+(\.[a-z0-9_]+)*")
WAYS_OUT = [
    re.compile(pattern, re.DOTALL)
    for pattern in (r"(?P<problem>.+?) \((?P<way>[^()]+)\)", r"(?P<problem>[^;]+); (?P<way>.+)", r"(?P<problem>.+?): (?P<way>.+)")
]


def faults_in(words: str) -> list[FieldProblem]:
    """The fields that an owner's words blame: ``field: problem (way out)``, ``field: problem: way out`` or ``field: problem; way out``.

    Words that begin with no field are about the state of things and not about what was sent.
    """
    field, colon, rest = words.partition(": ")
    if not colon or not rest or FIELD.fullmatch(field) is None:
        return []
    found = next((match for way in WAYS_OUT if (match := way.fullmatch(rest))), None)
    problem, remedy = (rest, "correct it and send it again") if found is None else (found["problem"], found["way"])
    return [FieldProblem(field=field[:120], problem=problem[:500], remedy=remedy[:500])]


def outcome(answer: Answer, identifier: UUID, *, status: int = 200) -> web.Response:
    """The API's answer to a command that an owner has handled.

    Raises:
        Problem: it was refused (409), came before what it builds on (409 ``not_yet``), or is invalid (422).
    """
    if answer.status == "duplicate":
        return answered(Outcome(result="already_handled", id=identifier, messages=[]))
    if answer.status != "done":
        raise _refusal_of(answer)
    refusal = refusal_in(answer)
    if refusal is not None:
        raise _problem_in(refusal)
    decisions = (_decision_in(message) for message in answer.messages)
    result: Result = next((decision for decision in decisions if decision is not None), "done")
    messages = [OutcomeMessage(type=message.type, data=message.model_dump(mode="json")) for message in answer.messages]
    return answered(Outcome(result=result, id=identifier, messages=messages), 202 if result == "pending" else status)


def _is_done_already(message: Message) -> bool:
    """Cancelling an order that is cancelled: what was asked for is so."""
    return isinstance(message, OrderCancelRejected) and message.reason == "already_cancelled"


def _decision_in(message: Message) -> Result | None:
    return "cancelled" if _is_done_already(message) else DECISIONS.get(type(message))


def refusal_in(answer: Answer) -> Message | None:
    """The message with which an owner has refused, if it has."""
    return next((message for message in answer.messages if isinstance(message, REFUSALS) and not _is_done_already(message)), None)


def reason_of(refusal: Message) -> str:
    """Why, as a code."""
    return str(refusal.model_dump(mode="json").get("reason", "refused"))


def _problem_in(message: Message) -> Problem:
    """A refusal as an error: its reason is the code; the fields that it names are the problems."""
    words = message.model_dump(mode="json")
    reason, detail = reason_of(message), words["detail"]
    if isinstance(message, ListingRegistrationRejected | RoutingRulesRejected):
        problems = message.problems
    elif isinstance(message, LocationRegistrationRejected | StockHoldRejected | SupplyRejected):
        problem = detail.removeprefix(f"{message.field}: ") or f"refused: {reason}"
        told = faults_in(f"{message.field}: {problem}")
        problems = told or [FieldProblem(field=message.field, problem=problem, remedy="correct it and send it again")]
    else:
        problems = faults_in(detail)
        if not problems and reason in FAULTS:
            field, remedy = FAULTS[reason]
            field = "units" if isinstance(message, ReturnScanRejected) else field
            problems = [FieldProblem(field=field, problem=detail or f"refused: {reason}", remedy=remedy)]
    return Problem(409, reason, detail or f"refused: {reason}", problems, decided=True)


def _on_its_way(faults: Iterable[FieldProblem]) -> list[FieldProblem]:
    return [fault.model_copy(update={"remedy": "it is on its way: try again in a moment"}) for fault in faults]


def _refusal_of(answer: Answer) -> Problem:
    if answer.status == "deferred":
        reason = answer.reason or "it builds on something that has not arrived yet: try again in a moment"
        return Problem(409, "not_yet", reason, _on_its_way(faults_in(reason)), decided=True)
    if answer.reason:
        faults = [fault for words in answer.reason.split("; ") for fault in faults_in(words)]
        return Problem(422, "refused", answer.reason, faults, decided=True)
    return problem_of(Reply(answer.http_status, answer.document))


def _named_field(reason: str, remedy: str) -> list[FieldProblem]:
    """Owners' reasons name the field first: ``location: 'atlantis' is not registered``."""
    named = FIELD_FIRST.fullmatch(reason)
    return [FieldProblem(field=named[1], problem=named[2][:500], remedy=remedy)] if named else []


def problem_of(reply: Reply) -> Problem:
    """An owner's own error, passed on in its words."""
    status = reply.status if reply.status in (400, 404, 409, 413, 415, 422) else 502
    try:
        error = ErrorAnswer.model_validate(reply.document).error
    except ValidationError:
        return Problem(status, "refused", "the service refused without saying why")
    return Problem(status, error.code, error.message, error.problems)


def shown(reply: Reply, status: int = 200) -> web.Response:
    """An owner's document, passed on as it is.

    Raises:
        Problem: the owner shows none.
    """
    if not reply.succeeded:
        raise problem_of(reply)
    return answered(Document.model_validate(reply.document), status)


async def read_list(call: Call, path: str, *names: str) -> web.Response:
    """Allocation's own list, with the parameters that were given."""
    query = {name: str(call.values[name]) for name in names if call.values[name] is not None}
    return shown(await asking.read(call.environment, "allocation", path, **query))


PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8)
"""Between asking again an owner who has not heard yet of what another one knows: who registers and uses it at once need not care."""

UNKNOWN_KINDS: dict[str, Kind] = {
    "unknown_sku": "product",
    "unknown_location": "location",
    "unknown_order": "order",
    "unknown_return": "return",
}
"""What a refusal doubts, by its reason."""

AWAITED_KINDS: dict[str, Kind] = {
    "order_id": "order",
    "supply_id": "supply",
    "location": "location",
    "sku": "product",
    "lines": "product",
    "products": "product",
}
"""What a command waits for, by the field with which the owner's words begin."""


def _doubted(answer: Answer) -> Kind | None:
    """Which kind of thing the owner does not know, if that is why it was not done."""
    if answer.status == "deferred":
        return AWAITED_KINDS.get(re.split(r"[.:]", answer.reason or "", maxsplit=1)[0])
    refusal = refusal_in(answer) if answer.status == "done" else None
    return None if refusal is None else UNKNOWN_KINDS.get(reason_of(refusal))


async def _doubted_among(call: Call, answer: Answer, names: Sequence[Named]) -> list[Named]:
    """What the owner does not know although somebody does.

    Raises:
        Problem: nobody knows it.
    """
    doubted = [named for named in names if named.kind == _doubted(answer)]
    missing = await missing_among(call, doubted) if doubted else []
    if missing:
        raise unknown(missing, decided=True)
    return doubted


async def told(
    call: Call,
    service: ServiceName,
    command: Message,
    *,
    event_id: UUID,
    order_id: UUID | None = None,
    identifier: UUID | None = None,
    status: int = 200,
    names: Sequence[Named] = (),
) -> web.Response:
    """Has the owner handle a command, and answers with what became of it.

    Args:
        call: the request.
        service: who owns what the command is about.
        command: what is asked for.
        event_id: makes it safe to ask again.
        order_id: the order it is about, where it is about one.
        identifier: names what was asked for, where that is not the event's id.
        status: what the API answers when it is done.
        names: the things that must exist for it to be done.

    Raises:
        Problem: it was refused, or names something that does not exist or has not arrived yet.
        ServiceAway: an owner does not answer.
    """
    answer = await asking.ask(call.environment, service, command, event_id=event_id, order_id=order_id)
    doubted = await _doubted_among(call, answer, names)
    for attempt, pause_seconds in enumerate(PAUSES_SECONDS):
        if not doubted or refusal_in(answer) is None:
            break
        # Its owner knows it, and who was asked has not heard of it yet: that takes no longer than a message on its way.
        await asyncio.sleep(pause_seconds)
        answer = await asking.ask(call.environment, service, command, event_id=uuid5(event_id, f"again {attempt}"), order_id=order_id)
        doubted = await _doubted_among(call, answer, names)
    if doubted:
        refusal = refusal_in(answer)
        if refusal is not None:
            # Its owner knows it; who was asked has not heard of it yet.
            said = _problem_in(refusal)
            faults = said.problems or [fault_of(named) for named in doubted]
            raise Problem(409, "not_yet", f"not yet: {said}", _on_its_way(faults), decided=True)
    return outcome(answer, identifier or event_id, status=status)
