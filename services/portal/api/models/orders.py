"""Orders: what is asked of them, and how they are shown."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from services.portal.api.models.shapes import Request, Response
from services.portal.decide.order import OrderStatus, ReturnStatus
from shared.contracts.base import LineId, ShortText
from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.orders import Address, LineChange, LineToCancel, OrderVersion, ServiceLevel, SplitPolicy


class PlaceOrder(ChannelOrderReceived):
    """A paid order of one of the channels, as its adapter would publish it."""


class CancelOrder(Request):
    """Why an order, or the ``lines`` of it that are named, is called off, and by whom.

    A kit is named by its line id and counted in kits.
    """

    reason: ShortText
    operator: ShortText = "operator"
    expected_order_version: OrderVersion | None = None
    lines: list[LineToCancel] = Field(default=[], max_length=500)


class AnswerDelay(Request):
    """What the customer said to an operator about a delay. ``consent_id`` names the question; ``delay`` of the order and
    ``GET /api/delays`` have it."""

    consent_id: UUID
    answer: Literal["yes", "no"]
    operator: ShortText = "operator"


class EditOrder(Request):
    """The wished changes. A line without ``line_id`` adds its ``sku``; what is not said of it is taken from the product master.

    A kit changes as a whole: name the line id of the kit, its quantity counts kits.
    """

    operator: ShortText = "operator"
    expected_order_version: OrderVersion | None = None
    ship_to: Address | None = None
    line_changes: list[LineChange] = Field(default=[], max_length=500)
    service_level: ServiceLevel | None = None
    split_policy: SplitPolicy | None = None


class StockOutlook(Response):
    """Units that an edit adds, and how many of them could be had at once; the rest would wait for ``next_ship_at``."""

    sku: str
    units_added: int
    units_available: int
    mode: str | None
    next_ship_at: datetime | None


class EditedLine(Response):
    """A line as it would be."""

    line_id: str
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    tax_cents: int


class QuotedParcel(Response):
    """One parcel as it would be sent."""

    location: str
    carrier: str | None = None
    service: str
    cost_cents: int
    ship_by: datetime
    arrives_on: date


class ShippingQuote(Response):
    """What shipping all that no warehouse has started would cost us, by the rules in force. ``unplaced`` units, by SKU, no location could
    ship now; ``held`` names the rule that would have the order wait for a person, and why."""

    cost_cents: int
    parcels: list[QuotedParcel]
    unplaced: dict[str, int]
    held: str | None = None


class EditRefusal(Response):
    """Why the change would not be made."""

    reason: str
    detail: str


class EditPreview(Response):
    """What a change would do. Nothing was changed, nothing is reserved: send the same body with ``expected_order_version`` to make it.

    ``refusal`` says why it would not be made as things stand. ``asks`` are the 3PLs whose word would decide first. Below zero,
    ``money_delta_cents`` goes back to the customer; above it would have to be paid first. ``shipping_delta_cents`` is what it would cost us
    more, or less. What the customer pays for shipping moves only with the service level, and only where the merchant has set prices:
    ``service_pricing`` is ``same_service``, ``priced``, or ``no_price`` (what was paid for shipping stays).
    """

    order_id: UUID
    order_version: int
    currency: str
    refusal: EditRefusal | None
    asks: list[str]
    lines: list[EditedLine]
    total_before_cents: int
    total_after_cents: int
    shipping_paid_before_cents: int = 0
    shipping_paid_after_cents: int = 0
    service_pricing: Literal["same_service", "priced", "no_price"] = "same_service"
    money_delta_cents: int
    stock: list[StockOutlook]
    shipping_before: ShippingQuote | None
    shipping_after: ShippingQuote | None
    shipping_delta_cents: int | None


class Placed(Response):
    """The order stands; its journey has begun."""

    result: Literal["placed", "already_placed"]
    order_id: UUID


class OrderSummary(Response):
    """One order in a list."""

    order_id: UUID
    channel: str | None
    external_id: str | None
    placed_at: datetime | None
    status: OrderStatus
    units_ordered: int
    units_waiting: int
    units_shipped: int
    total_cents: int
    currency: str | None


class OrderList(Response):
    """Orders that were found, newest first."""

    orders: list[OrderSummary]


class KitShareDocument(Response):
    """The kit that a line was bought in; every line of the kit says the same of it."""

    line_id: LineId
    sku: str
    title: str
    quantity: int
    units_per_kit: int


class LineDocument(Response):
    """Where the units of one line are. Lines of a kit are changed together: name the line id of the kit."""

    line_id: LineId
    sku: str
    title: str
    ordered: int
    waiting: int
    promised_ship_at: datetime | None
    shipped: int
    delivered: int
    cancelled: int
    returning: int
    unit_price_cents: int
    tax_cents: int
    kit: KitShareDocument | None


class ParcelDocument(Response):
    """A fulfillment that was started or has left. ``interception``: how far it is with holding it back, where its order was cancelled;
    ``failed`` means that it comes back as a prepaid return."""

    fulfillment_id: str
    location: str
    units: dict[str, int]
    started_at: datetime | None
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    interception: Literal["requested", "succeeded", "failed"] | None = None


class ReturnDocument(Response):
    """A return as the portal knows it; ``GET /api/returns/{return_id}`` shows what the returns service knows."""

    return_id: str
    status: ReturnStatus
    units: dict[str, int]
    refund_quote_cents: int
    label_carrier: str | None
    label_tracking_number: str | None
    refunded_cents: int | None


class RefundDocument(Response):
    """Money on its way back, or refused."""

    refund_id: str
    status: Literal["succeeded", "failed"]
    amount_cents: int
    at: datetime
    reason: str | None


class DelayDocument(Response):
    """The newest delay about which the customer may say something.

    ``silence``: who says nothing agrees. ``required``: without a yes by ``answer_by`` what has not shipped is cancelled. ``outcome`` is
    null while nothing was said, or ``consented``; a no is possible until it ships.
    """

    consent_id: UUID
    consent: Literal["silence", "required"]
    old_ship_at: datetime | None
    new_ship_at: datetime | None
    answer_by: datetime | None
    outcome: str | None


class TimelineEntry(Response):
    """One thing that happened, with the trace it belongs to."""

    type: str
    at: datetime
    source: str
    event_id: UUID
    trace_id: str
    data: dict[str, Any]


class NotificationDocument(Response):
    """One thing the customer was or will be told."""

    kind: str
    cause_id: UUID
    status: Literal["due", "sent", "failed"]
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    reason: str | None


class OrderDocument(Response):
    """An order as all services together know it.

    ``routing``, ``stock`` and ``channel_order`` are the owners' own documents; null when the owner knows nothing of the order yet, or
    could not be asked (then ``unavailable`` names it).
    """

    order_id: UUID
    channel: str | None
    external_id: str | None
    placed_at: datetime | None
    currency: str | None
    order_version: int
    status: OrderStatus
    ship_to: dict[str, Any]
    customer_email: str | None
    total_cents: int
    refunded_cents: int
    lines: list[LineDocument]
    parcels: list[ParcelDocument]
    returns: list[ReturnDocument]
    refunds: list[RefundDocument]
    pending_changes: list[str]
    delay: DelayDocument | None
    trace_id: str | None
    timeline: list[TimelineEntry]
    notifications: list[NotificationDocument]
    routing: Any
    stock: Any
    channel_order: Any
    unavailable: list[str]


class TraceDocument(Response):
    """Everything that was said and heard about an order, as a tree: each message with who handled it and what it caused."""

    order_id: UUID
    trace_ids: list[str]
    messages: list[dict[str, Any]]
    unavailable: list[str]
