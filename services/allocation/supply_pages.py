"""Goods on their way and SKUs that are sold before their release, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.allocation.decide.offering import DEFAULT_POOL
from services.allocation.decide.stock import SupplyUnits
from services.allocation.decide.supply import supply_status
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.pages import bad_limit, invalid_query, limit_of, offers_in, preorder_as_json
from services.allocation.queries import reading as sql
from services.allocation.queries.pools import read_channel_pools
from services.allocation.queries.preorders import list_preorders as list_preorder_pools
from services.allocation.queries.supplies import read_open_supplies
from shared.service import Environment, get

FIRST_ID = UUID(int=0)


def _supply_as_json(supply: Record, lines: Sequence[Record]) -> dict[str, Any]:
    return {
        "supply_id": str(supply["supply_id"]),
        "purchase_order": supply["purchase_order"],
        "location": supply["location"],
        "expected_at": supply["expected_at"].isoformat(),
        "ships_at": supply["ships_at"].isoformat() if supply["ships_at"] else None,
        "status": supply_status(
            cancelled=supply["cancelled"],
            overdue=supply["overdue"],
            received=sum(line["received"] for line in lines),
            expected=sum(line["expected"] for line in lines),
        ),
        "cancelled": supply["cancelled"],
        "over_received_units": sum(line["over_received"] for line in lines),
    }


def _supply_line_as_json(line: Record) -> dict[str, Any]:
    return {
        "sku": line["sku"],
        "scheduled_units": line["quantity"],
        "received_units": line["received"],
        "expected_units": line["expected"],
        "called_off_units": line["called_off"],
        "over_received_units": line["over_received"],
    }


def _preorder_pool_as_json(pool: Record, rules: Iterable[Record], supplies: Sequence[SupplyUnits]) -> dict[str, Any]:
    told = offers_in(pool, rules, supplies)[DEFAULT_POOL]
    return {
        "sku": pool["sku"],
        **preorder_as_json(pool),
        "stock_version": pool["version"],
        "queued_units": pool["queued"],
        "on_shelf_units": max(0, pool["free"]),
        "for_sale_units": told.available,
        "next_ship_at": told.next_ship_at.isoformat() if told.next_ship_at else None,
    }


async def list_preorders(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /preorders?after=&limit=``: SKUs that are sold before their release; ``next_after`` begins the next page."""
    limit = limit_of(request)
    if limit is None:
        return bad_limit()
    async with environment.database.acquire(timeout=10) as connection:
        pools = await list_preorder_pools(connection, request.query.get("after", ""), limit)
        skus = [pool["sku"] for pool in pools]
        coming = await read_open_supplies(connection, skus)
        supplies = supplies_by_sku(coming)
        rules = await read_channel_pools(connection, skus)
    return web.json_response(
        {
            "preorders": [
                {
                    **_preorder_pool_as_json(pool, rules, supplies.get(pool["sku"], [])),
                    "incoming_units": sum(row["expected"] for row in coming if row["sku"] == pool["sku"]),
                }
                for pool in pools
            ],
            "next_after": pools[-1]["sku"] if len(pools) == limit else None,
        }
    )


async def list_supplies(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /supplies?sku=&purchase_order=&over_received=&after=&limit=``: goods on their way, what of them has come, and what came beyond
    them; ``next_after`` begins the next page."""
    limit = limit_of(request)
    if limit is None:
        return bad_limit()
    try:
        after = UUID(request.query["after"]) if "after" in request.query else FIRST_ID
    except ValueError:
        return invalid_query("after", "is no UUID", "next_after of the page before")
    query = request.query
    only_over_received = query.get("over_received", "false")
    if only_over_received not in ("true", "false"):
        return invalid_query("over_received", "is neither true nor false", "true lists only supplies of which too much came")
    async with environment.database.acquire(timeout=10) as connection:
        supplies = await sql.list_supplies(
            connection, query.get("sku"), query.get("purchase_order"), only_over_received == "true", after, limit
        )
        lines = await sql.list_supply_lines(connection, [supply["supply_id"] for supply in supplies])
    by_supply: dict[UUID, list[Record]] = {}
    for line in lines:
        by_supply.setdefault(line["supply_id"], []).append(line)
    return web.json_response(
        {
            "supplies": [
                {
                    **_supply_as_json(supply, by_supply.get(supply["supply_id"], [])),
                    "lines": [_supply_line_as_json(line) for line in by_supply.get(supply["supply_id"], [])],
                }
                for supply in supplies
            ],
            "next_after": str(supplies[-1]["supply_id"]) if len(supplies) == limit else None,
        }
    )


ROUTES = [get("/supplies", list_supplies), get("/preorders", list_preorders)]
