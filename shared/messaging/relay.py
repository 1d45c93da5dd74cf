"""The relay: from the outbox to the broker, with pipelined confirms over a connection of its own.

Commits of this process wake it at once; a poll finds what was left by a crash. LISTEN/NOTIFY is not needed, because every row is written by
the process whose relay publishes it (docs/decisions/0005-relay-wake-up.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast
from uuid import UUID

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Channel as UnderlyingChannel
from asyncpg import Record

from shared.database import is_unavailable
from shared.messaging import outbox
from shared.messaging.pipelining import Publication, publish_together
from shared.messaging.trouble import BROKER_TROUBLE, losses_named

if TYPE_CHECKING:
    from shared.messaging.batching import Surroundings

log = structlog.get_logger()

RECONNECT_SECONDS = 1.0


class Publisher:
    """Publishes envelopes with confirms. Any failure retires the channel: what it said about other messages is no longer trusted."""

    def __init__(self, amqp_url: str, *, name: str, timeout_seconds: float) -> None:
        self._url = amqp_url
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def _open(self) -> UnderlyingChannel:
        if self._connection is None or self._connection.is_closed:
            self._channel = None
            self._connection = await aio_pika.connect(
                self._url, timeout=self._timeout_seconds, client_properties={"connection_name": self._name}
            )
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        return cast(UnderlyingChannel, await self._channel.get_underlay_channel())

    async def publish(self, rows: Sequence[Record]) -> list[UUID]:
        """Publishes outbox rows, persistent and mandatory, and returns the ids that the broker confirmed.

        Raises:
            AMQPError, OSError, TimeoutError: no connection.
        """
        publications = [Publication(row["exchange"], row["routing_key"], row["body"], row["type"]) for row in rows]
        with losses_named():
            async with asyncio.timeout(self._timeout_seconds):
                channel = await self._open()
            failures = await publish_together(channel, publications, timeout_seconds=self._timeout_seconds)
        confirmed = [row["event_id"] for row, failure in zip(rows, failures, strict=True) if failure is None]
        failed = [failure for failure in failures if failure is not None]
        if failed:
            log.warning("publish_failed", messages=len(failed), error=type(failed[0]).__name__, detail=str(failed[0])[:300])
            await self.close()
        return confirmed

    async def close(self) -> None:
        """Drops the connection; the next publish opens a new one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            try:
                with losses_named():
                    await asyncio.wait_for(connection.close(), timeout=2.0)
            except BROKER_TROUBLE as error:
                log.info("publisher_close", error=type(error).__name__)


class Relay:
    """Publishes what the outbox holds until told to stop."""

    def __init__(self, around: Surroundings, publisher: Publisher) -> None:
        self._around = around
        self._publisher = publisher
        self._wake = asyncio.Event()
        self.broker_away = False

    def wake(self) -> None:
        """Something was committed: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._around.settings.relay_poll_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._empty()

    async def _empty(self) -> None:
        while True:
            try:
                claimed, confirmed = await self._publish_batch()
            except BROKER_TROUBLE as error:
                await self._broker_trouble(error)
                return
            except Exception as error:
                if not is_unavailable(error):
                    raise
                await asyncio.sleep(RECONNECT_SECONDS)
                return
            self.broker_away = False
            if confirmed < claimed:
                self._around.metrics.publish_failures.inc(claimed - confirmed)
                await asyncio.sleep(RECONNECT_SECONDS)
            if claimed < self._around.settings.relay_batch:
                return

    async def _broker_trouble(self, error: Exception) -> None:
        if not self.broker_away:
            log.warning("relay_waits", error=type(error).__name__, detail=str(error)[:200])
        self.broker_away = True
        await self._publisher.close()
        await asyncio.sleep(RECONNECT_SECONDS)

    async def _publish_batch(self) -> tuple[int, int]:
        around = self._around
        async with around.pool.acquire(timeout=10) as connection, connection.transaction():
            rows = await outbox.claim_unsent(connection, around.settings.relay_batch)
            if not rows:
                return 0, 0
            confirmed = await self._publisher.publish(rows)
            if confirmed:
                await outbox.mark_sent(connection, confirmed, around.now())
        self._account(rows, set(confirmed))
        return len(rows), len(confirmed)

    def _account(self, rows: Sequence[Record], confirmed: set[UUID]) -> None:
        now = self._around.now()
        counts: dict[str, int] = {}
        for row in rows:
            if row["event_id"] in confirmed:
                counts[row["type"]] = counts.get(row["type"], 0) + 1
        for message_type, count in counts.items():
            self._around.metrics.published.labels(message_type).inc(count)
        if rows:
            self._around.metrics.relay_seconds.observe(max(0.0, (now - rows[0]["created_at"]).total_seconds()))

    async def flush(self, timeout_seconds: float) -> None:
        """On the way out: publishes what is left, as long as the broker is there and time allows."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._empty()
        except TimeoutError:
            log.info("relay_flush_timeout")
        await self._publisher.close()
