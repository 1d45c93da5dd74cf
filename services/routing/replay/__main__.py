"""``python -m services.routing.replay``: makes recorded decisions again and compares byte for byte, or asks what other rules would cost.

Reads routing's database and changes nothing. Give it the environment of the routing service (``make replay`` does).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import UUID

import asyncpg
from asyncpg import Record

from services.routing.current import rules_of, stock_prices
from services.routing.decide.carrying import CameBack
from services.routing.decide.counting import Decided, units_that_count
from services.routing.decide.foresight import StockPrices
from services.routing.decide.geography import Place
from services.routing.decide.guidance import Objective
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.recording import DAMAGE, NotReplayableError, request_of
from services.routing.decide.rules import RuleSet, read_rules
from services.routing.decide.tariffs import Tariffs
from services.routing.postal_codes import find_place
from services.routing.queries.decisions import first_of_last, next_decisions, read_all_of_orders, read_came_back
from services.routing.replay.account import Account, Question
from services.routing.replay.footing import Footings
from services.routing.tariff_files import load_tariffs
from services.routing.tariff_tables import RateCardError
from shared.database import prepare_connection
from shared.errors import BadConfiguration
from shared.messaging.message import Connection

PAGE = 500
PROGRESS_EVERY = 2_000
Variation = Callable[[Planner], Planner]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m services.routing.replay", description=__doc__)
    parser.add_argument("--last", type=_count, default=10_000, help="how many decisions, newest first (default 10,000)")
    parser.add_argument("--since", type=_instant, help="none from before this RFC 3339 time")
    what_if = parser.add_argument_group("what if", "plan the same orders under something else, and compare")
    what_if.add_argument("--objective", choices=get_args(Objective), help="what is minimised")
    what_if.add_argument(
        "--stock-prices",
        choices=("recorded", "current"),
        help="what stock is worth to later orders, where a plan looks ahead: what the decision recorded, and the prices of now where it "
        "recorded none (recorded, the default); or the prices of now for all",
    )
    what_if.add_argument("--rate-cards", type=Path, metavar="FOLDER", help="other rate cards")
    what_if.add_argument("--handling-cents", type=_cents, help="our cost of a parcel")
    what_if.add_argument("--pick-cents", type=_cents, help="our cost of picking an item")
    what_if.add_argument("--split-cents", type=_cents, help="what one parcel less is worth beyond its cost")
    what_if.add_argument("--capacity-cents", type=_cents, help="what the last slot of a location counts in the choice")
    what_if.add_argument("--rules", type=int, metavar="VERSION", help="a saved version of the routing rules, in force or not; 0: none")
    what_if.add_argument("--without-capacity", action="store_true", help="as if every location took as much as comes")
    what_if.add_argument("--without", action="append", default=[], metavar="LOCATION", help="as if it had been closed; may be repeated")
    what_if.add_argument(
        "--stock",
        choices=("carried", "recorded"),
        default="carried",
        help="the stock that the other plans of the orders before would have left (carried, the default), or for each order what it was "
        "recorded with, whatever the other plans took (recorded)",
    )
    savings = parser.add_argument_group(
        "savings", "what the recorded plans cost beside other habits, on the same orders with the same stock"
    )
    savings.add_argument(
        "--savings", action="store_true", help="compare with a list by hand, with the nearest, and with the least possible"
    )
    savings.add_argument("--by-hand", metavar="CODES", help="the list: location codes separated by commas (default: all, by their codes)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every decision came out as recorded, 1 when one did not or could not be made again, 2 when nothing could be asked."""
    options = parse(arguments)
    url = os.environ.get("ORDERMESH_DATABASE_URL")
    if not url:
        print("ORDERMESH_DATABASE_URL is not set: use `make replay`, or the environment of the routing service", file=sys.stderr)
        return 2
    try:
        return asyncio.run(replay(url, options))
    except (BadConfiguration, RateCardError, LookupError) as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, asyncpg.PostgresConnectionError) as error:
        print(f"routing's database does not answer: {error}", file=sys.stderr)
        return 2


def variation(options: argparse.Namespace, rules: RuleSet | None, prices: StockPrices | None) -> Variation | None:
    """How planners are to be changed; None when recorded decisions are only to be made again.

    Args:
        options: what was asked.
        rules: instead of those of the day.
        prices: what stock is worth now, for decisions that recorded nothing of that.

    Raises:
        RateCardError: the folder holds no usable rate cards.
    """
    tariffs = load_tariffs(options.rate_cards, handling_cents=0) if options.rate_cards is not None else None
    closed = frozenset(options.without)
    figures = (options.handling_cents, options.pick_cents, options.split_cents, options.capacity_cents)
    named = (options.objective, options.stock_prices, rules, tariffs, *figures)
    if not closed and not options.without_capacity and all(value is None for value in named):
        return None

    def vary(planner: Planner) -> Planner:
        cards = planner.tariffs if tariffs is None else tariffs
        handling_cents = planner.tariffs.handling_cents if options.handling_cents is None else options.handling_cents
        network = planner.network
        if closed:
            places = [replace(place, active=place.active and place.code not in closed) for place in network.locations]
            network = Network(places, off_map=network.off_map)
        return Planner(
            network=network,
            tariffs=Tariffs(cards.version, cards.carriers, handling_cents),
            objective=options.objective or planner.objective,
            pick_cents=planner.pick_cents if options.pick_cents is None else options.pick_cents,
            split_cents=planner.split_cents if options.split_cents is None else options.split_cents,
            rules=planner.rules if rules is None else rules.for_another_network(),
            capacity_cents=planner.capacity_cents if options.capacity_cents is None else options.capacity_cents,
            stock_prices=prices,
        )

    return vary


async def replay(url: str, options: argparse.Namespace) -> int:
    """Prints what comes of it; 1 when a decision came out differently or cannot be made again.

    Raises:
        RateCardError: the folder holds no usable rate cards.
        LookupError: there is no such location, or no such version of the rules.
    """
    connection = await asyncpg.connect(url, server_settings={"application_name": "routing-replay", "default_transaction_read_only": "on"})
    try:
        await prepare_connection(connection)
        prices = await stock_prices(connection, None, None)
        return await _compare(connection, options, variation(options, await _rules(connection, options.rules), prices))
    finally:
        await connection.close()


async def _rules(connection: Connection, version: int | None) -> RuleSet | None:
    if version is None:
        return None
    written = await rules_of(connection, version)
    if written is None:
        raise LookupError(f"--rules {version}: there is no such version; GET /api/routing-rules lists them")
    return read_rules(version, written)


async def _compare(connection: Connection, options: argparse.Namespace, vary: Variation | None) -> int:
    footings = Footings(vary)
    question = Question(
        varied=vary is not None,
        carried=options.stock == "carried",
        current_prices=options.stock_prices == "current",
        without_capacity=options.without_capacity,
        savings=options.savings,
        by_hand=options.by_hand.split(",") if options.by_hand else None,
    )
    account = Account(question)
    first: UUID | None = None
    async for page in _pages(connection, options.since, options.last):
        came_back = await _came_back(connection, [row["decision_id"] for row in page]) if question.varied and question.carried else {}
        first = page[0]["decision_id"] if first is None else first
        counts = await _counts(connection, page, first, options.since) if question.varied or question.savings else {}
        for row in page:
            name = f"{row['decision_id']} of order {row['order_id']}"
            try:
                planner, varied = await footings.planners_of(connection, row["record"])
                request = request_of(row["record"], _place)
            except NotReplayableError as error:
                account.refuse(name, error)
                continue
            decision_id = row["decision_id"]
            account.take(name, row["record"], planner, varied, request, came_back.get(decision_id, ()), counts.get(decision_id))
            if account.made % PROGRESS_EVERY == 0:
                print(f"  {account.made:,} decisions", file=sys.stderr)
    for option, codes in (("--without", options.without), ("--by-hand", question.by_hand or ())):
        unknown = sorted(set(codes) - account.locations)
        if unknown and account.made:
            raise LookupError(f"{option} {unknown[0]}: no such location; there were {', '.join(sorted(account.locations)[:20])}")
    print("\n".join(account.lines()))
    return 1 if account.different or account.refused else 0


async def _pages(connection: Connection, since: datetime | None, count: int) -> AsyncIterator[Sequence[Record]]:
    """The last decisions, in the order in which they were made."""
    first = await first_of_last(connection, since, count)
    # Ids are compared as numbers of 128 bits.
    after, left = None if first is None else UUID(int=first.int - 1), count
    while left > 0 and (page := await next_decisions(connection, after, since, min(PAGE, left))):
        yield page
        after, left = page[-1]["decision_id"], left - len(page)


async def _counts(connection: Connection, page: Sequence[Record], first: UUID, since: datetime | None) -> dict[UUID, dict[str, int]]:
    """Units per line that the decisions of a page count for, where their orders were decided about more than once."""
    orders: dict[UUID, list[Record]] = {}
    for row in await read_all_of_orders(connection, [decision["order_id"] for decision in page], first, since):
        orders.setdefault(row["order_id"], []).append(row)
    several = [rows for rows in orders.values() if len(rows) > 1]
    came_back = await _came_back(connection, [row["decision_id"] for rows in several for row in rows])
    counts: dict[UUID, dict[str, int]] = {}
    for rows in several:
        readable = [row for row in rows if _is_readable(row)]
        decided = [_decided(row, came_back.get(row["decision_id"], ())) for row in readable]
        counts |= zip((row["decision_id"] for row in readable), units_that_count(decided), strict=True)
    return counts


def _is_readable(row: Record) -> bool:
    """Whether a record says what was decided; one that does not is told when its turn comes."""
    try:
        _decided(row, ())
    except DAMAGE:
        return False
    return True


def _decided(row: Record, came_back: Sequence[CameBack]) -> Decided:
    placed: dict[str, int] = {}
    for _, _, _, lines in row["chosen"]:
        for line_id, units in lines.items():
            placed[line_id] = placed.get(line_id, 0) + units
    wanted = {entry[0]: entry[2] + 0 for entry in row["lines"]}
    return Decided(row["decided_at"], wanted, placed, [(back.line_id, back.units, back.at) for back in came_back])


async def _came_back(connection: Connection, decision_ids: Sequence[UUID]) -> dict[UUID, list[CameBack]]:
    """What did not ship of plans."""
    found: dict[UUID, list[CameBack]] = {}
    for row in await read_came_back(connection, decision_ids):
        found.setdefault(row["plan_id"], []).append(CameBack(row["location"], row["line_id"], row["units"], row["at"]))
    return found


def _place(postal_code: str) -> Place | None:
    return find_place(postal_code, "US")


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-01-31T10:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of decisions from 1 on")
    return int(text)


def _cents(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cents from 0 to 1,000,000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
