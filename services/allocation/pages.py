"""What people and other programs may ask allocation over HTTP. JSON; every quantity is a count of whole units, every time UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.allocation.decide.kits import ComponentStock, sellable_kit
from services.allocation.decide.offering import DEFAULT_POOL, offers_of
from services.allocation.decide.pools import ChannelPool
from services.allocation.decide.promising import Sellable
from services.allocation.decide.shortage import DEFAULT_POLICY
from services.allocation.decide.stock import SupplyUnits
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.kits import read_component_stock
from services.allocation.queries import reading as sql
from services.allocation.queries.pools import read_channel_pools
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.channels import FieldProblem
from shared.contracts.stock import ShortagePolicy
from shared.http import error_response
from shared.service import Environment, get

PAGE_LIMIT = 1_000
QUEUE_SHOWN = 100


def invalid_query(field: str, problem: str, remedy: str) -> web.Response:
    """The answer to a question with a wrong parameter."""
    return error_response(422, "invalid_query", f"{field}: {problem}", [FieldProblem(field=field, problem=problem, remedy=remedy)])


def limit_of(request: web.Request) -> int | None:
    """How many rows are wanted; None when that is no number of rows."""
    text = request.query.get("limit", "100")
    return int(text) if text.isdecimal() and 1 <= int(text) <= PAGE_LIMIT else None


def bad_limit() -> web.Response:
    """The answer to a limit that is none."""
    return invalid_query("limit", "is no number of rows", f"a whole number from 1 to {PAGE_LIMIT}")


def _claimed(pool: Record) -> int:
    """Available units that those who wait have the first claim to. Where channels have rules, who waits may not take what is available."""
    return 0 if pool["ruled"] and pool["available"] > 0 else int(pool["queued"])


def _pool_as_json(row: Record) -> dict[str, Any]:
    return {
        "sku": row["sku"],
        "pool": row["pool"],
        "stock_version": row["version"],
        "sellable_units": row["sellable"] - row["pending_shortage"],
        "reserved_units": row["reserved"],
        "held_units": row["held"],
        "safety_units": row["safety"],
        "fenced_units": row["fenced"],
        "available_units": max(0, row["available"] - _claimed(row)),
        "queued_units": row["queued"],
        "pending_shortage_units": row["pending_shortage"],
    }


def _shelf_as_json(row: Record) -> dict[str, Any]:
    return {
        "location": row["location"],
        "on_hand_units": row["on_hand"],
        "damaged_units": row["damaged"],
        "quality_control_units": row["quality_control"],
        "safety_units": row["safety"],
        "assigned_units": row["assigned"],
        "assignable_units": max(0, row["on_shelf"] - row["assigned"]) if row["counts"] else 0,
        "pending_shortage_units": row["pending_shortage"],
        "awaited_units": max(0, -row["on_shelf"]),
        "counts": row["counts"],
        "counted_as_of": row["counted_as_of"].isoformat() if row["counted_as_of"] else None,
        "counted_watermark": row["counted_watermark"],
    }


def _with_shelves(pool: Record, shelves: Iterable[Record]) -> dict[str, Any]:
    own = [row for row in shelves if row["sku"] == pool["sku"]]
    return {
        **_pool_as_json(pool),
        "on_hand_units": sum(row["on_hand"] for row in own),
        "damaged_units": sum(row["damaged"] for row in own),
        "quality_control_units": sum(row["quality_control"] for row in own),
        "locations": [_shelf_as_json(row) for row in own],
    }


def _channels_of(pool: Record, rules: Iterable[Record]) -> list[ChannelPool]:
    return [ChannelPool(*rule.values()) for rule in rules if rule["sku"] == pool["sku"]]


def offers_in(pool: Record, rules: Iterable[Record], supplies: Sequence[SupplyUnits]) -> dict[str, Sellable]:
    """What everybody, and each channel with a rule, is told."""
    return dict(offers_of(pool["free"], pool["queued"], _channels_of(pool, rules), supplies, pool["release_at"]))


def preorder_as_json(pool: Record) -> dict[str, Any]:
    """When a SKU that is sold before its release is released."""
    return {"release_at": pool["release_at"].isoformat(), "early_release": pool["early_release"]}


def channel_pools_as_json(pool: Record, rules: Iterable[Record], supplies: Sequence[SupplyUnits]) -> list[dict[str, Any]]:
    """What channels with rules may take of a SKU, how much of that they have, and what they are told."""
    told = offers_in(pool, rules, supplies)
    return [
        {
            "channel": rule.channel,
            "fence_units": rule.fence,
            "fence_units_unfilled": rule.unfilled,
            "cap_units": rule.cap,
            "share_percent": rule.share_percent,
            "open_units": rule.open,
            "queued_units": rule.queued,
            "available_units": told[rule.channel].available,
            "mode": told[rule.channel].mode,
            "next_ship_at": date.isoformat() if (date := told[rule.channel].next_ship_at) else None,
            "rule_version": rule.rule_version,
        }
        for rule in _channels_of(pool, rules)
    ]


async def read_stock(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /stock/{sku}``: what there is of one SKU, where, who waits for it, and when the next order would ship; of a kit, how many can
    be made of which components."""
    sku = request.match_info["sku"]
    async with environment.database.acquire(timeout=10) as connection:
        pool = await sql.read_pool(connection, sku)
        kit = await sql.read_kit(connection, sku) if pool is None else None
        if kit is not None:
            return web.json_response(_kit_as_json(kit, (await read_component_stock(connection, [sku]))[sku]))
        if pool is None:
            return error_response(404, "unknown_sku", f"SKU {sku!r} is not registered")
        shelves = await sql.list_shelves(connection, [sku])
        rules = await read_channel_pools(connection, [sku])
        coming = await read_open_supplies(connection, [sku])
        supplies = supplies_by_sku(coming).get(sku, [])
        queue = await sql.list_queue(connection, sku, QUEUE_SHOWN)
    told = offers_in(pool, rules, supplies)[DEFAULT_POOL]
    return web.json_response(
        {
            **_with_shelves(pool, shelves),
            "sku_safety_units": pool["sku_safety"],
            "channel_pools": channel_pools_as_json(pool, rules, supplies),
            "mode": told.mode,
            "next_ship_at": told.next_ship_at.isoformat() if told.next_ship_at else None,
            "hazmat": pool["hazmat"],
            "preorder": preorder_as_json(pool) if pool["release_at"] else None,
            "for_sale_units": told.available,
            "incoming_units": sum(row["expected"] for row in coming),
            "queue": [
                {
                    "order_id": str(row["order_id"]),
                    "line_id": row["line_id"],
                    "priority": row["priority"],
                    "queued_units": row["queued"],
                    "units_ahead": row["units_ahead"],
                    "promised_ship_at": row["promised_ship_at"].isoformat() if row["promised_ship_at"] else None,
                }
                for row in queue
            ],
        }
    )


def _kit_as_json(kit: Record, components: Sequence[ComponentStock]) -> dict[str, Any]:
    told = sellable_kit(components)
    return {
        "sku": kit["sku"],
        "pool": "default",
        "stock_version": kit["version"],
        "available_units": told.available,
        "mode": told.mode,
        "next_ship_at": told.next_ship_at.isoformat() if told.next_ship_at else None,
        "hazmat": kit["hazmat"],
        "components": [
            {
                "sku": component.sku,
                "units_per_kit": component.quantity,
                "available_units": max(0, component.available),
                "queued_units": component.queued,
                "kits": component.kits,
                "next_ship_at": date.isoformat() if not component.kits and (date := component.next_ship_at) else None,
            }
            for component in components
        ],
    }


async def list_stock(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /stock?after=&limit=``: SKU by SKU; ``next_after`` is where the next page begins, null on the last."""
    limit = limit_of(request)
    if limit is None:
        return bad_limit()
    async with environment.database.acquire(timeout=10) as connection:
        pools = await sql.list_pools(connection, request.query.get("after", ""), limit)
        shelves = await sql.list_shelves(connection, [pool["sku"] for pool in pools])
    by_sku: dict[str, list[Record]] = {}
    for shelf in shelves:
        by_sku.setdefault(shelf["sku"], []).append(shelf)
    return web.json_response(
        {
            "stock": [_with_shelves(pool, by_sku.get(pool["sku"], ())) for pool in pools],
            "next_after": pools[-1]["sku"] if len(pools) == limit else None,
        }
    )


async def read_order_stock(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}/stock``: which units an order has, where they are tied, and what it waits for and until when."""
    try:
        order_id = UUID(request.match_info["order_id"])
    except ValueError:
        return invalid_query("order_id", "is no UUID", "the order's id as in order.placed")
    async with environment.database.acquire(timeout=10) as connection:
        order = await sql.read_order(connection, order_id)
        if order is None:
            return error_response(404, "unknown_order", f"order {order_id} has not arrived here")
        demand = await sql.list_order_demand(connection, order_id)
        assignments = await sql.list_order_assignments(connection, order_id)
    return web.json_response(
        {
            "order_id": str(order_id),
            "order_version": order["order_version"],
            "split_policy": order["split_policy"],
            "priority": order["priority"],
            "segment": order["segment"],
            "placed_at": order["placed_at"].isoformat(),
            "cancelled": order["cancelled_version"] is not None,
            "lines": [_demand_as_json(row) for row in demand],
            "assignments": [_assignment_as_json(row) for row in assignments],
        }
    )


def _demand_as_json(row: Record) -> dict[str, Any]:
    return {
        "reservation_id": str(row["demand_id"]),
        "line_id": row["line_id"],
        "sku": row["sku"],
        "ordered_units": row["units"],
        "queued_units": row["queued"],
        "reserved_units": row["reserved"],
        "assigned_units": row["assigned"],
        "shipped_units": row["shipped"],
        "cancelled_units": row["cancelled"],
        "units_ahead": int(row["units_ahead"]) if row["units_ahead"] is not None else None,
        "promised_ship_at": row["promised_ship_at"].isoformat() if row["queued"] and row["promised_ship_at"] else None,
    }


def _assignment_as_json(row: Record) -> dict[str, Any]:
    return {
        "fulfillment_id": str(row["fulfillment_id"]),
        "line_id": row["line_id"],
        "sku": row["sku"],
        "location": row["location"],
        "planned_units": row["units"],
        "open_units": row["open"],
        "shipped_units": row["shipped"],
        "taken_back_units": row["units"] - row["open"] - row["shipped"],
        "shipped_at": row["shipped_at"].isoformat() if row["shipped_at"] else None,
    }


async def read_shortage_policy(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /shortage-policy``: whose reserved units queue again first in a shortage, who chose that and when; and the choice there is."""
    async with environment.database.acquire(timeout=10) as connection:
        chosen = await sql.read_chosen_policy(connection)
    return web.json_response(
        {
            "policy": chosen["policy"] if chosen else DEFAULT_POLICY,
            "operator": chosen["operator"] if chosen else None,
            "set_at": chosen["set_at"].isoformat() if chosen else None,
            "policies": list(get_args(ShortagePolicy)),
        }
    )


ROUTES = [
    get("/shortage-policy", read_shortage_policy),
    get("/stock/{sku}", read_stock),
    get("/stock", list_stock),
    get("/orders/{order_id}/stock", read_order_stock),
]
