"""Messages as the other side would send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.channels import (
    ChannelOrderReceived,
    Listing,
    ListingRegistrationRequested,
    Product,
    ProductRegistrationRequested,
)
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentShipped
from shared.contracts.orders import Actor, LineUnits, OrderCancelled, OrderEdited, OrderLine, OrderPlaced
from shared.contracts.returns import RefundExecutionRequested
from shared.contracts.stock import Availability, StockAvailabilityChanged
from shared.messaging.message import Received

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SUPPORT = Actor(kind="support", name="Kim")

DataT = TypeVar("DataT", bound=Message)


def received(
    data: DataT, *, partner: str | None = None, event_id: UUID | None = None, time: datetime | None = None, traceparent: str | None = None
) -> Received[DataT]:
    """A message as the runtime hands it to a handler."""
    return Received(event_id=event_id or new_id(), source="test", data=data, partner=partner, time=time, traceparent=traceparent)


def an_order_document(**changes: Any) -> dict[str, Any]:
    """An order for one mug on channel ``shop``, as an adapter writes it."""
    return {
        "channel": "shop",
        "external_id": "1001",
        "paid_at": "2026-03-02T11:59:00Z",
        "currency": "USD",
        "lines": [{"external_line_id": "a", "sku": "MUG", "quantity": 2, "unit_price_cents": 1250, "tax_cents": 200}],
        "shipping_paid_cents": 500,
        "ship_to": {"name": "Ann", "line1": "1 Main St", "city": "Austin", "region": "TX", "postal_code": "78701", "country": "US"},
        "customer": {"email": "ann@example.com"},
    } | changes


def an_order(**changes: Any) -> ChannelOrderReceived:
    """The same, read."""
    return ChannelOrderReceived.model_validate(an_order_document(**changes))


def a_line(sku: str = "MUG", quantity: int = 1, *, line: str = "a", price: int = 1000, tax: int = 0) -> dict[str, Any]:
    """One line of an order document."""
    return {"external_line_id": line, "sku": sku, "quantity": quantity, "unit_price_cents": price, "tax_cents": tax}


def a_place(postal_code: str, *, country: str = "US") -> dict[str, Any]:
    """An address with that postal code."""
    return {"name": "Ann", "line1": "1 Main St", "city": "Austin", "region": "TX", "postal_code": postal_code, "country": country}


def products(*skus: str, price: int = 1250) -> ProductRegistrationRequested:
    """Ordinary products."""
    return ProductRegistrationRequested(
        products=[
            Product(sku=sku, title=f"The {sku}", unit_price_cents=price, unit_weight_grams=300, unit_volume_cubic_centimetres=2_000)
            for sku in skus
        ]
    )


def listings(*skus: str, channel: str = "shop", prefix: str = "L-") -> ListingRegistrationRequested:
    """Listings named after their SKUs."""
    return ListingRegistrationRequested(channel=channel, listings=[Listing(sku=sku, external_listing_id=f"{prefix}{sku}") for sku in skus])


def availability(sku: str, available: int, version: int, *, changed_at: datetime = NOW, **more: Any) -> StockAvailabilityChanged:
    """What may be sold of one SKU now."""
    mode = more.pop("mode", "in_stock" if available else "sold_out")
    change = Availability(sku=sku, pool=more.pop("pool", "default"), available=available, mode=mode, stock_version=version, **more)
    return StockAvailabilityChanged(changes=[change], changed_at=changed_at)


def a_refund(placed: OrderPlaced, cents: int, **changes: Any) -> RefundExecutionRequested:
    """Money back for an order, under a key of its own."""
    refund_id = changes.pop("refund_id", None) or new_id()
    content: dict[str, Any] = {
        "refund_id": refund_id,
        "order_id": placed.order_id,
        "channel": placed.channel,
        "external_id": placed.external_id,
        "amount_cents": cents,
        "currency": placed.currency,
        "idempotency_key": f"refund-{refund_id}",
    }
    return RefundExecutionRequested(**(content | changes))


def shipped(placed: OrderPlaced, **changes: Any) -> FulfillmentShipped:
    """A parcel with everything in it."""
    content: dict[str, Any] = {
        "fulfillment_id": new_id(),
        "order_id": placed.order_id,
        "location": "east-1",
        "partner": "east",
        "carrier": "UPS",
        "tracking_number": "1Z999",
        "lines": [LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in placed.lines],
        "shipping_cost_cents": 700,
        "shipped_at": NOW,
    }
    return FulfillmentShipped(**(content | changes))


def edited(placed: OrderPlaced, version: int, quantity: int) -> OrderEdited:
    """The order with another quantity in its first line, and that line only."""
    line = OrderLine(**(placed.lines[0].model_dump() | {"quantity": quantity}))
    return OrderEdited(
        order_id=placed.order_id,
        order_version=version,
        change_id=new_id(),
        actor=SUPPORT,
        lines=[line],
        ship_to=placed.ship_to,
        money_delta_cents=0,
        edited_at=NOW,
    )


def cancelled(placed: OrderPlaced, *, reason: str = "changed mind", at: datetime = NOW + timedelta(minutes=1)) -> OrderCancelled:
    """The whole order called off."""
    return OrderCancelled(
        order_id=placed.order_id,
        order_version=2,
        change_id=new_id(),
        actor=SUPPORT,
        reason=reason,
        lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in placed.lines],
        refund_cents=0,
        cancelled_at=at,
    )
