"""Waiting until services have done what they were given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from benchmarks.broker import Queues
from benchmarks.failure import BenchmarkError
from shared.messaging.message import Connection

POLL_SECONDS = 0.25


async def handled(connection: Connection, schema: str, message_type: str) -> int:
    """How many messages of a type a service has committed as handled."""
    count: int = await connection.fetchval(f"SELECT count(*) FROM {schema}.inbox WHERE type = $1 AND status = 'done'", message_type)  # noqa: S608
    return count


async def until_handled(connection: Connection, schema: str, message_type: str, count: int, *, timeout_seconds: float) -> None:
    """Waits until that many messages of a type are committed.

    Raises:
        BenchmarkError: not in time, or some were parked.
    """
    deadline = time.monotonic() + timeout_seconds
    while (done := await handled(connection, schema, message_type)) < count:
        await _complain_about_parked(connection, [schema])
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{schema} handled {done} of {count} {message_type} within {timeout_seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


async def until_sent(connection: Connection, schema: str, *, timeout_seconds: float, poll_seconds: float = POLL_SECONDS) -> None:
    """Waits until the broker has confirmed everything that a service has said.

    Raises:
        BenchmarkError: not in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while await connection.fetchval(f"SELECT EXISTS (SELECT FROM {schema}.outbox WHERE sent_at IS NULL)"):  # noqa: S608
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{schema} did not publish everything within {timeout_seconds:.0f} s")
        await asyncio.sleep(poll_seconds)


async def _complain_about_parked(connection: Connection, schemas: Sequence[str]) -> None:
    for schema in schemas:
        row = await connection.fetchrow(f"SELECT type, reason FROM {schema}.inbox WHERE status = 'parked' LIMIT 1")  # noqa: S608
        if row is not None:
            raise BenchmarkError(f"{schema} parked a {row['type']}: {row['reason']}")


async def until_at_rest(
    connection: Connection, queues: Queues, schemas: Sequence[str], *, timeout_seconds: float, quiet_seconds: float = 1.0
) -> None:
    """Waits until no queue holds anything, nothing waits to be published or tried again, and nothing has moved for a while.

    Raises:
        BenchmarkError: not in time, or something was parked.
    """
    deadline = time.monotonic() + timeout_seconds
    counts_before: list[int] = []
    quiet_since = time.monotonic()
    while True:
        counts: list[int] = []
        busy = sum((await queues.depths()).values())
        for schema in schemas:
            row = await connection.fetchrow(
                f"""
                SELECT (SELECT count(*) FROM {schema}.inbox) AS heard, (SELECT count(*) FROM {schema}.outbox) AS said,
                       (SELECT count(*) FROM {schema}.outbox WHERE sent_at IS NULL)
                       + (SELECT count(*) FROM {schema}.inbox WHERE status = 'retry') AS waiting
                """  # noqa: S608 - our own schema names
            )
            assert row is not None
            counts += [row["heard"], row["said"]]
            busy += row["waiting"]
        if busy or counts != counts_before:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > quiet_seconds:
            return await _complain_about_parked(connection, schemas)
        counts_before = counts
        if time.monotonic() > deadline:
            await _complain_about_parked(connection, schemas)
            raise BenchmarkError(f"the system did not come to rest within {timeout_seconds:.0f} s: {busy} messages wait")
        await asyncio.sleep(POLL_SECONDS)
