"""What planning together saved, for the gauges."""

from __future__ import annotations

from asyncpg import Record

from services.routing.decide.replanning import Savings
from shared.messaging.message import Connection


async def add_savings(connection: Connection, saved: Savings) -> None:
    """Counts what a batch saved."""
    await connection.execute(
        """
        INSERT INTO replanning (orders, parcels_saved, cents_saved) VALUES ($1, $2, $3)
        ON CONFLICT (only_row) DO UPDATE
        SET orders = replanning.orders + excluded.orders, parcels_saved = replanning.parcels_saved + excluded.parcels_saved,
            cents_saved = replanning.cents_saved + excluded.cents_saved
        """,
        saved.orders,
        saved.parcels,
        saved.cents,
    )


async def read_savings(connection: Connection) -> Record | None:
    """What was saved so far; None when nothing was yet."""
    return await connection.fetchrow("SELECT orders, parcels_saved, cents_saved FROM replanning")
