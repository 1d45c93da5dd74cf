"""Whatever partners send: a clear error to the sender or a parked row with its reason, and nobody else is disturbed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp
import pytest

from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import ThirdPartyShipped
from shared.contracts.orders import LineUnits
from tests.system import HESITANT, Json, System, an_order

KEY = "channel.webshop.order_received.v1"


async def answered(system: System, external_id: str) -> Json:
    """What the adapter hears about its order."""
    heard: list[Json] = []

    async def told() -> bool:
        heard.extend(await system.heard_by("channel", "webshop"))
        return any(message["data"]["external_id"] == external_id for message in heard)

    await system.eventually(told, f"the adapter hears what is wrong with {external_id}")
    data: Json = next(message["data"] for message in heard if message["data"]["external_id"] == external_id)
    return data


def envelope_of(order: Json, **changes: Any) -> bytes:
    document = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "adapter",
        "type": "channel.order_received.v1",
        "time": order["paid_at"],
        "datacontenttype": "application/json",
        "data": order,
    }
    return json.dumps({**document, **changes}).encode()


async def a_good_order_still_works(system: System) -> None:
    sku = system.fresh("good")
    await system.register(sku)
    await system.put(sku, "reno", 1)
    await system.until_status(await system.place(an_order(system.fresh("good"), {sku: 1})), "shipped", "delivered")


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b'{"specversion": "1.0", "marker": "MARK"', "application/json", "not valid JSON"),
        (b"order please MARK", "text/plain", "content_type"),
        (b'{"type": "channel.order_received.v7", "marker": "MARK"}', "application/json", "unknown type or version"),
        (b'{"type": "channel.order_received.v1", "data": {"marker": "MARK"}}', "application/json", "id: Field required"),
    ],
)
async def test_what_is_no_order_message_is_parked_with_the_reason(system: System, body: bytes, content_type: str, reason: str) -> None:
    mark = system.fresh("mark")
    await system.say_bytes(body.replace(b"MARK", mark.encode()), "channel", "webshop", KEY, content_type=content_type)
    parked = await system.until_parked(mark)
    assert reason in parked["reason"]
    await a_good_order_still_works(system)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": -1}, "lines.0.quantity"),
        ({"quantity": 0}, "lines.0.quantity"),
        ({"quantity": 1.5}, "lines.0.quantity"),
        ({"quantity": None}, "lines.0.quantity"),
        ({"unit_price_cents": -5}, "lines.0.unit_price_cents"),
        ({"sku": ""}, "lines.0.sku"),
    ],
)
async def test_an_adapter_hears_which_field_of_its_order_is_wrong(system: System, change: Json, field: str) -> None:
    external_id = system.fresh("wrong")
    order = an_order(external_id, {"ANY": 1})
    order["lines"][0].update(change)
    await system.say_bytes(envelope_of(order), "channel", "webshop", KEY)
    data = await answered(system, external_id)
    assert any(field in problem["field"] for problem in data["problems"]), data["problems"]
    assert all(problem["remedy"] for problem in data["problems"])
    assert field in (await system.until_parked(external_id))["reason"]


async def test_an_unknown_sku_is_parked_and_goes_through_once_it_is_registered_and_redriven(system: System) -> None:
    sku, external_id = system.fresh("unheard"), system.fresh("unknown")
    await system.say(ChannelOrderReceived.model_validate(an_order(external_id, {sku: 1})), "webshop")
    data = await answered(system, external_id)
    assert any("sku" in problem["field"] and sku in problem["problem"] for problem in data["problems"]), data["problems"]
    parked = await system.until_parked(external_id)
    await system.register(sku)
    await system.put(sku, "reno", 1)
    redriven = await system.api("POST", f"/api/parked/{parked['service']}/{parked['event_id']}/redrive")
    assert redriven.status == 202

    async def placed() -> bool:
        return bool((await system.ask("GET", f"/api/orders?query={external_id}"))["orders"])

    await system.eventually(placed, "the order stands")
    assert not await system.parked(containing=external_id)


async def test_the_same_order_twice_is_one_order_and_other_content_is_refused(system: System) -> None:
    sku, external_id = system.fresh("same"), system.fresh("same")
    await system.register(sku)
    await system.put(sku, "reno", 5)
    order = an_order(external_id, {sku: 2})
    first = await system.place(order)
    await system.say(ChannelOrderReceived.model_validate(order), "webshop")
    await system.say(ChannelOrderReceived.model_validate(order), "webshop")
    assert await system.place(order) == first
    changed = {**order, "lines": [{**order["lines"][0], "quantity": 5}]}
    await system.say(ChannelOrderReceived.model_validate(changed), "webshop")
    data = await answered(system, external_id)
    assert "different content" in json.dumps(data["problems"])
    await system.until_status(first, "shipped", "delivered")
    await system.until_stock(sku, on_hand=3)


async def test_an_unknown_major_version_is_parked_and_never_guessed_and_an_unknown_type_is_refused_to_its_sender(system: System) -> None:
    order = an_order(system.fresh("future"), {"ANY": 1})
    future = envelope_of(order, type="channel.order_received.v2")
    await system.say_bytes(future, "channel", "webshop", "channel.webshop.order_received.v2")
    parked = await system.until_parked(order["external_id"])
    assert "'channel.order_received.v2' is an unknown type or version here" in parked["reason"]
    with pytest.raises(aio_pika.exceptions.AMQPError, match=r"order_whispered\.v1"):
        await system.say_bytes(future, "channel", "webshop", "channel.webshop.order_whispered.v1")


async def test_a_twenty_megabyte_body_is_refused_to_its_sender_over_both_ways(system: System) -> None:
    huge = b'{"padding": "' + b"x" * 20_000_000 + b'"}'
    with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError)):
        await system.say_bytes(huge, "channel", "webshop", KEY)
    async with system.http.post(
        f"{system.processes.url('sync')}/webhooks/webshop", data=huge, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413
        assert "large" in (await response.text())
    await a_good_order_still_works(system)


async def test_a_3pl_can_not_answer_for_anothers_fulfillment(system: System) -> None:
    await system.behave(**HESITANT)
    sku = system.fresh("foreign")
    await system.register(sku)
    await system.put(sku, "reno", 1)
    order_id = await system.place(an_order(system.fresh("foreign"), {sku: 1}))
    found: list[str] = []

    async def submitted() -> bool:
        routing = (await system.order(order_id)).get("routing") or {}
        found[:] = [item["fulfillment_id"] for item in routing.get("fulfillments", []) if "submitted" in json.dumps(item)]
        return bool(found)

    await system.eventually(submitted, "the pick list is with west")
    shipped = ThirdPartyShipped(
        fulfillment_id=UUID(found[0]),
        carrier="Evil Express",
        tracking_number="EVIL1",
        lines=[LineUnits(line_id="1", sku=sku, quantity=1)],
        shipped_at=datetime.now(UTC),
    )
    await system.say(shipped, "east")
    parked = await system.until_parked(found[0])
    assert "east" in parked["reason"] or "west" in parked["reason"]
    document = await system.order(order_id)
    assert document["lines"][0]["shipped"] == 0


async def test_an_unknown_location_or_sku_is_refused_naming_it(system: System) -> None:
    sku = system.fresh("nowhere")
    await system.register(sku)
    nowhere = await system.api("PUT", f"/api/stock/{sku}/atlantis", {"new_on_hand": 5, "reason": "count"})
    assert nowhere.status in (404, 409, 422)
    assert "atlantis" in json.dumps(nowhere.body)
    nothing = await system.api("PUT", "/api/stock/NO-SUCH-SKU/reno", {"new_on_hand": 5, "reason": "count"})
    assert nothing.status in (404, 409, 422)
    assert "NO-SUCH-SKU" in json.dumps(nothing.body)
    negative = await system.api("PUT", f"/api/stock/{sku}/reno", {"new_on_hand": -5, "reason": "count"})
    assert negative.status == 422
    assert "new_on_hand" in json.dumps(negative.body)


async def test_a_hostile_reply_to_gets_no_answer_with_our_rights(system: System) -> None:
    connection = await aio_pika.connect(system.stack.environment()["AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        victim = await channel.declare_queue(system.fresh("victim"), exclusive=True)
        mark = system.fresh("hostile")
        for reply_to in (victim.name, f"{victim.name}|", f"{victim.name}|oms.commands"):
            await system.say_bytes(b'{"hello": "' + mark.encode() + b'"}', "channel", "webshop", KEY, reply_to=reply_to)
        await system.until_parked(mark)
        assert await victim.get(fail=False) is None


async def test_a_webhook_is_taken_only_with_a_true_signature(system: System) -> None:
    sku, external_id = system.fresh("hook"), system.fresh("hook")
    await system.register(sku)
    await system.put(sku, "reno", 1)
    body = json.dumps(an_order(external_id, {sku: 1})).encode()
    secret = system.processes.surroundings.secret("webhook_webshop")
    good = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    url = f"{system.processes.url('sync')}/webhooks/webshop"

    async def post(content: bytes, signature: str | None, content_type: str = "application/json") -> tuple[int, Any]:
        headers = {"Content-Type": content_type} | ({"X-Ordermesh-Hmac-Sha256": signature} if signature else {})
        async with system.http.post(url, data=content, headers=headers) as response:
            return response.status, await response.json()

    assert (await post(body, None))[0] == 401
    assert (await post(body, good[:-4] + "AAA="))[0] == 401
    assert (await post(body + b" ", good))[0] == 401
    status, answer = await post(body, good)
    assert status == 202, answer
    again, repeated = await post(body, good)
    assert again in (200, 202)
    assert repeated["order_id"] == answer["order_id"]
    await system.until_status(UUID(answer["order_id"]), "shipped", "delivered")


async def test_without_the_operators_token_nothing_is_told_or_done(system: System) -> None:
    for name, path in (("portal", "/api/parked"), ("allocation", "/operations/parked"), ("routing", "/messages"), ("sync", "/orders")):
        async with system.http.request("GET" if "parked" in path else "POST", system.processes.url(name) + path) as response:
            assert response.status == 401, (name, path)
    async with aiohttp.ClientSession() as stranger, stranger.get(system.processes.url("portal") + "/api/audit") as response:
        assert response.status == 401
