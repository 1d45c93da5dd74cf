"""Promised dates follow every change of supply: whole queues are dated in set-based steps, and every order is told once per cause.

Short queues are dated and told in the transaction of the change. Long ones go on as due work, some thousand places and then some hundred
orders per transaction, so that nobody waits long for the pool of the SKU or for this process. Before anything else moves a queue, a
dating that is under way is brought to its end, so that every order hears of every cause.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books
from services.allocation.decide.promising import came_out_of_turn, left_or_came_back, tail_has_moved
from services.allocation.decide.stock import Pool, SupplyUnits
from services.allocation.handlers.announcing import Supplies
from services.allocation.queries import promises as sql
from services.allocation.queries.books import lock_pools
from shared.contracts.base import Message
from shared.contracts.fulfillment import LocationRegistered
from shared.contracts.stock import (
    PromiseCause,
    PromiseChange,
    StockPreorderClosed,
    StockPreorderOpened,
    StockPromiseChanged,
    SupplyCancelled,
    SupplyChanged,
    SupplyRescheduled,
    SupplyScheduled,
)
from shared.messaging.message import Outgoing, Received, Transaction

DATED_AT_ONCE = 5_000
"""Places in one transaction: some tenths of a second under the pool's lock, of which reading a queue of 50,000 is about half."""

TOLD_AT_ONCE = 200
"""Orders in one transaction: a few milliseconds of this process, between which it serves others."""

EVERYTHING = 2**31 - 1
FIRST_ID = UUID(int=0)

MOVES_DATES: tuple[type[Message], ...] = (
    *(SupplyScheduled, SupplyRescheduled, SupplyChanged, SupplyCancelled),
    *(StockPreorderOpened, StockPreorderClosed, LocationRegistered),
)
"""After these there may be dates to set and to tell at once."""

JUST_BEFORE = timedelta(microseconds=1)
"""What a change has still to say when the next one comes is older than what that one says, and newer than all before."""

QUEUE_MOVES_GATHERED = timedelta(seconds=30)
"""How long movements of a queue are gathered before its dates are told anew: a day of cancellations is not a day of mails."""


def caused_by_time(tx: Transaction) -> Received[Any]:
    """What no message but time itself brings about begins a trace of its own."""
    return Received(event_id=tx.new_id(), source="ordermesh/allocation", data=None)


async def finish_dating(tx: Transaction, skus: Iterable[str]) -> None:
    """Before supply or preorders of these SKUs change: gives every place the date of the change before. Their pools are locked.

    Movements of the queue itself are not told apart: the change that comes now dates the whole queue.
    """
    under_way = await sql.read_dating(tx.connection, list(skus))
    for row in under_way:
        if row["cause"] != "queue_moved":
            await sql.move_promises(tx.connection, [row["sku"]], row["round_id"], EVERYTHING)
            await sql.set_changed_at(tx.connection, row["round_id"], tx.now - JUST_BEFORE)
    if under_way:
        await sql.delete_dating(tx.connection, [row["sku"] for row in under_way])


async def repromise(
    tx: Transaction, skus: Sequence[str], cause: PromiseCause, cause_id: UUID, because: Received[Any] | None
) -> list[Outgoing]:
    """Dates the queues of these SKUs anew and tells their orders, at once or as due work. The change is saved, the pools are locked."""
    round_id = tx.new_id()
    moved = await sql.move_promises(tx.connection, skus, round_id, DATED_AT_ONCE)
    if moved == 0:
        return []
    if moved <= TOLD_AT_ONCE:
        rows = await sql.take_changes(tx.connection, round_id, FIRST_ID, TOLD_AT_ONCE)
        return _promises(rows, cause, cause_id, because, tx.now)
    event_id, traceparent = (None, None) if because is None else (because.event_id, because.traceparent)
    await sql.insert_round(tx.connection, round_id, cause, cause_id, event_id, traceparent, tx.now)
    if moved == DATED_AT_ONCE:
        await sql.delete_dating(tx.connection, skus)
        await sql.insert_dating(tx.connection, skus, round_id, tx.now)
    return []


async def continue_dating(tx: Transaction) -> Sequence[Outgoing]:
    """Dates the next places of a long queue."""
    sku = await sql.find_due_dating(tx.connection, tx.now)
    if sku is None:
        return ()
    tx.look_again()
    await lock_pools(tx.connection, [sku])
    for row in await sql.read_dating(tx.connection, [sku]):
        await sql.set_changed_at(tx.connection, row["round_id"], tx.now)
        if await sql.move_promises(tx.connection, [sku], row["round_id"], DATED_AT_ONCE) < DATED_AT_ONCE:
            await sql.delete_dating(tx.connection, [sku])
    return ()


async def tell_promises(tx: Transaction) -> Sequence[Outgoing]:
    """Tells the next orders whose dates have moved (features B2, B4). What is told leaves the table in the same transaction."""
    told = await sql.claim_round(tx.connection)
    if told is None:
        return ()
    tx.look_again()
    rows = await sql.take_changes(tx.connection, told["round_id"], told["told_to"], TOLD_AT_ONCE)
    if not rows:
        await sql.delete_round(tx.connection, told["round_id"])
        return ()
    await sql.set_told_to(tx.connection, told["round_id"], rows[0]["taken_to"])
    because: Received[Any] | None = None
    if told["event_id"] is not None:
        because = Received(event_id=told["event_id"], source="", data=None, traceparent=told["traceparent"])
    return _promises(rows, told["cause"], told["cause_id"], because, told["changed_at"])


def _promises(rows: Iterable[Record], cause: str, cause_id: UUID, because: Received[Any] | None, changed_at: datetime) -> list[Outgoing]:
    outgoing = []
    for order_id, lines in groupby((row for row in rows if row["sku"] is not None), key=lambda row: row["order_id"]):
        own = list(lines)
        body = {
            "order_id": order_id,
            "order_version": own[0]["order_version"],
            "cause": cause,
            "cause_id": cause_id,
            "lines": [
                PromiseChange(
                    line_id=row["line_id"],
                    sku=row["sku"],
                    quantity=row["quantity"],
                    old_ship_at=row["old_ship_at"],
                    new_ship_at=row["new_ship_at"],
                )
                for row in own
            ],
            "changed_at": changed_at,
        }
        outgoing.append(Outgoing(StockPromiseChanged.model_validate(body), str(order_id), because))
    return outgoing


async def note_queue_moves(tx: Transaction, books: Books, before: Supplies, after: Supplies, overtaken: Collection[str]) -> None:
    """Has queues dated anew, a little later, of which some places have come nearer to their goods or farther from them than was told.

    Args:
        tx: the batch's transaction.
        books: the books, shared out and saved.
        before: what was on its way before.
        after: what is on its way now.
        overtaken: SKUs of which units have begun to wait ahead of others.
    """
    waiting = [pool for pool in books.pools.values() if pool.touched and pool.queued]
    added: dict[str, int] = {}
    disturbed = set(overtaken)
    for row in books.demand.values() if waiting else ():
        if row.is_new:
            added[row.sku] = added.get(row.sku, 0) + row.queued
        elif left_or_came_back(row):
            disturbed.add(row.sku)
    moved = []
    for pool in waiting:
        supply = before.get(pool.sku, ()), after.get(pool.sku, ())
        # where channels have rules, who comes nearer to what depends on whose units moved: any change may be one
        if _has_dates(pool, *supply) and (pool.ruled or pool.sku in disturbed or _has_moved(pool, added.get(pool.sku, 0), *supply)):
            moved.append(pool.sku)
    await date_later(tx, moved)


async def date_later(tx: Transaction, skus: Sequence[str]) -> None:
    """Has the queues of these SKUs dated anew when their movements have been gathered. The pools are locked."""
    if not skus:
        return
    round_id = tx.new_id()
    if await sql.insert_dating(tx.connection, skus, round_id, tx.now + QUEUE_MOVES_GATHERED):
        await sql.insert_round(tx.connection, round_id, "queue_moved", round_id, None, None, tx.now)


def _has_dates(pool: Pool, before: Sequence[SupplyUnits], after: Sequence[SupplyUnits]) -> bool:
    """Where nothing is on its way and nothing is held back, nobody has a date."""
    return bool(before or after or pool.release_at or pool.was_preorder.release_at)


def _has_moved(pool: Pool, added: int, before: Sequence[SupplyUnits], after: Sequence[SupplyUnits]) -> bool:
    """Whether dates at the end of a queue are wrong now, or dates that later goods have made earlier ones."""
    return (
        pool.was_released
        or came_out_of_turn(before, after)
        or tail_has_moved(
            was_queued=pool.was.queued,
            was_available=pool.was.available,
            was_expected=sum(supply.quantity for supply in before),
            queued=pool.queued,
            available=pool.available,
            expected=sum(supply.quantity for supply in after),
            added=added,
        )
    )
