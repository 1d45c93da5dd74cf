"""Promises of whole queues: the statement is the pure rule, and every order is told exactly once per cause, whatever crashes in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.allocation.decide.promising import QueuedUnits, promise_moves
from services.allocation.handlers import promising
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.promising import continue_dating, tell_promises
from services.allocation.handlers.supplying import take_back_overdue_dates
from services.allocation.queries import promises as sql
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import StockBackordered, StockPromiseChanged, SupplyLine
from shared.messaging.message import Connection, Outgoing, Transaction
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    NOW,
    adjustment,
    at,
    cancellation,
    changed,
    dropped,
    edit,
    line,
    location,
    moved,
    order,
    preorder,
    products,
    receipt,
    received,
    supply,
    third_party_receipt,
)
from tests.conftest import EMPTY_THE_TABLES, Databases


@pytest.fixture
async def sold_out(desk: Desk) -> Desk:
    """Nothing of anything."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    return desk


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue is long from seven places on."""
    monkeypatch.setattr(promising, "DATED_AT_ONCE", 7)
    monkeypatch.setattr(promising, "TOLD_AT_ONCE", 3)


async def waiting(desk: Desk, count: int, *, sku: str = "MUG") -> list[OrderPlaced]:
    orders = [order(line(1, sku)) for _ in range(count)]
    await desk.hear(*orders)
    return orders


async def until_told(desk: Desk, first: Sequence[Outgoing] = ()) -> list[StockPromiseChanged]:
    """Everything that is said until nothing is due."""
    said = [*first, *(await desk.work(continue_dating)).outgoing, *(await desk.work(tell_promises)).outgoing]
    assert await desk.connection.fetchval("SELECT count(*) FROM promise_changes") == 0
    assert await desk.connection.fetchval("SELECT count(*) FROM promise_rounds") == 0
    return [item.data for item in said if isinstance(item.data, StockPromiseChanged)]


# ---------------------------------------------------------------------------------------------------- the statement and its oracle

PLACES = st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 40), st.sampled_from((1, 5, 5, 9))), max_size=12)
SUPPLIES = st.lists(st.tuples(st.none() | st.integers(0, 40), st.integers(1, 5), st.integers(0, 5)), max_size=7)


async def fill(connection: Connection, places: Any, supplies: Any, available: int, release: int | None) -> None:
    """Writes a queue, supplies and a pool as they are given: told dates, undated and partly received supplies, anything."""
    await connection.execute("INSERT INTO products (sku, hazmat, registered_at) VALUES ('MUG', false, now())")
    await connection.execute(
        "INSERT INTO locations (location, name, partner, hazmat_certified, active, registered_at) "
        "VALUES ('e', 'e', 'e', false, true, now())"
    )
    await connection.execute(
        "INSERT INTO stock_pools (sku, sellable, safety, release_at, queued) VALUES ('MUG', $1, $2, $3, $4)",
        max(0, available),
        max(0, -available),
        None if release is None else at(release),
        sum(quantity for quantity, _, _ in places),
    )
    for quantity, told, priority in places:
        await connection.execute(
            "INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, promised_ship_at, priority) "
            "VALUES ($1, '1', $1, 'MUG', $2, $2, 0, $3, $4)",
            new_id(),
            quantity,
            None if told is None else at(told),
            priority,
        )
    for ships, still, came in supplies:
        supply_id = new_id()
        await connection.execute(
            "INSERT INTO supplies (supply_id, location, expected_at, overdue) VALUES ($1, 'e', $2, $3)",
            supply_id,
            at(ships or 0),
            ships is None,
        )
        await connection.execute(
            "INSERT INTO supply_lines (supply_id, sku, quantity, received) VALUES ($1, 'MUG', $2, $3)", supply_id, still + came, came
        )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLACES, SUPPLIES, st.integers(-4, 6), st.none() | st.integers(0, 40))
def test_the_statement_dates_every_queue_as_the_pure_rule_does(
    oracle_loop: tuple[asyncio.Runner, Connection], places: Any, supplies: Any, available: int, release: int | None
) -> None:
    runner, connection = oracle_loop

    async def compare() -> None:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await fill(connection, places, supplies, available, release)
            rows = await connection.fetch(
                "SELECT demand_id, order_id, line_id, sku, queued, promised_ship_at FROM demand ORDER BY priority, demand_id"
            )
            coming = supplies_by_sku(await read_open_supplies(connection, ["MUG"])).get("MUG", [])
            release_at = None if release is None else at(release)
            expected = promise_moves([QueuedUnits(*row) for row in rows], coming, on_shelf=available, release_at=release_at)
            count = await sql.move_promises(connection, ["MUG"], new_id(), 1_000)
            noted = await connection.fetch("SELECT demand_id, quantity, old_ship_at, new_ship_at FROM promise_changes")
            assert {tuple(row) for row in noted} == {
                (move.place.demand_id, move.place.queued, move.place.promised_ship_at, move.new_ship_at) for move in expected
            }
            assert count == len(expected)
            assert await sql.move_promises(connection, ["MUG"], new_id(), 1_000) == 0, "once dated, nothing moves"
        finally:
            await transaction.rollback()

    runner.run(compare())


@pytest.fixture
def oracle_loop(servers: dict[str, str], reused_database: str) -> Any:
    """A loop and a connection that live through all examples; nothing is committed."""
    with asyncio.Runner() as runner:
        databases = Databases(servers["ADMIN_DATABASE_URL"], reused_database)

        async def connect() -> Connection:
            admin = await databases.connect_as_admin()
            await admin.execute(EMPTY_THE_TABLES)
            return await databases.connect("allocation")

        yield runner, runner.run(connect())
        runner.run(databases.close())


# --------------------------------------------------------------------------------------------------------------- long queues


async def test_every_order_of_a_long_queue_is_told_exactly_once_per_cause(sold_out: Desk, short_steps: None) -> None:
    orders = await waiting(sold_out, 40)
    coming = supply(60, at(600))
    told = await until_told(sold_out, (await sold_out.hear(coming)).outgoing)
    assert Counter(item.order_id for item in told) == Counter(placed.order_id for placed in orders)
    change = moved(coming, at(900))
    told = await until_told(sold_out, (await sold_out.hear(change)).outgoing)
    assert Counter(item.order_id for item in told) == Counter(placed.order_id for placed in orders)
    assert {(item.cause, item.cause_id, item.changed_at) for item in told} == {("supply_rescheduled", change.change_id, NOW)}
    assert {(part.old_ship_at, part.new_ship_at) for item in told for part in item.lines} == {(at(600), at(900))}


async def test_an_order_that_waits_for_several_skus_of_a_supply_is_told_of_all_in_one_message(sold_out: Desk, short_steps: None) -> None:
    orders = [order(line(1), line(1, "CUP", "2")) for _ in range(20)]
    await sold_out.hear(*orders)
    lines = [part for sku in ("MUG", "CUP") for part in supply(20, at(600), sku=sku).lines]
    told = await until_told(sold_out, (await sold_out.hear(supply(1, at(600)).model_copy(update={"lines": lines}))).outgoing)
    assert Counter(item.order_id for item in told) == Counter(placed.order_id for placed in orders)
    assert {tuple(part.sku for part in item.lines) for item in told} == {("MUG", "CUP")}


async def test_a_change_that_comes_before_the_last_one_is_told_is_a_cause_of_its_own(sold_out: Desk, short_steps: None) -> None:
    orders = await waiting(sold_out, 30)
    coming = supply(60, at(600))
    await until_told(sold_out, (await sold_out.hear(coming)).outgoing)
    first, second = moved(coming, at(900)), moved(coming, at(1_200))
    await sold_out.hear(received(first, time=at(1)))
    told = await until_told(sold_out, (await sold_out.hear(received(second, time=at(2)))).outgoing)
    by_cause = Counter((item.order_id, item.cause_id) for item in told)
    assert by_cause == Counter((placed.order_id, change.change_id) for placed in orders for change in (first, second))
    steps = {(item.cause_id, part.old_ship_at, part.new_ship_at) for item in told for part in item.lines}
    assert steps == {(first.change_id, at(600), at(900)), (second.change_id, at(900), at(1_200))}


async def test_a_crash_in_any_step_loses_no_message_and_doubles_none(sold_out: Desk, short_steps: None) -> None:
    orders = await waiting(sold_out, 30)
    await sold_out.hear(supply(60, at(600)))
    said: list[Outgoing] = []
    for run in (continue_dating, tell_promises):
        more = True
        while more:
            crashed = sold_out.connection.transaction()
            await crashed.start()
            await run(Transaction(sold_out.connection, NOW))
            await crashed.rollback()
            async with sold_out.connection.transaction():
                tx = Transaction(sold_out.connection, NOW)
                said += await run(tx)
            more = tx.more_is_due
    assert Counter(item.subject for item in said) == Counter(str(placed.order_id) for placed in orders)


async def test_several_processes_tell_every_order_once(sold_out: Desk, short_steps: None, databases: Databases) -> None:
    orders = await waiting(sold_out, 40) + await waiting(sold_out, 40, sku="CUP")
    await sold_out.hear(supply(60, at(600)))
    await sold_out.hear(supply(60, at(700), sku="CUP"))
    told: Counter[str | None] = Counter()

    async def work(connection: Connection) -> None:
        for run in (continue_dating, tell_promises):
            idle = 0
            while idle < 3:
                async with connection.transaction():
                    tx = Transaction(connection, NOW)
                    outgoing = await run(tx)
                told.update(item.subject for item in outgoing)
                idle = 0 if tx.more_is_due else idle + 1

    await asyncio.gather(*[work(await databases.connect("allocation")) for _ in range(4)])
    told.update(item.order_id.hex for item in await until_told(sold_out))
    assert {UUID(subject or "") for subject in told} == {placed.order_id for placed in orders}
    assert set(told.values()) == {1}


async def test_orders_that_got_their_units_before_they_were_told_are_not_told_of_a_date(sold_out: Desk, short_steps: None) -> None:
    orders = await waiting(sold_out, 20)
    await sold_out.hear(supply(60, at(600)))
    await sold_out.work(continue_dating)
    await sold_out.hear(cancellation(orders[3]))
    await sold_out.hear(receipt(2))
    sold_out.now = at(5)
    told = {item.order_id for item in await until_told(sold_out)}
    assert told == {placed.order_id for placed in orders} - {orders[0].order_id, orders[1].order_id, orders[3].order_id}


async def test_other_orders_are_placed_while_a_long_queue_is_being_told(sold_out: Desk, short_steps: None) -> None:
    await waiting(sold_out, 20)
    coming = supply(60, at(600))
    await sold_out.hear(coming)
    (late,) = await waiting(sold_out, 1)
    assert await sold_out.connection.fetchval("SELECT promised_ship_at FROM demand WHERE order_id = $1", late.order_id) == at(600)
    assert late.order_id not in {item.order_id for item in await until_told(sold_out)}


# ------------------------------------------------------------------------------------------------- queues that move by themselves


async def later_told(desk: Desk) -> dict[UUID, tuple[str, datetime | None, datetime | None]]:
    """What is told some minutes later, when movements of queues have been gathered."""
    desk.now = desk.now + timedelta(minutes=5)
    return {item.order_id: (item.cause, item.lines[0].old_ship_at, item.lines[0].new_ship_at) for item in await until_told(desk)}


async def two_supplies(desk: Desk, count: int) -> list[OrderPlaced]:
    orders = await waiting(desk, count)
    await desk.hear(supply(2, at(600)), supply(2, at(900)))
    return orders


async def test_a_cancellation_ahead_pulls_promises_in(sold_out: Desk) -> None:
    orders = await two_supplies(sold_out, 3)
    await sold_out.hear(cancellation(orders[0]))
    assert await later_told(sold_out) == {orders[2].order_id: ("queue_moved", at(900), at(600))}


async def test_goods_that_nobody_announced_pull_promises_in(sold_out: Desk) -> None:
    orders = await two_supplies(sold_out, 4)
    await sold_out.hear(receipt(1))
    assert await later_told(sold_out) == {orders[2].order_id: ("queue_moved", at(900), at(600))}


async def test_goods_that_were_announced_move_nobody(sold_out: Desk) -> None:
    await waiting(sold_out, 4)
    coming = supply(2, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(receipt(1, supply_id=coming.supply_id))
    await sold_out.hear(received(third_party_receipt(1).data.model_copy(update={"supply_id": coming.supply_id}), partner="acme"))
    assert await sold_out.connection.fetchval("SELECT count(*) FROM promise_dating") == 0
    assert await later_told(sold_out) == {}


async def test_goods_of_a_later_supply_that_come_first_pull_the_promises_of_who_waited_for_them_in(sold_out: Desk) -> None:
    orders = await waiting(sold_out, 3)
    late = supply(2, at(900))
    await sold_out.hear(supply(2, at(600)), late)
    await sold_out.hear(receipt(1, supply_id=late.supply_id))
    assert await later_told(sold_out) == {orders[2].order_id: ("queue_moved", at(900), at(600))}


async def test_a_shortage_pushes_the_promises_of_who_came_later_out(sold_out: Desk) -> None:
    await sold_out.hear(receipt(1))
    first = order(line(1))
    await sold_out.hear(first)
    orders = await two_supplies(sold_out, 2)
    await sold_out.hear(adjustment(0))
    assert await sold_out.line(first.order_id) == {"units": 1, "queued": 1}
    assert await later_told(sold_out) == {orders[1].order_id: ("queue_moved", at(600), at(900))}


async def test_who_joins_a_higher_class_pushes_the_promises_of_the_others_out(sold_out: Desk) -> None:
    orders = await two_supplies(sold_out, 2)
    first = order(line(1), priority=1)
    heard = await sold_out.hear(first)
    assert heard.one(StockBackordered).lines[0].promised_ship_at == at(600)
    assert await later_told(sold_out) == {orders[1].order_id: ("queue_moved", at(600), at(900))}
    last = order(line(1), priority=9)
    await sold_out.hear(last)
    assert await later_told(sold_out) == {}, "who joins the last class overtakes nobody"


async def test_units_that_an_edit_adds_to_a_higher_class_push_the_others_out(sold_out: Desk) -> None:
    first = order(line(1), priority=1)
    await sold_out.hear(first)
    orders = await two_supplies(sold_out, 1)
    await sold_out.hear(edit(first, line(2)))
    assert await later_told(sold_out) == {orders[0].order_id: ("queue_moved", at(600), at(900))}


async def test_several_movements_of_a_queue_are_told_once(sold_out: Desk) -> None:
    orders = await two_supplies(sold_out, 4)
    await sold_out.hear(cancellation(orders[0]))
    await sold_out.hear(cancellation(orders[1]))
    sold_out.now = at(0.1)
    assert await until_told_nothing(sold_out)
    assert await later_told(sold_out) == {
        orders[2].order_id: ("queue_moved", at(900), at(600)),
        orders[3].order_id: ("queue_moved", at(900), at(600)),
    }


async def test_what_moved_a_line_after_it_was_told_its_date_is_the_newer_word(sold_out: Desk) -> None:
    orders = await two_supplies(sold_out, 3)
    await sold_out.hear(cancellation(orders[0]))
    sold_out.now = at(0.1)
    joined, ahead = order(line(1)), orders[1]
    first = (await sold_out.hear(joined)).one(StockBackordered)
    await sold_out.hear(cancellation(ahead))
    sold_out.now = at(1)
    moved = next(told for told in await until_told(sold_out) if told.order_id == joined.order_id)
    assert (first.lines[0].promised_ship_at, moved.lines[0].new_ship_at) == (at(900), at(600))
    assert moved.changed_at > first.backordered_at


async def until_told_nothing(desk: Desk) -> bool:
    return not (await desk.work(continue_dating)).outgoing and not (await desk.work(tell_promises)).outgoing


async def test_a_change_of_supply_soon_after_a_movement_tells_both_at_once(sold_out: Desk) -> None:
    orders = await waiting(sold_out, 3)
    coming = supply(2, at(600))
    await sold_out.hear(coming, supply(2, at(900)))
    await sold_out.hear(cancellation(orders[0]))
    told = (await sold_out.hear(moved(coming, at(700)))).of(StockPromiseChanged)
    assert {item.order_id: item.lines[0].new_ship_at for item in told} == {orders[1].order_id: at(700), orders[2].order_id: at(700)}
    assert await later_told(sold_out) == {}


async def test_a_change_of_supply_keeps_movements_of_queues_that_it_does_not_date(sold_out: Desk) -> None:
    await sold_out.hear(products("CUP"))
    orders = await waiting(sold_out, 3)
    coming = supply(2, at(600))
    both = coming.model_copy(update={"lines": [*coming.lines, SupplyLine(sku="CUP", quantity=5)]})
    await sold_out.hear(both, supply(2, at(900)))
    await sold_out.hear(cancellation(orders[0]))
    await sold_out.hear(changed(both, CUP=4))
    assert await later_told(sold_out) == {orders[2].order_id: ("queue_moved", at(900), at(600))}


async def test_an_early_release_in_parts_gives_the_rest_its_supply_dates(sold_out: Desk) -> None:
    await sold_out.hear(preorder(at(2_000), early_release=True))
    orders = await waiting(sold_out, 2)
    await sold_out.hear(supply(2, at(600)))
    await sold_out.hear(receipt(1))
    assert await later_told(sold_out) == {orders[1].order_id: ("queue_moved", at(2_000), at(600))}


# --------------------------------------------------------------------------------------------------------------- time goes by


async def test_goods_that_have_not_come_a_day_after_their_date_promise_nothing_any_more(sold_out: Desk) -> None:
    orders = await waiting(sold_out, 2)
    coming = supply(1, at(600))
    await sold_out.hear(coming, supply(3, at(10_000)))
    sold_out.now = at(600) + timedelta(hours=23)
    assert not (await sold_out.work(take_back_overdue_dates)).outgoing
    sold_out.now = at(600) + timedelta(hours=25)
    heard = await sold_out.work(take_back_overdue_dates)
    told = {item.order_id: (item.cause, item.lines[0].old_ship_at, item.lines[0].new_ship_at) for item in heard.of(StockPromiseChanged)}
    assert told == {orders[0].order_id: ("supply_overdue", at(600), at(10_000))}, "the next supply serves who is first"
    assert not (await sold_out.work(take_back_overdue_dates)).outgoing
    again = received(moved(coming, sold_out.now + timedelta(days=3)), time=sold_out.now)
    assert (await sold_out.hear(again)).one(StockPromiseChanged).lines[0].new_ship_at == sold_out.now + timedelta(days=3)


async def test_an_overdue_supply_is_told_once_by_several_processes(sold_out: Desk, databases: Databases) -> None:
    await waiting(sold_out, 1)
    await sold_out.hear(supply(1, at(600)))

    async def work(connection: Connection) -> int:
        async with connection.transaction():
            outgoing = await take_back_overdue_dates(Transaction(connection, at(600) + timedelta(days=2)))
            return sum(isinstance(item.data, StockPromiseChanged) for item in outgoing)

    assert sum(await asyncio.gather(*[work(await databases.connect("allocation")) for _ in range(3)])) == 1


async def test_what_came_or_was_called_off_is_never_overdue(sold_out: Desk) -> None:
    came, called_off = supply(1, at(600)), supply(1, at(600))
    await sold_out.hear(came, called_off)
    await sold_out.hear(receipt(1, supply_id=came.supply_id))
    await sold_out.hear(dropped(called_off))
    sold_out.now = at(600) + timedelta(days=2)
    assert not (await sold_out.work(take_back_overdue_dates)).outgoing
