"""What operators may ask about the prices of scarce stock: what is dear, how old the prices are, and why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from aiohttp import web

from services.routing import current
from services.routing.queries import prices as sql
from services.routing.settings import PlanningSettings
from shared.contracts.channels import FieldProblem
from shared.http import error_response
from shared.messaging.message import Connection
from shared.service import Environment, Gauges, get
from shared.telemetry import Measured

SHOWN = 200
OBJECTIVE = {"objective": "forward_looking"}
"""Whose plans use them."""


async def list_stock_prices(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /stock-prices?sku=``: version and age of the prices, which orders they follow from, how many SKUs are priced by whole plans and
    why not more, and the dearest units, or those of one SKU (404 where no order has it)."""
    sku = request.query.get("sku") or None
    if sku is not None and len(sku) > 120:
        problem = FieldProblem(field="sku", problem="is longer than any SKU", remedy="the SKU as it stands in the order")
        return error_response(422, "invalid_query", "sku is wrong", [problem])
    now = environment.now()
    chosen: PlanningSettings = environment.settings
    async with environment.database.acquire(timeout=10) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        refresh = await sql.read_refresh(connection)
        rows = await sql.list_prices(connection, sku, SHOWN)
        unknown = sku is not None and not rows and not await sql.is_ordered(connection, sku)
    if unknown:
        problem = FieldProblem(field="sku", problem="no order has it", remedy="the SKU as it stands in the order, letter case included")
        return error_response(404, "not_found", "there is no such SKU here", [problem])
    computed_at: datetime | None = refresh["computed_at"]
    return web.json_response(
        {
            "version": refresh["version"],
            "computed_at": None if computed_at is None else computed_at.isoformat(),
            "age_seconds": None if computed_at is None else round((now - computed_at).total_seconds()),
            "stale": computed_at is not None and current.are_stale(computed_at, now),
            "every_seconds": chosen.stock_prices_seconds,
            "history_days": chosen.stock_prices_history_days,
            "horizon_days": chosen.stock_prices_horizon_days,
            "due_at": None if refresh["due_at"] is None else refresh["due_at"].isoformat(),
            "problem": refresh["problem"],
            "skus": refresh["skus"],
            "skus_together": refresh["skus_together"],
            "fallback": refresh["fallback"],
            "prices": refresh["prices"],
            "dearest": [dict(row) for row in rows],
        }
    )


async def price_measures(connection: Connection, now: datetime) -> Sequence[Measured]:
    """Age of the prices and whether plans may use them; nothing before the first time."""
    refresh = await sql.read_refresh(connection)
    if refresh["computed_at"] is None:
        return ()
    return (
        Measured("stock_prices_age_seconds", OBJECTIVE, (now - refresh["computed_at"]).total_seconds()),
        Measured("stock_prices_stale", OBJECTIVE, float(current.are_stale(refresh["computed_at"], now))),
        Measured("stock_prices_count", OBJECTIVE, float(refresh["prices"])),
    )


ROUTES = (get("/stock-prices", list_stock_prices),)

GAUGES = Gauges(
    names={
        "stock_prices_age_seconds": "How old the prices of scarce stock are",
        "stock_prices_stale": "1 when they are too old to be used: plans that look ahead are then merely the cheapest",
        "stock_prices_count": "How many units of a SKU at a location have a price",
    },
    labels=tuple(OBJECTIVE),
    read=price_measures,
)
