"""Stock pushes against the real simulator over HTTP: the newest number wins, with few calls, whatever the channel does."""

from __future__ import annotations

import itertools
import random
import time
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sync.audit import INVARIANTS
from services.sync.channels.protocol import Busy, ListingNumber, StockNumber
from services.sync.errands.calls import ChannelCalls
from services.sync.errands.pushes import push_errand
from services.sync.handlers import catalogue
from services.sync.queries.channels import register_channel
from shared.messaging.message import Connection
from tests.sync.conftest import Desk, Shopfront, calls_to
from tests.sync.messages import NOW, availability, listings, products, received


async def broken_rules(connection: Connection) -> list[str]:
    """Rules about what channels show that do not hold; those that speak of time know only the real clock."""
    rules = [rule for rule in INVARIANTS if rule.id in ("I11-newest-wins", "I11-doubt-is-due")]
    return [rule.id for rule in rules if await connection.fetch(rule.sql)]


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """The channel ``shop`` lists a mug and a lamp."""
    await desk.set_up("MUG", "LAMP")
    return desk


async def test_a_number_reaches_the_channel_and_its_latency_is_measured(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await desk.change_availability(availability("MUG", 5, 7, changed_at=NOW - timedelta(milliseconds=800)))
    assert await desk.run(push_errand(calls)) == 1
    shown = (await shop.state())["listings"]["L-MUG"]
    assert (shown["available"], shown["mode"], shown["stock_version"], shown["updates"]) == (5, "in_stock", 7, 1)
    row = await desk.listing("MUG")
    assert (row["accepted_available"], row["accepted_version"], row["accepted_latency_ms"], row["due_at"]) == (5, 7, 800, None)
    bucket = await desk.connection.fetchrow("SELECT channel, minute, pushes FROM push_latencies")
    assert bucket is not None
    assert tuple(bucket) == ("shop", NOW, 1)
    assert await desk.run(push_errand(calls)) == 0


async def test_a_ship_date_travels_with_the_number(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await desk.change_availability(availability("MUG", 0, 7, mode="backorder", next_ship_at=NOW + timedelta(days=3)))
    await desk.run(push_errand(calls))
    shown = (await shop.state())["listings"]["L-MUG"]
    assert (shown["mode"], shown["next_ship_at"]) == ("backorder", "2026-03-05T12:00:00Z")


async def test_a_channel_shows_how_many_of_a_preorder_are_left_and_when_they_ship(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await desk.change_availability(availability("MUG", 5, 7, mode="preorder", next_ship_at=NOW + timedelta(days=3)))
    await desk.run(push_errand(calls))
    shown = (await shop.state())["listings"]["L-MUG"]
    assert (shown["available"], shown["mode"], shown["next_ship_at"]) == (5, "preorder", "2026-03-05T12:00:00Z")
    await desk.change_availability(availability("MUG", 0, 8, mode="sold_out"))
    await desk.run(push_errand(calls))
    shown = (await shop.state())["listings"]["L-MUG"]
    assert (shown["available"], shown["mode"], shown["next_ship_at"]) == (0, "sold_out", None)


async def test_hundreds_of_events_out_of_order_end_in_the_newest_number_and_few_calls(
    desk: Desk, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = push_errand(calls)
    events = [availability(sku, version % 40, version) for sku in ("MUG", "LAMP") for version in range(1, 401)]
    random.Random(7).shuffle(events)
    for start in range(0, len(events), 40):
        await desk.change_availability(*events[start : start + 40])
        await desk.run(errand)
        desk.wait(0.1)
    state = await shop.state()
    for sku in ("MUG", "LAMP"):
        shown = state["listings"][f"L-{sku}"]
        assert (shown["stock_version"], shown["available"]) == (400, 0)
    assert state["counters"]["stock_updates"] <= 2 * 20, "at most one call per listing and round, for 800 events"
    assert await broken_rules(desk.connection) == []


async def test_a_number_that_did_not_change_costs_no_call(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    for version in range(1, 11):
        await desk.change_availability(availability("MUG", 5, version))
        await desk.run(errand)
    assert (await shop.state())["counters"]["stock_updates"] == 1


async def test_a_listing_registered_after_its_number_is_told(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await desk.change_availability(availability("CHAIR", 9, 3))
    await desk.handle(catalogue.register_products, received(products("CHAIR")))
    await desk.handle(catalogue.register_listings, received(listings("CHAIR")))
    await desk.run(push_errand(calls))
    assert (await shop.state())["listings"]["L-CHAIR"]["available"] == 9


async def test_a_failing_channel_is_tried_until_it_takes_the_newest_number(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await shop.behave(error_rate=0.7, status=500)
    for version in range(1, 30):
        await desk.change_availability(availability("MUG", version, version), availability("LAMP", version, version))
        await desk.run(errand)
        desk.wait(5)
    await desk.run_until_idle(errand)
    state = await shop.state()
    assert {name: shown["stock_version"] for name, shown in state["listings"].items()} == {"L-MUG": 29, "L-LAMP": 29}
    assert state["counters"]["answered_500"] > 5, "the fault was hit"
    assert await broken_rules(desk.connection) == []


async def test_a_lost_answer_leaves_no_wrong_number_behind(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await desk.change_availability(availability("MUG", 5, 1))
    await desk.run(errand)
    await shop.behave(timeout_after_success_rate=1.0, hold_seconds=5)
    await desk.change_availability(availability("MUG", 3, 2))
    await desk.run(errand)
    assert (await shop.state())["listings"]["L-MUG"]["available"] == 3, "the channel took it and nobody heard"
    await shop.behave()
    await desk.change_availability(availability("MUG", 5, 3))
    desk.wait(60)
    await desk.run(errand)
    assert (await shop.state())["listings"]["L-MUG"]["available"] == 5


async def test_a_slow_channel_is_given_up_on_in_time(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await shop.behave(latency_seconds=5)
    await desk.change_availability(availability("MUG", 5, 1))
    started = time.monotonic()
    await desk.run(push_errand(calls))
    assert time.monotonic() - started < 2
    row = await desk.listing("MUG")
    assert "no answer within 0.5 s" in row["last_failure"]
    assert row["sending_since"] is not None


async def test_a_busy_channel_is_left_alone_for_as_long_as_it_asked(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await shop.behave(error_rate=1.0, status=429, retry_after_seconds=30)
    await desk.change_availability(availability("MUG", 5, 1))
    await desk.run(errand)
    await desk.change_availability(availability("LAMP", 5, 2))
    desk.wait(29)
    assert await desk.run(errand) == 0, "not even other listings are told while the channel asked for patience"
    assert (await shop.state())["counters"]["calls"] == 1
    row = await desk.listing("MUG")
    assert row["due_at"] > NOW + timedelta(seconds=30)


async def test_within_one_round_nobody_calls_after_a_429(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    slow = calls_to(shop.base_url, desk, http, rate=20.0)
    await shop.behave(error_rate=1.0, status=429, retry_after_seconds=60)

    async def show() -> object:
        return await slow.call("show_stock", lambda: slow.channel.show_stock([ListingNumber("L-MUG", StockNumber(5, "in_stock", None), 1)]))

    first = await show()
    answers = [await show() for _ in range(5)]
    assert all(isinstance(answer, Busy) for answer in (first, *answers))
    assert (await shop.state())["counters"]["calls"] == 1


async def test_a_dead_channel_is_probed_with_one_call_at_a_time(desk: Desk, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(20)]
    await desk.set_up(*skus)
    dead = push_errand(calls_to("http://127.0.0.1:9", desk, http))
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    assert await desk.run(dead) == 20
    assert await desk.run(dead) == 0, "the circuit is open"
    probes = []
    for _ in range(10):
        desk.wait(31)
        probes.append(await desk.run(dead))
    assert probes == [1] * 10
    health = await desk.connection.fetchrow("SELECT trips, last_failure FROM channels WHERE code = 'shop'")
    assert health is not None
    assert health["trips"] == 11
    assert "ClientConnectorError" in health["last_failure"]


async def test_a_channel_that_comes_back_is_told_everything(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    skus = [f"SKU-{number}" for number in range(20)]
    await desk.set_up(*skus)
    errand = push_errand(calls)
    await shop.behave(error_rate=1.0, status=503)
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    for _ in range(5):
        await desk.run(errand)
        desk.wait(31)
    await shop.behave()
    await desk.run_until_idle(errand, seconds_between=31)
    assert len((await shop.state())["listings"]) == 20
    assert await desk.connection.fetchval("SELECT trips FROM channels WHERE code = 'shop'") == 0


async def test_a_refused_listing_does_not_open_the_circuit(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await shop.behave(error_rate=1.0, status=404)
    await desk.change_availability(availability("MUG", 5, 1))
    for _ in range(6):
        await desk.run(errand)
        desk.wait(301)
    health = await desk.connection.fetchrow("SELECT trips, consecutive_failures FROM channels WHERE code = 'shop'")
    assert health is not None
    assert tuple(health) == (0, 0)
    assert "HTTP 404" in (await desk.listing("MUG"))["last_failure"]


async def test_the_rate_limit_of_a_channel_is_kept(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(60)]
    await desk.set_up(*skus)
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    errand = push_errand(calls_to(shop.base_url, desk, http, rate=20.0, timeout_seconds=5))
    started = time.monotonic()
    while await desk.run(errand):
        pass
    seconds = time.monotonic() - started
    assert len((await shop.state())["listings"]) == 60
    assert seconds >= (60 - 20) / 20 * 0.95, f"60 calls at 20 a second, 20 of them at once, took only {seconds:.2f} s"


async def test_what_is_sold_out_is_told_first(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(20)]
    await desk.set_up(*skus)
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    desk.wait(1)
    await desk.change_availability(availability("MUG", 0, 2))
    await desk.run(push_errand(calls_to(shop.base_url, desk, http, rate=8.0, timeout_seconds=5)))
    told = (await shop.state())["listings"]
    assert len(told) == 2
    assert told["L-MUG"]["mode"] == "sold_out"


async def test_no_more_calls_are_under_way_at_once_than_allowed(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(32)]
    await desk.set_up(*skus)
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    await shop.behave(latency_seconds=0.3)
    started = time.monotonic()
    assert await desk.run(push_errand(calls_to(shop.base_url, desk, http, timeout_seconds=5))) == 32
    assert time.monotonic() - started >= 0.6, "16 at a time make two rounds"


async def test_less_than_one_call_a_second_is_a_rate_too(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    errand = push_errand(calls_to(shop.base_url, desk, http, rate=0.5))
    assert errand.concurrency == 1
    await desk.change_availability(availability("MUG", 5, 1))
    assert await desk.run(errand) == 1
    assert (await desk.listing("MUG"))["due_at"] is None


async def test_a_process_that_died_during_a_push_leaves_it_to_the_next(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await desk.change_availability(availability("MUG", 5, 1))
    assert len(await desk.claim(errand)) == 1
    assert await desk.claim(errand) == [], "leased"
    desk.wait(2.1)
    assert await desk.run(errand) == 1
    assert (await shop.state())["listings"]["L-MUG"]["available"] == 5


async def test_a_frozen_process_that_wakes_up_late_does_not_hide_a_newer_number(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = push_errand(calls)
    await desk.change_availability(availability("MUG", 5, 1))
    [frozen] = await desk.claim(errand)
    desk.wait(60)
    await desk.change_availability(availability("MUG", 3, 2))
    await desk.run(errand)
    late = await errand.perform(frozen)
    assert (await shop.state())["listings"]["L-MUG"]["available"] == 3, "the channel knows versions"
    await desk.settle(errand, [(frozen, late)])
    row = await desk.listing("MUG")
    assert row["accepted_available"] == 3
    assert row["due_at"] is not None, "a channel that knows no versions would now show the old number: tell it again"


async def test_two_processes_never_push_one_listing_at_once(desk: Desk, calls: ChannelCalls) -> None:
    await desk.change_availability(availability("MUG", 5, 1), availability("LAMP", 5, 1))
    errand = push_errand(calls)
    first, second = await desk.claim(errand), await desk.claim(errand)
    assert ({push.sku for pushes in first for push in pushes}, second) == ({"MUG", "LAMP"}, [])


async def test_one_call_carries_as_many_listings_as_the_channel_takes(desk: Desk, shop: Shopfront, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(25)]
    await desk.set_up(*skus)
    await desk.change_availability(*(availability(sku, number, 1) for number, sku in enumerate(skus)))
    assert await desk.run(push_errand(calls_to(shop.base_url, desk, http, listings_per_call=10))) == 3
    state = await shop.state()
    assert {name: shown["available"] for name, shown in state["listings"].items()} == {f"L-{sku}": n for n, sku in enumerate(skus)}
    assert state["counters"]["calls"] == 3


async def test_a_listing_that_the_channel_cannot_read_does_not_hold_the_others_back(desk: Desk, http: aiohttp.ClientSession) -> None:
    async def read_no_lamp(request: web.Request) -> web.Response:
        named = [row["external_listing_id"] for row in (await request.json())["listings"]]
        return web.json_response({"error": "L-LAMP: unreadable"} if "L-LAMP" in named else {}, status=422 if "L-LAMP" in named else 200)

    application = web.Application()
    application.router.add_put("/stock", read_no_lamp)
    async with TestServer(application) as server:
        await desk.change_availability(availability("MUG", 5, 1), availability("LAMP", 5, 1))
        await desk.run(push_errand(calls_to(str(server.make_url("")), desk, http, listings_per_call=10)))
    assert (await desk.listing("LAMP"))["last_failure"] == "HTTP 422: L-LAMP: unreadable"
    assert (await desk.listing("MUG"))["accepted_available"] == 5


async def test_a_refusal_of_one_listing_leaves_the_others_of_its_call_told(desk: Desk, http: aiohttp.ClientSession) -> None:
    async def refuse_the_lamp(request: web.Request) -> web.Response:
        named = [row["external_listing_id"] for row in (await request.json())["listings"]]
        return web.json_response({"refused": [{"external_listing_id": name, "error": "archived"} for name in named if name == "L-LAMP"]})

    application = web.Application()
    application.router.add_put("/stock", refuse_the_lamp)
    async with TestServer(application) as server:
        await desk.change_availability(availability("MUG", 5, 1), availability("LAMP", 5, 1))
        await desk.run(push_errand(calls_to(str(server.make_url("")), desk, http, listings_per_call=10)))
    assert (await desk.listing("LAMP"))["last_failure"] == "HTTP 200: archived"
    assert (await desk.listing("MUG"))["accepted_available"] == 5


async def test_a_failed_call_about_many_listings_is_one_failure_of_the_channel(desk: Desk, http: aiohttp.ClientSession) -> None:
    skus = [f"SKU-{number}" for number in range(20)]
    await desk.set_up(*skus)
    await desk.change_availability(*(availability(sku, 5, 1) for sku in skus))
    assert await desk.run(push_errand(calls_to("http://127.0.0.1:9", desk, http, listings_per_call=10))) == 2
    assert await desk.connection.fetchval("SELECT trips FROM channels WHERE code = 'shop'") == 0


async def test_listing_ids_with_slashes_and_query_marks_arrive_as_they_are(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    await desk.handle(catalogue.register_listings, received(listings("MUG", prefix="gid://shop/Item?a=1#x%2F & ")))
    await desk.change_availability(availability("MUG", 5, 1))
    await desk.run(push_errand(calls))
    assert list((await shop.state())["listings"]) == ["gid://shop/Item?a=1#x%2F & MUG"]


NUMBERS = itertools.count(1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 3)),
        st.tuples(st.just("late change"), st.integers(0, 3)),
        st.tuples(st.just("push"), st.sampled_from(["well", "error", "lost answer"])),
        st.tuples(st.just("claim"), st.just(0)),
        st.tuples(st.just("settle"), st.sampled_from(["well", "error"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 3, 90])),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_whatever_happens_the_channel_ends_up_with_the_newest_number(
    connection: Connection, simulator_url: str, http: aiohttp.ClientSession, steps: list[tuple[str, object]]
) -> None:
    code, desk = f"shop-{next(NUMBERS)}", Desk(connection)
    shop = Shopfront(f"{simulator_url}/{code}", http, code)
    await register_channel(connection, code, desk.now)
    await desk.handle(catalogue.register_products, received(products("MUG")))
    await desk.handle(catalogue.register_listings, received(listings("MUG", channel=code)))
    errand = push_errand(calls_to(shop.base_url, desk, http, code=code, timeout_seconds=0.05))
    base = next(NUMBERS) * 1_000
    version, open_claims = base, []
    for step, argument in steps:
        if step == "change":
            version += 2
            await desk.change_availability(availability("MUG", int(str(argument)), version))
        elif step == "late change":
            await desk.change_availability(availability("MUG", int(str(argument)) + 10, version - 1))
        elif step == "wait":
            desk.wait(float(str(argument)))
        elif step == "claim":
            open_claims += await desk.claim(errand)
        else:
            await shop.behave(
                error_rate=1.0 if argument == "error" else 0.0,
                timeout_after_success_rate=1.0 if argument == "lost answer" else 0.0,
                hold_seconds=0.2,
            )
            if step == "push":
                await desk.run(errand)
            elif open_claims:
                claim = open_claims.pop(0)
                await desk.settle(errand, [(claim, await errand.perform(claim))])
        assert await broken_rules(connection) == []
    await shop.behave()
    await desk.run_until_idle(errand, seconds_between=400)
    newest = await connection.fetchrow("SELECT available, stock_version FROM stock_numbers WHERE sku = 'MUG'")
    shown = (await shop.state())["listings"].get("L-MUG")
    assert (shown and shown["available"]) == (newest and newest["available"])
