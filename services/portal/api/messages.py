"""Operations on messages that wait: for another try, or for a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import (
    Dismissed,
    DismissedList,
    DismissedMessage,
    DismissParked,
    ParkedList,
    ParkedMessage,
    Redriven,
    RetryingList,
    RetryingMessage,
    WaitingMessage,
)
from services.portal.api.operation import Call, answered, invalid, not_found
from services.portal.api.outcomes import problem_of
from services.portal.asking import Reply
from services.portal.neighbours import Waiting

MessageT = TypeVar("MessageT", bound=ParkedMessage)


def _as(model: type[MessageT], service: str, message: dict[str, Any]) -> MessageT:
    """A service's own words about a message, in the names of the API."""
    return model.model_validate({**message, "service": service, "next_try_at": message.get("due_at")})


def _newest_first(model: type[MessageT], found: Sequence[Waiting]) -> list[MessageT]:
    messages = [_as(model, waiting.service, message) for waiting in found for message in waiting.messages]
    return sorted(messages, key=lambda message: message.received_at, reverse=True)


def _unavailable(found: Sequence[Waiting]) -> list[str]:
    return [waiting.service for waiting in found if waiting.away is not None]


async def list_parked(call: Call) -> web.StreamResponse:
    """Messages that no service could handle and that wait for a person, of all services, newest first, each with its reason and body."""
    found = await neighbours.list_waiting(call.environment, "parked")
    return answered(ParkedList(messages=_newest_first(ParkedMessage, found), unavailable=_unavailable(found)))


async def list_retrying(call: Call) -> web.StreamResponse:
    """Messages that are tried again by themselves, of all services, those that are tried next first: how often each was tried, why the
    last try failed or what it waits for, and when the next one is due."""
    found = await neighbours.list_waiting(call.environment, "retry")
    messages = sorted(_newest_first(RetryingMessage, found), key=lambda message: message.next_try_at)
    counts = {waiting.service: waiting.counts.get("retry", 0) for waiting in found if waiting.away is None}
    return answered(RetryingList(messages=messages, counts=counts, unavailable=_unavailable(found)))


async def list_dismissed(call: Call) -> web.StreamResponse:
    """Messages that a person has dismissed, of all services, those dismissed last first, each with who did it and why."""
    found = await neighbours.list_waiting(call.environment, "dismissed")
    messages = sorted(_newest_first(DismissedMessage, found), key=lambda message: message.dismissed_at, reverse=True)
    return answered(DismissedList(messages=messages, unavailable=_unavailable(found)))


async def _of_service(call: Call, asked: Callable[[], Awaitable[Reply]]) -> Reply:
    try:
        reply = await asked()
    except ValueError as error:
        raise invalid("service", str(error), "name a service as GET /api/parked does") from error
    if reply.status == 404:
        raise not_found("message that waits or was dismissed")
    if not reply.succeeded:
        raise problem_of(reply)
    return reply


async def read_message(call: Call) -> web.StreamResponse:
    """One message that is tried again, parked or dismissed, with each time that it was dismissed. What was handled is in the trace of its
    order."""
    service, event_id = call.text("service"), call.uuid("event_id")
    reply = await _of_service(call, lambda: neighbours.read_waiting(call.environment, service, event_id))
    return answered(_as(WaitingMessage, service, reply.document))


async def redrive_parked(call: Call) -> web.StreamResponse:
    """Gives a parked message a fresh start, once its cause is removed; also one that was dismissed by mistake."""
    service, event_id = call.text("service"), call.uuid("event_id")
    await _of_service(call, lambda: neighbours.redrive(call.environment, service, event_id))
    return answered(Redriven(service=service, event_id=event_id, status="retry"), 202)


async def dismiss_parked(call: Call) -> web.StreamResponse:
    """Closes a parked message that nobody will handle. It no longer counts as open; the message, the reason and who gave it stay on
    record. 409 when it is tried again by itself, or was dismissed before."""
    service, event_id = call.text("service"), call.uuid("event_id")
    wanted: DismissParked = call.body
    await _of_service(call, lambda: neighbours.dismiss(call.environment, service, event_id, wanted))
    return answered(Dismissed(service=service, event_id=event_id, status="dismissed"))
