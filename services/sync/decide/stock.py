"""What number does each channel show now? (features F2 to F4)"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.sync.channels.protocol import Accepted, Answer, StockNumber
from services.sync.decide.calls import failure_text, next_call
from shared.contracts.stock import StockAvailabilityChanged

BUCKET_RATIO = 1.05
"""Neighbouring latency buckets are 5% apart, which is how exact p50 and p99 are."""


@dataclass(frozen=True, slots=True)
class KnownNumber:
    """The newest number of one SKU in one pool."""

    sku: str
    pool: str
    number: StockNumber
    stock_version: int
    changed_at: datetime


def newest_numbers(events: Iterable[StockAvailabilityChanged]) -> list[KnownNumber]:
    """Of everything said about each SKU and pool, what has the highest version; sorted, because rows are locked in that order."""
    newest: dict[tuple[str, str], KnownNumber] = {}
    for event in events:
        for change in event.changes:
            key = (change.sku, change.pool)
            if key in newest and newest[key].stock_version >= change.stock_version:
                continue
            number = StockNumber(change.available, change.mode, change.next_ship_at)
            newest[key] = KnownNumber(change.sku, change.pool, number, change.stock_version, event.changed_at)
    return [newest[key] for key in sorted(newest)]


@dataclass(frozen=True, slots=True)
class Push:
    """One claimed listing: the number to show now."""

    channel: str
    sku: str
    external_listing_id: str
    number: StockNumber
    stock_version: int
    claim: int


@dataclass(frozen=True, slots=True)
class ListingStock:
    """One listing as it stands when the answer to a push is recorded; see the table's comment for the fields."""

    channel: str
    sku: str
    external_listing_id: str
    wanted: StockNumber
    wanted_at: datetime
    stale_since: datetime | None
    sending_since: datetime | None
    due_at: datetime | None
    claims: int
    failures: int
    last_failure: str | None
    accepted: StockNumber | None
    accepted_version: int | None
    accepted_at: datetime | None
    accepted_latency_ms: int | None


def settle_push(listing: ListingStock, push: Push, answer: Answer, *, answered_at: datetime, now: datetime, jitter: float) -> ListingStock:
    """A listing after the channel's answer to one push.

    A yes is only believed of the newest claim and of the name the listing still has: anything else leaves in doubt what the channel shows
    and has the number told again. When the number moved on while the call was under way, the newer one is due at once.
    """
    if push.claim != listing.claims or push.external_listing_id != listing.external_listing_id:
        return replace(listing, due_at=listing.due_at or now, sending_since=listing.sending_since or now)
    if not isinstance(answer, Accepted):
        failures = listing.failures + 1
        return replace(listing, due_at=next_call(answer, failures, now, jitter), failures=failures, last_failure=failure_text(answer)[:500])
    since = listing.sending_since or listing.wanted_at
    moved_on = listing.wanted != push.number
    return replace(
        listing,
        stale_since=(listing.stale_since or listing.wanted_at) if moved_on else None,
        sending_since=None,
        due_at=now if moved_on else None,
        failures=0,
        last_failure=None,
        accepted=push.number,
        accepted_version=push.stock_version,
        accepted_at=answered_at,
        accepted_latency_ms=max(0, round((answered_at - since).total_seconds() * 1000)),
    )


def bucket_of(latency_ms: int) -> int:
    """The latency bucket of a push."""
    return 0 if latency_ms <= 1 else math.ceil(math.log(latency_ms) / math.log(BUCKET_RATIO))


def percentile_ms(pushes_by_bucket: Mapping[int, int], share: float) -> int | None:
    """The latency that this share of pushes did not exceed, in milliseconds and up to 5% too high; None without pushes.

    Args:
        pushes_by_bucket: how many pushes fell into each bucket.
        share: 0.5 for the median, 0.99 for p99.
    """
    total = sum(pushes_by_bucket.values())
    if total == 0:
        return None
    needed = math.ceil(total * share)
    seen = 0
    for bucket in sorted(pushes_by_bucket):
        seen += pushes_by_bucket[bucket]
        if seen >= needed:
            return round(BUCKET_RATIO**bucket)
    return round(BUCKET_RATIO ** max(pushes_by_bucket))
