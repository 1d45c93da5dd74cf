"""The demo from the first registration to the report, on a stack that runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from deploy.local.demo import books
from deploy.local.demo.counterparts import Json, Operator, Simulators
from deploy.local.demo.day import SUPPLY_AFTER_SHARE, Day, DayLog
from deploy.local.demo.draining import drain, wait_for_channels
from deploy.local.demo.progress_bar import ProgressBar
from deploy.local.demo.report import DemoReport, Percentiles, ShippingCost, compare_cost, input_rows_of, percentiles_of
from deploy.local.demo.routing_scenes import RoutingScenes
from deploy.local.demo.scenery import preorder_of, set_up
from deploy.local.demo.scenes import SceneOutcome, Scenes
from deploy.local.demo.stage import Stage
from deploy.local.demo.wishes import Wishes
from deploy.local.failure import LocalStackError
from deploy.local.process_table import CHANNELS, THIRD_PARTY_LOGISTICS
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.stack import Stack
from services.sync.decide.stock import percentile_ms
from shared.messaging.topology.names import partner_user_of
from simulators.adapter.opening_stock import DeclaredStock, Warehouse, declare_stock, warehouses
from simulators.adapter.publisher import Adapters
from simulators.adapter.replay import REFUSED_LABELS, Replay
from simulators.adapter.sources import move_in_time

SET_UP_SECONDS = 120.0
DRAIN_SECONDS = 120.0
AUDIT_WAIT_SECONDS = 60
DECISIONS_MADE_AGAIN = re.compile(r"^([\d,]+) of ([\d,]+) decisions came out as they were recorded, byte for byte", re.MULTILINE)

THIRD_PARTY_BEHAVIOUR: Mapping[str, object] = {
    "accept_delay_seconds": 1.5,
    "label_delay_seconds": 0.5,
    "ship_delay_seconds": 0.5,
    "deliver_delay_seconds": 1.0,
    "jitter": 0.5,
    "reject_rate": 0.015,
    "short_pick_rate": 0.02,
    "silent_rate": 0.01,
    "duplicate_rate": 0.03,
}
CHANNEL_BEHAVIOUR: Mapping[str, object] = {
    "error_rate": 0.05,
    "timeout_after_success_rate": 0.1,
    "hold_seconds": 1.0,
    "calls": ["refunds", "fulfillments"],
}
"""Channels lose some answers about money and parcels: nothing may happen twice because of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replayed, and how fast. ``started`` is the monotonic time at which the whole demo began."""

    replay: Replay
    wishes: Wishes
    seed: int
    seconds: float
    started: float


@dataclass(frozen=True, slots=True)
class _DayFigures:
    """What the day itself came to, read before the scenes add to it."""

    journey: books.Journey
    returns: books.ReturnsBooks
    supply: books.SupplyBooks
    pushed: Mapping[int, int]
    duplicates: Mapping[str, int]
    orders_in: int
    rejected: int
    not_taken: int
    units_shipped: int
    messages_published: int
    request_latency: Percentiles
    shipping_cost: ShippingCost


async def run_demo(stack: Stack, processes: Processes, plan: Plan) -> DemoReport:
    """Registers everything, replays the day, waits for rest, lets parcels come back, audits, reports.

    Raises:
        LocalStackError: something that the demo needs does not answer, or refuses.
        NotPublishedError: the broker does not take orders.
    """
    async with AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession())
        connection = await asyncpg.connect(stack.postgres.url)
        exits.push_async_callback(connection.close)
        if not await books.is_empty(connection):
            raise LocalStackError("the demo needs empty books, and this database has orders: give it a fresh one")
        run = _Run(stack, processes, plan, session, connection)
        exits.push_async_callback(run.adapters.close)
        for channel in run.channels:
            await exits.enter_async_context(run.adapters.adapter(channel).listening())
        return await run.through()


class _Run:
    """One demo under way."""

    def __init__(
        self, stack: Stack, processes: Processes, plan: Plan, session: aiohttp.ClientSession, connection: books.Connection
    ) -> None:
        self.stack = stack
        self.processes = processes
        self.plan = plan
        self.session = session
        self.connection = connection
        here = processes.surroundings
        self.channels = plan.replay.channels or list(CHANNELS[:1])
        self.warehouses: Sequence[Warehouse] = warehouses(THIRD_PARTY_LOGISTICS)
        self.operator = Operator(session, processes.url("portal"), here.secret("operator_token"))
        self.simulators = Simulators(
            session, third_parties_url=processes.url("third_party_logistics"), channels_url=processes.url("channels")
        )
        self.adapters = Adapters({channel: here.amqp_url(partner_user_of("channel", channel)) for channel in CHANNELS})
        self.day = Day(self.operator, self.simulators, self.adapters, self.warehouses, plan.seed)
        channel = self.channels[0]
        channel_url = here.amqp_url(partner_user_of("channel", channel))
        self.stage = Stage(self.operator, self.simulators, self.adapters.adapter(channel), channel_url, plan.seed)
        partner_urls = {code: here.amqp_url(partner_user_of("3pl", code)) for code in THIRD_PARTY_LOGISTICS}
        self.scenes = Scenes(self.stage, self.warehouses, partner_urls)
        self.routing_scenes = RoutingScenes(self.stage, self.warehouses)
        self.bar = ProgressBar(len(plan.replay.good_orders))
        self.notes: list[str] = []
        self.preorder_sku: str | None = None

    async def through(self) -> DemoReport:
        """All of it, step by step."""
        await self._set_the_scene()
        pushed_before = await books.read_latency_buckets(self.connection)
        replay_started = time.monotonic()
        await self._replay()
        replay_seconds = time.monotonic() - replay_started
        not_at_rest = await self._drain("the day is over")
        await self._bring_back()
        not_at_rest = await self._drain("returns are in") or not_at_rest
        self.bar.end()
        figures = await self._read_day()
        with self.stack.progress.step("Scenes") as step:
            outcomes = [*await self.scenes.play(), *await self.routing_scenes.play()]
            not_at_rest = await self._drain("the scenes are over") or not_at_rest
            step.result = f"{sum(outcome.passed for outcome in outcomes)} of {len(outcomes)} ended as they must"
        audit = await asyncio.to_thread(self._audit)
        decisions = await asyncio.to_thread(self._decide_again)
        return await self._report(figures, outcomes, pushed_before, replay_seconds, not_at_rest, audit, decisions)

    async def _set_the_scene(self) -> None:
        with self.stack.progress.step("Catalogue and opening stock") as step:
            replay = self.plan.replay
            stock = self.stock = declare_stock(replay, self.warehouses, self.plan.seed)
            self.preorder_sku = preorder_of(replay, stock)
            await self.simulators.behave(**THIRD_PARTY_BEHAVIOUR)
            self.trucks = await set_up(
                self.operator,
                self.simulators,
                replay=replay,
                warehouses=self.warehouses,
                stock=stock,
                channels=self.channels,
                supply_after=timedelta(seconds=self.plan.seconds * SUPPLY_AFTER_SHARE),
            )
            listings = len(self.channels) * len(replay.catalogue)
            late = await wait_for_channels(self.connection, listings=listings, timeout_seconds=SET_UP_SECONDS)
            if late:
                self.notes.append(f"the replay began although {late}")
            for channel in self.channels:
                await self.simulators.channel_behaves(channel, **CHANNEL_BEHAVIOUR)
            units = sum(line.quantity for line in stock.opening)
            step.result = f"{len(replay.catalogue):,} SKUs, {units:,} units at {len(self.warehouses)} locations"

    async def _replay(self) -> None:
        """The orders, with a progress bar beside them."""
        duration = timedelta(seconds=self.plan.seconds)
        if self.preorder_sku is not None:
            await self.day.open_preorder(self.preorder_sku, duration)
        orders = move_in_time(self.plan.replay.orders, datetime.now(UTC) + timedelta(seconds=0.5), self.plan.seconds)
        watching = asyncio.create_task(self._watch())
        try:
            await self.day.replay(orders, self.plan.wishes, self.trucks, duration)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        connection = await asyncpg.connect(self.stack.postgres.url)
        try:
            while True:
                self._show(await books.read_journey(connection), "")
                await asyncio.sleep(0.5)
        finally:
            await connection.close()

    def _show(self, journey: books.Journey, words: str) -> None:
        waiting = sum(journey.waiting.get(reason, 0) for reason in books.ORDERS_AT_REST)
        self.bar.show(
            journey.shipped + journey.cancelled + waiting,
            f"{len(self.day.log.sent):,} in, {journey.taken:,} taken, {journey.requested:,} at 3PLs, {journey.shipped:,} shipped, "
            f"{journey.cancelled:,} cancelled, {waiting:,} waiting  {words}",
        )

    async def _drain(self, when: str) -> str:
        moving = await drain(
            self.connection,
            not_taken=self._not_taken,
            timeout_seconds=DRAIN_SECONDS,
            show=self._show,
        )
        return f"{when}, but after {DRAIN_SECONDS:.0f} s: {moving}" if moving else ""

    async def _bring_back(self) -> None:
        """What comes back; meanwhile the scenes are set, one of which needs a hold that has had time to expire."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.day.bring_back(self.plan.wishes.returns))
                tasks.create_task(self.scenes.set_up())
                tasks.create_task(self.routing_scenes.set_up())
        except ExceptionGroup as group:
            raise _first_of(group) from group

    def _not_taken(self, journey: books.Journey) -> int:
        """Deliveries of which nobody has said yet whether they are orders. One that came twice needs no second answer."""
        repeated = sum(order.label == "duplicate" for order in self.plan.replay.orders)
        return len(self.day.log.sent) + len(self.stage.sent) - repeated - journey.taken - self._rejections()

    def _rejections(self) -> int:
        return sum(len(rejections) for adapter in self.adapters.by_channel.values() for rejections in adapter.rejections.values())

    def _rejections_expected(self) -> int:
        return sum(order.label in REFUSED_LABELS for order in self.plan.replay.orders)

    def _audit(self) -> Json:
        """The auditor as a command of its own, as `make audit` runs it.

        Raises:
            LocalStackError: it could not run.
        """
        file = self.stack.directory / "audit.json"
        with self.stack.progress.step("Audit") as step:
            finished = subprocess.run(
                [sys.executable, "-m", "shared.audit", "--wait", str(AUDIT_WAIT_SECONDS), "--json", str(file)],
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), **self.stack.environment(), **self.processes.environment()},
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                check=False,
            )
            if finished.returncode not in (0, 1) or not file.exists():
                raise LocalStackError(f"the audit could not run:\n{finished.stdout[-2_000:]}\n{finished.stderr[-2_000:]}")
            content: Json = json.loads(Path(file).read_text())
            step.result = f"{len(content['checks'])} checks, {content['violations']} violations"
        return content

    def _decide_again(self) -> tuple[int, int]:
        """Routing's decisions made again, as `make replay` does: how many there are, and how many did not come out as recorded.

        Raises:
            LocalStackError: it could not run.
        """
        with self.stack.progress.step("Decisions made again") as step:
            finished = subprocess.run(
                [sys.executable, "-m", "services.routing.replay", "--last", "1000000"],
                env=self.processes.environment_of("routing"),
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                check=False,
            )
            counted = DECISIONS_MADE_AGAIN.search(finished.stdout)
            if counted is None:
                raise LocalStackError(f"decisions could not be made again:\n{finished.stdout[-2_000:]}\n{finished.stderr[-2_000:]}")
            step.result = counted.group()
        same, decisions = (int(number.replace(",", "")) for number in counted.groups())
        return decisions, decisions - same

    async def _read_day(self) -> _DayFigures:
        connection, log = self.connection, self.day.log
        journey = await books.read_journey(connection)
        rejected = self._rejections()
        shelves = await self.simulators.shelves()
        return _DayFigures(
            journey=journey,
            returns=await books.read_returns(connection),
            supply=await books.read_supply(connection, self.preorder_sku),
            pushed=await books.read_latency_buckets(connection),
            duplicates=await self._duplicates(len(log.sent) - journey.taken - rejected),
            orders_in=len(log.sent),
            rejected=rejected,
            not_taken=self._not_taken(journey),
            units_shipped=sum(row["shipped"] for row in shelves),
            messages_published=await books.read_messages_published(connection),
            request_latency=await self._request_latency(log),
            shipping_cost=compare_cost(await books.read_decisions(connection), [warehouse.code for warehouse in self.warehouses]),
        )

    async def _report(
        self,
        figures: _DayFigures,
        scenes: Sequence[SceneOutcome],
        pushed_before: Mapping[int, int],
        replay_seconds: float,
        not_at_rest: str,
        audit: Json,
        decisions: tuple[int, int],
    ) -> DemoReport:
        """The day's figures, and what must be right of everything: shelves, parked messages and the audit are read after the scenes."""
        replay, wishes, journey = self.plan.replay, self.plan.wishes, figures.journey
        parked = await books.read_parked(self.connection)
        shelves = await self.simulators.shelves()
        lost = journey.taken - journey.shipped - journey.cancelled - sum(journey.waiting.values())
        return DemoReport(
            source=replay.name,
            seed=self.plan.seed,
            inputs_digest=digest_of_inputs(replay, wishes, self.stock),
            currency=replay.currency,
            orders_in=figures.orders_in,
            orders_taken=journey.taken,
            orders_rejected=figures.rejected,
            orders_rejected_expected=self._rejections_expected(),
            orders_shipped=journey.shipped,
            orders_waiting=dict(journey.waiting),
            orders_cancelled=journey.cancelled,
            orders_unaccounted=abs(figures.not_taken) + abs(lost),
            units_oversold=sum(max(0, row["shipped"] - row["received"] - row["adjusted"] + row["missing"]) for row in shelves),
            units_shipped=figures.units_shipped,
            shelf_differences=shelf_differences(await books.read_shelves(self.connection), shelves),
            messages_published=figures.messages_published,
            messages_parked=sum(parked.values()),
            messages_parked_by_type=parked,
            duplicates_stopped=sum(figures.duplicates.values()),
            duplicates_stopped_by_kind=figures.duplicates,
            audit_violations=audit["violations"],
            audit_violated=_violated(audit),
            decisions_recorded=decisions[0],
            decisions_different=decisions[1],
            supply=figures.supply,
            scenes=scenes,
            returns_closed=figures.returns.returns_closed,
            refunds=figures.returns.refunds,
            refunds_failed=figures.returns.refunds_failed,
            refunds_cents_by_currency=figures.returns.refunds_cents,
            channel_push_latency_ms=_latency(pushed_before, figures.pushed),
            placed_to_fulfillment_request_ms=figures.request_latency,
            orders_per_second=round(journey.taken / replay_seconds, 2),
            replay_seconds=round(replay_seconds, 1),
            wall_seconds=round(time.monotonic() - self.plan.started, 1),
            shipping_cost=figures.shipping_cost,
            wishes=dict(self.day.log.outcomes),
            wishes_simulated=wishes.simulated,
            wishes_of_input=wishes.of_input,
            input_rows=input_rows_of(replay),
            assumptions=[
                *replay.assumptions,
                "Opening stock and supplies are declared by the demo, so everything about stock is simulated.",
                f"Shoppers' wishes: {wishes.describe()}",
            ],
            not_at_rest=not_at_rest,
            notes=self.notes,
        )

    async def _request_latency(self, log: DayLog) -> Percentiles:
        """From the adapter's publish to the 3PL's first sight of the pick list, for orders that never waited for stock."""
        short = await books.read_ever_short(self.connection)
        first_seen: dict[str, float] = {}
        for row in await self.simulators.fulfillments():
            seen = datetime.fromisoformat(row["first_requested_at"]).timestamp()
            first_seen[row["order_number"]] = min(seen, first_seen.get(row["order_number"], seen))
        return percentiles_of(
            [
                1_000 * (first_seen[item.order.external_id] - item.sent_at.timestamp())
                for item in log.sent
                if item.order.label == "good" and item.order.external_id in first_seen and item.order.external_id not in short
            ]
        )

    async def _duplicates(self, orders_again: int) -> dict[str, int]:
        """What came twice and was done once, by kind: orders that a channel delivered again, and messages the inboxes knew already."""
        by_kind: Counter[str] = Counter({"orders delivered again": max(0, orders_again)})
        for service in books.SERVICES:
            async with self.session.get(f"{self.processes.url(service)}/metrics") as answer:
                by_kind["messages delivered again"] += count_duplicates(await answer.text())
        state = await self.simulators.third_party_state()
        by_kind["answers that 3PLs repeated"] = sum(totals["statistics"].get("duplicates_said", 0) for totals in state.values())
        return dict(by_kind)


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first error in a group of groups: what a person is told."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first


def digest_of_inputs(replay: Replay, wishes: Wishes, stock: DeclaredStock) -> str:
    """A short name of everything that a run is given, times of delivery included: the same seed and file give the same one."""
    given = (
        [(order.channel, order.external_id, order.label, order.arrives_at.isoformat(), order.content) for order in replay.orders],
        [asdict(wish) for wish in wishes.changes],
        [asdict(wish) for wish in wishes.returns],
        [asdict(line) for line in (*stock.opening, *stock.supply)],
    )
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:12]


def shelf_differences(booked: Mapping[tuple[str, str], int], shelves: Sequence[Json]) -> list[str]:
    """Where allocation's books and the 3PL's own count differ, in words."""
    counted = {(row["location"], row["sku"]): int(row["on_hand"]) for row in shelves}
    return [
        f"{sku} at {location}: {booked.get((location, sku), 0)} in the books, {counted.get((location, sku), 0)} on the shelf"
        for location, sku in sorted(booked.keys() | counted.keys())
        if booked.get((location, sku), 0) != counted.get((location, sku), 0)
    ]


def count_duplicates(metrics: str) -> int:
    """Messages that a service's inbox stopped, from its Prometheus page."""
    lines = (line for line in metrics.splitlines() if "messages_handled_total{" in line and 'outcome="duplicate"' in line)
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def _latency(before: Mapping[int, int], after: Mapping[int, int]) -> Percentiles:
    """Of the pushes between two readings."""
    between = {bucket: pushes - before.get(bucket, 0) for bucket, pushes in after.items()}
    return Percentiles(percentile_ms(between, 0.5), percentile_ms(between, 0.99), sum(between.values()))


def _violated(audit: Mapping[str, Any]) -> list[str]:
    """Each broken check with its first violations."""
    found = []
    for check in audit["checks"]:
        if check["violation_count"]:
            shown = "; ".join(f"{violation['subject']}: {violation['detail']}" for violation in check["violations"][:3])
            found.append(f"{check['id']} ({check['service']}), {check['violation_count']} violations: {shown}")
    return found
