"""Feeds of 3PLs and corrections by operators, on a real database."""

from __future__ import annotations

from itertools import permutations

import pytest

from services.allocation.decide.books import MOST_UNITS
from shared.contracts.stock import (
    SnapshotLine,
    StockAdjusted,
    StockAdjustmentRejected,
    StockAvailabilityChanged,
    StockBackordered,
    StockReserved,
    ThirdPartyStockSnapshot,
)
from shared.errors import Refused
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    PARTNER,
    adjustment,
    at,
    correction,
    inspected,
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
    third_party_receipt,
    units,
)


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Ten mugs in the east, on the shelf since long ago; the west belongs to another 3PL."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west", partner="other"))
    await desk.hear(received(receipt(10), time=at(-60)))
    return desk


async def test_an_operator_sets_what_is_on_hand(stocked: Desk) -> None:
    heard = await stocked.hear(adjustment(14, expected=10))
    answer = heard.one(StockAdjusted)
    assert (answer.old_on_hand, answer.new_on_hand) == (10, 14)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 14


async def test_an_operator_who_looked_at_an_old_number_is_refused_and_told_the_new_one(stocked: Desk) -> None:
    heard = await stocked.hear(adjustment(12, expected=10), adjustment(13, expected=10))
    refused = heard.one(StockAdjustmentRejected)
    assert (refused.reason, refused.on_hand) == ("stale_expectation", 12)
    assert "12 are on hand now" in refused.detail
    assert await stocked.available() == 12


async def test_the_same_adjustment_told_twice_is_made_once_and_answered_the_same(stocked: Desk) -> None:
    wanted = adjustment(12, expected=10)
    first = (await stocked.hear(wanted)).one(StockAdjusted)
    again = (await stocked.hear(received(wanted))).one(StockAdjusted)
    assert first == again
    assert await stocked.ledger("adjusted") == 2


@pytest.mark.parametrize(("sku", "place", "reason"), [("GHOST", "east", "unknown_sku"), ("MUG", "nowhere", "unknown_location")])
async def test_an_adjustment_of_something_unknown_is_refused_with_the_way_out(stocked: Desk, sku: str, place: str, reason: str) -> None:
    refused = (await stocked.hear(adjustment(3, sku=sku, at_location=place))).one(StockAdjustmentRejected)
    assert refused.reason == reason
    assert "register the" in refused.detail


async def test_more_units_than_can_be_counted_are_refused_whole(stocked: Desk) -> None:
    await stocked.hear(adjustment(MOST_UNITS))
    with pytest.raises(Refused, match=r"quantity: MUG would have more than 1,000,000,000 units in all; correct the figure"):
        await stocked.hear(adjustment(1, at_location="west"))
    await stocked.hear(adjustment(MOST_UNITS - 1), adjustment(1, at_location="west"))
    assert await stocked.available() == MOST_UNITS


async def test_an_adjustment_below_what_is_reserved_queues_the_newest_reservation_again(stocked: Desk) -> None:
    oldest, newest = order(line(4)), order(line(5))
    await stocked.hear(oldest)
    await stocked.hear(newest)
    heard = await stocked.hear(adjustment(6))
    waiting = heard.one(StockBackordered)
    assert (waiting.order_id, waiting.cause, waiting.lines[0].quantity) == (newest.order_id, "shortage", 3)
    assert await stocked.line(oldest.order_id) == {"units": 4, "reserved": 4}


async def test_a_3pl_finds_and_loses_units_once_per_adjustment(stocked: Desk) -> None:
    found = correction(+3)
    heard = await stocked.hear(found)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 13
    again = received(found.data, partner=PARTNER)
    assert not (await stocked.hear(again)).outgoing
    assert (await stocked.hear(correction(-5))).one(StockAvailabilityChanged).changes[0].available == 8


async def test_a_3pl_receipt_serves_the_queue_first_and_is_booked_once(stocked: Desk) -> None:
    placed = order(line(12))
    await stocked.hear(placed)
    goods = third_party_receipt(5)
    heard = await stocked.hear(goods)
    assert (heard.one(StockReserved).cause, heard.one(StockReserved).lines[0].quantity) == ("restocked", 2)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 3
    assert not (await stocked.hear(received(goods.data, partner=PARTNER))).outgoing


async def test_a_3pl_speaks_only_of_its_own_locations(stocked: Desk) -> None:
    for message in (
        correction(+3, at_location="west", sequence=1),
        third_party_receipt(3, at_location="west", sequence=1),
        snapshot(3, at_location="west"),
    ):
        heard = await stocked.hear(message)
        assert "does not belong to 3PL 'acme'" in heard.parked[0]
    assert await stocked.connection.fetchval("SELECT count(*) FROM feed_sequences") == 0


async def test_feeds_of_unknown_places_and_products_wait_for_their_registration(stocked: Desk) -> None:
    assert "'nowhere' is not registered here yet" in (await stocked.hear(correction(+1, at_location="nowhere"))).deferred[0]
    assert "register the products" in (await stocked.hear(correction(1, sku="GHOST"))).deferred[0]
    assert "'GHOST'" in (await stocked.hear(receipt(1, "GHOST"))).deferred[0]
    assert await stocked.available() == 10


async def test_a_snapshot_sets_only_the_products_it_lists(stocked: Desk) -> None:
    await stocked.hear(receipt(4, "CUP"))
    heard = await stocked.hear(snapshot(8, as_of=at(1)))
    assert [(change.sku, change.available) for change in heard.one(StockAvailabilityChanged).changes] == [("MUG", 8)]
    assert await stocked.available("CUP") == 4


async def test_a_snapshot_keeps_damaged_and_quality_control_apart(stocked: Desk) -> None:
    await stocked.hear(snapshot(10, damaged=2, quality_control=1, as_of=at(1)))
    shelf = await stocked.shelf()
    assert (shelf["on_shelf"], shelf["damaged"], shelf["quality_control"]) == (7, 2, 1)
    assert await stocked.available() == 7


async def test_an_older_snapshot_and_the_same_one_again_are_ignored(stocked: Desk) -> None:
    await stocked.hear(snapshot(8, as_of=at(2), watermark=0))
    for stale in (snapshot(3, as_of=at(1)), snapshot(8, as_of=at(2))):
        assert not (await stocked.hear(stale)).outgoing
    assert await stocked.available() == 8


async def test_snapshots_that_arrive_in_reverse_end_with_the_newest(stocked: Desk) -> None:
    await stocked.hear(snapshot(6, as_of=at(3)), snapshot(9, as_of=at(1)), snapshot(7, as_of=at(2)))
    assert await stocked.available() == 6


async def test_an_impossible_snapshot_is_parked_with_its_reason_and_nothing_is_half_applied(stocked: Desk) -> None:
    assert "lies in the future" in (await stocked.hear(snapshot(3, as_of=at(61)))).parked[0]
    assert "lines.0: on_hand 1" in (await stocked.hear(snapshot(1, damaged=2, as_of=at(1)))).parked[0]
    lines = [SnapshotLine(sku="MUG", on_hand=1), SnapshotLine(sku="MUG", on_hand=2)]
    twice = ThirdPartyStockSnapshot(location="east", as_of=at(1), watermark=0, lines=lines)
    assert "stands twice" in (await stocked.hear(received(twice, partner=PARTNER))).parked[0]
    assert await stocked.available() == 10


async def test_a_snapshot_waits_until_everything_it_shows_has_arrived(stocked: Desk) -> None:
    count = snapshot(9, as_of=at(5), watermark=3)
    assert "3 of the location's messages up to sequence 3" in (await stocked.hear(count)).deferred[0]
    await stocked.hear(correction(-4, sequence=1), correction(+1, sequence=3))
    assert "1 of the location's messages" in (await stocked.hear(received(count.data, partner=PARTNER))).deferred[0]
    await stocked.hear(third_party_receipt(2, sequence=2))
    heard = await stocked.hear(received(count.data, partner=PARTNER))
    assert not heard.deferred
    assert await stocked.available() == 9


async def test_after_a_snapshot_the_next_one_waits_only_for_what_is_new(stocked: Desk) -> None:
    await stocked.hear(correction(-1, sequence=1), correction(-1, sequence=2))
    await stocked.hear(snapshot(8, as_of=at(1), watermark=2))
    await stocked.hear(correction(-1, sequence=3))
    assert not (await stocked.hear(snapshot(7, as_of=at(2), watermark=3))).deferred
    assert (await stocked.hear(snapshot(6, as_of=at(3), watermark=4))).deferred
    assert await stocked.connection.fetchval("SELECT count(*) FROM feed_sequences") == 0


async def test_a_3pl_snapshot_before_during_or_after_movements_gives_the_same_stock(stocked: Desk) -> None:
    """The feed of one location, heard in every order; the count of 7 was taken after sequence 2."""
    await stocked.hear(products("A", "B", "C", "D"))
    orders = [
        permutation for permutation in permutations(range(4)) if permutation.index(3) > max(permutation.index(0), permutation.index(1))
    ]
    assert len(orders) == 8
    for number, permutation in enumerate(orders):
        sku, place = f"P{number}", f"place{number}"
        await stocked.hear(products(sku))
        await stocked.hear(location(place))
        await stocked.hear(received(receipt(10, sku, at_location=place), time=at(-60)))
        feed = [
            correction(-4, sequence=1, sku=sku, at_location=place, time=at(1)),
            third_party_receipt(1, sequence=2, sku=sku, at_location=place, time=at(2)),
            correction(-2, sequence=3, sku=sku, at_location=place, time=at(4)),
            snapshot(7, as_of=at(3), watermark=2, sku=sku, at_location=place),
        ]
        for index in permutation:
            heard = await stocked.hear(feed[index])
            assert not heard.deferred
        assert await stocked.available(sku) == 5, permutation


async def test_a_parcel_that_a_count_already_shows_is_not_taken_off_the_shelf_twice(stocked: Desk) -> None:
    placed = order(line(4))
    await stocked.hear(placed)
    parcel = planned("east", units(4))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(snapshot(6, as_of=at(2)))
    assert (await stocked.pool())["available"] == 2
    heard = await stocked.hear(shipped(placed, parcel, at_time=at(1)))
    assert heard.one(StockAvailabilityChanged).changes[0].available == 6
    assert (await stocked.shelf())["on_shelf"] == 6


async def test_a_parcel_that_left_after_a_count_is_taken_off_it(stocked: Desk) -> None:
    placed = order(line(4))
    await stocked.hear(placed)
    parcel = planned("east", units(4))
    await stocked.hear(plan(placed, parcel))
    await stocked.hear(shipped(placed, parcel, sequence=1, at_time=at(1)))
    await stocked.hear(snapshot(10, as_of=at(2), watermark=0))
    assert (await stocked.shelf())["on_shelf"] == 6
    await stocked.hear(snapshot(6, as_of=at(3), watermark=1))
    assert (await stocked.shelf())["on_shelf"] == 6


async def test_a_snapshot_below_what_is_reserved_queues_the_newest_unassigned_units(stocked: Desk) -> None:
    assigned, loose = order(line(4)), order(line(5))
    await stocked.hear(assigned)
    await stocked.hear(loose)
    await stocked.hear(plan(loose, planned("east", units(3))))
    heard = await stocked.hear(snapshot(6, as_of=at(1)))
    lost = {told.order_id: told.lines[0].quantity for told in heard.of(StockBackordered)}
    assert lost == {loose.order_id: 2, assigned.order_id: 1}
    assert await stocked.line(loose.order_id) == {"units": 5, "reserved": 3, "assigned": 3, "queued": 2}


async def test_units_lost_in_a_shortage_keep_their_place_when_stock_comes_back(stocked: Desk) -> None:
    old, later = order(line(10)), order(line(3))
    await stocked.hear(old)
    await stocked.hear(later)
    await stocked.hear(snapshot(8, as_of=at(1)))
    heard = await stocked.hear(received(receipt(4), time=at(2)))
    assert {told.order_id: told.lines[0].quantity for told in heard.of(StockReserved)} == {old.order_id: 2, later.order_id: 2}


async def test_assigned_units_that_a_count_misses_stay_assigned_and_are_shown_as_pending_shortage(stocked: Desk) -> None:
    placed = order(line(10))
    await stocked.hear(placed)
    await stocked.hear(plan(placed))
    heard = await stocked.hear(snapshot(4, as_of=at(1)))
    assert not heard.of(StockBackordered)
    shelf, pool = await stocked.shelf(), await stocked.pool()
    assert (shelf["on_shelf"], shelf["assigned"], shelf["pending_shortage"]) == (4, 10, 6)
    assert (pool["sellable"], pool["reserved"], pool["pending_shortage"], pool["available"]) == (10, 10, 6, -6)
    assert (await stocked.hear(order(line(1)))).of(StockBackordered)
    await stocked.hear(snapshot(11, as_of=at(2)))
    assert (await stocked.pool())["pending_shortage"] == 0
    assert (await stocked.pool())["queued"] == 0


async def test_returned_units_are_restocked_or_set_aside_once_per_scan(stocked: Desk) -> None:
    placed = order(line(5))
    scan = inspected(placed, (2, "restocked"), (1, "damaged"), (1, "scrapped"), (1, "missing"))
    heard = await stocked.hear(scan)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 12
    assert not (await stocked.hear(received(scan))).outgoing
    shelf = await stocked.shelf()
    assert (shelf["on_shelf"], shelf["damaged"]) == (12, 1)


async def test_returned_units_that_a_later_count_shows_are_not_added_to_it(stocked: Desk) -> None:
    placed = order(line(5))
    await stocked.hear(inspected(placed, (2, "restocked"), (1, "damaged")))
    await stocked.hear(snapshot(10, as_of=at(-5)))
    assert ((await stocked.shelf())["on_shelf"], (await stocked.shelf())["damaged"]) == (12, 1)
    await stocked.hear(snapshot(13, damaged=1, as_of=at(5)))
    assert ((await stocked.shelf())["on_shelf"], (await stocked.shelf())["damaged"]) == (12, 1)
    await stocked.hear(inspected(placed, (2, "restocked")))
    assert (await stocked.shelf())["on_shelf"] == 12


async def test_a_count_by_a_clock_that_was_set_back_takes_nothing_that_an_earlier_count_corrected_for_a_movement(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(third_party_receipt(10, sequence=1))
    await desk.hear(snapshot(9, as_of=at(10), watermark=1, damaged=1))
    await desk.hear(correction(-1, sequence=2))
    await desk.hear(snapshot(6, as_of=at(5), watermark=2))
    shelf = await desk.shelf()
    assert (shelf["on_shelf"], shelf["damaged"]) == (6, 0)
