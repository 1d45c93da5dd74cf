"""Operations on messages that wait for a person."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import ParkedList, ParkedMessage, Redriven
from services.portal.api.operation import Call, answered, invalid, not_found


async def list_parked(call: Call) -> web.StreamResponse:
    """Messages that no service could handle and that wait for a person, of all services, newest first, each with its reason and body."""
    found = await neighbours.read_parked(call.environment)
    messages = [
        ParkedMessage(
            service=parked.service,
            event_id=UUID(message["event_id"]),
            type=message["type"],
            source=message["source"],
            subject=message["subject"],
            reason=message["reason"],
            attempts=message["attempts"],
            received_at=message["received_at"],
            body=message["body"],
        )
        for parked in found
        for message in parked.messages
    ]
    newest_first = sorted(messages, key=lambda message: message.received_at, reverse=True)
    return answered(ParkedList(messages=newest_first, unavailable=[parked.service for parked in found if parked.away is not None]))


async def redrive_parked(call: Call) -> web.StreamResponse:
    """Gives a parked message a fresh start, once its cause is removed."""
    service, event_id = call.text("service"), call.uuid("event_id")
    try:
        reply = await neighbours.redrive(call.environment, service, event_id)
    except ValueError as error:
        raise invalid("service", str(error), "name a service as GET /api/parked does") from error
    if not reply.succeeded:
        raise not_found("parked message")
    return answered(Redriven(service=service, event_id=event_id, status="retry"), 202)
