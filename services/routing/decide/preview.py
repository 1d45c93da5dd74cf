"""What an edit would do, before anybody makes it: whether it may be made, the money, the units it adds, and what shipping it would cost.

Nothing is changed and nothing is promised: stock and tariffs may move until the edit is made, and the version tells whether the order has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from services.routing.decide.capacity import Openings, SlotKey
from services.routing.decide.changes import gate
from services.routing.decide.editing import Edited, apply_changes, edited_order, payment_refusal, started_refusal, unmapped_refusal
from services.routing.decide.fulfillment import LIVE, STARTED, State
from services.routing.decide.geography import Place
from services.routing.decide.kits import plan_whole_kits
from services.routing.decide.money import total_cents
from services.routing.decide.order import Line, Order
from services.routing.decide.planner import Planner
from services.routing.decide.planning import facts_of, slots_for
from services.routing.decide.plans import PlanRequest, Wanted
from services.routing.decide.refusals import Refusal
from services.routing.decide.service_prices import ServicePrices, ServicePricing, priced, shipping_after
from services.routing.decide.values import replace
from shared.contracts.orders import OrderEditRequested

Stock = Mapping[str, Mapping[str, int]]
"""Units that could be tied, per SKU, per location."""

NO_PRICES: ServicePrices = {}


@dataclass(frozen=True, slots=True)
class QuotedParcel:
    """One parcel as it would be sent."""

    location: str
    carrier: str
    service: str
    cost_cents: int
    ship_by: datetime
    arrives_on: date


@dataclass(frozen=True, slots=True)
class Quote:
    """What shipping all that no warehouse has started would cost us. ``unplaced`` units, per SKU, no location could ship now.

    ``held``: the rule that would have the order wait for a person, and its reason.
    """

    cost_cents: int
    parcels: tuple[QuotedParcel, ...]
    unplaced: Mapping[str, int]
    held: str | None


@dataclass(frozen=True, slots=True)
class AddedUnits:
    """Units of a SKU that the edit adds to what the order has already."""

    sku: str
    units: int


@dataclass(frozen=True)
class Preview:
    """``refusal`` says why the edit would not be made as things stand; the rest shows all the same what it would do, if that can be told.

    ``asks`` are the 3PLs that would be asked to call off first: their word decides. ``shipping_before`` and ``shipping_after`` are quoted
    alike, so that their difference is the edit's. What shipping costs the customer is ``shipping_paid_...``, which only another service
    level moves.
    """

    refusal: Refusal | None
    asks: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    total_before_cents: int = 0
    total_after_cents: int = 0
    shipping_paid_before_cents: int = 0
    shipping_paid_after_cents: int = 0
    service_pricing: ServicePricing = "same_service"
    added: tuple[AddedUnits, ...] = ()
    shipping_before: Quote | None = None
    shipping_after: Quote | None = None

    @property
    def money_delta_cents(self) -> int:
        """What the customer would pay more (above zero) or get back (below it)."""
        shipping_cents = self.shipping_paid_after_cents - self.shipping_paid_before_cents
        return self.total_after_cents - self.total_before_cents + shipping_cents


def preview_edit(
    order: Order,
    request: OrderEditRequested,
    place_before: Place | None,
    place_after: Place | None,
    stock: Stock,
    planner: Planner,
    now: datetime,
    openings: Openings | None = None,
    *,
    collects: bool = False,
    service_prices: ServicePrices = NO_PRICES,
) -> Preview:
    """What an edit would do.

    Args:
        order: the order as it stands.
        request: the wished changes.
        place_before: where it goes now; None when the postal code is not on the map.
        place_after: where it would go.
        stock: what allocation has free at each location, the order's own units left out.
        planner: network, tariffs, objective and rules.
        now: the time.
        openings: free slots of the locations that limit their work, if any does.
        service_prices: what service levels cost customers.
        collects: whether what an edit costs more is asked for; else it is refused.
    """
    refusal = gate(order, request)
    pricing, _ = shipping_after(order, request, service_prices)
    request = priced(order, request, service_prices)
    edited = apply_changes(order, request)
    if isinstance(edited, Refusal):
        # What is wrong with the wish itself can be mended; that the order has gone on can not.
        return Preview(refusal or edited)
    if refusal is None and place_after is None:
        refusal = unmapped_refusal(edited.ship_to)
    changed = edited_order(order, edited, now)
    available = _with_own_units(order, stock)
    return Preview(
        refusal=refusal or started_refusal(order, edited) or (None if collects else payment_refusal(order, edited)),
        asks=tuple(sorted({item.partner for item in order.fulfillments if item.state in (State.SUBMITTED, State.CANCELLING)})),
        lines=tuple(line for line in edited.lines if line.quantity),
        total_before_cents=total_cents(order.lines),
        total_after_cents=total_cents(edited.lines),
        shipping_paid_before_cents=order.shipping_paid_cents,
        shipping_paid_after_cents=changed.shipping_paid_cents,
        service_pricing=pricing,
        added=_added(order, edited),
        shipping_before=_quote(order, place_before, available, planner, now, openings),
        shipping_after=_quote(changed, place_after, available, planner, now, openings),
    )


def _added(order: Order, edited: Edited) -> tuple[AddedUnits, ...]:
    more: dict[str, int] = {}
    before = {line.line_id: line.quantity for line in order.lines}
    for line in edited.lines:
        more[line.sku] = more.get(line.sku, 0) + line.quantity - before.get(line.line_id, 0)
    return tuple(AddedUnits(sku, units) for sku, units in more.items() if units > 0)


def _with_own_units(order: Order, stock: Stock) -> dict[str, dict[str, int]]:
    """Free stock and what the order itself holds: it would be planned anew from both, but for what has started."""
    available = {sku: dict(places) for sku, places in stock.items()}
    for fulfillment in order.fulfillments:
        if fulfillment.state in LIVE - STARTED:
            for line in fulfillment.lines:
                places = available.setdefault(line.sku, {})
                places[fulfillment.location] = places.get(fulfillment.location, 0) + line.left
    return available


def slots_given_back(order: Order) -> dict[SlotKey, int]:
    """The slots that an edit sets free: of all that it would have planned anew."""
    freed: dict[SlotKey, int] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state in LIVE - STARTED:
            for key in fulfillment.slots:
                freed[key] = freed.get(key, 0) - 1
    return freed


def _quote(order: Order, place: Place | None, available: Stock, planner: Planner, now: datetime, openings: Openings | None) -> Quote | None:
    """None where nobody knows the place."""
    if place is None:
        return None
    started: dict[str, int] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state in STARTED:
            for part in fulfillment.lines:
                started[part.line_id] = started.get(part.line_id, 0) + part.left
    wanted = [
        Wanted(line.line_id, line.sku, units, line.unit_weight_grams, line.hazmat, line.unit_volume_cubic_centimetres)
        for line in order.lines
        if (units := line.open - started.get(line.line_id, 0)) > 0
    ]
    request = PlanRequest(
        wanted=wanted,
        assignable=available,
        destination=place,
        service_level=order.service_level,
        deliver_by=order.deliver_by,
        promise_from=order.promise_from,
        now=now,
        residential=order.segment == "dtc",
        excluded=order.excluded_locations,
        partly=order.split_policy == "ship_available",
        order=facts_of(order),
        slots=slots_for(wanted, available, openings),
    )
    unhandled = replace(order, fulfillments=())
    plan = plan_whole_kits(unhandled, request, planner.plan(request), planner)
    return Quote(
        plan.cost_cents,
        tuple(
            QuotedParcel(item.location.code, item.way.carrier, item.way.service, item.cost_cents, item.ship_by, item.arrives_on)
            for item in plan.parcels
        ),
        {sku: units for sku, units in plan.unplaced.items() if units},
        None if plan.held is None else f"{plan.held[0]}: {plan.held[1]}",
    )
