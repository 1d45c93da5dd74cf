"""What an order waits for, until when, and what happens when that time has come (invariant I6: nothing waits without a name and a date)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.routing.decide.answers import close_incomplete
from services.routing.decide.attention import call_for_attention
from services.routing.decide.changes import settle_change
from services.routing.decide.collecting import awaits_payment
from services.routing.decide.consent import ask_on_the_day, asks_at
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import LIVE, STARTED, Fulfillment, State
from services.routing.decide.handover import cancel_request_of, request_of
from services.routing.decide.interception import intercept_request_of
from services.routing.decide.order import Order, StockWait, live_units, uncovered_units
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.paying import lapse_payment
from services.routing.decide.values import replace
from shared.contracts.fulfillment import FulfillmentPlanned, PlannedFulfillment
from shared.contracts.orders import LineUnits

TERMINAL = frozenset({"delivered", "closed", "cancelled"})

WAITS_FOR: dict[State, str] = {
    State.PLANNED: "assignment",
    State.SUBMITTED: "third_party_acceptance",
    State.CANCELLING: "third_party_cancel_answer",
    State.ACCEPTED: "shipment",
    State.CANCEL_REFUSED: "shipment",
    State.INTERCEPTING: "third_party_intercept_answer",
    State.INTERCEPT_FAILED: "shipment",
    State.INCOMPLETE: "short_pick",
    State.SHIPPED: "delivery",
}


ASKED: dict[State, str] = {State.SUBMITTED: "to ship", State.CANCELLING: "to call off", State.INTERCEPTING: "to hold back"}
"""What a 3PL was asked and has not answered."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that an order waits for."""

    waiting_for: str
    until: datetime


def settled(order: Order, now: datetime, deadlines: Deadlines) -> Order:
    """The order with status, reason to wait and next deadline as they follow from the rest of it. Every save goes through here."""
    status = status_of(order)
    if status in TERMINAL:
        return replace(order, status=status, waiting_for=None, waiting_until=None, due_at=None, attention=None)
    waits = list(_waits(order, now, deadlines)) or [Wait("planning", now + deadlines.replan)]
    first = min(waits, key=lambda wait: wait.until)
    shown = next((wait for wait in waits if wait.waiting_for == "operator"), first)
    return replace(order, status=status, waiting_for=shown.waiting_for, waiting_until=shown.until, due_at=first.until)


def status_of(order: Order) -> str:
    """The order's status in the words of blueprint section 5."""
    if order.is_cancelled:
        return "cancelled"
    states = {item.state for item in order.fulfillments}
    if order.open_units == 0:
        parcels = [item for item in order.fulfillments if item.state is State.SHIPPED]
        if not parcels:
            return "delivered"
        return "shipped" if any(item.due_at is not None for item in parcels) else "closed"
    if states & (STARTED | {State.SHIPPED, State.DELIVERED}):
        return "in_fulfillment"
    if states & {State.SUBMITTED, State.CANCELLING}:
        return "released"
    live = live_units(order)
    covered = sum(line.plannable + live.get(line.line_id, 0) for line in order.lines)
    if covered == 0:
        return "placed"
    return "fully_allocated" if covered >= order.open_units else "partially_allocated"


def _waits(order: Order, now: datetime, deadlines: Deadlines) -> Iterator[Wait]:
    if order.attention is not None:
        yield Wait("operator", order.attention.due_at)
    for fulfillment in order.fulfillments:
        if fulfillment.due_at is not None:
            yield Wait(WAITS_FOR[fulfillment.state], fulfillment.due_at)
    if order.change is not None:
        if awaits_payment(order):
            yield Wait("payment", order.change.answer_due_at)
        return
    if order.plan_due_at is not None:
        yield Wait("planning", order.plan_due_at)
    if order.coming_back_until is not None and any(line.coming_back > 0 for line in order.lines):
        yield Wait("allocation", order.coming_back_until)
    answer_by = order.answer_by
    if answer_by is not None:
        yield Wait("customer_consent", answer_by)
    if uncovered_units(order):
        # While a customer is asked nobody need look where the goods are.
        if answer_by is None or order.stock_wait.waiting_for == "allocation":
            yield Wait(order.stock_wait.waiting_for, min(order.stock_wait.until, asks_at(order) or order.stock_wait.until))
    elif any(line.plannable for line in order.lines) and order.attention is None and order.plan_due_at is None:
        yield Wait("planning", now + deadlines.replan)


def wake(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Does whatever is due for an order: asks a silent 3PL again, gives up waiting, asks the customer, calls a person, closes what is long
    done."""
    if order.plan_due_at is not None and order.plan_due_at <= now:
        order = replace(order, plan_due_at=None)
    outcome = Outcome(order)
    for fulfillment in order.fulfillments:
        if fulfillment.due_at is not None and fulfillment.due_at <= now:
            woken = _wake_fulfillment(outcome.order, fulfillment, now, deadlines)
            outcome = Outcome(woken.order, outcome.says + woken.says)
    outcome = outcome.then(lambda changed: lapse_payment(changed, now, deadlines))
    # A cancellation may have waited for the last of a parcel.
    outcome = outcome.then(lambda changed: settle_change(changed, now, deadlines))
    attention = outcome.order.attention
    if attention is not None and attention.due_at <= now:
        outcome = outcome.then(lambda changed: call_for_attention(changed, attention.reason, attention.detail, now, deadlines))
    outcome = outcome.then(lambda changed: ask_on_the_day(changed, now, deadlines))
    return outcome.then(lambda changed: _wake_stock(changed, now, deadlines))


def _wake_fulfillment(order: Order, fulfillment: Fulfillment, now: datetime, deadlines: Deadlines) -> Outcome:
    if fulfillment.state in ASKED:
        return _ask_again(order, fulfillment, now, deadlines)
    if fulfillment.state is State.INCOMPLETE:
        return close_incomplete(order, fulfillment, now, deadlines)
    resting = order.with_fulfillment(replace(fulfillment, due_at=None))
    if fulfillment.state is State.SHIPPED:
        # Nobody reported the delivery in a month: once no other parcel is awaited either, the order counts as closed.
        return Outcome(resting)
    who = "allocation has not answered the plan" if fulfillment.state is State.PLANNED else f"{fulfillment.partner} has not shipped"
    detail = f"{who} for {fulfillment.location} (fulfillment {fulfillment.fulfillment_id}); find out why, then retry the order"
    return call_for_attention(resting, "overdue", detail, now, deadlines)


def _ask_again(order: Order, fulfillment: Fulfillment, now: datetime, deadlines: Deadlines) -> Outcome:
    """The 3PL is silent: the same request with a higher attempt, and after enough of them a person."""
    if fulfillment.attempts >= deadlines.requests:
        detail = (
            f"{fulfillment.partner} was asked {fulfillment.attempts} times {ASKED[fulfillment.state]} fulfillment "
            f"{fulfillment.fulfillment_id} at {fulfillment.location} and is silent; call them, then retry the order"
        )
        resting = order.with_fulfillment(replace(fulfillment, due_at=None))
        return call_for_attention(resting, "third_party_silent", detail, now, deadlines)
    again = replace(fulfillment, attempts=fulfillment.attempts + 1, due_at=now + deadlines.answer * 2**fulfillment.attempts)
    order = order.with_fulfillment(again)
    return Outcome(order, (_request_again(order, again, deadlines),))


def _request_again(order: Order, fulfillment: Fulfillment, deadlines: Deadlines) -> Say:
    if fulfillment.state is State.CANCELLING:
        return cancel_request_of(fulfillment, "order change")
    if fulfillment.state is State.INTERCEPTING:
        return intercept_request_of(fulfillment)
    return request_of(order, fulfillment, deadlines)


def _wake_stock(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units whose stock, or allocation's word about it, is overdue. The wait is extended, so that a person is called once."""
    if order.change is not None or order.is_cancelled:
        return Outcome(order)
    late = []
    if order.coming_back_until is not None and order.coming_back_until <= now and any(line.coming_back > 0 for line in order.lines):
        late.append("allocation has not said what became of units that came back")
        order = replace(order, coming_back_until=now + deadlines.attention)
    asked = order.answer_by is not None and order.stock_wait.waiting_for == "stock"
    if order.stock_wait.until <= now and uncovered_units(order) and not asked:
        what = "allocation has not answered" if order.stock_wait.waiting_for == "allocation" else "supply is overdue"
        late.append(f"{what} for {uncovered_units(order)} units")
        order = replace(order, stock_wait=StockWait(order.stock_wait.waiting_for, now + deadlines.attention))
    if not late:
        return Outcome(order)
    return call_for_attention(order, "overdue", "; ".join(late), now, deadlines)


def retry(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """An operator has dealt with what was wrong: limits start anew, every location may be asked again, and whoever was silent is asked."""
    lifted = order.holds_lifted or (order.attention is not None and order.attention.reason == "held_by_rule")
    order = replace(
        order, attention=None, rejections=0, refused_plans=0, excluded_locations=frozenset(), plan_due_at=None, holds_lifted=lifted
    )
    if order.coming_back_until is not None:
        order = replace(order, coming_back_until=now + deadlines.attention)
    says: list[Say] = []
    unanswered: dict[UUID, list[Fulfillment]] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state not in LIVE or fulfillment.due_at is not None:
            continue
        if fulfillment.state in ASKED:
            order = order.with_fulfillment(replace(fulfillment, attempts=fulfillment.attempts + 1, due_at=now + deadlines.answer))
            says.append(_request_again(order, order.fulfillment(fulfillment.fulfillment_id), deadlines))
        elif fulfillment.state is not State.PLANNED:
            order = order.with_fulfillment(replace(fulfillment, due_at=now + deadlines.shipment))
        elif not fulfillment.assigned:
            order = order.with_fulfillment(replace(fulfillment, due_at=now + deadlines.allocation))
            unanswered.setdefault(fulfillment.plan_id, []).append(fulfillment)
    says.extend(announce_plan(order, plan) for plan in unanswered.values())
    return Outcome(order, tuple(says))


def announce_plan(order: Order, fulfillments: list[Fulfillment]) -> Say:
    """Tells allocation what to tie where; all of one plan."""
    return Say(
        FulfillmentPlanned(
            plan_id=fulfillments[0].plan_id,
            order_id=order.order_id,
            order_version=order.order_version,
            fulfillments=[
                PlannedFulfillment(
                    fulfillment_id=item.fulfillment_id,
                    location=item.location,
                    lines=[LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.planned) for line in item.lines],
                )
                for item in fulfillments
            ],
        )
    )
