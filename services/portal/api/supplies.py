"""Operations on goods that are on their way and on what is sold before its release. Allocation decides."""

from __future__ import annotations

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import ChangeSupply, OpenPreorder, ReceiveSupply, RescheduleSupply, ScheduleSupply
from services.portal.api.naming import Named, in_address, skus_of_lines
from services.portal.api.operation import Call
from services.portal.api.outcomes import shown, told
from shared.contracts.stock import (
    StockPreorderClosed,
    StockPreorderOpened,
    SupplyCancelled,
    SupplyChanged,
    SupplyReceived,
    SupplyRescheduled,
    SupplyScheduled,
)


async def schedule_supply(call: Call) -> web.StreamResponse:
    """Goods are on the way: customers who wait are promised the expected date."""
    wanted: ScheduleSupply = call.body
    event_id = call.request_id("supply")
    supply_id = wanted.supply_id or event_id
    command = SupplyScheduled(
        supply_id=supply_id,
        location=wanted.location,
        expected_at=wanted.expected_at,
        lines=wanted.lines,
        purchase_order=wanted.purchase_order,
    )
    names = [Named("location", "location", wanted.location), *skus_of_lines(line.sku for line in wanted.lines)]
    return await told(call, "allocation", command, event_id=event_id, identifier=supply_id, status=201, names=names)


async def receive_supply(call: Call) -> web.StreamResponse:
    """Goods arrived: they go on the shelf, and to those who wait first. Units that are more than the supply had still to bring are booked
    too; ``over_received`` in the answer's ``supply.receipt_booked.v1`` counts them, ``GET /api/supplies?over_received=true`` lists them.
    """
    wanted: ReceiveSupply = call.body
    supply_id = call.uuid("supply_id")
    receipt_id = call.request_id("receipt", supply_id)
    command = SupplyReceived(receipt_id=receipt_id, supply_id=supply_id, location=wanted.location, lines=wanted.lines)
    names = [
        in_address(call, "supply", "supply_id"),
        Named("location", "location", wanted.location),
        *skus_of_lines(line.sku for line in wanted.lines),
    ]
    return await told(call, "allocation", command, event_id=receipt_id, names=names)


async def reschedule_supply(call: Call) -> web.StreamResponse:
    """The expected date moved: customers whose promise changes are told once."""
    wanted: RescheduleSupply = call.body
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("reschedule", supply_id)
    command = SupplyRescheduled(supply_id=supply_id, change_id=change_id, expected_at=wanted.expected_at)
    return await told(call, "allocation", command, event_id=change_id, names=[in_address(call, "supply", "supply_id")])


async def change_supply(call: Call) -> web.StreamResponse:
    """The supplier brings more or fewer units, or another SKU: customers whose promise changes are told once. All of it is done or nothing:
    409 ``less_than_received`` when more has come than is wanted."""
    wanted: ChangeSupply = call.body
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("change supply", supply_id)
    command = SupplyChanged(supply_id=supply_id, change_id=change_id, lines=wanted.lines)
    names = [in_address(call, "supply", "supply_id"), *skus_of_lines(line.sku for line in wanted.lines)]
    return await told(call, "allocation", command, event_id=change_id, names=names)


async def cancel_supply(call: Call) -> web.StreamResponse:
    """The goods will not come, or no more of them: customers whose promise falls away are told once."""
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("cancel supply", supply_id)
    command = SupplyCancelled(supply_id=supply_id, change_id=change_id)
    return await told(call, "allocation", command, event_id=change_id, names=[in_address(call, "supply", "supply_id")])


async def list_supplies(call: Call) -> web.StreamResponse:
    """Goods on their way, what of them has come, and what came beyond them; ``next_after`` begins the next page."""
    query = {name: call.text(name) for name in ("sku", "purchase_order", "after", "limit") if call.values[name]}
    if call.values["over_received"]:
        query["over_received"] = "true"
    return shown(await neighbours.list_supplies(call.environment, query))


async def list_preorders(call: Call) -> web.StreamResponse:
    """SKUs that are sold before their release; ``next_after`` begins the next page."""
    query = {name: call.text(name) for name in ("after", "limit") if call.values[name]}
    return shown(await neighbours.list_preorders(call.environment, query))


async def open_preorder(call: Call) -> web.StreamResponse:
    """The SKU is sold before its release, or its release moves: its orders wait for the date and for goods, channels show no more than is
    on its way, and customers whose promise changes are told once."""
    wanted: OpenPreorder = call.body
    sku = call.text("sku")
    change_id = call.request_id("open preorder", sku)
    command = StockPreorderOpened(change_id=change_id, sku=sku, release_at=wanted.release_at, early_release=wanted.early_release)
    return await told(call, "allocation", command, event_id=change_id, names=[in_address(call, "product", "sku")])


async def close_preorder(call: Call) -> web.StreamResponse:
    """The SKU is sold like any other from now on; orders that wait get what is on the shelf."""
    sku = call.text("sku")
    change_id = call.request_id("close preorder", sku)
    command = StockPreorderClosed(change_id=change_id, sku=sku)
    return await told(call, "allocation", command, event_id=change_id, names=[in_address(call, "product", "sku")])
