"""Refunds and tracking against the real simulator over HTTP: money moves once, whatever is repeated, lost or late."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from services.sync.errands.calls import ChannelCalls
from services.sync.errands.refunds import refund_errand
from services.sync.errands.shipments import notice_errand
from services.sync.handlers import refunds, shipments
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.returns import RefundExecutionRequested, RefundFailed, RefundSucceeded
from tests.sync.conftest import Desk, Shopfront, calls_to
from tests.sync.messages import a_refund, received, shipped


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """The channel ``shop`` lists a mug."""
    await desk.set_up("MUG")
    return desk


@pytest.fixture
async def placed(desk: Desk) -> OrderPlaced:
    """An order worth 3200 cents."""
    return await desk.place()


async def ask(desk: Desk, *requests: RefundExecutionRequested, traceparent: str | None = None) -> None:
    await desk.handle(refunds.request_refunds, *(received(request, traceparent=traceparent) for request in requests))


def told(desk: Desk) -> list[Any]:
    return [outgoing.data for outgoing in desk.published if isinstance(outgoing.data, RefundSucceeded | RefundFailed)]


def kinds(desk: Desk) -> list[str]:
    return [event.type for event in told(desk)]


async def row(desk: Desk) -> dict[str, Any]:
    found = await desk.connection.fetchrow("SELECT * FROM refunds")
    assert found is not None
    return dict(found)


async def test_a_refund_moves_the_money_and_is_told_once(desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls) -> None:
    trace = f"00-{'c' * 32}-{'d' * 16}-01"
    request = a_refund(placed, 1600)
    await ask(desk, request, traceparent=trace)
    errand = refund_errand(calls)
    assert await desk.run(errand) == 1
    [moved] = (await shop.state())["refunds"]
    assert (moved["external_id"], moved["amount_cents"], moved["currency"]) == ("1001", 1600, "USD")
    assert moved["idempotency_key"] == request.idempotency_key
    [event] = told(desk)
    assert (event.refund_id, event.amount_cents) == (request.refund_id, 1600)
    assert event.provider_reference.startswith("shop-refund-")
    because = desk.published[-1].because
    assert because is not None
    assert because.traceparent == trace, "the trace of the order goes on"
    await ask(desk, request)
    assert await desk.run_until_idle(errand) == 0
    assert len(told(desk)) == 1


async def test_two_legitimate_equal_partial_refunds_both_move(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    await ask(desk, a_refund(placed, 1600), a_refund(placed, 1600))
    await desk.run_until_idle(refund_errand(calls))
    state = await shop.state()
    assert (state["refund_cents"], len(state["refunds"])) == (3200, 2)
    assert [event.amount_cents for event in told(desk)] == [1600, 1600]
    assert len({event.provider_reference for event in told(desk)}) == 2


async def test_a_timeout_after_the_money_moved_is_one_movement(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    await shop.behave(timeout_after_success_rate=1.0, hold_seconds=3)
    await ask(desk, a_refund(placed, 1600))
    await desk.run(errand)
    assert ((await row(desk))["state"], told(desk)) == ("unknown", [])
    assert (await shop.state())["refund_cents"] == 1600, "the money has moved and nobody heard"
    await shop.behave()
    await desk.run_until_idle(errand)
    state = await shop.state()
    assert state["refund_cents"] == 1600
    assert state["counters"]["refund_look_ups"] == 1
    assert state["counters"]["refund_requests"] == 1, "it was looked up, not asked for again"
    assert kinds(desk) == ["refund.succeeded.v1"]


async def test_a_timeout_before_the_money_moved_is_one_movement_in_the_end(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    await shop.behave(error_rate=1.0, status=500)
    await ask(desk, a_refund(placed, 1600))
    for _ in range(3):
        await desk.run(errand)
        desk.wait(61)
    assert (await row(desk))["state"] == "unknown"
    await shop.behave()
    await desk.run_until_idle(errand)
    state = await shop.state()
    assert (state["refund_cents"], kinds(desk)) == (1600, ["refund.succeeded.v1"])
    assert state["refunds"][0]["requests"] == 1


async def test_a_storm_of_faults_moves_every_cent_once(desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls) -> None:
    errand = refund_errand(calls)
    await shop.behave(error_rate=0.4, timeout_after_success_rate=0.4, hold_seconds=0.6)
    requests = [a_refund(placed, 160) for _ in range(20)]
    await ask(desk, *requests)
    for _ in range(6):
        await desk.run(errand)
        desk.wait(61)
    counters = (await shop.state())["counters"]
    assert counters["answers_lost"] > 3
    assert counters["answered_500"] > 3
    await shop.behave()
    await ask(desk, *requests)
    await desk.run_until_idle(errand)
    state = await shop.state()
    assert (state["refund_cents"], len(state["refunds"])) == (3200, 20)
    assert sorted(str(event.refund_id) for event in told(desk)) == sorted(str(request.refund_id) for request in requests)


async def test_a_refusal_for_good_is_told_with_the_channels_words(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    await shop.behave(error_rate=1.0, status=422)
    await ask(desk, a_refund(placed, 1600))
    await desk.run_until_idle(errand)
    [event] = told(desk)
    assert isinstance(event, RefundFailed)
    assert event.reason == "HTTP 422: told to answer 422"
    assert (await row(desk))["state"] == "failed"


async def test_a_refused_refund_that_is_asked_for_again_may_still_succeed(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    request = a_refund(placed, 1600)
    await shop.behave(error_rate=1.0, status=422)
    await ask(desk, request)
    await desk.run_until_idle(errand)
    await shop.behave()
    await ask(desk, request)
    await desk.run_until_idle(errand)
    assert kinds(desk) == ["refund.failed.v1", "refund.succeeded.v1"]
    assert (await shop.state())["refund_cents"] == 1600


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 503])
async def test_any_other_error_leaves_the_outcome_open(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls, status: int
) -> None:
    errand = refund_errand(calls)
    await shop.behave(error_rate=1.0, status=status)
    await ask(desk, a_refund(placed, 1600))
    await desk.run(errand)
    refund = await row(desk)
    assert (refund["state"], told(desk)) == ("unknown", [])
    assert refund["due_at"] > desk.now


async def test_a_process_that_died_after_the_call_looks_the_money_up(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    await ask(desk, a_refund(placed, 1600))
    [task] = await desk.claim(errand)
    await errand.perform(task)
    assert (await row(desk))["state"] == "sent"
    desk.wait(60)
    await desk.run_until_idle(errand)
    state = await shop.state()
    assert (state["refund_cents"], state["counters"]["refund_requests"]) == (1600, 1)
    assert len(told(desk)) == 1


async def test_a_frozen_process_that_wakes_up_late_tells_nothing_twice(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    errand = refund_errand(calls)
    await ask(desk, a_refund(placed, 1600))
    [frozen] = await desk.claim(errand)
    desk.wait(60)
    await desk.run_until_idle(errand)
    late = await errand.perform(frozen)
    assert await desk.settle(errand, [(frozen, late)]) == []
    assert ((await shop.state())["refund_cents"], len(told(desk))) == (1600, 1)


async def test_a_key_under_which_another_amount_moved_stays_open_for_a_person(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls, http: aiohttp.ClientSession
) -> None:
    request = a_refund(placed, 1600)
    async with http.post(
        f"{shop.base_url}/orders/1001/refunds",
        json={"refund_id": "x", "amount_cents": 1500, "currency": "USD"},
        headers={"Idempotency-Key": request.idempotency_key},
    ) as response:
        assert response.status == 201
    errand = refund_errand(calls)
    await ask(desk, request)
    for _ in range(3):
        await desk.run(errand)
        desk.wait(61)
    refund = await row(desk)
    assert (refund["state"], refund["last_failure"]) == ("unknown", "the channel holds 1500 cents under this key, not 1600")
    assert told(desk) == []


async def test_nobody_is_asked_for_money_while_the_circuit_is_open(desk: Desk, placed: OrderPlaced, http: aiohttp.ClientSession) -> None:
    errand = refund_errand(calls_to("http://127.0.0.1:9", desk, http))
    await ask(desk, *(a_refund(placed, 160) for _ in range(10)))
    assert await desk.run(errand) == 10
    desk.wait(0.1)
    assert await desk.run(errand) == 0


async def test_a_parcel_is_announced_to_its_channel(desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls) -> None:
    parcel = shipped(placed)
    await desk.handle(shipments.schedule_notices, received(parcel))
    assert await desk.run_until_idle(notice_errand(calls)) == 1
    [heard] = (await shop.state())["fulfillments"]
    assert (heard["external_id"], heard["tracking_number"], heard["carrier"]) == ("1001", "1Z999", "UPS")
    assert heard["lines"] == [{"line_id": "a", "sku": "MUG", "quantity": 2}]
    assert heard["idempotency_key"] == heard["fulfillment_id"] == str(parcel.fulfillment_id)


async def test_two_parcels_of_one_order_are_announced_each_once_through_faults(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    parcels = [shipped(placed), shipped(placed, tracking_number="1Z998")]
    await shop.behave(error_rate=0.5, timeout_after_success_rate=0.5, hold_seconds=0.6)
    errand = notice_errand(calls)
    for parcel in parcels:
        await desk.handle(shipments.schedule_notices, received(parcel))
    for _ in range(4):
        await desk.run(errand)
        desk.wait(61)
    await shop.behave()
    await desk.run_until_idle(errand)
    assert sorted(heard["tracking_number"] for heard in (await shop.state())["fulfillments"]) == ["1Z998", "1Z999"]
    assert [entry["state"] for entry in await desk.connection.fetch("SELECT state FROM shipment_notices")] == ["accepted"] * 2


async def test_a_refused_notice_is_kept_with_the_reason_and_not_repeated(
    desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls
) -> None:
    await shop.behave(error_rate=1.0, status=422)
    await desk.handle(shipments.schedule_notices, received(shipped(placed)))
    errand = notice_errand(calls)
    assert await desk.run_until_idle(errand) == 1
    entry = await desk.connection.fetchrow("SELECT state, last_failure FROM shipment_notices")
    assert entry is not None
    assert tuple(entry) == ("refused", "HTTP 422: told to answer 422")


async def test_order_ids_of_a_channel_stay_one_segment_of_its_address(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> None:
    placed = await desk.place(
        external_id="2026/03?x=1#y", lines=[{"external_line_id": "a", "sku": "MUG", "quantity": 1, "unit_price_cents": 500}]
    )
    await ask(desk, a_refund(placed, 100, idempotency_key=f"a/b {new_id()}"))
    errand = refund_errand(calls)
    await shop.behave(timeout_after_success_rate=1.0, hold_seconds=0.6)
    await desk.run(errand)
    await shop.behave()
    await desk.run_until_idle(errand)
    [moved] = (await shop.state())["refunds"]
    assert moved["external_id"] == "2026/03?x=1#y"
    assert len(told(desk)) == 1
