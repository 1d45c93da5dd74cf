"""Checkout holds over HTTP: asked for by channels, who sign what they send, and shown to operators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import Record
from pydantic import ValidationError

from services.allocation.pages import bad_limit, invalid_query, limit_of
from services.allocation.queries import holds as sql
from shared.config import load_partners
from shared.contracts.channels import FieldProblem
from shared.contracts.holds import (
    ChannelHoldReleaseRequested,
    ChannelHoldRequested,
    StockHoldAnswered,
    StockHoldRejected,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.contracts.unknown_fields import slips, unknown_fields
from shared.http import error_response
from shared.json_document import NulCharacters, document_in
from shared.messaging.message import Outgoing
from shared.messaging.outbox import encode
from shared.messaging.reading import Delivery, problems_of
from shared.service import Environment, get, post
from shared.signing import read_body, signature_problem
from shared.telemetry import service_number

BODY_LIMIT_BYTES = 64 * 1024

Request = type[StockHoldRequested] | type[StockHoldReleaseRequested]
OVER_AMQP: dict[Request, str] = {
    StockHoldRequested: ChannelHoldRequested.type,
    StockHoldReleaseRequested: ChannelHoldReleaseRequested.type,
}
"""What the same request is called on the bus; its envelope is taken here as well."""


@cache
def _secrets_of(partners_file: Path | None) -> dict[str, Sequence[str]]:
    return {channel.code: channel.webhook_secrets for channel in load_partners(partners_file).channels}


async def request_hold(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /channels/{channel}/holds``: keeps units for a shopper and answers at once what is held, per SKU."""
    return await _ask(environment, request, StockHoldRequested)


async def release_hold(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /channels/{channel}/holds/release``: the shopper left."""
    return await _ask(environment, request, StockHoldReleaseRequested)


async def _ask(environment: Environment, request: web.Request, kind: Request) -> web.Response:
    """Nothing of a request is looked at before its signature is found good."""
    channel = request.match_info["channel"]
    secrets = _secrets_of(environment.settings.partners_file).get(channel)
    if secrets is None:
        return error_response(404, "unknown_channel", "there is no such channel: check the address")
    body = await read_body(request, BODY_LIMIT_BYTES)
    if isinstance(body, web.Response):
        return body
    refused = signature_problem(body, request, secrets)
    if refused is not None:
        return refused
    command = _read(body, channel, kind)
    return command if isinstance(command, web.Response) else await _answer(environment, command)


def _invalid(problems: Sequence[FieldProblem]) -> web.Response:
    return error_response(422, "invalid_hold", "; ".join(f"{item.field}: {item.problem}" for item in problems)[:1_000], problems)


def _read(body: bytes, channel: str, kind: Request) -> StockHoldRequested | StockHoldReleaseRequested | web.Response:
    """The request in a body that is either the bare request, with or without its channel, or its envelope."""
    try:
        document = document_in(body)
    except NulCharacters as error:
        return _invalid(error.faults)
    if not isinstance(document, dict):
        return _invalid([FieldProblem(field="body", problem="is no JSON object", remedy="send one request")])
    if "specversion" in document:
        if document.get("type") not in (kind.type, OVER_AMQP[kind]):
            problem = f"{document.get('type')!r:.120} is an unknown type or version here"
            return _invalid([FieldProblem(field="type", problem=problem, remedy=f"send {OVER_AMQP[kind]}")])
        document = document.get("data")
    if isinstance(document, dict):
        if document.get("channel", channel) != channel:
            problem = f"{document['channel']!r:.120} is not the channel {channel!r} that signed this"
            return _invalid([FieldProblem(field="channel", problem=problem, remedy=f"ask for holds of {channel!r} only")])
        document = {**document, "channel": channel}
    try:
        command = kind.model_validate(document)
    except ValidationError as error:
        return _invalid(problems_of(error, f"contracts/schemas/{OVER_AMQP[kind]}.json"))
    misspelt = slips(unknown_fields(command, document))
    return _invalid(misspelt) if misspelt else command


async def _answer(environment: Environment, command: StockHoldRequested | StockHoldReleaseRequested) -> web.Response:
    """A fresh envelope each time: the hold's id, not the envelope's, makes a request safe to repeat."""
    outgoing = Outgoing(command)
    body = encode(outgoing, source=f"channel/{command.channel}", service_number=service_number("allocation"), now=environment.now())
    handled = await environment.handle_together(command.type, Delivery(body, command.type))
    for said in handled.messages if handled is not None else ():
        if isinstance(said.data, StockHoldAnswered):
            return web.json_response(said.data.model_dump(mode="json"))
        if isinstance(said.data, StockHoldRejected):
            problem = FieldProblem(field=said.data.field, problem=said.data.detail, remedy="correct it and send it again")
            return error_response(409, said.data.reason, said.data.detail, [problem])
    raise AssertionError("allocation answers every request for a hold")


def _as_json(hold: Record, lines: Iterable[Record]) -> dict[str, Any]:
    return {
        "hold_id": str(hold["hold_id"]),
        "channel": hold["channel"],
        "state": hold["state"],
        "policy": hold["policy"],
        "opened_at": hold["opened_at"].isoformat(),
        "expires_at": hold["expires_at"].isoformat(),
        "closed_at": hold["closed_at"].isoformat() if hold["closed_at"] else None,
        "order_id": str(hold["order_id"]) if hold["order_id"] else None,
        "lines": [
            {
                "sku": line["sku"],
                "asked_units": line["asked"],
                "granted_units": line["granted"],
                "held_units": line["held"],
                "used_units": line["used"],
                "shrunk_units": line["granted"] - line["held"] if hold["state"] == "held" else 0,
            }
            for line in lines
            if line["hold_id"] == hold["hold_id"]
        ],
    }


async def read_hold(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /holds/{hold_id}``: what a hold holds, what a shortage took from it, and which order it became."""
    try:
        hold_id = UUID(request.match_info["hold_id"])
    except ValueError:
        return invalid_query("hold_id", "is no UUID", "the id that the channel chose for the hold")
    async with environment.database.acquire(timeout=10) as connection:
        hold = await sql.read_hold(connection, hold_id)
        if hold is None:
            return error_response(404, "unknown_hold", f"there is no hold {hold_id}, or it ended days ago")
        lines = await sql.list_hold_lines(connection, [hold_id])
    return web.json_response(_as_json(hold, lines))


async def list_holds(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /holds?sku=&channel=&limit=``: open holds, those that end first."""
    limit = limit_of(request)
    if limit is None:
        return bad_limit()
    async with environment.database.acquire(timeout=10) as connection:
        holds = await sql.list_open_holds(connection, request.query.get("sku"), request.query.get("channel"), limit)
        lines = await sql.list_hold_lines(connection, [hold["hold_id"] for hold in holds])
    return web.json_response({"holds": [_as_json(hold, lines) for hold in holds]})


ROUTES = [
    post("/channels/{channel}/holds", request_hold, public=True),
    post("/channels/{channel}/holds/release", release_hold, public=True),
    get("/holds/{hold_id}", read_hold),
    get("/holds", list_holds),
]
