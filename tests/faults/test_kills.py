"""kill -9 of everything in the middle of a run: nothing is lost, nothing happens twice, the books balance."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.preparation import prepare
from deploy.local.processes import CHECKOUT
from simulators.adapter.publisher import ChannelAdapter, NotPublishedError
from simulators.adapter.replay import SourceOrder
from tests.system import Json, System, an_order

SERVICES = ("sync", "allocation", "routing", "returns", "portal")
CHANNELS = ("webshop", "marketplace")
SEED = 20_110_630
PUBLISH_ATTEMPTS = 8
"""Rounds of an adapter's own attempts; a broker that starts anew on a busy machine takes its time."""

pytestmark = pytest.mark.timeout(600)


class Run:
    """A stream of orders whose every unit is accounted for: stock for nine tenths of what is wanted."""

    def __init__(self, system: System, name: str, orders: int) -> None:
        chance = random.Random(SEED)
        self.system = system
        self.skus = [system.fresh(f"{name}{number}") for number in range(30)]
        self.orders = [
            an_order(
                system.fresh(name),
                {sku: chance.randint(1, 3) for sku in chance.sample(self.skus, chance.randint(1, 3))},
                channel=chance.choice(CHANNELS),
            )
            for _ in range(orders)
        ]
        self.wanted: Counter[str] = Counter()
        for order in self.orders:
            for line in order["lines"]:
                self.wanted[line["sku"]] += line["quantity"]
        self.stocked = {sku: units * 9 // 10 for sku, units in self.wanted.items()}

    async def prepare(self) -> None:
        """Registers the products and fills the shelves of two locations."""
        await self.system.register(*self.skus)
        for sku, units in self.stocked.items():
            await self.system.put(sku, "reno", units // 2)
            await self.system.put(sku, "newark", units - units // 2)

    async def publish(self, orders: list[Json]) -> None:
        """Hands orders to the broker as the two channels' adapters do: what is not confirmed goes out again."""
        for code in CHANNELS:
            adapter = ChannelAdapter(code, self.system.partner_url("channel", code))
            now = datetime.now(UTC)
            own = [SourceOrder(code, order["external_id"], now, order) for order in orders if order["channel"] == code]
            for attempt in range(PUBLISH_ATTEMPTS):
                try:
                    await adapter.publish(own)
                    break
                except NotPublishedError:
                    if attempt == PUBLISH_ATTEMPTS - 1:
                        raise
            await adapter.close()

    async def stream(self, orders: list[Json], *, at_a_time: int, pause_seconds: float) -> None:
        """Publishes orders a few at a time."""
        for start in range(0, len(orders), at_a_time):
            await self.publish(orders[start : start + at_a_time])
            await asyncio.sleep(pause_seconds)

    def portions(self, count: int) -> list[list[Json]]:
        """All orders in so many equal parts, one for each blow: however long starts take, no blow falls on an idle system."""
        size = len(self.orders) // count
        return [self.orders[start : start + size] for start in range(0, len(self.orders), size)]

    async def until_decided(self) -> None:
        """Waits until every unit is shipped or waits in a queue, whatever happened on the way."""
        left = set(self.skus)

        async def decided() -> bool:
            for sku in sorted(left):
                answer = await self.system.api("GET", f"/api/stock/{sku}")
                if answer.status != 200:
                    return False
                if answer.body["on_hand_units"] or answer.body["queued_units"] != self.wanted[sku] - self.stocked[sku]:
                    return False
                left.discard(sku)
            return True

        try:
            await self.system.eventually(decided, "every unit is shipped or queued", timeout_seconds=240, pause_seconds=1.0)
        except AssertionError as error:
            sku = min(left)
            raise AssertionError(f"{error}; {len(left)} SKUs undecided, one: {await self.system.stock(sku)}") from error

    async def shipped_by_3pls(self) -> Counter[str]:
        """Units that really left, by the 3PLs' own count."""
        document = await self.system.simulator("third_party_logistics", "GET", "/stock")
        units: Counter[str] = Counter()
        for row in document["rows"]:
            units[row["sku"]] += row["shipped"]
        return units


async def test_kill_nine_of_every_service_of_the_broker_and_of_postgres_loses_and_doubles_nothing(breakable: System) -> None:
    """And a rolling upgrade afterwards as Kubernetes does it, while the orders go on: SIGTERM, drain, a new process."""
    run = Run(breakable, "kill", 960)
    await run.prepare()
    servers = (breakable.stack.rabbitmq, breakable.stack.postgres)
    portions = iter(run.portions(2 * len(SERVICES) + len(servers)))
    streams = []
    for name in SERVICES:
        streams.append(asyncio.create_task(run.stream(next(portions), at_a_time=20, pause_seconds=0.2)))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(breakable.processes.kill, name)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(breakable.processes.start, [name])
    for server in servers:
        streams.append(asyncio.create_task(run.stream(next(portions), at_a_time=20, pause_seconds=0.2)))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.start)
    for name in SERVICES:
        streams.append(asyncio.create_task(run.stream(next(portions), at_a_time=20, pause_seconds=0.2)))
        await asyncio.to_thread(breakable.processes.restart, name)
    await asyncio.gather(*streams)
    await run.until_decided()
    shipped = await run.shipped_by_3pls()
    assert {sku: shipped[sku] for sku in run.skus} == run.stocked, "exactly what was on the shelves has left them"
    await breakable.audit(wait_seconds=120)


async def test_a_broker_that_lost_everything_is_refilled_by_republish(breakable: System) -> None:
    started_at = datetime.now(UTC) - timedelta(seconds=5)
    run = Run(breakable, "wipe", 400)
    await run.prepare()
    streaming = asyncio.create_task(run.stream(run.orders, at_a_time=50, pause_seconds=0.1))
    await asyncio.sleep(1.5)
    await asyncio.to_thread(breakable.stack.rabbitmq.wipe)
    await asyncio.to_thread(breakable.stack.rabbitmq.start)
    await asyncio.to_thread(prepare, breakable.stack)
    await streaming
    # What partners had handed over and nobody had taken yet is gone with the broker: adapters and 3PLs say it again.
    await run.publish(run.orders)
    await asyncio.gather(*(republish(breakable, name, started_at) for name in SERVICES))
    await breakable.simulator("third_party_logistics", "POST", "/repeat", {})
    await run.until_decided()
    await breakable.audit(wait_seconds=120)


async def republish(system: System, service: str, since: datetime) -> None:
    """What an operator asks one service for after the broker has lost its messages."""
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", f"services.{service}", "republish", "--since", since.isoformat()],
        env=system.processes.environment_of(service),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
