"""Inbound supply: goods are announced, delayed, called off, and arrive; waiting orders are told new dates and get their units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.promising import PromiseMove, QueuedUnits, Supply, promise_moves, reschedule
from services.allocation.decide.stock import Cause, SupplyUnits
from services.allocation.handlers.announcing import availability_changes, availability_messages, supplies_by_sku
from services.allocation.handlers.counting import are_registered, is_at_home, open_shelves, record_arrivals
from services.allocation.handlers.kits import changed_components, tell_kits
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import save, settle
from services.allocation.queries import feeds
from services.allocation.queries import supplies as sql
from services.allocation.queries.books import read_orders
from services.allocation.queries.queue import read_queues
from shared.contracts.stock import (
    PromiseChange,
    StockPromiseChanged,
    SupplyCancelled,
    SupplyReceived,
    SupplyRescheduled,
    SupplyScheduled,
    ThirdPartyReceipt,
)
from shared.messaging.message import Outgoing, Received, Transaction

ReceiptT = TypeVar("ReceiptT", SupplyReceived, ThirdPartyReceipt)
ChangeT = TypeVar("ChangeT", SupplyRescheduled, SupplyCancelled)


@dataclass(slots=True)
class Expectations:
    """What is on its way for some SKUs, and who waits for it: promises follow every change, one cause after the other."""

    supplies: dict[UUID, Supply] = field(default_factory=dict)
    units: dict[str, dict[UUID, int]] = field(default_factory=dict)
    queues: dict[str, list[QueuedUnits]] = field(default_factory=dict)
    dates: dict[UUID, PromiseMove] = field(default_factory=dict)

    def of(self, sku: str) -> list[SupplyUnits]:
        """What is still expected of a SKU, earliest first."""
        coming = [
            (supply.expected_at, supply_id, quantity)
            for supply_id, quantity in self.units.get(sku, {}).items()
            if not (supply := self.supplies[supply_id]).cancelled
        ]
        return [SupplyUnits(sku, expected_at, quantity) for expected_at, _, quantity in sorted(coming)]

    def promise(self, skus: Iterable[str]) -> list[PromiseMove]:
        """Dates the queues of some SKUs anew; returns what moved."""
        moved: list[PromiseMove] = []
        for sku in sorted(set(skus)):
            moves = {move.place.demand_id: move for move in promise_moves(self.queues.get(sku, ()), self.of(sku))}
            self.queues[sku] = [
                place._replace(promised_ship_at=moves[place.demand_id].new_ship_at) if place.demand_id in moves else place
                for place in self.queues.get(sku, ())
            ]
            self.dates.update(moves)
            moved.extend(moves.values())
        return moved


async def schedule_supply(tx: Transaction, messages: Sequence[Received[SupplyScheduled]]) -> list[Outgoing]:
    """Goods are on the way: waiting lines get dates (features B3, B4). A supply announced twice is expected once."""
    books = await open_shelves(
        tx,
        (message.data.location for message in messages),
        (line.sku for message in messages for line in message.data.lines),
    )
    known = {row["supply_id"] for row in await sql.read_supplies(tx.connection, [message.data.supply_id for message in messages])}
    fresh: list[Received[SupplyScheduled]] = []
    for message in messages:
        supply = message.data
        if supply.supply_id in known or not is_at_home(tx, message, supply.location, books):
            continue
        if are_registered(tx, message, (line.sku for line in supply.lines), books):
            known.add(supply.supply_id)
            fresh.append(message)
    if not fresh:
        return []
    expectations = await _expectations(tx, books)
    before = {sku: expectations.of(sku) for sku in books.pools}
    moved: list[tuple[Received[Any], UUID, list[PromiseMove]]] = []
    for message in fresh:
        supply = message.data
        expectations.supplies[supply.supply_id] = Supply(supply.supply_id, supply.expected_at)
        for line in supply.lines:
            units = expectations.units.setdefault(line.sku, {})
            units[supply.supply_id] = units.get(supply.supply_id, 0) + line.quantity
        moved.append((message, supply.supply_id, expectations.promise(line.sku for line in supply.lines)))
    await sql.insert_supplies(
        tx.connection,
        [message.data.supply_id for message in fresh],
        [message.data.location for message in fresh],
        [message.data.expected_at for message in fresh],
    )
    totals = _totals((message.data.supply_id, line.sku, line.quantity) for message in fresh for line in message.data.lines)
    await sql.insert_supply_lines(tx.connection, [key[0] for key in totals], [key[1] for key in totals], list(totals.values()))
    return await _tell(tx, books, expectations, before, moved, "supply_scheduled")


def _totals(parts: Iterable[tuple[UUID, str, int]]) -> dict[tuple[UUID, str], int]:
    totals: dict[tuple[UUID, str], int] = {}
    for supply_id, sku, quantity in parts:
        totals[supply_id, sku] = totals.get((supply_id, sku), 0) + quantity
    return totals


async def reschedule_supply(tx: Transaction, messages: Sequence[Received[SupplyRescheduled]]) -> list[Outgoing]:
    """The date of goods moved: every order that waits for them is told once per change (feature B2)."""
    supplies, ready = await _changeable(tx, messages)
    if not ready:
        return []
    books, expectations, before = await _open_supplies(tx, supplies)
    moved: list[tuple[Received[Any], UUID, list[PromiseMove]]] = []
    for message in sorted(ready, key=lambda message: message.time or tx.now):
        change = message.data
        supply = reschedule(supplies[change.supply_id], change.expected_at, message.time or tx.now)
        expectations.supplies[change.supply_id] = supplies[change.supply_id] = supply
        moved.append((message, change.change_id, expectations.promise(_skus_of(expectations, change.supply_id))))
    await _save_changes(tx, ready, supplies)
    return await _tell(tx, books, expectations, before, moved, "supply_rescheduled")


async def cancel_supply(tx: Transaction, messages: Sequence[Received[SupplyCancelled]]) -> list[Outgoing]:
    """Goods will not come, or no more of them: orders that waited for them are told (feature B4)."""
    supplies, ready = await _changeable(tx, messages)
    if not ready:
        return []
    books, expectations, before = await _open_supplies(tx, supplies)
    moved: list[tuple[Received[Any], UUID, list[PromiseMove]]] = []
    for message in ready:
        change = message.data
        expectations.supplies[change.supply_id] = supplies[change.supply_id] = supplies[change.supply_id]._replace(cancelled=True)
        moved.append((message, change.change_id, expectations.promise(_skus_of(expectations, change.supply_id))))
    await _save_changes(tx, ready, supplies)
    return await _tell(tx, books, expectations, before, moved, "supply_cancelled")


def _skus_of(expectations: Expectations, supply_id: UUID) -> list[str]:
    return [sku for sku, units in expectations.units.items() if supply_id in units]


async def _changeable(tx: Transaction, messages: Sequence[Received[ChangeT]]) -> tuple[dict[UUID, Supply], list[Received[ChangeT]]]:
    """Locks the supplies. Changes made before are dropped, those of supplies not announced yet wait, those of cancelled ones are parked."""
    rows = await sql.lock_supplies(tx.connection, sorted({message.data.supply_id for message in messages}))
    supplies = {row["supply_id"]: Supply(row["supply_id"], row["expected_at"], row["cancelled"], row["rescheduled_at"]) for row in rows}
    made = {row["change_id"] for row in await sql.read_supply_changes(tx.connection, [message.data.change_id for message in messages])}
    ready: list[Received[ChangeT]] = []
    for message in messages:
        change = message.data
        if change.change_id in made:
            continue
        supply = supplies.get(change.supply_id)
        if supply is None:
            tx.defer(message, f"supply_id: supply {change.supply_id} has not been scheduled yet; it comes with supply.scheduled")
        elif supply.cancelled:
            if isinstance(change, SupplyRescheduled):
                tx.park(message, f"supply_id: supply {change.supply_id} was cancelled and has no date; schedule a new one")
        else:
            made.add(change.change_id)
            ready.append(message)
    return supplies, ready


async def _open_supplies(tx: Transaction, supplies: Mapping[UUID, Supply]) -> tuple[Books, Expectations, dict[str, list[SupplyUnits]]]:
    lines = await sql.read_supply_lines(tx.connection, list(supplies))
    books = await open_books(tx.connection, {row["sku"] for row in lines})
    expectations = await _expectations(tx, books)
    return books, expectations, {sku: expectations.of(sku) for sku in books.pools}


async def _expectations(tx: Transaction, books: Books) -> Expectations:
    expectations = Expectations()
    for row in await sql.read_expected(tx.connection, list(books.pools)):
        expectations.supplies[row["supply_id"]] = Supply(row["supply_id"], row["expected_at"])
        expectations.units.setdefault(row["sku"], {})[row["supply_id"]] = row["quantity"]
    for row in await read_queues(tx.connection, list(books.pools)):
        expectations.queues.setdefault(row["sku"], []).append(QueuedUnits(*row.values()))
    return expectations


async def _save_changes(tx: Transaction, messages: Sequence[Received[ChangeT]], supplies: Mapping[UUID, Supply]) -> None:
    changed = [supplies[supply_id] for supply_id in sorted({message.data.supply_id for message in messages})]
    await sql.update_supplies(
        tx.connection,
        [supply.supply_id for supply in changed],
        [supply.expected_at for supply in changed],
        [supply.cancelled for supply in changed],
        [supply.said_at for supply in changed],
    )
    await sql.insert_supply_changes(
        tx.connection, [message.data.change_id for message in messages], [message.data.supply_id for message in messages], tx.now
    )


async def _tell(
    tx: Transaction,
    books: Books,
    expectations: Expectations,
    before: Mapping[str, Sequence[SupplyUnits]],
    moved: Sequence[tuple[Received[Any], UUID, list[PromiseMove]]],
    cause: str,
) -> list[Outgoing]:
    """Saves new dates, and says them: one message per order and cause, and the next ship date of what is sold out."""
    dates = expectations.dates.values()
    if dates:
        await sql.update_promises(
            tx.connection,
            [move.place.order_id for move in dates],
            [move.place.line_id for move in dates],
            [move.place.demand_id for move in dates],
            [move.new_ship_at for move in dates],
        )
    order_ids = {move.place.order_id for _, _, moves in moved for move in moves}
    versions = {row["order_id"]: row["order_version"] for row in await read_orders(tx.connection, list(order_ids))}
    outgoing: list[Outgoing] = []
    for message, cause_id, moves in moved:
        outgoing.extend(_promises(message, cause, cause_id, moves, versions, tx.now))
    for sku in books.pools:
        if before[sku] != expectations.of(sku):
            books.touch(sku, Cause(moved[0][0].event_id, tx.now))
    await save(tx.connection, books, tx.new_id)
    changes = availability_changes(books, before, {sku: expectations.of(sku) for sku in books.pools})
    causes = [message for message, _, _ in moved]
    return outgoing + availability_messages(changes, causes, tx.now) + await tell_kits(tx, changed_components(books), causes)


def _promises(
    message: Received[Any], cause: str, cause_id: UUID, moves: Sequence[PromiseMove], versions: Mapping[UUID, int], now: datetime
) -> Iterable[Outgoing]:
    by_order: dict[UUID, list[PromiseChange]] = {}
    for move in moves:
        place = move.place
        by_order.setdefault(place.order_id, []).append(
            PromiseChange(
                line_id=place.line_id,
                sku=place.sku,
                quantity=place.queued,
                old_ship_at=place.promised_ship_at,
                new_ship_at=move.new_ship_at,
            )
        )
    for order_id, lines in by_order.items():
        body = {"order_id": order_id, "order_version": versions[order_id], "cause": cause, "cause_id": cause_id}
        yield Outgoing(StockPromiseChanged.model_validate({**body, "lines": lines, "changed_at": now}), str(order_id), message)


async def receive_supply(tx: Transaction, messages: Sequence[Received[SupplyReceived]]) -> list[Outgoing]:
    """Goods arrived: the queue gets them first come first served, the rest may be sold (features A3, B3)."""
    return await _receive(tx, messages, {})


async def receive_third_party_receipts(tx: Transaction, messages: Sequence[Received[ThirdPartyReceipt]]) -> list[Outgoing]:
    """A 3PL has put goods on its shelves; like :func:`receive_supply`, netted against its counts by sequence."""
    return await _receive(tx, messages, {message.event_id: message.data.sequence for message in messages})


async def _receive(tx: Transaction, messages: Sequence[Received[ReceiptT]], sequences: Mapping[UUID, int | None]) -> list[Outgoing]:
    events = [message.data for message in messages]
    announced = {event.supply_id for event in events if event.supply_id is not None}
    books = await _open_receipts(tx, events, announced)
    known = {row["supply_id"] for row in await sql.read_supply_lines(tx.connection, list(announced))}
    booked = {row["receipt_id"] for row in await feeds.read_receipts(tx.connection, [event.receipt_id for event in events])}
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
    if sequences:
        await record_arrivals(tx, messages, books)
    if not done:
        return []
    before = supplies_by_sku(await sql.read_open_supplies(tx.connection, list(books.pools)))
    await _save_receipts(tx, done)
    return await settle(tx, books, done, supplies_before=before)


async def _open_receipts(tx: Transaction, events: Sequence[SupplyReceived | ThirdPartyReceipt], announced: Collection[UUID]) -> Books:
    """Locks locations, then supplies, then pools."""
    places = await feeds.share_locations(tx.connection, sorted({event.location for event in events}))
    await sql.lock_supplies(tx.connection, sorted(announced))
    books = await open_books(tx.connection, {line.sku for event in events for line in event.lines})
    books.places.update({row["location"]: place_of(row) for row in places})
    return books


async def _save_receipts(tx: Transaction, messages: Sequence[Received[ReceiptT]]) -> None:
    events = [message.data for message in messages]
    await feeds.insert_receipts(
        tx.connection,
        [event.receipt_id for event in events],
        [event.supply_id for event in events],
        [event.location for event in events],
        [message.time or tx.now for message in messages],
    )
    came = [(event.supply_id, line) for event in events if event.supply_id is not None for line in event.lines]
    if came:
        await sql.add_received(
            tx.connection,
            [supply_id for supply_id, _ in came],
            [line.sku for _, line in came],
            [line.quantity for _, line in came],
        )
