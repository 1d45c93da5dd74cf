"""The console's pages about feeds and about counts that come as files."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking, neighbours
from services.portal.api.outcomes import problem_of
from services.portal.asking import Answer, ServiceAway
from services.portal.pages.console import OPERATOR
from services.portal.pages.frame import back_to, console_page, document_of, stale_form
from services.portal.pages.sessions import Session
from services.portal.reading import as_uuid
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.feeds import (
    FeedGapClosed,
    FeedGapCloseRejected,
    FeedGapCloseRequested,
    FeedSettingsChanged,
    FeedSettingsRejected,
    FeedSettingsRequested,
)
from shared.messaging.reading import problems_of

ROWS_SHOWN = 200


async def list_feeds(session: Session) -> web.StreamResponse:
    """``GET /console/feeds``: how old and how complete the feed of every location is."""
    document, away = await document_of(neighbours.list_feeds(session.environment))
    return console_page(session, "console_feeds.html", "feeds", document=document, away=away)


async def read_feed(session: Session) -> web.StreamResponse:
    """``GET /console/feeds/{location}``: one feed, its gaps with the form that closes them, its settings, what it lists in vain."""
    location = session.request.match_info["location"][:40]
    document, away = await document_of(neighbours.read_feed(session.environment, location))
    if document is None and away is None:
        return console_page(session, "console_missing.html", "feeds", status=404, what="location")
    request_id = str(new_id())
    return console_page(
        session,
        "console_feed.html",
        "feeds",
        location=location,
        feed=document,
        away=away,
        request_id=request_id,
        close_token=session.token(f"close-gap:{request_id}"),
        settings_token=session.token(f"feed-settings:{request_id}"),
    )


async def close_gap(session: Session) -> web.StreamResponse:
    """``POST /console/feeds/{location}/close-gap``: gives up messages that will not come."""
    location = session.request.match_info["location"][:40]
    address = f"/console/feeds/{location}"
    fields = await session.form("close-gap", of="request_id")
    if fields is None:
        return stale_form(session, address)
    up_to = fields.get("up_to_sequence", "")
    try:
        command = FeedGapCloseRequested.model_validate(
            {
                # One page has a form for each gap: what is asked for is part of the request's name.
                "decision_id": uuid5(NAMESPACE_URL, "\n".join((fields["request_id"], location, up_to))),
                "location": location,
                "up_to_sequence": _number(up_to),
                "reason": fields.get("reason", "").strip(),
                "operator": OPERATOR.name,
            }
        )
    except ValidationError as error:
        return back_to(session, address, _nothing_changed(error))
    return back_to(session, address, await _told(session, command, command.decision_id))


async def set_feed(session: Session) -> web.StreamResponse:
    """``POST /console/feeds/{location}/settings``: how the feed is watched; empty fields mean the default."""
    location = session.request.match_info["location"][:40]
    address = f"/console/feeds/{location}"
    fields = await session.form("feed-settings", of="request_id")
    if fields is None:
        return stale_form(session, address)
    try:
        command = FeedSettingsRequested.model_validate(
            {
                "decision_id": uuid5(NAMESPACE_URL, f"feed settings {fields['request_id']}"),
                "location": location,
                "stale_after_seconds": _seconds(fields.get("stale_after_hours", ""), 3_600),
                "patience_seconds": _seconds(fields.get("patience_minutes", ""), 60),
                "reason": fields.get("reason", "").strip(),
                "operator": OPERATOR.name,
            }
        )
    except ValidationError as error:
        return back_to(session, address, _nothing_changed(error))
    return back_to(session, address, await _told(session, command, command.decision_id))


async def _told(session: Session, command: Message, event_id: UUID) -> str:
    try:
        return _words(await asking.ask(session.environment, "allocation", command, event_id=event_id))
    except ServiceAway as away:
        return str(away)


def _words(answer: Answer) -> str:
    for message in answer.messages:
        if isinstance(message, FeedGapClosed):
            closed = ", ".join(f"{gap.first_sequence} to {gap.last_sequence}" for gap in message.gaps)
            return f"Nobody waits for {closed} any more. Counts that waited are applied within seconds."
        if isinstance(message, FeedSettingsChanged):
            return f"Stale after {message.stale_after_seconds} s, counts wait at most {message.patience_seconds} s."
        if isinstance(message, FeedGapCloseRejected | FeedSettingsRejected):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"


def _nothing_changed(error: ValidationError) -> str:
    problem = problems_of(error, "the form")[0]
    return f"Nothing was changed. {problem.field}: {problem.problem}"


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _seconds(text: str, unit_seconds: int) -> int | str | None:
    found = _number(text.strip())
    return None if not text.strip() else found * unit_seconds if isinstance(found, int) else found


async def read_uploads(session: Session) -> web.StreamResponse:
    """``GET /console/counts``: the form that takes a file, and the newest files."""
    document, away = await document_of(neighbours.list_uploads(session.environment))
    return console_page(session, "console_counts.html", "stock", document=document, away=away, upload_token=session.token("upload"))


async def upload_counts(session: Session) -> web.StreamResponse:
    """``POST /console/counts``: passes the file on and shows its preview. Nothing is applied."""
    file = await session.file("upload")
    if file is None:
        return stale_form(session, "/console/counts")
    try:
        reply = await neighbours.upload_counts(session.environment, file.name[:200], OPERATOR.name, file.pieces)
    except ServiceAway as away:
        return back_to(session, "/console/counts", str(away))
    if not reply.succeeded:
        document = reply.document if isinstance(reply.document, dict) else {}
        said = f"{document['problem']}: {document['remedy']}." if "remedy" in document else str(problem_of(reply))
        return back_to(session, "/console/counts", f"Nothing was taken. {said}"[:600])
    return back_to(session, f"/console/counts/{reply.document['upload_id']}", "This is a preview; nothing is applied yet.")


async def read_upload(session: Session) -> web.StreamResponse:
    """``GET /console/counts/{upload_id}?status=&after=``: the preview or the result of a file, row by row."""
    upload_id = as_uuid(session.request.match_info["upload_id"])
    if upload_id is None:
        return console_page(session, "console_missing.html", "stock", status=404, what="upload")
    query = {"after": session.request.query.get("after", "0")[:10], "limit": str(ROWS_SHOWN)}
    status = session.request.query.get("status", "")
    if status in ("invalid", "same", "changed", "applied", "moved"):
        query["status"] = status
    document, away = await document_of(neighbours.read_upload(session.environment, upload_id))
    if document is None and away is None:
        return console_page(session, "console_missing.html", "stock", status=404, what="upload")
    rows, rows_away = await document_of(neighbours.list_upload_rows(session.environment, upload_id, query))
    return console_page(
        session,
        "console_upload.html",
        "stock",
        upload=document,
        rows=rows,
        away=away or rows_away,
        shown_status=query.get("status", ""),
        apply_token=session.token(f"apply:{upload_id}"),
    )


async def download_report(session: Session) -> web.StreamResponse:
    """``GET /console/counts/{upload_id}/report.csv``."""
    upload_id = as_uuid(session.request.match_info["upload_id"])
    if upload_id is None:
        return console_page(session, "console_missing.html", "stock", status=404, what="upload")
    try:
        return await neighbours.pass_on_report(session.environment, session.request, upload_id)
    except ServiceAway as away:
        return back_to(session, "/console/counts", str(away))


async def apply_upload(session: Session) -> web.StreamResponse:
    """``POST /console/counts/{upload_id}/apply``: sets the shelves that still hold what the preview showed."""
    upload_id = as_uuid(session.request.match_info["upload_id"])
    fields = await session.form(f"apply:{upload_id}")
    if upload_id is None or fields is None:
        return stale_form(session, "/console/counts")
    address = f"/console/counts/{upload_id}"
    rows = "all" if fields.get("rows") == "all" else "valid"
    reason = fields.get("reason", "").strip()[:120]
    if not reason:
        return back_to(session, address, "Nothing was applied. reason: say why these counts are right.")
    try:
        reply = await neighbours.apply_upload(session.environment, upload_id, rows, reason, OPERATOR.name)
    except ServiceAway as away:
        return back_to(session, address, str(away))
    if not reply.succeeded:
        return back_to(session, address, f"Nothing was applied. {problem_of(reply)}")
    done = reply.document
    said = f"{done['applied_rows']} rows are applied" + (
        f", {done['moved_rows']} had moved and were left alone" if done["moved_rows"] else ""
    )
    return back_to(session, address, f"{said}." if done["status"] == "applied" else f"{said}; the rest follows by itself.")
