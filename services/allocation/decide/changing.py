"""Orders that change after they were placed: edits and cancellation. What an order no longer needs goes back to the pool exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal
from uuid import UUID

from services.allocation.decide.books import Books, LineKey, Notice
from services.allocation.decide.stock import Assignment, Cause, Demand
from shared.contracts.orders import LineUnits, OrderCancelled, OrderEdited, OrderLine


def units_by_line(lines: Iterable[LineUnits | OrderLine]) -> dict[tuple[str, str], int]:
    """Sums units per line and SKU: one message may name a line twice."""
    units: dict[tuple[str, str], int] = {}
    for line in lines:
        units[line.line_id, line.sku] = units.get((line.line_id, line.sku), 0) + line.quantity
    return units


def cancel_order(books: Books, event: OrderCancelled, cause: Cause) -> None:
    """Releases the units that will not ship: waiting, reserved or assigned (feature D4).

    Units that the message does not list are on their way to the customer; their ``fulfillment.shipped`` follows. Units that are tied to no
    fulfillment can not be on their way: they are released, listed or not. An edit took off those that are not listed; it comes later and
    then only corrects how many count as cancelled. A cancellation told twice releases once.
    """
    order = books.orders[event.order_id]
    if order.cancelled_version is not None:
        return
    books.set_order(event.order_id, order._replace(cancelled_version=event.order_version))
    for (line_id, sku), quantity in units_by_line(event.lines).items():
        _take_back(books, (event.order_id, line_id, sku), quantity, cause, "cancelled")
    for key in books.line_keys(event.order_id):
        unassigned = sum(row.queued + row.unassigned for row in books.line(*key))
        _take_back(books, key, unassigned, cause, "cancelled")


def edit_order(books: Books, event: OrderEdited, cause: Cause, new_id: Callable[[], UUID]) -> None:
    """Brings an order to its newest version (feature D1): withdrawn plans are untied, lines shrink, lines grow.

    The newest version wins and an older one that comes late changes no line; plans that it withdrew are withdrawn all the same. Added units
    queue behind everybody who waits already and get stock with the rest of the queue. An edit of a cancelled order changes no stock.
    """
    order = books.orders[event.order_id]
    withdrawn = set(event.withdrawn_fulfillment_ids)
    assignments = [
        assignment
        for key in books.line_keys(event.order_id)
        for assignment in books.open_assignments(*key)
        if assignment.fulfillment_id in withdrawn
    ]
    stale = event.order_version <= order.order_version
    for assignment in assignments:
        freed = books.unassign(assignment, assignment.open, cause)
        if order.cancelled_version is not None:
            release_returned(books, freed, cause)
        elif stale:
            books.return_to_plan(freed, cause.event_id)
    if stale:
        return
    if order.cancelled_version is not None:
        _restate_cancelled(books, event, order.cancelled_version, new_id)
        return
    books.set_order(event.order_id, order._replace(order_version=event.order_version))
    books.listed_orders[event.order_id] = cause.event_id
    wanted = units_by_line(event.lines)
    for key in books.line_keys(event.order_id):
        surplus = sum(row.units for row in books.line(*key)) - wanted.get(key[1:], 0)
        if surplus > 0:
            _take_back(books, key, surplus, cause, "edited")
    for (line_id, sku), quantity in wanted.items():
        missing = quantity - sum(row.units for row in books.line(event.order_id, line_id, sku))
        if missing > 0:
            demand = books.add_demand(_fresh_demand(books, event.order_id, line_id, sku, new_id()))
            books.enqueue(demand, missing, cause)


def _fresh_demand(books: Books, order_id: UUID, line_id: str, sku: str, demand_id: UUID) -> Demand:
    order = books.orders[order_id]
    return Demand(
        demand_id,
        order_id,
        line_id,
        sku,
        0,
        priority=order.priority,
        hold_all=order.hold_all,
        is_new=True,
        channel=books.channel_of(order_id),
    )


def _take_back(books: Books, key: LineKey, quantity: int, cause: Cause, reason: Literal["cancelled", "edited"]) -> None:
    """Takes up to ``quantity`` open units from a line: what waits first, then what is reserved, then what is assigned; newest first."""
    left = quantity
    rows = books.line(*key)
    for row in reversed(rows):
        taken = min(left, row.queued)
        if taken:
            books.drop_queued(row, taken, cause)
            left -= _written_down(books, row, taken, cause, reason)
    for row in reversed(rows):
        taken = min(left, row.unassigned)
        if taken:
            books.drop_reserved(row, taken, cause)
            left -= _written_down(books, row, taken, cause, reason)
    for assignment in reversed(books.open_assignments(*key)):
        recalled = min(left, assignment.open)
        assignment.recalled += recalled
        for row, taken in _freed(books, assignment, recalled, cause):
            books.drop_reserved(row, taken, cause)
            left -= _written_down(books, row, taken, cause, reason)


def _freed(books: Books, assignment: Assignment, quantity: int, cause: Cause) -> list[tuple[Demand, int]]:
    return books.unassign(assignment, quantity, cause) if quantity else []


def _written_down(books: Books, row: Demand, quantity: int, cause: Cause, reason: Literal["cancelled", "edited"]) -> int:
    """A cancelled unit stays on the line as cancelled; an edit makes the line itself smaller."""
    if reason == "cancelled":
        row.cancelled += quantity
    else:
        row.units -= quantity
    books.notices.append(Notice("released", reason, row, quantity, cause.event_id))
    return quantity


def release_returned(books: Books, freed: Iterable[tuple[Demand, int]], cause: Cause) -> None:
    """Units that come back from a fulfillment of a cancelled order go to the pool: nobody would plan them again."""
    for row, quantity in freed:
        books.drop_reserved(row, quantity, cause)
        _written_down(books, row, quantity, cause, "cancelled")


def _restate_cancelled(books: Books, event: OrderEdited, cancelled_version: int, new_id: Callable[[], UUID]) -> None:
    """An edit that was made before the cancellation but comes after it: only how many units count as cancelled changes."""
    if event.order_version > cancelled_version:
        return
    books.set_order(event.order_id, books.orders[event.order_id]._replace(order_version=event.order_version))
    wanted = units_by_line(event.lines)
    for _, line_id, sku in books.line_keys(event.order_id):
        wanted.setdefault((line_id, sku), 0)
    for (line_id, sku), quantity in wanted.items():
        rows = books.line(event.order_id, line_id, sku)
        difference = quantity - sum(row.units for row in rows)
        if difference > 0:
            row = rows[-1] if rows else books.add_demand(_fresh_demand(books, event.order_id, line_id, sku, new_id()))
            row.units += difference
            row.cancelled += difference
        for row in reversed(rows):
            fewer = min(max(0, -difference), row.cancelled)
            row.units -= fewer
            row.cancelled -= fewer
            difference += fewer
