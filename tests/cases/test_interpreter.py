"""The interpreter of cases: what it does not understand it says, and quantities become whole units."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.cases.running  # noqa: F401 - teaches the interpreter its words
from tests.cases.interpreter import run_case
from tests.cases.report import is_red, lines_of, table_of
from tests.cases.tables import Case, Quantity
from tests.cases.verdicts import Differs, Outcome, Verdict
from tests.cases.world import World
from tests.system import System

CASE = Case(peer="peer", id="P-1", test="a test", area="order", given={}, when={}, expect={}, fit="direct")


def world(case: Case) -> World:
    """A world whose system answers to nothing: whoever asks it fails."""
    return World(cast(System, object()), case, "0001")


async def test_a_word_that_nobody_taught_is_reported_before_anything_is_done() -> None:
    case = replace(CASE, given={"weather": "rain"}, when={"order": {"A": 1}}, expect={"sunshine": True})
    outcome = await run_case(case, world(case))
    assert outcome.verdict is Verdict.NOT_TRANSLATED
    assert "given: weather" in outcome.why
    assert "expect: sunshine" in outcome.why


@pytest.mark.parametrize(
    "given_words", [{"stock": "somewhere"}, {"on_hand": "many"}, {"stock": {"L1": {"A": "a few"}}}, {"ship_to": "the moon"}]
)
async def test_a_value_that_nobody_taught_is_reported(given_words: dict[str, object]) -> None:
    case = replace(CASE, given=given_words)
    outcome = await run_case(case, world(case))
    assert outcome.verdict is Verdict.NOT_TRANSLATED
    assert next(iter(given_words)) in outcome.why


async def test_a_notion_that_is_not_ours_is_named_with_what_takes_its_place() -> None:
    case = replace(CASE, given={"tracked": False})
    outcome = await run_case(case, world(case))
    assert (outcome.verdict, outcome.why[:20]) == (Verdict.NOT_APPLICABLE, "every SKU is counted")


def test_an_answer_that_differs_is_told_with_both() -> None:
    own = world(CASE)
    with pytest.raises(Differs, match="available: 3, not 4"):
        own.measure("available", 3, 4)


@pytest.mark.parametrize(
    ("documents", "scale"),
    [({"on_hand": 4}, 1), ({"on_hand": 5.5}, 2), ({"a": 2.2, "b": 5.5}, 10), ({"a": 9.33, "b": 0.17}, 100), ({"point": {"lat": 1.234}}, 1)],
)
def test_a_case_is_counted_in_the_largest_unit_that_makes_all_of_it_whole(documents: dict[str, object], scale: int) -> None:
    assert replace(CASE, given=documents).scale == scale


@given(st.decimals(min_value=0, max_value=1_000, places=2))
def test_scaling_changes_no_proportion(value: Decimal) -> None:
    case = replace(CASE, given={"on_hand": float(value), "hold": 0.01})
    assert case.units(float(value)) == value * case.scale


def test_goods_that_are_flagged_are_there_and_not_for_sale() -> None:
    case = replace(CASE, when={"order": {"A": 0.5}})
    assert case.quantity("6 (flagged out of stock)") == Quantity(12, sellable=False)
    assert case.quantity(6) == Quantity(12)


def test_only_a_wrong_answer_and_a_word_that_is_unknown_make_the_report_red() -> None:
    assert {verdict for verdict in Verdict if is_red([Outcome(CASE, verdict)])} == {Verdict.FAILED, Verdict.NOT_TRANSLATED}


def test_the_table_counts_every_case_once() -> None:
    outcomes = [Outcome(CASE, verdict, "measured", "why") for verdict in Verdict]
    rows = list(table_of(outcomes))
    assert [cell.strip() for cell in rows[-1].split("|")[3:-1]] == ["1", "1", "1", "1", "1", "1", "6"]
    assert sum(line.startswith("P-1") for line in lines_of(outcomes)) == len(Verdict)
