"""The whole system on a database of the benchmark's own, filled through its own messages."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from benchmarks.broker import Queues, bulk_publisher, watched_queues, work_queues
from benchmarks.catalogue import filling_of_everything
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.processes import MeasuredProcesses
from benchmarks.processor_time import ProcessorClock
from benchmarks.sizes import Sizes
from benchmarks.waiting import until_at_rest
from deploy.local.process_table import CHANNELS, PROCESSES, SERVICES
from deploy.local.processes import CHECKOUT
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.messaging.message import Connection
from shared.messaging.topology.names import partner_user_of
from shared.migrate import AUDITOR

DATABASE = "chain"
FILLING_TIMEOUT_SECONDS = 900.0
REST_SECONDS = 180.0
QUIET_SECONDS = 2.0
"""Longer than the slowest step of a simulated 3PL."""
AUDIT_WAIT_SECONDS = 60


@dataclass(frozen=True)
class RunningSystem:
    """All services and simulators, and the ways to watch them."""

    stack: Stack
    processes: MeasuredProcesses
    clock: ProcessorClock
    connection: Connection
    queues: Queues
    http: aiohttp.ClientSession
    sizes: Sizes
    progress: Progress

    async def until_at_rest(self, *, timeout_seconds: float = REST_SECONDS) -> None:
        """Waits until every message is handled and every errand done.

        Raises:
            BenchmarkError: not in time, or something was parked.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            await until_at_rest(self.connection, self.queues, SERVICES, timeout_seconds=timeout_seconds, quiet_seconds=QUIET_SECONDS)
            due = await self.errands_due()
            if not sum(due.values()):
                return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the outside world was not told everything within {timeout_seconds:.0f} s: {dict(due)}")

    async def errands_due(self) -> Mapping[str, int]:
        """What still has to be told to the outside world."""
        row = await self.connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM sync.listing_stock WHERE due_at IS NOT NULL) AS "stock pushes",
                   (SELECT count(*) FROM sync.shipment_notices WHERE due_at IS NOT NULL) AS "tracking",
                   (SELECT count(*) FROM portal.notifications WHERE status = 'due') AS "mail"
            """
        )
        assert row is not None
        return dict(row)

    def partner_url(self, channel: str) -> str:
        """The broker as a channel's own limited user sees it."""
        return self.processes.surroundings.amqp_url(partner_user_of("channel", channel))

    async def simulator(self, name: str, method: str, path: str, body: object = None) -> object:
        """A call of a simulator's admin side."""
        async with self.http.request(method, self.processes.url(name) + path, json=body) as response:
            if response.status >= 300:
                raise BenchmarkError(f"{name} {method} {path}: {response.status} {(await response.text())[:300]}")
            return await response.json()

    async def violations(self) -> int:
        """Runs the auditor until the books hold, for a minute at most; how many violations are left."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "ORDERMESH_AUDIT_DATABASE_URL": self.processes.database_url(AUDITOR),
        }
        report = self.stack.directory / "benchmark-audit.json"
        finished = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "shared.audit", "--wait", str(AUDIT_WAIT_SECONDS), "--json", str(report)],
            env=environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode not in (0, 1):
            raise BenchmarkError(f"the audit could not run: {finished.stderr[-1_000:]}")
        if finished.returncode == 1:
            self.progress.say(finished.stdout[-3_000:])
        return finished.returncode


@asynccontextmanager
async def running_system(stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> AsyncIterator[RunningSystem]:
    """The system, filled, for the length of a block; stopped and forgotten afterwards."""
    await databases.create(DATABASE)
    processes = MeasuredProcesses(stack, DATABASE)
    connection = await databases.connect(DATABASE)
    try:
        async with watched_queues(stack.rabbitmq.url, work_queues(processes)) as queues, aiohttp.ClientSession() as http:
            await queues.empty()
            clock = ProcessorClock(stack, processes, databases, DATABASE)
            system = RunningSystem(stack, processes, clock, connection, queues, http, sizes, progress)
            try:
                with progress.step("five services, simulators"):
                    await asyncio.to_thread(processes.start)
                await _fill(system)
                yield system
            finally:
                await asyncio.to_thread(processes.stop)
                await queues.empty()
    finally:
        await connection.close()
        await databases.drop(DATABASE)


async def _fill(system: RunningSystem) -> None:
    with system.progress.step("filling the system") as step:
        async with bulk_publisher(system.stack.rabbitmq.url) as publisher:
            for publications in filling_of_everything(system.sizes.listed_skus, CHANNELS):
                await publisher.publish(publications)
                await until_at_rest(system.connection, system.queues, SERVICES, timeout_seconds=FILLING_TIMEOUT_SECONDS)
        await system.until_at_rest(timeout_seconds=FILLING_TIMEOUT_SECONDS)
        await system.connection.execute("VACUUM ANALYZE")
        step.result = f"{system.sizes.listed_skus:,} SKUs at 5 locations, listed on {len(CHANNELS)} channels"
    missing = [name for name in PROCESSES if not system.processes.is_running(name)]
    if missing:
        raise BenchmarkError(f"{', '.join(missing)} ended by itself; see {system.processes.log(missing[0])}")
