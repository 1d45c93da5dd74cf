"""`python -m deploy.local.demo [ORDERS]`: brings a fresh private stack up, replays a day, reports, and takes everything down again."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy.local.demo.report import DemoReport, lines_of
from deploy.local.demo.run import Plan, run_demo
from deploy.local.demo.wishes import draw_wishes
from deploy.local.failure import LocalStackError
from deploy.local.preparation import prepare
from deploy.local.process_table import CHANNELS
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.progress import Progress
from deploy.local.rabbitmq import hide_connection_attempts
from deploy.local.stack import Stack
from shared.errors import OrdermeshError
from simulators.adapter.generated_day import DEFAULT_ORDERS
from simulators.adapter.sources import FORMATS, open_source

DESCRIPTION = f"""\
Replays a day of orders through the whole system and prints a report. Without a file a day is generated; with one, it is
{FORMATS}, gzip or not.
A share of the orders is cancelled, changed or returned by simulated shoppers, also of a file's orders, unless --wishes none says otherwise.
The report of the run before is kept beside the new one, as NAME.previous.json.
"""

FAILED = "failed"
"""The file in a stack's directory that says: a demo that failed has left this to be looked at, and the next one may clear it away."""

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
    parser.add_argument(
        "--wishes",
        metavar="{simulated,none}",
        default="simulated",
        help="whether simulated shoppers cancel, change and return orders (default: they do); what a file itself withdraws is played",
    )
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
    if options.wishes not in ("simulated", "none"):
        print(f"ordermesh: WISHES (--wishes) cannot be {options.wishes!r}: say simulated, which is the default, or none", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _leave)
    hide_connection_attempts()
    started = time.monotonic()
    progress = Progress()
    _set_aside(options.report)
    try:
        with progress.step("Orders") as step:
            replay = open_source(options.orders_file, channels=CHANNELS, seed=options.seed, orders=options.orders)
            step.result = f"{len(replay.orders):,} deliveries of {replay.name}"
        wishes = draw_wishes(replay, options.seed, simulated=options.wishes == "simulated")
        progress.say(f"  Shoppers' wishes: {wishes.describe()}")
        plan = Plan(replay, wishes, options.seed, options.seconds or _usual_seconds(len(replay.orders)), started)
        report = _on_a_fresh_stack(options, plan, progress)
    except (LocalStackError, OrdermeshError) as error:
        print(f"ordermesh: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ordermesh: interrupted; everything the demo started was stopped, and there is no report", file=sys.stderr)
        return 130
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    for line in lines_of(report):
        print(line)
    print(f"  report: {options.report}")
    return 0 if report.passed else 1


def _set_aside(report: Path) -> None:
    """Gives the report of an earlier run another name, so that nobody takes its figures for those of a run that never came to its end."""
    if report.exists():
        report.replace(report.with_suffix(f".previous{report.suffix}"))


def _usual_seconds(deliveries: int) -> float:
    """25 orders a second, but no less than 20 seconds and no more than a minute until 60 a second are reached."""
    return max(20.0, min(60.0, deliveries / 25), deliveries / 60)


def _leave(signal_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the demo like Ctrl-C does, so that it stops what it started."""
    raise SystemExit(128 + signal_number)


def _on_a_fresh_stack(options: argparse.Namespace, plan: Plan, progress: Progress) -> DemoReport:
    """Brings the stack up, runs the demo, and takes the stack down whatever happens; of a demo that fails the data stays."""
    stack = _empty_stack(options.directory, progress)
    # The simulators draw their faults from this seed too.
    for name, value in {**SETTINGS_FOR_A_SHORT_DAY, "ORDERMESH_SEED": str(options.seed)}.items():
        os.environ.setdefault(name, value)
    processes = Processes(stack)
    failed = True
    try:
        stack.start()
        prepare(stack)
        processes.start()
        report = asyncio.run(run_demo(stack, processes, plan))
        failed = not report.passed
    except (KeyboardInterrupt, SystemExit):
        failed = False
        raise
    finally:
        if not options.keep:
            _take_down(stack, processes, keep_data=failed)
    return report


def _empty_stack(directory: Path, progress: Progress) -> Stack:
    """A stack without a past. What an interrupted or failed demo left behind is cleared away first, also while somebody looks at it.

    Raises:
        LocalStackError: a demo runs there right now.
    """
    if (directory / "stack.json").exists():
        left_over = Stack(directory)
        if (directory / FAILED).exists():
            Processes(left_over).stop()
        elif left_over.is_running and Processes(left_over).running():
            raise LocalStackError(f"a demo runs in {directory} already: end it, or give another --directory and --report")
        left_over.discard()
    return Stack(
        directory,
        database_url=os.environ.get("DATABASE_URL"),
        amqp_url=os.environ.get("AMQP_URL"),
        management_url=os.environ.get("RABBITMQ_MANAGEMENT_URL"),
        progress=progress,
    )


def _take_down(stack: Stack, processes: Processes, *, keep_data: bool) -> None:
    """Stops everything, and deletes it unless the demo failed: then it says how to look. A second Ctrl-C does not interrupt it."""
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        processes.stop()
        if not keep_data:
            stack.discard()
            return
        stack.stop()
        (stack.directory / FAILED).touch()
        place = os.path.relpath(stack.directory, CHECKOUT) if stack.directory.is_relative_to(CHECKOUT) else stack.directory
        for line in (
            f"  the demo failed: its data and logs are kept in {place} until the next demo",
            f"    make up STACK={place}                starts it again and prints where to look",
            f"    make trace STACK={place} ORDER=<id>  and make audit, make status: the same, of that stack",
            f"    make down STACK={place}              stops it",
        ):
            stack.progress.say(line)
    finally:
        signal.signal(signal.SIGINT, kept)
