"""Delay consent through all services, with a moved clock: stock, money, mails and the auditor hear the same story."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import ThirdPartyAccepted
from shared.contracts.stock import SupplyCancelled, SupplyLine, SupplyReceived, SupplyRescheduled, SupplyScheduled
from tests.conftest import Databases
from tests.shared.test_supply_across_services import balance, delays
from tests.shared.world import World, open_world


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    """A shop that has lamps and waits for chairs."""
    async with open_world(databases, tmp_path) as world:
        await world.open_shop({"reno": {"LAMP": 5}})
        yield world


async def on_order(world: World, units: int, days: float) -> UUID:
    """Chairs that are on their way."""
    supply_id = new_id()
    expected_at = world.loopback.now() + timedelta(days=days)
    lines = [SupplyLine(sku="CHAIR", quantity=units)]
    await world.ask("allocation", SupplyScheduled(supply_id=supply_id, location="reno", expected_at=expected_at, lines=lines))
    return supply_id


async def reschedule(world: World, supply_id: UUID, days: float) -> None:
    """The chairs come so many days from now."""
    expected_at = world.loopback.now() + timedelta(days=days)
    await world.ask("allocation", SupplyRescheduled(supply_id=supply_id, change_id=new_id(), expected_at=expected_at))


async def asked(world: World, order_id: UUID) -> list[tuple[str, str | None]]:
    rows = await world.admin.fetch("SELECT consent, outcome FROM routing.delay_consents WHERE order_id = $1 ORDER BY told_at", order_id)
    return [(row["consent"], row["outcome"]) for row in rows]


async def money_back(world: World, order_id: UUID) -> int:
    """What the channel has paid back."""
    cents: int = await world.admin.fetchval(
        "SELECT coalesce(sum(amount_cents), 0)::bigint FROM sync.refunds WHERE order_id = $1 AND state = 'succeeded'", order_id
    )
    return cents


async def queued(world: World) -> int:
    units: int = await world.admin.fetchval("SELECT queued FROM allocation.stock_pools WHERE sku = 'CHAIR'")
    return units


async def mails(world: World, order_id: UUID) -> list[str]:
    rows = await world.admin.fetch("SELECT kind FROM portal.notifications WHERE order_id = $1 ORDER BY created_at, kind", order_id)
    return [row["kind"] for row in rows]


async def test_of_three_customers_of_late_goods_one_agrees_one_declines_and_one_says_nothing(world: World) -> None:
    chairs = await on_order(world, 9, 10)
    agrees, declines, silent = [await world.buy(name, {"CHAIR": 2}) for name in ("agrees", "declines", "silent")]
    await reschedule(world, chairs, 20)
    for order_id in (agrees, declines, silent):
        assert await asked(world, order_id) == [("silence", None)]
        assert await delays(world, order_id) == 1, "one mail per customer and cause"
    world.loopback.offset = timedelta(days=5)
    await reschedule(world, chairs, 30)
    for order_id in (agrees, declines, silent):
        assert (await asked(world, order_id))[-1] == ("required", None)
        assert await delays(world, order_id) == 2
    await world.answer_delay("agrees", "yes")
    await world.answer_delay("declines", "no")
    assert (await queued(world), await money_back(world, declines)) == (4, 2 * 1_999 + 137 + 595)
    await balance(world)

    answer_by: datetime = await world.admin.fetchval("SELECT due_at FROM routing.orders WHERE order_id = $1", silent)
    world.loopback.offset += answer_by - world.loopback.now() - timedelta(seconds=30)
    await world.loopback.settle()
    assert (await asked(world, silent))[-1] == ("required", None)
    world.loopback.offset += timedelta(minutes=1)
    await world.loopback.settle()
    assert (await asked(world, silent))[-1] == ("required", "lapsed")
    assert (await queued(world), await money_back(world, silent)) == (2, 2 * 1_999 + 137 + 595)
    assert (await mails(world, silent))[-2:] == ["cancelled", "refund"]
    assert "cancelled" not in await mails(world, agrees)

    await world.ask(
        "allocation", SupplyReceived(receipt_id=new_id(), supply_id=chairs, location="reno", lines=[SupplyLine(sku="CHAIR", quantity=9)])
    )
    assert [line.quantity for pick in world.picks() for line in pick.lines] == [2], "only who agreed still gets chairs"
    await balance(world)


async def test_what_a_warehouse_has_started_ships_before_the_rest_is_cancelled_and_refunded(world: World) -> None:
    chairs = await on_order(world, 5, 10)
    order_id = await world.buy("both", {"LAMP": 1, "CHAIR": 1})
    [pick] = world.picks()
    await world.ask("allocation", SupplyCancelled(supply_id=chairs, change_id=new_id()))
    assert await asked(world, order_id) == [("required", None)]
    await world.from_warehouse(ThirdPartyAccepted(fulfillment_id=pick.fulfillment_id, accepted_at=world.loopback.now()))
    await world.answer_delay("both", "no")
    assert await money_back(world, order_id) == 0
    await world.ship_everything([pick])
    assert await money_back(world, order_id) == 1_999 + 137, "the lamp and the shipping stay paid"
    assert await queued(world) == 0
    await balance(world)
