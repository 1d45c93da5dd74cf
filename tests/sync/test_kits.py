"""Kits: registered from components, ordered as their components, told to channels as kits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync.decide.catalogue import KnownProduct, ProductBook, Refused, Unregistered
from services.sync.decide.shipments import OrderLines, announce
from services.sync.errands.calls import ChannelCalls
from services.sync.errands.shipments import notice_errand
from services.sync.handlers import catalogue, orders, shipments
from services.sync.queries.catalogue import read_kits
from shared.contracts.channels import ChannelOrderRejected, KitComponent, Product, ProductRegistered, ProductRegistrationRequested
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentShipped
from shared.contracts.orders import KitPart, LineUnits, OrderEdited, OrderPlaced
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.sync.conftest import Desk, Shopfront
from tests.sync.messages import NOW, SUPPORT, a_line, an_order, listings, products, received, shipped
from tests.sync.service_side import OPERATOR, SyncHttp


def a_kit(sku: str = "SET", price: int = 2_000, **components: int) -> Product:
    """A kit; by default of two mugs and a lamp."""
    parts = components or {"MUG": 2, "LAMP": 1}
    return Product(
        sku=sku,
        title=f"The {sku}",
        unit_price_cents=price,
        components=[KitComponent(sku=part, quantity=units) for part, units in parts.items()],
    )


def registration(*kits: Product) -> ProductRegistrationRequested:
    return ProductRegistrationRequested(products=list(kits) or [a_kit()])


async def sell_kits(desk: Desk, *kits: Product) -> None:
    """The channel lists mugs (12.50), lamps (12.50) and kits."""
    await desk.set_up("MUG", "LAMP")
    await desk.handle(catalogue.register_products, received(registration(*kits)))
    await desk.handle(catalogue.register_listings, received(listings(*(kit.sku for kit in kits or (a_kit(),)))))


KNOWN = {"MUG": KnownProduct(False, 300, False, 4_000), "ACID": KnownProduct(False, 900, True), "SET": KnownProduct(True, 1, False)}


def verdict(*products: Product) -> Sequence[Product] | list[str] | str:
    """What a book says: what it registers, the fields that are wrong, or what it waits for."""
    said = ProductBook(dict(KNOWN)).register(products)
    if isinstance(said, Unregistered):
        return said.reason
    return [problem.field for problem in said.problems] if isinstance(said, Refused) else said


def test_weight_volume_and_hazard_of_a_kit_follow_from_its_components() -> None:
    kits = ProductBook(dict(KNOWN)).register([a_kit("BOX", MUG=2, ACID=1)])
    assert isinstance(kits, list)
    [kit] = kits
    assert (kit.unit_weight_grams, kit.unit_volume_cubic_centimetres, kit.hazmat) == (1_500, 8_000, True)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ([a_kit("BOX", SET=1)], ["products.0.components.0.sku"]),
        ([a_kit("BOX", BOX=1)], ["products.0.components.0.sku"]),
        ([a_kit("BOX", MUG=1), a_kit("CRATE", BOX=1)], ["products.1.components.0.sku"]),
        ([a_kit("MUG", ACID=1)], ["products.0.components"]),
        ([Product(sku="SET", title="", unit_price_cents=1)], ["products.0.components"]),
        ([a_kit("BOX", MUG=1_000_000)], ["products.0.components"] * 2),
        ([a_kit("BOX", MUG=2_501)], ["products.0.components"]),
        (
            [Product(sku="BOX", title="", unit_price_cents=1, components=[KitComponent(sku="MUG", quantity=1)] * 2)],
            ["products.0.components.0.sku", "products.0.components.1.sku"],
        ),
    ],
    ids=[
        "a kit of kits",
        "a kit of itself",
        "kits of one request",
        "mugs become a kit",
        "a kit becomes a mug",
        "too heavy and too large",
        "too large",
        "a SKU twice",
    ],
)
def test_a_kit_that_cannot_be_names_the_field(wrong: list[Product], fields: list[str]) -> None:
    assert verdict(*wrong) == fields


def test_a_refused_registration_teaches_nothing() -> None:
    book = ProductBook(dict(KNOWN))
    assert isinstance(book.register([Product(sku="NEW", title="", unit_price_cents=1), a_kit("BOX", SET=1)]), Refused)
    assert isinstance(book.register([a_kit("CRATE", NEW=1)]), Unregistered)


async def test_a_kit_is_told_with_its_components(desk: Desk) -> None:
    await desk.set_up("MUG", "LAMP")
    [told] = (await desk.handle(catalogue.register_products, received(registration()))).said(ProductRegistered)
    [kit] = told.products
    assert [(part.sku, part.quantity) for part in kit.components] == [("MUG", 2), ("LAMP", 1)]
    assert kit.unit_weight_grams == 900


async def test_a_kit_waits_for_its_components_and_may_come_with_them(desk: Desk) -> None:
    alone = received(registration())
    assert (
        "products.0.components.0.sku: SKU 'MUG' is not registered"
        in (await desk.handle(catalogue.register_products, alone)).deferred[alone.event_id]
    )
    assert await desk.connection.fetchval("SELECT count(*) FROM products") == 0
    together = ProductRegistrationRequested(products=[a_kit(), *products("MUG", "LAMP").products])
    assert (await desk.handle(catalogue.register_products, received(together))).said(ProductRegistered)
    in_one_batch = await desk.handle(
        catalogue.register_products, received(products("CHAIR")), received(registration(a_kit("DEN", CHAIR=4)))
    )
    assert (in_one_batch.deferred, len(in_one_batch.said(ProductRegistered))) == ({}, 2)


async def test_a_kit_of_kits_is_parked_with_the_way_out(desk: Desk) -> None:
    await sell_kits(desk)
    message = received(registration(a_kit("BIG", SET=2)))
    reason = (await desk.handle(catalogue.register_products, message)).parked[message.event_id]
    assert "a kit cannot hold kits (name the components of that kit instead)" in reason


async def test_two_registrations_at_once_never_make_a_sku_both_a_kit_and_a_product(databases: Databases, desk: Desk) -> None:
    await desk.set_up("MUG")
    for number in range(10):
        sku = f"BOTH-{number}"
        rivals = [registration(a_kit(sku, MUG=1)), products(sku), registration(a_kit(f"OUTER-{number}", **{sku: 1}))]

        async def register(wanted: ProductRegistrationRequested) -> int:
            connection = await databases.connect("sync")
            async with connection.transaction():
                return len(await catalogue.register_products(Transaction(connection, NOW), [received(wanted)]))

        await asyncio.gather(*(register(rival) for rival in rivals))
    assert await desk.connection.fetchval("SELECT count(*) FROM kit_components c JOIN products p USING (sku) WHERE p.is_kit") == 0
    mixed = "SELECT count(*) FROM products p WHERE p.is_kit <> EXISTS (SELECT FROM kit_components c WHERE c.kit_sku = p.sku)"
    assert await desk.connection.fetchval(mixed) == 0


async def test_a_kit_line_becomes_the_lines_of_its_components(desk: Desk) -> None:
    await sell_kits(desk)
    placed = await desk.place(lines=[a_line("SET", 2, price=2_000, tax=301), a_line("MUG", line="b")])
    assert [(line.line_id, line.sku, line.quantity, line.unit_price_cents, line.kit and line.kit.line_id) for line in placed.lines] == [
        ("a.1", "MUG", 4, 667, "a"),
        ("a.2", "LAMP", 2, 666, "a"),
        ("b", "MUG", 1, 1_000, None),
    ]
    parts = [line for line in placed.lines if line.kit is not None]
    assert sum(line.quantity * line.unit_price_cents for line in parts) == 4_000
    assert sum(line.tax_cents for line in parts) == 301
    assert {(line.kit.sku, line.kit.title, line.kit.quantity) for line in parts if line.kit} == {("SET", "The SET", 2)}
    assert sum(line.quantity for line in parts if line.sku == "MUG") == 4
    captured = await desk.connection.fetchval("SELECT captured_cents FROM channel_orders")
    assert captured == 4_000 + 301 + 1_000 + 500


async def test_an_order_keeps_the_composition_it_was_placed_with(desk: Desk) -> None:
    await sell_kits(desk)
    before = await desk.place(lines=[a_line("SET")])
    await desk.handle(catalogue.register_products, received(registration(a_kit(LAMP=3)), time=NOW + timedelta(minutes=1)))
    after = await desk.place(external_id="1002", lines=[a_line("SET")])
    assert {line.sku for line in before.lines} == {"MUG", "LAMP"}
    assert {(line.sku, line.quantity) for line in after.lines} == {("LAMP", 2), ("LAMP", 1)} or sum(
        line.quantity for line in after.lines
    ) == 3
    stored = await desk.connection.fetchval("SELECT lines FROM channel_orders WHERE external_id = '1001'")
    assert {line["sku"] for line in stored} == {"MUG", "LAMP"}
    handled = await desk.handle(orders.receive_orders, received(an_order(lines=[a_line("SET")])))
    assert (handled.outgoing, handled.parked) == ([], {})


async def test_an_older_composition_that_arrives_later_changes_nothing(desk: Desk) -> None:
    await sell_kits(desk)
    await desk.handle(catalogue.register_products, received(registration(a_kit(LAMP=3)), time=NOW + timedelta(minutes=2)))
    await desk.handle(catalogue.register_products, received(registration(a_kit(MUG=9)), time=NOW + timedelta(minutes=1)))
    assert [(part.sku, part.quantity) for part in (await read_kits(desk.connection, ["SET"]))["SET"]] == [("LAMP", 3)]


@pytest.mark.parametrize(
    ("line", "field"),
    [(a_line("SET", 600_000), "lines.0.quantity"), (a_line("HUGE", 1_000), "lines.0.quantity")],
    ids=["too many kits", "too many units in each"],
)
async def test_more_units_than_a_line_may_have_are_refused_with_the_field(desk: Desk, line: dict[str, Any], field: str) -> None:
    await sell_kits(desk, a_kit(), a_kit("HUGE", MUG=3_000))
    handled = await desk.handle(orders.receive_orders, received(an_order(lines=[line]), partner="shop"))
    [rejected] = handled.said(ChannelOrderRejected)
    assert [problem.field for problem in rejected.problems] == [field]


async def test_kits_that_make_too_many_lines_are_refused(desk: Desk) -> None:
    await sell_kits(desk)
    lines = [a_line("SET", line=str(number), price=0) for number in range(1_001)]
    handled = await desk.handle(orders.receive_orders, received(an_order(lines=lines), partner="shop"))
    [rejected] = handled.said(ChannelOrderRejected)
    assert [(problem.field, problem.remedy) for problem in rejected.problems] == [("lines", "split the order")]


async def test_a_kit_is_read_with_its_components(sync: SyncHttp, desk: Desk) -> None:
    desk.now = sync.now()
    await sell_kits(desk)
    heavier = ProductRegistrationRequested(
        products=[
            Product(sku="LAMP", title="", unit_price_cents=1, unit_weight_grams=5_000, unit_volume_cubic_centimetres=7_000, hazmat=True)
        ]
    )
    await desk.handle(catalogue.register_products, received(heavier))
    status, product = await sync.get("/products/SET", OPERATOR)
    assert (status, product["is_kit"], product["unit_weight_grams"], product["hazmat"]) == (200, True, 5_600, True)
    assert product["unit_volume_cubic_centimetres"] == 2 * 2_000 + 7_000
    assert [(part["sku"], part["quantity"]) for part in product["components"]] == [("MUG", 2), ("LAMP", 1)]
    assert (await sync.get("/products/MUG", OPERATOR))[1]["components"] == []


def parcel(placed: OrderPlaced, **units: int) -> FulfillmentShipped:
    """A parcel with some units of a SKU, of the order's first lines that still have any."""
    lines = []
    for sku, count in units.items():
        left = count
        for line in placed.lines:
            taken = min(left, line.quantity) if line.sku == sku else 0
            if taken:
                lines.append(LineUnits(line_id=line.line_id, sku=sku, quantity=taken))
                left -= taken
    return shipped(placed, lines=lines)


async def test_a_channel_is_told_of_the_kit_and_not_of_its_components(desk: Desk, calls: ChannelCalls, shop: Shopfront) -> None:
    await sell_kits(desk)
    placed = await desk.place(lines=[a_line("SET", 2), a_line("MUG", line="b")])
    await desk.handle(shipments.schedule_notices, received(shipped(placed)))
    await desk.run(notice_errand(calls))
    [told] = (await shop.state())["fulfillments"]
    assert sorted((line["line_id"], line["sku"], line["quantity"]) for line in told["lines"]) == [("a", "SET", 2), ("b", "MUG", 1)]


async def test_the_parcel_that_completes_a_kit_names_it_and_a_part_of_a_kit_is_still_tracked(
    desk: Desk, calls: ChannelCalls, shop: Shopfront
) -> None:
    await sell_kits(desk)
    placed = await desk.place(lines=[a_line("SET", 2)])
    mugs, lamps = parcel(placed, MUG=4), parcel(placed, LAMP=2)
    await desk.handle(shipments.schedule_notices, received(mugs))
    await desk.handle(shipments.schedule_notices, received(mugs), received(lamps), received(lamps))
    await desk.run_until_idle(notice_errand(calls))
    told = {entry["fulfillment_id"]: entry["lines"] for entry in (await shop.state())["fulfillments"]}
    assert told == {
        str(mugs.fulfillment_id): [],
        str(lamps.fulfillment_id): [{"line_id": "a", "sku": "SET", "quantity": 2}],
    }


async def test_parcels_told_at_once_name_every_kit_once(databases: Databases, desk: Desk) -> None:
    await sell_kits(desk)
    placed = await desk.place(lines=[a_line("SET", 6, price=2_400)])
    unit = {line.line_id: line for line in placed.lines}
    parcels = [
        shipped(placed, lines=[LineUnits(line_id=line_id, sku=line.sku, quantity=line.quantity // 6)])
        for line_id, line in unit.items()
        for _ in range(6)
    ]

    async def hear(told: FulfillmentShipped) -> None:
        connection = await databases.connect("sync")
        async with connection.transaction():
            await shipments.schedule_notices(Transaction(connection, NOW), [received(told)])

    await asyncio.gather(*(hear(told) for told in parcels))
    rows = await desk.connection.fetch("SELECT lines FROM shipment_notices")
    assert len(rows) == len(parcels)
    assert sum(line["quantity"] for row in rows for line in row["lines"]) == 6


async def test_a_parcel_with_a_line_that_an_edit_added_waits_for_the_edit(desk: Desk) -> None:
    await sell_kits(desk)
    placed = await desk.place(lines=[a_line("MUG")])
    added = placed.lines[0].model_copy(
        update={"line_id": "x.1", "kit": KitPart(line_id="x", sku="CUP", title="", quantity=1, units_per_kit=1)}
    )
    message = received(shipped(placed, lines=[LineUnits(line_id="x.1", sku="MUG", quantity=1)]))
    assert "has no line 'x.1' here yet" in (await desk.handle(shipments.schedule_notices, message)).deferred[message.event_id]
    edit = OrderEdited(
        order_id=placed.order_id,
        order_version=2,
        change_id=new_id(),
        actor=SUPPORT,
        lines=[added],
        ship_to=placed.ship_to,
        money_delta_cents=0,
        edited_at=NOW,
    )
    await desk.handle(orders.record_edits, received(edit))
    assert (await desk.handle(shipments.schedule_notices, message)).deferred == {}
    assert await desk.connection.fetchval("SELECT lines FROM shipment_notices") == [{"line_id": "x", "sku": "CUP", "quantity": 1}]


@given(
    units_per_kit=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    kits=st.integers(1, 6),
    cuts=st.lists(st.lists(st.integers(0, 24), min_size=4, max_size=4), max_size=6),
)
def test_however_kits_are_cut_into_parcels_each_is_told_once_and_never_before_it_is_whole(
    units_per_kit: list[int], kits: int, cuts: list[list[int]]
) -> None:
    parts = {
        f"1.{number}": KitPart(line_id="1", sku="SET", title="", quantity=kits, units_per_kit=units)
        for number, units in enumerate(units_per_kit)
    }
    order = OrderLines(frozenset(parts), parts)
    left = {line_id: part.quantity * part.units_per_kit for line_id, part in parts.items()}
    parcels: list[Mapping[str, int]] = []
    for cut in cuts:
        taken = {line_id: min(left[line_id], count) for line_id, count in zip(left, cut, strict=False)}
        left = {line_id: count - taken.get(line_id, 0) for line_id, count in left.items()}
        parcels.append(taken)
    earlier: dict[str, int] = {}
    told = 0
    for units in [*parcels, left]:
        lines = [LineUnits(line_id=line_id, sku="X", quantity=count) for line_id, count in units.items() if count]
        said = announce(lines, order, earlier)
        for line_id, count in said.component_units.items():
            earlier[line_id] = earlier.get(line_id, 0) + count
        told += sum(line.quantity for line in said.lines)
        assert told == min(earlier.get(line_id, 0) // part.units_per_kit for line_id, part in parts.items())
    assert told == kits
