"""What sync can ask of any channel, and the few things that an answer can mean.

An adapter for one kind of API (Shopify, Amazon, eBay ...) is one more file beside ``generic.py`` that offers ``Channel``. It turns whatever
its API says into one of these answers and raises nothing for what a network or a partner can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Accepted:
    """Done, now or by an earlier call. ``reference`` is the channel's own name for a refund."""

    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """Not done; the channel asks for patience (HTTP 429)."""

    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Not done, and it never will be as it was asked. The channel itself is well."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Done or not, nobody knows: a timeout, a lost connection, a server error, an answer that makes no sense."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The channel has never heard of what was looked up."""


Answer: TypeAlias = Accepted | Busy | Refused | Unclear
LookUp: TypeAlias = Accepted | Absent | Busy | Unclear


@dataclass(frozen=True, slots=True)
class StockNumber:
    """What a channel may sell of one SKU."""

    available: int
    mode: str
    next_ship_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListingNumber:
    """What a channel is to show for one listing from now on. ``stock_version`` grows with every change of the number."""

    external_listing_id: str
    number: StockNumber
    stock_version: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A call about several listings was answered for each of them, in the order in which they were asked."""

    each: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back at a channel: the same key is the same money, however often it is asked for."""

    refund_id: UUID
    external_order_id: str
    idempotency_key: str
    amount_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class ShippedLine:
    """Some units of one order line that are in a parcel."""

    line_id: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """A parcel that left. It has no lines when it carries only a part of a kit: the parcel that completes the kit names it."""

    fulfillment_id: UUID
    external_order_id: str
    carrier: str
    tracking_number: str
    lines: Sequence[ShippedLine]


class Channel(Protocol):
    """One sales channel's API. Every call may be repeated: the channel ends up in the same state."""

    @property
    def listings_per_call(self) -> int:
        """How many listings one call of ``show_stock`` may carry."""
        ...

    async def show_stock(self, numbers: Sequence[ListingNumber]) -> Answered | Answer:
        """Shows these numbers from now on. A channel that knows versions ignores one older than what it shows."""
        ...

    async def refund(self, order: RefundOrder, *, traceparent: str | None = None) -> Answer:
        """Gives the money back under the order's idempotency key."""
        ...

    async def find_refund(self, order: RefundOrder) -> LookUp:
        """Whether money has moved under the order's idempotency key."""
        ...

    async def announce_shipment(self, shipment: Shipment, *, traceparent: str | None = None) -> Answer:
        """Tells the customer's channel what was shipped and how to follow it."""
        ...
