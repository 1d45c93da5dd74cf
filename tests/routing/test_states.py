"""The state machine of a fulfillment order: every answer in every state, and every order in which answers may race a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import permutations
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.answers import ANSWERS, MATRIX, Answer, answer
from services.routing.decide.changes import request_change
from services.routing.decide.collecting import awaits_payment
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import LEFT, LIVE, STARTED, Fulfillment, FulfillmentLine, State
from services.routing.decide.handover import assign, call_off_closed
from services.routing.decide.money import first_units_cents, total_cents
from services.routing.decide.order import Change, Order
from services.routing.decide.outcome import Defer, Outcome, Park, Say
from services.routing.decide.paying import lapse_payment, refuse_payment, settle_payment
from services.routing.decide.service_prices import priced
from services.routing.decide.waiting import TERMINAL, settled, wake
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentCancelled,
    FulfillmentInterceptionMoved,
    FulfillmentInterceptRequested,
    FulfillmentRequested,
    FulfillmentShipped,
    OrderNeedsAttention,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
    ThirdPartyDelivered,
    ThirdPartyIntercepted,
    ThirdPartyInterceptFailed,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import (
    LineChange,
    LineToCancel,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderEdited,
    OrderEditRejected,
    OrderEditRequested,
    OrderPaymentRequested,
    PaymentCollected,
    PaymentRefused,
)
from shared.contracts.returns import RefundRequested, ReturnAuthorisationRequested
from tests.routing.messages import NOON, PATIENCE, SHOPPER, a_copy, a_line, units

FULFILLMENT = UUID("01990000-0000-7000-8000-000000000001")
PLAN = UUID("01990000-0000-7000-8000-00000000000a")

Word = Literal[
    "accepted",
    "rejected",
    "label",
    "shipped",
    "short",
    "cancel_accepted",
    "cancel_rejected",
    "intercepted",
    "intercept_failed",
    "delivered",
]
WORDS: dict[Word, Answer] = {
    "accepted": ThirdPartyAccepted(fulfillment_id=FULFILLMENT, accepted_at=NOON),
    "rejected": ThirdPartyRejected(fulfillment_id=FULFILLMENT, reason="capacity", rejected_at=NOON),
    "label": ThirdPartyLabelPrinted(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", printed_at=NOON),
    "shipped": ThirdPartyShipped(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", lines=[units(3)], shipped_at=NOON),
    "short": ThirdPartyShortPicked(fulfillment_id=FULFILLMENT, missing=[units(1)], picked_at=NOON),
    "cancel_accepted": ThirdPartyCancelAccepted(fulfillment_id=FULFILLMENT, answered_at=NOON),
    "cancel_rejected": ThirdPartyCancelRejected(fulfillment_id=FULFILLMENT, reason="packed", answered_at=NOON),
    "intercepted": ThirdPartyIntercepted(fulfillment_id=FULFILLMENT, intercepted_at=NOON),
    "intercept_failed": ThirdPartyInterceptFailed(fulfillment_id=FULFILLMENT, reason="on the truck", answered_at=NOON),
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
        "intercepted": State.INTERCEPTED,
        "intercept_failed": State.SUBMITTED,
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
        "intercepted": State.INTERCEPTED,
        "intercept_failed": State.ACCEPTED,
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
        "intercepted": State.INTERCEPTED,
        "intercept_failed": State.CANCELLING,
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
        "intercepted": State.INTERCEPTED,
        "intercept_failed": State.CANCEL_REFUSED,
        "delivered": "defer",
    },
    **{
        asked: {
            "accepted": asked,
            "rejected": State.REJECTED,
            "label": asked,
            "shipped": State.SHIPPED,
            "short": asked,
            "cancel_accepted": State.CALLED_OFF,
            "cancel_rejected": asked,
            "intercepted": State.INTERCEPTED,
            "intercept_failed": State.INTERCEPT_FAILED,
            "delivered": "defer",
        }
        for asked in (State.INTERCEPTING, State.INTERCEPT_FAILED)
    },
    State.INCOMPLETE: {
        "accepted": State.INCOMPLETE,
        "rejected": "park",
        "label": State.INCOMPLETE,
        "shipped": "park",
        "short": State.SHIPPED,
        "cancel_accepted": "park",
        "cancel_rejected": State.INCOMPLETE,
        "intercepted": "park",
        "intercept_failed": State.INCOMPLETE,
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
        "intercepted": "park",
        "intercept_failed": State.SHIPPED,
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
        "intercepted": "park",
        "intercept_failed": State.DELIVERED,
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
            "intercepted": dead,
            "intercept_failed": dead,
            "delivered": "park",
        }
        for dead in (State.CALLED_OFF, State.INTERCEPTED, State.REJECTED, State.EMPTIED)
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


MISSED = ThirdPartyRejected(fulfillment_id=FULFILLMENT, reason="out_of_stock", missing=[units(2)], rejected_at=NOON)


@pytest.mark.parametrize("state", [State.CANCELLING, State.INTERCEPTING, State.ACCEPTED])
@pytest.mark.parametrize("missed", [WORDS["short"], MISSED], ids=["a short pick", "a rejection"])
@pytest.mark.parametrize("ended", ["cancel_accepted", "intercepted", "rejected"])
def test_what_was_not_found_is_written_off_whether_it_is_heard_before_the_end_of_its_parcel_or_after(
    state: State, missed: ThirdPartyShortPicked | ThirdPartyRejected, ended: Word
) -> None:
    def heard(*said: Answer) -> list[int]:
        order, missing = an_order_with(a_fulfillment(state)), list[int]()
        for message in (*said, *said):
            outcome = answer(order, message, NOON, PATIENCE)
            assert outcome.problem is None
            order = outcome.order
            missing += [line.quantity for say in outcome.says if isinstance(say.data, FulfillmentCancelled) for line in say.data.missing]
        return missing

    assert heard(missed, WORDS[ended]) == heard(WORDS[ended], missed) == [line.quantity for line in missed.missing]


def test_what_was_not_found_waits_while_a_change_decides_about_the_units_of_its_parcel() -> None:
    order = an_order_with(a_fulfillment(State.CANCELLING), a_fulfillment(State.CANCELLING, fulfillment_id=new_id(), line_id="2"))
    both = frozenset(item.fulfillment_id for item in order.fulfillments)
    cancel = OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="no need")
    change = Change(cancel.change_id, "cancel", cancel.model_dump(mode="json"), both, NOON + timedelta(hours=1))
    called_off = answer(replace(order, change=change), WORDS["cancel_accepted"], NOON, PATIENCE).order
    assert called_off.change is not None
    assert isinstance(answer(called_off, WORDS["short"], NOON, PATIENCE).problem, Defer)


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


@pytest.mark.parametrize(
    ("state", "word", "field"),
    [
        (State.ACCEPTED, "shipped", "lines"),
        (State.SHIPPED, "shipped", "lines"),
        (State.ACCEPTED, "short", "missing"),
        (State.SHIPPED, "short", "missing"),
        (State.SUBMITTED, "rejected", "missing"),
    ],
)
def test_a_3pl_that_names_a_line_with_other_goods_than_it_has_is_asked_which_it_means(state: State, word: Word, field: str) -> None:
    message = WORDS[word].model_copy(update={field: [units(1).model_copy(update={"sku": "OTHER"})]})
    order = an_order_with(a_fulfillment(state))
    said = answer(order, message, NOON, PATIENCE)
    assert isinstance(said.problem, Park)
    assert said.problem.reason.startswith(f"{field}: line 1 of fulfillment {FULFILLMENT} is {units(1).sku}, not OTHER")
    assert said.order is order


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

    def __init__(self, order: Order, patience: Deadlines = PATIENCE) -> None:
        self.patience = patience
        self.order = settled(order, NOON, patience)
        self.payments: dict[UUID, str] = {}
        self.paid_cents = total_cents(order.lines) + order.shipping_paid_cents
        self.said: list[Message] = []
        self.now = NOON
        self.deferred: list[Answer] = []

    def take(self, outcome: Outcome) -> None:
        if outcome.problem is None:
            self.order = settled(outcome.order, self.now, self.patience)
            self.said += [say.data for say in outcome.says]

    def hear(self, message: Answer) -> None:
        """One answer; what was too early before is tried again after it."""
        for waiting in (message, *self.deferred):
            outcome = answer(self.order, waiting, self.now, self.patience)
            self.take(outcome)
            if isinstance(outcome.problem, Defer):
                self.deferred.append(waiting)
            elif waiting in self.deferred:
                self.deferred.remove(waiting)

    def pay(self, asked: OrderPaymentRequested) -> None:
        """The channel has the money; it may say so as often as it likes."""
        words = asked.model_dump(include={"payment_id", "order_id", "change_id", "amount_cents", "currency"})
        message = PaymentCollected(**words, provider_reference="P-1", collected_at=NOON)
        settlement = settle_payment(self.order, self.payments.get(asked.payment_id, "asked"), message, self.now, self.patience)
        if settlement is not None:
            self.paid_cents += asked.amount_cents
            outcome, self.payments[asked.payment_id] = settlement
            self.take(outcome)

    def refuse_to_pay(self, asked: OrderPaymentRequested) -> None:
        words = asked.model_dump(include={"payment_id", "order_id", "change_id"})
        message = PaymentRefused(**words, detail="declined", refused_at=NOON)
        self.take(refuse_payment(self.order, message, self.now, self.patience))

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
        kept_cents += self.check_payments({refund.cause_id for refund in refunds})
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
        change = self.order.change
        if change is not None and not awaits_payment(self.order):
            awaited = {item.state for item in self.order.fulfillments if item.fulfillment_id in change.awaiting}
            undecided = (
                {State.CANCELLING} if change.kind == "edit" else {State.CANCELLING, *STARTED} - {State.ACCEPTED, State.CANCEL_REFUSED}
            )
            assert awaited & undecided, "a change that everybody has answered is decided"
        returned: Counter[UUID | None] = Counter()
        for request in self.says(ReturnAuthorisationRequested):
            assert isinstance(request, ReturnAuthorisationRequested)
            returned[request.fulfillment_id] += sum(line.quantity for line in request.lines)
        for item in self.order.fulfillments:
            decided = change is None or item.fulfillment_id not in change.awaiting
            left_cancelled = item.state in LEFT and item.return_id is not None and decided
            assert returned[item.fulfillment_id] == (sum(line.shipped for line in item.lines) if left_cancelled else 0)
        assert (self.order.waiting_for is None) == (self.order.status in TERMINAL)
        assert (self.order.due_at is None) == (self.order.status in TERMINAL)

    def check_payments(self, refunded: set[UUID]) -> int:
        """Of every payment that an edit asked for: money that is there has made the edit, or has gone back, or its edit waits for a 3PL;
        exactly one of these. Without money the edit is neither made nor paid back. Returns the money of the edit that waits."""
        made = [message.change_id for message in self.said if isinstance(message, OrderEdited)]
        dropped = [message.change_id for message in self.said if isinstance(message, OrderEditRejected)]
        change, waiting_cents = self.order.change, 0
        for asked in self.said:
            if not isinstance(asked, OrderPaymentRequested):
                continue
            is_open = change is not None and change.change_id == asked.change_id
            fates = [made.count(asked.change_id), int(asked.payment_id in refunded), int(is_open)]
            if asked.payment_id in self.payments:
                assert sum(fates) == 1, f"made, paid back, open: {fates}"
                waiting_cents += asked.amount_cents if is_open else 0
            else:
                assert fates == [0, 0, int(is_open)], f"made, paid back, open: {fates}"
            assert dropped.count(asked.change_id) == (0 if is_open or made.count(asked.change_id) else 1), "told once how it ended"
        return waiting_cents


def cancel_of(order: Order) -> OrderCancelRequested:
    return OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="changed my mind")


def cancel_unit_of(order: Order, line_id: str = "1", quantity: int | None = 1) -> OrderCancelRequested:
    lines = [LineToCancel(line_id=line_id, quantity=quantity)]
    return OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="one too many", lines=lines)


def edit_of(order: Order, **whole: Any) -> OrderEditRequested:
    changes = {} if whole else {"line_changes": [LineChange(line_id="1", quantity=2)]}
    return OrderEditRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, **changes, **whole)


PARTIAL = ThirdPartyShipped(fulfillment_id=FULFILLMENT, carrier="UPS", tracking_number="1Z1", lines=[units(2)], shipped_at=NOON)


CHANGES: dict[str, Callable[[Order], OrderCancelRequested | OrderEditRequested]] = {
    "cancel": cancel_of,
    "cancel a unit": cancel_unit_of,
    "cancel two units": lambda order: cancel_unit_of(order, quantity=2),
    "cancel the line": lambda order: cancel_unit_of(order, quantity=None),
    "edit": edit_of,
    "edit the service": lambda order: edit_of(order, service_level="next_day", split_policy="hold_all"),
}
COLLECTS = replace(PATIENCE, payment=timedelta(seconds=120))


def dearer_edit_of(order: Order) -> OrderEditRequested:
    """One unit more than the order has, and a faster service for another 9.00."""
    changes = [LineChange(line_id="1", quantity=order.lines[0].quantity + 1)]
    faster = OrderEditRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, line_changes=changes, service_level="two_day")
    return priced(order, faster, {("USD", "standard"): 500, ("USD", "two_day"): 1_400})


def move(world: World, step: str) -> None:
    if step in CHANGES:
        world.take(request_change(world.order, CHANGES[step](world.order), world.now, world.patience))
    elif step in ("wait", "wait for days"):
        world.now += timedelta(hours=1) if step == "wait" else timedelta(days=40)
        world.take(wake(world.order, world.now, PATIENCE))
        assert world.order.due_at is None or world.order.due_at > world.now, "whatever was due is dealt with, so nothing is looked at twice"
    elif step == "shipped_in_part":
        world.hear(PARTIAL)
    else:
        world.hear(WORDS[step])  # type: ignore[index]  # the steps are words


def play(world: World, step: str) -> None:
    move(world, step)
    world.check()


RACES: list[tuple[tuple[str, ...], set[str]]] = [
    (("cancel", "accepted", "shipped", "cancel_rejected"), {"shipped"}),
    (("cancel", "accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled"}),
    (("cancel", "rejected", "cancel_accepted", "accepted"), {"cancelled"}),
    (("cancel", "label", "shipped", "cancel_rejected", "delivered"), {"delivered"}),
    (("cancel", "short", "shipped_in_part", "cancel_rejected"), {"shipped"}),
    (("cancel", "edit", "accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled", "placed"}),
    (("edit", "accepted", "shipped", "cancel_rejected", "cancel"), {"shipped"}),
    (("cancel", "wait", "cancel_accepted", "cancel_accepted", "shipped"), {"shipped", "cancelled"}),
    (("cancel", "accepted", "label", "intercepted", "shipped"), {"shipped", "cancelled"}),
    (("cancel", "accepted", "intercept_failed", "shipped", "delivered"), {"delivered"}),
    (("cancel", "accepted", "short", "intercepted", "intercept_failed", "cancel_rejected"), {"cancelled"}),
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


@given(st.lists(st.sampled_from([*WORDS, *CHANGES, "wait", "wait for days", "shipped_in_part"]), max_size=12))
@settings(max_examples=300, deadline=None)
def test_whatever_3pls_and_customers_say_in_whatever_order_the_books_hold(steps: list[str]) -> None:
    world = World(an_order_with(a_fulfillment(State.SUBMITTED)))
    for step in steps:
        play(world, step)


@given(
    st.lists(st.tuples(st.sampled_from([*WORDS, "cancel", "cancel a unit", "cancel the line"]), st.booleans()), max_size=10),
)
@settings(max_examples=300, deadline=None)
def test_a_cancellation_is_decided_when_every_parcels_fate_is_known_and_nothing_ships_after_it(
    steps: list[tuple[str, bool]],
) -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    order = replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.SUBMITTED, 3, second, "2")))
    world = World(order)
    for word, other in steps:
        if word in CHANGES:
            play(world, word)
            continue
        message = WORDS[word]  # type: ignore[index]  # the steps are words
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


def test_the_3pl_that_had_started_refuses_an_edit_for_all_and_what_was_called_off_goes_back() -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    order = replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.SUBMITTED, 3, second, "2")))
    world = World(order)
    play(world, "edit")
    play(world, "cancel_accepted")
    assert world.says(FulfillmentCancelled) == [], "until the change is decided the units stay where they are"
    world.take(answer(world.order, ThirdPartyAccepted(fulfillment_id=second, accepted_at=NOON), NOON, PATIENCE))
    [rejected] = world.says(OrderEditRejected)
    assert isinstance(rejected, OrderEditRejected)
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
    play(world, "edit")
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


def test_a_cancellation_after_the_label_is_refunded_only_when_the_parcel_was_held_back() -> None:
    world = World(an_order_with(a_fulfillment(State.ACCEPTED)))
    play(world, "label")
    play(world, "cancel")
    assert world.order.waiting_for == "third_party_intercept_answer"
    assert [message.attempt for message in world.says(FulfillmentInterceptRequested)] == [1]  # type: ignore[attr-defined]
    assert world.says(RefundRequested) == world.says(OrderCancelled) == [], "money moves by the outcome, never by the request"
    play(world, "intercepted")
    [cancelled] = world.says(OrderCancelled)
    assert isinstance(cancelled, OrderCancelled)
    assert (cancelled.lines, cancelled.return_ids) == ([units(3)], [])
    assert [message.outcome for message in world.says(FulfillmentInterceptionMoved)] == ["requested", "succeeded"]  # type: ignore[attr-defined]
    assert world.says(FulfillmentCancelled) == [], "allocation lets go of the units by the cancellation alone: once"


@pytest.mark.parametrize("words", [("intercept_failed", "shipped"), ("shipped",), ("shipped", "intercept_failed", "shipped")])
def test_a_parcel_that_left_although_it_was_cancelled_becomes_a_prepaid_return_and_nothing_is_refunded_yet(words: tuple[str, ...]) -> None:
    world = World(an_order_with(a_fulfillment(State.ACCEPTED)))
    for step in ("label", "cancel", *words):
        play(world, step)
    assert world.says(RefundRequested) == []
    [request] = world.says(ReturnAuthorisationRequested)
    [rejected] = world.says(OrderCancelRejected)
    assert isinstance(request, ReturnAuthorisationRequested)
    assert isinstance(rejected, OrderCancelRejected)
    assert (request.fulfillment_id, request.lines[0].quantity, request.actor) == (FULFILLMENT, 3, SHOPPER)
    assert (rejected.reason, rejected.return_ids) == ("already_shipped", [request.return_id])
    assert [message.outcome for message in world.says(FulfillmentInterceptionMoved)] == ["requested", "failed"]  # type: ignore[attr-defined]


def test_of_two_parcels_the_one_held_back_is_refunded_and_the_other_comes_back_as_a_return() -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    world = World(replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.ACCEPTED, 3, second, "2"))))
    play(world, "cancel")
    play(world, "cancel_accepted")
    assert world.says(OrderCancelled) == [], "the other parcel's fate is not known"
    left = WORDS["shipped"].model_copy(update={"fulfillment_id": second, "lines": [units(3, "2")]})
    world.hear(left)
    world.check()
    [cancelled] = world.says(OrderCancelled)
    [request] = world.says(ReturnAuthorisationRequested)
    assert isinstance(cancelled, OrderCancelled)
    assert isinstance(request, ReturnAuthorisationRequested)
    assert (cancelled.lines, cancelled.refund_cents, cancelled.return_ids) == ([units(3)], 3_100, [request.return_id])
    assert (request.fulfillment_id, world.order.status) == (second, "shipped")


def test_a_3pl_that_is_silent_about_an_interception_is_asked_again_and_then_a_person_is_called() -> None:
    world = World(an_order_with(a_fulfillment(State.ACCEPTED)))
    play(world, "cancel")
    for _ in range(6):
        play(world, "wait")
    assert [message.attempt for message in world.says(FulfillmentInterceptRequested)] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]
    called = world.says(OrderNeedsAttention)[0]
    assert isinstance(called, OrderNeedsAttention)
    assert (called.reason, "to hold back" in called.detail) == ("third_party_silent", True)
    play(world, "intercepted")
    assert (world.order.status, world.order.attention) == ("cancelled", None)


def test_of_the_named_lines_a_parcel_of_their_own_is_held_back_free_units_go_at_once_and_the_rest_is_told_line_by_line() -> None:
    alone, mixed = UUID("01990000-0000-7000-8000-000000000002"), UUID("01990000-0000-7000-8000-000000000003")
    order = a_copy(a_line("1", 3), a_line("2", 3), a_line("3", 2), a_line("4", 1))
    shared_parcel = a_fulfillment(State.ACCEPTED, 2, mixed, "3")
    shared_parcel = replace(shared_parcel, lines=(*shared_parcel.lines, FulfillmentLine("4", "SKU-4", 1)))
    world = World(
        replace(order, fulfillments=(a_fulfillment(State.SUBMITTED), a_fulfillment(State.ACCEPTED, 3, alone, "2"), shared_parcel))
    )
    lines = [LineToCancel(line_id="1", quantity=1), LineToCancel(line_id="2"), LineToCancel(line_id="3")]
    request = OrderCancelRequested(order_id=order.order_id, change_id=new_id(), actor=SHOPPER, reason="no need", lines=lines)
    world.take(request_change(world.order, request, NOON, PATIENCE))
    [asked] = world.says(FulfillmentInterceptRequested)
    assert isinstance(asked, FulfillmentInterceptRequested)
    assert asked.fulfillment_id == alone, "the other parcel carries a line that nobody cancels"
    play(world, "cancel_accepted")
    assert world.says(OrderEdited) == [], "the parcel's fate is not known"
    world.hear(ThirdPartyIntercepted(fulfillment_id=alone, intercepted_at=NOON))
    world.check()
    [edited] = world.says(OrderEdited)
    assert isinstance(edited, OrderEdited)
    assert edited.cancelled == [units(1), units(3, "2")]
    assert set(edited.withdrawn_fulfillment_ids) == {FULFILLMENT, alone}
    assert [(line.line_id, line.quantity) for line in edited.lines] == [("1", 2), ("3", 2), ("4", 1)]
    [missed] = edited.not_cancelled
    assert (missed.line_id, missed.quantity, missed.reason) == ("3", 2, "fulfillment_started")
    assert "carries more" in missed.detail
    [refund] = world.says(RefundRequested)
    assert isinstance(refund, RefundRequested)
    assert refund.amount_cents == -edited.money_delta_cents == 1_033 + 3_100


def test_a_line_whose_own_parcel_left_comes_back_as_a_return_and_the_rest_of_the_order_is_not_touched() -> None:
    second = UUID("01990000-0000-7000-8000-000000000002")
    order = a_copy(a_line("1", 3), a_line("2", 3))
    world = World(replace(order, fulfillments=(a_fulfillment(State.ACCEPTED), a_fulfillment(State.ACCEPTED, 3, second, "2"))))
    play(world, "cancel the line")
    play(world, "shipped")
    [rejected] = world.says(OrderCancelRejected)
    [request] = world.says(ReturnAuthorisationRequested)
    assert isinstance(rejected, OrderCancelRejected)
    assert isinstance(request, ReturnAuthorisationRequested)
    assert (rejected.reason, rejected.return_ids) == ("already_shipped", [request.return_id])
    assert world.order.fulfillment(second).state is State.ACCEPTED


class Shelf:
    """Allocation as one order sees it: tied to the parcel, reserved and free to plan, sold on, shipped or lost. Told by messages alone."""

    def __init__(self, units_tied: int) -> None:
        self.tied, self.reserved, self.free, self.shipped, self.lost = units_tied, 0, 0, 0, 0

    def hear(self, message: Message) -> None:
        if isinstance(message, FulfillmentShipped):
            units_left = sum(line.quantity for line in message.lines)
            self.tied, self.shipped = self.tied - units_left, self.shipped + units_left
        elif isinstance(message, FulfillmentCancelled):
            back = min(self.tied, sum(line.quantity for line in message.lines))
            lost = sum(line.quantity for line in message.missing)
            self.tied, self.reserved, self.lost = self.tied - back, self.reserved + back, self.lost + lost
            taken = min(self.reserved, lost)
            self.reserved, self.free = self.reserved - taken, self.free - (lost - taken)
        elif isinstance(message, OrderEdited):
            if message.withdrawn_fulfillment_ids:
                self.tied, self.reserved = 0, self.reserved + self.tied
            surplus = max(0, self.tied + self.reserved + self.shipped - sum(line.quantity for line in message.lines))
            self.reserved, self.free = self.reserved - surplus, self.free + surplus
        elif isinstance(message, OrderCancelled):
            self.tied, self.reserved, self.free = 0, 0, self.free + self.tied + self.reserved

    def check(self, world: World) -> None:
        fulfillment = world.order.fulfillment(FULFILLMENT)
        places = (self.tied, self.reserved, self.free, self.shipped, self.lost)
        assert min(places) >= 0, f"a unit went back twice: {places}"
        assert sum(places) == 3, f"a unit came from nowhere: {places}"
        assert self.shipped == sum(line.shipped for line in fulfillment.lines)
        if world.order.change is None and fulfillment.state not in LIVE:
            assert self.tied == 0, "whatever is over holds nothing back"


def _where(world: World, shelf: Shelf, seen: Counter[str]) -> tuple[object, ...]:
    """All of a world that decides what may come: two worlds that agree in it go on alike."""
    item = world.order.fulfillment(FULFILLMENT)
    change = world.order.change
    return (
        *(item.state, item.lines, item.short_picks, item.tracking_number, item.return_id is None),
        *(
            world.order.lines,
            world.order.order_version,
            world.order.service_level,
            world.order.status,
            change and (change.kind, change.awaiting),
        ),
        *(shelf.tied, shelf.reserved, shelf.free, shelf.shipped, shelf.lost, bool(world.deferred)),
        tuple(_fate_of(world, asked) for asked in _asked(world)),
        *(frozenset(seen.items()), sum(refund.amount_cents for refund in world.says(RefundRequested))),  # type: ignore[attr-defined]
    )


def _asked(world: World) -> list[OrderPaymentRequested]:
    return [message for message in world.said if isinstance(message, OrderPaymentRequested)]


def _fate_of(world: World, asked: OrderPaymentRequested) -> tuple[object, ...]:
    is_open = world.order.change is not None and world.order.change.change_id == asked.change_id
    refunded = any(message.cause_id == asked.payment_id for message in world.says(RefundRequested))  # type: ignore[attr-defined]
    return asked.amount_cents, world.payments.get(asked.payment_id), is_open, is_open and awaits_payment(world.order), refunded


TOLD_ONCE = (OrderCancelled, OrderEdited, ReturnAuthorisationRequested, RefundRequested)


Step = Callable[[World], None]
Play = tuple[World, Shelf, Counter[str], tuple[str, ...]]


def _visit_all(first: World, steps: Mapping[str, Step], may: Callable[[World, str], bool] = lambda world, step: True) -> list[World]:
    """Every state that any order of these steps can reach, each as often as it likes; the invariants hold in each."""
    shelf = Shelf(3)
    visited = {_where(first, shelf, Counter())}
    frontier: list[Play] = [(first, shelf, Counter(), ())]
    reached = []
    while frontier:
        world, shelf, told, path = frontier.pop()
        for step, play_step in steps.items():
            if (step == "delivered" and world.deferred) or not may(world, step):
                continue
            following, its_shelf = copy(world), copy(shelf)
            following.said, following.deferred, following.payments = list(world.said), list(world.deferred), dict(world.payments)
            play_step(following)
            unsaid = len(following.said) == len(world.said)
            if unsaid and (following.order, following.deferred, following.payments) == (world.order, world.deferred, world.payments):
                continue
            following.check()
            new = following.said[len(world.said) :]
            for message in new:
                its_shelf.hear(message)
                if isinstance(message, OrderEdited):
                    item = following.order.fulfillment(FULFILLMENT)
                    kept = sum(line.quantity for line in message.lines)
                    # A cancellation of units takes off what is not in the parcel; an edit is not made once the 3PL has started.
                    gone = item.left + sum(line.shipped for line in item.lines) if item.state in STARTED | LEFT else 0
                    assert gone <= kept if message.cancelled else not gone, f"edited under the 3PL's hands, after {(*path, step)}"
            handed_over = any(isinstance(message, FulfillmentRequested) for message in new)
            assert not (handed_over and awaits_payment(following.order)), "a plan is handed over although it may change"
            its_shelf.check(following)
            now_told = told + Counter(type(message).__name__ for message in new if isinstance(message, TOLD_ONCE))
            assert now_told["OrderCancelled"] <= 1
            assert now_told["ReturnAuthorisationRequested"] <= 1
            where = _where(following, its_shelf, now_told)
            if where not in visited:
                visited.add(where)
                reached.append(following)
                frontier.append((following, its_shelf, now_told, (*path, step)))
    return reached


def _short_pick_overdue(world: World) -> None:
    world.take(wake(world.order, NOON + timedelta(seconds=90), world.patience))


def _location_closes(world: World) -> None:
    """What it has not accepted is called off or not handed over, whatever change is open; what has started goes its way."""
    before = world.order.fulfillment(FULFILLMENT)
    world.take(call_off_closed(world.order, {"reno"}, NOON, world.patience))
    expected = {State.SUBMITTED: State.CANCELLING, State.PLANNED: State.WITHDRAWN if before.assigned else State.PLANNED}
    assert world.order.fulfillment(FULFILLMENT).state is expected.get(before.state, before.state)


def test_no_interleaving_of_cancel_edit_and_a_3pls_words_ships_and_refunds_or_loses_a_unit() -> None:
    """Every order in which {cancel, edit, accepted, label, short pick, rejected, shipped in whole or part, delivered, call-off and
    interception refused or granted, time that is up for a short pick, a location that closes} can come, each as often as it likes, late
    duplicates included: all states that can be reached are visited, and from each of them every word is tried."""
    steps: dict[str, Step] = {step: partial(move, step=step) for step in [*WORDS, *CHANGES, "shipped_in_part"]}
    steps |= {"short pick overdue": _short_pick_overdue, "location closes": _location_closes}
    reached = _visit_all(World(an_order_with(a_fulfillment(State.SUBMITTED))), steps)
    assert {world.order.status for world in reached} == {"placed", "released", "in_fulfillment", "shipped", "delivered", "cancelled"}
    assert len(reached) > 100, "the search goes deep"


def _costs_more(world: World, step: str) -> bool:
    return step == "dearer edit" or (step == "edit" and world.order.lines[0].quantity < 2)


def _answer_payment(world: World, say: Callable[[World, OrderPaymentRequested], None], which: int) -> None:
    asked = _asked(world)
    if which < len(asked):
        others = [item for item in asked if item is not asked[which]]
        before = [_fate_of(world, item) for item in others]
        say(world, asked[which])
        assert [_fate_of(world, item) for item in others] == before, "a word about one payment says nothing of another"


@pytest.mark.parametrize(
    ("payments", "words"),
    [
        (1, [*WORDS, "cancel", "cancel a unit", "edit", "shipped_in_part"]),
        (2, ["accepted", "short", "rejected", "shipped", "cancel_accepted", "cancel_rejected", "intercepted", "cancel"]),
    ],
    ids=["one payment, every word", "two payments"],
)
def test_no_interleaving_of_paid_edits_and_a_3pls_words_settles_money_twice_or_edits_what_has_started(
    payments: int, words: list[str]
) -> None:
    """The same with edits that wait for their money: it comes, is refused, is late, each answer as often as it likes and however late,
    against the 3PL's words and other changes. It begins before the plan is tied, so that it is seen to stand still while an edit waits.
    Further payments and other edits beside them multiply the states without a new rule among them."""
    steps: dict[str, Step] = {step: partial(move, step=step) for step in words}
    tied = FulfillmentAssigned(plan_id=PLAN, order_id=new_id())
    steps |= {
        "short pick overdue": _short_pick_overdue,
        "location closes": _location_closes,
        "assigned": lambda world: world.take(assign(world.order, tied, NOON, COLLECTS)),
        "dearer edit": lambda world: world.take(request_change(world.order, dearer_edit_of(world.order), NOON, COLLECTS)),
        "payment overdue": lambda world: world.take(lapse_payment(world.order, NOON + timedelta(seconds=150), COLLECTS)),
    }
    for which in range(payments):
        steps[f"paid {which}"] = partial(_answer_payment, say=World.pay, which=which)
        steps[f"not paid {which}"] = partial(_answer_payment, say=World.refuse_to_pay, which=which)
    start = an_order_with(replace(a_fulfillment(State.PLANNED), assigned=False, attempts=0))
    reached = _visit_all(
        World(start, COLLECTS), steps, may=lambda world, step: not _costs_more(world, step) or len(_asked(world)) < payments
    )
    fates = {_fate_of(world, asked)[1:] for world in reached for asked in _asked(world)}
    assert {fate[0] for fate in fates} == {None, "collected", "paid_back"}
    assert ("collected", False, False, True) in fates, "some are collected, then refused by the 3PL and go back"
    assert len(reached) > 300, "the search goes deep"
