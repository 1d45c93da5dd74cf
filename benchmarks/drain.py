"""How fast allocation drains a queue of orders, by one process or by several, whatever database it works on.

The queue is filled first, then the processes are started. Starting is not counted: the clock runs from the moment when a tenth of the
orders is done until the broker has confirmed the last message about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from benchmarks.broker import bulk_publisher, watched_queues, work_queues
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.processes import MeasuredProcesses, Sibling
from benchmarks.waiting import until_handled, until_sent
from deploy.local.stack import Stack
from shared.contracts.orders import OrderPlaced
from shared.messaging.message import Connection
from shared.messaging.pipelining import Publication

LEFT_OUT_SHARE = 0.1
"""Of the orders: those during which processes start and caches fill."""
TIMEOUT_SECONDS = 600.0


@asynccontextmanager
async def allocations(
    stack: Stack, database: str, *, processes: int = 1, changes: Mapping[str, str] | None = None
) -> AsyncIterator[list[MeasuredProcesses]]:
    """So many allocation processes, not started yet, with empty queues before and after; they are stopped at the end."""
    first = MeasuredProcesses(stack, database, changes)
    everyone = [first, *(Sibling(stack, database, changes, number=number) for number in range(2, processes + 1))]
    async with watched_queues(stack.rabbitmq.url, work_queues(first)) as queues:
        await queues.empty()
        try:
            yield everyone
        finally:
            await asyncio.gather(*(asyncio.to_thread(one.stop, ["allocation"]) for one in everyone))
            await queues.empty()


async def start(everyone: Sequence[MeasuredProcesses]) -> None:
    """Starts them all; returns when each is ready."""
    await asyncio.to_thread(everyone[0].start, ["allocation"])
    await asyncio.gather(*(asyncio.to_thread(one.start, ["allocation"]) for one in everyone[1:]))


async def drained_per_second(
    stack: Stack, databases: Databases, database: str, orders: Sequence[Publication], *, processes: int = 1
) -> float:
    """Orders per second; the database keeps what was done.

    Raises:
        BenchmarkError: not all were done in time, or one was parked.
    """
    connection = await databases.connect(database)
    try:
        async with allocations(stack, database, processes=processes) as everyone, bulk_publisher(stack.rabbitmq.url) as publisher:
            since: datetime = await connection.fetchval("SELECT clock_timestamp()")
            before = await connection.fetchval("SELECT count(*) FROM allocation.inbox WHERE type = $1", OrderPlaced.type)
            await publisher.publish(orders)
            await start(everyone)
            await until_handled(connection, "allocation", OrderPlaced.type, before + len(orders), timeout_seconds=TIMEOUT_SECONDS)
            await until_sent(connection, "allocation", timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.05)
            return await _orders_per_second(connection, len(orders), since)
    finally:
        await connection.close()


async def _orders_per_second(connection: Connection, orders: int, since: datetime) -> float:
    """Between the commit of the order that ends the first tenth and the last confirmation of anything."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT handled_at FROM allocation.inbox WHERE type = $1 AND handled_at > $2 ORDER BY handled_at OFFSET $3 LIMIT 1) AS began,
               (SELECT max(sent_at) FROM allocation.outbox WHERE sent_at > $2) AS ended
        """,
        OrderPlaced.type,
        since,
        int(orders * LEFT_OUT_SHARE),
    )
    if row is None or row["began"] is None or row["ended"] is None:
        raise BenchmarkError("allocation says nothing about the orders that it was given")
    later: int = await connection.fetchval(
        "SELECT count(*) FROM allocation.inbox WHERE type = $1 AND handled_at > $2", OrderPlaced.type, row["began"]
    )
    return later / float((row["ended"] - row["began"]).total_seconds())
