"""Cancellations and edits by signed webhook, and cancellations as Shopify sends them. All take the way of the AMQP message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.sync.settings import channels_in
from shared.config import ChannelPartner
from shared.contracts.channels import ChannelCancelRequested, ChannelEditRequested, FieldProblem
from shared.contracts.registry import routing_key_of
from shared.contracts.unknown_fields import slips, unknown_fields
from shared.http import error_response
from shared.json_document import document_in, model_in, readable_part_of
from shared.messaging.reading import Delivery, problems_of, schema_of
from shared.service import Environment
from shared.signing import is_signed, read_body, signature_problem

SHOPIFY_SIGNATURE_HEADER = "X-Shopify-Hmac-Sha256"
SHOPIFY_TOPIC_HEADER = "X-Shopify-Topic"
SHOPIFY_CANCELLED = "orders/cancelled"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a channel may ask for by webhook, and which of its fields is the channel's own name for it."""

    word: str
    model: type[ChannelCancelRequested | ChannelEditRequested]
    name: str


CANCELLATION = _Kind("cancellation", ChannelCancelRequested, "cancellation_id")
EDIT = _Kind("edit", ChannelEditRequested, "edit_id")


async def receive_cancellation(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /webhooks/{channel}/cancellations``: the data of a ``channel.cancel_requested``, signed by its channel."""
    return await _receive(environment, request, CANCELLATION)


async def receive_edit(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /webhooks/{channel}/edits``: the data of a ``channel.edit_requested``, signed by its channel."""
    return await _receive(environment, request, EDIT)


async def _receive(environment: Environment, request: web.Request, kind: _Kind) -> web.StreamResponse:
    signed = await _signed(environment, request)
    if isinstance(signed, web.Response):
        return signed
    channel, body = signed
    refused = signature_problem(body, request, channel.webhook_secrets)
    if refused is not None:
        return refused
    document = _object_of(document_in(body), kind)
    return document if isinstance(document, web.Response) else await _take(environment, channel.code, document, kind)


async def receive_shopify_topic(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /webhooks/{channel}/shopify``: Shopify's ``orders/cancelled``. The order is known by Shopify's numeric id, and the shop's
    webhook secret is one of the channel's. Source: shopify.dev, "Verify webhook deliveries": base64 of the HMAC-SHA256 of the raw body."""
    signed = await _signed(environment, request)
    if isinstance(signed, web.Response):
        return signed
    channel, body = signed
    if not is_signed(body, request.headers.get(SHOPIFY_SIGNATURE_HEADER, ""), channel.webhook_secrets):
        message = f"send {SHOPIFY_SIGNATURE_HEADER} made with the secret that this channel has in the partners file"
        return error_response(401, "bad_signature", message)
    topic = request.headers.get(SHOPIFY_TOPIC_HEADER, "")
    if topic != SHOPIFY_CANCELLED:
        problem = f"{topic!r:.100} is not read here"
        remedy = f"subscribe this address to {SHOPIFY_CANCELLED} only"
        return _invalid([FieldProblem(field=SHOPIFY_TOPIC_HEADER, problem=problem, remedy=remedy)], CANCELLATION)
    # Little of it is asked for: what stands in the rest is Shopify's business.
    document = _object_of(readable_part_of(body), CANCELLATION)
    if isinstance(document, web.Response):
        return document
    order_id = document.get("id")
    if not isinstance(order_id, int) or isinstance(order_id, bool) or not document.get("cancelled_at"):
        field = "cancelled_at" if isinstance(order_id, int) else "id"
        remedy = "send the order as Shopify writes it after its cancellation"
        return _invalid([FieldProblem(field=field, problem="is missing", remedy=remedy)], CANCELLATION)
    reason = document.get("cancel_reason")
    wanted = {
        "channel": channel.code,
        "external_id": str(order_id),
        "cancellation_id": SHOPIFY_CANCELLED,
        "reason": reason[:120] if isinstance(reason, str) and reason else "cancelled in Shopify",
    }
    return await _take(environment, channel.code, wanted, CANCELLATION)


async def _signed(environment: Environment, request: web.Request) -> tuple[ChannelPartner, bytes] | web.Response:
    """The channel of the address and the raw body; the signature is still to be looked at."""
    channel = channels_in(environment.settings.partners_file).get(request.match_info["channel"])
    if channel is None:
        return error_response(404, "unknown_channel", "there is no such channel: check the address of the webhook")
    body = await read_body(request, environment.settings.webhook_body_limit_bytes)
    return body if isinstance(body, web.Response) else (channel, body)


def _object_of(document: Any, kind: _Kind) -> dict[str, Any] | web.Response:
    if isinstance(document, dict):
        return document
    return _invalid([FieldProblem(field="body", problem="is no JSON object", remedy="send one JSON object")], kind)


def _invalid(problems: Sequence[FieldProblem], kind: _Kind) -> web.Response:
    return error_response(422, f"invalid_{kind.word}", "; ".join(f"{item.field}: {item.problem}" for item in problems)[:1_000], problems)


async def _take(environment: Environment, channel: str, document: dict[str, Any], kind: _Kind) -> web.Response:
    """202: what is asked for is kept or passed on, and the channel hears of the outcome by its queue. A cancellation waits here for its
    order; an edit of an order that is not here is 409 ``not_yet``, to be sent again."""
    try:
        wanted = model_in(kind.model, json.dumps(document).encode())
    except ValidationError as error:
        return _invalid(problems_of(error, schema_of(kind.model)), kind)
    misspelt = slips(unknown_fields(wanted, document))
    if misspelt:
        return _invalid(misspelt, kind)
    data = wanted.model_dump(mode="json")
    envelope = {
        "specversion": "1.0",
        # The same content has the same id, so its repetition is a duplicate.
        "id": str(uuid5(NAMESPACE_URL, f"ordermesh {kind.word}\n" + json.dumps(data, sort_keys=True))),
        "source": f"channel/{channel}",
        "type": kind.model.type,
        "time": environment.now().isoformat(),
        "data": data,
    }
    delivery = Delivery(json.dumps(envelope).encode(), routing_key_of(kind.model, channel))
    handled = await environment.handle_now(kind.model.type, delivery)
    if handled is None:
        raise AssertionError(f"sync consumes {kind.model.type}")
    if handled.status == "deferred":
        return error_response(409, "not_yet", f"{handled.reason}; send it again in a moment")
    if handled.status not in ("done", "duplicate"):
        return error_response(422, "not_taken", handled.reason or handled.status)
    return web.json_response({"status": "taken", "external_id": wanted.external_id, kind.name: data[kind.name]}, status=202)
