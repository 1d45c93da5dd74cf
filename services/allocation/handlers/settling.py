"""The end of every batch that moves stock: free units go to the queue, uncovered ones leave it, all is saved and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.promising import may_release
from services.allocation.decide.stock import Assignment, Demand, Pool, Shelf
from services.allocation.handlers.announcing import Supplies, messages_of, shrunken_holds, supplies_by_sku
from services.allocation.handlers.keeping import let_holds_give_way, save_keepings, share_out_by_channel
from services.allocation.handlers.kits import changed_components, tell_kits
from services.allocation.handlers.promising import note_queue_moves
from services.allocation.handlers.queueing import date_new_waiting, note_work, requeue_uncovered, share_out
from services.allocation.queries import books as sql
from services.allocation.queries.preorders import update_preorders
from services.allocation.queries.supplies import read_open_supplies
from shared.errors import Refused
from shared.messaging.message import Connection, Outgoing, Received, Transaction


async def settle(
    tx: Transaction, books: Books, messages: Sequence[Received[Any]], *, supplies_before: Supplies | None = None
) -> list[Outgoing]:
    """Shares out what became free, queues again what nothing covers, saves, and says what changed.

    Args:
        tx: the batch's transaction.
        books: the books after the messages' own effects.
        messages: the batch.
        supplies_before: what was on its way before, where the batch changed that.

    Raises:
        Refused: of a SKU there would be more than can be counted.
    """
    _release_preorders(books, tx.now)
    await share_out(tx.connection, books)
    await share_out_by_channel(tx.connection, books)
    shrunk = await let_holds_give_way(tx.connection, books)
    await requeue_uncovered(tx.connection, books)
    books.announce()
    problem = books.overfull()
    if problem is not None:
        raise Refused(problem)
    refilled = [sku for sku, pool in books.pools.items() if pool.touched and _fills_safety_stock(books, sku)]
    before: Supplies = supplies_by_sku(await read_open_supplies(tx.connection, refilled)) if refilled else {}
    await save(tx.connection, books, tx.new_id)
    scarce = sorted(sku for sku, pool in books.pools.items() if pool.touched and _looks_at_supply(pool))
    supplies = supplies_by_sku(await read_open_supplies(tx.connection, scarce)) if scarce else {}
    before = {**supplies, **dict.fromkeys(refilled, ()), **before} if supplies_before is None else supplies_before
    overtaken = await date_new_waiting(tx.connection, books, supplies, tx.now)
    await note_queue_moves(tx, books, before, supplies, overtaken)
    await note_work(tx.connection, books, messages)
    told = messages_of(books, messages, before, supplies, tx.now)
    told += shrunken_holds(books, shrunk, messages, tx.now)
    return told + await tell_kits(tx, changed_components(books), messages)


def _fills_safety_stock(books: Books, sku: str) -> bool:
    """Whether what comes may have to fill up the safety stock of a location first: then the shelves say how much of it is for the queue."""
    return any(shelf.safety or shelf.was_safety for shelf in books.shelves_of(sku))


def _looks_at_supply(pool: Pool) -> bool:
    """Whether what channels are told of a SKU depends on its supply, now or before."""
    preordered = pool.release_at is not None or pool.was_preorder.release_at is not None
    return pool.is_scarce or pool.was.is_scarce or pool.ruled or preordered


def _release_preorders(books: Books, now: datetime) -> None:
    for pool in books.pools.values():
        if pool.touched and may_release(pool.release_at, pool.free, now, early=pool.early_release):
            pool.release_at, pool.early_release = None, False


async def save(connection: Connection, books: Books, new_id: Callable[[], UUID]) -> None:
    """Writes what changed in the books: shelves, then pools (which copy from them), demand, assignments, ledger."""
    shelves = [shelf for row in books.shelves.values() for shelf in row.values()]
    new_shelves = [shelf for shelf in shelves if shelf.is_new]
    changed_shelves = [shelf for shelf in shelves if not shelf.is_new and shelf.changed]
    if new_shelves:
        await sql.insert_shelves(connection, _shelf_rows(new_shelves))
    if changed_shelves:
        await sql.update_shelves(connection, _shelf_rows(changed_shelves))
    pools = [pool for pool in books.pools.values() if pool.touched]
    await save_keepings(connection, books, pools)
    if pools:
        await sql.update_pools(
            connection,
            [pool.sku for pool in pools],
            [pool.sellable - pool.was.sellable for pool in pools],
            [pool.pending_shortage - pool.was.pending_shortage for pool in pools],
            [pool.reserved - pool.was.reserved for pool in pools],
            [pool.queued - pool.was.queued for pool in pools],
        )
    moved = [pool for pool in pools if pool.preorder != pool.was_preorder]
    if moved:
        await update_preorders(
            connection,
            [pool.sku for pool in moved],
            [pool.release_at for pool in moved],
            [pool.early_release for pool in moved],
            [pool.preorder_said_at for pool in moved],
        )
    await _save_demand(connection, books)
    await _save_assignments(connection, books)
    if books.movements:
        await sql.insert_movements(connection, _movement_rows(books, new_id))


async def _save_demand(connection: Connection, books: Books) -> None:
    if books.changed_orders:
        states = [(order_id, books.orders[order_id]) for order_id in sorted(books.changed_orders)]
        await sql.update_orders(
            connection,
            [order_id for order_id, _ in states],
            [state.order_version for _, state in states],
            [state.cancelled_version for _, state in states],
        )
    new = [row for row in books.demand.values() if row.is_new]
    changed = [
        row
        for row in books.demand.values()
        if not row.is_new and (row.numbers != row.was or row.promised_ship_at != row.was_promised_ship_at)
    ]
    if new:
        await sql.insert_demand(connection, _demand_rows(new))
    if changed:
        await sql.update_demand(connection, _demand_rows(changed))


async def _save_assignments(connection: Connection, books: Books) -> None:
    new = [row for row in books.assignments.values() if row.is_new]
    changed = [row for row in books.assignments.values() if not row.is_new and row.numbers != row.was]
    if new:
        await sql.insert_assignments(connection, _assignment_rows(new))
    if changed:
        await sql.update_assignments(connection, _assignment_rows(changed))


def _shelf_rows(shelves: Iterable[Shelf]) -> sql.ShelfRows:
    rows = sql.ShelfRows([], [], [], [], [], [], [], [], [], [], [], [], [])
    for shelf in shelves:
        new, was = shelf.numbers, shelf.was
        rows.skus.append(shelf.sku)
        rows.locations.append(shelf.location)
        rows.counts.append(shelf.counts)
        rows.on_shelf.append(new.on_shelf - was.on_shelf)
        rows.assigned.append(new.assigned - was.assigned)
        rows.pending_shortage.append(new.pending_shortage - was.pending_shortage)
        rows.damaged.append(new.damaged - was.damaged)
        rows.quality_control.append(new.quality_control - was.quality_control)
        rows.counted_as_of.append(shelf.counted_as_of)
        rows.counted_watermark.append(shelf.counted_watermark)
        rows.counted_short.append(shelf.counted_short)
        rows.missed.append(shelf.missed)
        rows.safety.append(shelf.safety)
    return rows


def _demand_rows(demand: Iterable[Demand]) -> sql.DemandRows:
    rows = sql.DemandRows([], [], [], [], [], [], [], [], [], [], [], [], [], [])
    for row in demand:
        new, was = row.numbers, row.was
        rows.order_ids.append(row.order_id)
        rows.line_ids.append(row.line_id)
        rows.demand_ids.append(row.demand_id)
        rows.skus.append(row.sku)
        rows.units.append(new.units - was.units)
        rows.queued.append(new.queued - was.queued)
        rows.reserved.append(new.reserved - was.reserved)
        rows.assigned.append(new.assigned - was.assigned)
        rows.shipped.append(new.shipped - was.shipped)
        rows.cancelled.append(new.cancelled - was.cancelled)
        rows.promised_ship_at.append(row.promised_ship_at)
        rows.priorities.append(row.priority)
        rows.hold_all.append(row.hold_all)
        rows.channels.append(row.channel)
    return rows


def _assignment_rows(assignments: Iterable[Assignment]) -> sql.AssignmentRows:
    rows = sql.AssignmentRows([], [], [], [], [], [], [], [], [])
    for row in assignments:
        rows.fulfillment_ids.append(row.fulfillment_id)
        rows.line_ids.append(row.line_id)
        rows.order_ids.append(row.order_id)
        rows.skus.append(row.sku)
        rows.locations.append(row.location)
        rows.units.append(row.units - row.was.units)
        rows.open.append(row.open - row.was.open)
        rows.shipped.append(row.shipped - row.was.shipped)
        rows.recalled.append(row.recalled - row.was.recalled)
    return rows


def _movement_rows(books: Books, new_id: Callable[[], UUID]) -> sql.MovementRows:
    entries = books.movements
    after = [books.balances_after(entry) for entry in entries]
    happened_at: list[datetime] = [entry.cause.happened_at for entry in entries]
    return sql.MovementRows(
        movement_ids=[new_id() for _ in entries],
        kinds=[entry.kind for entry in entries],
        quantities=[entry.quantity for entry in entries],
        skus=[entry.sku for entry in entries],
        locations=[entry.location for entry in entries],
        order_ids=[entry.order_id for entry in entries],
        line_ids=[entry.line_id for entry in entries],
        fulfillment_ids=[entry.fulfillment_id for entry in entries],
        cause_ids=[entry.cause.cause_id for entry in entries],
        event_ids=[entry.cause.event_id for entry in entries],
        happened_at=happened_at,
        sequences=[entry.cause.sequence for entry in entries],
        pool_versions=[books.pools[entry.sku].next_version for entry in entries],
        on_shelf_after=[balances.on_shelf for balances in after],
        assigned_after=[balances.assigned for balances in after],
        set_aside_after=[balances.set_aside for balances in after],
        compensates=[entry.compensates for entry in entries],
    )
