"""Handing fulfillments over to 3PLs, and asking again while they are silent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

from services.routing.decide.attention import call_for_attention, settle_overdue
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import Fulfillment, State
from services.routing.decide.order import Order, add_coming_back, add_unplanned
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.values import replace
from shared.contracts.fulfillment import (
    FulfillmentAssigned,
    FulfillmentAssignmentRejected,
    FulfillmentCancelled,
    FulfillmentCancelRequested,
    FulfillmentRequested,
    PickLine,
)
from shared.contracts.orders import Address, LineUnits
from shared.contracts.stock import AssignableStock

CallOffCause = Literal["rejected", "short_picked", "cancelled", "expired"]


def request_of(order: Order, fulfillment: Fulfillment, deadlines: Deadlines) -> Say:
    """The pick list of a fulfillment: what is still to ship, and no more of the customer than the parcel needs."""
    known = {line.line_id: line for line in order.lines}
    pick_lines = [
        PickLine(line_id=line.line_id, sku=line.sku, title=known[line.line_id].title, quantity=line.left)
        for line in fulfillment.lines
        if line.left
    ]
    hazardous = any(known[line.line_id].hazmat for line in fulfillment.lines)
    return Say(
        FulfillmentRequested(
            fulfillment_id=fulfillment.fulfillment_id,
            order_number=order.external_id,
            location=fulfillment.location,
            carrier=fulfillment.carrier,
            service=fulfillment.service,
            service_level=order.service_level,
            ship_to=Address.model_validate(order.ship_to),
            lines=pick_lines,
            packing_requirements=[*(["hazmat"] if hazardous else []), *fulfillment.packing],
            ship_by=fulfillment.ship_by,
            expires_at=fulfillment.ship_by + deadlines.request_life,
            attempt=fulfillment.attempts,
        ),
        fulfillment.partner,
    )


def cancel_request_of(fulfillment: Fulfillment, reason: str) -> Say:
    """Asks the 3PL not to ship."""
    return Say(
        FulfillmentCancelRequested(fulfillment_id=fulfillment.fulfillment_id, reason=reason, attempt=fulfillment.attempts),
        fulfillment.partner,
    )


def call_off_closed(order: Order, closed: Collection[str], now: datetime, deadlines: Deadlines) -> Outcome:
    """Takes away from locations that have been closed since what their 3PLs have not accepted, so that it is planned elsewhere: a 3PL that
    was asked to ship is asked to call off, and what it has not heard of is never handed over. What has started goes its way.

    An open change holds none of this up. One that waits for 3PLs has asked them all to call off already; one that waits for its money may
    wait for days, and when that comes it waits for what is being called off as if it had asked itself.

    Args:
        order: the order.
        closed: codes of locations that ship nothing any more.
        now: the time.
        deadlines: how long the 3PL may take to answer; it is asked again as for every other question.
    """
    outcome = Outcome(order)
    for fulfillment in order.fulfillments:
        if fulfillment.location not in closed:
            continue
        if fulfillment.state is State.SUBMITTED:
            asked = replace(fulfillment, state=State.CANCELLING, attempts=1, due_at=now + deadlines.answer)
            recalled = Outcome(outcome.order.with_fulfillment(asked), (cancel_request_of(asked, "location closed"),))
        elif fulfillment.state is State.PLANNED and fulfillment.assigned:
            # Allocation has tied its units and lets go of them only when it is told.
            withdrawn = replace(fulfillment, state=State.WITHDRAWN, due_at=None, ended_because="location closed")
            held = outcome.order.with_fulfillment(withdrawn)
            recalled = take_back(held, fulfillment, "cancelled", now, {}, now + deadlines.allocation)
        else:
            continue
        outcome = Outcome(recalled.order, outcome.says + recalled.says)
    return replace(outcome, order=settle_overdue(outcome.order)) if outcome.says else outcome


def submit_assigned(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Hands over every fulfillment whose units are tied, unless a change is open: then it waits for the outcome."""
    if order.change is not None:
        return Outcome(order)
    says = []
    for fulfillment in order.fulfillments:
        if fulfillment.state is State.PLANNED and fulfillment.assigned:
            submitted = replace(fulfillment, state=State.SUBMITTED, attempts=1, requested_at=now, due_at=now + deadlines.answer)
            order = order.with_fulfillment(submitted)
            says.append(request_of(order, submitted, deadlines))
    return Outcome(order, tuple(says))


def assign(
    order: Order, message: FulfillmentAssigned, now: datetime, deadlines: Deadlines, closed: Collection[str] = frozenset()
) -> Outcome:
    """Allocation has tied the units of a plan: they are handed over, except to a location that has closed since they were planned. A plan
    that was withdrawn meanwhile, or told twice, changes nothing."""
    for fulfillment in order.fulfillments:
        if fulfillment.plan_id == message.plan_id and fulfillment.state is State.PLANNED and not fulfillment.assigned:
            # A change may hold it for long: until it is handed over it waits for that, not for allocation.
            order = order.with_fulfillment(replace(fulfillment, assigned=True, due_at=None))
    order = replace(order, refused_plans=0)
    return call_off_closed(order, closed, now, deadlines).then(lambda kept: submit_assigned(kept, now, deadlines))


def fresh_stock(order: Order, assignable: list[AssignableStock]) -> Order:
    """The order with newer numbers of what can be tied where."""
    if not assignable:
        return order
    known = dict(order.assignable)
    for stock in assignable:
        known[stock.sku] = {location.location: location.quantity for location in stock.locations if location.quantity}
    return replace(order, assignable=known)


def _as_planned(order: Order, fulfillment: Fulfillment) -> Order:
    """The order with the numbers that a refused plan stood on: all there is to go by until fresher ones come."""
    known = {sku: dict(locations) for sku, locations in order.assignable.items()}
    for line in fulfillment.lines:
        locations = known.setdefault(line.sku, {})
        locations[fulfillment.location] = locations.get(fulfillment.location, 0) + line.left
    return replace(order, assignable=known)


def reject_assignment(order: Order, message: FulfillmentAssignmentRejected, now: datetime, deadlines: Deadlines) -> Outcome:
    """Allocation did not tie the plan: its units are free to plan again, with the fresh numbers of the refusal.

    ``superseded`` speaks of an order version that is gone, so its units are too. ``not_reserved`` means that allocation is about to tell us
    of units that the order lost; the next plan waits a moment for that.
    """
    refused = [item for item in order.fulfillments if item.plan_id == message.plan_id and item.state is State.PLANNED]
    if not refused:
        return Outcome(order)
    for fulfillment in refused:
        order = order.with_fulfillment(
            replace(fulfillment, state=State.WITHDRAWN, due_at=None, ended_because=f"assignment rejected: {message.reason}")
        )
        if message.reason != "superseded":
            order = order.with_lines(add_unplanned, {line.line_id: line.left for line in fulfillment.lines})
            order = _as_planned(order, fulfillment)
    order = fresh_stock(order, message.assignable)
    count = order.refused_plans + 1
    order = replace(order, refused_plans=count)
    if count > deadlines.plans:
        detail = f"allocation refused {count} plans in a row, the last one because {message.reason}; check the stock, then retry the order"
        return call_for_attention(order, "no_location_can_ship", detail, now, deadlines)
    if count > deadlines.quick_replans or message.reason == "not_reserved":
        pause = deadlines.replan * 2 ** max(0, count - 1 - (deadlines.quick_replans if message.reason == "stock_moved" else 0))
        order = replace(order, plan_due_at=now + pause)
    return Outcome(order)


def take_back(
    order: Order, fulfillment: Fulfillment, cause: CallOffCause, at: datetime, missing: Mapping[str, int], until: datetime
) -> Outcome:
    """Gives everything that a fulfillment still held back to allocation."""
    held = {line.line_id: line.left for line in fulfillment.lines if line.left}
    return give_back(order, fulfillment, cause, at, held, missing, until)


def give_back(
    order: Order,
    fulfillment: Fulfillment,
    cause: CallOffCause,
    at: datetime,
    units: Mapping[str, int],
    missing: Mapping[str, int],
    until: datetime,
) -> Outcome:
    """Tells allocation that units will not ship from there, and notes that its word about them is pending.

    Args:
        order: the order.
        fulfillment: which fulfillment held them.
        cause: why.
        at: when the 3PL said so; allocation tells two call-offs of one fulfillment apart by it.
        units: how many per line.
        missing: those of them that are not on the shelf.
        until: when allocation's word about them is overdue.
    """
    if not units:
        return Outcome(order)
    order = replace(order.with_lines(add_coming_back, units), coming_back_until=until)
    return Outcome(order, (Say(called_off_units(order, fulfillment, cause, at, units, missing)),))


def called_off_units(
    order: Order, fulfillment: Fulfillment, cause: CallOffCause, at: datetime, units: Mapping[str, int], missing: Mapping[str, int]
) -> FulfillmentCancelled:
    """What allocation is told of units that will not ship from there, ``missing`` ones of which are not on the shelf."""
    skus = {line.line_id: line.sku for line in fulfillment.lines}
    return FulfillmentCancelled(
        fulfillment_id=fulfillment.fulfillment_id,
        order_id=order.order_id,
        location=fulfillment.location,
        cause=cause,
        lines=[LineUnits(line_id=line_id, sku=skus[line_id], quantity=quantity) for line_id, quantity in units.items()],
        missing=[LineUnits(line_id=line_id, sku=skus[line_id], quantity=quantity) for line_id, quantity in missing.items() if quantity],
        cancelled_at=at,
    )
