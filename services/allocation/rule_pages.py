"""Rules about stock, and who changed what: channel pools, changes of rules, corrections of what is on hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.pages import bad_limit, channel_pools_as_json, invalid_query, limit_of
from services.allocation.queries import reading as sql
from services.allocation.queries.supplies import read_open_supplies
from shared.service import Environment, get

END_OF_TIME = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))


def _before(request: web.Request) -> tuple[datetime, UUID] | None:
    """Where a page begins: ``next_before`` of the page before, the newest without; None when it is neither."""
    text = request.query.get("before")
    if text is None:
        return END_OF_TIME
    instant, _, row_id = text.partition("_")
    try:
        moment = datetime.fromisoformat(instant)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), UUID(row_id)
    except ValueError:
        return None


def _bad_before() -> web.Response:
    return invalid_query("before", "is no place in this list", "next_before of the page before, or leave it out")


def _cursor(moment: datetime, row_id: UUID) -> str:
    """Without an offset, because a plus sign in an address is a space."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}_{row_id}"


async def list_channel_pools(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /channel-pools?channel=&after=&limit=``: SKUs with rules for channels; ``next_after`` begins the next page."""
    limit = limit_of(request)
    if limit is None:
        return bad_limit()
    channel = request.query.get("channel")
    async with environment.database.acquire(timeout=10) as connection:
        rules = await sql.list_channel_pools(connection, channel, request.query.get("after", ""), limit)
        pools = await sql.read_pools(connection, sorted({rule["sku"] for rule in rules}))
        supplies = supplies_by_sku(await read_open_supplies(connection, [pool["sku"] for pool in pools]))
    found = [
        {"sku": pool["sku"], **rule}
        for pool in pools
        for rule in channel_pools_as_json(pool, rules, supplies.get(pool["sku"], ()))
        if channel is None or rule["channel"] == channel
    ]
    return web.json_response({"channel_pools": found, "next_after": pools[-1]["sku"] if len(pools) == limit else None})


async def list_adjustments(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /adjustments?sku=&location=&before=&limit=``: who corrected what is on hand, when and why, newest first."""
    limit, before = limit_of(request), _before(request)
    if limit is None:
        return bad_limit()
    if before is None:
        return _bad_before()
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_adjustments(connection, request.query.get("sku"), request.query.get("location"), *before, limit)
    return web.json_response(
        {
            "adjustments": [
                {
                    "adjustment_id": str(row["adjustment_id"]),
                    "sku": row["sku"],
                    "location": row["location"],
                    "old_on_hand": row["old_on_hand"],
                    "new_on_hand": row["new_on_hand"],
                    "reason": row["reason"],
                    "author": row["author"],
                    "adjusted_at": row["adjusted_at"].isoformat(),
                }
                for row in rows
            ],
            "next_before": _cursor(rows[-1]["adjusted_at"], rows[-1]["adjustment_id"]) if len(rows) == limit else None,
        }
    )


def _change_as_json(row: Record) -> dict[str, Any]:
    heading = {
        "change_id": str(row["change_id"]),
        "kind": row["kind"],
        "sku": row["sku"],
        "reason": row["reason"],
        "author": row["author"],
        "changed_at": row["changed_at"].isoformat(),
    }
    if row["kind"] == "safety":
        return {
            **heading,
            "location": row["location"],
            "old": {"safety_units": row["old_safety"]},
            "new": {"safety_units": row["new_safety"]},
        }
    sides = {
        side: {
            "fence_units": row[f"{side}_fence"],
            "cap_units": row[f"{side}_cap"],
            "share_percent": row[f"{side}_share_percent"],
        }
        if row[f"{side}_fence"] is not None
        else None
        for side in ("old", "new")
    }
    return {**heading, "channel": row["channel"], "rule_version": row["rule_version"], **sides}


async def list_rule_changes(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /rule-changes?sku=&before=&limit=``: who changed safety stock and channel pools, when and why, newest first."""
    limit, before = limit_of(request), _before(request)
    if limit is None:
        return bad_limit()
    if before is None:
        return _bad_before()
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_rule_changes(connection, request.query.get("sku"), *before, limit)
    return web.json_response(
        {
            "changes": [_change_as_json(row) for row in rows],
            "next_before": _cursor(rows[-1]["changed_at"], rows[-1]["change_id"]) if len(rows) == limit else None,
        }
    )


ROUTES = [
    get("/channel-pools", list_channel_pools),
    get("/adjustments", list_adjustments),
    get("/rule-changes", list_rule_changes),
]
