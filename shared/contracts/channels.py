"""Channels: orders coming in, what adapters are answered, products and listings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import (
    Answer,
    Cents,
    Code,
    Command,
    Currency,
    Event,
    LineId,
    Part,
    PartnerCommand,
    PartnerMessage,
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
from shared.contracts.orders import DEFAULT_PRIORITY, Address, Customer, OrderVersion, Priority, Segment, ServiceLevel, SplitPolicy


class ChannelOrderLine(Part):
    """One line as the channel sells it. ``tax_cents`` is for the whole line."""

    external_line_id: LineId
    sku: Sku
    quantity: Units
    unit_price_cents: Cents
    tax_cents: Cents = 0


class Promise(Part):
    """What the customer was told: a service level, or a date."""

    service_level: ServiceLevel = "standard"
    deliver_by: Time | None = None


class ChannelOrderReceived(PartnerMessage):
    """A paid order, as an adapter publishes it. adapter -> sync. (channel, external_id) identifies it for ever.

    ``hold_id`` names the checkout hold whose units become this order's; a hold that is unknown, used or over changes nothing.
    """

    type: ClassVar[str] = "channel.order_received.v1"

    channel: Code
    external_id: ShortText
    paid_at: Time
    currency: Currency
    segment: Segment = "dtc"
    lines: Annotated[list[ChannelOrderLine], Field(min_length=1, max_length=2_000)]
    shipping_paid_cents: Cents = 0
    promise: Promise = Promise()
    ship_to: Address
    customer: Customer
    split_policy: SplitPolicy = "ship_available"
    priority: Priority = DEFAULT_PRIORITY
    hold_id: UUID | None = None


class FieldProblem(Part):
    """One thing wrong with a message: where, what, and the way out."""

    field: ShortText
    problem: Text
    remedy: Text


class ChannelOrderRejected(PartnerCommand):
    """The order was not taken. sync -> ``channel.<code>.commands``. ``event_id`` is the envelope id of what was refused or, where that
    could not be read, its AMQP message id; null if neither is a UUID."""

    type: ClassVar[str] = "channel.order_rejected.v1"

    channel: Code
    external_id: ShortText | None
    event_id: UUID | None
    problems: Annotated[list[FieldProblem], Field(min_length=1, max_length=100)]
    rejected_at: Time


class ChannelLineToCancel(Part):
    """Units of one line that the channel calls off; without ``quantity`` all of it that has not shipped. A kit is one line."""

    external_line_id: LineId
    quantity: Units | None = None


class ChannelCancelRequested(PartnerMessage):
    """A channel calls off an order, or some lines of it. adapter -> sync.

    (channel, external_id, ``cancellation_id``) identifies it for ever, so that it may be sent again; a channel that calls off an order
    line by line gives every time another ``cancellation_id``. A cancellation that comes before its order waits for it. The answer is
    ``channel.cancel_decided``.
    """

    type: ClassVar[str] = "channel.cancel_requested.v1"

    channel: Code
    external_id: ShortText
    cancellation_id: ShortText = "cancellation"
    lines: Annotated[list[ChannelLineToCancel], Field(max_length=500)] = []
    reason: ShortText = "cancelled by the channel"


class ChannelLineUnits(Part):
    """Units of one line as the channel names it; a kit is one line."""

    external_line_id: LineId
    sku: Sku
    quantity: Units


class ChannelLineNotCancelled(Part):
    """Units of a line that the channel called off and that ship all the same, and why."""

    external_line_id: LineId
    quantity: Units
    reason: ShortText
    detail: Text


class ChannelCancelDecided(PartnerCommand):
    """What became of a cancellation that the channel asked for; said once. sync -> ``channel.<code>.commands``.

    ``cancelled`` are the units that will not ship, ``refund_cents`` the money for them (it goes back by a refund of its own);
    ``not_cancelled`` says why the others ship. ``return_ids`` are the prepaid returns of parcels that left all the same. Of an order that
    never came, ``reason`` is ``unknown_order``; of a message that breaks the contract it is ``invalid``, and the same ``cancellation_id``
    may be sent again, corrected.
    """

    type: ClassVar[str] = "channel.cancel_decided.v1"

    channel: Code
    external_id: ShortText
    cancellation_id: ShortText
    outcome: Literal["cancelled", "cancelled_in_part", "refused"]
    reason: ShortText | None = None
    detail: Text = ""
    cancelled: list[ChannelLineUnits] = []
    not_cancelled: list[ChannelLineNotCancelled] = []
    refund_cents: Cents = 0
    return_ids: list[UUID] = []
    decided_at: Time


class ChannelLineChange(Part):
    """One wished change: name ``external_line_id`` to change its quantity (0 removes it; a kit is one line), or ``sku`` with its price to
    add a line. ``tax_cents`` is for the whole added line. What was bought keeps its price: another one for an existing line is refused."""

    external_line_id: LineId | None = None
    sku: Sku | None = None
    quantity: UnitCount
    unit_price_cents: Cents | None = None
    tax_cents: Cents = 0


class ChannelEditRequested(PartnerMessage):
    """A channel changes an order: what operators may change, until the warehouse starts. adapter -> sync.

    (channel, external_id, ``edit_id``) identifies it for ever, so that it may be sent again. ``expected_order_version`` is that of the
    newest ``channel.order_changed`` (1 before there was any); an edit on another version is refused. The answer is
    ``channel.edit_decided``; an edit that costs more may ask for its money first (``channel.payment_requested``).
    """

    type: ClassVar[str] = "channel.edit_requested.v1"

    channel: Code
    external_id: ShortText
    edit_id: ShortText
    expected_order_version: OrderVersion | None = None
    ship_to: Address | None = None
    line_changes: Annotated[list[ChannelLineChange], Field(max_length=500)] = []
    service_level: ServiceLevel | None = None
    split_policy: SplitPolicy | None = None


class ChannelEditDecided(PartnerCommand):
    """What became of an edit that the channel asked for. sync -> ``channel.<code>.commands``.

    How the order then stands is told by ``channel.order_changed``. ``reason`` is routing's (``fulfillment_started``, ``stale_version``,
    ``payment_required``, ..), or ``invalid`` for what could not be passed on; then the same ``edit_id`` may be sent again, corrected.
    """

    type: ClassVar[str] = "channel.edit_decided.v1"

    channel: Code
    external_id: ShortText
    edit_id: ShortText
    outcome: Literal["made", "refused"]
    reason: ShortText | None = None
    detail: Text = ""
    order_version: OrderVersion | None = None
    money_delta_cents: SignedCents = 0
    decided_at: Time


class ChannelOrderChanged(PartnerCommand):
    """An order of the channel as it stands after a change, whoever asked for it. sync -> ``channel.<code>.commands``.

    ``edited``: ``lines`` is the whole order; the channel keeps the newest ``order_version`` and ignores older ones. ``cancelled``: nothing
    more ships, ``cancelled`` are the units that will not. Lines that were added have ids that begin with ``added-``. ``money_delta_cents``
    is the new total minus the old one, of which ``shipping_delta_cents`` is for another ``service_level``; money that goes back does so by
    a refund of its own.
    """

    type: ClassVar[str] = "channel.order_changed.v1"

    channel: Code
    external_id: ShortText
    order_version: OrderVersion
    change_id: UUID
    status: Literal["edited", "cancelled"]
    lines: list[ChannelLineUnits] = []
    cancelled: list[ChannelLineUnits] = []
    money_delta_cents: SignedCents
    shipping_delta_cents: SignedCents = 0
    service_level: ServiceLevel | None = None
    changed_at: Time


class ChannelPaymentRequested(PartnerCommand):
    """Collect this amount of the customer: an edit of the order costs more than was paid. sync -> ``channel.<code>.commands``.

    Answer with ``channel.payment_collected`` or ``channel.payment_refused``; after ``due_at`` the edit is dropped, and what is paid all the
    same goes back by a refund.
    """

    type: ClassVar[str] = "channel.payment_requested.v1"

    channel: Code
    external_id: ShortText
    payment_id: UUID
    change_id: UUID
    amount_cents: Cents
    currency: Currency
    due_at: Time


class ChannelPaymentVoided(PartnerCommand):
    """Do not collect this payment any more. sync -> ``channel.<code>.commands``."""

    type: ClassVar[str] = "channel.payment_voided.v1"

    channel: Code
    external_id: ShortText
    payment_id: UUID
    reason: ShortText
    voided_at: Time


class ChannelPaymentCollected(PartnerMessage):
    """The customer has paid what an edit costs more, all of it. adapter -> sync."""

    type: ClassVar[str] = "channel.payment_collected.v1"

    channel: Code
    payment_id: UUID
    amount_cents: Cents
    currency: Currency
    provider_reference: ShortText
    collected_at: Time


class ChannelPaymentRefused(PartnerMessage):
    """The customer does not pay, or cannot. adapter -> sync."""

    type: ClassVar[str] = "channel.payment_refused.v1"

    channel: Code
    payment_id: UUID
    detail: Text = ""


class KitComponent(Part):
    """How many units of an ordinary product one kit is made of."""

    sku: Sku
    quantity: Units


class Product(Part):
    """A product as the merchant keeps it.

    With ``components`` it is a kit: it has no stock of its own, its weight, its volume and whether it is hazardous follow from its
    components, and an order for it becomes an order for them. Whether a SKU is a kit is settled by its first registration; a new
    composition holds for orders from then on. The volume is one number, because volumes add up where lengths do not, and carriers bill
    nothing else of the size; a channel that knows three lengths gives their product.
    """

    sku: Sku
    title: Text
    unit_price_cents: Cents
    unit_weight_grams: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 500
    unit_volume_cubic_centimetres: Volume = 0
    hazmat: bool = False
    components: Annotated[list[KitComponent], Field(max_length=100)] = []


class ProductRegistrationRequested(Command):
    """Products to sell. console -> sync. Registering a SKU again replaces its data."""

    type: ClassVar[str] = "product.registration_requested.v1"

    products: Annotated[list[Product], Field(min_length=1, max_length=1_000)]


class ProductRegistered(Event):
    """SKUs that exist. sync -> allocation. Of a kit, weight, volume and hazard are those of its components."""

    type: ClassVar[str] = "product.registered.v1"

    products: Annotated[list[Product], Field(min_length=1, max_length=1_000)]


class Listing(Part):
    """Under which name a channel sells a SKU."""

    sku: Sku
    external_listing_id: ShortText


class ListingRegistrationRequested(Command):
    """What one channel sells. console -> sync. From then on the channel is told every new number of these SKUs."""

    type: ClassVar[str] = "listing.registration_requested.v1"

    channel: Code
    listings: Annotated[list[Listing], Field(min_length=1, max_length=1_000)]


class ListingRegistered(Answer):
    """The listings stand. sync -> the console's answer."""

    type: ClassVar[str] = "listing.registered.v1"

    channel: Code
    listings: list[Listing]
    registered_at: Time


class ListingRegistrationRejected(Refusal):
    """The listings were not taken."""

    type: ClassVar[str] = "listing.registration_rejected.v1"

    channel: Code
    problems: list[FieldProblem]
