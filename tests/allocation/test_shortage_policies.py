"""Whose reserved units queue again when a shelf holds less than is reserved: a policy that an operator changes at run time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.shortage import first_to_lose
from services.allocation.decide.stock import Demand, OrderState
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced, Segment
from shared.contracts.stock import ShortagePolicy, ShortagePolicyRequested, ShortagePolicySet, StockBackordered
from tests.allocation.conftest import Desk
from tests.allocation.messages import correction, line, location, order, plan, planned, products, receipt, snapshot, units


def chosen(policy: ShortagePolicy) -> ShortagePolicyRequested:
    return ShortagePolicyRequested(change_id=new_id(), policy=policy, operator="kim")


@pytest.fixture
async def sold(desk: Desk) -> tuple[Desk, dict[str, OrderPlaced]]:
    """Four orders hold all ten mugs; the shelf is about to show less."""
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(receipt(10))
    orders = {
        "urgent wholesale": order(line(3), priority=1, segment="wholesale"),
        "old low": order(line(3), priority=9),
        "retail": order(line(2), segment="retail"),
        "newest": order(line(2)),
    }
    for placed in orders.values():
        await desk.hear(placed)
    return desk, orders


async def losses(desk: Desk, orders: dict[str, OrderPlaced]) -> dict[str, int]:
    return {name: queued for name, placed in orders.items() if (queued := (await desk.line(placed.order_id)).get("queued", 0))}


@pytest.mark.parametrize(
    ("policy", "lost"),
    [
        (None, {"newest": 2, "retail": 2, "old low": 1}),
        ("newest_first", {"newest": 2, "retail": 2, "old low": 1}),
        ("lowest_priority_first", {"old low": 3, "newest": 2}),
        ("wholesale_first", {"urgent wholesale": 3, "retail": 2}),
    ],
)
async def test_a_shortage_takes_units_by_the_policy_in_force(
    sold: tuple[Desk, dict[str, OrderPlaced]], policy: ShortagePolicy | None, lost: dict[str, int]
) -> None:
    desk, orders = sold
    if policy is not None:
        await desk.hear(chosen("newest_first"))
        await desk.hear(chosen(policy))
    heard = await desk.hear(snapshot(5))
    assert await losses(desk, orders) == lost
    told = {event.order_id: event for event in heard.of(StockBackordered)}
    assert {name: sum(part.quantity for part in told[orders[name].order_id].lines) for name in lost} == lost
    assert {event.cause for event in told.values()} == {"shortage"}


async def test_a_policy_chosen_between_two_shortages_rules_the_second(sold: tuple[Desk, dict[str, OrderPlaced]]) -> None:
    desk, orders = sold
    await desk.hear(correction(-2))
    await desk.hear(chosen("wholesale_first"))
    await desk.hear(correction(-2))
    assert await losses(desk, orders) == {"newest": 2, "urgent wholesale": 2}


async def test_lost_units_keep_their_place_whatever_the_policy(sold: tuple[Desk, dict[str, OrderPlaced]]) -> None:
    desk, orders = sold
    await desk.hear(chosen("wholesale_first"))
    await desk.hear(correction(-5))
    await desk.hear(order(line(4)))
    await desk.hear(receipt(4))
    assert await losses(desk, orders) == {"retail": 1}


async def test_units_tied_to_a_location_are_spared_by_every_policy(sold: tuple[Desk, dict[str, OrderPlaced]]) -> None:
    desk, orders = sold
    await desk.hear(chosen("lowest_priority_first"))
    await desk.hear(plan(orders["old low"], planned("east", units(3))))
    await desk.hear(snapshot(5))
    assert await losses(desk, orders) == {"newest": 2, "retail": 2, "urgent wholesale": 1}


async def test_a_change_of_policy_told_twice_is_made_once_and_answered_the_same(desk: Desk) -> None:
    change = chosen("wholesale_first")
    first = (await desk.hear(change)).one(ShortagePolicySet)
    await desk.hear(chosen("newest_first"))
    assert (await desk.hear(change)).one(ShortagePolicySet) == first
    assert await desk.connection.fetchval("SELECT count(*) FROM shortage_policies") == 2


ROWS = st.lists(st.tuples(st.sampled_from([1, 5, 9]), st.sampled_from(["dtc", "retail", "wholesale"])), max_size=8)


@given(rows=ROWS)
def test_under_every_policy_equals_lose_the_newest_first_and_nobody_is_forgotten(rows: list[tuple[int, Segment]]) -> None:
    demand = [Demand(new_id(), new_id(), "1", "MUG", 1, 0, 1, priority=priority) for priority, _ in rows]
    orders = {row.order_id: OrderState(1, None, row.priority, False, segment) for row, (_, segment) in zip(demand, rows, strict=True)}
    newest = first_to_lose(demand, orders, "newest_first")
    assert [row.demand_id for row in newest] == sorted((row.demand_id for row in demand), reverse=True)
    low = first_to_lose(demand, orders, "lowest_priority_first")
    assert [row.place for row in low] == sorted((row.place for row in demand), reverse=True)
    bulk = first_to_lose(demand, orders, "wholesale_first")
    assert sorted(row.demand_id for row in bulk) == sorted(row.demand_id for row in demand)
    segments = [orders[row.order_id].segment for row in bulk]
    assert segments == sorted(segments, key=["wholesale", "retail", "dtc"].index)
    for segment in set(segments):
        ages = [row.demand_id for row in bulk if orders[row.order_id].segment == segment]
        assert ages == sorted(ages, reverse=True)
