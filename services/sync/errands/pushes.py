"""Stock numbers to a channel: the newest number of each listing, no more often than the channel wants to hear it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.sync.channels.protocol import Accepted, Answer, Answered, ListingNumber, Refused
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
    """What the channel said to the pushes of one call, each of them, and when."""

    answers: Sequence[Answer]
    answered_at: datetime


def push_errand(calls: ChannelCalls) -> Errand[Sequence[Push], Pushed]:
    """Pushes of one channel, as many in one call as it takes. Numbers that change again before their turn are told once, with the newest
    value."""

    async def claim(tx: Transaction, limit: int) -> Sequence[Sequence[Push]]:
        await calls.ensure_registered(tx)
        size = calls.channel.listings_per_call
        pushes = await queries.claim_pushes(tx.connection, calls.code, tx.now, calls.leased_until(tx.now), limit * size)
        return [pushes[start : start + size] for start in range(0, len(pushes), size)]

    async def perform(pushes: Sequence[Push]) -> Pushed:
        answers = await _show(calls, pushes)
        if len(pushes) > 1 and all(isinstance(answer, Refused) for answer in answers):
            # One listing that the channel cannot read makes it refuse them all: alone, the others get through.
            answers = [answer for push in pushes for answer in await _show(calls, [push])]
        return Pushed(answers, calls.now())

    async def settle(tx: Transaction, results: Sequence[tuple[Sequence[Push], Pushed]]) -> Sequence[Outgoing]:
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


async def _show(calls: ChannelCalls, pushes: Sequence[Push]) -> Sequence[Answer]:
    numbers = [ListingNumber(push.external_listing_id, push.number, push.stock_version) for push in pushes]
    said = await calls.call("show_stock", lambda: calls.channel.show_stock(numbers))
    return said.each if isinstance(said, Answered) else [said] * len(pushes)


async def _settle(calls: ChannelCalls, tx: Transaction, results: Sequence[tuple[Sequence[Push], Pushed]]) -> None:
    told = [(push, answer, pushed.answered_at) for pushes, pushed in results for push, answer in zip(pushes, pushed.answers, strict=True)]
    listings = await queries.lock_listing_stock(tx.connection, calls.code, [push.sku for push, _, _ in told])
    settled = [
        settle_push(listings[push.sku], push, answer, answered_at=answered_at, now=tx.now, jitter=jitter())
        for push, answer, answered_at in told
    ]
    await queries.save_pushes(tx.connection, settled)
    latencies_ms = [
        listing.accepted_latency_ms
        for listing, (push, answer, _) in zip(settled, told, strict=True)
        if isinstance(answer, Accepted) and listing.claims == push.claim and listing.accepted_latency_ms is not None
    ]
    if latencies_ms:
        minute = tx.now.replace(second=0, microsecond=0)
        await queries.count_latencies(tx.connection, calls.code, minute, Counter(bucket_of(latency) for latency in latencies_ms))
    # One failed call is one failure, however many listings it was about.
    await calls.record_health(tx, [answer for _, pushed in results for answer in dict.fromkeys(pushed.answers)])
    for latency_ms in latencies_ms:
        calls.metrics.latency.labels(calls.code).observe(latency_ms / 1000)
