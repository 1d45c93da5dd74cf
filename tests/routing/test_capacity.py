"""How much work a location takes: slots of a day and an hour, what happens when they are taken, and who is given the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from services.routing.decide.capacity import WHOLE_DAY, Capacity, Openings, Slot, first_free, price_cents, without_a_slot
from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest
from services.routing.decide.registration import check_location
from shared.calendar import WorkCalendar
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    CARRIER_SERVICES,
    FulfillmentAssigned,
    FulfillmentAssignmentRejected,
    FulfillmentPlanned,
    LocationRegistrationRequested,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyIntercepted,
    ThirdPartyRejected,
)
from shared.contracts.orders import OrderCancelRequested
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import NOON, RENO, SHOPPER, an_order, reserved, stock_of
from tests.routing.test_handlers import AMPLE
from tests.routing.test_planner import a_planner, request, taken, wanted
from tests.routing.test_replay import again, kept

PACIFIC = ZoneInfo("America/Los_Angeles")
FRIDAY = datetime(2026, 3, 6, 18, 30, tzinfo=UTC)
"""Half past ten in the morning in Reno."""
CALENDAR = WorkCalendar(PACIFIC, time(15, 0), holidays={date(2026, 3, 9)})


def day(number: int) -> date:
    return date(2026, 3, number)


class TestTheFirstFreeSlot:
    def free(self, capacity: Capacity, taken: dict[tuple[date, int], int], now: datetime = FRIDAY) -> Slot | None:
        return first_free("reno", capacity, CALENDAR, {("reno", *key): count for key, count in taken.items()}, now)

    def test_a_full_day_leaves_the_next_working_day_that_is_not(self) -> None:
        ten = Capacity(10, None)
        assert self.free(ten, {(day(6), WHOLE_DAY): 9}) == Slot(day(6), None, 0, 9, None)
        assert self.free(ten, {(day(6), WHOLE_DAY): 10}) == Slot(day(10), None, 1, 0, None), "a weekend and a holiday are no days put off"
        full = {(day(6), WHOLE_DAY): 10, (day(10), WHOLE_DAY): 12}
        assert self.free(ten, full) == Slot(day(11), None, 2, 0, None), "lowered below what is taken: full"
        assert self.free(ten, {}, FRIDAY + timedelta(hours=5)) == Slot(day(10), None, 0, 0, None), "after the cutoff nothing is put off"

    def test_a_full_hour_leaves_the_next_one_until_the_cutoff_and_then_the_morning_of_the_next_working_day(self) -> None:
        two = Capacity(None, 2, time(9, 0))
        assert self.free(two, {(day(6), 9): 0}) == Slot(day(6), 10, 0, 0, 0), "no hour that is over"
        assert self.free(two, {(day(6), WHOLE_DAY): 3, (day(6), 10): 2, (day(6), 11): 1}) == Slot(day(6), 11, 0, 3, 1)
        busy = {(day(6), hour): 2 for hour in range(10, 15)}
        assert self.free(two, busy) == Slot(day(10), 9, 1, 0, 0), "the cutoff ends the day's hours"
        assert self.free(Capacity(3, 2), {(day(6), WHOLE_DAY): 3}) == Slot(day(10), 8, 1, 0, 0), "the day is full though its hours are not"

    def test_a_year_without_a_free_slot_is_none(self) -> None:
        full = {(day(6) + timedelta(days=number), WHOLE_DAY): 1 for number in range(400)}
        assert self.free(Capacity(1, None), full) is None

    def test_plans_of_one_batch_take_slots_from_each_other(self) -> None:
        openings = Openings({"reno": (Capacity(2, 1), CALENDAR)}, {("reno", day(6), 10): 1, ("reno", day(6), WHOLE_DAY): 1}, FRIDAY)
        first = openings.seen({"reno", "newark"})["reno"]
        assert first == Slot(day(6), 11, 0, 1, 0)
        openings.take("reno", first)
        assert openings.seen(["reno"]) == {"reno": Slot(day(10), 8, 1, 0, 0)}

    def test_the_last_slot_goes_to_who_comes_first_and_nobody_is_given_a_part(self) -> None:
        reno, newark = ("reno", day(6), WHOLE_DAY), ("newark", day(6), WHOLE_DAY)
        wants = [("first", [reno]), ("both", [reno, newark]), ("last", [newark])]
        assert without_a_slot(wants, {reno: 4, newark: 4}, {reno: 5, newark: 5}) == {"both"}
        assert without_a_slot(wants, {reno: 4, newark: 4}, {reno: None, newark: 4}) == {"both", "last"}


def asked(slots: Mapping[str, Slot | None], **more: Any) -> PlanRequest:
    return request(wanted(2), {"SKU-1": dict.fromkeys(("reno", "newark"), 9)}, slots=slots, **more)


def candidates(plan: Plan) -> dict[str, Any]:
    return {row[0]: row[3] for row in [*plan.record["candidates"], *plan.record["excluded"]]}


class TestPlans:
    planner = a_planner("reno", "newark")
    """To Reno, on Wednesday 4 March."""
    tomorrow = Slot(day(5), None, 1, 0, None)
    friday = Slot(day(6), None, 2, 0, None)

    def test_the_near_location_ships_the_next_day_where_no_day_was_promised_and_dates_follow(self) -> None:
        usual = self.planner.plan(asked({}))
        later = self.planner.plan(asked({"reno": self.tomorrow}))
        assert taken(usual) == taken(later) == {"reno": {"1": 2}}
        [before], [after] = usual.parcels, later.parcels
        assert (after.ship_by - before.ship_by, after.arrives_on - before.arrives_on) == (timedelta(days=1), timedelta(days=1))
        assert after.slot == self.tomorrow

    def test_who_was_promised_no_day_does_not_wait_longer_than_a_day_where_another_place_has_a_slot(self) -> None:
        assert taken(self.planner.plan(asked({"reno": self.friday}))) == {"newark": {"1": 2}}
        full = {"reno": self.friday, "newark": replace_day(self.friday, 9, 3)}
        assert taken(self.planner.plan(asked(full))) == {"reno": {"1": 2}}, "both are full: the nearer keeps it waiting less"

    def test_a_location_that_would_be_too_late_for_want_of_a_slot_is_left_out_with_the_day_until_which_it_is_full(self) -> None:
        plan = self.planner.plan(asked({"reno": self.friday}, service_level="two_day"))
        assert taken(plan) == {"newark": {"1": 2}}
        assert not plan.late
        assert candidates(plan)["reno"] == "capacity exhausted until 2026-03-06"

    def test_a_promise_that_nobody_else_can_keep_is_kept_late_and_the_goods_are_not_lost(self) -> None:
        full: dict[str, Slot | None] = {"reno": replace_day(self.friday, 10, 4), "newark": replace_day(self.friday, 11, 5)}
        plan = self.planner.plan(asked(full, service_level="next_day"))
        assert plan.late
        assert [(parcel.location.code, parcel.arrives_on) for parcel in plan.parcels] == [("reno", day(11))]

    def test_a_location_without_a_slot_in_a_year_is_excluded(self) -> None:
        plan = self.planner.plan(asked({"reno": None}))
        assert taken(plan) == {"newark": {"1": 2}}
        assert candidates(plan)["reno"] == "capacity exhausted for a year"

    @pytest.mark.parametrize("objective", ["cheapest", "closest", "fastest"])
    def test_the_record_has_the_slots_and_gives_the_same_plan_byte_for_byte(self, objective: Any) -> None:
        planner = a_planner("reno", "newark", "dallas", objective=objective)
        plan = planner.plan(asked({"dallas": None, "newark": Slot(day(4), 11, 0, 3, 1), "reno": self.friday}))
        made = again(a_planner("reno", "newark", "dallas", objective=objective), plan)
        assert kept(made.record) == kept(plan.record)
        assert made == plan
        assert "slots" not in planner.plan(asked({})).record["asked"], "records of networks without limits stay as they were"

    def test_a_slot_of_a_nearly_full_location_counts_more_until_another_place_is_cheaper_and_the_record_replays(self) -> None:
        planner = replace(priced("reno", "newark"), capacity_cents=2_000)
        plans = [planner.plan(asked({"reno": Slot(day(4), None, 0, used, None)})) for used in range(10)]
        chosen = ["".join(taken(plan)) for plan in plans]
        assert chosen == sorted(chosen, reverse=True), "from some use on elsewhere, and then always"
        assert {chosen[0], chosen[-1]} == {"reno", "newark"}
        assert [plan.cost_cents for plan in plans] == [plans[0 if code == "reno" else -1].cost_cents for code in chosen], "in no cost told"
        assert kept(again(planner, plans[-1]).record) == kept(plans[-1].record)
        off = priced("reno", "newark").plan(asked({"reno": Slot(day(4), None, 0, 9, None)}))
        assert (list(taken(off)), "capacity_cents" in off.record) == (["reno"], False)

    def test_the_price_of_a_slot_rises_with_use_to_the_whole_price_and_a_skipped_day_costs_it_again(self) -> None:
        hundred = Capacity(100, 10)
        prices = [price_cents(hundred, Slot(day(4), 10, 0, used, 0), 1_000) for used in range(100)]
        assert (prices[0], prices == sorted(prices), 960 < prices[-1] < 1_000) == (0, True, True)
        assert price_cents(hundred, Slot(day(4), 10, 0, 0, 9), 1_000) == price_cents(
            Capacity(10, None), Slot(day(4), None, 0, 9, None), 1_000
        )
        assert price_cents(hundred, Slot(day(6), 10, 2, 0, 0), 1_000) == 2_000

    def test_the_sentence_names_who_was_full_until_when(self) -> None:
        question = asked({"reno": self.friday})
        plan = self.planner.plan(question)
        words = in_words(plan, runner_up(self.planner, question, plan))
        assert words.startswith("newark, not reno: ")
        assert words.endswith("; capacity exhausted: reno until 2026-03-06")


def priced(*codes: str) -> Planner:
    """A planner of locations that take ten a day."""
    planner = a_planner(*codes)
    places = [replace(place, capacity=Capacity(10, None)) for place in planner.network.locations]
    return replace(planner, network=Network(places))


def replace_day(slot: Slot, number: int, put_off: int) -> Slot:
    return slot._replace(day=day(number), put_off=put_off)


@pytest.mark.parametrize("field", ["fulfillments_per_day", "fulfillments_per_hour"])
@pytest.mark.parametrize("value", [0, -1, "10", 1.5])
def test_a_capacity_that_is_no_whole_number_from_one_on_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        LocationRegistrationRequested.model_validate(RENO.model_dump() | {field: value})


def test_hours_that_begin_after_the_cutoff_are_refused_by_field() -> None:
    late = RENO.model_copy(update={"fulfillments_per_hour": 5, "work_starts": "15:00"})
    problem = check_location(late, on_map=True, time_zones={late.time_zone}, partners=None, carriers={"UPS": CARRIER_SERVICES})
    assert problem is not None
    assert (problem.field, "; let work start earlier" in problem.detail) == ("work_starts", True)


def limited(**more: Any) -> LocationRegistrationRequested:
    return RENO.model_copy(update=more)


async def counts(desk: Desk) -> dict[tuple[date, int], int]:
    """Taken slots of Reno."""
    rows = await desk.connection.fetch("SELECT day, hour, taken FROM capacity_slots WHERE location = 'reno' ORDER BY day, hour")
    return {(row["day"], row["hour"]): row["taken"] for row in rows}


async def planned_at(desk: Desk) -> list[tuple[str, datetime]]:
    rows = await desk.connection.fetch("SELECT location, ship_by FROM fulfillments ORDER BY fulfillment_id")
    return [(row["location"], row["ship_by"]) for row in rows]


async def test_orders_of_one_batch_fill_a_day_and_the_next_and_then_go_elsewhere(desk: Desk) -> None:
    await desk.register(limited(fulfillments_per_day=1, working_days=list(ALL_WEEK)))
    orders = [an_order() for _ in range(3)]
    await desk.hear(*orders)
    await desk.hear(*(reserved(order, AMPLE) for order in orders))
    (first, today), (second, tomorrow), (third, _) = await planned_at(desk)
    assert (first, second, third) == ("reno", "reno", "newark")
    assert tomorrow - today == timedelta(days=1)
    assert list((await counts(desk)).values()) == [1, 1]


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ALL_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


async def test_slots_come_back_from_what_is_refused_rejected_or_cancelled_before_work_and_not_after(desk: Desk) -> None:
    await desk.register(limited(fulfillments_per_day=1, fulfillments_per_hour=1))
    refused, rejected, cancelled, accepted = (an_order() for _ in range(4))
    plan = await desk.plan(refused, AMPLE)
    for place, left in (("reno", 1), ("newark", 0)):
        stock = stock_of({"SKU-1": {place: 9}})
        refusal = FulfillmentAssignmentRejected(plan_id=plan.plan_id, order_id=refused.order_id, reason="stock_moved", assignable=stock)
        plan = (await desk.hear(refusal)).one(FulfillmentPlanned)
        assert set((await counts(desk)).values()) == {left}, "refused and planned anew in one transaction: its slot is free for it"
    [pick] = await desk.hand_over(rejected, AMPLE)
    await desk.hear(ThirdPartyRejected(fulfillment_id=pick.fulfillment_id, reason="capacity", rejected_at=NOON), partner="west")
    assert set((await counts(desk)).values()) == {0}
    [pick] = await desk.hand_over(cancelled, AMPLE)
    await desk.hear(OrderCancelRequested(order_id=cancelled.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    assert set((await counts(desk)).values()) == {1}, "its 3PL has not answered"
    await desk.hear(ThirdPartyCancelAccepted(fulfillment_id=pick.fulfillment_id, answered_at=NOON), partner="west")
    assert set((await counts(desk)).values()) == {0}
    [pick] = await desk.hand_over(accepted, AMPLE)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=NOON), partner="west")
    await desk.hear(OrderCancelRequested(order_id=accepted.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    await desk.hear(ThirdPartyIntercepted(fulfillment_id=pick.fulfillment_id, intercepted_at=NOON), partner="west")
    assert set((await counts(desk)).values()) == {1}, "work was spent on it"


async def test_of_two_planners_one_is_given_the_last_slot_and_the_other_plans_again(desk: Desk, databases: Databases) -> None:
    await desk.register(limited(fulfillments_per_day=2, working_days=list(ALL_WEEK)))
    one, two = an_order(), an_order()
    await desk.hear(one, two)
    await desk.plan(an_order(), AMPLE)
    other, admin = Desk(await databases.connect("routing")), await databases.connect_as_admin()
    async with admin.transaction():
        await admin.execute("SELECT FROM routing.capacity_slots FOR UPDATE")
        race = asyncio.gather(desk.hear(reserved(one, AMPLE)), other.hear(reserved(two, AMPLE)))
        # Both have seen the last slot, and planned on it, once both wait for it.
        async with asyncio.timeout(10):
            while await admin.fetchval(WAITING) < 2:
                pass
    heard = await race
    assert sorted(len(item.of(FulfillmentPlanned)) for item in heard) == [0, 1]
    assert list((await counts(desk)).values()) == [2]
    assert len((await desk.wake()).of(FulfillmentPlanned)) == 1
    assert list((await counts(desk)).values()) == [2, 1], "the other falls on the next day"
    (_, today), (_, same_day), (_, tomorrow) = await planned_at(desk)
    assert (same_day - today, tomorrow - today) == (timedelta(0), timedelta(days=1))


async def test_a_capacity_lowered_below_what_is_taken_loses_nothing_and_new_work_goes_elsewhere(desk: Desk) -> None:
    await desk.register(limited(fulfillments_per_day=3, working_days=list(ALL_WEEK)))
    plans = [await desk.plan(an_order(service_level="next_day"), AMPLE) for _ in range(3)]
    await desk.register(limited(fulfillments_per_day=1, working_days=list(ALL_WEEK)))
    handed = await desk.hear(*(FulfillmentAssigned(plan_id=plan.plan_id, order_id=plan.order_id) for plan in plans))
    assert len(handed.outgoing) == 3, "what has its slot goes its way"
    assert {location for location, _ in await planned_at(desk)} == {"reno"}
    later = await desk.plan(an_order(service_level="next_day"), AMPLE)
    assert [item.location for item in later.fulfillments] == ["newark"]
    await desk.register(RENO.model_copy(update={"working_days": list(ALL_WEEK)}))
    assert [item.location for item in (await desk.plan(an_order(service_level="next_day"), AMPLE)).fulfillments] == ["reno"]
    assert list((await counts(desk)).values()) == [3], "without a limit nothing is counted"
