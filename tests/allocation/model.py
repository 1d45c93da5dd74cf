"""What allocation must do, told as plainly as it can be: every unit that anybody ordered is an object with one state.

The service keeps counters, works set-wise, in steps and under locks. This model keeps lists, looks at everything after every batch, and has
nobody beside it. It is written from the service's README and the issue, shares no code with the service, and knows only the contracts.
A batch of messages is handled rightly if the service ends where the model ends; batches that ran at once are handled rightly if it ends
where the model ends when it takes them one after the other, in one order or another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.feeds import FeedGapCloseRequested, FeedSettingsRequested
from shared.contracts.fulfillment import (
    WEEKDAYS,
    FulfillmentCancelled,
    FulfillmentPlanned,
    FulfillmentShipped,
    LocationRegistered,
)
from shared.contracts.holds import (
    ChannelHoldReleaseRequested,
    ChannelHoldRequested,
    HoldLine,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.contracts.orders import LineUnits, OrderCancelled, OrderEdited, OrderLine, OrderPlaced
from shared.contracts.returns import ReturnInspected
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested
from shared.contracts.stock import (
    ShortagePolicyRequested,
    SnapshotLine,
    StockAdjustmentRequested,
    StockPreorderClosed,
    StockPreorderOpened,
    SupplyCancelled,
    SupplyChanged,
    SupplyLine,
    SupplyReceived,
    SupplyRescheduled,
    SupplyScheduled,
    ThirdPartyReceipt,
    ThirdPartyStockAdjusted,
    ThirdPartyStockSnapshot,
)
from shared.messaging.message import Received

State = Literal["queued", "reserved", "assigned", "shipped", "cancelled"]
LineKey = tuple[str, str]
"""line id, SKU"""
Batch = Sequence[Received[Any]]
Answer = tuple[object, ...]
Date = datetime | None

DAY = timedelta(days=1)
ANY_DATE: Literal["any date"] = "any date"
"""Where the model does not say when something ships."""
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False, slots=True)
class Order:
    """An order as it is known here."""

    order_id: UUID
    version: int
    priority: int
    hold_all: bool
    segment: str
    channel: str = ""
    cancelled_version: int | None = None

    @property
    def rank(self) -> tuple[int, UUID]:
        """Its class, then its age."""
        return self.priority, self.order_id


@dataclass(eq=False, slots=True)
class Unit:
    """One unit that an order line wants. ``arrival`` is when its place in the queue was taken: units that came together share it."""

    order: Order
    line: LineKey
    arrival: int
    state: State = "queued"

    @property
    def sku(self) -> str:
        return self.line[1]

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the queue."""
        return self.order.priority, self.arrival


@dataclass(slots=True)
class Tie:
    """Units of one order line that a fulfillment has at its location."""

    open: int = 0
    shipped: int = 0
    recalled: int = 0


@dataclass(eq=False, slots=True)
class Fulfillment:
    """What one location is to ship of an order."""

    fulfillment_id: UUID
    order_id: UUID
    location: str
    shipped: bool = False
    ties: dict[LineKey, Tie] = field(default_factory=dict)


class Stamp(NamedTuple):
    """What a count of a shelf shows: messages of the feed up to the watermark, and what happened up to a moment."""

    watermark: int
    as_of: datetime

    def shows(self, at: datetime, sequence: int | None) -> bool:
        """Whether the count saw the effect of something that happened."""
        return at <= self.as_of if sequence is None else sequence <= self.watermark


class Move(NamedTuple):
    """Units came to a shelf or left it."""

    state: Literal["on_shelf", "damaged", "quality_control", "shipped", "missed"]
    units: int
    at: datetime
    sequence: int | None = None


@dataclass(slots=True)
class Shelf:
    """One SKU at one location, and everything that its newest count does not show."""

    on_shelf: int = 0
    damaged: int = 0
    quality_control: int = 0
    stamp: Stamp | None = None
    counted_short: int = 0
    missed: int = 0
    moves: list[Move] = field(default_factory=list)

    @property
    def on_hand(self) -> int:
        return max(0, self.on_shelf) + self.damaged + self.quality_control

    @property
    def written_off(self) -> int:
        return max(0, self.missed - max(0, self.counted_short))

    def shows(self, at: datetime, sequence: int | None) -> bool:
        """Whether the newest count saw it already."""
        return self.stamp is not None and self.stamp.shows(at, sequence)

    def since(self, stamp: Stamp, state: str) -> int:
        """Units that moved in this way and that a count does not show."""
        return sum(move.units for move in self.moves if move.state == state and not stamp.shows(move.at, move.sequence))

    def move(self, move: Move) -> None:
        """Books a movement, unless the newest count shows it."""
        if not self.shows(move.at, move.sequence):
            self.book(move)

    def book(self, move: Move) -> None:
        """Books a movement whatever a count shows."""
        self.moves.append(move)
        if move.state == "damaged":
            self.damaged += move.units
        elif move.state == "quality_control":
            self.quality_control += move.units
        elif move.state == "on_shelf":
            self.on_shelf += move.units

    def explain(self, accounted: int, missed: int) -> None:
        """Assigned units are accounted for, or missed by a picker; what the count had missed already is not written off again."""
        before = self.written_off
        self.counted_short -= accounted
        self.missed += missed
        self.on_shelf += before - self.written_off


@dataclass(slots=True)
class Calendar:
    """When a location works, by the clock of UTC."""

    cutoff: time
    working_days: frozenset[int]
    holidays: frozenset[date]
    dock_to_stock_days: int

    def working_days_from(self, day: date) -> Iterable[date]:
        """Working days from a day on."""
        while True:
            if day.isoweekday() in self.working_days and day not in self.holidays:
                yield day
            day += DAY

    def leaves_at(self, arrival: datetime) -> datetime:
        """The cutoff at which goods leave that arrive at a moment."""
        days = iter(self.working_days_from(arrival.date()))
        day = next(days)
        for _ in range(self.dock_to_stock_days):
            day = next(days)
        leaves = datetime.combine(day, self.cutoff, UTC)
        if not self.dock_to_stock_days and leaves <= arrival:
            leaves = datetime.combine(next(days), self.cutoff, UTC)
        return leaves


@dataclass(slots=True)
class Place:
    """A location and its feed. ``floor``: nothing up to this sequence is waited for."""

    registered_at: datetime
    partner: str
    active: bool
    certified: bool
    calendar: Calendar | None
    floor: int = 0
    arrived: dict[int, datetime] = field(default_factory=dict)
    awaited: dict[int, datetime] = field(default_factory=dict)
    patience: timedelta = timedelta(hours=1)
    newest: Stamp | None = None
    unregistered: dict[str, tuple[Stamp, SnapshotLine]] = field(default_factory=dict)

    def missing(self, up_to: int | None = None) -> list[int]:
        """Sequences that must exist and have not come."""
        last = max([0, *self.arrived, *self.awaited]) if up_to is None else up_to
        return [sequence for sequence in range(self.floor + 1, last + 1) if sequence not in self.arrived]

    def missing_since(self, sequence: int) -> datetime:
        """When something was first heard that comes after a missing message."""
        later = [at for other, at in self.arrived.items() if other > sequence]
        return min(later + [at for watermark, at in self.awaited.items() if watermark >= sequence])

    def settle(self, floor: int) -> None:
        """Nothing up to here is waited for any more."""
        self.floor = max(self.floor, floor)
        self.arrived = {sequence: at for sequence, at in self.arrived.items() if sequence > self.floor}


@dataclass(slots=True)
class ExpectedLine:
    """One SKU of a supply."""

    quantity: int = 0
    received: int = 0
    called_off: int = 0
    changed_at: Date = None

    @property
    def expected(self) -> int:
        return max(0, self.quantity - self.called_off - self.received)


@dataclass(slots=True)
class Supply:
    """Goods on their way."""

    said: SupplyScheduled
    expected_at: datetime
    said_at: Date = None
    overdue: bool = False
    cancelled: bool = False
    lines: dict[str, ExpectedLine] = field(default_factory=dict)

    @property
    def is_expected(self) -> bool:
        return any(line.expected for line in self.lines.values())


@dataclass(slots=True)
class Preorder:
    """A SKU that is sold before its release."""

    release_at: datetime
    early: bool


@dataclass(slots=True)
class HeldLine:
    """What a checkout hold holds of one SKU."""

    asked: int
    granted: int
    held: int
    used: int = 0


@dataclass(slots=True)
class CheckoutHold:
    """Units that a channel keeps for a shopper before the payment."""

    channel: str
    state: Literal["held", "confirmed", "released", "expired"]
    policy: str
    opened_at: datetime
    expires_at: datetime
    closed_at: Date = None
    order_id: UUID | None = None
    lines: dict[str, HeldLine] = field(default_factory=dict)

    def close(self, state: Literal["confirmed", "released", "expired"], at: datetime) -> None:
        """Ends it: it holds nothing any more."""
        self.state, self.closed_at = state, at
        for line in self.lines.values():
            line.held = 0


@dataclass(slots=True)
class Rule:
    """What one channel may take of a SKU."""

    channel: str
    fence: int
    cap: int | None
    share_percent: int | None


class Sellable(NamedTuple):
    """What channels are told of a SKU."""

    available: int
    mode: str
    next_ship_at: Date | Literal["any date"]


@dataclass(slots=True)
class UploadedRow:
    """One row of a file of counts, with what the shelf held when the file was previewed."""

    sku: str
    location: str
    on_hand: int
    held: tuple[int, int, int]


@dataclass(slots=True)
class Upload:
    """A file of counts that is to be applied, in part or as a whole."""

    rows: list[UploadedRow]
    whole: bool


@dataclass
class Judgement:
    """What becomes of a batch: which messages are parked or wait, and what is answered."""

    parked: set[UUID] = field(default_factory=set)
    deferred: set[UUID] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    made: set[UUID] = field(default_factory=set)
    """Changes of supplies that the batch has spoken of already."""


def units_by_line(lines: Iterable[LineUnits | OrderLine]) -> dict[LineKey, int]:
    """Units per line; a line may be named twice."""
    units: dict[LineKey, int] = {}
    for line in lines:
        units[line.line_id, line.sku] = units.get((line.line_id, line.sku), 0) + line.quantity
    return units


def units_by_sku(lines: Iterable[SupplyLine | HoldLine]) -> dict[str, int]:
    """Units per SKU; a SKU may be named twice."""
    units: dict[str, int] = {}
    for line in lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    return units


@dataclass
class Model:
    """The books, as they should be."""

    now: datetime
    products: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    kits: dict[str, tuple[datetime, dict[str, int]]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    shelves: dict[tuple[str, str], Shelf] = field(default_factory=dict)
    orders: dict[UUID, Order] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)
    fulfillments: dict[UUID, Fulfillment] = field(default_factory=dict)
    supplies: dict[UUID, Supply] = field(default_factory=dict)
    preorders: dict[str, Preorder] = field(default_factory=dict)
    preorder_said_at: dict[str, datetime] = field(default_factory=dict)
    holds: dict[UUID, CheckoutHold] = field(default_factory=dict)
    set_apart: dict[tuple[str, str], int] = field(default_factory=dict)
    """Units that a batch of orders has from its holds and has not given to a line yet, by SKU and channel."""
    safety: dict[tuple[str, str | None], int] = field(default_factory=dict)
    """Units kept back of a SKU, at one location or wherever it lies."""
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    """What channels may take, the oldest rule first."""
    policies: dict[UUID, tuple[datetime, str]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    done: dict[object, Any] = field(default_factory=dict)
    arrivals: int = 0
    last_arrival: dict[tuple[UUID, LineKey], int] = field(default_factory=dict)
    surprised: set[UUID] = field(default_factory=set)
    """Orders of which a parcel left with units that no plan had tied to it."""
    came_back: list[Unit] = field(default_factory=list)
    """Units that plans gave back in the newest batch, for routing to plan again."""

    def hear(self, batch: Batch) -> Judgement:
        """One batch of messages of one type."""
        judgement = Judgement()
        self.came_back.clear()
        HEARD[type(batch[0].data)](self, batch, judgement)
        self.settle()
        return judgement

    # Units and shelves

    def shelf(self, sku: str, location: str) -> Shelf:
        return self.shelves.setdefault((sku, location), Shelf())

    def in_state(self, sku: str, *states: State) -> list[Unit]:
        """Units of a SKU in some state, in the order in which they came."""
        return [unit for unit in self.units if unit.sku == sku and unit.state in states]

    def of_line(self, order_id: UUID, line: LineKey, *states: State) -> list[Unit]:
        """Units of an order line, in any of some states, oldest first."""
        found = [unit for unit in self.units if unit.order.order_id == order_id and unit.line == line]
        return [unit for unit in found if not states or unit.state in states]

    def lines_of(self, order_id: UUID) -> list[LineKey]:
        """The lines of an order, in the order in which they came."""
        return list(dict.fromkeys(unit.line for unit in self.units if unit.order.order_id == order_id))

    def ties_of(self, order_id: UUID, line: LineKey) -> list[tuple[Fulfillment, Tie]]:
        """What fulfillments have of an order line, the oldest first."""
        own = sorted((each for each in self.fulfillments.values() if each.order_id == order_id), key=lambda each: each.fulfillment_id)
        return [(each, each.ties[line]) for each in own if line in each.ties]

    def assigned(self, sku: str, location: str) -> int:
        """Units tied to a shelf."""
        return sum(
            tie.open
            for each in self.fulfillments.values()
            if each.location == location
            for (_, own), tie in each.ties.items()
            if own == sku
        )

    def counts(self, sku: str, location: str) -> bool:
        """Whether stock may legally ship from there."""
        place, (_, hazmat) = self.places[location], self.products[sku]
        return place.active and (place.certified or not hazmat)

    def assignable(self, sku: str, location: str) -> int:
        """Units that a plan may still tie to a shelf."""
        if (sku, location) not in self.shelves or not self.counts(sku, location):
            return 0
        return max(0, self.shelves[sku, location].on_shelf - self.assigned(sku, location))

    def covered(self, sku: str) -> int:
        """Units of a SKU that are there for orders; where nothing may be sold, those that were assigned before stay with their orders."""
        total = 0
        for (own, location), shelf in self.shelves.items():
            if own == sku:
                there = max(0, shelf.on_shelf)
                total += there if self.counts(sku, location) else min(there, self.assigned(sku, location))
        return total

    def held(self, sku: str, channel: str | None = None) -> int:
        """Units that checkout holds keep, of one channel or all."""
        open_holds = [hold for hold in self.holds.values() if sku in hold.lines and channel in (None, hold.channel)]
        apart = [units for (own, holder), units in self.set_apart.items() if own == sku and channel in (None, holder)]
        return sum(hold.lines[sku].held for hold in open_holds) + sum(apart)

    def kept_back(self, sku: str) -> int:
        """Safety stock: of the SKU, and of what lies at each location as far as it does."""
        there = {location: max(0, shelf.on_shelf) for (own, location), shelf in self.shelves.items() if own == sku}
        at_locations = [min(self.safety.get((sku, place), 0), units) for place, units in there.items() if self.counts(sku, place)]
        return self.safety.get((sku, None), 0) + sum(at_locations)

    def free(self, sku: str) -> int:
        """Units that nobody has and nobody keeps back; below zero in a shortage."""
        return self.covered(sku) - len(self.in_state(sku, "reserved", "assigned")) - self.held(sku) - self.kept_back(sku)

    def has_open(self, sku: str, channel: str) -> int:
        """Units that a channel has reserved or held, and not shipped."""
        reserved = [unit for unit in self.in_state(sku, "reserved", "assigned") if unit.order.channel == channel]
        return len(reserved) + self.held(sku, channel)

    def waits_for(self, sku: str, channel: str) -> int:
        """Units of a channel's orders that wait."""
        return sum(unit.order.channel == channel for unit in self.in_state(sku, "queued"))

    def fenced(self, sku: str) -> int:
        """Units that the fences of channels still want."""
        return sum(max(0, rule.fence - self.has_open(sku, rule.channel)) for rule in self.rules.get(sku, ()))

    def takeable(self, sku: str, channel: str) -> int:
        """What a new order or hold of a channel may take now.

        Without rules, what nobody waits for. With rules: what is free fills the fences, the oldest first; the channel may take what its own
        got and, of the rest, its share, all within its cap.
        """
        if sku in self.preorders:
            return 0
        left = max(0, self.free(sku))
        if not self.rules.get(sku):
            return max(0, left - len(self.in_state(sku, "queued")))
        own, own_fence = None, 0
        for rule in self.rules[sku]:
            filled = min(left, max(0, rule.fence - self.has_open(sku, rule.channel)))
            left -= filled
            if rule.channel == channel:
                own, own_fence = rule, filled
        if own is None:
            return left
        has = self.has_open(sku, channel)
        if own.share_percent is not None:
            outside = max(0, has - own.fence)
            left = max(0, min(left, own.share_percent * (left + outside) // 100 - outside))
        return own_fence + left if own.cap is None else max(0, min(own_fence + left, own.cap - has))

    def queue(self, sku: str) -> list[Unit]:
        """Who waits for a SKU: by class, then first come."""
        return sorted(self.in_state(sku, "queued"), key=lambda unit: unit.place)

    # The end of every batch

    def settle(self) -> None:
        """Preorders whose time has come end, what is free goes to the queue, what nothing covers is taken from holds, then queues again."""
        for sku in self.products:
            preorder = self.preorders.get(sku)
            if preorder is not None and self.free(sku) > 0 and (preorder.early or self.now >= preorder.release_at):
                del self.preorders[sku]
            if self.free(sku) > 0 and sku not in self.preorders:
                self.share_out(sku)
            for hold in sorted(self.holds, key=lambda hold_id: (self.holds[hold_id].opened_at, hold_id), reverse=True):
                line = self.holds[hold].lines.get(sku)
                if line is not None:
                    line.held -= min(line.held, self.uncovered(sku))
            for unit in self.first_to_lose(sku)[: self.uncovered(sku)]:
                unit.state = "queued"

    def share_out(self, sku: str) -> None:
        """What is free goes to the queue; where channels have rules, each place takes what its channel may and lets the next one pass."""
        if not self.rules.get(sku):
            for unit in self.queue(sku)[: self.free(sku)]:
                unit.state = "reserved"
        else:
            for unit in self.queue(sku):
                if self.takeable(sku, unit.order.channel):
                    unit.state = "reserved"

    def uncovered(self, sku: str) -> int:
        """Reserved and held units that no shelf has any more; safety stock covers them first."""
        return max(0, len(self.in_state(sku, "reserved", "assigned")) + self.held(sku) - self.covered(sku))

    def first_to_lose(self, sku: str) -> list[Unit]:
        """Reserved units in the order in which a shortage takes them: as the policy says, then the newest first."""
        policy = max(self.policies.values())[1] if self.policies else "newest_first"
        segments = ["dtc", "retail", "wholesale"]
        rank: dict[str, Callable[[Unit], int]] = {
            "newest_first": lambda unit: 0,
            "lowest_priority_first": lambda unit: unit.order.priority,
            "wholesale_first": lambda unit: segments.index(unit.order.segment),
        }
        return sorted(self.in_state(sku, "reserved"), key=lambda unit: (rank[policy](unit), unit.arrival), reverse=True)

    def serve_queues(self) -> None:
        """Who waits takes from the incomplete orders of lower rank that hold all, the lowest first."""
        incomplete = {unit.order for unit in self.units if unit.state == "queued" and unit.order.hold_all}
        for sku in sorted(set(self.products) - set(self.preorders)):
            waiting = sorted(self.in_state(sku, "queued"), key=lambda unit: (unit.order.rank, unit.arrival))
            lent = [unit for unit in self.in_state(sku, "reserved") if unit.order in incomplete]
            lent.sort(key=lambda unit: (unit.order.rank, unit.arrival))
            for claimant in waiting:
                if lent and lent[-1].order.rank > claimant.order.rank and self.may_move(sku, lent[-1], claimant):
                    lent.pop().state = "queued"
                    claimant.state = "reserved"
        self.settle()

    def may_move(self, sku: str, giver: Unit, claimant: Unit) -> bool:
        """Whether rules let a unit go from one channel to the other."""
        if not self.rules.get(sku) or giver.order.channel == claimant.order.channel:
            return True
        giver.state = "queued"
        takeable = self.takeable(sku, claimant.order.channel)
        giver.state = "reserved"
        return takeable > 0

    # Orders

    def add_units(self, order: Order, line: LineKey, quantity: int, state: State = "queued", arrival: int | None = None) -> list[Unit]:
        """Wanted units come."""
        if arrival is None:
            self.arrivals += 1
            arrival = self.last_arrival[order.order_id, line] = self.arrivals
        came = [Unit(order, line, arrival, state) for _ in range(quantity)]
        self.units += came
        self.units.sort(key=lambda unit: unit.arrival)
        return came

    def place_orders(self, batch: Batch, judgement: Judgement) -> None:
        new: dict[UUID, OrderPlaced] = {}
        for message in batch:
            told: OrderPlaced = message.data
            stranger = next((line.sku for line in told.lines if line.sku not in self.products), None)
            if stranger is not None:
                (judgement.parked if stranger in self.kits else judgement.deferred).add(message.event_id)
            elif told.order_id not in self.orders:
                new.setdefault(told.order_id, told)
        own = {order_id: self.use_hold(told) for order_id, told in new.items()}
        for told in new.values():
            self.place_order(told, own[told.order_id])
        self.set_apart.clear()

    def use_hold(self, told: OrderPlaced) -> dict[str, int]:
        """The units that an order has from the hold that it names. What the hold has beyond is free: at once, or where channels have rules
        and somebody waits, after the new orders."""
        hold = self.holds.get(told.hold_id) if told.hold_id is not None else None
        if hold is None or hold.state != "held" or hold.channel != told.channel:
            return {}
        own = {}
        for sku, line in hold.lines.items():
            line.used = own[sku] = min(line.held, sum(part.quantity for part in told.lines if part.sku == sku))
            late = self.rules.get(sku) and self.in_state(sku, "queued")
            key = sku, hold.channel
            self.set_apart[key] = self.set_apart.get(key, 0) + (line.held if late else line.used)
        hold.close("confirmed", self.now)
        hold.order_id = told.order_id
        return own

    def place_order(self, told: OrderPlaced, own: dict[str, int]) -> None:
        """Each line gets what its order has from a hold, then what its channel may take; the rest waits."""
        hold_all = told.split_policy == "hold_all"
        order = Order(told.order_id, told.order_version, told.priority, hold_all, told.segment, told.channel)
        self.orders[told.order_id] = order
        for line in told.lines:
            kept = min(line.quantity, own.get(line.sku, 0))
            taken = min(line.quantity - kept, self.takeable(line.sku, told.channel))
            if kept:
                own[line.sku] -= kept
                self.set_apart[line.sku, told.channel] -= kept
            for unit in self.add_units(order, (line.line_id, line.sku), line.quantity)[: kept + taken]:
                unit.state = "reserved"

    def edit_orders(self, batch: Batch, judgement: Judgement) -> None:
        for message in sorted(batch, key=lambda message: message.data.order_version):
            told: OrderEdited = message.data
            stranger = next((line.sku for line in told.lines if line.sku not in self.products), None)
            if told.order_id not in self.orders:
                judgement.deferred.add(message.event_id)
            elif stranger is not None:
                (judgement.parked if stranger in self.kits else judgement.deferred).add(message.event_id)
            else:
                self.edit(self.orders[told.order_id], told)

    def edit(self, order: Order, told: OrderEdited) -> None:
        """Withdrawn plans are untied, lines shrink and grow; the newest version wins."""
        for line in self.lines_of(order.order_id):
            for fulfillment, tie in self.ties_of(order.order_id, line):
                if fulfillment.fulfillment_id in told.withdrawn_fulfillment_ids:
                    freed = self.untie(order.order_id, line, tie, tie.open)
                    if order.cancelled_version is not None:
                        for unit in freed:
                            unit.state = "cancelled"
                    elif told.order_version <= order.version:
                        self.came_back += freed
        if told.order_version <= order.version:
            return
        if order.cancelled_version is not None:
            if told.order_version <= order.cancelled_version:
                self.restate(order, told)
            return
        order.version = told.order_version
        wanted = units_by_line(told.lines)
        for line in self.lines_of(order.order_id):
            surplus = len(self.of_line(order.order_id, line)) - wanted.get(line, 0)
            gone = self.take_back(order.order_id, line, surplus)
            self.units = [unit for unit in self.units if unit not in gone]
        for line, quantity in wanted.items():
            more = quantity - len(self.of_line(order.order_id, line))
            if more > 0:
                self.add_units(order, line, more)

    def restate(self, order: Order, told: OrderEdited) -> None:
        """An edit from before the cancellation that comes after it: only how many units count as cancelled changes."""
        order.version = told.order_version
        wanted = units_by_line(told.lines)
        for line in [*wanted, *(line for line in self.lines_of(order.order_id) if line not in wanted)]:
            known = self.of_line(order.order_id, line)
            more = wanted.get(line, 0) - len(known)
            if more > 0:
                self.add_units(order, line, more, "cancelled", self.last_arrival.get((order.order_id, line)))
            gone = self.of_line(order.order_id, line, "cancelled")[::-1][: max(0, -more)]
            self.units = [unit for unit in self.units if unit not in gone]

    def cancel_orders(self, batch: Batch, judgement: Judgement) -> None:
        for message in sorted(batch, key=lambda message: message.data.order_version):
            told: OrderCancelled = message.data
            order = self.orders.get(told.order_id)
            if order is None:
                judgement.deferred.add(message.event_id)
            elif order.cancelled_version is None:
                order.cancelled_version = told.order_version
                gone = [
                    unit for line, quantity in units_by_line(told.lines).items() for unit in self.take_back(told.order_id, line, quantity)
                ]
                for unit in [*gone, *(unit for unit in self.units if unit.order is order and unit.state in ("queued", "reserved"))]:
                    unit.state = "cancelled"

    def take_back(self, order_id: UUID, line: LineKey, quantity: int) -> list[Unit]:
        """Up to so many open units of a line, which it has no more: what waits, then what is reserved, then what is tied; newest first."""
        open_units = self.of_line(order_id, line, "queued")[::-1] + self.of_line(order_id, line, "reserved")[::-1]
        gone = open_units[: max(0, quantity)]
        for unit in gone:
            unit.state = "cancelled"
        for _, tie in reversed(self.ties_of(order_id, line)):
            recalled = min(max(0, quantity - len(gone)), tie.open)
            tie.recalled += recalled
            freed = self.untie(order_id, line, tie, recalled)
            for unit in freed:
                unit.state = "cancelled"
            gone += freed
        return gone

    # Plans and parcels

    def tie(self, order_id: UUID, line: LineKey, tie: Tie, quantity: int) -> None:
        """Reserved units of a line go to a location, oldest first."""
        for unit in self.of_line(order_id, line, "reserved")[:quantity]:
            unit.state = "assigned"
        tie.open += quantity

    def untie(self, order_id: UUID, line: LineKey, tie: Tie, quantity: int) -> list[Unit]:
        """Units of a line are tied no more, newest first; they stay reserved."""
        freed = self.of_line(order_id, line, "assigned")[::-1][:quantity]
        for unit in freed:
            unit.state = "reserved"
        tie.open -= quantity
        return freed

    def plan(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: FulfillmentPlanned = message.data
            ids = [part.fulfillment_id for part in told.fulfillments]
            order = self.orders.get(told.order_id)
            if ("plan", told.plan_id) in self.done:
                continue
            if len(set(ids)) < len(ids) or not self.fulfillments.keys().isdisjoint(ids):
                judgement.parked.add(message.event_id)
            elif order is not None and order.cancelled_version is None and told.order_version > order.version:
                judgement.deferred.add(message.event_id)
            else:
                outcome = self.judge_plan(order, told)
                self.done["plan", told.plan_id] = outcome
                judgement.answers.append((outcome, told.plan_id))
                for part in told.fulfillments:
                    fulfillment = self.fulfillments[part.fulfillment_id] = Fulfillment(part.fulfillment_id, told.order_id, part.location)
                    for line, quantity in units_by_line(part.lines).items() if outcome == "assigned" else ():
                        self.tie(told.order_id, line, fulfillment.ties.setdefault(line, Tie()), quantity)

    def judge_plan(self, order: Order | None, told: FulfillmentPlanned) -> str:
        """All of a plan or nothing."""
        if order is None or order.cancelled_version is not None:
            return "not_reserved"
        if told.order_version < order.version:
            return "superseded"
        wanted = units_by_line(line for part in told.fulfillments for line in part.lines)
        if any(quantity > len(self.of_line(told.order_id, line, "reserved")) for line, quantity in wanted.items()):
            return "not_reserved"
        there: dict[tuple[str, str], int] = {}
        for part in told.fulfillments:
            for line in part.lines:
                there[line.sku, part.location] = there.get((line.sku, part.location), 0) + line.quantity
        return "stock_moved" if any(quantity > self.assignable(*shelf) for shelf, quantity in there.items()) else "assigned"

    def may_concern(self, message: Received[Any], judgement: Judgement) -> Fulfillment | None:
        """The fulfillment that a message is about; it waits while that is unknown, and is parked when it says something else of it."""
        known = self.fulfillments.get(message.data.fulfillment_id)
        if known is None:
            judgement.deferred.add(message.event_id)
        elif (known.order_id, known.location) != (message.data.order_id, message.data.location):
            judgement.parked.add(message.event_id)
            known = None
        elif message.data.location not in self.places:
            judgement.deferred.add(message.event_id)
            known = None
        return known

    def ship(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: FulfillmentShipped = message.data
            fulfillment = self.may_concern(message, judgement)
            if message.event_id not in judgement.deferred:
                self.note_arrival(told.location, told.partner_sequence)
            if fulfillment is None or fulfillment.shipped:
                continue
            units = units_by_line(told.lines)
            if any(quantity > len(self.of_line(told.order_id, line, "reserved", "assigned")) for line, quantity in units.items()):
                judgement.parked.add(message.event_id)
                continue
            fulfillment.shipped = True
            for line, quantity in units.items():
                self.ship_line(fulfillment, line, quantity, told)

    def ship_line(self, fulfillment: Fulfillment, line: LineKey, quantity: int, told: FulfillmentShipped) -> None:
        """The parcel is a fact: units tied elsewhere meanwhile ship in the place of those that it had."""
        own = fulfillment.ties.setdefault(line, Tie())
        missing = quantity - own.open
        if missing > 0:
            self.surprised.add(told.order_id)
            for _, other in reversed(self.ties_of(told.order_id, line)):
                loose = len(self.of_line(told.order_id, line, "reserved"))
                if other is not own:
                    self.untie(told.order_id, line, other, max(0, min(missing - loose, other.open)))
            self.tie(told.order_id, line, own, missing)
        for unit in self.of_line(told.order_id, line, "assigned")[:quantity]:
            unit.state = "shipped"
            for rule in self.rules.get(line[1], ()):
                if rule.channel == unit.order.channel:
                    rule.fence = max(0, rule.fence - 1)
        own.open -= quantity
        own.shipped += quantity
        shelf = self.shelf(line[1], told.location)
        if shelf.shows(told.shipped_at, told.partner_sequence):
            shelf.explain(quantity, 0)
        else:
            shelf.book(Move("on_shelf", -quantity, told.shipped_at, told.partner_sequence))
            shelf.book(Move("shipped", quantity, told.shipped_at, told.partner_sequence))

    def call_off(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: FulfillmentCancelled = message.data
            fulfillment = self.may_concern(message, judgement)
            key = "call-off", told.fulfillment_id, told.cause, told.cancelled_at
            if fulfillment is None or key in self.done:
                continue
            self.done[key] = True
            missing = units_by_line(told.missing)
            for line, quantity in units_by_line(told.lines).items():
                if line in fulfillment.ties:
                    self.call_off_line(fulfillment, line, quantity, missing.get(line, 0), told.cancelled_at)

    def call_off_line(self, fulfillment: Fulfillment, line: LineKey, quantity: int, missing: int, at: datetime) -> None:
        """Units come back; those that a change of the order recalled are meant first. What was not found is written off, once."""
        tie = fulfillment.ties[line]
        recalled = min(quantity, tie.recalled)
        tie.recalled -= recalled
        taken = min(quantity - recalled, tie.open)
        freed = self.untie(fulfillment.order_id, line, tie, taken)
        shelf = self.shelf(line[1], fulfillment.location)
        missing = min(missing, recalled + taken)
        if missing:
            shelf.book(Move("missed", missing, at))
        if shelf.shows(at, None):
            shelf.explain(recalled + taken, 0)
        else:
            shelf.explain(recalled + taken - missing, missing)
        if self.orders[fulfillment.order_id].cancelled_version is not None:
            self.give_back(fulfillment.order_id, line, freed)
        else:
            self.came_back += freed

    def give_back(self, order_id: UUID, line: LineKey, freed: list[Unit]) -> None:
        """Of a cancelled order: when its cancellation recalled the wrong fulfillment's units, that one ships and gets them again."""
        left = len(freed)
        for _, other in self.ties_of(order_id, line):
            exchanged = min(other.recalled, left)
            other.recalled -= exchanged
            self.tie(order_id, line, other, exchanged)
            left -= exchanged
        for unit in [unit for unit in freed if unit.state == "reserved"]:
            unit.state = "cancelled"

    # Shelves

    def is_at_home(self, message: Received[Any], judgement: Judgement) -> bool:
        """Whether the location is known and the partner's own."""
        place = self.places.get(message.data.location)
        if place is None:
            judgement.deferred.add(message.event_id)
        elif message.partner not in (None, place.partner):
            judgement.parked.add(message.event_id)
        return place is not None and message.partner in (None, place.partner)

    def are_stocked(self, message: Received[Any], skus: Iterable[str], judgement: Judgement) -> bool:
        """Whether all SKUs are registered and no kits."""
        skus = list(skus)
        if any(sku in self.kits for sku in skus):
            judgement.parked.add(message.event_id)
            return False
        if any(sku not in self.products for sku in skus):
            judgement.deferred.add(message.event_id)
            return False
        return True

    def note_arrival(self, location: str, sequence: int | None) -> None:
        """A message of a feed has come."""
        place = self.places.get(location)
        if place is not None and sequence is not None and sequence > place.floor:
            place.arrived.setdefault(sequence, self.now)

    def note_feed(self, batch: Batch, skus: Callable[[Any], Iterable[str]], judgement: Judgement) -> None:
        """A message that waits only for its own product has come all the same."""
        for message in batch:
            waits = message.event_id in judgement.deferred and all(sku in self.products for sku in skus(message.data))
            if message.event_id not in judgement.parked and not waits:
                self.note_arrival(message.data.location, message.data.sequence)

    def inspect_returns(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: ReturnInspected = message.data
            if not self.is_at_home(message, judgement):
                continue
            if not self.are_stocked(message, [line.sku for line in told.dispositions], judgement) or ("scan", told.scan_id) in self.done:
                continue
            self.done["scan", told.scan_id] = True
            for line in told.dispositions:
                if line.disposition == "restocked":
                    self.shelf(line.sku, told.location).move(Move("on_shelf", line.quantity, told.inspected_at))
                elif line.disposition == "damaged":
                    self.shelf(line.sku, told.location).move(Move("damaged", line.quantity, told.inspected_at))

    def receive(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: SupplyReceived | ThirdPartyReceipt = message.data
            if not self.is_at_home(message, judgement):
                continue
            if not self.are_stocked(message, [line.sku for line in told.lines], judgement):
                continue
            if told.supply_id is not None and told.supply_id not in self.supplies:
                judgement.deferred.add(message.event_id)
                continue
            if ("receipt", told.receipt_id) in self.done:
                continue
            self.done["receipt", told.receipt_id] = True
            sequence = told.sequence if isinstance(told, ThirdPartyReceipt) else None
            over = 0
            for sku, quantity in units_by_sku(told.lines).items():
                self.shelf(sku, told.location).move(Move("on_shelf", quantity, message.time or self.now, sequence))
                if told.supply_id is not None:
                    line = self.supplies[told.supply_id].lines.setdefault(sku, ExpectedLine())
                    over += max(0, quantity - line.expected)
                    line.received += quantity
            judgement.answers.append(("booked", told.receipt_id, over))
        if isinstance(batch[0].data, ThirdPartyReceipt):
            self.note_feed(batch, lambda told: [line.sku for line in told.lines], judgement)

    def correct(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: ThirdPartyStockAdjusted = message.data
            if not self.is_at_home(message, judgement) or not self.are_stocked(message, [told.sku], judgement):
                continue
            if ("adjustment", told.adjustment_id) not in self.done:
                self.done["adjustment", told.adjustment_id] = True
                move = Move("on_shelf", told.quantity_delta, message.time or self.now, told.sequence)
                self.shelf(told.sku, told.location).move(move)
        self.note_feed(batch, lambda told: [told.sku], judgement)

    def adjust(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: StockAdjustmentRequested = message.data
            key = "adjustment", told.adjustment_id
            if key not in self.done:
                answer = self.adjust_shelf(told)
                if answer[0] == "adjusted":
                    self.done[key] = answer
            else:
                answer = self.done[key]
            judgement.answers.append(answer)

    def adjust_shelf(self, told: StockAdjustmentRequested) -> Answer:
        """Compare and set."""
        if told.sku in self.kits:
            return "kit_has_no_stock", told.adjustment_id, None
        if told.sku not in self.products:
            return "unknown_sku", told.adjustment_id, None
        if told.location not in self.places:
            return "unknown_location", told.adjustment_id, None
        shelf = self.shelf(told.sku, told.location)
        before = shelf.on_hand
        if told.expected_on_hand not in (None, before):
            return "stale_expectation", told.adjustment_id, before
        self.set_on_hand(shelf, told.new_on_hand)
        return "adjusted", told.adjustment_id, before, shelf.on_hand

    def set_on_hand(self, shelf: Shelf, on_hand: int) -> None:
        """The difference is sellable units, then those in quality control, then damaged ones."""
        left = on_hand
        for state in ("damaged", "quality_control"):
            kept = min(left, getattr(shelf, state))
            shelf.book(Move(state, kept - getattr(shelf, state), self.now))
            left -= kept
        shelf.book(Move("on_shelf", left - shelf.on_shelf, self.now))

    def apply_uploads(self) -> None:
        """The oldest file of counts that an operator wants applied: each shelf only while it holds what the preview showed."""
        if self.uploads:
            upload = self.uploads.pop(0)
            shelves = [(row, self.shelf(row.sku, row.location)) for row in upload.rows]
            unmoved = [(row, shelf) for row, shelf in shelves if (shelf.on_hand, shelf.damaged, shelf.quality_control) == row.held]
            if len(unmoved) == len(shelves) or not upload.whole:
                for row, shelf in unmoved:
                    self.set_on_hand(shelf, row.on_hand)
        self.settle()

    # Counts and feeds

    def count(self, batch: Batch, judgement: Judgement) -> None:
        sound = [message for message in batch if self.is_at_home(message, judgement) and self.is_sound(message, judgement)]
        waiting = [message for message in sound if self.places[message.data.location].missing(message.data.watermark)]
        for message in waiting:
            self.places[message.data.location].awaited.setdefault(message.data.watermark, self.now)
        for message in waiting:
            place = self.places[message.data.location]
            place.settle(max([0, *(each for each in place.missing() if self.now - place.missing_since(each) >= place.patience)]))
        ready = []
        for message in sound:
            if self.places[message.data.location].missing(message.data.watermark):
                judgement.deferred.add(message.event_id)
            else:
                ready.append(message)
        for message in sorted(ready, key=lambda message: (message.data.watermark, message.data.as_of)):
            told: ThirdPartyStockSnapshot = message.data
            stamp = Stamp(told.watermark, told.as_of)
            self.count_lines(told.location, stamp, told.lines)
            self.places[told.location].settle(told.watermark)

    def is_sound(self, message: Received[Any], judgement: Judgement) -> bool:
        """Whether a count can be true."""
        told: ThirdPartyStockSnapshot = message.data
        newest = self.places[told.location].newest
        skus = [line.sku for line in told.lines]
        sound = (
            all(line.damaged + line.quality_control <= line.on_hand for line in told.lines)
            and told.as_of <= self.now + timedelta(hours=1)
            and len(skus) == len(set(skus))
            and (newest is None or told.watermark >= newest.watermark or told.as_of <= newest.as_of)
        )
        if not sound:
            judgement.parked.add(message.event_id)
        return sound

    def count_lines(self, location: str, stamp: Stamp, lines: Iterable[SnapshotLine]) -> None:
        """A count is applied to the shelves that it lists; what is not registered is remembered."""
        place = self.places[location]
        for line in lines:
            if line.sku in self.products:
                self.count_shelf(line.sku, location, stamp, line)
            elif line.sku not in place.unregistered or stamp >= place.unregistered[line.sku][0]:
                place.unregistered[line.sku] = stamp, line
        place.newest = stamp if place.newest is None else max(place.newest, stamp)

    def count_shelf(self, sku: str, location: str, stamp: Stamp, line: SnapshotLine) -> None:
        """The count, and what has moved that it does not show; an older count than the newest tells nothing."""
        shelf = self.shelf(sku, location)
        if shelf.stamp is not None and stamp <= shelf.stamp:
            return
        counted = line.on_hand + line.set_aside - line.damaged - line.quality_control
        moved_on = counted + shelf.since(stamp, "on_shelf")
        claimed = self.assigned(sku, location) + shelf.since(stamp, "shipped") + shelf.since(stamp, "missed")
        shelf.stamp = stamp
        shelf.missed = shelf.since(stamp, "missed")
        shelf.counted_short = claimed - max(counted, moved_on)
        shelf.on_shelf = moved_on - shelf.written_off
        shelf.damaged = max(0, line.damaged + shelf.since(stamp, "damaged"))
        shelf.quality_control = max(0, line.quality_control + shelf.since(stamp, "quality_control"))

    def apply_remembered_counts(self) -> None:
        """Products that were counted before they were registered get their count."""
        for location, place in self.places.items():
            known = [(stamp, line) for sku, (stamp, line) in place.unregistered.items() if sku in self.products]
            for stamp, line in sorted(known, key=lambda entry: entry[0]):
                del place.unregistered[line.sku]
                self.count_lines(location, stamp, [line])
        self.settle()

    def settle_sequences(self) -> None:
        """What has come without a gap is not remembered one by one."""
        for place in self.places.values():
            floor = place.floor
            while floor + 1 in place.arrived:
                floor += 1
            place.settle(floor)
            place.awaited = {watermark: since for watermark, since in place.awaited.items() if watermark > place.floor}

    def set_feed(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: FeedSettingsRequested = message.data
            place = self.places.get(told.location)
            if place is None:
                judgement.answers.append(("unknown_location", told.decision_id))
            else:
                place.patience = timedelta(seconds=3600 if told.patience_seconds is None else told.patience_seconds)
                judgement.answers.append(("set", told.decision_id, int(place.patience.total_seconds())))

    def close_gaps(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: FeedGapCloseRequested = message.data
            place = self.places.get(told.location)
            if place is None:
                judgement.answers.append(("unknown_location", told.decision_id))
                continue
            given_up = [sequence for sequence in place.missing() if sequence <= told.up_to_sequence]
            place.settle(max([0, *given_up]))
            judgement.answers.append(("closed", told.decision_id, tuple(given_up)) if given_up else ("nothing_missing", told.decision_id))

    # What is kept: holds, safety stock, channel pools

    def hold_units(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: StockHoldRequested | ChannelHoldRequested = message.data
            refusal = self.hold_refusal(message)
            if refusal is not None:
                judgement.answers.append((refusal, told.hold_id))
                continue
            until = self.now + timedelta(seconds=told.ttl_seconds)
            hold = self.holds.get(told.hold_id)
            if hold is None:
                hold = CheckoutHold(told.channel, "held", told.policy, self.now, until, lines=self.grant(told))
                if hold.lines:
                    self.holds[told.hold_id] = hold
            hold.expires_at = max(hold.expires_at, until)
            judgement.answers.append(self.hold_answer(told, hold))

    def hold_refusal(self, message: Received[Any]) -> str | None:
        """Why a channel cannot have a hold."""
        told: StockHoldRequested | ChannelHoldRequested = message.data
        hold = self.holds.get(told.hold_id)
        if message.partner not in (None, told.channel) or (hold is not None and hold.channel != told.channel):
            return "foreign_channel"
        stranger = next((line.sku for line in told.lines if line.sku not in self.products), None)
        if stranger is not None:
            return "kit" if stranger in self.kits else "unknown_sku"
        if hold is None:
            return None
        if hold.state != "held":
            return hold.state
        same = {sku: line.asked for sku, line in hold.lines.items()} == units_by_sku(told.lines) and hold.policy == told.policy
        return None if same else "different_content"

    def grant(self, told: StockHoldRequested | ChannelHoldRequested) -> dict[str, HeldLine]:
        """All of it or nothing if that is wanted, else what there is; nothing at all is no hold."""
        asked = units_by_sku(told.lines)
        granted = {sku: min(units, self.takeable(sku, told.channel)) for sku, units in asked.items()}
        if not any(granted.values()) or (told.policy == "all_or_nothing" and granted != asked):
            return {}
        return {sku: HeldLine(units, granted[sku], granted[sku]) for sku, units in asked.items()}

    def hold_answer(self, told: StockHoldRequested | ChannelHoldRequested, hold: CheckoutHold) -> Answer:
        """What is held now, of what was asked."""
        asked = units_by_sku(told.lines)
        held = {sku: hold.lines[sku].held if hold.lines else 0 for sku in asked}
        outcome = "nothing_held" if not any(held.values()) else "held" if held == asked else "partly_held"
        return "hold", told.hold_id, outcome, tuple(sorted(held.items())), hold.expires_at if hold.lines else None

    def release_holds(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: StockHoldReleaseRequested | ChannelHoldReleaseRequested = message.data
            hold = self.holds.get(told.hold_id)
            if message.partner not in (None, told.channel) or (hold is not None and hold.channel != told.channel):
                judgement.answers.append(("foreign_channel", told.hold_id))
                continue
            if hold is None:
                hold = self.holds[told.hold_id] = CheckoutHold(told.channel, "held", "partial", self.now, self.now)
            if hold.state == "confirmed":
                judgement.answers.append(("confirmed", told.hold_id))
                continue
            if hold.state == "held":
                hold.close("released", self.now)
            judgement.answers.append(("hold", told.hold_id, "released", (), None))

    def expire_holds(self) -> None:
        """Holds whose time is up give their units back."""
        for hold in self.holds.values():
            if hold.state == "held" and hold.expires_at <= self.now:
                hold.close("expired", self.now)
        self.settle()

    def forget_closed_holds(self) -> None:
        """After two days nobody asks for them again."""
        self.holds = {
            hold_id: hold for hold_id, hold in self.holds.items() if hold.closed_at is None or hold.closed_at >= self.now - 2 * DAY
        }

    def set_safety(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: StockSafetyRequested = message.data
            key = "rule", told.change_id
            if key not in self.done:
                before = self.safety.get((told.sku, told.location), 0)
                if told.sku not in self.products:
                    judgement.answers.append((self.stockless(told.sku), told.change_id, None))
                    continue
                if told.location not in (None, *self.places):
                    judgement.answers.append(("unknown_location", told.change_id, None))
                    continue
                if told.expected_safety_units not in (None, before):
                    judgement.answers.append(("stale_expectation", told.change_id, before))
                    continue
                self.safety[told.sku, told.location] = told.safety_units
                self.done[key] = ("safety", told.change_id, before, told.safety_units)
            judgement.answers.append(self.done[key])

    def stockless(self, sku: str) -> str:
        """Why there is nothing to make rules about."""
        return "kit_has_no_stock" if sku in self.kits else "unknown_sku"

    def set_rules(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: ChannelPoolRequested = message.data
            key = "rule", told.change_id
            if key not in self.done:
                problem = self.rule_problem(told)
                if problem is not None:
                    judgement.answers.append((problem, told.change_id))
                    continue
                rules = self.rules.setdefault(told.sku, [])
                rule = Rule(told.channel, told.fence_units or 0, told.cap_units, told.share_percent)
                place = next((index for index, known in enumerate(rules) if known.channel == told.channel), len(rules))
                rules[place : place + 1] = [rule] if (rule.fence, rule.cap, rule.share_percent) != (0, None, None) else []
                self.done[key] = ("rule", told.change_id, rule.fence, rule.cap, rule.share_percent)
            judgement.answers.append(self.done[key])

    def rule_problem(self, told: ChannelPoolRequested) -> str | None:
        """Why a rule cannot be. Versions are the service's own numbers; here only whether there is a rule is known."""
        if told.sku not in self.products:
            return self.stockless(told.sku)
        if told.channel == "default" or (told.cap_units is not None and told.cap_units < (told.fence_units or 0)):
            return "invalid"
        known = any(rule.channel == told.channel for rule in self.rules.get(told.sku, ()))
        stale = told.expected_rule_version is not None and (told.expected_rule_version > 0 or known)
        return "stale_expectation" if stale else None

    # Supply, preorders and dates

    def ships_at(self, supply: Supply) -> Date:
        """When orders ship from goods on their way; None while nobody knows."""
        calendar = self.places[supply.said.location].calendar
        if supply.overdue:
            return None
        return supply.expected_at if calendar is None else calendar.leaves_at(supply.expected_at)

    def schedule(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: SupplyScheduled = message.data
            known = self.supplies.get(told.supply_id)
            if known is not None:
                same = known.said.model_copy(update={"lines": units_by_sku(known.said.lines)})
                if told.model_copy(update={"lines": units_by_sku(told.lines)}) != same:
                    judgement.answers.append(("scheduled_differently", told.supply_id))
            elif told.expected_at < (message.time or self.now) - DAY:
                judgement.answers.append(("date_in_the_past", told.supply_id))
            elif self.is_at_home(message, judgement) and self.are_stocked(message, [line.sku for line in told.lines], judgement):
                lines = {sku: ExpectedLine(quantity) for sku, quantity in units_by_sku(told.lines).items()}
                self.supplies[told.supply_id] = Supply(told, told.expected_at, lines=lines)

    def changeable(self, message: Received[Any], judgement: Judgement) -> Supply | None:
        """The supply that a change is about, if there is anything to change. A change is made once."""
        told: SupplyRescheduled | SupplyChanged | SupplyCancelled = message.data
        supply = self.supplies.get(told.supply_id)
        if ("supply change", told.change_id) in self.done or told.change_id in judgement.made:
            return None
        if supply is None:
            judgement.deferred.add(message.event_id)
            return None
        if supply.cancelled:
            if not isinstance(told, SupplyCancelled):
                judgement.answers.append(("cancelled", told.supply_id))
            return None
        judgement.made.add(told.change_id)
        return supply

    def reschedule(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: SupplyRescheduled = message.data
            supply, said_at = self.changeable(message, judgement), message.time or self.now
            if supply is None:
                continue
            if told.expected_at < said_at - DAY:
                judgement.answers.append(("date_in_the_past", told.supply_id))
                continue
            self.done["supply change", told.change_id] = True
            if supply.said_at is None or said_at >= supply.said_at:
                supply.expected_at, supply.said_at, supply.overdue = told.expected_at, said_at, False

    def change(self, batch: Batch, judgement: Judgement) -> None:
        for message in sorted(batch, key=lambda message: message.time or self.now):
            told: SupplyChanged = message.data
            supply, said_at = self.changeable(message, judgement), message.time or self.now
            if supply is None or not self.are_stocked(message, [line.sku for line in told.lines], judgement):
                continue
            lines = {line.sku: (supply.lines.get(line.sku, ExpectedLine()), line.quantity) for line in told.lines}
            lines = {sku: entry for sku, entry in lines.items() if entry[0].changed_at is None or said_at >= entry[0].changed_at}
            if any(quantity < line.received and quantity < line.quantity for line, quantity in lines.values()):
                judgement.answers.append(("less_than_received", told.supply_id))
                continue
            self.done["supply change", told.change_id] = True
            for sku, (line, quantity) in lines.items():
                line.quantity, line.changed_at = quantity, said_at
                supply.lines[sku] = line

    def cancel_supplies(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: SupplyCancelled = message.data
            supply = self.changeable(message, judgement)
            if supply is not None:
                self.done["supply change", told.change_id] = True
                supply.cancelled = True
                for line in supply.lines.values():
                    line.called_off += line.expected

    def take_back_overdue_dates(self) -> None:
        """A day after their ship date, goods that have not come promise nothing."""
        for supply in self.supplies.values():
            ships_at = self.ships_at(supply)
            if ships_at is not None and ships_at < self.now - DAY and not supply.cancelled:
                supply.overdue = supply.is_expected

    def say_preorders(self, batch: Batch, judgement: Judgement) -> None:
        for message in sorted(batch, key=lambda message: message.time or self.now):
            told: StockPreorderOpened | StockPreorderClosed = message.data
            said_at = message.time or self.now
            if self.are_stocked(message, [told.sku], judgement) and said_at >= self.preorder_said_at.get(told.sku, said_at):
                self.preorder_said_at[told.sku] = said_at
                self.preorders.pop(told.sku, None)
                if isinstance(told, StockPreorderOpened):
                    self.preorders[told.sku] = Preorder(told.release_at, told.early_release)

    def coming(self, sku: str) -> list[Date]:
        """When each unit on its way ships, the earliest first, undated ones last. The first that come to a location fill up what is kept
        back there: nobody gets those."""
        lines = sorted(
            (self.ships_at(supply) or END_OF_TIME, supply_id, supply.said.location, supply.lines[sku].expected)
            for supply_id, supply in self.supplies.items()
            if sku in supply.lines
        )
        lacking = {location: self.lacking(sku, location) for location in self.places}
        units: list[Date] = []
        for ships_at, _, location, expected in lines:
            fills = min(expected, lacking[location])
            lacking[location] -= fills
            units += [None if ships_at == END_OF_TIME else ships_at] * (expected - fills)
        return units

    def lacking(self, sku: str, location: str) -> int:
        """Units that are to be kept back at a location and do not lie there."""
        there = max(0, self.shelves[sku, location].on_shelf) if (sku, location) in self.shelves else 0
        return max(0, self.safety.get((sku, location), 0) - there) if self.counts(sku, location) else 0

    def date_of(self, sku: str, position: int) -> Date:
        """When the unit ships that stands at a position in the queue, counted from 1: the shelf serves first, then what comes in."""
        preorder, free = self.preorders.get(sku), self.free(sku)
        coming = self.coming(sku)
        if position <= free:
            return preorder.release_at if preorder else None
        if position - free > len(coming):
            return None
        ships_at = coming[position - free - 1]
        return max(ships_at, preorder.release_at) if ships_at and preorder else ships_at

    def sellable(self, sku: str) -> Sellable | None:
        """What channels are told: of a kit, of an ordinary SKU, of one in preorder; None where the model does not say."""
        if sku in self.kits:
            return self.sellable_kit(self.kits[sku][1])
        if self.rules.get(sku):
            return self.sellable_to(sku, "")
        left, waiting = self.left(sku), len(self.in_state(sku, "queued"))
        if sku in self.preorders:
            return Sellable(left, "preorder" if left else "sold_out", self.date_of(sku, waiting + 1))
        return Sellable(left, "in_stock", None) if left else Sellable(0, "backorder", self.date_of(sku, waiting + 1))

    def sellable_to(self, sku: str, channel: str) -> Sellable | None:
        """What one channel is told of a SKU that has rules. When it would ship, and how much of a preorder it may sell, this model leaves
        to the audit."""
        if sku in self.preorders:
            return None
        cap = next((rule.cap for rule in self.rules[sku] if rule.channel == channel), None)
        if cap is not None and self.has_open(sku, channel) + self.waits_for(sku, channel) >= cap:
            return Sellable(0, "sold_out", None)
        takeable = self.takeable(sku, channel)
        return Sellable(takeable, "in_stock", None) if takeable else Sellable(0, "backorder", ANY_DATE)

    def left(self, sku: str) -> int:
        """Units that a new order could have: of a preorder also those on their way."""
        if self.rules.get(sku):
            return self.takeable(sku, "")
        coming = len(self.coming(sku)) if sku in self.preorders else 0
        return max(0, self.free(sku) + coming - len(self.in_state(sku, "queued")))

    def sellable_kit(self, components: dict[str, int]) -> Sellable | None:
        """As many as can be made; while none can, when the last component that holds it up is there."""
        if any(self.rules.get(sku) and sku in self.preorders for sku in components):
            return None
        kits = {sku: self.left(sku) // quantity for sku, quantity in components.items()}
        awaited = [sku for sku in components if kits[sku] == 0 or sku in self.preorders]
        dates = [self.date_of(sku, len(self.in_state(sku, "queued")) + components[sku]) for sku in awaited]
        known = [date for date in dates if date is not None]
        next_ship_at: Date | Literal["any date"] = max(known) if known and len(known) == len(dates) else None
        if any(self.rules.get(sku) for sku in awaited):
            next_ship_at = ANY_DATE
        available = min(kits.values(), default=0)
        if available:
            return Sellable(available, "preorder" if awaited else "in_stock", next_ship_at)
        held_back = any(sku in self.preorders and kits[sku] == 0 for sku in components)
        return Sellable(0, "sold_out" if held_back else "backorder", next_ship_at)

    # Products, locations, policies

    def register_products(self, batch: Batch, judgement: Judgement) -> None:
        newest = sorted(batch, key=lambda message: message.time or self.now)
        for message in newest:
            for product in message.data.products:
                at = message.time or self.now
                if not product.components:
                    if product.sku in self.kits:
                        judgement.parked.add(message.event_id)
                    elif product.sku not in self.products or self.products[product.sku][0] < at:
                        self.products[product.sku] = at, product.hazmat
        kits = {product.sku: (message, product) for message in newest for product in message.data.products if product.components}
        for message, product in kits.values():
            self.compose(message, product, judgement)

    def compose(self, message: Received[Any], product: Product, judgement: Judgement) -> None:
        """A kit is made of registered components; the newest composition wins."""
        at = message.time or self.now
        if product.sku in self.products:
            judgement.parked.add(message.event_id)
        elif any(component.sku not in self.products for component in product.components):
            judgement.deferred.add(message.event_id)
        elif product.sku not in self.kits or self.kits[product.sku][0] < at:
            self.kits[product.sku] = at, {component.sku: component.quantity for component in product.components}

    def register_locations(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: LocationRegistered = message.data
            at = message.time or self.now
            place = self.places.setdefault(told.location, Place(datetime.min.replace(tzinfo=UTC), "", False, False, None))
            if place.registered_at < at:
                place.registered_at, place.partner, place.active, place.certified = at, told.partner, told.active, told.hazmat_certified
                place.calendar = None
                if told.time_zone is not None:
                    days = frozenset(WEEKDAYS.index(day) + 1 for day in told.working_days)
                    cutoff = time.fromisoformat(told.order_cutoff)
                    place.calendar = Calendar(cutoff, days, frozenset(told.holidays), told.dock_to_stock_days)

    def choose_policy(self, batch: Batch, judgement: Judgement) -> None:
        for message in batch:
            told: ShortagePolicyRequested = message.data
            self.policies.setdefault(told.change_id, (self.now, told.policy))
            judgement.answers.append(("policy", told.change_id, self.policies[told.change_id][1]))

    # Time

    def run(self, schedule: str) -> None:
        """What a schedule of the service does; those that only tidy up do nothing here."""
        work = TIMED.get(schedule)
        if work is not None:
            work(self)


HEARD: dict[type[Message], Callable[[Model, Batch, Judgement], None]] = {
    OrderPlaced: Model.place_orders,
    OrderEdited: Model.edit_orders,
    OrderCancelled: Model.cancel_orders,
    FulfillmentPlanned: Model.plan,
    FulfillmentShipped: Model.ship,
    FulfillmentCancelled: Model.call_off,
    ReturnInspected: Model.inspect_returns,
    SupplyScheduled: Model.schedule,
    SupplyReceived: Model.receive,
    SupplyRescheduled: Model.reschedule,
    SupplyCancelled: Model.cancel_supplies,
    SupplyChanged: Model.change,
    ThirdPartyReceipt: Model.receive,
    StockHoldRequested: Model.hold_units,
    StockHoldReleaseRequested: Model.release_holds,
    ChannelHoldRequested: Model.hold_units,
    ChannelHoldReleaseRequested: Model.release_holds,
    StockSafetyRequested: Model.set_safety,
    ChannelPoolRequested: Model.set_rules,
    StockPreorderOpened: Model.say_preorders,
    StockPreorderClosed: Model.say_preorders,
    ThirdPartyStockAdjusted: Model.correct,
    ThirdPartyStockSnapshot: Model.count,
    StockAdjustmentRequested: Model.adjust,
    FeedSettingsRequested: Model.set_feed,
    FeedGapCloseRequested: Model.close_gaps,
    ShortagePolicyRequested: Model.choose_policy,
    ProductRegistered: Model.register_products,
    LocationRegistered: Model.register_locations,
}

TIMED: dict[str, Callable[[Model], None]] = {
    "expire_holds": Model.expire_holds,
    "forget_closed_holds": Model.forget_closed_holds,
    "serve_queues": Model.serve_queues,
    "release_due_preorders": Model.settle,
    "take_back_overdue_dates": Model.take_back_overdue_dates,
    "apply_remembered_counts": Model.apply_remembered_counts,
    "settle_sequences": Model.settle_sequences,
    "apply_uploads": Model.apply_uploads,
}
