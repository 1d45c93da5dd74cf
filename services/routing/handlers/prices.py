"""Works out in the background what scarce stock is worth, one process at a time, without holding up what the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.routing import current
from services.routing.decide.outlook import (
    HALF_LIVES,
    Ordered,
    Outlook,
    StockPriceList,
    Told,
    in_pieces,
    left_on_shelves,
    most_wanted,
    weighed_days,
)
from services.routing.decide.scarcity import StockPriceError
from services.routing.postal_codes import find_place
from services.routing.queries import prices as sql
from services.routing.settings import PlanningSettings
from shared.messaging.message import Connection, Outgoing, Transaction
from shared.service import Environment, Errand

log = structlog.get_logger()

POLL_SECONDS = 15.0
LONGEST_SECONDS = 300.0
"""After so long the work is given up until it is due again."""
LEASE_SECONDS = 2 * LONGEST_SECONDS
TOO_LONG = (
    f"it took longer than {LONGEST_SECONDS:.0f} seconds, or a statement longer than ORDERMESH_COMMAND_TIMEOUT_SECONDS; "
    "shorten ORDERMESH_STOCK_PRICES_HISTORY_DAYS"
)
PLANS_SECONDS = 120.0
"""Whole plans are looked at for so long; the SKUs that are left keep the price that each has by itself."""
MOST_ORDERS = 50_000
"""Of more orders only the newest are looked at."""
MOST_SKUS = 20_000
"""Of more SKUs only those that are wanted most have prices."""
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class NewPrices:
    """What came of working them out. ``problem`` says why there are none, ``fallback`` why some SKUs are priced by themselves only."""

    computed_at: datetime
    prices: dict[tuple[str, str], int]
    skus: int = 0
    skus_together: int = 0
    problem: str | None = None
    fallback: str | None = None


def errands(environment: Environment) -> Sequence[Errand[Any, Any]]:
    """The one errand; none where prices are switched off."""
    chosen: PlanningSettings = environment.settings
    if not chosen.stock_prices_seconds:
        return ()

    async def take(tx: Transaction, limit: int) -> Sequence[datetime]:
        return await claim(tx, limit, chosen)

    async def perform(computed_at: datetime) -> NewPrices:
        return await work_out(environment, computed_at, chosen)

    async def settle(tx: Transaction, results: Sequence[tuple[datetime, NewPrices]]) -> Sequence[Outgoing]:
        return await save(tx, results, chosen)

    return [Errand("stock_prices", take, perform, settle, poll_seconds=POLL_SECONDS, concurrency=1)]


async def claim(tx: Transaction, limit: int, chosen: PlanningSettings) -> Sequence[datetime]:
    """Takes the work when it is due; the time from which it looks back."""
    until = tx.now + timedelta(seconds=LEASE_SECONDS)
    due = limit > 0 and await sql.take_lease(tx.connection, tx.now, until, chosen.stock_prices_seconds)
    return [tx.now] if due else ()


async def work_out(environment: Environment, now: datetime, chosen: PlanningSettings) -> NewPrices:
    """New prices. Reads in one transaction that changes nothing, then calculates piece by piece on a thread."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            async with (
                environment.database.acquire(timeout=10) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                outlook = await _outlook(connection, now, chosen)
            return await _priced(outlook, now)
    except TimeoutError:
        return NewPrices(now, {}, problem=TOO_LONG)
    except (StockPriceError, asyncpg.QueryCanceledError) as error:
        return NewPrices(now, {}, problem=f"{type(error).__name__}: {error}"[:500])


async def _priced(outlook: Outlook, now: datetime) -> NewPrices:
    """Every SKU by itself, then by whole plans as many as time allows."""
    clock = asyncio.get_running_loop().time
    until = clock() + PLANS_SECONDS
    pieces = in_pieces(outlook)
    found = StockPriceList()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        found.take(piece)
        if found.to_come and clock() > until:
            break
    fallback = None
    if found.to_come:
        fallback = f"{found.to_come} SKUs are priced each by itself: whole plans took longer than {PLANS_SECONDS:.0f} seconds"
    elif found.problem is not None:
        fallback = f"{len(found.alone_after_all)} SKUs are priced each by itself: {found.problem}"[:500]
    return NewPrices(now, found.cents, found.skus, len(found.together), fallback=fallback)


async def _outlook(connection: Connection, now: datetime, chosen: PlanningSettings) -> Outlook:
    """What was ordered, the newest word on stock, and how many weighed days of the orders the stock has to last."""
    planner = await current.planner(connection)
    history_days = chosen.stock_prices_history_days
    first_id = _first_id(now - timedelta(days=history_days))
    half_life_seconds = history_days * SECONDS_PER_DAY / HALF_LIVES
    rows = await sql.read_ordered(connection, first_id, now, half_life_seconds, MOST_ORDERS)
    ordered, unit_grams, skus = await asyncio.to_thread(_ordered, rows)
    told = [Told(row["sku"], row["places"], row["lines"], row["chosen"]) for row in await sql.read_told(connection, first_id, sorted(skus))]
    span_days = (now - rows[0]["begun"]).total_seconds() / SECONDS_PER_DAY if rows else 0.0
    days = chosen.stock_prices_horizon_days / weighed_days(span_days, history_days)
    shelves = {entry.sku: left_on_shelves(entry) for entry in told}
    return Outlook(planner.network, planner.tariffs, planner.split_cents, shelves, unit_grams, ordered, days)


def _ordered(rows: Sequence[asyncpg.Record]) -> tuple[list[Ordered], dict[str, int], set[str]]:
    """The orders, the weight of every SKU in them, and the SKUs that are looked at."""
    ordered = []
    unit_grams: dict[str, int] = {}
    for row in rows:
        for sku, grams in zip(row["skus"], row["grams"], strict=True):
            unit_grams[sku] = max(unit_grams.get(sku, 0), grams)
        place = find_place(row["postal_code"], row["country"])
        if place is not None:
            lines = tuple(zip(row["skus"], row["units"], strict=True))
            ordered.append(Ordered(lines, place, row["service_level"], row["residential"], row["orders"]))
    return ordered, unit_grams, most_wanted(ordered, MOST_SKUS)


def _first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment: decisions are numbered by time."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


async def save(tx: Transaction, results: Sequence[tuple[datetime, NewPrices]], chosen: PlanningSettings) -> Sequence[Outgoing]:
    """Puts new prices in the place of the old ones, or says why there are none."""
    for _, new in results:
        due_at = new.computed_at + timedelta(seconds=chosen.stock_prices_seconds)
        if new.problem is None:
            if new.fallback is not None:
                log.warning("stock_prices_without_whole_plans", fallback=new.fallback)
            counts = sql.Looked(new.skus, new.skus_together, new.fallback)
            await sql.save_prices(tx.connection, new.prices, counts, new.computed_at, due_at)
        else:
            log.warning("no_new_stock_prices", problem=new.problem)
            await sql.note_problem(tx.connection, new.problem, due_at)
    return ()
