"""Preorders: sold before their release, capped by supply, released by themselves (features B1 and B2)."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from services.allocation.decide.promising import Sellable, sellable_of
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.preordering import release_due_preorders
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockPromiseChanged, StockReserved
from shared.messaging.message import Connection, Transaction
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    NOW,
    at,
    cancellation,
    dropped,
    edit,
    kit,
    line,
    location,
    moved,
    order,
    preorder,
    preorder_closed,
    products,
    receipt,
    received,
    supply,
)
from tests.conftest import Databases

RELEASE = at(1_000)


@pytest.fixture
async def announced(desk: Desk) -> Desk:
    """MUG is in preorder; nothing of it is there or on its way."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    await desk.hear(preorder(RELEASE))
    return desk


async def shown(desk: Desk) -> Sellable:
    """What channels may be told now."""
    pool = await desk.pool()
    supplies = supplies_by_sku(await read_open_supplies(desk.connection, ["MUG"])).get("MUG", [])
    return sellable_of(pool["available"], pool["queued"], supplies, pool["release_at"])


async def promised(desk: Desk, order_id: UUID) -> object:
    return await desk.connection.fetchval("SELECT promised_ship_at FROM demand WHERE order_id = $1", order_id)


async def test_an_order_for_a_preorder_waits_even_though_goods_are_on_the_shelf(announced: Desk) -> None:
    await announced.hear(receipt(5))
    placed = order(line(2))
    heard = await announced.hear(placed)
    waiting = heard.one(StockBackordered).lines[0]
    assert (waiting.demand_kind, waiting.quantity, waiting.promised_ship_at) == ("preorder", 2, RELEASE)
    assert not heard.of(StockReserved)
    assert await announced.line(placed.order_id) == {"units": 2, "queued": 2}


async def test_what_is_shown_of_a_preorder_is_capped_by_supply_and_sold_out_at_zero(announced: Desk) -> None:
    change = (await announced.hear(supply(5, at(600)))).one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode, change.next_ship_at) == (5, "preorder", RELEASE)
    change = (await announced.hear(order(line(3)))).one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode) == (2, "preorder")
    change = (await announced.hear(order(line(2)))).one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode, change.next_ship_at) == (0, "sold_out", None)
    beyond = order(line(1))
    assert (await announced.hear(beyond)).one(StockBackordered).lines[0].promised_ship_at is None
    change = (await announced.hear(supply(4, at(2_000)))).one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode, change.next_ship_at) == (3, "preorder", at(2_000))
    assert await promised(announced, beyond.order_id) == at(2_000)


async def test_a_preorder_ships_at_its_release_or_with_its_goods_whichever_is_later(announced: Desk) -> None:
    early, late = order(line(2)), order(line(2))
    await announced.hear(early, late)
    await announced.hear(supply(2, at(600)), supply(2, at(1_500)))
    assert (await promised(announced, early.order_id), await promised(announced, late.order_id)) == (RELEASE, at(1_500))


async def test_a_preorder_whose_date_comes_is_released_by_itself_in_queue_order(announced: Desk) -> None:
    first, second, third = order(line(2)), order(line(2)), order(line(2))
    await announced.hear(first, second, third)
    await announced.hear(receipt(5))
    announced.now = at(999)
    assert not (await announced.work(release_due_preorders)).outgoing
    announced.now = RELEASE
    heard = await announced.work(release_due_preorders)
    assert [(told.order_id, told.lines[0].quantity) for told in heard.of(StockReserved)] == [
        (first.order_id, 2),
        (second.order_id, 2),
        (third.order_id, 1),
    ]
    change = heard.one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode) == (0, "backorder")
    assert not (await announced.work(release_due_preorders)).outgoing


async def test_goods_that_come_after_the_date_release_the_preorder_at_once(announced: Desk) -> None:
    placed = order(line(2))
    await announced.hear(placed)
    announced.now = at(1_100)
    assert not (await announced.work(release_due_preorders)).outgoing
    heard = await announced.hear(receipt(3))
    assert heard.one(StockReserved).order_id == placed.order_id
    assert heard.one(StockAvailabilityChanged).changes[0].mode == "in_stock"


async def test_an_early_release_ships_as_soon_as_goods_are_there(announced: Desk) -> None:
    placed = order(line(2))
    await announced.hear(placed)
    await announced.hear(preorder(RELEASE, early_release=True))
    assert (await announced.hear(receipt(2))).one(StockReserved).order_id == placed.order_id


async def test_allowing_an_early_release_ships_what_is_already_there(announced: Desk) -> None:
    placed = order(line(2))
    await announced.hear(placed)
    await announced.hear(receipt(2))
    assert (await announced.hear(preorder(RELEASE, early_release=True))).one(StockReserved).order_id == placed.order_id


async def test_moving_the_release_tells_every_order_once_per_change(announced: Desk) -> None:
    orders = [order(line(1)) for _ in range(3)]
    await announced.hear(*orders)
    await announced.hear(supply(2, at(600)), supply(5, at(1_500)))
    later = preorder(at(1_200))
    told = (await announced.hear(later)).of(StockPromiseChanged)
    assert [(item.order_id, item.cause, item.cause_id) for item in told] == [
        (placed.order_id, "preorder_opened", later.change_id) for placed in orders[:2]
    ]
    assert {(part.old_ship_at, part.new_ship_at) for item in told for part in item.lines} == {(RELEASE, at(1_200))}
    assert not (await announced.hear(received(later))).outgoing
    assert await promised(announced, orders[2].order_id) == at(1_500)


async def test_an_older_word_about_a_preorder_that_comes_late_changes_nothing(announced: Desk) -> None:
    await announced.hear(received(preorder(at(1_500)), time=at(5)))
    await announced.hear(received(preorder(at(1_200)), time=at(4)))
    await announced.hear(received(preorder_closed(), time=at(3)))
    assert (await announced.pool())["release_at"] == at(1_500)


async def test_of_words_in_one_batch_the_newest_counts(announced: Desk) -> None:
    await announced.hear(received(preorder(at(1_500)), time=at(5)), received(preorder(at(1_200)), time=at(4)))
    assert (await announced.pool())["release_at"] == at(1_500)


async def test_a_closed_preorder_gives_the_queue_what_is_on_the_shelf_and_the_rest_its_supply_dates(announced: Desk) -> None:
    first, second = order(line(2)), order(line(2))
    await announced.hear(first, second)
    await announced.hear(receipt(2))
    await announced.hear(supply(2, at(600)))
    assert await promised(announced, second.order_id) == RELEASE
    closed = preorder_closed()
    heard = await announced.hear(closed)
    assert heard.one(StockReserved).order_id == first.order_id
    told = heard.one(StockPromiseChanged)
    assert (told.order_id, told.cause, told.lines[0].new_ship_at) == (second.order_id, "preorder_closed", at(600))
    assert heard.one(StockAvailabilityChanged).changes[0].mode == "backorder"


async def test_opening_a_preorder_takes_nothing_away_from_who_has_units(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(receipt(5))
    placed = order(line(2))
    await desk.hear(placed)
    change = (await desk.hear(preorder(RELEASE))).one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode, change.next_ship_at) == (3, "preorder", RELEASE)
    assert await desk.line(placed.order_id) == {"units": 2, "reserved": 2}


async def test_cancelled_goods_leave_a_preorder_sold_out_and_its_orders_without_a_date(announced: Desk) -> None:
    placed = order(line(2))
    await announced.hear(placed)
    coming = supply(5, at(600))
    await announced.hear(coming)
    heard = await announced.hear(dropped(coming))
    assert heard.one(StockPromiseChanged).lines[0].new_ship_at is None
    assert heard.one(StockAvailabilityChanged).changes[0].mode == "sold_out"


async def test_goods_of_a_preorder_that_are_delayed_beyond_its_release_move_its_dates(announced: Desk) -> None:
    placed = order(line(2))
    await announced.hear(placed)
    coming = supply(5, at(600))
    await announced.hear(coming)
    assert not (await announced.hear(moved(coming, at(700)))).of(StockPromiseChanged), "the release is later still"
    assert (await announced.hear(moved(coming, at(1_700)))).one(StockPromiseChanged).lines[0].new_ship_at == at(1_700)


async def test_an_edit_that_adds_units_of_a_preorder_waits_for_its_release(announced: Desk) -> None:
    await announced.hear(receipt(5))
    placed = order(line(1))
    await announced.hear(placed)
    waiting = (await announced.hear(edit(placed, line(3)))).one(StockBackordered).lines[0]
    assert (waiting.demand_kind, waiting.quantity, waiting.promised_ship_at) == ("preorder", 2, RELEASE)


async def test_a_preorder_of_an_unknown_sku_waits_for_its_registration(announced: Desk) -> None:
    assert "'GHOST' not registered" in (await announced.hear(preorder(RELEASE, "GHOST"))).deferred[0]
    assert "'GHOST' not registered" in (await announced.hear(preorder_closed("GHOST"))).deferred[0]


async def test_a_cancelled_preorder_gives_its_place_to_the_next(announced: Desk) -> None:
    await announced.hear(supply(2, at(600)))
    first, second = order(line(2)), order(line(2))
    await announced.hear(first, second)
    await announced.hear(cancellation(first))
    assert await shown(announced) == (0, "sold_out", None)
    await announced.hear(receipt(2))
    announced.now = RELEASE
    assert (await announced.work(release_due_preorders)).one(StockReserved).order_id == second.order_id


async def test_two_processes_release_a_preorder_once(announced: Desk, databases: Databases) -> None:
    orders = [order(line(1)) for _ in range(5)]
    await announced.hear(*orders)
    await announced.hear(receipt(3))
    connections = [await databases.connect("allocation") for _ in range(4)]

    async def release(connection: Connection) -> int:
        async with connection.transaction():
            outgoing = await release_due_preorders(Transaction(connection, RELEASE))
            return sum(isinstance(item.data, StockReserved) for item in outgoing)

    assert sum(await asyncio.gather(*(release(connection) for connection in connections))) == 3
    assert (await announced.pool())["reserved"] == 3


async def test_ordinary_skus_of_the_same_order_are_reserved_at_once(announced: Desk) -> None:
    await announced.hear(receipt(5, "CUP"))
    heard = await announced.hear(order(line(1), line(1, "CUP", "2")))
    assert heard.one(StockReserved).lines[0].sku == "CUP"
    assert heard.one(StockBackordered).lines[0].demand_kind == "preorder"


async def test_a_preorder_opened_with_a_date_that_has_come_is_released_as_soon_as_goods_are_there(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(preorder(NOW))
    placed = order(line(2))
    await desk.hear(placed)
    assert (await desk.hear(receipt(2))).one(StockReserved).order_id == placed.order_id


async def test_a_kit_of_which_a_component_is_in_preorder_is_sold_as_a_preorder_and_capped_like_it(announced: Desk) -> None:
    await announced.hear(receipt(9, "CUP"))
    await announced.hear(kit("SET", MUG=2, CUP=1))
    told = (await announced.hear(supply(5, at(600)))).of(StockAvailabilityChanged)
    assert [(change.sku, change.available, change.mode, change.next_ship_at) for message in told for change in message.changes] == [
        ("MUG", 5, "preorder", RELEASE),
        ("SET", 2, "preorder", RELEASE),
    ]
    told = (await announced.hear(order(line(4)))).of(StockAvailabilityChanged)
    assert [(change.sku, change.available, change.mode) for message in told for change in message.changes] == [
        ("MUG", 1, "preorder"),
        ("SET", 0, "sold_out"),
    ]
