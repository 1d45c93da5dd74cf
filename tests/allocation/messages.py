"""Plausible messages about a few SKUs and locations, to tell stories with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.channels import KitComponent, Product, ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelled,
    FulfillmentPlanned,
    FulfillmentShipped,
    LocationRegistered,
    PlannedFulfillment,
)
from shared.contracts.orders import Actor, Address, Customer, LineUnits, OrderCancelled, OrderEdited, OrderLine, OrderPlaced, Segment
from shared.contracts.returns import Disposition, DispositionLine, ReturnInspected
from shared.contracts.stock import (
    SnapshotLine,
    StockAdjustmentRequested,
    StockPreorderClosed,
    StockPreorderOpened,
    SupplyCancelled,
    SupplyChange,
    SupplyChanged,
    SupplyLine,
    SupplyReceived,
    SupplyRescheduled,
    SupplyScheduled,
    ThirdPartyReceipt,
    ThirdPartyStockAdjusted,
    ThirdPartyStockSnapshot,
)
from shared.messaging.message import Received

NOW = datetime.now(UTC).replace(microsecond=0)
SHOPPER = Actor(kind="shopper", name="shopper")
HOME = Address(name="A. Shopper", line1="1 Main St", city="Reno", region="NV", postal_code="89501", country="US")
PARTNER = "acme"


def at(minutes: float) -> datetime:
    """Some minutes after now; before it when negative."""
    return NOW + timedelta(minutes=minutes)


def received(data: Message, *, partner: str | None = None, time: datetime | None = None, event_id: UUID | None = None) -> Received[Any]:
    """A message as the runtime hands it over."""
    return Received(event_id=event_id or new_id(), source="tests", data=data, time=time or NOW, partner=partner)


def products(*skus: str, hazmat: bool = False) -> ProductRegistered:
    """Products that may be sold."""
    return ProductRegistered(products=[Product(sku=sku, title=sku, unit_price_cents=1_000, hazmat=hazmat) for sku in skus])


def kit(kit_sku: str, **units_per_kit: int) -> ProductRegistered:
    """A kit that is made of registered products."""
    components = [KitComponent(sku=sku, quantity=quantity) for sku, quantity in units_per_kit.items()]
    return ProductRegistered(products=[Product(sku=kit_sku, title=kit_sku, unit_price_cents=3_000, components=components)])


def location(code: str = "east", *, partner: str = PARTNER, active: bool = True, hazmat_certified: bool = False) -> LocationRegistered:
    """A place that holds stock."""
    return LocationRegistered(location=code, name=code, partner=partner, hazmat_certified=hazmat_certified, active=active)


def receipt(quantity: int, sku: str = "MUG", *, at_location: str = "east", supply_id: UUID | None = None) -> SupplyReceived:
    """Goods that arrived."""
    return SupplyReceived(receipt_id=new_id(), supply_id=supply_id, location=at_location, lines=[SupplyLine(sku=sku, quantity=quantity)])


def line(quantity: int = 1, sku: str = "MUG", line_id: str = "1") -> OrderLine:
    """An order line."""
    return OrderLine(line_id=line_id, sku=sku, title=sku, quantity=quantity, unit_price_cents=1_000, unit_weight_grams=400)


def order(
    *lines: OrderLine,
    order_id: UUID | None = None,
    split_policy: Literal["ship_available", "hold_all"] = "ship_available",
    priority: int = 5,
    segment: Segment = "dtc",
) -> OrderPlaced:
    """A paid order."""
    own = order_id or new_id()
    return OrderPlaced(
        order_id=own,
        channel="web",
        external_id=str(own),
        placed_at=NOW,
        currency="USD",
        segment=segment,
        lines=list(lines) or [line()],
        ship_to=HOME,
        customer=Customer(email="shopper@example.com"),
        split_policy=split_policy,
        priority=priority,
    )


def edit(placed: OrderPlaced, *lines: OrderLine, version: int = 2, withdrawn: Sequence[UUID] = ()) -> OrderEdited:
    """The order as it stands after a change."""
    return OrderEdited(
        order_id=placed.order_id,
        order_version=version,
        change_id=new_id(),
        actor=SHOPPER,
        lines=list(lines) or placed.lines,
        ship_to=HOME,
        withdrawn_fulfillment_ids=list(withdrawn),
        money_delta_cents=0,
        edited_at=NOW,
    )


def units(quantity: int, line_id: str = "1", sku: str = "MUG") -> LineUnits:
    """Some units of an order line."""
    return LineUnits(line_id=line_id, sku=sku, quantity=quantity)


def cancellation(placed: OrderPlaced, *lines: LineUnits, version: int = 2) -> OrderCancelled:
    """Nothing more of the order ships; by default all of it."""
    own = [units(line.quantity, line.line_id, line.sku) for line in placed.lines]
    return OrderCancelled(
        order_id=placed.order_id,
        order_version=version,
        change_id=new_id(),
        actor=SHOPPER,
        reason="changed my mind",
        lines=list(lines) or own,
        refund_cents=0,
        cancelled_at=NOW,
    )


def planned(location: str, *lines: LineUnits, fulfillment_id: UUID | None = None) -> PlannedFulfillment:
    """What one location shall ship."""
    return PlannedFulfillment(fulfillment_id=fulfillment_id or new_id(), location=location, lines=list(lines))


def plan(placed: OrderPlaced, *fulfillments: PlannedFulfillment, version: int = 1) -> FulfillmentPlanned:
    """Routing's choice of locations; by default everything from the east."""
    own = [planned("east", *(units(line.quantity, line.line_id, line.sku) for line in placed.lines))]
    return FulfillmentPlanned(plan_id=new_id(), order_id=placed.order_id, order_version=version, fulfillments=list(fulfillments) or own)


def shipped(
    placed: OrderPlaced, fulfillment: PlannedFulfillment, *lines: LineUnits, sequence: int | None = None, at_time: datetime = NOW
) -> FulfillmentShipped:
    """A parcel that left; by default with all units planned."""
    return FulfillmentShipped(
        fulfillment_id=fulfillment.fulfillment_id,
        order_id=placed.order_id,
        location=fulfillment.location,
        partner=PARTNER,
        carrier="UPS",
        tracking_number="1Z",
        lines=list(lines) or fulfillment.lines,
        shipping_cost_cents=500,
        shipped_at=at_time,
        partner_sequence=sequence,
    )


def called_off(
    placed: OrderPlaced,
    fulfillment: PlannedFulfillment,
    *lines: LineUnits,
    missing: Sequence[LineUnits] = (),
    cause: Literal["rejected", "short_picked", "cancelled", "expired"] = "cancelled",
    at_time: datetime = NOW,
) -> FulfillmentCancelled:
    """Units that will not ship from where they were planned; by default all of them."""
    return FulfillmentCancelled(
        fulfillment_id=fulfillment.fulfillment_id,
        order_id=placed.order_id,
        location=fulfillment.location,
        cause=cause,
        lines=list(lines) or fulfillment.lines,
        missing=list(missing),
        cancelled_at=at_time,
    )


def snapshot(
    on_hand: int,
    *,
    as_of: datetime = NOW,
    watermark: int = 0,
    at_location: str = "east",
    sku: str = "MUG",
    damaged: int = 0,
    quality_control: int = 0,
) -> Received[Any]:
    """A 3PL's count of one SKU, as it comes from the partner's queue."""
    counted = SnapshotLine(sku=sku, on_hand=on_hand, damaged=damaged, quality_control=quality_control)
    return received(ThirdPartyStockSnapshot(location=at_location, as_of=as_of, watermark=watermark, lines=[counted]), partner=PARTNER)


def correction(
    delta: int, *, sequence: int | None = None, sku: str = "MUG", at_location: str = "east", time: datetime = NOW
) -> Received[Any]:
    """A 3PL found or lost units."""
    told = ThirdPartyStockAdjusted(
        location=at_location, adjustment_id=new_id(), sku=sku, quantity_delta=delta, reason="counted", sequence=sequence
    )
    return received(told, partner=PARTNER, time=time)


def third_party_receipt(
    quantity: int, *, sequence: int | None = None, sku: str = "MUG", at_location: str = "east", time: datetime = NOW
) -> Received[Any]:
    """Goods that a 3PL put on its shelves."""
    told = ThirdPartyReceipt(location=at_location, receipt_id=new_id(), lines=[SupplyLine(sku=sku, quantity=quantity)], sequence=sequence)
    return received(told, partner=PARTNER, time=time)


def adjustment(new_on_hand: int, *, expected: int | None = None, sku: str = "MUG", at_location: str = "east") -> StockAdjustmentRequested:
    """An operator's count."""
    return StockAdjustmentRequested(
        adjustment_id=new_id(),
        sku=sku,
        location=at_location,
        new_on_hand=new_on_hand,
        expected_on_hand=expected,
        reason="recount",
        operator="kim",
    )


def inspected(placed: OrderPlaced, *found: tuple[int, Disposition], sku: str = "MUG", at_location: str = "east") -> ReturnInspected:
    """A returned parcel that was judged."""
    return ReturnInspected(
        return_id=new_id(),
        scan_id=new_id(),
        order_id=placed.order_id,
        location=at_location,
        dispositions=[DispositionLine(line_id="1", sku=sku, quantity=quantity, disposition=disposition) for quantity, disposition in found],
        inspected_at=NOW,
    )


def supply(
    quantity: int, expected_at: datetime, *, sku: str = "MUG", at_location: str = "east", purchase_order: str | None = None
) -> SupplyScheduled:
    """Goods on their way."""
    return SupplyScheduled(
        supply_id=new_id(),
        location=at_location,
        expected_at=expected_at,
        lines=[SupplyLine(sku=sku, quantity=quantity)],
        purchase_order=purchase_order,
    )


def moved(scheduled: SupplyScheduled, expected_at: datetime) -> SupplyRescheduled:
    """The goods come another day."""
    return SupplyRescheduled(supply_id=scheduled.supply_id, change_id=new_id(), expected_at=expected_at)


def changed(scheduled: SupplyScheduled, **quantities: int) -> SupplyChanged:
    """The supplier brings other quantities, by SKU."""
    lines = [SupplyChange(sku=sku, quantity=quantity) for sku, quantity in quantities.items()]
    return SupplyChanged(supply_id=scheduled.supply_id, change_id=new_id(), lines=lines)


def preorder(release_at: datetime, sku: str = "MUG", *, early_release: bool = False) -> StockPreorderOpened:
    """A SKU is sold before its release."""
    return StockPreorderOpened(change_id=new_id(), sku=sku, release_at=release_at, early_release=early_release)


def preorder_closed(sku: str = "MUG") -> StockPreorderClosed:
    """A SKU is sold like any other."""
    return StockPreorderClosed(change_id=new_id(), sku=sku)


def dropped(scheduled: SupplyScheduled) -> SupplyCancelled:
    """The goods will not come."""
    return SupplyCancelled(supply_id=scheduled.supply_id, change_id=new_id())
