"""Is this order new, valid and ours?"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.sync.decide.orders import (
    Article,
    canonical_order,
    captured_cents,
    content_digest,
    content_event_id,
    external_id_in,
    judge_repetition,
    problems_of_order,
    rejection,
)
from shared.contracts.channels import ChannelOrderReceived, FieldProblem
from shared.contracts.envelope import new_id
from tests.sync.messages import NOW, a_line, a_place, an_order, an_order_document

MUG = Article("A mug", 300, hazmat=False, listed=True, unit_volume_cubic_centimetres=800)
CATALOGUE = {("shop", "MUG"): MUG, ("shop", "LAMP"): Article("A lamp", 900, hazmat=True, listed=False)}


def fields_wrong(order: ChannelOrderReceived, partner: str | None = None) -> list[str]:
    return [problem.field for problem in problems_of_order(order, partner=partner, catalogue=CATALOGUE, now=NOW)]


def test_a_good_order_has_no_problems() -> None:
    assert fields_wrong(an_order(), partner="shop") == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [a_line("CHAIR")]}, "lines.0.sku"),
        ({"lines": [a_line("MUG"), a_line("LAMP", line="b")]}, "lines.1.sku"),
        ({"lines": [a_line("MUG"), a_line("MUG")]}, "lines.0.external_line_id"),
        ({"paid_at": "2026-03-04T12:00:01Z"}, "paid_at"),
        ({"paid_at": "1999-12-31T23:59:59Z"}, "paid_at"),
        ({"promise": {"deliver_by": "2026-03-01T00:00:00Z"}}, "promise.deliver_by"),
        ({"external_id": "  "}, "external_id"),
        ({"external_id": ".."}, "external_id"),
        ({"external_id": "10\x0001"}, "external_id"),
        ({"customer": {"email": "ann@example.com", "name": "An\x00n"}}, "customer.name"),
        ({"lines": [a_line("MUG", 1_000_000, price=10_001)]}, "lines"),
        ({"currency": "ZZZ"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"ship_to": a_place("ABCDE")}, "ship_to.postal_code"),
        ({"ship_to": a_place("7870")}, "ship_to.postal_code"),
        ({"ship_to": a_place("78701-12")}, "ship_to.postal_code"),
        ({"ship_to": a_place("٧٨٧٠١")}, "ship_to.postal_code"),
        ({"ship_to": a_place("78701") | {"name": "  "}}, "ship_to.name"),
        ({"ship_to": a_place("78701") | {"line1": "\u00a0\t"}}, "ship_to.line1"),
        ({"ship_to": a_place("78701") | {"city": "\u200b"}}, "ship_to.city"),
    ],
)
def test_what_the_contract_cannot_see_is_named_by_its_field(changes: dict[str, Any], field: str) -> None:
    assert field in fields_wrong(an_order(**changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"paid_at": "0001-01-01T00:00:00+14:00"}, "paid_at"), ({"promise": {"deliver_by": "9999-12-31T23:59:59-12:00"}}, "deliver_by")],
)
def test_a_time_that_only_a_mistake_gives_is_named_by_the_contract(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        an_order(**changes)
    assert [error["loc"][-1] for error in wrong.value.errors()] == [field]


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "JPY"},
        {"ship_to": a_place("78701-1234")},
        {"ship_to": a_place(" 00501 ")},
        {"ship_to": a_place("K1A 0B1", country="CA")},
        {"ship_to": a_place("ABCDE", country="GB")},
    ],
)
def test_currencies_in_use_and_postal_codes_of_any_country_are_taken(changes: dict[str, Any]) -> None:
    assert fields_wrong(an_order(**changes)) == []


def test_every_problem_says_the_way_out() -> None:
    order = an_order(external_id=" ", paid_at="1990-01-01T00:00:00Z", lines=[a_line("CHAIR"), a_line("LAMP")])
    problems = problems_of_order(order, partner="other", catalogue=CATALOGUE, now=NOW)
    assert len(problems) == 7
    assert all(problem.remedy for problem in problems)


def test_a_channel_may_only_send_its_own_orders() -> None:
    assert fields_wrong(an_order(), partner="other") == ["channel"]


def test_a_channels_clock_may_be_a_day_ahead() -> None:
    assert fields_wrong(an_order(paid_at=(NOW + timedelta(hours=24)).isoformat())) == []


def test_an_order_with_thousands_of_wrong_lines_is_answered_with_a_hundred_problems() -> None:
    lines = [a_line("CHAIR", line=str(number)) for number in range(2_000)]
    assert len(fields_wrong(an_order(lines=lines))) == 100


def test_captured_money_counts_lines_tax_and_shipping() -> None:
    assert captured_cents(an_order()) == 2 * 1250 + 200 + 500


def test_the_canonical_order_is_filled_from_the_product_master() -> None:
    order_id = new_id()
    placed = canonical_order(an_order(), order_id, CATALOGUE)
    assert (placed.order_id, placed.order_version, placed.placed_at) == (order_id, 1, datetime(2026, 3, 2, 11, 59, tzinfo=UTC))
    line = placed.lines[0]
    assert (line.line_id, line.sku, line.title, line.unit_weight_grams, line.hazmat) == ("a", "MUG", "A mug", 300, False)
    assert line.unit_volume_cubic_centimetres == 800
    assert (line.quantity, line.unit_price_cents, line.tax_cents) == (2, 1250, 200)
    assert (placed.channel, placed.external_id, placed.shipping_paid_cents, placed.currency) == ("shop", "1001", 500, "USD")


def test_the_hold_that_an_order_names_is_passed_on_and_is_part_of_what_it_says() -> None:
    hold_id = new_id()
    order = an_order(hold_id=str(hold_id))
    assert canonical_order(order, new_id(), CATALOGUE).hold_id == hold_id
    assert canonical_order(an_order(), new_id(), CATALOGUE).hold_id is None
    assert content_digest(order) != content_digest(an_order())
    assert content_digest(an_order(hold_id=None)) == content_digest(an_order())


def test_the_same_content_written_differently_is_the_same() -> None:
    first = an_order(lines=[a_line("MUG", line="a"), a_line("MUG", 3, line="b")])
    later = an_order(
        lines=[a_line("MUG", 3, line="b"), a_line("MUG", line="a")],
        paid_at="2026-03-02T06:59:00-05:00",
        segment="dtc",
        promise={"service_level": "standard"},
        a_field_of_a_later_version=1,
    )
    assert content_digest(first) == content_digest(later)
    assert content_event_id(first) == content_event_id(later)


@given(st.randoms(use_true_random=False), st.integers(-14 * 60, 14 * 60))
def test_neither_line_order_nor_offset_changes_the_digest(chance: random.Random, offset_minutes: int) -> None:
    lines = [a_line("MUG", quantity, line=str(quantity)) for quantity in range(1, 6)]
    moment = datetime(2026, 3, 2, 11, 59, tzinfo=UTC)
    shuffled = lines.copy()
    chance.shuffle(shuffled)
    same = an_order(lines=shuffled, paid_at=moment.astimezone(timezone(timedelta(minutes=offset_minutes))).isoformat())
    assert content_digest(same) == content_digest(an_order(lines=lines, paid_at=moment.isoformat()))


CHANGES: list[dict[str, Any]] = [
    {"external_id": "1002"},
    {"channel": "outlet"},
    {"paid_at": "2026-03-02T11:59:00.000001Z"},
    {"currency": "EUR"},
    {"segment": "wholesale"},
    {"shipping_paid_cents": 501},
    {"split_policy": "hold_all"},
    {"promise": {"service_level": "two_day"}},
    {"promise": {"deliver_by": "2026-03-09T00:00:00Z"}},
    {"customer": {"email": "bob@example.com"}},
    {"ship_to": an_order_document()["ship_to"] | {"line2": "Apt 2"}},
    {"lines": [a_line("MUG", 3, price=1250, tax=200)]},
    {"lines": [a_line("MUG", 2, price=1251, tax=200)]},
    {"lines": [a_line("MUG", 2, price=1250, tax=201)]},
    {"lines": [a_line("MUG", 2, price=1250, tax=200, line="b")]},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_any_change_of_content_changes_the_digest(change: dict[str, Any]) -> None:
    assert content_digest(an_order(**change)) != content_digest(an_order())


def test_a_repetition_is_nothing_to_speak_of_even_when_its_sku_was_delisted_since() -> None:
    problem = FieldProblem(field="lines.0.sku", problem="not listed", remedy="list it")
    assert judge_repetition(an_order(), [problem], b"same", b"same") == []


def test_a_contradiction_is_named_first() -> None:
    problem = FieldProblem(field="lines.0.sku", problem="not listed", remedy="list it")
    told = judge_repetition(an_order(), [problem], b"new", b"old")
    assert [item.field for item in told] == ["external_id", "lines.0.sku"]
    assert "different content for external id '1001'" in told[0].problem


def test_an_order_nobody_knows_keeps_its_own_problems() -> None:
    problem = FieldProblem(field="lines.0.sku", problem="not listed", remedy="list it")
    assert judge_repetition(an_order(), [problem], b"new", None) == [problem]


@pytest.mark.parametrize("code", [None, "", "SHOP", "a.b", "#", "x" * 41])
def test_nobody_is_told_under_a_code_that_cannot_be_a_channels(code: str | None) -> None:
    problem = FieldProblem(field="body", problem="not JSON", remedy="send JSON")
    assert rejection(channel=code, external_id=None, event_id=new_id(), problems=[problem], now=NOW) is None


@pytest.mark.parametrize("document", [None, [], {}, {"data": 5}, {"data": {"external_id": 5}}, {"data": {"external_id": "x" * 121}}])
def test_an_external_id_is_only_taken_where_there_is_one(document: Any) -> None:
    assert external_id_in(document) is None
    assert external_id_in({"data": {"external_id": "1001"}}) == "1001"
