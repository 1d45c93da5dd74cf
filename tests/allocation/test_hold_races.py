"""Holds at once, over several connections: no unit is held twice, no hold is used twice, nobody deadlocks."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from services.allocation.handlers.holding import expire_holds
from services.allocation.queries.holds import read_hold
from shared.contracts.base import Message
from shared.contracts.holds import StockHoldAnswered
from shared.contracts.stock import StockReserved
from shared.messaging.message import Transaction
from tests.allocation.conftest import Crowd, Desk
from tests.allocation.messages import NOW, adjustment, cancellation, line, location, order, products, receipt
from tests.allocation.wishes import channel_rule, from_channel, hold, naming, release, safety, sold_by


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Four SKUs in one place; the desk audits when all is over."""
    await desk.hear(products("MUG", *(f"SKU-{number}" for number in range(4))))
    await desk.hear(location("east"))
    return desk


async def sweep_beside(crowd: Crowd, later: timedelta) -> int:
    """The schedule of one process, in a transaction of its own; how much it said."""
    async with crowd.pool.acquire() as connection, connection.transaction():
        return len(await expire_holds(Transaction(connection, NOW + later)))


async def test_200_concurrent_holds_for_the_last_unit_exactly_one_gets_it(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(1))
    heard = await crowd.together([[hold()] for _ in range(200)])
    outcomes = [answer.outcome for each in heard for answer in each.of(StockHoldAnswered)]
    assert sorted(outcomes) == ["held"] + ["nothing_held"] * 199
    assert (await stocked.pool())["held"] == 1


async def test_one_request_sent_by_many_at_once_holds_once(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(9))
    wish = hold(("MUG", 2))
    heard = await crowd.together([[wish] for _ in range(20)])
    assert [answer.outcome for each in heard for answer in each.of(StockHoldAnswered)] == ["held"] * 20
    assert (await stocked.pool())["held"] == 2


async def test_expiry_racing_the_orders_arrival_gives_every_unit_to_exactly_one(stocked: Desk, crowd: Crowd) -> None:
    for _ in range(25):
        await stocked.hear(receipt(1))
        wish, rival = hold(), order(line(1))
        await stocked.hear(wish)
        await stocked.hear(rival)
        placed = naming(wish, line(1))
        await asyncio.gather(crowd.hear(placed), sweep_beside(crowd, timedelta(hours=1)), sweep_beside(crowd, timedelta(hours=1)))
        row = await read_hold(stocked.connection, wish.hold_id)
        assert row is not None
        winner = placed if row["state"] == "confirmed" else rival
        assert (await stocked.line(winner.order_id)).get("reserved") == 1
        await stocked.hear(cancellation(placed))
        await stocked.hear(cancellation(rival))
        await stocked.hear(adjustment(0))


async def test_two_orders_that_name_one_hold_at_once_use_it_once(stocked: Desk, crowd: Crowd) -> None:
    for _ in range(15):
        await stocked.hear(receipt(1))
        wish = hold()
        await stocked.hear(wish)
        orders = [naming(wish, line(1)), naming(wish, line(1))]
        heard = await crowd.together([[placed] for placed in orders])
        assert sum(len(each.of(StockReserved)) for each in heard) == 1
        assert (await stocked.pool())["held"] == 0
        for placed in orders:
            await stocked.hear(cancellation(placed))
        await stocked.hear(adjustment(0))


async def test_several_processes_sweep_beside_each_other_and_end_every_hold_once(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(300))
    await stocked.hear(*(hold() for _ in range(300)))
    while (await stocked.pool())["held"]:
        await asyncio.gather(*(sweep_beside(crowd, timedelta(hours=1)) for _ in range(6)))
    assert await stocked.ledger("unheld") == -300


async def test_holds_orders_rules_and_shortages_at_once_never_deadlock_and_never_oversell(stocked: Desk, crowd: Crowd) -> None:
    chance = random.Random(5)
    skus = [f"SKU-{number}" for number in range(4)]
    await stocked.hear(*(receipt(40, sku) for sku in skus))
    wishes = [
        hold(*((sku, chance.randint(1, 3)) for sku in chance.sample(skus, 3)), channel=chance.choice(["web", "market"])) for _ in range(60)
    ]
    await stocked.hear(*wishes[:30])
    acts: list[Message] = []
    for wish in wishes[:20]:
        lines = [line(chance.randint(1, 3), chance.choice(skus), str(number)) for number in range(2)]
        acts.append(naming(wish, *lines))
    acts += [naming(wish, line(1, skus[0])) for wish in wishes[:10]]
    acts += [release(wish) for wish in wishes[15:25]]
    acts += wishes[20:]
    acts += [sold_by(chance.choice(["web", "market"]), line(2, chance.choice(skus))) for _ in range(30)]
    acts += [adjustment(chance.randint(20, 45), sku=chance.choice(skus)) for _ in range(10)]
    acts += [safety(chance.randint(0, 9), sku=chance.choice(skus)) for _ in range(10)]
    acts += [
        channel_rule(
            chance.choice(["web", "market"]), fence=chance.choice([None, 8]), cap=chance.choice([None, 12]), sku=chance.choice(skus)
        )
        for _ in range(20)
    ]
    chance.shuffle(acts)
    sweeps = [sweep_beside(crowd, timedelta(hours=1)) for _ in range(6)]
    await asyncio.gather(*(crowd.hear(act) for act in acts), *sweeps)


async def test_requests_by_queue_and_over_http_hold_from_the_same_pool(stocked: Desk, crowd: Crowd) -> None:
    await stocked.hear(receipt(10))
    await crowd.together([[from_channel(hold())] if number % 2 else [hold()] for number in range(40)])
    assert (await stocked.pool())["held"] == 10
