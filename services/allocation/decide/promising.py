"""When queued units will ship, and what a channel may be told about a SKU.

What is on the shelf and then each supply serves the queue in its order: the first unit that arrives goes to the first unit that waits. The
statement ``queries/promises.py::move_promises`` is the same rule over a whole queue; the functions here are its oracle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.allocation.decide.stock import Demand, SupplyUnits
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


def date_of_unit(
    position: int,
    supplies: Sequence[SupplyUnits],
    *,
    on_shelf: int = 0,
    release_at: datetime | None = None,
    now: datetime | None = None,
) -> datetime | None:
    """When the ``position``-th queued unit of a SKU (counted from 1) ships, or ``None`` while nothing on its way reaches that far.

    Args:
        position: units ahead in the queue plus the unit itself.
        supplies: what is still expected of this one SKU, earliest first, undated last.
        on_shelf: units that are there for the queue (they wait for the release of a preorder, or are being shared out step by step); below
            zero when arriving units first make up for safety stock or for reserved units that a count no longer finds.
        release_at: before which nothing of a preorder ships; None for ordinary SKUs.
        now: when a unit ships that is on the shelf and that nothing holds back.
    """
    if position <= on_shelf:
        return release_at or now
    arrived = on_shelf
    for supply in supplies:
        arrived += supply.quantity
        if arrived >= position:
            return _not_before(release_at, supply.ships_at)
    return None


def _not_before(release_at: datetime | None, ships_at: datetime | None) -> datetime | None:
    return ships_at if release_at is None or ships_at is None else max(release_at, ships_at)


def promise_moves(
    queue: Iterable[QueuedUnits], supplies: Sequence[SupplyUnits], *, on_shelf: int = 0, release_at: datetime | None = None
) -> list[PromiseMove]:
    """The dates that differ from what was told, for one SKU. A place is promised the day its last queued unit ships.

    Args:
        queue: all places of one SKU, first come first.
        supplies: what is still expected of that SKU, earliest first, undated last.
        on_shelf: see :func:`date_of_unit`.
        release_at: see :func:`date_of_unit`.
    """
    moves: list[PromiseMove] = []
    position = 0
    for place in queue:
        position += place.queued
        if position <= on_shelf and release_at is None:
            continue  # its units are there and nothing holds them back: it is about to get them, not a date
        ships_at = date_of_unit(position, supplies, on_shelf=on_shelf, release_at=release_at)
        if ships_at != place.promised_ship_at:
            moves.append(PromiseMove(place, ships_at))
    return moves


def sellable_of(available: int, queued: int, supplies: Sequence[SupplyUnits], release_at: datetime | None = None) -> Sellable:
    """What may be sold now and, when nothing may leave now, when the next order would ship if it were the last in the queue (feature B3).

    A preorder is capped: no more may be sold than what is on the shelf and on its way without being spoken for (features B1, B4).

    Args:
        available: units that nobody has; none when zero or below. The queue has the first claim to them.
        queued: units that already wait.
        supplies: what is still expected of the SKU, earliest first, undated last; of a SKU that is no preorder only looked at when nothing
            is left for a new order.
        release_at: before which nothing of a preorder ships; None for ordinary SKUs.
    """
    if release_at is not None:
        left = max(0, available + sum(supply.quantity for supply in supplies) - queued)
        next_ship_at = date_of_unit(queued + 1, supplies, on_shelf=available, release_at=release_at)
        return Sellable(left, "preorder" if left else "sold_out", next_ship_at)
    if available > queued:
        return Sellable(available - queued, "in_stock", None)
    return Sellable(0, "backorder", date_of_unit(queued + 1, supplies, on_shelf=available))


def may_release(release_at: datetime | None, free: int, now: datetime, *, early: bool) -> bool:
    """Whether a preorder ends: its goods are there and its date has come, or goods are there and may go early (feature B1)."""
    return release_at is not None and free > 0 and (early or now >= release_at)


def tail_has_moved(
    *, was_queued: int, was_available: int, was_expected: int, queued: int, available: int, expected: int, added: int
) -> bool:
    """Whether the end of a queue has come nearer to its goods or farther from them, so that dates told before are wrong.

    Units served from the supply that was expected for them move nobody; neither do units that queue behind everybody.

    Args:
        was_queued: units that waited before.
        was_available: units available before, below zero in a shortage.
        was_expected: units that were on their way before.
        queued: units that wait now.
        available: units available now.
        expected: units on their way now.
        added: units among ``queued`` that have queued at the end since.
    """
    return (queued - added) - available - expected != was_queued - was_available - was_expected


def came_out_of_turn(before: Sequence[SupplyUnits], after: Sequence[SupplyUnits]) -> bool:
    """Whether goods of one SKU have come before others that were expected earlier: who waited for those is served from these, and whoever
    waited for these is served earlier.

    Args:
        before: what was expected, earliest first, undated last.
        after: what still is.
    """
    left = _units_by_date(after)
    came = max(0, sum(_units_by_date(before).values()) - sum(left.values()))
    for ships_at, units in _units_by_date(before).items():
        in_turn = min(came, units)
        came -= in_turn
        if left.get(ships_at, 0) < units - in_turn:
            return True
    return False


def _units_by_date(supplies: Iterable[SupplyUnits]) -> dict[datetime | None, int]:
    units: dict[datetime | None, int] = {}
    for supply in supplies:
        units[supply.ships_at] = units.get(supply.ships_at, 0) + supply.quantity
    return units


def left_or_came_back(row: Demand) -> bool:
    """Whether a place in the queue lost units without getting them, or has units again that were reserved: those behind it have moved."""
    queued = row.queued - row.was.queued
    return queued > 0 or (queued < 0 and queued + row.reserved - row.was.reserved != 0)
