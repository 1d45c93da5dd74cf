"""What operators and the portal read over HTTP, and what they may set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.returns.__main__ import SERVICE
from shared.config import Settings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.returns import RefundExecutionRequested, ReturnApproved
from shared.database import open_pool
from shared.http import build_application
from shared.messaging.batching import Processor, Surroundings
from shared.messaging.message import Outgoing
from shared.messaging.outbox import encode
from shared.running import Environment
from shared.telemetry import Metrics
from tests.conftest import Databases
from tests.returns.conftest import Desk
from tests.returns.messages import NOW, a_return, a_scan, a_shipment, an_order, money_refused

TOKEN = "only-for-this-test"


@dataclass
class Office:
    """The service's HTTP side on a real database, and a desk that hears messages beside it."""

    client: Any
    desk: Desk

    async def get(self, path: str) -> tuple[int, Any]:
        """A read with the operator's token."""
        answer = await self.client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        return answer.status, await answer.json()

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """An act with the operator's token."""
        answer = await self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
        return answer.status, await answer.json()

    async def say(self, data: Message) -> tuple[int, Any]:
        """A message by POST /messages, as the portal and the console send it."""
        body = encode(Outgoing(data), source="console", service_number=1, now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        answer = await self.client.post("/messages", data=body, headers=headers)
        return answer.status, await answer.json()


@pytest.fixture
async def office(databases: Databases, desk: Desk) -> AsyncIterator[Office]:
    """The returns service without a broker."""
    config = Settings(database_url=databases.url("returns"), amqp_url="amqp://unused", operator_token=TOKEN)
    pool = await open_pool(config.database_url, application_name="test", size=4, command_timeout_seconds=10)
    around = Surroundings("returns", pool, config, Metrics("returns"), lambda: datetime.now(UTC), lambda: None)
    processors = {item.message.type: Processor(item, around) for item in SERVICE.consumes}

    async def well() -> dict[str, str]:
        return {}

    async with aiohttp.ClientSession() as session:
        application = build_application(Environment(around, session, processors), SERVICE.routes, live=well, ready=well)
        async with TestClient(TestServer(application)) as client:
            yield Office(client, desk)
    await pool.close()


async def shipped_order(office: Office) -> OrderPlaced:
    """Three mugs that have left."""
    order = an_order()
    await office.desk.hear(order)
    await office.desk.hear(a_shipment(order))
    return order


async def test_an_order_shows_what_may_come_back_until_when_and_for_how_much(office: Office) -> None:
    order = await shipped_order(office)
    await office.desk.hear(a_return(order.order_id, {"1": 1}))
    status, body = await office.get(f"/orders/{order.order_id}/returnable")
    assert status == 200
    assert body["lines"] == [
        {
            "line_id": "1",
            "sku": "SKU-1",
            "title": "Mug",
            "shipped_units": 3,
            "returned_units": 0,
            "open_units": 1,
            "returnable_units": 2,
            "window_closes_at": body["lines"][0]["window_closes_at"],
            "refund_quote_cents": 2_067,
        }
    ]
    assert (datetime.fromisoformat(body["lines"][0]["window_closes_at"]) - NOW).days == 30


async def test_a_return_asked_for_over_http_is_answered_with_its_approval_and_label(office: Office) -> None:
    order = await shipped_order(office)
    request = a_return(order.order_id, {"1": 2})
    status, answer = await office.say(request)
    assert (status, answer["status"], answer["messages"][0]["type"]) == (200, "done", ReturnApproved.type)

    status, body = await office.get(f"/returns/{request.return_id}")
    assert (status, body["status"], body["refund_quote_cents"]) == (200, "approved", 2_067)
    assert body["requested_lines"][0]["reason"] == "changed_mind"
    assert body["lines"][0]["approved_units"] == 2

    found = await office.client.get(f"/returns/{request.return_id}/label.pdf", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (found.status, found.content_type) == (200, "application/pdf")
    assert (await found.read()).startswith(b"%PDF")
    assert found.headers["Cache-Control"] == "private, no-store"


async def test_what_the_barcode_says_finds_the_return(office: Office) -> None:
    order = await shipped_order(office)
    approved = (await office.desk.hear(a_return(order.order_id, {"1": 1}))).one(ReturnApproved)
    _, by_barcode = await office.get(f"/returns?number={approved.label_tracking_number}")
    number = by_barcode["returns"][0]["return_number"]
    _, by_number = await office.get(f"/returns?number={number}")
    assert [item["return_id"] for item in by_barcode["returns"]] == [item["return_id"] for item in by_number["returns"]]
    assert by_number["returns"][0]["return_id"] == str(approved.return_id)


async def test_returns_are_found_by_order_and_status(office: Office) -> None:
    order = await shipped_order(office)
    await office.desk.hear(a_return(order.order_id, {"1": 1}))
    await office.desk.hear(a_return(order.order_id, {"1": 9}))
    _, body = await office.get(f"/returns?order_id={order.order_id}&status=declined")
    assert [(item["status"], item["decline_reason"]) for item in body["returns"]] == [("declined", "quantity_exceeds_shipped")]
    _, body = await office.get(f"/returns?order_id={order.order_id}")
    assert len(body["returns"]) == 2
    _, body = await office.get(f"/returns?order_id={new_id()}")
    assert body["returns"] == []


async def test_a_scan_over_http_shows_in_the_return_with_its_refund(office: Office) -> None:
    order = await shipped_order(office)
    approved = (await office.desk.hear(a_return(order.order_id, {"1": 3}))).one(ReturnApproved)
    status, answer = await office.say(a_scan(approved.return_id, {"1": 1}, {"1": 1}))
    assert (status, answer["status"]) == (200, "done")
    _, body = await office.get(f"/returns/{approved.return_id}")
    line = body["lines"][0]
    assert (line["restocked_units"], line["damaged_units"], line["missing_units"], line["refunded_cents"]) == (1, 1, 1, 2_067)
    assert [scan["operator"] for scan in body["scans"]] == ["scanner-1"]
    assert [(refund["state"], refund["amount_cents"]) for refund in body["refunds"]] == [("sent", 2_067)]


async def test_a_scan_that_is_refused_is_a_conflict_with_the_reason(office: Office) -> None:
    status, answer = await office.say(a_scan(new_id(), {"1": 1}))
    assert status == 409
    assert answer["messages"][0]["data"]["reason"] == "unknown_return"


async def test_a_scan_of_nothing_is_invalid_and_names_the_field(office: Office) -> None:
    order = await shipped_order(office)
    approved = (await office.desk.hear(a_return(order.order_id, {"1": 1}))).one(ReturnApproved)
    status, answer = await office.say(a_scan(approved.return_id, closes=False))
    assert status == 422
    assert answer["reason"].startswith("units:")


async def failed_refund(office: Office) -> UUID:
    """A refund that the channel has refused."""
    order = await shipped_order(office)
    approved = (await office.desk.hear(a_return(order.order_id, {"1": 3}))).one(ReturnApproved)
    asked = (await office.desk.hear(a_scan(approved.return_id, {"1": 3}))).one(RefundExecutionRequested)
    await office.desk.hear(money_refused(asked.refund_id, order.order_id, 3_100))
    return asked.refund_id


async def test_a_failed_refund_is_listed_with_its_ledger_and_tried_again_once(office: Office) -> None:
    refund_id = await failed_refund(office)
    _, body = await office.get("/refunds?state=failed")
    assert [refund["refund_id"] for refund in body["refunds"]] == [str(refund_id)]
    assert body["refunds"][0]["failure_reason"] == "account closed"
    assert [entry["kind"] for entry in body["refunds"][0]["ledger"]] == ["requested", "failed"]

    assert await office.call("POST", f"/refunds/{refund_id}/retry") == (202, {"refund_id": str(refund_id), "state": "sent"})
    status, body = await office.call("POST", f"/refunds/{refund_id}/retry")
    assert (status, body["error"]["code"]) == (409, "not_failed")
    keys = await office.desk.connection.fetch(
        "SELECT convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'idempotency_key' AS key FROM outbox WHERE type = $1",
        RefundExecutionRequested.type,
    )
    assert [row["key"] for row in keys] == [str(refund_id), str(refund_id)]


@pytest.mark.parametrize(
    "path",
    ["/returns/nonsense", "/returns/0199aaaa-0000-7000-8000-000000000001", "/orders/nonsense/returnable", "/returns/nonsense/label.pdf"],
)
async def test_what_is_not_there_is_not_found(office: Office, path: str) -> None:
    status, body = await office.get(path)
    assert (status, body["error"]["code"]) == (404, "not_found")


async def test_a_declined_return_has_no_label(office: Office) -> None:
    order = await shipped_order(office)
    request = a_return(order.order_id, {"1": 4})
    await office.desk.hear(request)
    assert (await office.get(f"/returns/{request.return_id}/label.pdf"))[0] == 404


@pytest.mark.parametrize(
    ("path", "field"), [("/returns?order_id=7", "order_id"), ("/returns?status=lost", "status"), ("/refunds?state=lost", "state")]
)
async def test_a_wrong_question_names_the_parameter(office: Office, path: str, field: str) -> None:
    status, body = await office.get(path)
    assert (status, body["error"]["problems"][0]["field"]) == (422, field)


async def test_a_refund_that_is_not_there_can_not_be_tried_again(office: Office) -> None:
    assert (await office.call("POST", f"/refunds/{new_id()}/retry"))[0] == 404
    assert (await office.call("POST", "/refunds/nonsense/retry"))[0] == 404


async def test_nothing_is_told_without_the_token(office: Office) -> None:
    for path in ("/returns", "/refunds", "/policies", f"/returns/{new_id()}/label.pdf"):
        assert (await office.client.get(path)).status == 401


async def test_an_operator_sets_the_window_of_a_segment_for_requests_from_now_on(office: Office) -> None:
    order = await shipped_order(office)
    _, body = await office.get("/policies")
    assert {policy["segment"]: policy["window_days"] for policy in body["policies"]} == {"dtc": 30, "wholesale": 30, "retail": 30}
    policy = {"window_days": 0, "label_days": 7, "label_carrier": "UPS", "return_address": "Dock 4"}
    status, body = await office.call("PUT", "/policies/dtc", policy)
    assert (status, body) == (200, {"segment": "dtc"} | policy)
    office.desk.now = datetime.now(UTC)
    assert (await office.get(f"/orders/{order.order_id}/returnable"))[1]["lines"][0]["returnable_units"] == 0
    assert (await office.call("PUT", "/policies/dtc", policy | {"window_days": 14}))[0] == 200
    approved = (await office.desk.hear(a_return(order.order_id, {"1": 1}))).one(ReturnApproved)
    assert (approved.label_carrier, (approved.expires_at - office.desk.now).days) == ("UPS", 7)


async def test_a_wrong_policy_names_the_field(office: Office) -> None:
    policy = {"window_days": -1, "label_days": 7, "label_carrier": "UPS", "return_address": "Dock 4"}
    status, body = await office.call("PUT", "/policies/dtc", policy)
    assert (status, body["error"]["problems"][0]["field"]) == (422, "window_days")
    assert (await office.call("PUT", "/policies/vip", policy | {"window_days": 1}))[0] == 404


@pytest.mark.parametrize(("body", "field"), [(b"{", "body"), (b"\xff", "body"), (b'{"window_days": 1, "window_days": 2}', "window_days")])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/policies/dtc"), ("POST", "/messages")])
async def test_what_is_no_json_or_says_a_field_twice_is_refused(office: Office, method: str, path: str, body: bytes, field: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = await office.client.request(method, path, data=body, headers=headers)
    error = (await answer.json())["error"]
    assert (answer.status, error["code"], [problem["field"] for problem in error["problems"]]) == (400, "malformed_json", [field])
