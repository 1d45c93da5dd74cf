"""Checkout holds, rules and their history over HTTP: what channels ask for, and what operators see."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.allocation.__main__ import SERVICE
from shared.config import Settings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.database import open_pool
from shared.http import build_application
from shared.messaging.batching import Processor, Surroundings
from shared.messaging.message import Outgoing
from shared.messaging.outbox import encode
from shared.running import Environment
from shared.signing import SIGNATURE_HEADER
from shared.telemetry import Metrics
from tests.allocation.conftest import Desk
from tests.allocation.messages import adjustment, line, location, products, receipt
from tests.allocation.wishes import channel_rule, hold, naming, safety, sold_by
from tests.conftest import Databases

TOKEN = "only-for-this-test"
SECRET = "the shop's own secret"


def signature(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


@dataclass
class Counter:
    """The service's HTTP side on a real database, as a channel's shop and an operator reach it."""

    client: Any
    desk: Desk

    async def ask(self, document: Any, *, channel: str = "web", path: str = "holds", sign: str | None = None) -> tuple[int, Any]:
        """A channel's signed request."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(body) if sign is None else sign}
        answer = await self.client.post(f"/channels/{channel}/{path}", data=body, headers=headers)
        return answer.status, await answer.json()

    async def get(self, path: str) -> Any:
        """A read with the operator's token."""
        answer = await self.client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status == 200, await answer.text()
        return await answer.json()

    async def say(self, data: Message) -> tuple[int, Any]:
        """A message by POST /messages, as the portal sends it."""
        body = encode(Outgoing(data), source="console", service_number=1, now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        answer = await self.client.post("/messages", data=body, headers=headers)
        return answer.status, await answer.json()


@pytest.fixture
async def counter(databases: Databases, desk: Desk, tmp_path: Path) -> AsyncIterator[Counter]:
    """Allocation without a broker; the channels ``web`` and ``market`` share a secret here. Three mugs."""
    partners = tmp_path / "partners.json"
    channels = [{"code": code, "base_url": "http://unused", "webhook_secrets": [SECRET]} for code in ("web", "market")]
    partners.write_text(json.dumps({"channels": channels}))
    config = Settings(database_url=databases.url("allocation"), amqp_url="amqp://unused", operator_token=TOKEN, partners_file=partners)
    pool = await open_pool(config.database_url, application_name="test", size=4, command_timeout_seconds=10)
    around = Surroundings("allocation", pool, config, Metrics("allocation"), lambda: datetime.now(UTC), lambda: None)
    processors = {item.message.type: Processor(item, around) for item in SERVICE.consumes}

    async def well() -> dict[str, str]:
        return {}

    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    await desk.hear(receipt(3))
    async with aiohttp.ClientSession() as session:
        application = build_application(Environment(around, session, processors), SERVICE.routes, live=well, ready=well)
        async with TestClient(TestServer(application)) as client:
            yield Counter(client, desk)
    await pool.close()


def wish(*lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    """The bare request, as an adapter's author would write it."""
    return {"hold_id": str(new_id()), "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines or [("MUG", 1)]], **more}


async def test_a_signed_request_is_answered_at_once_with_what_is_held(counter: Counter) -> None:
    document = wish(("MUG", 5), ttl_seconds=60)
    status, answer = await counter.ask(document)
    assert status == 200
    assert answer == {
        "hold_id": document["hold_id"],
        "channel": "web",
        "outcome": "partly_held",
        "lines": [{"sku": "MUG", "asked": 5, "held": 3}],
        "expires_at": answer["expires_at"],
        "answered_at": answer["answered_at"],
    }
    seconds = (datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(answer["answered_at"])).total_seconds()
    assert seconds == 60
    assert (await counter.desk.pool())["held"] == 3


async def test_a_request_sent_again_after_a_lost_answer_is_answered_the_same(counter: Counter) -> None:
    document = wish(("MUG", 2))
    (_, first), (_, again) = await counter.ask(document), await counter.ask(document)
    assert (again["outcome"], again["lines"]) == (first["outcome"], first["lines"]) == ("held", [{"sku": "MUG", "asked": 2, "held": 2}])
    assert (await counter.desk.pool())["held"] == 2


async def test_the_envelope_of_the_bus_is_taken_as_well(counter: Counter) -> None:
    envelope = {"specversion": "1.0", "id": str(new_id()), "source": "a", "type": "channel.hold_requested.v1", "data": wish(channel="web")}
    assert (await counter.ask(envelope))[0] == 200
    status, answer = await counter.ask({**envelope, "type": "channel.hold_requested.v9"})
    assert (status, answer["error"]["problems"][0]["field"]) == (422, "type")


async def test_releasing_gives_the_units_back(counter: Counter) -> None:
    document = wish(("MUG", 2))
    await counter.ask(document)
    status, answer = await counter.ask({"hold_id": document["hold_id"]}, path="holds/release")
    assert (status, answer["outcome"]) == (200, "released")
    assert await counter.desk.available() == 3


@pytest.mark.parametrize("bad", ["", "bm8=", signature(b"something else"), signature(b"{}", "another secret")])
async def test_nothing_is_held_for_who_cannot_sign(counter: Counter, bad: str) -> None:
    status, answer = await counter.ask(wish(), sign=bad)
    assert (status, answer["error"]["code"]) == (401, "bad_signature")
    assert (await counter.desk.pool())["held"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": [{"sku": "MUG", "quantity": 0.5}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG", "quantity": -2}]}, "lines.0.quantity"),
        ({"lines": []}, "lines"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": 86_400}, "ttl_seconds"),
        ({"hold_id": "basket 7"}, "hold_id"),
        ({"policy": "some"}, "policy"),
        ({"channel": "market"}, "channel"),
    ],
)
async def test_a_wrong_field_is_named(counter: Counter, change: dict[str, Any], field: str) -> None:
    status, answer = await counter.ask(wish() | change)
    assert (status, answer["error"]["code"], [problem["field"] for problem in answer["error"]["problems"]]) == (
        422,
        "invalid_hold",
        [field],
    )


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b'{"a": 1, "a": 2}', 400), (b"[1]", 422), (b"x" * 70_000, 413)])
async def test_a_body_that_is_no_request_is_refused(counter: Counter, body: bytes, status: int) -> None:
    assert (await counter.ask(body))[0] == status


async def test_what_cannot_be_held_is_a_conflict_with_its_reason(counter: Counter) -> None:
    status, answer = await counter.ask(wish(("GHOST", 1)))
    assert (status, answer["error"]["code"], answer["error"]["problems"][0]["field"]) == (409, "unknown_sku", "lines.0.sku")
    document = wish()
    await counter.ask(document)
    status, answer = await counter.ask({**document, "lines": [{"sku": "MUG", "quantity": 2}]})
    assert (status, answer["error"]["code"]) == (409, "different_content")
    status, answer = await counter.ask(document, channel="market")
    assert (status, answer["error"]["code"]) == (409, "foreign_channel")
    assert (await counter.ask(wish(), channel="nobody"))[0] == 404


async def test_200_shoppers_at_once_for_the_last_units_get_exactly_these_in_few_transactions(counter: Counter) -> None:
    answers = await asyncio.gather(*(counter.ask(wish()) for _ in range(200)))
    outcomes = sorted(answer["outcome"] for _, answer in answers)
    assert outcomes == ["held"] * 3 + ["nothing_held"] * 197
    transactions = await counter.desk.connection.fetchval(
        "SELECT count(DISTINCT handled_at) FROM inbox WHERE type = 'stock.hold_requested.v1'"
    )
    assert transactions < 100


async def test_a_hold_shows_what_it_was_granted_holds_and_became(counter: Counter) -> None:
    shrunk, used = hold(("MUG", 2)), hold(("MUG", 1))
    await counter.desk.hear(used, shrunk)
    placed = naming(used, line(1))
    await counter.desk.hear(placed)
    await counter.desk.hear(adjustment(2))
    found = await counter.get(f"/holds/{shrunk.hold_id}")
    assert (found["state"], found["lines"]) == (
        "held",
        [{"sku": "MUG", "asked_units": 2, "granted_units": 2, "held_units": 1, "used_units": 0, "shrunk_units": 1}],
    )
    assert [row["hold_id"] for row in (await counter.get("/holds?sku=MUG&channel=web"))["holds"]] == [str(shrunk.hold_id)]
    confirmed = await counter.get(f"/holds/{used.hold_id}")
    assert (confirmed["state"], confirmed["order_id"], confirmed["lines"][0]["used_units"]) == ("confirmed", str(placed.order_id), 1)
    answer = await counter.client.get(f"/holds/{new_id()}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 404
    assert (await counter.client.get("/holds")).status == 401


async def test_an_operator_holds_and_sets_rules_by_message(counter: Counter) -> None:
    status, answer = await counter.say(hold(("MUG", 1)))
    assert (status, answer["messages"][0]["data"]["outcome"]) == (200, "held")
    status, answer = await counter.say(channel_rule("web", fence=3, cap=2))
    assert (status, answer["messages"][0]["data"]["reason"]) == (409, "invalid")
    assert (await counter.say(safety(1)))[0] == 200
    assert (await counter.say(safety(1, expected=5)))[0] == 409


async def test_a_sku_shows_its_rules_and_what_each_channel_may_take(counter: Counter) -> None:
    await counter.desk.hear(safety(1, location="east"))
    await counter.desk.hear(channel_rule("web", fence=1, cap=2), channel_rule("market", share=50))
    await counter.desk.hear(sold_by("web", line(1)))
    found = await counter.get("/stock/MUG")
    assert (found["safety_units"], found["sku_safety_units"], found["fenced_units"], found["available_units"]) == (1, 0, 0, 1)
    assert found["locations"][0]["safety_units"] == 1
    rules = {row["channel"]: row for row in found["channel_pools"]}
    assert {name: rules["web"][name] for name in ("fence_units", "fence_units_unfilled", "cap_units", "open_units", "available_units")} == {
        "fence_units": 1,
        "fence_units_unfilled": 0,
        "cap_units": 2,
        "open_units": 1,
        "available_units": 1,
    }
    assert (rules["market"]["share_percent"], rules["market"]["available_units"]) == (50, 0)
    listed = await counter.get("/channel-pools?channel=market")
    assert [(row["sku"], row["channel"]) for row in listed["channel_pools"]] == [("MUG", "market")]


async def test_corrections_are_read_newest_first_page_by_page(counter: Counter) -> None:
    for on_hand in (5, 6, 7):
        await counter.desk.hear(adjustment(on_hand))
    page = await counter.get("/adjustments?sku=MUG&limit=2")
    rest = await counter.get(f"/adjustments?sku=MUG&limit=2&before={page['next_before']}")
    found = page["adjustments"] + rest["adjustments"]
    assert sorted((row["old_on_hand"], row["new_on_hand"]) for row in found) == [(3, 5), (5, 6), (6, 7)]
    assert {(row["author"], row["reason"], row["location"]) for row in found} == {("kim", "recount", "east")}
    assert rest["next_before"] is None
    answer = await counter.client.get("/adjustments?before=yesterday", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 422


async def test_changes_of_rules_are_read_with_the_numbers_before_and_after(counter: Counter) -> None:
    await counter.desk.hear(safety(2))
    await counter.desk.hear(channel_rule("web", fence=1))
    await counter.desk.hear(channel_rule("web"))
    changes = (await counter.get("/rule-changes?sku=MUG"))["changes"]
    assert [(row["kind"], row["old"], row["new"]) for row in sorted(changes, key=lambda row: row["change_id"])] == [
        ("safety", {"safety_units": 0}, {"safety_units": 2}),
        ("channel_pool", None, {"fence_units": 1, "cap_units": None, "share_percent": None}),
        ("channel_pool", {"fence_units": 1, "cap_units": None, "share_percent": None}, None),
    ]
    assert {(row["author"], row["reason"]) for row in changes} == {("kim", "counts are off"), ("kim", "campaign")}
