"""Orders at a fixed rate, whatever the system does (open loop), published as the channels' own limited users."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.broker import BulkPublisher, bulk_publisher
from benchmarks.chain.system import RunningSystem
from benchmarks.orders import ChannelOrder, channel_orders
from deploy.local.process_table import CHANNELS
from shared.contracts.envelope import new_id
from shared.messaging.pipelining import Publication

TICK_SECONDS = 0.01


@dataclass
class Load:
    """Channels' adapters that publish."""

    system: RunningSystem
    publishers: Mapping[str, BulkPublisher]
    sent_at: dict[str, float] = field(default_factory=dict)
    """When each order was handed to the broker (seconds since the epoch), by its external id."""

    def draw(self, count: int) -> list[ChannelOrder]:
        """Orders to publish later; drawing takes processor time that belongs to no measurement."""
        return channel_orders(count, f"bench-{new_id().hex[-12:]}", CHANNELS, self.system.sizes.listed_skus)

    async def publish(self, orders: Sequence[ChannelOrder]) -> None:
        """Publishes at once and returns when the broker has all."""
        now = time.time()
        by_channel: dict[str, list[Publication]] = {}
        for order in orders:
            self.sent_at[order.external_id] = now
            by_channel.setdefault(order.channel, []).append(order.publication)
        await asyncio.gather(*(self.publishers[channel].publish(part) for channel, part in by_channel.items()))

    async def offer(self, orders: Sequence[ChannelOrder], rate: float) -> None:
        """Publishes at so many orders a second; a broker that confirms late does not slow it down."""
        waiting = deque(orders)
        began = time.monotonic()
        sent = 0
        under_way: set[asyncio.Task[None]] = set()
        while waiting:
            due = min(int((time.monotonic() - began) * rate) - sent, len(waiting))
            if due > 0:
                group = [waiting.popleft() for _ in range(due)]
                sent += due
                under_way.add(asyncio.create_task(self.publish(group)))
            finished = {task for task in under_way if task.done()}
            under_way -= finished
            for task in finished:
                task.result()
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*under_way)


@asynccontextmanager
async def connected_load(system: RunningSystem) -> AsyncIterator[Load]:
    """A load generator whose adapters are connected."""
    async with AsyncExitStack() as stack:
        publishers = {channel: await stack.enter_async_context(bulk_publisher(system.partner_url(channel))) for channel in CHANNELS}
        yield Load(system, publishers)
