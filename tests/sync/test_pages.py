"""What the console and scripts read, over real HTTP."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from services.sync.errands import errands
from services.sync.handlers import orders, refunds, shipments
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.stock import StockAvailabilityChanged
from tests.sync.conftest import Desk, Shopfront
from tests.sync.messages import a_refund, an_order_document, availability, cancelled, products, received, shipped
from tests.sync.service_side import OPERATOR, SyncHttp


@pytest.fixture
async def sync(sync: SyncHttp, desk: Desk) -> SyncHttp:
    """The channel ``shop`` lists a mug and a lamp; the desk's clock is the service's."""
    desk.now = sync.now()
    await desk.set_up("LAMP", "MUG")
    return sync


async def read(sync: SyncHttp, path: str) -> tuple[int, dict[str, Any]]:
    return await sync.get(path, OPERATOR)


async def test_a_product_is_read_by_its_sku(sync: SyncHttp, desk: Desk) -> None:
    status, product = await read(sync, "/products/MUG")
    assert (status, product["title"], product["unit_weight_grams"], product["hazmat"]) == (200, "The MUG", 300, False)
    assert (await read(sync, "/products/SOFA"))[0] == 404


async def test_listings_are_read_page_by_page_with_what_the_channel_shows(sync: SyncHttp, desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 7))
    _, first = await read(sync, "/listings?channel=shop&limit=1")
    assert ([row["sku"] for row in first["listings"]], first["next_after"]) == (["LAMP"], "LAMP")
    _, second = await read(sync, "/listings?channel=shop&after=LAMP")
    [mug] = second["listings"]
    assert (mug["external_listing_id"], mug["wanted_available"], mug["accepted_available"]) == ("L-MUG", 5, None)
    assert second["next_after"] is None
    found = {}
    for words in ("mug", "the ug", "LAMP", "the lamp mug", "%", "the"):
        _, answer = await read(sync, f"/listings?channel=shop&limit=3&search={quote(words)}")
        found[words] = [(row["sku"], row["unit_price_cents"], row["wanted_available"]) for row in answer["listings"]]
    assert found == {
        "mug": [("MUG", 1250, 5)],
        "the ug": [("MUG", 1250, 5)],
        "LAMP": [("LAMP", 1250, None)],
        "the lamp mug": [],
        "%": [],
        "the": [("LAMP", 1250, None), ("MUG", 1250, 5)],
    }
    assert (await read(sync, "/listings?channel=outlet&search=mug"))[1]["listings"] == [], "another channel's own catalogue"


@pytest.mark.parametrize(
    "query",
    [
        *("", "?channel=nowhere", "?channel=shop&limit=0", "?channel=shop&limit=x", "?channel=shop&limit=²"),
        *("?channel=shop&search=%20", "?channel=shop&search=a&after=b"),
    ],
)
async def test_a_question_that_makes_no_sense_names_the_field(sync: SyncHttp, query: str) -> None:
    status, answer = await read(sync, f"/listings{query}")
    assert (status, answer["error"]["code"]) == (422, "invalid_query")
    assert answer["error"]["problems"][0]["remedy"]


async def test_channels_show_their_health_backlog_and_measured_latency(sync: SyncHttp, desk: Desk, shop: Shopfront) -> None:
    [push] = [errand for errand in errands(sync.environment) if errand.name == "stock pushes to shop"]
    desk.now = sync.now()
    await desk.change_availability(availability("MUG", 5, 7, changed_at=desk.now - timedelta(milliseconds=400)))
    await desk.run(push)
    await shop.behave(error_rate=1.0)
    await desk.change_availability(availability("LAMP", 5, 8, changed_at=desk.now))
    await desk.run(push)
    _, answer = await read(sync, "/channels")
    [row] = answer["channels"]
    assert (row["code"], row["listings"], row["pushes_waiting"], row["circuit"]) == ("shop", 2, 1, "closed")
    assert (row["consecutive_failures"], row["requests_per_second"], row["in_partners_file"]) == (1, 500.0, True)
    assert "HTTP 500" in row["last_failure"]
    assert row["last_push_at"] is not None
    assert row["push_latency_ms"]["pushes"] == 1
    assert 400 <= row["push_latency_ms"]["p50"] == row["push_latency_ms"]["p99"] < 1_500
    _, later = await read(sync, f"/channels?since={quote((desk.now + timedelta(minutes=2)).isoformat())}")
    assert later["channels"][0]["push_latency_ms"] == {"p50": None, "p99": None, "pushes": 0}
    assert (await read(sync, "/channels?since=yesterday"))[0] == 422


async def test_latency_and_calls_are_metrics(sync: SyncHttp, desk: Desk) -> None:
    [push] = [errand for errand in errands(sync.environment) if errand.name == "stock pushes to shop"]
    await desk.change_availability(availability("MUG", 5, 7, changed_at=desk.now))
    await desk.run(push)
    async with sync.http.get(f"{sync.base_url}/metrics") as response:
        text = await response.text()
    assert 'ordermesh_channel_push_latency_seconds_count{channel="shop"} 1.0' in text
    assert 'ordermesh_channel_calls_total{call="show_stock",channel="shop",outcome="answered"} 1.0' in text


async def test_an_order_is_read_with_its_refunds_and_parcels(sync: SyncHttp, desk: Desk) -> None:
    placed = await desk.place(external_id="2026/03 #1")
    await desk.handle(refunds.request_refunds, received(a_refund(placed, 1600)))
    await desk.handle(shipments.schedule_notices, received(shipped(placed)))
    await desk.handle(orders.record_cancellations, received(cancelled(placed)))
    _, order = await read(sync, f"/orders/{placed.order_id}")
    assert (order["channel"], order["external_id"], order["captured_cents"]) == ("shop", "2026/03 #1", 3200)
    assert [(refund["state"], refund["amount_cents"]) for refund in order["refunds"]] == [("requested", 1600)]
    assert [(parcel["state"], parcel["tracking_number"]) for parcel in order["shipments"]] == [("due", "1Z999")]
    assert order["cancel_reason"] == "changed mind"
    assert await read(sync, f"/orders/by-external/shop/{quote('2026/03 #1', safe='')}") == (200, order)


@pytest.mark.parametrize("path", ["/orders/019d0000-0000-7000-8000-000000000001", "/orders/17", "/orders/by-external/shop/none"])
async def test_what_is_not_there_is_not_found(sync: SyncHttp, path: str) -> None:
    status, answer = await read(sync, path)
    assert (status, answer["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/products/MUG", "/listings?channel=shop", "/channels", "/orders/019d0000-0000-7000-8000-000000000001", "/orders/by-external/shop/1"],
)
async def test_nothing_is_read_without_the_operators_token(sync: SyncHttp, path: str) -> None:
    assert (await sync.get(path, {}))[0] == 401


async def test_products_and_listings_are_registered_by_posting_messages(sync: SyncHttp) -> None:
    async def post(message_type: str, data: Any) -> tuple[int, dict[str, Any]]:
        envelope = {
            "specversion": "1.0",
            "id": str(new_id()),
            "source": "console",
            "type": message_type,
            "time": sync.now().isoformat(),
            "data": data,
        }
        return await sync.post("/messages", json.dumps(envelope), OPERATOR)

    status, answer = await post("product.registration_requested.v1", products("CHAIR").model_dump())
    assert (status, answer["messages"][0]["type"]) == (200, "product.registered.v1")
    listing = {"channel": "shop", "listings": [{"sku": "CHAIR", "external_listing_id": "C-1"}]}
    status, answer = await post("listing.registration_requested.v1", listing)
    assert (status, answer["messages"][0]["type"]) == (200, "listing.registered.v1")
    status, answer = await post("listing.registration_requested.v1", listing | {"channel": "nowhere"})
    assert (status, answer["messages"][0]["data"]["problems"][0]["field"]) == (409, "channel")
    status, answer = await post("channel.order_received.v1", an_order_document(external_id="by-message"))
    assert (status, answer["messages"][0]["type"]) == (200, "order.placed.v1")


async def test_a_handled_number_wakes_the_pushes_although_nothing_is_published(sync: SyncHttp) -> None:
    handled: list[type[Message]] = []
    sync.environment.around.handled = handled.append
    data = availability("MUG", 5, 7).model_dump(mode="json")
    envelope = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "ordermesh/allocation",
        "type": "stock.availability_changed.v1",
        "time": sync.now().isoformat(),
        "data": data,
    }
    assert (await sync.post("/messages", json.dumps(envelope), OPERATOR))[0] == 200
    [push] = [errand for errand in errands(sync.environment) if errand.name == "stock pushes to shop"]
    assert push.woken_by is not None
    assert handled == [StockAvailabilityChanged]
    assert StockAvailabilityChanged in push.woken_by
