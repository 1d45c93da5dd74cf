"""Plausible messages and values about one order, to tell stories with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from services.routing.decide.deadlines import Deadlines
from services.routing.decide.order import Order
from services.routing.handlers.orders import copy_of
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import LocationRegistrationRequested
from shared.contracts.orders import Actor, Address, Customer, LineUnits, OrderLine, OrderPlaced
from shared.contracts.stock import AssignableAtLocation, AssignableStock, BackorderedLine, ReservedLine, StockBackordered, StockReserved
from shared.messaging.message import Received

MessageT = TypeVar("MessageT", bound=Message)

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
"""A moment that no timer of a test mistakes for the past."""
SHOPPER = Actor(kind="shopper", name="shopper")
HOME = Address(name="A. Shopper", line1="1 Main St", city="Reno", region="NV", postal_code="89501", country="US")
PATIENCE = Deadlines()

Stock = Mapping[str, Mapping[str, int]]


def received(data: MessageT, *, partner: str | None = None, event_id: UUID | None = None) -> Received[MessageT]:
    """A message as the runtime hands it over."""
    return Received(event_id=event_id or new_id(), source="test", data=data, partner=partner)


def a_line(
    line_id: str = "1",
    quantity: int = 2,
    *,
    sku: str | None = None,
    unit_price_cents: int = 1_000,
    tax_cents: int = 100,
    grams: int = 400,
    hazmat: bool = False,
) -> OrderLine:
    """Two mugs for 10.00 each."""
    return OrderLine(
        line_id=line_id,
        sku=sku or f"SKU-{line_id}",
        title=f"Mug {line_id}",
        quantity=quantity,
        unit_price_cents=unit_price_cents,
        tax_cents=tax_cents,
        unit_weight_grams=grams,
        hazmat=hazmat,
    )


def an_order(*lines: OrderLine, order_id: UUID | None = None, **more: Any) -> OrderPlaced:
    """A paid order to Reno."""
    fields: dict[str, Any] = {
        "order_id": order_id or new_id(),
        "channel": "shopify",
        "external_id": "#1001",
        "placed_at": NOON,
        "currency": "USD",
        "segment": "dtc",
        "lines": list(lines) or [a_line()],
        "shipping_paid_cents": 500,
        "ship_to": HOME,
        "customer": Customer(email="shopper@example.com"),
    }
    return OrderPlaced(**{**fields, **more})


def a_copy(*lines: OrderLine, **more: Any) -> Order:
    """Routing's copy of a new order."""
    return copy_of(an_order(*lines, **more), NOON, PATIENCE)


def stock_of(assignable: Stock) -> list[AssignableStock]:
    """What allocation says may be tied where."""
    return [
        AssignableStock(
            sku=sku, stock_version=1, locations=[AssignableAtLocation(location=name, quantity=units) for name, units in places.items()]
        )
        for sku, places in assignable.items()
    ]


def reserved(
    order: OrderPlaced | Order,
    assignable: Stock,
    units: Mapping[str, int] | None = None,
    *,
    cause: str = "placed",
    version: int = 1,
) -> StockReserved:
    """Units of an order that may be planned; all of it unless ``units`` per line says otherwise."""
    wanted = units if units is not None else {line.line_id: line.quantity for line in order.lines}
    skus = {line.line_id: line.sku for line in order.lines}
    return StockReserved.model_validate(
        {
            "order_id": order.order_id,
            "order_version": version,
            "cause": cause,
            "lines": [
                ReservedLine(reservation_id=new_id(), line_id=line_id, sku=skus[line_id], quantity=count)
                for line_id, count in wanted.items()
            ],
            "assignable": stock_of(assignable),
            "reserved_at": NOON,
        }
    )


def backordered(
    order: OrderPlaced | Order,
    units: Mapping[str, int],
    *,
    cause: str = "placed",
    version: int = 1,
    promised_ship_at: datetime | None = None,
) -> StockBackordered:
    """Units of an order that wait for supply."""
    skus = {line.line_id: line.sku for line in order.lines}
    return StockBackordered.model_validate(
        {
            "order_id": order.order_id,
            "order_version": version,
            "cause": cause,
            "lines": [
                BackorderedLine(
                    demand_id=new_id(),
                    line_id=line_id,
                    sku=skus[line_id],
                    quantity=count,
                    demand_kind="backorder",
                    promised_ship_at=promised_ship_at,
                )
                for line_id, count in units.items()
            ],
            "backordered_at": NOON,
        }
    )


def units(quantity: int, line_id: str = "1", sku: str | None = None) -> LineUnits:
    """Some units of a line."""
    return LineUnits(line_id=line_id, sku=sku or f"SKU-{line_id}", quantity=quantity)


def a_location(code: str, postal_code: str, *, partner: str = "east", **more: Any) -> LocationRegistrationRequested:
    """A warehouse."""
    return LocationRegistrationRequested(
        **{
            "location": code,
            "name": code,
            "partner": partner,
            "postal_code": postal_code,
            "country": "US",
            "time_zone": "America/New_York",
            **more,
        }
    )


RENO = a_location("reno", "89506", partner="west", time_zone="America/Los_Angeles")
NEWARK = a_location("newark", "07114", partner="east")
DALLAS = a_location("dallas", "75236", partner="east", time_zone="America/Chicago", hazmat_certified=True)
