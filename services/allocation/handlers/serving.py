"""Work on queues that no message starts: long restocks go on, and incomplete orders yield to those of higher rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.allocation.decide.stock import Cause
from services.allocation.decide.yielding import yield_units
from services.allocation.handlers.loading import add_waiting_rows, open_books
from services.allocation.handlers.queueing import LINES_AT_ONCE
from services.allocation.handlers.settling import settle
from services.allocation.queries import queue as sql
from shared.contracts.base import Message
from shared.contracts.fulfillment import FulfillmentCancelled, LocationRegistered
from shared.contracts.orders import OrderCancelled, OrderEdited
from shared.contracts.returns import ReturnInspected
from shared.contracts.stock import (
    StockAdjustmentRequested,
    SupplyReceived,
    ThirdPartyReceipt,
    ThirdPartyStockAdjusted,
    ThirdPartyStockSnapshot,
)
from shared.messaging.message import Outgoing, Received, Transaction

SKUS_AT_ONCE = 20
ROWS_AT_ONCE = 1_000

LEAVES_WORK: tuple[type[Message], ...] = (
    *(SupplyReceived, ThirdPartyReceipt, ThirdPartyStockSnapshot, ThirdPartyStockAdjusted, StockAdjustmentRequested, ReturnInspected),
    *(OrderEdited, OrderCancelled, FulfillmentCancelled, LocationRegistered),
)
"""After these there may be work at once. A new order may leave some too, but is no reason to look every time: the interval will do."""


async def serve_queues(tx: Transaction) -> Sequence[Outgoing]:
    """Takes up the oldest work that is left: shares out more of a big restock (feature B3), and lets incomplete orders that hold all give
    units to those of higher rank (feature B6)."""
    rows = await sql.claim_work(tx.connection, ROWS_AT_ONCE, SKUS_AT_ONCE)
    if not rows:
        return ()
    origins = {row["sku"]: _origin(row["event_id"], row["traceparent"]) for row in rows}
    books = await open_books(tx.connection, origins)
    holders = await sql.read_holders(tx.connection, list(books.pools), LINES_AT_ONCE)
    add_waiting_rows(books, holders)
    incomplete = {row["order_id"] for row in holders}
    asked = {sku: [row for row in books.demand_of(sku) if row.unassigned] for sku in books.pools if books.demand_of(sku)}
    if asked:
        lowest = [max(row.rank for row in own) for own in asked.values()]
        units = [min(LINES_AT_ONCE, sum(row.unassigned for row in own)) for own in asked.values()]
        add_waiting_rows(
            books,
            await sql.read_claimants(
                tx.connection, list(asked), [rank[0] for rank in lowest], [rank[1] for rank in lowest], units, list(books.demand)
            ),
        )
    for sku, pool in books.pools.items():
        cause = Cause(origins[sku].event_id, tx.now)
        if pool.owes_the_queue:
            books.touch(sku, cause)
        if pool.release_at is None:
            yield_units(books, sku, incomplete, cause)
    if not any(pool.touched for pool in books.pools.values()):
        return ()
    return await settle(tx, books, list(origins.values()))


def _origin(event_id: UUID, traceparent: str | None) -> Received[Any]:
    """The message that began the work, as far as it is remembered: what is said now carries its trace on."""
    return Received(event_id=event_id, source="ordermesh/allocation", data=None, traceparent=traceparent)


async def find_neglected_queues(tx: Transaction) -> Sequence[Outgoing]:
    """Looks for orders that wait for what a lower rank holds although no row of work says so.

    Two transactions that each do one half (one order gets the units, the other makes it incomplete) may miss each other; so nothing waits
    for longer than this schedule's interval.
    """
    await sql.find_neglected(tx.connection, tx.new_id())
    return ()
