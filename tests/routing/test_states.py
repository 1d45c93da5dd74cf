"""The state machine of a fulfillment order: every answer in every state, and every order in which answers may race a change."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.answers import ANSWERS, MATRIX, Answer, answer
from services.routing.decide.changes import request_change
from services.routing.decide.money import first_units_cents, total_cents
from services.routing.decide.order import (
    LIVE,
    Defer,
    Fulfillment,
    FulfillmentLine,
    Order,
    Outcome,
    Park,
    Say,
    State,
)
from services.routing.decide.waiting import TERMINAL, settled, wake
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentCancelled,
    FulfillmentShipped,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyDelivered,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import (
    LineChange,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderEdited,
    OrderEditRejected,
    OrderEditRequested,
)
from shared.contracts.returns import RefundRequested
from tests.routing.messages import NOON, PATIENCE, SHOPPER, a_copy, a_line, units

FULFILLMENT = UUID("01990000-0000-7000-8000-000000000001")
PLAN = UUID("01990000-0000-7000-8000-00000000000a")

Word = Literal["accepted", "rejected", "label", "shipped", "short", "cancel_accepted", "cancel_rejected", "delivered"]
WORDS: dict[Word, Answer] = {
    "accepted": ThirdPartyAccepted(fulfillment_id=FULFILLMENT, accepted_at=NOON),
    "rejected": ThirdPartyRejected(fulfillment_id=FULFILLMENT, reason="capacity", rejected_at=NOON),
    "label": ThirdPartyLabelPrinted(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", printed_at=NOON),
    "shipped": ThirdPartyShipped(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", lines=[units(3)], shipped_at=NOON),
    "short": ThirdPartyShortPicked(fulfillment_id=FULFILLMENT, missing=[units(1)], picked_at=NOON),
    "cancel_accepted": ThirdPartyCancelAccepted(fulfillment_id=FULFILLMENT, answered_at=NOON),
    "cancel_rejected": ThirdPartyCancelRejected(fulfillment_id=FULFILLMENT, reason="packed", answered_at=NOON),
    "delivered": ThirdPartyDelivered(fulfillment_id=FULFILLMENT, delivered_at=NOON),
}

# What must become of a fulfillment, told by state and word: the new state, or "park" or "defer". Written from the blueprint and the
# choreography, not from the code.
EXPECTED: dict[State, dict[Word, State | Literal["park", "defer"]]] = {
    State.PLANNED: dict.fromkeys(WORDS, "park"),
    State.WITHDRAWN: dict.fromkeys(WORDS, "park"),
    State.SUBMITTED: {
        "accepted": State.ACCEPTED,
        "rejected": State.REJECTED,
        "label": State.ACCEPTED,
        "shipped": State.SHIPPED,
        "short": State.ACCEPTED,
        "cancel_accepted": State.CALLED_OFF,
        "cancel_rejected": State.SUBMITTED,
        "delivered": "defer",
    },
    State.ACCEPTED: {
        "accepted": State.ACCEPTED,
        "rejected": State.REJECTED,
        "label": State.ACCEPTED,
        "shipped": State.SHIPPED,
        "short": State.ACCEPTED,
        "cancel_accepted": State.CALLED_OFF,
        "cancel_rejected": State.ACCEPTED,
        "delivered": "defer",
    },
    State.CANCELLING: {
        "accepted": State.ACCEPTED,
        "rejected": State.REJECTED,
        "label": State.ACCEPTED,
        "shipped": State.SHIPPED,
        "short": State.ACCEPTED,
        "cancel_accepted": State.CALLED_OFF,
        "cancel_rejected": State.CANCEL_REFUSED,
        "delivered": "defer",
    },
    State.CANCEL_REFUSED: {
        "accepted": State.CANCEL_REFUSED,
        "rejected": State.REJECTED,
        "label": State.CANCEL_REFUSED,
        "shipped": State.SHIPPED,
        "short": State.CANCEL_REFUSED,
        "cancel_accepted": State.CALLED_OFF,
        "cancel_rejected": State.CANCEL_REFUSED,
        "delivered": "defer",
    },
    State.INCOMPLETE: {
        "accepted": State.INCOMPLETE,
        "rejected": "park",
        "label": State.INCOMPLETE,
        "shipped": "park",
        "short": State.SHIPPED,
        "cancel_accepted": "park",
        "cancel_rejected": State.INCOMPLETE,
        "delivered": "defer",
    },
    State.SHIPPED: {
        "accepted": State.SHIPPED,
        "rejected": "park",
        "label": State.SHIPPED,
        "shipped": State.SHIPPED,
        "short": "park",
        "cancel_accepted": "park",
        "cancel_rejected": State.SHIPPED,
        "delivered": State.DELIVERED,
    },
    State.DELIVERED: {
        "accepted": State.DELIVERED,
        "rejected": "park",
        "label": State.DELIVERED,
        "shipped": State.DELIVERED,
        "short": "park",
        "cancel_accepted": "park",
        "cancel_rejected": State.DELIVERED,
        "delivered": State.DELIVERED,
    },
    **{
        dead: {
            "accepted": dead,
            "rejected": dead,
            "label": dead,
            "shipped": "park",
            "short": dead,
            "cancel_accepted": dead,
            "cancel_rejected": dead,
            "delivered": "park",
        }
        for dead in (State.CALLED_OFF, State.REJECTED, State.EMPTIED)
    },
}


def a_fulfillment(state: State, planned: int = 3, fulfillment_id: UUID = FULFILLMENT, line_id: str = "1") -> Fulfillment:
    """A fulfillment of three units in some state; what left or was called off follows from the state."""
    shipped = {State.SHIPPED: planned, State.DELIVERED: planned, State.INCOMPLETE: planned - 1}.get(state, 0)
    return Fulfillment(
        fulfillment_id=fulfillment_id,
        plan_id=PLAN,
        order_version=1,
        location="reno",
        partner="west",
        state=state,
        carrier="UPS",
        service="ground",
        zone=2,
        shipping_cost_cents=800,
        ship_by=NOON + timedelta(hours=9),
        arrives_on=date(2026, 1, 5),
        planned_at=NOON,
        lines=(FulfillmentLine(line_id, f"SKU-{line_id}", planned, planned if state is State.EMPTIED else 0, shipped),),
        assigned=True,
        attempts=1,
        due_at=NOON + timedelta(minutes=5) if state in LIVE or state is State.SHIPPED else None,
        requested_at=None if state in (State.PLANNED, State.WITHDRAWN) else NOON,
        tracking_number="1Z1" if shipped else None,
    )


def an_order_with(*fulfillments: Fulfillment) -> Order:
    """An order of three units whose fulfillment is in some state."""
    order = a_copy(a_line("1", 3))
    shipped = sum(line.shipped for item in fulfillments for line in item.lines)
    return replace(order, fulfillments=fulfillments, lines=(replace(order.lines[0], shipped=shipped),))


def test_a_delivery_that_overtakes_the_short_pick_waits_so_that_missing_units_are_written_off() -> None:
    order = an_order_with(a_fulfillment(State.INCOMPLETE))
    overtaken = answer(order, WORDS["delivered"], NOON, PATIENCE)
    assert isinstance(overtaken.problem, Defer)
    explained = answer(order, WORDS["short"], NOON, PATIENCE)
    [cancelled] = [say.data for say in explained.says if isinstance(say.data, FulfillmentCancelled)]
    assert [line.quantity for line in cancelled.missing] == [1]
    delivered = answer(explained.order, WORDS["delivered"], NOON, PATIENCE)
    assert delivered.problem is None
    assert delivered.order.fulfillment(FULFILLMENT).state is State.DELIVERED


def test_there_is_an_entry_for_every_state_and_answer() -> None:
    assert set(MATRIX) == {(state, kind) for state in State for kind in ANSWERS}
    assert len(ANSWERS) == len(WORDS)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", State)
def test_every_answer_in_every_state_leads_where_it_should(state: State, word: Word) -> None:
    order = an_order_with(a_fulfillment(state))
    outcome = answer(order, WORDS[word], NOON, PATIENCE)
    expected = EXPECTED[state][word]
    if expected == "park":
        assert isinstance(outcome.problem, Park)
        assert outcome.order is order
        assert outcome.says == ()
    elif expected == "defer":
        assert isinstance(outcome.problem, Defer)
        assert outcome.order is order
    else:
        assert outcome.problem is None
        assert outcome.order.fulfillment(FULFILLMENT).state is expected


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", State)
def test_the_same_answer_told_twice_has_its_effect_once(state: State, word: Word) -> None:
    once = answer(an_order_with(a_fulfillment(state)), WORDS[word], NOON, PATIENCE)
    if once.problem is not None:
        return
    twice = answer(once.order, WORDS[word], NOON, PATIENCE)
    assert twice.says == ()
    assert twice.problem is None
    assert twice.order.lines == once.order.lines


class World:
    """A 3PL and a customer who race each other; keeps the books of what was said."""

    def __init__(self, order: Order) -> None:
        self.order = settled(order, NOON, PATIENCE)
        self.paid_cents = total_cents(order.lines) + order.shipping_paid_cents
        self.said: list[Message] = []
        self.now = NOON
        self.deferred: list[Answer] = []

    def take(self, outcome: Outcome) -> None:
        if outcome.problem is None:
            self.order = settled(outcome.order, self.now, PATIENCE)
            self.said += [say.data for say in outcome.says]

    def hear(self, message: Answer) -> None:
        """One answer; what was too early before is tried again after it."""
        for waiting in (message, *self.deferred):
            outcome = answer(self.order, waiting, self.now, PATIENCE)
            self.take(outcome)
            if isinstance(outcome.problem, Defer):
                self.deferred.append(waiting)
            elif waiting in self.deferred:
                self.deferred.remove(waiting)

    def says(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.said if isinstance(message, kind)]

    @property
    def shipped_units(self) -> int:
        return sum(line.quantity for message in self.said if isinstance(message, FulfillmentShipped) for line in message.lines)

    @property
    def cancelled_units(self) -> int:
        return sum(line.quantity for message in self.said if isinstance(message, OrderCancelled) for line in message.lines)

    def check(self) -> None:
        """What must hold at every moment: no unit is both shipped and cancelled, nothing both refunded and shipped, all waits are named."""
        ordered = sum(line.quantity for line in self.order.lines)
        assert self.shipped_units + self.cancelled_units <= ordered
        assert len(self.says(OrderCancelled)) <= 1
        refunds = [message for message in self.said if isinstance(message, RefundRequested)]
        assert len({refund.cause_id for refund in refunds}) == len(refunds)
        kept_cents = 0 if self.order.is_cancelled else self.order.shipping_paid_cents
        kept_cents += sum(first_units_cents(line, line.quantity - line.cancelled) for line in self.order.lines)
        assert self.paid_cents - sum(refund.amount_cents for refund in refunds) == kept_cents
        if self.order.is_cancelled:
            assert self.shipped_units == 0
        if self.says(OrderCancelled):
            assert self.shipped_units + self.cancelled_units == ordered
        for line in self.order.lines:
            live = sum(
                part.left for item in self.order.fulfillments if item.state in LIVE for part in item.lines if part.line_id == line.line_id
            )
            assert line.shipped + line.cancelled + live + max(0, line.coming_back) <= line.quantity
        if self.order.change is not None:
            awaited = [item for item in self.order.fulfillments if item.fulfillment_id in self.order.change.awaiting]
            assert any(item.state is State.CANCELLING for item in awaited), "a change that everybody has answered is decided"
        assert (self.order.waiting_for is None) == (self.order.status in TERMINAL)
        assert (self.order.due_at is None) == (self.order.status in TERMINAL)


def cancel_of(order: Order) -> OrderCancelRequested:
    return OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="changed my mind")


def edit_of(order: Order) -> OrderEditRequested:
    changes = [LineChange(line_id="1", quantity=2)]
    return OrderEditRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, line_changes=changes)


PARTIAL = ThirdPartyShipped(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", lines=[units(2)], shipped_at=NOON)


def play(world: World, step: str) -> None:
    if step in ("cancel", "edit"):
        request = cancel_of(world.order) if step == "cancel" else edit_of(world.order)
        world.take(request_change(world.order, request, world.now, PATIENCE))
    elif step in ("wait", "wait for days"):
        world.now += timedelta(hours=1) if step == "wait" else timedelta(days=40)
        world.take(wake(world.order, world.now, PATIENCE))
        assert world.order.due_at is None or world.order.due_at > world.now, "whatever was due is dealt with, so nothing is looked at twice"
    elif step == "shipped_in_part":
        world.hear(PARTIAL)
    else:
        world.hear(WORDS[step])  # type: ignore[index]  # the steps are words
    world.check()


RACES: list[tuple[tuple[str, ...], set[str]]] = [
    (("cancel", "accepted", "shipped", "cancel_rejected"), {"shipped"}),
    (("cancel", "accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled", "placed"}),
    (("cancel", "rejected", "cancel_accepted", "accepted"), {"cancelled", "placed"}),
    (("cancel", "label", "shipped", "cancel_rejected", "delivered"), {"delivered"}),
    (("cancel", "short", "shipped_in_part", "cancel_rejected"), {"shipped", "in_fulfillment"}),
    (("cancel", "edit", "accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled", "placed"}),
    (("edit", "accepted", "shipped", "cancel_rejected", "cancel"), {"shipped"}),
    (("cancel", "wait", "cancel_accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled"}),
]


@pytest.mark.parametrize(("race", "endings"), RACES, ids=["-".join(race) for race, _ in RACES])
def test_a_change_racing_a_3pl_in_every_interleaving_never_cancels_what_ships(race: tuple[str, ...], endings: set[str]) -> None:
    found = set()
    for order in set(permutations(race)):
        world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
        for step in order:
            play(world, step)
        found.add(world.order.status)
    assert found == endings


@given(st.lists(st.sampled_from([*WORDS, "cancel", "edit", "wait", "wait for days", "shipped_in_part"]), max_size=12))
@settings(max_examples=300, deadline=None)
def test_whatever_3pls_and_customers_say_in_whatever_order_the_books_hold(steps: list[str]) -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    for step in steps:
        play(world, step)


@given(
    st.lists(st.tuples(st.sampled_from([*WORDS, "cancel"]), st.booleans()), max_size=10),
)
@settings(max_examples=300, deadline=None)
def test_a_cancellation_that_waits_for_two_3pls_is_all_or_nothing(steps: list[tuple[Word | Literal["cancel"], bool]]) -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    order = replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.SUBMITTED, 3, second, "2")))
    world = World(order)
    for word, other in steps:
        if word == "cancel":
            play(world, "cancel")
            continue
        message = WORDS[word]
        if other:
            lines = {"lines": [units(3, "2")], "missing": [units(1, "2")]}
            message = message.model_copy(
                update={"fulfillment_id": second} | {name: lines[name] for name in lines if getattr(message, name, None)}
            )
        world.hear(message)
        world.check()
    if world.says(OrderCancelled):
        last = max(index for index, message in enumerate(world.said) if isinstance(message, OrderCancelled))
        assert not any(isinstance(message, FulfillmentShipped) for message in world.said[last:])


def test_the_3pl_that_had_started_decides_for_all_and_what_was_called_off_goes_back() -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    order = replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.SUBMITTED, 3, second, "2")))
    world = World(order)
    play(world, "cancel")
    play(world, "cancel_accepted")
    assert world.says(FulfillmentCancelled) == [], "until the change is decided the units stay where they are"
    world.take(answer(world.order, ThirdPartyAccepted(fulfillment_id=second, accepted_at=NOON), NOON, PATIENCE))
    [rejected] = world.says(OrderCancelRejected)
    assert isinstance(rejected, OrderCancelRejected)
    assert rejected.reason == "fulfillment_started"
    [back] = world.says(FulfillmentCancelled)
    assert isinstance(back, FulfillmentCancelled)
    assert (back.fulfillment_id, back.cause) == (FULFILLMENT, "cancelled")
    assert world.order.change is None


def test_an_edit_takes_effect_when_the_3pl_has_called_off_and_withdraws_what_it_held() -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    play(world, "edit")
    assert world.says(OrderEdited) == []
    play(world, "cancel_accepted")
    [edited] = world.says(OrderEdited)
    assert isinstance(edited, OrderEdited)
    assert (edited.order_version, edited.withdrawn_fulfillment_ids, edited.lines[0].quantity) == (2, [FULFILLMENT], 2)
    assert world.says(FulfillmentCancelled) == [], "allocation unties by the edit alone"


def test_an_edit_that_a_3pl_refuses_leaves_the_order_as_it_was() -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    play(world, "edit")
    play(world, "cancel_rejected")
    [rejected] = world.says(OrderEditRejected)
    assert isinstance(rejected, OrderEditRejected)
    assert rejected.reason == "fulfillment_started"
    assert (world.order.order_version, world.order.lines[0].quantity) == (1, 3)
    play(world, "shipped")
    assert world.order.status == "shipped"


def test_a_plan_that_is_tied_while_a_change_is_open_is_handed_over_when_the_change_fails() -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    held = replace(a_fulfillment(State.PLANNED, 3, second, "2"), due_at=None)
    world = World(replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), held)))
    play(world, "cancel")
    assert world.order.fulfillment(second).state is State.PLANNED
    play(world, "accepted")
    assert world.order.fulfillment(second).state is State.SUBMITTED


def test_goods_that_left_although_they_were_called_off_are_never_ignored() -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    play(world, "cancel")
    play(world, "cancel_accepted")
    outcome = answer(world.order, WORDS["shipped"], NOON, PATIENCE)
    assert isinstance(outcome.problem, Park)
    assert "find out at reno where the goods are" in outcome.problem.reason


def test_only_what_is_still_to_ship_is_in_a_repeated_request() -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    outcome = wake(world.order, NOON + timedelta(hours=1), PATIENCE)
    [say] = outcome.says
    assert isinstance(say, Say)
    assert say.partner == "west"
    assert [line.quantity for line in say.data.lines] == [3]  # type: ignore[attr-defined]  # it is a FulfillmentRequested
