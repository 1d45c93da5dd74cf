"""Counts, corrections, receipts and returns: the rules, and counts against everything that is in flight."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocation.decide.books import Books, Place
from services.allocation.decide.counting import MovedSince, apply_count, count_problem, is_newer_count, set_on_hand
from services.allocation.decide.stock import Cause, Pool, Shelf
from shared.contracts.envelope import new_id
from shared.contracts.stock import SnapshotLine
from tests.allocation.messages import at


def books_with(on_shelf: int = 0, damaged: int = 0, quality_control: int = 0) -> tuple[Books, Shelf]:
    books = Books(pools={"MUG": Pool("MUG")}, places={"east": Place("acme", True, False)}, hazmat={"MUG": False})
    shelf = books.shelf("MUG", "east")
    cause = Cause(new_id(), at(-1_000))
    books.book(shelf, "received", on_shelf, cause)
    books.book(shelf, "damaged", damaged, cause)
    books.book(shelf, "quarantined", quality_control, cause)
    return books, shelf


@pytest.mark.parametrize(
    ("new_on_hand", "sellable", "quality_control", "damaged"),
    [(20, 15, 3, 2), (9, 4, 3, 2), (5, 0, 3, 2), (4, 0, 2, 2), (1, 0, 0, 1), (0, 0, 0, 0)],
)
def test_an_operator_counts_everything_and_the_difference_is_sellable_first(
    new_on_hand: int, sellable: int, quality_control: int, damaged: int
) -> None:
    books, shelf = books_with(on_shelf=10, damaged=2, quality_control=3)
    set_on_hand(books, shelf, new_on_hand, Cause(new_id(), at(0)))
    assert shelf.numbers == (sellable, 0, damaged, quality_control)
    assert shelf.on_hand == new_on_hand
    assert books.pools["MUG"].available == sellable


def test_a_count_holds_every_state_and_only_the_rest_may_be_sold() -> None:
    books, shelf = books_with(on_shelf=7)
    line = SnapshotLine(sku="MUG", on_hand=10, damaged=2, quality_control=1)
    assert apply_count(books, shelf, line, as_of=at(0), watermark=0, since=MovedSince(), event_id=new_id())
    assert shelf.numbers == (7, 0, 2, 1)
    assert books.pools["MUG"].available == 7


def test_a_count_whose_parts_exceed_the_whole_names_the_line_and_the_way_out() -> None:
    problem = count_problem(SnapshotLine(sku="MUG", on_hand=2, damaged=2, quality_control=1), 4)
    assert problem is not None
    assert problem.startswith("lines.4: on_hand 2")
    assert "send the corrected count" in problem
    assert count_problem(SnapshotLine(sku="MUG", on_hand=3, damaged=2, quality_control=1), 4) is None


@pytest.mark.parametrize(
    ("minutes", "watermark", "newer"),
    [(0, 5, False), (1, 5, True), (0, 6, True), (1, 6, True), (-1, 5, False), (-1, 6, True), (1, 4, False)],
)
def test_only_a_count_that_shows_more_of_the_feed_or_as_much_at_a_later_time_counts(minutes: int, watermark: int, newer: bool) -> None:
    shelf = Shelf("MUG", "east", True, counted_as_of=at(0), counted_watermark=5)
    assert is_newer_count(shelf, at(minutes), watermark) is newer


class Told(NamedTuple):
    """A movement as it really happened at the 3PL: when, in which place of its feed, and how many units."""

    minute: int
    sequence: int | None
    delta: int


def deliver(history: list[Told], order: list[int], count: tuple[int, int, int]) -> tuple[int, int]:
    """Hears movements in some order, and the count (index, as_of, watermark) where it stands in that order; returns shelf and pool."""
    books, shelf = books_with(on_shelf=100)
    seen: list[Told] = []
    truth_at_count = 100 + sum(told.delta for told in history if shows(told, count[1], count[2]))
    for index in order:
        if index == len(history):
            since = MovedSince(on_shelf=sum(told.delta for told in seen if not shows(told, count[1], count[2])))
            line = SnapshotLine(sku="MUG", on_hand=truth_at_count)
            assert apply_count(books, shelf, line, as_of=at(count[1]), watermark=count[2], since=since, event_id=new_id())
        else:
            told = history[index]
            seen.append(told)
            books.move(shelf, "adjusted", told.delta, Cause(new_id(), at(told.minute), None, told.sequence))
    return shelf.on_shelf, books.pools["MUG"].available


def shows(told: Told, as_of: int, watermark: int) -> bool:
    return told.minute <= as_of if told.sequence is None else told.sequence <= watermark


def test_a_count_gives_the_same_stock_at_every_place_among_the_movements_in_flight() -> None:
    history = [Told(1, 1, -10), Told(2, None, +7), Told(3, 2, -5), Told(4, None, -1)]
    truth = 100 - 10 + 7 - 5 - 1
    for as_of, watermark in ((0, 0), (1, 1), (2, 1), (3, 2), (9, 2)):
        for order in permutations(range(len(history) + 1)):
            assert deliver(history, list(order), (len(history), as_of, watermark)) == (truth, truth)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), deltas=st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=7))
def test_a_count_and_its_movements_commute(data: st.DataObject, deltas: list[tuple[int, bool]]) -> None:
    history: list[Told] = []
    for minute, (delta, sequenced) in enumerate(deltas, start=1):
        sequence = 1 + sum(told.sequence is not None for told in history) if sequenced else None
        history.append(Told(minute, sequence, delta))
    as_of = data.draw(st.integers(0, len(history)))
    watermark = sum(told.sequence is not None for told in history[:as_of])
    order = data.draw(st.permutations(range(len(history) + 1)))
    truth = 100 + sum(told.delta for told in history)
    assert deliver(history, order, (len(history), as_of, watermark)) == (truth, truth)
