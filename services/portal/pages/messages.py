"""The console's rooms for messages that wait: what is tried again, what is parked for a person, what was dismissed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from services.portal import neighbours
from services.portal.api.outcomes import problem_of
from services.portal.asking import ServiceAway
from services.portal.neighbours import Waiting
from services.portal.pages.frame import back_to, console_page, stale_form
from services.portal.pages.sessions import Session
from services.portal.reading import as_uuid
from shared.messaging.reading import problems_of
from shared.messaging.waiting import Dismissal

Row = tuple[str, dict[str, Any]]


def _rows(found: Sequence[Waiting], newest_by: str) -> list[Row]:
    rows = [(waiting.service, message) for waiting in found for message in waiting.messages]
    return sorted(rows, key=lambda row: str(row[1].get(newest_by) or ""), reverse=True)


def about_order(order_id: UUID, found: Sequence[Waiting]) -> list[Row]:
    """Each message whose subject is this order, with the service where it waits."""
    return [row for row in _rows(found, "received_at") if row[1]["subject"] == str(order_id)]


async def list_messages(session: Session) -> web.StreamResponse:
    """``GET /console/parked``: messages of all services that wait for a person, are tried again by themselves, or were dismissed."""
    parked = await neighbours.list_waiting(session.environment, "parked")
    retrying = await neighbours.list_waiting(session.environment, "retry")
    dismissed = await neighbours.list_waiting(session.environment, "dismissed")
    return console_page(
        session,
        "console_parked.html",
        "parked",
        services=parked,
        parked=_rows(parked, "received_at"),
        retrying=list(reversed(_rows(retrying, "due_at"))),
        dismissed=_rows(dismissed, "dismissed_at"),
        redrive_token=session.token("redrive"),
    )


async def read_message(session: Session) -> web.StreamResponse:
    """``GET /console/parked/{service}/{event_id}``: one message that waits or was dismissed, and what can be done about it."""
    service, event_id = session.request.match_info["service"], as_uuid(session.request.match_info["event_id"])
    message, away = None, None
    try:
        if event_id is not None:
            reply = await neighbours.read_waiting(session.environment, service, event_id)
            message = reply.document if reply.succeeded else None
    except ServiceAway as error:
        away = str(error)
    except ValueError:
        message = None
    if message is None and away is None:
        return console_page(session, "console_missing.html", "parked", status=404, what="message that waits or was dismissed")
    return console_page(
        session,
        "console_message.html",
        "parked",
        service=service,
        message=message,
        away=away,
        redrive_token=session.token("redrive"),
        dismiss_token=session.token("dismiss"),
    )


async def redrive(session: Session) -> web.StreamResponse:
    """``POST /console/parked/{service}/{event_id}/redrive``: gives a message a fresh start."""
    event_id = as_uuid(session.request.match_info["event_id"])
    if event_id is None or await session.form("redrive") is None:
        return stale_form(session, "/console/parked")
    try:
        reply = await neighbours.redrive(session.environment, session.request.match_info["service"], event_id)
        notice = "The message is tried again now." if reply.succeeded else "This message does not wait any more."
    except (ServiceAway, ValueError) as error:
        notice = str(error)
    return back_to(session, "/console/parked", notice)


async def dismiss(session: Session) -> web.StreamResponse:
    """``POST /console/parked/{service}/{event_id}/dismiss``: nobody will handle this message; who says so and why stays on record."""
    service, event_id = session.request.match_info["service"], as_uuid(session.request.match_info["event_id"])
    fields = await session.form("dismiss")
    if event_id is None or fields is None:
        return stale_form(session, "/console/parked")
    try:
        dismissal = Dismissal.model_validate({"reason": fields.get("reason"), "operator": fields.get("operator") or "operator"})
    except ValidationError as error:
        problem = problems_of(error, "the form")[0]
        return back_to(session, f"/console/parked/{service}/{event_id}", f"Nothing was changed. {problem.field}: {problem.problem}")
    try:
        reply = await neighbours.dismiss(session.environment, service, event_id, dismissal)
    except (ServiceAway, ValueError) as error:
        return back_to(session, "/console/parked", str(error))
    if reply.status == 404:
        return back_to(session, "/console/parked", "This message does not wait any more.")
    return back_to(session, "/console/parked", "The message is dismissed." if reply.succeeded else f"Not done: {problem_of(reply)}")
