"""``python -m services.routing.replay``: makes recorded decisions again and compares byte for byte, or asks what other rules would cost.

Reads routing's database and changes nothing. Give it the environment of the routing service (``make replay`` does).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import asyncpg
from asyncpg import Record

from services.routing.current import rules_of, stock_prices
from services.routing.decide.comparing import Habits, Totals, baselines_of, side_by_side
from services.routing.decide.foresight import StockPrices
from services.routing.decide.geography import Place
from services.routing.decide.guidance import Objective
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner, PlanRequest
from services.routing.decide.recording import NotReplayableError, canonical, request_of
from services.routing.decide.rules import RuleSet, read_rules
from services.routing.decide.tariffs import Tariffs
from services.routing.postal_codes import find_place
from services.routing.queries.decisions import last_decisions
from services.routing.replay.footing import Footings
from services.routing.tariff_files import RateCardError, load_tariffs
from shared.database import prepare_connection
from shared.messaging.message import Connection

PAGE = 500
LAST_ID = UUID(int=(1 << 128) - 1)
MOST_SHOWN = 10
PROGRESS_EVERY = 2_000
Variation = Callable[[Planner], Planner]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m services.routing.replay", description=__doc__)
    parser.add_argument("--last", type=_count, default=10_000, help="how many decisions, newest first (default 10,000)")
    parser.add_argument("--since", type=_instant, help="none from before this RFC 3339 time")
    what_if = parser.add_argument_group("what if", "plan the same orders with the same stock under something else, and compare")
    what_if.add_argument("--objective", choices=get_args(Objective), help="what is minimised")
    what_if.add_argument(
        "--stock-prices",
        choices=("recorded", "current"),
        help="what stock is worth to later orders, where a plan looks ahead: what the decision recorded, and the prices of now where it "
        "recorded none (recorded, the default); or the prices of now for all",
    )
    what_if.add_argument("--rate-cards", type=Path, metavar="FOLDER", help="another carrier's cards")
    what_if.add_argument("--handling-cents", type=_cents, help="our cost of a parcel")
    what_if.add_argument("--pick-cents", type=_cents, help="our cost of picking an item")
    what_if.add_argument("--split-cents", type=_cents, help="what one parcel less is worth beyond its cost")
    what_if.add_argument("--capacity-cents", type=_cents, help="what the last slot of a location counts in the choice")
    what_if.add_argument("--rules", type=int, metavar="VERSION", help="a saved version of the routing rules, in force or not; 0: none")
    what_if.add_argument("--without-capacity", action="store_true", help="as if every location took as much as comes")
    what_if.add_argument("--without", action="append", default=[], metavar="LOCATION", help="as if it had been closed; may be repeated")
    savings = parser.add_argument_group(
        "savings", "what the recorded plans cost beside other habits, on the same orders with the same stock"
    )
    savings.add_argument(
        "--savings", action="store_true", help="compare with a list by hand, with the nearest, and with the least possible"
    )
    savings.add_argument("--by-hand", metavar="CODES", help="the list: location codes separated by commas (default: all, by their codes)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every decision came out as recorded (or the question was answered), 1 when one did not, 2 when nothing could be asked."""
    options = parse(arguments)
    url = os.environ.get("ORDERMESH_DATABASE_URL")
    if not url:
        print("ORDERMESH_DATABASE_URL is not set: use `make replay`, or the environment of the routing service", file=sys.stderr)
        return 2
    try:
        return asyncio.run(replay(url, options))
    except (RateCardError, LookupError) as error:
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
            network = Network([replace(place, active=place.active and place.code not in closed) for place in network.locations])
        return Planner(
            network=network,
            tariffs=Tariffs(cards.version, cards.cards, cards.transit_days, cards.offshore_days, handling_cents, cards.chart),
            objective=options.objective or planner.objective,
            pick_cents=planner.pick_cents if options.pick_cents is None else options.pick_cents,
            split_cents=planner.split_cents if options.split_cents is None else options.split_cents,
            rules=planner.rules if rules is None else rules,
            capacity_cents=planner.capacity_cents if options.capacity_cents is None else options.capacity_cents,
            stock_prices=prices,
        )

    return vary


async def replay(url: str, options: argparse.Namespace) -> int:
    """Prints what comes of it; 1 when a decision came out differently.

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
    account = _Account(options, varied=vary is not None)
    async for row in _decisions(connection, options.since, options.last):
        try:
            planner, varied = await footings.planners_of(connection, row["record"])
            request = request_of(row["record"], _place)
        except NotReplayableError as error:
            account.refused[str(error)] += 1
            continue
        account.take(row, planner, varied, request)
        if account.live.decisions % PROGRESS_EVERY == 0:
            print(f"  {account.live.decisions:,} decisions", file=sys.stderr)
    account.refuse_unknown_locations()
    print("\n".join(account.lines()))
    return 1 if account.different else 0


class _Account:
    """What comes of the decisions, one after the other."""

    def __init__(self, options: argparse.Namespace, *, varied: bool) -> None:
        self._varied = varied
        self._current_prices = options.stock_prices == "current"
        self._savings: bool = options.savings
        self._without: Sequence[str] = options.without
        self._without_capacity: bool = options.without_capacity
        self._by_hand: Sequence[str] | None = options.by_hand.split(",") if options.by_hand else None
        self.live, self._other = Totals(), Totals()
        self._habits = Habits()
        self.different: list[str] = []
        self.refused: Counter[str] = Counter()
        self._seen: set[str] = set()

    def take(self, row: Record, planner: Planner, varied: Planner, request: PlanRequest) -> None:
        """Makes a decision again, and otherwise where that was asked."""
        self._seen.update(location.code for location in planner.network.locations)
        plan = planner.plan(request)
        self.live.add(plan)
        if canonical(plan.record) != canonical(row["record"]):
            self.different.append(f"  {row['decision_id']} of order {row['order_id']}: {_differences(row['record'], plan.record)}")
        if self._varied:
            asked = replace(request, slots={}) if self._without_capacity else request
            self._other.add(varied.plan(replace(asked, stock_prices=None) if self._current_prices else asked))
        if self._savings:
            codes = self._by_hand if self._by_hand is not None else sorted(location.code for location in planner.network.locations)
            self._habits.add(baselines_of(planner, request, codes))

    def refuse_unknown_locations(self) -> None:
        """Raises LookupError when an option names a location that was in no network."""
        for option, codes in (("--without", self._without), ("--by-hand", self._by_hand or ())):
            unknown = sorted(set(codes) - self._seen)
            if unknown and self.live.decisions:
                raise LookupError(f"{option} {unknown[0]}: no such location; there were {', '.join(sorted(self._seen)[:20])}")

    def lines(self) -> Iterator[str]:
        """The report."""
        for reason, count in self.refused.items():
            yield f"{count:,} decisions cannot be made again: {reason}"
        same = self.live.decisions - len(self.different)
        yield f"{same:,} of {self.live.decisions:,} decisions came out as they were recorded, byte for byte"
        yield from self.different[:MOST_SHOWN]
        if len(self.different) > MOST_SHOWN:
            yield f"  ... and {len(self.different) - MOST_SHOWN:,} more"
        if self._varied and self.live.decisions:
            yield "\nThe same orders, each with the stock that its decision was recorded with; nothing was changed:\n"
            yield from side_by_side(("as recorded", "what if"), (self.live, self._other))
        if self._savings and self.live.decisions:
            yield "\nThe same orders by other habits, each with the stock that its decision was recorded with:\n"
            yield from self._habits.lines(self.live)


async def _decisions(connection: Connection, since: datetime | None, limit: int) -> AsyncIterator[Record]:
    before, left = LAST_ID, limit
    while left > 0:
        page = await last_decisions(connection, before, since, min(PAGE, left))
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        before, left = page[-1]["decision_id"], left - len(page)


def _differences(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """The fields that differ, and the values of the first of them."""
    names = [name for name in {**recorded, **made} if recorded.get(name) != json.loads(json.dumps(made.get(name)))]
    first = names[0] if names else ""
    return f"{', '.join(names)}; {first} was {json.dumps(recorded.get(first))[:120]}, now {json.dumps(made.get(first))[:120]}"


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
