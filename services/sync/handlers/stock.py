"""New numbers to sell, and the housekeeping of their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.sync.decide import stock as decide
from services.sync.queries import catalogue, stock
from shared.contracts.stock import StockAvailabilityChanged
from shared.messaging.message import Outgoing, Received, Transaction

LATENCIES_KEPT = timedelta(days=2)


async def change_availability(tx: Transaction, messages: Sequence[Received[StockAvailabilityChanged]]) -> list[Outgoing]:
    """Keeps the newest number of each SKU and schedules pushes where a channel shows another one."""
    numbers = decide.newest_numbers(message.data for message in messages)
    await catalogue.share_stock_and_listings(tx.connection)
    await stock.save_numbers(tx.connection, numbers, tx.now)
    return []


async def forget_old_latencies(tx: Transaction) -> list[Outgoing]:
    """Drops latency counts older than two days."""
    await stock.forget_latencies(tx.connection, tx.now - LATENCIES_KEPT)
    return []
