"""The only wiring there is: pool, broker, subscriptions, schedules, errands, HTTP, telemetry, shutdown.

A service is a value: ``services/<name>/__main__.py`` lists its messages in and out, its schedules and routes, and calls ``main``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import asyncpg
import structlog
import uvloop
from aio_pika.abc import AbstractRobustChannel
from aiohttp import web
from faststream.rabbit import RabbitBroker
from yarl import URL

from shared.config import Settings, load_settings
from shared.contracts.base import Message
from shared.database import open_pool
from shared.errors import BadConfiguration
from shared.http import Route, build_application, build_runner, get, post, put
from shared.messaging import outbox
from shared.messaging.batching import Processor, Subscription, Surroundings, UnreadableHandler
from shared.messaging.consuming import AioPikaDriver, Driver, FastStreamDriver, Feed
from shared.messaging.message import Handler, ScheduledHandler
from shared.messaging.relay import Publisher, Relay
from shared.messaging.topology import queue_of
from shared.messaging.trouble import BROKER_TROUBLE, first_ended, losses_named
from shared.running import (
    Environment,
    Errand,
    Gauges,
    Schedule,
    run_errand,
    run_gauges,
    run_housekeeping,
    run_retries,
    run_schedule,
)
from shared.telemetry import Metrics, SpanRecorder, configure_logging

__all__ = ["Environment", "Errand", "Gauges", "Service", "consume", "every", "get", "post", "put"]

log = structlog.get_logger()

DataT = TypeVar("DataT", bound=Message)

HEARTBEAT_SECONDS = 10
PROBE_SECONDS = 3.0
GC_THRESHOLD = 50_000
"""Objects allocated before a collection; batches allocate thousands that die young."""


def consume(message: type[DataT], handler: Handler[DataT], *, answer_unreadable: UnreadableHandler | None = None) -> Subscription:
    """Message in -> handler."""
    return Subscription(message, handler, answer_unreadable)


def every(*, seconds: float, run: ScheduledHandler, woken_by: Sequence[type[Message]] = ()) -> Schedule:
    """Looks for due work at this interval, and right after messages of these types were handled."""
    return Schedule(seconds, run, tuple(woken_by))


def no_errands(_: Environment) -> Sequence[Errand[Any, Any]]:
    """For services that never call anybody."""
    return ()


@dataclass(frozen=True)
class Service:
    """The table of contents of one service."""

    name: str
    consumes: Sequence[Subscription]
    publishes: Sequence[type[Message]]
    settings: type[Settings] = Settings
    schedules: Sequence[Schedule] = ()
    errands: Callable[[Environment], Sequence[Errand[Any, Any]]] = no_errands
    routes: Sequence[Route] = ()
    gauges: Sequence[Gauges] = ()

    def main(self) -> None:
        """Command line of ``python -m services.<name>``: runs until SIGTERM or SIGINT, or republishes and ends."""
        parser = argparse.ArgumentParser(prog=f"python -m services.{self.name}", description=f"The {self.name} service of Ordermesh.")
        actions = parser.add_subparsers(dest="action", metavar="ACTION")
        actions.add_parser("run", help="run the service (the default)")
        republish = actions.add_parser("republish", help="send outbox messages again, to refill a broker that lost its queues")
        republish.add_argument("--since", required=True, type=_instant, help="RFC 3339 time, e.g. 2026-01-31T10:00:00Z")
        arguments = parser.parse_args()
        try:
            settings = load_settings(self.settings)
            if arguments.action == "republish":
                uvloop.run(_republish(self, settings, arguments.since))
            else:
                uvloop.run(_Runtime(self, settings).run())
        except BadConfiguration as error:
            print(error, file=sys.stderr)
            sys.exit(2)


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _republish(service: Service, settings: Settings, since: datetime) -> None:
    pool = await open_pool(settings.database_url, application_name=f"{service.name}-republish", size=2, command_timeout_seconds=600)
    async with pool, pool.acquire() as connection:
        count = await outbox.mark_unsent_since(connection, since)
    print(f"{service.name}: {count} messages since {since.isoformat()} go out again through the running service's relay")


@dataclass
class _Runtime:
    """One running process of a service."""

    service: Service
    settings: Settings
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    wakes: list[tuple[tuple[type[Message], ...] | None, asyncio.Event]] = field(default_factory=list)
    probe_channel: AbstractRobustChannel | None = None
    missing_consumers: list[str] = field(default_factory=list)
    broker_away: bool = True

    async def run(self) -> None:
        configure_logging(self.service.name, self.settings.log_level)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        async with AsyncExitStack() as stack:
            await self._start(stack)
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            log.info("started", driver=self.settings.consumer_driver)
            await self._until_stopped()
            await self._drain()
        log.info("stopped")

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        pool = await open_pool(
            settings.database_url,
            application_name=self.service.name,
            size=settings.pool_size,
            command_timeout_seconds=settings.command_timeout_seconds,
        )
        stack.push_async_callback(self._close_pool, pool)
        recorder = SpanRecorder(self.service.name, settings.otlp_endpoint) if settings.otlp_endpoint else None
        if recorder is not None:
            stack.callback(recorder.close)
        self.around = Surroundings(
            service=self.service.name,
            pool=pool,
            settings=settings,
            metrics=Metrics(self.service.name),
            now=lambda: datetime.now(UTC) + timedelta(seconds=settings.clock_offset_seconds),
            committed=self._committed,
            handled=self._handled,
            recorder=recorder,
        )
        self.relay = Relay(
            self.around,
            Publisher(self._amqp_url(), name=f"{self.service.name} relay", timeout_seconds=settings.publish_timeout_seconds),
        )
        processors = [Processor(subscription, self.around) for subscription in self.service.consumes]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        environment = Environment(self.around, session, {item.subscription.message.type: item for item in processors})
        await self._start_http(stack, environment)
        await self._start_broker(stack, processors)
        self._start_work(environment, processors)

    def _amqp_url(self) -> str:
        url = URL(self.settings.amqp_url)
        return str(url.update_query({"heartbeat": str(HEARTBEAT_SECONDS), "name": self.service.name}))

    async def _start_http(self, stack: AsyncExitStack, environment: Environment) -> None:
        application = build_application(environment, self.service.routes, live=self._live, ready=self._ready)
        runner = build_runner(application, shutdown_seconds=2.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self.settings.http_host, self.settings.http_port).start()

    async def _start_broker(self, stack: AsyncExitStack, processors: Sequence[Processor]) -> None:
        self.broker = RabbitBroker(
            self._amqp_url(),
            apply_types=False,
            logger=None,
            reconnect_interval=1.0,
            graceful_timeout=self.settings.shutdown_seconds,
        )
        stack.push_async_callback(self._close_broker)
        feeds = [Feed(queue_of(self.service.name, item.subscription.message), item) for item in processors]
        size = self.settings.batch_messages
        prefetch = size * self.settings.prefetch_batches
        self.driver: Driver = (
            FastStreamDriver(self.broker, feeds, size, prefetch)
            if self.settings.consumer_driver == "faststream"
            else AioPikaDriver(self.broker, feeds, size, prefetch)
        )
        await self._when_broker_answers(self.driver.start)
        self.broker_away = False

    async def _when_broker_answers(self, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A service may start before its broker: it stays alive and unready and keeps trying."""
        told = False
        while not self.stopping.is_set():
            try:
                with losses_named():
                    await start()
            except BROKER_TROUBLE as error:
                if not told:
                    log.warning("broker_away", error=type(error).__name__, detail=str(error)[:200])
                    told = True
                await asyncio.sleep(1.0)
            else:
                return

    def _start_work(self, environment: Environment, processors: Sequence[Processor]) -> None:
        self._spawn(self.relay.run(), "relay")
        self._spawn(run_retries(self.around, processors), "retries")
        self._spawn(run_housekeeping(self.around), "housekeeping")
        self._spawn(run_gauges(self.around, self.service.gauges), "gauges")
        self._spawn(self._watch_consumers(), "consumer watch")
        for schedule in self.service.schedules:
            wake = asyncio.Event()
            self.wakes.append((schedule.woken_by, wake))
            self._spawn(run_schedule(self.around, schedule, wake), f"schedule {schedule.run}")
        for errand in self.service.errands(environment):
            wake = asyncio.Event()
            self.wakes.append((errand.woken_by, wake))
            self._spawn(run_errand(self.around, errand, wake), f"errand {errand.name}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))

    def _committed(self) -> None:
        self.relay.wake()
        for woken_by, wake in self.wakes:
            if woken_by is None:
                wake.set()

    def _handled(self, message: type[Message]) -> None:
        for woken_by, wake in self.wakes:
            if woken_by is not None and message in woken_by:
                wake.set()

    async def _until_stopped(self) -> None:
        """Waits for the signal; a worker that ends by a mistake ends the process, so that the platform starts a fresh one."""
        while not self.stopping.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await self.stopping.wait()
            except TimeoutError:
                failure = self.driver.failed() or first_ended(self.tasks)
                if failure is not None:
                    log.error("worker_died", error=type(failure).__name__, detail=str(failure)[:300], exc_info=failure)
                    raise SystemExit(1) from failure

    async def _drain(self) -> None:
        """Takes no more deliveries, commits and acknowledges what was taken, publishes what the outbox holds."""
        log.info("draining")
        try:
            async with asyncio.timeout(self.settings.shutdown_seconds):
                await self.driver.stop()
                await self.driver.drained()
        except TimeoutError:
            log.warning("drain_timeout")
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.relay.flush(5.0)

    async def _close_broker(self) -> None:
        try:
            async with asyncio.timeout(5.0):
                with losses_named():
                    await self.broker.stop()
        except BROKER_TROUBLE as error:
            log.info("broker_close", error=type(error).__name__)

    @staticmethod
    async def _close_pool(pool: Any) -> None:
        try:
            async with asyncio.timeout(5.0):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def _watch_consumers(self) -> None:
        """Asks the broker, not ourselves, whether somebody consumes each of our queues."""
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS * 2):
                    with losses_named():
                        self.missing_consumers = await self._queues_without_consumer()
                self.broker_away = False
            except BROKER_TROUBLE as error:
                self.probe_channel = None
                self.broker_away = True
                log.info("consumer_watch", error=type(error).__name__)
            self.around.metrics.ready.set(0 if await self._ready() else 1)
            await asyncio.sleep(PROBE_SECONDS)

    async def _queues_without_consumer(self) -> list[str]:
        if self.probe_channel is None or self.probe_channel.is_closed:
            connection = await self.broker.connect()
            self.probe_channel = await connection.channel(publisher_confirms=False)
        missing = []
        for subscription in self.service.consumes:
            name = queue_of(self.service.name, subscription.message)
            channel = await self.probe_channel.get_underlay_channel()
            declared = await channel.queue_declare(name, passive=True)
            if not declared.consumer_count:
                missing.append(name)
        return missing

    async def _live(self) -> dict[str, str]:
        return {}

    async def _ready(self) -> dict[str, str]:
        problems = {}
        if self.stopping.is_set():
            problems["process"] = "stopping"
        if self.broker_away or self.relay.broker_away:
            problems["broker"] = "does not answer"
        if self.missing_consumers:
            problems["consumers"] = f"nobody consumes {', '.join(self.missing_consumers)}"
        try:
            async with asyncio.timeout(2.0):
                await self.around.pool.fetchval("SELECT 1 FROM migrations LIMIT 1")
        except (OSError, TimeoutError) as error:
            problems["database"] = type(error).__name__
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            problems["database"] = f"{type(error).__name__}: {error}"[:200]
        return problems
