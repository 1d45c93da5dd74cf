"""What a change of an order would do: routing's word on lines, money and shipping beside allocation's on stock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.portal.api.models import EditPreview
from services.portal.api.outcomes import problem_of
from services.portal.asking import Reply


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
