"""What channels may take: fences, caps and shares, changed at run time."""

from __future__ import annotations

import pytest

from shared.contracts.holds import StockHoldAnswered
from shared.contracts.rules import ChannelPoolRejected, ChannelPoolSet, StockSafetyRejected
from shared.contracts.stock import StockAvailabilityChanged, StockReserved
from tests.allocation.conftest import Desk, Heard
from tests.allocation.messages import (
    adjustment,
    at,
    cancellation,
    edit,
    kit,
    line,
    location,
    plan,
    planned,
    products,
    receipt,
    shipped,
    supply,
    units,
)
from tests.allocation.wishes import channel_rule, hold, naming, release, safety, sold_by


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Ten mugs."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    await desk.hear(receipt(10))
    return desk


async def got(desk: Desk, channel: str, quantity: int) -> int:
    """How many of these units a new order of a channel gets at once."""
    placed = sold_by(channel, line(quantity))
    await desk.hear(placed)
    return (await desk.line(placed.order_id)).get("reserved", 0)


def numbers(heard: Heard) -> dict[str, int]:
    """What is told per pool."""
    return {change.pool: change.available for change in heard.one(StockAvailabilityChanged).changes}


async def test_fenced_units_are_for_their_channel_only(shop: Desk) -> None:
    assert numbers(await shop.hear(channel_rule("shop", fence=4))) == {"default": 6, "shop": 10}
    assert await got(shop, "web", 8) == 6
    assert await got(shop, "shop", 3) == 3
    assert await got(shop, "web", 1) == 0
    assert await got(shop, "shop", 3) == 1


async def test_a_channel_fills_its_fence_before_it_takes_what_is_free_for_all(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4))
    assert numbers(await shop.hear(sold_by("shop", line(3)))) == {"default": 6, "shop": 7}
    assert numbers(await shop.hear(sold_by("shop", line(3)))) == {"default": 4, "shop": 4}


async def test_units_that_ship_leave_the_fence_and_change_nobodys_number(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4))
    placed, parcel = sold_by("shop", line(3)), planned("east", units(3))
    await shop.hear(placed)
    await shop.hear(plan(placed, parcel))
    heard = await shop.hear(shipped(placed, parcel))
    assert heard.of(StockAvailabilityChanged) == []
    assert await got(shop, "web", 10) == 6
    assert await got(shop, "shop", 10) == 1


async def test_units_that_come_back_return_to_the_fence(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4))
    placed = sold_by("shop", line(4))
    await shop.hear(placed)
    assert numbers(await shop.hear(cancellation(placed))) == {"default": 6, "shop": 10}


async def test_held_units_fill_the_fence_of_their_channel(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4))
    wish = hold(("MUG", 3), channel="shop")
    assert numbers(await shop.hear(wish)) == {"default": 6, "shop": 7}
    assert (await shop.hear(hold(("MUG", 7)))).one(StockHoldAnswered).lines[0].held == 6
    placed = naming(wish, line(4), channel="shop")
    await shop.hear(placed)
    assert await shop.line(placed.order_id) == {"units": 4, "reserved": 4}


async def test_a_restock_serves_the_queue_in_order_but_fenced_units_only_their_channels_demand(shop: Desk) -> None:
    await shop.hear(adjustment(0))
    first, second, third = sold_by("web", line(3)), sold_by("shop", line(3)), sold_by("web", line(3))
    await shop.hear(first, second, third)
    await shop.hear(channel_rule("shop", fence=2))
    await shop.hear(receipt(4))
    assert await shop.line(first.order_id) == {"units": 3, "reserved": 2, "queued": 1}
    assert await shop.line(second.order_id) == {"units": 3, "reserved": 2, "queued": 1}
    await shop.hear(receipt(3))
    assert await shop.line(first.order_id) == {"units": 3, "reserved": 3}
    assert await shop.line(second.order_id) == {"units": 3, "reserved": 3}
    assert await shop.line(third.order_id) == {"units": 3, "reserved": 1, "queued": 2}


async def test_fenced_units_lie_there_although_others_wait(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=10))
    waiting = sold_by("web", line(2))
    await shop.hear(waiting)
    await shop.hear(receipt(1))
    assert await shop.line(waiting.order_id) == {"units": 2, "reserved": 1, "queued": 1}
    assert await got(shop, "shop", 12) == 10


async def test_ending_a_fence_serves_those_who_wait(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=10))
    waiting = sold_by("web", line(2))
    await shop.hear(waiting)
    heard = await shop.hear(channel_rule("shop"))
    assert heard.one(ChannelPoolSet).rule_version == 0
    assert heard.one(StockReserved).order_id == waiting.order_id
    assert numbers(heard) == {"default": 8}
    assert (await shop.pool())["ruled"] is False


async def test_ending_a_rule_serves_its_channel_although_another_one_keeps_a_rule(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", cap=0), channel_rule("web", fence=3))
    waiting = sold_by("shop", line(4))
    await shop.hear(waiting)
    assert await shop.line(waiting.order_id) == {"units": 4, "queued": 4}
    await shop.hear(channel_rule("shop"))
    assert await shop.line(waiting.order_id) == {"units": 4, "reserved": 4}


async def test_where_not_all_fences_can_be_filled_the_older_one_is_filled_first(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=8))
    told = numbers(await shop.hear(channel_rule("club", fence=8)))
    assert told == {"default": 0, "shop": 8, "club": 2}
    assert await got(shop, "club", 5) == 2
    assert await got(shop, "shop", 9) == 8


async def test_a_cap_is_never_exceeded_and_shipping_makes_room(shop: Desk) -> None:
    told = await shop.hear(channel_rule("market", cap=3))
    assert numbers(told) == {"default": 10, "market": 3}
    first, parcel = sold_by("market", line(2)), planned("east", units(2))
    await shop.hear(first)
    assert (await shop.hear(hold(("MUG", 2), channel="market"))).one(StockHoldAnswered).lines[0].held == 1
    capped = await shop.hear(sold_by("market", line(1)))
    assert capped.of(StockReserved) == []
    await shop.hear(plan(first, parcel))
    heard = await shop.hear(shipped(first, parcel))
    assert [told.cause for told in heard.of(StockReserved)] == ["restocked"]


async def test_a_channel_at_its_cap_is_sold_out_whatever_is_on_its_way(shop: Desk) -> None:
    await shop.hear(supply(50, at(600)))
    await shop.hear(channel_rule("market", cap=2))
    heard = await shop.hear(sold_by("market", line(2)))
    modes = {change.pool: (change.available, change.mode) for change in heard.one(StockAvailabilityChanged).changes}
    assert modes == {"default": (8, "in_stock"), "market": (0, "sold_out")}


async def test_a_share_is_of_what_is_free_and_what_the_channel_has_of_it(shop: Desk) -> None:
    assert numbers(await shop.hear(channel_rule("market", share=35))) == {"default": 10, "market": 3}
    assert numbers(await shop.hear(sold_by("market", line(1)))) == {"default": 9, "market": 2}
    assert await got(shop, "market", 9) == 2
    assert await got(shop, "web", 9) == 7
    assert await got(shop, "market", 1) == 0


async def test_a_rule_counts_what_the_channel_has_open_already(shop: Desk) -> None:
    tied, loose = sold_by("market", line(2)), sold_by("market", line(1))
    await shop.hear(tied, loose, sold_by("web", line(1)))
    await shop.hear(plan(tied))
    await shop.hear(hold(("MUG", 1), channel="market"))
    await shop.hear(channel_rule("market", cap=5))
    assert await got(shop, "market", 3) == 1


async def test_a_cap_below_what_is_open_takes_nothing_from_anybody(shop: Desk) -> None:
    placed = sold_by("market", line(5))
    await shop.hear(placed)
    await shop.hear(channel_rule("market", cap=2))
    assert await shop.line(placed.order_id) == {"units": 5, "reserved": 5}
    assert await got(shop, "market", 1) == 0


async def test_an_edit_that_adds_units_keeps_to_the_rule_of_its_channel(shop: Desk) -> None:
    await shop.hear(channel_rule("market", cap=3))
    placed = sold_by("market", line(2))
    await shop.hear(placed)
    await shop.hear(edit(placed, line(5)))
    assert await shop.line(placed.order_id) == {"units": 5, "reserved": 3, "queued": 2}


async def test_a_shortage_takes_from_the_channel_too_and_its_rule_follows(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4))
    placed = sold_by("shop", line(8))
    await shop.hear(placed)
    await shop.hear(adjustment(5))
    assert await shop.line(placed.order_id) == {"units": 8, "reserved": 5, "queued": 3}
    await shop.hear(receipt(5))
    assert await shop.line(placed.order_id) == {"units": 8, "reserved": 8}


async def test_released_holds_of_a_capped_channel_serve_its_queue(shop: Desk) -> None:
    await shop.hear(channel_rule("market", cap=2))
    wish, waiting = hold(("MUG", 2), channel="market"), sold_by("market", line(1))
    await shop.hear(wish)
    await shop.hear(waiting)
    await shop.hear(release(wish))
    assert await shop.line(waiting.order_id) == {"units": 1, "reserved": 1}


async def test_what_a_hold_of_a_capped_channel_has_beyond_its_order_serves_its_queue(shop: Desk) -> None:
    await shop.hear(channel_rule("market", cap=3))
    wish, waiting = hold(("MUG", 3), channel="market"), sold_by("market", line(1))
    await shop.hear(wish)
    await shop.hear(waiting)
    await shop.hear(naming(wish, line(2), channel="market"))
    assert await shop.line(waiting.order_id) == {"units": 1, "reserved": 1}


async def test_safety_stock_comes_before_the_fences(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=8))
    assert numbers(await shop.hear(safety(5))) == {"default": 0, "shop": 5}


async def test_a_rule_is_set_compare_and_set_and_every_change_has_its_version(shop: Desk) -> None:
    first = (await shop.hear(channel_rule(fence=1, expected=0))).one(ChannelPoolSet)
    stale = (await shop.hear(channel_rule(fence=2, expected=0))).one(ChannelPoolRejected)
    assert (stale.reason, stale.rule_version) == ("stale_expectation", first.rule_version)
    second = (await shop.hear(channel_rule(fence=2, expected=first.rule_version))).one(ChannelPoolSet)
    await shop.hear(channel_rule())
    third = (await shop.hear(channel_rule(fence=1))).one(ChannelPoolSet)
    assert first.rule_version < second.rule_version < third.rule_version
    assert (await shop.hear(channel_rule(fence=9, expected=first.rule_version))).one(ChannelPoolRejected).reason == "stale_expectation"


async def test_the_same_change_told_twice_is_made_once_and_answered_the_same(shop: Desk) -> None:
    change = channel_rule(fence=1)
    first = (await shop.hear(change)).one(ChannelPoolSet)
    await shop.hear(channel_rule(fence=7))
    assert (await shop.hear(change)).one(ChannelPoolSet) == first
    assert await shop.connection.fetchval("SELECT fence FROM channel_pools") == 7


@pytest.mark.parametrize(
    ("change", "reason", "names"),
    [
        (channel_rule(fence=1, sku="GHOST"), "unknown_sku", "sku"),
        (channel_rule(fence=5, cap=4), "invalid", "cap_units"),
        (channel_rule("default", fence=5), "invalid", "channel"),
    ],
    ids=["unknown SKU", "cap below fence", "everybody's pool"],
)
async def test_a_rule_that_cannot_be_is_refused_with_the_field(shop: Desk, change: object, reason: str, names: str) -> None:
    refused = (await shop.hear(change)).one(ChannelPoolRejected)  # type: ignore[arg-type]  # parametrized
    assert (refused.reason, refused.detail.split(":")[0]) == (reason, names)
    assert await shop.connection.fetchval("SELECT count(*) FROM channel_pools") == 0


async def test_a_rule_or_safety_stock_of_a_kit_is_refused_and_names_its_components(shop: Desk) -> None:
    await shop.hear(kit("SET", MUG=1, CUP=1))
    for change in (channel_rule(fence=1, sku="SET"), safety(1, sku="SET")):
        refused = (await shop.hear(change)).outgoing[0].data
        assert isinstance(refused, ChannelPoolRejected | StockSafetyRejected)
        assert refused.detail.startswith("sku: 'SET' is a kit and has no stock of its own: say it of its components 'CUP', 'MUG'")


async def test_fenced_components_make_no_kits_for_others(shop: Desk) -> None:
    await shop.hear(receipt(10, "CUP"))
    await shop.hear(kit("SET", MUG=1, CUP=1))
    told = (await shop.hear(channel_rule("shop", fence=7))).of(StockAvailabilityChanged)
    assert {change.sku: change.available for event in told for change in event.changes if change.pool == "default"} == {"MUG": 3, "SET": 3}


async def test_who_changed_a_rule_when_and_why_is_kept(shop: Desk) -> None:
    await shop.hear(channel_rule("shop", fence=4, cap=6))
    await shop.hear(channel_rule("shop", share=20))
    rows = await shop.connection.fetch(
        """
        SELECT old_fence, new_fence, old_cap, new_cap, old_share_percent, new_share_percent, reason, author
        FROM rule_changes ORDER BY change_id
        """
    )
    assert [tuple(row) for row in rows] == [
        (None, 4, None, 6, None, None, "campaign", "kim"),
        (4, 0, 6, None, None, 20, "campaign", "kim"),
    ]


async def test_a_unit_of_another_sku_in_the_same_batch_is_told_as_always(shop: Desk) -> None:
    await shop.hear(receipt(5, "CUP"))
    await shop.hear(channel_rule("shop", fence=4))
    heard = await shop.hear(sold_by("web", line(1), line(1, "CUP", "2")), sold_by("shop", line(1)))
    told = [(change.sku, change.pool, change.available) for change in heard.one(StockAvailabilityChanged).changes]
    assert told == [("CUP", "default", 4), ("MUG", "default", 5), ("MUG", "shop", 8)]


async def test_a_demand_row_from_before_the_channel_was_noted_is_served_as_of_no_channel(shop: Desk) -> None:
    await shop.hear(adjustment(0))
    waiting = sold_by("shop", line(1))
    await shop.hear(waiting)
    await shop.connection.execute("UPDATE demand SET channel = ''")
    await shop.hear(channel_rule("shop", fence=1))
    await shop.hear(receipt(1))
    assert await shop.line(waiting.order_id) == {"units": 1, "queued": 1}
    await shop.hear(receipt(1))
    assert await shop.line(waiting.order_id) == {"units": 1, "reserved": 1}
