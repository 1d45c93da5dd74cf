"""Plausible messages about one order, to tell stories with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentDelivered, FulfillmentShipped, LocationRegistered
from shared.contracts.orders import Actor, Address, Customer, LineUnits, OrderCancelled, OrderEdited, OrderLine, OrderPlaced
from shared.contracts.returns import (
    RefundFailed,
    RefundLine,
    RefundRequested,
    RefundSucceeded,
    ReturnAuthorisationRequested,
    ReturnLine,
    ReturnScanRequested,
    ScannedUnits,
)
from shared.messaging.message import Received

NOW = datetime.now(UTC).replace(microsecond=0)
SHOPPER = Actor(kind="shopper", name="shopper")
HOME = Address(name="A. Shopper", line1="1 Main St", city="Reno", region="NV", postal_code="89501", country="US")


RENO = LocationRegistered(location="reno", name="Reno", partner="fastship", hazmat_certified=False, active=True)


def a_line(line_id: str = "1", quantity: int = 3, unit_price_cents: int = 1_000, tax_cents: int = 100, sku: str | None = None) -> OrderLine:
    """Three mugs for 10.00 each and 1.00 of tax."""
    return OrderLine(
        line_id=line_id,
        sku=sku or f"SKU-{line_id}",
        title="Mug",
        quantity=quantity,
        unit_price_cents=unit_price_cents,
        tax_cents=tax_cents,
        unit_weight_grams=400,
    )


def an_order(*lines: OrderLine, order_id: UUID | None = None, shipping_cents: int = 500, **more: Any) -> OrderPlaced:
    """A paid order."""
    return OrderPlaced(
        order_id=order_id or new_id(),
        channel="shopify",
        external_id="#1001",
        placed_at=NOW,
        currency="USD",
        segment=more.pop("segment", "dtc"),
        lines=list(lines) or [a_line()],
        shipping_paid_cents=shipping_cents,
        ship_to=HOME,
        customer=Customer(email="shopper@example.com"),
        **more,
    )


def an_edit(order: OrderPlaced, *lines: OrderLine, version: int = 2, change_id: UUID | None = None) -> OrderEdited:
    """The whole order as it stands after a change."""
    return OrderEdited(
        order_id=order.order_id,
        order_version=version,
        change_id=change_id or new_id(),
        actor=SHOPPER,
        lines=list(lines),
        ship_to=HOME,
        money_delta_cents=0,
        edited_at=NOW,
    )


def a_cancellation(order: OrderPlaced, *, version: int = 2, change_id: UUID | None = None) -> OrderCancelled:
    """Nothing of the order will ship."""
    return OrderCancelled(
        order_id=order.order_id,
        order_version=version,
        change_id=change_id or new_id(),
        actor=SHOPPER,
        reason="changed my mind",
        lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in order.lines],
        refund_cents=0,
        cancelled_at=NOW,
    )


def a_shipment(
    order: OrderPlaced, units: dict[str, int] | None = None, *, shipped_at: datetime = NOW, fulfillment_id: UUID | None = None
) -> FulfillmentShipped:
    """A parcel with everything, or with these units by line."""
    chosen = units or {line.line_id: line.quantity for line in order.lines}
    skus = {line.line_id: line.sku for line in order.lines}
    return FulfillmentShipped(
        fulfillment_id=fulfillment_id or new_id(),
        order_id=order.order_id,
        location="reno",
        partner="fastship",
        carrier="UPS",
        tracking_number="1Z",
        lines=[LineUnits(line_id=line_id, sku=skus.get(line_id, f"SKU-{line_id}"), quantity=count) for line_id, count in chosen.items()],
        shipping_cost_cents=700,
        shipped_at=shipped_at,
    )


def a_delivery(parcel: FulfillmentShipped, delivered_at: datetime) -> FulfillmentDelivered:
    """The parcel arrived."""
    return FulfillmentDelivered(fulfillment_id=parcel.fulfillment_id, order_id=parcel.order_id, delivered_at=delivered_at)


def a_return(order_id: UUID, units: dict[str, int], *, return_id: UUID | None = None) -> ReturnAuthorisationRequested:
    """The shopper wants to send units back."""
    lines = [ReturnLine(line_id=line_id, quantity=count, reason="changed_mind") for line_id, count in units.items()]
    return ReturnAuthorisationRequested(return_id=return_id or new_id(), order_id=order_id, actor=SHOPPER, lines=lines)


def a_scan(
    return_id: UUID,
    sellable: dict[str, int] | None = None,
    damaged: dict[str, int] | None = None,
    *,
    closes: bool = True,
    scan_id: UUID | None = None,
    location: str = "reno",
) -> ReturnScanRequested:
    """What the warehouse found."""
    units = [ScannedUnits(line_id=line_id, quantity=count, condition="sellable") for line_id, count in (sellable or {}).items()]
    units += [ScannedUnits(line_id=line_id, quantity=count, condition="damaged") for line_id, count in (damaged or {}).items()]
    return ReturnScanRequested(
        return_id=return_id, scan_id=scan_id or new_id(), location=location, operator="scanner-1", units=units, closes=closes
    )


def a_refund(
    order_id: UUID,
    amounts: dict[str, int],
    *,
    shipping_cents: int = 0,
    cause: Literal["cancelled", "edited", "returned"] = "cancelled",
    cause_id: UUID | None = None,
    refund_id: UUID | None = None,
    amount_cents: int | None = None,
    currency: str = "USD",
) -> RefundRequested:
    """Routing asks for money to go back."""
    total = sum(amounts.values()) + shipping_cents
    return RefundRequested(
        refund_id=refund_id or new_id(),
        order_id=order_id,
        cause=cause,
        cause_id=cause_id or new_id(),
        lines=[RefundLine(line_id=line_id, quantity=1, amount_cents=cents) for line_id, cents in amounts.items()],
        shipping_cents=shipping_cents,
        amount_cents=total if amount_cents is None else amount_cents,
        currency=currency,
    )


def money_moved(refund_id: UUID, order_id: UUID, amount_cents: int) -> RefundSucceeded:
    """The channel says yes."""
    return RefundSucceeded(
        refund_id=refund_id,
        order_id=order_id,
        amount_cents=amount_cents,
        currency="USD",
        provider_reference="re_1",
        succeeded_at=NOW,
    )


def money_refused(refund_id: UUID, order_id: UUID, amount_cents: int) -> RefundFailed:
    """The channel says no, for good."""
    return RefundFailed(
        refund_id=refund_id, order_id=order_id, amount_cents=amount_cents, currency="USD", reason="account closed", failed_at=NOW
    )


def received(data: Message) -> Received[Any]:
    """A message as a handler gets it."""
    return Received(event_id=new_id(), source="ordermesh/test", data=data)
