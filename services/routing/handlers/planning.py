"""The last step of every handler that may free units: plan what may be planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.routing import current
from services.routing.book import Book
from services.routing.decide.capacity import Openings, SlotKey, without_a_slot
from services.routing.decide.network import Network
from services.routing.decide.order import Order
from services.routing.decide.outcome import Outcome
from services.routing.decide.planner import Planner
from services.routing.decide.planning import Claims, Planned, ask_again_for_stock, plan_anew_at_once, plan_order, plannable, request_for
from services.routing.decide.plans import Plan
from services.routing.decide.replanning import held_until, newest_stock, plan_together, savings_of
from services.routing.decide.values import replace
from services.routing.postal_codes import find_place
from services.routing.queries import capacity, replanning


async def plan_new(book: Book) -> None:
    """Plans the orders of this transaction, or lets them wait for the others of their window, where that costs no day. One that waits is
    looked at again: what came for it meanwhile may lie where waiting costs a day."""
    window = current.settings().replanning_window()
    if window:
        network = (await current.planner(book.tx.connection)).network
        for order_id in list(book.touched):
            order = book.orders[order_id]
            # Before its first plan nothing else puts an order off.
            free = order if order.fulfillments else replace(order, plan_due_at=None)
            if plannable(free, book.tx.now):
                until = held_until(free, network, book.tx.now, window)
                if until != order.plan_due_at:
                    book.apply(Outcome(replace(free, plan_due_at=until)), book.touched[order_id])
    await plan_touched(book)


async def plan_due(book: Book) -> None:
    """Plans the orders of this transaction together, where orders wait for each other; else one after the other."""
    await plan_touched(book, together=bool(current.settings().replanning_window()))


async def plan_touched(book: Book, *, guess_stock: bool = False, together: bool = False) -> None:
    """Plans the orders that this transaction worked on, in the order in which they were worked on.

    Args:
        book: the orders.
        guess_stock: when no plan is possible with the known numbers, make one on a guess, so that allocation tells fresh ones.
        together: let orders that compete for units exchange them while that makes all of them together cheaper.
    """
    now = book.tx.now
    ready = [order_id for order_id in book.touched if plannable(book.orders[order_id], now)]
    if not ready:
        return
    planner = await current.planner(book.tx.connection, keep_at=now)
    openings = await current.openings(book.tx.connection, planner.network, now, book.slot_changes())
    skus = {line.sku for order_id in ready for line in book.orders[order_id].lines}
    planner = await current.looking_ahead(book.tx.connection, planner, skus, now)
    claims: Claims = {}
    plans: dict[UUID, Planned] = {}
    proposed = _propose_together(book, ready, planner) if together and openings is None and len(ready) > 1 else {}
    # What was proposed comes first: the others get what it leaves.
    for order_id in [*proposed, *(order_id for order_id in ready if order_id not in proposed)]:
        planned = _plan(book, book.orders[order_id], planner, claims, openings, proposed.get(order_id))
        if guess_stock and (planned.decision is None or not planned.decision.record["chosen"]):
            guessed = _plan(book, ask_again_for_stock(book.orders[order_id], planner), planner, claims, openings)
            planned = guessed if guessed.decision is not None and guessed.decision.record["chosen"] else planned
        plans[order_id] = planned
    if openings is not None:
        for order_id in await _too_late(book, planner.network, plans):
            plans[order_id] = plan_anew_at_once(book.orders[order_id], now)
    for order_id, planned in plans.items():
        book.apply(planned.outcome, book.touched[order_id])
        book.decide(planned.decision)
    saved = savings_of(proposed.values())
    if saved.orders:
        await replanning.add_savings(book.tx.connection, saved)


def _propose_together(book: Book, ready: Sequence[UUID], planner: Planner) -> dict[UUID, Plan]:
    """Plans of as many orders as find all of their units in the newest numbers, in the order in which they came."""
    requests = {}
    for order_id in sorted(ready):
        order = book.orders[order_id]
        place = find_place(order.ship_to["postal_code"], order.ship_to["country"])
        if place is not None:
            requests[order_id] = request_for(order, plannable(order, book.tx.now), place, book.tx.now, None)
    return plan_together(planner, requests, newest_stock(book.orders[order_id] for order_id in requests))


async def _too_late(book: Book, network: Network, plans: Mapping[UUID, Planned]) -> set[UUID]:
    """Locks the slots that plans stand on, together with those that come back, and tells whose were taken since they were looked at."""
    wanted = {order_id: _new_slots(book.orders[order_id], planned) for order_id, planned in plans.items()}
    keys = {key for own in wanted.values() for key in own}
    if not keys:
        return set()
    given_back = book.slot_changes()
    limits = {key: _limit(network, key) for key in sorted(keys | given_back.keys())}
    taken = await capacity.lock_slots(book.tx.connection, limits)
    for key, change in given_back.items():
        taken[key] += change
    return without_a_slot(wanted.items(), taken, limits)


def _new_slots(order: Order, planned: Planned) -> Sequence[SlotKey]:
    known = {fulfillment.fulfillment_id for fulfillment in order.fulfillments}
    return [key for item in planned.outcome.order.fulfillments if item.fulfillment_id not in known for key in item.slots]


def _limit(network: Network, key: SlotKey) -> int | None:
    limited = network.limited.get(key[0])
    return None if limited is None else limited[0].of(key[2])


def _plan(book: Book, order: Order, planner: Planner, claims: Claims, openings: Openings | None, proposed: Plan | None = None) -> Planned:
    return plan_order(
        order,
        find_place(order.ship_to["postal_code"], order.ship_to["country"]),
        planner,
        claims,
        book.tx.now,
        book.tx.new_id,
        book.deadlines,
        openings,
        proposed,
    )
