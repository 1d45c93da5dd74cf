"""`python -m simulators.adapter`: says what is in an order file, or publishes it as a channel's adapter would."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shared.config import load_partners
from shared.errors import BadConfiguration, OrdermeshError
from simulators.adapter.generated_day import DEFAULT_ORDERS
from simulators.adapter.publisher import Adapters, Sent
from simulators.adapter.replay import Replay
from simulators.adapter.sources import FORMATS, move_in_time, open_source

DESCRIPTION = f"""\
Order sources: a generated day, or a merchant's CSV file (gzip or not): {FORMATS}.
"""
ENVIRONMENT = """\
environment:
  ORDERMESH_PARTNER_AMQP_URLS  JSON: the broker URL of each channel's own user, {"webshop": "amqp://..."} (for publish)
  ORDERMESH_PARTNERS_FILE      names the channels; without it their codes are taken from the URLs
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands; each has its own --help."""
    parser = argparse.ArgumentParser(
        prog="python -m simulators.adapter",
        description=DESCRIPTION,
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("orders_file", nargs="?", type=Path, metavar="ORDERS", help="a CSV; without it a day is generated")
    source.add_argument("--seed", type=int, default=1, help="what a generated day is drawn from (default 1)")
    source.add_argument("--orders", type=int, default=DEFAULT_ORDERS, help=f"orders of a generated day (default {DEFAULT_ORDERS})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    describe = commands.add_parser("describe", parents=[source], help="say what is in the source, row by row if asked")
    describe.add_argument("--rows", action="store_true", help="list every row that became no order, with its reason")
    publish = commands.add_parser("publish", parents=[source], help="publish the orders to oms.inbound")
    publish.add_argument("--seconds", type=float, help="spread them over so many seconds from now on (default: as fast as possible)")
    publish.add_argument("--keep-times", action="store_true", help="leave paid_at as the source has it; otherwise it moves to now")
    return parser


def describe(replay: Replay, *, rows: bool) -> None:
    """Prints what a source holds."""
    print(f"{replay.name}: {len(replay.orders)} order deliveries, {len(replay.catalogue)} SKUs, {replay.currency}")
    for label, count in Counter(order.label for order in replay.orders).most_common():
        print(f"  {label:<44} {count:>8}")
    for sentence in replay.assumptions:
        print(f"  {sentence}")
    account = replay.account
    if account is None:
        return
    print(f"  {'input rows':<44} {account.rows_in:>8}")
    print(f"  {'in orders':<44} {account.rows_in_orders:>8}")
    print(f"  {'in withdrawals (' + str(len(replay.withdrawals)) + ')':<44} {account.rows_in_withdrawals:>8}")
    for reason, count in account.reported_by_reason.items():
        print(f"  {'reported: ' + reason:<44} {count:>8}")
    print(f"  {'unexplained':<44} {account.unexplained:>8}")
    for note, count in account.notes.most_common():
        print(f"  note: {note:<38} {count:>8}")
    if rows:
        for row in sorted(account.reported, key=lambda row: row.row):
            print(f"row {row.row}: {row.reason}: {row.detail}")


async def publish(replay: Replay, urls: dict[str, str], *, seconds: float | None, keep_times: bool) -> int:
    """Publishes a source; returns how many orders the broker confirmed."""
    orders = replay.orders if keep_times else move_in_time(replay.orders, datetime.now(UTC), seconds or 0.001)
    adapters = Adapters(urls)
    confirmed = 0

    def count(sent: Sequence[Sent]) -> None:
        nonlocal confirmed
        confirmed += len(sent)

    try:
        await adapters.publish_all(orders, paced=seconds is not None, on_sent=count)
    finally:
        await adapters.close()
    return confirmed


def _channels(urls: dict[str, str]) -> list[str]:
    partners = os.environ.get("ORDERMESH_PARTNERS_FILE")
    named = [channel.code for channel in load_partners(Path(partners) if partners else None).channels]
    return named or list(urls) or ["webshop"]


def _urls() -> dict[str, str]:
    text = os.environ.get("ORDERMESH_PARTNER_AMQP_URLS", "{}")
    try:
        urls = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadConfiguration(f"ORDERMESH_PARTNER_AMQP_URLS: no JSON: {error}") from error
    if not isinstance(urls, dict) or not all(isinstance(url, str) for url in urls.values()):
        raise BadConfiguration('ORDERMESH_PARTNER_AMQP_URLS: a JSON object is needed: {"webshop": "amqp://..."}')
    return urls


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; an error is one line and exit status 2."""
    options = build_parser().parse_args(arguments)
    try:
        urls = _urls()
        replay = open_source(options.orders_file, channels=_channels(urls), seed=options.seed, orders=options.orders)
        if options.command == "describe":
            describe(replay, rows=options.rows)
            return 0
        started = time.monotonic()
        confirmed = asyncio.run(publish(replay, urls, seconds=options.seconds, keep_times=options.keep_times))
        print(f"{confirmed} orders confirmed in {time.monotonic() - started:.1f} s")
    except OrdermeshError as error:
        print(f"simulators.adapter: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
