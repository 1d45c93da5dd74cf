"""Inbound supply and the promises made against it, on a real database."""

from __future__ import annotations

import pytest

from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import (
    StockAvailabilityChanged,
    StockPromiseChanged,
    StockReserved,
    SupplyLine,
    SupplyRejected,
    SupplyScheduled,
)
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    at,
    cancellation,
    dropped,
    line,
    location,
    moved,
    order,
    products,
    receipt,
    received,
    supply,
    third_party_receipt,
)


@pytest.fixture
async def sold_out(desk: Desk) -> Desk:
    """Nothing of anything."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    return desk


async def waiting(desk: Desk, *quantities: int) -> list[OrderPlaced]:
    orders = [order(line(quantity)) for quantity in quantities]
    for placed in orders:
        await desk.hear(placed)
    return orders


async def promised(desk: Desk, placed: OrderPlaced) -> object:
    return await desk.connection.fetchval("SELECT promised_ship_at FROM demand WHERE order_id = $1", placed.order_id)


async def test_announced_goods_give_waiting_orders_a_date_and_channels_the_next_one(sold_out: Desk) -> None:
    first, second, third = await waiting(sold_out, 2, 2, 2)
    heard = await sold_out.hear(supply(4, at(600)))
    told = {message.order_id: message for message in heard.of(StockPromiseChanged)}
    assert set(told) == {first.order_id, second.order_id}
    assert {message.cause for message in told.values()} == {"supply_scheduled"}
    assert told[first.order_id].lines[0].old_ship_at is None
    assert told[first.order_id].lines[0].new_ship_at == at(600)
    assert await promised(sold_out, third) is None
    assert not heard.of(StockAvailabilityChanged)
    change = (await sold_out.hear(supply(9, at(900)))).one(StockAvailabilityChanged).changes[0]
    assert (change.mode, change.next_ship_at) == ("backorder", at(900))


async def test_a_supply_told_twice_is_expected_once(sold_out: Desk) -> None:
    await waiting(sold_out, 3, 3)
    coming = supply(3, at(600))
    await sold_out.hear(coming, coming)
    assert not (await sold_out.hear(received(coming))).outgoing
    assert await sold_out.connection.fetchval("SELECT sum(quantity) FROM supply_lines") == 3


async def test_one_change_of_date_tells_every_order_once(sold_out: Desk) -> None:
    orders = await waiting(sold_out, 1, 1, 1)
    coming = supply(9, at(600))
    await sold_out.hear(coming)
    change = moved(coming, at(900))
    heard = await sold_out.hear(change)
    told = heard.of(StockPromiseChanged)
    assert {message.order_id for message in told} == {placed.order_id for placed in orders}
    assert len(told) == 3
    assert {message.cause_id for message in told} == {change.change_id}
    assert heard.one(StockAvailabilityChanged).changes[0].next_ship_at == at(900)
    assert not (await sold_out.hear(received(change))).outgoing


async def test_an_order_with_several_waiting_lines_hears_one_message_per_change(sold_out: Desk) -> None:
    placed = order(line(1), line(2, "CUP", "2"), line(1, line_id="3"))
    await sold_out.hear(placed)
    lines = [SupplyLine(sku="MUG", quantity=5), SupplyLine(sku="CUP", quantity=5)]
    coming = supply(1, at(600)).model_copy(update={"lines": lines})
    heard = await sold_out.hear(coming)
    assert sorted(part.line_id for part in heard.one(StockPromiseChanged).lines) == ["1", "2", "3"]


async def test_two_changes_in_one_batch_are_two_causes(sold_out: Desk) -> None:
    (placed,) = await waiting(sold_out, 1)
    coming = supply(5, at(600))
    await sold_out.hear(coming)
    first, second = received(moved(coming, at(700)), time=at(1)), received(moved(coming, at(800)), time=at(2))
    heard = await sold_out.hear(second, first)
    told = [(message.lines[0].old_ship_at, message.lines[0].new_ship_at) for message in heard.of(StockPromiseChanged)]
    assert told == [(at(600), at(700)), (at(700), at(800))]
    assert await promised(sold_out, placed) == at(800)


async def test_an_older_change_of_date_that_comes_late_tells_nobody(sold_out: Desk) -> None:
    (placed,) = await waiting(sold_out, 1)
    coming = supply(5, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(received(moved(coming, at(800)), time=at(2)))
    assert not (await sold_out.hear(received(moved(coming, at(700)), time=at(1)))).of(StockPromiseChanged)
    assert await promised(sold_out, placed) == at(800)


async def test_earlier_goods_pull_promises_in(sold_out: Desk) -> None:
    first, second = await waiting(sold_out, 2, 2)
    await sold_out.hear(supply(4, at(600)))
    heard = await sold_out.hear(supply(2, at(300)))
    assert [message.order_id for message in heard.of(StockPromiseChanged)] == [first.order_id]
    assert (await promised(sold_out, first), await promised(sold_out, second)) == (at(300), at(600))


async def test_goods_that_will_not_come_take_their_dates_with_them(sold_out: Desk) -> None:
    first, second = await waiting(sold_out, 2, 2)
    coming, later = supply(2, at(600)), supply(2, at(900))
    await sold_out.hear(coming, later)
    heard = await sold_out.hear(dropped(coming))
    told = {message.order_id: message.lines[0].new_ship_at for message in heard.of(StockPromiseChanged)}
    assert told == {first.order_id: at(900), second.order_id: None}
    assert {message.cause for message in heard.of(StockPromiseChanged)} == {"supply_cancelled"}
    assert not (await sold_out.hear(dropped(coming))).outgoing
    refused = (await sold_out.hear(moved(coming, at(700)))).one(SupplyRejected)
    assert (refused.field, refused.reason) == ("supply_id", "cancelled")


async def test_changes_and_receipts_of_goods_not_announced_yet_wait(sold_out: Desk) -> None:
    coming = supply(2, at(600))
    assert (await sold_out.hear(moved(coming, at(700)))).deferred
    assert (await sold_out.hear(dropped(coming))).deferred
    assert (await sold_out.hear(receipt(2, supply_id=coming.supply_id))).deferred
    assert await sold_out.available() == 0


async def test_goods_that_arrive_go_to_who_waits_first_and_the_rest_is_sold(sold_out: Desk) -> None:
    first, second = await waiting(sold_out, 2, 2)
    coming = supply(7, at(600))
    await sold_out.hear(coming)
    partial = await sold_out.hear(receipt(3, supply_id=coming.supply_id))
    got = {told.order_id: told.lines[0].quantity for told in partial.of(StockReserved)}
    assert got == {first.order_id: 2, second.order_id: 1}
    assert {told.cause for told in partial.of(StockReserved)} == {"restocked"}
    rest = await sold_out.hear(receipt(4, supply_id=coming.supply_id))
    assert rest.one(StockReserved).order_id == second.order_id
    change = rest.one(StockAvailabilityChanged).changes[0]
    assert (change.available, change.mode) == (3, "in_stock")
    row = await sold_out.connection.fetchrow("SELECT quantity, received, open FROM supply_lines")
    assert row is not None
    assert tuple(row) == (7, 7, False)


async def test_a_partial_receipt_keeps_the_dates_of_who_still_waits(sold_out: Desk) -> None:
    _, second = await waiting(sold_out, 2, 2)
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(receipt(2, supply_id=coming.supply_id))
    assert await promised(sold_out, second) == at(600)
    heard = await sold_out.hear(moved(coming, at(700)))
    assert [message.order_id for message in heard.of(StockPromiseChanged)] == [second.order_id]


async def test_a_receipt_told_twice_by_whomever_is_booked_once(sold_out: Desk) -> None:
    goods = receipt(3)
    await sold_out.hear(goods, goods)
    assert not (await sold_out.hear(received(goods))).outgoing
    same = third_party_receipt(3).data.model_copy(update={"receipt_id": goods.receipt_id})
    assert not (await sold_out.hear(received(same, partner="acme"))).outgoing
    assert await sold_out.available() == 3


async def test_more_goods_than_announced_are_on_the_shelf_all_the_same(sold_out: Desk) -> None:
    coming = supply(2, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(receipt(5, supply_id=coming.supply_id))
    assert await sold_out.available() == 5


async def test_who_waits_is_served_in_order_even_when_the_head_wants_much(sold_out: Desk) -> None:
    big, small = await waiting(sold_out, 10, 1)
    heard = await sold_out.hear(receipt(4))
    assert heard.one(StockReserved).order_id == big.order_id
    assert await sold_out.line(small.order_id) == {"units": 1, "queued": 1}


async def test_a_long_queue_is_served_in_order_across_many_receipts(sold_out: Desk) -> None:
    orders = [order(line(1 + number % 3)) for number in range(30)]
    await sold_out.hear(*orders)
    wanted = sum(placed.lines[0].quantity for placed in orders)
    served: list[object] = []
    for _ in range(wanted // 7 + 1):
        served += [told.order_id for told in (await sold_out.hear(receipt(7))).of(StockReserved)]
    assert list(dict.fromkeys(served)) == [placed.order_id for placed in orders]
    assert await sold_out.available() == (wanted // 7 + 1) * 7 - wanted


async def test_cancelled_units_leave_the_queue_before_goods_are_shared_out(sold_out: Desk) -> None:
    first, second = await waiting(sold_out, 3, 2)
    await sold_out.hear(cancellation(first))
    assert (await sold_out.hear(receipt(2))).one(StockReserved).order_id == second.order_id


async def test_goods_for_an_unknown_place_or_product_wait(sold_out: Desk) -> None:
    assert (await sold_out.hear(supply(2, at(1), at_location="nowhere"))).deferred
    assert (await sold_out.hear(supply(2, at(1), sku="GHOST"))).deferred
    mixed = SupplyScheduled(
        supply_id=supply(1, at(1)).supply_id,
        location="east",
        expected_at=at(9),
        lines=[SupplyLine(sku="MUG", quantity=1), SupplyLine(sku="GHOST", quantity=1)],
    )
    assert (await sold_out.hear(mixed)).deferred
    assert await sold_out.connection.fetchval("SELECT count(*) FROM supply_lines") == 0
