"""Safety stock: kept back per SKU and per location, set at run time."""

from __future__ import annotations

import pytest

from shared.contracts.rules import StockSafetyRejected, StockSafetySet
from shared.contracts.stock import StockBackordered, StockReserved
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    adjustment,
    at,
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
from tests.allocation.wishes import hold, safety


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Ten mugs in the east, four in the west."""
    await desk.hear(products("MUG"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(4, at_location="west"))
    return desk


async def test_safety_stock_is_not_sold(shop: Desk) -> None:
    await shop.hear(safety(12))
    placed = order(line(3))
    await shop.hear(placed)
    assert await shop.line(placed.order_id) == {"units": 3, "reserved": 2, "queued": 1}


async def test_raising_it_above_what_is_available_takes_nothing_from_anybody(shop: Desk) -> None:
    placed = order(line(12))
    await shop.hear(placed)
    await shop.hear(hold(("MUG", 1)))
    heard = await shop.hear(safety(100))
    assert heard.of(StockBackordered) == []
    assert await shop.line(placed.order_id) == {"units": 12, "reserved": 12}
    assert ((await shop.pool())["held"], await shop.available()) == (1, 0)


async def test_it_covers_reservations_before_anybody_waits_again(shop: Desk) -> None:
    placed = order(line(10))
    await shop.hear(placed)
    await shop.hear(safety(4))
    assert (await shop.hear(adjustment(6))).of(StockBackordered) == []
    assert await shop.line(placed.order_id) == {"units": 10, "reserved": 10}


async def test_lowering_it_serves_the_queue(shop: Desk) -> None:
    await shop.hear(safety(14))
    waiting = order(line(3))
    await shop.hear(waiting)
    heard = await shop.hear(safety(10))
    assert heard.one(StockReserved).order_id == waiting.order_id
    assert await shop.available() == 1


async def test_a_location_keeps_back_at_most_what_lies_there(shop: Desk) -> None:
    await shop.hear(safety(6, location="west"))
    assert await shop.available() == 10
    await shop.hear(adjustment(0, at_location="west"))
    assert await shop.available() == 10
    await shop.hear(receipt(9, at_location="west"))
    assert await shop.available() == 13


async def test_what_the_sku_and_its_locations_keep_back_adds_up(shop: Desk) -> None:
    await shop.hear(safety(1), safety(2, location="east"), safety(3, location="west"))
    assert ((await shop.pool())["safety"], await shop.available()) == (6, 8)


async def test_parcels_counts_and_closed_doors_move_what_a_location_keeps_back(shop: Desk) -> None:
    await shop.hear(safety(8, location="east"))
    placed, parcel = order(line(6)), planned("east", units(5))
    await shop.hear(placed)
    await shop.hear(plan(placed, parcel))
    await shop.hear(shipped(placed, parcel))
    assert (await shop.pool())["safety"] == 5
    await shop.hear(snapshot(9))
    assert (await shop.pool())["safety"] == 8
    await shop.hear(received(location("east", active=False), time=at(1)))
    assert (await shop.pool())["safety"] == 0


async def test_a_shelf_that_was_never_filled_can_have_a_safety_stock(shop: Desk) -> None:
    await shop.hear(location("north"))
    await shop.hear(safety(2, location="north"))
    await shop.hear(receipt(3, at_location="north"))
    assert await shop.available() == 15


async def test_it_is_set_compare_and_set(shop: Desk) -> None:
    assert (await shop.hear(safety(3, expected=0))).one(StockSafetySet).old_safety_units == 0
    stale = (await shop.hear(safety(4, expected=0))).one(StockSafetyRejected)
    assert (stale.reason, stale.safety_units) == ("stale_expectation", 3)
    at_place = (await shop.hear(safety(2, location="east", expected=0))).one(StockSafetySet)
    assert (at_place.old_safety_units, at_place.new_safety_units) == (0, 2)
    assert (await shop.hear(safety(9, location="east", expected=3))).one(StockSafetyRejected).safety_units == 2


async def test_the_same_change_told_twice_is_made_once_and_answered_the_same(shop: Desk) -> None:
    change = safety(3)
    first = (await shop.hear(change)).one(StockSafetySet)
    await shop.hear(safety(5))
    assert (await shop.hear(change)).one(StockSafetySet) == first
    assert (await shop.pool())["safety"] == 5


async def test_an_unknown_sku_or_location_is_refused_with_the_field(shop: Desk) -> None:
    stranger = (await shop.hear(safety(1, sku="GHOST"))).one(StockSafetyRejected)
    nowhere = (await shop.hear(safety(1, location="moon"))).one(StockSafetyRejected)
    assert (stranger.reason, stranger.detail.split(":")[0]) == ("unknown_sku", "sku")
    assert (nowhere.reason, nowhere.detail.split(":")[0]) == ("unknown_location", "location")


async def test_two_changes_in_one_batch_follow_each_other(shop: Desk) -> None:
    answers = (await shop.hear(safety(3, location="east"), safety(5, location="east", expected=3))).of(StockSafetySet)
    assert [(answer.old_safety_units, answer.new_safety_units) for answer in answers] == [(0, 3), (3, 5)]
    assert (await shop.shelf())["safety"] == 5


async def test_who_changed_it_when_and_why_is_kept(shop: Desk) -> None:
    await shop.hear(safety(3), safety(2, location="east"))
    rows = await shop.connection.fetch("SELECT location, old_safety, new_safety, reason, author FROM rule_changes ORDER BY change_id")
    assert [tuple(row) for row in rows] == [(None, 0, 3, "counts are off", "kim"), ("east", 0, 2, "counts are off", "kim")]
