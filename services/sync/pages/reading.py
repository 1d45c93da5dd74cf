"""What the console and scripts read from sync."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.sync.decide.stock import percentile_ms
from services.sync.queries import catalogue, channels, orders, stock
from services.sync.settings import channels_in
from shared.contracts.channels import FieldProblem
from shared.http import error_response
from shared.service import Environment

LATENCY_WINDOW = timedelta(minutes=15)
LISTINGS_PAGE = 200
LISTINGS_PAGE_LIMIT = 1_000
SEARCH_LIMIT = 120


def _plain(row: Record) -> dict[str, Any]:
    """A row in JSON's types."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


async def read_product(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /products/{sku}``: one product; a kit with its components as the product master knows them."""
    sku = request.match_info["sku"]
    async with environment.database.acquire(timeout=10) as connection:
        row = await catalogue.read_product(connection, sku)
        kits = await catalogue.read_kits(connection, [sku]) if row is not None and row["is_kit"] else {}
    if row is None:
        return error_response(404, "not_found", "no product of this SKU is registered")
    components = [component.model_dump(mode="json") for component in kits.get(sku, ())]
    return web.json_response(_plain(row) | {"components": components})


async def read_listings(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /listings?channel=&after=&limit=``: what a channel sells, SKU by SKU: today's price, the number it shall show and the one it
    last took. With ``search=`` those whose title or SKU holds all its words, best first and no pages."""
    channel = request.query.get("channel", "")
    if channel not in channels_in(environment.settings.partners_file):
        problem = FieldProblem(
            field="channel", problem=f"there is no channel {channel[:40]!r}", remedy="?channel=<code>, see GET /channels"
        )
        return error_response(422, "invalid_query", "which channel?", [problem])
    stated = request.query.get("limit", str(LISTINGS_PAGE))
    if not (stated.isascii() and stated.isdigit() and 1 <= int(stated) <= LISTINGS_PAGE_LIMIT):
        problem = FieldProblem(field="limit", problem=f"{stated[:20]!r} is no page size", remedy=f"1 to {LISTINGS_PAGE_LIMIT}")
        return error_response(422, "invalid_query", "how many?", [problem])
    after = request.query.get("after", "")
    search = request.query.get("search")
    if search is not None:
        if not search.strip() or len(search) > SEARCH_LIMIT or after:
            remedy = f"words of the title or the SKU, up to {SEARCH_LIMIT} characters, without after"
            problem = FieldProblem(field="search", problem=f"{search[:20]!r} cannot be searched for", remedy=remedy)
            return error_response(422, "invalid_query", "which products?", [problem])
        async with environment.database.acquire(timeout=10) as connection:
            rows = await catalogue.find_listings(connection, channel, search, int(stated))
        return web.json_response({"channel": channel, "listings": [_plain(row) for row in rows], "next_after": None})
    async with environment.database.acquire(timeout=10) as connection:
        rows = await catalogue.read_listings(connection, channel, after, int(stated))
    following = rows[-1]["sku"] if len(rows) == int(stated) else None
    return web.json_response({"channel": channel, "listings": [_plain(row) for row in rows], "next_after": following})


async def read_channels(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /channels?since=``: health, backlog and measured push latency of every channel, of the last 15 minutes or since a time."""
    since = environment.now() - LATENCY_WINDOW
    stated = request.query.get("since")
    if stated is not None:
        try:
            moment = datetime.fromisoformat(stated.replace(" ", "+"))
            since = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            problem = FieldProblem(field="since", problem=f"{stated[:40]!r} is no time", remedy="RFC 3339, e.g. 2026-01-31T10:00:00Z")
            return error_response(422, "invalid_query", "since when?", [problem])
    async with environment.database.acquire(timeout=10) as connection:
        rows = await channels.read_channels(connection)
        counts = await stock.read_latencies(connection, since.replace(second=0, microsecond=0))
    pushes: dict[str, dict[int, int]] = defaultdict(dict)
    for count in counts:
        pushes[count["channel"]][count["bucket"]] = count["pushes"]
    partners = channels_in(environment.settings.partners_file)
    now = environment.now()
    return web.json_response({"channels": [_channel(row, partners.get(row["code"]), pushes[row["code"]], now) for row in rows]})


def _channel(row: Record, partner: Any, pushes: dict[int, int], now: datetime) -> dict[str, Any]:
    paused = row["paused_until"] is not None and row["paused_until"] > now
    circuit = "closed" if row["trips"] == 0 else "open" if paused else "probing"
    return {
        **_plain(row),
        "in_partners_file": partner is not None,
        "base_url": None if partner is None else partner.base_url,
        "requests_per_second": None if partner is None else partner.requests_per_second,
        "circuit": circuit,
        "push_latency_ms": {
            "p50": percentile_ms(pushes, 0.5),
            "p99": percentile_ms(pushes, 0.99),
            "pushes": sum(pushes.values()),
        },
    }


async def read_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}``: an order as its channel sent it, with its refunds and shipment notices there."""
    try:
        order_id = UUID(request.match_info["order_id"])
    except ValueError:
        return error_response(404, "not_found", "order ids are UUIDs; by the channel's own id: /orders/by-external/{channel}/{external_id}")
    async with environment.database.acquire(timeout=10) as connection:
        return await _order(connection, await orders.read_order(connection, order_id))


async def read_order_by_external_id(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/by-external/{channel}/{external_id}``: the same by what the channel calls the order."""
    channel, external_id = request.match_info["channel"], request.match_info["external_id"]
    async with environment.database.acquire(timeout=10) as connection:
        return await _order(connection, await orders.read_order_by_external_id(connection, channel, external_id))


async def _order(connection: Any, row: Record | None) -> web.Response:
    if row is None:
        return error_response(404, "not_found", "no such order was placed")
    refunds = await orders.read_refunds_of(connection, row["order_id"])
    notices = await orders.read_notices_of(connection, row["order_id"])
    order = _plain(row)
    order["refunds"] = [_plain(refund) for refund in refunds]
    order["shipments"] = [_plain(notice) for notice in notices]
    return web.json_response(order)
