"""Operations on returns."""

from __future__ import annotations

from aiohttp import web

from services.portal import neighbours, queries
from services.portal.api.models import RequestReturn, ScanReturn
from services.portal.api.naming import in_address, want_location, want_order
from services.portal.api.operation import Call
from services.portal.api.outcomes import shown, told
from shared.contracts.orders import Actor
from shared.contracts.returns import ReturnAuthorisationRequested, ReturnScanRequested


async def request_return(call: Call) -> web.StreamResponse:
    """Asks whether units may come back. 201 ``approved`` with the label; 409 when they may not, with the reason; 404 for an order that
    nobody knows."""
    wanted: RequestReturn = call.body
    order_id = call.uuid("order_id")
    await want_order(call, order_id)
    return_id = call.request_id("return", order_id)
    command = ReturnAuthorisationRequested(
        return_id=return_id, order_id=order_id, actor=Actor(kind="support", name=wanted.operator), lines=wanted.lines
    )
    names = [in_address(call, "order", "order_id")]
    return await told(call, "returns", command, event_id=return_id, order_id=order_id, status=201, names=names)


async def scan_return(call: Call) -> web.StreamResponse:
    """Books what was found in a parcel: sellable units go back on the shelf, the refund is sent. Repeated with the same
    Idempotency-Key it is booked once. 409 ``not_yet`` with the field ``location`` when that place is not registered: then nothing is booked
    and nothing refunded."""
    wanted: ScanReturn = call.body
    return_id = call.uuid("return_id")
    await want_location(call, "location", wanted.location)
    scan_id = call.request_id("scan", return_id)
    command = ReturnScanRequested(
        return_id=return_id,
        scan_id=scan_id,
        location=wanted.location,
        operator=wanted.operator,
        units=wanted.units,
        closes=wanted.closes,
    )
    async with call.environment.database.acquire(timeout=10) as connection:
        order_id = await queries.read_order_of_return(connection, return_id)
    return await told(call, "returns", command, event_id=scan_id, order_id=order_id, names=[in_address(call, "return", "return_id")])


async def read_return(call: Call) -> web.StreamResponse:
    """One return with its lines, scans and refunds, as returns keeps it."""
    return shown(await neighbours.read_return(call.environment, call.uuid("return_id")))
