"""What one simulated channel remembers. Bounded: a full book refuses what is new and never forgets money."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

LISTINGS_LIMIT = 500_000
REFUNDS_LIMIT = 500_000
FULFILLMENTS_LIMIT = 500_000
UPDATES_KEPT = 5
"""How many of its latest numbers each listing keeps."""


class BookFull(Exception):
    """The simulator keeps no more of these; reset it."""


class KeyReused(Exception):
    """The idempotency key was used for something else before."""


@dataclass(frozen=True, slots=True)
class StockUpdate:
    """One number as it arrived. ``applied`` is false for one that was older than what the listing showed."""

    available: int
    mode: str
    next_ship_at: str | None
    stock_version: int
    received_at: datetime
    applied: bool

    def as_json(self) -> dict[str, Any]:
        """For the admin's page."""
        return {
            "available": self.available,
            "mode": self.mode,
            "next_ship_at": self.next_ship_at,
            "stock_version": self.stock_version,
            "received_at": self.received_at.isoformat(),
            "applied": self.applied,
        }


@dataclass(slots=True)
class ShownListing:
    """What a listing shows, and the last numbers it was told."""

    shown: StockUpdate
    updates: int = 1
    latest: deque[StockUpdate] = field(default_factory=lambda: deque(maxlen=UPDATES_KEPT))


@dataclass(slots=True)
class MovedRefund:
    """Money that moved once. ``requests`` counts how often it was asked for."""

    idempotency_key: str
    external_id: str
    content: Mapping[str, Any]
    reference: str
    moved_at: datetime
    requests: int = 1

    @property
    def amount_cents(self) -> int:
        """How much moved."""
        amount: int = self.content["amount_cents"]
        return amount

    def as_json(self) -> dict[str, Any]:
        """For the admin's page."""
        return {
            "idempotency_key": self.idempotency_key,
            "external_id": self.external_id,
            **self.content,
            "reference": self.reference,
            "moved_at": self.moved_at.isoformat(),
            "requests": self.requests,
        }


@dataclass(slots=True)
class HeardFulfillment:
    """A parcel that the channel was told of."""

    idempotency_key: str
    external_id: str
    content: Mapping[str, Any]
    heard_at: datetime
    requests: int = 1

    def as_json(self) -> dict[str, Any]:
        """For the admin's page."""
        return {
            "idempotency_key": self.idempotency_key,
            "external_id": self.external_id,
            **self.content,
            "heard_at": self.heard_at.isoformat(),
            "requests": self.requests,
        }


@dataclass
class Shop:
    """One channel's books."""

    code: str
    listings: dict[str, ShownListing] = field(default_factory=dict)
    refunds: dict[str, MovedRefund] = field(default_factory=dict)
    fulfillments: dict[str, HeardFulfillment] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)

    def show_stock(self, listing_id: str, update: Mapping[str, Any], now: datetime) -> StockUpdate:
        """Shows a number, unless a newer one is shown already; returns what is shown."""
        listing = self.listings.get(listing_id)
        if listing is None and len(self.listings) >= LISTINGS_LIMIT:
            raise BookFull(f"{LISTINGS_LIMIT} listings")
        applied = listing is None or update["stock_version"] >= listing.shown.stock_version
        arrived = StockUpdate(
            available=update["available"],
            mode=update["mode"],
            next_ship_at=update["next_ship_at"],
            stock_version=update["stock_version"],
            received_at=now,
            applied=applied,
        )
        if listing is None:
            listing = self.listings[listing_id] = ShownListing(arrived)
        else:
            listing.updates += 1
            if applied:
                listing.shown = arrived
        listing.latest.append(arrived)
        self.counters["stock_updates"] += 1
        self.counters["stock_updates_outdated"] += not applied
        return listing.shown

    def refund(self, key: str, external_id: str, content: Mapping[str, Any], now: datetime) -> tuple[MovedRefund, bool]:
        """Moves money once per key; returns the movement and whether it is new."""
        self.counters["refund_requests"] += 1
        known = self.refunds.get(key)
        if known is not None:
            if (known.external_id, known.content) != (external_id, content):
                raise KeyReused(key)
            known.requests += 1
            return known, False
        if len(self.refunds) >= REFUNDS_LIMIT:
            raise BookFull(f"{REFUNDS_LIMIT} refunds")
        moved = MovedRefund(key, external_id, dict(content), f"{self.code}-refund-{uuid4().hex[:12]}", now)
        self.refunds[key] = moved
        return moved, True

    def hear_fulfillment(self, key: str, external_id: str, content: Mapping[str, Any], now: datetime) -> bool:
        """Notes a parcel once per key; returns whether it is new."""
        self.counters["fulfillment_requests"] += 1
        known = self.fulfillments.get(key)
        if known is not None:
            if (known.external_id, known.content) != (external_id, content):
                raise KeyReused(key)
            known.requests += 1
            return False
        if len(self.fulfillments) >= FULFILLMENTS_LIMIT:
            raise BookFull(f"{FULFILLMENTS_LIMIT} fulfillments")
        self.fulfillments[key] = HeardFulfillment(key, external_id, dict(content), now)
        return True

    def as_json(self, parts: Sequence[str]) -> dict[str, Any]:
        """The whole state, or the named parts of it, for the admin's page."""
        state: dict[str, Any] = {
            "code": self.code,
            "counters": dict(self.counters),
            "refund_cents": sum(refund.amount_cents for refund in self.refunds.values()),
            "counts": {"listings": len(self.listings), "refunds": len(self.refunds), "fulfillments": len(self.fulfillments)},
        }
        if "listings" in parts:
            state["listings"] = {
                name: {**listing.shown.as_json(), "updates": listing.updates, "latest": [update.as_json() for update in listing.latest]}
                for name, listing in self.listings.items()
            }
        if "refunds" in parts:
            state["refunds"] = [refund.as_json() for refund in self.refunds.values()]
        if "fulfillments" in parts:
            state["fulfillments"] = [heard.as_json() for heard in self.fulfillments.values()]
        return state
