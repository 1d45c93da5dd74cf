"""Holds, safety stock and rules of channels together with what is on its way: dates, preorders, kits (features A5, A9, B1, B3, B4)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.allocation.audit import FACTS
from services.allocation.decide.books import Books
from services.allocation.decide.offering import date_of_place, offers_of
from services.allocation.decide.pools import ChannelPool, takeable_units, units_for_sale, units_to_come, waiting_units
from services.allocation.decide.stock import Cause, Demand, OrderState, Pool, SupplyUnits
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.holding import expire_holds
from services.allocation.handlers.preordering import release_due_preorders
from services.allocation.handlers.promising import QUEUE_MOVES_GATHERED, continue_dating, tell_promises
from services.allocation.queries import promises as sql
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.holds import StockHoldAnswered, StockHoldRequested
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import Availability, StockAvailabilityChanged, StockBackordered, StockPromiseChanged, StockReserved
from shared.messaging.message import Connection
from tests.allocation.conftest import Desk, Heard
from tests.allocation.messages import (
    NOW,
    adjustment,
    at,
    cancellation,
    changed,
    dropped,
    edit,
    kit,
    line,
    location,
    moved,
    plan,
    planned,
    preorder,
    preorder_closed,
    products,
    receipt,
    received,
    shipped,
    supply,
    units,
)
from tests.allocation.wishes import channel_rule, hold, naming, release, safety, sold_by, sweep
from tests.conftest import EMPTY_THE_TABLES, Databases

RELEASE = at(1_000)
CHANNELS = ("web", "shop", "market")


def a_rule(
    channel: str, *, fence: int = 0, cap: int | None = None, share: int | None = None, opened: int = 0, queued: int = 0
) -> ChannelPool:
    return ChannelPool("MUG", channel, fence, cap, share, opened, queued, new_id(), 1)


# -------------------------------------------------------------------------------------------------------- the rule and its oracles

RULES = st.lists(
    st.builds(a_rule, st.sampled_from(CHANNELS), fence=st.integers(0, 8), cap=st.none() | st.integers(0, 12), opened=st.integers(0, 6)),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: rule.channel,
)
QUEUE = st.lists(st.tuples(st.sampled_from((*CHANNELS, "other")), st.integers(1, 4), st.sampled_from((1, 5, 5, 9))), max_size=10)
MORE_THAN_ENOUGH = 90


def books_with(rules: Sequence[ChannelPool], queue: Sequence[tuple[str, int, int]], free: int) -> tuple[Books, Pool]:
    """One SKU: rules, what their channels have, a queue, and some free units; below zero more is kept back than there is."""
    opened = sum(rule.open for rule in rules)
    pool = Pool("MUG", sellable=opened + max(0, free), reserved=opened, safety=max(0, -free), channels=list(rules))
    books = Books(pools={"MUG": pool})
    cause = Cause(new_id(), NOW)
    books.touch("MUG", cause)
    for channel, quantity, priority in queue:
        order_id = new_id()
        books.orders[order_id] = OrderState(1)
        row = books.add_demand(Demand(new_id(), order_id, "1", "MUG", 0, priority=priority, channel=channel))
        books.enqueue(row, quantity, cause)
    books.share_out("MUG")
    return books, pool


def ahead_of(books: Books, row: Demand) -> Counter[str]:
    """Units that wait up to and including a place, by channel."""
    ahead: Counter[str] = Counter()
    for other in books.demand_of("MUG"):
        if other.place <= row.place:
            ahead[other.channel] += other.queued
    return ahead


@given(RULES, QUEUE, st.integers(-5, 20), st.integers(1, 7))
def test_a_place_is_served_by_exactly_the_unit_that_its_date_is_taken_from(
    rules: list[ChannelPool], queue: list[tuple[str, int, int]], free: int, step: int
) -> None:
    books, pool = books_with(rules, queue, free)
    needed = {
        row.demand_id: units_to_come(pool.free, pool.channels, ahead_of(books, row), row.channel)
        for row in books.demand_of("MUG")
        if row.queued
    }
    assert all(units is None or units > 0 for units in needed.values()), "whoever may have what is there has it already"
    served: dict[UUID, int] = {}
    for come in range(step, MORE_THAN_ENOUGH, step):
        pool.sellable += step
        books.share_out("MUG")
        for demand_id in needed.keys() - served.keys():
            if not books.demand[demand_id].queued:
                served[demand_id] = come
    assert {demand_id: -(-units // step) * step for demand_id, units in needed.items() if units is not None} == served


@given(RULES, QUEUE, st.integers(-5, 20), st.integers(0, 30), st.sampled_from((*CHANNELS, "other")))
def test_what_a_channel_may_sell_ahead_is_what_it_could_take_once_everybody_had_his(
    rules: list[ChannelPool], queue: list[tuple[str, int, int]], free: int, coming: int, channel: str
) -> None:
    books, pool = books_with(rules, queue, free)
    for_sale = units_for_sale(pool.free + coming, pool.channels, waiting_units(pool.queued, pool.channels), channel)
    pool.sellable += coming
    books.share_out("MUG")
    rest = waiting_units(pool.queued, pool.channels)
    own = rest.get(channel, rest[""])
    assert for_sale == (0 if own else takeable_units(pool.free, pool.channels, channel))


@given(
    st.lists(
        st.builds(
            a_rule,
            st.sampled_from(CHANNELS),
            fence=st.integers(0, 8),
            cap=st.none() | st.integers(0, 12),
            share=st.none() | st.integers(0, 100),
            opened=st.integers(0, 6),
            queued=st.integers(0, 6),
        ),
        max_size=3,
        unique_by=lambda rule: rule.channel,
    ),
    st.integers(-5, 20),
    st.integers(0, 30),
    st.integers(0, 6),
)
def test_a_preorder_is_never_oversold_by_any_channel(rules: list[ChannelPool], free: int, coming: int, others: int) -> None:
    waiting = sum(rule.queued for rule in rules) + others
    supplies = [SupplyUnits("MUG", at(60), coming)] if coming else []
    told = offers_of(free, waiting, rules, supplies, RELEASE)
    assert all(offer.sellable.mode == ("preorder" if offer.sellable.available else "sold_out") for offer in told)
    for offer in told:
        rule = next((rule for rule in rules if rule.channel == offer.pool), None)
        assert offer.sellable.available <= max(0, free + coming - (rule.queued if rule else others))
        if rule is not None and rule.cap is not None:
            assert offer.sellable.available <= max(0, rule.cap - rule.open - rule.queued)


RULES_OF_ANY_KIND = st.lists(
    st.builds(
        a_rule,
        st.sampled_from(CHANNELS),
        fence=st.integers(0, 8),
        cap=st.none() | st.integers(0, 12),
        share=st.none() | st.just(50),
        opened=st.integers(0, 6),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: rule.channel,
)
SUPPLIES = st.lists(st.tuples(st.none() | st.integers(0, 40), st.integers(1, 6)), max_size=6)


@pytest.fixture
def oracle(servers: dict[str, str], reused_database: str) -> Any:
    """A loop and a connection that live through all examples; nothing is committed."""
    with asyncio.Runner() as runner:
        databases = Databases(servers["ADMIN_DATABASE_URL"], reused_database)

        async def connect() -> Connection:
            admin = await databases.connect_as_admin()
            await admin.execute(EMPTY_THE_TABLES)
            return await databases.connect("allocation")

        yield runner, runner.run(connect())
        runner.run(databases.close())


async def fill(connection: Connection, pool: Pool, books: Books, supplies: Any, release: int | None) -> None:
    """Writes a pool, its rules, its queue and what is on its way."""
    await connection.execute("INSERT INTO products (sku, hazmat, registered_at) VALUES ('MUG', false, now())")
    await connection.execute(
        "INSERT INTO locations (location, name, partner, hazmat_certified, active, registered_at) "
        "VALUES ('e', 'e', 'e', false, true, now())"
    )
    await connection.execute(
        "INSERT INTO stock_pools (sku, sellable, reserved, safety, fenced, ruled, queued, release_at) "
        "VALUES ('MUG', $1, $2, $3, $4, true, $5, $6)",
        pool.sellable,
        pool.reserved,
        pool.safety,
        pool.numbers.fenced,
        pool.queued,
        None if release is None else at(release),
    )
    for rule in pool.channels:
        await connection.execute(
            "INSERT INTO channel_pools (sku, channel, fence, cap, share_percent, open, queued, seniority, rule_version) "
            "VALUES ('MUG', $1, $2, $3, $4, $5, $6, $7, 1)",
            *(rule.channel, rule.fence, rule.cap, rule.share_percent, rule.open, rule.queued, rule.seniority),
        )
    for row in books.demand_of("MUG"):
        await connection.execute(
            "INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, priority, channel) "
            "VALUES ($1, '1', $2, 'MUG', $3, $4, $5, $6, $7)",
            *(row.order_id, row.demand_id, row.units, row.queued, row.reserved, row.priority, row.channel),
        )
    for ships, quantity in supplies:
        supply_id = new_id()
        await connection.execute(
            "INSERT INTO supplies (supply_id, location, expected_at, overdue) VALUES ($1, 'e', $2, $3)",
            supply_id,
            at(ships or 0),
            ships is None,
        )
        await connection.execute("INSERT INTO supply_lines (supply_id, sku, quantity) VALUES ($1, 'MUG', $2)", supply_id, quantity)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RULES_OF_ANY_KIND, QUEUE, SUPPLIES, st.integers(-5, 20), st.none() | st.integers(0, 40))
def test_the_statement_dates_a_queue_under_rules_as_the_pure_rule_does(
    oracle: tuple[asyncio.Runner, Connection],
    rules: list[ChannelPool],
    queue: list[tuple[str, int, int]],
    supplies: Any,
    free: int,
    release: int | None,
) -> None:
    runner, connection = oracle
    books, pool = books_with([replace(rule) for rule in rules], queue, free)

    async def compare() -> None:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await fill(connection, pool, books, supplies, release)
            coming = supplies_by_sku(await read_open_supplies(connection, ["MUG"])).get("MUG", [])
            release_at = None if release is None else at(release)
            expected = {
                row.demand_id: date_of_place(pool.free, pool.channels, ahead_of(books, row), row.channel, coming, release_at=release_at)
                for row in books.demand_of("MUG")
                if row.queued
            }
            await sql.move_promises(connection, ["MUG"], new_id(), 1_000)
            rows = await connection.fetch("SELECT demand_id, promised_ship_at FROM demand WHERE queued > 0")
            assert {row["demand_id"]: row["promised_ship_at"] for row in rows} == expected
        finally:
            await transaction.rollback()

    runner.run(compare())


# ---------------------------------------------------------------------------------------------------------------------- stories


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Mugs and cups are sold; none is there."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    return desk


async def promised(desk: Desk, placed: OrderPlaced) -> datetime | None:
    """What an order was told last of its waiting line."""
    date: datetime | None = await desk.connection.fetchval(
        "SELECT promised_ship_at FROM demand WHERE order_id = $1 AND queued > 0", placed.order_id
    )
    return date


async def redated(desk: Desk) -> list[StockPromiseChanged]:
    """What is told when the movements of queues have been gathered."""
    desk.now += QUEUE_MOVES_GATHERED
    await desk.work(continue_dating)
    return (await desk.work(tell_promises)).of(StockPromiseChanged)


def told(heard: Heard, sku: str = "MUG") -> dict[str, Availability]:
    """The newest numbers that channels were told, by pool."""
    return {change.pool: change for said in heard.of(StockAvailabilityChanged) for change in said.changes if change.sku == sku}


def numbers(heard: Heard) -> dict[str, tuple[int, str]]:
    return {pool: (change.available, change.mode) for pool, change in told(heard).items()}


async def test_held_units_are_promised_to_nobody_and_their_end_brings_the_queue_nearer(shop: Desk) -> None:
    await shop.hear(receipt(2))
    wish, waiting = hold(("MUG", 2)), sold_by("web", line(2))
    await shop.hear(wish)
    await shop.hear(supply(1, at(600)), supply(2, at(900)))
    assert (await shop.hear(waiting)).one(StockBackordered).lines[0].promised_ship_at == at(900)
    behind = sold_by("web", line(1))
    assert (await shop.hear(behind)).one(StockBackordered).lines[0].promised_ship_at == at(900)
    await shop.hear(release(wish))
    assert await shop.line(waiting.order_id) == {"units": 2, "reserved": 2}
    [change] = await redated(shop)
    assert (change.order_id, change.cause, change.lines[0].new_ship_at) == (behind.order_id, "queue_moved", at(600))


async def test_what_a_hold_has_beyond_its_order_brings_those_who_go_on_waiting_nearer(shop: Desk) -> None:
    await shop.hear(receipt(3))
    wish, first, second = hold(("MUG", 3)), sold_by("web", line(1)), sold_by("web", line(1))
    await shop.hear(wish)
    await shop.hear(supply(1, at(600)), supply(9, at(900)))
    await shop.hear(first, second)
    assert (await promised(shop, first), await promised(shop, second)) == (at(600), at(900))
    await shop.hear(naming(wish, line(2)))
    assert await shop.line(first.order_id) == {"units": 1, "reserved": 1}
    assert [(change.order_id, change.lines[0].new_ship_at) for change in await redated(shop)] == [(second.order_id, at(600))]


async def test_raising_the_safety_stock_puts_dates_off_and_lowering_it_brings_them_back(shop: Desk) -> None:
    await shop.hear(supply(2, at(600)), supply(9, at(900)))
    waiting = sold_by("web", line(2))
    assert (await shop.hear(waiting)).one(StockBackordered).lines[0].promised_ship_at == at(600)
    await shop.hear(safety(1))
    assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(900)]
    await shop.hear(safety(0))
    assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(600)]


class TestSafetyStockOfLocations:
    async def test_what_comes_fills_it_up_before_anybody_gets_something(self, shop: Desk) -> None:
        await shop.hear(safety(2, location="east"))
        await shop.hear(supply(3, at(600)), supply(3, at(900)))
        first, second = sold_by("web", line(1)), sold_by("web", line(1))
        heard = await shop.hear(first, second)
        assert {said.order_id: said.lines[0].promised_ship_at for said in heard.of(StockBackordered)} == {
            first.order_id: at(600),
            second.order_id: at(900),
        }
        await shop.hear(receipt(3))
        assert (await shop.line(first.order_id), await shop.line(second.order_id)) == (
            {"units": 1, "reserved": 1},
            {"units": 1, "queued": 1},
        )

    async def test_another_location_owes_it_nothing(self, shop: Desk) -> None:
        await shop.hear(location("west"))
        await shop.hear(safety(5, location="east"))
        await shop.hear(supply(1, at(600), at_location="west"))
        assert (await shop.hear(sold_by("web", line(1)))).one(StockBackordered).lines[0].promised_ship_at == at(600)

    async def test_lowering_it_where_nothing_lies_brings_dates_nearer(self, shop: Desk) -> None:
        await shop.hear(safety(2, location="east"))
        await shop.hear(supply(2, at(600)), supply(9, at(900)))
        waiting = sold_by("web", line(1))
        assert (await shop.hear(waiting)).one(StockBackordered).lines[0].promised_ship_at == at(900)
        assert told(await shop.hear(safety(0, location="east")))["default"].next_ship_at == at(600)
        assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(600)]

    async def test_a_count_that_finds_some_of_it_brings_dates_nearer_although_no_more_is_for_sale(self, shop: Desk) -> None:
        await shop.hear(safety(2, location="east"))
        await shop.hear(supply(2, at(600)), supply(9, at(900)))
        waiting = sold_by("web", line(1))
        await shop.hear(waiting)
        await shop.hear(adjustment(1))
        assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(600)]

    async def test_a_preorder_is_sold_ahead_without_what_fills_it_up(self, shop: Desk) -> None:
        await shop.hear(safety(4, location="east"))
        await shop.hear(supply(10, at(900)))
        assert numbers(await shop.hear(preorder(RELEASE))) == {"default": (6, "preorder")}


class TestPreorders:
    async def test_a_preorder_counts_what_is_held_as_sold(self, shop: Desk) -> None:
        await shop.hear(receipt(5))
        wish = hold(("MUG", 2))
        await shop.hear(wish)
        await shop.hear(supply(10, at(900)))
        assert numbers(await shop.hear(preorder(RELEASE))) == {"default": (13, "preorder")}
        placed = naming(wish, line(2))
        assert (await shop.hear(placed)).of(StockAvailabilityChanged) == [], "what was held was not for sale before either"
        assert await shop.line(placed.order_id) == {"units": 2, "reserved": 2}

    async def test_a_hold_of_a_preorder_holds_nothing_because_nobody_gets_units_before_the_release(self, shop: Desk) -> None:
        await shop.hear(receipt(5))
        await shop.hear(preorder(RELEASE))
        heard = await shop.hear(hold(("MUG", 1)))
        assert (heard.one(StockHoldAnswered).outcome, heard.of(StockAvailabilityChanged)) == ("nothing_held", [])
        whole = await shop.hear(hold(("MUG", 1), channel="shop", policy="all_or_nothing"))
        assert whole.one(StockHoldAnswered).outcome == "nothing_held"
        await shop.hear(preorder_closed())
        assert (await shop.hear(hold(("MUG", 1)))).one(StockHoldAnswered).outcome == "held"

    async def test_what_a_hold_of_a_preorder_gives_back_may_be_sold_ahead_and_redates_who_waits(self, shop: Desk) -> None:
        await shop.hear(receipt(2))
        wish = hold(("MUG", 2))
        await shop.hear(wish)
        await shop.hear(preorder(at(100)))
        await shop.hear(supply(1, at(600)))
        waiting = sold_by("web", line(2))
        assert (await shop.hear(waiting)).one(StockBackordered).lines[0].promised_ship_at is None
        assert numbers(await shop.hear(release(wish))) == {"default": (1, "preorder")}
        assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(100)]

    async def test_goods_that_are_all_held_release_nothing_until_the_holds_end(self, shop: Desk) -> None:
        await shop.hear(receipt(1))
        wish, waiting = hold(("MUG", 1)), sold_by("web", line(1))
        await shop.hear(wish)
        await shop.hear(preorder(at(-5)))
        await shop.hear(waiting)
        assert (await shop.pool())["release_at"] is not None
        await shop.hear(release(wish))
        assert await shop.line(waiting.order_id) == {"units": 1, "reserved": 1}

    async def test_a_preorder_is_capped_for_each_channel_by_its_rule(self, shop: Desk) -> None:
        await shop.hear(supply(10, at(900)))
        await shop.hear(preorder(RELEASE))
        await shop.hear(channel_rule("shop", fence=4))
        assert numbers(await shop.hear(channel_rule("market", cap=2))) == {
            "default": (6, "preorder"),
            "shop": (10, "preorder"),
            "market": (2, "preorder"),
        }
        assert numbers(await shop.hear(sold_by("shop", line(3)))) == {
            "default": (6, "preorder"),
            "shop": (7, "preorder"),
            "market": (2, "preorder"),
        }
        assert numbers(await shop.hear(sold_by("market", line(2)))) == {
            "default": (4, "preorder"),
            "shop": (5, "preorder"),
            "market": (0, "sold_out"),
        }
        assert numbers(await shop.hear(sold_by("web", line(4)))) == {
            "default": (0, "sold_out"),
            "shop": (1, "preorder"),
            "market": (0, "sold_out"),
        }

    async def test_an_order_beyond_its_channels_cap_waits_without_a_date(self, shop: Desk) -> None:
        await shop.hear(supply(10, at(900)))
        await shop.hear(preorder(RELEASE))
        await shop.hear(channel_rule("market", cap=2))
        within, beyond, other = sold_by("market", line(2)), sold_by("market", line(1)), sold_by("web", line(8))
        heard = await shop.hear(within, beyond, other)
        dates = {said.order_id: said.lines[0].promised_ship_at for said in heard.of(StockBackordered)}
        assert dates == {within.order_id: RELEASE, beyond.order_id: None, other.order_id: RELEASE}

    async def test_a_released_preorder_is_shared_out_by_the_rules(self, shop: Desk) -> None:
        await shop.hear(preorder(at(-5)))
        await shop.hear(channel_rule("shop", fence=3))
        web, own = sold_by("web", line(2)), sold_by("shop", line(1))
        await shop.hear(web, own)
        heard = await shop.hear(receipt(4))
        assert {said.order_id: said.lines[0].quantity for said in heard.of(StockReserved)} == {web.order_id: 1, own.order_id: 1}
        assert (await shop.pool())["release_at"] is None
        assert numbers(heard) == {"default": (0, "backorder"), "shop": (2, "in_stock")}

    async def test_a_preorder_whose_goods_are_all_set_aside_is_released_all_the_same(self, shop: Desk) -> None:
        await shop.hear(preorder(RELEASE))
        await shop.hear(channel_rule("shop", fence=9))
        own = sold_by("shop", line(2))
        await shop.hear(own)
        await shop.hear(receipt(3))
        shop.now = RELEASE + timedelta(minutes=1)
        await shop.work(release_due_preorders)
        assert await shop.line(own.order_id) == {"units": 2, "reserved": 2}

    async def test_a_kit_is_sold_ahead_as_far_as_no_fence_protects_its_component(self, shop: Desk) -> None:
        await shop.hear(receipt(8, "CUP"))
        await shop.hear(kit("SET", MUG=2, CUP=1))
        await shop.hear(supply(10, at(900)))
        await shop.hear(preorder(RELEASE))
        assert told(await shop.hear(channel_rule("shop", fence=5)), "SET")["default"].available == 2
        assert told(await shop.hear(sold_by("web", line(2))), "SET")["default"].available == 1
        assert told(await shop.hear(sold_by("shop", line(5))), "SET") == {}, "they wait for what is set aside for them"


class TestDatesUnderRules:
    async def test_what_comes_fills_the_fences_first_and_then_serves_the_queue(self, shop: Desk) -> None:
        await shop.hear(channel_rule("shop", fence=2))
        await shop.hear(supply(2, at(600)), supply(3, at(900)))
        web, own = sold_by("web", line(1)), sold_by("shop", line(3))
        heard = await shop.hear(web, own)
        dates = {said.order_id: said.lines[0].promised_ship_at for said in heard.of(StockBackordered)}
        assert dates == {web.order_id: at(900), own.order_id: at(900)}
        small = sold_by("shop", line(1))
        await shop.hear(cancellation(own))
        await shop.hear(small)
        assert await promised(shop, small) == at(600)

    async def test_each_channel_is_told_when_its_next_order_would_ship(self, shop: Desk) -> None:
        await shop.hear(channel_rule("shop", fence=2), channel_rule("market", cap=1), channel_rule("club", share=50))
        heard = await shop.hear(supply(2, at(600)), supply(3, at(900)))
        dates = {pool: (change.mode, change.next_ship_at) for pool, change in told(heard).items()}
        assert dates == {
            "default": ("backorder", at(900)),
            "shop": ("backorder", at(600)),
            "market": ("backorder", at(900)),
            "club": ("backorder", None),
        }
        heard = await shop.hear(sold_by("market", line(1)))
        assert (told(heard)["market"].mode, told(heard)["market"].next_ship_at) == ("sold_out", None)

    async def test_an_order_beyond_its_cap_has_no_date_until_a_parcel_makes_room(self, shop: Desk) -> None:
        await shop.hear(receipt(2))
        await shop.hear(channel_rule("market", cap=2))
        has, wants, parcel = sold_by("market", line(2)), sold_by("market", line(1)), planned("east", units(1))
        await shop.hear(has)
        await shop.hear(supply(5, at(600)))
        assert (await shop.hear(wants)).one(StockBackordered).lines[0].promised_ship_at is None
        await shop.hear(plan(has, parcel, planned("east", units(1))))
        await shop.hear(shipped(has, parcel))
        assert [(change.order_id, change.lines[0].new_ship_at) for change in await redated(shop)] == [(wants.order_id, at(600))]

    async def test_who_waits_for_a_share_has_no_date_and_gets_his_units_all_the_same(self, shop: Desk) -> None:
        await shop.hear(channel_rule("club", share=50))
        await shop.hear(supply(4, at(600)))
        waiting = sold_by("club", line(2))
        assert (await shop.hear(waiting)).one(StockBackordered).lines[0].promised_ship_at is None
        await shop.hear(receipt(4))
        assert await shop.line(waiting.order_id) == {"units": 2, "reserved": 2}

    async def test_a_fence_that_is_set_or_ended_moves_the_dates_of_who_waits(self, shop: Desk) -> None:
        await shop.hear(supply(2, at(600)), supply(9, at(900)))
        waiting = sold_by("web", line(2))
        await shop.hear(waiting)
        await shop.hear(channel_rule("shop", fence=1))
        assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(900)]
        await shop.hear(channel_rule("shop"))
        assert [change.lines[0].new_ship_at for change in await redated(shop)] == [at(600)]

    async def test_a_date_change_tells_everybody_under_rules_once(self, shop: Desk) -> None:
        await shop.hear(channel_rule("shop", fence=1))
        coming = supply(3, at(600))
        await shop.hear(coming)
        web, own = sold_by("web", line(1)), sold_by("shop", line(1))
        await shop.hear(web, own)
        heard = await shop.hear(moved(coming, at(800)))
        assert {change.order_id: change.lines[0].new_ship_at for change in heard.of(StockPromiseChanged)} == {
            web.order_id: at(800),
            own.order_id: at(800),
        }

    async def test_a_higher_class_overtakes_under_rules_too_and_the_others_are_told(self, shop: Desk) -> None:
        await shop.hear(channel_rule("shop", fence=1))
        await shop.hear(supply(2, at(600)), supply(5, at(900)))
        ordinary, urgent = sold_by("web", line(1)), sold_by("web", line(1)).model_copy(update={"priority": 1})
        await shop.hear(ordinary)
        assert await promised(shop, ordinary) == at(600)
        await shop.hear(urgent)
        assert await promised(shop, urgent) == at(600)
        assert [(change.order_id, change.lines[0].new_ship_at) for change in await redated(shop)] == [(ordinary.order_id, at(900))]

    async def test_units_that_a_hold_gives_back_go_to_who_waits_and_not_to_a_newcomer_of_the_same_batch(self, shop: Desk) -> None:
        await shop.hear(receipt(2))
        await shop.hear(channel_rule("market", cap=2))
        wish, waiting = hold(("MUG", 2), channel="market"), sold_by("market", line(1))
        await shop.hear(wish)
        await shop.hear(waiting)
        newcomer = sold_by("market", line(1))
        await shop.hear(naming(wish, line(1), channel="market"), newcomer)
        assert await shop.line(waiting.order_id) == {"units": 1, "reserved": 1}
        assert await shop.line(newcomer.order_id) == {"units": 1, "queued": 1}


# ------------------------------------------------------------------------------------------------------------ any day whatsoever


@pytest.mark.parametrize("seed", range(4))
async def test_on_any_day_of_orders_holds_rules_and_supplies_the_books_balance_and_every_date_is_right(shop: Desk, seed: int) -> None:
    """After every message the audit looks: dates, holds, rules, releases. At the end what channels were told last is what is true."""
    await shop.hear(kit("SET", MUG=1, CUP=1))
    day = _Day(shop, random.Random(seed))
    for _ in range(70):
        await day.go_on()
    await day.rest()
    facts = {fact.name: fact.sql for fact in FACTS}
    sold = dict([tuple(row) for row in await shop.connection.fetch(facts["available_to_sell"])])
    assert {sku: day.shown[sku, "default"] for sku in sold if (sku, "default") in day.shown} == {
        sku: units for sku, units in sold.items() if (sku, "default") in day.shown
    }
    for row in await shop.connection.fetch(facts["available_to_channel"]):
        assert day.shown[tuple(row[0].split("|"))] == row[1]


class _Day:
    """Things happen to two SKUs, a kit and three channels, in any order."""

    def __init__(self, desk: Desk, chance: random.Random) -> None:
        self.desk = desk
        self.chance = chance
        self.placed: list[OrderPlaced] = []
        self.holds: list[StockHoldRequested] = []
        self.supplies: list[Any] = []
        self.shown: dict[tuple[str, str], int] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.acts: list[Callable[[], Message | None]] = [
            *(self.buy, self.buy, self.buy, self.buy_held, self.hold, self.hold, self.release, self.cancel, self.edit),
            *(self.schedule, self.move, self.change, self.drop, self.receive, self.receive, self.count),
            *(self.rule, self.rule, self.keep_back, self.sell_ahead, self.sell_ahead),
        ]

    async def go_on(self) -> None:
        self.desk.now += timedelta(seconds=self.chance.choice((1, 20, 60)))
        if self.chance.random() < 0.2:
            self.listen(await self.desk.work(self.chance.choice([continue_dating, tell_promises, expire_holds, release_due_preorders])))
            return
        message = self.chance.choice(self.acts)()
        if message is not None:
            self.listen(await self.desk.hear(received(message, time=self.desk.now)))

    async def rest(self) -> None:
        """Everything that is due is done."""
        self.desk.now += timedelta(hours=2)
        self.listen(await sweep(self.desk))
        for schedule in (release_due_preorders, continue_dating, tell_promises):
            self.listen(await self.desk.work(schedule))
        for heard in await self.desk.serve():
            self.listen(heard)

    def listen(self, heard: Heard) -> None:
        assert (heard.parked, heard.deferred) == ([], [])
        for said in heard.of(StockAvailabilityChanged):
            for change in said.changes:
                key = change.sku, change.pool
                assert change.stock_version > self.versions.get(key, 0)
                self.versions[key], self.shown[key] = change.stock_version, change.available

    def sku(self) -> str:
        return self.chance.choice(("MUG", "MUG", "CUP"))

    def channel(self) -> str:
        return self.chance.choice(CHANNELS)

    def buy(self) -> Message:
        lines = [line(self.chance.randint(1, 3), self.sku(), str(number)) for number in range(self.chance.randint(1, 2))]
        placed = sold_by(self.channel(), *lines)
        more = {"priority": self.chance.choice((1, 5, 5, 9)), "split_policy": self.chance.choice(("ship_available", "hold_all"))}
        self.placed.append(placed.model_copy(update=more))
        return self.placed[-1]

    def buy_held(self) -> Message | None:
        if not self.holds:
            return None
        self.placed.append(naming(self.holds.pop(), line(self.chance.randint(1, 3), self.sku())))
        return self.placed[-1]

    def hold(self) -> Message:
        wish = hold((self.sku(), self.chance.randint(1, 3)), channel=self.channel(), ttl_seconds=self.chance.choice((60, 600)))
        self.holds.append(wish)
        return wish

    def release(self) -> Message | None:
        return release(self.holds.pop(0)) if self.holds else None

    def cancel(self) -> Message | None:
        if not self.placed:
            return None
        return cancellation(self.placed.pop(self.chance.randrange(len(self.placed))), version=9)

    def edit(self) -> Message | None:
        if not self.placed:
            return None
        placed = self.placed.pop(self.chance.randrange(len(self.placed)))
        return edit(placed, *(line(self.chance.randint(1, 4), part.sku, part.line_id) for part in placed.lines))

    def schedule(self) -> Message:
        self.supplies.append(supply(self.chance.randint(1, 6), at(self.chance.randint(300, 3_000)), sku=self.sku()))
        message: Message = self.supplies[-1]
        return message

    def move(self) -> Message | None:
        return moved(self.chance.choice(self.supplies), at(self.chance.randint(300, 3_000))) if self.supplies else None

    def change(self) -> Message | None:
        if not self.supplies:
            return None
        coming = self.chance.choice(self.supplies)
        return changed(coming, **{coming.lines[0].sku: self.chance.randint(0, 8)})

    def drop(self) -> Message | None:
        return dropped(self.supplies.pop()) if len(self.supplies) > 4 else None

    def receive(self) -> Message:
        if self.supplies and self.chance.random() < 0.7:
            coming = self.chance.choice(self.supplies)
            return receipt(self.chance.randint(1, 4), coming.lines[0].sku, supply_id=coming.supply_id)
        return receipt(self.chance.randint(1, 4), self.sku())

    def count(self) -> Message:
        return adjustment(self.chance.randint(0, 8), sku=self.sku())

    def rule(self) -> Message:
        fence = self.chance.choice((None, None, 1, 4))
        cap = self.chance.choice((None, None, 4, 6))
        share = self.chance.choice((None, None, None, 40))
        return channel_rule(self.channel(), fence=fence, cap=cap, share=share, sku="MUG")

    def keep_back(self) -> Message:
        return safety(self.chance.randint(0, 3), sku=self.sku(), location=self.chance.choice((None, "east")))

    def sell_ahead(self) -> Message:
        if self.chance.random() < 0.5:
            return preorder_closed("MUG")
        return preorder(at(self.chance.randint(-10, 200)), "MUG", early_release=self.chance.random() < 0.2)
