"""Cancel and edit: the gate, the handshake with the 3PLs that hold requests, and the outcome.

An order has at most one open change. It waits for the word of every 3PL that holds a request. An edit is made only when each of them has
called off; the first that has started refuses it for all. A cancellation goes further: what has started is to be held back
(``decide/interception.py``), and when every parcel's fate is known all that did not leave is cancelled and refunded, and what left may come
back for nothing. A cancellation of some lines makes an edit of all that it can have (``decide/cancelling.py``). Source: blueprint
section 5, choreography 8 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.routing.decide.cancelling import Wish, carried_alone, cutoff_refusal, is_whole_order, outcome_of, returning, wishes_of
from services.routing.decide.collecting import ask_for_payment, awaits_payment, drop_unpaid, paid_back_if_refused
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.editing import Edited, edit_lines, edited_order, payment_refusal, unmapped_refusal, with_fewer_units
from services.routing.decide.fulfillment import ENDED_UNSHIPPED, LEFT, STARTED, State
from services.routing.decide.handover import cancel_request_of, submit_assigned, take_back
from services.routing.decide.interception import ask_for_returns, ask_to_intercept, departed, note_departures
from services.routing.decide.money import cancellation_refund, edit_refund
from services.routing.decide.order import Change, Line, Order, Payment, StockWait, started_units
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.refusals import Refusal
from services.routing.decide.values import replace
from shared.contracts.orders import (
    Address,
    KitPart,
    LineNotCancelled,
    LineToCancel,
    LineUnits,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderChangePending,
    OrderEdited,
    OrderEditRejected,
    OrderEditRequested,
    OrderLine,
)

Request = OrderCancelRequested | OrderEditRequested

GIVEN_UP = frozenset({State.CALLED_OFF, State.INTERCEPTED})
"""Its 3PL gave it up, and its units stay where they are until the change that waits for this is decided."""
AT_WORK = frozenset({State.SUBMITTED, State.CANCELLING}) | STARTED
"""A 3PL has the request and has not said its last word."""


def request_change(order: Order, request: Request, now: datetime, deadlines: Deadlines, *, postal_code_known: bool = True) -> Outcome:
    """Makes a change at once, asks the 3PLs first, or refuses it.

    Args:
        order: the order.
        request: a command whose ``change_id`` was not seen before.
        now: the time.
        deadlines: how long 3PLs may take.
        postal_code_known: whether the new address, if there is one, can be found on the map.
    """
    if isinstance(request, OrderCancelRequested) and awaits_payment(order):
        return _cancel_unpaid(order, request, now, deadlines)
    refusal = gate(order, request)
    if refusal is None and isinstance(request, OrderEditRequested):
        edited = edit_lines(order, request)
        if isinstance(edited, Refusal):
            refusal = edited
        elif not postal_code_known:
            refusal = unmapped_refusal(edited.ship_to)
        elif edited.money_delta_cents > 0 and deadlines.payment:
            return ask_for_payment(order, request, edited.money_delta_cents, now, deadlines)
        else:
            refusal = payment_refusal(order, edited)
    if refusal is None and isinstance(request, OrderCancelRequested) and request.lines:
        wishes = wishes_of(order, request)
        if isinstance(wishes, Refusal):
            refusal = wishes
        elif is_whole_order(order, wishes):
            request = request.model_copy(update={"lines": []})
        else:
            return _request_cancellation_of_lines(order, request, wishes, now, deadlines)
    if refusal is not None:
        return _refuse(order, request, refusal)
    # What has started is not touched by an edit that has come so far; a cancellation has it held back.
    if isinstance(request, OrderEditRequested):
        return _ask_or_make(order, request, frozenset(), now, deadlines)
    started = frozenset(item.fulfillment_id for item in order.fulfillments if item.state in STARTED)
    return _ask_or_make(order, request, started, now, deadlines).then(lambda asked: ask_to_intercept(asked, now, deadlines))


def _cancel_unpaid(order: Order, request: OrderCancelRequested, now: datetime, deadlines: Deadlines) -> Outcome:
    """A cancellation wins over an edit that nobody has paid for; one that cannot be made leaves it waiting."""
    made = request_change(replace(order, change=None), request, now, deadlines)
    if any(isinstance(say.data, OrderCancelRejected) for say in made.says):
        return Outcome(order, made.says)
    # The order goes on with what it keeps: its customer hears that the change does not come.
    wishes = wishes_of(order, request) if request.lines else None
    in_part = wishes is not None and not isinstance(wishes, Refusal) and not is_whole_order(order, wishes)
    dropped = drop_unpaid(order, "cancelled_in_part" if in_part else "cancelled", now)
    return Outcome(made.order, dropped.says + made.says, made.problem)


def make_paid_edit(order: Order, request: OrderEditRequested, payment: Payment, now: datetime, deadlines: Deadlines) -> Outcome:
    """The money for an edit is there: it is made as any other, if it still can be. No change may be open."""
    edited = edit_lines(order, request)
    if isinstance(edited, Refusal):
        refused = _refuse(order, request, edited).then(lambda free: submit_assigned(free, now, deadlines))
        return paid_back_if_refused(refused, payment)
    outcome = _ask_or_make(order, request, frozenset(), now, deadlines)
    pending = outcome.order.change
    if pending is None:
        return outcome
    return replace(outcome, order=replace(outcome.order, change=replace(pending, payment=payment)))


def _request_cancellation_of_lines(
    order: Order, request: OrderCancelRequested, wishes: Sequence[Wish], now: datetime, deadlines: Deadlines
) -> Outcome:
    """What no warehouse has started of the named lines is cancelled; a started parcel is held back where it carries nothing else."""
    held_back = carried_alone(order, wishes, request.change_id)
    missed = cutoff_refusal(order, wishes, held_back)
    if missed is not None:
        return _refuse(order, request, missed, not_cancelled=outcome_of(order, wishes, request.change_id).missed)
    # "All of it" means what had not shipped when it was asked for.
    asked_for = [LineToCancel(line_id=wish.line_id, quantity=wish.quantity) for wish in wishes]
    request = request.model_copy(update={"lines": asked_for})
    asked = _ask_or_make(order, request, held_back, now, deadlines)
    return asked.then(lambda pending: ask_to_intercept(pending, now, deadlines, held_back))


def _ask_or_make(order: Order, request: Request, started: frozenset[UUID], now: datetime, deadlines: Deadlines) -> Outcome:
    """Makes a change that no 3PL need be asked about. ``started`` are the parcels past their cutoff that it concerns."""
    if any(item.state in AT_WORK - STARTED or item.fulfillment_id in started for item in order.fulfillments):
        return _ask_partners(order, request, started, now, deadlines)
    return _make(order, request, frozenset(), now, deadlines)


def cancel_unshipped(order: Order, request: OrderCancelRequested, now: datetime, deadlines: Deadlines) -> Outcome:
    """Cancels everything that has not shipped, because its customer does not agree to wait for it. No change may be open.

    Nobody can refuse this. Requests that no 3PL has accepted are called off where that is still possible; what a 3PL has started ships
    first, and then the rest is cancelled. So no unit is lost between shelf and parcel, and nothing that ships is refunded.
    """
    if not any(item.state in AT_WORK for item in order.fulfillments):
        return _cancel(order, request, now)
    started = frozenset(item.fulfillment_id for item in order.fulfillments if item.state in STARTED)
    return _ask_partners(order, request, started, now, deadlines)


def gate(order: Order, request: Request) -> Refusal | None:
    """Whether the order may be changed at all."""
    if order.is_cancelled:
        return Refusal("already_cancelled", "the order is cancelled")
    if order.open_units == 0:
        return Refusal("already_shipped", "everything has shipped; send it back instead")
    if order.change is not None:
        until = "it is paid" if awaits_payment(order) else "the warehouse answers"
        return Refusal("change_in_progress", f"change {order.change.change_id} is open until {until}; try again then")
    expected = request.expected_order_version
    if expected is not None and expected != order.order_version:
        return Refusal(
            "stale_version", f"expected_order_version: {expected}, but the order is at version {order.order_version}; look again"
        )
    return None


def _ask_partners(order: Order, request: Request, started: frozenset[UUID], now: datetime, deadlines: Deadlines) -> Outcome:
    """Opens the change and asks every 3PL that holds a request. One that is being asked already is not asked twice. Of what has started a
    cancellation waits for ``started``, and is made all the same; an edit leaves it alone."""
    kind = "cancel" if isinstance(request, OrderCancelRequested) else "edit"
    says = []
    awaiting = set()
    answer_due_at = now + deadlines.answer
    gives_up = order.question is not None and order.question.consent_id == request.change_id
    for fulfillment in order.fulfillments:
        if fulfillment.state is State.CANCELLING:
            awaiting.add(fulfillment.fulfillment_id)
        elif fulfillment.fulfillment_id in started:
            awaiting.add(fulfillment.fulfillment_id)
            if fulfillment.state is State.INCOMPLETE or gives_up:
                answer_due_at = max(answer_due_at, fulfillment.due_at or answer_due_at)
        elif fulfillment.state is State.SUBMITTED:
            awaiting.add(fulfillment.fulfillment_id)
            asked = replace(fulfillment, state=State.CANCELLING, attempts=1, due_at=now + deadlines.answer)
            order = order.with_fulfillment(asked)
            says.append(cancel_request_of(asked, f"order {kind}"))
    change = Change(
        change_id=request.change_id,
        kind="cancel" if isinstance(request, OrderCancelRequested) else "edit",
        request=request.model_dump(mode="json"),
        awaiting=frozenset(awaiting),
        answer_due_at=answer_due_at,
    )
    pending = OrderChangePending(
        order_id=order.order_id,
        order_version=order.order_version,
        change_id=change.change_id,
        actor=request.actor,
        change=change.kind,
        answer_due_at=change.answer_due_at,
    )
    return Outcome(replace(order, change=change), (Say(pending), *says))


def settle_change(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Decides the open change, if the 3PLs' words allow it by now."""
    change = order.change
    if change is None or awaits_payment(order):
        return Outcome(order)
    request = (OrderCancelRequested if change.kind == "cancel" else OrderEditRequested).model_validate(change.request)
    awaited = [item for item in order.fulfillments if item.fulfillment_id in change.awaiting]
    if order.gives_up:
        if any(item.state in AT_WORK for item in awaited):
            return Outcome(order)
        return _make(replace(order, change=None), request, change.awaiting, now, deadlines)
    if isinstance(request, OrderCancelRequested):
        settle = _settle_cancellation_of_lines if request.lines else _settle_cancellation
        return settle(order, change, request, now, deadlines)
    started = next((item for item in awaited if item.state in STARTED or item.state in LEFT), None)
    if started is not None:
        detail = f"{started.location} had started before it could be called off"
        given_up = _give_up(order, request, Refusal("fulfillment_started", detail), change.awaiting, now, deadlines)
        return paid_back_if_refused(given_up, change.payment)
    if all(item.state in ENDED_UNSHIPPED for item in awaited):
        return paid_back_if_refused(_make(replace(order, change=None), request, change.awaiting, now, deadlines), change.payment)
    return Outcome(order)


def _settle_cancellation(order: Order, change: Change, request: OrderCancelRequested, now: datetime, deadlines: Deadlines) -> Outcome:
    """A cancellation is decided when it is known of every parcel whether it leaves: all that does not is cancelled and refunded, all that
    does may come back for nothing and is refunded then. So no unit is both shipped and refunded without an open return."""
    asked = ask_to_intercept(order, now, deadlines).then(lambda changed: note_departures(changed, now))
    if any(item.state in AT_WORK for item in asked.order.fulfillments if item.fulfillment_id in change.awaiting):
        return asked
    made = asked.then(lambda known: _make(replace(known, change=None), request, change.awaiting, now, deadlines))
    return made.then(lambda known: ask_for_returns(known, change.awaiting, request.actor))


def _settle_cancellation_of_lines(
    order: Order, change: Change, request: OrderCancelRequested, now: datetime, deadlines: Deadlines
) -> Outcome:
    """As above for some lines: decided when no 3PL need be waited for any more. A parcel that was started meanwhile and carries other units
    too goes its way; its units of these lines are told as not cancelled."""
    wishes = wishes_of(order, request)
    assert not isinstance(wishes, Refusal), "no other change could touch these lines meanwhile"
    held_back = carried_alone(order, wishes, change.change_id, change.awaiting)
    asked = ask_to_intercept(order, now, deadlines, held_back).then(lambda changed: note_departures(changed, now, held_back))
    awaited = [item for item in asked.order.fulfillments if item.fulfillment_id in change.awaiting]
    if any(item.state in AT_WORK - STARTED or (item.state in STARTED and item.fulfillment_id in held_back) for item in awaited):
        return asked
    made = asked.then(lambda known: _cancel_lines(replace(known, change=None), request, wishes, change.awaiting, now, deadlines))
    return made.then(lambda known: ask_for_returns(known, held_back, request.actor))


def _give_up(
    order: Order, request: Request, refusal: Refusal, awaited: frozenset[UUID], now: datetime, deadlines: Deadlines, **more: Any
) -> Outcome:
    """The change is refused. What was already called off for it goes back to be planned anew, what was held back is handed over."""
    outcome = _refuse(replace(order, change=None), request, refusal, **more)
    for fulfillment in order.fulfillments:
        if fulfillment.fulfillment_id in awaited and fulfillment.state in GIVEN_UP:
            returned = take_back(outcome.order, fulfillment, "cancelled", now, {}, now + deadlines.allocation)
            outcome = Outcome(returned.order, outcome.says + returned.says)
    return outcome.then(lambda changed: submit_assigned(changed, now, deadlines))


def _refuse(
    order: Order,
    request: Request,
    refusal: Refusal,
    return_ids: Sequence[UUID] = (),
    not_cancelled: Sequence[LineNotCancelled] = (),
) -> Outcome:
    """The answer no; ``return_ids`` are what happens instead of a cancellation that came too late."""
    words = {
        "order_id": order.order_id,
        "order_version": order.order_version,
        "change_id": request.change_id,
        "actor": request.actor,
        "reason": refusal.reason,
        "detail": refusal.detail[:500],
    }
    if isinstance(request, OrderCancelRequested):
        said = {**words, "return_ids": return_ids, "not_cancelled": not_cancelled}
        return Outcome(order, (Say(OrderCancelRejected.model_validate(said)),))
    return Outcome(order, (Say(OrderEditRejected.model_validate(words)),))


def _make(order: Order, request: Request, awaited: frozenset[UUID], now: datetime, deadlines: Deadlines) -> Outcome:
    """Nothing of the order is in a 3PL's hands any more: the change takes effect. ``awaited`` were called off for it."""
    if isinstance(request, OrderCancelRequested):
        if not request.lines:
            return _cancel(order, request, now, awaited)
        wishes = wishes_of(order, request)
        assert not isinstance(wishes, Refusal), "it was looked at before"
        return _cancel_lines(order, request, wishes, awaited, now, deadlines)
    edited = edit_lines(order, request)
    if isinstance(edited, Refusal):
        return _refuse(order, request, edited)
    return _edit(order, request, edited, awaited, now, deadlines)


def _withdraw_plans(order: Order, because: str) -> Order:
    """Drops every plan that no 3PL has heard of."""
    return replace(
        order,
        fulfillments=tuple(
            replace(item, state=State.WITHDRAWN, due_at=None, ended_because=because) if item.state is State.PLANNED else item
            for item in order.fulfillments
        ),
    )


def _cancel(order: Order, request: OrderCancelRequested, now: datetime, awaited: frozenset[UUID] = frozenset()) -> Outcome:
    """Every unit that has not shipped is cancelled; allocation lets go of all of them on hearing it."""
    return_ids = [item.return_id for item in departed(order, awaited) if item.return_id is not None]
    if order.open_units == 0:
        way_out = "a prepaid return label is on its way to the customer" if return_ids else "send it back instead"
        return _refuse(order, request, Refusal("already_shipped", f"everything has shipped; {way_out}"), return_ids)
    units = [LineUnits(line_id=line.line_id, sku=line.sku, quantity=line.open) for line in order.lines if line.open]
    refund = cancellation_refund(order, request.change_id)
    cancelled = replace(
        _withdraw_plans(order, "order cancelled"),
        order_version=order.order_version + 1,
        lines=tuple(replace(line, cancelled=line.cancelled + line.open, unplanned=0, coming_back=0) for line in order.lines),
        assignable={},
        plan_due_at=None,
        coming_back_until=None,
        attention=None,
        promised={},
    )
    event = OrderCancelled(
        order_id=order.order_id,
        order_version=cancelled.order_version,
        change_id=request.change_id,
        actor=request.actor,
        reason=request.reason,
        lines=units,
        refund_cents=0 if refund is None else refund.amount_cents,
        return_ids=return_ids,
        cancelled_at=now,
    )
    return Outcome(cancelled, (Say(event),) if refund is None else (Say(event), Say(refund)))


def _cancel_lines(
    order: Order,
    request: OrderCancelRequested,
    wishes: Sequence[Wish],
    awaited: frozenset[UUID],
    now: datetime,
    deadlines: Deadlines,
) -> Outcome:
    """The named units that did not leave and are not being packed come off the order, as an edit would take them off."""
    cancelled = outcome_of(order, wishes, request.change_id)
    return_ids = returning(order, request.change_id)
    if not cancelled.units:
        reason = cancelled.missed[0].reason if cancelled.missed else "already_shipped"
        detail = cancelled.missed[0].detail if cancelled.missed else "it has shipped; a prepaid return label is on its way to the customer"
        refusal = Refusal(reason, detail)
        more = {"return_ids": return_ids, "not_cancelled": cancelled.missed}
        return _give_up(order, request, refusal, awaited, now, deadlines, **more)
    units = [
        LineUnits(line_id=line.line_id, sku=line.sku, quantity=count)
        for line in order.lines
        if (count := cancelled.units.get(line.line_id))
    ]
    more = {"cancelled": units, "not_cancelled": cancelled.missed, "return_ids": return_ids}
    return _edit(order, request, with_fewer_units(order, cancelled.units), awaited, now, deadlines, **more)


def _edit(
    order: Order, request: Request, edited: Edited, awaited: frozenset[UUID], now: datetime, deadlines: Deadlines, **more: Any
) -> Outcome:
    """The new version of the order. Everything is planned anew, from what allocation says under that version."""
    withdrawn = [
        item.fulfillment_id
        for item in order.fulfillments
        if item.state is State.PLANNED or (item.state in GIVEN_UP and item.fulfillment_id in awaited)
    ]
    started = started_units(order)
    changed = replace(
        edited_order(_withdraw_plans(order, "order edited"), edited, now),
        order_version=order.order_version + 1,
        lines=tuple(
            replace(line, unplanned=0, coming_back=max(0, min(line.coming_back, line.open - started.get(line.line_id, 0))))
            for line in edited.lines
        ),
        assignable={},
        plan_due_at=None,
        refused_plans=0,
        attention=None,
        stock_wait=StockWait("allocation", now + deadlines.allocation),
    )
    refund = edit_refund(order, request.change_id, edited.falls, -edited.money_delta_cents, -edited.shipping_delta_cents)
    if refund is not None and refund.shipping_cents:
        changed = replace(changed, shipping_refunded_cents=changed.shipping_refunded_cents + refund.shipping_cents)
    event = OrderEdited(
        order_id=order.order_id,
        order_version=changed.order_version,
        change_id=request.change_id,
        actor=request.actor,
        lines=[_as_ordered(line) for line in edited.lines if line.quantity],
        ship_to=Address.model_validate(edited.ship_to),
        withdrawn_fulfillment_ids=withdrawn,
        money_delta_cents=edited.money_delta_cents,
        service_level=changed.service_level,
        split_policy=changed.split_policy,
        deliver_by=changed.deliver_by,
        shipping_delta_cents=edited.shipping_delta_cents,
        shipping_captured_cents=changed.shipping_paid_cents + changed.shipping_refunded_cents,
        edited_at=now,
        **more,
    )
    return Outcome(changed, (Say(event),) if refund is None else (Say(event), Say(refund)))


def _as_ordered(line: Line) -> OrderLine:
    kit = line.kit
    return OrderLine(
        line_id=line.line_id,
        sku=line.sku,
        title=line.title,
        quantity=line.quantity,
        unit_price_cents=line.unit_price_cents,
        tax_cents=line.tax_cents,
        unit_weight_grams=line.unit_weight_grams,
        unit_volume_cubic_centimetres=line.unit_volume_cubic_centimetres,
        hazmat=line.hazmat,
        kit=None
        if kit is None
        else KitPart(line_id=kit.line_id, sku=kit.sku, title=kit.title, quantity=line.quantity // kit.units, units_per_kit=kit.units),
    )
