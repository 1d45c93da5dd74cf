"""Products and locations become known, open or close."""

from __future__ import annotations

from collections.abc import Sequence

from services.allocation.decide.stock import Cause
from services.allocation.handlers.announcing import availability_messages
from services.allocation.handlers.loading import open_books, place_of
from services.allocation.handlers.settling import settle
from services.allocation.queries import registering as sql
from shared.contracts.channels import ProductRegistered
from shared.contracts.fulfillment import LocationRegistered
from shared.messaging.message import Outgoing, Received, Transaction

LEDGER_MONTHS_AHEAD = 2


async def open_pools(tx: Transaction, messages: Sequence[Received[ProductRegistered]]) -> list[Outgoing]:
    """New products can be stocked and ordered; channels are told that there is nothing yet."""
    told = [(message, product) for message in messages for product in message.data.products]
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
    judged_again = await _judge_shelves(tx, messages, [product.sku for _, product in told], ())
    return availability_messages(changes, messages, tx.now) + judged_again


async def register_locations(tx: Transaction, messages: Sequence[Received[LocationRegistered]]) -> list[Outgoing]:
    """A location opens, closes, or gets or loses its certification: what may not legally ship leaves the pools (blueprint section 6)."""
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
    return await _judge_shelves(tx, messages, (), [place.location for place in places])


async def _judge_shelves(
    tx: Transaction,
    messages: Sequence[Received[ProductRegistered]] | Sequence[Received[LocationRegistered]],
    skus: Sequence[str],
    locations: Sequence[str],
) -> list[Outgoing]:
    """Opens and closes shelves whose product or location changed; units already assigned there stay with their orders."""
    affected = [row["sku"] for row in await sql.read_misjudged_skus(tx.connection, skus, locations)]
    if not affected:
        return []
    books = await open_books(tx.connection, affected)
    books.places.update({row["location"]: place_of(row) for row in await sql.read_locations_of_skus(tx.connection, affected)})
    cause = Cause(messages[0].event_id, tx.now)
    for sku in sorted(books.pools):
        for shelf in books.shelves_of(sku):
            books.set_counts(shelf, books.may_sell(sku, shelf.location), cause)
    return await settle(tx, books, messages)


async def prepare_ledger(tx: Transaction) -> Sequence[Outgoing]:
    """Keeps the ledger's partitions ready for the months to come."""
    await sql.prepare_ledger_months(tx.connection, tx.now, LEDGER_MONTHS_AHEAD)
    return ()
