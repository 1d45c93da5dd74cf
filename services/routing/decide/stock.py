"""What allocation says about an order's units: reserved, waiting for supply, or a new date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import uuid5

from services.routing.decide.attention import settle_overdue
from services.routing.decide.consent import DELAYS, News, accept_dates, forget_covered, note_dates, ship_date, tell, told_to_wait
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.handover import fresh_stock
from services.routing.decide.order import Line, Order, StockWait, add_unplanned, uncovered_units, units_by_line
from services.routing.decide.outcome import Defer, Outcome, Park
from services.routing.decide.values import replace
from shared.contracts.orders import DelayedLine
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
        order = order.with_lines(_word_given if order.order_version == 1 else _word_given_once_edited, units)
    if message.order_version < order.order_version or order.is_cancelled:
        return Outcome(order)
    order = fresh_stock(order.with_lines(add_unplanned, units), message.assignable)
    if message.cause == "restocked":
        order = replace(order, promise_from=max(order.promise_from, message.reserved_at))
    if message.cause == "edited" and order.stock_wait.waiting_for == "allocation" and uncovered_units(order):
        # This is all that allocation has for the edited order; the rest was waiting for supply before and is not spoken of again.
        order = _await_supply(order, now, deadlines)
    order = forget_covered(order)
    return Outcome(settle_overdue(order) if _all_covered(order) else order)


def backorder(order: Order, message: StockBackordered, now: datetime, deadlines: Deadlines) -> Outcome:
    """Units that wait for supply. A shortage, or an order of higher rank, takes units away that were coming back or free to plan.

    Dates are said once, under whatever version: units that wait already when an order is edited are not spoken of again. What is told on
    buying is the date that the customer knows; units that are lost later are a delay.
    """
    if message.order_version > order.order_version:
        return Outcome(order, problem=_unknown_version(order, message.order_version))
    void = message.order_version < order.order_version or order.is_cancelled
    lost: Literal["shortage", "yielded"] | None = None
    match message.cause:
        case "shortage" | "yielded" as cause:
            lost = cause
    if lost is not None:
        order = order.with_lines(_lose_void if void else _lose, units_by_line(message.lines))
    if order.is_cancelled:
        return Outcome(order)
    before = ship_date(order)
    dates = _latest([(line.line_id, line.promised_ship_at) for line in message.lines])
    order = note_dates(order, dates, message.backordered_at)
    if not void:
        order = _await_supply(order, now, deadlines)
    if lost is None:
        return Outcome(forget_covered(accept_dates(order, dates)))
    cause_id = uuid5(DELAYS, f"{lost} {order.order_id} {message.backordered_at.isoformat()}")
    waiting = told_to_wait(order)
    lines = tuple(
        DelayedLine(
            line_id=line.line_id, sku=line.sku, quantity=line.quantity, old_ship_at=None, new_ship_at=order.promised[line.line_id].ship_at
        )
        for line in message.lines
        if line.line_id in waiting
    )
    if not lines:
        return Outcome(order)
    return tell(order, before, News(lost, cause_id, message.backordered_at, lines), now, deadlines)


def move_promise(order: Order, message: StockPromiseChanged, now: datetime, deadlines: Deadlines) -> Outcome:
    """New dates for units that wait for supply: the order waits accordingly longer or shorter, and its customer is told or asked.

    Goods that have come meanwhile, and dates that allocation has moved again since, are old news and told to nobody.
    """
    if order.is_cancelled:
        return Outcome(order)
    unheard = {line.line_id: line.old_ship_at for line in message.lines if line.line_id not in order.promised}
    before = ship_date(order)
    if unheard:
        missing = told_to_wait(note_dates(order, unheard, message.changed_at))
        if order.stock_wait.waiting_for == "allocation" and missing.keys() & unheard.keys():
            return Outcome(order, problem=Defer(f"lines: allocation's word that {', '.join(sorted(unheard))} wait has not arrived yet"))
        # What waited before this service kept dates: the date that was told last is the only one known.
        order = accept_dates(note_dates(order, unheard, message.changed_at), unheard)
        before = ship_date(order)
    known = order.promised
    order = note_dates(order, _latest([(line.line_id, line.new_ship_at) for line in message.lines]), message.changed_at)
    waiting = told_to_wait(order)
    lines = tuple(
        DelayedLine(
            line_id=line.line_id,
            sku=line.sku,
            quantity=line.quantity,
            old_ship_at=known[line.line_id].ship_at,
            new_ship_at=order.promised[line.line_id].ship_at,
        )
        for line in message.lines
        if line.line_id in waiting and known[line.line_id].ship_at != order.promised[line.line_id].ship_at
    )
    if not lines:
        return Outcome(forget_covered(order))
    if order.stock_wait.waiting_for == "stock":
        order = _await_supply(order, now, deadlines)
    return tell(order, before, News(message.cause, message.cause_id, message.changed_at, lines), now, deadlines)


def _unknown_version(order: Order, version: int) -> Defer:
    return Defer(f"order {order.order_id} is at version {order.order_version} here, version {version} has not arrived yet")


def _word_given(line: Line, units: int) -> Line:
    """Fewer units are awaited. Below zero when a shortage was told first of some of them: those are not to be planned."""
    return replace(line, coming_back=line.coming_back - units)


def _word_given_once_edited(line: Line, units: int) -> Line:
    """The same for an order that was edited: allocation may speak of units that the edit took off the line, which are awaited no more.

    A shortage that was told first is forgotten by that. At worst a plan is refused until a person looks; to hide units would be for ever.
    """
    return replace(line, coming_back=line.coming_back - max(0, min(line.coming_back, units)))


def _lose(line: Line, units: int) -> Line:
    """Units that come back are not free yet, so a shortage takes those first. Below zero means that the units are part of a plan which
    allocation is about to refuse."""
    coming_back = max(0, min(line.coming_back, units))
    return replace(line, coming_back=line.coming_back - coming_back, unplanned=line.unplanned - (units - coming_back))


def _lose_void(line: Line, units: int) -> Line:
    """The same under an older version: what is free to plan was counted anew since, only the word about returned units is given."""
    return _word_given_once_edited(line, units)


def _all_covered(order: Order) -> bool:
    return uncovered_units(order) == 0 and not any(line.coming_back > 0 for line in order.lines)


def _latest(dates: list[tuple[str, datetime | None]]) -> Mapping[str, datetime | None]:
    """The date per line: a message may name a line twice, and then the line ships when all of it does."""
    latest: dict[str, datetime | None] = {}
    for line_id, date in dates:
        known = latest.get(line_id, date)
        latest[line_id] = None if date is None or known is None else max(known, date)
    return latest


def _await_supply(order: Order, now: datetime, deadlines: Deadlines) -> Order:
    """The order that waits for supply: until a day after its date, or as long as a person may take to look where there is none."""
    date = ship_date(order)
    until = now + deadlines.stock if date is None else date + deadlines.promise
    return replace(order, stock_wait=StockWait("stock", max(until, now + deadlines.allocation)))
