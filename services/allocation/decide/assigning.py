"""Plans and fulfillments: units are tied to locations, shipped from there, or come back."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, NamedTuple
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.changing import release_returned, units_by_line
from services.allocation.decide.stock import Assignment, Cause, Demand
from shared.contracts.fulfillment import FulfillmentCancelled, FulfillmentPlanned, FulfillmentShipped


class Shortfall(NamedTuple):
    """Where a plan asks for more units than can be tied."""

    sku: str
    location: str
    wanted: int
    assignable: int


class Verdict(NamedTuple):
    """What became of a plan."""

    outcome: Literal["assigned", "stock_moved", "not_reserved", "superseded"]
    shortfalls: tuple[Shortfall, ...] = ()


def assign_plan(books: Books, plan: FulfillmentPlanned, cause: Cause) -> Verdict:
    """Ties all units of a plan to their locations, or none.

    The order must still want the units (alive, same version), own them (reserved and not tied yet), and each location must have them free.
    """
    verdict = _judge(books, plan)
    if verdict.outcome == "assigned":
        for fulfillment in plan.fulfillments:
            for (line_id, sku), quantity in units_by_line(fulfillment.lines).items():
                assignment = Assignment(fulfillment.fulfillment_id, plan.order_id, line_id, sku, fulfillment.location, 0, 0, is_new=True)
                books.assign(books.add_assignment(assignment), quantity, cause)
    return verdict


def _judge(books: Books, plan: FulfillmentPlanned) -> Verdict:
    order = books.orders.get(plan.order_id)
    if order is None or order.cancelled_version is not None:
        return Verdict("not_reserved")
    if plan.order_version < order.order_version:
        return Verdict("superseded")
    for (line_id, sku), quantity in units_by_line([line for part in plan.fulfillments for line in part.lines]).items():
        if quantity > sum(row.unassigned for row in books.line(plan.order_id, line_id, sku)):
            return Verdict("not_reserved")
    wanted: dict[tuple[str, str], int] = {}
    for fulfillment in plan.fulfillments:
        for line in fulfillment.lines:
            wanted[line.sku, fulfillment.location] = wanted.get((line.sku, fulfillment.location), 0) + line.quantity
    shortfalls = []
    for (sku, location), quantity in wanted.items():
        shelf = books.shelves.get(sku, {}).get(location)
        assignable = shelf.assignable if shelf else 0
        if assignable < quantity:
            shortfalls.append(Shortfall(sku, location, quantity, assignable))
    return Verdict("stock_moved", tuple(shortfalls)) if shortfalls else Verdict("assigned")


def ship_fulfillment(books: Books, event: FulfillmentShipped, cause: Cause) -> str | None:
    """Takes shipped units off the shelf, the reservation and the assignment. Returns why it cannot be, having changed nothing.

    The parcel is a fact. When its units were tied elsewhere meanwhile (a cancellation took back the wrong fulfillment's units first), the
    line's other open units ship in their place.
    """
    units = units_by_line(event.lines)
    for (line_id, sku), quantity in units.items():
        open_units = sum(row.reserved for row in books.line(event.order_id, line_id, sku))
        if sku not in books.pools or quantity > open_units:
            return (
                f"lines: {quantity} units of line {line_id!r} ({sku!r}) are said to have shipped, the order holds {open_units}: "
                "find out which units left, correct the shelf with a stock adjustment, and drop this message or re-drive it"
            )
    for (line_id, sku), quantity in units.items():
        own = books.add_assignment(
            Assignment(event.fulfillment_id, event.order_id, line_id, sku, event.location, 0, 0, is_new=True),
        )
        missing = quantity - own.open
        if missing > 0:
            loose = sum(row.unassigned for row in books.line(event.order_id, line_id, sku))
            for other in reversed(books.open_assignments(event.order_id, line_id, sku)):
                taken = min(missing - loose, other.open)
                if other is not own and taken > 0:
                    books.unassign(other, taken, cause)
                    loose += taken
            books.assign(own, missing, cause)
        books.ship(own, quantity, cause)
    return None


def cancel_fulfillment(books: Books, event: FulfillmentCancelled, cause: Cause) -> None:
    """Unties units that will not ship from there and writes off those that were not found.

    Units that shipped or were taken back before stay as they are: what a cancellation of the order recalled is what this call-off speaks of
    first. A count may have told already that assigned units are gone: what the picker misses are those first (:meth:`Books.miss`).
    Missing units may have been taken back as good before, when their 3PL had not said in time what became of them: they are written off
    all the same.
    """
    missing = units_by_line(event.missing)
    for (line_id, sku), quantity in units_by_line(event.lines).items():
        assignment = books.assignments.get((event.fulfillment_id, line_id))
        if assignment is None or assignment.sku != sku:
            continue
        taken_back = assignment.units - assignment.open - assignment.shipped - assignment.recalled
        recalled = min(quantity, assignment.recalled)
        assignment.recalled -= recalled
        taken = min(quantity - recalled, assignment.open)
        freed = books.unassign(assignment, taken, cause) if taken else []
        not_found = min(missing.get((line_id, sku), 0), quantity, recalled + taken + taken_back)
        books.miss(assignment, recalled + taken, not_found, cause)
        if books.orders[event.order_id].cancelled_version is None:
            books.return_to_plan(freed, cause.event_id)
        else:
            _give_back(books, assignment, freed, cause)


def what_is_called_off(event: FulfillmentCancelled) -> str:
    """The units of a call-off as a digest: a 3PL may report one line after the other with the same time on all of them."""
    missing = units_by_line(event.missing)
    units = sorted((line_id, sku, count, missing.get((line_id, sku), 0)) for (line_id, sku), count in units_by_line(event.lines).items())
    return hashlib.sha256(json.dumps(units).encode()).hexdigest()


def _give_back(books: Books, assignment: Assignment, freed: list[tuple[Demand, int]], cause: Cause) -> None:
    """Nobody plans the units of a cancelled order again. When the cancellation had recalled another fulfillment's units instead of these,
    that one ships: as many are tied to it again."""
    left = sum(quantity for _, quantity in freed)
    for other in books.assignments_of(assignment.order_id, assignment.line_id, assignment.sku):
        exchanged = min(other.recalled, left)
        if exchanged:
            other.recalled -= exchanged
            other.units -= exchanged
            books.assign(other, exchanged, cause)
            left -= exchanged
    for row, quantity in freed:
        released = min(quantity, left, row.unassigned)
        left -= released
        if released:
            release_returned(books, [(row, released)], cause)


def fulfillment_ids(plan: FulfillmentPlanned) -> list[UUID]:
    """The fulfillments of a plan."""
    return [fulfillment.fulfillment_id for fulfillment in plan.fulfillments]
