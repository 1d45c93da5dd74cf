"""What operators and the portal read of returns and refunds, the label, and the two things an operator sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, cast, get_args
from uuid import UUID

from aiohttp import web
from asyncpg import Record
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from services.returns.decide.authorisation import quote_cents, returnable_units
from services.returns.decide.books import Policy, default_policy
from services.returns.handlers import retry_refund
from services.returns.handlers.loading import policy_of, read_books
from services.returns.label import LabelContent, draw_label
from services.returns.queries import orders as order_queries
from services.returns.queries import refunds as refund_queries
from services.returns.queries import returns as return_queries
from shared.contracts.channels import FieldProblem
from shared.contracts.orders import Segment
from shared.http import error_response
from shared.json_document import document_in
from shared.messaging.message import Connection
from shared.messaging.reading import problems_of
from shared.service import Environment

RETURN_STATUSES = ("approved", "declined", "received", "inspected", "closed", "cancelled")
REFUND_STATES = ("sent", "succeeded", "failed")
ROWS_LIMIT = 200


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _row_as_json(row: Record | Mapping[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    return {name: _as_json(value) for name, value in row.items() if name not in without}


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _invalid(field: str, problem: str, remedy: str) -> web.Response:
    return error_response(422, "invalid_query", f"{field} is wrong", [FieldProblem(field=field, problem=problem, remedy=remedy)])


def _not_found(what: str) -> web.Response:
    return error_response(404, "not_found", f"there is no such {what} here")


async def _returns_as_json(connection: Connection, rows: Sequence[Record]) -> list[dict[str, Any]]:
    return_ids = [row["return_id"] for row in rows]
    lines = await return_queries.read_return_lines(connection, return_ids)
    scans = await return_queries.list_scans(connection, return_ids)
    refunds = await refund_queries.list_refunds(connection, None, return_ids, None, ROWS_LIMIT)
    return [
        _row_as_json(row)
        | {
            "lines": [_row_as_json(line, without=["return_id"]) for line in lines if line["return_id"] == row["return_id"]],
            "scans": [_row_as_json(scan, without=["return_id"]) for scan in scans if scan["return_id"] == row["return_id"]],
            "refunds": [_row_as_json(refund, without=["return_id"]) for refund in refunds if refund["return_id"] == row["return_id"]],
        }
        for row in rows
    ]


async def read_return(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /returns/{return_id}``: one return with its lines, scans and refunds."""
    return_id = _uuid(request.match_info["return_id"])
    async with environment.database.acquire(timeout=10) as connection:
        row = await return_queries.read_return(connection, return_id) if return_id else None
        if row is None:
            return _not_found("return")
        return web.json_response((await _returns_as_json(connection, [row]))[0])


async def list_returns(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /returns?order_id=&status=&number=``: the newest returns; ``number`` is a return number or what a label's barcode says."""
    order_id, status = request.query.get("order_id"), request.query.get("status")
    if order_id is not None and _uuid(order_id) is None:
        return _invalid("order_id", "not a UUID", "give the id of an order")
    if status is not None and status not in RETURN_STATUSES:
        return _invalid("status", "unknown", f"one of {', '.join(RETURN_STATUSES)}")
    async with environment.database.acquire(timeout=10) as connection:
        rows = await return_queries.list_returns(connection, _uuid(order_id), status, request.query.get("number"), ROWS_LIMIT)
        return web.json_response({"returns": await _returns_as_json(connection, rows)})


async def read_label(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /returns/{return_id}/label.pdf``: the label of an approved return, 4 by 6 inches."""
    return_id = _uuid(request.match_info["return_id"])
    async with environment.database.acquire(timeout=10) as connection:
        row = await return_queries.read_return(connection, return_id) if return_id else None
        if row is None or row["status"] == "declined":
            return _not_found("label")
        orders = await order_queries.read_order(connection, row["order_id"])
    content = LabelContent(
        return_number=row["return_number"],
        order_number=orders[0]["external_id"],
        carrier=row["label_carrier"],
        tracking_number=row["label_tracking_number"],
        return_address=row["return_address"],
        expires_at=row["expires_at"],
    )
    headers = {"Content-Disposition": f'inline; filename="return-{row["return_number"]}.pdf"', "Cache-Control": "private, no-store"}
    return web.Response(body=draw_label(content), content_type="application/pdf", headers=headers)


async def read_returnable(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}/returnable``: what of an order may come back now, until when, and what is paid for it."""
    order_id = _uuid(request.match_info["order_id"])
    async with environment.database.acquire(timeout=10) as connection:
        books = await read_books(connection, order_id) if order_id else None
    if books is None:
        return _not_found("order")
    found = [returnable_units(line, books.policy, environment.now()) for line in books.lines.values()]
    return web.json_response(
        {
            "order_id": str(books.order_id),
            "currency": books.currency,
            "window_days": books.policy.window_days,
            "lines": [
                {
                    "line_id": item.line.line_id,
                    "sku": item.line.sku,
                    "title": item.line.title,
                    "shipped_units": item.line.shipped_units,
                    "returned_units": item.line.received_units,
                    "open_units": item.line.open_units,
                    "returnable_units": item.units,
                    "window_closes_at": _as_json(item.closes_at),
                    "refund_quote_cents": quote_cents(item.line, item.units),
                }
                for item in found
            ],
        }
    )


async def list_refunds(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /refunds?order_id=&state=``: the newest refunds with everything that happened to them; ``state=failed`` is the work list."""
    order_id, state = request.query.get("order_id"), request.query.get("state")
    if order_id is not None and _uuid(order_id) is None:
        return _invalid("order_id", "not a UUID", "give the id of an order")
    if state is not None and state not in REFUND_STATES:
        return _invalid("state", "unknown", f"one of {', '.join(REFUND_STATES)}")
    async with environment.database.acquire(timeout=10) as connection:
        rows = await refund_queries.list_refunds(connection, _uuid(order_id), None, state, ROWS_LIMIT)
        refund_ids = [row["refund_id"] for row in rows]
        lines = await refund_queries.read_refund_lines(connection, refund_ids)
        entries = await refund_queries.read_ledger(connection, refund_ids)
    return web.json_response(
        {
            "refunds": [
                _row_as_json(row)
                | {
                    "lines": [_row_as_json(line, without=["refund_id"]) for line in lines if line["refund_id"] == row["refund_id"]],
                    "ledger": [_row_as_json(entry, without=["refund_id"]) for entry in entries if entry["refund_id"] == row["refund_id"]],
                }
                for row in rows
            ]
        }
    )


async def retry(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /refunds/{refund_id}/retry``: has the channel try a failed refund again, under the same idempotency key."""
    refund_id = _uuid(request.match_info["refund_id"])
    if refund_id is None:
        return _not_found("refund")
    async with environment.transaction() as tx:
        refund, outgoing = await retry_refund(tx, refund_id)
        tx.publish(*outgoing)
    if refund is None:
        return _not_found("refund")
    if not outgoing:
        return error_response(409, "not_failed", f"the refund is {refund.state}: only one that failed can be tried again")
    return web.json_response({"refund_id": str(refund_id), "state": "sent"}, status=202)


class PolicyChange(BaseModel):
    """The whole policy of a segment, as an operator sets it."""

    model_config = ConfigDict(extra="forbid")

    window_days: Annotated[int, Field(ge=0, le=3650, strict=True)]
    label_days: Annotated[int, Field(ge=1, le=365, strict=True)]
    label_carrier: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    return_address: Annotated[str, StringConstraints(min_length=1, max_length=300)]


async def list_policies(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /policies``: for how long each segment's customers may return what."""
    async with environment.database.acquire(timeout=10) as connection:
        rows = await order_queries.read_policies(connection)
    set_by_operators = {row["segment"]: policy_of(row) for row in rows}
    policies = [set_by_operators.get(segment, default_policy(segment)) for segment in get_args(Segment)]
    return web.json_response({"policies": [asdict(policy) for policy in policies]})


async def set_policy(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``PUT /policies/{segment}``: for requests from now on; what was approved stays approved."""
    segment = request.match_info["segment"]
    if segment not in get_args(Segment):
        return _not_found("segment")
    try:
        change = PolicyChange.model_validate(document_in(await request.read()))
    except ValidationError as error:
        problems = problems_of(error, "services/returns/README.md")
        return error_response(422, "invalid_policy", "the policy is not complete and correct", problems)
    policy = Policy(cast(Segment, segment), **change.model_dump())
    async with environment.transaction() as tx:
        await order_queries.replace_policy(tx.connection, policy)
    return web.json_response(asdict(policy))
