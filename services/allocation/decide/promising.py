"""When queued units will ship, and what a channel may be told about a SKU.

A supply serves the queue in its order: the first unit that arrives goes to the first unit that waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.allocation.decide.stock import SupplyUnits
from shared.contracts.stock import AvailabilityMode


class QueuedUnits(NamedTuple):
    """One place in the queue of a SKU and the date its order was told."""

    demand_id: UUID
    order_id: UUID
    line_id: str
    sku: str
    queued: int
    promised_ship_at: datetime | None


class PromiseMove(NamedTuple):
    """A place in the queue whose expected ship date moved."""

    place: QueuedUnits
    new_ship_at: datetime | None


class Sellable(NamedTuple):
    """What a channel is told about one SKU."""

    available: int
    mode: AvailabilityMode
    next_ship_at: datetime | None


def date_of_unit(position: int, supplies: Sequence[SupplyUnits]) -> datetime | None:
    """When the ``position``-th queued unit of a SKU (counted from 1) arrives, or ``None`` while nothing on its way reaches that far.

    Args:
        position: units ahead in the queue plus the unit itself.
        supplies: what is still expected of this one SKU, earliest first.
    """
    arrived = 0
    for supply in supplies:
        arrived += supply.quantity
        if arrived >= position:
            return supply.expected_at
    return None


def arrivals(available: int, now: datetime, supplies: Sequence[SupplyUnits]) -> Sequence[SupplyUnits]:
    """What the queue of one SKU will be served from: what is here already and not shared out yet, then what is on its way."""
    return [SupplyUnits("", now, available), *supplies] if available > 0 else supplies


def promise_moves(queue: Iterable[QueuedUnits], supplies: Sequence[SupplyUnits]) -> list[PromiseMove]:
    """The dates that differ from what was told, for one SKU. A place is promised the day its last queued unit arrives.

    Args:
        queue: all places of one SKU, first come first.
        supplies: what is still expected of that SKU, earliest first.
    """
    moves: list[PromiseMove] = []
    position = 0
    remaining = iter(supplies)
    arrived = 0
    expected_at: datetime | None = None
    for place in queue:
        position += place.queued
        while arrived < position:
            supply = next(remaining, None)
            if supply is None:
                expected_at = None
                break
            arrived += supply.quantity
            expected_at = supply.expected_at
        if expected_at != place.promised_ship_at:
            moves.append(PromiseMove(place, expected_at))
    return moves


def sellable_of(available: int, queued: int, supplies: Sequence[SupplyUnits]) -> Sellable:
    """What may be sold now and, when nothing may, when the next order would ship (feature B3) if it were the last in the queue.

    Args:
        available: units that nobody has; none when zero or below. The queue has the first claim to them.
        queued: units that already wait.
        supplies: what is still expected of the SKU, earliest first; only looked at when nothing is left for a new order.
    """
    if available > queued:
        return Sellable(available - queued, "in_stock", None)
    return Sellable(0, "backorder", date_of_unit(queued + 1 - max(0, available), supplies))


class Supply(NamedTuple):
    """Goods on their way. ``said_at`` is when the newest change of the date was said."""

    supply_id: UUID
    expected_at: datetime
    cancelled: bool = False
    said_at: datetime | None = None


def reschedule(supply: Supply, expected_at: datetime, said_at: datetime) -> Supply:
    """Moves the date, unless a newer change is known already: changes may arrive in any order."""
    if supply.said_at is not None and said_at < supply.said_at:
        return supply
    return supply._replace(expected_at=expected_at, said_at=said_at)
