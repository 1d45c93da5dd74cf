"""Delay consent: what a new date asks of the customer, what silence, yes and no mean, and what happens when the time to answer is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing import handlers
from services.routing.decide.consent import agreed_of, ask_on_the_day, hear_answer, original_of, review, ship_date
from services.routing.decide.fulfillment import State
from services.routing.decide.order import Order
from services.routing.decide.outcome import Outcome
from services.routing.decide.stock import backorder, move_promise
from services.routing.decide.waiting import settled
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentRequested,
    OrderNeedsAttention,
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyCancelRejected,
)
from shared.contracts.orders import (
    Actor,
    DelayCause,
    LineChange,
    OrderCancelled,
    OrderCancelRequested,
    OrderChangePending,
    OrderDelayAnswered,
    OrderDelayAnswerRejected,
    OrderDelayConsentSettled,
    OrderDelayed,
    OrderPlaced,
)
from shared.contracts.returns import RefundRequested
from shared.contracts.stock import PromiseCause, PromiseChange, StockPromiseChanged
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.routing.conftest import Desk, Heard
from tests.routing.messages import NOON, PATIENCE, SHOPPER, a_copy, a_line, an_order, backordered, received, reserved, units
from tests.routing.test_changes import edit
from tests.routing.test_handlers import AMPLE, shipped
from tests.routing.test_states import a_fulfillment

ORIGINAL = NOON + timedelta(days=10)
SUPPORT = Actor(kind="support", name="maria")


def day(number: float) -> datetime:
    """A time so many days after the order."""
    return NOON + timedelta(days=number)


def moved(
    order: OrderPlaced | Order,
    new: datetime | dict[str, datetime | None] | None,
    *,
    at: datetime = NOON,
    old: datetime | None = ORIGINAL,
    version: int = 1,
    quantity: int = 2,
) -> StockPromiseChanged:
    """A new date for the first line, or for the lines named."""
    dates = new if isinstance(new, dict) else {"1": new}
    return StockPromiseChanged(
        order_id=order.order_id,
        order_version=version,
        cause="supply_rescheduled",
        cause_id=new_id(),
        lines=[
            PromiseChange(line_id=line_id, sku=f"SKU-{line_id}", quantity=quantity, old_ship_at=old, new_ship_at=date)
            for line_id, date in dates.items()
        ],
        changed_at=at,
    )


def waiting(promised: datetime | None = ORIGINAL, **more: Any) -> Order:
    """An order of two mugs that wait until the tenth day."""
    order = a_copy(**more)
    return backorder(order, backordered(order, {"1": 2}, promised_ship_at=promised), NOON, PATIENCE).order


def told(outcome: Outcome) -> OrderDelayed:
    """The one thing that the customer hears."""
    [delayed] = [say.data for say in outcome.says if isinstance(say.data, OrderDelayed)]
    return delayed


def hear(order: Order, new: datetime | dict[str, datetime | None] | None, at: datetime = NOON) -> Outcome:
    """Allocation moves a date; the customer is told at once."""
    return move_promise(order, moved(order, new, at=at), at, PATIENCE)


# What a date asks of the customer


def test_the_first_date_that_a_customer_is_told_is_the_original_and_asks_nothing() -> None:
    order = waiting()
    assert (original_of(order), agreed_of(order), order.question) == (ORIGINAL, ORIGINAL, None)


@pytest.mark.parametrize(
    ("new", "consent", "answer_by"),
    [
        (day(3), "not_needed", None),
        (day(10), None, None),
        (day(11), "silence", None),
        (day(40), "silence", None),
        (day(40) + timedelta(seconds=1), "required", day(40)),
        (None, "required", day(40)),
    ],
)
def test_a_first_delay_of_at_most_30_days_counts_silence_and_a_longer_or_indefinite_one_needs_a_yes(
    new: datetime | None, consent: str | None, answer_by: datetime | None
) -> None:
    outcome = hear(waiting(), new)
    if consent is None:
        assert outcome.says == (), "the date is the one that was told"
        return
    delayed = told(outcome)
    assert (delayed.consent, delayed.answer_by) == (consent, answer_by)
    assert (delayed.old_ship_at, delayed.new_ship_at) == (ORIGINAL, new)
    assert (delayed.consent_id is None) == (consent == "not_needed")


def test_silence_agrees_to_the_new_date_and_a_second_delay_needs_a_yes_until_that_date() -> None:
    order = hear(waiting(), day(20)).order
    assert agreed_of(order) == day(20)
    second = told(hear(order, day(21), at=day(5)))
    assert (second.consent, second.answer_by) == ("required", day(20))


def test_a_date_that_is_pulled_in_and_pushed_out_again_to_what_was_agreed_asks_nothing() -> None:
    order = hear(waiting(), day(20)).order
    order = hear(order, day(12), at=day(1)).order
    again = told(hear(order, day(20), at=day(2)))
    assert (again.consent, again.old_ship_at, again.new_ship_at) == ("not_needed", day(12), day(20))


def test_nobody_has_less_than_72_hours_to_answer() -> None:
    order = hear(waiting(), day(20)).order
    late = told(hear(order, day(30), at=day(19)))
    assert late.answer_by == day(22)
    assert told(move_promise(order, moved(order, None, at=day(25)), day(25), PATIENCE)).answer_by == day(28)
    patient = replace(PATIENCE, consent=timedelta(days=10))
    assert told(move_promise(order, moved(order, None, at=day(19)), day(19), patient)).answer_by == day(29)


def test_an_order_without_a_date_has_30_days_by_the_rule_and_its_first_date_is_the_original() -> None:
    order = waiting(None)
    assert (original_of(order), order.original_ship_at) == (day(30), None)
    dated = hear(order, day(4))
    assert told(dated).consent == "not_needed"
    assert dated.order.original_ship_at == day(4)
    assert told(hear(dated.order, day(6), at=day(1))).consent == "silence"
    assert told(hear(order, day(31))).consent == "silence", "the rule's 30 days are the original of who was told no date"
    assert told(hear(order, day(61))).consent == "required"


def test_the_delivery_date_of_the_channel_bounds_an_order_without_a_date() -> None:
    assert original_of(waiting(None, deliver_by=day(8))) == day(8)
    assert original_of(waiting(day(12), deliver_by=day(8))) == day(12), "what the customer was told counts"


def test_the_date_of_an_order_is_the_latest_of_its_waiting_lines() -> None:
    order = a_copy(a_line("1"), a_line("2"), a_line("3"))
    order = backorder(order, backordered(order, {"1": 2}, promised_ship_at=day(5)), NOON, PATIENCE).order
    order = backorder(order, backordered(order, {"2": 2}, promised_ship_at=day(9)), NOON, PATIENCE).order
    assert (ship_date(order), original_of(order)) == (day(9), day(9))
    inner = told(hear(order, {"1": day(8)}))
    assert (inner.consent, inner.old_ship_at, inner.new_ship_at) == ("not_needed", day(9), day(9))
    assert [(line.line_id, line.old_ship_at, line.new_ship_at) for line in inner.lines] == [("1", day(5), day(8))]
    without = told(hear(order, {"1": None}))
    assert (without.consent, without.new_ship_at) == ("required", None)


def test_units_lost_to_a_shortage_are_a_delay_of_which_the_customer_is_told_once() -> None:
    order = a_copy(a_line("1"))
    for cause in ("shortage", "yielded"):
        lost = backordered(order, {"1": 1}, cause=cause, promised_ship_at=day(12))
        delayed = told(backorder(order, lost, NOON, PATIENCE))
        assert (delayed.cause, delayed.consent, delayed.new_ship_at) == (cause, "not_needed", day(12)), "within the rule's 30 days"
    undated = told(backorder(order, backordered(order, {"1": 1}, cause="shortage"), NOON, PATIENCE))
    assert (undated.consent, undated.answer_by) == ("required", day(60))


def test_units_that_a_shortage_takes_from_a_plan_wait_until_the_date_that_was_told() -> None:
    """The plan still holds them: allocation is about to refuse it."""
    order = replace(a_copy(a_line("1", 3)), fulfillments=(replace(a_fulfillment(State.PLANNED, 3), due_at=None),))
    lost = backorder(order, backordered(order, {"1": 1}, cause="shortage", promised_ship_at=day(12)), NOON, PATIENCE)
    assert (told(lost).consent, told(lost).new_ship_at) == ("not_needed", day(12))
    asked = settled(hear(lost.order, None, at=day(1)).order, NOON, PATIENCE)
    assert asked.answer_by == day(42), "and whoever is asked has a deadline, whatever else the order waits for"
    assert asked.due_at == day(42)


def test_lines_that_a_customer_adds_are_agreed_to_however_late_they_are() -> None:
    order = hear(waiting(), day(20)).order
    order = replace(order, lines=(*order.lines, replace(a_copy(a_line("2")).lines[0])))
    late = backorder(order, backordered(order, {"2": 1}, cause="edited", promised_ship_at=day(90)), NOON, PATIENCE)
    assert late.says == ()
    assert agreed_of(late.order) == day(90)


def test_every_reason_why_a_date_moves_can_be_told() -> None:
    assert set(get_args(PromiseCause)) < set(get_args(DelayCause))


Step = tuple[str, int | None]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("date"), st.one_of(st.none(), st.integers(1, 120))),
        st.tuples(st.just("yes"), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 30)),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(first=st.one_of(st.none(), st.integers(1, 90)), steps=STEPS)
def test_whatever_dates_and_answers_come_nobody_waits_beyond_what_was_agreed_without_being_asked(
    first: int | None, steps: Sequence[Step]
) -> None:
    """The state after every step, judged by the words of the rule: an open question, or a date within the agreed one."""
    now = NOON
    order = waiting(None if first is None else day(first))
    for kind, value in steps:
        before = order
        if kind == "wait":
            now += timedelta(days=value or 0)
            outcome = ask_on_the_day(order, now, PATIENCE)
        elif kind == "date":
            date = None if value is None else now + timedelta(days=value)
            outcome = move_promise(order, moved(order, date, at=now), now, PATIENCE)
        elif order.question is None or order.answer_by is None or order.answer_by < now:
            continue
        else:
            answer = OrderDelayAnswered(
                order_id=order.order_id, consent_id=order.question.consent_id, answer="yes", actor=SHOPPER, answered_at=now
            )
            outcome = hear_answer(order, answer, order.question, None, now, PATIENCE)
        order = review(outcome.order, now).order
        date = ship_date(order)
        within = order.open_ended or (date is not None and date <= agreed_of(order))
        not_yet_due = date is None and order.original_ship_at is None and agreed_of(order) > now
        assert within or not_yet_due or order.answer_by is not None
        if order.answer_by is not None:
            asked_now = before.question is None or before.question.consent_id != (order.question and order.question.consent_id)
            assert not asked_now or order.answer_by >= now + PATIENCE.consent
            assert not within, "a question of which nothing is left is closed"
            waits = settled(order, now, PATIENCE)
            assert (waits.waiting_for, waits.due_at) == ("customer_consent", order.answer_by)
        assert agreed_of(order) >= agreed_of(before) or before.original_ship_at is None


# What answers and the clock do


async def delayed(desk: Desk, *dates: datetime | None, promised: datetime | None = ORIGINAL) -> tuple[OrderPlaced, OrderDelayed]:
    """An order of two mugs that wait, and what its customer hears of these dates, one after the other."""
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=promised))
    heard = Heard([])
    for number, date in enumerate(dates):
        heard = await desk.hear(moved(placed, date, at=desk.now + timedelta(seconds=number)))
    return placed, heard.one(OrderDelayed)


def answer(question: OrderDelayed, word: str, *, by: Actor = SHOPPER, at: datetime | None = None) -> OrderDelayAnswered:
    """What the customer says."""
    return OrderDelayAnswered.model_validate(
        {"order_id": question.order_id, "consent_id": question.consent_id, "answer": word, "actor": by, "answered_at": at or NOON}
    )


async def outcomes(desk: Desk, order_id: UUID) -> list[tuple[str, str | None]]:
    """What the order's customer was asked, and how it ended."""
    rows = await desk.connection.fetch(
        "SELECT consent, outcome FROM delay_consents WHERE order_id = $1 ORDER BY told_at, consent_id", order_id
    )
    return [(row["consent"], row["outcome"]) for row in rows]


async def test_an_order_whose_customer_is_asked_waits_for_the_answer_with_its_deadline(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    order = await desk.order(placed.order_id)
    assert (order["waiting_for"], order["waiting_until"], order["due_at"]) == ("customer_consent", day(40), day(40))
    assert question.answer_by == day(40)
    assert (await desk.wake(timedelta(days=39))).types == [], "nobody is called, and nothing is cancelled, before the time is over"


async def test_a_yes_agrees_to_the_new_date_and_the_order_waits_for_stock_again(desk: Desk) -> None:
    placed, question = await delayed(desk, day(60))
    assert question.consent == "required"
    settled_event = (await desk.hear(answer(question, "yes"))).one(OrderDelayConsentSettled)
    assert (settled_event.outcome, settled_event.agreed_ship_at) == ("consented", day(60))
    order = await desk.order(placed.order_id)
    assert (order["waiting_for"], order["agreed_ship_at"]) == ("stock", day(60))
    assert (await desk.wake(timedelta(days=59))).types == []
    again = (await desk.hear(moved(placed, day(61), at=day(59)))).one(OrderDelayed)
    assert (again.consent, again.answer_by) == ("required", day(62))


async def test_a_yes_to_a_wait_without_a_date_holds_until_there_is_one_and_may_be_taken_back(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    assert (await desk.hear(answer(question, "yes"))).one(OrderDelayConsentSettled).agreed_ship_at is None
    assert (await desk.wake(timedelta(days=12))).of(OrderCancelled) == []
    dated = (await desk.hear(moved(placed, day(50), at=day(12)))).one(OrderDelayed)
    assert dated.consent == "not_needed"
    assert (await desk.order(placed.order_id))["agreed_ship_at"] == day(50)
    assert (await desk.hear(moved(placed, day(51), at=day(13)))).one(OrderDelayed).consent == "required"

    other, question = await delayed(desk, None)
    await desk.hear(answer(question, "yes"))
    back = await desk.hear(answer(question, "no"))
    assert back.types == ["order.delay_consent_settled.v1", "order.cancelled.v1", "refund.requested.v1"]
    assert await outcomes(desk, other.order_id) == [("required", "refused")]


@pytest.mark.parametrize(("new", "consent"), [(day(20), "silence"), (None, "required")])
async def test_a_no_cancels_at_once_and_refunds_everything(desk: Desk, new: datetime | None, consent: str) -> None:
    placed, question = await delayed(desk, new)
    assert question.consent == consent
    heard = await desk.hear(answer(question, "no", by=SUPPORT))
    assert heard.types == ["order.delay_consent_settled.v1", "order.cancelled.v1", "refund.requested.v1"]
    cancelled, refund = heard.one(OrderCancelled), heard.one(RefundRequested)
    assert (cancelled.actor, cancelled.reason, cancelled.lines, cancelled.refund_cents) == (SUPPORT, "delay_refused", [units(2)], 2_600)
    assert (refund.amount_cents, refund.cause_id) == (2_600, cancelled.change_id)
    assert (await desk.order(placed.order_id))["status"] == "cancelled"


async def test_a_question_that_nobody_answers_cancels_the_order_at_its_deadline_and_refunds_it(desk: Desk) -> None:
    placed, _ = await delayed(desk, None)
    assert (await desk.wake(timedelta(days=40) - timedelta(seconds=1))).types == []
    lapsed = await desk.wake(timedelta(seconds=1))
    assert lapsed.types == ["order.delay_consent_settled.v1", "order.cancelled.v1", "refund.requested.v1"]
    assert lapsed.one(OrderDelayConsentSettled).outcome == "lapsed"
    assert (lapsed.one(OrderCancelled).actor.kind, lapsed.one(OrderCancelled).reason) == ("system", "delay_not_answered")
    assert lapsed.one(RefundRequested).amount_cents == 2_600
    assert (await desk.wake(timedelta(days=100))).types == []
    assert (await desk.order(placed.order_id))["status"] == "cancelled"


async def test_silence_to_a_short_first_delay_never_cancels(desk: Desk) -> None:
    await delayed(desk, day(20))
    assert (await desk.wake(timedelta(days=20, hours=23))).types == []


async def test_goods_that_come_close_the_question_by_themselves(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    heard = await desk.hear(reserved(placed, AMPLE, cause="restocked"))
    assert heard.one(OrderDelayConsentSettled).outcome == "not_needed"
    assert "fulfillment.planned.v1" in heard.types
    late = await desk.hear(answer(question, "no"))
    assert late.one(OrderDelayAnswerRejected).reason == "not_needed"
    assert (await desk.wake(timedelta(days=60))).of(OrderCancelled) == []


async def test_a_part_of_the_goods_leaves_the_question_open(desk: Desk) -> None:
    placed, _ = await delayed(desk, None)
    assert (await desk.hear(reserved(placed, AMPLE, {"1": 1}, cause="restocked"))).of(OrderDelayConsentSettled) == []
    assert await outcomes(desk, placed.order_id) == [("required", None)]


async def test_a_date_that_is_pulled_back_to_what_was_agreed_closes_the_question(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    heard = await desk.hear(moved(placed, day(9), at=day(1)))
    assert heard.one(OrderDelayConsentSettled).outcome == "not_needed"
    assert heard.one(OrderDelayed).consent == "not_needed"
    assert (await desk.order(placed.order_id))["waiting_for"] == "stock"
    assert (await desk.hear(answer(question, "yes"))).one(OrderDelayAnswerRejected).reason == "not_needed"


async def test_a_date_that_moves_while_the_question_is_open_asks_anew_and_an_answer_to_the_older_question_decides_nothing(
    desk: Desk,
) -> None:
    placed, older = await delayed(desk, day(60))
    desk.now = day(1)
    heard = await desk.hear(moved(placed, day(70), at=day(1)))
    assert heard.one(OrderDelayConsentSettled).outcome == "replaced"
    newer = heard.one(OrderDelayed)
    assert newer.consent_id != older.consent_id
    for word in ("yes", "no"):
        assert (await desk.hear(answer(older, word))).one(OrderDelayAnswerRejected).reason == "replaced"
    assert (await desk.hear(answer(newer, "yes"))).one(OrderDelayConsentSettled).agreed_ship_at == day(70)
    assert await outcomes(desk, placed.order_id) == [("required", "replaced"), ("required", "consented")]


async def test_a_question_that_becomes_a_short_first_delay_is_closed_and_silence_counts(desk: Desk) -> None:
    placed, _ = await delayed(desk, None)
    desk.now = day(1)
    heard = await desk.hear(moved(placed, day(20), at=day(1)))
    assert (heard.one(OrderDelayConsentSettled).outcome, heard.one(OrderDelayed).consent) == ("not_needed", "silence")
    assert await outcomes(desk, placed.order_id) == [("required", "not_needed"), ("silence", None)]
    assert (await desk.wake(timedelta(days=18))).types == []


async def test_two_dates_in_one_batch_ask_one_question_in_the_end(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL))
    heard = await desk.hear(moved(placed, day(60)), moved(placed, None, at=NOON + timedelta(seconds=1)))
    assert [(said.consent, said.new_ship_at) for said in heard.of(OrderDelayed)] == [("required", day(60)), ("required", None)]
    assert sorted(await outcomes(desk, placed.order_id), key=str, reverse=True) == [("required", None), ("required", "replaced")]


async def test_a_line_that_moves_while_the_orders_date_does_not_leaves_the_question_as_it_was(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    await desk.hear(backordered(placed, {"1": 2, "2": 2}, promised_ship_at=ORIGINAL))
    first = (await desk.hear(moved(placed, {"1": None}))).one(OrderDelayed)
    second = (await desk.hear(moved(placed, {"2": day(12)}, at=day(1)))).one(OrderDelayed)
    assert (second.consent_id, second.answer_by) == (first.consent_id, first.answer_by)
    assert second.delay_id != first.delay_id
    assert await outcomes(desk, placed.order_id) == [("required", None)]


async def test_an_answer_told_twice_counts_once_and_a_contradicting_one_after_the_end_is_refused(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    first = await desk.hear(answer(question, "yes"), answer(question, "yes"))
    assert [event.outcome for event in first.of(OrderDelayConsentSettled)] == ["consented", "consented"]
    no = await desk.hear(answer(question, "no"), answer(question, "no"))
    assert [event.outcome for event in no.of(OrderDelayConsentSettled)] == ["refused", "refused"]
    assert len(no.of(OrderCancelled)) == len(no.of(RefundRequested)) == 1
    assert (await desk.hear(answer(question, "yes"))).one(OrderDelayAnswerRejected).reason == "already_settled"
    assert await desk.connection.fetchval("SELECT count(*) FROM refunds WHERE order_id = $1", placed.order_id) == 1


async def test_an_answer_after_the_deadline_is_refused_and_one_that_was_given_in_time_counts(desk: Desk) -> None:
    _, question = await delayed(desk, None)
    desk.now = day(41)
    late = (await desk.hear(answer(question, "yes", at=day(40) + timedelta(seconds=1)))).one(OrderDelayAnswerRejected)
    assert (late.reason, "was due by" in late.detail) == ("too_late", True)
    in_time = await desk.hear(answer(question, "yes", at=day(40)))
    assert in_time.one(OrderDelayConsentSettled).outcome == "consented"

    _, other = await delayed(desk, None)
    await desk.wake(timedelta(days=60))
    assert (await desk.hear(answer(other, "yes"))).one(OrderDelayAnswerRejected).reason == "too_late"


async def test_an_answer_about_a_question_that_the_order_never_had_is_refused_by_name(desk: Desk) -> None:
    _, question = await delayed(desk, None)
    stranger, _ = await delayed(desk, None)
    foreign = answer(question, "yes").model_copy(update={"order_id": stranger.order_id})
    rejected = (await desk.hear(foreign)).one(OrderDelayAnswerRejected)
    assert (rejected.reason, rejected.detail.startswith("consent_id:")) == ("unknown_question", True)
    unknown = answer(question, "yes").model_copy(update={"order_id": new_id()})
    assert (await desk.hear(unknown)).deferred != []


async def test_the_same_dates_again_and_news_that_is_older_than_what_was_told_are_told_to_nobody(desk: Desk) -> None:
    placed, _ = await delayed(desk, day(20))
    assert (await desk.hear(moved(placed, day(20), at=day(1)))).types == []
    assert (await desk.hear(moved(placed, None, at=day(-1)))).types == []
    assert (await desk.order(placed.order_id))["agreed_ship_at"] == day(20)


async def test_a_new_date_that_overtakes_its_order_or_the_word_that_it_waits_is_deferred(desk: Desk) -> None:
    placed = an_order()
    change = moved(placed, day(20))
    assert (await desk.hear(change)).deferred == [f"order {placed.order_id} has not arrived yet"]
    await desk.hear(placed)
    assert (await desk.hear(change)).deferred == ["lines: allocation's word that 1 wait has not arrived yet"]
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL))
    assert (await desk.hear(change)).one(OrderDelayed).consent == "silence"


async def test_an_order_that_waited_before_dates_were_kept_goes_by_the_date_that_was_told_last(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL))
    await desk.connection.execute("UPDATE orders SET promised = NULL, original_ship_at = NULL")
    told_to_customer = (await desk.hear(moved(placed, day(25), old=day(15)))).one(OrderDelayed)
    assert (told_to_customer.consent, told_to_customer.old_ship_at) == ("silence", day(15))
    assert (await desk.order(placed.order_id))["original_ship_at"] == day(15)


async def test_nobody_is_told_of_dates_of_goods_that_have_come(desk: Desk) -> None:
    placed, _ = await delayed(desk, day(12))
    await desk.hear(reserved(placed, AMPLE, cause="restocked"))
    assert (await desk.hear(moved(placed, day(90), at=day(1)))).types == []
    cancelled, _ = await delayed(desk, day(12))
    await desk.hear(OrderCancelRequested(order_id=cancelled.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    assert (await desk.hear(moved(cancelled, None, at=day(1)))).types == []


async def test_who_was_told_no_date_is_asked_when_the_rules_30_days_are_over(desk: Desk) -> None:
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(backordered(placed, {"1": 2}))
    assert (await desk.wake(timedelta(days=30) - timedelta(seconds=1))).types == []
    heard = await desk.wake(timedelta(seconds=1))
    question = heard.one(OrderDelayed)
    assert (question.cause, question.consent, question.answer_by) == ("no_date", "required", day(60))
    assert [(line.quantity, line.new_ship_at) for line in question.lines] == [(2, None)]
    assert heard.of(OrderNeedsAttention) == []
    assert (await desk.wake()).types == []
    assert (await desk.wake(timedelta(days=30))).one(OrderDelayConsentSettled).outcome == "lapsed"


async def test_a_person_looks_for_goods_only_while_no_customer_is_asked(desk: Desk) -> None:
    _, question = await delayed(desk, day(60))
    assert (await desk.wake(timedelta(days=39))).types == []
    await desk.hear(answer(question, "yes"))
    assert (await desk.wake(timedelta(days=22))).one(OrderNeedsAttention).reason == "overdue"


# What else happens to the order meanwhile


async def test_a_cancellation_in_between_ends_the_question(desk: Desk) -> None:
    placed, question = await delayed(desk, None)
    heard = await desk.hear(OrderCancelRequested(order_id=placed.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    assert heard.types == ["order.cancelled.v1", "refund.requested.v1", "order.delay_consent_settled.v1"]
    assert heard.one(OrderDelayConsentSettled).outcome == "not_needed"
    assert (await desk.hear(answer(question, "no"))).one(OrderDelayAnswerRejected).reason == "not_needed"
    assert (await desk.wake(timedelta(days=90))).types == []


async def test_an_edit_that_takes_the_late_line_off_ends_the_question_and_another_one_does_not(desk: Desk) -> None:
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    await desk.hear(reserved(placed, AMPLE, {"2": 2}))
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL))
    await desk.hear(moved(placed, None))
    fewer = await desk.hear(edit(placed, LineChange(line_id="2", quantity=1)))
    assert fewer.of(OrderDelayConsentSettled) == []
    kept = reserved(placed, AMPLE, {"2": 1}, cause="edited", version=2)
    assert (await desk.hear(kept)).of(OrderDelayConsentSettled) == []
    assert (await desk.order(placed.order_id))["waiting_for"] in ("customer_consent", "assignment")
    without = await desk.hear(edit(placed, LineChange(line_id="1", quantity=0)))
    assert without.one(OrderDelayConsentSettled).outcome == "not_needed"


async def test_dates_that_are_told_under_an_older_version_of_the_order_still_count(desk: Desk) -> None:
    """Units that wait already when an order is edited are not spoken of again."""
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    await desk.hear(edit(placed, LineChange(line_id="2", quantity=1)))
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL, version=1))
    assert (await desk.hear(moved(placed, day(20), version=1))).one(OrderDelayed).consent == "silence"


async def a_half_shipped_order(desk: Desk) -> tuple[OrderPlaced, OrderDelayed, UUID]:
    """One line handed over to a 3PL, the other one delayed without a date."""
    placed = an_order(a_line("1"), a_line("2"))
    await desk.hear(placed)
    plan = await desk.hear(reserved(placed, AMPLE, {"2": 2}))
    await desk.hear(backordered(placed, {"1": 2}, promised_ship_at=ORIGINAL))
    [planned] = plan.outgoing
    assert planned.data.type == "fulfillment.planned.v1"
    assigned = FulfillmentAssigned(plan_id=planned.data.plan_id, order_id=placed.order_id)  # type: ignore[attr-defined]
    pick = (await desk.hear(assigned)).one(FulfillmentRequested)
    question = (await desk.hear(moved(placed, None))).one(OrderDelayed)
    return placed, question, pick.fulfillment_id


async def test_a_question_that_lapses_while_a_warehouse_works_cancels_the_rest_when_that_has_shipped(desk: Desk) -> None:
    placed, _, fulfillment_id = await a_half_shipped_order(desk)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=fulfillment_id, accepted_at=NOON), partner="west")
    lapsed = await desk.wake(timedelta(days=40))
    assert lapsed.one(OrderDelayConsentSettled).outcome == "lapsed"
    assert (lapsed.of(OrderCancelled), lapsed.of(RefundRequested)) == ([], [])
    assert lapsed.one(OrderChangePending).change == "cancel"
    assert (await desk.hear(moved(placed, day(45), at=day(40)))).types == [], "what is given up is not told of any more"
    goods = await desk.hear(reserved(placed, AMPLE, {"1": 2}, cause="restocked"))
    assert goods.types == [], "nothing new is planned"
    left = await desk.hear(shipped(fulfillment_id, (2, "2")), partner="west")
    assert left.types == ["fulfillment.shipped.v1", "order.cancelled.v1", "refund.requested.v1"]
    assert left.one(OrderCancelled).lines == [units(2, "1")]
    assert left.one(RefundRequested).amount_cents == 2_100, "what ships is not refunded, nor is its shipping"
    order = await desk.order(placed.order_id)
    assert (order["status"], order["change_id"]) == ("shipped", None)


async def test_a_parcel_that_leaves_incomplete_holds_the_cancellation_until_its_rest_is_accounted_for(desk: Desk) -> None:
    _, question, fulfillment_id = await a_half_shipped_order(desk)
    await desk.hear(ThirdPartyAccepted(fulfillment_id=fulfillment_id, accepted_at=NOON), partner="west")
    assert (await desk.hear(answer(question, "no"))).types == ["order.delay_consent_settled.v1", "order.change_pending.v1"]
    left = await desk.hear(shipped(fulfillment_id, (1, "2")), partner="west")
    assert left.of(OrderCancelled) == []
    closed = await desk.wake(timedelta(minutes=1))
    assert closed.one(OrderCancelled).lines == [units(2, "1"), units(1, "2")]
    assert closed.one(RefundRequested).amount_cents == 2_100 + 1_050


async def test_a_request_that_no_3pl_has_accepted_is_called_off_when_the_customer_does_not_agree(desk: Desk) -> None:
    placed, question, fulfillment_id = await a_half_shipped_order(desk)
    heard = await desk.hear(answer(question, "no"))
    assert heard.types == ["order.delay_consent_settled.v1", "order.change_pending.v1", "fulfillment.cancel_requested.v1"]
    stopped = await desk.hear(ThirdPartyCancelAccepted(fulfillment_id=fulfillment_id, answered_at=NOON), partner="west")
    assert stopped.one(OrderCancelled).lines == [units(2, "1"), units(2, "2")]
    assert stopped.one(RefundRequested).amount_cents == 4_700
    assert (await desk.order(placed.order_id))["status"] == "cancelled"


async def test_a_3pl_that_refuses_to_stop_ships_and_the_rest_is_cancelled(desk: Desk) -> None:
    _, question, fulfillment_id = await a_half_shipped_order(desk)
    await desk.hear(answer(question, "no"))
    refused = ThirdPartyCancelRejected(fulfillment_id=fulfillment_id, reason="packed", answered_at=NOON)
    assert (await desk.hear(refused, partner="west")).types == []
    left = await desk.hear(shipped(fulfillment_id, (2, "2")), partner="west")
    assert left.one(OrderCancelled).lines == [units(2, "1")]


async def test_a_deadline_that_passes_while_a_change_is_open_waits_for_its_end(desk: Desk) -> None:
    placed, question, fulfillment_id = await a_half_shipped_order(desk)
    desk.now = day(40) - timedelta(seconds=1)
    await desk.hear(edit(placed, LineChange(line_id="2", quantity=1)))
    assert (await desk.hear(answer(question, "no"))).one(OrderDelayAnswerRejected).reason == "change_in_progress"
    over = await desk.wake(timedelta(minutes=6))
    assert over.types == ["fulfillment.cancel_requested.v1"], "the order was looked at: the 3PL is asked again, and nothing is cancelled"
    refused = ThirdPartyCancelRejected(fulfillment_id=fulfillment_id, reason="packed", answered_at=NOON)
    assert (await desk.hear(refused, partner="west")).types == ["order.edit_rejected.v1"]
    assert (await desk.wake()).one(OrderDelayConsentSettled).outcome == "lapsed"


async def test_a_yes_that_races_the_deadline_leaves_either_a_cancelled_order_or_one_that_waits_on(desk: Desk, databases: Databases) -> None:
    others = [await databases.connect("routing") for _ in range(2)]
    for _ in range(6):
        placed, question = await delayed(desk, None)
        now = desk.now + timedelta(days=41)

        async def lapse(now: datetime = now) -> int:
            async with others[0].transaction():
                return len(await handlers.wake_due_orders(Transaction(others[0], now)))

        async def agree(question: OrderDelayed = question, now: datetime = now) -> int:
            async with others[1].transaction():
                yes = received(answer(question, "yes", at=day(30)))
                return len(await handlers.answer_delays(Transaction(others[1], now), [yes]))

        await asyncio.gather(lapse(), agree())
        order = await desk.order(placed.order_id)
        assert (order["status"], await outcomes(desk, placed.order_id)) in (
            ("cancelled", [("required", "lapsed")]),
            ("placed", [("required", "consented")]),
        )
