"""Cancellations by signed webhook: in our own form, and as Shopify sends them. Both take the way of the AMQP message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.sync.settings import channels_in
from shared.config import ChannelPartner
from shared.contracts.channels import ChannelCancelRequested, FieldProblem
from shared.contracts.registry import routing_key_of
from shared.contracts.unknown_fields import slips, unknown_fields
from shared.http import error_response
from shared.json_document import NulCharacters, model_in
from shared.messaging.reading import Delivery, problems_of, schema_of
from shared.service import Environment
from shared.signing import is_signed, read_body, signature_problem

SHOPIFY_SIGNATURE_HEADER = "X-Shopify-Hmac-Sha256"
SHOPIFY_TOPIC_HEADER = "X-Shopify-Topic"
SHOPIFY_CANCELLED = "orders/cancelled"


async def receive_cancellation(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /webhooks/{channel}/cancellations``: the data of a ``channel.cancel_requested``, signed by its channel."""
    signed = await _signed(environment, request)
    if isinstance(signed, web.Response):
        return signed
    channel, body = signed
    refused = signature_problem(body, request, channel.webhook_secrets)
    document = refused or _document_in(body)
    return document if isinstance(document, web.Response) else await _take(environment, channel.code, document)


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
        return _invalid(
            [FieldProblem(field=SHOPIFY_TOPIC_HEADER, problem=problem, remedy=f"subscribe this address to {SHOPIFY_CANCELLED} only")]
        )
    document = _document_in(body)
    if isinstance(document, web.Response):
        return document
    order_id = document.get("id")
    if not isinstance(order_id, int) or isinstance(order_id, bool) or not document.get("cancelled_at"):
        field = "cancelled_at" if isinstance(order_id, int) else "id"
        remedy = "send the order as Shopify writes it after its cancellation"
        return _invalid([FieldProblem(field=field, problem="is missing", remedy=remedy)])
    reason = document.get("cancel_reason")
    wanted = {
        "channel": channel.code,
        "external_id": str(order_id),
        "cancellation_id": SHOPIFY_CANCELLED,
        "reason": reason[:120] if isinstance(reason, str) and reason else "cancelled in Shopify",
    }
    return await _take(environment, channel.code, wanted)


async def _signed(environment: Environment, request: web.Request) -> tuple[ChannelPartner, bytes] | web.Response:
    """The channel of the address and the raw body; the signature is still to be looked at."""
    channel = channels_in(environment.settings.partners_file).get(request.match_info["channel"])
    if channel is None:
        return error_response(404, "unknown_channel", "there is no such channel: check the address of the webhook")
    body = await read_body(request, environment.settings.webhook_body_limit_bytes)
    return body if isinstance(body, web.Response) else (channel, body)


def _document_in(body: bytes) -> dict[str, Any] | web.Response:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return error_response(400, "malformed_json", "the body is not one JSON document in UTF-8")
    if isinstance(document, dict):
        return document
    return _invalid([FieldProblem(field="body", problem="is no JSON object", remedy="send one JSON object")])


def _invalid(problems: Sequence[FieldProblem]) -> web.Response:
    return error_response(422, "invalid_cancellation", "; ".join(f"{item.field}: {item.problem}" for item in problems)[:1_000], problems)


async def _take(environment: Environment, channel: str, document: dict[str, Any]) -> web.Response:
    """202: the cancellation is kept, and decided as soon as its order is here. The channel hears of the outcome by its queue."""
    try:
        wanted = model_in(ChannelCancelRequested, json.dumps(document).encode())
    except NulCharacters as error:
        return _invalid(error.faults)
    except ValidationError as error:
        return _invalid(problems_of(error, schema_of(ChannelCancelRequested)))
    misspelt = slips(unknown_fields(wanted, document))
    if misspelt:
        return _invalid(misspelt)
    data = wanted.model_dump(mode="json")
    envelope = {
        "specversion": "1.0",
        # The same content has the same id, so its repetition is a duplicate.
        "id": str(uuid5(NAMESPACE_URL, "ordermesh cancellation\n" + json.dumps(data, sort_keys=True))),
        "source": f"channel/{channel}",
        "type": ChannelCancelRequested.type,
        "time": environment.now().isoformat(),
        "data": data,
    }
    delivery = Delivery(json.dumps(envelope).encode(), routing_key_of(ChannelCancelRequested, channel))
    handled = await environment.handle_now(ChannelCancelRequested.type, delivery)
    if handled is None:
        raise AssertionError("sync consumes channel.cancel_requested")
    if handled.status not in ("done", "duplicate"):
        return error_response(422, "not_taken", handled.reason or handled.status)
    answer = {"status": "taken", "external_id": wanted.external_id, "cancellation_id": wanted.cancellation_id}
    return web.json_response(answer, status=202)
