"""Where locations lie, kept as it was found."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from services.routing.decide.registration import settle_places
from services.routing.postal_codes import find_place
from services.routing.queries import places
from shared.messaging.message import Outgoing, Transaction

log = structlog.get_logger()


async def keep_places(tx: Transaction) -> Sequence[Outgoing]:
    """At every start: keeps where locations lie that were registered before that was kept, and says which ones are on no map.

    These ship nothing, and every decision lists them as left out for that reason, until a start with a map that has them.
    """
    if not await places.read_unplaced(tx.connection):
        return ()
    await places.lock_network(tx.connection)
    settled = settle_places(await places.read_unplaced(tx.connection), find_place)
    if settled.found:
        await places.keep_places(tx.connection, settled.found)
    if settled.moved:
        await places.begin_version(tx.connection, settled.moved, tx.new_id())
    for lost in settled.lost:
        log.error(
            "location_on_no_map",
            location=lost.location,
            postal_code=lost.postal_code,
            country=lost.country,
            effect="nothing ships from there",
            remedy="start routing with a file in ORDERMESH_POSTAL_AREAS that has the code, or register the location with another one",
        )
    return ()
