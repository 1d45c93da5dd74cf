"""Orders of one window are planned together before release (feature C8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing import current, handlers
from services.routing.decide.capacity import Capacity
from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from services.routing.decide.recording import canonical, request_of
from services.routing.decide.replanning import held_until, plan_together, savings_of, window_end
from services.routing.decide.values import replace as changed
from services.routing.postal_codes import find_place
from services.routing.replanning_measures import replanning_measures
from services.routing.replay import __main__ as replaying
from services.routing.settings import PlanningSettings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentPlanned, FulfillmentRequested, OrderNeedsAttention
from shared.contracts.orders import LineChange, LineToCancel, OrderCancelled, OrderCancelRequested, OrderEdited, OrderEditRequested
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import HOME, NEWARK, NOON, RENO, SHOPPER, a_copy, a_line, an_order, reserved
from tests.routing.test_planner import WEDNESDAY, a_planner, request, taken, wanted

WINDOW = timedelta(minutes=15)
PLACES = ("reno", "dallas", "newark")
TOWNS = ("89501", "10001", "75201", "60601", "80202")
CHICAGO = HOME.model_copy(update={"city": "Chicago", "region": "IL", "postal_code": "60601"})
SCARCE = {"SKU-1": {"reno": 1, "newark": 1}, "SKU-2": {"newark": 5}}
"""Newark has all of the second order. The first is a little nearer to Newark, and takes from there when it is asked first."""


def ids(count: int) -> list[UUID]:
    return [UUID(int=number) for number in range(1, count + 1)]


def one_after_the_other(planner: Planner, requests: Mapping[UUID, PlanRequest], stock: Mapping[str, Mapping[str, int]]) -> dict[UUID, Plan]:
    """What becomes of the orders without a window."""
    left = {sku: dict(places) for sku, places in stock.items()}
    plans = {}
    for order_id, asked in requests.items():
        plan = planner.plan(replace(asked, assignable=left))
        if plan.parcels and not plan.unplaced:
            plans[order_id] = plan
            for (sku, code), units in units_of([plan]).items():
                left[sku][code] -= units
    return plans


def units_of(plans: Sequence[Plan]) -> Counter[tuple[str, str]]:
    units: Counter[tuple[str, str]] = Counter()
    for plan in plans:
        for parcel in plan.parcels:
            for _, sku, count in parcel.units:
                units[sku, parcel.location.code] += count
    return units


def last_day(plan: Plan) -> date:
    return max(parcel.arrives_on for parcel in plan.parcels)


def test_the_order_that_needs_the_last_unit_more_gets_it_and_both_decisions_say_what_that_saved() -> None:
    planner = a_planner("reno", "newark")
    first, second = ids(2)
    requests = {first: request(wanted(1), {}, to="60601"), second: request(wanted(1, 1), {}, to="60601")}
    before = one_after_the_other(planner, requests, SCARCE)
    assert [len(plan.parcels) for plan in before.values()] == [1, 2]
    plans = plan_together(planner, requests, SCARCE)
    assert taken(plans[first]) == {"reno": {"1": 1}}
    assert taken(plans[second]) == {"newark": {"1": 1, "2": 1}}
    saved = sum(plan.cost_cents for plan in before.values()) - sum(plan.cost_cents for plan in plans.values())
    assert saved > 0
    told = savings_of(plans.values())
    assert (told.orders, told.parcels, told.cents) == (2, 1, saved)
    asked = request_of(plans[second].record, lambda code: find_place(code, "US"))
    assert canonical(planner.plan(asked).record) == canonical(plans[second].record)
    words = f"; re-planned with 1 other before release: 1 parcel less, {saved // 100}.{saved % 100:02d} less"
    for plan in plans.values():
        assert in_words(plan, runner_up(planner, request_of(plan.record, lambda code: find_place(code, "US")), plan)).endswith(words)


def test_no_saving_makes_an_order_late() -> None:
    planner = a_planner("reno", "newark")
    first, second = ids(2)
    # Newark has closed, Reno has not: only from there the first order is in time. The second, 132 pounds, is cheap from there.
    evening = WEDNESDAY + timedelta(hours=5)
    stock = {"SKU-1": {"reno": 30, "newark": 31}}
    for level, place in (("next_day", "reno"), ("standard", "newark")):
        heavy = request(wanted(30, grams=2_000), {}, now=evening)
        requests = {first: request(wanted(1), {}, now=evening, service_level=level), second: heavy}
        plans = plan_together(planner, requests, stock)
        assert list(taken(plans[first])) == [place]
        assert not plans[first].late


demands = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=3, unique_by=lambda line: line[0]),
        st.sampled_from(TOWNS),
        st.sampled_from(("standard", "two_day", "next_day")),
    ),
    min_size=2,
    max_size=6,
)
shelves = st.fixed_dictionaries({f"SKU-{number}": st.fixed_dictionaries(dict.fromkeys(PLACES, st.integers(0, 4))) for number in (1, 2, 3)})


@settings(max_examples=150, deadline=None)
@given(demands, shelves, st.sampled_from((0, 200)))
def test_together_is_never_dearer_nor_later_and_takes_no_unit_twice(
    orders: list[tuple[list[tuple[int, int]], str, str]], stock: dict[str, dict[str, int]], split_cents: int
) -> None:
    planner = a_planner(*PLACES, split_cents=split_cents)
    requests = {
        order_id: request([Wanted(str(sku), f"SKU-{sku}", count, 900, False) for sku, count in lines], {}, to=town, service_level=level)
        for order_id, (lines, town, level) in zip(ids(len(orders)), orders, strict=True)
    }
    before = one_after_the_other(planner, requests, stock)
    plans = plan_together(planner, requests, stock)
    assert plans.keys() == before.keys()
    assert all(units <= stock[sku][code] for (sku, code), units in units_of(list(plans.values())).items())
    for order_id, plan in plans.items():
        asked = Counter({entry.sku: entry.units for entry in requests[order_id].wanted})
        assert sum((Counter({sku: count}) for (sku, _), count in units_of([plan]).items()), Counter()) == asked
        assert plan.late <= before[order_id].late
        assert not plan.late or last_day(plan) <= last_day(before[order_id])

    def counted(made: Mapping[UUID, Plan]) -> int:
        return sum(plan.cost_cents + split_cents * (len(plan.parcels) - 1) for plan in made.values())

    told = savings_of(plans.values())
    assert counted(plans) <= counted(before)
    assert told.cents == sum(plan.cost_cents for plan in before.values()) - sum(plan.cost_cents for plan in plans.values())
    assert [canonical(plan.record) for plan in plan_together(planner, requests, stock).values()] == [
        canonical(plan.record) for plan in plans.values()
    ]


def test_an_order_waits_for_its_window_once_and_never_past_a_cutoff() -> None:
    network = a_planner("reno", "newark").network
    copy = a_copy()
    reserved_lines = tuple(changed(line, unplanned=line.quantity) for line in copy.lines)
    order = changed(copy, promise_from=WEDNESDAY, assignable={"SKU-1": {"newark": 9}}, lines=reserved_lines)
    end = window_end(WEDNESDAY, WINDOW)
    assert WEDNESDAY < end <= WEDNESDAY + WINDOW
    assert held_until(order, network, WEDNESDAY, WINDOW) == end
    assert held_until(order, network, WEDNESDAY, timedelta(0)) is None, "switched off"
    assert held_until(order, network, end, WINDOW) is None, "its window is over"
    # Newark's cutoff is at 15:00, that is 20:00 here.
    late = WEDNESDAY + timedelta(hours=3, minutes=50)
    assert held_until(changed(order, promise_from=late), network, late, WINDOW) is None
    west = changed(order, promise_from=late, assignable={"SKU-1": {"reno": 9}})
    assert held_until(west, network, late, WINDOW) == window_end(late, WINDOW)
    assert held_until(changed(order, refused_plans=1), network, WEDNESDAY, WINDOW) is None
    # Another service level, asked for or paid when the window was over, is promised anew and waits no second time.
    faster = changed(order, order_version=2, placed_at=WEDNESDAY, promise_from=end)
    assert held_until(faster, network, end, WINDOW) is None
    assert held_until(changed(order, order_version=2, placed_at=WEDNESDAY), network, WEDNESDAY, WINDOW) == end
    limited = replace(network, locations=[replace(place, capacity=Capacity(3, None, time(8))) for place in network.locations])
    assert held_until(order, limited, WEDNESDAY, WINDOW) is None


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = PlanningSettings(replanning_window_seconds=int(WINDOW.total_seconds()))
    monkeypatch.setattr(current, "settings", lambda: chosen)


@pytest.mark.usefixtures("windows")
class TestOnADatabase:
    async def take(self, desk: Desk) -> tuple[UUID, UUID]:
        """Two orders that compete for Newark's last unit, half a minute apart."""
        desk.now = _open_day()
        first, second = an_order(a_line("1", 1), ship_to=CHICAGO), an_order(a_line("1", 1), a_line("2", 1), ship_to=CHICAGO)
        for placed in (first, second):
            await desk.hear(placed)
            assert (await desk.hear(reserved(placed, SCARCE))).outgoing == []
            waiting = await desk.order(placed.order_id)
            assert (waiting["status"], waiting["waiting_for"]) == ("fully_allocated", "planning")
            assert waiting["due_at"] == window_end(desk.now, WINDOW) <= desk.now + WINDOW
            desk.now += timedelta(seconds=30)
        assert (await desk.wake()).outgoing == [], "before the end of the window"
        return first.order_id, second.order_id

    async def test_when_the_window_ends_the_better_plan_goes_out_once_and_its_record_replays(
        self, desk: Desk, databases: Databases, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, second = await self.take(desk)
        assert await replanning_measures(desk.connection, desk.now) == ()
        plans = {plan.order_id: plan for plan in (await desk.wake(WINDOW)).of(FulfillmentPlanned)}
        assert [item.location for item in plans[first].fulfillments] == ["reno"]
        assert [(item.location, len(item.lines)) for item in plans[second].fulfillments] == [("newark", 2)]
        assert (await desk.wake(timedelta(seconds=1))).outgoing == [], "done"
        saved = {value.name: value.value for value in await replanning_measures(desk.connection, desk.now)}
        assert (saved["replanned_orders"], saved["replanning_saved_parcels"]) == (2, 1)
        assert saved["replanning_saved_cents"] > 0
        assert await replaying.replay(databases.url("routing"), replaying.parse([])) == 0
        assert capsys.readouterr().out.startswith("2 of 2 decisions came out as they were recorded, byte for byte")
        heard = await desk.hear(FulfillmentAssigned(plan_id=plans[second].plan_id, order_id=second))
        assert heard.one(FulfillmentRequested).location == "newark"

    async def test_a_second_process_does_not_plan_what_the_first_is_planning(self, desk: Desk, databases: Databases) -> None:
        await self.take(desk)
        desk.now += WINDOW
        other = await databases.connect("routing")
        async with desk.connection.transaction():
            outgoing = await handlers.wake_due_orders(Transaction(desk.connection, desk.now))
            async with other.transaction():
                assert await handlers.wake_due_orders(Transaction(other, desk.now)) == []
        assert len(outgoing) == 2
        async with other.transaction():
            assert await handlers.wake_due_orders(Transaction(other, desk.now)) == []

    async def test_a_cancellation_at_the_end_of_the_window_wins_and_the_other_order_gets_what_it_left(
        self, desk: Desk, databases: Databases
    ) -> None:
        first, second = await self.take(desk)
        desk.now += WINDOW
        other = await databases.connect("routing")
        cancel: Message = OrderCancelRequested(change_id=new_id(), order_id=second, actor=SHOPPER, reason="changed my mind")
        async with desk.connection.transaction():
            assert (await Desk(desk.connection, desk.now).hear(cancel)).one(OrderCancelled).order_id == second
            async with other.transaction():
                planned = [item.data for item in await handlers.wake_due_orders(Transaction(other, desk.now))]
        assert [(plan.order_id, plan.fulfillments[0].location) for plan in planned if isinstance(plan, FulfillmentPlanned)] == [
            (first, "newark")
        ]
        assert (await desk.wake(timedelta(seconds=1))).outgoing == []
        assert (await desk.order(second))["status"] == "cancelled"

    async def test_an_order_that_is_changed_during_the_window_waits_on_and_is_planned_once_as_it_then_is(self, desk: Desk) -> None:
        desk.now = _open_day()
        changes: list[dict[str, Any]] = [
            {"ship_to": CHICAGO},
            {"line_changes": [LineChange(line_id="1", quantity=1)]},
            {"service_level": "two_day"},
            {"split_policy": "hold_all"},
            {"lines": [LineToCancel(line_id="2")]},
        ]
        stock = {sku: {"reno": 9, "newark": 9} for sku in ("SKU-1", "SKU-2")}
        orders = [an_order(a_line("1", 2), a_line("2", 1), placed_at=desk.now) for _ in changes]
        for placed in orders:
            await desk.hear(placed)
            await desk.hear(reserved(placed, stock))
        desk.now += timedelta(minutes=1)
        wanted = {}
        for placed, change in zip(orders, changes, strict=True):
            words = {"order_id": placed.order_id, "change_id": new_id(), "actor": SHOPPER, **change}
            request = OrderCancelRequested(**words, reason="no need") if "lines" in change else OrderEditRequested(**words)
            edited = (await desk.hear(request)).one(OrderEdited)
            wanted[placed.order_id] = {line.line_id: line.quantity for line in edited.lines}
            assert (await desk.hear(reserved(placed, stock, wanted[placed.order_id], cause="edited", version=2))).outgoing == []
        waiting = {(row["waiting_for"], row["due_at"]) for row in [await desk.order(placed.order_id) for placed in orders]}
        assert waiting == {("planning", window_end(desk.now, WINDOW))}
        plans = {plan.order_id: plan for plan in (await desk.wake(WINDOW)).of(FulfillmentPlanned)}
        assert {
            order_id: {line.line_id: line.quantity for item in plan.fulfillments for line in item.lines} for order_id, plan in plans.items()
        } == wanted
        assert {plan.order_version for plan in plans.values()} == {2}
        assert [plans[placed.order_id].fulfillments[0].location for placed in orders] == ["newark", *["reno"] * 4]
        assert (await desk.wake(timedelta(seconds=1))).outgoing == []

    async def test_an_edit_at_the_end_of_the_window_is_planned_as_soon_as_its_units_are_known(self, desk: Desk) -> None:
        desk.now = _open_day()
        placed, stock = an_order(placed_at=desk.now), {"SKU-1": {"reno": 9}}
        await desk.hear(placed)
        await desk.hear(reserved(placed, stock))
        desk.now += WINDOW
        faster = OrderEditRequested(order_id=placed.order_id, change_id=new_id(), actor=SHOPPER, service_level="next_day")
        assert (await desk.hear(faster)).types == ["order.edited.v1"]
        assert (await desk.wake()).outgoing == [], "its units are not known"
        assert (await desk.hear(reserved(placed, stock, cause="edited", version=2))).one(FulfillmentPlanned).order_version == 2

    async def test_what_waits_is_not_planned_at_a_location_that_closes_meanwhile(self, desk: Desk) -> None:
        _, second = await self.take(desk)
        await desk.register(NEWARK.model_copy(update={"active": False}))
        heard = await desk.wake(WINDOW)
        assert {item.location for plan in heard.of(FulfillmentPlanned) for item in plan.fulfillments} == {"reno"}
        needed = heard.one(OrderNeedsAttention)
        assert (needed.order_id, "newark: inactive" in needed.detail) == (second, True)
        assert (await desk.wake(timedelta(seconds=1))).outgoing == []

    async def test_a_location_that_is_registered_anew_ends_the_wait_of_the_orders_that_have_something_there(self, desk: Desk) -> None:
        first, second = await self.take(desk)
        await desk.register(RENO.model_copy(update={"location": "boise", "postal_code": "83702", "order_cutoff": "09:00"}))
        assert (await desk.wake()).outgoing == [], "neither has anything there"
        cutoff = (desk.now + timedelta(minutes=5)).astimezone(ZoneInfo("America/New_York")).strftime("%H:%M")
        await desk.register(NEWARK.model_copy(update={"order_cutoff": cutoff}))
        plans = {plan.order_id: plan for plan in (await desk.wake()).of(FulfillmentPlanned)}
        assert [item.location for item in plans[second].fulfillments] == ["newark"]
        assert plans.keys() == {first, second}

    async def test_units_that_come_during_the_window_end_the_wait_where_it_would_cost_their_place_a_day(self, desk: Desk) -> None:
        desk.now = _open_day()
        cutoff = (desk.now + timedelta(minutes=10)).astimezone(ZoneInfo("America/New_York")).strftime("%H:%M")
        await desk.register(NEWARK.model_copy(update={"order_cutoff": cutoff}))
        placed = an_order(a_line("1", 1), a_line("2", 1))
        await desk.hear(placed)
        assert (await desk.hear(reserved(placed, {"SKU-1": {"reno": 1}}, {"1": 1}))).outgoing == []
        came = await desk.hear(reserved(placed, {"SKU-2": {"newark": 1}}, {"2": 1}, cause="restocked"))
        assert {item.location for item in came.one(FulfillmentPlanned).fulfillments} == {"reno", "newark"}


def _open_day() -> datetime:
    """A weekday morning on which no cutoff is near."""
    day = NOON + timedelta(hours=4)
    while day.isoweekday() > 5:
        day += timedelta(days=1)
    return day
