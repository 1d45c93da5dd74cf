"""From an owner's answer to the API's: done, refused with a reason, or not yet."""

from __future__ import annotations

import re
from typing import Literal
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking
from services.portal.api.models import Document, ErrorAnswer, Outcome, OutcomeMessage
from services.portal.api.operation import Call, Problem, answered
from services.portal.asking import Answer, Reply, ServiceName
from shared.contracts.base import Message, Refusal
from shared.contracts.channels import FieldProblem, ListingRegistrationRejected
from shared.contracts.fulfillment import LocationRegistrationRejected
from shared.contracts.holds import StockHoldRejected
from shared.contracts.orders import OrderCancelled, OrderCancelRejected, OrderChangePending, OrderEdited, OrderEditRejected
from shared.contracts.returns import ReturnApproved, ReturnDeclined
from shared.contracts.stock import SupplyRejected

Result = Literal["done", "cancelled", "pending", "edited", "approved", "already_handled"]

DECISIONS: dict[type[Message], Result] = {
    OrderCancelled: "cancelled",
    OrderChangePending: "pending",
    OrderEdited: "edited",
    ReturnApproved: "approved",
}
FIELD_FIRST = re.compile(r"([a-z][a-z0-9_.]{0,119}): (.+)", re.DOTALL)
REFUSALS = (OrderCancelRejected, OrderEditRejected, ReturnDeclined, Refusal)


def outcome(answer: Answer, identifier: UUID, *, status: int = 200) -> web.Response:
    """The API's answer to a command that an owner has handled.

    Raises:
        Problem: it was refused (409), came before what it builds on (409 ``not_yet``), or is invalid (422).
    """
    if answer.status == "duplicate":
        return answered(Outcome(result="already_handled", id=identifier, messages=[]))
    if answer.status != "done":
        raise _refusal_of(answer)
    for message in answer.messages:
        if isinstance(message, REFUSALS) and not _is_done_already(message):
            raise _problem_in(message)
    decisions = (_decision_in(message) for message in answer.messages)
    result: Result = next((decision for decision in decisions if decision is not None), "done")
    messages = [OutcomeMessage(type=message.type, data=message.model_dump(mode="json")) for message in answer.messages]
    return answered(Outcome(result=result, id=identifier, messages=messages), 202 if result == "pending" else status)


def _is_done_already(message: Message) -> bool:
    """Cancelling an order that is cancelled: what was asked for is so."""
    return isinstance(message, OrderCancelRejected) and message.reason == "already_cancelled"


def _decision_in(message: Message) -> Result | None:
    return "cancelled" if _is_done_already(message) else DECISIONS.get(type(message))


def _problem_in(message: Message) -> Problem:
    """A refusal as an error: its reason is the code; the fields that it names are the problems."""
    words = message.model_dump(mode="json")
    reason, detail = words.get("reason", "refused"), words["detail"]
    if isinstance(message, ListingRegistrationRejected):
        problems = message.problems
    elif isinstance(message, LocationRegistrationRejected | StockHoldRejected | SupplyRejected):
        problems = [FieldProblem(field=message.field, problem=message.detail, remedy="correct it and send it again")]
    else:
        problems = []
    return Problem(409, reason, detail or f"refused: {reason}", problems)


def _refusal_of(answer: Answer) -> Problem:
    if answer.status == "deferred":
        remedy = "correct it; if it is right, send it again in a moment"
        reason = answer.reason or "it builds on something that has not arrived yet: try again in a moment"
        return Problem(409, "not_yet", reason, _named_field(reason, remedy))
    if answer.reason:
        return Problem(422, "refused", answer.reason, _named_field(answer.reason, "correct it and send it again"))
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


async def told(
    call: Call, service: ServiceName, command: Message, *, event_id: UUID, identifier: UUID | None = None, status: int = 200
) -> web.Response:
    """Has the owner handle a command that is about no order, and answers with what became of it."""
    answer = await asking.ask(call.environment, service, command, event_id=event_id)
    return outcome(answer, identifier or event_id, status=status)
