"""When waiting units will ship."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.promising import QueuedUnits, Supply, date_of_unit, promise_moves, reschedule, sellable_of
from services.allocation.decide.stock import SupplyUnits
from shared.contracts.envelope import new_id
from tests.allocation.messages import at


def queue_of(*units: int, told: datetime | None = None) -> list[QueuedUnits]:
    return [QueuedUnits(new_id(), new_id(), "1", "MUG", quantity, told) for quantity in units]


def supplies_of(*parts: tuple[float, int]) -> list[SupplyUnits]:
    return [SupplyUnits("MUG", at(minutes), quantity) for minutes, quantity in parts]


def test_a_line_is_promised_the_day_its_last_unit_arrives() -> None:
    queue = queue_of(2, 3, 1)
    moves = promise_moves(queue, supplies_of((10, 3), (20, 2), (30, 9)))
    assert [move.new_ship_at for move in moves] == [at(10), at(20), at(30)]


def test_what_no_supply_reaches_has_no_date() -> None:
    moves = promise_moves(queue_of(2, 2, told=at(5)), supplies_of((10, 3)))
    assert [move.new_ship_at for move in moves] == [at(10), None]


def test_only_dates_that_moved_are_told() -> None:
    assert promise_moves(queue_of(1, 1, told=at(10)), supplies_of((10, 2))) == []


def test_a_sold_out_sku_says_when_the_next_order_would_ship() -> None:
    supplies = supplies_of((10, 3), (20, 2))
    assert sellable_of(0, 2, supplies) == (0, "backorder", at(10))
    assert sellable_of(-1, 3, supplies) == (0, "backorder", at(20))
    assert sellable_of(0, 5, supplies) == (0, "backorder", None)
    assert sellable_of(4, 0, supplies) == (4, "in_stock", None)


def test_an_older_change_of_date_that_comes_late_changes_nothing() -> None:
    supply = reschedule(Supply(new_id(), at(100)), at(300), said_at=at(2))
    assert reschedule(supply, at(200), said_at=at(1)).expected_at == at(300)
    assert reschedule(supply, at(400), said_at=at(3)).expected_at == at(400)


@given(
    waiting=st.lists(st.integers(1, 5), max_size=12),
    coming=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 6)), max_size=8),
)
def test_the_queue_and_the_single_unit_agree_on_every_date_and_nobody_is_promised_before_who_came_first(
    waiting: list[int], coming: list[tuple[int, int]]
) -> None:
    supplies = supplies_of(*sorted(coming))
    queue = queue_of(*waiting, told=at(-1))
    dates = [move.new_ship_at for move in promise_moves(queue, supplies)]
    positions = [sum(waiting[: index + 1]) for index in range(len(waiting))]
    assert dates == [date_of_unit(position, supplies) for position in positions]
    known = [date for date in dates if date is not None]
    assert known == sorted(known)
    assert dates[len(known) :] == [None] * (len(dates) - len(known))
