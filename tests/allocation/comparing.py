"""What the service says against what the model says: the books, the answers, and what everybody has been told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts.base import Message
from shared.contracts.feeds import FeedGapClosed, FeedGapCloseRejected, FeedSettingsChanged, FeedSettingsRejected
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentAssignmentRejected
from shared.contracts.holds import (
    ChannelHoldAnswered,
    ChannelHoldRejected,
    ChannelHoldShrunk,
    StockHoldAnswered,
    StockHoldRejected,
)
from shared.contracts.rules import ChannelPoolRejected, ChannelPoolSet, StockSafetyRejected, StockSafetySet
from shared.contracts.stock import (
    ShortagePolicySet,
    StockAdjusted,
    StockAdjustmentRejected,
    StockAvailabilityChanged,
    StockBackordered,
    StockPromiseChanged,
    StockReserved,
    SupplyReceiptBooked,
    SupplyRejected,
)
from tests.allocation.ground import Books, Heard, without_gap
from tests.allocation.happenings import Scene
from tests.allocation.model import Answer, Judgement, LineKey, Model, Unit


def epoch(at: datetime | None) -> int | None:
    """A moment as the database says it."""
    return None if at is None else int(at.timestamp())


def books_of(model: Model) -> Books:
    """The books of the model, as :meth:`Ground.read` reads those of the service."""
    pools = {}
    dates: dict[tuple[UUID, str, str, int], int | None] = {}
    for sku in model.products:
        preorder = model.preorders.get(sku)
        queue = model.queue(sku)
        reserved = len(model.in_state(sku, "reserved", "assigned"))
        released = (epoch(preorder.release_at), preorder.early) if preorder else (None, False)
        pools[sku] = [model.free(sku) - model.fenced(sku), reserved, len(queue), model.held(sku), model.kept_back(sku), *released]
        for position, unit in enumerate(queue, 1):
            dates[unit.order.order_id, *unit.line, unit.arrival] = epoch(model.date_of(sku, position))
    lines: dict[str, list[list[int | None]]] = {}
    for (order_id, line_id, sku, arrival), own in _rows(model).items():
        queued, reserved, assigned, shipped, cancelled = (
            own[state] for state in ("queued", "reserved", "assigned", "shipped", "cancelled")
        )
        row = [queued, reserved + assigned, assigned, shipped, cancelled, dates.get((order_id, line_id, sku, arrival))]
        lines.setdefault(f"{order_id} {line_id} {sku}", []).append(row)
    return {
        "pools": pools,
        "rules": {
            f"{sku} {rule.channel}": [
                *(rule.fence, rule.cap, rule.share_percent),
                *(model.has_open(sku, rule.channel), model.waits_for(sku, rule.channel)),
            ]
            for sku, rules in model.rules.items()
            for rule in rules
        },
        "holds": {
            str(hold_id): [hold.channel, hold.state, hold.policy, epoch(hold.expires_at), hold.order_id and str(hold.order_id)]
            for hold_id, hold in model.holds.items()
        },
        "hold lines": {
            f"{hold_id} {sku}": [line.asked, line.granted, line.held, line.used]
            for hold_id, hold in model.holds.items()
            for sku, line in hold.lines.items()
        },
        "shelves": {
            f"{sku} at {location}": [*numbers, model.counts(sku, location)]
            for (sku, location), shelf in model.shelves.items()
            if any(numbers := [shelf.on_shelf, model.assigned(sku, location), shelf.damaged, shelf.quality_control])
        },
        "orders": {str(order.order_id): [order.version, order.cancelled_version] for order in model.orders.values()},
        "lines": lines,
        "ties": {
            f"{each.fulfillment_id} {line_id} {sku}": [tie.open, tie.shipped, tie.recalled]
            for each in model.fulfillments.values()
            for (line_id, sku), tie in each.ties.items()
            if tie.open or tie.shipped or tie.recalled
        },
        "supplies": {
            str(supply_id): [epoch(model.ships_at(supply)) if supply.is_expected else None, supply.overdue, supply.cancelled]
            for supply_id, supply in model.supplies.items()
        },
        "supply lines": {
            f"{supply_id} {sku}": [line.quantity, line.received, line.called_off, line.expected > 0]
            for supply_id, supply in model.supplies.items()
            for sku, line in supply.lines.items()
        },
        "feeds": {location: without_gap(place.floor, sorted(place.arrived)) for location, place in model.places.items()},
        "strangers": {
            f"{location} {sku}": [line.on_hand, line.damaged, line.quality_control, stamp.watermark]
            for location, place in model.places.items()
            for sku, (stamp, line) in place.unregistered.items()
        },
        "kits": {sku: sold(model, sku) for sku in model.kits},
    }


def _rows(model: Model) -> dict[tuple[UUID, str, str, int], Counter[str]]:
    rows: dict[tuple[UUID, str, str, int], Counter[str]] = {}
    for unit in model.units:
        rows.setdefault((unit.order.order_id, *unit.line, unit.arrival), Counter())[unit.state] += 1
    return rows


class _Anything:
    """Equal to whatever the service says where the model says nothing."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # nothing to look up

    def __repr__(self) -> str:
        return "whatever"


ANYTHING = _Anything()


def sold(model: Model, sku: str, channel: str = "default") -> list[object] | _Anything:
    """What channels should know of a SKU, or one channel of a SKU for which it has a rule."""
    sellable = model.sellable(sku) if channel == "default" else model.sellable_to(sku, channel)
    if sellable is None:
        return ANYTHING
    next_ship_at = sellable.next_ship_at
    return [sellable.available, sellable.mode, ANYTHING if isinstance(next_ship_at, str) else epoch(next_ship_at)]


def differences(service: Books, model: Books) -> list[str]:
    """Where the books differ. Dates are not compared of queues that are being dated anew, and where channels have rules: the audit does."""
    found = []
    for table, right in model.items():
        for key in sorted(service[table].keys() | right.keys()):
            ours, theirs = service[table].get(key), right.get(key)
            if table == "lines" and ours is not None:
                sku = key.rsplit(" ", 1)[1]
                dating = sku in service["dating"] or any(rule.split(" ", 1)[0] == sku for rule in service["rules"])
                ours = [row[:6] if not dating else row[:5] for row in ours]
                theirs = [row[:6] if not dating else row[:5] for row in theirs or ()]
            if ours != theirs:
                found.append(f"{table} {key}: the service has {ours}, the model {theirs}")
    return found


def _closed(told: FeedGapClosed) -> Answer:
    sequences = [number for gap in told.gaps for number in range(gap.first_sequence, gap.last_sequence + 1)]
    return "closed", told.decision_id, tuple(sequences)


def _held(told: StockHoldAnswered | ChannelHoldAnswered) -> Answer:
    return "hold", told.hold_id, told.outcome, tuple(sorted((line.sku, line.held) for line in told.lines)), told.expires_at


ANSWERS: dict[type[Message], Callable[[Any], Answer]] = {
    FulfillmentAssigned: lambda told: ("assigned", told.plan_id),
    FulfillmentAssignmentRejected: lambda told: (told.reason, told.plan_id),
    StockAdjusted: lambda told: ("adjusted", told.adjustment_id, told.old_on_hand, told.new_on_hand),
    StockAdjustmentRejected: lambda told: (told.reason, told.adjustment_id, told.on_hand),
    SupplyReceiptBooked: lambda told: ("booked", told.receipt_id, told.over_received),
    SupplyRejected: lambda told: (told.reason, told.supply_id),
    FeedSettingsChanged: lambda told: ("set", told.decision_id, told.patience_seconds),
    FeedSettingsRejected: lambda told: (told.reason, told.decision_id),
    FeedGapClosed: _closed,
    FeedGapCloseRejected: lambda told: (told.reason, told.decision_id),
    ShortagePolicySet: lambda told: ("policy", told.change_id, told.policy),
    StockSafetySet: lambda told: ("safety", told.change_id, told.old_safety_units, told.new_safety_units),
    StockSafetyRejected: lambda told: (told.reason, told.change_id, told.safety_units),
    ChannelPoolSet: lambda told: ("rule", told.change_id, told.fence_units, told.cap_units, told.share_percent),
    ChannelPoolRejected: lambda told: (told.reason, told.change_id),
    StockHoldAnswered: _held,
    ChannelHoldAnswered: _held,
    StockHoldRejected: lambda told: (told.reason, told.hold_id),
    ChannelHoldRejected: lambda told: (told.reason, told.hold_id),
}
"""What the service answers, as the model says it."""


def agrees(heard: Heard, judgement: Judgement) -> list[str]:
    """Where what came of a batch differs from what should."""
    answers = [ANSWERS[type(told.data)](told.data) for told in heard.outgoing if type(told.data) in ANSWERS]
    found = []
    if Counter(answers) != Counter(judgement.answers):
        found.append(f"the service answers {answers}, the model {judgement.answers}")
    if heard.parked != judgement.parked:
        found.append(f"the service parks {len(heard.parked)} messages, the model {len(judgement.parked)}")
    if heard.deferred - heard.parked != judgement.deferred - judgement.parked:
        found.append(f"the service lets {len(heard.deferred)} messages wait, the model {len(judgement.deferred)}")
    return found


@dataclass
class Listeners:
    """What channels, customers and routing know, from messages alone."""

    sold: dict[tuple[str, str], tuple[int, list[object]]] = field(default_factory=dict)
    """By SKU and pool, with the version of the number."""
    held: dict[tuple[UUID, str], int] = field(default_factory=dict)
    dates: dict[tuple[str, str, str], tuple[datetime, int | None]] = field(default_factory=dict)
    """By order and line, with the moment of which the date is: a long queue hears of an older change after a newer one."""
    free: dict[UUID, Counter[LineKey]] = field(default_factory=dict)
    """Units that routing may plan, by order and line ..."""
    coming_back: Counter[tuple[UUID, LineKey]] = field(default_factory=Counter)
    """... and units of plans that were called off: allocation has still to say whether they are there."""

    def listen(self, heard: Heard, scene: Scene, came_back: Iterable[Unit] = ()) -> None:
        """What was said in one transaction."""
        self.coming_back.update((unit.order.order_id, unit.line) for unit in came_back)
        for told in (each.data for each in heard.outgoing):
            match told:
                case StockAvailabilityChanged():
                    self._offered(told)
                case StockReserved():
                    self._reserved(told)
                case StockBackordered():
                    self._backordered(told)
                case StockHoldAnswered() | ChannelHoldAnswered() | ChannelHoldShrunk():
                    self.held.update({(told.hold_id, line.sku): line.held for line in told.lines})
                case StockPromiseChanged():
                    for moved in told.lines:
                        self._dated(told.order_id, moved.line_id, moved.sku, told.changed_at, moved.new_ship_at)
                case FulfillmentAssigned():
                    for (order_id, line), quantity in scene.plans[told.plan_id].items():
                        self.free.setdefault(order_id, Counter())[line] -= quantity
                case _:
                    pass

    def _offered(self, told: StockAvailabilityChanged) -> None:
        for change in told.changes:
            number: list[object] = [change.available, change.mode, epoch(change.next_ship_at)]
            if change.stock_version > self.sold.get((change.sku, change.pool), (-1, number))[0]:
                self.sold[change.sku, change.pool] = change.stock_version, number

    def _backordered(self, told: StockBackordered) -> None:
        for place in told.lines:
            self._dated(told.order_id, place.line_id, place.sku, told.backordered_at, place.promised_ship_at)
            if told.cause in ("shortage", "yielded"):
                self._lost(told.order_id, (place.line_id, place.sku), place.quantity)

    def _dated(self, order_id: UUID, line_id: str, sku: str, at: datetime, ships_at: datetime | None) -> None:
        key = str(order_id), line_id, sku
        if key not in self.dates or self.dates[key][0] <= at:
            self.dates[key] = at, epoch(ships_at)

    def _reserved(self, told: StockReserved) -> None:
        if told.cause == "edited":
            self.free[told.order_id] = Counter()
        for part in told.lines:
            line = part.line_id, part.sku
            self.free.setdefault(told.order_id, Counter())[line] += part.quantity
            if told.cause == "fulfillment_cancelled":
                self.coming_back[told.order_id, line] -= part.quantity

    def _lost(self, order_id: UUID, line: LineKey, quantity: int) -> None:
        """Units that are coming back are not free yet, so what is lost is lost of those first."""
        coming = max(0, min(quantity, self.coming_back[order_id, line]))
        self.coming_back[order_id, line] -= coming
        self.free.setdefault(order_id, Counter())[line] -= quantity - coming

    def misled(self, books: Books, model: Model) -> list[str]:
        """Who knows something else than what is so."""
        found = []
        for sku in [*model.products, *model.kits]:
            for pool in ["default", *(rule.channel for rule in model.rules.get(sku, ()))]:
                known = self.sold.get((sku, pool), (0, None))[1]
                if known != sold(model, sku, pool):
                    found.append(f"{pool} channel knows of {sku} {known}, it is {sold(model, sku, pool)}")
        found += [
            f"the channel knows of {line.held if line else 0} units of {sku} in hold {hold_id}, not {known}"
            for (hold_id, sku), known in self.held.items()
            if (hold := model.holds.get(hold_id)) is not None and hold.state == "held"
            if (line := hold.lines.get(sku)) is None or line.held != known
        ]
        for order in model.orders.values():
            if order.cancelled_version is None and order.order_id not in model.surprised:
                free = Counter(unit.line for unit in model.units if unit.order is order and unit.state == "reserved")
                heard = self.free.get(order.order_id, Counter())
                plannable = +Counter({line: units + min(0, self.coming_back[order.order_id, line]) for line, units in heard.items()})
                if plannable != free:
                    found.append(f"routing may plan {dict(plannable)} of order {order.order_id}, it has {dict(free)}")
        for key, rows in books["lines"].items():
            order_id, line_id, sku = key.split(" ")
            settled = sku not in books["dating"] and not books["telling"]
            date_heard = self.dates.get((order_id, line_id, sku), (None, None))[1]
            if settled and len(rows) == 1 and rows[0][0] and date_heard != rows[0][5]:
                found.append(f"the customer of {key} knows {date_heard}, the date is {rows[0][5]}")
        return found
