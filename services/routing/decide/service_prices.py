"""What customers pay for service levels, so that an edit that changes the level settles the difference (feature D3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from services.routing.decide.order import Order
from shared.contracts.orders import OrderEditRequested

ServicePrices = Mapping[tuple[str, str], int]
"""Cents by (currency, service level)."""

ServicePricing = Literal["same_service", "priced", "no_price"]
"""``no_price``: another level, of which nobody said what it costs, so that what was paid for shipping stays."""


def shipping_after(order: Order, request: OrderEditRequested, prices: ServicePrices) -> tuple[ServicePricing, int]:
    """What the customer will have paid for shipping once the edit is made, and why.

    The difference of the two prices counts, not the new price itself: who had shipping for less, or for nothing, keeps that advantage, and
    nobody gets more back than was paid.
    """
    if request.service_level is None or request.service_level == order.service_level:
        return "same_service", order.shipping_paid_cents
    before, after = (prices.get((order.currency, level)) for level in (order.service_level, request.service_level))
    if before is None or after is None:
        return "no_price", order.shipping_paid_cents
    return "priced", max(0, order.shipping_paid_cents + after - before)


def priced(order: Order, request: OrderEditRequested, prices: ServicePrices) -> OrderEditRequested:
    """The request with what shipping will cost, so that the customer pays what was asked for, even if prices change before it is made."""
    pricing, cents = shipping_after(order, request, prices)
    return request.model_copy(update={"shipping_paid_cents": cents if pricing == "priced" else None})
