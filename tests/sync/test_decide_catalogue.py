"""Products and listings that may be registered."""

from __future__ import annotations

from services.sync.decide.catalogue import ListingBook, problems_of_products
from shared.contracts.channels import Listing, ListingRegistrationRequested, Product
from tests.sync.messages import listings, products


def a_book(**names: str) -> ListingBook:
    return ListingBook(channels={"shop"}, skus={"MUG", "LAMP", "CHAIR"}, names={("shop", sku): name for sku, name in names.items()})


def test_listings_of_known_products_are_registered() -> None:
    book = a_book()
    assert book.register(listings("MUG", "LAMP")) == []
    assert book.names == {("shop", "MUG"): "L-MUG", ("shop", "LAMP"): "L-LAMP"}


def test_an_unknown_channel_is_told_which_there_are() -> None:
    [problem] = a_book().register(listings("MUG", channel="nowhere"))
    assert problem.field == "channel"
    assert "shop" in problem.remedy


def test_one_unknown_product_refuses_the_whole_registration() -> None:
    book = a_book()
    assert [problem.field for problem in book.register(listings("MUG", "SOFA"))] == ["listings.1.sku"]
    assert book.names == {}


def test_one_name_never_stands_for_two_skus() -> None:
    book = a_book(LAMP="L-MUG")
    [problem] = book.register(listings("MUG"))
    assert problem.field == "listings.0.external_listing_id"
    assert "'LAMP'" in problem.problem


def test_one_name_twice_in_one_registration_is_refused() -> None:
    twice = [Listing(sku="MUG", external_listing_id="X"), Listing(sku="LAMP", external_listing_id="X")]
    fields = [problem.field for problem in a_book().register(ListingRegistrationRequested(channel="shop", listings=twice))]
    assert fields == ["listings.0.external_listing_id", "listings.1.external_listing_id"]


def test_two_skus_may_swap_their_names() -> None:
    book = a_book(MUG="X", LAMP="Y")
    swap = [Listing(sku="MUG", external_listing_id="Y"), Listing(sku="LAMP", external_listing_id="X")]
    assert book.register(ListingRegistrationRequested(channel="shop", listings=swap)) == []
    assert book.names == {("shop", "MUG"): "Y", ("shop", "LAMP"): "X"}


def test_a_name_that_became_free_earlier_in_the_batch_may_be_used() -> None:
    book = a_book(MUG="L-LAMP")
    assert book.register(listings("MUG")) == []
    assert book.register(listings("LAMP")) == []


def test_the_same_sku_twice_is_refused() -> None:
    assert {problem.field for problem in a_book().register(listings("MUG", "MUG"))} >= {"listings.0.sku", "listings.1.sku"}
    assert [problem.field for problem in problems_of_products(products("MUG", "MUG").products)] == ["products.0.sku", "products.1.sku"]


def test_text_that_no_database_holds_is_refused_by_field() -> None:
    bad = Product(sku="MUG", title="A m\x00g", unit_price_cents=1)
    assert [problem.field for problem in problems_of_products([bad])] == ["products.0.title"]
    listing = Listing(sku="MUG", external_listing_id="X\x00")
    told = a_book().register(ListingRegistrationRequested(channel="shop", listings=[listing]))
    assert [problem.field for problem in told] == ["listings.0.external_listing_id"]
