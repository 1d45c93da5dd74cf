"""Products and locations become known, open and close, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from services.allocation.handlers.registering import prepare_ledger
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockReserved
from shared.messaging.message import Transaction
from tests.allocation.conftest import Desk
from tests.allocation.messages import at, line, location, order, products, receipt, received


async def test_a_new_product_is_sold_out_until_it_is_stocked(desk: Desk) -> None:
    change = (await desk.hear(products("MUG"))).one(StockAvailabilityChanged).changes[0]
    assert (change.sku, change.available, change.mode, change.stock_version) == ("MUG", 0, "backorder", 1)
    assert not (await desk.hear(products("MUG"))).outgoing


async def test_hazardous_goods_are_sold_only_where_they_may_ship(desk: Desk) -> None:
    await desk.hear(products("ACID", hazmat=True))
    await desk.hear(location("plain"), location("safe", hazmat_certified=True))
    await desk.hear(receipt(5, "ACID", at_location="plain"))
    assert await desk.available("ACID") == 0
    await desk.hear(receipt(3, "ACID", at_location="safe"))
    assert await desk.available("ACID") == 3
    heard = await desk.hear(received(location("plain", hazmat_certified=True), time=at(1)))
    assert heard.one(StockAvailabilityChanged).changes[0].available == 8


async def test_a_product_that_turns_out_hazardous_leaves_the_pool_where_it_may_not_ship(desk: Desk) -> None:
    await desk.hear(products("ACID"))
    await desk.hear(location("plain"))
    await desk.hear(receipt(5, "ACID", at_location="plain"))
    placed = order(line(2, "ACID"))
    await desk.hear(placed)
    heard = await desk.hear(received(products("ACID", hazmat=True), time=at(1)))
    assert (heard.one(StockBackordered).cause, heard.one(StockBackordered).lines[0].quantity) == ("shortage", 2)
    assert heard.one(StockAvailabilityChanged).changes[0].available == 0


async def test_a_location_that_closes_takes_its_stock_from_sale_and_one_that_opens_serves_the_queue(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(4), receipt(2, at_location="west"))
    placed = order(line(5))
    await desk.hear(placed)
    heard = await desk.hear(received(location("east", active=False), time=at(1)))
    assert heard.one(StockBackordered).lines[0].quantity == 3
    heard = await desk.hear(received(location("east"), time=at(2)))
    assert heard.one(StockReserved).lines[0].quantity == 3
    assert heard.one(StockAvailabilityChanged).changes[0].available == 1


async def test_the_newest_registration_wins_whatever_the_order(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(received(location("east", active=False), time=at(2)))
    await desk.hear(received(location("east"), time=at(1)))
    await desk.hear(receipt(4))
    assert await desk.available() == 0
    await desk.hear(received(products("MUG", hazmat=True), time=at(2)), received(products("MUG"), time=at(1)))
    assert await desk.connection.fetchval("SELECT hazmat FROM products")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET quantity = 1", "DELETE FROM {}", "TRUNCATE {}"],
)
@pytest.mark.parametrize("table", ["movements", "movements_default", "movements_{:%Y%m}"])
async def test_the_ledger_can_only_grow(desk: Desk, statement: str, table: str) -> None:
    await desk.hear(products("MUG"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await desk.connection.execute(statement.format(table.format(datetime.now(UTC))))


async def test_the_ledgers_partitions_are_made_ahead_and_only_once(desk: Desk) -> None:
    for _ in range(2):
        assert await prepare_ledger(Transaction(desk.connection, desk.now)) == ()
    coming = await desk.connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'movements'::regclass ORDER BY 1"
    )
    names = [row["name"] for row in coming]
    assert f"movements_{datetime.now(UTC):%Y%m}" in names
    assert len(names) == len(set(names)) >= 4


async def test_todays_entries_lie_in_this_months_partition(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(receipt(4))
    rows = await desk.connection.fetch("SELECT tableoid::regclass::text AS name FROM movements")
    assert {row["name"] for row in rows} == {f"movements_{datetime.now(UTC):%Y%m}"}
