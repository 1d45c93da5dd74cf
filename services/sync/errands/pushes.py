"""Stock numbers to a channel: the newest number of each listing, no more often than the channel wants to hear it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.sync.channels.protocol import Accepted, Answer
from services.sync.decide.stock import Push, bucket_of, settle_push
from services.sync.errands.calls import ChannelCalls, jitter
from services.sync.queries import stock as queries
from shared.contracts.channels import ListingRegistrationRequested
from shared.contracts.stock import StockAvailabilityChanged
from shared.messaging.message import Outgoing, Transaction
from shared.service import Errand

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the channel said to one push, and when."""

    answer: Answer
    answered_at: datetime


def push_errand(calls: ChannelCalls) -> Errand[Push, Pushed]:
    """Pushes of one channel. Numbers that change again before their turn are told once, with the newest value."""

    async def claim(tx: Transaction, limit: int) -> Sequence[Push]:
        await calls.ensure_registered(tx)
        return await queries.claim_pushes(tx.connection, calls.code, tx.now, calls.leased_until(tx.now), limit)

    async def perform(push: Push) -> Pushed:
        answer = await calls.call("show_stock", lambda: calls.channel.show_stock(push.external_listing_id, push.number, push.stock_version))
        return Pushed(answer, calls.now())

    async def settle(tx: Transaction, results: Sequence[tuple[Push, Pushed]]) -> Sequence[Outgoing]:
        await _settle(calls, tx, results)
        return ()

    return Errand(
        f"stock pushes to {calls.code}",
        claim,
        perform,
        settle,
        poll_seconds=POLL_SECONDS,
        concurrency=calls.claim_limit,
        woken_by=(StockAvailabilityChanged, ListingRegistrationRequested),
    )


async def _settle(calls: ChannelCalls, tx: Transaction, results: Sequence[tuple[Push, Pushed]]) -> None:
    listings = await queries.lock_listing_stock(tx.connection, calls.code, [push.sku for push, _ in results])
    settled = [
        settle_push(listings[push.sku], push, pushed.answer, answered_at=pushed.answered_at, now=tx.now, jitter=jitter())
        for push, pushed in results
    ]
    await queries.save_pushes(tx.connection, settled)
    latencies_ms = [
        listing.accepted_latency_ms
        for listing, (push, pushed) in zip(settled, results, strict=True)
        if isinstance(pushed.answer, Accepted) and listing.claims == push.claim and listing.accepted_latency_ms is not None
    ]
    if latencies_ms:
        minute = tx.now.replace(second=0, microsecond=0)
        await queries.count_latencies(tx.connection, calls.code, minute, Counter(bucket_of(latency) for latency in latencies_ms))
    await calls.record_health(tx, [pushed.answer for _, pushed in results])
    for latency_ms in latencies_ms:
        calls.metrics.latency.labels(calls.code).observe(latency_ms / 1000)
