"""What may be said about a supply, and what it still brings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.supply import (
    ExpectedLine,
    Supply,
    call_off,
    change_lines,
    content_of,
    contradictions,
    is_overdue,
    is_past,
    receive,
    reschedule,
)
from shared.calendar import WorkCalendar
from shared.contracts.envelope import new_id
from shared.contracts.stock import SupplyLine
from tests.allocation.messages import NOW, at, supply

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY_EVENING = datetime(2026, 3, 6, 17, 0, tzinfo=NEW_YORK)
MONDAY_CUTOFF = datetime(2026, 3, 9, 15, 0, tzinfo=NEW_YORK)


def test_an_older_change_of_date_that_comes_late_changes_nothing() -> None:
    moved = reschedule(Supply(new_id(), "east", at(100)), at(300), None, said_at=at(2))
    assert reschedule(moved, at(200), None, said_at=at(1)).expected_at == at(300)
    assert reschedule(moved, at(400), None, said_at=at(3)).expected_at == at(400)


def test_goods_ship_by_the_calendar_of_the_place_they_come_to() -> None:
    calendar = WorkCalendar(NEW_YORK, dock_to_stock_days=1)
    assert reschedule(Supply(new_id(), "east", at(0)), FRIDAY_EVENING, calendar, NOW).leaves_at == MONDAY_CUTOFF
    assert reschedule(Supply(new_id(), "east", at(0)), FRIDAY_EVENING, None, NOW).leaves_at is None


def test_an_overdue_supply_has_a_date_again_when_somebody_says_one() -> None:
    assert not reschedule(Supply(new_id(), "east", at(0), overdue=True), at(600), None, NOW).overdue


def test_a_date_lies_in_the_past_when_its_day_is_over_everywhere() -> None:
    assert not is_past(NOW - timedelta(hours=23), NOW)
    assert is_past(NOW - timedelta(hours=25), NOW)


def test_goods_are_overdue_a_day_after_they_should_have_shipped() -> None:
    assert not is_overdue(NOW - timedelta(hours=23), NOW)
    assert is_overdue(NOW - timedelta(hours=25), NOW)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("location", {"location": "west"}),
        ("expected_at", {"expected_at": at(601)}),
        ("purchase_order", {"purchase_order": "PO-2"}),
        ("lines", {"lines": [SupplyLine(sku="MUG", quantity=4)]}),
        ("lines", {"lines": [SupplyLine(sku="CUP", quantity=3)]}),
    ],
)
def test_every_field_that_differs_is_named(field: str, other: dict[str, Any]) -> None:
    said = supply(3, at(600))
    assert contradictions(content_of(said), content_of(said.model_copy(update=other))) == [field]
    more = said.model_copy(update={**other, "lines": [SupplyLine(sku="MUG", quantity=9)]})
    assert contradictions(content_of(said), content_of(more)) == list(dict.fromkeys([field, "lines"]))


def test_the_same_said_in_other_words_is_no_contradiction() -> None:
    said = supply(3, at(600))
    parts = [SupplyLine(sku="MUG", quantity=1), SupplyLine(sku="MUG", quantity=2)]
    elsewhere = said.expected_at.astimezone(NEW_YORK)
    assert contradictions(content_of(said), content_of(said.model_copy(update={"lines": parts, "expected_at": elsewhere}))) == []
    assert contradictions(None, content_of(said)) == []


def test_what_comes_beyond_a_line_is_over_received_and_booked_all_the_same() -> None:
    lines, units = receive({"MUG": ExpectedLine(5, received=3)}, [SupplyLine(sku="MUG", quantity=4), SupplyLine(sku="CUP", quantity=1)])
    assert [tuple(line) for line in units] == [("MUG", 4, 2), ("CUP", 1, 1)]
    assert (lines["MUG"].received, lines["CUP"].received) == (7, 1)


def test_what_comes_of_a_closed_supply_is_over_received() -> None:
    closed = call_off({"MUG": ExpectedLine(5, received=3)})
    assert (closed["MUG"].expected, closed["MUG"].called_off) == (0, 2)
    assert call_off(closed) == closed
    assert receive(closed, [SupplyLine(sku="MUG", quantity=1)])[1][0].over_received == 1


def test_a_line_may_not_be_changed_to_less_than_has_come() -> None:
    lines = {"MUG": ExpectedLine(5, received=3), "CUP": ExpectedLine(5)}
    assert change_lines(lines, {"CUP": 9, "MUG": 2}, NOW) == ({}, "MUG")
    changed, too_few = change_lines(lines, {"MUG": 3, "CUP": 0, "BOWL": 7}, NOW)
    assert too_few is None
    assert {sku: (line.quantity, line.expected) for sku, line in changed.items()} == {"MUG": (3, 0), "CUP": (0, 0), "BOWL": (7, 7)}


def test_an_older_change_of_quantity_that_comes_late_changes_nothing() -> None:
    lines, _ = change_lines({"MUG": ExpectedLine(5)}, {"MUG": 9}, at(2))
    assert change_lines(lines, {"MUG": 7}, at(1)) == ({}, None)


@given(st.integers(0, 20), st.lists(st.integers(1, 9), max_size=6))
def test_every_unit_of_every_receipt_is_either_expected_or_over_received(quantity: int, receipts: list[int]) -> None:
    lines, over = {"MUG": ExpectedLine(quantity)}, 0
    for came in receipts:
        received, units = receive(lines, [SupplyLine(sku="MUG", quantity=came)])
        lines = dict(received)
        over += sum(line.over_received for line in units)
    assert lines["MUG"].received == sum(receipts)
    assert over == max(0, sum(receipts) - quantity)
    assert lines["MUG"].expected == max(0, quantity - sum(receipts))
