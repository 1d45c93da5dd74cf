"""The rows that rules speak of: pools, shelves, demand, assignments, supplies, and what the ledger notes.

Pools, shelves, demand and assignments are changed in memory by the rules of this package and remember what they were, so that what is saved
is the difference. All quantities are whole units.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from services.allocation.decide.pools import ChannelPool, fenced_units, takeable_units
from shared.contracts.orders import DEFAULT_PRIORITY, Segment

MovementKind = Literal[
    "received",
    "adjusted",
    "returned",
    "written_off",
    "shipped",
    "assigned",
    "unassigned",
    "reserved",
    "released",
    "requeued",
    "damaged",
    "quarantined",
    "held",
    "unheld",
]


class Cause(NamedTuple):
    """Why units moved: the message that told us, and where it stands against counts of the shelf.

    ``sequence`` is the place in the location's feed, where the message has one; ``happened_at`` is when the units moved. ``cause_id``
    is the receipt, adjustment, scan, change or plan.
    """

    event_id: UUID
    happened_at: datetime
    cause_id: UUID | None = None
    sequence: int | None = None


class Movement(NamedTuple):
    """One entry of the ledger. ``quantity`` is signed: what it adds to the balances of its kind.

    ``compensates`` names the auditor's finding that the entry mends.
    """

    kind: MovementKind
    quantity: int
    sku: str
    cause: Cause
    location: str | None = None
    order_id: UUID | None = None
    line_id: str | None = None
    fulfillment_id: UUID | None = None
    compensates: UUID | None = None


class BalancesAfter(NamedTuple):
    """The balances of a shelf that one entry moved, as its transaction leaves them; none where it did not move them.

    ``set_aside`` is what is damaged, or in quality control, by the kind of the entry.
    """

    on_shelf: int | None = None
    assigned: int | None = None
    set_aside: int | None = None


class MissedUnits(NamedTuple):
    """Units that a picker did not find, and when."""

    location: str
    sku: str
    fulfillment_id: UUID
    quantity: int
    happened_at: datetime


class PoolNumbers(NamedTuple):
    """The counters of one pool at one moment."""

    sellable: int
    pending_shortage: int
    reserved: int
    queued: int
    safety: int = 0
    held: int = 0
    fenced: int = 0

    @property
    def free(self) -> int:
        """Units that nobody has and nobody keeps back; below zero while more is reserved than a count still finds."""
        return self.sellable - self.pending_shortage - self.reserved - self.held - self.safety

    @property
    def available(self) -> int:
        """Units that may be promised to the next order of any channel."""
        return self.free - self.fenced

    @property
    def is_scarce(self) -> bool:
        """Whether the queue has a claim to everything that is available, so that nothing is left for a new order."""
        return self.available <= self.queued


class ShelfNumbers(NamedTuple):
    """The balances of one SKU at one location at one moment."""

    on_shelf: int
    assigned: int
    damaged: int = 0
    quality_control: int = 0

    @property
    def pending_shortage(self) -> int:
        """Assigned units that the shelf no longer shows: settled when the 3PL ships, short-picks or counts again."""
        return max(0, self.assigned - max(0, self.on_shelf))

    @property
    def on_hand(self) -> int:
        """Everything physically there, whatever its state (blueprint section 5)."""
        return max(0, self.on_shelf) + self.damaged + self.quality_control


class Preorder(NamedTuple):
    """Whether a SKU is sold before its release at one moment; ``release_at`` is None for ordinary SKUs."""

    release_at: datetime | None
    early_release: bool
    said_at: datetime | None


@dataclass(slots=True)
class Pool:
    """What may be sold of one SKU: the pool row, held under its lock. ``in_kits``: some kit is made of it.

    A SKU with a ``release_at`` is in preorder: what is available of it waits for the release. ``preorder_said_at`` is when the newest word
    about that was said.
    ``safety`` is what is kept back: ``sku_safety`` of the SKU wherever it lies, and what locations keep back. ``held`` units are those of
    open checkout holds. ``channels`` are the rules of channels, oldest first; most SKUs have none.
    """

    sku: str
    sellable: int = 0
    pending_shortage: int = 0
    reserved: int = 0
    queued: int = 0
    safety: int = 0
    version: int = 1
    release_at: datetime | None = None
    early_release: bool = False
    preorder_said_at: datetime | None = None
    held: int = 0
    sku_safety: int = 0
    channels: list[ChannelPool] = field(default_factory=list)
    touched: bool = False
    in_kits: bool = False
    was: PoolNumbers = field(init=False)
    was_preorder: Preorder = field(init=False)
    was_sku_safety: int = field(init=False)
    channels_were: list[ChannelPool] = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.numbers
        self.was_preorder = self.preorder
        self.was_sku_safety = self.sku_safety
        self.channels_were = [replace(rule) for rule in self.channels]

    @property
    def preorder(self) -> Preorder:
        return Preorder(self.release_at, self.early_release, self.preorder_said_at)

    @property
    def numbers(self) -> PoolNumbers:
        return PoolNumbers(
            self.sellable, self.pending_shortage, self.reserved, self.queued, self.safety, self.held, fenced_units(self.channels)
        )

    @property
    def available(self) -> int:
        """Units that may be promised to the next in line, whatever its channel."""
        return self.free - fenced_units(self.channels) if self.channels else self.free

    @property
    def free(self) -> int:
        """Units that nobody has and nobody keeps back."""
        return self.sellable - self.pending_shortage - self.reserved - self.held - self.safety

    @property
    def is_scarce(self) -> bool:
        """Whether nothing of what is available is left for a new order."""
        return self.available <= self.queued

    @property
    def owes_the_queue(self) -> bool:
        """Whether there are units for who waits. A preorder's wait for its release; where channels have rules, who waits may not take what
        is free, else it would be his already."""
        return self.queued > 0 and self.available > 0 and self.release_at is None and not self.channels

    @property
    def was_released(self) -> bool:
        """Whether a preorder has ended in this transaction."""
        return self.was_preorder.release_at is not None and self.release_at is None

    @property
    def ruled(self) -> bool:
        """Whether channels have rules, or had some before."""
        return bool(self.channels or self.channels_were)

    @property
    def keepings_changed(self) -> bool:
        """Whether something beside the shelves, the reservations and the queue is new."""
        new, was = self.numbers, self.was
        return (new.held, new.safety, new.fenced, self.sku_safety, bool(self.channels)) != (
            was.held,
            was.safety,
            was.fenced,
            self.was_sku_safety,
            bool(self.channels_were),
        )

    def takeable(self, channel: str) -> int:
        """Units that may be promised to the next in line of one channel."""
        return takeable_units(self.free, self.channels, channel)

    @property
    def held_shortage(self) -> int:
        """Held units that no shelf has any more: holds give way before reservations do."""
        return min(self.held, max(0, self.reserved + self.held - (self.sellable - self.pending_shortage)))

    @property
    def uncovered(self) -> int:
        """Reserved units that no shelf has any more. Safety stock covers reservations before anybody is queued again."""
        return max(0, self.reserved - (self.sellable - self.pending_shortage))

    @property
    def next_version(self) -> int:
        """The version after this transaction."""
        return self.version + 1 if self.touched else self.version


@dataclass(slots=True)
class Shelf:
    """One SKU at one location.

    ``on_shelf`` is what the messages that have arrived add up to; it is below zero while units left before the message that brought them.
    ``counts`` says whether the pool may sell from here. ``counted_as_of`` and ``counted_watermark`` are the stamp of the newest count.
    ``counted_short`` are assigned units that this count did not find, ``missed`` those that pickers have not found since it.
    ``safety`` is what an operator keeps back here.
    """

    sku: str
    location: str
    counts: bool
    on_shelf: int = 0
    assigned: int = 0
    damaged: int = 0
    quality_control: int = 0
    counted_as_of: datetime | None = None
    counted_watermark: int = 0
    counted_short: int = 0
    missed: int = 0
    is_new: bool = False
    safety: int = 0
    was: ShelfNumbers = field(init=False)
    was_stamp: tuple[datetime | None, int, int, int, bool] = field(init=False)
    was_safety: int = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.numbers
        self.was_stamp = self.stamp
        self.was_safety = self.safety

    @property
    def numbers(self) -> ShelfNumbers:
        return ShelfNumbers(self.on_shelf, self.assigned, self.damaged, self.quality_control)

    @property
    def stamp(self) -> tuple[datetime | None, int, int, int, bool]:
        return self.counted_as_of, self.counted_watermark, self.counted_short, self.missed, self.counts

    @property
    def assignable(self) -> int:
        """Units that a plan may still tie to this location."""
        return max(0, self.on_shelf - self.assigned) if self.counts else 0

    @property
    def sellable(self) -> int:
        """What the shelf gives to the pool. A place that may not sell still honours the units already assigned there."""
        return max(self.on_shelf, self.assigned) if self.counts else self.assigned

    @property
    def changed(self) -> bool:
        """Whether something must be saved."""
        return self.numbers != self.was or self.stamp != self.was_stamp or self.safety != self.was_safety

    @property
    def withheld(self) -> int:
        """Safety units that lie here: an empty shelf keeps nothing back from the others."""
        return min(self.safety, max(0, self.on_shelf)) if self.counts else 0

    @property
    def pending_shortage(self) -> int:
        return self.numbers.pending_shortage

    @property
    def on_hand(self) -> int:
        return self.numbers.on_hand

    @property
    def written_off(self) -> int:
        """Units taken off the shelf because pickers did not find them: what the count had missed before is not missed twice.

        A difference of sums, so that it is the same in whatever order counts, parcels and pickers' reports arrive.
        """
        return max(0, self.missed - max(0, self.counted_short))

    def shows(self, cause: Cause) -> bool:
        """Whether the newest count of this shelf already shows the effect of a movement: by sequence, or by time where it has none."""
        if cause.sequence is not None:
            return cause.sequence <= self.counted_watermark
        return self.counted_as_of is not None and cause.happened_at <= self.counted_as_of


class DemandNumbers(NamedTuple):
    """The states of one demand row's units at one moment."""

    units: int
    queued: int
    reserved: int
    assigned: int
    shipped: int
    cancelled: int


@dataclass(slots=True)
class Demand:
    """Units that one order line asked for at one moment. ``demand_id`` (UUIDv7) is its age; ``hold_all``: the order ships as a whole;
    ``channel``: who sold them."""

    demand_id: UUID
    order_id: UUID
    line_id: str
    sku: str
    units: int
    queued: int = 0
    reserved: int = 0
    assigned: int = 0
    shipped: int = 0
    cancelled: int = 0
    promised_ship_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    hold_all: bool = False
    is_new: bool = False
    channel: str = ""
    was: DemandNumbers = field(init=False)
    was_promised_ship_at: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.numbers
        self.was_promised_ship_at = self.promised_ship_at

    @property
    def numbers(self) -> DemandNumbers:
        return DemandNumbers(self.units, self.queued, self.reserved, self.assigned, self.shipped, self.cancelled)

    @property
    def unassigned(self) -> int:
        """Reserved units that no plan has tied to a location."""
        return self.reserved - self.assigned

    @property
    def place(self) -> tuple[int, UUID]:
        """Where it stands in the queue of its SKU: by priority class, then first come. Kept through shortages."""
        return self.priority, self.demand_id

    @property
    def rank(self) -> tuple[int, UUID]:
        """Where its order stands among all orders: by priority class, then by age. Never changes, and no two orders share one."""
        return self.priority, self.order_id


class AssignmentNumbers(NamedTuple):
    """The states of one assignment's units at one moment."""

    units: int
    open: int
    shipped: int
    recalled: int


@dataclass(slots=True)
class Assignment:
    """Units of one order line tied to one location for one fulfillment. What is neither open nor shipped was taken back.

    ``recalled`` units were taken back by a change of the order itself; the call-off of the fulfillment, which may follow, speaks of them
    first.
    """

    fulfillment_id: UUID
    order_id: UUID
    line_id: str
    sku: str
    location: str
    units: int
    open: int
    shipped: int = 0
    recalled: int = 0
    is_new: bool = False
    was: AssignmentNumbers = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.numbers

    @property
    def numbers(self) -> AssignmentNumbers:
        return AssignmentNumbers(self.units, self.open, self.shipped, self.recalled)


class OrderState(NamedTuple):
    """What allocation knows of an order beside its units. ``cancelled_version`` is the order version under which it was called off."""

    order_version: int
    cancelled_version: int | None = None
    priority: int = DEFAULT_PRIORITY
    hold_all: bool = False
    segment: Segment = "dtc"


class SupplyUnits(NamedTuple):
    """Units of one SKU that are still expected, and when orders ship from them; None while nobody knows."""

    sku: str
    ships_at: datetime | None
    quantity: int


@dataclass(slots=True)
class HeldUnits:
    """Units of one SKU in an open checkout hold: asked for, granted at first, and still held."""

    hold_id: UUID
    channel: str
    sku: str
    opened_at: datetime
    asked: int
    granted: int
    held: int
    was_held: int = field(init=False)

    def __post_init__(self) -> None:
        self.was_held = self.held


class ShelfStock(NamedTuple):
    """Units of one SKU that a plan may still tie to one location."""

    location: str
    assignable: int
