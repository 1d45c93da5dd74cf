"""Goods come in: what is physically there is booked and goes to who waits; what nobody expected is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause
from services.allocation.decide.supply import ExpectedLine, ReceivedUnits, receive
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.counting import are_registered, is_at_home, record_arrivals
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.handlers.supplying import lock_supplies, read_lines, save_lines
from services.allocation.queries import feeds
from services.allocation.queries import supplies as sql
from shared.contracts.stock import ReceiptBookedLine, SupplyReceiptBooked, SupplyReceived, ThirdPartyReceipt
from shared.messaging.message import Outgoing, Received, Transaction

ReceiptT = TypeVar("ReceiptT", SupplyReceived, ThirdPartyReceipt)


async def receive_supply(tx: Transaction, messages: Sequence[Received[SupplyReceived]]) -> list[Outgoing]:
    """Goods arrived: the queue gets them first come first served, the rest may be sold (features A3, B3). The answer names units that were
    more than the supply had still to bring."""
    return await _receive(tx, messages, {})


async def receive_third_party_receipts(tx: Transaction, messages: Sequence[Received[ThirdPartyReceipt]]) -> list[Outgoing]:
    """A 3PL has put goods on its shelves; like :func:`receive_supply`, netted against its counts by sequence."""
    return await _receive(tx, messages, {message.event_id: message.data.sequence for message in messages})


async def _receive(tx: Transaction, messages: Sequence[Received[ReceiptT]], sequences: Mapping[UUID, int | None]) -> list[Outgoing]:
    announced = {message.data.supply_id for message in messages if message.data.supply_id is not None}
    places = await feeds.share_locations(tx.connection, sorted({message.data.location for message in messages}))
    supplies = await lock_supplies(tx, announced)
    lines = await read_lines(tx, supplies)
    books = await open_books(tx.connection, {line.sku for message in messages for line in message.data.lines})
    books.places.update({row["location"]: place_of(row) for row in places})
    done = await _book(tx, books, messages, sequences, lines)
    if sequences:
        await record_arrivals(tx, messages, books)
    if not done:
        return []
    before = supplies_by_sku(await sql.read_open_supplies(tx.connection, list(books.pools)))
    answers: list[Outgoing] = []
    for message in done:
        event = message.data
        own = lines.get(event.supply_id, {}) if event.supply_id is not None else {}
        left, units = receive(own, event.lines)
        if event.supply_id is not None:
            lines[event.supply_id] = left
            await save_lines(tx, {event.supply_id: {line.sku: left[line.sku] for line in units}})
        answers.append(_booked(message, units))
    await feeds.insert_receipts(
        tx.connection,
        [message.data.receipt_id for message in done],
        [message.data.supply_id for message in done],
        [message.data.location for message in done],
        [message.time or tx.now for message in done],
    )
    return answers + await settle(tx, books, done, supplies_before=before)


async def _book(
    tx: Transaction,
    books: Books,
    messages: Sequence[Received[ReceiptT]],
    sequences: Mapping[UUID, int | None],
    known: Collection[UUID] | Mapping[UUID, Mapping[str, ExpectedLine]],
) -> list[Received[ReceiptT]]:
    """Puts the goods of receipts on their shelves that were not booked before; the others wait or are parked."""
    booked = {row["receipt_id"] for row in await feeds.read_receipts(tx.connection, [message.data.receipt_id for message in messages])}
    done: list[Received[ReceiptT]] = []
    for message in messages:
        event = message.data
        if not is_at_home(tx, message, event.location, books):
            continue
        if not are_registered(tx, message, (line.sku for line in event.lines), books):
            continue
        if event.supply_id is not None and event.supply_id not in known:
            tx.defer(message, f"supply_id: supply {event.supply_id} has not been scheduled yet; it comes with supply.scheduled")
            continue
        if event.receipt_id in booked:
            continue
        booked.add(event.receipt_id)
        done.append(message)
        cause = Cause(message.event_id, message.time or tx.now, event.receipt_id, sequences.get(message.event_id))
        for line in event.lines:
            books.move(books.shelf(line.sku, event.location), "received", line.quantity, cause)
    return done


def _booked(message: Received[ReceiptT], units: Sequence[ReceivedUnits]) -> Outgoing:
    """Goods that no supply announced are not more than announced: an operator books what is there."""
    event = message.data
    lines = [
        ReceiptBookedLine(sku=line.sku, quantity=line.quantity, over_received=0 if event.supply_id is None else line.over_received)
        for line in units
    ]
    over_received = sum(line.over_received for line in lines)
    body = SupplyReceiptBooked(receipt_id=event.receipt_id, supply_id=event.supply_id, lines=lines, over_received=over_received)
    return Outgoing(body, because=message)
