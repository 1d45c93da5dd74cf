"""A kit from its registration to the refund of its last component, through all five services, a channel and a 3PL (feature A8)."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.portal.decide.order import OrderView
from services.portal.reading import read_order_view
from services.routing import current
from services.routing.tariff_files import SHIPPED_RATE_CARDS
from shared.contracts.channels import KitComponent, Product, ProductRegistrationRequested
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentRequested
from shared.contracts.orders import ComponentProduct, LineChange, OrderCancelRequested, OrderEditRequested
from shared.contracts.stock import SupplyLine, SupplyReceived
from tests.conftest import Databases
from tests.shared.world import CHANNEL, SHOPPER, World, open_world

STOCK = {"reno": {"MUG": 12, "LAMP": 2}, "newark": {"LAMP": 1, "CHAIR": 4}}


async def shown(world: World, sku: str = "SET") -> int:
    """What the channel shows of a SKU."""
    number: int = await world.admin.fetchval(
        "SELECT accepted_available FROM sync.listing_stock WHERE channel = $1 AND sku = $2", CHANNEL, sku
    )
    return number


async def view(world: World, name: str) -> OrderView:
    """An order as the portal shows it."""
    async with world.loopback.stations["portal"].around.pool.acquire() as connection:
        found = await read_order_view(connection, world.orders[name])
    assert found is not None
    return found


async def fulfillments(world: World, name: str) -> list[dict[str, int]]:
    """Units by SKU of each fulfillment that was planned for an order."""
    rows = await world.admin.fetch(
        """
        SELECT fulfillment_id, jsonb_object_agg(sku, planned) AS units FROM (
            SELECT fulfillment_id, sku, sum(planned) AS planned
            FROM routing.fulfillments JOIN routing.fulfillment_lines USING (fulfillment_id)
            WHERE order_id = $1 GROUP BY fulfillment_id, sku
        ) line GROUP BY fulfillment_id ORDER BY fulfillment_id
        """,
        world.orders[name],
    )
    return [row["units"] for row in rows]


async def told_of_parcels(world: World, name: str) -> list[list[dict[str, Any]]]:
    """The lines of each parcel as the channel was told of them."""
    rows = await world.admin.fetch(
        "SELECT lines FROM sync.shipment_notices WHERE order_id = $1 ORDER BY fulfillment_id", world.orders[name]
    )
    return [row["lines"] for row in rows]


async def refunded(world: World, name: str) -> int:
    """What the channel gave back of an order."""
    cents: int = await world.admin.fetchval(
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM sync.refunds WHERE order_id = $1 AND state = 'succeeded'", world.orders[name]
    )
    return cents


async def balanced(world: World) -> None:
    report = await world.audit()
    assert [(check.service, check.id, check.violations) for check in report.violated()] == []
    assert await world.waiting() == []


async def test_a_kit_is_sold_shipped_and_given_back_as_a_kit(databases: Databases, tmp_path: Path) -> None:
    async with open_world(databases, tmp_path) as world:
        await world.open_shop(STOCK)
        await world.sell_kits("SET", MUG=2, LAMP=1)
        assert await shown(world) == 3, "three lamps"
        await world.buy("two", {"SET": 2})
        assert await shown(world) == 1
        assert await shown(world, "MUG") == 8
        await world.work_at_the_warehouse()
        assert await told_of_parcels(world, "two") == [[{"line_id": "1", "sku": "SET", "quantity": 2}]]
        order = await view(world, "two")
        [item] = order.bought
        assert (item.title, item.ordered, item.unit_price_cents, item.total_cents) == ("The SET", 2, 1_999, 2 * 1_999 + 137)
        assert {piece.whole.sku: (piece.whole.ordered, piece.whole.delivered) for piece in item.pieces} == {"MUG": (4, 4), "LAMP": (2, 2)}

        mugs = {line.line_id: line.ordered for line in order.lines if line.sku == "MUG"}
        await world.scan(await world.send_back("two", mugs), mugs, {})
        part = await refunded(world, "two")
        assert 0 < part < item.total_cents
        assert await shown(world, "MUG") == 12
        lamps = {line.line_id: line.ordered for line in order.lines if line.sku == "LAMP"}
        await world.scan(await world.send_back("two", lamps), lamps, {})
        assert await refunded(world, "two") == item.total_cents, "to the cent what the kits cost"
        assert await shown(world) == 3
        await balanced(world)


async def test_no_half_kit_leaves_while_a_component_waits(databases: Databases, tmp_path: Path) -> None:
    async with open_world(databases, tmp_path) as world:
        await world.open_shop(STOCK)
        await world.sell_kits("SET", MUG=2, LAMP=1)
        await world.buy("scarce", {"SET": 5})
        assert await shown(world) == 0
        assert (await fulfillments(world, "scarce")) in (
            [{"MUG": 6, "LAMP": 2}, {"LAMP": 1}],
            [{"LAMP": 1}, {"MUG": 6, "LAMP": 2}],
        ), "three whole kits; the mugs of the other two wait with their lamps"
        await world.work_at_the_warehouse()
        assert sum(line["quantity"] for parcel in await told_of_parcels(world, "scarce") for line in parcel) == 3
        arrived = SupplyReceived(receipt_id=new_id(), location="reno", lines=[SupplyLine(sku="LAMP", quantity=4)])
        await world.ask("allocation", arrived)
        await world.work_at_the_warehouse()
        assert sum(line["quantity"] for parcel in await told_of_parcels(world, "scarce") for line in parcel) == 5
        order = await view(world, "scarce")
        assert order.status == "delivered"
        assert await shown(world) == 1, "two mugs and two lamps are left"
        await balanced(world)


async def test_kits_are_edited_and_cancelled_whole_and_their_components_sold_again(databases: Databases, tmp_path: Path) -> None:
    async with open_world(databases, tmp_path) as world:
        await world.open_shop(STOCK)
        await world.sell_kits("SET", MUG=2, LAMP=1)
        order_id = await world.buy("changed", {"SET": 3, "CHAIR": 2})
        assert await shown(world) == 0
        await edit(world, order_id, LineChange(line_id="1", quantity=1))
        await agree(world)
        assert await shown(world) == 2
        added = ComponentProduct(sku="CHAIR", title="Chair", quantity=1, unit_price_cents=1_999, unit_weight_grams=700)
        lamp = ComponentProduct(sku="LAMP", title="Lamp", quantity=1, unit_price_cents=1_999, unit_weight_grams=700)
        den = LineChange(sku="DEN", title="Den", quantity=1, unit_price_cents=999, components=[added, lamp])
        await edit(world, order_id, LineChange(line_id="2", quantity=1), den)
        await agree(world)
        assert await shown(world) == 1
        order = await view(world, "changed")
        assert [(item.title, item.ordered) for item in order.bought] == [("The SET", 1), ("Chair", 1), ("Den", 1)]
        cancel = OrderCancelRequested(order_id=order_id, change_id=new_id(), actor=SHOPPER, reason="no need")
        await world.ask("routing", cancel)
        await agree(world)
        assert await shown(world) == 3
        paid = 3 * 1_999 + 137 + 2 * 1_999 + 137 + 595
        assert await refunded(world, "changed") == paid
        await balanced(world)


async def test_an_order_keeps_its_composition_when_the_kit_is_composed_anew(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the parcel of the new one is billed by the volume of its components."""
    bill_volume(monkeypatch, tmp_path)
    async with open_world(databases, tmp_path) as world:
        await world.open_shop(STOCK)
        await world.sell_kits("SET", MUG=2, LAMP=1)
        await world.buy("before", {"SET": 1})
        anew = Product(sku="SET", title="The SET", unit_price_cents=4_499, components=[KitComponent(sku="CHAIR", quantity=2)])
        chair = Product(sku="CHAIR", title="Chair", unit_price_cents=1_999, unit_weight_grams=700, unit_volume_cubic_centimetres=30_000)
        await world.ask("sync", ProductRegistrationRequested(products=[anew, chair]))
        assert await shown(world) == 2, "four chairs"
        await world.buy("after", {"SET": 1})
        await world.work_at_the_warehouse()
        assert await fulfillments(world, "before") == [{"MUG": 2, "LAMP": 1}]
        assert await fulfillments(world, "after") == [{"CHAIR": 2}]
        record = await world.admin.fetchval("SELECT record FROM routing.decisions WHERE order_id = $1", world.orders["after"])
        assert record["billed_by_volume"] == {"newark": [4, 27]}, "60 liters are 26.3 pounds"
        await balanced(world)


def bill_volume(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The carrier bills volume: this process plans by such rate cards until the test ends."""
    cards = folder / "rate_cards"
    shutil.copytree(SHIPPED_RATE_CARDS, cards)
    (cards / "dimensional.csv").write_text("service,divisor,unit,above\nground,139,in3/lb,\ntwo_day,139,in3/lb,\nnext_day,139,in3/lb,\n")
    monkeypatch.setenv("ORDERMESH_RATE_CARDS", str(cards))
    for known in ("settings", "rate_cards"):
        monkeypatch.setattr(current, known, cache(getattr(current, known).__wrapped__))
    monkeypatch.setattr(current, "_known", [])


async def edit(world: World, order_id: UUID, *changes: LineChange) -> None:
    """The shopper changes an order."""
    await world.ask("routing", OrderEditRequested(order_id=order_id, change_id=new_id(), actor=SHOPPER, line_changes=list(changes)))


async def agree(world: World) -> None:
    """The 3PL stops what it is asked to stop, and forgets what it was asked to ship."""
    await world.stop_what_shall_stop()
    world.loopback.partner_mail[:] = [mail for mail in world.loopback.partner_mail if isinstance(mail.message, FulfillmentRequested)]
