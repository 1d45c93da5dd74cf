"""The main path on a real database, and what can go wrong on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from unittest.mock import AsyncMock
from uuid import UUID

import pytest

from services.routing import current, handlers
from services.routing.decide.tariffs import SERVICES
from services.routing.queries.locations import read_locations_of
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentAssignmentRejected,
    FulfillmentCancelled,
    FulfillmentCancelRequested,
    FulfillmentDelivered,
    FulfillmentPlanned,
    FulfillmentRequested,
    FulfillmentShipped,
    FulfillmentStarted,
    LocationRegistered,
    LocationRegistrationRejected,
    OrderNeedsAttention,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyDelivered,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import OrderCancelled, OrderCancelRequested, OrderChangePending
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import (
    HOME,
    NOON,
    RENO,
    SHOPPER,
    a_line,
    a_location,
    an_order,
    backordered,
    received,
    reserved,
    stock_of,
    units,
)

AMPLE = {"SKU-1": {"reno": 50, "newark": 50}, "SKU-2": {"reno": 50, "newark": 50}}


def shipped(fulfillment_id: UUID, *lines: tuple[int, str]) -> ThirdPartyShipped:
    return ThirdPartyShipped(
        fulfillment_id=fulfillment_id,
        carrier="UPS",
        tracking_number="1Z999",
        lines=[units(count, line_id) for count, line_id in lines],
        shipped_at=NOON,
        sequence=7,
    )


async def test_a_reserved_order_is_planned_assigned_requested_accepted_shipped_and_delivered(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2", 1))
    plan = await desk.plan(placed, AMPLE)
    assert [(item.location, [(line.line_id, line.quantity) for line in item.lines]) for item in plan.fulfillments] == [
        ("reno", [("1", 2), ("2", 1)])
    ]
    assert (await desk.order(placed.order_id))["waiting_for"] == "assignment"
    heard = await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
    request = heard.one(FulfillmentRequested)
    assert heard.outgoing[0].partner == "west"
    assert (request.location, request.service, request.attempt, request.ship_to) == ("reno", "ground", 1, HOME)
    assert request.ship_by < request.expires_at
    assert (await desk.order(placed.order_id))["status"] == "released"
    fulfillment_id = request.fulfillment_id
    started = await desk.hear(ThirdPartyAccepted(fulfillment_id=fulfillment_id, accepted_at=NOON), partner="west")
    assert started.one(FulfillmentStarted).lines == [units(2, "1"), units(1, "2")]
    label = ThirdPartyLabelPrinted(fulfillment_id=fulfillment_id, carrier="UPS", tracking_number="1Z999", printed_at=NOON)
    assert (await desk.hear(label, partner="west")).types == []
    left = await desk.hear(shipped(fulfillment_id, (2, "1"), (1, "2")), partner="west")
    event = left.one(FulfillmentShipped)
    assert (event.partner, event.partner_sequence, event.tracking_number) == ("west", 7, "1Z999")
    assert event.shipping_cost_cents > 0
    assert (await desk.order(placed.order_id))["status"] == "shipped"
    arrived = await desk.hear(ThirdPartyDelivered(fulfillment_id=fulfillment_id, delivered_at=NOON), partner="west")
    assert arrived.one(FulfillmentDelivered).order_id == placed.order_id
    order = await desk.order(placed.order_id)
    assert (order["status"], order["waiting_for"], order["due_at"]) == ("delivered", None, None)


@pytest.mark.parametrize("silly", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)], ids=["1970", "2199"])
@pytest.mark.parametrize("envelope", ["right", "silly", "none"])
async def test_a_parcel_whose_3pl_has_a_silly_clock_left_and_arrived_when_its_message_says_or_is_heard(
    desk: Desk, silly: datetime, envelope: str
) -> None:
    [request] = await desk.hand_over(an_order(), AMPLE)
    desk.now = NOON + timedelta(days=3)
    said_at = {"right": NOON + timedelta(days=2), "silly": silly, "none": None}[envelope]
    sound = NOON + timedelta(days=2) if envelope == "right" else desk.now
    parcel = shipped(request.fulfillment_id, (2, "1")).model_copy(update={"shipped_at": silly})
    left = await desk.hear(replace(received(parcel, partner="west"), time=said_at))
    assert (left.parked, left.one(FulfillmentShipped).shipped_at) == ([], sound)
    arrival = ThirdPartyDelivered(fulfillment_id=request.fulfillment_id, delivered_at=silly)
    arrived = await desk.hear(replace(received(arrival, partner="west"), time=said_at))
    assert (arrived.parked, arrived.one(FulfillmentDelivered).delivered_at) == ([], sound)


@pytest.mark.parametrize("off", [-timedelta(days=1), timedelta(hours=5), timedelta(days=4)])
async def test_a_time_that_can_be_is_taken_as_the_3pl_tells_it_however_late_its_message_comes(desk: Desk, off: timedelta) -> None:
    [request] = await desk.hand_over(an_order(), AMPLE)
    desk.now = NOON + timedelta(days=3)
    parcel = shipped(request.fulfillment_id, (2, "1")).model_copy(update={"shipped_at": NOON + off})
    left = await desk.hear(replace(received(parcel, partner="west"), time=desk.now))
    assert left.one(FulfillmentShipped).shipped_at == NOON + off


@pytest.mark.parametrize("overtaken", [False, True], ids=["in time", "after its units went back"])
async def test_units_that_were_not_found_in_2199_are_written_off_today_and_once(desk: Desk, overtaken: bool) -> None:
    [request] = await desk.hand_over(an_order(a_line(quantity=2)), AMPLE)
    report = ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=[units(1)], picked_at=datetime(2199, 1, 1, tzinfo=UTC))
    if overtaken:
        await desk.hear(shipped(request.fulfillment_id, (1, "1")), partner="west")
        await desk.wake(timedelta(minutes=2))
    heard = await desk.hear(report, partner="west")
    assert heard.one(FulfillmentCancelled).cancelled_at == desk.now
    assert (await desk.hear(report, partner="west")).types == []


async def test_a_reservation_that_overtakes_its_order_is_kept_and_planned_when_the_order_comes(desk: Desk) -> None:
    placed = an_order()
    assert (await desk.hear(reserved(placed, AMPLE))).types == []
    assert (await desk.hear(placed)).one(FulfillmentPlanned).order_id == placed.order_id
    assert await desk.connection.fetchval("SELECT count(*) FROM early_reservations") == 0


async def test_a_reservation_that_slips_in_beside_its_order_is_taken_up_by_the_next_look(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(reserved(placed, AMPLE))
    early = await desk.connection.fetchrow("DELETE FROM early_reservations RETURNING event_id, order_id, message, received_at")
    await desk.hear(placed)
    assert early is not None
    await desk.connection.execute("INSERT INTO early_reservations VALUES ($1, $2, $3, $4)", *early)
    assert (await desk.wake()).one(FulfillmentPlanned).order_id == placed.order_id
    assert (await desk.wake()).types == []


async def test_an_order_told_twice_is_taken_once(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed, placed)
    await desk.hear(placed)
    assert await desk.connection.fetchval("SELECT count(*) FROM orders") == 1
    assert await desk.connection.fetchval("SELECT count(*) FROM order_lines") == 1


async def test_an_order_with_the_same_line_twice_is_parked_and_disturbs_nobody(desk: Desk) -> None:
    good, bad = an_order(), an_order(a_line("1"), a_line("1"))
    heard = await desk.hear(good, bad)
    assert heard.parked == ["lines: line_id 1 appears twice; send each line once"]
    assert await desk.connection.fetchval("SELECT order_id FROM orders") == good.order_id


async def test_two_reservations_of_one_order_in_one_batch_make_one_plan(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    heard = await desk.hear(reserved(placed, AMPLE, {"1": 2}), reserved(placed, AMPLE, {"2": 2}, cause="restocked"))
    assert [line.line_id for line in heard.one(FulfillmentPlanned).fulfillments[0].lines] == ["1", "2"]


async def test_orders_of_one_batch_do_not_plan_the_same_last_unit(desk: Desk) -> None:
    stock = {"SKU-1": {"reno": 2, "newark": 5}}
    first, second = an_order(), an_order()
    await desk.hear(first, second)
    heard = await desk.hear(reserved(first, stock), reserved(second, stock))
    assert [plan.fulfillments[0].location for plan in heard.of(FulfillmentPlanned)] == ["reno", "newark"]


async def test_an_order_that_ships_what_is_available_plans_the_rest_when_stock_comes(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    first = await desk.hear(reserved(placed, AMPLE, {"1": 2}))
    assert [line.line_id for line in first.one(FulfillmentPlanned).fulfillments[0].lines] == ["1"]
    promised = NOON + timedelta(days=9)
    await desk.hear(backordered(placed, {"2": 2}, promised_ship_at=promised))
    plan = first.one(FulfillmentPlanned)
    request = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).one(FulfillmentRequested)
    await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="west")
    order = await desk.order(placed.order_id)
    assert (order["status"], order["waiting_for"], order["waiting_until"]) == ("in_fulfillment", "stock", promised + timedelta(days=1))
    rest = await desk.hear(reserved(placed, AMPLE, {"2": 2}, cause="restocked"))
    assert [line.line_id for line in rest.one(FulfillmentPlanned).fulfillments[0].lines] == ["2"]


async def test_an_order_that_holds_all_is_planned_only_when_everything_is_reserved(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2"), split_policy="hold_all")
    await desk.hear(placed)
    assert (await desk.hear(reserved(placed, AMPLE, {"1": 2}))).types == []
    assert (await desk.order(placed.order_id))["status"] == "partially_allocated"
    heard = await desk.hear(reserved(placed, {"SKU-2": {"reno": 9}}, {"2": 2}, cause="restocked"))
    assert [line.line_id for line in heard.one(FulfillmentPlanned).fulfillments[0].lines] == ["1", "2"]


async def test_a_refused_plan_is_made_again_with_the_fresh_numbers(desk: Desk) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    refusal = FulfillmentAssignmentRejected(
        plan_id=plan.plan_id, order_id=placed.order_id, reason="stock_moved", assignable=stock_of({"SKU-1": {"newark": 3}})
    )
    again = (await desk.hear(refusal)).one(FulfillmentPlanned)
    assert again.fulfillments[0].location == "newark"
    assert again.plan_id != plan.plan_id
    assert await desk.states(placed.order_id) == ["withdrawn", "planned"]
    assert (await desk.hear(refusal)).types == [], "a refusal told twice changes nothing"


async def test_a_plan_that_is_refused_again_and_again_pauses_and_then_calls_a_person(desk: Desk) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    calls, pauses = 0, 0
    for _ in range(12):
        refusal = FulfillmentAssignmentRejected(
            plan_id=plan.plan_id, order_id=placed.order_id, reason="stock_moved", assignable=stock_of({"SKU-1": {"newark": 3}})
        )
        heard = await desk.hear(refusal)
        if not heard.of(FulfillmentPlanned) and not heard.of(OrderNeedsAttention):
            pauses += 1
            heard = await desk.wake(timedelta(seconds=60))
        if heard.of(OrderNeedsAttention):
            calls += 1
            assert heard.one(OrderNeedsAttention).reason == "no_location_can_ship"
            break
        plan = heard.one(FulfillmentPlanned)
    assert (calls, pauses > 0) == (1, True)


async def test_a_plan_whose_units_were_lost_waits_for_the_news_and_plans_what_is_left(desk: Desk) -> None:
    placed = an_order(a_line("1", 3), a_line("2", 1))
    plan = await desk.plan(placed, AMPLE)
    assert (
        await desk.hear(FulfillmentAssignmentRejected(plan_id=plan.plan_id, order_id=placed.order_id, reason="not_reserved"))
    ).types == []
    await desk.hear(backordered(placed, {"1": 2}, cause="shortage"))
    again = (await desk.wake(timedelta(seconds=5))).one(FulfillmentPlanned)
    assert [(line.line_id, line.quantity) for line in again.fulfillments[0].lines] == [("1", 1), ("2", 1)]


async def test_news_of_a_shortage_before_the_refusal_leads_to_the_same_plan(desk: Desk) -> None:
    placed = an_order(a_line("1", 3), a_line("2", 1))
    plan = await desk.plan(placed, AMPLE)
    await desk.hear(backordered(placed, {"1": 2}, cause="shortage"))
    await desk.hear(FulfillmentAssignmentRejected(plan_id=plan.plan_id, order_id=placed.order_id, reason="not_reserved"))
    again = (await desk.wake(timedelta(seconds=5))).one(FulfillmentPlanned)
    assert [(line.line_id, line.quantity) for line in again.fulfillments[0].lines] == [("1", 1), ("2", 1)]


async def test_a_rejected_fulfillment_is_planned_elsewhere_once_allocation_gives_the_units_back(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    rejection = ThirdPartyRejected(fulfillment_id=request.fulfillment_id, reason="out_of_stock", missing=[units(1)], rejected_at=NOON)
    event = (await desk.hear(rejection, partner="west")).one(FulfillmentCancelled)
    assert (event.cause, event.lines, event.missing) == ("rejected", [units(2)], [units(1)])
    assert (await desk.order(placed.order_id))["waiting_for"] == "allocation"
    assert (await desk.hear(rejection, partner="west")).types == [], "a rejection told twice takes back once"
    again = (await desk.hear(reserved(placed, AMPLE, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    assert [item.location for item in again.fulfillments] == ["newark"]


async def test_an_order_rejected_everywhere_needs_a_person_who_can_send_it_on(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, {"SKU-1": {"reno": 5}})
    await desk.hear(ThirdPartyRejected(fulfillment_id=request.fulfillment_id, reason="capacity", rejected_at=NOON), partner="west")
    heard = await desk.hear(reserved(placed, {"SKU-1": {"reno": 5}}, cause="fulfillment_cancelled"))
    attention = heard.one(OrderNeedsAttention)
    assert attention.reason == "no_location_can_ship"
    assert "reno: rejected it" in attention.detail
    order = await desk.order(placed.order_id)
    assert (order["waiting_for"], order["waiting_until"]) == ("operator", attention.due_at)
    again = (await desk.retry(placed.order_id)).one(FulfillmentPlanned)
    assert again.fulfillments[0].location == "reno"
    assert (await desk.order(placed.order_id))["attention_reason"] is None


async def test_attention_that_nobody_gives_is_announced_again(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(reserved(placed, {}))
    heard = await desk.wake(timedelta(hours=4))
    assert heard.one(OrderNeedsAttention).due_at == desk.now + timedelta(hours=4)
    assert (await desk.wake()).types == []


async def test_too_many_rejections_stop_planning_until_an_operator_retries(desk: Desk) -> None:
    await desk.register(*(a_location(f"place-{number}", "10001") for number in range(4)))
    placed = an_order()
    stock = {"SKU-1": {f"place-{number}": 9 for number in range(4)} | {"newark": 9}}
    [request] = await desk.hand_over(placed, stock)
    reasons = []
    for _ in range(4):
        rejection = ThirdPartyRejected(fulfillment_id=request.fulfillment_id, reason="other", rejected_at=NOON)
        heard = await desk.hear(rejection, partner="east")
        reasons += [item.reason for item in heard.of(OrderNeedsAttention)]
        plans = (await desk.hear(reserved(placed, stock, cause="fulfillment_cancelled"))).of(FulfillmentPlanned)
        if not plans:
            break
        assigned = FulfillmentAssigned(plan_id=plans[0].plan_id, order_id=placed.order_id)
        request = (await desk.hear(assigned)).one(FulfillmentRequested)
    assert reasons == ["too_many_rejections"]
    assert await desk.states(placed.order_id) == ["rejected"] * 4
    assert (await desk.retry(placed.order_id)).one(FulfillmentPlanned).order_id == placed.order_id


async def test_what_a_closed_location_has_not_accepted_is_called_off_and_planned_elsewhere(desk: Desk) -> None:
    waiting, silent, started, elsewhere = (an_order() for _ in range(4))
    [unanswered] = await desk.hand_over(silent, AMPLE)
    for _ in range(5):
        await desk.wake(timedelta(hours=2))
    [pick] = await desk.hand_over(waiting, AMPLE)
    assert (await desk.order(silent.order_id))["attention_reason"] == "third_party_silent"
    [at_work] = await desk.hand_over(started, AMPLE)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=at_work.fulfillment_id, accepted_at=NOON), partner="west")
    await desk.hand_over(elsewhere, {"SKU-1": {"newark": 5}})
    await desk.register(RENO.model_copy(update={"active": False}))
    heard = await desk.wake()
    asked = {request.fulfillment_id: request.reason for request in heard.of(FulfillmentCancelRequested)}
    assert asked == dict.fromkeys((pick.fulfillment_id, unanswered.fulfillment_id), "location closed")
    assert (await desk.order(silent.order_id))["attention_reason"] is None, "its 3PL is asked something else now"
    await desk.register(RENO.model_copy(update={"active": False}))
    assert (await desk.wake()).types == [], "asked once, and again only when nobody answers"
    heard = await desk.hear(ThirdPartyCancelAccepted(fulfillment_id=pick.fulfillment_id, answered_at=NOON), partner="west")
    assert heard.one(FulfillmentCancelled).lines == [units(2)]
    again = (await desk.hear(reserved(waiting, AMPLE, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    assert [item.location for item in again.fulfillments] == ["newark"]
    # It has started after all: its word counts, and it ships from there.
    await desk.hear(ThirdPartyAccepted(fulfillment_id=unanswered.fulfillment_id, accepted_at=NOON), partner="west")
    assert [await desk.states(each.order_id) for each in (silent, started, elsewhere)] == [["accepted"], ["accepted"], ["submitted"]]


async def test_what_is_handed_over_while_its_location_closes_is_called_off_when_its_answer_is_overdue(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    await desk.register(RENO.model_copy(update={"active": False}))
    with monkeypatch.context() as at_the_same_moment:
        at_the_same_moment.setattr(current, "closed_locations", AsyncMock(return_value=frozenset()))
        await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
    assert (await desk.wake(timedelta(minutes=4))).types == []
    assert (await desk.wake(timedelta(minutes=1))).one(FulfillmentCancelRequested).reason == "location closed"


async def test_a_plan_whose_units_are_tied_after_its_location_has_closed_is_never_handed_over_but_planned_elsewhere(desk: Desk) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    await desk.register(RENO.model_copy(update={"active": False}))
    heard = await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
    assert heard.types == ["fulfillment.cancelled.v1"], "allocation lets go of the units"
    assert heard.one(FulfillmentCancelled).lines == [units(2)]
    again = (await desk.hear(reserved(placed, AMPLE, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    assert [item.location for item in again.fulfillments] == ["newark"]
    assert await desk.states(placed.order_id) == ["withdrawn", "planned"]


async def test_a_short_pick_ships_the_rest_and_plans_the_missing_units_anew(desk: Desk) -> None:
    placed = an_order(a_line("1", 5))
    [request] = await desk.hand_over(placed, AMPLE)
    report = ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=[units(2)], picked_at=NOON)
    heard = await desk.hear(report, partner="west")
    event = heard.one(FulfillmentCancelled)
    assert heard.one(FulfillmentStarted).fulfillment_id == request.fulfillment_id, "picking implies that it was accepted"
    assert (event.cause, event.lines, event.missing) == ("short_picked", [units(2)], [units(2)])
    assert (await desk.hear(report, partner="west")).types == [], "the same report told twice counts once"
    again = (await desk.hear(reserved(placed, AMPLE, {"1": 2}, cause="fulfillment_cancelled"))).one(FulfillmentPlanned)
    assert again.fulfillments[0].lines == [units(2)]
    assert (await desk.hear(shipped(request.fulfillment_id, (3, "1")), partner="west")).one(FulfillmentShipped).lines == [units(3)]


async def test_a_parcel_that_overtakes_its_short_pick_waits_for_it(desk: Desk) -> None:
    placed = an_order(a_line("1", 5))
    [request] = await desk.hand_over(placed, AMPLE)
    assert (await desk.hear(shipped(request.fulfillment_id, (3, "1")), partner="west")).types == ["fulfillment.shipped.v1"]
    assert await desk.states(placed.order_id) == ["incomplete"]
    report = ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=[units(2)], picked_at=NOON)
    assert (await desk.hear(report, partner="west")).one(FulfillmentCancelled).missing == [units(2)]
    assert await desk.states(placed.order_id) == ["shipped"]


async def test_units_that_never_shipped_go_back_without_being_written_off_when_no_short_pick_comes(desk: Desk) -> None:
    placed = an_order(a_line("1", 5))
    [request] = await desk.hand_over(placed, AMPLE)
    await desk.hear(shipped(request.fulfillment_id, (3, "1")), partner="west")
    event = (await desk.wake(timedelta(minutes=2))).one(FulfillmentCancelled)
    assert (event.lines, event.missing) == ([units(2)], [])
    assert len((await desk.hear(reserved(placed, AMPLE, {"1": 2}, cause="fulfillment_cancelled"))).of(FulfillmentPlanned)) == 1
    late = ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=[units(2)], picked_at=NOON)
    heard = await desk.hear(late, partner="west")
    assert heard.types == ["fulfillment.cancelled.v1"], "the order has its units back already"
    assert heard.one(FulfillmentCancelled).missing == [units(2)], "a report that comes too late is written off all the same"
    assert (await desk.hear(late, partner="west")).types == [], "the same report told twice counts once"
    more = ThirdPartyShortPicked(fulfillment_id=request.fulfillment_id, missing=[units(1)], picked_at=NOON + timedelta(minutes=1))
    assert "0 units are neither shipped nor reported as missing" in (await desk.hear(more, partner="west")).parked[0]


async def test_shipped_before_accepted_implies_accepted_and_a_late_acceptance_changes_nothing(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    assert (await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="west")).types == ["fulfillment.shipped.v1"]
    late = ThirdPartyAccepted(fulfillment_id=request.fulfillment_id, accepted_at=NOON)
    assert (await desk.hear(late, partner="west")).types == []
    assert (await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="west")).types == [], "shipped twice is shipped once"
    assert await desk.states(placed.order_id) == ["shipped"]


async def test_delivered_before_shipped_waits_for_it(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    heard = await desk.hear(ThirdPartyDelivered(fulfillment_id=request.fulfillment_id, delivered_at=NOON), partner="west")
    assert heard.deferred == [f"fulfillment {request.fulfillment_id} has not shipped yet"]


async def test_an_answer_about_an_unknown_fulfillment_waits_and_disturbs_nobody(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    stranger = new_id()
    heard = await desk.hear(
        ThirdPartyAccepted(fulfillment_id=stranger, accepted_at=NOON),
        ThirdPartyAccepted(fulfillment_id=request.fulfillment_id, accepted_at=NOON),
        partner="west",
    )
    assert heard.deferred == [f"fulfillment_id: {stranger} is not known here; answer with the id of the request"]
    assert heard.one(FulfillmentStarted).fulfillment_id == request.fulfillment_id


async def test_a_3pl_that_speaks_of_anothers_fulfillment_is_parked_by_name(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    heard = await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="east")
    assert heard.types == []
    assert heard.parked == [f"fulfillment_id: {request.fulfillment_id} was not handed to east; a 3PL answers only for its own"]
    assert await desk.states(placed.order_id) == ["submitted"]


async def test_shipped_units_of_a_line_that_the_fulfillment_does_not_have_are_parked_naming_the_line(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    heard = await desk.hear(shipped(request.fulfillment_id, (1, "9")), partner="west")
    assert "lines: line 9 is not part of fulfillment" in heard.parked[0]
    heard = await desk.hear(shipped(request.fulfillment_id, (3, "1")), partner="west")
    assert "line 1 with 3 units" in heard.parked[0]


async def test_a_silent_3pl_is_asked_again_and_then_a_person_is_called(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    attempts = []
    called = None
    for _ in range(10):
        heard = await desk.wake(timedelta(hours=2))
        attempts += [again.attempt for again in heard.of(FulfillmentRequested)]
        if heard.of(OrderNeedsAttention):
            called = heard.one(OrderNeedsAttention)
            break
    assert attempts == [2, 3, 4, 5]
    assert called is not None
    assert called.reason == "third_party_silent"
    retried = await desk.retry(placed.order_id)
    assert retried.one(FulfillmentRequested).attempt == 6
    await desk.hear(ThirdPartyAccepted(fulfillment_id=request.fulfillment_id, accepted_at=NOON), partner="west")
    order = await desk.order(placed.order_id)
    assert (order["waiting_for"], order["attention_reason"]) == ("shipment", None)


async def test_an_accepted_fulfillment_that_never_leaves_calls_a_person_until_it_ships(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=request.fulfillment_id, accepted_at=NOON), partner="west")
    assert (await desk.wake(timedelta(days=6))).one(OrderNeedsAttention).reason == "overdue"
    await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="west")
    assert (await desk.order(placed.order_id))["attention_reason"] is None


async def test_an_order_whose_delivery_nobody_reports_closes_in_the_end(desk: Desk) -> None:
    placed = an_order()
    [request] = await desk.hand_over(placed, AMPLE)
    await desk.hear(shipped(request.fulfillment_id, (2, "1")), partner="west")
    assert (await desk.order(placed.order_id))["waiting_for"] == "delivery"
    await desk.wake(timedelta(days=31))
    order = await desk.order(placed.order_id)
    assert (order["status"], order["waiting_for"]) == ("closed", None)


async def test_an_order_that_allocation_never_mentions_calls_a_person(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    assert (await desk.order(placed.order_id))["waiting_for"] == "allocation"
    attention = (await desk.wake(timedelta(minutes=11))).one(OrderNeedsAttention)
    assert (attention.reason, attention.detail) == ("overdue", "allocation has not answered for 2 units")
    await desk.hear(reserved(placed, AMPLE))
    assert (await desk.order(placed.order_id))["attention_reason"] is None


async def test_an_unknown_postal_code_needs_a_person_and_can_be_driven_on(desk: Desk) -> None:
    placed = an_order(ship_to=HOME.model_copy(update={"postal_code": "00000"}))
    await desk.hear(placed)
    attention = (await desk.hear(reserved(placed, AMPLE))).one(OrderNeedsAttention)
    assert attention.reason == "unknown_postal_code"
    assert "ship_to.postal_code" in attention.detail
    assert (await desk.retry(placed.order_id)).one(OrderNeedsAttention).reason == "unknown_postal_code"


async def test_an_operators_retry_asks_for_fresh_numbers_by_a_plan_on_a_guess(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    assert (await desk.hear(reserved(placed, {}))).one(OrderNeedsAttention).reason == "no_location_can_ship"
    guess = (await desk.retry(placed.order_id)).one(FulfillmentPlanned)
    refusal = FulfillmentAssignmentRejected(
        plan_id=guess.plan_id, order_id=placed.order_id, reason="stock_moved", assignable=stock_of({"SKU-1": {"newark": 2}})
    )
    assert (await desk.hear(refusal)).one(FulfillmentPlanned).fulfillments[0].location == "newark"


async def test_hazardous_goods_ship_only_from_certified_locations(desk: Desk) -> None:
    await desk.register(a_location("dallas", "75236", hazmat_certified=True))
    placed = an_order(a_line("1", hazmat=True), a_line("2"))
    stock = {"SKU-1": {"reno": 9, "dallas": 9}, "SKU-2": {"reno": 9}}
    requests = await desk.hand_over(placed, stock)
    assert {(request.location, tuple(request.packing_requirements)) for request in requests} == {("reno", ()), ("dallas", ("hazmat",))}


async def test_a_decision_is_recorded_with_its_candidates_and_why_others_were_left_out(desk: Desk) -> None:
    await desk.register(a_location("closed", "89501", active=False))
    placed = an_order()
    plan = await desk.plan(placed, {"SKU-1": {"reno": 9, "newark": 9, "closed": 9}})
    record = await desk.connection.fetchval("SELECT record FROM decisions WHERE decision_id = $1", plan.plan_id)
    assert [entry[0] for entry in record["candidates"]] == ["reno", "newark"]
    assert record["candidates"][0][3] < record["candidates"][1][3], "the cost of each candidate stands beside it"
    assert [entry[::3] for entry in record["excluded"]] == [["closed", "inactive"]]
    assert record["chosen"][0][0] == "reno"
    assert len(record["rate_cards"]) == 12


async def test_a_registered_location_counts_at_once_and_its_new_data_replace_the_old(desk: Desk) -> None:
    placed, later = an_order(), an_order()
    assert (await desk.plan(placed, AMPLE)).fulfillments[0].location == "reno"
    heard = await desk.hear(RENO.model_copy(update={"active": False}))
    assert heard.one(LocationRegistered).active is False
    assert (await desk.plan(later, AMPLE)).fulfillments[0].location == "newark"


async def test_allocation_hears_when_a_location_works_and_routing_keeps_it(desk: Desk) -> None:
    rests = RENO.model_copy(
        update={"working_days": ["saturday", "monday"], "holidays": [date(2026, 12, 26), date(2026, 12, 26)], "dock_to_stock_days": 2}
    )
    told = (await desk.hear(rests)).one(LocationRegistered)
    assert (told.time_zone, told.order_cutoff, told.dock_to_stock_days) == ("America/Los_Angeles", "15:00", 2)
    assert (set(told.working_days), set(told.holidays)) == ({"saturday", "monday"}, {date(2026, 12, 26)})
    row = await desk.connection.fetchrow("SELECT working_days, holidays, dock_to_stock_days FROM locations WHERE location = 'reno'")
    assert row is not None
    assert tuple(row) == ([1, 6], [date(2026, 12, 26)], 2)


async def test_a_location_ships_by_the_services_that_were_registered_last_and_one_from_before_there_were_any_by_all(desk: Desk) -> None:
    await desk.hear(RENO.model_copy(update={"services": ["next_day", "ground", "next_day"]}))
    network = (await current.planner(desk.connection)).network
    assert {place.code: place.services for place in network.locations} == {"reno": ("ground", "next_day"), "newark": SERVICES}
    documents = await read_locations_of(desk.connection, network.version)
    before = [{name: value for name, value in document.items() if name != "services"} for document in documents]
    assert [place.services for place in current.network_of(before, 1).locations] == [SERVICES, SERVICES]
    placed = an_order(service_level="two_day")
    await desk.plan(placed, AMPLE)
    service = await desk.connection.fetchval("SELECT service FROM fulfillments WHERE order_id = $1", placed.order_id)
    assert service in ("ground", "next_day")


async def test_a_location_that_cannot_be_found_or_has_no_clock_is_refused_by_field(desk: Desk) -> None:
    heard = await desk.hear(
        a_location("moon", "00000"), a_location("abroad", "10115", country="DE"), a_location("odd", "10001", time_zone="Mars/Olympus")
    )
    assert [(item.location, item.field) for item in heard.of(LocationRegistrationRejected)] == [
        ("moon", "postal_code"),
        ("abroad", "postal_code"),
        ("odd", "time_zone"),
    ]


async def test_a_cancellation_asks_the_3pl_again_while_it_is_silent(desk: Desk) -> None:
    placed = an_order()
    await desk.hand_over(placed, AMPLE)
    cancel = OrderCancelRequested(order_id=placed.order_id, change_id=new_id(), actor=SHOPPER, reason="too late")
    first = await desk.hear(cancel)
    assert (first.one(FulfillmentCancelRequested).attempt, first.one(OrderChangePending).change) == (1, "cancel")
    again = (await desk.wake(timedelta(minutes=6))).one(FulfillmentCancelRequested)
    assert again.attempt == 2
    accepted = ThirdPartyCancelAccepted(fulfillment_id=again.fulfillment_id, answered_at=NOON)
    assert (await desk.hear(accepted, partner="west")).one(OrderCancelled).lines == [units(2)]


async def test_replicas_that_work_on_the_same_orders_neither_block_for_ever_nor_plan_twice(desk: Desk, databases: Databases) -> None:
    orders = [an_order() for _ in range(20)]
    await desk.hear(*orders)
    other = Desk(await databases.connect("routing"))
    messages = [received(reserved(order, AMPLE, {"1": 1})) for order in orders]
    rest = [received(reserved(order, AMPLE, {"1": 1}, cause="restocked")) for order in reversed(orders)]
    one, two = await asyncio.gather(desk.hear(*messages), other.hear(*rest))
    assert len(one.of(FulfillmentPlanned)) + len(two.of(FulfillmentPlanned)) == 40
    planned = await desk.connection.fetchval("SELECT sum(planned) FROM fulfillment_lines")
    assert planned == 40


async def test_a_due_order_that_another_replica_works_on_is_left_alone(desk: Desk, databases: Databases) -> None:
    placed = an_order()
    await desk.hand_over(placed, AMPLE)
    other = await databases.connect("routing")
    async with desk.connection.transaction():
        assert await handlers.wake_due_orders(Transaction(desk.connection, NOON + timedelta(hours=1)))
        async with other.transaction():
            assert await handlers.wake_due_orders(Transaction(other, NOON + timedelta(hours=1))) == []
