"""Fulfillment: plans, hand-over to 3PLs, and what 3PLs answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import (
    Cents,
    Code,
    Command,
    Country,
    Event,
    LineId,
    Part,
    PartnerCommand,
    PartnerMessage,
    Refusal,
    ShortText,
    Sku,
    Text,
    Time,
    Units,
)
from shared.contracts.orders import Address, LineUnits, OrderVersion, ServiceLevel
from shared.contracts.stock import AssignableStock, FeedSequence

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""In the order of their ISO numbers: Monday is 1."""

LocalTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""Time of day at a place, ``HH:MM``."""

WorkingDays = Annotated[list[Weekday], Field(min_length=1, max_length=7)]
Holidays = Annotated[list[date], Field(max_length=400)]
Capacity = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
"""How many fulfillment orders; a location that is to take none is not ``active``."""
CarrierService = Literal["ground", "two_day", "next_day"]
CARRIER_SERVICES: tuple[CarrierService, ...] = ("ground", "two_day", "next_day")
Services = Annotated[list[CarrierService], Field(max_length=len(CARRIER_SERVICES))]
"""The services by which parcels leave a place, each with its rate card; none given: all. An empty list is refused."""
DockToStockDays = Annotated[int, Field(ge=0, le=60, strict=True)]
"""Working days between the day on which goods arrive and the day on which they can be picked; 0: the moment they arrive."""


def iso_weekdays(days: Iterable[Weekday]) -> list[int]:
    """ISO numbers of weekdays, Monday is 1, in their order and each once."""
    return sorted({WEEKDAYS.index(day) + 1 for day in days})


class LocationRegistrationRequested(Command):
    """A place that holds stock. console -> routing. Registering the same code again replaces its data.

    ``partner`` is the code of the 3PL that works there and reads ``3pl.<code>.commands``. ``order_cutoff`` is the local time (``HH:MM``)
    until which an order leaves the same working day. The place rests on ``holidays`` and on days that are no ``working_days``.
    ``capabilities`` are your own words for what it can do (``bulk``, ``cold``); routing rules ask for them.
    ``fulfillments_per_day`` and ``fulfillments_per_hour`` are how many fulfillment orders it takes, without them as many as come; its
    hours begin at ``work_starts`` (local, ``HH:MM``) and end at the cutoff. What finds a day full leaves on the next one that is not.
    ``services`` and ``carriers`` are those that pick up there, by the names of their rate cards; nothing ever ships from there by another
    one. No carriers named: all of them.
    """

    type: ClassVar[str] = "location.registration_requested.v1"

    location: Code
    name: ShortText
    partner: Code
    postal_code: ShortText
    country: Country
    time_zone: ShortText = "America/New_York"
    order_cutoff: LocalTime = "15:00"
    hazmat_certified: bool = False
    active: bool = True
    working_days: WorkingDays = list(WEEKDAYS[:5])
    holidays: Holidays = []
    dock_to_stock_days: DockToStockDays = 0
    capabilities: Annotated[list[Code], Field(max_length=50)] = []
    fulfillments_per_day: Capacity | None = None
    fulfillments_per_hour: Capacity | None = None
    work_starts: LocalTime = "08:00"
    services: Services = list(CARRIER_SERVICES)
    carriers: Annotated[list[ShortText], Field(max_length=50)] = []


class LocationRegistered(Event):
    """A location as routing knows it. routing -> allocation, returns.

    Without a ``time_zone`` nothing is known of its calendar, and goods ship the moment they are expected.
    """

    type: ClassVar[str] = "location.registered.v1"

    location: Code
    name: ShortText
    partner: Code
    hazmat_certified: bool
    active: bool
    time_zone: ShortText | None = None
    order_cutoff: LocalTime = "15:00"
    working_days: WorkingDays = list(WEEKDAYS[:5])
    holidays: Holidays = []
    dock_to_stock_days: DockToStockDays = 0


class LocationRegistrationRejected(Refusal):
    """The location was not registered; ``field`` and ``detail`` say why."""

    type: ClassVar[str] = "location.registration_rejected.v1"

    location: Code
    field: ShortText


class PlannedFulfillment(Part):
    """What one location ships of an order."""

    fulfillment_id: UUID
    location: Code
    lines: Annotated[list[LineUnits], Field(min_length=1)]


class FulfillmentPlanned(Event):
    """Routing has chosen; allocation now ties the units to the locations, all of the plan or none of it. routing -> allocation."""

    type: ClassVar[str] = "fulfillment.planned.v1"

    plan_id: UUID
    order_id: UUID
    order_version: OrderVersion
    fulfillments: Annotated[list[PlannedFulfillment], Field(min_length=1)]


class FulfillmentAssigned(Event):
    """Every unit of the plan is tied to its location. allocation -> routing."""

    type: ClassVar[str] = "fulfillment.assigned.v1"

    plan_id: UUID
    order_id: UUID


class AssignmentShortfall(Part):
    """Where the plan asked for more than could be tied."""

    sku: Sku
    location: Code
    wanted: Units
    assignable: Annotated[int, Field(ge=0)]


class FulfillmentAssignmentRejected(Event):
    """Nothing of the plan was tied. allocation -> routing.

    ``stock_moved``: plan again with the fresh ``assignable``. ``not_reserved``: the order no longer holds those units (cancelled or
    edited meanwhile), drop the plan. ``superseded``: the plan was made for an older order version, drop it.
    """

    type: ClassVar[str] = "fulfillment.assignment_rejected.v1"

    plan_id: UUID
    order_id: UUID
    reason: Literal["stock_moved", "not_reserved", "superseded"]
    shortfalls: list[AssignmentShortfall] = []
    assignable: list[AssignableStock] = []


class PickLine(Part):
    """One line of the pick list."""

    line_id: LineId
    sku: Sku
    title: Text
    quantity: Units


class FulfillmentRequested(PartnerCommand):
    """The pick list. routing -> ``3pl.<code>.commands``. Repeated with a higher ``attempt`` while the 3PL is silent; same id, same work."""

    type: ClassVar[str] = "fulfillment.requested.v1"

    fulfillment_id: UUID
    order_number: ShortText
    location: Code
    carrier: ShortText
    service: ShortText
    service_level: ServiceLevel
    ship_to: Address
    lines: Annotated[list[PickLine], Field(min_length=1)]
    packing_requirements: list[ShortText] = []
    ship_by: Time
    expires_at: Time
    attempt: Annotated[int, Field(ge=1)] = 1


class FulfillmentCancelRequested(PartnerCommand):
    """Please do not ship this. The 3PL answers ``cancel_accepted`` or ``cancel_rejected``; its word decides. routing -> 3PL."""

    type: ClassVar[str] = "fulfillment.cancel_requested.v1"

    fulfillment_id: UUID
    reason: ShortText
    attempt: Annotated[int, Field(ge=1)] = 1


class FulfillmentInterceptRequested(PartnerCommand):
    """You have started on this: please hold the parcel back. routing -> 3PL.

    The 3PL answers ``intercepted`` when it has the parcel and its units are back on the shelf, ``intercept_failed`` when it leaves all the
    same. A parcel that has left already is said by ``shipped``; nothing else need be answered. Repeated with a higher ``attempt`` while the
    3PL is silent.
    """

    type: ClassVar[str] = "fulfillment.intercept_requested.v1"

    fulfillment_id: UUID
    reason: ShortText
    attempt: Annotated[int, Field(ge=1)] = 1


class ThirdPartyAccepted(PartnerMessage):
    """The 3PL has started: the cutoff of blueprint section 5."""

    type: ClassVar[str] = "3pl.accepted.v1"

    fulfillment_id: UUID
    accepted_at: Time


class ThirdPartyRejected(PartnerMessage):
    """The 3PL will not do it. ``out_of_stock`` lists the units it does not have."""

    type: ClassVar[str] = "3pl.rejected.v1"

    fulfillment_id: UUID
    reason: Literal["out_of_stock", "address_undeliverable", "capacity", "other"]
    detail: Text = ""
    missing: list[LineUnits] = []
    rejected_at: Time


class ThirdPartyLabelPrinted(PartnerMessage):
    """The parcel has a label."""

    type: ClassVar[str] = "3pl.label_printed.v1"

    fulfillment_id: UUID
    carrier: ShortText
    tracking_number: ShortText
    printed_at: Time


class ThirdPartyShipped(PartnerMessage):
    """The parcel left. Lists what is in it; units of the pick list that are not listed did not ship.

    ``shipped_at`` that lies more than a day before the request or after now is not believed: the envelope's ``time`` counts instead, or
    when it is heard. So it is with ``delivered_at``.
    """

    type: ClassVar[str] = "3pl.shipped.v1"

    fulfillment_id: UUID
    carrier: ShortText
    tracking_number: ShortText
    lines: Annotated[list[LineUnits], Field(min_length=1)]
    shipped_at: Time
    sequence: FeedSequence | None = None


class ThirdPartyShortPicked(PartnerMessage):
    """Units the picker did not find. The rest goes on."""

    type: ClassVar[str] = "3pl.short_picked.v1"

    fulfillment_id: UUID
    missing: Annotated[list[LineUnits], Field(min_length=1)]
    picked_at: Time


class ThirdPartyCancelAccepted(PartnerMessage):
    """It will not ship."""

    type: ClassVar[str] = "3pl.cancel_accepted.v1"

    fulfillment_id: UUID
    answered_at: Time


class ThirdPartyCancelRejected(PartnerMessage):
    """It will ship all the same."""

    type: ClassVar[str] = "3pl.cancel_rejected.v1"

    fulfillment_id: UUID
    reason: ShortText
    answered_at: Time


class ThirdPartyIntercepted(PartnerMessage):
    """The parcel was held back: it will not leave, and everything that was in it is on the shelf again."""

    type: ClassVar[str] = "3pl.intercepted.v1"

    fulfillment_id: UUID
    intercepted_at: Time


class ThirdPartyInterceptFailed(PartnerMessage):
    """The parcel could not be held back any more: it leaves, or has left."""

    type: ClassVar[str] = "3pl.intercept_failed.v1"

    fulfillment_id: UUID
    reason: ShortText
    answered_at: Time


class ThirdPartyDelivered(PartnerMessage):
    """The carrier has delivered the parcel. A ``delivered_at`` that cannot be is replaced as ``shipped_at`` is."""

    type: ClassVar[str] = "3pl.delivered.v1"

    fulfillment_id: UUID
    delivered_at: Time


class FulfillmentStarted(Event):
    """The 3PL accepted; what it covers can no longer be edited. routing -> portal."""

    type: ClassVar[str] = "fulfillment.started.v1"

    fulfillment_id: UUID
    order_id: UUID
    location: Code
    lines: list[LineUnits]
    started_at: Time


class FulfillmentShipped(Event):
    """Units left a location for the customer. routing -> allocation, sync, returns, portal."""

    type: ClassVar[str] = "fulfillment.shipped.v1"

    fulfillment_id: UUID
    order_id: UUID
    location: Code
    partner: Code
    carrier: ShortText
    tracking_number: ShortText
    lines: Annotated[list[LineUnits], Field(min_length=1)]
    shipping_cost_cents: Cents
    shipped_at: Time
    partner_sequence: FeedSequence | None = None


class FulfillmentDelivered(Event):
    """The parcel arrived. routing -> portal, returns."""

    type: ClassVar[str] = "fulfillment.delivered.v1"

    fulfillment_id: UUID
    order_id: UUID
    delivered_at: Time


class FulfillmentCancelled(Event):
    """Units of a fulfillment that will not ship from there. routing -> allocation, portal.

    ``missing`` units were not found on the shelf: allocation writes them off there. All of ``lines`` (missing ones included) go back to
    unassigned; those that are still covered by stock come back as ``stock.reserved`` (cause ``fulfillment_cancelled``), the rest as
    ``stock.backordered`` (cause ``shortage``). A short pick that came too late names ``lines`` that went back before: they are only written
    off.
    """

    type: ClassVar[str] = "fulfillment.cancelled.v1"

    fulfillment_id: UUID
    order_id: UUID
    location: Code
    cause: Literal["rejected", "short_picked", "cancelled", "expired"]
    lines: Annotated[list[LineUnits], Field(min_length=1)]
    missing: list[LineUnits] = []
    cancelled_at: Time


class FulfillmentInterceptionMoved(Event):
    """How far it is with holding a parcel back whose order was cancelled after the cutoff. routing -> portal.

    ``requested``: its 3PL was asked. ``succeeded``: the parcel was held back, its units are on the shelf and refunded with the
    cancellation. ``failed``: it leaves all the same; once it has, its units may come back under the prepaid return ``return_id``, and are
    refunded when they are scanned. No money moves by this message.
    """

    type: ClassVar[str] = "fulfillment.interception_moved.v1"

    fulfillment_id: UUID
    order_id: UUID
    change_id: UUID
    location: Code
    outcome: Literal["requested", "succeeded", "failed"]
    detail: Text = ""
    return_id: UUID | None = None
    moved_at: Time


class OrderNeedsAttention(Event):
    """Routing cannot go on alone; a person must look. routing -> portal. ``due_at`` is when somebody must have decided."""

    type: ClassVar[str] = "order.needs_attention.v1"

    order_id: UUID
    reason: Literal["no_location_can_ship", "too_many_rejections", "third_party_silent", "unknown_postal_code", "overdue", "held_by_rule"]
    detail: Text
    due_at: Time
