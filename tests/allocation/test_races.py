"""Many at once, over several connections: nothing is promised twice, nobody deadlocks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import pytest

from shared.contracts.base import Message
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentAssignmentRejected
from shared.contracts.stock import StockBackordered, StockReserved
from shared.messaging.message import Received
from tests.allocation.conftest import Crowd, Desk, Heard
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
    snapshot,
    units,
)


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Mugs and cups in two places; the desk audits when all is over."""
    await desk.hear(products("MUG", "CUP", *(f"SKU-{number}" for number in range(12))))
    await desk.hear(location("east"), location("west"))
    return desk


async def test_200_concurrent_buyers_of_the_last_unit_exactly_one_wins(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(1))
    buyers = [order() for _ in range(200)]
    heard = await crowd.together([[buyer] for buyer in buyers])
    winners = [told.order_id for each in heard for told in each.of(StockReserved)]
    assert len(winners) == 1
    assert sum(len(each.of(StockBackordered)) for each in heard) == 199
    pool = await stocked.pool()
    assert (pool["available"], pool["reserved"], pool["queued"]) == (0, 1, 199)


async def test_orders_of_many_skus_in_any_order_by_many_workers_never_deadlock(stocked: Desk, crowd: Crowd) -> None:
    skus = [f"SKU-{number}" for number in range(12)]
    await stocked.hear(*(receipt(60, sku) for sku in skus))
    chance = random.Random(7)

    def basket() -> Message:
        chosen = chance.sample(skus, 6)
        return order(*(line(chance.randint(1, 3), sku, str(number)) for number, sku in enumerate(chosen)))

    baskets = [basket() for _ in range(240)]
    batches = [baskets[start : start + 4] for start in range(0, 240, 4)]
    heard = await crowd.together(batches)
    assert sum(part.quantity for each in heard for told in each.of(StockReserved) for part in told.lines) == sum(
        [(await stocked.pool(sku))["reserved"] for sku in skus]
    )
    for sku in skus:
        pool = await stocked.pool(sku)
        assert pool["available"] == 0 or pool["queued"] == 0


async def test_the_same_order_told_by_many_at_once_is_reserved_once(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(50))
    placed = order(line(3))
    told = await asyncio.gather(*(crowd.hear(received(placed)) for _ in range(12)), return_exceptions=True)
    assert all(isinstance(each, Heard | asyncpg.UniqueViolationError) for each in told)
    assert sum(len(each.outgoing) > 0 for each in told if isinstance(each, Heard)) == 1
    assert await stocked.available() == 47


async def test_a_locations_last_units_go_to_one_of_two_planners(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(3), receipt(3, at_location="west"))
    orders = [order(line(3)), order(line(3))]
    await stocked.hear(*orders)
    heard = await crowd.together([[plan(placed)] for placed in orders])
    assert sum(len(each.of(FulfillmentAssigned)) for each in heard) == 1
    rejected = next(told for each in heard for told in each.of(FulfillmentAssignmentRejected))
    assert rejected.reason == "stock_moved"
    assert [(place.location, place.quantity) for place in rejected.assignable[0].locations] == [("west", 3)]


async def test_stock_drained_at_the_moment_of_payment_is_the_same_explicit_shortfall_whoever_is_first(stocked: Desk, crowd: Crowd) -> None:
    for number in range(12):
        sku = f"SKU-{number}"
        await stocked.hear(receipt(2, sku))
        placed = order(line(2, sku))
        await crowd.together([[placed], [adjustment(1, sku=sku)]])
        assert await stocked.line(placed.order_id) == {"units": 2, "reserved": 1, "queued": 1}


async def test_a_partial_refund_and_a_cancel_at_once_restock_once(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(60))
    orders = [order(line(3)) for _ in range(20)]
    await stocked.hear(*orders)
    await crowd.together(
        [[change] for placed in orders for change in (cancellation(placed, units(2), version=3), edit(placed, line(2), version=2))]
    )
    pool = await stocked.pool()
    assert (pool["available"], pool["reserved"]) == (60, 0)
    assert await stocked.ledger("released") == -60


async def test_a_parcel_told_by_many_at_once_is_deducted_once(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(5))
    placed, parcel = order(line(2)), planned("east", units(2))
    await stocked.hear(placed)
    await stocked.hear(plan(placed, parcel))
    await crowd.together([[received(shipped(placed, parcel))] for _ in range(10)])
    assert (await stocked.shelf())["on_shelf"] == 3
    assert await stocked.ledger("shipped") == -2


async def test_cancel_edit_plan_and_parcel_race_in_every_start_order_and_the_books_balance(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(400))
    chance = random.Random(3)
    for _ in range(15):
        placed, parcel, second = order(line(4)), planned("east", units(2)), planned("east", units(1))
        await stocked.hear(placed)
        await stocked.hear(plan(placed, parcel))
        rivals: list[Message] = [
            shipped(placed, parcel),
            plan(placed, second),
            edit(placed, line(3), version=2),
            cancellation(placed, units(2), version=3),
            called_off(placed, parcel, units(1)),
        ]
        chance.shuffle(rivals)
        await crowd.together([[rival] for rival in rivals])
        row = await stocked.line(placed.order_id)
        assert row["units"] == sum(row.get(state, 0) for state in ("queued", "reserved", "shipped", "cancelled"))


async def test_a_location_that_closes_while_a_product_is_judged_anew_sells_nothing_of_it(stocked: Desk, crowd: Crowd) -> None:
    skus = [f"SKU-{number}" for number in range(12)]
    for hour in range(1, 13, 2):
        await stocked.hear(received(products(*skus, hazmat=True), time=at(hour)))
        await stocked.hear(received(location("west"), time=at(hour)))
        await stocked.hear(*(receipt(1, sku, at_location="west") for sku in skus))
        harmless, closed = received(products(*skus), time=at(hour + 1)), received(location("west", active=False), time=at(hour + 1))
        await asyncio.gather(crowd.hear(harmless), crowd.hear(closed))
        assert await stocked.connection.fetchval("SELECT count(*) FROM stock_locations WHERE location = 'west' AND counts") == 0


async def test_everything_at_once_never_deadlocks_and_never_oversells(stocked: Desk, crowd: Crowd) -> None:
    skus = [f"SKU-{number}" for number in range(4)]
    await stocked.hear(*(receipt(40, sku) for sku in skus), *(receipt(10, sku, at_location="west") for sku in skus))
    chance = random.Random(11)
    orders = [
        order(*(line(chance.randint(1, 3), sku, str(number)) for number, sku in enumerate(chance.sample(skus, 3)))) for _ in range(60)
    ]
    await stocked.hear(*orders)
    acts: list[Callable[[], Coroutine[Any, Any, Heard]]] = []
    for placed in orders[:40]:
        part = chance.choice(placed.lines)
        wanted = plan(placed, planned(chance.choice(["east", "west"]), units(part.quantity, part.line_id, part.sku)))
        acts.append(lambda wanted=wanted: crowd.hear(wanted))  # type: ignore[misc]  # mypy cannot infer a lambda's default
    for placed in orders[30:]:
        gone = cancellation(placed)
        acts.append(lambda gone=gone: crowd.hear(gone))  # type: ignore[misc]  # as above
    for number in range(40):
        sku = chance.choice(skus)
        message: Message | Received[Any] = chance.choice(
            [receipt(2, sku), order(line(2, sku), line(1, chance.choice(skus), "2")), adjustment(30 + number, sku=sku)]
        )
        if number % 10 == 0:
            message = snapshot(25, sku=sku, as_of=at(number))
        acts.append(lambda message=message: crowd.hear(message))  # type: ignore[misc]  # as above
    chance.shuffle(acts)
    heard = await asyncio.gather(*(act() for act in acts))
    assert not any(each.parked for each in heard)
