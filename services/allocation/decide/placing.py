"""New orders: reserve what is there, queue what is not. The hot path, so it works on plain counters and makes few objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from services.allocation.decide.holds import UsableHold, used_units
from services.allocation.decide.pools import SharedPool
from shared.contracts.orders import OrderLine, OrderPlaced

NO_UNITS: Mapping[str, int] = {}
NO_HOLDS: Mapping[UUID, UsableHold] = {}
NO_RULES: Mapping[str, SharedPool] = {}


class PlacedLine(NamedTuple):
    """One line of a new order. What is not reserved is queued."""

    line_id: str
    sku: str
    demand_id: UUID
    units: int
    reserved: int

    @property
    def waits(self) -> bool:
        """Whether some of it is queued."""
        return self.reserved < self.units


class WaitingLine(NamedTuple):
    """A new line of which units are queued, and the class in which they wait."""

    demand_id: UUID
    sku: str
    priority: int
    queued: int


class PlacedOrder(NamedTuple):
    """One new order. ``batch_index`` is its place in the batch."""

    batch_index: int
    order: OrderPlaced
    lines: list[PlacedLine]


class PoolClaim(NamedTuple):
    """What a batch of new orders takes from one pool.

    ``available`` is what nobody has after it (below zero in a shortage), ``waiting`` all units that then wait.
    """

    reserved: int
    queued: int
    available: int
    waiting: int

    @property
    def is_scarce(self) -> bool:
        """Whether nothing is left for the next order."""
        return self.available <= self.waiting


class ConfirmedHold(NamedTuple):
    """A checkout hold whose order has come: per SKU what it held, and how much of that became the order's."""

    hold_id: UUID
    order_id: UUID
    batch_index: int
    held: dict[str, int]
    used: dict[str, int]


class Placement(NamedTuple):
    """What a batch of new orders gets.

    ``contested`` are SKUs that somebody waits for while an order of the same batch that holds all got units of them. ``unheld`` are, per
    SKU, the units of the confirmed holds: they are among the reserved ones, or free again.
    """

    orders: list[PlacedOrder]
    claims: dict[str, PoolClaim]
    waiting: list[WaitingLine]
    contested: list[str]
    confirmed: Sequence[ConfirmedHold] = ()
    unheld: Mapping[str, int] = NO_UNITS


def place_orders(
    orders: Sequence[tuple[int, OrderPlaced]],
    *,
    known: Collection[UUID],
    available: Mapping[str, int],
    queued: Mapping[str, int],
    held_back: Collection[str] = (),
    new_id: Callable[[], UUID],
    holds: Mapping[UUID, UsableHold] = NO_HOLDS,
    ruled: Mapping[str, SharedPool] = NO_RULES,
) -> Placement:
    """Shares out the pools among new orders in the order they were received (features A1 and B3).

    Each line takes what no earlier order and no earlier line of its own order has taken; the rest of the line waits in the queue. The
    split policy makes no difference here: units of an order that holds all are reserved as they come, routing waits until all are there.
    Units that the queue waits for are never given to a new order, whatever its priority class: it goes ahead in the queue instead.

    An order that names a checkout hold gets the units that are held for it, and takes what it wants beyond as everybody does; what is held
    beyond what it wants is free at once (feature A5). A hold is used by one order only. Where channels have rules, an order takes what its
    channel may take (feature A9).

    Args:
        orders: the batch: place in the batch and order. An order that comes twice counts once.
        known: order ids that were placed before.
        available: units that may be promised, of every SKU named, read under lock.
        queued: units that already wait, of every SKU named.
        held_back: SKUs in preorder: what is on the shelf waits for the release, and every order with it (feature B1).
        new_id: makes UUIDv7; called in queue order.
        holds: open holds that orders of the batch name, read under lock.
        ruled: the SKUs for which channels have rules, read under lock; changed by what is placed.
    """
    confirmed = confirm_holds(orders, known, holds)
    unheld, kept = _kept_for_orders(confirmed)
    left = {
        sku: 0 if sku in held_back else max(0, units + unheld.get(sku, 0) - kept.get(sku, 0) - queued[sku])
        for sku, units in available.items()
    }
    _give_back(confirmed, holds, {sku: pool for sku, pool in ruled.items() if not pool.queued})
    waited_for = {sku: pool for sku, pool in ruled.items() if pool.queued}
    before = left.copy()
    waiting: list[WaitingLine] = []
    held: set[str] = set()
    apart = _Apart(left, ruled, {hold.order_id: hold.used.copy() for hold in confirmed})
    seen = set(known)
    placed: list[PlacedOrder] = []
    for index, order in orders:
        if order.order_id in seen:
            continue
        seen.add(order.order_id)
        lines: list[PlacedLine] = []
        if apart.concerns(order):
            lines = [apart.place(order, line, new_id()) for line in order.lines]
            waiting.extend(WaitingLine(own.demand_id, own.sku, order.priority, own.units - own.reserved) for own in lines if own.waits)
        for line in () if lines else order.lines:
            sku = line.sku
            quantity = line.quantity
            free = left[sku]
            if quantity <= free:
                left[sku] = free - quantity
                lines.append(PlacedLine(line.line_id, sku, new_id(), quantity, quantity))
            else:
                left[sku] = 0
                demand_id = new_id()
                lines.append(PlacedLine(line.line_id, sku, demand_id, quantity, free))
                waiting.append(WaitingLine(demand_id, sku, order.priority, quantity - free))
        if order.split_policy == "hold_all":
            held.update(line.sku for line in lines if line.reserved)
        placed.append(PlacedOrder(index, order, lines))
    _give_back(confirmed, holds, waited_for)
    began: dict[str, int] = {}
    for wait in waiting:
        began[wait.sku] = began.get(wait.sku, 0) + wait.queued
    claims = {}
    for sku, free in before.items():
        reserved = free - left[sku] + apart.taken.get(sku, 0)
        freed = unheld.get(sku, 0)
        if reserved or freed or sku in began:
            more = began.get(sku, 0)
            claims[sku] = PoolClaim(reserved, more, available[sku] - reserved + freed, queued[sku] + more)
    return Placement(placed, claims, waiting, sorted(held.intersection(began)), tuple(confirmed), unheld)


def confirm_holds(
    orders: Sequence[tuple[int, OrderPlaced]], known: Collection[UUID], holds: Mapping[UUID, UsableHold]
) -> list[ConfirmedHold]:
    """Which holds become which orders: each one the first new order of its own channel that names it.

    An order that names a hold of another channel, one that is used already, or none that is open, is placed as if it named none.
    """
    confirmed: list[ConfirmedHold] = []
    seen, used = set(known), set[UUID]()
    for index, order in orders if holds else ():
        hold = holds.get(order.hold_id) if order.hold_id is not None else None
        if hold is not None and order.order_id not in seen and hold.hold_id not in used and hold.channel == order.channel:
            used.add(hold.hold_id)
            taken = used_units(hold, [(line.sku, line.quantity) for line in order.lines])
            confirmed.append(ConfirmedHold(hold.hold_id, order.order_id, index, hold.held, taken))
        seen.add(order.order_id)
    return confirmed


def _kept_for_orders(confirmed: Sequence[ConfirmedHold]) -> tuple[dict[str, int], dict[str, int]]:
    """Per SKU what the confirmed holds held, and what of it their orders get; the rest is free before anybody takes anything."""
    unheld: dict[str, int] = {}
    kept: dict[str, int] = {}
    for hold in confirmed:
        for sku, units in hold.held.items():
            unheld[sku] = unheld.get(sku, 0) + units
            kept[sku] = kept.get(sku, 0) + hold.used[sku]
    return unheld, kept


def _give_back(confirmed: Sequence[ConfirmedHold], holds: Mapping[UUID, UsableHold], ruled: Mapping[str, SharedPool]) -> None:
    """Frees what holds have beyond their orders, of SKUs with rules: where nobody waits before the new orders take anything, else after
    them, so that none of them goes ahead of the queue."""
    for hold in confirmed:
        for sku, units in hold.held.items():
            if sku in ruled:
                ruled[sku].take(holds[hold.hold_id].channel, hold.used[sku] - units)


class _Apart:
    """Places the lines of orders that have held units or want SKUs with rules: held units first, then what the channel may take.

    ``taken`` are, per SKU, units that are not taken from ``left``.
    """

    def __init__(self, left: dict[str, int], ruled: Mapping[str, SharedPool], own_units: dict[UUID, dict[str, int]]) -> None:
        self._left = left
        self._ruled = ruled
        self._own_units = own_units
        self.taken: dict[str, int] = {}

    def concerns(self, order: OrderPlaced) -> bool:
        """Whether an order must be placed here; the others are placed at less cost."""
        return bool(self._ruled) or order.order_id in self._own_units

    def place(self, order: OrderPlaced, line: OrderLine, demand_id: UUID) -> PlacedLine:
        """What one line gets."""
        sku = line.sku
        own = self._own_units.get(order.order_id, {})
        held = min(line.quantity, own.get(sku, 0))
        wanted = line.quantity - held
        if held:
            own[sku] -= held
            self.taken[sku] = self.taken.get(sku, 0) + held
        if sku in self._ruled:
            free = min(wanted, self._ruled[sku].takeable(order.channel))
            self._ruled[sku].take(order.channel, free)
            self._ruled[sku].wait(order.channel, wanted - free)
            self.taken[sku] = self.taken.get(sku, 0) + free
        else:
            free = min(wanted, self._left[sku])
            self._left[sku] -= free
        return PlacedLine(line.line_id, sku, demand_id, line.quantity, held + free)


def queue_positions(waiting: Sequence[WaitingLine], ahead: Mapping[tuple[str, int], int]) -> dict[UUID, int]:
    """Per new waiting line the waiting units of its SKU up to and including its last one, when the whole batch stands in the queue.

    Args:
        waiting: the lines, in the order in which they came.
        ahead: per SKU and class, units that waited before the batch and are served before a newcomer of that class.
    """
    positions: dict[UUID, int] = {}
    come: dict[str, int] = {}
    for line in sorted(waiting, key=lambda line: line.priority):
        come[line.sku] = come.get(line.sku, 0) + line.queued
        positions[line.demand_id] = ahead.get((line.sku, line.priority), 0) + come[line.sku]
    return positions
