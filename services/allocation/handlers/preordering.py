"""SKUs are sold before their release: orders wait for the date and the goods, and get both by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from services.allocation.decide.stock import Cause
from services.allocation.handlers.announcing import supplies_by_sku
from services.allocation.handlers.counting import are_registered
from services.allocation.handlers.loading import open_books
from services.allocation.handlers.promising import caused_by_time, finish_dating, repromise
from services.allocation.handlers.settling import settle
from services.allocation.queries import preorders as sql
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.stock import PromiseCause, StockPreorderClosed, StockPreorderOpened
from shared.messaging.message import Outgoing, Received, Transaction

WordT = TypeVar("WordT", StockPreorderOpened, StockPreorderClosed)

RELEASED_AT_ONCE = 20


async def open_preorders(tx: Transaction, messages: Sequence[Received[StockPreorderOpened]]) -> list[Outgoing]:
    """A SKU is sold before its release, or the release moves: whoever waits is told the new date once per change (features B1, B2)."""
    wanted = {message.event_id: (message.data.release_at, message.data.early_release) for message in messages}
    return await _follow(tx, messages, wanted, "preorder_opened")


async def close_preorders(tx: Transaction, messages: Sequence[Received[StockPreorderClosed]]) -> list[Outgoing]:
    """A SKU is sold like any other again: who waits gets what is on the shelf."""
    return await _follow(tx, messages, {}, "preorder_closed")


async def _follow(
    tx: Transaction, messages: Sequence[Received[WordT]], wanted: Mapping[UUID, tuple[datetime, bool]], cause: PromiseCause
) -> list[Outgoing]:
    books = await open_books(tx.connection, {message.data.sku for message in messages})
    known = [message for message in messages if are_registered(tx, message, [message.data.sku], books)]
    newest: dict[str, Received[WordT]] = {}
    for message in sorted(known, key=lambda message: message.time or tx.now):
        said_at = books.pools[message.data.sku].preorder_said_at
        if said_at is None or (message.time or tx.now) >= said_at:
            newest[message.data.sku] = message
    if not newest:
        return []
    await finish_dating(tx, [sku for sku in newest if books.pools[sku].queued])
    for sku, message in newest.items():
        pool = books.touch(sku, Cause(message.event_id, tx.now, message.data.change_id))
        pool.release_at, pool.early_release = wanted.get(message.event_id, (None, False))
        pool.preorder_said_at = message.time or tx.now
    before = supplies_by_sku(await read_open_supplies(tx.connection, list(books.pools)))
    outgoing = await settle(tx, books, list(newest.values()), supplies_before=before)
    for sku, message in newest.items():
        if books.pools[sku].queued:
            outgoing += await repromise(tx, [sku], cause, message.data.change_id, message)
    return outgoing


async def release_due_preorders(tx: Transaction) -> Sequence[Outgoing]:
    """Preorders whose date has come and whose goods are there: orders get them in queue order (feature B1).

    Goods that come after the date release at once, with their receipt.
    """
    due = [row["sku"] for row in await sql.find_due_preorders(tx.connection, tx.now, RELEASED_AT_ONCE)]
    if not due:
        return ()
    books = await open_books(tx.connection, due)
    own = caused_by_time(tx)
    for sku in books.pools:
        books.touch(sku, Cause(own.event_id, tx.now))
    tx.look_again()
    return await settle(tx, books, [own])
