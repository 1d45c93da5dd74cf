"""Where locations lie, kept as it was found."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from services.routing import current
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


async def name_what_carries(tx: Transaction) -> Sequence[Outgoing]:
    """At every start: says whose rate cards are in force, and which locations are registered with carriers that have none of them."""
    known = current.tariffs()
    log.info("rate_cards", version=known.version, carriers={name: list(carrier.cards) for name, carrier in known.carriers.items()})
    for location in (await current.planner(tx.connection)).network.locations:
        lacking = sorted(location.carriers - known.carriers.keys())
        if location.active and lacking:
            alone = len(known.carriers) == 1
            log.error(
                "location_without_carrier",
                location=location.code,
                carriers=lacking,
                effect="an only carrier picks up everywhere" if alone else "nothing ships from there by them",
                remedy="add a folder with their rate cards, or register the location with other carriers",
            )
    return ()
