"""Changes after a warehouse has started, through all five services, a channel and a 3PL (features D1, D5)."""

from __future__ import annotations

from pathlib import Path

from services.portal.decide.order import OrderView
from services.portal.reading import read_order_view
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentInterceptRequested,
    FulfillmentRequested,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyIntercepted,
    ThirdPartyLabelPrinted,
    ThirdPartyShipped,
)
from shared.contracts.orders import LineUnits, OrderCancelRequested
from tests.conftest import Databases
from tests.shared.world import SHOPPER, World, open_world

PRICE, TAX, SHIPPING = 1_999, 137, 595


async def view(world: World, name: str) -> OrderView:
    """An order as the portal shows it."""
    async with world.loopback.stations["portal"].around.pool.acquire() as connection:
        found = await read_order_view(connection, world.orders[name])
    assert found is not None
    return found


async def available(world: World, sku: str) -> int:
    """Units that can be sold."""
    units: int = await world.admin.fetchval("SELECT available FROM allocation.stock_pools WHERE sku = $1", sku)
    return units


async def refunded(world: World, name: str) -> int:
    """What the channel gave back of an order."""
    cents: int = await world.admin.fetchval(
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM sync.refunds WHERE order_id = $1 AND state = 'succeeded'", world.orders[name]
    )
    return cents


async def start(world: World, pick: FulfillmentRequested) -> None:
    """The 3PL accepts and prints the label."""
    await world.from_warehouse(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=world.loopback.now()))
    label = ThirdPartyLabelPrinted(
        fulfillment_id=pick.fulfillment_id, carrier=pick.carrier, tracking_number="1Z1", printed_at=world.loopback.now()
    )
    await world.from_warehouse(label)


async def ship(world: World, pick: FulfillmentRequested) -> None:
    """The parcel leaves."""
    lines = [LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in pick.lines]
    shipped = ThirdPartyShipped(
        fulfillment_id=pick.fulfillment_id, carrier=pick.carrier, tracking_number="1Z1", lines=lines, shipped_at=world.loopback.now()
    )
    await world.from_warehouse(shipped)


async def balanced(world: World) -> None:
    report = await world.audit()
    assert [(check.service, check.id, check.violations) for check in report.violated()] == []
    assert await world.waiting() == []


async def test_of_two_labelled_parcels_of_a_cancelled_order_one_is_held_back_and_the_other_comes_back_as_a_return(
    databases: Databases, tmp_path: Path
) -> None:
    async with open_world(databases, tmp_path) as world:
        await world.open_shop({"reno": {"MUG": 3}, "newark": {"CHAIR": 3}})
        order_id = await world.buy("late", {"MUG": 2, "CHAIR": 1})
        by_location = {pick.location: pick for pick in world.picks()}
        held, left = by_location["reno"], by_location["newark"]
        for pick in (held, left):
            await start(world, pick)
        cancel = OrderCancelRequested(order_id=order_id, change_id=new_id(), actor=SHOPPER, reason="no need")
        await world.ask("routing", cancel)
        asked = [mail.message for mail in world.loopback.partner_mail if isinstance(mail.message, FulfillmentInterceptRequested)]
        assert {message.fulfillment_id for message in asked} == {held.fulfillment_id, left.fulfillment_id}
        word = ThirdPartyIntercepted(fulfillment_id=held.fulfillment_id, intercepted_at=world.loopback.now())
        await world.from_warehouse(word)
        assert (await refunded(world, "late"), await available(world, "MUG")) == (0, 1), "the other parcel's fate is not known"
        await ship(world, left)
        await world.from_warehouse(word)
        assert (await refunded(world, "late"), await available(world, "MUG")) == (2 * PRICE + TAX, 3), "each unit is back once"
        order = await view(world, "late")
        assert (order.status, [parcel.interception for parcel in order.parcels]) == ("shipped", ["failed"])
        [returned] = order.returns
        assert (returned.status, returned.units, returned.refund_quote_cents) == ("approved", {"2": 1}, PRICE + TAX)
        assert returned.label_tracking_number
        told = await world.admin.fetch("SELECT kind FROM portal.notifications WHERE order_id = $1", order_id)
        assert {"cancelled", "return_label", "shipped"} <= {row["kind"] for row in told}
        await balanced(world)
        await world.scan(await world.admin.fetchval("SELECT return_id FROM returns.returns WHERE order_id = $1", order_id), {"2": 1}, {})
        assert (await refunded(world, "late"), await available(world, "CHAIR")) == (2 * PRICE + TAX + PRICE + TAX, 3)
        await balanced(world)


async def test_a_line_that_no_warehouse_has_started_is_edited_while_another_ships(databases: Databases, tmp_path: Path) -> None:
    async with open_world(databases, tmp_path) as world:
        await world.open_shop({"reno": {"MUG": 3}, "newark": {"CHAIR": 3}})
        await world.buy("part", {"MUG": 2, "CHAIR": 3})
        by_location = {pick.location: pick for pick in world.picks()}
        await start(world, by_location["reno"])
        await world.edit("part", "2", 1)
        await ship(world, by_location["reno"])
        word = ThirdPartyCancelAccepted(fulfillment_id=by_location["newark"].fulfillment_id, answered_at=world.loopback.now())
        await world.from_warehouse(word)
        assert (await available(world, "CHAIR"), await refunded(world, "part") > 0) == (2, True)
        [anew] = world.picks()
        assert [(line.sku, line.quantity) for line in anew.lines] == [("CHAIR", 1)]
        await ship(world, anew)
        assert (await view(world, "part")).status == "shipped"
        await balanced(world)
