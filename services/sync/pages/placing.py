"""Orders by HTTP: signed webhooks of channels, and orders that an operator places. Both take the way of the AMQP message."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from services.sync.decide.orders import content_digest, content_event_id, key_of
from services.sync.queries.orders import read_digests
from services.sync.settings import channels_in
from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected, FieldProblem
from shared.contracts.envelope import Envelope
from shared.contracts.orders import OrderPlaced
from shared.contracts.registry import routing_key_of
from shared.contracts.unknown_fields import ignored, slips, unknown_fields
from shared.http import error_response
from shared.json_document import NulCharacters, document_in
from shared.messaging.batching import HandledNow
from shared.messaging.reading import Delivery, problems_of, schema_of
from shared.service import Environment
from shared.signing import read_body, signature_problem

DELIVERY_ID_HEADER = "X-Ordermesh-Delivery-Id"

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class _Placing:
    """A well-formed order and the envelope under which it is handled."""

    order: ChannelOrderReceived
    event_id: UUID
    data: bytes
    traceparent: str | None
    ignored_fields: Sequence[str]

    def delivery(self, event_id: UUID, now: datetime) -> Delivery:
        """What the broker would have delivered, from this order's channel."""
        head = {
            "specversion": "1.0",
            "id": str(event_id),
            "source": f"channel/{self.order.channel}",
            "type": ChannelOrderReceived.type,
            "time": now.isoformat(),
            "traceparent": self.traceparent,
        }
        body = json.dumps(head).removesuffix("}").encode() + b', "data": ' + self.data + b"}"
        return Delivery(body, routing_key_of(ChannelOrderReceived, self.order.channel))


async def receive_webhook(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /webhooks/{channel}``: an order signed by its channel; nothing of it is looked at before the signature is found good."""
    channel = channels_in(environment.settings.partners_file).get(request.match_info["channel"])
    if channel is None:
        return error_response(404, "unknown_channel", "there is no such channel: check the address of the webhook")
    body = await read_body(request, environment.settings.webhook_body_limit_bytes)
    if isinstance(body, web.Response):
        return body
    refused = signature_problem(body, request, channel.webhook_secrets)
    if refused is not None:
        return refused
    return await _place(environment, request, body, partner=channel.code)


async def place_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders``: an order in the same form, placed by an operator for any channel."""
    body = await read_body(request, environment.settings.webhook_body_limit_bytes)
    if isinstance(body, web.Response):
        return body
    return await _place(environment, request, body, partner=None)


def _invalid(problems: Sequence[FieldProblem]) -> web.Response:
    return error_response(422, "invalid_order", "; ".join(f"{item.field}: {item.problem}" for item in problems)[:1_000], problems)


def _read(request: web.Request, body: bytes) -> _Placing | web.Response:
    """The order in a body that is either an envelope or the bare order."""
    try:
        document = document_in(body)
    except NulCharacters as error:
        return _invalid(error.faults)
    try:
        if isinstance(document, dict) and "specversion" in document:
            return _read_envelope(document, body)
        return _read_bare(request, document, body)
    except ValidationError as error:
        return _invalid(problems_of(error, schema_of(ChannelOrderReceived)))


def _read_envelope(document: dict[str, Any], body: bytes) -> _Placing | web.Response:
    if document.get("type") != ChannelOrderReceived.type:
        problem = f"{document.get('type')!r:.120} is an unknown type or version here"
        return _invalid([FieldProblem(field="type", problem=problem, remedy=f"send {ChannelOrderReceived.type}")])
    envelope = Envelope[ChannelOrderReceived].model_validate_json(body)
    unknown = unknown_fields(envelope.data, document["data"], "data")
    if misspelt := slips(unknown):
        return _invalid(misspelt)
    data = json.dumps(document["data"]).encode()
    return _Placing(envelope.data, envelope.id, data, envelope.traceparent, ignored(unknown))


def _read_bare(request: web.Request, document: Any, body: bytes) -> _Placing | web.Response:
    order = ChannelOrderReceived.model_validate_json(body)
    unknown = unknown_fields(order, document)
    if misspelt := slips(unknown):
        return _invalid(misspelt)
    traceparent = request.headers.get("traceparent", "")
    delivery_id = request.headers.get(DELIVERY_ID_HEADER)
    try:
        event_id = content_event_id(order) if delivery_id is None else UUID(delivery_id)
    except ValueError:
        problem = FieldProblem(field=DELIVERY_ID_HEADER, problem="is not a UUID", remedy="send a UUID per delivery, or leave it out")
        return _invalid([problem])
    return _Placing(order, event_id, body, traceparent if _TRACEPARENT.fullmatch(traceparent) else None, ignored(unknown))


async def _place(environment: Environment, request: web.Request, body: bytes, *, partner: str | None) -> web.Response:
    placing = _read(request, body)
    if isinstance(placing, web.Response):
        return placing
    if partner is not None and partner != placing.order.channel:
        problem = f"{placing.order.channel!r} is not the channel {partner!r} whose webhook this is"
        return _invalid([FieldProblem(field="channel", problem=problem, remedy=f"send orders of {partner!r} only")])
    channels = channels_in(environment.settings.partners_file)
    if placing.order.channel not in channels:
        remedy = f"use a channel of the partners file: {', '.join(sorted(channels)) or 'none'}"[:500]
        return _invalid([FieldProblem(field="channel", problem=f"there is no channel {placing.order.channel!r}", remedy=remedy)])
    content_id = content_event_id(placing.order)
    for event_id in dict.fromkeys((placing.event_id, content_id)):
        handled = await environment.handle_now(ChannelOrderReceived.type, placing.delivery(event_id, environment.now()))
        if handled is None:
            raise AssertionError("sync consumes channel.order_received")
        answer = await _answer(environment, placing, handled)
        if answer is not None:
            return answer
        # The id was used before, but not for this order: a delivery id is not signed, so it must never make an order disappear.
    return error_response(409, "id_already_used", "this delivery was received before and is parked; an operator has to re-drive it")


def _taken(placing: _Placing, order_id: UUID | None, status: str) -> web.Response:
    """The good news; ``ignored_fields``, if there are any, are what the order said beyond its contract."""
    said = {"ignored_fields": list(placing.ignored_fields)} if placing.ignored_fields else {}
    return web.json_response({"order_id": str(order_id), "status": status, **said}, status=202)


async def _answer(environment: Environment, placing: _Placing, handled: HandledNow) -> web.Response | None:
    """What the sender is told; None when the event id was a duplicate although the order is not known."""
    order = placing.order
    for outgoing in handled.messages:
        if isinstance(outgoing.data, OrderPlaced):
            return _taken(placing, outgoing.data.order_id, "placed")
        if isinstance(outgoing.data, ChannelOrderRejected):
            return _invalid(outgoing.data.problems)
    if handled.status not in ("done", "duplicate"):
        return error_response(422, "not_taken", handled.reason or handled.status)
    async with environment.database.acquire(timeout=10) as connection:
        known = await read_digests(connection, [key_of(order)])
    order_id, digest = known.get(key_of(order), (None, None))
    if digest != content_digest(order):
        return None
    return _taken(placing, order_id, "already_placed")
