"""Products and listings."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.sync.handlers import catalogue, stock
from services.sync.queries.channels import register_channel
from shared.contracts.channels import (
    Listing,
    ListingRegistered,
    ListingRegistrationRejected,
    ListingRegistrationRequested,
    ProductRegistered,
)
from tests.conftest import Databases
from tests.sync.conftest import Desk
from tests.sync.messages import NOW, availability, listings, products, received


async def test_registered_products_are_told_to_everybody(desk: Desk) -> None:
    message = received(products("MUG", "LAMP"))
    [outgoing] = (await desk.handle(catalogue.register_products, message)).outgoing
    assert isinstance(outgoing.data, ProductRegistered)
    assert (outgoing.data.products, outgoing.because) == (message.data.products, message)


async def test_of_two_registrations_the_one_asked_for_later_stands_whichever_arrives_first(desk: Desk) -> None:
    late = received(products("MUG", price=200), time=NOW)
    early = received(products("MUG", price=100), time=NOW - timedelta(minutes=1))
    assert len((await desk.handle(catalogue.register_products, late)).outgoing) == 1
    assert (await desk.handle(catalogue.register_products, early)).outgoing == []
    assert await desk.connection.fetchval("SELECT unit_price_cents FROM products") == 200


async def test_registrations_of_one_sku_in_one_batch_leave_the_later_one(desk: Desk) -> None:
    late = received(products("MUG", "LAMP", price=200), time=NOW)
    early = received(products("MUG", price=100), time=NOW - timedelta(minutes=1))
    handled = await desk.handle(catalogue.register_products, late, early)
    assert [[product.sku for product in said.products] for said in handled.said(ProductRegistered)] == [["MUG", "LAMP"]]


async def test_a_registration_with_a_repeated_sku_is_parked_with_the_field(desk: Desk) -> None:
    message = received(products("MUG", "MUG"))
    handled = await desk.handle(catalogue.register_products, message)
    assert handled.parked[message.event_id].startswith("products.0.sku: SKU 'MUG' stands 2 times")
    assert handled.outgoing == []


async def test_registered_listings_are_answered(desk: Desk) -> None:
    await register_channel(desk.connection, "shop", NOW)
    await desk.handle(catalogue.register_products, received(products("MUG")))
    [answer] = (await desk.handle(catalogue.register_listings, received(listings("MUG")))).said(ListingRegistered)
    assert (answer.channel, answer.registered_at) == ("shop", NOW)


async def test_wrong_listings_are_refused_with_fields_and_change_nothing(desk: Desk) -> None:
    await desk.set_up("MUG")
    bad = received(listings("MUG", "SOFA", prefix="N-"))
    [refusal] = (await desk.handle(catalogue.register_listings, bad)).said(ListingRegistrationRejected)
    assert [problem.field for problem in refusal.problems] == ["listings.1.sku"]
    assert "SOFA" in refusal.detail
    assert await desk.connection.fetchval("SELECT external_listing_id FROM listings") == "L-MUG"


async def test_listings_wait_until_the_channels_are_known(desk: Desk) -> None:
    await desk.handle(catalogue.register_products, received(products("MUG")))
    message = received(listings("MUG"))
    assert list((await desk.handle(catalogue.register_listings, message)).deferred) == [message.event_id]


async def test_names_can_be_swapped_in_one_registration(desk: Desk) -> None:
    await desk.set_up("MUG", "LAMP")
    swap = [Listing(sku="MUG", external_listing_id="L-LAMP"), Listing(sku="LAMP", external_listing_id="L-MUG")]
    handled = await desk.handle(catalogue.register_listings, received(ListingRegistrationRequested(channel="shop", listings=swap)))
    assert len(handled.said(ListingRegistered)) == 1
    rows = await desk.connection.fetch("SELECT sku, external_listing_id FROM listings ORDER BY sku")
    assert [tuple(row) for row in rows] == [("LAMP", "L-MUG"), ("MUG", "L-LAMP")]


async def test_a_listing_registered_after_its_number_was_known_is_due_at_once(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 7, 3, changed_at=NOW - timedelta(days=3)))
    await desk.set_up("MUG")
    row = await desk.listing("MUG")
    assert (row["wanted_available"], row["wanted_version"], row["due_at"]) == (7, 3, NOW)
    assert row["stale_since"] == NOW, "before the registration there was nothing to tell"


async def test_registering_the_same_listing_again_tells_nothing_anew(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 7, 3))
    await desk.set_up("MUG")
    await desk.connection.execute("UPDATE listing_stock SET due_at = NULL, stale_since = NULL")
    await desk.handle(catalogue.register_listings, received(listings("MUG")))
    assert (await desk.listing("MUG"))["due_at"] is None


async def test_a_renamed_listing_is_told_its_number_again(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 7, 3))
    await desk.set_up("MUG")
    await desk.connection.execute(
        """
        UPDATE listing_stock
        SET due_at = NULL, stale_since = NULL, accepted_available = 7, accepted_mode = 'in_stock', accepted_version = 3
        """
    )
    await desk.handle(catalogue.register_listings, received(listings("MUG", prefix="NEW-")))
    row = await desk.listing("MUG")
    assert (row["due_at"], row["accepted_version"]) == (NOW, None)


async def test_a_number_and_a_listing_that_arrive_at_once_always_meet(desk: Desk, databases: Databases) -> None:
    skus = [f"SKU-{number}" for number in range(30)]
    await register_channel(desk.connection, "shop", NOW)
    await desk.handle(catalogue.register_products, received(products(*skus)))
    numbers, names = Desk(await databases.connect("sync")), Desk(await databases.connect("sync"))

    async def say_numbers() -> None:
        for sku in skus:
            await numbers.handle(stock.change_availability, received(availability(sku, 5, 1)))

    async def register() -> None:
        for sku in skus:
            await names.handle(catalogue.register_listings, received(listings(sku)))

    await asyncio.gather(say_numbers(), register())
    rows = await desk.connection.fetch("SELECT sku FROM listing_stock WHERE wanted_available = 5 AND due_at = $1", NOW)
    assert {row["sku"] for row in rows} == set(skus)


async def test_a_nul_character_in_a_listing_is_refused_and_disturbs_nobody(desk: Desk) -> None:
    await desk.set_up("MUG", "LAMP")
    hostile = ListingRegistrationRequested(channel="shop", listings=[Listing(sku="MUG", external_listing_id="a\x00b")])
    handled = await desk.handle(catalogue.register_listings, received(hostile), received(listings("LAMP", prefix="N-")))
    assert (len(handled.said(ListingRegistrationRejected)), len(handled.said(ListingRegistered))) == (1, 1)
