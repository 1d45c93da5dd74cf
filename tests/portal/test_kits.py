"""Kits as people see them: one thing with what is in it, on pages, in mails and in the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from services.portal.api.models import OrderDocument
from services.portal.decide.bought import bought, stored_items
from services.portal.decide.facts import fact_of
from services.portal.decide.order import OrderView, Version
from services.portal.decide.view import order_view
from services.portal.mail.letters import Notification, Sender, write_letter
from shared.contracts.channels import ProductRegistered, ProductRegistrationRequested
from shared.contracts.envelope import new_id
from shared.contracts.orders import ComponentProduct, OrderEditRequested, OrderLine
from shared.contracts.returns import ReturnAuthorisationRequested
from shared.contracts.stock import StockAdjustmentRejected
from shared.database import Pool
from shared.kits import Kit, lines_of
from tests.portal import stories
from tests.portal.stories import NOON, line
from tests.portal.telling import happened
from tests.portal.test_api import problem, request
from tests.portal.test_console import console, fresh_memory, text_of
from tests.portal.test_shopper_page import send
from tests.portal.world import World

__all__ = ["console", "fresh_memory"]  # fixtures of the neighbours


def a_set(quantity: int = 2) -> list[OrderLine]:
    """Sets of three mugs and a lamp for 10.00: the mugs are two lines, a cent apart."""
    parts = [
        ComponentProduct(sku=sku, title=title, quantity=count, unit_price_cents=1_000, unit_weight_grams=400)
        for sku, title, count in (("MUG", "Mug", 3), ("LAMP", "Lamp", 1))
    ]
    return lines_of(Kit("k", "SET", "Tea set", quantity, 1_001, 10, parts), {"k"})


def seen(lines: Sequence[OrderLine]) -> OrderView:
    """An order of these lines of which nothing has happened."""
    return order_view(new_id(), None, Version(1, [item.model_dump(mode="json") for item in lines], {}), [])


def test_a_kit_is_one_item_with_its_price_and_each_component_once() -> None:
    order = seen([*a_set(), line("b", 1, "CUP", "Cup", 500)])
    assert len(order.lines) == 4
    assert [(item.title, item.sku, item.ordered, item.unit_price_cents, item.total_cents) for item in order.bought] == [
        ("Tea set", "SET", 2, 1_001, 2_012),
        ("Cup", "CUP", 1, 500, 600),
    ]
    assert [(piece.whole.ordered, piece.title) for piece in order.pieces] == [(6, "Mug (Tea set)"), (2, "Lamp (Tea set)"), (1, "Cup")]
    assert sum(item.total_cents for item in order.bought) == order.total_cents


def test_two_kits_of_one_kind_stay_two_items() -> None:
    other = [
        item.model_copy(update={"line_id": f"o{item.line_id}", "kit": item.kit and item.kit.model_copy(update={"line_id": "o"})})
        for item in a_set()
    ]
    assert [item.ordered for item in bought(seen([*a_set(), *other]).lines)] == [2, 2]


def test_a_mail_names_the_kit_with_what_is_in_it() -> None:
    items = stored_items([item.model_dump(mode="json") for item in [*a_set(), line("b", 1, "CUP", "Cup")]])
    assert items == [{"title": "Tea set (3 × Mug, 1 × Lamp)", "quantity": 2}, {"title": "Cup", "quantity": 1}]


def letter(kind: str, event: Any, lines: Sequence[OrderLine]) -> str:
    fact = fact_of(event, new_id())
    return write_letter(
        Notification(
            order_id=fact.order_id,
            kind=kind,
            cause_id=fact.fact_id,
            created_at=NOON,
            attempts=1,
            external_id="#1",
            placed_at=NOON,
            currency="USD",
            shipping_paid_cents=0,
            customer_email="ada@example.com",
            customer_name="Ada",
            locale="en-US",
            data=fact.data,
            lines=[item.model_dump(mode="json") for item in lines],
        ),
        Sender("Shop", "shop@example.com"),
        "https://shop.example/1",
        NOON,
    ).content.decode()


def test_mails_speak_of_the_kit_and_of_each_component_once() -> None:
    confirmation = letter("confirmation", stories.placed(new_id(), lines=a_set()), a_set())
    assert "Tea set (3 =C3=97 Mug, 1 =C3=97 Lamp)" in confirmation
    assert "$20.12" in confirmation
    parcel = stories.shipped(new_id(), new_id(), [stories.units(item.line_id, item.quantity, item.sku) for item in a_set()])
    shipped = letter("shipped", parcel, a_set())
    assert shipped.count("Mug (Tea set)") == 2, "once in text, once in HTML"


async def a_delivered_set(pool: Pool) -> UUID:
    order, parcel = new_id(), new_id()
    units = [stories.units(item.line_id, item.quantity, item.sku) for item in a_set()]
    await happened(
        pool,
        stories.placed(order, lines=[*a_set(), line("b", 1, "CUP", "Cup")]),
        stories.shipped(order, parcel, units),
        stories.delivered(order, parcel),
    )
    return order


async def test_the_shopper_sees_one_kit_with_its_components(world: World, pool: Pool) -> None:
    order = await a_delivered_set(pool)
    page = await (await world.client.get(world.page_of(order))).text()
    assert page.count('<span class="item-title">Tea set</span>') == 1
    assert '<span class="count">6 ×</span> Mug</span>' in page
    assert "2 × $10.01" in page
    assert "6 delivered" in page
    assert '<span class="count">6 ×</span> Mug (Tea set)' in page, "in the parcel"


async def test_a_shopper_sends_back_components_whatever_lines_they_are(world: World, pool: Pool) -> None:
    order = await a_delivered_set(pool)
    mugs = {item.line_id: item.quantity for item in a_set() if item.sku == "MUG"}
    world.returns.replies_with("done", stories.return_approved(order, new_id()))
    answer = await send(world, order, "returns", units_0="5", reason_0="defective", units_1="1", reason_1="other")
    assert answer.status == 303
    command = ReturnAuthorisationRequested.model_validate(world.returns.asked[0]["data"])
    sent = {part.line_id: part.quantity for part in command.lines}
    assert sum(count for line_id, count in sent.items() if line_id in mugs) == 5
    assert all(count <= mugs.get(line_id, 2) for line_id, count in sent.items())
    assert sent["k.3"] == 1
    too_many = await send(world, order, "returns", units_0="7", reason_0="defective")
    assert too_many.status == 422
    assert "Choose a whole number from 0 to 6." in await too_many.text()


async def test_the_console_shows_the_kit_above_its_components(console: World, pool: Pool) -> None:
    order = await a_delivered_set(pool)
    page = await text_of(console, f"/console/orders/{order}")
    assert 'Tea set <span class="pill">Kit</span> <span class="soft">line k</span>' in page
    assert page.count('<span class="branch" aria-hidden="true">└ </span><a href="/console/stock?sku=MUG">') == 2


async def test_the_console_shows_what_a_kit_is_made_of(console: World) -> None:
    console.allocation.shows(
        "/stock/SET",
        {
            "sku": "SET",
            "available_units": 4,
            "mode": "in_stock",
            "next_ship_at": None,
            "components": [
                {"sku": "MUG", "units_per_kit": 3, "available_units": 13, "queued_units": 0, "kits": 4, "next_ship_at": None},
            ],
        },
    )
    page = await text_of(console, "/console/stock?sku=SET")
    assert "Kits that can be made" in page
    assert '<a href="/console/stock?sku=MUG">MUG</a>' in page
    assert "A kit has no stock of its own" in page


async def test_an_operator_registers_a_kit_and_is_told_why_not(world: World) -> None:
    kit = {"sku": "SET", "title": "Tea set", "unit_price_cents": 1_001, "components": [{"sku": "MUG", "quantity": 3}]}
    asked = ProductRegistrationRequested.model_validate({"products": [kit]})
    world.sync.replies_with("done", ProductRegistered(products=asked.products))
    status, raw = await request(world, "POST", "/api/products", {"products": [kit]})
    assert (status, raw["messages"][0]["data"]["products"][0]["components"]) == (201, [{"sku": "MUG", "quantity": 3}])
    assert ProductRegistrationRequested.model_validate(world.sync.asked[0]["data"]) == asked
    world.sync.replies_with("deferred", http_status=409, reason="products.0.components.0.sku: SKU 'MUG' is not registered")
    status, raw = await request(world, "POST", "/api/products", {"products": [kit]})
    assert (status, problem(raw)) == (422, ("unknown_product", ["products.0.components.0.sku"]))
    wrong = {**kit, "components": [{"sku": "MUG", "quantity": 0}]}
    status, raw = await request(world, "POST", "/api/products", {"products": [wrong]})
    assert (status, problem(raw)) == (422, ("invalid", ["products.0.components.0.quantity"]))


async def test_a_kit_that_is_added_to_an_order_goes_with_its_components(world: World) -> None:
    order = new_id()
    component = {
        "sku": "MUG",
        "title": "Mug",
        "quantity": 3,
        "unit_price_cents": 400,
        "unit_weight_grams": 300,
        "unit_volume_cubic_centimetres": 0,
        "hazmat": False,
    }
    world.sync.shows(
        "/products/SET",
        {
            "sku": "SET",
            "title": "Tea set",
            "unit_price_cents": 1_001,
            "unit_weight_grams": 900,
            "hazmat": False,
            "is_kit": True,
            "components": [component],
        },
    )
    world.routing.replies_with("done", stories.edited(order, 2, a_set()))
    status, _ = await request(world, "POST", f"/api/orders/{order}/edit", {"line_changes": [{"sku": "SET", "quantity": 1}]})
    assert status == 200
    [added] = OrderEditRequested.model_validate(world.routing.asked[0]["data"]).line_changes
    assert (added.title, added.unit_price_cents, [part.model_dump() for part in added.components]) == ("Tea set", 1_001, [component])


async def test_the_api_says_of_every_line_which_kit_it_belongs_to(world: World, pool: Pool) -> None:
    order = await a_delivered_set(pool)
    status, raw = await request(world, "GET", f"/api/orders/{order}")
    assert status == 200
    document = OrderDocument.model_validate(raw)
    assert [(item.kit and (item.kit.line_id, item.kit.sku, item.kit.quantity)) for item in document.lines] == [("k", "SET", 2)] * 3 + [None]


async def test_stock_of_a_kit_cannot_be_set_and_the_answer_names_its_components(world: World) -> None:
    refused = StockAdjustmentRejected(
        adjustment_id=new_id(), sku="SET", location="reno", reason="kit_has_no_stock", on_hand=None, detail="sku: 'SET' is a kit of 'MUG'"
    )
    world.allocation.replies_with("done", refused, http_status=409)
    status, raw = await request(world, "PUT", "/api/stock/SET/reno", {"new_on_hand": 4, "reason": "recount"})
    assert (status, problem(raw)[0]) == (409, "kit_has_no_stock")
    assert "is a kit of 'MUG'" in raw["error"]["message"]


@pytest.mark.parametrize("units", [0, 1, 3, 6])
def test_units_of_a_component_are_spread_over_its_lines(units: int) -> None:
    order = seen(a_set())
    shipped = [item for item in order.lines if item.sku == "MUG"]
    [piece] = [piece for piece in order.pieces if piece.whole.sku == "MUG"]
    assert piece.spread(units) == {}, "nothing has shipped yet"
    assert [item.line_id for item in piece.lines] == [item.line_id for item in shipped]
