"""Results as a document, and the document as tables: for the terminal and between the markers of the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.failure import BenchmarkError
from benchmarks.markdown import table
from benchmarks.savings import telling
from deploy.local.processes import CHECKOUT

Document = Mapping[str, Any]

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"
DOCUMENTS = (
    CHECKOUT / "docs" / "performance.md",
    CHECKOUT / "docs" / "savings.md",
    CHECKOUT / "docs" / "decisions" / "0004-consumer-driver.md",
)

UNIFORM_RATIO = 1.0
HOT_RATIO = 3.0
HOT_TO_UNIFORM = 0.9
CHAIN_ORDERS_PER_SECOND = 300.0
P99_MS = 500.0
RESTOCK_P99_RATIO = 2.0
PROMISES_P99_RATIO = 2.0
PERCENTILES = ("p50_ms", "p99_ms", "longest_ms")
HOLD_P99_MS = 50.0
PLAN_P50_US = {(8, 50): 1_000.0}
CHOOSING_US = {(3, 50): 20.0}
SCALING_RATIOS = {"skus": 0.7, "history": 0.9, "queue": 0.9}
SCALING_NAMES = {"skus": "products", "history": "order lines shipped before", "queue": "lines wait for one SKU", "processes": "processes"}


@dataclass(frozen=True)
class Target:
    """One line of the table that matters."""

    what: str
    measured: str
    compared_with: str
    value: float
    target: float
    at_most: bool = False
    unit: str = "x"

    def row(self) -> list[str]:
        """The line, with by how much a target is missed."""
        met = self.value <= self.target if self.at_most else self.value >= self.target
        missed = abs(self.value - self.target) / self.target
        wanted = f"{'at most' if self.at_most else 'at least'} {_number(self.target)} {self.unit}"
        return [
            self.what,
            self.measured,
            self.compared_with,
            f"{_number(self.value)} {self.unit}",
            wanted,
            "met" if met else f"missed by {missed:.0%}",
        ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def _run(document: Document, *, driver: str, hot: bool) -> Mapping[str, Any] | None:
    runs: Sequence[Mapping[str, Any]] = document.get("allocation", ())
    return next((run for run in runs if run["driver"] == driver and run["hot"] is hot), None)


def _best_pgbench(document: Document, *, hot: bool) -> Mapping[str, Any] | None:
    runs = [run for run in document.get("pgbench", ()) if run["hot"] is hot]
    return max(runs, key=lambda run: float(run["orders_per_second"]), default=None)


def targets_of(document: Document) -> list[Target]:
    """Every target that the measurements in this document say something about."""
    return [
        *_targets_of_allocation(document),
        *_targets_of_chain(document),
        *_targets_of_restock(document),
        *_targets_of_promises(document),
        *_targets_of_holds(document),
        *_targets_of_scaling(document),
        *_targets_of_planner(document),
    ]


def _targets_of_allocation(document: Document) -> list[Target]:
    found = []
    runs = {hot: _run(document, driver="aio_pika", hot=hot) for hot in (False, True)}
    for hot, name, ratio in (
        (False, "(a) allocation, 100,000 SKUs uniform", UNIFORM_RATIO),
        (True, "(a) allocation, one hot SKU", HOT_RATIO),
    ):
        ours, theirs = runs[hot], _best_pgbench(document, hot=hot)
        if ours is not None and theirs is not None:
            compared = f"pgbench {theirs['orders_per_second']:,.0f} orders/s ({theirs['clients']} clients)"
            value = ours["orders_per_second"] / theirs["orders_per_second"]
            found.append(Target(name, f"{ours['orders_per_second']:,.0f} orders/s", compared, value, ratio))
    uniform, hot_run = runs[False], runs[True]
    if uniform is not None and hot_run is not None:
        value = hot_run["orders_per_second"] / uniform["orders_per_second"]
        measured, compared = (f"{run['orders_per_second']:,.0f} orders/s" for run in (hot_run, uniform))
        found.append(Target("(a) hot SKU against uniform", measured, compared, value, HOT_TO_UNIFORM))
    return found


def _targets_of_chain(document: Document) -> list[Target]:
    chain = document.get("chain")
    if chain is None:
        return []
    rate = float(chain["highest_sustained"])
    found = [Target("(b) whole chain, sustained", f"{rate:,.0f} orders/s", "", rate, CHAIN_ORDERS_PER_SECOND, unit="orders/s")]
    latencies = chain["latencies"]
    for key, name in (("to_third_party", "(b) order to 3PL command, p99"), ("to_channels", "(b) sale to channel push, p99")):
        spread = latencies[key]
        measured = f"p50 {spread['p50_ms']:,.0f} ms, p99 {spread['p99_ms']:,.0f} ms"
        found.append(Target(name, measured, f"at {latencies['rate']:,.0f} orders/s", spread["p99_ms"], P99_MS, at_most=True, unit="ms"))
    return found


def _targets_of_restock(document: Document) -> list[Target]:
    run = document.get("restock")
    if run is None:
        return []
    measured, compared = (f"p99 {run[phase]['p99_ms']:,.0f} ms" for phase in ("during", "quiet"))
    what = f"(d) neighbours' p99 during a restock of {run['queued_lines']:,} lines"
    return [Target(what, measured, f"quiet {compared}, {run['rate']:,.0f} orders/s", run["p99_ratio"], RESTOCK_P99_RATIO, at_most=True)]


def _targets_of_promises(document: Document) -> list[Target]:
    run = document.get("promises")
    if run is None:
        return []
    measured, compared = (f"p99 {run[phase]['p99_ms']:,.0f} ms" for phase in ("meanwhile", "quiet"))
    what = f"neighbours' p99 during a date change for {run['waiting_orders']:,} orders"
    return [Target(what, measured, f"quiet {compared}, {run['rate']:,.0f} orders/s", run["p99_ratio"], PROMISES_P99_RATIO, at_most=True)]


def _targets_of_holds(document: Document) -> list[Target]:
    return [
        Target(
            f"checkout hold answered by {run['way']}, {'one hot SKU' if run['hot'] else 'uniform'}, p99",
            f"p50 {run['answers']['p50_ms']:.1f} ms, p99 {run['answers']['p99_ms']:.1f} ms",
            f"at {run['rate']:,.0f} holds/s",
            run["answers"]["p99_ms"],
            HOLD_P99_MS,
            at_most=True,
            unit="ms",
        )
        for run in document.get("holds", ())
    ]


def _scaling_runs(document: Document) -> list[dict[str, Any]]:
    return [*document.get("scaling", {}).get("runs", ()), *document.get("history", {}).get("runs", ())]


def _targets_of_scaling(document: Document) -> list[Target]:
    """Each comparison by the worst of its sizes. How much several processes gain on few processors is told and has no target."""
    runs = _scaling_runs(document)
    found = []
    for of, ratio in SCALING_RATIOS.items():
        ours = [run for run in runs if run["of"] == of]
        if ours:
            first, worst = ours[0], min(ours[1:], key=lambda run: float(run["ratio"]))
            what = f"allocation with {worst['size']:,} {SCALING_NAMES[of]}"
            compared = f"{first['orders_per_second']:,.0f} orders/s with {first['size']:,}"
            found.append(Target(what, f"{worst['orders_per_second']:,.0f} orders/s", compared, worst["ratio"], ratio))
    return found


def _targets_of_planner(document: Document) -> list[Target]:
    runs = document.get("planner", {}).get("runs", ())
    found = []
    for run in runs:
        shape = (run["lines"], run["locations"])
        name = f"{shape[0]} lines, {shape[1]} locations"
        highs = f"HiGHS p50 {run['highs_p50_ms']:,.0f} ms"
        if shape in PLAN_P50_US:
            measured = f"p50 {run['p50_us']:,.0f} us, p99 {run['p99_us']:,.0f} us"
            found.append(Target(f"a plan, {name}, p50", measured, highs, run["p50_us"], PLAN_P50_US[shape], at_most=True, unit="us"))
        if shape in CHOOSING_US:
            measured, value = f"{run['choosing_us']:.1f} us", run["choosing_us"]
            found.append(Target(f"choosing the locations, {name}", measured, highs, value, CHOOSING_US[shape], at_most=True, unit="us"))
    if runs:
        equal, proven = (sum(run[key] for run in runs) for key in ("equal", "proven"))
        compared = f"{proven} proven by HiGHS"
        found.append(Target("plans that cost what HiGHS proves the least", f"{equal} orders", compared, equal / max(1, proven), 1.0))
    return found


def _targets_table(document: Document) -> str:
    heading = ["what", "measured", "compared with", "result", "target", ""]
    return table(heading, (target.row() for target in targets_of(document)))


def _pgbench_table(document: Document) -> str:
    heading = ["pgbench, one order per transaction", "clients", "orders/s", "latency ms"]
    rows = [
        [
            f"{'one hot SKU' if run['hot'] else 'uniform'}, {run['shape']}",
            str(run["clients"]),
            f"{run['orders_per_second']:,.0f}",
            f"{run['latency_ms']:.1f}",
        ]
        for run in document.get("pgbench", ())
    ]
    return table(heading, rows)


def _drivers_table(document: Document) -> str:
    heading = [
        "allocation, consumer driver",
        "orders/s",
        "messages per transaction",
        "service us/order",
        "Postgres us/order",
        "RabbitMQ us/order",
    ]
    rows = []
    for run in sorted(document.get("allocation", ()), key=lambda run: run["hot"]):
        cost = run["processor_us_per_order"]
        postgres = sum(value for name, value in cost.items() if name.startswith("Postgres"))
        rows.append(
            [
                f"{run['driver']}, {'one hot SKU' if run['hot'] else 'uniform'}",
                f"{run['orders_per_second']:,.0f}",
                f"{run['messages_per_batch']:.0f}",
                *(f"{value:,.0f}" for value in (cost.get("allocation", 0.0), postgres, cost.get("RabbitMQ", 0.0))),
            ]
        )
    return table(heading, rows)


def _publishing_table(document: Document) -> str:
    heading = ["publishing 1.2 KB, persistent, confirmed, quorum queue", "messages/s", "publisher us/message", "RabbitMQ us/message"]
    rows = [
        [run["name"], *(f"{run[key]:,.0f}" for key in ("messages_per_second", "publisher_us_per_message", "broker_us_per_message"))]
        for run in document.get("publishing", ())
    ]
    return table(heading, rows)


def _holds_table(document: Document) -> str:
    rows = [
        [
            f"{run['way']}, {'one hot SKU' if run['hot'] else 'uniform'}",
            f"{run['rate']:,.0f}",
            f"{run['answers']['count']:,}",
            *(f"{run['answers'][key]:.1f}" for key in ("p50_ms", "p99_ms", "longest_ms")),
        ]
        for run in document.get("holds", ())
    ]
    return table(["checkout holds, from request to answer", "holds/s", "answers", "p50 ms", "p99 ms", "longest ms"], rows)


def _trials_table(document: Document) -> str:
    rows = [[f"{trial['rate']:,.0f}", trial["verdict"]] for trial in document.get("chain", {}).get("trials", ())]
    return table(["orders/s offered", "what came of it"], rows)


def _processor_table(document: Document) -> str:
    columns: dict[str, Mapping[str, float]] = {}
    for hot, name in ((False, "(a) uniform"), (True, "(a) hot SKU")):
        run = _run(document, driver="aio_pika", hot=hot)
        if run is not None:
            columns[name] = run["processor_us_per_order"]
    chain = document.get("chain")
    if chain is not None:
        sustained = [trial for trial in chain["trials"] if trial["sustained"]]
        if sustained:
            busiest = max(sustained, key=lambda trial: float(trial["rate"]))
            columns[f"(b) at {busiest['rate']:,.0f}/s"] = busiest["processor_us_per_order"]
        columns[f"(b) at {chain['latencies']['rate']:,.0f}/s"] = chain["latencies"]["processor_us_per_order"]
    names = sorted(
        {name for costs in columns.values() for name in costs},
        key=lambda name: (-max(costs.get(name, 0.0) for costs in columns.values()), name),
    )
    rows = [[name, *(f"{costs[name]:,.0f}" if name in costs else "" for costs in columns.values())] for name in names]
    rows.append(["all", *(f"{sum(costs.values()):,.0f}" for costs in columns.values())])
    return table(["(c) processor us per order", *columns], rows)


def _restock_table(document: Document) -> str:
    run = document["restock"]
    heading = ["(d) restock of one SKU", "lines/s", "lines in one step at most", "other SKUs: orders/s", "p50 ms", "p99 ms", "longest ms"]
    rows = [
        [name, *(lines if phase == "during" else ("", "")), f"{run['rate']:,.0f}", *(f"{run[phase][key]:,.1f}" for key in PERCENTILES)]
        for phase, name in (("quiet", "before"), ("during", f"{run['queued_lines']:,} lines wait"))
        for lines in [(f"{run['lines_per_second']:,.0f}", f"{run['longest_step_lines']:,}")]
    ]
    return table(heading, rows)


def _promises_table(document: Document) -> str:
    run = document["promises"]
    heading = ["another date for one SKU", "orders/s", "s until all are told", "other SKUs: orders/s", "p50 ms", "p99 ms", "longest ms"]
    told = {"quiet": ("", ""), "meanwhile": (f"{run['orders_per_second']:,.0f}", f"{run['seconds']:,.1f}")}
    names = {"quiet": "before", "meanwhile": f"{run['waiting_orders']:,} orders wait"}
    rows = [
        [names[phase], *told[phase], f"{run['rate']:,.0f}", *(f"{run[phase][key]:,.1f}" for key in PERCENTILES)]
        for phase in ("quiet", "meanwhile")
    ]
    return table(heading, rows)


def _scaling_table(document: Document) -> str:
    rows = [
        [f"{run['size']:,} {SCALING_NAMES[run['of']]}", f"{run['orders_per_second']:,.0f}", f"{run['ratio']:.2f} x"]
        for run in _scaling_runs(document)
    ]
    return table(["allocation with", "orders/s", "to the first of its kind"], rows)


def _flash_sale_table(document: Document) -> str:
    sale = document["scaling"]["flash_sale"]
    heading = ["flash sale of one SKU", "units", "processes", "sold", "seconds until all are answered", "p50 ms", "p99 ms"]
    figures = (f"{sale['units']:,}", str(sale["processes"]), f"{sale['sold']:,}", f"{sale['seconds']:.1f}")
    return table(heading, [[f"{sale['buyers']:,} buyers at once", *figures, *(f"{sale['answers'][key]:,.0f}" for key in PERCENTILES[:2])]])


def _planner_table(document: Document) -> str:
    rows = [
        [
            f"{run['lines']} lines, {run['locations']} locations",
            *(f"{run[key]:,.0f}" for key in ("p50_us", "p99_us", "mean_us")),
            f"{run['choosing_us']:,.1f}",
            f"{1e6 / run['mean_us']:,.0f}",
            f"{run['equal']} of {run['proven']}",
            f"{run['highs_p50_ms']:,.0f}",
            f"{run['highs_longest_ms']:,.0f}",
        ]
        for run in document["planner"]["runs"]
    ]
    heading = [
        "a plan",
        "p50 us",
        "p99 us",
        "mean us",
        "of it choosing",
        "orders/s",
        "at HiGHS's optimum",
        "HiGHS p50 ms",
        "longest ms",
    ]
    return table(heading, rows)


def variants_of(document: Document) -> list[dict[str, Any]]:
    """The planner with rules, slots and prices, itself first."""
    runs: list[dict[str, Any]] = document["planner"]["variants"]
    return runs


def _variants_table(document: Document) -> str:
    runs = variants_of(document)
    rows = [
        [
            run["name"],
            f"{run['p50_us']:,.0f}",
            f"{run['p99_us']:,.0f}",
            f"{run['p50_us'] / runs[0]['p50_us']:.2f}",
            f"{run['equal']} of {run['proven']}" if run["solved"] else "",
            f"{run['highs_p50_ms']:,.0f}" if run["solved"] else "",
        ]
        for run in runs
    ]
    return table(["a plan, 3 lines, 50 locations", "p50 us", "p99 us", "times", "at HiGHS's optimum", "HiGHS p50 ms"], rows)


def _what_if_table(document: Document) -> str:
    run = document["planner"]["what_if"]
    live, other = run["parcels"]
    row = ["a dearer split", f"{run['orders']:,}", f"{run['orders_per_second']:,.0f}", f"{live:,}", f"{other:,}"]
    return table(["what if, 3 lines, 50 locations", "orders", "orders/s", "parcels as recorded", "otherwise"], [row])


def _machine_table(document: Document) -> str:
    return table(["machine", ""], [[name, value] for name, value in document["machine"].items()])


BLOCKS: Mapping[str, Callable[[Document], str]] = {
    "targets": _targets_table,
    "machine": _machine_table,
    "pgbench": _pgbench_table,
    "drivers": _drivers_table,
    "publishing": _publishing_table,
    "holds": _holds_table,
    "trials": _trials_table,
    "processor time": _processor_table,
    "restock": _restock_table,
    "promises": _promises_table,
    "scaling": _scaling_table,
    "flash sale": _flash_sale_table,
    "planner": _planner_table,
    "planner variants": _variants_table,
    "what if": _what_if_table,
    "savings targets": lambda document: telling.targets_table(document["savings"]),
    "savings": lambda document: telling.savings_table(document["savings"]),
    "savings gap": lambda document: telling.gap_table(document["savings"]),
    "savings costs": lambda document: telling.costs_table(document["savings"]),
    "savings parcels": lambda document: telling.parcels_table(document["savings"]),
    "savings standard": lambda document: telling.standard_table(document["savings"]),
}
NEEDS = {
    "pgbench": "pgbench",
    "drivers": "allocation",
    "publishing": "publishing",
    "holds": "holds",
    "trials": "chain",
    "restock": "restock",
    "promises": "promises",
    "scaling": "scaling",
    "flash sale": "scaling",
    "planner": "planner",
    "planner variants": "planner.variants",
    "what if": "planner.what_if",
    **dict.fromkeys((name for name in BLOCKS if name.startswith("savings")), "savings"),
}


def tables_of(document: Document) -> dict[str, str]:
    """Every table that this document can fill, by the name of its marker."""
    return {name: write(document) for name, write in BLOCKS.items() if _has(document, NEEDS.get(name, "machine"))}


def _has(document: Document, part: str) -> bool:
    """Whether a part, or what is named within it, was measured."""
    found: Any = document
    for key in part.split("."):
        if key not in found:
            return False
        found = found[key]
    return True


def save(document: Document, file: Path) -> None:
    """Keeps a result."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def load(file: Path = RESULTS) -> Document:
    """A result that was kept.

    Raises:
        BenchmarkError: there is none.
    """
    try:
        document: Document = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise BenchmarkError(f"{file} holds no result ({error}): run `make bench`") from error
    return document


def added(document: Document, kept: Document) -> Document:
    """A kept result with parts that were measured later; ``added`` says when. Ratios are within a part, so each is still of one run."""
    later = dict.fromkeys(document["parts"], document["measured_at"])
    parts = [*kept["parts"], *(part for part in document["parts"] if part not in kept["parts"])]
    sizes = {**document["sizes"], **kept["sizes"]}
    return {**document, **kept, **_measured(document), "parts": parts, "sizes": sizes, "added": {**kept.get("added", {}), **later}}


def _measured(document: Document) -> Document:
    return {
        name: document[name]
        for name in ("publishing", "holds", "allocation", "pgbench", "history", *set(NEEDS.values()))
        if name in document
    }


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """A page with the tables between its markers replaced."""
    for name, written in tables.items():
        before, found, rest = text.partition(f"<!-- benchmark: {name} -->\n")
        if found:
            _, end, after = rest.partition("<!-- end -->")
            text = before + found + written + "\n" + end + after
    return text


def write_docs(document: Document) -> list[Path]:
    """Renews the tables of the documentation; returns the files that changed."""
    changed = []
    for file in DOCUMENTS:
        text = file.read_text()
        renewed = with_tables(text, tables_of(document))
        if renewed != text:
            file.write_text(renewed)
            changed.append(file)
    return changed
