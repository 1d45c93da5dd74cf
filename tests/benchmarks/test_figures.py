"""What the benchmark makes of what it measures: verdicts, percentiles, tables."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.chain.latency import Percentiles, percentiles
from benchmarks.chain.sustained import Sample, growth_per_second, judge
from benchmarks.failure import BenchmarkError
from benchmarks.holds import offer, wishes
from benchmarks.orders import channel_orders, placed_orders
from benchmarks.pgbench import script_of
from benchmarks.processor_time import Reading, microseconds_per_order
from benchmarks.promises import PromisesRun
from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.envelope import Envelope
from shared.contracts.holds import ChannelHoldRequested
from shared.contracts.orders import OrderPlaced


def _samples(under_way: list[int], waiting: list[int]) -> list[Sample]:
    return [
        Sample(float(second), path, side, "sync.order.placed.v1 (7)")
        for second, (path, side) in enumerate(zip(under_way, waiting, strict=True))
    ]


def test_a_rate_at_which_nothing_grows_is_sustained() -> None:
    sustained, words = judge(_samples([40, 42, 39, 41, 40], [200, 190, 210, 205, 200]), 300)
    assert sustained, words


def test_a_rate_at_which_orders_pile_up_is_not_sustained() -> None:
    sustained, words = judge(_samples([40, 60, 80, 100, 120], [200, 200, 200, 200, 200]), 300)
    assert not sustained
    assert "+20.0/s" in words


def test_a_rate_at_which_orders_wait_longer_than_a_second_is_not_sustained_even_when_they_do_not_pile_up() -> None:
    assert not judge(_samples([400, 400, 400, 400], [0, 0, 0, 0]), 300)[0]


def test_a_rate_at_which_mail_piles_up_is_not_sustained_although_orders_go_through() -> None:
    sustained, words = judge(_samples([40, 40, 40, 40], [200, 400, 600, 800]), 300)
    assert not sustained
    assert "sync.order.placed.v1" in words


def test_too_few_samples_are_an_error_and_no_verdict() -> None:
    with pytest.raises(BenchmarkError, match="too short"):
        judge(_samples([1, 1], [1, 1]), 300)


@given(st.floats(-50, 50), st.integers(3, 40), st.integers(0, 1_000))
def test_the_growth_of_a_straight_line_is_its_slope(slope: float, count: int, start: int) -> None:
    points = [(float(second), round(start + slope * second)) for second in range(count)]
    assert growth_per_second(points) == pytest.approx(slope, abs=1.0)


@given(st.lists(st.floats(0.0005, 100), min_size=1, max_size=300))
def test_percentiles_are_values_that_were_measured_and_in_order(durations: list[float]) -> None:
    found = percentiles(durations)
    measured = {round(duration * 1_000, 1) for duration in durations}
    assert {found.p50_ms, found.p99_ms, found.longest_ms} <= measured
    assert found.p50_ms <= found.p99_ms <= found.longest_ms


def test_p99_of_a_hundred_durations_is_the_second_longest() -> None:
    found = percentiles([number / 1_000 for number in range(1, 101)])
    assert (found.p50_ms, found.p99_ms, found.longest_ms) == (50.0, 99.0, 100.0)


def test_processor_time_is_told_per_order_with_the_most_expensive_first() -> None:
    used = Reading({"routing": 3.0, "sync": 5.0, "idle": 1.0}).since(Reading({"routing": 1.0, "idle": 1.0}))
    assert list(microseconds_per_order(used, 1_000).items()) == [("sync", 5_000.0), ("routing", 2_000.0)]


def test_every_order_is_valid_and_has_three_different_skus() -> None:
    for publication in placed_orders(50, 20, hot=False, seed=1):
        placed = Envelope[OrderPlaced].model_validate_json(publication.body).data
        assert len({line.sku for line in placed.lines}) == 3
    for order in channel_orders(50, "test", ("webshop", "marketplace"), 20):
        received = Envelope[ChannelOrderReceived].model_validate_json(order.publication.body).data
        assert (received.external_id, received.channel) == (order.external_id, order.channel)
        assert len({line.sku for line in received.lines}) == 3


def test_with_a_hot_sku_every_order_wants_it_once() -> None:
    wanted = [
        [line.sku for line in Envelope[OrderPlaced].model_validate_json(publication.body).data.lines]
        for publication in placed_orders(50, 20, hot=True, seed=1)
    ]
    assert all(skus.count("1000000") == 1 and len(set(skus)) == 3 for skus in wanted)


@pytest.mark.parametrize("shape", ["set-wise", "plain"])
@pytest.mark.parametrize("hot", [False, True])
def test_pgbench_writes_into_the_same_tables_as_allocation(shape: Any, hot: bool) -> None:
    script = script_of(shape, hot=hot, skus=100)
    written = set(re.findall(r"INSERT INTO (\w+)", script)) | set(re.findall(r"UPDATE (\w+) SET", script))
    assert written == {"inbox", "orders", "demand", "movements", "stock_pools", "outbox"}
    assert script.index("BEGIN;") < script.index("INSERT INTO inbox") < script.index("stock_pools") < script.index("INTO outbox")
    assert script.endswith("COMMIT;\n")


def _document() -> dict[str, Any]:
    cost = {"allocation": 200.0, "Postgres: allocation": 80.0, "RabbitMQ": 40.0}
    return {
        "machine": {"processors": "2 x thing"},
        "allocation": [
            {"driver": driver, "hot": hot, "orders_per_second": rate, "messages_per_batch": 200.0, "processor_us_per_order": cost}
            for driver, hot, rate in (("aio_pika", False, 6_000.0), ("aio_pika", True, 5_000.0), ("faststream", False, 3_000.0))
        ],
        "pgbench": [
            {"shape": "plain", "hot": hot, "clients": clients, "orders_per_second": rate, "latency_ms": 2.0}
            for hot, clients, rate in ((False, 4, 3_000.0), (False, 8, 4_000.0), (True, 8, 2_000.0))
        ],
    }


def test_ours_is_compared_with_pgbench_at_its_best_number_of_clients() -> None:
    uniform, hot, ratio = report.targets_of(_document())
    assert (uniform.value, uniform.row()[-1]) == (1.5, "met")
    assert (hot.value, hot.row()[-1]) == (2.5, "missed by 17%")
    assert (round(ratio.value, 2), ratio.row()[-1]) == (0.83, "missed by 7%")


def test_a_restock_is_judged_by_what_its_neighbours_feel() -> None:
    spread = {"p50_ms": 5.0, "p99_ms": 10.0, "longest_ms": 12.0, "count": 100}
    run = {
        "queued_lines": 100_000,
        "lines_per_second": 900.0,
        "longest_step_lines": 50,
        "rate": 200.0,
        "quiet": spread,
        "during": {**spread, "p99_ms": 25.0},
        "p99_ratio": 2.5,
    }
    document = {"machine": {}, "restock": run}
    (target,) = report.targets_of(document)
    assert (target.value, target.row()[-1]) == (2.5, "missed by 25%")
    assert "100,000 lines wait" in report.tables_of(document)["restock"]


def test_a_date_change_is_judged_by_what_its_neighbours_feel() -> None:
    spread = Percentiles(p50_ms=5.0, p99_ms=10.0, longest_ms=12.0, count=100)
    run = PromisesRun(50_000, seconds=25.0, rate=200.0, quiet=spread, meanwhile=replace(spread, p99_ms=15.0))
    document = {"machine": {}, "promises": run.as_json()}
    (target,) = report.targets_of(document)
    assert (target.value, target.row()[-1]) == (1.5, "met")
    before, meanwhile = (
        [cell.strip() for cell in line.split("|")][1:-1] for line in report.tables_of(document)["promises"].splitlines()[2:]
    )
    assert before == ["before", "", "", "200", "5.0", "10.0", "12.0"]
    assert meanwhile == ["50,000 orders wait", "2,000", "25.0", "200", "5.0", "15.0", "12.0"]


def test_every_table_that_a_run_can_fill_has_its_place_in_the_documentation() -> None:
    pages = "".join(file.read_text() for file in report.DOCUMENTS)
    assert [name for name in report.BLOCKS if f"<!-- benchmark: {name} -->\n" not in pages] == []


def test_what_was_not_measured_has_no_table() -> None:
    assert "trials" not in report.tables_of(_document())
    assert "publishing" not in report.tables_of({"machine": {}})


def test_tables_are_renewed_between_their_markers_and_nowhere_else() -> None:
    page = "before\n<!-- benchmark: drivers -->\nold\n<!-- end -->\nbetween\n<!-- benchmark: pgbench -->\nkept\n<!-- end -->\nafter\n"
    renewed = report.with_tables(page, {"drivers": "new"})
    assert renewed == page.replace("old", "new")
    assert report.with_tables(renewed, {"drivers": "new"}) == renewed


def test_a_table_that_is_filled_for_the_first_time_takes_nothing_of_the_page_with_it() -> None:
    page = "<!-- benchmark: drivers -->\n<!-- end -->\nbetween\n<!-- benchmark: pgbench -->\n<!-- end -->\nafter\n"
    renewed = report.with_tables(page, {"drivers": "new", "pgbench": "too"})
    assert renewed == "<!-- benchmark: drivers -->\nnew\n<!-- end -->\nbetween\n<!-- benchmark: pgbench -->\ntoo\n<!-- end -->\nafter\n"


def test_the_documentation_shows_the_result_that_is_kept() -> None:
    if not report.RESULTS.exists():
        pytest.skip("no result is kept yet: run `make bench`")
    tables = report.tables_of(report.load())
    for file in report.DOCUMENTS:
        text = file.read_text()
        assert report.with_tables(text, tables) == text, f"{file.name}: run `python -m benchmarks --from-results --write-docs`"


def test_holds_are_asked_for_within_their_limits_and_a_hot_one_names_one_sku() -> None:
    uniform, hot = wishes(50, 20, hot=False, seed=1), wishes(50, 20, hot=True, seed=1)
    assert {line.sku for wish in hot for line in wish.lines} == {"1000000"}
    assert {len(wish.lines) for wish in uniform} == {1, 2, 3}
    assert len({wish.hold_id for wish in uniform + hot}) == 100


async def test_the_clock_of_an_answer_starts_when_the_request_is_due_however_late_it_is_sent() -> None:
    async def ask(_: ChannelHoldRequested) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - a client that is too busy to send in time

    waited = sorted(await offer(wishes(10, 20, hot=False, seed=1), 1_000_000.0, ask))
    assert waited[-1] >= 10 * 0.02


def test_holds_have_a_target_and_a_table() -> None:
    answers = {"count": 4_000, "p50_ms": 4.2, "p99_ms": 61.0, "longest_ms": 70.0}
    document = {"machine": {}, "holds": [{"way": "HTTP", "hot": False, "rate": 200.0, "answers": answers}]}
    [target] = report.targets_of(document)
    assert (target.what, target.row()[-1]) == ("checkout hold answered by HTTP, uniform, p99", "missed by 22%")
    assert "| HTTP, uniform" in report.tables_of(document)["holds"]


def test_each_comparison_is_judged_by_its_worst_size_and_processes_are_only_told() -> None:
    measured = (("skus", 1_000, 1.0), ("skus", 100_000, 0.65), ("skus", 1_000_000, 0.8), ("processes", 1, 1.0), ("processes", 2, 1.3))
    runs = [{"of": of, "size": size, "orders_per_second": 1_000.0 * ratio, "ratio": ratio} for of, size, ratio in measured]
    sale = {"buyers": 50_000, "units": 1_000, "processes": 4, "sold": 1_000, "seconds": 30.0, "answers": {"p50_ms": 9.0, "p99_ms": 20.0}}
    document = {"machine": {}, "scaling": {"runs": runs, "flash_sale": sale}}
    (target,) = report.targets_of(document)
    assert (target.what, target.row()[-1]) == ("allocation with 100,000 products", "missed by 7%")
    assert "| 2 processes" in report.tables_of(document)["scaling"]
    assert "1,000" in report.tables_of(document)["flash sale"]


def test_a_part_that_is_measured_later_replaces_its_own_figures_only_and_keeps_its_date() -> None:
    kept = {
        "measured_at": "monday",
        "parts": ["a", "d"],
        "sizes": {"skus": 5},
        "machine": {"load": 1},
        "allocation": [1],
        "restock": {"p": 1},
    }
    later = {
        "measured_at": "friday",
        "parts": ["d", "scaling"],
        "sizes": {"rounds": 2},
        "machine": {"load": 9},
        "restock": {"p": 2},
        "scaling": {},
    }
    assert report.added(later, kept) == {
        "measured_at": "monday",
        "parts": ["a", "d", "scaling"],
        "sizes": {"skus": 5, "rounds": 2},
        "machine": {"load": 1},
        "allocation": [1],
        "restock": {"p": 2},
        "scaling": {},
        "added": {"d": "friday", "scaling": "friday"},
    }
