"""New orders: reserve what is there, queue what is not. The hot path, so it works on plain counters and makes few objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from shared.contracts.orders import OrderPlaced


class PlacedLine(NamedTuple):
    """One line of a new order. What is not reserved is queued."""

    line_id: str
    sku: str
    demand_id: UUID
    units: int
    reserved: int


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


class Placement(NamedTuple):
    """What a batch of new orders gets.

    ``contested`` are SKUs that somebody waits for while an order of the same batch that holds all got units of them.
    """

    orders: list[PlacedOrder]
    claims: dict[str, PoolClaim]
    waiting: list[WaitingLine]
    contested: list[str]


def place_orders(
    orders: Sequence[tuple[int, OrderPlaced]],
    *,
    known: Collection[UUID],
    available: Mapping[str, int],
    queued: Mapping[str, int],
    held_back: Collection[str] = (),
    new_id: Callable[[], UUID],
) -> Placement:
    """Shares out the pools among new orders in the order they were received (features A1 and B3).

    Each line takes what no earlier order and no earlier line of its own order has taken; the rest of the line waits in the queue. The
    split policy makes no difference here: units of an order that holds all are reserved as they come, routing waits until all are there.
    Units that the queue waits for are never given to a new order, whatever its priority class: it goes ahead in the queue instead.

    Args:
        orders: the batch: place in the batch and order. An order that comes twice counts once.
        known: order ids that were placed before.
        available: units that may be promised, of every SKU named, read under lock.
        queued: units that already wait, of every SKU named.
        held_back: SKUs in preorder: what is on the shelf waits for the release, and every order with it (feature B1).
        new_id: makes UUIDv7; called in queue order.
    """
    left = {sku: 0 if sku in held_back else max(0, units - queued[sku]) for sku, units in available.items()}
    before = left.copy()
    waiting: list[WaitingLine] = []
    held: set[str] = set()
    seen = set(known)
    placed: list[PlacedOrder] = []
    for index, order in orders:
        if order.order_id in seen:
            continue
        seen.add(order.order_id)
        lines: list[PlacedLine] = []
        for line in order.lines:
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
    began: dict[str, int] = {}
    for wait in waiting:
        began[wait.sku] = began.get(wait.sku, 0) + wait.queued
    claims = {}
    for sku, free in before.items():
        reserved = free - left[sku]
        if reserved or sku in began:
            more = began.get(sku, 0)
            claims[sku] = PoolClaim(reserved, more, available[sku] - reserved, queued[sku] + more)
    return Placement(placed, claims, waiting, sorted(held.intersection(began)))


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
