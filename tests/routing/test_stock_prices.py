"""Prices of scarce stock on a real database: worked out in the background, used by plans that look ahead, shown to operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from services.routing.decide import outlook
from services.routing.decide.foresight import StockPrices
from services.routing.decide.outlook import Told, left_on_shelves, weighed_days
from services.routing.decide.scarcity import StockPriceError
from services.routing.handlers import prices
from services.routing.price_pages import price_measures
from services.routing.replay import __main__ as replaying
from services.routing.settings import PlanningSettings
from shared.database import prepare_connection
from shared.messaging.message import Transaction
from shared.running import Environment
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import HOME, NOON, a_line, an_order
from tests.routing.test_pages import client as http_client
from tests.routing.test_rule_versions import in_force
from tests.routing.test_rules import a_rule

client = http_client
LOOKS_AHEAD = a_rule("objective", "look ahead", objective="forward_looking")
DENVER = HOME.model_copy(update={"city": "Denver", "region": "CO", "postal_code": "80202"})
CHOSEN = PlanningSettings()


@pytest.fixture
async def environment(databases: Databases, desk: Desk) -> AsyncIterator[Environment]:
    pool = await asyncpg.create_pool(databases.url("routing"), min_size=1, max_size=2, init=prepare_connection)
    yield cast(Environment, SimpleNamespace(database=pool, settings=CHOSEN, now=lambda: desk.now))
    await pool.close()


async def claim(desk: Desk, chosen: PlanningSettings = CHOSEN) -> Sequence[datetime]:
    async with desk.connection.transaction():
        return await prices.claim(Transaction(desk.connection, desk.now), 1, chosen)


async def refresh(desk: Desk, environment: Environment) -> bool:
    """What the errand does, in its three steps; whether anything was due."""
    due = await claim(desk)
    for moment in due:
        new = await prices.work_out(environment, moment, CHOSEN)
        async with desk.connection.transaction():
            await prices.save(Transaction(desk.connection, desk.now), [(moment, new)], CHOSEN)
    return bool(due)


async def nine_orders(desk: Desk) -> None:
    """Eight from Reno and one from Denver: Reno has three left, and will be asked for more than that."""
    for number in range(9):
        placed = an_order(a_line("1", 1), ship_to=HOME if number else DENVER)
        await desk.plan(placed, {"SKU-1": {"reno": 12 - number, "newark": 90}})


async def test_the_last_units_are_left_to_those_who_need_them_most_and_a_stale_price_decides_nothing(
    desk: Desk, environment: Environment, client: TestClient[Any, Any], databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    await nine_orders(desk)
    assert (await (await client.get("/stock-prices")).json())["version"] == 0
    assert await refresh(desk, environment)
    assert not await refresh(desk, environment), "not due again, for nobody"
    assert [(await client.get(f"/stock-prices?sku={sku}")).status for sku in ("SKU-2", "sku-1", "SKU-1")] == [404, 404, 200]
    shown = await (await client.get("/stock-prices?sku=SKU-1")).json()
    assert (shown["version"], shown["stale"], shown["skus"], shown["problem"]) == (1, False, 1, None)
    assert (shown["every_seconds"], shown["history_days"], shown["horizon_days"]) == (3_600.0, 28.0, 14.0)
    [dearest] = shown["dearest"]
    assert (dearest["sku"], dearest["location"]) == ("SKU-1", "reno")

    async def ships_from(stock: dict[str, int]) -> str:
        placed = an_order(a_line("1", 1), ship_to=DENVER)
        return (await desk.plan(placed, {"SKU-1": stock})).fulfillments[0].location

    assert await ships_from({"reno": 3, "newark": 90}) == "reno", "nothing looks ahead yet"
    before = await desk.connection.fetch("SELECT record FROM decisions")
    assert not any("stock_prices" in row["record"]["asked"] for row in before)
    version = await in_force(desk, LOOKS_AHEAD)
    assert await ships_from({"reno": 3, "newark": 90}) == "newark"
    assert await ships_from({"reno": 3}) == "reno", "a price forbids nothing"
    told = await desk.connection.fetchval("SELECT record FROM decisions ORDER BY decision_id DESC OFFSET 1 LIMIT 1")
    assert told["asked"]["stock_prices"] == {
        "version": 1,
        "computed_at": NOON.isoformat(),
        "cents": {"SKU-1": {"reno": dearest["cents"]}},
    }
    order_id = await desk.connection.fetchval("SELECT order_id FROM decisions ORDER BY decision_id DESC OFFSET 1 LIMIT 1")
    [decision] = (await (await client.get(f"/orders/{order_id}")).json())["decisions"]
    assert "; it kept 1 of reno's 3 SKU-1, worth " in decision["in_words"]

    desk.now += timedelta(seconds=CHOSEN.stock_prices_oldest_seconds + 1)
    assert [value.value for value in await price_measures(desk.connection, desk.now) if value.name == "stock_prices_stale"] == [1.0]
    assert await ships_from({"reno": 3, "newark": 90}) == "reno"
    assert (await desk.connection.fetchval("SELECT record FROM decisions ORDER BY decision_id DESC LIMIT 1"))["asked"]["stock_prices"][
        "stale"
    ]

    # Old records and new ones come out as they were; asked what looking ahead would have done, those without prices take today's.
    options = replaying.parse(["--objective", "forward_looking"])
    assert await replaying.replay(databases.url("routing"), options) == 0
    said = capsys.readouterr().out
    assert said.startswith("13 of 13 decisions came out as they were recorded, byte for byte")
    miles = next(line.split() for line in said.splitlines() if line.startswith("miles"))
    assert int(miles[2].replace(",", "")) > int(miles[1].replace(",", ""))
    assert version == 1


async def test_a_failure_is_told_and_the_prices_of_before_stay(
    desk: Desk, environment: Environment, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await nine_orders(desk)
    await refresh(desk, environment)
    shorter = PlanningSettings(stock_prices_seconds=60)
    desk.now += timedelta(seconds=61)
    dues = [list(await claim(desk, chosen)) for chosen in (CHOSEN, shorter, shorter)]
    assert dues == [[], [desk.now], []], "a shorter setting counts from the last time, but breaks nobody's lease"
    desk.now += timedelta(seconds=CHOSEN.stock_prices_seconds)

    def fails(*_: object) -> dict[tuple[str, str], float]:
        raise StockPriceError("no optimum")

    monkeypatch.setattr(outlook, "stock_prices", fails)
    assert await refresh(desk, environment)
    shown = await (await client.get("/stock-prices")).json()
    assert (shown["version"], shown["problem"], shown["prices"]) == (1, "StockPriceError: no optimum", 1)
    desk.now += timedelta(seconds=61)
    assert not await claim(desk, shorter), "what failed is tried again at its own time"


async def test_what_is_ordered_together_is_priced_together_and_by_itself_where_time_is_short(
    desk: Desk, environment: Environment, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near Reno people buy a mug and a saucer. Only Reno has saucers, and it will have too few mugs."""
    for number in range(8):
        placed = an_order(a_line("1", 1, sku="MUG"), a_line("2", 1, sku="SAUCER"))
        await desk.plan(placed, {"MUG": {"reno": 12 - number, "newark": 90}, "SAUCER": {"reno": 900 - number}})
    await refresh(desk, environment)

    async def shown() -> Any:
        return await (await client.get("/stock-prices?sku=MUG")).json()

    assert (await client.get("/stock-prices?sku=SAUCER")).status == 200, "it has no price, but it is sold"
    first = await shown()
    assert (first["skus"], first["skus_together"], first["fallback"]) == (1, 1, None)
    desk.now += timedelta(seconds=CHOSEN.stock_prices_seconds)
    monkeypatch.setattr(prices, "PLANS_SECONDS", 0.0)
    await refresh(desk, environment)
    short = await shown()
    assert (short["version"], short["skus"], short["skus_together"]) == (2, 1, 0)
    assert short["fallback"] == "1 SKUs are priced each by itself: whole plans took longer than 0 seconds"
    [dearer], [cheaper] = first["dearest"], short["dearest"]
    assert dearer["location"] == cheaper["location"] == "reno"
    assert dearer["cents"] > cheaper["cents"], "alone, a mug does not know that its saucer then comes in a parcel of its own"


def test_the_newest_word_on_stock_counts_what_its_own_order_took() -> None:
    told = Told(
        "A", {"reno": 3, "newark": 1}, [["1", "A", 2, 400, False], ["2", "B", 1, 400, False]], [["reno", "ground", 900, {"1": 2, "2": 1}]]
    )
    assert left_on_shelves(told) == {"reno": 1, "newark": 1}


def test_a_steady_demand_is_found_again_however_long_the_history_is() -> None:
    for span in (2.0, 14.0, 28.0, 90.0):
        half_life = 28 / 4
        steady = sum(0.5 ** ((step + 0.5) / 100 / half_life) / 100 for step in range(int(min(span, 28.0) * 100)))
        assert steady / weighed_days(span, 28.0) == pytest.approx(1.0, rel=1e-4), "one unit a day is a rate of one"
    assert weighed_days(0.001, 28.0) == weighed_days(1.0, 28.0)
    assert StockPrices(1, datetime(2026, 1, 1, tzinfo=UTC), {"A": {"reno": 5}, "B": {}}).of(["A", "C"]).cents == {"A": {"reno": 5}}
