"""Operations on checkout holds. Allocation decides; these functions only phrase the question."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from services.portal import asking
from services.portal.api.models import RequestHold
from services.portal.api.naming import skus_of_lines, want_channel
from services.portal.api.operation import Call
from services.portal.api.outcomes import problem_of, read_list, shown, told
from shared.contracts.holds import StockHoldReleaseRequested, StockHoldRequested


async def request_hold(call: Call) -> web.StreamResponse:
    """Keeps units for a shopper of a channel until the payment. The answer says what is held per SKU and until when; with ``nothing_held``
    there is no hold. An order that names the hold gets its units."""
    wanted: RequestHold = call.body
    await want_channel(call, wanted.channel)
    command = StockHoldRequested.model_validate(wanted.model_dump())
    event_id = call.request_id("hold", wanted.hold_id)
    names = skus_of_lines(line.sku for line in wanted.lines)
    return await told(call, "allocation", command, event_id=event_id, identifier=wanted.hold_id, names=names)


async def release_hold(call: Call) -> web.StreamResponse:
    """Gives the units of a checkout hold back before its time."""
    hold_id = call.uuid("hold_id")
    reply = await asking.read(call.environment, "allocation", f"/holds/{hold_id}")
    if not reply.succeeded:
        raise problem_of(reply)
    command = StockHoldReleaseRequested(hold_id=hold_id, channel=reply.document["channel"])
    return await told(call, "allocation", command, event_id=call.request_id("release hold", hold_id), identifier=hold_id)


async def read_hold(call: Call) -> web.StreamResponse:
    """A checkout hold: what was asked for, granted and is still held, what a shortage took, and which order it became."""
    return shown(await asking.read(call.environment, "allocation", f"/holds/{quote(str(call.uuid('hold_id')))}"))


async def list_holds(call: Call) -> web.StreamResponse:
    """Open checkout holds, those that end first."""
    return await read_list(call, "/holds", "sku", "channel", "limit")
