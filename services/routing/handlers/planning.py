"""The last step of every handler that may free units: plan what may be planned."""

from __future__ import annotations

from services.routing import current
from services.routing.book import Book
from services.routing.decide.order import Order
from services.routing.decide.planner import Planner
from services.routing.decide.planning import Claims, Planned, ask_again_for_stock, plan_order, plannable
from services.routing.postal_codes import find_place


async def plan_touched(book: Book, *, guess_stock: bool = False) -> None:
    """Plans the orders that this transaction worked on, in the order in which they were worked on.

    Args:
        book: the orders.
        guess_stock: when no plan is possible with the known numbers, make one on a guess, so that allocation tells fresh ones.
    """
    now = book.tx.now
    ready = [order_id for order_id in book.touched if plannable(book.orders[order_id], now)]
    if not ready:
        return
    planner = await current.planner(book.tx.connection, keep_at=now)
    claims: Claims = {}
    for order_id in ready:
        planned = _plan(book, book.orders[order_id], planner, claims)
        if guess_stock and (planned.decision is None or not planned.decision.record["chosen"]):
            guessed = _plan(book, ask_again_for_stock(book.orders[order_id], planner), planner, claims)
            planned = guessed if guessed.decision is not None and guessed.decision.record["chosen"] else planned
        book.apply(planned.outcome, book.touched[order_id])
        book.decide(planned.decision)


def _plan(book: Book, order: Order, planner: Planner, claims: Claims) -> Planned:
    return plan_order(
        order,
        find_place(order.ship_to["postal_code"], order.ship_to["country"]),
        planner,
        claims,
        book.tx.now,
        book.tx.new_id,
        book.deadlines,
        current.settings().carrier,
    )
