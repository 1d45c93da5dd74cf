"""What may happen to allocation: for every message it consumes, plausible ones, chosen by a handful of bytes.

Every happening looks at the model, so that parcels leave with units that are tied and supplies are received that were announced; now and
then it says something else: too much, too late, unknown, twice. Which happening comes next and which bytes it gets is hypothesis's choice.
The same bytes draw the same, whatever the state: nothing is drawn that depends on who won a race.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.channels import ProductRegistered
from shared.contracts.envelope import new_id
from shared.contracts.feeds import FeedGapCloseRequested, FeedSettingsRequested
from shared.contracts.fulfillment import LocationRegistered, PlannedFulfillment
from shared.contracts.holds import (
    ChannelHoldReleaseRequested,
    ChannelHoldRequested,
    HoldLine,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.contracts.orders import LineUnits, OrderCancelled, OrderPlaced
from shared.contracts.returns import DispositionLine, ReturnInspected
from shared.contracts.rules import ChannelPoolRequested, StockSafetyRequested
from shared.contracts.stock import (
    ShortagePolicyRequested,
    SnapshotLine,
    SupplyLine,
    SupplyScheduled,
    ThirdPartyReceipt,
    ThirdPartyStockAdjusted,
    ThirdPartyStockSnapshot,
)
from shared.messaging.message import Received
from tests.allocation.messages import (
    PARTNER,
    SHOPPER,
    adjustment,
    called_off,
    changed,
    dropped,
    edit,
    kit,
    line,
    moved,
    order,
    plan,
    planned,
    preorder,
    preorder_closed,
    products,
    receipt,
    received,
    shipped,
    units,
)
from tests.allocation.model import Fulfillment, LineKey, Model

AnyT = TypeVar("AnyT")
Batch = list[Received[Any]]

MONDAY = datetime(2035, 3, 5, 9, 0, tzinfo=UTC)
"""Every story begins on the same morning, so that working days fall the same whenever the tests run."""

GOODS = ("MUG", "CUP", "TNT")
LATECOMER = "PEN"
KIT = "SET"
NUMBERED = "east"
"""Its 3PL numbers its messages; the others tell time."""
LOCATIONS = ("east", "west")
LATE_LOCATION = "north"


class Choices:
    """Turns bytes into choices. Zero is the ordinary choice, so that what hypothesis makes smaller becomes more ordinary."""

    def __init__(self, raw: bytes) -> None:
        self._bytes = iter(raw)

    def below(self, bound: int) -> int:
        """A number from 0 on."""
        return next(self._bytes, 0) % bound

    def one_of(self, options: Sequence[AnyT]) -> AnyT:
        """One of several; the first is the ordinary one."""
        return options[self.below(len(options))]

    def rarely(self, one_in: int) -> bool:
        """Whether the exception is made."""
        return self.below(one_in) == one_in - 1


@dataclass
class Scene:
    """The world around allocation: who says what, and what is still on its way."""

    model: Model
    hold_all: bool = True
    lagging: bool = False
    now: datetime = MONDAY
    told: dict[type[Message], Batch] = field(default_factory=dict)
    held: Batch = field(default_factory=list)
    placed: dict[UUID, OrderPlaced] = field(default_factory=dict)
    lines: dict[UUID, dict[LineKey, int]] = field(default_factory=dict)
    versions: dict[UUID, int] = field(default_factory=dict)
    parcels: dict[UUID, PlannedFulfillment] = field(default_factory=dict)
    plans: dict[UUID, Counter[tuple[UUID, LineKey]]] = field(default_factory=dict)
    gone: set[UUID] = field(default_factory=set)
    sequences: Counter[str] = field(default_factory=Counter)
    there: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Units at each location, as the people there know it."""

    def tick(self) -> datetime:
        """Time goes on a little: nothing happens at the same moment."""
        self.now += timedelta(seconds=1)
        return self.now

    def say(self, data: Message, *, partner: str | None = None) -> Received[Any]:
        """A message, said now."""
        message = received(data, partner=partner, time=self.tick())
        self.told.setdefault(type(data), []).append(message)
        return message

    def again(self, kind: type[Message], choices: Choices) -> Batch:
        """Something that was said before is told once more, as another message."""
        known = self.told.get(kind, [])
        if not known:
            return []
        message = choices.one_of(known[::-1])
        return [received(message.data, partner=message.partner, time=message.time)]

    def sequence(self, location: str) -> int | None:
        """The next number of a location's feed, where messages are numbered."""
        if location != NUMBERED:
            return None
        self.sequences[location] += 1
        return self.sequences[location]

    def location(self, choices: Choices) -> str:
        """Where something happens."""
        return choices.one_of([*LOCATIONS, LATE_LOCATION] if choices.rarely(8) else LOCATIONS)

    def goods(self, choices: Choices) -> str:
        """What it is about."""
        if choices.rarely(30):
            return choices.one_of([LATECOMER, KIT])
        return choices.one_of(["MUG", "CUP", "MUG", "CUP", "TNT"] if self.hold_all else ["MUG", "MUG", "MUG", "CUP", "TNT"])

    def an_order(self, choices: Choices) -> OrderPlaced | None:
        """Some order, more likely a new one that lives."""
        alive = [told for order_id, told in self.placed.items() if self._is_alive(order_id)]
        known = list(self.placed.values()) if choices.rarely(8) else alive
        return choices.one_of(known[::-1]) if known else None

    def _is_alive(self, order_id: UUID) -> bool:
        known = self.model.orders.get(order_id)
        return known is not None and known.cancelled_version is None

    def open_parcels(self) -> list[Fulfillment]:
        """Fulfillments that hold units, the newest first."""
        known = [each for each in self.model.fulfillments.values() if any(tie.open for tie in each.ties.values())]
        return [each for each in known if each.fulfillment_id not in self.gone][::-1]

    def a_parcel(self, choices: Choices) -> tuple[OrderPlaced, PlannedFulfillment] | None:
        """A fulfillment that somebody works on; rarely one that was withdrawn, rejected or has left."""
        known = list(self.model.fulfillments.values())[::-1] if choices.rarely(8) else self.open_parcels()
        known = [each for each in known if each.order_id in self.placed]
        if not known:
            return None
        chosen = choices.one_of(known)
        return self.placed[chosen.order_id], self.parcels[chosen.fulfillment_id]


# Orders


CHANNELS = ("web", "app")


def orders_are_placed(scene: Scene, choices: Choices) -> Batch:
    """One to three customers buy something."""
    batch = []
    for _ in range(1 + choices.below(3)):
        own = new_id()
        if choices.rarely(4):  # paid earlier, and longer on its way
            own = UUID(int=own.int - ((1 + choices.below(60)) * 60_000 << 80))
        most = 4 if scene.hold_all else 2
        wanted = [line(1 + choices.below(most), scene.goods(choices), str(number)) for number in range(1 + choices.below(3))]
        placed = order(
            *wanted,
            order_id=own,
            split_policy="hold_all" if choices.rarely(3) and scene.hold_all else "ship_available",
            # while a restock is shared out in steps, a higher class would rightly be served before who is behind it
            priority=7 if scene.lagging else choices.one_of([5, 5, 3, 7]),
            segment=choices.one_of(["dtc", "retail", "wholesale"]),
        ).model_copy(update=_from_channel(scene, choices))
        scene.placed[own], scene.versions[own] = placed, 1
        scene.lines[own] = {(part.line_id, part.sku): part.quantity for part in placed.lines}
        batch.append(scene.say(placed))
    return batch


def _from_channel(scene: Scene, choices: Choices) -> dict[str, object]:
    """Who sells it, and the hold that it names, if any: one that was answered, because nobody pays before that."""
    channel = choices.one_of(CHANNELS)
    requests = [message.data for kind in (StockHoldRequested, ChannelHoldRequested) for message in scene.told.get(kind, [])]
    asked = [request for request in requests if request.hold_id in scene.model.holds]
    if not asked or choices.rarely(3):
        return {"channel": channel}
    hold = choices.one_of(asked[::-1])
    return {"channel": channel if choices.rarely(6) else hold.channel, "hold_id": hold.hold_id}


def an_order_is_edited(scene: Scene, choices: Choices) -> Batch:
    """Once, or twice: the second edit may overtake the first."""
    placed = scene.an_order(choices)
    if placed is None:
        return orders_are_placed(scene, choices)
    edits = [_edit(scene, choices, placed) for _ in range(1 + choices.rarely(3))]
    if len(edits) > 1 and choices.rarely(2):
        scene.held.append(edits.pop(0))
    return edits[::-1]


def _edit(scene: Scene, choices: Choices, placed: OrderPlaced) -> Received[Any]:
    """Lines grow, shrink, come and go; plans are withdrawn, mostly all of them."""
    own = scene.lines[placed.order_id]
    changing = choices.one_of(list(own))
    own[changing] = max(0, own[changing] + choices.one_of([1, -1, 2, -2, -9]))
    if choices.rarely(3) or not any(own.values()):
        own[str(len(own)), scene.goods(choices)] = 1 + choices.below(3)
    holding = [each.fulfillment_id for each in scene.open_parcels() if each.order_id == placed.order_id]
    withdrawn = holding[: choices.one_of([len(holding), 0, 1])]
    scene.versions[placed.order_id] += 1
    lines = [line(quantity, sku, line_id) for (line_id, sku), quantity in own.items() if quantity]
    told = edit(placed, *lines, version=scene.versions[placed.order_id], withdrawn=withdrawn)
    return scene.say(told.model_copy(update={"edited_at": scene.tick()}))


def an_order_is_cancelled(scene: Scene, choices: Choices) -> Batch:
    """All that has not left, or all but what is tied already, or something between."""
    placed = scene.an_order(choices)
    if placed is None:
        return orders_are_placed(scene, choices)
    spared = choices.below(3)
    listed = []
    for (line_id, sku), quantity in scene.lines[placed.order_id].items():
        tied = len(scene.model.of_line(placed.order_id, (line_id, sku), "assigned", "shipped"))
        left = (quantity, quantity - tied, quantity - choices.below(3))[spared]
        if left > 0:
            listed.append(units(left, line_id, sku))
    scene.versions[placed.order_id] += 1
    told = OrderCancelled(
        order_id=placed.order_id,
        order_version=scene.versions[placed.order_id],
        change_id=new_id(),
        actor=SHOPPER,
        reason="changed my mind",
        lines=listed,
        refund_cents=0,
        cancelled_at=scene.tick(),
    )
    return [scene.say(told)]


# Fulfillments


def fulfillments_are_planned(scene: Scene, choices: Choices) -> Batch:
    """Routing ties what is reserved to locations that have it; rarely more than there is."""
    waiting = list(dict.fromkeys(unit.order.order_id for unit in scene.model.units if unit.state == "reserved"))
    known = [order_id for order_id in waiting[::-1] if order_id in scene.placed]
    if not known:
        return goods_come_in(scene, choices)
    return [_plan(scene, choices, choices.one_of(known)) for _ in range(1 + choices.rarely(4))]


def _plan(scene: Scene, choices: Choices, order_id: UUID) -> Received[Any]:
    parts: dict[str, list[LineUnits]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    blind = choices.rarely(4)  # all of it from one place, whatever is there
    too_much = 1 if choices.rarely(10) else 0
    first = choices.below(2)
    for own in scene.model.lines_of(order_id):
        left = len(scene.model.of_line(order_id, own, "reserved"))
        left = max(0, left - choices.one_of([0, 0, 1]))
        for location in (*LOCATIONS[first:], *LOCATIONS[:first], LATE_LOCATION):
            free = scene.model.assignable(own[1], location) - taken[own[1], location]
            quantity = left if blind else min(left, max(0, free))
            if quantity:
                parts.setdefault(location, []).append(units(quantity + too_much, *own))
                taken[own[1], location] += quantity
                left -= quantity
    if not parts:
        parts["east"] = [units(1, *own) for own in scene.model.lines_of(order_id)] or [units(1)]
    fulfillments = [planned(location, *lines) for location, lines in parts.items()]
    scene.parcels.update((each.fulfillment_id, each) for each in fulfillments)
    version = scene.versions[order_id] + choices.one_of([0, 0, 0, 0, 0, 0, 0, -1, 1])
    told = plan(scene.placed[order_id], *fulfillments, version=max(1, version))
    scene.plans[told.plan_id] = Counter()
    for each in fulfillments:
        for part in each.lines:
            scene.plans[told.plan_id][order_id, (part.line_id, part.sku)] += part.quantity
    return scene.say(told)


def a_parcel_leaves(scene: Scene, choices: Choices) -> Batch:
    """With all that was planned, or part of it, rarely with more."""
    known = scene.a_parcel(choices)
    if known is None:
        return fulfillments_are_planned(scene, choices)
    placed, parcel = known
    share = choices.one_of([0, 0, 0, 0, -1, -1, 1])
    packed = [units(max(1, part.quantity + share), part.line_id, part.sku) for part in parcel.lines]
    packed = packed[: len(packed) - choices.rarely(4)] or packed
    for part in packed:
        scene.there[part.sku, parcel.location] -= part.quantity
    scene.gone.add(parcel.fulfillment_id)
    left_at = scene.tick()
    return [scene.say(shipped(placed, parcel, *packed, sequence=scene.sequence(parcel.location), at_time=left_at))]


def a_fulfillment_is_called_off(scene: Scene, choices: Choices) -> Batch:
    """A 3PL does not ship some units; sometimes because they are not there."""
    known = scene.a_parcel(choices)
    if known is None:
        return fulfillments_are_planned(scene, choices)
    placed, parcel = known
    cause = choices.one_of(["cancelled", "short_picked", "rejected", "short_picked"])
    parts = [
        units(max(1, part.quantity - choices.below(2)) if cause == "short_picked" else part.quantity, part.line_id, part.sku)
        for part in parcel.lines
    ]
    missing = parts if cause == "short_picked" or (cause == "rejected" and choices.rarely(2)) else []
    for part in missing:
        scene.there[part.sku, parcel.location] -= part.quantity
    told = called_off(placed, parcel, *parts, missing=missing, cause=cause, at_time=scene.tick())  # type: ignore[arg-type]  # all four are causes
    return [scene.say(told)]


def a_return_is_inspected(scene: Scene, choices: Choices) -> Batch:
    """Units come back, sellable or not."""
    left = [unit for unit in scene.model.units if unit.state == "shipped"]
    if not left:
        return a_parcel_leaves(scene, choices)
    unit = choices.one_of(left[::-1])
    location = scene.location(choices)
    disposition = choices.one_of(["restocked", "restocked", "damaged", "scrapped"])
    quantity = 1 + choices.below(2)
    if disposition == "restocked":
        scene.there[unit.sku, location] += quantity
    judged = DispositionLine(line_id=unit.line[0], sku=unit.sku, quantity=quantity, disposition=disposition)
    told = ReturnInspected(
        return_id=new_id(),
        scan_id=new_id(),
        order_id=unit.order.order_id,
        location=location,
        dispositions=[judged],
        inspected_at=scene.tick(),
    )
    return [scene.say(told)]


# Shelves


def goods_come_in(scene: Scene, choices: Choices) -> Batch:
    """Of a supply, in part or too much of it, or of none."""
    batch = []
    for _ in range(1 + choices.rarely(3)):
        supply, lines = _delivery(scene, choices)
        location = supply.location if supply else scene.location(choices)
        for part in lines:
            scene.there[part.sku, location] += part.quantity
        told = receipt(1, at_location=location, supply_id=supply.supply_id if supply else None)
        batch.append(scene.say(told.model_copy(update={"lines": lines})))
    return batch


def _delivery(scene: Scene, choices: Choices) -> tuple[SupplyScheduled | None, list[SupplyLine]]:
    supply = _a_supply(scene, choices)
    if supply is None or choices.rarely(3):
        return None, [SupplyLine(sku=scene.goods(choices), quantity=1 + choices.below(6))]
    share = choices.one_of([0, -1, -2, 2])
    return supply, [SupplyLine(sku=part.sku, quantity=max(1, part.quantity + share)) for part in supply.lines]


def a_third_party_puts_goods_away(scene: Scene, choices: Choices) -> Batch:
    """The same, told by the 3PL."""
    supply, lines = _delivery(scene, choices)
    location = supply.location if supply else scene.location(choices)
    for part in lines:
        scene.there[part.sku, location] += part.quantity
    told = ThirdPartyReceipt(
        location=location,
        receipt_id=new_id(),
        supply_id=supply.supply_id if supply else None,
        lines=lines,
        sequence=scene.sequence(location),
    )
    return [scene.say(told, partner=_partner(choices))]


def _partner(choices: Choices) -> str:
    return "stranger" if choices.rarely(40) else PARTNER


def a_third_party_finds_or_loses_units(scene: Scene, choices: Choices) -> Batch:
    """A correction."""
    location, sku, delta = scene.location(choices), scene.goods(choices), choices.one_of([-1, 2, -3, 1, -6])
    scene.there[sku, location] += delta
    told = ThirdPartyStockAdjusted(
        location=location, adjustment_id=new_id(), sku=sku, quantity_delta=delta, reason="counted", sequence=scene.sequence(location)
    )
    return [scene.say(told, partner=_partner(choices))]


def an_operator_adjusts_shelves(scene: Scene, choices: Choices) -> Batch:
    """Compare and set, or set whatever is there."""
    batch = []
    for _ in range(1 + choices.rarely(3)):
        location, sku = scene.location(choices), scene.goods(choices)
        held = scene.model.shelves.get((sku, location))
        on_hand = held.on_hand if held else 0
        expected = choices.one_of([on_hand, None, on_hand + 1])
        batch.append(
            scene.say(
                adjustment(max(0, on_hand + choices.one_of([-2, 3, -5, 1, 0])), expected=expected, sku=sku, at_location=location),
            )
        )
    return batch


def shelves_are_counted(scene: Scene, choices: Choices) -> Batch:
    """A 3PL counts, rightly or not; where it numbers its messages, the count shows all of them, or all but the last."""
    location = scene.location(choices)
    numbered = location == NUMBERED
    behind = 1 if choices.rarely(5) else 0
    watermark = max(0, scene.sequences[location] - behind) if numbered else 0
    as_of = scene.tick() + choices.one_of([timedelta(0)] * 6 + [timedelta(minutes=-20), timedelta(minutes=30), timedelta(hours=3)])
    lines = []
    for sku in dict.fromkeys(scene.goods(choices) for _ in range(1 + choices.below(3))):
        found = max(0, scene.there[sku, location] + choices.one_of([0, 0, 0, -2, 2, -5]))
        scene.there[sku, location] = found
        damaged, checked = choices.one_of([0, 0, 1]), choices.one_of([0, 0, 2])
        aside = min(found, choices.one_of([0, 0, 0, 1]))
        lines.append(
            SnapshotLine(sku=sku, on_hand=found - aside + damaged + checked, damaged=damaged, quality_control=checked, set_aside=aside)
        )
    told = ThirdPartyStockSnapshot(location=location, as_of=as_of, watermark=watermark, lines=lines)
    return [scene.say(told, partner=_partner(choices))]


def a_feed_is_set(scene: Scene, choices: Choices) -> Batch:
    """How long counts wait."""
    told = FeedSettingsRequested(
        decision_id=new_id(),
        location=scene.location(choices),
        patience_seconds=choices.one_of([None, 0, 600, 7200]),
        reason="busy days",
        operator="kim",
    )
    return [scene.say(told)]


def a_gap_is_closed(scene: Scene, choices: Choices) -> Batch:
    """An operator gives messages up."""
    location = scene.location(choices)
    up_to = max(1, scene.sequences[location] - choices.below(3))
    told = FeedGapCloseRequested(decision_id=new_id(), location=location, up_to_sequence=up_to, reason="lost", operator="kim")
    return [scene.say(told)]


# Supply


def _a_supply(scene: Scene, choices: Choices) -> SupplyScheduled | None:
    known = [message.data for message in scene.told.get(SupplyScheduled, [])]
    return choices.one_of(known[::-1]) if known else None


def _a_day(scene: Scene, choices: Choices) -> datetime:
    days = choices.one_of([2.0, 5.0, 1.0, 0.25, 9.0, -0.5, -3.0])
    return scene.now.replace(second=0) + timedelta(days=days)


def supply_is_scheduled(scene: Scene, choices: Choices) -> Batch:
    """A purchase order; rarely something else under a known number."""
    known = _a_supply(scene, choices)
    if known is not None and choices.rarely(8):
        return [scene.say(known.model_copy(update={"purchase_order": "another"}))]
    batch = []
    for _ in range(1 + choices.rarely(3)):
        skus = dict.fromkeys(scene.goods(choices) for _ in range(1 + choices.below(2)))
        told = SupplyScheduled(
            supply_id=new_id(),
            location=scene.location(choices),
            expected_at=_a_day(scene, choices),
            lines=[SupplyLine(sku=sku, quantity=1 + choices.below(6)) for sku in skus],
        )
        batch.append(scene.say(told))
    return batch


def supply_is_rescheduled(scene: Scene, choices: Choices) -> Batch:
    """Earlier or later; or both, and the second word may overtake the first."""
    known = _a_supply(scene, choices)
    if known is None:
        return supply_is_scheduled(scene, choices)
    batch = [scene.say(moved(known, _a_day(scene, choices))) for _ in range(1 + choices.rarely(3))]
    if len(batch) > 1 and choices.rarely(2):
        scene.held.append(batch.pop(0))
    return batch


def supply_is_changed(scene: Scene, choices: Choices) -> Batch:
    """More, fewer, none, or another SKU."""
    known = _a_supply(scene, choices)
    if known is None:
        return supply_is_scheduled(scene, choices)
    sku = scene.goods(choices) if choices.rarely(3) else known.lines[0].sku
    return [scene.say(changed(known, **{sku: choices.one_of([7, 2, 0, 4])}))]


def supply_is_cancelled(scene: Scene, choices: Choices) -> Batch:
    """The rest will not come."""
    known = _a_supply(scene, choices)
    return supply_is_scheduled(scene, choices) if known is None else [scene.say(dropped(known))]


def a_preorder_is_opened(scene: Scene, choices: Choices) -> Batch:
    """A release date, or another one."""
    sku = scene.goods(choices)
    release_at = scene.now.replace(second=0) + choices.one_of([timedelta(days=1), timedelta(days=3), timedelta(hours=-1)])
    return [scene.say(preorder(release_at, sku, early_release=choices.rarely(3)))]


def a_preorder_is_closed(scene: Scene, choices: Choices) -> Batch:
    """Sold like any other from now on."""
    known = list(scene.model.preorders)
    return [scene.say(preorder_closed(choices.one_of(known) if known else scene.goods(choices)))]


# What is kept


def units_are_held(scene: Scene, choices: Choices) -> Batch:
    """Shoppers go to the checkout, over HTTP or by queue; some ask again."""
    if choices.rarely(4):
        again = scene.again(choices.one_of([StockHoldRequested, ChannelHoldRequested]), choices)
        if again:
            return again
    kinds: list[type[StockHoldRequested | ChannelHoldRequested]] = [StockHoldRequested, ChannelHoldRequested]
    kind = choices.one_of(kinds)
    batch = []
    for _ in range(1 + choices.below(2)):
        wanted = [HoldLine(sku=scene.goods(choices), quantity=1 + choices.below(3)) for _ in range(1 + choices.below(2))]
        told = kind(
            hold_id=new_id(),
            channel=choices.one_of(CHANNELS),
            lines=wanted,
            ttl_seconds=choices.one_of([600, 3600, 30]),
            policy=choices.one_of(["partial", "partial", "all_or_nothing"]),
        )
        batch.append(scene.say(told, partner=_seller(told.channel, choices) if kind is ChannelHoldRequested else None))
    return batch


def _seller(channel: str, choices: Choices) -> str:
    return "stranger" if choices.rarely(20) else channel


def a_hold_is_released(scene: Scene, choices: Choices) -> Batch:
    """The shopper leaves; rarely before the hold is heard of."""
    asked = [message.data for kind in (StockHoldRequested, ChannelHoldRequested) for message in scene.told.get(kind, [])]
    if not asked:
        return units_are_held(scene, choices)
    hold = choices.one_of(asked[::-1])
    hold_id = new_id() if choices.rarely(8) else hold.hold_id
    channel = choices.one_of(CHANNELS) if choices.rarely(10) else hold.channel
    if choices.rarely(2):
        return [scene.say(ChannelHoldReleaseRequested(hold_id=hold_id, channel=channel), partner=_seller(channel, choices))]
    return [scene.say(StockHoldReleaseRequested(hold_id=hold_id, channel=channel))]


def safety_stock_is_set(scene: Scene, choices: Choices) -> Batch:
    """Of a SKU, or of what lies at one place."""
    sku, location = scene.goods(choices), choices.one_of([None, *LOCATIONS, LATE_LOCATION])
    before = scene.model.safety.get((sku, location), 0)
    told = StockSafetyRequested(
        change_id=new_id(),
        sku=sku,
        location=location,
        safety_units=choices.one_of([1, 2, 0, 5]),
        expected_safety_units=choices.one_of([None, before, before + 1]),
        reason="miscounts",
        operator="kim",
    )
    return [scene.say(told)]


def a_channel_pool_is_set(scene: Scene, choices: Choices) -> Batch:
    """A fence, a cap, a share, some of them, or none any more."""
    fence, cap, share = choices.one_of(
        [(2, None, None), (None, 3, None), (None, None, 50), (1, 4, 30), (None, None, None), (5, 3, None), (3, None, None), (None, 0, None)]
    )
    told = ChannelPoolRequested(
        change_id=new_id(),
        sku=scene.goods(choices),
        channel="default" if choices.rarely(30) else choices.one_of(CHANNELS),
        fence_units=fence,
        cap_units=cap,
        share_percent=share,
        expected_rule_version=choices.one_of([None, None, None, 0, 999_999]),
        reason="a campaign",
        operator="kim",
    )
    return [scene.say(told)]


# Products, locations, policies


def a_shortage_policy_is_chosen(scene: Scene, choices: Choices) -> Batch:
    """Whose units go first."""
    policy = choices.one_of(["lowest_priority_first", "wholesale_first", "newest_first"])
    told = ShortagePolicyRequested.model_validate({"change_id": new_id(), "policy": policy, "operator": "kim"})
    return [scene.say(told)]


def a_location_is_registered(scene: Scene, choices: Choices) -> Batch:
    """It opens, closes, gets or loses its certificate, works on other days."""
    location = choices.one_of([*LOCATIONS, LATE_LOCATION])
    return [scene.say(register(location, choices))]


def register(location: str, choices: Choices) -> LocationRegistered:
    """A location as it may be."""
    calendar: dict[str, object] = choices.one_of(
        [
            {},
            {"time_zone": "UTC", "order_cutoff": "15:00"},
            {"time_zone": "UTC", "order_cutoff": "08:00", "dock_to_stock_days": 1},
            {"time_zone": "UTC", "working_days": ["monday", "thursday"], "holidays": [(MONDAY + timedelta(days=3)).date()]},
        ]
    )
    told = LocationRegistered(
        location=location,
        name=location,
        partner=PARTNER,
        active=not choices.rarely(4),
        hazmat_certified=location == "east" and not choices.rarely(4),
    )
    return told.model_copy(update=calendar)


def products_are_registered(scene: Scene, choices: Choices) -> Batch:
    """A new product, another judgement of what is hazardous, or a kit of other parts."""
    told: ProductRegistered = choices.one_of(
        [
            products(LATECOMER),
            kit(KIT, MUG=1, CUP=2),
            kit(KIT, MUG=2),
            products("TNT", hazmat=True),
            products("TNT", hazmat=False),
            kit(KIT, CUP=1, TNT=1),
            kit("MUG", CUP=1),
            kit("BOX", PEN=1, MUG=1),
        ]
    )
    return [scene.say(told)]


Happening = Callable[[Scene, Choices], Batch]
HAPPENINGS: tuple[Happening, ...] = (
    orders_are_placed,
    an_order_is_edited,
    an_order_is_cancelled,
    fulfillments_are_planned,
    a_parcel_leaves,
    a_fulfillment_is_called_off,
    a_return_is_inspected,
    goods_come_in,
    a_third_party_puts_goods_away,
    a_third_party_finds_or_loses_units,
    an_operator_adjusts_shelves,
    shelves_are_counted,
    a_feed_is_set,
    a_gap_is_closed,
    supply_is_scheduled,
    supply_is_rescheduled,
    supply_is_changed,
    supply_is_cancelled,
    a_preorder_is_opened,
    a_preorder_is_closed,
    a_shortage_policy_is_chosen,
    a_location_is_registered,
    products_are_registered,
    units_are_held,
    a_hold_is_released,
    safety_stock_is_set,
    a_channel_pool_is_set,
)
THEMES: dict[str, tuple[Happening, ...]] = {
    "everything": HAPPENINGS,
    "orders": (
        *(orders_are_placed, orders_are_placed, an_order_is_edited, an_order_is_edited, an_order_is_cancelled),
        *(fulfillments_are_planned, fulfillments_are_planned, a_parcel_leaves, a_fulfillment_is_called_off, goods_come_in),
    ),
    "shelves": (
        *(orders_are_placed, fulfillments_are_planned, fulfillments_are_planned, a_parcel_leaves, a_fulfillment_is_called_off),
        *(a_third_party_puts_goods_away, a_third_party_finds_or_loses_units, an_operator_adjusts_shelves, a_return_is_inspected),
        *(shelves_are_counted, shelves_are_counted, a_feed_is_set, a_gap_is_closed),
    ),
    "supply": (
        *(orders_are_placed, orders_are_placed, an_order_is_cancelled, goods_come_in, goods_come_in, supply_is_scheduled),
        *(supply_is_rescheduled, supply_is_changed, supply_is_cancelled, a_preorder_is_opened, a_preorder_is_closed),
        *(a_location_is_registered, an_operator_adjusts_shelves, safety_stock_is_set),
    ),
    "restocks": (
        *(orders_are_placed, orders_are_placed, orders_are_placed, goods_come_in, goods_come_in, a_third_party_puts_goods_away),
        *(an_order_is_cancelled, an_operator_adjusts_shelves, supply_is_scheduled),
    ),
    "shortage": (
        *(orders_are_placed, orders_are_placed, an_operator_adjusts_shelves, an_operator_adjusts_shelves, goods_come_in),
        *(a_third_party_finds_or_loses_units, a_shortage_policy_is_chosen, a_location_is_registered, an_order_is_edited),
        *(fulfillments_are_planned, a_fulfillment_is_called_off, products_are_registered, units_are_held, safety_stock_is_set),
        *(units_are_held, units_are_held),
    ),
    "keeping": (
        *(orders_are_placed, orders_are_placed, units_are_held, units_are_held, a_hold_is_released, safety_stock_is_set),
        *(a_channel_pool_is_set, a_channel_pool_is_set, an_order_is_cancelled, an_order_is_edited, goods_come_in),
        *(fulfillments_are_planned, a_parcel_leaves, an_operator_adjusts_shelves, supply_is_scheduled),
    ),
}
"""What a story is about, so that things that have to do with each other come close together; what stands twice happens more often."""

COMMUTING: tuple[Happening, ...] = (orders_are_placed, goods_come_in, a_third_party_puts_goods_away)
"""What may come between the steps of a long restock without making a difference to who gets what in the end."""
