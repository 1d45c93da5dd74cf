"""Work that is not started by a message: schedules, errands to the outside world, retries, housekeeping.

Everything due is rows with ``due_at``; these loops only ask for it. They survive a database or network outage and say so once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import aiohttp
import structlog

from shared.contracts.base import Message
from shared.database import Pool, is_contention, is_unavailable
from shared.messaging import inbox, outbox
from shared.messaging.batching import HandledNow, Processor, Surroundings
from shared.messaging.gathering import Gatherer
from shared.messaging.message import Connection, Outgoing, ScheduledHandler, Transaction
from shared.messaging.reading import Delivery
from shared.telemetry import Measured

log = structlog.get_logger()

TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")

OUTAGE_PAUSE_SECONDS = 1.0
RETRY_POLL_SECONDS = 0.2
GAUGE_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 3600.0
REST_PER_STEP = 1.0
LONGEST_REST_SECONDS = 1.0
PARTITION_DAYS_AHEAD = 3


@dataclass(frozen=True)
class Schedule:
    """Work that is looked for at a fixed interval.

    One that is ``woken_by`` messages is also looked for right after these were handled, and again soon as long as it had something to say:
    for work that is cut into steps so that it does not hold others up. Between two steps it rests as long as the last one took, so that it
    never takes more than half of the time, and less when the others are busy.
    """

    seconds: float
    run: ScheduledHandler
    woken_by: tuple[type[Message], ...] = ()


@dataclass(frozen=True)
class Gauges:
    """Prometheus gauges of one service, read together from its tables. ``names`` maps each to what it means."""

    names: Mapping[str, str]
    labels: tuple[str, ...]
    read: Callable[[Connection, datetime], Awaitable[Sequence[Measured]]]


@dataclass(frozen=True)
class Errand(Generic[TaskT, OutcomeT]):
    """Work that must talk to the network, in three steps, so that no transaction waits for a stranger.

    ``claim`` takes due rows in a short transaction and moves their ``due_at`` forward as a lease; ``perform`` does one of them outside of
    any transaction and turns every expected failure into an outcome; ``settle`` records the outcomes and says what there is to say. A
    process that dies in between leaves the lease to expire: ``perform`` must be safe to repeat.
    """

    name: str
    claim: Callable[[Transaction, int], Awaitable[Sequence[TaskT]]]
    perform: Callable[[TaskT], Awaitable[OutcomeT]]
    settle: Callable[[Transaction, Sequence[tuple[TaskT, OutcomeT]]], Awaitable[Sequence[Outgoing]]]
    poll_seconds: float = 0.5
    concurrency: int = 16
    woken_by: tuple[type[Message], ...] | None = None
    """Messages after whose handling there may be something due at once; None: whenever this process has said something. Looking costs a
    transaction, so an errand that knows its causes should name them."""


class Environment:
    """What routes and errands of one service can use."""

    def __init__(self, around: Surroundings, http: aiohttp.ClientSession, processors: dict[str, Processor]) -> None:
        self._around = around
        self._processors = processors
        self._gatherers: dict[str, Gatherer[Delivery, HandledNow]] = {}
        self.http = http

    @property
    def database(self) -> Pool:
        """The connection pool of this service's own role."""
        return self._around.pool

    @property
    def settings(self) -> Any:
        """The service's settings; a service with settings of its own knows their class."""
        return self._around.settings

    @property
    def around(self) -> Surroundings:
        """What the runtime's own pages use."""
        return self._around

    def now(self) -> datetime:
        """The service's clock."""
        return self._around.now()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PublishingTransaction]:
        """A transaction whose messages go to the outbox with it."""
        async with self._around.pool.acquire(timeout=10) as connection, connection.transaction():
            transaction = PublishingTransaction(connection, self._around.now())
            yield transaction
            await write_outbox(self._around, transaction, transaction.published)
        self._around.committed()

    async def handle_now(self, message_type: str, delivery: Delivery) -> HandledNow | None:
        """Runs the handler of a message while its sender waits; None when this service does not consume the type."""
        processor = self._processors.get(message_type)
        return None if processor is None else await processor.handle_now(delivery)

    async def handle_together(self, message_type: str, delivery: Delivery) -> HandledNow | None:
        """Like :meth:`handle_now`, in one transaction with whatever of this type came while the last one ran: for what comes often."""
        processor = self._processors.get(message_type)
        if processor is None:
            return None
        gatherer = self._gatherers.get(message_type)
        if gatherer is None:
            gatherer = self._gatherers[message_type] = Gatherer(processor.handle_together, self._around.settings.batch_messages)
        return await gatherer.ask(delivery)


class PublishingTransaction(Transaction):
    """A transaction of a route, which says what it has to say through ``publish``."""

    __slots__ = ("published",)

    def __init__(self, connection: Any, now: datetime) -> None:
        super().__init__(connection, now)
        self.published: list[Outgoing] = []

    def publish(self, *outgoing: Outgoing) -> None:
        """Adds messages to the outbox of this transaction."""
        self.published.extend(outgoing)


async def write_outbox(around: Surroundings, transaction: Transaction, outgoing: Sequence[Outgoing]) -> None:
    """Writes messages of one transaction to its outbox."""
    rows = around.outbox_rows(outgoing, transaction.now)
    if rows:
        await outbox.insert(transaction.connection, rows, transaction.now)


async def _steadily(name: str, work: Callable[[], Awaitable[bool]], pause: Callable[[], Awaitable[None]]) -> None:
    """Repeats work for ever; ``work`` says whether there may be more at once. Outages pause it, mistakes are logged, neither ends it."""
    troubled = False
    while True:
        try:
            more = await work()
            troubled = False
        except Exception as error:
            more = False
            if not is_unavailable(error) and not is_contention(error):
                log.exception("work_failed", name=name)
            elif not troubled:
                log.warning("work_waits", name=name, error=type(error).__name__)
            troubled = True
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
        if not more:
            await pause()


async def _sleep_until(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


async def run_schedule(around: Surroundings, schedule: Schedule, wake: asyncio.Event) -> None:
    """Looks for due work of one schedule until cancelled."""

    async def work() -> bool:
        wake.clear()
        began = time.monotonic()
        async with around.pool.acquire(timeout=10) as connection, connection.transaction():
            transaction = Transaction(connection, around.now())
            outgoing = await schedule.run(transaction)
            await write_outbox(around, transaction, outgoing)
        if outgoing:
            around.committed()
        if not (transaction.more_is_due or (outgoing and schedule.woken_by)):
            return False
        await asyncio.sleep(min(LONGEST_REST_SECONDS, REST_PER_STEP * (time.monotonic() - began)))
        return True

    await _steadily(getattr(schedule.run, "__name__", "schedule"), work, lambda: _sleep_until(wake, schedule.seconds))


async def run_errand(around: Surroundings, errand: Errand[Any, Any], wake: asyncio.Event) -> None:
    """Claims, performs and settles one kind of errand until cancelled. Several are under way at once; the database is asked in sets."""

    async def perform(task: Any) -> tuple[Any, Any]:
        return task, await errand.perform(task)

    async def work() -> bool:
        wake.clear()
        async with around.pool.acquire(timeout=10) as connection, connection.transaction():
            tasks = await errand.claim(Transaction(connection, around.now()), errand.concurrency)
        if not tasks:
            return False
        results = await asyncio.gather(*(perform(task) for task in tasks), return_exceptions=True)
        done = [result for result in results if not isinstance(result, BaseException)]
        for failure in results:
            if isinstance(failure, BaseException):
                log.error("errand_failed", name=errand.name, error=type(failure).__name__, detail=str(failure)[:300])
        around.metrics.errands.labels(errand.name, "settled").inc(len(done))
        around.metrics.errands.labels(errand.name, "failed").inc(len(results) - len(done))
        if done:
            async with around.pool.acquire(timeout=10) as connection, connection.transaction():
                transaction = Transaction(connection, around.now())
                await write_outbox(around, transaction, await errand.settle(transaction, done))
            around.committed()
        return len(tasks) >= errand.concurrency

    await _steadily(errand.name, work, lambda: _sleep_until(wake, errand.poll_seconds))


async def run_retries(around: Surroundings, processors: Sequence[Processor]) -> None:
    """Gives waiting messages their next try until cancelled: one cheap question for all types, then only the types that have some."""
    by_type = {processor.subscription.message.type: processor for processor in processors}

    async def work() -> bool:
        async with around.pool.acquire(timeout=10) as connection:
            due = await inbox.due_types(connection, around.now())
        tried = 0
        for message_type in due:
            if message_type in by_type:
                tried += await by_type[message_type].retry_due(around.settings.batch_messages)
        return tried > 0

    await _steadily("retries", work, lambda: asyncio.sleep(RETRY_POLL_SECONDS))


async def run_housekeeping(around: Surroundings) -> None:
    """Makes the partitions of the coming days and drops those whose retention is over, hourly, until cancelled."""

    async def work() -> bool:
        async with around.pool.acquire(timeout=10) as connection:
            changed = await connection.fetchval(
                "SELECT maintain_partitions($1, $2, $3)",
                around.now().date(),
                PARTITION_DAYS_AHEAD,
                around.settings.retention_days,
            )
        if changed:
            log.info("partitions_changed", tables=changed)
        return False

    await _steadily("housekeeping", work, lambda: asyncio.sleep(HOUSEKEEPING_SECONDS))


def declare_gauges(around: Surroundings, gauges: Sequence[Gauges]) -> None:
    """Adds the service's own gauges to its metrics."""
    for own in gauges:
        for name, documentation in own.names.items():
            around.metrics.declare(name, documentation, own.labels)


async def measure_gauges(around: Surroundings, gauges: Sequence[Gauges]) -> None:
    """Reads what waits, and what the service's own gauges show, and sets the metrics."""
    async with around.pool.acquire(timeout=10) as connection:
        waiting = await inbox.count_waiting(connection)
        unsent = await outbox.count_unsent(connection)
        measured = [value for own in gauges for value in await own.read(connection, around.now())]
    for status, count in waiting.items():
        around.metrics.waiting.labels(status).set(count)
    around.metrics.unsent.set(unsent)
    around.metrics.measure(measured)


async def run_gauges(around: Surroundings, gauges: Sequence[Gauges] = ()) -> None:
    """Keeps the metrics of what waits, and the service's own, up to date until cancelled."""
    declare_gauges(around, gauges)

    async def work() -> bool:
        await measure_gauges(around, gauges)
        return False

    await _steadily("gauges", work, lambda: asyncio.sleep(GAUGE_SECONDS))
