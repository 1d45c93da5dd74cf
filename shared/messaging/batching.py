"""Group commit: one transaction for whatever has arrived while the last one ran. No sleeps.

A batch whose handler fails is split until the culprit stands alone: the innocent go through, the culprit waits or is parked
with its reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from asyncpg import Record

from shared.config import Settings
from shared.contracts.base import Message, Refusal
from shared.contracts.envelope import new_id
from shared.database import Pool, is_contention, is_unavailable
from shared.errors import NotYet, Refused
from shared.messaging import inbox, outbox
from shared.messaging.inbox import Waiting
from shared.messaging.message import Connection, Handler, Outgoing, Received, Transaction
from shared.messaging.reading import Delivery, Read, Reader, Unreadable
from shared.telemetry import HandledEvent, Metrics, SpanRecorder, service_number

log = structlog.get_logger()

CONTENTION_ATTEMPTS = 5
LONGEST_OUTAGE_PAUSE_SECONDS = 2.0

UnreadableHandler = Callable[[Transaction, Sequence[Unreadable]], Awaitable[Sequence[Outgoing]]]


@dataclass(frozen=True)
class Subscription:
    """One message type of one service, and who handles it."""

    message: type[Message]
    handler: Handler[Any]
    answer_unreadable: UnreadableHandler | None = None
    """Tells the sender of an unreadable message what was wrong with it; the message itself is parked anyway."""


def nobody_waits(_: type[Message]) -> None:
    """For processes in which nothing waits for a message to be handled."""


@dataclass
class Surroundings:
    """What every processor of a process shares."""

    service: str
    pool: Pool
    settings: Settings
    metrics: Metrics
    now: Callable[[], datetime]
    committed: Callable[[], None]
    """Called after a commit that may have filled the outbox or scheduled an errand."""
    recorder: SpanRecorder | None = None
    database_away: bool = False
    handled: Callable[[type[Message]], None] = nobody_waits
    """Called after the commit of a batch of this type, whether it said something or not."""

    @property
    def source(self) -> str:
        """How this service signs its messages."""
        return f"ordermesh/{self.service}"

    def outbox_rows(self, outgoing: Sequence[Outgoing], now: datetime) -> list[outbox.OutboxRow]:
        """What this service will publish of these messages."""
        return outbox.rows_of(
            outgoing,
            source=self.source,
            service_number=service_number(self.service),
            now=now,
            sample_ratio=self.settings.trace_sample_ratio,
        )


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a batch with its history of tries."""

    read: Read[Any]
    attempts: int = 0
    first_received_at: datetime | None = None


@dataclass(frozen=True)
class HandledNow:
    """What became of one message that was handled while its sender waits."""

    status: str
    """``done``, ``duplicate``, ``deferred`` or ``parked``; the last two left no trace here, the sender must act."""
    reason: str | None
    messages: Sequence[Outgoing]


class _RolledBack(Exception):
    """Carries the outcome out of a transaction that must not commit."""

    def __init__(self, outcome: HandledNow) -> None:
        super().__init__(outcome.status)
        self.outcome = outcome


@dataclass
class Processor:
    """Runs batches of one subscription: inbox, handler, outbox, commit."""

    subscription: Subscription
    around: Surroundings
    reader: Reader[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.subscription.message)
        self._type = self.subscription.message.type

    async def process(self, deliveries: Sequence[Delivery]) -> None:
        """Returns once every delivery is committed as done, waiting or parked, so that it may be acknowledged.

        While the database is away it waits and tries again: nothing is acknowledged, nothing is lost.
        """
        started = time.monotonic()
        items = [Item(self.reader.read(delivery)) for delivery in deliveries]
        await self._until_available(items)
        self.around.metrics.batch_messages.labels(self._type).observe(len(items))
        self.around.metrics.batch_seconds.labels(self._type).observe(time.monotonic() - started)

    async def _until_available(self, items: Sequence[Item]) -> None:
        pause = 0.05
        while True:
            try:
                await self._settle(items)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if not self.around.database_away:
                    log.warning("database_away", type=self._type, error=type(error).__name__, detail=str(error)[:200])
                self.around.database_away = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_OUTAGE_PAUSE_SECONDS)
            else:
                self.around.database_away = False
                return

    async def _settle(self, items: Sequence[Item]) -> None:
        """Commits a batch; on failure commits its halves, down to the single culprit."""
        try:
            await self._with_contention_retries(items)
        except Exception as error:
            if is_unavailable(error):
                raise
            if len(items) > 1:
                middle = len(items) // 2
                log.info("batch_split", type=self._type, messages=len(items), error=type(error).__name__)
                await self._settle(items[:middle])
                await self._settle(items[middle:])
            else:
                await self._set_aside(items[0], error)

    async def _with_contention_retries(self, items: Sequence[Item]) -> None:
        for attempt in range(1, CONTENTION_ATTEMPTS + 1):
            try:
                await self._commit(items)
            except Exception as error:
                if not is_contention(error) or attempt == CONTENTION_ATTEMPTS:
                    raise
                log.info("contention", type=self._type, error=type(error).__name__, attempt=attempt)
                await asyncio.sleep(0.01 * 2**attempt)
            else:
                return

    async def _commit(self, items: Sequence[Item]) -> None:
        started_ns = time.time_ns()
        now = self.around.now()
        async with self.around.pool.acquire(timeout=10) as connection, connection.transaction():
            fresh = await inbox.insert_handled(connection, [item.read.entry for item in items], now)
            new_items = self._first_of_each(items, fresh)
            if len(new_items) < len(items):
                new_items += await self._contradictions(connection, items, new_items, now)
            outgoing = await self._handle(connection, new_items, now)
        self._account(new_items, len(items) - len(new_items), started_ns)
        self._tell_committed(outgoing)

    @staticmethod
    def _first_of_each(items: Sequence[Item], fresh: set[inbox.Key]) -> list[Item]:
        left = set(fresh)
        first = []
        for item in items:
            if item.read.entry.key in left:
                left.discard(item.read.entry.key)
                first.append(item)
        return first

    async def _contradictions(self, connection: Connection, items: Sequence[Item], new_items: Sequence[Item], now: datetime) -> list[Item]:
        """Of what looks like a repetition, that which says something else under the same id, to be parked and answered."""
        new = {id(item) for item in new_items}
        repeated = [item for item in items if id(item) not in new and item.read.entry.content_digest is not None]
        if not repeated:
            return []
        known = await inbox.read_digests(connection, list({item.read.entry.key for item in repeated}))
        contradicting = [
            replace(item, read=self.reader.contradiction(item.read))
            for item in repeated
            if known.get(item.read.entry.key, item.read.entry.content_digest) != item.read.entry.content_digest
        ]
        if not contradicting:
            return []
        return self._first_of_each(contradicting, await inbox.insert_handled(connection, [item.read.entry for item in contradicting], now))

    async def _handle(self, connection: Connection, items: Sequence[Item], now: datetime) -> Sequence[Outgoing]:
        """Work and outbox of one transaction; messages that cannot be done now are marked as waiting in the same transaction."""
        transaction = Transaction(connection, now)
        contents = [item.read.content for item in items]
        messages = [content for content in contents if isinstance(content, Received)]
        unreadable = [content for content in contents if isinstance(content, Unreadable)]
        outgoing: list[Outgoing] = []
        if messages:
            outgoing.extend(await self.subscription.handler(transaction, messages))
        for problem in unreadable:
            transaction.parked[problem.event_id] = problem.reason
        if unreadable and self.subscription.answer_unreadable is not None:
            outgoing.extend(await self.subscription.answer_unreadable(transaction, unreadable))
        for message in outgoing:
            if isinstance(message.data, Refusal) and message.because is not None:
                transaction.parked.setdefault(message.because.event_id, message.data.detail)
        rows = self.around.outbox_rows(outgoing, now)
        if rows:
            await outbox.insert(connection, rows, now)
        waiting = [found for item in items if (found := self._waiting(transaction, item, now)) is not None]
        if waiting:
            await inbox.mark_waiting(connection, waiting, now)
        return outgoing

    def _waiting(self, transaction: Transaction, item: Item, now: datetime) -> Waiting | None:
        entry = item.read.entry
        parked = transaction.parked.get(entry.event_id)
        if parked is not None:
            self.around.metrics.handled.labels(self._type, "parked").inc()
            log.warning("message_parked", type=self._type, event_id=str(entry.event_id), reason=parked[:300])
            return Waiting(entry, parked, item.attempts + 1, None)
        deferred = transaction.deferred.get(entry.event_id)
        if deferred is not None:
            return self._deferral(item, deferred, now, limited=entry.event_id not in transaction.unlimited)
        return None

    def _deferral(self, item: Item, reason: str, now: datetime, *, limited: bool = True) -> Waiting:
        since = item.first_received_at or now
        if limited and now - since > timedelta(seconds=self.around.settings.deferral_seconds):
            self.around.metrics.handled.labels(self._type, "parked").inc()
            return Waiting(item.read.entry, f"waited since {since.isoformat()}: {reason}", item.attempts + 1, None)
        self.around.metrics.handled.labels(self._type, "deferred").inc()
        return Waiting(item.read.entry, reason, item.attempts + 1, inbox.next_try(now, item.attempts))

    async def _set_aside(self, item: Item, error: Exception) -> None:
        """The culprit of a failed batch: rolled back, so its inbox row is written now, as waiting or parked."""
        now = self.around.now()
        attempts = item.attempts + 1
        reason = f"{type(error).__name__}: {error}"[:2_000]
        if isinstance(error, NotYet):
            waiting = self._deferral(item, str(error), now)
        elif isinstance(error, Refused):
            waiting = Waiting(item.read.entry, str(error), attempts, None)
        elif attempts >= self.around.settings.error_attempts:
            waiting = Waiting(item.read.entry, f"failed {attempts} times, last with {reason}", attempts, None)
        else:
            waiting = Waiting(item.read.entry, reason, attempts, inbox.next_try(now, attempts))
        outcome = "parked" if waiting.due_at is None else "failed"
        self.around.metrics.handled.labels(self._type, outcome).inc()
        log.warning(
            "message_set_aside",
            type=self._type,
            event_id=str(item.read.entry.event_id),
            outcome=outcome,
            attempts=attempts,
            reason=waiting.reason[:300],
            exc_info=None if isinstance(error, NotYet | Refused) else error,
        )
        async with self.around.pool.acquire(timeout=10) as connection:
            await inbox.mark_waiting(connection, [waiting], now)

    def _tell_committed(self, outgoing: Sequence[Outgoing]) -> None:
        self.around.handled(self.subscription.message)
        if outgoing:
            self.around.committed()

    def _account(self, items: Sequence[Item], duplicates: int, started_ns: int) -> None:
        self.around.metrics.handled.labels(self._type, "done").inc(len(items))
        if duplicates:
            self.around.metrics.handled.labels(self._type, "duplicate").inc(duplicates)
        if self.around.recorder is not None:
            contents = [item.read.content for item in items]
            events = [
                HandledEvent(content.event_id, self._type, content.traceparent) for content in contents if isinstance(content, Received)
            ]
            if events:
                self.around.recorder.record_batch(new_id(), self._type, events, started_ns, "done")

    async def retry_due(self, limit: int) -> int:
        """Gives waiting messages of this type their next try; returns how many there were.

        They are claimed in the transaction that handles them, so two replicas never try the same one at once. When the batch fails, each is
        tried alone and the culprits wait longer or are parked.
        """
        claimed: list[Item] = []
        try:
            await self._retry(limit, claimed)
        except Exception as error:
            if is_unavailable(error) or not claimed:
                raise
            if len(claimed) == 1:
                await self._set_aside(claimed[0], error)
                return 1
            for _ in claimed:
                await self._retry_alone()
        return len(claimed)

    async def _retry_alone(self) -> None:
        claimed: list[Item] = []
        try:
            await self._retry(1, claimed)
        except Exception as error:
            if is_unavailable(error) or not claimed:
                raise
            await self._set_aside(claimed[0], error)

    async def _retry(self, limit: int, claimed: list[Item]) -> None:
        now = self.around.now()
        started_ns = time.time_ns()
        async with self.around.pool.acquire(timeout=10) as connection, connection.transaction():
            claimed.extend(self._item_of(row) for row in await inbox.claim_due(connection, [self._type], now, limit))
            if not claimed:
                return
            await inbox.mark_handled(connection, [item.read.entry.key for item in claimed], now)
            outgoing = await self._handle(connection, claimed, now)
        self._account(claimed, 0, started_ns)
        self._tell_committed(outgoing)

    def _item_of(self, row: Record) -> Item:
        """The row's own id stays what it is known by: of what was parked under an id made from its content, the body names another one."""
        read = self.reader.read(Delivery(row["body"], row["routing_key"]))
        entry = replace(read.entry, event_id=row["event_id"], source=row["source"])
        content = replace(read.content, event_id=row["event_id"])
        return Item(Read(entry, content), row["attempts"], row["received_at"])

    async def handle_now(self, delivery: Delivery) -> HandledNow:
        """Handles one message while its sender waits for the answer (HTTP). What cannot be done is rolled back and told, not kept."""
        item = Item(self.reader.read(delivery))
        for attempt in range(1, CONTENTION_ATTEMPTS + 1):
            try:
                outcome = await self._handle_now_once(item)
            except _RolledBack as rolled_back:
                return rolled_back.outcome
            except NotYet as error:
                return HandledNow("deferred", str(error), ())
            except Refused as error:
                return HandledNow("parked", str(error), ())
            except Exception as error:
                if not is_contention(error) or attempt == CONTENTION_ATTEMPTS:
                    raise
                await asyncio.sleep(0.01 * 2**attempt)
            else:
                self.around.handled(self.subscription.message)
                self.around.committed()
                return outcome
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def handle_together(self, deliveries: Sequence[Delivery]) -> Sequence[HandledNow]:
        """Like :meth:`handle_now`, several in one transaction. When one of them cannot be done, each is handled alone."""
        items = [Item(self.reader.read(delivery)) for delivery in deliveries]
        if len(items) > 1 and all(isinstance(item.read.content, Received) for item in items):
            try:
                outcomes = await self._handle_together_once(items)
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.info("handled_apart", type=self._type, messages=len(items), error=type(error).__name__)
            else:
                self.around.handled(self.subscription.message)
                self.around.committed()
                return outcomes
        return [await self.handle_now(delivery) for delivery in deliveries]

    async def _handle_together_once(self, items: Sequence[Item]) -> list[HandledNow]:
        now = self.around.now()
        started_ns = time.time_ns()
        messages = [item.read.content for item in items if isinstance(item.read.content, Received)]
        async with self.around.pool.acquire(timeout=10) as connection, connection.transaction():
            fresh = await inbox.insert_handled(connection, [item.read.entry for item in items], now)
            transaction = Transaction(connection, now)
            outgoing = await self.subscription.handler(transaction, messages) if len(fresh) == len(items) else ()
            if len(fresh) < len(items) or transaction.parked or transaction.deferred:
                raise NotYet("not all of these messages can be done now")
            rows = self.around.outbox_rows(outgoing, now)
            if rows:
                await outbox.insert(connection, rows, now)
        self._account(items, 0, started_ns)
        return [HandledNow("done", None, [said for said in outgoing if said.because is message]) for message in messages]

    async def _handle_now_once(self, item: Item) -> HandledNow:
        now = self.around.now()
        started_ns = time.time_ns()
        entry = item.read.entry
        async with self.around.pool.acquire(timeout=10) as connection, connection.transaction():
            if not await inbox.insert_handled(connection, [entry], now):
                return HandledNow("duplicate", None, ())
            message = item.read.content
            if isinstance(message, Unreadable):
                raise Refused(message.reason)
            transaction = Transaction(connection, now)
            outgoing = list(await self.subscription.handler(transaction, [message]))
            if message.event_id in transaction.parked:
                raise _RolledBack(HandledNow("parked", transaction.parked[message.event_id], outgoing))
            if message.event_id in transaction.deferred:
                raise _RolledBack(HandledNow("deferred", transaction.deferred[message.event_id], outgoing))
            rows = self.around.outbox_rows(outgoing, now)
            if rows:
                await outbox.insert(connection, rows, now)
        self._account([item], 0, started_ns)
        return HandledNow("done", None, outgoing)


@dataclass
class Batcher:
    """Gathers deliveries of one queue and processes them one batch at a time.

    ``acknowledge`` is called after the commit with the tokens of the batch, in the order in which they came.
    """

    process: Callable[[Sequence[Delivery]], Awaitable[None]]
    acknowledge: Callable[[Sequence[Any]], Awaitable[None]]
    limit: int

    def __post_init__(self) -> None:
        self._waiting: list[tuple[Delivery, Any]] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, delivery: Delivery, token: Any) -> None:
        """Adds one delivery; never blocks (the prefetch limit bounds how many there can be)."""
        self._waiting.append((delivery, token))
        self._idle.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[: self.limit], self._waiting[self.limit :]
            if not self._waiting:
                self._arrived.clear()
            if batch:
                await self.process([delivery for delivery, _ in batch])
                await self.acknowledge([token for _, token in batch])
            if not self._waiting:
                self._idle.set()

    async def drained(self) -> None:
        """Returns when everything that was put has been committed and acknowledged."""
        await self._idle.wait()
