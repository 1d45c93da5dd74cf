"""Orders that ship only as a whole never block each other: who waits takes from incomplete orders of lower rank."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause, Demand, Pool
from services.allocation.decide.yielding import yield_units
from services.allocation.handlers.serving import find_neglected_queues
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderLine, OrderPlaced
from shared.contracts.stock import StockBackordered, StockReserved
from shared.messaging.message import Transaction
from tests.allocation.conftest import Desk, Heard
from tests.allocation.messages import (
    NOW,
    called_off,
    cancellation,
    correction,
    edit,
    line,
    location,
    order,
    plan,
    planned,
    products,
    receipt,
    shipped,
    units,
)

SKUS = ("A", "B", "C")


def whole(*lines: OrderLine, priority: int = 5) -> OrderPlaced:
    return order(*lines, split_policy="hold_all", priority=priority)


def gained(steps: Sequence[Heard]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for step in steps:
        for told in step.of(StockReserved):
            assert told.cause == "restocked"
            found[told.order_id] = found.get(told.order_id, 0) + sum(part.quantity for part in told.lines)
    return found


def lost(steps: Sequence[Heard]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for step in steps:
        for told in step.of(StockBackordered):
            assert told.cause == "yielded"
            found[told.order_id] = found.get(told.order_id, 0) + sum(part.quantity for part in told.lines)
    return found


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Three SKUs in one place, nothing there yet."""
    await desk.hear(products(*SKUS))
    await desk.hear(location("east"))
    return desk


async def test_of_two_orders_that_each_hold_what_the_other_needs_the_older_completes_and_the_other_when_goods_come(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"), receipt(1, "B"))
    older, younger = whole(line(1, "A")), whole(line(1, "B"))
    await stocked.hear(older, younger)
    await stocked.hear(edit(older, line(1, "A"), line(1, "B", "2")))
    assert lost(await stocked.serve()) == {}
    await stocked.hear(edit(younger, line(1, "B"), line(1, "A", "2")))
    steps = await stocked.serve()
    assert (gained(steps), lost(steps)) == ({older.order_id: 1}, {younger.order_id: 1})
    assert [await stocked.line(older.order_id, number) for number in ("1", "2")] == [{"units": 1, "reserved": 1}] * 2
    assert [await stocked.line(younger.order_id, number) for number in ("1", "2")] == [{"units": 1, "queued": 1}] * 2
    await stocked.hear(receipt(1, "A"), receipt(1, "B"))
    assert [await stocked.line(younger.order_id, number) for number in ("1", "2")] == [{"units": 1, "reserved": 1}] * 2


async def test_both_edits_in_one_batch_close_the_circle_and_it_is_broken_all_the_same(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"), receipt(1, "B"))
    older, younger = whole(line(1, "A")), whole(line(1, "B"))
    await stocked.hear(older, younger)
    await stocked.hear(edit(older, line(1, "A"), line(1, "B", "2")), edit(younger, line(1, "B"), line(1, "A", "2")))
    steps = await stocked.serve()
    assert (gained(steps), lost(steps)) == ({older.order_id: 1}, {younger.order_id: 1})


async def test_a_shortage_of_one_sku_frees_what_the_order_holds_of_another(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"), receipt(1, "B"))
    holder = whole(line(1, "A"), line(1, "B", "2"), priority=9)
    await stocked.hear(holder)
    waiting = order(line(1, "A"))
    await stocked.hear(waiting)
    assert gained(await stocked.serve()) == {}
    await stocked.hear(correction(-1, sku="B"))
    steps = await stocked.serve()
    assert (gained(steps), lost(steps)) == ({waiting.order_id: 1}, {holder.order_id: 1})


async def test_a_higher_class_takes_from_an_incomplete_order_at_once_and_the_units_keep_their_place(stocked: Desk) -> None:
    await stocked.hear(receipt(2, "A"))
    holder = whole(line(2, "A"), line(1, "B", "2"))
    await stocked.hear(holder)
    urgent = order(line(1, "A"), priority=1)
    late = order(line(1, "A"))
    await stocked.hear(late)
    await stocked.hear(urgent)
    steps = await stocked.serve()
    assert (gained(steps), lost(steps)) == ({urgent.order_id: 1}, {holder.order_id: 1})
    await stocked.hear(receipt(1, "A"))
    assert await stocked.line(holder.order_id) == {"units": 2, "reserved": 2}
    assert await stocked.line(late.order_id) == {"units": 1, "queued": 1}


async def test_of_two_lines_of_one_order_the_one_that_came_first_takes(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"))
    await stocked.hear(whole(line(1, "A"), line(1, "B", "2")))
    urgent = order(line(2, "A"), line(1, "A", "2"), priority=1)
    await stocked.hear(urgent)
    await stocked.hear(receipt(1, "A"))
    await stocked.serve()
    assert (await stocked.line(urgent.order_id), await stocked.line(urgent.order_id, "2")) == (
        {"units": 2, "reserved": 2},
        {"units": 1, "queued": 1},
    )


async def test_an_order_of_the_same_batch_that_outranks_a_new_holder_takes_from_it(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"))
    holder, urgent = whole(line(1, "A"), line(1, "B", "2")), order(line(1, "A"), priority=1)
    await stocked.hear(holder, urgent)
    assert gained(await stocked.serve()) == {urgent.order_id: 1}


async def test_complete_orders_and_orders_that_ship_what_is_there_give_nothing(stocked: Desk) -> None:
    await stocked.hear(receipt(2, "A"))
    complete, partial = whole(line(1, "A"), priority=9), order(line(1, "A"), line(1, "B", "2"), priority=9)
    await stocked.hear(complete, partial)
    await stocked.hear(order(line(2, "A"), priority=1))
    assert lost(await stocked.serve()) == {}


async def test_units_that_a_plan_has_tied_to_a_location_stay_with_their_order(stocked: Desk) -> None:
    await stocked.hear(receipt(2, "A"), receipt(1, "B"))
    holder = whole(line(2, "A"), line(1, "B", "2"), priority=9)
    await stocked.hear(holder)
    parcel = planned("east", units(1, "1", "A"))
    await stocked.hear(plan(holder, parcel))
    await stocked.hear(correction(-1, sku="B"))
    urgent = order(line(2, "A"))
    await stocked.hear(urgent)
    assert (lost(await stocked.serve()), await stocked.line(urgent.order_id)) == (
        {holder.order_id: 1},
        {"units": 2, "queued": 1, "reserved": 1},
    )
    await stocked.hear(called_off(holder, parcel))
    assert gained(await stocked.serve()) == {urgent.order_id: 1}


async def test_what_nobody_noted_is_found_by_the_schedule(stocked: Desk) -> None:
    await stocked.hear(receipt(1, "A"))
    holder = whole(line(1, "A"), line(1, "B", "2"), priority=9)
    await stocked.hear(holder)
    urgent = order(line(1, "A"), priority=1)
    await stocked.hear(urgent)
    await stocked.connection.execute("DELETE FROM queue_work")
    async with stocked.connection.transaction():
        await find_neglected_queues(Transaction(stocked.connection, stocked.now))
    assert gained(await stocked.serve()) == {urgent.order_id: 1}
    async with stocked.connection.transaction():
        await find_neglected_queues(Transaction(stocked.connection, stocked.now))
    assert await stocked.connection.fetchval("SELECT count(*) FROM queue_work") == 0


async def _stuck(desk: Desk) -> list[tuple[UUID, str]]:
    """Incomplete orders that hold all and wait for what a lower rank holds, seen from the tables alone."""
    rows = await desk.connection.fetch("SELECT order_id, sku, priority, hold_all, queued, reserved - assigned AS free FROM demand")
    incomplete = {row["order_id"] for row in rows if row["hold_all"] and row["queued"]}
    return [
        (waits["order_id"], waits["sku"])
        for waits in rows
        for holds in rows
        if waits["queued"]
        and holds["free"]
        and waits["sku"] == holds["sku"]
        and holds["order_id"] in incomplete
        and (waits["priority"], waits["order_id"]) < (holds["priority"], holds["order_id"])
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_random_histories_end_without_a_circle_and_every_order_completes_once_goods_are_there(stocked: Desk, seed: int) -> None:
    stocked.audited = False
    chance = random.Random(seed)
    orders: dict[UUID, tuple[OrderPlaced, int]] = {}

    def basket() -> list[OrderLine]:
        skus = chance.sample(SKUS, chance.randint(1, 3))
        return [line(chance.randint(1, 3), sku, str(SKUS.index(sku))) for sku in skus]

    for _ in range(45):
        act = chance.choice(["place", "place", "place", "edit", "receive", "short", "cancel", "plan"])
        known = [placed for placed, version in orders.values() if version]
        if act == "place":
            policy: Literal["ship_available", "hold_all"] = chance.choice(["ship_available", "hold_all", "hold_all"])
            batch = [order(*basket(), split_policy=policy, priority=chance.choice([2, 5, 5, 8])) for _ in range(chance.randint(1, 3))]
            await stocked.hear(*batch)
            orders.update((placed.order_id, (placed, 1)) for placed in batch)
        elif act == "receive":
            await stocked.hear(receipt(chance.randint(1, 4), chance.choice(SKUS)))
        elif act == "short":
            await stocked.hear(correction(-chance.randint(1, 4), sku=chance.choice(SKUS)))
        elif known:
            placed = chance.choice(known)
            version = orders[placed.order_id][1] + 1
            if act == "edit":
                changed = placed.model_copy(update={"lines": basket()})
                await stocked.hear(edit(changed, version=version))
                orders[placed.order_id] = (changed, version)
            elif act == "cancel" and chance.random() < 0.5:
                await stocked.hear(cancellation(placed, version=version))
                orders[placed.order_id] = (placed, 0)
            elif act == "plan":
                part = chance.choice(placed.lines)
                parcel = planned("east", units(1, part.line_id, part.sku))
                await stocked.hear(plan(placed, parcel, version=version - 1))
                chosen = chance.random()
                if chosen < 0.3:
                    await stocked.hear(called_off(placed, parcel))
                elif chosen < 0.6:
                    await stocked.hear(shipped(placed, parcel))
        if chance.random() < 0.5:
            await stocked.serve()
            assert await _stuck(stocked) == []
    await stocked.serve()
    assert await _stuck(stocked) == []
    stocked.audited = True
    waiting = await stocked.connection.fetch("SELECT sku, sum(queued)::int AS units FROM demand WHERE queued > 0 GROUP BY sku")
    shelves = {row["sku"]: row["on_shelf"] for row in await stocked.connection.fetch("SELECT sku, on_shelf FROM stock_locations")}
    for row in waiting:
        await stocked.hear(receipt(row["units"] + max(0, -shelves.get(row["sku"], 0)), row["sku"]))
    await stocked.serve()
    assert await stocked.connection.fetchval("SELECT count(*) FROM demand WHERE queued > 0") == 0


PLACES = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([1, 5, 9]), st.booleans(), st.sampled_from(SKUS), st.integers(0, 3), st.integers(0, 3)),
    max_size=24,
)


@settings(max_examples=300, deadline=None)
@given(rows=PLACES)
def test_once_through_every_sku_leaves_nobody_waiting_for_a_lower_hold_and_moves_units_only_upwards(
    rows: list[tuple[int, int, bool, str, int, int]],
) -> None:
    ids = [new_id() for _ in range(10)]
    classes = {number: (priority, hold_all) for number, priority, hold_all, *_ in rows}
    books = Books(pools={sku: Pool(sku, sellable=100) for sku in SKUS})
    for number, _, _, sku, queued, reserved in rows:
        priority, hold_all = classes[number]
        demand = Demand(new_id(), ids[number], "1", sku, queued + reserved, queued, reserved, priority=priority, hold_all=hold_all)
        books.add_demand(demand)
        books.pools[sku].queued += queued
        books.pools[sku].reserved += reserved
    before = {sku: books.pools[sku].numbers for sku in SKUS}

    def incomplete() -> set[UUID]:
        return {row.order_id for row in books.demand.values() if row.hold_all and row.queued}

    cause = Cause(new_id(), NOW)
    started_incomplete = incomplete()
    for sku in SKUS:
        yield_units(books, sku, incomplete(), cause)
    assert {sku: books.pools[sku].numbers for sku in SKUS} == before
    for sku in SKUS:
        own = books.demand_of(sku)
        waiting = [row.rank for row in own if row.queued]
        holding = [row.rank for row in own if row.unassigned and row.order_id in incomplete()]
        assert not waiting or not holding or min(waiting) >= max(holding)
        losers = [row for row in own if row.reserved < row.was.reserved]
        winners = [row for row in own if row.reserved > row.was.reserved]
        assert all(row.order_id in started_incomplete for row in losers)
        assert all(any(winner.rank < loser.rank for winner in winners) for loser in losers)
        assert all(any(winner.rank < loser.rank for loser in losers) for winner in winners)
    assert all(row.units == row.queued + row.reserved for row in books.demand.values())
