"""How long an order takes, seen from outside: from the adapter's publish to the 3PL that has the pick list, and to the channel that shows
the new number.

The clocks at both ends are the simulators' and the load generator's on one machine; what lies between is read from the outboxes
afterwards, when nothing is measured any more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from benchmarks.chain.load import Load
from benchmarks.chain.system import RunningSystem
from benchmarks.failure import BenchmarkError
from benchmarks.processor_time import microseconds_per_order
from deploy.local.process_table import CHANNELS
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockReserved

WARM_UP_SECONDS = 3.0
"""At the measured rate, before the clock starts."""


@dataclass(frozen=True)
class Percentiles:
    """Of some durations."""

    count: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True)
class Latencies:
    """What half the sustained rate feels like."""

    rate: float
    orders: int
    to_third_party: Percentiles
    to_channels: Percentiles
    mails_per_order: float
    processor_us_per_order: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


def percentiles(durations_seconds: Sequence[float]) -> Percentiles:
    """By nearest rank: a value that was really measured."""
    if not durations_seconds:
        raise BenchmarkError("no order arrived, so there is no latency to tell")
    ordered = sorted(durations_seconds)
    p50, p99 = (ordered[math.ceil(len(ordered) * share) - 1] * 1_000 for share in (0.5, 0.99))
    return Percentiles(len(ordered), round(p50, 1), round(p99, 1), round(ordered[-1] * 1_000, 1))


async def measure_latencies(system: RunningSystem, load: Load, rate: float) -> Latencies:
    """Offers a rate that the system sustains and follows every order of it."""
    for channel in CHANNELS:
        await system.simulator("channels", "POST", f"/{channel}/reset")
    await load.offer(load.draw(int(rate * WARM_UP_SECONDS)), rate)
    orders = load.draw(int(rate * system.sizes.latency_seconds))
    with system.progress.step(f"latencies at {rate:,.0f} orders/s") as step:
        mails_before = await _mails(system)
        used_before, began = await system.clock.read(), time.monotonic()
        await load.offer(orders, rate)
        used = (await system.clock.read()).since(used_before)
        seconds = time.monotonic() - began
        await system.until_at_rest()
        mails = await _mails(system) - mails_before
        sent = {order.external_id: load.sent_at[order.external_id] for order in orders}
        found = Latencies(
            rate=len(orders) / seconds,
            orders=len(orders),
            to_third_party=percentiles(await _to_third_party(system, sent)),
            to_channels=percentiles(await _to_channels(system, sent)),
            mails_per_order=mails / len(orders),
            processor_us_per_order=microseconds_per_order(used, len(orders)),
        )
        step.result = f"3PL p99 {found.to_third_party.p99_ms:,.0f} ms, channel p99 {found.to_channels.p99_ms:,.0f} ms"
    return found


async def _mails(system: RunningSystem) -> int:
    return int(cast(dict[str, int], await system.simulator("mail", "GET", "/count"))["accepted"])


async def _to_third_party(system: RunningSystem, sent: Mapping[str, float]) -> list[float]:
    """Per order: until the 3PL has read its pick list."""
    document = cast(dict[str, list[dict[str, Any]]], await system.simulator("third_party_logistics", "GET", "/fulfillments"))
    first: dict[str, float] = {}
    for row in document["fulfillments"]:
        arrived = datetime.fromisoformat(row["first_requested_at"]).timestamp()
        first[row["order_number"]] = min(arrived, first.get(row["order_number"], arrived))
    missing = [external_id for external_id in sent if external_id not in first]
    if missing:
        raise BenchmarkError(f"{len(missing)} of {len(sent)} orders never reached a 3PL, for example {missing[0]}")
    return [first[external_id] - sent_at for external_id, sent_at in sent.items()]


async def _to_channels(system: RunningSystem, sent: Mapping[str, float]) -> list[float]:
    """Per order line and channel: until the channel shows a number that counts the sale (or a later one)."""
    shown: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for channel in CHANNELS:
        state = cast(dict[str, Any], await system.simulator("channels", "GET", f"/{channel}/state?parts=listings"))
        for listing, row in state["listings"].items():
            # A listing keeps its last few numbers; where older ones were forgotten the first one that is left would be too late.
            if row["updates"] <= len(row["latest"]):
                shown[channel, listing] = [
                    (update["stock_version"], datetime.fromisoformat(update["received_at"]).timestamp()) for update in row["latest"]
                ]
    durations = []
    for external_id, sku, version in await _versions_of_sales(system, sent):
        for channel in CHANNELS:
            arrivals = [arrived for shown_version, arrived in shown.get((channel, f"L{sku}"), ()) if shown_version >= version]
            if arrivals:
                durations.append(min(arrivals) - sent[external_id])
    return durations


async def _versions_of_sales(system: RunningSystem, sent: Mapping[str, float]) -> list[tuple[str, str, int]]:
    """(external id, SKU, stock version that counts the sale) of every line."""
    rows = await system.connection.fetch(
        """
        WITH placed AS (
            SELECT subject, convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'external_id' AS external_id
            FROM sync.outbox WHERE type = $1
        )
        SELECT external_id, stock ->> 'sku' AS sku, (stock ->> 'stock_version')::bigint AS version
        FROM allocation.outbox JOIN placed USING (subject),
             jsonb_array_elements(convert_from(body, 'UTF8')::jsonb -> 'data' -> 'assignable') AS stock
        WHERE type = $2 AND convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'cause' = 'placed' AND external_id = ANY($3::text[])
        """,
        OrderPlaced.type,
        StockReserved.type,
        list(sent),
    )
    return [(row["external_id"], row["sku"], row["version"]) for row in rows]
