"""`python -m deploy.local.demo [ORDERS]`: brings a fresh private stack up, replays a day, reports, and takes everything down again."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy.local.demo.report import DemoReport, lines_of
from deploy.local.demo.run import Plan, run_demo
from deploy.local.failure import LocalStackError
from deploy.local.preparation import prepare
from deploy.local.process_table import CHANNELS
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.errors import OrdermeshError
from simulators.adapter.generated_day import DEFAULT_ORDERS
from simulators.adapter.sources import FORMATS, open_source

DESCRIPTION = f"""\
Replays a day of orders through the whole system and prints a report. Without a file a day is generated; with one, it is
{FORMATS}, gzip or not.
"""

SETTINGS_FOR_A_SHORT_DAY = {
    # A silent 3PL is asked again after seconds instead of minutes, because the whole day takes a minute.
    "ORDERMESH_ANSWER_SECONDS": "15",
    "ORDERMESH_LOG_LEVEL": "WARNING",
}


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.demo", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("orders_file", nargs="?", type=Path, metavar="ORDERS", help="a CSV of orders (default: a generated day)")
    parser.add_argument("--seed", type=int, default=1, help="what everything is drawn from (default 1)")
    parser.add_argument("--orders", type=int, default=DEFAULT_ORDERS, help=f"orders of a generated day (default {DEFAULT_ORDERS})")
    parser.add_argument("--seconds", type=float, help="length of the replayed day (default: by the number of orders, 20 to 60)")
    parser.add_argument("--directory", type=Path, default=CHECKOUT / ".local" / "demo", help="where the private stack lives meanwhile")
    parser.add_argument("--report", type=Path, default=CHECKOUT / ".local" / "demo-report.json", help="where the report is written")
    parser.add_argument(
        "--keep", action="store_true", help="leave the stack running; python -m deploy.local clean --directory DIRECTORY ends it"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 when nothing was oversold, the books balance and everything is accounted for."""
    options = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()
    progress = Progress()
    try:
        with progress.step("Orders") as step:
            replay = open_source(options.orders_file, channels=CHANNELS, seed=options.seed, orders=options.orders)
            step.result = f"{len(replay.orders):,} deliveries of {replay.name}"
        plan = Plan(replay, options.seed, options.seconds or _usual_seconds(len(replay.orders)), started)
        report = _on_a_fresh_stack(options, plan, progress)
    except (LocalStackError, OrdermeshError) as error:
        print(f"ordermesh: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ordermesh: interrupted; everything the demo started was stopped", file=sys.stderr)
        return 130
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    for line in lines_of(report):
        print(line)
    print(f"  report: {options.report}")
    return 0 if report.passed else 1


def _usual_seconds(deliveries: int) -> float:
    """25 orders a second, but no less than 20 seconds and no more than a minute until 60 a second are reached."""
    return max(20.0, min(60.0, deliveries / 25), deliveries / 60)


def _leave(signal_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the demo like Ctrl-C does, so that it stops what it started."""
    raise SystemExit(128 + signal_number)


def _on_a_fresh_stack(options: argparse.Namespace, plan: Plan, progress: Progress) -> DemoReport:
    """Brings the stack up, runs the demo, takes the stack down whatever happens."""
    stack = _empty_stack(options.directory, progress)
    for name, value in SETTINGS_FOR_A_SHORT_DAY.items():
        os.environ.setdefault(name, value)
    processes = Processes(stack)
    ended_well = False
    try:
        stack.start()
        prepare(stack)
        processes.start()
        report = asyncio.run(run_demo(stack, processes, plan))
        ended_well = report.passed
    finally:
        if not options.keep:
            _take_down(stack, processes, keep_logs=not ended_well)
    return report


def _empty_stack(directory: Path, progress: Progress) -> Stack:
    """A stack without a past. One that an interrupted demo left behind is cleared away first.

    Raises:
        LocalStackError: a demo runs there right now.
    """
    if (directory / "stack.json").exists():
        left_over = Stack(directory)
        if left_over.is_running and Processes(left_over).running():
            raise LocalStackError(f"a demo runs in {directory} already: end it, or give another --directory and --report")
        left_over.discard()
    return Stack(
        directory,
        database_url=os.environ.get("DATABASE_URL"),
        amqp_url=os.environ.get("AMQP_URL"),
        management_url=os.environ.get("RABBITMQ_MANAGEMENT_URL"),
        progress=progress,
    )


def _take_down(stack: Stack, processes: Processes, *, keep_logs: bool) -> None:
    """Stops everything and deletes it; logs of a demo that failed are put aside. A second Ctrl-C does not interrupt it."""
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        processes.stop()
        if keep_logs:
            aside = stack.directory.with_name(f"{stack.directory.name}-logs")
            shutil.rmtree(aside, ignore_errors=True)
            if (stack.directory / "logs").exists():
                shutil.copytree(stack.directory / "logs", aside)
                stack.progress.say(f"  logs are in {aside}")
        stack.discard()
    finally:
        signal.signal(signal.SIGINT, kept)
