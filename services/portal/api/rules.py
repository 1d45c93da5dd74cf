"""Operations on rules about stock. Allocation decides; these functions only phrase the question."""

from __future__ import annotations

from aiohttp import web

from services.portal.api.models import SetChannelPool, SetSafety
from services.portal.api.naming import in_address, want_channel
from services.portal.api.operation import Call
from services.portal.api.outcomes import read_list, told
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested


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
    names = [in_address(call, "product", "sku"), *([in_address(call, "location", "location")] if location is not None else [])]
    return await told(call, "allocation", command, event_id=change_id, names=names)


async def set_channel_pool(call: Call) -> web.StreamResponse:
    """Sets units of a SKU aside for a channel, caps what it may have open, or gives it a share; nobody loses units that he has.
    With ``expected_rule_version`` it is compare-and-set: 409 ``stale_expectation`` when the rule was changed since you looked."""
    wanted: SetChannelPool = call.body
    sku, channel = call.text("sku"), call.text("channel")
    await want_channel(call, channel)
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
    return await told(call, "allocation", command, event_id=change_id, names=[in_address(call, "product", "sku")])


async def list_channel_pools(call: Call) -> web.StreamResponse:
    """SKUs of which channels have rules: fence, cap, share, what the channel has open and may take now, and the rule's version."""
    return await read_list(call, "/channel-pools", "channel", "after", "limit")


async def list_adjustments(call: Call) -> web.StreamResponse:
    """Who corrected what is on hand, when and why: operators and 3PLs, newest first."""
    return await read_list(call, "/adjustments", "sku", "location", "before", "limit")


async def list_rule_changes(call: Call) -> web.StreamResponse:
    """Who changed safety stock and channel pools, when and why, with the numbers before and after, newest first."""
    return await read_list(call, "/rule-changes", "sku", "before", "limit")
