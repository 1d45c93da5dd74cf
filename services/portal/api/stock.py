"""Operations on stock, supplies and the catalogue. Allocation, routing and sync decide; these functions only phrase the question."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from services.portal import asking, neighbours
from services.portal.api.models import (
    AdjustStock,
    ChangeSupply,
    Document,
    OpenPreorder,
    ReceiveSupply,
    RegisterListings,
    RegisterProducts,
    RescheduleSupply,
    ScheduleSupply,
    SetShortagePolicy,
)
from services.portal.api.operation import Call, answered
from services.portal.api.outcomes import outcome, problem_of
from services.portal.asking import Reply, ServiceName
from shared.contracts.base import Message
from shared.contracts.channels import ListingRegistrationRequested, ProductRegistrationRequested
from shared.contracts.fulfillment import LocationRegistrationRequested
from shared.contracts.stock import (
    ShortagePolicyRequested,
    StockAdjustmentRequested,
    StockPreorderClosed,
    StockPreorderOpened,
    SupplyCancelled,
    SupplyChanged,
    SupplyReceived,
    SupplyRescheduled,
    SupplyScheduled,
)


async def _told(
    call: Call, service: ServiceName, command: Message, *, event_id: UUID, identifier: UUID | None = None, status: int = 200
) -> web.Response:
    answer = await asking.ask(call.environment, service, command, event_id=event_id)
    return outcome(answer, identifier or event_id, status=status)


async def read_stock(call: Call) -> web.StreamResponse:
    """One SKU at every location, as allocation keeps it; of a kit, how many can be made of which components."""
    return _shown(await neighbours.read_stock(call.environment, call.text("sku")))


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
    return await _told(call, "allocation", command, event_id=adjustment_id)


async def read_shortage_policy(call: Call) -> web.StreamResponse:
    """Whose reserved units queue again first when a shelf holds less than is reserved, who chose that, and the choice there is."""
    reply = await neighbours.read_shortage_policy(call.environment)
    if not reply.succeeded:
        raise problem_of(reply)
    return answered(Document.model_validate(reply.document))


async def set_shortage_policy(call: Call) -> web.StreamResponse:
    """Chooses whose reserved units queue again first when a shelf holds less than is reserved. Rules every shortage from now on."""
    wanted: SetShortagePolicy = call.body
    change_id = call.request_id("shortage policy")
    command = ShortagePolicyRequested(change_id=change_id, policy=wanted.policy, operator=wanted.operator)
    return await _told(call, "allocation", command, event_id=change_id)


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
    return await _told(call, "allocation", command, event_id=event_id, identifier=supply_id, status=201)


async def receive_supply(call: Call) -> web.StreamResponse:
    """Goods arrived: they go on the shelf, and to those who wait first. Units that are more than the supply had still to bring are booked
    too; ``over_received`` in the answer's ``supply.receipt_booked.v1`` counts them, ``GET /api/supplies?over_received=true`` lists them.
    """
    wanted: ReceiveSupply = call.body
    supply_id = call.uuid("supply_id")
    receipt_id = call.request_id("receipt", supply_id)
    command = SupplyReceived(receipt_id=receipt_id, supply_id=supply_id, location=wanted.location, lines=wanted.lines)
    return await _told(call, "allocation", command, event_id=receipt_id)


async def reschedule_supply(call: Call) -> web.StreamResponse:
    """The expected date moved: customers whose promise changes are told once."""
    wanted: RescheduleSupply = call.body
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("reschedule", supply_id)
    command = SupplyRescheduled(supply_id=supply_id, change_id=change_id, expected_at=wanted.expected_at)
    return await _told(call, "allocation", command, event_id=change_id)


async def change_supply(call: Call) -> web.StreamResponse:
    """The supplier brings more or fewer units, or another SKU: customers whose promise changes are told once. All of it is done or nothing:
    409 ``less_than_received`` when more has come than is wanted."""
    wanted: ChangeSupply = call.body
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("change supply", supply_id)
    return await _told(call, "allocation", SupplyChanged(supply_id=supply_id, change_id=change_id, lines=wanted.lines), event_id=change_id)


async def list_supplies(call: Call) -> web.StreamResponse:
    """Goods on their way, what of them has come, and what came beyond them; ``next_after`` begins the next page."""
    query = {name: call.text(name) for name in ("sku", "purchase_order", "after", "limit") if call.values[name]}
    if call.values["over_received"]:
        query["over_received"] = "true"
    return _shown(await neighbours.list_supplies(call.environment, query))


async def list_preorders(call: Call) -> web.StreamResponse:
    """SKUs that are sold before their release; ``next_after`` begins the next page."""
    query = {name: call.text(name) for name in ("after", "limit") if call.values[name]}
    return _shown(await neighbours.list_preorders(call.environment, query))


async def open_preorder(call: Call) -> web.StreamResponse:
    """The SKU is sold before its release, or its release moves: its orders wait for the date and for goods, channels show no more than is
    on its way, and customers whose promise changes are told once."""
    wanted: OpenPreorder = call.body
    sku = call.text("sku")
    change_id = call.request_id("open preorder", sku)
    command = StockPreorderOpened(change_id=change_id, sku=sku, release_at=wanted.release_at, early_release=wanted.early_release)
    return await _told(call, "allocation", command, event_id=change_id)


async def close_preorder(call: Call) -> web.StreamResponse:
    """The SKU is sold like any other from now on; orders that wait get what is on the shelf."""
    sku = call.text("sku")
    change_id = call.request_id("close preorder", sku)
    return await _told(call, "allocation", StockPreorderClosed(change_id=change_id, sku=sku), event_id=change_id)


def _shown(reply: Reply) -> web.StreamResponse:
    if not reply.succeeded:
        raise problem_of(reply)
    return answered(Document.model_validate(reply.document))


async def cancel_supply(call: Call) -> web.StreamResponse:
    """The goods will not come, or no more of them: customers whose promise falls away are told once."""
    supply_id = call.uuid("supply_id")
    change_id = call.request_id("cancel supply", supply_id)
    return await _told(call, "allocation", SupplyCancelled(supply_id=supply_id, change_id=change_id), event_id=change_id)


async def register_products(call: Call) -> web.StreamResponse:
    """Products to sell. Registering a SKU again replaces its data. A product with ``components`` is a kit: it has no stock of its own and
    is sold as long as its components are there. 409 ``not_yet`` when a component is not registered yet."""
    wanted: RegisterProducts = call.body
    event_id = call.request_id("products")
    return await _told(call, "sync", ProductRegistrationRequested(products=wanted.products), event_id=event_id, status=201)


async def register_listings(call: Call) -> web.StreamResponse:
    """What one channel sells. From then on the channel is told every new number of these SKUs."""
    wanted: RegisterListings = call.body
    event_id = call.request_id("listings")
    command = ListingRegistrationRequested(channel=wanted.channel, listings=wanted.listings)
    return await _told(call, "sync", command, event_id=event_id, status=201)


async def register_location(call: Call) -> web.StreamResponse:
    """A place that holds stock. Registering the same code again replaces its data."""
    event_id = call.request_id("location")
    command = LocationRegistrationRequested.model_validate(call.body.model_dump())
    return await _told(call, "routing", command, event_id=event_id, status=201)


async def read_locations(call: Call) -> web.StreamResponse:
    """Every location, as routing keeps it."""
    return _shown(await neighbours.read_locations(call.environment))
