"""``python -m benchmarks``: measures this machine in one run and prints what it can do, beside something measured in the same run.

Needs servers: ``make bench`` starts private ones and stops them again. Everything that it makes on them it deletes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.allocation import AllocationBench, Driver
from benchmarks.chain.run import measure_chain
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.holds import HoldsBench
from benchmarks.machine import describe_machine, describe_processor
from benchmarks.pgbench import PgbenchBench
from benchmarks.planner import measure_planner
from benchmarks.planner_variants import measure_variants
from benchmarks.promises import PromisesBench
from benchmarks.publishing import measure_publishing
from benchmarks.restock import RestockBench
from benchmarks.savings.measuring import measure_savings
from benchmarks.scaling import ScalingBench
from benchmarks.sizes import FULL, QUICK, Sizes
from deploy.local.failure import LocalStackError
from deploy.local.progress import Progress
from deploy.local.stack import Stack

PARTS = {
    "a": "allocation alone, against pgbench",
    "b": "the whole chain: highest sustained rate, latencies at half of it",
    "c": "processor time per order: a without pgbench, and b",
    "d": "a restock of one SKU against a long queue, and what its neighbours feel of it",
    "promises": "a date change for a long queue, and what its neighbours feel of it",
    "drivers": "the two ways to consume, with allocation",
    "holds": "checkout holds: how long a shopper waits for the answer",
    "publishing": "the relay's way to publish, against aio-pika's",
    "scaling": "more products, queue and processes, and a flash sale",
    "history": "years of shipped orders",
    "planner": "routing's planner, against HiGHS, and what-ifs",
    "savings": "what routing saves against named baselines, and how far it is from the optimum (simulated)",
}
WITHOUT_SERVERS = frozenset({"planner", "savings"})
"""Parts that measure nothing but Python code: alone, they need no ``make bench``."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that everything works, its figures mean little")
    parts = "; ".join(f"{name}: {what}" for name, what in PARTS.items())
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), metavar="PART", help=f"measure only this, may be repeated ({parts})"
    )
    parser.add_argument("--orders", type=int, help=f"orders in allocation's queue (default {FULL.orders:,})")
    parser.add_argument("--skus", type=int, help=f"products of the allocation measurement (default {FULL.skus:,})")
    history = "leave out histories of more shipped lines than this; ten million take long to write"
    parser.add_argument("--most-history", type=int, metavar="LINES", help=history)
    parser.add_argument("--output", type=Path, help="keep the result here (a full run keeps it in benchmarks/results/latest.json)")
    parser.add_argument("--add", action="store_true", help="keep what is measured beside the parts of the kept result, with its own date")
    parser.add_argument("--write-docs", action="store_true", help="renew the tables in docs/ from the result")
    parser.add_argument("--from-results", action="store_true", help="measure nothing, take the kept result")
    return parser


def _opening(parts: Sequence[str], sizes: Sizes) -> dict[str, Any]:
    return {"measured_at": datetime.now(UTC).replace(microsecond=0).isoformat(), "parts": list(parts), "sizes": sizes.as_json()}


def measure_without_servers(parts: Sequence[str], sizes: Sizes, progress: Progress) -> dict[str, Any]:
    """Runs those of the chosen parts that need no servers."""
    found: dict[str, Any] = {}
    if "planner" in parts:
        found["planner"] = measure_planner(sizes, progress) | measure_variants(sizes, progress)
    if "savings" in parts:
        found["savings"] = measure_savings(sizes, progress)
    return found


async def measure(stack: Stack, parts: Sequence[str], sizes: Sizes, progress: Progress) -> report.Document:
    """Runs the chosen parts one after the other."""
    databases = Databases(stack)
    await databases.drop_all()
    document = {**_opening(parts, sizes), "machine": await describe_machine(stack, databases)}
    try:
        if "publishing" in parts:
            document["publishing"] = [run.as_json() for run in await measure_publishing(stack, databases, sizes, progress)]
        allocation = AllocationBench(stack, databases, sizes, progress)
        if "holds" in parts:
            document["holds"] = [run.as_json() for run in await HoldsBench(stack, databases, sizes, progress).measure(allocation)]
        if {"a", "c", "drivers"} & set(parts):
            document.update(await _measure_allocation(allocation, stack, databases, parts, sizes, progress))
        if "d" in parts:
            document["restock"] = (await RestockBench(stack, databases, sizes, progress).measure()).as_json()
        if "promises" in parts:
            document["promises"] = (await PromisesBench(stack, databases, sizes, progress).measure()).as_json()
        if "scaling" in parts:
            document["scaling"] = await ScalingBench(stack, databases, sizes, progress).measure()
        if "history" in parts:
            document["history"] = await ScalingBench(stack, databases, sizes, progress).measure_history()
        document.update(measure_without_servers(parts, sizes, progress))
        if {"b", "c"} & set(parts):
            document["chain"] = await measure_chain(stack, databases, sizes, progress)
    finally:
        await databases.drop_all()
    return document


async def _measure_allocation(
    bench: AllocationBench, stack: Stack, databases: Databases, parts: Sequence[str], sizes: Sizes, progress: Progress
) -> dict[str, list[dict[str, object]]]:
    drivers: tuple[Driver, ...] = ("aio_pika", "faststream") if "drivers" in parts else ("aio_pika",)
    runs = [await bench.measure(driver=driver, hot=hot) for hot in (False, True) for driver in drivers]
    found = {"allocation": [run.as_json() for run in runs]}
    if "a" in parts:
        opponent = PgbenchBench(stack, databases, sizes, progress)
        found["pgbench"] = [run.as_json() for hot in (False, True) for run in await opponent.measure(hot=hot, body=runs[0].sample_body)]
    return found


def _stack() -> Stack:
    directory = os.environ.get("ORDERMESH_LOCAL_DIRECTORY")
    if not directory:
        raise BenchmarkError("there are no servers to measure: run `make bench`, which starts private ones and stops them again")
    return Stack(Path(directory), progress=Progress())


async def _until_told_to_stop(stack: Stack, parts: Sequence[str], sizes: Sizes) -> report.Document:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure(stack, parts, sizes, Progress())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    options = build_parser().parse_args(arguments)
    parts = options.only or list(PARTS)
    sizes = (QUICK if options.quick else FULL).with_options(orders=options.orders, skus=options.skus, most_history=options.most_history)
    try:
        if options.from_results:
            document = report.load(options.output or report.RESULTS)
        elif WITHOUT_SERVERS.issuperset(parts):
            found = measure_without_servers(parts, sizes, Progress())
            document = {**_opening(parts, sizes), "machine": describe_processor(), **found}
        else:
            document = uvloop.run(_until_told_to_stop(_stack(), parts, sizes))
        if not options.from_results:
            complete = not options.quick and set(parts) == set(PARTS)
            kept = options.output or report.RESULTS
            if options.add:
                document = report.added(document, report.load(kept))
            if options.output or options.add or complete:
                report.save(document, kept)
        for written in report.tables_of(document).values():
            print(f"\n{written}")
        if options.write_docs:
            for file in report.write_docs(document):
                print(f"renewed {file}", file=sys.stderr)
    except (BenchmarkError, LocalStackError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 143
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
