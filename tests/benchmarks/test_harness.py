"""The harness itself, at a size at which its figures mean nothing: every measurement comes to its end and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import asyncpg
import pytest

from benchmarks import holds
from benchmarks.allocation import AllocationBench
from benchmarks.chain.latency import measure_latencies
from benchmarks.chain.load import connected_load
from benchmarks.chain.sustained import try_rate
from benchmarks.chain.system import running_system
from benchmarks.databases import PREFIX, Databases
from benchmarks.pgbench import PgbenchBench, best_of
from benchmarks.processes import MeasuredProcesses
from benchmarks.promises import PromisesBench
from benchmarks.publishing import measure_publishing
from benchmarks.restock import RestockBench
from benchmarks.scaling import SMALL, ScalingBench
from benchmarks.sizes import Sizes
from deploy.local.lifecycle import Depth, running
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from services.allocation.audit import INVARIANTS

TINY = Sizes(
    skus=300,
    orders=4_000,
    pgbench_clients=(2,),
    pgbench_seconds=1,
    published_messages=500,
    listed_skus=400,
    trial_seconds=10,
    latency_seconds=3,
    restock_skus=300,
    queued_lines=400,
    queued_orders=400,
    neighbour_rate=20.0,
    quiet_seconds=3.0,
    hold_seconds=1,
    scaling_skus=(300, 600),
    scaling_processes=(2,),
    history_skus=600,
    scaling_orders=1_000,
    scaling_rounds=1,
    flash_buyers=1_000,
    flash_units=100,
    flash_processes=2,
)
RATE = 10.0

takes_long = pytest.mark.skipif(
    "ORDERMESH_TEST_BENCHMARKS" not in os.environ,
    reason="measures for minutes what `make bench` measures: ORDERMESH_TEST_BENCHMARKS=1 make test TESTS=tests/benchmarks runs it",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Servers of their own, with the topology and no process."""
    stack = Stack(tmp_path_factory.mktemp("benchmark"), progress=Progress())
    with running(stack, Depth.PREPARED):
        yield stack
    stack.discard()


async def _databases_left(stack: Stack) -> list[str]:
    connection = await asyncpg.connect(stack.postgres.url)
    try:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", PREFIX)
        return [row["datname"] for row in rows]
    finally:
        await connection.close()


@takes_long
async def test_allocation_is_measured_against_pgbench_with_both_drivers(stack: Stack) -> None:
    databases = Databases(stack)
    bench = AllocationBench(stack, databases, TINY, Progress())
    runs = [await bench.measure(driver=driver, hot=hot) for driver, hot in (("aio_pika", False), ("faststream", True))]  # type: ignore[arg-type]  # literals in a tuple
    for run in runs:
        assert run.orders_per_second > 0
        assert run.messages_per_batch > 1
        assert {"allocation", "RabbitMQ", "Postgres: allocation"} <= set(run.processor_us_per_order)
    opponent = PgbenchBench(stack, databases, TINY, Progress())
    compared = [*await opponent.measure(hot=False, body=runs[0].sample_body), *await opponent.measure(hot=True, body=runs[0].sample_body)]
    assert best_of(compared, hot=False).orders_per_second > 0
    assert best_of(compared, hot=True).orders_per_second > 0
    await databases.drop_all()
    assert await _databases_left(stack) == []
    assert MeasuredProcesses(stack, "").running() == []


async def test_publishing_is_measured_in_three_ways(stack: Stack) -> None:
    runs = await measure_publishing(stack, Databases(stack), TINY, Progress())
    assert len(runs) == 3
    assert all(run.messages_per_second > 0 for run in runs)


@takes_long
async def test_holds_are_asked_for_over_http_and_by_queue_and_each_answer_is_timed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr(holds, "HOLDS_PER_SECOND", 50.0)
    databases = Databases(stack)
    filled = AllocationBench(stack, databases, TINY, Progress())
    await filled.fill()
    bench = holds.HoldsBench(stack, databases, TINY, Progress())
    for run in (await bench.run("HTTP", hot=True), await bench.run("AMQP", hot=False)):
        assert run.answers.count == 50 * TINY.hold_seconds
        assert 0 < run.answers.p50_ms <= run.answers.p99_ms
    await databases.drop_all()
    assert await _databases_left(stack) == []


async def test_a_restock_is_measured_with_what_its_neighbours_feel(stack: Stack) -> None:
    run = await RestockBench(stack, Databases(stack), TINY, Progress()).measure()
    assert run.lines_per_second > 0
    assert 0 < run.longest_step_lines < TINY.queued_lines, "a restock of so many lines must take more than one transaction"
    assert run.quiet.count > TINY.neighbour_rate
    assert run.during.count > 0
    assert await _databases_left(stack) == []


@takes_long
async def test_a_date_change_is_measured_until_everybody_is_told_with_what_its_neighbours_feel(stack: Stack) -> None:
    run = await PromisesBench(stack, Databases(stack), TINY, Progress()).measure()
    assert run.waiting_orders == TINY.queued_orders
    assert run.seconds > 0
    assert run.quiet.count > TINY.neighbour_rate
    assert run.meanwhile.count > 0
    assert await _databases_left(stack) == []


@takes_long
async def test_several_processes_and_a_flash_sale_are_measured_on_grown_databases_whose_books_hold(stack: Stack) -> None:
    databases = Databases(stack)
    await AllocationBench(stack, databases, TINY, Progress()).fill_one(SMALL, 300)
    bench = ScalingBench(stack, databases, TINY, Progress())
    (two,) = await bench.by_processes()
    assert (two.size, two.ratio) == (2, 1.0)
    assert two.orders_per_second > 0
    sale = await bench.flash_sale()
    assert sale.sold == TINY.flash_units
    assert sale.answers.count == TINY.flash_buyers
    await bench.grown("grown", 600, historic_lines=3_000)
    connection = await databases.connect("grown")
    await connection.execute("SET search_path TO allocation")
    try:
        assert await connection.fetchval("SELECT count(*) FROM demand WHERE shipped = 1") == 3_000
        assert [(check.id, row) for check in INVARIANTS for row in await connection.fetch(check.sql)] == []
    finally:
        await connection.close()
    await databases.drop_all()
    assert await _databases_left(stack) == []


@takes_long
async def test_the_whole_chain_is_measured_from_the_channel_to_the_3pl_and_back_to_the_channels(stack: Stack) -> None:
    async with running_system(stack, Databases(stack), TINY, Progress()) as system, connected_load(system) as load:
        trial = await try_rate(system, load, RATE)
        assert trial.orders == RATE * TINY.trial_seconds
        assert "orders under way" in trial.verdict
        found = await measure_latencies(system, load, RATE)
        assert found.orders == RATE * TINY.latency_seconds
        assert found.to_third_party.count == found.orders
        assert found.to_channels.count > found.orders * 3 * 2 * 0.9
        assert found.mails_per_order >= 1
        assert 0 < found.to_third_party.p50_ms <= found.to_third_party.p99_ms
        assert await system.violations() == 0
    assert await _databases_left(stack) == []
    assert await asyncio.to_thread(MeasuredProcesses(stack, "").running) == []
