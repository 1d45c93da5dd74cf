"""Cancelling after the cutoff: parcels are held back at their 3PL, or come back as a prepaid return.

Money follows what became of the parcel: what was held back is refunded with the cancellation; what left all the same is refunded when it
is scanned as a return. Source: blueprint section 5; docs/decisions/0020-interception.md.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import LEFT, Fulfillment, State
from services.routing.decide.order import Change, Order
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.values import replace
from shared.contracts.fulfillment import FulfillmentInterceptionMoved, FulfillmentInterceptRequested
from shared.contracts.orders import Actor
from shared.contracts.returns import ReturnAuthorisationRequested, ReturnLine

TOO_LATE_RETURNS = UUID("8c0f4e0d-31a5-5d53-8f0e-5a0f6f6a1d20")
"""The name space of returns that cancellations cause, so that one parcel has one for ever (RFC 9562, version 5)."""

INTERCEPTABLE = frozenset({State.ACCEPTED, State.CANCEL_REFUSED})
"""Started, not known to have left, and its 3PL was not asked to hold it back yet."""


def return_id_of(change_id: UUID, fulfillment_id: UUID) -> UUID:
    """The return of a parcel that left although this change had cancelled it; the same for every repetition."""
    return uuid5(TOO_LATE_RETURNS, f"{change_id}/{fulfillment_id}")


def intercept_request_of(fulfillment: Fulfillment) -> Say:
    """Asks the 3PL to hold the parcel back."""
    return Say(
        FulfillmentInterceptRequested(
            fulfillment_id=fulfillment.fulfillment_id, reason="order cancelled", attempt=max(1, fulfillment.attempts)
        ),
        fulfillment.partner,
    )


def ask_to_intercept(order: Order, now: datetime, deadlines: Deadlines, only: frozenset[UUID] | None = None) -> Outcome:
    """Asks for every parcel that the open cancellation waits for and that its 3PL has started meanwhile; each is asked for once.

    ``only`` are the parcels that may be held back, where not all may.
    """
    change = order.change
    if change is None:
        return Outcome(order)
    wanted = change.awaiting if only is None else change.awaiting & only
    says = []
    for fulfillment in order.fulfillments:
        if fulfillment.fulfillment_id in wanted and fulfillment.state in INTERCEPTABLE:
            asked = replace(fulfillment, state=State.INTERCEPTING, attempts=1, due_at=now + deadlines.answer)
            order = order.with_fulfillment(asked)
            says += [_moved(order, asked, change, "requested", "", now), intercept_request_of(asked)]
    return Outcome(order, tuple(says))


def note_held_back(order: Order, fulfillment: Fulfillment, now: datetime) -> Outcome:
    """The 3PL has the parcel. Its units stay tied until the cancellation is decided, which lets go of them with all others: once."""
    held = replace(fulfillment, state=State.INTERCEPTED, due_at=None, ended_because="intercepted", return_id=None)
    order = order.with_fulfillment(held)
    if order.change is None or order.change.kind != "cancel" or fulfillment.fulfillment_id not in order.change.awaiting:
        return Outcome(order)
    return Outcome(order, (_moved(order, held, order.change, "succeeded", "", now),))


def note_failure(order: Order, fulfillment: Fulfillment, reason: str, now: datetime, deadlines: Deadlines) -> Outcome:
    """It leaves all the same. Nothing is refunded; once it has left it may come back for nothing."""
    lost = replace(fulfillment, state=State.INTERCEPT_FAILED, due_at=max(fulfillment.ship_by, now) + deadlines.shipment)
    return _fail(order, lost, reason, now)


def _fail(order: Order, fulfillment: Fulfillment, reason: str, now: datetime) -> Outcome:
    change = order.change
    if change is None or fulfillment.fulfillment_id not in change.awaiting:
        return Outcome(order.with_fulfillment(fulfillment))
    failed = replace(fulfillment, return_id=return_id_of(change.change_id, fulfillment.fulfillment_id))
    order = order.with_fulfillment(failed)
    return Outcome(order, (_moved(order, failed, change, "failed", reason, now),))


def departed(order: Order, awaited: frozenset[UUID]) -> list[Fulfillment]:
    """The parcels that left although a cancellation waited for them."""
    return [item for item in order.fulfillments if item.fulfillment_id in awaited and item.state in LEFT]


def note_departures(order: Order, now: datetime, only: frozenset[UUID] | None = None) -> Outcome:
    """Parcels that the open cancellation waited for and that left before their 3PL said anything about holding them back."""
    says: tuple[Say, ...] = ()
    awaited = frozenset() if order.change is None else order.change.awaiting
    for fulfillment in departed(order, awaited if only is None else awaited & only):
        if fulfillment.return_id is None:
            failed = _fail(order, fulfillment, "it had left already", now)
            order, says = failed.order, says + failed.says
    return Outcome(order, says)


def ask_for_returns(order: Order, awaited: frozenset[UUID], actor: Actor) -> Outcome:
    """Every parcel that left although it was cancelled comes back as a prepaid return: the label now, the money when it is scanned."""
    says = []
    for fulfillment in departed(order, awaited):
        request = ReturnAuthorisationRequested(
            return_id=fulfillment.return_id,
            order_id=order.order_id,
            actor=actor,
            lines=[
                ReturnLine(line_id=line.line_id, quantity=line.shipped, reason="other", note="cancelled, but could not be held back")
                for line in fulfillment.lines
                if line.shipped
            ],
            fulfillment_id=fulfillment.fulfillment_id,
        )
        says.append(Say(request))
    return Outcome(order, tuple(says))


def _moved(order: Order, fulfillment: Fulfillment, change: Change, outcome: str, detail: str, now: datetime) -> Say:
    return Say(
        FulfillmentInterceptionMoved.model_validate(
            {
                "fulfillment_id": fulfillment.fulfillment_id,
                "order_id": order.order_id,
                "change_id": change.change_id,
                "location": fulfillment.location,
                "outcome": outcome,
                "detail": detail,
                "return_id": fulfillment.return_id if outcome == "failed" else None,
                "moved_at": now,
            }
        )
    )
