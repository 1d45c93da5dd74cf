"""Supply and preorders through all services, with a moved clock: channels, customers, routing and the auditor hear the same story."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from shared.contracts.envelope import new_id
from shared.contracts.stock import StockPreorderOpened, SupplyLine, SupplyReceived, SupplyRescheduled, SupplyScheduled
from tests.conftest import Databases
from tests.shared.world import CHANNEL, World, open_world


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    """A shop that has lamps and no mugs."""
    async with open_world(databases, tmp_path) as world:
        await world.open_shop({"reno": {"LAMP": 5}})
        yield world


async def shown(world: World, sku: str = "MUG") -> tuple[int, str, datetime | None]:
    """What the channel has taken."""
    row = await world.admin.fetchrow(
        "SELECT accepted_available, accepted_mode, accepted_next_ship_at FROM sync.listing_stock WHERE channel = $1 AND sku = $2",
        CHANNEL,
        sku,
    )
    assert row is not None
    return tuple(row)


async def delays(world: World, order_id: UUID) -> int:
    """How many mails about dates a customer got."""
    count: int = await world.admin.fetchval(
        "SELECT count(*) FROM portal.notifications WHERE order_id = $1 AND kind = 'delay' AND type = 'order.delayed.v1'", order_id
    )
    return count


async def promised(world: World, order_id: UUID) -> datetime | None:
    date: datetime | None = await world.admin.fetchval("SELECT promised_ship_at FROM allocation.demand WHERE order_id = $1", order_id)
    return date


async def balance(world: World) -> None:
    """The auditor finds nothing, and nothing waits."""
    assert await world.waiting() == []
    report = await world.audit()
    assert [(check.service, check.id, check.violations) for check in report.checks if not check.holds] == []


async def test_a_preorder_is_sold_capped_delayed_and_released_by_itself(world: World) -> None:
    start = world.loopback.now()
    release = start + timedelta(days=20)
    await world.ask("allocation", StockPreorderOpened(change_id=new_id(), sku="MUG", release_at=release))
    assert await shown(world) == (0, "sold_out", None)
    supply = SupplyScheduled(
        supply_id=new_id(), location="reno", expected_at=start + timedelta(days=10), lines=[SupplyLine(sku="MUG", quantity=5)]
    )
    await world.ask("allocation", supply)
    assert await shown(world) == (5, "preorder", release)
    first, second = await world.buy("first", {"MUG": 2}), await world.buy("second", {"MUG": 3})
    assert await shown(world) == (0, "sold_out", None)
    assert await promised(world, first) == release
    assert not world.picks()
    await balance(world)

    await world.ask("allocation", SupplyRescheduled(supply_id=supply.supply_id, change_id=new_id(), expected_at=start + timedelta(days=30)))
    later = await promised(world, first)
    assert later is not None
    assert later > release + timedelta(days=9)
    assert [await delays(world, order_id) for order_id in (first, second)] == [1, 1]

    world.loopback.offset = timedelta(days=25)
    await world.loopback.settle()
    assert not world.picks(), "the date has come, the goods have not"
    world.loopback.offset = timedelta(days=29)
    await world.ask(
        "allocation",
        SupplyReceived(receipt_id=new_id(), supply_id=supply.supply_id, location="reno", lines=[SupplyLine(sku="MUG", quantity=6)]),
    )
    picks = world.picks()
    assert sorted(line.quantity for pick in picks for line in pick.lines) == [2, 3]
    assert await shown(world) == (1, "in_stock", None)
    assert [await delays(world, order_id) for order_id in (first, second)] == [1, 1]
    await balance(world)


async def test_a_preorder_whose_goods_are_there_waits_for_its_date(world: World) -> None:
    release = world.loopback.now() + timedelta(days=20)
    await world.ask("allocation", StockPreorderOpened(change_id=new_id(), sku="LAMP", release_at=release))
    assert await shown(world, "LAMP") == (5, "preorder", release)
    await world.buy("early", {"LAMP": 2})
    assert not world.picks()
    await balance(world)
    world.loopback.offset = timedelta(days=21)
    await world.loopback.settle()
    assert [line.quantity for pick in world.picks() for line in pick.lines] == [2]
    assert await shown(world, "LAMP") == (3, "in_stock", None)
    await balance(world)


async def test_goods_that_do_not_come_lose_their_date_and_the_customer_is_told_once(world: World) -> None:
    order_id = await world.buy("patient", {"CHAIR": 1})
    supply = SupplyScheduled(
        supply_id=new_id(),
        location="newark",
        expected_at=world.loopback.now() + timedelta(days=5),
        lines=[SupplyLine(sku="CHAIR", quantity=5)],
    )
    await world.ask("allocation", supply)
    assert await delays(world, order_id) == 1
    world.loopback.offset = timedelta(days=12)
    await world.loopback.settle()
    assert await promised(world, order_id) is None
    assert await delays(world, order_id) == 2
    assert await shown(world, "CHAIR") == (0, "backorder", None)
    await world.loopback.settle()
    assert await delays(world, order_id) == 2
    await balance(world)
