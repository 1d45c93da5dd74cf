"""The planner's benchmark: what it measures is right before it is fast."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import report
from benchmarks.planner_variants import measure_variants
from benchmarks.sizes import QUICK
from deploy.local.progress import Progress

TINY = replace(QUICK, planner_orders=4, planner_solved=4)


def test_plans_with_slots_and_prices_cost_what_highs_proves_to_be_the_least_and_a_what_if_is_counted() -> None:
    measured = measure_variants(TINY, Progress())
    runs = {run["name"]: run for run in report.variants_of({"planner": measured})}
    solved = {name for name, run in runs.items() if run["solved"]}
    assert solved == {"as it is", "with slots that run out", "with prices of stock", "with slots and prices"}
    assert all(runs[name]["solved"] == runs[name]["proven"] == runs[name]["equal"] == 4 for name in solved)
    tables = report.tables_of({"planner": {"runs": [], **measured}, "parts": ["planner"]})
    assert "| with 1,000 rules" in tables["planner variants"]
    assert "| a dearer split" in tables["what if"]
