"""New orders: reserve what is there, queue what is not. The hot path, so it works on plain counters and makes few objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from shared.contracts.orders import OrderPlaced


class PlacedLine(NamedTuple):
    """One line of a new order. What is not reserved is queued.

    ``queue_position`` counts the SKU's waiting units up to and including the last one of this line; 0 when nothing of it waits.
    """

    line_id: str
    sku: str
    demand_id: UUID
    units: int
    reserved: int
    queue_position: int


class PlacedOrder(NamedTuple):
    """One new order. ``batch_index`` is its place in the batch."""

    batch_index: int
    order: OrderPlaced
    lines: list[PlacedLine]


class PoolClaim(NamedTuple):
    """What a batch of new orders takes from one pool, and what is left to sell after it (below zero in a shortage)."""

    reserved: int
    queued: int
    available: int


class Placement(NamedTuple):
    """What a batch of new orders gets."""

    orders: list[PlacedOrder]
    claims: dict[str, PoolClaim]


def place_orders(
    orders: Sequence[tuple[int, OrderPlaced]],
    *,
    known: Collection[UUID],
    available: Mapping[str, int],
    queued: Mapping[str, int],
    new_id: Callable[[], UUID],
) -> Placement:
    """Shares out the pools among new orders in the order they were received (features A1 and B3).

    Each line takes what no earlier order and no earlier line of its own order has taken; the rest of the line waits in the queue. The
    split policy makes no difference here: units of an order that holds all are reserved as they come, routing waits until all are there.
    Units that the queue waits for are never given to a new order.

    Args:
        orders: the batch: place in the batch and order. An order that comes twice counts once.
        known: order ids that were placed before.
        available: units that may be promised, of every SKU named, read under lock.
        queued: units that already wait, of every SKU named.
        new_id: makes UUIDv7; called in queue order.
    """
    left = {sku: max(0, units - queued[sku]) for sku, units in available.items()}
    before = left.copy()
    waiting: dict[str, int] = {}
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
                lines.append(PlacedLine(line.line_id, sku, new_id(), quantity, quantity, 0))
            else:
                left[sku] = 0
                position = waiting.get(sku, queued[sku]) + quantity - free
                waiting[sku] = position
                lines.append(PlacedLine(line.line_id, sku, new_id(), quantity, free, position))
        placed.append(PlacedOrder(index, order, lines))
    claims = {}
    for sku, free in before.items():
        reserved = free - left[sku]
        if reserved or sku in waiting:
            claims[sku] = PoolClaim(reserved, waiting.get(sku, queued[sku]) - queued[sku], available[sku] - reserved)
    return Placement(placed, claims)
