"""Products and locations become known, open or close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time

from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause
from services.allocation.handlers.announcing import availability_messages
from services.allocation.handlers.kits import KitRegistrations, components_of, compose_kits, tell_composed
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.handlers.supplying import follow_calendars
from services.allocation.queries import registering as sql
from services.allocation.queries.books import lock_pools
from services.allocation.queries.kits import read_kits
from shared.contracts.channels import Product, ProductRegistered
from shared.contracts.fulfillment import LocationRegistered, iso_weekdays
from shared.messaging.message import Outgoing, Received, Transaction

LEDGER_MONTHS_AHEAD = 2


async def open_pools(tx: Transaction, messages: Sequence[Received[ProductRegistered]]) -> list[Outgoing]:
    """New products can be stocked and ordered; channels are told that there is nothing yet. Kits get their components (feature A8).

    Of a message with a kit that waits for its components, the other products are registered all the same. What is hazardous and which
    places may sell it is judged together: neither changes while the other is looked at, nor does a shelf come into being meanwhile.
    """
    told = await _stocked(tx, messages)
    kits = _newest_kits(tx, messages)
    former = await components_of(tx.connection, kits) if kits else ()
    components = {component.sku for _, kit in kits.values() for component in kit.components}
    await sql.share_all_locations(tx.connection)
    await lock_pools(tx.connection, sorted({*(product.sku for _, product in told), *components, *former}))
    await sql.upsert_products(
        tx.connection,
        [product.sku for _, product in told],
        [product.hazmat for _, product in told],
        [message.time or tx.now for message, _ in told],
    )
    new = await sql.insert_pools(tx.connection, [product.sku for _, product in told])
    changes: list[dict[str, object]] = [
        {"sku": row["sku"], "pool": "default", "available": 0, "mode": "backorder", "stock_version": row["version"]} for row in new
    ]
    affected = [row["sku"] for row in await sql.read_misjudged_skus(tx.connection, [product.sku for _, product in told], ())]
    if not affected and not kits:
        return availability_messages(changes, messages, tx.now)
    books = await open_books(tx.connection, {*affected, *kits, *components, *former})
    composed = await compose_kits(tx, books, kits, former) if kits else {}
    judged_again = await _judge_shelves(tx, messages, books, affected)
    return availability_messages(changes, messages, tx.now) + judged_again + await tell_composed(tx, composed, messages)


async def _stocked(tx: Transaction, messages: Sequence[Received[ProductRegistered]]) -> list[tuple[Received[ProductRegistered], Product]]:
    """The products that are stocked themselves. What is a kit here never becomes one of them."""
    told = [(message, product) for message in messages for product in message.data.products if not product.components]
    kits = {row["kit_sku"] for row in await read_kits(tx.connection, {product.sku for _, product in told})}
    for message, product in told:
        if product.sku in kits:
            tx.park(message, f"products: {product.sku!r} is a kit here and cannot be stocked; register the product under a SKU of its own")
    return [(message, product) for message, product in told if product.sku not in kits]


def _newest_kits(tx: Transaction, messages: Sequence[Received[ProductRegistered]]) -> KitRegistrations:
    newest: dict[str, tuple[Received[ProductRegistered], Product]] = {}
    for message in sorted(messages, key=lambda message: message.time or tx.now):
        newest.update({product.sku: (message, product) for product in message.data.products if product.components})
    return newest


async def register_locations(tx: Transaction, messages: Sequence[Received[LocationRegistered]]) -> list[Outgoing]:
    """A location opens, closes, or gets or loses its certification: what may not legally ship leaves the pools (blueprint section 6).

    When it works on other days than before, what is on its way there ships accordingly (feature B7).
    """
    places = [message.data for message in messages]
    await sql.upsert_locations(
        tx.connection,
        [place.location for place in places],
        [place.name for place in places],
        [place.partner for place in places],
        [place.hazmat_certified for place in places],
        [place.active for place in places],
        [message.time or tx.now for message in messages],
    )
    renewed = await sql.update_calendars(
        tx.connection,
        [place.location for place in places],
        [message.time or tx.now for message in messages],
        [place.time_zone for place in places],
        [time.fromisoformat(place.order_cutoff) for place in places],
        [iso_weekdays(place.working_days) for place in places],
        [place.holidays for place in places],
        [place.dock_to_stock_days for place in places],
    )
    affected = [row["sku"] for row in await sql.read_misjudged_skus(tx.connection, (), [place.location for place in places])]
    redated = await follow_calendars(tx, [row["location"] for row in renewed], messages[-1], also=affected)
    return redated + (await _judge_shelves(tx, messages, await open_books(tx.connection, affected), affected) if affected else [])


async def _judge_shelves(
    tx: Transaction,
    messages: Sequence[Received[ProductRegistered]] | Sequence[Received[LocationRegistered]],
    books: Books,
    affected: Sequence[str],
) -> list[Outgoing]:
    """Opens and closes shelves whose product or location changed; units already assigned there stay with their orders."""
    if not affected:
        return []
    books.places.update({row["location"]: place_of(row) for row in await sql.read_locations_of_skus(tx.connection, affected)})
    cause = Cause(messages[0].event_id, tx.now)
    for sku in sorted(affected):
        for shelf in books.shelves_of(sku):
            books.set_counts(shelf, books.may_sell(sku, shelf.location), cause)
    return await settle(tx, books, messages)


async def prepare_ledger(tx: Transaction) -> Sequence[Outgoing]:
    """Keeps the ledger's partitions ready for the months to come."""
    await sql.prepare_ledger_months(tx.connection, tx.now, LEDGER_MONTHS_AHEAD)
    return ()
