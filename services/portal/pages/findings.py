"""The console's list of exceptions in the books: what the auditor found, why, and what an operator may agree to."""

from __future__ import annotations

from uuid import UUID, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking, neighbours
from services.portal.asking import Answer, ServiceAway
from services.portal.pages.rendering import page, see_other
from services.portal.pages.sessions import Session
from services.portal.reading import as_uuid
from shared.contracts.envelope import new_id
from shared.contracts.stock import (
    StockCompensationRequested,
    StockFindingDecided,
    StockFindingDismissalRequested,
    StockFindingRefused,
)
from shared.messaging.reading import problems_of

STATUSES = ("open", "applied", "dismissed", "vanished")
ADDRESS = "/console/books"


async def list_findings(session: Session) -> web.StreamResponse:
    """``GET /console/books?status=&after=``: findings of one status, the open ones with what may be done about them."""
    environment = session.environment
    asked = session.request.query.get("status", "open")
    status = asked if asked in STATUSES else "open"
    after = as_uuid(session.request.query.get("after", ""))
    document, away = None, None
    try:
        reply = await neighbours.list_findings(environment, status=status, limit="50", **({"after": str(after)} if after else {}))
        document = reply.document if reply.succeeded else None
    except ServiceAway as error:
        away = str(error)
    request_id = str(new_id())
    return page(
        environment,
        "console_findings.html",
        section="books",
        logout_token=session.token("logout"),
        notice=session.notice,
        status_shown=status,
        statuses=STATUSES,
        document=document,
        away=away,
        form={"request_id": request_id, "token": session.token(f"finding:{request_id}")},
    )


async def decide_finding(session: Session) -> web.StreamResponse:
    """``POST /console/books/{finding_id}``: applies the compensation or dismisses the finding, unless its figures have changed."""
    finding_id = as_uuid(session.request.match_info["finding_id"])
    fields = await session.form("finding", of="request_id")
    if finding_id is None or fields is None:
        return page(session.environment, "stale_form.html", status=403, address=ADDRESS)
    notice = await _told(session, finding_id, fields)
    return see_other(session.environment, session.address_with(ADDRESS, notice))


async def _told(session: Session, finding_id: UUID, fields: dict[str, str]) -> str:
    applies = fields.get("decision") == "apply"
    found = fields.get("expected_found", "")
    try:
        command = (StockCompensationRequested if applies else StockFindingDismissalRequested).model_validate(
            {
                # One page has a form for each finding: what is decided about which is part of the request's name.
                "decision_id": uuid5(finding_id, f"console {fields.get('decision')} {found} {fields['request_id']}"),
                "finding_id": finding_id,
                "expected_found": int(found) if found.removeprefix("-").isascii() and found.removeprefix("-").isdigit() else found,
                "reason": fields.get("reason", "").strip(),
                "operator": "operator",
            }
        )
    except ValidationError as error:
        problem = problems_of(error, "the form")[0]
        return f"Nothing was changed. {problem.field}: {problem.problem}"
    try:
        return _words(await asking.ask(session.environment, "allocation", command, event_id=command.decision_id))
    except ServiceAway as away:
        return str(away)


def _words(answer: Answer) -> str:
    for message in answer.messages:
        if isinstance(message, StockFindingDecided):
            return f"{message.sku}: the books are mended." if message.status == "applied" else f"{message.sku}: left as it is."
        if isinstance(message, StockFindingRefused):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"
