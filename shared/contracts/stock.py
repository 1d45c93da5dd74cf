"""Stock: who has which units, what waits, what each channel may still sell."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from shared.contracts.base import (
    Answer,
    Code,
    Command,
    Event,
    LineId,
    Part,
    PartnerMessage,
    Refusal,
    ShortText,
    Sku,
    Time,
    UnitCount,
    Units,
)
from shared.contracts.orders import OrderVersion

AvailabilityMode = Literal["in_stock", "backorder", "preorder", "sold_out"]


class AssignableAtLocation(Part):
    """Units of one SKU that routing may still assign at one location, as of ``stock_version``."""

    location: Code
    quantity: UnitCount


class AssignableStock(Part):
    """One SKU over all locations, read under lock by the transaction that reserved it."""

    sku: Sku
    stock_version: Annotated[int, Field(ge=0)]
    locations: list[AssignableAtLocation]


class ReservedLine(Part):
    """Units that belong to this order line and to nobody else."""

    reservation_id: UUID
    line_id: LineId
    sku: Sku
    quantity: Units


class StockReserved(Event):
    """Units that routing may plan now. allocation -> routing, portal.

    Each message speaks of units not spoken of before (a new reservation, a restocked backorder, or units that came back from a cancelled
    fulfillment, see ``cause``), so consumers add up. After an edit, ``cause`` is ``edited`` and the message lists *all* unassigned
    reserved units under the new ``order_version``; anything said under an older version is void.
    """

    type: ClassVar[str] = "stock.reserved.v1"

    order_id: UUID
    order_version: OrderVersion
    cause: Literal["placed", "restocked", "fulfillment_cancelled", "edited"]
    lines: list[ReservedLine]
    assignable: list[AssignableStock]
    reserved_at: Time


class BackorderedLine(Part):
    """Units that wait in the demand queue. ``promised_ship_at`` is null while no supply is scheduled."""

    demand_id: UUID
    line_id: LineId
    sku: Sku
    quantity: Units
    demand_kind: Literal["backorder", "preorder"]
    promised_ship_at: Time | None = None


class StockBackordered(Event):
    """Units that could not be reserved and wait for supply. allocation -> routing, portal.

    Two causes take units away that were reserved before: ``shortage`` (no shelf has them any more) and ``yielded`` (an order that ships as
    a whole was still incomplete and gave them to one of higher rank).
    """

    type: ClassVar[str] = "stock.backordered.v1"

    order_id: UUID
    order_version: OrderVersion
    cause: Literal["placed", "shortage", "edited", "yielded"]
    lines: Annotated[list[BackorderedLine], Field(min_length=1)]
    backordered_at: Time


class ReleasedLine(Part):
    """Units that went back to the pool."""

    line_id: LineId
    sku: Sku
    quantity: Units


class StockReservationReleased(Event):
    """Reserved or waiting units that the order no longer needs. allocation -> portal."""

    type: ClassVar[str] = "stock.reservation_released.v1"

    order_id: UUID
    order_version: OrderVersion
    cause: Literal["cancelled", "edited"]
    lines: list[ReleasedLine]
    released_at: Time


class PromiseChange(Part):
    """One waiting line whose expected ship date moved."""

    line_id: LineId
    sku: Sku
    quantity: Units
    old_ship_at: Time | None
    new_ship_at: Time | None


PromiseCause = Literal[
    "supply_scheduled",
    "supply_rescheduled",
    "supply_changed",
    "supply_cancelled",
    "supply_overdue",
    "preorder_opened",
    "preorder_closed",
    "calendar_changed",
    "queue_moved",
]
"""What moved a date. ``queue_moved``: nothing was said about supply, but units ahead in the queue came or went (a cancellation, a shortage,
goods nobody had announced)."""


class StockPromiseChanged(Event):
    """New dates for waiting lines: one message per order and cause. allocation -> portal, sync, routing.

    ``cause_id`` names the supply, the change, or the round in which the dates moved. ``changed_at`` is when the dates were set: of two
    messages about a line the one with the later moment counts, in whatever order they come. Long queues are told some seconds after it.
    """

    type: ClassVar[str] = "stock.promise_changed.v1"

    order_id: UUID
    order_version: OrderVersion
    cause: PromiseCause
    cause_id: UUID
    lines: Annotated[list[PromiseChange], Field(min_length=1)]
    changed_at: Time


class Availability(Part):
    """What may be sold of one SKU now. ``stock_version`` grows with every change, so the newest wins whatever the order of delivery.

    Of a kit: how many can be made of what is available of its components.
    """

    sku: Sku
    pool: Code
    available: UnitCount
    mode: AvailabilityMode
    next_ship_at: Time | None = None
    stock_version: Annotated[int, Field(ge=0)]


class StockAvailabilityChanged(Event):
    """New numbers to sell. allocation -> sync. One message carries all SKUs that one batch changed."""

    type: ClassVar[str] = "stock.availability_changed.v1"

    changes: Annotated[list[Availability], Field(min_length=1, max_length=1_000)]
    changed_at: Time


class StockAdjustmentRequested(Command):
    """An operator sets what is on hand. console -> allocation.

    ``expected_on_hand`` makes it compare-and-set: when the shelf count moved since the operator looked, the adjustment is refused.
    """

    type: ClassVar[str] = "stock.adjustment_requested.v1"

    adjustment_id: UUID
    sku: Sku
    location: Code
    new_on_hand: UnitCount
    expected_on_hand: UnitCount | None = None
    reason: ShortText
    operator: ShortText


class StockAdjusted(Answer):
    """An operator's or a feed's adjustment took effect. allocation -> nobody yet but the console's answer."""

    type: ClassVar[str] = "stock.adjusted.v1"

    adjustment_id: UUID
    sku: Sku
    location: Code
    old_on_hand: UnitCount
    new_on_hand: UnitCount
    adjusted_at: Time


class StockAdjustmentRejected(Refusal):
    """The adjustment was not made; ``detail`` says why and what to do."""

    type: ClassVar[str] = "stock.adjustment_rejected.v1"

    adjustment_id: UUID
    sku: Sku
    location: Code
    reason: Literal["stale_expectation", "unknown_sku", "unknown_location", "kit_has_no_stock"]
    on_hand: UnitCount | None


ShortagePolicy = Literal["newest_first", "lowest_priority_first", "wholesale_first"]
"""Whose reserved units queue again first when a shelf holds less than is reserved."""


class ShortagePolicyRequested(Command):
    """An operator decides whose reserved units queue again first in a shortage. console -> allocation. In force at once, until the next.

    ``newest_first``: who came last. ``lowest_priority_first``: the highest priority number, the newest of it first. ``wholesale_first``:
    wholesale orders, then retail's, then shoppers'; the newest of them first.
    """

    type: ClassVar[str] = "stock.shortage_policy_requested.v1"

    change_id: UUID
    policy: ShortagePolicy
    operator: ShortText


class ShortagePolicySet(Answer):
    """The policy that is in force from now on. allocation -> nobody but the console's answer."""

    type: ClassVar[str] = "stock.shortage_policy_set.v1"

    change_id: UUID
    policy: ShortagePolicy
    set_at: Time


class StockCompensationRequested(Command):
    """An operator agrees to mend what the auditor found in the books. console -> allocation.

    ``expected_found`` is the figure that the operator was shown: when the balance says something else now, nothing is done.
    """

    type: ClassVar[str] = "stock.compensation_requested.v1"

    decision_id: UUID
    finding_id: UUID
    expected_found: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000, strict=True)]
    reason: ShortText
    operator: ShortText


class StockFindingDismissalRequested(Command):
    """An operator decides that a finding stays as it is. It is not shown again unless its figures change. console -> allocation."""

    type: ClassVar[str] = "stock.finding_dismissal_requested.v1"

    decision_id: UUID
    finding_id: UUID
    expected_found: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000, strict=True)]
    reason: ShortText
    operator: ShortText


class StockFindingDecided(Answer):
    """The decision stands. allocation -> the console's answer."""

    type: ClassVar[str] = "stock.finding_decided.v1"

    decision_id: UUID
    finding_id: UUID
    sku: Sku
    status: Literal["applied", "dismissed"]
    decided_at: Time


class StockFindingRefused(Refusal):
    """Nothing was done about the finding; ``detail`` says why and what to do."""

    type: ClassVar[str] = "stock.finding_refused.v1"

    decision_id: UUID
    finding_id: UUID
    reason: Literal["unknown_finding", "already_closed", "vanished", "stale_expectation"]


class SupplyLine(Part):
    """Units of one SKU on an inbound supply or a receipt."""

    sku: Sku
    quantity: Units


class SupplyScheduled(Command):
    """Goods are on the way: a purchase order line set with its expected date. console -> allocation.

    ``expected_at`` is when the goods reach the location's dock; when orders ship from them follows from the location's calendar.
    ``purchase_order`` is the number that people know it by; several supplies may carry the same one.
    """

    type: ClassVar[str] = "supply.scheduled.v1"

    supply_id: UUID
    location: Code
    expected_at: Time
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]
    purchase_order: ShortText | None = None


class SupplyRescheduled(Command):
    """The expected date moved. console -> allocation. ``change_id`` is the cause that customers are told about once."""

    type: ClassVar[str] = "supply.rescheduled.v1"

    supply_id: UUID
    change_id: UUID
    expected_at: Time


class SupplyChange(Part):
    """How many units of one SKU a supply brings in all, received ones included; 0: none."""

    sku: Sku
    quantity: Annotated[int, Field(ge=0, le=1_000_000, strict=True)]


class SupplyChanged(Command):
    """The supplier brings more or fewer units, or another SKU. console -> allocation.

    Lines that are not listed stay as they are. ``change_id`` is the cause that customers are told about once.
    """

    type: ClassVar[str] = "supply.changed.v1"

    supply_id: UUID
    change_id: UUID
    lines: Annotated[list[SupplyChange], Field(min_length=1, max_length=1_000)]


class SupplyRejected(Refusal):
    """Nothing of the command about a supply was done: ``field`` is wrong, ``detail`` says why and what to do."""

    type: ClassVar[str] = "supply.rejected.v1"

    supply_id: UUID
    field: ShortText
    reason: Literal["scheduled_differently", "date_in_the_past", "less_than_received", "cancelled"]


class SupplyReceived(Command):
    """Goods arrived and may be sold. console -> allocation. ``receipt_id`` makes it safe to repeat."""

    type: ClassVar[str] = "supply.received.v1"

    receipt_id: UUID
    supply_id: UUID | None = None
    location: Code
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]


class ReceiptBookedLine(Part):
    """What a receipt brought of one SKU. ``over_received`` units are more than the supply had still to bring; they are on the shelf too."""

    sku: Sku
    quantity: Units
    over_received: UnitCount


class SupplyReceiptBooked(Answer):
    """The goods of a receipt are on the shelf. ``over_received`` is the sum over its lines: above zero somebody should ask the supplier."""

    type: ClassVar[str] = "supply.receipt_booked.v1"

    receipt_id: UUID
    supply_id: UUID | None
    lines: list[ReceiptBookedLine]
    over_received: UnitCount


class SupplyCancelled(Command):
    """Goods will not come, or no more of them: a partly received supply is closed with what has come. console -> allocation."""

    type: ClassVar[str] = "supply.cancelled.v1"

    supply_id: UUID
    change_id: UUID


class StockPreorderOpened(Command):
    """A SKU is sold before its release, or its release date moved. console -> allocation.

    Orders wait for ``release_at`` even when goods are on the shelf; with ``early_release`` they ship as soon as goods are there. What is
    shown as available is capped by supply. Said again with another date it moves the date; the newest word wins. ``change_id`` is the cause
    that customers are told about once.
    """

    type: ClassVar[str] = "stock.preorder_opened.v1"

    change_id: UUID
    sku: Sku
    release_at: Time
    early_release: bool = False


class StockPreorderClosed(Command):
    """A SKU is sold like any other from now on: orders that wait get what is on the shelf. console -> allocation."""

    type: ClassVar[str] = "stock.preorder_closed.v1"

    change_id: UUID
    sku: Sku


class SnapshotLine(Part):
    """Counted units of one SKU at one location.

    ``on_hand`` counts every unit there, also those set aside for our pick lists that have not left. A sender whose number leaves these
    out (a distributor that reports what is free for new orders) says how many of ours it has set aside in ``set_aside``; they are added.
    """

    sku: Sku
    on_hand: UnitCount
    damaged: UnitCount = 0
    quality_control: UnitCount = 0
    set_aside: UnitCount = 0


HIGHEST_SEQUENCE = 10**15


def _a_number_of_a_message(sequence: int) -> int:
    """Refuses what no counter of messages reaches, such as a time in nanoseconds."""
    if sequence > HIGHEST_SEQUENCE:
        raise ValueError(f"must be at most {HIGHEST_SEQUENCE}: it counts messages")
    return sequence


FeedSequence = Annotated[int, Field(ge=1, strict=True), AfterValidator(_a_number_of_a_message)]
"""Counts the stock-moving messages (shipped, adjusted, receipt) of one 3PL location: 1, 2, 3 ... without gaps."""


class ThirdPartyStockSnapshot(PartnerMessage):
    """A count by a 3PL. 3PL -> allocation.

    ``watermark`` is the last ``sequence`` of this location whose effect the count already shows (0: none). With it allocation nets what is
    in flight exactly once: it waits for messages up to the watermark that have not arrived, and takes what it applied beyond the
    watermark on top of the count. Only SKUs listed are touched; SKUs that are not registered are reported and hold up nothing.

    A sender that numbers nothing (a distributor that sends absolute numbers every few minutes) leaves ``watermark`` out. What is in
    flight is then netted by time: ``as_of`` against ``shipped_at``, ``picked_at`` and the envelope's ``time``, all of the sender's clock.
    """

    type: ClassVar[str] = "3pl.stock_snapshot.v1"

    location: Code
    as_of: Time
    watermark: Annotated[int, Field(ge=0, strict=True), AfterValidator(_a_number_of_a_message)] = 0
    lines: Annotated[list[SnapshotLine], Field(min_length=1, max_length=5_000)]


class ThirdPartyStockAdjusted(PartnerMessage):
    """A correction by a 3PL (found, lost, broken): a signed difference. 3PL -> allocation."""

    type: ClassVar[str] = "3pl.stock_adjusted.v1"

    location: Code
    adjustment_id: UUID
    sku: Sku
    quantity_delta: Annotated[int, Field(ge=-1_000_000, le=1_000_000, strict=True)]
    reason: ShortText
    sequence: FeedSequence | None = None


class ThirdPartyReceipt(PartnerMessage):
    """Goods that a 3PL has put on its shelves. 3PL -> allocation."""

    type: ClassVar[str] = "3pl.receipt.v1"

    location: Code
    receipt_id: UUID
    supply_id: UUID | None = None
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]
    sequence: FeedSequence | None = None
