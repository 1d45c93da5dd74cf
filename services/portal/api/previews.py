"""What a change of an order would do: routing's word on lines, money and shipping beside allocation's on stock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from services.portal import neighbours
from services.portal.api.models import EditPreview
from services.portal.api.operation import invalid
from services.portal.api.outcomes import problem_of
from services.portal.asking import Reply
from services.portal.decide.order import OrderView
from shared.contracts.orders import LineChange, OrderEditRequested
from shared.service import Environment


async def completed(environment: Environment, number: int, change: LineChange) -> LineChange:
    """A line to add, with what the product master knows of its SKU; a kit with its components.

    Raises:
        Problem: the product master does not know it, or shows it to nobody.
    """
    if change.line_id is not None or change.sku is None:
        return change
    reply = await neighbours.read_product(environment, change.sku)
    if reply.status == 404:
        raise invalid(f"line_changes.{number}.sku", f"{change.sku!r} is no registered product", "register it first: POST /api/products")
    if not reply.succeeded:
        raise problem_of(reply)
    product = reply.document
    known = {name: product[name] for name in ("title", "unit_price_cents", "unit_weight_grams", "hazmat")}
    known["unit_volume_cubic_centimetres"] = product.get("unit_volume_cubic_centimetres", 0)
    if product.get("components"):
        # Weight, volume and hazard of a kit are told by its components alone.
        known = {"title": product["title"], "unit_price_cents": product["unit_price_cents"], "components": product["components"]}
    return LineChange.model_validate({**known, "tax_cents": 0, **change.model_dump(exclude_none=True, exclude_unset=True)})


async def preview_with_stock(environment: Environment, command: OrderEditRequested, view: OrderView | None) -> EditPreview:
    """What a change would do, asked of routing with what allocation has free of all SKUs that it concerns.

    Raises:
        Problem: routing gives no preview.
        ServiceAway: one of them does not answer.
    """
    added = [component.sku for change in command.line_changes for component in change.components]
    added += [change.sku for change in command.line_changes if change.sku is not None and not change.components]
    skus = sorted({*added, *(line.sku for line in (view.lines if view is not None else ()))})
    shelves = dict(zip(skus, await asyncio.gather(*(neighbours.read_stock(environment, sku) for sku in skus)), strict=True))
    stock = {sku: reply.document for sku, reply in shelves.items() if reply.succeeded}
    return preview_of(await neighbours.preview_edit(environment, command, free_at_locations(stock)), stock)


def free_at_locations(stock: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Units that could be tied, per SKU and location."""
    return {
        sku: {shelf["location"]: shelf["assignable_units"] for shelf in document.get("locations", []) if shelf["assignable_units"] > 0}
        for sku, document in stock.items()
    }


def preview_of(reply: Reply, stock: Mapping[str, Mapping[str, Any]]) -> EditPreview:
    """The preview as the API shows it.

    Raises:
        Problem: routing gives none.
    """
    if not reply.succeeded:
        raise problem_of(reply)
    document = reply.document
    before, after = document["shipping_before"], document["shipping_after"]
    outlooks = []
    for added in document["added"]:
        known = stock.get(added["sku"], {})
        outlooks.append(
            {
                "sku": added["sku"],
                "units_added": added["units"],
                "units_available": min(added["units"], known.get("available_units", 0)),
                "mode": known.get("mode"),
                "next_ship_at": known.get("next_ship_at"),
            }
        )
    delta = None if before is None or after is None else after["cost_cents"] - before["cost_cents"]
    told = {name: value for name, value in document.items() if name != "added"}
    return EditPreview.model_validate({**told, "stock": outlooks, "shipping_delta_cents": delta})
