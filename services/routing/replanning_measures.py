"""What operators are shown of orders that were planned together before release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.routing.queries.replanning import read_savings
from shared.messaging.message import Connection
from shared.service import Gauges
from shared.telemetry import Measured


async def replanning_measures(connection: Connection, now: datetime) -> Sequence[Measured]:
    """How many orders were re-planned so far, and what that saved; nothing before the first."""
    saved = await read_savings(connection)
    if saved is None:
        return ()
    return (
        Measured("replanned_orders", {}, float(saved["orders"])),
        Measured("replanning_saved_parcels", {}, float(saved["parcels_saved"])),
        Measured("replanning_saved_cents", {}, float(saved["cents_saved"])),
    )


GAUGES = Gauges(
    names={
        "replanned_orders": "How many orders got another plan because those of their window were planned together",
        "replanning_saved_parcels": "How many parcels less that was, since the beginning",
        "replanning_saved_cents": "How many cents less that cost, since the beginning",
    },
    labels=(),
    read=replanning_measures,
)
