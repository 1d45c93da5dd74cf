"""Who uses the processors: seconds by process, Postgres's backends by the role they work for.

Processor time says more than wall time on a machine that others use as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from benchmarks.databases import Databases
from deploy.local.postgres import PrivatePostgres
from deploy.local.process_table import PROCESSES, SERVICES
from deploy.local.processes import Processes
from deploy.local.rabbitmq import PrivateRabbitMQ
from deploy.local.stack import Stack
from shared.migrate import role_of

POSTGRES_REST = "Postgres: rest"
"""Writers, checkpoints, vacuum, and backends that have ended."""
BROKER = "RabbitMQ"
BENCHMARK = "benchmark itself"


@dataclass(frozen=True)
class Reading:
    """Processor seconds used so far, by who used them."""

    seconds: Mapping[str, float]

    def since(self, earlier: Reading) -> dict[str, float]:
        """Seconds used in between; who was not there before counts from zero."""
        return {name: max(0.0, seconds - earlier.seconds.get(name, 0.0)) for name, seconds in self.seconds.items()}


def _own_seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


class ProcessorClock:
    """Reads the processor time of everything that belongs to a stack. Servers that the stack does not run are left out.

    Args:
        stack: whose servers are read.
        processes: whose services and simulators are read.
        databases: how Postgres is asked which backend works for whom.
        database: one that exists; None leaves Postgres out.
    """

    def __init__(self, stack: Stack, processes: Processes, databases: Databases, database: str | None) -> None:
        self._stack = stack
        self._processes = processes
        self._databases = databases
        self._database = database

    async def read(self) -> Reading:
        """The processor time used until now."""
        seconds = {BENCHMARK: _own_seconds(psutil.Process(os.getpid()))}
        for name in PROCESSES:
            process = self._processes.process(name)
            if process is not None:
                seconds[name] = sum(_own_seconds(member) for member in _with_descendants(process))
        if self._database is not None and isinstance(self._stack.postgres, PrivatePostgres) and self._stack.postgres.process is not None:
            seconds.update(await self._postgres(self._stack.postgres.process, self._database))
        if isinstance(self._stack.rabbitmq, PrivateRabbitMQ) and self._stack.rabbitmq.process is not None:
            seconds[BROKER] = sum(_own_seconds(member) for member in _with_descendants(self._stack.rabbitmq.process))
        return Reading(seconds)

    async def _postgres(self, postmaster: psutil.Process, database: str) -> dict[str, float]:
        connection = await self._databases.connect(database)
        try:
            backends = {row["pid"]: row["usename"] for row in await connection.fetch("SELECT pid, usename FROM pg_stat_activity")}
        finally:
            await connection.close()
        by_pid = {child.pid: _own_seconds(child) for child in postmaster.children(recursive=True)}
        times = postmaster.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system + sum(by_pid.values())
        used = {
            f"Postgres: {service}": sum(by_pid.get(pid, 0.0) for pid, role in backends.items() if role == role_of(service))
            for service in SERVICES
        }
        return {**used, POSTGRES_REST: total - sum(used.values())}


def microseconds_per_order(seconds: Mapping[str, float], orders: int) -> dict[str, float]:
    """What one order costs each of them, the most expensive first; nothing that costs less than a microsecond."""
    costs = {name: used / orders * 1e6 for name, used in seconds.items()} if orders else {}
    return dict(sorted(((name, cost) for name, cost in costs.items() if cost >= 1), key=lambda item: -item[1]))


def total_without(costs: Mapping[str, float], left_out: Iterable[str]) -> float:
    """The sum of all but some."""
    omitted = set(left_out)
    return sum(cost for name, cost in costs.items() if name not in omitted)
