"""Calls to one channel: its rate limit, its patience, what its answers say about its health."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from aiolimiter import AsyncLimiter
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.sync.channels.protocol import Absent, Answer, Answered, Busy, Channel, LookUp, Unclear
from services.sync.decide.calls import health_after
from services.sync.queries import channels as queries
from shared.messaging.message import Transaction

AnswerT = TypeVar("AnswerT", Answer, LookUp, Answered | Answer)

LATENCY_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300)


class CallMetrics:
    """What Prometheus sees of calls to channels. Labels are channel codes, kinds of call and outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.latency = Histogram(
            "channel_push_latency_seconds",
            "From the change of a number to the channel's yes to it",
            ["channel"],
            namespace="ordermesh",
            registry=registry,
            buckets=LATENCY_BUCKETS,
        )
        self.calls = Counter(
            "channel_calls",
            "Calls to channels by kind and outcome",
            ["channel", "call", "outcome"],
            namespace="ordermesh",
            registry=registry,
        )


class ChannelCalls:
    """One channel as this process calls it.

    The rate limit and a 429's patience hold for all kinds of calls together. Both are kept per process: replicas share the channel's
    limit between them by configuration. Health and circuit breaker are in the database and shared.
    """

    def __init__(
        self,
        code: str,
        channel: Channel,
        *,
        requests_per_second: float,
        concurrency: int,
        timeout_seconds: float,
        now: Callable[[], datetime],
        metrics: CallMetrics,
    ) -> None:
        self.code = code
        self.channel = channel
        # What is claimed at a time: two rounds of calls, but no more than the channel takes in a quarter of a second, because what is
        # claimed early is told late, and a newer number would have to wait for it.
        self.claim_limit = max(1, min(2 * concurrency, int(requests_per_second / 4)))
        self.now = now
        self.metrics = metrics
        self._longest_seconds = 3 * timeout_seconds
        # Longer than anything that is done under it, so that nobody else starts while the holder may still be at work.
        self._lease = timedelta(seconds=4 * timeout_seconds)
        self._limiter = AsyncLimiter(requests_per_second, 1.0) if requests_per_second >= 1 else AsyncLimiter(1, 1.0 / requests_per_second)
        self._under_way = asyncio.Semaphore(concurrency)
        self._patience_until = 0.0
        self._registered = False

    def leased_until(self, now: datetime) -> datetime:
        """When a claim made now is taken for lost."""
        return now + self._lease

    async def ensure_registered(self, tx: Transaction) -> None:
        """Makes the channel of the partners file known to the database, once; believed only when a committed row was found."""
        if not self._registered:
            self._registered = await queries.register_channel(tx.connection, self.code, tx.now)

    async def call(self, kind: str, make: Callable[[], Awaitable[AnswerT]]) -> AnswerT | Busy | Unclear:
        """One call under the rate limit; none while the channel asked for patience."""
        answer = await self._call(make)
        self.metrics.calls.labels(self.code, kind, type(answer).__name__.lower()).inc()
        return answer

    async def _call(self, make: Callable[[], Awaitable[AnswerT]]) -> AnswerT | Busy | Unclear:
        try:
            async with asyncio.timeout(self._longest_seconds), self._under_way:
                await self._limiter.acquire()
                patience_seconds = self._patience_until - time.monotonic()
                if patience_seconds > 0:
                    return Busy(patience_seconds)
                answer = await make()
        except TimeoutError:
            return Unclear(f"not done within {self._longest_seconds:g} s, waiting for its turn included")
        if isinstance(answer, Busy):
            self._patience_until = time.monotonic() + answer.retry_after_seconds
        return answer

    async def record_health(self, tx: Transaction, answers: Sequence[Answer | LookUp]) -> None:
        """Notes what some answers say about the channel; its row is locked last."""
        told = [answer for answer in answers if not isinstance(answer, Absent)]
        health = await queries.lock_health(tx.connection, self.code)
        await queries.save_health(tx.connection, self.code, health_after(health, told, tx.now, jitter()))


def jitter() -> float:
    """Chance for the rules, in 0..1."""
    return random.random()  # noqa: S311 - spreading load needs no secrecy
