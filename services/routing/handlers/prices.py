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
from services.routing.decide.outlook import HALF_LIVES, Told, Wanted, questions, weighed_days
from services.routing.decide.scarcity import StockPriceError, stock_prices
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
MOST_SKUS = 20_000
"""Of more SKUs only those that are wanted most have prices."""
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class NewPrices:
    """What came of working them out. ``problem`` says why there are none."""

    computed_at: datetime
    prices: dict[tuple[str, str], int]
    skus: int = 0
    problem: str | None = None


def errands(environment: Environment) -> Sequence[Errand[Any, Any]]:
    """The one errand; none where prices are switched off."""
    chosen: PlanningSettings = environment.settings
    if not chosen.stock_prices_seconds:
        return ()

    async def perform(computed_at: datetime) -> NewPrices:
        return await work_out(environment, computed_at, chosen)

    async def settle(tx: Transaction, results: Sequence[tuple[datetime, NewPrices]]) -> Sequence[Outgoing]:
        return await save(tx, results, chosen)

    return [Errand("stock_prices", claim, perform, settle, poll_seconds=POLL_SECONDS, concurrency=1)]


async def claim(tx: Transaction, limit: int) -> Sequence[datetime]:
    """Takes the work when it is due; the time from which it looks back."""
    due = limit > 0 and await sql.take_lease(tx.connection, tx.now, tx.now + timedelta(seconds=LEASE_SECONDS))
    return [tx.now] if due else ()


async def work_out(environment: Environment, now: datetime, chosen: PlanningSettings) -> NewPrices:
    """New prices. Reads in one transaction that changes nothing, then calculates piece by piece on a thread."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            async with (
                environment.database.acquire(timeout=10) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                planner = await current.planner(connection)
                told, wanted, days = await _history(connection, now, chosen)
            prices: dict[tuple[str, str], int] = {}
            skus = 0
            for question in questions(planner.network, planner.tariffs, told, wanted, days):
                skus += len({sku for sku, _ in question.demand})
                found = await asyncio.to_thread(stock_prices, question.shelves, question.demand, question.shipping_cost_cents)
                prices |= {key: round(cents) for key, cents in found.items() if round(cents)}
            return NewPrices(now, prices, skus)
    except TimeoutError:
        return NewPrices(now, {}, problem=TOO_LONG)
    except (StockPriceError, asyncpg.QueryCanceledError) as error:
        return NewPrices(now, {}, problem=f"{type(error).__name__}: {error}"[:500])


async def _history(connection: Connection, now: datetime, chosen: PlanningSettings) -> tuple[list[Told], list[Wanted], float]:
    """The newest word on stock, what was ordered, and how many weighed days of that the stock has to last."""
    history_days = chosen.stock_prices_history_days
    first_id = _first_id(now - timedelta(days=history_days))
    begun = await sql.first_decision_since(connection, first_id)
    if begun is None:
        return [], [], 0.0
    half_life_seconds = history_days * SECONDS_PER_DAY / HALF_LIVES
    rows = await sql.read_wanted(connection, first_id, now, half_life_seconds, MOST_SKUS)
    wanted = [
        Wanted(row["sku"], place, row["units"], row["unit_weight_grams"])
        for row in rows
        if (place := find_place(row["postal_code"], row["country"])) is not None
    ]
    told = [
        Told(row["sku"], row["places"], row["lines"], row["chosen"])
        for row in await sql.read_told(connection, first_id, sorted({entry.sku for entry in wanted}))
    ]
    span_days = (now - begun).total_seconds() / SECONDS_PER_DAY
    return told, wanted, chosen.stock_prices_horizon_days / weighed_days(span_days, history_days)


def _first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment: decisions are numbered by time."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


async def save(tx: Transaction, results: Sequence[tuple[datetime, NewPrices]], chosen: PlanningSettings) -> Sequence[Outgoing]:
    """Puts new prices in the place of the old ones, or says why there are none."""
    for _, new in results:
        due_at = new.computed_at + timedelta(seconds=chosen.stock_prices_seconds)
        if new.problem is None:
            await sql.save_prices(tx.connection, new.prices, new.skus, new.computed_at, due_at)
        else:
            log.warning("no_new_stock_prices", problem=new.problem)
            await sql.note_problem(tx.connection, new.problem, due_at)
    return ()
