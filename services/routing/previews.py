"""What an edit would do to an order, asked before it is made. Nothing is locked and nothing is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.routing import current
from services.routing.book import open_for_reading
from services.routing.decide.preview import Preview, Quote, preview_edit, slots_given_back
from services.routing.postal_codes import find_place
from shared.contracts.base import Code, Sku, UnitCount
from shared.contracts.orders import OrderEditRequested
from shared.http import error_response
from shared.json_document import model_in
from shared.messaging.reading import problems_of
from shared.service import Environment


class Question(BaseModel):
    """An edit as it would be asked for, and what allocation has free of its SKUs at each location."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: OrderEditRequested
    stock: Annotated[dict[Sku, dict[Code, UnitCount]], Field(max_length=2_000)] = {}


async def preview_edit_of_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/edit/preview``: what an edit would do."""
    try:
        question = model_in(Question, await request.read())
    except ValidationError as error:
        return error_response(422, "invalid_body", "the edit cannot be read", problems_of(error, "POST /orders/{order_id}/edit/preview"))
    async with environment.database.acquire(timeout=10) as connection:
        order = await open_for_reading(connection, question.request.order_id)
        planner = await current.planner(connection)
        given_back = {} if order is None else slots_given_back(order)
        openings = await current.openings(connection, planner.network, environment.now(), given_back)
        skus = set(question.stock).union(line.sku for line in order.lines) if order is not None else ()
        planner = await current.looking_ahead(connection, planner, skus, environment.now())
    if order is None or str(order.order_id) != request.match_info["order_id"]:
        return error_response(404, "not_found", "there is no such order here")
    wanted = question.request.ship_to
    before = find_place(order.ship_to["postal_code"], order.ship_to["country"])
    after = before if wanted is None else find_place(wanted.postal_code, wanted.country)
    preview = preview_edit(
        order,
        question.request,
        before,
        after,
        question.stock,
        planner,
        environment.now(),
        openings,
        collects=bool(current.deadlines().payment),
        service_prices=current.service_prices(),
    )
    return web.json_response(_document(order.order_id, order.order_version, order.currency, preview))


def _document(order_id: UUID, order_version: int, currency: str, preview: Preview) -> dict[str, Any]:
    return {
        "order_id": str(order_id),
        "order_version": order_version,
        "currency": currency,
        "refusal": None if preview.refusal is None else dataclasses.asdict(preview.refusal),
        "asks": list(preview.asks),
        "lines": [
            {
                "line_id": line.line_id,
                "sku": line.sku,
                "title": line.title,
                "quantity": line.quantity,
                "unit_price_cents": line.unit_price_cents,
                "tax_cents": line.tax_cents,
            }
            for line in preview.lines
        ],
        "total_before_cents": preview.total_before_cents,
        "total_after_cents": preview.total_after_cents,
        "shipping_paid_before_cents": preview.shipping_paid_before_cents,
        "shipping_paid_after_cents": preview.shipping_paid_after_cents,
        "service_pricing": preview.service_pricing,
        "money_delta_cents": preview.money_delta_cents,
        "added": [dataclasses.asdict(added) for added in preview.added],
        "shipping_before": _quote(preview.shipping_before),
        "shipping_after": _quote(preview.shipping_after),
    }


def _quote(quote: Quote | None) -> Mapping[str, Any] | None:
    if quote is None:
        return None
    return {
        "cost_cents": quote.cost_cents,
        "parcels": [
            {**dataclasses.asdict(parcel), "ship_by": parcel.ship_by.isoformat(), "arrives_on": parcel.arrives_on.isoformat()}
            for parcel in quote.parcels
        ],
        "unplaced": dict(quote.unplaced),
        "held": quote.held,
    }
