"""The places at which parcels may be opened."""

from __future__ import annotations

from collections.abc import Sequence

from services.returns.queries import locations as queries
from shared.contracts.fulfillment import LocationRegistered
from shared.messaging.message import Outgoing, Received, Transaction


async def register_locations(tx: Transaction, messages: Sequence[Received[LocationRegistered]]) -> Sequence[Outgoing]:
    """A place becomes known, and parcels may be scanned there. A closed one stays known: parcels on their way to it still arrive."""
    await queries.insert_locations(tx.connection, [message.data.location for message in messages])
    return []
