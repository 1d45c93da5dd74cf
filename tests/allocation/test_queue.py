"""Queues by priority class: who is served first, what each is promised, and long queues that are served step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from services.allocation.handlers import queueing
from services.allocation.handlers.serving import serve_queues
from services.allocation.queries.reading import list_order_demand, list_queue
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockReserved
from shared.messaging.message import Transaction
from tests.allocation.conftest import Crowd, Desk, Heard
from tests.allocation.messages import at, cancellation, edit, line, location, order, products, receipt, received, supply, units


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Mugs and cups may be sold; there are none yet."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    return desk


async def reserved_units(desk: Desk, orders: Sequence[OrderPlaced]) -> list[int]:
    return [(await desk.line(placed.order_id)).get("reserved", 0) for placed in orders]


def dates(heard: Heard) -> dict[UUID, object]:
    return {told.order_id: told.lines[0].promised_ship_at for told in heard.of(StockBackordered)}


async def test_a_restock_serves_the_queue_by_priority_class_and_within_it_who_came_first(stocked: Desk) -> None:
    orders = [order(line(2), priority=priority) for priority in (5, 9, 1, 5, 1)]
    for placed in orders:
        await stocked.hear(placed)
    await stocked.hear(receipt(5))
    assert await reserved_units(stocked, orders) == [1, 0, 2, 0, 2]
    await stocked.hear(receipt(4))
    assert await reserved_units(stocked, orders) == [2, 1, 2, 2, 2]


async def test_promised_dates_follow_the_queue_when_a_higher_class_joins(stocked: Desk) -> None:
    await stocked.hear(supply(4, at(60)), supply(4, at(120)))
    ordinary, late = order(line(3)), order(line(1), priority=9)
    first = await stocked.hear(ordinary, late)
    assert dates(first) == {ordinary.order_id: at(60), late.order_id: at(60)}
    urgent = order(line(2), priority=1)
    assert dates(await stocked.hear(urgent)) == {urgent.order_id: at(60)}
    newcomer, last = order(line(1)), order(line(2), priority=9)
    assert dates(await stocked.hear(last, newcomer)) == {newcomer.order_id: at(120), last.order_id: None}
    await stocked.hear(receipt(4))
    assert await reserved_units(stocked, [ordinary, late, urgent, newcomer, last]) == [2, 0, 2, 0, 0]


async def test_units_that_an_edit_adds_are_dated_behind_their_class_and_before_lower_ones(stocked: Desk) -> None:
    await stocked.hear(supply(3, at(60)), supply(3, at(120)))
    grown, low = order(line(1)), order(line(2), priority=9)
    await stocked.hear(grown, order(line(1)), low)
    heard = await stocked.hear(edit(grown, line(2)))
    assert [part.promised_ship_at for part in heard.one(StockBackordered).lines] == [at(60)]
    urgent = order(line(1), priority=2)
    await stocked.hear(urgent)
    heard = await stocked.hear(edit(urgent, line(2)))
    assert [part.promised_ship_at for part in heard.one(StockBackordered).lines] == [at(60)]


async def test_the_page_of_a_sku_shows_its_queue_in_the_order_in_which_it_is_served(stocked: Desk) -> None:
    orders = [order(line(2), priority=5), order(line(3), priority=1), order(line(1), priority=5)]
    for placed in orders:
        await stocked.hear(placed)
    rows = await list_queue(stocked.connection, "MUG", 10)
    assert [(row["order_id"], row["priority"], row["units_ahead"]) for row in rows] == [
        (orders[1].order_id, 1, 0),
        (orders[0].order_id, 5, 3),
        (orders[2].order_id, 5, 5),
    ]
    assert [(await list_order_demand(stocked.connection, placed.order_id))[0]["units_ahead"] for placed in orders] == [3, 0, 5]


async def test_a_big_restock_is_shared_out_step_by_step_and_nobody_overtakes_meanwhile(
    stocked: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "LINES_AT_ONCE", 10)
    waiting = [order(line(1)) for _ in range(95)]
    await stocked.hear(*waiting)
    heard = await stocked.hear(received(receipt(100)))
    assert len(heard.of(StockReserved)) == 10
    assert heard.of(StockAvailabilityChanged)[0].changes[0].available == 5
    assert (await stocked.pool())["queued"] == 85
    urgent, taker = order(line(3), priority=1), order(line(4))
    placed = await stocked.hear(taker)
    assert [part.quantity for part in placed.one(StockReserved).lines] == [4]
    beaten = await stocked.hear(urgent)
    assert [part.quantity for part in beaten.one(StockReserved).lines] == [1]
    assert beaten.one(StockBackordered).lines[0].promised_ship_at == stocked.now
    steps = await stocked.serve()
    assert all(len(step.of(StockReserved)) <= 10 for step in steps)
    first = {told.order_id for told in steps[0].of(StockReserved)}
    assert urgent.order_id in first
    pool = await stocked.pool()
    assert (pool["available"], pool["reserved"]) == (0, 100)
    assert await reserved_units(stocked, [waiting[92], waiting[93], waiting[94], urgent, taker]) == [1, 0, 0, 3, 4]


async def test_what_is_said_in_later_steps_carries_on_the_trace_of_the_receipt(stocked: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "LINES_AT_ONCE", 1)
    await stocked.hear(order(), order(), order())
    came = received(receipt(3))
    await stocked.hear(came)
    for step in await stocked.serve():
        assert {item.because.event_id for item in step.outgoing if item.because} == {came.event_id}
        assert all(item.because is not None for item in step.outgoing)


async def test_several_skus_of_one_receipt_share_a_step(stocked: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "LINES_AT_ONCE", 4)
    await stocked.hear(*(order(line(1, sku)) for sku in ("MUG", "CUP") for _ in range(5)))
    heard = await stocked.hear(receipt(9), receipt(9, "CUP"))
    assert len(heard.of(StockReserved)) == 4
    await stocked.serve()
    assert [(await stocked.pool(sku))["queued"] for sku in ("MUG", "CUP")] == [0, 0]
    assert await stocked.available("CUP") == 4


async def test_cancelled_orders_free_units_for_the_queue_while_a_restock_is_shared_out(
    stocked: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "LINES_AT_ONCE", 2)
    orders = [order(line(2)) for _ in range(8)]
    await stocked.hear(*orders)
    await stocked.hear(receipt(14))
    await stocked.hear(cancellation(orders[0], units(2)))
    await stocked.serve()
    assert await reserved_units(stocked, orders) == [0, 2, 2, 2, 2, 2, 2, 2]


async def test_many_replicas_share_out_one_restock_while_orders_and_receipts_go_on(
    stocked: Desk, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "LINES_AT_ONCE", 7)
    waiting = [order(line(1), priority=1 + number % 9) for number in range(150)]
    await stocked.hear(*waiting)
    await stocked.hear(receipt(120))

    async def replica() -> None:
        while True:
            async with crowd.pool.acquire() as connection, connection.transaction():
                await serve_queues(Transaction(connection, stocked.now))
            if not await crowd.pool.fetchval("SELECT count(*) FROM queue_work"):
                return

    rivals = [crowd.hear(order(line(1), priority=priority)) for priority in (1, 5, 9)] + [crowd.hear(receipt(5)) for _ in range(4)]
    await asyncio.gather(*(replica() for _ in range(4)), *rivals)
    await stocked.serve()
    pool = await stocked.pool()
    assert (pool["available"], pool["reserved"], pool["queued"]) == (0, 140, 13)
    left = await stocked.connection.fetch("SELECT DISTINCT priority FROM demand WHERE queued > 0")
    assert [row["priority"] for row in left] == [9]
