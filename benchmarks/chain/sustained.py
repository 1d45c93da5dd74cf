"""The highest rate at which nothing grows: neither the orders between channel and 3PL, nor any queue, nor what has to be told outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.chain.load import Load
from benchmarks.chain.system import RunningSystem
from benchmarks.failure import BenchmarkError
from benchmarks.processes import read_counter
from benchmarks.processor_time import microseconds_per_order
from shared.contracts.fulfillment import FulfillmentRequested

SAMPLE_SECONDS = 1.0
SETTLING_SHARE = 0.35
"""Of a trial: not judged, because what is under way must first build up."""
PATH_GROWTH = 0.02
"""Orders under way may grow by this share of the rate: noise."""
SIDE_GROWTH = 0.15
"""Waiting messages and errands may; each order causes about thirty."""
LONGEST_BACKLOG_SECONDS = 1.0
CLOSE_ENOUGH = 1.07
BURST_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Sample:
    """How the system stood at one moment."""

    at: float
    under_way: int
    """Orders that a channel has published and no 3PL has got."""
    waiting: int
    """Messages in queues and errands that are due."""
    largest: str
    """What most of it waits for."""


@dataclass(frozen=True)
class Trial:
    """What came of one rate."""

    rate: float
    sustained: bool
    verdict: str
    orders: int
    processor_us_per_order: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


async def requested(system: RunningSystem) -> int:
    """How many pick lists the broker has confirmed in 3PLs' queues; every order of the benchmark has exactly one."""
    labels = {"type": FulfillmentRequested.type}
    return int(await asyncio.to_thread(read_counter, system.processes.url("routing"), "ordermesh_messages_published_total", labels))


async def measure_burst(system: RunningSystem, load: Load) -> float:
    """Orders per second while a burst drains: where the search begins, and nothing else, because what follows an order still waits then."""
    orders = load.draw(system.sizes.burst_orders)
    before = await requested(system)
    with system.progress.step(f"a burst of {len(orders):,} orders") as step:
        await load.publish(orders)
        deadline = time.monotonic() + BURST_TIMEOUT_SECONDS
        seen: list[tuple[float, int]] = []
        while not seen or seen[-1][1] < len(orders):
            seen.append((time.monotonic(), await requested(system) - before))
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{seen[-1][1]} of {len(orders)} orders reached a 3PL within {BURST_TIMEOUT_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
        began, done = next((moment, count) for moment, count in seen if count >= len(orders) // 10)
        rate = (len(orders) - done) / max(0.1, seen[-1][0] - began)
        step.result = f"{rate:,.0f} orders/s"
    await system.until_at_rest()
    return rate


async def try_rate(system: RunningSystem, load: Load, rate: float) -> Trial:
    """Offers a rate for a while and looks whether anything grows."""
    seconds = system.sizes.trial_seconds
    orders = load.draw(int(rate * seconds))
    with system.progress.step(f"{rate:,.0f} orders/s for {seconds} s") as step:
        before = await requested(system)
        offered_before = len(load.sent_at)
        began = time.monotonic()
        used_before = await system.clock.read()
        offering = asyncio.create_task(load.offer(orders, rate))
        samples: list[Sample] = []
        while not offering.done():
            samples.append(await _sample(system, len(load.sent_at) - offered_before, before))
            await asyncio.wait({offering}, timeout=SAMPLE_SECONDS)
        await offering
        used = (await system.clock.read()).since(used_before)
        judged = [sample for sample in samples if sample.at - began >= seconds * SETTLING_SHARE]
        sustained, verdict = judge(judged, rate)
        step.result = verdict
    await system.until_at_rest()
    return Trial(rate, sustained, verdict, len(orders), microseconds_per_order(used, len(orders)))


async def _sample(system: RunningSystem, offered: int, requested_before: int) -> Sample:
    waiting = {**await system.queues.depths(), **await system.errands_due()}
    done = await requested(system) - requested_before
    largest = max(waiting, key=lambda name: waiting[name])
    return Sample(time.monotonic(), offered - done, sum(waiting.values()), f"{largest} ({waiting[largest]:,})")


def growth_per_second(points: Sequence[tuple[float, int]]) -> float:
    """The slope of the straight line closest to the points (least squares)."""
    mean_at = sum(at for at, _ in points) / len(points)
    mean_count = sum(count for _, count in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return sum((at - mean_at) * (count - mean_count) for at, count in points) / spread if spread else 0.0


def judge(samples: Sequence[Sample], rate: float) -> tuple[bool, str]:
    """Whether a rate was sustained, and a sentence that says why or why not."""
    if len(samples) < 3:
        raise BenchmarkError("the trial was too short to judge: give it more seconds")
    path = growth_per_second([(sample.at, sample.under_way) for sample in samples])
    side = growth_per_second([(sample.at, sample.waiting) for sample in samples])
    last = samples[-1]
    facts = f"{last.under_way:,} orders under way ({path:+.1f}/s), {last.waiting:,} messages and errands wait ({side:+.1f}/s)"
    if path > rate * PATH_GROWTH or last.under_way > rate * LONGEST_BACKLOG_SECONDS:
        return False, f"not sustained: {facts}, most for {last.largest}"
    if side > rate * SIDE_GROWTH:
        return False, f"not sustained beside the path: {facts}, most for {last.largest}"
    return True, f"sustained: {facts}"


async def search(system: RunningSystem, load: Load, first_rate: float) -> list[Trial]:
    """Tries rates around the first one until the highest sustained and the lowest not sustained one are close."""
    trials: list[Trial] = []
    rate = first_rate
    for _ in range(system.sizes.most_trials):
        trials.append(await try_rate(system, load, rate))
        low = max((trial.rate for trial in trials if trial.sustained), default=None)
        high = min((trial.rate for trial in trials if not trial.sustained), default=None)
        if low is not None and high is not None:
            if high / low < CLOSE_ENOUGH:
                break
            rate = (low + high) / 2
        else:
            rate = rate * 1.2 if high is None else rate * 0.8
        rate = max(5.0, round(rate / 5) * 5.0)
    return trials
