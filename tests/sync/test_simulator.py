"""The channels simulator itself: a channel that can be trusted to behave as badly as it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import aiohttp
import pytest

from simulators.channels.behaviour import Behaviour, Fate
from simulators.channels.shop import Shop
from tests.sync.conftest import Shopfront
from tests.sync.messages import NOW

NUMBER = {"external_listing_id": "L", "available": 5, "mode": "in_stock", "next_ship_at": None, "stock_version": 1}
REFUND = {"refund_id": "r-1", "amount_cents": 500, "currency": "USD"}


async def show(shop: Shopfront, **changes: Any) -> int:
    async with shop.http.put(f"{shop.base_url}/stock", json={"listings": [NUMBER | changes]}) as response:
        return response.status


async def pay(shop: Shopfront, key: str = "k", order: str = "1", **changes: Any) -> tuple[int, dict[str, Any]]:
    url = f"{shop.base_url}/orders/{order}/refunds"
    async with shop.http.post(url, json=REFUND | changes, headers={"Idempotency-Key": key}) as response:
        return response.status, await response.json()


async def test_money_moves_once_per_key(shop: Shopfront) -> None:
    first, second, third = await pay(shop), await pay(shop), await pay(shop, "other")
    assert [status for status, _ in (first, second, third)] == [201, 200, 201]
    assert first[1]["reference"] == second[1]["reference"] != third[1]["reference"]
    state = await shop.state()
    assert (state["refund_cents"], [refund["requests"] for refund in state["refunds"]]) == (1000, [2, 1])


async def test_a_key_used_for_something_else_is_refused(shop: Shopfront) -> None:
    await pay(shop)
    assert (await pay(shop, amount_cents=501))[0] == 409
    assert (await pay(shop, order="2"))[0] == 409
    assert (await shop.state())["refund_cents"] == 500


async def test_money_is_found_by_its_key(shop: Shopfront) -> None:
    await pay(shop, "a b")
    async with shop.http.get(f"{shop.base_url}/refunds/a%20b") as response:
        assert (response.status, (await response.json())["amount_cents"]) == (200, 500)
    async with shop.http.get(f"{shop.base_url}/refunds/c") as response:
        assert response.status == 404


async def test_an_older_number_changes_nothing_but_is_remembered(shop: Shopfront) -> None:
    assert [await show(shop, stock_version=5), await show(shop, stock_version=4, available=9)] == [200, 200]
    listing = (await shop.state())["listings"]["L"]
    assert (listing["available"], listing["stock_version"], listing["updates"]) == (5, 5, 2)
    assert [update["applied"] for update in listing["latest"]] == [True, False]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"available": -1}, "available"),
        ({"available": "5"}, "available"),
        ({"mode": "many"}, "mode"),
        ({"stock_version": None}, "stock_version"),
    ],
)
async def test_a_wrong_number_is_refused_by_field(shop: Shopfront, change: dict[str, Any], field: str) -> None:
    async with shop.http.put(f"{shop.base_url}/stock", json={"listings": [NUMBER | change]}) as response:
        assert response.status == 422
        assert field in (await response.json())["error"]


async def test_it_can_be_told_to_fail_to_be_slow_and_to_lose_its_answers(shop: Shopfront) -> None:
    await shop.behave(error_rate=1.0, status=429, retry_after_seconds=7)
    async with shop.http.put(f"{shop.base_url}/stock", json={"listings": [NUMBER]}) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
    await shop.behave(timeout_after_success_rate=1.0, hold_seconds=0.1)
    with pytest.raises(aiohttp.ClientError):
        await pay(shop)
    assert (await shop.state())["refund_cents"] == 500
    await shop.behave(latency_seconds=0.3)
    started = asyncio.get_running_loop().time()
    assert await show(shop) == 200
    assert asyncio.get_running_loop().time() - started >= 0.3


async def test_it_behaves_badly_only_where_it_was_told_to(shop: Shopfront) -> None:
    await shop.behave(error_rate=1.0, calls=["refunds"])
    assert (await pay(shop))[0] == 500
    assert await show(shop) == 200


async def test_a_behaviour_that_makes_no_sense_is_refused(shop: Shopfront) -> None:
    for wrong in ({"error_rate": 2}, {"latency": 1}, {"status": 200}):
        async with shop.http.post(f"{shop.base_url}/behaviour", json=wrong) as response:
            assert response.status == 422


def test_chance_is_seeded() -> None:
    def fates(seed: str) -> list[tuple[bool, bool]]:
        fate = Fate(seed)
        fate.behaviour = Behaviour(error_rate=0.5, timeout_after_success_rate=0.5)
        return [fate.draw("stock")[1:] for _ in range(50)]

    assert fates("1:shop") == fates("1:shop") != fates("2:shop")


async def test_channels_know_nothing_of_each_other_and_forget_on_reset(shop: Shopfront, simulator_url: str) -> None:
    outlet = Shopfront(f"{simulator_url}/outlet", shop.http, "outlet")
    await pay(shop)
    await pay(outlet, "k2")
    async with shop.http.post(f"{shop.base_url}/reset") as response:
        assert response.status == 200
    assert ((await shop.state())["refund_cents"], (await outlet.state())["refund_cents"]) == (0, 500)


async def test_only_the_last_numbers_of_a_listing_are_kept(shop: Shopfront) -> None:
    for version in range(20):
        await show(shop, stock_version=version)
    listing = (await shop.state())["listings"]["L"]
    assert (listing["updates"], [update["stock_version"] for update in listing["latest"]]) == (20, [15, 16, 17, 18, 19])


def test_a_full_book_refuses_new_money_and_forgets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulators.channels import shop as books

    monkeypatch.setattr(books, "REFUNDS_LIMIT", 1)
    shop = Shop("shop")
    shop.refund("a", "1", REFUND, NOW)
    with pytest.raises(books.BookFull):
        shop.refund("b", "1", REFUND, NOW)
    assert shop.refund("a", "1", REFUND, NOW)[1] is False


async def test_the_process_says_when_it_is_ready_and_stops_when_told(http: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulators.channels",
        env={**os.environ, "ORDERMESH_HTTP_PORT": str(unused_tcp_port)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"ready" in await process.stdout.readline()
    async with http.get(f"http://127.0.0.1:{unused_tcp_port}/readyz") as response:
        assert response.status == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
