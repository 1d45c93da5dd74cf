"""Inbound supply is announced, delayed, changed and called off; whoever waits for it is told new dates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from asyncpg import Record

from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause
from services.allocation.decide.supply import (
    OVERDUE_AFTER,
    ExpectedLine,
    Supply,
    call_off,
    change_lines,
    content_of,
    contradictions,
    is_overdue,
    is_past,
    leaves_at,
    reschedule,
    units_by_sku,
)
from services.allocation.handlers.announcing import Supplies, availability_changes, availability_messages, supplies_by_sku
from services.allocation.handlers.counting import are_registered, is_at_home, open_shelves
from services.allocation.handlers.kits import changed_components, tell_kits
from services.allocation.handlers.loading import open_books
from services.allocation.handlers.promising import caused_by_time, finish_dating, repromise
from services.allocation.handlers.settling import save
from services.allocation.queries import supplies as sql
from services.allocation.queries.books import lock_pools
from shared.calendar import WorkCalendar
from shared.contracts.stock import PromiseCause, SupplyCancelled, SupplyChanged, SupplyRejected, SupplyRescheduled, SupplyScheduled
from shared.messaging.message import Outgoing, Received, Transaction

ChangeT = TypeVar("ChangeT", SupplyRescheduled, SupplyChanged, SupplyCancelled)
Lines = dict[UUID, dict[str, ExpectedLine]]

LATE_SUPPLIES_AT_ONCE = 20


async def schedule_supply(tx: Transaction, messages: Sequence[Received[SupplyScheduled]]) -> list[Outgoing]:
    """Goods are on the way: waiting lines get dates (features B3, B4). A supply announced twice is expected once; announced differently
    under the same id it is refused."""
    books = await open_shelves(
        tx,
        (message.data.location for message in messages),
        (line.sku for message in messages for line in message.data.lines),
    )
    rows = await sql.read_scheduled(tx.connection, [message.data.supply_id for message in messages])
    known: dict[UUID, Mapping[str, Any] | None] = {row["supply_id"]: row["scheduled"] for row in rows}
    fresh: list[Received[SupplyScheduled]] = []
    outgoing: list[Outgoing] = []
    for message in messages:
        supply = message.data
        content = content_of(supply)
        if supply.supply_id in known:
            differing = contradictions(known[supply.supply_id], content)
            if differing:
                outgoing.append(_scheduled_differently(message, differing))
        elif is_past(supply.expected_at, message.time or tx.now):
            outgoing.append(_in_the_past(message, supply.expected_at))
        elif is_at_home(tx, message, supply.location, books) and are_registered(tx, message, (line.sku for line in supply.lines), books):
            known[supply.supply_id] = content
            fresh.append(message)
    if not fresh:
        return outgoing
    calendars = await read_calendars(tx, {message.data.location for message in fresh})
    change = await _Change.begin(tx, books, {line.sku for message in fresh for line in message.data.lines})
    for message in fresh:
        supply = message.data
        units = units_by_sku(supply.lines)
        await sql.insert_supply(
            tx.connection,
            supply.supply_id,
            supply.location,
            supply.expected_at,
            leaves_at(calendars[supply.location], supply.expected_at),
            supply.purchase_order,
            content_of(supply),
        )
        await save_lines(tx, {supply.supply_id: {sku: ExpectedLine(quantity) for sku, quantity in units.items()}})
        await change.promise(units, "supply_scheduled", supply.supply_id, message)
    return outgoing + await change.tell(fresh)


async def reschedule_supply(tx: Transaction, messages: Sequence[Received[SupplyRescheduled]]) -> list[Outgoing]:
    """The date of goods moved: every order that waits for them is told once per change (feature B2)."""
    supplies, ready, outgoing = await _changeable(tx, messages)
    fresh = []
    for message in ready:
        if is_past(message.data.expected_at, message.time or tx.now):
            outgoing.append(_in_the_past(message, message.data.expected_at))
        else:
            fresh.append(message)
    if not fresh:
        return outgoing
    lines = await read_lines(tx, supplies)
    calendars = await read_calendars(tx, {supply.location for supply in supplies.values()})
    books = await open_books(tx.connection, {sku for own in lines.values() for sku in own})
    change = await _Change.begin(tx, books, {sku for message in fresh for sku in lines[message.data.supply_id]})
    for message in sorted(fresh, key=lambda message: message.time or tx.now):
        wanted = message.data
        supply = supplies[wanted.supply_id]
        supplies[wanted.supply_id] = reschedule(supply, wanted.expected_at, calendars[supply.location], message.time or tx.now)
        await _save_supplies(tx, [supplies[wanted.supply_id]])
        await change.promise(lines[wanted.supply_id], "supply_rescheduled", wanted.change_id, message)
    await _save_changes(tx, fresh)
    return outgoing + await change.tell(fresh)


async def change_supply(tx: Transaction, messages: Sequence[Received[SupplyChanged]]) -> list[Outgoing]:
    """Goods will be more or fewer than announced: dates follow (feature B4). A change is made whole or not at all."""
    await sql.share_locations_of(tx.connection, [message.data.supply_id for message in messages])
    supplies, ready, outgoing = await _changeable(tx, messages)
    lines = await read_lines(tx, supplies)
    skus = {sku for own in lines.values() for sku in own} | {line.sku for message in ready for line in message.data.lines}
    books = await open_books(tx.connection, skus)
    known = [message for message in ready if are_registered(tx, message, (line.sku for line in message.data.lines), books)]
    if not known:
        return outgoing
    fresh: list[tuple[Received[SupplyChanged], dict[str, ExpectedLine]]] = []
    for message in sorted(known, key=lambda message: message.time or tx.now):
        wanted = message.data
        own = lines[wanted.supply_id]
        quantities = {line.sku: line.quantity for line in wanted.lines}
        changed, too_few = change_lines(own, quantities, message.time or tx.now)
        if too_few is not None:
            outgoing.append(_less_than_received(message, too_few, quantities[too_few], own[too_few].received))
            continue
        fresh.append((message, changed))
        own.update(changed)
    if not fresh:
        return outgoing
    change = await _Change.begin(tx, books, {sku for _, changed in fresh for sku in changed})
    await _follow_calendars_again(tx, {message.data.supply_id: supplies[message.data.supply_id] for message, _ in fresh})
    for message, changed in fresh:
        await save_lines(tx, {message.data.supply_id: changed})
        await change.promise(changed, "supply_changed", message.data.change_id, message)
    made = [message for message, _ in fresh]
    await _save_changes(tx, made)
    return outgoing + await change.tell(made)


async def _follow_calendars_again(tx: Transaction, supplies: Mapping[UUID, Supply]) -> None:
    """A supply of which everything had come did not follow its location's calendar, and may be expected again now."""
    calendars = await read_calendars(tx, {supply.location for supply in supplies.values()})
    dated = [replace(supply, leaves_at=leaves_at(calendars[supply.location], supply.expected_at)) for supply in supplies.values()]
    await _save_supplies(tx, [supply for supply in dated if supply != supplies[supply.supply_id]])


async def cancel_supply(tx: Transaction, messages: Sequence[Received[SupplyCancelled]]) -> list[Outgoing]:
    """Goods will not come, or no more of them: orders that waited for them are told (feature B4)."""
    supplies, ready, outgoing = await _changeable(tx, messages)
    if not ready:
        return outgoing
    lines = await read_lines(tx, supplies)
    books = await open_books(tx.connection, {sku for own in lines.values() for sku in own})
    change = await _Change.begin(tx, books, {sku for message in ready for sku in lines[message.data.supply_id]})
    for message in ready:
        supply_id = message.data.supply_id
        lines[supply_id] = call_off(lines[supply_id])
        await _save_supplies(tx, [replace(supplies[supply_id], cancelled=True)])
        await save_lines(tx, {supply_id: lines[supply_id]})
        await change.promise(lines[supply_id], "supply_cancelled", message.data.change_id, message)
    await _save_changes(tx, ready)
    return outgoing + await change.tell(ready)


async def take_back_overdue_dates(tx: Transaction) -> Sequence[Outgoing]:
    """Goods that should have come and have not: their date is no promise any more, and nobody knows a better one until somebody says so."""
    late = await sql.read_late_supplies(tx.connection, tx.now - OVERDUE_AFTER, LATE_SUPPLIES_AT_ONCE)
    if not late:
        return ()
    supplies = await lock_supplies(tx, [row["supply_id"] for row in late])
    overdue = {
        supply_id: replace(supply, overdue=True)
        for supply_id, supply in supplies.items()
        if not supply.cancelled and not supply.overdue and is_overdue(supply.leaves_at or supply.expected_at, tx.now)
    }
    if not overdue:
        return ()
    tx.look_again()
    return await _redate(tx, supplies, overdue, "supply_overdue", None)


async def follow_calendars(tx: Transaction, locations: Iterable[str], because: Received[Any], *, also: Iterable[str]) -> list[Outgoing]:
    """Locations work on other days than before: goods on their way to them ship accordingly (feature B7). The locations are locked.

    Args:
        tx: the batch's transaction.
        locations: the locations.
        because: what told us.
        also: SKUs whose pools the batch will lock afterwards; they are locked with the others, so that all are locked in one order.
    """
    rows = await sql.read_unfinished_supplies(tx.connection, sorted(locations))
    if not rows:
        return []
    supplies = await lock_supplies(tx, [row["supply_id"] for row in rows])
    calendars = await read_calendars(tx, {supply.location for supply in supplies.values()})
    moved = {
        supply_id: replace(supply, leaves_at=leaves_at(calendars[supply.location], supply.expected_at))
        for supply_id, supply in supplies.items()
    }
    changed = {supply_id: supply for supply_id, supply in moved.items() if supply != supplies[supply_id]}
    return await _redate(tx, supplies, changed, "calendar_changed", because, also) if changed else []


async def _redate(
    tx: Transaction,
    supplies: Mapping[UUID, Supply],
    changed: Mapping[UUID, Supply],
    cause: PromiseCause,
    because: Received[Any] | None,
    also: Iterable[str] = (),
) -> list[Outgoing]:
    """Gives supplies other dates for a reason that is no message about one of them."""
    lines = await read_lines(tx, {supply_id: supplies[supply_id] for supply_id in changed})
    own = {sku for by_sku in lines.values() for sku in by_sku}
    await lock_pools(tx.connection, sorted(own.union(also)))
    books = await open_books(tx.connection, own)
    change = await _Change.begin(tx, books, books.pools)
    await _save_supplies(tx, list(changed.values()))
    if because is not None:
        await change.promise(books.pools, cause, because.event_id, because)
        return await change.tell([because])
    for supply_id, supply in changed.items():
        # the same supply may be overdue again after somebody has said a new date
        cause_id = uuid5(supply_id, f"{cause} {supply.expected_at.isoformat()}")
        await change.promise(lines[supply_id], cause, cause_id, None)
    return await change.tell([])


@dataclass(slots=True)
class _Change:
    """A change of supply under way: what was expected before it, and the orders told because of it."""

    tx: Transaction
    books: Books
    before: Supplies
    told: list[Outgoing]

    @classmethod
    async def begin(cls, tx: Transaction, books: Books, skus: Iterable[str]) -> _Change:
        """Before anything is written; the pools are locked.

        Args:
            tx: the batch's transaction.
            books: the pools of all SKUs that the batch may concern.
            skus: those of which a promise will follow: what was still to be told of their queues is told with it.
        """
        await finish_dating(tx, [sku for sku in skus if books.pools[sku].queued])
        return cls(tx, books, supplies_by_sku(await sql.read_open_supplies(tx.connection, list(books.pools))), [])

    async def promise(self, skus: Iterable[str], cause: PromiseCause, cause_id: UUID, because: Received[Any] | None) -> None:
        """After one message's effects are written: whoever waits for these SKUs is told."""
        waiting = sorted(sku for sku in set(skus) if self.books.pools[sku].queued)
        if waiting:
            self.told += await repromise(self.tx, waiting, cause, cause_id, because)

    async def tell(self, messages: Sequence[Received[Any]]) -> list[Outgoing]:
        """The promises, and new numbers for channels where supply makes a difference to them."""
        tx, books = self.tx, self.books
        after = supplies_by_sku(await sql.read_open_supplies(tx.connection, list(books.pools)))
        causes = messages or [caused_by_time(tx)]
        for sku in books.pools:
            if self.before.get(sku, []) != after.get(sku, []):
                books.touch(sku, Cause(causes[0].event_id, tx.now))
        await save(tx.connection, books, tx.new_id)
        told = self.told + availability_messages(availability_changes(books, self.before, after), causes, tx.now)
        return told + await tell_kits(tx, changed_components(books), causes)


async def _changeable(
    tx: Transaction, messages: Sequence[Received[ChangeT]]
) -> tuple[dict[UUID, Supply], list[Received[ChangeT]], list[Outgoing]]:
    """Locks the supplies. Changes made before are dropped, those of supplies not announced wait, those of cancelled ones are refused."""
    supplies = await lock_supplies(tx, {message.data.supply_id for message in messages})
    made = {row["change_id"] for row in await sql.read_supply_changes(tx.connection, [message.data.change_id for message in messages])}
    ready: list[Received[ChangeT]] = []
    refused: list[Outgoing] = []
    for message in messages:
        change = message.data
        if change.change_id in made:
            continue
        supply = supplies.get(change.supply_id)
        if supply is None:
            tx.defer(message, f"supply_id: supply {change.supply_id} has not been scheduled yet; it comes with supply.scheduled")
        elif not supply.cancelled:
            made.add(change.change_id)
            ready.append(message)
        elif not isinstance(change, SupplyCancelled):
            problem = f"supply {change.supply_id} was cancelled or closed, nothing more is expected of it; schedule a new one"
            refused.append(_rejected(message, "supply_id", "cancelled", problem))
    return supplies, ready, refused


def _rejected(
    message: Received[SupplyScheduled] | Received[ChangeT],
    field: str,
    reason: Literal["scheduled_differently", "date_in_the_past", "less_than_received", "cancelled"],
    problem: str,
) -> Outgoing:
    detail = f"{field}: {problem}"[:500]
    return Outgoing(SupplyRejected(supply_id=message.data.supply_id, field=field, reason=reason, detail=detail), because=message)


def _scheduled_differently(message: Received[SupplyScheduled], fields: Sequence[str]) -> Outgoing:
    problem = (
        f"supply {message.data.supply_id} was scheduled before with other {' and '.join(fields)}: "
        "send supply.rescheduled or supply.changed to change it, "
        "or schedule under a new id what are other goods"
    )
    return _rejected(message, fields[0], "scheduled_differently", problem)


def _in_the_past(message: Received[SupplyScheduled] | Received[SupplyRescheduled], expected_at: datetime) -> Outgoing:
    problem = (
        f"{expected_at.isoformat()} lay in the past when it was said: give the date on which the goods will come, "
        "or send supply.received if they are there"
    )
    return _rejected(message, "expected_at", "date_in_the_past", problem)


def _less_than_received(message: Received[SupplyChanged], sku: str, wanted: int, received: int) -> Outgoing:
    problem = (
        f"{wanted} units of {sku!r} in all are fewer than the {received} that have come: give at least {received}, "
        "or send stock.adjustment_requested if fewer are there"
    )
    return _rejected(message, "lines", "less_than_received", problem)


async def lock_supplies(tx: Transaction, supply_ids: Iterable[UUID]) -> dict[UUID, Supply]:
    """Locks supplies by id. Comes after the locations and before the pools."""
    return {row["supply_id"]: _supply_of(row) for row in await sql.lock_supplies(tx.connection, sorted(set(supply_ids)))}


def _supply_of(row: Record) -> Supply:
    return Supply(
        row["supply_id"],
        row["location"],
        row["expected_at"],
        row["leaves_at"],
        row["cancelled"],
        row["overdue"],
        row["rescheduled_at"],
        row["scheduled"],
    )


async def read_lines(tx: Transaction, supplies: Mapping[UUID, Supply]) -> Lines:
    """What locked supplies bring, by SKU."""
    lines: Lines = {supply_id: {} for supply_id in supplies}
    for row in await sql.read_supply_lines(tx.connection, list(supplies)):
        lines[row["supply_id"]][row["sku"]] = ExpectedLine(row["quantity"], row["received"], row["called_off"], row["changed_at"])
    return lines


async def save_lines(tx: Transaction, lines: Mapping[UUID, Mapping[str, ExpectedLine]]) -> None:
    """Writes lines of supplies as they are now."""
    rows = sql.SupplyLineRows([], [], [], [], [], [])
    for supply_id, own in lines.items():
        for sku, line in own.items():
            rows.supply_ids.append(supply_id)
            rows.skus.append(sku)
            rows.quantities.append(line.quantity)
            rows.received.append(line.received)
            rows.called_off.append(line.called_off)
            rows.changed_at.append(line.changed_at)
    await sql.save_supply_lines(tx.connection, rows)


async def read_calendars(tx: Transaction, locations: Iterable[str]) -> dict[str, WorkCalendar | None]:
    """When these locations work; None where nothing is known of it."""
    return {row["location"]: _calendar_of(row) for row in await sql.read_calendars(tx.connection, sorted(locations))}


def _calendar_of(row: Record) -> WorkCalendar | None:
    if row["time_zone"] is None:
        return None
    return WorkCalendar(
        ZoneInfo(row["time_zone"]),
        row["order_cutoff"],
        frozenset(row["working_days"]),
        frozenset(row["holidays"]),
        row["dock_to_stock_days"],
    )


async def _save_supplies(tx: Transaction, supplies: Sequence[Supply]) -> None:
    await sql.update_supplies(
        tx.connection,
        [supply.supply_id for supply in supplies],
        [supply.expected_at for supply in supplies],
        [supply.leaves_at for supply in supplies],
        [supply.cancelled for supply in supplies],
        [supply.overdue for supply in supplies],
        [supply.said_at for supply in supplies],
    )


async def _save_changes(tx: Transaction, messages: Sequence[Received[ChangeT]]) -> None:
    await sql.insert_supply_changes(
        tx.connection, [message.data.change_id for message in messages], [message.data.supply_id for message in messages], tx.now
    )
