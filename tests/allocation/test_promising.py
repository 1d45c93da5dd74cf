"""When waiting units will ship."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.promising import (
    QueuedUnits,
    came_out_of_turn,
    date_of_unit,
    may_release,
    promise_moves,
    sellable_of,
    tail_has_moved,
)
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


def test_arriving_units_first_make_up_for_what_is_missing() -> None:
    assert date_of_unit(1, supplies_of((10, 3), (20, 2)), on_shelf=-2) == at(10)
    assert date_of_unit(2, supplies_of((10, 3), (20, 2)), on_shelf=-2) == at(20)


def test_supply_without_a_date_promises_none() -> None:
    supplies = [*supplies_of((10, 1)), SupplyUnits("MUG", None, 5)]
    assert [date_of_unit(position, supplies) for position in (1, 2, 6, 7)] == [at(10), None, None, None]


def test_a_preorder_ships_at_its_release_or_when_its_goods_come_whichever_is_later() -> None:
    supplies = supplies_of((10, 1), (30, 1))
    dates = [date_of_unit(position, supplies, on_shelf=1, release_at=at(20)) for position in (1, 2, 3, 4)]
    assert dates == [at(20), at(20), at(30), None]


def test_a_preorder_is_capped_by_its_supply() -> None:
    supplies = supplies_of((10, 3), (30, 2))
    assert sellable_of(0, 0, supplies, at(20)) == (5, "preorder", at(20))
    assert sellable_of(0, 3, supplies, at(20)) == (2, "preorder", at(30))
    assert sellable_of(4, 3, supplies, at(20)) == (6, "preorder", at(20)), "what is on the shelf waits for the release too"
    assert sellable_of(0, 5, supplies, at(20)) == (0, "sold_out", None)
    assert sellable_of(0, 7, supplies, at(20)) == (0, "sold_out", None)


def test_a_preorder_is_released_when_its_goods_are_there_and_its_date_has_come_or_may_be_early() -> None:
    assert may_release(at(10), 1, at(10), early=False)
    assert not may_release(at(10), 1, at(9), early=False)
    assert not may_release(at(10), 0, at(11), early=False)
    assert may_release(at(10), 1, at(9), early=True)
    assert not may_release(None, 1, at(9), early=True)


def test_a_place_whose_units_are_there_is_about_to_get_them_and_not_a_date() -> None:
    moves = promise_moves(queue_of(2, 1, told=at(5)), supplies_of((10, 3)), on_shelf=2)
    assert [(move.place.queued, move.new_ship_at) for move in moves] == [(1, at(10))]


@given(ahead=st.integers(0, 9), available=st.integers(-3, 3), expected=st.integers(0, 9), served=st.integers(0, 9), added=st.integers(0, 9))
def test_a_queue_that_is_served_from_its_supply_has_not_moved_and_one_that_loses_a_place_has(
    ahead: int, available: int, expected: int, served: int, added: int
) -> None:
    served = min(served, ahead, expected)
    was = {"was_queued": ahead, "was_available": available, "was_expected": expected}
    assert not tail_has_moved(**was, queued=ahead - served + added, available=available, expected=expected - served, added=added)
    assert tail_has_moved(**was, queued=ahead - served + added - 1, available=available, expected=expected - served, added=added)
    assert tail_has_moved(**was, queued=ahead - served, available=available, expected=expected - served + 1, added=0)


@given(
    waiting=st.lists(st.integers(1, 5), max_size=12),
    coming=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 6)), max_size=8),
    on_shelf=st.integers(-6, 6),
    release=st.none() | st.integers(0, 60),
)
def test_every_place_ships_with_its_last_unit_counted_one_by_one_and_nobody_is_promised_before_who_came_first(
    waiting: list[int], coming: list[tuple[int, int]], on_shelf: int, release: int | None
) -> None:
    supplies = supplies_of(*sorted(coming))
    queue = queue_of(*waiting, told=at(-1))
    release_at = None if release is None else at(release)
    on_shelf = min(on_shelf, 0) if release is None else on_shelf
    dates = [move.new_ship_at for move in promise_moves(queue, supplies, on_shelf=on_shelf, release_at=release_at)]
    arrivals = [at(minutes) for minutes, quantity in sorted(coming) for _ in range(quantity)][max(0, -on_shelf) :]
    for last, date in zip((sum(waiting[: index + 1]) for index in range(len(waiting))), dates, strict=True):
        later = last - max(0, on_shelf)
        if later <= 0:
            assert date == release_at
        elif later > len(arrivals):
            assert date is None
        else:
            assert date == max(arrivals[later - 1], release_at or arrivals[later - 1])
    known = [date for date in dates if date is not None]
    assert known == sorted(known)
    assert dates[len(known) :] == [None] * (len(dates) - len(known))


def test_goods_come_in_turn_when_the_earliest_expected_ones_come_first() -> None:
    expected = supplies_of((10, 3), (10, 1), (20, 2))
    assert not came_out_of_turn(expected, expected)
    assert not came_out_of_turn(expected, supplies_of((10, 1), (10, 1), (20, 2)))
    assert not came_out_of_turn(expected, supplies_of((20, 1)))
    assert came_out_of_turn(expected, supplies_of((10, 3), (10, 1), (20, 1)))
    assert came_out_of_turn([*expected, SupplyUnits("MUG", None, 2)], [*expected, SupplyUnits("MUG", None, 1)])
