"""What allocation says about an order's units: reserved, waiting for supply, or a new date."""

from __future__ import annotations

from datetime import datetime

from services.routing.decide.handover import fresh_stock
from services.routing.decide.order import (
    Deadlines,
    Defer,
    Line,
    Order,
    Outcome,
    Park,
    StockWait,
    add_unplanned,
    settle_overdue,
    uncovered_units,
    units_by_line,
)
from services.routing.decide.values import replace
from shared.contracts.stock import StockBackordered, StockPromiseChanged, StockReserved


def reserve(order: Order, message: StockReserved, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units that may be planned. Whatever was said under an older order version is void, because an edit has it all said again.

    Units that a 3PL did not ship come back through here too; with the message allocation's word about them is given.
    """
    if message.order_version > order.order_version:
        return Outcome(order, problem=_unknown_version(order, message.order_version))
    units = units_by_line(message.lines)
    stranger = next((line_id for line_id in units if order.line(line_id) is None), None)
    if stranger is not None:
        return Outcome(order, problem=Park(f"lines: the order has no line {stranger}"))
    if message.cause == "fulfillment_cancelled":
        order = order.with_lines(_word_given, units)
    if message.order_version < order.order_version or order.is_cancelled:
        return Outcome(order)
    order = fresh_stock(order.with_lines(add_unplanned, units), message.assignable)
    if message.cause == "restocked":
        order = replace(order, promise_from=max(order.promise_from, message.reserved_at))
    if message.cause == "edited" and order.stock_wait.waiting_for == "allocation" and uncovered_units(order):
        # This is all that allocation has for the edited order; the rest was waiting for supply before and is not spoken of again.
        order = _await_supply(order, [None], now, deadlines)
    return Outcome(settle_overdue(order) if _all_covered(order) else order)


def backorder(order: Order, message: StockBackordered, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units that wait for supply. A shortage, or an order of higher rank, takes units away that were coming back or free to plan."""
    if message.order_version > order.order_version:
        return Outcome(order, problem=_unknown_version(order, message.order_version))
    void = message.order_version < order.order_version or order.is_cancelled
    if message.cause in ("shortage", "yielded"):
        order = order.with_lines(_lose_void if void else _lose, units_by_line(message.lines))
    if void:
        return Outcome(order)
    return Outcome(_await_supply(order, [line.promised_ship_at for line in message.lines], now, deadlines))


def move_promise(order: Order, message: StockPromiseChanged, now: datetime, deadlines: Deadlines) -> Outcome:
    """New dates for units that wait for supply: the order waits accordingly longer or shorter."""
    if message.order_version < order.order_version or order.is_cancelled:
        return Outcome(order)
    return Outcome(_await_supply(order, [line.new_ship_at for line in message.lines], now, deadlines))


def _unknown_version(order: Order, version: int) -> Defer:
    return Defer(f"order {order.order_id} is at version {order.order_version} here, version {version} has not arrived yet")


def _word_given(line: Line, units: int) -> Line:
    return replace(line, coming_back=line.coming_back - units)


def _lose(line: Line, units: int) -> Line:
    """Units that come back are not free yet, so a shortage takes those first. Below zero means that the units are part of a plan which
    allocation is about to refuse."""
    coming_back = max(0, min(line.coming_back, units))
    return replace(line, coming_back=line.coming_back - coming_back, unplanned=line.unplanned - (units - coming_back))


def _lose_void(line: Line, units: int) -> Line:
    """The same under an older version: what is free to plan was counted anew since, only the word about returned units is given."""
    return replace(line, coming_back=line.coming_back - max(0, min(line.coming_back, units)))


def _all_covered(order: Order) -> bool:
    return uncovered_units(order) == 0 and not any(line.coming_back > 0 for line in order.lines)


def _await_supply(order: Order, promised: list[datetime | None], now: datetime, deadlines: Deadlines) -> Order:
    dates = [date for date in promised if date is not None]
    without_date = now + deadlines.stock
    until = max(dates) + deadlines.promise if len(dates) == len(promised) and dates else without_date
    return replace(order, stock_wait=StockWait("stock", max(until, now + deadlines.allocation)))
