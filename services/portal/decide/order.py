"""An order as a person sees it: the values that pages, mails and the API show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.portal.decide.bought import Item, KitShare, Piece, bought

OrderStatus = Literal[
    "announced",
    "placed",
    "partially_allocated",
    "fully_allocated",
    "in_fulfillment",
    "partially_shipped",
    "shipped",
    "delivered",
    "cancelled",
]
"""Blueprint section 5. ``announced``: events about it have arrived, but not the order itself."""

ReturnStatus = Literal["approved", "inspected", "closed", "declined"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the timeline."""

    type: str
    fact_id: UUID
    event_id: UUID
    source: str
    at: datetime
    trace_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What order.placed says about an order for good."""

    order_id: UUID
    channel: str
    external_id: str
    placed_at: datetime
    currency: str
    shipping_paid_cents: int
    service_level: str
    deliver_by: datetime | None
    customer_email: str
    customer_name: str | None
    locale: str


@dataclass(frozen=True, slots=True)
class Version:
    """The order under its newest version: lines and address as the contracts spell them."""

    order_version: int
    lines: Sequence[Mapping[str, Any]]
    ship_to: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LineView:
    """Where the units of one line are. ``waiting`` units are queued for supply; ``returnable`` ones were shipped and not yet sent back."""

    line_id: str
    sku: str
    title: str
    ordered: int
    unit_price_cents: int
    tax_cents: int
    waiting: int
    promised_ship_at: datetime | None
    shipped: int
    delivered: int
    cancelled: int
    returning: int
    kit: KitShare | None = None

    @property
    def returnable(self) -> int:
        """Units the shopper has and may ask to send back; whether they may is for the returns service to say."""
        return max(0, self.shipped - self.returning)

    @property
    def total_cents(self) -> int:
        """What the line costs with tax."""
        return self.ordered * self.unit_price_cents + self.tax_cents


Interception = Literal["requested", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One fulfillment that was started or has left. ``interception``: how far it is with holding it back, where its order was cancelled."""

    fulfillment_id: str
    location: str
    units: Mapping[str, int]
    started_at: datetime | None
    carrier: str | None = None
    tracking_number: str | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    interception: Interception | None = None


@dataclass(frozen=True, slots=True)
class ReturnView:
    """One return from the shopper's side."""

    return_id: str
    status: ReturnStatus
    units: Mapping[str, int]
    detail: str = ""
    refund_quote_cents: int = 0
    label_carrier: str | None = None
    label_tracking_number: str | None = None
    expires_at: datetime | None = None
    refunded_cents: int | None = None


@dataclass(frozen=True, slots=True)
class RefundView:
    """Money on its way back or refused."""

    refund_id: str
    status: Literal["succeeded", "failed"]
    amount_cents: int
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that waits for the warehouse's word."""

    change_id: str
    change: str
    answer_due_at: datetime | None
    asked_by_shopper: bool = True


@dataclass(frozen=True, slots=True)
class DelayView:
    """The newest delay about which the customer may say something; ``outcome`` is None while nothing was said and nothing decided."""

    consent_id: str
    consent: Literal["silence", "required"]
    old_ship_at: datetime | None
    new_ship_at: datetime | None
    answer_by: datetime | None
    outcome: str | None

    @property
    def needs_answer(self) -> bool:
        """Without a yes in time the order is cancelled."""
        return self.consent == "required" and self.outcome is None

    @property
    def may_call_off(self) -> bool:
        """A no still cancels what has not shipped."""
        return self.outcome in (None, "consented")


@dataclass(frozen=True, slots=True)
class OrderView:
    """Everything the portal knows of one order."""

    order_id: UUID
    identity: Identity | None
    order_version: int
    ship_to: Mapping[str, Any]
    status: OrderStatus
    lines: Sequence[LineView]
    parcels: Sequence[Parcel]
    returns: Sequence[ReturnView]
    refunds: Sequence[RefundView]
    pending_changes: Sequence[PendingChange]
    entries: Sequence[Entry]
    shipping_paid_cents: int = 0
    delay: DelayView | None = None

    @property
    def bought(self) -> Sequence[Item]:
        """What the customer bought, kits as one thing each."""
        return bought(self.lines)

    @property
    def pieces(self) -> Sequence[Piece]:
        """Every kind of unit that the customer can tell apart, in the order's order."""
        return [piece for item in self.bought for piece in item.pieces]

    @property
    def waiting_units(self) -> int:
        """Units queued for supply."""
        return sum(line.waiting for line in self.lines)

    @property
    def total_cents(self) -> int:
        """What the customer paid for the order as it now stands."""
        return sum(line.total_cents for line in self.lines) + self.shipping_paid_cents

    @property
    def refunded_cents(self) -> int:
        """Money that has gone back."""
        return sum(refund.amount_cents for refund in self.refunds if refund.status == "succeeded")

    @property
    def may_ask_to_cancel(self) -> bool:
        """Whether asking makes sense: while something has not shipped, and no change waits for a warehouse. What the warehouse has started
        is held back if it still can be. Routing decides all the same."""
        return self.status not in ("announced", "shipped", "delivered", "cancelled") and all(
            change.change == "payment" for change in self.pending_changes
        )

    @property
    def may_ask_to_change(self) -> bool:
        """Whether asking makes sense: while something has not shipped and no change is open. Routing decides all the same, line by line."""
        return self.status not in ("announced", "shipped", "delivered", "cancelled") and not self.pending_changes

    @property
    def is_started(self) -> bool:
        """Whether a warehouse has started with any of it."""
        return bool(self.parcels)

    @property
    def may_ask_to_return(self) -> bool:
        """Whether there is anything to send back."""
        return any(line.returnable for line in self.lines)

    @property
    def trace_id(self) -> str | None:
        """The order's trace: the one of its placing, else of the first thing heard."""
        placed = [entry for entry in self.entries if entry.type == "order.placed.v1"]
        first = placed or list(self.entries)
        return first[0].trace_id if first else None
