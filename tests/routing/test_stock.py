"""What allocation says about units, in whatever order its messages come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Literal, get_args

import pytest

from services.routing.decide.fulfillment import State
from services.routing.decide.order import Order, StockWait
from services.routing.decide.outcome import Defer, Park
from services.routing.decide.planning import plannable
from services.routing.decide.stock import backorder, move_promise, reserve
from services.routing.decide.waiting import settled
from shared.contracts.stock import PromiseChange, StockBackordered, StockPromiseChanged, StockReserved
from tests.routing.messages import NOON, PATIENCE, a_copy, a_line, backordered, reserved
from tests.routing.test_states import a_fulfillment

STOCK = {"SKU-1": {"reno": 9}}
TakenAway = Literal["shortage", "yielded"]
TAKEN_AWAY = get_args(TakenAway)


def hear(order: Order, *messages: StockReserved | StockBackordered) -> Order:
    for message in messages:
        if isinstance(message, StockReserved):
            outcome = reserve(order, message, NOON, PATIENCE)
        else:
            outcome = backorder(order, message, NOON, PATIENCE)
        assert outcome.problem is None
        order = outcome.order
    return order


def free(order: Order) -> int:
    return sum(entry.units for entry in plannable(order, NOON))


def test_reservations_add_up() -> None:
    order = a_copy(a_line("1", 5))
    order = hear(order, reserved(order, STOCK, {"1": 2}), reserved(order, STOCK, {"1": 3}, cause="restocked"))
    assert free(order) == 5
    assert order.assignable == STOCK


def test_never_more_is_planned_than_the_customer_still_expects() -> None:
    order = replace(a_copy(a_line("1", 3)), fulfillments=(a_fulfillment(State.PLANNED, 3),))
    order = hear(order, reserved(order, STOCK, {"1": 2}, cause="restocked"))
    assert free(order) == 0, "the news that the plan lost two units is still on its way"


@pytest.mark.parametrize("cause", TAKEN_AWAY)
def test_a_shortage_and_returned_units_end_the_same_whichever_is_told_first(cause: TakenAway) -> None:
    """Three units are free, two are coming back, and a shortage takes two of them: allocation tells it as a shortage of two."""
    start = a_copy(a_line("1", 5))
    start = replace(start, lines=(replace(start.lines[0], unplanned=3, coming_back=2),))
    taken = backordered(start, {"1": 1}, cause=cause)
    given = reserved(start, STOCK, {"1": 2}, cause="fulfillment_cancelled")
    restock = reserved(start, STOCK, {"1": 1}, cause="restocked")
    messages: list[StockReserved | StockBackordered] = [taken, given, restock]
    for order in permutations(messages):
        ended = hear(start, *order)
        assert free(ended) == 5
        assert ended.lines[0].unplanned + ended.lines[0].coming_back == 5


@pytest.mark.parametrize("cause", TAKEN_AWAY)
def test_units_that_came_back_and_are_lost_at_once_are_told_only_as_waiting(cause: TakenAway) -> None:
    start = a_copy(a_line("1", 5))
    start = replace(start, lines=(replace(start.lines[0], coming_back=2),))
    ended = hear(start, backordered(start, {"1": 2}, cause=cause))
    assert (ended.lines[0].coming_back, free(ended)) == (0, 0)


@pytest.mark.parametrize("cause", TAKEN_AWAY)
def test_what_was_said_under_an_older_version_is_void_but_its_word_about_returned_units_counts(cause: TakenAway) -> None:
    order = replace(a_copy(a_line("1", 5)), order_version=2)
    order = replace(order, lines=(replace(order.lines[0], coming_back=2),))
    ended = hear(order, reserved(order, STOCK, {"1": 2}, cause="fulfillment_cancelled", version=1))
    assert (ended.lines[0].coming_back, free(ended)) == (0, 0)
    lost = hear(order, backordered(order, {"1": 2}, cause=cause, version=1))
    assert (lost.lines[0].coming_back, lost.lines[0].unplanned) == (0, 0)


@pytest.mark.parametrize("cause", TAKEN_AWAY)
def test_an_order_that_holds_all_and_gave_units_away_is_planned_when_they_are_back_and_not_before(cause: TakenAway) -> None:
    order = replace(a_copy(a_line("1", 2), a_line("2", 1)), split_policy="hold_all")
    told: list[StockReserved | StockBackordered] = [
        reserved(order, STOCK, {"1": 2}),
        backordered(order, {"1": 1}, cause=cause),
        reserved(order, STOCK, {"2": 1}, cause="restocked"),
    ]
    for messages in permutations(told):
        waiting = hear(order, *messages)
        assert (free(waiting), waiting.lines[0].unplanned) == (0, 1)
        assert free(hear(waiting, reserved(order, STOCK, {"1": 1}, cause="restocked"))) == 3


def test_an_edited_order_of_which_nothing_is_reserved_waits_for_stock_again() -> None:
    """Allocation tells all it has for the edited order, here nothing; units that waited before are not spoken of a second time."""
    order = replace(a_copy(a_line("1", 2)), order_version=2, stock_wait=StockWait("allocation", NOON))
    ended = hear(order, reserved(order, {}, {}, cause="edited", version=2))
    assert settled(ended, NOON, PATIENCE).waiting_for == "stock"
    whole = hear(order, reserved(order, STOCK, {"1": 2}, cause="edited", version=2))
    assert settled(whole, NOON, PATIENCE).waiting_for == "planning"


def test_a_version_that_has_not_arrived_waits_and_a_strange_line_is_parked() -> None:
    order = a_copy()
    assert isinstance(reserve(order, reserved(order, STOCK, version=2), NOON, PATIENCE).problem, Defer)
    assert isinstance(backorder(order, backordered(order, {"1": 1}, version=2), NOON, PATIENCE).problem, Defer)
    strange = reserved(a_copy(a_line("7")), STOCK)
    problem = reserve(order, strange, NOON, PATIENCE).problem
    assert isinstance(problem, Park)
    assert "no line 7" in problem.reason


def test_an_order_waits_for_supply_until_its_promised_date_or_a_month() -> None:
    order = a_copy()
    promised = NOON + timedelta(days=12)
    dated = hear(order, backordered(order, {"1": 2}, promised_ship_at=promised))
    assert dated.stock_wait == StockWait("stock", promised + timedelta(days=1))
    undated = hear(order, backordered(order, {"1": 2}))
    assert undated.stock_wait == StockWait("stock", NOON + timedelta(days=30))
    sooner = StockPromiseChanged(
        order_id=order.order_id,
        order_version=1,
        cause="supply_rescheduled",
        cause_id=order.order_id,
        lines=[PromiseChange(line_id="1", sku="SKU-1", quantity=2, old_ship_at=promised, new_ship_at=NOON + timedelta(days=3))],
        changed_at=NOON,
    )
    moved = settled(move_promise(dated, sooner, NOON, PATIENCE).order, NOON, PATIENCE)
    assert (moved.waiting_for, moved.waiting_until) == ("stock", NOON + timedelta(days=4))


@pytest.mark.parametrize("cause", ["restocked", "fulfillment_cancelled"])
def test_a_promise_counts_anew_only_when_the_order_had_to_wait_for_stock(cause: str) -> None:
    order = replace(a_copy(), promise_from=NOON - timedelta(days=5))
    heard = hear(order, reserved(order, STOCK, cause=cause))
    assert (heard.promise_from == NOON) == (cause == "restocked")
