"""Operations on feeds and on counts that come as files. Allocation decides; these functions only pass on."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import ApplyCounts, CloseGap, SetFeed
from services.portal.api.naming import in_address
from services.portal.api.operation import Call, Problem
from services.portal.api.outcomes import shown, told
from services.portal.files import file_in_body
from shared.contracts.channels import FieldProblem
from shared.contracts.feeds import FeedGapCloseRequested, FeedSettingsRequested


async def list_feeds(call: Call) -> web.StreamResponse:
    """The feed of every location: when it was last heard, how old its newest count is, which messages are missing since when, and how many
    SKUs it lists that are not registered, and how many shelves its corrections took below zero. Stale feeds first, then those with shelves
    below zero, then those with gaps."""
    return shown(await neighbours.list_feeds(call.environment))


async def read_feed(call: Call) -> web.StreamResponse:
    """One feed, with the shelves that its corrections took below zero, the SKUs that it lists and nobody sells, and what was decided about
    it."""
    return shown(await neighbours.read_feed(call.environment, call.text("location")))


async def set_feed(call: Call) -> web.StreamResponse:
    """Sets when a location counts as stale and how long its counts wait for missing messages."""
    wanted: SetFeed = call.body
    location = call.text("location")
    decision_id = call.request_id("feed settings", location)
    command = FeedSettingsRequested(
        decision_id=decision_id,
        location=location,
        stale_after_seconds=wanted.stale_after_seconds,
        patience_seconds=wanted.patience_seconds,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return await told(call, "allocation", command, event_id=decision_id, names=[in_address(call, "location", "location")])


async def close_gap(call: Call) -> web.StreamResponse:
    """Gives up messages of a feed that will not come, with a reason. Counts that waited for them are applied within seconds; a message that
    comes all the same is booked once."""
    wanted: CloseGap = call.body
    location = call.text("location")
    decision_id = call.request_id("close gap", location)
    command = FeedGapCloseRequested(
        decision_id=decision_id,
        location=location,
        up_to_sequence=wanted.up_to_sequence,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return await told(call, "allocation", command, event_id=decision_id, names=[in_address(call, "location", "location")])


async def upload_counts(call: Call) -> web.StreamResponse:
    """Uploads counts as CSV (columns `sku`, `location`, `on_hand`, optionally `damaged` and `quality_control`) and answers with a preview.
    Nothing is applied. At most a million rows and 128 MB; any usual delimiter and encoding."""
    file = await file_in_body(call.request)
    if file is None:
        text = "send the file as text/csv, or as a form (multipart/form-data) with the part file"
        problem = FieldProblem(field="Content-Type", problem=f"not {call.request.content_type[:100]!r}", remedy=text)
        raise Problem(415, "unsupported_media_type", text, [problem])
    name = call.text("file_name") if call.text("file_name") != "counts.csv" else file.name[:200]
    reply = await neighbours.upload_counts(call.environment, name, call.text("operator"), file.pieces)
    if reply.status == 422:
        raise refused_upload(reply.document)
    return shown(reply, 201)


def refused_upload(document: Any) -> Problem:
    """A file that could not be read, as allocation says it."""
    problem, remedy = str(document.get("problem")), str(document.get("remedy"))
    field = FieldProblem(field="file", problem=problem[:500], remedy=remedy[:500])
    return Problem(422, "upload_refused", f"{problem}: {remedy}", [field])


async def list_uploads(call: Call) -> web.StreamResponse:
    """The newest uploads, with who uploaded them and what became of them."""
    return shown(await neighbours.list_uploads(call.environment))


async def read_upload(call: Call) -> web.StreamResponse:
    """How many rows of an upload are in which state."""
    return shown(await neighbours.read_upload(call.environment, call.uuid("upload_id")))


async def list_upload_rows(call: Call) -> web.StreamResponse:
    """Row by row: what the shelf held, what the file says, the difference, and what is wrong with which column and what to do."""
    query = {"after": call.text("after"), "limit": call.text("limit"), "status": call.text("status")}
    return shown(await neighbours.list_upload_rows(call.environment, call.uuid("upload_id"), query))


async def download_report(call: Call) -> web.StreamResponse:
    """Every row with what became of it, as CSV."""
    return await neighbours.pass_on_report(call.environment, call.request, call.uuid("upload_id"))


async def apply_upload(call: Call) -> web.StreamResponse:
    """Sets the shelves of an upload, each only while it still holds what the preview showed. Asked again it does nothing more."""
    wanted: ApplyCounts = call.body
    reply = await neighbours.apply_upload(call.environment, call.uuid("upload_id"), wanted.rows, wanted.reason, wanted.operator)
    return shown(reply, reply.status)
