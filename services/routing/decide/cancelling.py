"""Cancelling some lines or units of an order: what can still be had of them, and what ships all the same.

Units that no warehouse has started come off the order as an edit would take them off. A parcel past its cutoff is held back only as a whole
(docs/decisions/0020-interception.md), so it is asked for only where it carries nothing but units that are to be called off; of every other
parcel the units are told as not cancelled, line by line. A kit is called off whole and only while nothing of it is past its cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.routing.decide.fulfillment import LEFT, STARTED, Fulfillment, State
from services.routing.decide.interception import INTERCEPTABLE, return_id_of
from services.routing.decide.order import Order, started_units
from services.routing.decide.refusals import Refusal, Wording, lines_named
from shared.contracts.orders import LineNotCancelled, OrderCancelRequested

WORDING = Wording("lines", "is cancelled", "its quantity counts kits", "all units to cancel")
BEING_HELD_BACK = frozenset({State.INTERCEPTING, State.INTERCEPT_FAILED})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be called off of one line or kit as it was bought. ``units`` are those of each order line in one of it."""

    line_id: str
    sku: str
    quantity: int
    units: Mapping[str, int]
    is_kit: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Units per order line that come off the order, and what could not be had."""

    units: Mapping[str, int]
    missed: tuple[LineNotCancelled, ...]


def wishes_of(order: Order, request: OrderCancelRequested) -> tuple[Wish, ...] | Refusal:
    """What is to be called off, or which line is named wrongly. Without a quantity it is all of the line that has not shipped."""
    wishes: list[Wish] = []
    for wanted in request.lines:
        parts = lines_named(order, wanted.line_id, {wish.line_id for wish in wishes}, WORDING)
        if isinstance(parts, Refusal):
            return parts
        each = {part.line_id: 1 if part.kit is None else part.kit.units for part in parts}
        bought = _whole({part.line_id: part.quantity - part.cancelled for part in parts}, each)
        unshipped = _whole({part.line_id: part.open for part in parts}, each)
        if wanted.quantity is not None and wanted.quantity > bought:
            detail = f"lines: {wanted.quantity} of line {wanted.line_id} are more than the {bought} bought; name at most so many"
            return Refusal("invalid", detail)
        kit = parts[0].kit
        quantity = wanted.quantity or unshipped or bought
        wishes.append(Wish(wanted.line_id, parts[0].sku if kit is None else kit.sku, quantity, each, kit is not None))
    return tuple(wishes)


def is_whole_order(order: Order, wishes: Sequence[Wish]) -> bool:
    """Whether nothing would be left to ship: that is a cancellation of the order."""
    wanted = {line_id: wish.quantity * units for wish in wishes for line_id, units in wish.units.items()}
    return all(wanted.get(line.line_id, 0) >= line.open for line in order.lines)


def carried_alone(order: Order, wishes: Sequence[Wish], change_id: UUID, awaiting: frozenset[UUID] | None = None) -> frozenset[UUID]:
    """The parcels past their cutoff that carry nothing but units which are to be called off and can not be had from elsewhere.

    ``awaiting`` are those that the open change waits for; None before it is opened, then what is started and has not left is looked at. A
    parcel that was asked for, or that comes back for this change, stays among them.
    """
    started = started_units(order)
    needed: dict[str, int] = {}
    for wish in wishes:
        if not wish.is_kit:
            line = order.line(wish.line_id)
            assert line is not None
            needed[line.line_id] = wish.quantity - max(0, line.open - started.get(line.line_id, 0))
    chosen = set()
    for fulfillment in sorted(order.fulfillments, key=lambda item: not _is_chosen(item, change_id)):
        if awaiting is None:
            eligible = fulfillment.state in INTERCEPTABLE | BEING_HELD_BACK
        else:
            eligible = fulfillment.fulfillment_id in awaiting and fulfillment.state in STARTED | LEFT
        carried = {line.line_id: line.planned - line.called_off for line in fulfillment.lines if line.planned > line.called_off}
        if eligible and all(units <= needed.get(line_id, 0) for line_id, units in carried.items()):
            chosen.add(fulfillment.fulfillment_id)
            for line_id, units in carried.items():
                needed[line_id] -= units
    return frozenset(chosen)


def _is_chosen(fulfillment: Fulfillment, change_id: UUID) -> bool:
    return fulfillment.state in BEING_HELD_BACK or fulfillment.return_id == return_id_of(change_id, fulfillment.fulfillment_id)


def returning(order: Order, change_id: UUID) -> list[UUID]:
    """The prepaid returns of parcels that left although this change had called them off."""
    return [item.return_id for item in _coming_back(order, change_id) if item.return_id is not None]


def _coming_back(order: Order, change_id: UUID) -> list[Fulfillment]:
    return [item for item in order.fulfillments if item.state in LEFT and item.return_id == return_id_of(change_id, item.fulfillment_id)]


def outcome_of(order: Order, wishes: Sequence[Wish], change_id: UUID) -> Cancelled:
    """Of each line: the units that have neither left nor are being packed are taken; what a return brings back counts as had."""
    started = started_units(order)
    back: dict[str, int] = {}
    for fulfillment in _coming_back(order, change_id):
        for part in fulfillment.lines:
            back[part.line_id] = back.get(part.line_id, 0) + part.shipped
    free = {line.line_id: max(0, line.open - started.get(line.line_id, 0)) for line in order.lines}
    units: dict[str, int] = {}
    missed = []
    for wish in wishes:
        wanted = wish.quantity - (0 if wish.is_kit else back.get(wish.line_id, 0))
        taken = min(max(0, wanted), _whole(free, wish.units))
        if taken:
            units |= {line_id: taken * each for line_id, each in wish.units.items()}
        if wanted > taken:
            missed.append(_missed(order, wish, wanted - taken))
    return Cancelled(units, tuple(missed))


def cutoff_refusal(order: Order, wishes: Sequence[Wish], held_back: frozenset[UUID]) -> Refusal | None:
    """Why nothing of what was named can be called off any more; None where some of it can."""
    if held_back:
        return None
    found = outcome_of(order, wishes, UUID(int=0))
    return None if found.units else Refusal(found.missed[0].reason, found.missed[0].detail)


def _missed(order: Order, wish: Wish, quantity: int) -> LineNotCancelled:
    place = next(
        (
            item.location
            for item in order.fulfillments
            if item.state in STARTED and any(line.line_id in wish.units and line.left for line in item.lines)
        ),
        None,
    )
    if place is None:
        reason, detail = "already_shipped", f"lines: line {wish.line_id} has shipped; it can be sent back"
    else:
        reason = "fulfillment_started"
        more = "a kit stays whole" if wish.is_kit else "its parcel carries more and is held back only as a whole"
        detail = f"lines: {place} has started with line {wish.line_id} and {more}; it can be sent back"
    return LineNotCancelled.model_validate(
        {"line_id": wish.line_id, "sku": wish.sku, "quantity": quantity, "reason": reason, "detail": detail}
    )


def _whole(units: Mapping[str, int], each: Mapping[str, int]) -> int:
    """How many whole ones there are of what is made of ``each`` of these lines."""
    return min(units[line_id] // count for line_id, count in each.items())
