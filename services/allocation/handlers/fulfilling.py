"""Plans of routing, parcels that left, and units that will not ship from where they were planned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.assigning import (
    Verdict,
    assign_plan,
    cancel_fulfillment,
    fulfillment_ids,
    ship_fulfillment,
    what_is_called_off,
)
from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause
from services.allocation.handlers.announcing import assignable_stock
from services.allocation.handlers.loading import add_assignment_rows, load_orders, open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.queries import fulfillments as sql
from services.allocation.queries.books import read_assignments
from services.allocation.queries.feeds import record_arrivals, share_locations
from services.allocation.queries.gaps import insert_missed_units
from shared.contracts.fulfillment import (
    AssignmentShortfall,
    FulfillmentAssigned,
    FulfillmentAssignmentRejected,
    FulfillmentCancelled,
    FulfillmentPlanned,
    FulfillmentShipped,
)
from shared.messaging.message import Outgoing, Received, Transaction

FulfillmentT = TypeVar("FulfillmentT", FulfillmentShipped, FulfillmentCancelled)


async def assign_planned_fulfillments(tx: Transaction, messages: Sequence[Received[FulfillmentPlanned]]) -> list[Outgoing]:
    """Ties each plan's units to its locations, all or nothing. A plan told twice is decided once."""
    plans = [message.data for message in messages]
    books = await open_books(tx.connection, {line.sku for plan in plans for fulfillment in plan.fulfillments for line in fulfillment.lines})
    await load_orders(tx.connection, books, {plan.order_id for plan in plans})
    decided = {row["plan_id"] for row in await sql.read_plans(tx.connection, [plan.plan_id for plan in plans])}
    taken = await sql.read_fulfillments(tx.connection, [each for plan in plans for each in fulfillment_ids(plan)])
    known = {row["fulfillment_id"]: row["plan_id"] for row in taken}
    verdicts: list[tuple[Received[FulfillmentPlanned], Verdict]] = []
    for message in messages:
        plan = message.data
        if plan.plan_id in decided or not _may_judge(tx, message, books, known):
            continue
        decided.add(plan.plan_id)
        known.update(dict.fromkeys(fulfillment_ids(plan), plan.plan_id))
        verdicts.append((message, assign_plan(books, plan, Cause(message.event_id, tx.now, plan.plan_id))))
    await _save_verdicts(tx, verdicts)
    told = await settle(tx, books, messages)
    return [_answer(books, message, verdict) for message, verdict in verdicts] + told


def _may_judge(tx: Transaction, message: Received[FulfillmentPlanned], books: Books, known: Mapping[UUID, UUID]) -> bool:
    plan = message.data
    taken = next((each for each in fulfillment_ids(plan) if each in known), None)
    if taken is not None:
        tx.park(message, f"fulfillments: {taken} belongs to plan {known[taken]} already; a new plan needs new fulfillment ids")
        return False
    if len(set(fulfillment_ids(plan))) < len(plan.fulfillments):
        tx.park(message, "fulfillments: the same fulfillment_id stands twice; give each fulfillment its own")
        return False
    order = books.orders.get(plan.order_id)
    if order is not None and order.cancelled_version is None and plan.order_version > order.order_version:
        tx.defer(message, f"order_version: version {plan.order_version} of order {plan.order_id} has not arrived yet")
        return False
    return True


async def _save_verdicts(tx: Transaction, verdicts: Sequence[tuple[Received[FulfillmentPlanned], Verdict]]) -> None:
    plans = [(message.data, verdict) for message, verdict in verdicts]
    parts = [(plan, verdict, fulfillment) for plan, verdict in plans for fulfillment in plan.fulfillments]
    await sql.insert_plans(
        tx.connection,
        [plan.plan_id for plan, _ in plans],
        [plan.order_id for plan, _ in plans],
        [verdict.outcome for _, verdict in plans],
        tx.now,
    )
    await sql.insert_fulfillments(
        tx.connection,
        [fulfillment.fulfillment_id for _, _, fulfillment in parts],
        [plan.plan_id for plan, _, _ in parts],
        [plan.order_id for plan, _, _ in parts],
        [fulfillment.location for _, _, fulfillment in parts],
        [verdict.outcome == "assigned" for _, verdict, _ in parts],
    )


def _answer(books: Books, message: Received[FulfillmentPlanned], verdict: Verdict) -> Outgoing:
    plan = message.data
    if verdict.outcome == "assigned":
        return Outgoing(FulfillmentAssigned(plan_id=plan.plan_id, order_id=plan.order_id), str(plan.order_id), message)
    skus = [line.sku for fulfillment in plan.fulfillments for line in fulfillment.lines]
    rejected = FulfillmentAssignmentRejected(
        plan_id=plan.plan_id,
        order_id=plan.order_id,
        reason=verdict.outcome,
        shortfalls=[
            AssignmentShortfall(sku=short.sku, location=short.location, wanted=short.wanted, assignable=short.assignable)
            for short in verdict.shortfalls
        ],
        assignable=assignable_stock(books, skus) if verdict.outcome == "stock_moved" else [],
    )
    return Outgoing(rejected, str(plan.order_id), message)


async def deduct_shipped_fulfillments(tx: Transaction, messages: Sequence[Received[FulfillmentShipped]]) -> list[Outgoing]:
    """Takes shipped units off the shelves. A fulfillment told as shipped twice deducts once."""
    books, known = await _open(tx, messages)
    shipped = {fulfillment_id for fulfillment_id, row in known.items() if row["shipped_at"] is not None}
    done: list[Received[FulfillmentShipped]] = []
    for message in _known(tx, messages, known, books):
        event = message.data
        if event.fulfillment_id in shipped:
            continue
        problem = ship_fulfillment(books, event, Cause(message.event_id, event.shipped_at, event.fulfillment_id, event.partner_sequence))
        if problem is not None:
            tx.park(message, problem)
            continue
        shipped.add(event.fulfillment_id)
        done.append(message)
    await _record_sequences(tx, [message for message in messages if message.event_id not in tx.deferred])
    if not done:
        return []
    await sql.mark_shipped(tx.connection, [message.data.fulfillment_id for message in done], [message.data.shipped_at for message in done])
    return await settle(tx, books, done)


async def _record_sequences(tx: Transaction, messages: Sequence[Received[FulfillmentShipped]]) -> None:
    told = [(message.data.location, message.data.partner_sequence) for message in messages]
    sequenced = [(location, sequence) for location, sequence in told if sequence is not None]
    if sequenced:
        await record_arrivals(tx.connection, [location for location, _ in sequenced], [sequence for _, sequence in sequenced], tx.now)


async def take_back_cancelled_fulfillments(tx: Transaction, messages: Sequence[Received[FulfillmentCancelled]]) -> list[Outgoing]:
    """Unties units that will not ship from there. The same call-off told twice takes back once; shipped units stay shipped."""
    books, known = await _open(tx, messages)
    rows = await sql.read_cancellations(tx.connection, list(known))
    booked = {(row["fulfillment_id"], row["cause"], row["cancelled_at"], row["said"]) for row in rows}
    done: list[Received[FulfillmentCancelled]] = []
    for message in _known(tx, messages, known, books):
        event = message.data
        told = (event.fulfillment_id, event.cause, event.cancelled_at)
        # Of those that were booked before, it is not known which units they named.
        if (*told, what_is_called_off(event)) in booked or (*told, "") in booked:
            continue
        booked.add((*told, what_is_called_off(event)))
        cancel_fulfillment(books, event, Cause(message.event_id, event.cancelled_at, event.fulfillment_id))
        done.append(message)
    if not done:
        return []
    events = [message.data for message in done]
    await sql.insert_cancellations(
        tx.connection,
        [event.fulfillment_id for event in events],
        [event.cause for event in events],
        [event.cancelled_at for event in events],
        [what_is_called_off(event) for event in events],
    )
    await _save_missed(tx, books)
    return await settle(tx, books, done)


async def _save_missed(tx: Transaction, books: Books) -> None:
    if books.missed:
        await insert_missed_units(
            tx.connection,
            [tx.new_id() for _ in books.missed],
            [missed.location for missed in books.missed],
            [missed.sku for missed in books.missed],
            [missed.fulfillment_id for missed in books.missed],
            [missed.quantity for missed in books.missed],
            [missed.happened_at for missed in books.missed],
        )


async def _open(tx: Transaction, messages: Sequence[Received[FulfillmentT]]) -> tuple[Books, dict[UUID, Record]]:
    events = [message.data for message in messages]
    places = await share_locations(tx.connection, sorted({event.location for event in events}))
    books = await open_books(tx.connection, {line.sku for event in events for line in event.lines})
    books.places.update({row["location"]: place_of(row) for row in places})
    await load_orders(tx.connection, books, {event.order_id for event in events})
    ids = [event.fulfillment_id for event in events]
    add_assignment_rows(books, await read_assignments(tx.connection, ids))
    return books, {row["fulfillment_id"]: row for row in await sql.read_fulfillments(tx.connection, ids)}


def _known(
    tx: Transaction, messages: Collection[Received[FulfillmentT]], known: Mapping[UUID, Record], books: Books
) -> list[Received[FulfillmentT]]:
    """Messages about fulfillments that we have decided about, and that say the same of them; the others wait or are parked."""
    fitting = []
    for message in messages:
        event = message.data
        row = known.get(event.fulfillment_id)
        if row is None:
            tx.defer(message, f"fulfillment_id: the plan of fulfillment {event.fulfillment_id} has not arrived yet")
        elif (row["order_id"], row["location"]) != (event.order_id, event.location):
            tx.park(
                message,
                f"fulfillment_id: {event.fulfillment_id} was planned for order {row['order_id']} at {row['location']!r}, "
                f"not for order {event.order_id} at {event.location!r}: find out which fulfillment is meant",
            )
        elif event.location not in books.places:
            tx.defer(message, f"location: {event.location!r} is not registered here yet; it comes with location.registered")
        else:
            fitting.append(message)
    return fitting
