"""Turns units that are free to plan into fulfillments, or says why that cannot be."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.routing.decide.attention import call_for_attention, settle_attention
from services.routing.decide.capacity import Openings, Slot
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import Fulfillment, FulfillmentLine, State
from services.routing.decide.geography import Place
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.kits import in_whole_kits, plan_whole_kits
from services.routing.decide.order import Order, live_units
from services.routing.decide.outcome import Outcome
from services.routing.decide.planner import Planner
from services.routing.decide.plans import EXCLUDED, INACTIVE, Parcel, Plan, PlanRequest, Wanted
from services.routing.decide.values import replace
from services.routing.decide.waiting import announce_plan

Claims = dict[tuple[str, str], int]
"""Units per (SKU, location) that plans of this batch take; allocation has not heard of them yet."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision and why it fell so; never changed afterwards."""

    decision_id: UUID
    order_id: UUID
    order_version: int
    decided_at: datetime
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning made of an order. ``decision`` is None when there was nothing to decide."""

    outcome: Outcome
    decision: Decision | None = None


def plannable(order: Order, now: datetime) -> list[Wanted]:
    """Units that are to be planned now; empty while a change is open, a person must look, or the rest is not reserved yet (hold_all).

    Of a kit only what makes it whole. Never more than the customer still expects: a reservation may overtake the news that the units it
    replaces were lost.
    """
    if order.change is not None or (order.plan_due_at is not None and order.plan_due_at > now):
        return []
    if order.attention is not None and order.attention.reason in ("too_many_rejections", "held_by_rule"):
        return []
    live = live_units(order)
    if order.split_policy == "hold_all" and any(line.open > line.plannable + live.get(line.line_id, 0) for line in order.lines):
        return []
    wanted = []
    for line in order.lines:
        units = min(line.plannable, line.open - live.get(line.line_id, 0))
        if units > 0:
            wanted.append(Wanted(line.line_id, line.sku, units, line.unit_weight_grams, line.hazmat, line.unit_volume_cubic_centimetres))
    return in_whole_kits(order, wanted, live)


def plan_order(
    order: Order,
    place: Place | None,
    planner: Planner,
    claims: Claims,
    now: datetime,
    new_id: Callable[[], UUID],
    deadlines: Deadlines,
    openings: Openings | None = None,
    proposed: Plan | None = None,
) -> Planned:
    """Plans whatever may be planned of an order.

    Args:
        order: the order.
        place: where it goes; None when the postal code is unknown.
        planner: network, tariffs and objective.
        claims: what earlier plans of this batch take; this plan's units are added.
        now: the time.
        new_id: makes ids.
        deadlines: how long allocation may take to answer.
        openings: free slots of the locations that limit their work, if any does; this plan's are taken.
        proposed: a plan of all of it that was made together with other orders.
    """
    wanted = plannable(order, now)
    if not wanted:
        return Planned(Outcome(order))
    if place is None:
        detail = (
            f"ship_to.postal_code: {order.ship_to['country']} postal code {order.ship_to['postal_code'][:20]} is not on the map; "
            "edit the address, or add the code to the file that ORDERMESH_POSTAL_AREAS names, then retry the order"
        )
        return Planned(call_for_attention(order, "unknown_postal_code", detail, now, deadlines))
    plan = proposed if proposed is not None else _propose(order, wanted, place, planner, claims, now, openings)
    decision = Decision(new_id(), order.order_id, order.order_version, now, plan.record)
    if plan.held is not None:
        detail = f"rule '{plan.held[0]}' holds it: {plan.held[1]}; look at the order, then retry it: no rule holds it again"
        return Planned(call_for_attention(order, "held_by_rule", detail[:500], now, deadlines), decision)
    if not plan.parcels:
        return Planned(_no_location(order, plan, now, deadlines), decision)
    fulfillments = [_fulfillment(order, parcel, plan.instructions, decision.decision_id, now, new_id, deadlines) for parcel in plan.parcels]
    for parcel in plan.parcels:
        for _, sku, units in parcel.units:
            key = (sku, parcel.location.code)
            claims[key] = claims.get(key, 0) + units
        if openings is not None and parcel.slot is not None:
            openings.take(parcel.location.code, parcel.slot)
    planned: dict[str, int] = {}
    for fulfillment in fulfillments:
        for line in fulfillment.lines:
            planned[line.line_id] = planned.get(line.line_id, 0) + line.planned
    order = order.with_lines(lambda line, units: replace(line, unplanned=line.unplanned - units), planned)
    order = replace(
        settle_attention(order, "no_location_can_ship", "unknown_postal_code", "held_by_rule"),
        fulfillments=(*order.fulfillments, *fulfillments),
        assignable=order.assignable if any(line.plannable for line in order.lines) else {},
        plan_due_at=None,
    )
    outcome = Outcome(order, (announce_plan(order, fulfillments),))
    if plan.unplaced:
        outcome = outcome.then(lambda changed: _no_location(changed, plan, now, deadlines))
    return Planned(outcome, decision)


def slots_for(wanted: Sequence[Wanted], assignable: Mapping[str, Mapping[str, int]], openings: Openings | None) -> dict[str, Slot | None]:
    """The first free slots of the locations that have something of what is wanted."""
    if openings is None:
        return {}
    return openings.seen({code for entry in wanted for code, units in assignable.get(entry.sku, {}).items() if units})


def plan_anew_at_once(order: Order, now: datetime) -> Planned:
    """Somebody else was given the last slot that a plan stood on: it is dropped, and the next look at due orders makes another."""
    return Planned(Outcome(replace(order, plan_due_at=now)))


def _propose(
    order: Order, wanted: list[Wanted], place: Place, planner: Planner, claims: Claims, now: datetime, openings: Openings | None
) -> Plan:
    """The plan on what is left after the earlier plans of the batch, or on allocation's plain numbers when that is not enough: it has the
    last word anyway, and its refusal brings fresh numbers. Kits are whole in it."""
    request = request_for(order, wanted, place, now, openings)
    if claims:
        request = dataclasses.replace(request, assignable=_left(order.assignable, claims))
    plan = planner.plan(request)
    if plan.unplaced and claims:
        request = dataclasses.replace(request, assignable=order.assignable)
        plan = planner.plan(request)
    return plan_whole_kits(order, request, plan, planner)


def request_for(order: Order, wanted: list[Wanted], place: Place, now: datetime, openings: Openings | None) -> PlanRequest:
    """What is asked for these units of an order, on the numbers that allocation told with it."""
    return PlanRequest(
        wanted=wanted,
        assignable=order.assignable,
        destination=place,
        service_level=order.service_level,
        deliver_by=order.deliver_by,
        promise_from=order.promise_from,
        now=now,
        residential=order.segment == "dtc",
        excluded=order.excluded_locations,
        partly=order.split_policy == "ship_available",
        order=facts_of(order),
        slots=slots_for(wanted, order.assignable, openings),
    )


def as_if_new(
    order: Order,
    place: Place,
    planner: Planner,
    stock: Mapping[str, Mapping[str, int]] | None,
    now: datetime,
    openings: Openings | None = None,
) -> tuple[str, Plan]:
    """The plan of all that the customer still expects, as if the order were placed now, and the numbers on which it stands: the ``given``
    ones, those that allocation has ``told``, or, where there are none any more, ``assumed`` ones: every location has everything."""
    wanted = [
        Wanted(line.line_id, line.sku, line.open, line.unit_weight_grams, line.hazmat, line.unit_volume_cubic_centimetres)
        for line in order.lines
        if line.open > 0
    ]
    stood_on, assignable = "given", stock
    if assignable is None:
        stood_on, assignable = "told", order.assignable
        if any(not assignable.get(entry.sku) for entry in wanted):
            everywhere = {location.code: 1_000_000 for location in planner.network.locations if location.active}
            stood_on, assignable = "assumed", {entry.sku: everywhere for entry in wanted}
    request = PlanRequest(
        wanted=wanted,
        assignable=assignable,
        destination=place,
        service_level=order.service_level,
        deliver_by=order.deliver_by if order.deliver_by is not None and order.deliver_by > now else None,
        promise_from=now,
        now=now,
        residential=order.segment == "dtc",
        excluded=order.excluded_locations,
        partly=order.split_policy == "ship_available",
        order=facts_of(order),
        slots=slots_for(wanted, assignable, openings),
    )
    return stood_on, planner.plan(request)


def facts_of(order: Order) -> OrderFacts:
    """What rules may ask of an order: what was bought and not cancelled, shipped or not."""
    lines = [line for line in order.lines if line.quantity > line.cancelled]
    return OrderFacts(
        channel=order.channel,
        segment=order.segment,
        service_level=order.service_level,
        country=order.ship_to["country"],
        units=sum(line.quantity - line.cancelled for line in lines),
        lines=len(lines),
        skus=tuple(dict.fromkeys(line.sku for line in lines)),
        weight_grams=sum((line.quantity - line.cancelled) * line.unit_weight_grams for line in lines),
        value_cents=sum((line.quantity - line.cancelled) * line.unit_price_cents for line in lines),
        currency=order.currency,
        hazmat=any(line.hazmat for line in lines),
        holds_lifted=order.holds_lifted,
    )


def _left(assignable: Mapping[str, Mapping[str, int]], claims: Claims) -> dict[str, dict[str, int]]:
    return {
        sku: {location: max(0, units - claims.get((sku, location), 0)) for location, units in locations.items()}
        for sku, locations in assignable.items()
    }


def _no_location(order: Order, plan: Plan, now: datetime, deadlines: Deadlines) -> Outcome:
    units = _within(120, [f"{count} of {sku}" for sku, count in plan.unplaced.items()])
    # Nothing but its own rejections excludes a location for one order.
    refused = {entry[0]: "rejected it" if entry[3] == EXCLUDED else entry[3] for entry in plan.record["excluded"]}
    for location, sku, reason in plan.record.get("rules", {}).get("kept_out", ()):
        if sku in plan.unplaced:
            refused.setdefault(location, reason)
    # Rules first, they are what the reader can change; closed locations last, nobody misses them.
    told = sorted(refused.items(), key=lambda entry: (entry[1] == INACTIVE, "by rule" not in entry[1]))
    reasons = _within(420 - len(units), [f"{location}: {reason}" for location, reason in told])
    detail = f"no location may ship {units} ({reasons or 'no location is registered'}); change that, then retry the order"
    return call_for_attention(order, "no_location_can_ship", detail, now, deadlines)


def _within(characters: int, entries: Sequence[str]) -> str:
    """The entries that there is room for, and how many more there are. The first is told whatever its length."""
    told = list(itertools.takewhile(lambda length: length <= characters, itertools.accumulate(len(entry) + 2 for entry in entries)))
    count = max(1, len(told))
    more = len(entries) - count
    return ", ".join(entries[:count]) + (f" and {more} more" if more > 0 else "")


def _fulfillment(
    order: Order,
    parcel: Parcel,
    instructions: tuple[str, ...],
    plan_id: UUID,
    now: datetime,
    new_id: Callable[[], UUID],
    deadlines: Deadlines,
) -> Fulfillment:
    return Fulfillment(
        fulfillment_id=new_id(),
        plan_id=plan_id,
        order_version=order.order_version,
        location=parcel.location.code,
        partner=parcel.location.partner,
        state=State.PLANNED,
        carrier=parcel.way.carrier,
        service=parcel.way.service,
        zone=parcel.way.zone,
        shipping_cost_cents=parcel.carrier_cents,
        ship_by=parcel.ship_by,
        arrives_on=parcel.arrives_on,
        planned_at=now,
        lines=tuple(FulfillmentLine(line_id, sku, units) for line_id, sku, units in parcel.units),
        due_at=now + deadlines.allocation,
        packing=instructions,
        slot_day=None if parcel.slot is None else parcel.slot.day,
        slot_hour=None if parcel.slot is None else parcel.slot.hour,
    )


def ask_again_for_stock(order: Order, planner: Planner) -> Order:
    """The order with the guess that every location has what is wanted.

    For an operator's retry: allocation tells fresh numbers only in answer to a plan, so a plan is made on the guess; when it does not hold,
    the refusal brings the numbers for the next one.
    """
    guess = {
        line.sku: {location.code: line.plannable for location in planner.network.locations if location.active}
        for line in order.lines
        if line.plannable
    }
    return replace(order, assignable=guess)
