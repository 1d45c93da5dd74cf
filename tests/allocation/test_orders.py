"""Orders placed, edited and cancelled, on a real database."""

from __future__ import annotations

import pytest

from shared.contracts.envelope import new_id
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockReservationReleased, StockReserved
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    adjustment,
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
    supply,
    units,
)


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Ten mugs in the east, five in the west, two cups in the east."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(5, at_location="west"), receipt(2, "CUP"))
    return desk


async def test_a_paid_order_gets_its_units_and_channels_hear_the_new_number(stocked: Desk) -> None:
    placed = order(line(3), line(1, "CUP", "2"))
    heard = await stocked.hear(placed)
    told = heard.one(StockReserved)
    assert told.cause == "placed"
    assert [(part.line_id, part.sku, part.quantity) for part in told.lines] == [("1", "MUG", 3), ("2", "CUP", 1)]
    mug = next(stock for stock in told.assignable if stock.sku == "MUG")
    assert [(place.location, place.quantity) for place in mug.locations] == [("east", 10), ("west", 5)]
    changes = {change.sku: change for change in heard.one(StockAvailabilityChanged).changes}
    assert (changes["MUG"].available, changes["CUP"].available) == (12, 1)
    assert changes["MUG"].stock_version == mug.stock_version == (await stocked.pool())["version"]
    assert await stocked.line(placed.order_id) == {"units": 3, "reserved": 3}
    assert not heard.of(StockBackordered)


async def test_an_order_over_all_locations_gets_units_of_several(stocked: Desk) -> None:
    placed = order(line(13))
    heard = await stocked.hear(placed)
    assert heard.one(StockReserved).lines[0].quantity == 13
    assert await stocked.available() == 2


async def test_what_is_short_waits_with_a_promised_date_from_supply(stocked: Desk) -> None:
    await stocked.hear(supply(4, at(600)), supply(4, at(900)))
    first, second = order(line(18)), order(line(4))
    heard = await stocked.hear(first, second)
    waiting = {told.order_id: told.lines[0] for told in heard.of(StockBackordered)}
    assert (waiting[first.order_id].quantity, waiting[first.order_id].promised_ship_at) == (3, at(600))
    assert (waiting[second.order_id].quantity, waiting[second.order_id].promised_ship_at) == (4, at(900))
    change = heard.one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode, change.next_ship_at) == (0, "backorder", at(900))


async def test_a_sold_out_sku_is_told_again_only_when_its_next_ship_date_moves(stocked: Desk) -> None:
    await stocked.hear(supply(2, at(600)), supply(9, at(900)))
    assert (await stocked.hear(order(line(15)))).one(StockAvailabilityChanged).changes[0].next_ship_at == at(600)
    assert not (await stocked.hear(order(line(1)))).of(StockAvailabilityChanged)
    assert (await stocked.hear(order(line(1)))).one(StockAvailabilityChanged).changes[0].next_ship_at == at(900)


async def test_an_order_told_twice_under_different_event_ids_is_reserved_once(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed, placed)
    heard = await stocked.hear(received(placed))
    assert not heard.outgoing
    assert await stocked.available() == 12
    assert await stocked.ledger("reserved") == 3


async def test_an_order_of_a_sku_that_is_not_registered_yet_waits_and_the_others_go_on(stocked: Desk) -> None:
    early, fine = order(line(1, "NEW")), order(line(1))
    heard = await stocked.hear(early, fine)
    assert len(heard.deferred) == 1
    assert "'NEW' is not registered here yet" in heard.deferred[0]
    assert heard.one(StockReserved).order_id == fine.order_id


async def test_cancelling_gives_reserved_and_waiting_units_back_once(stocked: Desk) -> None:
    placed = order(line(20))
    await stocked.hear(placed)
    heard = await stocked.hear(cancellation(placed))
    released = heard.one(StockReservationReleased)
    assert (released.cause, released.lines[0].quantity) == ("cancelled", 20)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 15
    assert await stocked.line(placed.order_id) == {"units": 20, "cancelled": 20}
    again = await stocked.hear(cancellation(placed))
    assert not again.outgoing
    assert (await stocked.available(), await stocked.ledger("released")) == (15, -15)


async def test_cancelling_frees_assigned_units_too(stocked: Desk) -> None:
    placed = order(line(4))
    await stocked.hear(placed)
    await stocked.hear(plan(placed))
    assert (await stocked.shelf())["assigned"] == 4
    await stocked.hear(cancellation(placed))
    assert (await stocked.shelf())["assigned"] == 0
    assert await stocked.available() == 15


async def test_cancelled_units_go_to_who_waits_first(stocked: Desk) -> None:
    holder, first, second = order(line(15)), order(line(4)), order(line(20))
    await stocked.hear(holder)
    await stocked.hear(first)
    await stocked.hear(second)
    heard = await stocked.hear(cancellation(holder))
    got = {told.order_id: told for told in heard.of(StockReserved)}
    assert got[first.order_id].lines[0].quantity == 4
    assert got[second.order_id].lines[0].quantity == 11
    assert {told.cause for told in got.values()} == {"restocked"}
    assert await stocked.available() == 0
    assert await stocked.line(second.order_id) == {"units": 20, "reserved": 11, "queued": 9}


async def test_a_cancellation_that_comes_before_its_order_waits(stocked: Desk) -> None:
    placed = order(line(2))
    heard = await stocked.hear(cancellation(placed))
    assert len(heard.deferred) == 1
    assert "has not arrived yet" in heard.deferred[0]
    assert not heard.outgoing


async def test_units_that_a_cancellation_does_not_list_stay_for_the_parcel_that_is_on_its_way(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed)
    parcel = planned("east", units(1))
    await stocked.hear(plan(placed, parcel))
    part = cancellation(placed, units(2))
    await stocked.hear(part, part)
    assert not (await stocked.hear(received(part))).outgoing
    assert await stocked.line(placed.order_id) == {"units": 3, "reserved": 1, "assigned": 1, "cancelled": 2}
    await stocked.hear(shipped(placed, parcel))
    assert await stocked.line(placed.order_id) == {"units": 3, "shipped": 1, "cancelled": 2}


async def test_a_cancellation_that_took_the_wrong_fulfillments_units_still_lets_the_parcel_ship(stocked: Desk) -> None:
    placed = order(line(2))
    await stocked.hear(placed)
    east, west = planned("east", units(1)), planned("west", units(1))
    await stocked.hear(plan(placed, east, west))
    await stocked.hear(cancellation(placed, units(1)))
    assert await stocked.line(placed.order_id) == {"units": 2, "reserved": 1, "assigned": 1, "cancelled": 1}
    left = west if (await stocked.shelf("east"))["assigned"] else east
    await stocked.hear(shipped(placed, left))
    assert await stocked.line(placed.order_id) == {"units": 2, "shipped": 1, "cancelled": 1}
    assert (await stocked.shelf("east"))["assigned"] == (await stocked.shelf("west"))["assigned"] == 0
    assert (await stocked.shelf(left.location))["on_shelf"] == {"east": 9, "west": 4}[left.location]


async def test_a_call_off_that_names_the_other_fulfillment_leaves_the_parcel_its_unit(stocked: Desk) -> None:
    placed = order(line(2))
    await stocked.hear(placed)
    east, west = planned("east", units(1)), planned("west", units(1))
    await stocked.hear(plan(placed, east, west))
    await stocked.hear(cancellation(placed, units(1)))
    kept, recalled = (east, west) if (await stocked.shelf("east"))["assigned"] else (west, east)
    assert not (await stocked.hear(called_off(placed, kept))).outgoing
    await stocked.hear(shipped(placed, recalled))
    assert await stocked.line(placed.order_id) == {"units": 2, "shipped": 1, "cancelled": 1}
    assert (await stocked.shelf(kept.location))["assigned"] == 0


async def test_an_edit_shrinks_and_grows_lines_and_lists_everything_that_may_be_planned(stocked: Desk) -> None:
    placed = order(line(5), line(2, "CUP", "2"))
    await stocked.hear(placed)
    heard = await stocked.hear(edit(placed, line(3), line(4, line_id="3")))
    told = heard.one(StockReserved)
    assert (told.cause, told.order_version) == ("edited", 2)
    assert sorted((part.line_id, part.sku, part.quantity) for part in told.lines) == [("1", "MUG", 3), ("3", "MUG", 4)]
    released = heard.one(StockReservationReleased)
    assert sorted((part.line_id, part.quantity) for part in released.lines) == [("1", 2), ("2", 2)]
    assert (await stocked.available(), await stocked.available("CUP")) == (8, 2)
    assert await stocked.line(placed.order_id, "2") == {}


async def test_an_edit_of_the_split_policy_holds_for_all_of_the_order_and_an_older_one_changes_nothing(stocked: Desk) -> None:
    placed = order(line(5))
    await stocked.hear(placed)
    whole = edit(placed, line(5), line(2, "CUP", "2"), version=3).model_copy(update={"split_policy": "hold_all"})
    await stocked.hear(whole)
    await stocked.hear(edit(placed, version=2).model_copy(update={"split_policy": "ship_available"}))
    rows = await stocked.connection.fetch("SELECT split_policy, hold_all FROM demand JOIN orders USING (order_id)")
    assert [tuple(row) for row in rows] == [("hold_all", True)] * 2


async def test_units_added_by_an_edit_queue_behind_everybody_who_waits(stocked: Desk) -> None:
    placed, waiting = order(line(14)), order(line(3))
    await stocked.hear(placed)
    await stocked.hear(waiting)
    heard = await stocked.hear(edit(placed, line(16)))
    assert heard.one(StockReserved).lines[0].quantity == 14
    queued = heard.one(StockBackordered)
    assert (queued.cause, queued.lines[0].quantity) == ("edited", 2)
    heard = await stocked.hear(receipt(3))
    got = {told.order_id: told.lines[0].quantity for told in heard.of(StockReserved)}
    assert got == {waiting.order_id: 2, placed.order_id: 1}


async def test_units_that_an_edit_gives_up_go_to_the_queue_before_the_edits_own_growth(stocked: Desk) -> None:
    placed, waiting = order(line(10), line(5, line_id="2")), order(line(4))
    await stocked.hear(placed)
    await stocked.hear(waiting)
    heard = await stocked.hear(edit(placed, line(7), line(7, line_id="2")))
    assert heard.one(StockReservationReleased).lines[0].quantity == 3
    told = {message.order_id: message for message in heard.of(StockReserved)}
    assert told[waiting.order_id].lines[0].quantity == 3
    assert sorted(part.quantity for part in told[placed.order_id].lines) == [5, 7]
    assert heard.one(StockBackordered).lines[0].quantity == 2


async def test_an_edit_withdraws_plans_and_their_units_may_be_planned_again(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed)
    parcel = planned("east", units(3))
    await stocked.hear(plan(placed, parcel))
    heard = await stocked.hear(edit(placed, withdrawn=[parcel.fulfillment_id]))
    assert heard.one(StockReserved).lines[0].quantity == 3
    assert (await stocked.shelf())["assigned"] == 0


async def test_units_that_an_edit_frees_and_no_shelf_covers_wait_and_are_taken_from_nothing_that_was_told(stocked: Desk) -> None:
    placed, parcel = order(line(3)), planned("east", units(3))
    await stocked.hear(placed)
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(adjustment(0), adjustment(1, at_location="west"))
    heard = await stocked.hear(edit(placed, withdrawn=[parcel.fulfillment_id]))
    assert [(part.line_id, part.quantity) for part in heard.one(StockReserved).lines] == [("1", 1)], "all that may be planned"
    waits = heard.one(StockBackordered)
    assert (waits.cause, waits.lines[0].quantity) == ("edited", 2), "a shortage would be taken off the one unit that was listed"
    assert await stocked.line(placed.order_id) == {"units": 3, "reserved": 1, "queued": 2}


async def test_the_newest_version_wins_and_an_older_edit_that_comes_late_only_withdraws_its_plans(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed)
    parcel = planned("east", units(1))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(edit(placed, line(2), version=3))
    heard = await stocked.hear(edit(placed, line(9), version=2, withdrawn=[parcel.fulfillment_id]))
    told = heard.one(StockReserved)
    assert (told.cause, told.order_version, told.lines[0].quantity) == ("fulfillment_cancelled", 3, 1)
    assert await stocked.line(placed.order_id) == {"units": 2, "reserved": 2}


async def test_an_edit_that_leaves_nothing_to_plan_says_so(stocked: Desk) -> None:
    placed = order(line(16))
    await stocked.hear(order(line(15)))
    await stocked.hear(placed)
    told = (await stocked.hear(edit(placed, line(12)))).one(StockReserved)
    assert (told.cause, told.lines) == ("edited", [])


async def test_an_edit_before_its_order_waits_and_so_does_one_with_an_unknown_sku(stocked: Desk) -> None:
    placed = order(line(1))
    assert len((await stocked.hear(edit(placed))).deferred) == 1
    await stocked.hear(placed)
    assert "'NEW'" in (await stocked.hear(edit(placed, line(1, "NEW", "2")))).deferred[0]


async def test_an_edit_made_before_a_cancellation_but_heard_after_it_only_corrects_how_much_was_cancelled(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed)
    changed = edit(placed, line(5), line(1, "CUP", "2"))
    await stocked.hear(cancellation(placed, units(5), units(1, "2", "CUP"), version=3))
    heard = await stocked.hear(changed)
    assert not heard.outgoing
    assert await stocked.line(placed.order_id) == {"units": 5, "cancelled": 5}
    assert await stocked.line(placed.order_id, "2") == {"units": 1, "cancelled": 1}
    assert (await stocked.available(), await stocked.available("CUP")) == (15, 2)


async def test_several_changes_of_one_order_in_one_batch_follow_each_other(stocked: Desk) -> None:
    placed = order(line(3))
    await stocked.hear(placed)
    heard = await stocked.hear(edit(placed, line(9), version=3), edit(placed, line(5), version=2))
    assert heard.one(StockReserved).order_version == 3
    assert await stocked.line(placed.order_id) == {"units": 9, "reserved": 9}


async def test_a_line_that_waits_keeps_its_place_through_a_cancelled_neighbour(stocked: Desk) -> None:
    await stocked.hear(order(line(15)))
    first, second, third = order(line(2)), order(line(2)), order(line(2))
    for placed in (first, second, third):
        await stocked.hear(placed)
    await stocked.hear(cancellation(second))
    heard = await stocked.hear(receipt(3))
    assert {told.order_id: told.lines[0].quantity for told in heard.of(StockReserved)} == {first.order_id: 2, third.order_id: 1}


async def test_an_unknown_orders_id_is_named_so_that_a_person_can_look_for_it(stocked: Desk) -> None:
    stranger = order(line(1), order_id=new_id())
    assert str(stranger.order_id) in (await stocked.hear(cancellation(stranger))).deferred[0]
