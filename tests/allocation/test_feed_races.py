"""One feed, many workers: counts, corrections, orders, closed gaps and registrations at once. No deadlock, no unit counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.allocation.handlers.feeds import settle_sequences
from services.allocation.handlers.snapshots import apply_remembered_counts, forget_unregistered
from services.allocation.handlers.uploading import apply_uploads
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.feeds import FeedGapCloseRequested
from shared.contracts.stock import SnapshotLine, ThirdPartyStockSnapshot
from shared.database import open_pool
from shared.messaging.message import Received, Transaction
from tests.allocation.conftest import HANDLERS, Desk
from tests.allocation.messages import NOW, PARTNER, at, correction, line, location, order, products, receipt, received
from tests.conftest import Databases

SKUS = [f"SKU-{number:02}" for number in range(12)]


@pytest.fixture
async def pool(databases: Databases) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Eight workers' connections."""
    pool = await open_pool(databases.url("allocation"), application_name="crowd", size=8, command_timeout_seconds=60)
    yield pool
    await pool.close()


async def test_everything_about_one_feed_at_once_never_deadlocks_and_ends_in_the_count(
    desk: Desk, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    desk.audited = False
    await desk.hear(products(*SKUS))
    await desk.hear(location("east"))
    await desk.hear(*(received(receipt(100, sku), time=at(-60)) for sku in SKUS))

    async def hear(message: Message | Received[Any]) -> None:
        """Tries until it need not wait. Contention is not caught: there must be none."""
        batch = [message if isinstance(message, Received) else received(message)]
        while True:
            async with pool.acquire() as connection, connection.transaction():
                tx = Transaction(connection, NOW)
                await HANDLERS[type(batch[0].data)](tx, batch)
            assert not tx.parked
            if not tx.deferred:
                return
            await asyncio.sleep(0)

    async def run(work: Any) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await work(Transaction(connection, NOW))

    def count(number: int) -> Received[Any]:
        """The 3PL's number after its first ``number`` corrections, and a SKU that nobody has registered yet."""
        lines = [
            SnapshotLine(sku=sku, on_hand=100 - sum(1 for made in range(number) if made % 12 == index)) for index, sku in enumerate(SKUS)
        ]
        lines += [SnapshotLine(sku=f"NEW-{number:02}", on_hand=5)]
        return received(
            ThirdPartyStockSnapshot(location="east", as_of=at(number / 100), watermark=number, lines=lines[::-1]), partner=PARTNER
        )

    closing = FeedGapCloseRequested(decision_id=new_id(), location="east", up_to_sequence=1, reason="race", operator="kim")
    work = [hear(correction(-1, sequence=number + 1, sku=SKUS[number % 12], time=at(number / 100))) for number in range(48)]
    work += [hear(count(number)) for number in range(0, 49, 6)]
    work += [hear(order(line(2, sku))) for sku in SKUS for _ in range(3)]
    work += [hear(products(f"NEW-{number:02}")) for number in range(0, 49, 6)]
    work += [hear(closing), *(run(settle_sequences) for _ in range(6)), *(run(apply_remembered_counts) for _ in range(6))]
    work += [run(forget_unregistered), run(apply_uploads)]
    await asyncio.wait_for(asyncio.gather(*work[::2], *work[1::2]), 60)
    await run(apply_remembered_counts)
    await run(settle_sequences)
    desk.audited = True
    on_shelf = await desk.connection.fetch("SELECT sku, on_shelf FROM stock_locations ORDER BY sku")
    assert {row["sku"]: row["on_shelf"] for row in on_shelf} == {
        **dict.fromkeys(SKUS, 96),
        **{f"NEW-{number:02}": 5 for number in range(0, 49, 6)},
    }
    assert await desk.connection.fetchval("SELECT sequence_floor FROM locations") == 48
    assert await desk.connection.fetchval("SELECT count(*) FROM unregistered_counts") == 0
