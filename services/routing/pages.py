"""What operators and the portal read of orders and locations, and the one thing an operator can do to an order here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from services.routing import current, handlers
from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.recording import NotReplayableError, canonical, request_of
from services.routing.postal_codes import find_place
from services.routing.queries import consents
from services.routing.queries import pages as sql
from services.routing.replay.footing import Footings
from shared.contracts.channels import FieldProblem
from shared.http import error_response
from shared.messaging.message import Connection
from shared.service import Environment

STATUSES = (
    "placed",
    "partially_allocated",
    "fully_allocated",
    "released",
    "in_fulfillment",
    "shipped",
    "delivered",
    "closed",
    "cancelled",
)
ROWS_LIMIT = 200
DECISIONS_LIMIT = 10


def _as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _row(row: Record | Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {name: _as_json(value) for name, value in row.items() if name not in without}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _unknown_order() -> web.Response:
    return error_response(404, "not_found", "there is no such order here")


async def _order_document(connection: Connection, order_id: UUID) -> dict[str, Any] | None:
    order = await sql.read_order(connection, order_id)
    if order is None:
        return None
    changes = [_row(row) for row in await sql.read_changes(connection, order_id)]
    attention = None
    if order["attention_reason"] is not None:
        attention = {
            "reason": order["attention_reason"],
            "detail": order["attention_detail"],
            "due_at": _as_json(order["attention_due_at"]),
        }
    footings = Footings(tariffs=current.tariffs())
    delays = [_row(row) for row in await consents.read_consents_of_order(connection, order_id)]
    agreed = ("original_ship_at", "agreed_ship_at", "open_ended")
    return _row(order, "attention_reason", "attention_detail", "attention_due_at", "change_id", "consent_id", *agreed) | {
        "attention": attention,
        "open_change": next((change for change in changes if change["change_id"] == _as_json(order["change_id"])), None),
        "lines": [_row(row) for row in await sql.read_lines(connection, order_id)],
        "fulfillments": [_row(row) for row in await sql.read_fulfillments(connection, order_id)],
        "changes": changes,
        "delay": {name: _as_json(order[name]) for name in agreed}
        | {
            "newest": next((delay for delay in delays if delay["consent_id"] == _as_json(order["consent_id"])), None),
            "questions": delays,
        },
        "decisions": [
            _row(row) | {"in_words": await _explained(connection, footings, row["record"])}
            for row in await sql.read_decisions(connection, order_id, DECISIONS_LIMIT)
        ],
    }


async def _explained(connection: Connection, footings: Footings, record: Mapping[str, Any]) -> str | None:
    """The decision in words, with the plan that came second; None when it cannot be made again, or comes out differently by now."""
    try:
        planner, _ = await footings.planners_of(connection, record)
        request = request_of(record, lambda postal_code: find_place(postal_code, "US"))
    except NotReplayableError:
        return None
    plan = planner.plan(request)
    if canonical(plan.record) != canonical(record):
        return None
    return in_words(plan, runner_up(planner, request, plan))


async def read_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}``: where every unit of an order is, what it waits for, and why it was planned so."""
    order_id = _uuid(request.match_info["order_id"])
    if order_id is None:
        return _unknown_order()
    async with environment.database.acquire(timeout=10) as connection:
        document = await _order_document(connection, order_id)
    return _unknown_order() if document is None else web.json_response(document)


async def list_orders(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders?status=&after=``: a page of orders; ``after`` is the last order id of the page before."""
    status, after = request.query.get("status") or None, request.query.get("after") or None
    if status is not None and status not in STATUSES:
        problem = FieldProblem(field="status", problem=f"{status[:40]!r} is unknown", remedy=f"one of {', '.join(STATUSES)}")
        return error_response(422, "invalid_query", "status is wrong", [problem])
    after_id = _uuid(after) if after is not None else None
    if after is not None and after_id is None:
        problem = FieldProblem(field="after", problem=f"{after[:40]!r} is no order id", remedy="the last order_id of the page before")
        return error_response(422, "invalid_query", "after is wrong", [problem])
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_orders(connection, status, after_id, ROWS_LIMIT)
    following = str(rows[-1]["order_id"]) if len(rows) == ROWS_LIMIT else None
    return web.json_response({"orders": [_row(row) for row in rows], "next_after": following})


async def list_locations(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /locations?near=&country=&within_miles=``: every registered location.

    Near a postal code: the nearest first, each with ``miles`` and the carrier's ``zone`` (null where it takes no parcels).
    """
    near, country, within = request.query.get("near"), request.query.get("country", "US"), request.query.get("within_miles")
    if within is not None and not within.isdecimal():
        problem = FieldProblem(field="within_miles", problem=f"{within[:40]!r} is no number", remedy="whole miles, like 300")
        return error_response(422, "invalid_query", "within_miles is wrong", [problem])
    place = None if near is None else find_place(near, country)
    if place is None and near is not None:
        remedy = "a US ZIP code that exists, or country and postal code as in the file of postal areas"
        problem = FieldProblem(field="near", problem=f"{country[:40]} postal code {near[:40]!r} is not on the map", remedy=remedy)
        return error_response(422, "invalid_query", "near is wrong", [problem])
    async with environment.database.acquire(timeout=10) as connection:
        rows = {row["location"]: _row(row) for row in await sql.list_locations(connection)}
        planner = await current.planner(connection)
    if place is None:
        return web.json_response({"locations": list(rows.values())})
    found = [
        rows[reach.location.code] | {"miles": reach.miles, "zone": reach.zone if reach.ways else None}
        for reach in planner.network.reach(place, planner.tariffs)
        if reach.location.code in rows and (within is None or reach.miles <= int(within))
    ]
    return web.json_response({"locations": found})


async def list_attention(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /attention``: orders that cannot go on alone, with the reason and by when somebody must decide."""
    async with environment.database.acquire(timeout=10) as connection:
        rows = await sql.list_attention(connection, ROWS_LIMIT)
    return web.json_response({"orders": [_row(row) for row in rows]})


async def list_delays(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /delays?after=``: orders that wait for their customer to say whether to wait, the most urgent first; ``after`` is the last
    consent id of the page before."""
    after = request.query.get("after") or None
    after_id = _uuid(after) if after is not None else None
    if after is not None and after_id is None:
        problem = FieldProblem(field="after", problem=f"{after[:40]!r} is no consent id", remedy="the last consent_id of the page before")
        return error_response(422, "invalid_query", "after is wrong", [problem])
    async with environment.database.acquire(timeout=10) as connection:
        rows = await consents.list_open_consents(connection, after_id, ROWS_LIMIT)
    following = str(rows[-1]["consent_id"]) if len(rows) == ROWS_LIMIT else None
    return web.json_response({"delays": [_row(row) for row in rows], "next_after": following})


async def retry_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/retry``: the operator has dealt with what was wrong; answers with the order as it then stands."""
    order_id = _uuid(request.match_info["order_id"])
    if order_id is None:
        return _unknown_order()
    async with environment.transaction() as tx:
        retried = await handlers.retry_order(tx, order_id)
        tx.publish(*retried.outgoing)
    if not retried.known:
        return _unknown_order()
    if not retried.needed_attention:
        return error_response(409, "nothing_to_retry", "the order needs nobody's attention; it goes on by itself")
    async with environment.database.acquire(timeout=10) as connection:
        return web.json_response(await _order_document(connection, order_id))
