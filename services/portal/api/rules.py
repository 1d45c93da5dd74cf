"""Operations on rules about stock and on checkout holds. Allocation decides; these functions only phrase the question."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from services.portal import asking, neighbours
from services.portal.api.models import Document, RequestHold, SetChannelPool, SetSafety
from services.portal.api.operation import Call, answered, invalid
from services.portal.api.outcomes import outcome, problem_of
from services.portal.asking import Reply
from shared.contracts.holds import StockHoldReleaseRequested, StockHoldRequested
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested


def _shown(reply: Reply) -> web.Response:
    if not reply.succeeded:
        raise problem_of(reply)
    return answered(Document.model_validate(reply.document))


async def _read(call: Call, path: str, *names: str) -> web.Response:
    """Allocation's own list, with the parameters that were given."""
    query = {name: str(call.values[name]) for name in names if call.values[name] is not None}
    return _shown(await asking.read(call.environment, "allocation", path, **query))


async def set_safety(call: Call) -> web.StreamResponse:
    """Keeps units of a SKU back from sale, wherever they lie. Raising it takes nothing from anybody, lowering it serves those who wait.
    With ``expected_safety_units`` it is compare-and-set: 409 ``stale_expectation`` when it was changed since you looked."""
    return await _set_safety(call, None)


async def set_location_safety(call: Call) -> web.StreamResponse:
    """Keeps units of a SKU back at one location, at most what lies there, beside what is kept back of the SKU as a whole."""
    return await _set_safety(call, call.text("location"))


async def _set_safety(call: Call, location: str | None) -> web.Response:
    wanted: SetSafety = call.body
    sku = call.text("sku")
    change_id = call.request_id("safety", sku, location)
    command = StockSafetyRequested(
        change_id=change_id,
        sku=sku,
        location=location,
        safety_units=wanted.safety_units,
        expected_safety_units=wanted.expected_safety_units,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return outcome(await asking.ask(call.environment, "allocation", command, event_id=change_id), change_id)


async def set_channel_pool(call: Call) -> web.StreamResponse:
    """Sets units of a SKU aside for a channel, caps what it may have open, or gives it a share; nobody loses units that he has.
    With ``expected_rule_version`` it is compare-and-set: 409 ``stale_expectation`` when the rule was changed since you looked."""
    wanted: SetChannelPool = call.body
    sku, channel = call.text("sku"), call.text("channel")
    await _check_channel(call, channel)
    change_id = call.request_id("channel pool", sku, channel)
    command = ChannelPoolRequested(
        change_id=change_id,
        sku=sku,
        channel=channel,
        fence_units=wanted.fence_units,
        cap_units=wanted.cap_units,
        share_percent=wanted.share_percent,
        expected_rule_version=wanted.expected_rule_version,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return outcome(await asking.ask(call.environment, "allocation", command, event_id=change_id), change_id)


async def _check_channel(call: Call, channel: str) -> None:
    """A fence for a misspelt channel would take its units off sale for good."""
    reply = await neighbours.read_channels(call.environment)
    if not reply.succeeded:
        raise problem_of(reply)
    known = sorted(row["code"] for row in reply.document["channels"])
    if channel not in known:
        raise invalid("channel", f"there is no channel {channel!r}", f"use one of: {', '.join(known) or 'none is set up'}"[:500])


async def list_channel_pools(call: Call) -> web.StreamResponse:
    """SKUs of which channels have rules: fence, cap, share, what the channel has open and may take now, and the rule's version."""
    return await _read(call, "/channel-pools", "channel", "after", "limit")


async def list_adjustments(call: Call) -> web.StreamResponse:
    """Who corrected what is on hand, when and why: operators and 3PLs, newest first."""
    return await _read(call, "/adjustments", "sku", "location", "before", "limit")


async def list_rule_changes(call: Call) -> web.StreamResponse:
    """Who changed safety stock and channel pools, when and why, with the numbers before and after, newest first."""
    return await _read(call, "/rule-changes", "sku", "before", "limit")


async def request_hold(call: Call) -> web.StreamResponse:
    """Keeps units for a shopper of a channel until the payment. The answer says what is held per SKU and until when; with ``nothing_held``
    there is no hold. An order that names the hold gets its units."""
    wanted: RequestHold = call.body
    command = StockHoldRequested.model_validate(wanted.model_dump())
    event_id = call.request_id("hold", wanted.hold_id)
    return outcome(await asking.ask(call.environment, "allocation", command, event_id=event_id), wanted.hold_id)


async def release_hold(call: Call) -> web.StreamResponse:
    """Gives the units of a checkout hold back before its time."""
    hold_id = call.uuid("hold_id")
    reply = await asking.read(call.environment, "allocation", f"/holds/{hold_id}")
    if not reply.succeeded:
        raise problem_of(reply)
    command = StockHoldReleaseRequested(hold_id=hold_id, channel=reply.document["channel"])
    return outcome(await asking.ask(call.environment, "allocation", command, event_id=call.request_id("release hold", hold_id)), hold_id)


async def read_hold(call: Call) -> web.StreamResponse:
    """A checkout hold: what was asked for, granted and is still held, what a shortage took, and which order it became."""
    return _shown(await asking.read(call.environment, "allocation", f"/holds/{quote(str(call.uuid('hold_id')))}"))


async def list_holds(call: Call) -> web.StreamResponse:
    """Open checkout holds, those that end first."""
    return await _read(call, "/holds", "sku", "channel", "limit")
