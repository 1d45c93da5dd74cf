"""Orders: what was bought, what changed, what was called off."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import (
    Cents,
    Code,
    Command,
    Country,
    Currency,
    Event,
    LineId,
    Part,
    Refusal,
    ShortText,
    SignedCents,
    Sku,
    Text,
    Time,
    UnitCount,
    Units,
    Volume,
)

Segment = Literal["dtc", "wholesale", "retail"]
SplitPolicy = Literal["ship_available", "hold_all"]
ServiceLevel = Literal["standard", "two_day", "next_day"]
OrderVersion = Annotated[int, Field(ge=1, strict=True)]

Priority = Annotated[int, Field(ge=1, le=9, strict=True)]
"""An order's class in the queues of scarce SKUs: lower is served first, within a class who came first."""

DEFAULT_PRIORITY = 5
"""Of every segment, unless the sender says otherwise: first come, first served is the only order in which nobody waits for ever."""


class Address(Part):
    """Where a parcel goes. Personal data: never logged, never in routing keys."""

    name: ShortText
    line1: ShortText
    line2: Text | None = None
    city: ShortText
    region: Text | None = None
    postal_code: ShortText
    country: Country
    phone: Text | None = None


class Customer(Part):
    """Whom to tell. Personal data."""

    email: Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
    name: Text | None = None
    locale: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] = "en-US"


class Actor(Part):
    """Who asks for a change: a shopper in the portal, support in the console, or the channel."""

    kind: Literal["shopper", "support", "channel", "system"]
    name: ShortText


class KitPart(Part):
    """What a line is of the kit that it was bought in.

    Every line of a kit has the same ``line_id`` (what the channel calls the kit's line), ``sku``, ``title`` and ``quantity``;
    ``units_per_kit`` are this line's units in one kit, so that the line's own quantity is always ``quantity * units_per_kit``. The
    composition is that of the moment at which the kit was bought, for ever.
    """

    line_id: LineId
    sku: Sku
    title: Text
    quantity: Units
    units_per_kit: Units


class OrderLine(Part):
    """One line of the canonical order. ``tax_cents`` is for the whole line, ``unit_price_cents`` for one unit without tax.

    A kit comes as the lines of its components, each with ``kit``: their prices and taxes add up to the kit's, to the cent.
    """

    line_id: LineId
    sku: Sku
    title: Text
    quantity: Units
    unit_price_cents: Cents
    tax_cents: Cents = 0
    unit_weight_grams: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    unit_volume_cubic_centimetres: Volume = 0
    hazmat: bool = False
    kit: KitPart | None = None


class LineUnits(Part):
    """Some units of one order line."""

    line_id: LineId
    sku: Sku
    quantity: Units


class OrderPlaced(Event):
    """A paid, valid, new order. sync -> allocation, routing, returns, portal. ``order_version`` starts at 1.

    ``hold_id`` names the checkout hold whose units become this order's.
    """

    type: ClassVar[str] = "order.placed.v1"

    order_id: UUID
    order_version: OrderVersion = 1
    channel: Code
    external_id: ShortText
    placed_at: Time
    currency: Currency
    segment: Segment
    lines: Annotated[list[OrderLine], Field(min_length=1, max_length=2_000)]
    shipping_paid_cents: Cents = 0
    service_level: ServiceLevel = "standard"
    deliver_by: Time | None = None
    ship_to: Address
    customer: Customer
    split_policy: SplitPolicy = "ship_available"
    priority: Priority = DEFAULT_PRIORITY
    hold_id: UUID | None = None


class ComponentProduct(Part):
    """A component of a kit with what the product master knows of it; ``quantity`` is per kit."""

    sku: Sku
    title: Text
    quantity: Units
    unit_price_cents: Cents
    unit_weight_grams: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    unit_volume_cubic_centimetres: Volume = 0
    hazmat: bool = False


class LineChange(Part):
    """One wished change: name ``line_id`` to change its quantity (0 removes it), or ``sku`` without ``line_id`` to add a line.

    A line that is added carries what the product master knows of it (the console and the portal fill it in); a kit that is added carries
    its ``components``. A kit that was bought is changed as a whole: name the line id of the kit, ``quantity`` counts kits. What was bought
    keeps its price: with ``line_id``, another ``unit_price_cents`` or ``tax_cents`` than the line then has is refused.
    """

    line_id: LineId | None = None
    sku: Sku | None = None
    quantity: UnitCount
    title: Text | None = None
    unit_price_cents: Cents | None = None
    tax_cents: Cents | None = None
    unit_weight_grams: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    unit_volume_cubic_centimetres: Volume = 0
    hazmat: bool = False
    components: Annotated[list[ComponentProduct], Field(max_length=100)] = []


class OrderEditRequested(Command):
    """A change asked for before the cutoff. portal, channel -> routing. ``change_id`` makes the request safe to repeat.

    Another ``service_level`` counts from when it is asked for, and a date that the customer was told before is void with it. What shipping
    then costs the customer (``shipping_paid_cents``) is set by routing from the merchant's prices; who asks leaves it out, and what is said
    there is not listened to.
    """

    type: ClassVar[str] = "order.edit_requested.v1"

    order_id: UUID
    change_id: UUID
    actor: Actor
    expected_order_version: OrderVersion | None = None
    ship_to: Address | None = None
    line_changes: Annotated[list[LineChange], Field(max_length=500)] = []
    service_level: ServiceLevel | None = None
    split_policy: SplitPolicy | None = None
    shipping_paid_cents: Cents | None = None


class LineToCancel(Part):
    """Units of one line to call off; without ``quantity`` all of it that has not shipped. A kit that was bought is named by the line id of
    the kit, and ``quantity`` counts kits."""

    line_id: LineId
    quantity: Units | None = None


class OrderCancelRequested(Command):
    """A cancellation of everything that has not shipped, or of the ``lines`` that it names. portal, sync (for a channel) -> routing.

    A cancellation of some lines is answered by ``order.edited`` with the order as it stands without them; one that names all that has not
    shipped is a cancellation of the order.
    """

    type: ClassVar[str] = "order.cancel_requested.v1"

    order_id: UUID
    change_id: UUID
    actor: Actor
    expected_order_version: OrderVersion | None = None
    reason: ShortText
    lines: Annotated[list[LineToCancel], Field(max_length=500)] = []


ChangeRefusal = Literal[
    "fulfillment_started",
    "already_cancelled",
    "already_shipped",
    "stale_version",
    "change_in_progress",
    "payment_required",
    "nothing_to_change",
    "empties_order",
    "unknown_line",
    "invalid",
]


class LineNotCancelled(Part):
    """Units of a line that a cancellation named and that ship all the same; of a kit it is the line id of the kit, counted in kits."""

    line_id: LineId
    sku: Sku
    quantity: Units
    reason: ChangeRefusal
    detail: Text


class OrderEdited(Event):
    """The order as it stands after a change. routing -> all.

    ``lines`` is the whole order, so consumers apply the newest ``order_version`` and ignore older ones. ``withdrawn_fulfillment_ids`` are
    plans that no longer hold: their units go back to unassigned. ``money_delta_cents`` is new total minus old total.

    ``service_level``, ``split_policy`` and ``deliver_by`` are the order's too; without ``service_level`` (messages from before it was told)
    all three are as they were. ``shipping_delta_cents`` is the part of ``money_delta_cents`` that another service level costs more or less;
    ``shipping_captured_cents`` is what was paid for shipping in all, with what edits gave back of it.

    After a cancellation of some lines ``cancelled`` are the units that will not ship, ``not_cancelled`` those that could not be stopped any
    more, and ``return_ids`` the prepaid returns of parcels that left all the same.
    """

    type: ClassVar[str] = "order.edited.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor
    lines: Annotated[list[OrderLine], Field(min_length=1, max_length=2_000)]
    ship_to: Address
    withdrawn_fulfillment_ids: list[UUID] = []
    money_delta_cents: SignedCents
    cancelled: list[LineUnits] = []
    not_cancelled: list[LineNotCancelled] = []
    return_ids: list[UUID] = []
    service_level: ServiceLevel | None = None
    split_policy: SplitPolicy | None = None
    deliver_by: Time | None = None
    shipping_delta_cents: SignedCents = 0
    shipping_captured_cents: Cents | None = None
    edited_at: Time


class OrderEditRejected(Event):
    """A change that may not be made any more, or never could. routing -> portal, sync. ``unpaid`` says of one that waited for its money
    (``order.payment_requested``) why it is dropped: the order, or some units of it, were cancelled, it was not paid in time, or the
    payment was refused."""

    type: ClassVar[str] = "order.edit_rejected.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor | None = None
    """Who asked; so that nobody's wish is told as somebody else's."""
    reason: ChangeRefusal
    detail: Text
    unpaid: Literal["cancelled", "cancelled_in_part", "lapsed", "refused"] | None = None


class OrderChangePending(Event):
    """A change that waits for a 3PL's word: the fulfillment was already handed over but not yet accepted. routing -> portal."""

    type: ClassVar[str] = "order.change_pending.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor | None = None
    """Who asked."""
    change: Literal["cancel", "edit"]
    answer_due_at: Time


class OrderPaymentRequested(Event):
    """An edit costs more than was paid: it waits until this amount is paid, at the latest until ``due_at``. routing -> sync (which asks the
    channel), portal. ``payment_id`` follows from order and change, so that one edit is paid once."""

    type: ClassVar[str] = "order.payment_requested.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor
    payment_id: UUID
    amount_cents: Cents
    currency: Currency
    due_at: Time


class OrderPaymentVoided(Event):
    """What was asked for is not wanted any more: the order or a part of it was cancelled meanwhile, or the time is over. routing -> sync.
    Whatever is paid all the same goes back."""

    type: ClassVar[str] = "order.payment_voided.v1"

    order_id: UUID
    change_id: UUID
    payment_id: UUID
    reason: Literal["cancelled", "lapsed"]
    voided_at: Time


class PaymentCollected(Event):
    """The channel has the money for an edit. sync -> routing (which makes the edit, or gives the money back), returns. Said once per
    payment, also when it comes too late."""

    type: ClassVar[str] = "payment.collected.v1"

    payment_id: UUID
    order_id: UUID
    change_id: UUID
    amount_cents: Cents
    currency: Currency
    provider_reference: ShortText
    collected_at: Time


class PaymentRefused(Event):
    """The customer does not pay for an edit. sync -> routing."""

    type: ClassVar[str] = "payment.refused.v1"

    payment_id: UUID
    order_id: UUID
    change_id: UUID
    detail: Text
    refused_at: Time


class OrderCancelled(Event):
    """The order ships nothing more. routing -> all. ``lines`` are the units that will not ship, ``refund_cents`` the money for them.

    ``return_ids`` are the prepaid returns of parcels that left all the same and are refunded when they are scanned.
    """

    type: ClassVar[str] = "order.cancelled.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor
    reason: ShortText
    lines: list[LineUnits]
    refund_cents: Cents
    return_ids: list[UUID] = []
    cancelled_at: Time


class OrderCancelRejected(Event):
    """Too late, or nothing to cancel. routing -> portal, sync. ``already_cancelled``: what was asked for has happened before.

    ``return_ids`` are the prepaid returns of parcels that could not be held back any more (``already_shipped``); ``not_cancelled`` says of
    each line that was named why it ships.
    """

    type: ClassVar[str] = "order.cancel_rejected.v1"

    order_id: UUID
    order_version: OrderVersion
    change_id: UUID
    actor: Actor | None = None
    """Who asked; so that nobody's wish is told as somebody else's."""
    reason: ChangeRefusal
    detail: Text
    return_ids: list[UUID] = []
    not_cancelled: list[LineNotCancelled] = []


DelayCause = Literal[
    "supply_scheduled",
    "supply_rescheduled",
    "supply_changed",
    "supply_cancelled",
    "supply_overdue",
    "preorder_opened",
    "preorder_closed",
    "calendar_changed",
    "queue_moved",
    "shortage",
    "yielded",
    "no_date",
]
"""Why a customer hears of a date: what moved it in allocation (``stock.promise_changed``), units that were taken away again
(``stock.backordered``), or the day has come by which the order should have shipped and there is still no date."""


class DelayedLine(Part):
    """Units that wait for supply, and when they are expected to ship; null means that there is no date."""

    line_id: LineId
    sku: Sku
    quantity: Units
    old_ship_at: Time | None
    new_ship_at: Time | None


class OrderDelayed(Event):
    """What a customer is to be told of a new date. routing -> portal. One message per order and cause.

    ``old_ship_at`` and ``new_ship_at`` are of the whole order: the latest date of its waiting lines, null when one of them has none; each
    line that moved is told with its own. ``consent`` says what is asked of the customer:

    - ``not_needed``: nothing, the date is no later than what was agreed to (dates that are pulled in are told too);
    - ``silence``: who says nothing agrees; who does not want to wait answers no until it ships;
    - ``required``: without a yes by ``answer_by`` everything that has not shipped is cancelled and refunded.

    ``delay_id`` names this message's content; ``consent_id`` names the question that an answer must name, null when nothing is asked. A
    question that is asked replaces the one before.

    Source: US FTC Mail, Internet, or Telephone Order Merchandise Rule, 16 CFR 435.2(b).
    """

    type: ClassVar[str] = "order.delayed.v1"

    order_id: UUID
    order_version: OrderVersion
    delay_id: UUID
    cause: DelayCause
    cause_id: UUID
    old_ship_at: Time | None
    new_ship_at: Time | None
    consent: Literal["not_needed", "silence", "required"]
    consent_id: UUID | None = None
    answer_by: Time | None = None
    lines: Annotated[list[DelayedLine], Field(min_length=1)]
    told_at: Time


class OrderDelayAnswered(Command):
    """A customer agrees to wait (``yes``) or does not (``no``). portal -> routing.

    ``consent_id`` names the question; ``answered_at`` is when it was said, so that an answer given in time counts however long its message
    takes.
    """

    type: ClassVar[str] = "order.delay_answered.v1"

    order_id: UUID
    consent_id: UUID
    answer: Literal["yes", "no"]
    actor: Actor
    answered_at: Time


DelayOutcome = Literal["consented", "refused", "lapsed", "not_needed", "replaced"]
"""How a question ends. ``refused`` and ``lapsed`` cancel what has not shipped, as soon as no warehouse works on it. ``not_needed``: the
goods came, the date was pulled back, or the order was changed or cancelled otherwise. ``replaced``: the date moved again and was asked
anew."""


class OrderDelayConsentSettled(Event):
    """A question about a delay is decided. routing -> portal. ``agreed_ship_at`` is what the customer has agreed to by now, null for any
    date at all. Who has agreed may still take it back while units wait: then the same question is settled again, as ``refused``."""

    type: ClassVar[str] = "order.delay_consent_settled.v1"

    order_id: UUID
    order_version: OrderVersion
    consent_id: UUID
    outcome: DelayOutcome
    agreed_ship_at: Time | None
    settled_at: Time


class OrderDelayAnswerRejected(Refusal):
    """An answer that decides nothing; ``detail`` says why and what to do."""

    type: ClassVar[str] = "order.delay_answer_rejected.v1"

    order_id: UUID
    consent_id: UUID
    reason: Literal["unknown_question", "replaced", "too_late", "not_needed", "already_settled", "change_in_progress"]
