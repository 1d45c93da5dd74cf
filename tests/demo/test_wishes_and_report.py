"""What the demo asks for and how it counts, without a stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.demo.books import SupplyBooks
from deploy.local.demo.report import DemoReport, Percentiles, ShippingCost, compare_cost, input_rows_of, lines_of, percentiles_of
from deploy.local.demo.run import count_duplicates, digest_of_inputs, shelf_differences
from deploy.local.demo.scenes import SceneOutcome, play_one
from deploy.local.demo.stage import check
from deploy.local.demo.wishes import ReturnWish, choose_units, condition_of, draw_wishes
from simulators.adapter.generated_day import generate_day
from simulators.adapter.opening_stock import declare_stock, warehouses
from simulators.adapter.replay import Replay
from simulators.adapter.sources import open_source

SAMPLE = Path(__file__).resolve().parents[1] / "simulators" / "shopify_orders_export.csv"


@pytest.fixture(scope="module")
def day() -> Replay:
    return generate_day(seed=1, channels=("webshop", "marketplace"))


def test_the_same_seed_asks_for_the_same_changes(day: Replay) -> None:
    assert draw_wishes(day, 1) == draw_wishes(day, 1)
    assert draw_wishes(day, 1) != draw_wishes(day, 2)


def test_no_order_gets_two_wishes_and_every_kind_is_there(day: Replay) -> None:
    wishes = draw_wishes(day, 1)
    asked = [(wish.channel, wish.external_id) for wish in wishes.changes]
    asked += [(wish.channel, wish.external_id) for wish in wishes.returns]
    assert len(asked) == len(set(asked))
    assert {wish.kind for wish in wishes.changes} == {"cancel", "fewer_units", "new_address"}
    assert 50 < len(wishes.returns) < 160


def test_fewer_units_are_only_wished_of_orders_that_can_spare_one(day: Replay) -> None:
    orders = {order.external_id: order for order in day.good_orders}
    for wish in draw_wishes(day, 1).changes:
        if wish.kind == "fewer_units":
            assert any(line["quantity"] > 1 for line in orders[wish.external_id].content["lines"])


def test_what_a_file_cancels_is_cancelled_and_what_it_takes_back_is_returned(real_inputs: Path) -> None:
    replay = open_source(real_inputs / "online_retail" / "2011-01-18.csv.gz", channels=["webshop"])
    wishes = draw_wishes(replay, 1)
    whole = {withdrawal.external_id for withdrawal in replay.withdrawals if withdrawal.whole}
    assert whole
    assert whole <= {wish.external_id for wish in wishes.changes if wish.kind == "cancel"}


def test_without_simulated_wishes_only_what_the_input_withdraws_is_played(real_inputs: Path, day: Replay) -> None:
    replay = open_source(real_inputs / "online_retail" / "2011-01-18.csv.gz", channels=["webshop"])
    wishes = draw_wishes(replay, 1, simulated=False)
    assert len(wishes.changes) + len(wishes.returns) == wishes.of_input == len(replay.withdrawals)
    assert wishes.simulated == 0
    assert "none is simulated" in wishes.describe()
    assert draw_wishes(day, 1, simulated=False).describe() == "none is played."
    drawn = draw_wishes(replay, 1)
    assert drawn.simulated == len(drawn.changes) + len(drawn.returns) - len(replay.withdrawals) > 0
    assert f"{drawn.simulated:,} of them are SIMULATED" in drawn.describe()


def digest(seed: int) -> str:
    """What the inputs of a small generated day are called."""
    small = generate_day(seed=seed, channels=("webshop", "marketplace"), orders=200)
    return digest_of_inputs(small, draw_wishes(small, seed), declare_stock(small, warehouses(("east", "west")), seed))


def test_another_process_gives_the_same_inputs_for_a_seed() -> None:
    other = subprocess.run(
        [sys.executable, "-c", "from tests.demo.test_wishes_and_report import digest; print(digest(1))"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=SAMPLE.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest(1) != digest(2)


async def test_a_scene_that_goes_wrong_is_told_and_fails_alone() -> None:
    async def goes_wrong() -> str:
        check(False, "2 units of it must wait, 0 do")
        return "shown"

    async def goes_well() -> str:
        return "shown"

    assert await play_one("restock", goes_wrong) == SceneOutcome("restock", passed=False, told="2 units of it must wait, 0 do")
    assert await play_one("preorder", goes_well) == SceneOutcome("preorder", passed=True, told="shown")


def test_a_file_s_return_takes_no_more_than_has_shipped() -> None:
    wish = ReturnWish("webshop", "1", seed=0, units=(("a", 5), ("b", 2), ("c", 1)))
    assert choose_units(wish, [("a", 3), ("b", 9)]) == [("a", 3), ("b", 2)]


@given(st.integers(0, 10_000), st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 9), max_size=5))
def test_a_drawn_return_takes_some_of_what_has_shipped(seed: int, shipped: dict[str, int]) -> None:
    chosen = choose_units(ReturnWish("webshop", "1", seed), list(shipped.items()))
    assert bool(chosen) == bool(shipped)
    assert all(1 <= quantity <= shipped[line_id] for line_id, quantity in chosen)
    assert len({line_id for line_id, _ in chosen}) == len(chosen)


def test_returned_units_arrive_in_every_condition() -> None:
    states = Counter(condition_of(ReturnWish("webshop", "1", seed), "1") for seed in range(500))
    assert set(states) == {"sellable", "damaged", "missing"}
    assert states["sellable"] > 250


def test_percentiles_are_measured_values() -> None:
    assert percentiles_of([]) == Percentiles(None, None, 0)
    assert percentiles_of([7]) == Percentiles(7, 7, 1)
    assert percentiles_of(range(1, 101)) == Percentiles(50, 99, 100)


def test_the_baseline_is_the_first_location_of_the_list_that_has_everything() -> None:
    records = [
        {
            "cost_cents": 500,
            "candidates": [["newark-nj", 2, 10, 500], ["reno-nv", 8, 2_500, 900], ["dallas-tx", 5, 900, "has only a part"]],
        },
        {"cost_cents": 700, "candidates": [["newark-nj", 2, 10, 700], ["reno-nv", 8, 2_500, "too late"]]},
        {"cost_cents": 1_200, "candidates": [["newark-nj", 2, 10, "has only a part"], ["reno-nv", 8, 2_500, "has only a part"]]},
    ]
    cost = compare_cost(records, ["reno-nv", "dallas-tx", "newark-nj"])
    assert (cost.decisions, cost.decisions_compared, cost.our_cents, cost.baseline_cents) == (3, 2, 1_200, 1_600)
    assert cost.saving_percent == 25.0


def test_without_decisions_nothing_is_claimed_to_be_saved() -> None:
    assert compare_cost([], ["reno-nv"]).saving_percent is None


def test_stopped_duplicates_are_read_from_the_metrics_page() -> None:
    page = (
        '# HELP messages_handled_total Messages\nmessages_handled_total{outcome="done",service="sync",type="a.v1"} 90.0\n'
        'messages_handled_total{outcome="duplicate",service="sync",type="a.v1"} 3.0\n'
        'messages_handled_total{outcome="duplicate",service="sync",type="b.v1"} 4.0\n'
    )
    assert count_duplicates(page) == 7


def test_books_and_shelves_are_compared_to_the_unit() -> None:
    booked = {("reno-nv", "MUG"): 4, ("reno-nv", "LAMP"): 2, ("dallas-tx", "MUG"): 0}
    shelves = [{"location": "reno-nv", "sku": "MUG", "on_hand": 3}, {"location": "reno-nv", "sku": "LAMP", "on_hand": 2}]
    assert shelf_differences(booked, shelves) == ["MUG at reno-nv: 4 in the books, 3 on the shelf"]


def a_report(**changes: object) -> DemoReport:
    """A report of a day on which all went well."""
    good = DemoReport(
        source="generated day, seed 1",
        seed=1,
        inputs_digest="0123456789ab",
        currency="USD",
        orders_in=10,
        orders_taken=8,
        orders_rejected=1,
        orders_rejected_expected=1,
        orders_shipped=6,
        orders_waiting={"stock": 1},
        orders_cancelled=1,
        orders_unaccounted=0,
        units_oversold=0,
        units_shipped=9,
        shelf_differences=(),
        messages_published=100,
        messages_parked=1,
        messages_parked_by_type={"sync: channel.order_received.v1": 1},
        duplicates_stopped=1,
        duplicates_stopped_by_kind={"orders delivered again": 1},
        audit_violations=0,
        audit_violated=(),
        decisions_recorded=9,
        decisions_different=0,
        supply=SupplyBooks("MUG", 4, 0, 3, 3),
        scenes=(SceneOutcome("preorder", passed=True, told="an order waited for the release"),),
        returns_closed=1,
        refunds=2,
        refunds_failed=0,
        refunds_cents_by_currency={"USD": 12_345},
        channel_push_latency_ms=Percentiles(10, 40, 99),
        placed_to_fulfillment_request_ms=Percentiles(80, 200, 8),
        orders_per_second=4.0,
        replay_seconds=2.0,
        wall_seconds=30.0,
        shipping_cost=ShippingCost("by hand", ("reno-nv",), 8, 6, 900, 1_000),
        wishes={"cancel: cancelled": 1},
        wishes_simulated=3,
        wishes_of_input=2,
        input_rows=None,
        assumptions=("Everything is simulated.",),
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # the tests name fields of the report


ISSUE_FIELDS = {
    "orders_in", "orders_rejected", "orders_shipped", "orders_waiting", "orders_cancelled", "units_oversold", "messages_published",
    "messages_parked", "duplicates_stopped", "audit_violations", "returns_closed", "refunds_cents", "channel_push_latency_ms",
    "placed_to_fulfillment_request_ms", "orders_per_second", "wall_seconds",
}  # fmt: skip


def test_the_report_file_has_every_field_that_was_asked_for() -> None:
    content = json.loads(json.dumps(a_report().as_json()))
    assert set(content) >= ISSUE_FIELDS
    assert set(content["channel_push_latency_ms"]) >= {"p50", "p99"}
    assert content["passed"] is True
    assert content["refunds_cents"] == 12_345


def test_refunds_of_several_currencies_are_never_one_sum() -> None:
    report = a_report(refunds_cents_by_currency={"EUR": 200, "USD": 12_345})
    content = report.as_json()
    assert (content["refunds_cents"], content["refunds_cents_by_currency"]) == (None, {"EUR": 200, "USD": 12_345})
    text = "\n".join(lines_of(report))
    assert "123.45" in text
    assert "2.00" in text
    assert "125.45" not in text


@pytest.mark.parametrize(
    "trouble",
    [
        {"units_oversold": 1},
        {"audit_violations": 1},
        {"decisions_different": 1},
        {"shelf_differences": ["MUG at reno-nv: 4 in the books, 3 on the shelf"]},
        {"orders_unaccounted": 1},
        {"supply": SupplyBooks("MUG", 4, 0, 3, 4)},
        {"scenes": (SceneOutcome("restock", passed=False, told="this did not happen within 30 s: the first order ships"),)},
        {"not_at_rest": "1 orders moving"},
        {"input_rows": {"unexplained": 1, "reported_by_reason": {}, "rows_in": 1, "rows_in_orders": 0, "rows_in_withdrawals": 0}},
    ],
)
def test_whatever_is_wrong_fails_the_demo(trouble: dict[str, object]) -> None:
    report = a_report(**trouble)
    assert not report.passed
    assert "FAILED" in "\n".join(lines_of(report))


def test_a_person_reads_what_waits_what_was_refused_and_what_is_simulated() -> None:
    text = "\n".join(lines_of(a_report()))
    for words in (
        "waiting for: stock",
        "rejected with a reason (expected 1)",
        "123.45",
        "simulated",
        "10 / 40 ms",
        "10.0 %",
        "release of MUG",
        "as it must   preorder: an order waited for the release",
        "3 wishes are simulated, 2 from the input",
        "inputs are seeded (seed 1, inputs 0123456789ab); outcomes depend on timing",
        "PASSED",
    ):
        assert words in text


def test_the_account_of_a_file_is_part_of_the_report() -> None:
    rows = input_rows_of(open_source(SAMPLE, channels=["webshop"]))
    assert rows is not None
    assert (rows["rows_in"], rows["rows_in_orders"], rows["rows_reported"], rows["unexplained"]) == (12, 4, 8, 0)
    assert rows["reported"][0] == {"row": 5, "reason": "not_paid_yet", "detail": "order #1003: financial status pending"}
    text = "\n".join(lines_of(a_report(input_rows=rows)))
    assert "reported: cancelled_in_the_shop" in text
