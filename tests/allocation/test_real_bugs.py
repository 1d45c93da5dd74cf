"""Scenarios that broke other systems (faults.md, "taken from real bugs"), as far as they concern allocation."""

from __future__ import annotations

from itertools import permutations

import asyncpg
import pytest

from shared.contracts.base import Message
from shared.contracts.fulfillment import FulfillmentAssigned
from shared.contracts.orders import OrderEdited
from shared.contracts.stock import StockBackordered, StockReservationReleased, StockReserved
from shared.messaging.message import Transaction
from tests.allocation.conftest import HANDLERS, Desk
from tests.allocation.messages import (
    adjustment,
    called_off,
    cancellation,
    edit,
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
    units,
)


@pytest.fixture
async def two_places(desk: Desk) -> Desk:
    """Two open locations, nothing on the shelves."""
    await desk.hear(products("MUG"))
    await desk.hear(location("a"), location("b"))
    return desk


async def test_a_is_full_and_b_is_free_so_nothing_lands_on_a(two_places: Desk) -> None:
    await two_places.hear(receipt(2, at_location="a"), receipt(9, at_location="b"))
    first, second = order(line(2)), order(line(5))
    await two_places.hear(first, second)
    await two_places.hear(plan(first, planned("a", units(2))))
    heard = await two_places.hear(plan(second, planned("a", units(5))))
    assert not heard.of(FulfillmentAssigned)
    assert (await two_places.shelf("a"))["assigned"] == 2


async def test_stock_of_10_and_15_serves_an_order_of_13_as_10_and_3(two_places: Desk) -> None:
    await two_places.hear(receipt(10, at_location="a"), receipt(15, at_location="b"))
    placed = order(line(13))
    told = (await two_places.hear(placed)).one(StockReserved)
    assert told.lines[0].quantity == 13
    heard = await two_places.hear(plan(placed, planned("a", units(10)), planned("b", units(3))))
    assert heard.of(FulfillmentAssigned)
    assert ((await two_places.shelf("a"))["assigned"], (await two_places.shelf("b"))["assigned"]) == (10, 3)


async def test_one_unit_here_and_one_there_serve_an_order_of_two(two_places: Desk) -> None:
    await two_places.hear(receipt(1, at_location="a"), receipt(1, at_location="b"))
    placed = order(line(2))
    assert (await two_places.hear(placed)).one(StockReserved).lines[0].quantity == 2
    heard = await two_places.hear(plan(placed, planned("a", units(1)), planned("b", units(1))))
    assert heard.of(FulfillmentAssigned)


async def test_the_same_sku_on_two_lines_of_one_order_both_count(two_places: Desk) -> None:
    await two_places.hear(receipt(3, at_location="a"))
    placed = order(line(2), line(2, line_id="2"))
    heard = await two_places.hear(placed)
    assert sum(part.quantity for part in heard.one(StockReserved).lines) == 3
    assert heard.one(StockBackordered).lines[0].quantity == 1


async def test_stock_drained_between_check_and_payment_is_an_explicit_shortfall(two_places: Desk) -> None:
    await two_places.hear(receipt(2, at_location="a"))
    await two_places.hear(adjustment(1, at_location="a"))
    heard = await two_places.hear(order(line(2)))
    assert heard.one(StockReserved).lines[0].quantity == 1
    assert heard.one(StockBackordered).lines[0].quantity == 1


async def test_shipped_delivered_twice_is_deducted_once(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed, parcel = order(line(2)), planned("a", units(2))
    await two_places.hear(placed)
    await two_places.hear(plan(placed, parcel))
    told = shipped(placed, parcel)
    assert not (await two_places.hear(told, told)).parked
    assert not (await two_places.hear(received(told))).parked
    assert (await two_places.shelf("a"))["on_shelf"] == 3
    assert await two_places.available() == 3


async def test_a_price_only_edit_of_a_shipped_line_leaves_reservations_unchanged(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed, parcel = order(line(2), line(1, line_id="2")), planned("a", units(2))
    await two_places.hear(placed)
    await two_places.hear(plan(placed, parcel))
    await two_places.hear(shipped(placed, parcel))
    dearer = [part.model_copy(update={"unit_price_cents": 2_000}) for part in placed.lines]
    heard = await two_places.hear(edit(placed, *dearer))
    assert [(part.line_id, part.quantity) for part in heard.one(StockReserved).lines] == [("2", 1)]
    assert not heard.of(StockReservationReleased)
    assert await two_places.line(placed.order_id) == {"units": 2, "shipped": 2}
    assert await two_places.available() == 2


async def edit_and_then_fail(desk: Desk, change: OrderEdited) -> None:
    """The edit is handled; the next statement of the same transaction fails."""
    async with desk.connection.transaction():
        await HANDLERS[OrderEdited](Transaction(desk.connection, desk.now), [received(change)])
        await desk.connection.execute("SELECT 1 / 0")


async def test_a_price_only_edit_whose_next_step_fails_leaves_reservations_unchanged_however_often_it_is_tried(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed, parcel = order(line(2), line(1, line_id="2")), planned("a", units(2))
    await two_places.hear(placed)
    await two_places.hear(plan(placed, parcel))
    await two_places.hear(shipped(placed, parcel))
    change = edit(placed, *(part.model_copy(update={"unit_price_cents": 2_000}) for part in placed.lines))
    before = [dict(row) for row in await two_places.connection.fetch("SELECT * FROM demand ORDER BY demand_id")]
    pool = await two_places.pool()
    for _ in range(3):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await edit_and_then_fail(two_places, change)
        assert [dict(row) for row in await two_places.connection.fetch("SELECT * FROM demand ORDER BY demand_id")] == before
        assert await two_places.pool() == pool
    await two_places.hear(change)
    assert [dict(row) for row in await two_places.connection.fetch("SELECT * FROM demand ORDER BY demand_id")] == before
    assert ((await two_places.pool())["available"], (await two_places.pool())["reserved"]) == (2, 1)


async def test_cancel_fulfillment_refulfill_cancel_restores_allocation_each_time(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed = order(line(2))
    await two_places.hear(placed)
    for _ in range(3):
        parcel = planned("a", units(2))
        await two_places.hear(plan(placed, parcel))
        assert (await two_places.shelf("a"))["assigned"] == 2
        heard = await two_places.hear(called_off(placed, parcel))
        assert heard.one(StockReserved).lines[0].quantity == 2
        assert (await two_places.shelf("a"))["assigned"] == 0
        assert await two_places.line(placed.order_id) == {"units": 2, "reserved": 2}
    assert await two_places.available() == 3


async def test_cancel_before_anything_was_reserved_gives_nothing_to_the_pool(two_places: Desk) -> None:
    placed = order(line(2))
    await two_places.hear(placed)
    await two_places.hear(cancellation(placed))
    pool = await two_places.pool()
    assert (pool["available"], pool["reserved"], pool["queued"]) == (0, 0, 0)
    assert await two_places.ledger("released") == 0


async def test_a_cancelled_order_whose_parcel_came_back_is_restocked_once(two_places: Desk) -> None:
    await two_places.hear(receipt(2, at_location="a"))
    placed, parcel = order(line(2)), planned("a", units(1))
    await two_places.hear(placed)
    await two_places.hear(plan(placed, parcel))
    await two_places.hear(shipped(placed, parcel))
    back = inspected(placed, (1, "restocked"), at_location="a")
    await two_places.hear(back)
    await two_places.hear(cancellation(placed, units(1)))
    await two_places.hear(received(back))
    assert await two_places.available() == 2


@pytest.mark.parametrize("steps", list(permutations(("refunded", "cancelled"))))
async def test_a_partial_refund_and_then_a_cancel_restock_once_in_either_order_of_arrival(two_places: Desk, steps: tuple[str, ...]) -> None:
    """One of three units was refunded (the line got smaller), then the rest was cancelled: the cancellation lists two."""
    await two_places.hear(receipt(3, at_location="a"))
    placed = order(line(3))
    await two_places.hear(placed)
    facts: dict[str, Message] = {"refunded": edit(placed, line(2), version=2), "cancelled": cancellation(placed, units(2), version=3)}
    for step in steps:
        await two_places.hear(facts[step])
        await two_places.hear(received(facts[step]))
    assert await two_places.line(placed.order_id) == {"units": 2, "cancelled": 2}
    pool = await two_places.pool()
    assert (pool["available"], pool["reserved"]) == (3, 0)
    assert await two_places.ledger("released") == -3


async def test_a_line_that_is_added_and_removed_again_leaves_nothing_reserved(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed = order(line(1))
    await two_places.hear(placed)
    await two_places.hear(edit(placed, line(1), line(2, line_id="2"), version=2))
    assert await two_places.available() == 2
    await two_places.hear(edit(placed, line(1), version=3))
    assert await two_places.line(placed.order_id, "2") in ({}, {"units": 0})
    assert await two_places.available() == 4


async def test_editing_a_cancelled_order_leaves_stock_unchanged(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed = order(line(2))
    await two_places.hear(placed)
    await two_places.hear(cancellation(placed, version=2))
    before = await two_places.pool()
    heard = await two_places.hear(edit(placed, line(4), version=3))
    assert not heard.outgoing
    assert await two_places.pool() == before


async def test_of_3_units_on_their_way_back_2_arrive_and_2_are_restocked(two_places: Desk) -> None:
    placed = order(line(3))
    await two_places.hear(inspected(placed, (2, "restocked"), (1, "missing"), at_location="a"))
    assert await two_places.available() == 2


async def test_two_scanners_of_one_return_have_one_effect(two_places: Desk) -> None:
    scan = inspected(order(line(1)), (1, "restocked"), at_location="a")
    await two_places.hear(scan, scan)
    assert await two_places.available() == 1


@pytest.mark.parametrize("steps", list(permutations(("cancelled", "shipped", "called_off"))))
async def test_a_cancel_racing_ship_confirm_balances_in_every_interleaving(two_places: Desk, steps: tuple[str, ...]) -> None:
    """Routing judged: one unit left, one was called off and the order cancelled for it. The three facts arrive in any order."""
    await two_places.hear(receipt(2, at_location="a"))
    placed, parcel = order(line(2)), planned("a", units(2))
    await two_places.hear(placed)
    await two_places.hear(plan(placed, parcel))
    facts: dict[str, Message] = {
        "cancelled": cancellation(placed, units(1)),
        "shipped": shipped(placed, parcel, units(1)),
        "called_off": called_off(placed, parcel, units(1)),
    }
    for step in steps:
        await two_places.hear(facts[step])
    assert await two_places.line(placed.order_id) == {"units": 2, "shipped": 1, "cancelled": 1}
    assert (await two_places.shelf("a"))["assigned"] == 0
    assert await two_places.available() == 1


async def test_an_update_before_its_create_waits_and_then_applies(two_places: Desk) -> None:
    await two_places.hear(receipt(5, at_location="a"))
    placed = order(line(1))
    change = edit(placed, line(3))
    assert (await two_places.hear(change)).deferred
    await two_places.hear(placed)
    await two_places.hear(received(change))
    assert await two_places.available() == 2


async def test_12_partial_releases_leave_no_residue(two_places: Desk) -> None:
    await two_places.hear(receipt(12, at_location="a"))
    placed = order(line(12))
    await two_places.hear(placed)
    for version in range(2, 13):
        await two_places.hear(edit(placed, line(13 - version), version=version))
    await two_places.hear(cancellation(placed, units(1), version=13))
    pool = await two_places.pool()
    assert (pool["available"], pool["reserved"], pool["queued"]) == (12, 0, 0)
    assert await two_places.ledger("released") == -12
