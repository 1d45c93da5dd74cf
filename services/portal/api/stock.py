"""Operations on what is on the shelves. Allocation decides; these functions only phrase the question."""

from __future__ import annotations

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import AdjustStock, SetShortagePolicy
from services.portal.api.naming import in_address
from services.portal.api.operation import Call
from services.portal.api.outcomes import shown, told
from shared.contracts.stock import ShortagePolicyRequested, StockAdjustmentRequested


async def read_stock(call: Call) -> web.StreamResponse:
    """One SKU at every location, as allocation keeps it; of a kit, how many can be made of which components."""
    return shown(await neighbours.read_stock(call.environment, call.text("sku")))


async def adjust_stock(call: Call) -> web.StreamResponse:
    """Sets what is on the shelf. With ``expected_on_hand`` it is compare-and-set: 409 ``stale_expectation`` when the shelf has
    changed since you looked."""
    wanted: AdjustStock = call.body
    sku, location = call.text("sku"), call.text("location")
    adjustment_id = call.request_id("adjustment", sku, location)
    command = StockAdjustmentRequested(
        adjustment_id=adjustment_id,
        sku=sku,
        location=location,
        new_on_hand=wanted.new_on_hand,
        expected_on_hand=wanted.expected_on_hand,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    names = [in_address(call, "product", "sku"), in_address(call, "location", "location")]
    return await told(call, "allocation", command, event_id=adjustment_id, names=names)


async def read_shortage_policy(call: Call) -> web.StreamResponse:
    """Whose reserved units queue again first when a shelf holds less than is reserved, who chose that, and the choice there is."""
    return shown(await neighbours.read_shortage_policy(call.environment))


async def set_shortage_policy(call: Call) -> web.StreamResponse:
    """Chooses whose reserved units queue again first when a shelf holds less than is reserved. Rules every shortage from now on."""
    wanted: SetShortagePolicy = call.body
    change_id = call.request_id("shortage policy")
    command = ShortagePolicyRequested(change_id=change_id, policy=wanted.policy, operator=wanted.operator)
    return await told(call, "allocation", command, event_id=change_id)
