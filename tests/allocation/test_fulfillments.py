"""Plans assigned, parcels shipped, fulfillments called off, on a real database."""

from __future__ import annotations

import pytest

from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentAssignmentRejected
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockReservationReleased, StockReserved
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    at,
    called_off,
    cancellation,
    edit,
    line,
    location,
    order,
    plan,
    planned,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    units,
)


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Ten mugs in the east, five in the west."""
    await desk.hear(products("MUG"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(5, at_location="west"))
    return desk


async def placed_with(desk: Desk, quantity: int) -> OrderPlaced:
    placed = order(line(quantity))
    await desk.hear(placed)
    return placed


async def test_a_plan_ties_all_units_to_their_locations(stocked: Desk) -> None:
    placed = await placed_with(stocked, 12)
    wanted = plan(placed, planned("east", units(8)), planned("west", units(4)))
    heard = await stocked.hear(wanted)
    assert heard.one(FulfillmentAssigned).plan_id == wanted.plan_id
    assert ((await stocked.shelf("east"))["assigned"], (await stocked.shelf("west"))["assigned"]) == (8, 4)
    assert not heard.of(StockAvailabilityChanged)


async def test_a_plan_for_more_than_a_location_has_ties_nothing_and_tells_what_is_there(stocked: Desk) -> None:
    placed = await placed_with(stocked, 12)
    heard = await stocked.hear(plan(placed, planned("east", units(6)), planned("west", units(6))))
    rejected = heard.one(FulfillmentAssignmentRejected)
    assert rejected.reason == "stock_moved"
    assert [(short.location, short.wanted, short.assignable) for short in rejected.shortfalls] == [("west", 6, 5)]
    assert [(place.location, place.quantity) for place in rejected.assignable[0].locations] == [("east", 10), ("west", 5)]
    assert (await stocked.shelf("east"))["assigned"] == 0


async def test_two_plans_of_one_batch_share_what_a_location_has(stocked: Desk) -> None:
    first, second = await placed_with(stocked, 6), await placed_with(stocked, 6)
    heard = await stocked.hear(plan(first), plan(second))
    assert heard.one(FulfillmentAssigned).order_id == first.order_id
    assert heard.one(FulfillmentAssignmentRejected).shortfalls[0].assignable == 4


@pytest.mark.parametrize("quantity", [4, 100])
async def test_a_plan_for_more_than_the_order_holds_is_not_reserved(stocked: Desk, quantity: int) -> None:
    placed = await placed_with(stocked, 3)
    heard = await stocked.hear(plan(placed, planned("east", units(quantity))))
    assert heard.one(FulfillmentAssignmentRejected).reason == "not_reserved"


async def test_a_plan_for_units_that_are_tied_already_is_not_reserved(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    await stocked.hear(plan(placed))
    assert (await stocked.hear(plan(placed))).one(FulfillmentAssignmentRejected).reason == "not_reserved"


async def test_a_plan_of_an_unknown_or_cancelled_order_is_not_reserved(stocked: Desk) -> None:
    stranger = order(line(1))
    assert (await stocked.hear(plan(stranger))).one(FulfillmentAssignmentRejected).reason == "not_reserved"
    placed = await placed_with(stocked, 3)
    await stocked.hear(cancellation(placed))
    assert (await stocked.hear(plan(placed))).one(FulfillmentAssignmentRejected).reason == "not_reserved"


async def test_a_plan_for_an_older_version_is_superseded_and_one_for_a_newer_waits(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    await stocked.hear(edit(placed, version=2))
    assert (await stocked.hear(plan(placed, version=1))).one(FulfillmentAssignmentRejected).reason == "superseded"
    assert "version 3" in (await stocked.hear(plan(placed, version=3))).deferred[0]
    assert (await stocked.hear(plan(placed, version=2))).of(FulfillmentAssigned)


async def test_a_plan_told_twice_is_decided_once(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    wanted = plan(placed)
    await stocked.hear(wanted, wanted)
    assert not (await stocked.hear(received(wanted))).outgoing
    assert (await stocked.shelf())["assigned"] == 3


async def test_a_fulfillment_id_that_another_plan_has_is_parked(stocked: Desk) -> None:
    placed = await placed_with(stocked, 4)
    parcel = planned("east", units(1))
    await stocked.hear(plan(placed, parcel))
    assert "a new plan needs new fulfillment ids" in (await stocked.hear(plan(placed, parcel))).parked[0]
    twice = planned("east", units(1))
    assert "stands twice" in (await stocked.hear(plan(placed, twice, twice))).parked[0]


async def test_a_closed_location_ships_what_is_assigned_but_gets_no_more(stocked: Desk) -> None:
    placed, later = await placed_with(stocked, 4), await placed_with(stocked, 2)
    parcel = planned("east", units(4))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(received(location("east", active=False), time=at(1)))
    assert heard.one(StockAvailabilityChanged).changes[0].available == 3
    rejected = (await stocked.hear(plan(later))).one(FulfillmentAssignmentRejected)
    assert (rejected.reason, rejected.shortfalls[0].assignable) == ("stock_moved", 0)
    await stocked.hear(shipped(placed, parcel))
    assert (await stocked.shelf())["on_shelf"] == 6


async def test_a_shipped_parcel_leaves_the_shelf_and_the_reservation(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(shipped(placed, parcel))
    assert not heard.outgoing
    shelf, pool = await stocked.shelf(), await stocked.pool()
    assert (shelf["on_shelf"], shelf["assigned"]) == (7, 0)
    assert (pool["sellable"], pool["reserved"], pool["available"]) == (12, 0, 12)
    assert await stocked.line(placed.order_id) == {"units": 3, "shipped": 3}


async def test_a_parcel_with_fewer_units_leaves_the_rest_assigned_until_it_is_called_off(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    told = shipped(placed, parcel, units(2))
    await stocked.hear(told, told)
    assert not (await stocked.hear(received(told))).parked
    assert await stocked.line(placed.order_id) == {"units": 3, "reserved": 1, "assigned": 1, "shipped": 2}
    heard = await stocked.hear(called_off(placed, parcel, units(1), missing=[units(1)], cause="short_picked"))
    assert heard.one(StockReserved).cause == "fulfillment_cancelled"
    assert (await stocked.shelf())["on_shelf"] == 7
    assert await stocked.line(placed.order_id) == {"units": 3, "reserved": 1, "shipped": 2}


@pytest.mark.parametrize("counted", [False, True], ids=["never counted", "counted meanwhile"])
async def test_units_that_went_back_as_good_are_written_off_when_their_short_pick_comes_late(stocked: Desk, counted: bool) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(shipped(placed, parcel, units(1), at_time=at(1)))
    await stocked.hear(called_off(placed, parcel, units(2), cause="short_picked", at_time=at(4)))
    if counted:
        await stocked.hear(snapshot(7, as_of=at(3)))
    late = called_off(placed, parcel, units(2), missing=[units(2)], cause="short_picked", at_time=at(2))
    assert not (await stocked.hear(late)).of(StockReserved), "they have come back already"
    await stocked.hear(received(late))
    assert (await stocked.shelf())["on_shelf"] == 7, "written off once, by the count or by the report"


async def test_a_parcel_with_more_than_the_order_holds_is_parked_and_nothing_moves(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(shipped(placed, parcel, units(4)))
    assert "the order holds 3" in heard.parked[0]
    assert (await stocked.shelf())["on_shelf"] == 10


async def test_a_parcel_of_an_unknown_fulfillment_waits_and_one_from_elsewhere_is_parked(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    assert "has not arrived yet" in (await stocked.hear(shipped(placed, parcel))).deferred[0]
    await stocked.hear(plan(placed, parcel))
    elsewhere = parcel.model_copy(update={"location": "west"})
    assert "find out which fulfillment is meant" in (await stocked.hear(shipped(placed, elsewhere))).parked[0]


async def test_units_of_a_called_off_fulfillment_may_be_planned_again(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(called_off(placed, parcel, cause="rejected"))
    told = heard.one(StockReserved)
    assert (told.cause, told.lines[0].quantity) == ("fulfillment_cancelled", 3)
    assert told.assignable[0].locations[0].quantity == 10
    assert not heard.of(StockAvailabilityChanged)


async def test_the_same_call_off_told_twice_takes_back_once_even_when_it_is_partial(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    lost = called_off(placed, parcel, units(1), missing=[units(1)], cause="short_picked")
    await stocked.hear(lost, lost)
    assert not (await stocked.hear(received(lost))).outgoing
    assert (await stocked.shelf())["assigned"] == 2
    assert (await stocked.shelf())["on_shelf"] == 9


async def test_two_short_picks_of_one_time_that_name_other_units_both_count_and_each_once(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    one, two = (called_off(placed, parcel, units(count), missing=[units(count)], cause="short_picked") for count in (1, 2))
    assert one.cancelled_at == two.cancelled_at
    await stocked.hear(received(one), received(two))
    await stocked.hear(received(two), received(one))
    shelf = await stocked.shelf()
    assert (shelf["assigned"], shelf["on_shelf"]) == (0, 7)


async def test_a_call_off_that_was_booked_before_its_units_were_kept_is_known_when_it_is_told_again(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    lost = called_off(placed, parcel, units(1), missing=[units(1)], cause="short_picked")
    await stocked.hear(lost)
    await stocked.connection.execute("UPDATE fulfillment_cancellations SET said = ''")
    await stocked.hear(received(lost))
    assert (await stocked.shelf())["on_shelf"] == 9


async def test_a_call_off_after_shipping_releases_nothing_that_shipped(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(shipped(placed, parcel))
    assert not (await stocked.hear(called_off(placed, parcel))).outgoing
    assert await stocked.line(placed.order_id) == {"units": 3, "shipped": 3}


async def test_missing_units_are_written_off_and_the_newest_reservation_waits_when_nothing_covers_it(stocked: Desk) -> None:
    placed, newest = await placed_with(stocked, 10), await placed_with(stocked, 5)
    parcel = planned("east", units(10))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(called_off(placed, parcel, units(2), missing=[units(2)], cause="short_picked"))
    assert heard.one(StockReserved).lines[0].quantity == 2
    waiting = heard.one(StockBackordered)
    assert (waiting.order_id, waiting.cause, waiting.lines[0].quantity) == (newest.order_id, "shortage", 2)
    assert await stocked.ledger("written_off") == -2


async def test_missing_units_of_the_newest_order_itself_are_told_as_waiting_and_not_as_reserved(stocked: Desk) -> None:
    await placed_with(stocked, 5)
    newest = await placed_with(stocked, 10)
    parcel = planned("east", units(10))
    await stocked.hear(plan(newest, parcel))
    heard = await stocked.hear(called_off(newest, parcel, units(3), missing=[units(2)], cause="short_picked"))
    assert heard.one(StockReserved).lines[0].quantity == 1
    assert heard.one(StockBackordered).lines[0].quantity == 2


async def test_a_rejected_fulfillment_of_a_cancelled_order_gives_its_units_to_the_pool(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("east", units(1))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(cancellation(placed, units(2)))
    heard = await stocked.hear(called_off(placed, parcel))
    assert heard.one(StockReservationReleased).lines[0].quantity == 1
    assert not heard.of(StockReserved)
    assert await stocked.available() == 15


async def test_a_call_off_of_a_plan_that_was_refused_changes_nothing(stocked: Desk) -> None:
    placed = await placed_with(stocked, 3)
    parcel = planned("nowhere", units(3))
    assert (await stocked.hear(plan(placed, parcel))).one(FulfillmentAssignmentRejected).reason == "stock_moved"
    assert len((await stocked.hear(called_off(placed, parcel))).deferred) == 1
    await stocked.hear(location("nowhere"))
    assert not (await stocked.hear(called_off(placed, parcel))).outgoing


async def test_units_missing_from_a_count_and_then_from_the_shelf_are_written_off_once(stocked: Desk) -> None:
    placed = await placed_with(stocked, 10)
    parcel = planned("east", units(10))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(snapshot(7, as_of=at(1)))
    assert (await stocked.shelf())["pending_shortage"] == 3
    assert await stocked.available() == 2
    lost = called_off(placed, parcel, units(3), missing=[units(3)], cause="short_picked", at_time=at(2))
    heard = await stocked.hear(lost)
    assert heard.one(StockReserved).lines[0].quantity == 3
    shelf = await stocked.shelf()
    assert (shelf["on_shelf"], shelf["assigned"], shelf["pending_shortage"]) == (7, 7, 0)
    assert await stocked.available() == 2


async def test_a_shortage_of_assigned_units_ends_when_the_parcel_ships_after_all(stocked: Desk) -> None:
    placed = await placed_with(stocked, 10)
    parcel = planned("east", units(10))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(snapshot(7, as_of=at(-5)))
    await stocked.hear(shipped(placed, parcel, at_time=at(1)))
    shelf, pool = await stocked.shelf(), await stocked.pool()
    assert (shelf["assigned"], shelf["pending_shortage"], pool["pending_shortage"]) == (0, 0, 0)
    assert await stocked.line(placed.order_id) == {"units": 10, "shipped": 10}


async def test_a_batch_of_many_orders_fulfillments_is_shipped_together(stocked: Desk) -> None:
    orders = [order(line(1)) for _ in range(10)]
    await stocked.hear(*orders)
    parcels = [planned("east", units(1)) for _ in orders]
    await stocked.hear(*(plan(placed, parcel) for placed, parcel in zip(orders, parcels, strict=True)))
    await stocked.hear(*(shipped(placed, parcel) for placed, parcel in zip(orders, parcels, strict=True)))
    shelf = await stocked.shelf()
    assert (shelf["on_shelf"], shelf["assigned"]) == (0, 0)


async def test_an_unknown_plan_id_of_a_stranger_never_reaches_the_shelf(stocked: Desk) -> None:
    stranger = order(line(1, "GHOST"), order_id=new_id())
    heard = await stocked.hear(plan(stranger, planned("east", units(1, sku="GHOST"))))
    assert heard.one(FulfillmentAssignmentRejected).reason == "not_reserved"
