"""Products, kits and listings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.sync.decide import catalogue as decide
from services.sync.decide.texts import reason_of
from services.sync.queries import catalogue as queries
from shared.contracts.channels import (
    ListingRegistered,
    ListingRegistrationRejected,
    ListingRegistrationRequested,
    Product,
    ProductRegistered,
    ProductRegistrationRequested,
)
from shared.messaging.message import Outgoing, Received, Transaction
from shared.text import is_storable


async def register_products(tx: Transaction, messages: Sequence[Received[ProductRegistrationRequested]]) -> list[Outgoing]:
    """Registers products, all of a message or none; of two registrations of a SKU the one asked for later stands.

    A kit waits until its components are registered. One registration at a time, so that none misses what another makes of a SKU.
    """
    await queries.hold_catalogue(tx.connection)
    named = {product.sku for message in messages for product in message.data.products}
    parts = {component.sku for message in messages for product in message.data.products for component in product.components}
    book = decide.ProductBook(await queries.read_known_products(tx.connection, {sku for sku in named | parts if is_storable(sku)}))
    newest: dict[str, tuple[Product, datetime]] = {}
    good: list[tuple[Received[ProductRegistrationRequested], list[Product]]] = []
    for message in messages:
        registered = book.register(message.data.products)
        if isinstance(registered, decide.Refused):
            tx.park(message, reason_of(registered.problems))
        elif isinstance(registered, decide.Unregistered):
            tx.defer(message, registered.reason)
        else:
            good.append((message, registered))
            asked_at = message.time or tx.now
            for product in registered:
                if product.sku not in newest or newest[product.sku][1] <= asked_at:
                    newest[product.sku] = (product, asked_at)
    if not newest:
        return []
    standing = await queries.save_products(tx.connection, list(newest.values()))
    kits = [product for product, _ in newest.values() if product.components and product.sku in standing]
    if kits:
        await queries.replace_components(tx.connection, kits)
    outgoing = []
    for message, registered in good:
        products = [product for product in registered if product.sku in standing and newest[product.sku][0] is product]
        if products:
            outgoing.append(Outgoing(ProductRegistered(products=products), because=message))
    return outgoing


async def register_listings(tx: Transaction, messages: Sequence[Received[ListingRegistrationRequested]]) -> list[Outgoing]:
    """Registers listings, all of a message or none, and schedules the numbers that their channels do not show yet."""
    await queries.hold_stock_and_listings(tx.connection)
    channels = await queries.read_channel_codes(tx.connection)
    if not channels:
        for message in messages:
            tx.defer(message, "no channel is known yet: sync reads ORDERMESH_PARTNERS_FILE when it starts")
        return []
    wanted = {(message.data.channel, listing.sku) for message in messages for listing in message.data.listings}
    names = {(message.data.channel, listing.external_listing_id) for message in messages for listing in message.data.listings}
    names = {name for name in names if is_storable(name[1])}
    book = decide.ListingBook(
        channels=channels,
        skus=await queries.read_registered_skus(tx.connection, {sku for _, sku in wanted}),
        names=await queries.read_listing_names(tx.connection, sorted(wanted), sorted(names)),
    )
    outgoing = []
    registered = set()
    for message in messages:
        request = message.data
        problems = book.register(request)
        if problems:
            rejected = ListingRegistrationRejected(channel=request.channel, problems=problems, detail=reason_of(problems)[:500])
            outgoing.append(Outgoing(rejected, because=message))
            continue
        registered |= {(request.channel, listing.sku) for listing in request.listings}
        answer = ListingRegistered(channel=request.channel, listings=request.listings, registered_at=tx.now)
        outgoing.append(Outgoing(answer, because=message))
    if registered:
        await queries.save_listings(tx.connection, [(*key, book.names[key]) for key in registered], tx.now)
    return outgoing
