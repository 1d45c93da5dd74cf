"""Operators and 3PLs correct what is on the shelves, goods come in, parcels come back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.counting import set_on_hand, take_back_return
from services.allocation.decide.stock import Cause
from services.allocation.handlers.kits import kit_problem
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.queries import feeds as sql
from shared.contracts.returns import ReturnInspected
from shared.contracts.stock import (
    StockAdjusted,
    StockAdjustmentRejected,
    StockAdjustmentRequested,
    ThirdPartyReceipt,
    ThirdPartyStockAdjusted,
)
from shared.messaging.message import Outgoing, Received, Transaction


async def open_shelves(tx: Transaction, locations: Iterable[str], skus: Iterable[str]) -> Books:
    """Locks locations and pools, and reads shelves."""
    places = await sql.share_locations(tx.connection, sorted(set(locations)))
    books = await open_books(tx.connection, set(skus))
    books.places.update({row["location"]: place_of(row) for row in places})
    return books


def is_at_home(tx: Transaction, message: Received[Any], location: str, books: Books) -> bool:
    """Whether the location is registered and, for a partner's message, the partner's own; else the message waits or is parked."""
    place = books.places.get(location)
    if place is None:
        tx.defer(message, f"location: {location!r} is not registered here yet; it comes with location.registered")
        return False
    if message.partner is not None and message.partner != place.partner:
        tx.park(
            message,
            f"location: {location!r} does not belong to 3PL {message.partner!r}, so it cannot report its stock: "
            "send the location's own code, or register the location for this partner and re-drive",
        )
        return False
    return True


def are_registered(tx: Transaction, message: Received[Any], skus: Iterable[str], books: Books) -> bool:
    """Whether all SKUs are registered and have stock of their own. The message waits for a registration that may be on its way; of a kit
    it is parked."""
    skus = list(skus)
    problem = kit_problem(books, skus)
    if problem is not None:
        tx.park(message, problem)
        return False
    strangers = sorted({sku for sku in skus if sku not in books.pools})
    if strangers:
        tx.defer(message, f"sku: {', '.join(map(repr, strangers[:5]))} not registered here yet: register the products")
    return not strangers


async def record_arrivals(tx: Transaction, messages: Iterable[Received[Any]], books: Books) -> None:
    """Notes which messages of a location's feed have come; a count waits for none of them any more.

    A message that waits because its product is not registered counts as come: it is about that product's shelf alone, and no count of the
    others need wait for it.
    """
    told = [
        (message.data.location, message.data.sequence)
        for message in messages
        if message.event_id not in tx.parked and (message.event_id not in tx.deferred or not _names_registered(message.data, books))
    ]
    if told:
        await sql.record_arrivals(tx.connection, [location for location, _ in told], [sequence for _, sequence in told], tx.now)


def _names_registered(told: ThirdPartyStockAdjusted | ThirdPartyReceipt, books: Books) -> bool:
    skus = [told.sku] if isinstance(told, ThirdPartyStockAdjusted) else [line.sku for line in told.lines]
    return all(sku in books.pools for sku in skus)


class Adjustment(NamedTuple):
    """A correction that was made. ``below_zero_units``: how many units it left the shelf short of."""

    adjustment_id: UUID
    sku: str
    location: str
    old_on_hand: int
    new_on_hand: int
    reason: str
    author: str
    below_zero_units: int = 0


async def save_adjustments(tx: Transaction, made: Sequence[Adjustment]) -> None:
    """Remembers corrections that were made."""
    if made:
        columns = [list(column) for column in zip(*made, strict=True)]
        await sql.insert_adjustments(
            tx.connection, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6], columns[7], tx.now
        )


async def adjust_stock(tx: Transaction, messages: Sequence[Received[StockAdjustmentRequested]]) -> list[Outgoing]:
    """An operator sets what is on hand, compare-and-set (feature A7). The same adjustment told twice is made once and answered the same."""
    commands = [message.data for message in messages]
    books = await open_shelves(tx, (command.location for command in commands), (command.sku for command in commands))
    rows = await sql.read_adjustments(tx.connection, [command.adjustment_id for command in commands])
    answers = {
        row["adjustment_id"]: StockAdjusted(
            adjustment_id=row["adjustment_id"],
            sku=row["sku"],
            location=row["location"],
            old_on_hand=row["old_on_hand"],
            new_on_hand=row["new_on_hand"],
            adjusted_at=row["adjusted_at"],
        )
        for row in rows
    }
    made: list[Adjustment] = []
    outgoing: list[Outgoing] = []
    for message in messages:
        command = message.data
        answer = answers.get(command.adjustment_id) or _adjust(tx, books, message)
        if isinstance(answer, StockAdjusted) and command.adjustment_id not in answers:
            answers[command.adjustment_id] = answer
            made.append(
                Adjustment(
                    command.adjustment_id,
                    command.sku,
                    command.location,
                    answer.old_on_hand,
                    answer.new_on_hand,
                    command.reason,
                    command.operator,
                )
            )
        outgoing.append(Outgoing(answer, command.sku, message))
    await save_adjustments(tx, made)
    return outgoing + await settle(tx, books, messages)


def _adjust(tx: Transaction, books: Books, message: Received[StockAdjustmentRequested]) -> StockAdjusted | StockAdjustmentRejected:
    command = message.data
    heading = {"adjustment_id": command.adjustment_id, "sku": command.sku, "location": command.location}
    problem = kit_problem(books, [command.sku])
    if problem is not None:
        return StockAdjustmentRejected.model_validate({**heading, "reason": "kit_has_no_stock", "on_hand": None, "detail": problem[:500]})
    if command.sku not in books.pools:
        detail = f"sku: {command.sku!r} is not registered: register the product, then send the adjustment again"
        return StockAdjustmentRejected.model_validate({**heading, "reason": "unknown_sku", "on_hand": None, "detail": detail[:500]})
    if command.location not in books.places:
        detail = f"location: {command.location!r} is not registered: register the location, then send the adjustment again"
        return StockAdjustmentRejected.model_validate({**heading, "reason": "unknown_location", "on_hand": None, "detail": detail})
    shelf = books.shelf(command.sku, command.location)
    on_hand = shelf.on_hand
    if command.expected_on_hand is not None and command.expected_on_hand != on_hand:
        detail = (
            f"expected_on_hand: {command.expected_on_hand} was expected, {on_hand} are on hand now: look again and send a new adjustment"
        )
        return StockAdjustmentRejected.model_validate({**heading, "reason": "stale_expectation", "on_hand": on_hand, "detail": detail})
    set_on_hand(books, shelf, command.new_on_hand, Cause(message.event_id, tx.now, command.adjustment_id))
    return StockAdjusted.model_validate({**heading, "old_on_hand": on_hand, "new_on_hand": shelf.on_hand, "adjusted_at": tx.now})


async def apply_third_party_adjustments(tx: Transaction, messages: Sequence[Received[ThirdPartyStockAdjusted]]) -> list[Outgoing]:
    """A 3PL found, lost or broke units (feature A6). The same adjustment told twice is made once.

    It is booked whole even when the books have fewer units: the message that brought them may be on its way, and the order of arrival
    must not matter. A shelf that stays below zero is shown to operators with the correction that took it there.
    """
    events = [message.data for message in messages]
    books = await open_shelves(tx, (event.location for event in events), (event.sku for event in events))
    rows = await sql.read_adjustments(tx.connection, [event.adjustment_id for event in events])
    booked = {row["adjustment_id"] for row in rows}
    made: list[Adjustment] = []
    for message in messages:
        event = message.data
        if not is_at_home(tx, message, event.location, books) or not are_registered(tx, message, [event.sku], books):
            continue
        if event.adjustment_id in booked:
            continue
        booked.add(event.adjustment_id)
        shelf = books.shelf(event.sku, event.location)
        before, on_shelf = shelf.on_hand, shelf.on_shelf
        cause = Cause(message.event_id, message.time or tx.now, event.adjustment_id, event.sequence)
        books.move(shelf, "adjusted", event.quantity_delta, cause)
        author = f"3pl:{message.partner}" if message.partner else message.source
        below_zero = max(0, -shelf.on_shelf) if shelf.on_shelf < on_shelf else 0
        made.append(Adjustment(event.adjustment_id, event.sku, event.location, before, shelf.on_hand, event.reason, author, below_zero))
    await record_arrivals(tx, messages, books)
    await save_adjustments(tx, made)
    return await settle(tx, books, messages)


async def book_inspected_returns(tx: Transaction, messages: Sequence[Received[ReturnInspected]]) -> list[Outgoing]:
    """Puts sellable returned units back on the shelf and damaged ones aside (feature E2). A scan told twice is booked once."""
    events = [message.data for message in messages]
    books = await open_shelves(tx, (event.location for event in events), (line.sku for event in events for line in event.dispositions))
    booked = {row["scan_id"] for row in await sql.read_inspections(tx.connection, [event.scan_id for event in events])}
    done: list[ReturnInspected] = []
    for message in messages:
        event = message.data
        if not is_at_home(tx, message, event.location, books):
            continue
        if not are_registered(tx, message, (line.sku for line in event.dispositions), books) or event.scan_id in booked:
            continue
        booked.add(event.scan_id)
        done.append(event)
        for line in event.dispositions:
            take_back_return(books, event.location, line, Cause(message.event_id, event.inspected_at, event.scan_id))
    if not done:
        return []
    await _save_inspections(tx, done)
    return await settle(tx, books, messages)


async def _save_inspections(tx: Transaction, events: Sequence[ReturnInspected]) -> None:
    await sql.insert_inspections(
        tx.connection,
        [event.scan_id for event in events],
        [event.return_id for event in events],
        [event.order_id for event in events],
        [event.location for event in events],
        [event.inspected_at for event in events],
    )
    lines = [(event.scan_id, line) for event in events for line in event.dispositions]
    await sql.insert_inspected_units(
        tx.connection,
        [scan_id for scan_id, _ in lines],
        [line.line_id for _, line in lines],
        [line.disposition for _, line in lines],
        [line.sku for _, line in lines],
        [line.quantity for _, line in lines],
    )
