"""Schedules: what is cut into steps goes on at once while it has something to say, and messages wake it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import ShortagePolicySet
from shared.messaging.message import Outgoing, Transaction
from shared.running import Schedule, run_schedule
from tests.shared.conftest import Workshop, an_order

HOUR = 3600.0
STEP_SECONDS = 0.05


class Steps:
    """Work of so many steps; each says something, the look after the last one says nothing."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.began: list[float] = []
        self.idle = asyncio.Event()

    async def run(self, tx: Transaction) -> Sequence[Outgoing]:
        self.began.append(time.monotonic())
        if not self.left:
            self.idle.set()
            return ()
        self.left -= 1
        await tx.connection.execute("SELECT pg_sleep($1)", STEP_SECONDS)
        return [Outgoing(ShortagePolicySet(change_id=an_order().order_id, policy="newest_first", set_at=tx.now))]


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("woken_by", "looks"), [((OrderPlaced,), 4), ((), 1)])
async def test_only_a_schedule_that_is_woken_goes_on_at_once_while_it_has_something_to_say(
    workshop: Workshop, woken_by: tuple[type[OrderPlaced], ...], looks: int
) -> None:
    steps = Steps(left=3)
    task = asyncio.create_task(run_schedule(workshop.around, Schedule(HOUR, steps.run, woken_by), asyncio.Event()))
    if woken_by:
        await asyncio.wait_for(steps.idle.wait(), 20)
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(steps.idle.wait(), STEP_SECONDS * 10)
    await stop(task)
    assert len(steps.began) == looks
    assert workshop.wakes == min(3, looks), "the relay is told after every step"


async def test_between_two_steps_others_have_as_long_as_the_step_took(workshop: Workshop) -> None:
    steps = Steps(left=3)
    task = asyncio.create_task(run_schedule(workshop.around, Schedule(HOUR, steps.run, (OrderPlaced,)), asyncio.Event()))
    await asyncio.wait_for(steps.idle.wait(), 20)
    await stop(task)
    assert all(after - before >= 2 * STEP_SECONDS for before, after in zip(steps.began, steps.began[1:], strict=False))


async def test_a_schedule_that_rests_looks_again_when_it_is_woken(workshop: Workshop) -> None:
    steps, wake = Steps(left=0), asyncio.Event()
    task = asyncio.create_task(run_schedule(workshop.around, Schedule(HOUR, steps.run, (OrderPlaced,)), wake))
    for _ in range(2):
        await asyncio.wait_for(steps.idle.wait(), 20)
        steps.idle.clear()
        wake.set()
    await asyncio.wait_for(steps.idle.wait(), 20)
    await stop(task)
    assert len(steps.began) == 3
