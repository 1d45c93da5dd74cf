"""What people and other services read over HTTP, and what they are told when they send a message there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.allocation.__main__ import SERVICE
from shared.config import Settings
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.stock import StockCompensationRequested
from shared.database import open_pool
from shared.http import build_application
from shared.messaging.batching import Processor, Surroundings
from shared.messaging.message import Outgoing
from shared.messaging.outbox import encode
from shared.running import Environment
from shared.telemetry import Metrics
from tests.allocation.auditor import look_at_everything
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    NOW,
    adjustment,
    at,
    cancellation,
    line,
    location,
    order,
    plan,
    planned,
    preorder,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    supply,
    units,
)
from tests.conftest import Databases

TOKEN = "only-for-this-test"


@dataclass
class Office:
    """The service's HTTP side on a real database, and a desk that hears messages beside it."""

    client: Any
    desk: Desk

    async def get(self, path: str, token: str = TOKEN) -> tuple[int, Any]:
        """A read with the operator's token."""
        answer = await self.client.get(path, headers={"Authorization": f"Bearer {token}"})
        return answer.status, await answer.json()

    async def say(self, data: Message, event_id: UUID | None = None) -> tuple[int, Any]:
        """A message by POST /messages, as the portal and the console send it."""
        outgoing = Outgoing(data, event_id=event_id or new_id())
        body = encode(outgoing, source="console", service_number=1, now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        answer = await self.client.post("/messages", data=body, headers=headers)
        return answer.status, await answer.json()


@pytest.fixture
async def office(databases: Databases, desk: Desk) -> AsyncIterator[Office]:
    """The allocation service without a broker."""
    config = Settings(database_url=databases.url("allocation"), amqp_url="amqp://unused", operator_token=TOKEN)
    pool = await open_pool(config.database_url, application_name="test", size=4, command_timeout_seconds=10)
    around = Surroundings("allocation", pool, config, Metrics("allocation"), lambda: datetime.now(UTC), lambda: None)
    processors = {item.message.type: Processor(item, around) for item in SERVICE.consumes}

    async def well() -> dict[str, str]:
        return {}

    async with aiohttp.ClientSession() as session:
        application = build_application(Environment(around, session, processors), SERVICE.routes, live=well, ready=well)
        async with TestClient(TestServer(application)) as client:
            yield Office(client, desk)
    await pool.close()


async def test_a_sku_shows_its_units_by_state_and_place_and_who_waits(office: Office) -> None:
    desk = office.desk
    await desk.hear(products("MUG 1/2"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(received(receipt(6, "MUG 1/2"), time=at(-60)))
    await desk.hear(snapshot(8, damaged=1, quality_control=1, sku="MUG 1/2", as_of=at(-1)))
    placed, waiting = order(line(4, "MUG 1/2")), order(line(5, "MUG 1/2"))
    await desk.hear(placed, waiting)
    await desk.hear(plan(placed))
    await desk.hear(supply(2, at(600), sku="MUG 1/2"), supply(4, at(900), sku="MUG 1/2"))
    status, body = await office.get(f"/stock/{quote('MUG 1/2', safe='')}")
    assert status == 200
    assert body == {
        "sku": "MUG 1/2",
        "pool": "default",
        "stock_version": body["stock_version"],
        "on_hand_units": 8,
        "sellable_units": 6,
        "damaged_units": 1,
        "quality_control_units": 1,
        "reserved_units": 6,
        "held_units": 0,
        "safety_units": 0,
        "sku_safety_units": 0,
        "fenced_units": 0,
        "channel_pools": [],
        "available_units": 0,
        "queued_units": 3,
        "pending_shortage_units": 0,
        "incoming_units": 6,
        "mode": "backorder",
        "next_ship_at": at(900).isoformat(),
        "for_sale_units": 0,
        "preorder": None,
        "hazmat": False,
        "locations": [
            {
                "location": "east",
                "on_hand_units": 8,
                "damaged_units": 1,
                "quality_control_units": 1,
                "safety_units": 0,
                "assigned_units": 4,
                "assignable_units": 2,
                "pending_shortage_units": 0,
                "awaited_units": 0,
                "counts": True,
                "counted_as_of": at(-1).isoformat(),
                "counted_watermark": 0,
            }
        ],
        "queue": [
            {
                "order_id": str(waiting.order_id),
                "line_id": "1",
                "priority": 5,
                "queued_units": 3,
                "units_ahead": 0,
                "promised_ship_at": at(900).isoformat(),
            }
        ],
    }
    states = ("available", "fenced", "reserved", "held", "damaged", "quality_control", "safety")
    assert body["on_hand_units"] == sum(body[f"{state}_units"] for state in states)


async def test_an_order_shows_where_its_units_are_and_how_long_its_queue_is(office: Office) -> None:
    desk = office.desk
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(receipt(4))
    ahead, placed = order(line(3)), order(line(2), line(3, line_id="2"))
    await desk.hear(ahead)
    await desk.hear(order(line(1)))
    await desk.hear(order(line(7)))
    await desk.hear(placed)
    await desk.hear(supply(9, at(600)))
    parcel = planned("east", units(3))
    await desk.hear(plan(ahead, parcel))
    await desk.hear(shipped(ahead, parcel, units(2)))
    status, body = await office.get(f"/orders/{placed.order_id}/stock")
    assert status == 200
    assert [(row["queued_units"], row["units_ahead"], row["promised_ship_at"]) for row in body["lines"]] == [
        (2, 7, at(600).isoformat()),
        (3, 9, None),
    ]
    assert (body["order_version"], body["split_policy"], body["cancelled"], body["assignments"]) == (1, "ship_available", False, [])
    _, body = await office.get(f"/orders/{ahead.order_id}/stock")
    assert body["lines"][0]["shipped_units"] == 2
    assert body["lines"][0]["units_ahead"] is None
    assert body["assignments"] == [
        {
            "fulfillment_id": str(parcel.fulfillment_id),
            "line_id": "1",
            "sku": "MUG",
            "location": "east",
            "planned_units": 3,
            "open_units": 1,
            "shipped_units": 2,
            "taken_back_units": 0,
            "shipped_at": NOW.isoformat(),
        }
    ]
    await desk.hear(cancellation(placed))
    assert (await office.get(f"/orders/{placed.order_id}/stock"))[1]["cancelled"]


async def test_stock_is_read_page_by_page(office: Office) -> None:
    await office.desk.hear(products("A", "B", "C"))
    await office.desk.hear(location("east"))
    await office.desk.hear(receipt(1, "B"))
    status, first = await office.get("/stock?limit=2")
    assert status == 200
    assert [(row["sku"], row["on_hand_units"]) for row in first["stock"]] == [("A", 0), ("B", 1)]
    _, second = await office.get(f"/stock?limit=2&after={first['next_after']}")
    assert [row["sku"] for row in second["stock"]] == ["C"]
    assert second["next_after"] is None


async def test_supplies_show_what_has_come(office: Office) -> None:
    await office.desk.hear(products("MUG", "CUP"))
    await office.desk.hear(location("east"))
    coming, other = supply(5, at(600), purchase_order="PO-7"), supply(1, at(600), sku="CUP")
    await office.desk.hear(coming, other)
    await office.desk.hear(receipt(2, supply_id=coming.supply_id))
    _, body = await office.get("/supplies?sku=MUG")
    assert body["supplies"] == [
        {
            "supply_id": str(coming.supply_id),
            "purchase_order": "PO-7",
            "location": "east",
            "expected_at": at(600).isoformat(),
            "ships_at": at(600).isoformat(),
            "status": "partly_received",
            "cancelled": False,
            "over_received_units": 0,
            "lines": [
                {
                    "sku": "MUG",
                    "scheduled_units": 5,
                    "received_units": 2,
                    "expected_units": 3,
                    "called_off_units": 0,
                    "over_received_units": 0,
                }
            ],
        }
    ]
    _, first = await office.get("/supplies?limit=1")
    _, second = await office.get(f"/supplies?limit=1&after={first['next_after']}")
    assert [page["supplies"][0]["supply_id"] for page in (first, second)] == [str(coming.supply_id), str(other.supply_id)]


async def test_supplies_of_which_too_much_came_are_listed_for_an_operator(office: Office) -> None:
    await office.desk.hear(products("MUG"))
    await office.desk.hear(location("east"))
    exact, many = supply(5, at(600), purchase_order="PO-7"), supply(5, at(600), purchase_order="PO-8")
    await office.desk.hear(exact, many)
    await office.desk.hear(receipt(5, supply_id=exact.supply_id), receipt(7, supply_id=many.supply_id))
    _, body = await office.get("/supplies?over_received=true")
    assert [(item["purchase_order"], item["over_received_units"], item["status"]) for item in body["supplies"]] == [("PO-8", 2, "received")]
    _, body = await office.get("/supplies?purchase_order=PO-7")
    assert [item["supply_id"] for item in body["supplies"]] == [str(exact.supply_id)]


async def test_a_preorder_shows_its_release_and_what_is_left_to_sell(office: Office) -> None:
    await office.desk.hear(products("MUG", "CUP", "BOWL"))
    await office.desk.hear(location("east"))
    await office.desk.hear(preorder(at(900), "MUG"), preorder(at(800), "CUP", early_release=True))
    await office.desk.hear(receipt(1), receipt(1))
    await office.desk.hear(supply(5, at(600)))
    await office.desk.hear(order(line(3)))
    _, body = await office.get("/stock/MUG")
    assert (body["mode"], body["for_sale_units"], body["next_ship_at"]) == ("preorder", 4, at(900).isoformat())
    assert body["preorder"] == {"release_at": at(900).isoformat(), "early_release": False}
    _, first = await office.get("/preorders?limit=1")
    _, second = await office.get(f"/preorders?after={first['next_after']}")
    assert [item["sku"] for item in first["preorders"] + second["preorders"]] == ["CUP", "MUG"]
    assert second["preorders"][0] == {
        "sku": "MUG",
        "release_at": at(900).isoformat(),
        "early_release": False,
        "stock_version": body["stock_version"],
        "queued_units": 3,
        "on_shelf_units": 2,
        "incoming_units": 5,
        "for_sale_units": 4,
        "next_ship_at": at(900).isoformat(),
    }


async def test_a_supply_scheduled_differently_over_http_is_refused_by_field(office: Office) -> None:
    await office.desk.hear(products("MUG"))
    await office.desk.hear(location("east"))
    coming = supply(5, at(600))
    assert (await office.say(coming))[0] == 200
    status, body = await office.say(coming.model_copy(update={"expected_at": at(700)}))
    assert status == 409
    refusal = body["messages"][0]
    assert (refusal["type"], refusal["data"]["field"], refusal["data"]["reason"]) == (
        "supply.rejected.v1",
        "expected_at",
        "scheduled_differently",
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/supplies?over_received=perhaps", 422, "invalid_query"),
        ("/preorders?limit=0", 422, "invalid_query"),
        ("/stock/GHOST", 404, "unknown_sku"),
        (f"/orders/{UUID(int=1)}/stock", 404, "unknown_order"),
        ("/orders/17/stock", 422, "invalid_query"),
        ("/stock?limit=0", 422, "invalid_query"),
        ("/stock?limit=many", 422, "invalid_query"),
        ("/supplies?after=17", 422, "invalid_query"),
        ("/supplies?limit=1001", 422, "invalid_query"),
    ],
)
async def test_a_wrong_question_is_told_what_was_wrong(office: Office, path: str, status: int, code: str) -> None:
    found, body = await office.get(path)
    assert (found, body["error"]["code"]) == (status, code)
    assert status == 404 or body["error"]["problems"][0]["remedy"]


@pytest.mark.parametrize("path", ["/stock", "/stock/MUG", "/supplies", "/preorders", f"/orders/{UUID(int=1)}/stock"])
async def test_nobody_reads_stock_without_the_token(office: Office, path: str) -> None:
    assert (await office.get(path, token="wrong"))[0] == 401


async def test_an_operator_over_http_adjusts_is_refused_and_may_repeat_safely(office: Office) -> None:
    await office.desk.hear(products("MUG"))
    await office.desk.hear(location("east"))
    wanted, event_id = adjustment(5, expected=0), new_id()
    status, body = await office.say(wanted, event_id)
    assert (status, body["messages"][0]["type"]) == (200, "stock.adjusted.v1")
    assert (await office.say(wanted, event_id))[1]["status"] == "duplicate"
    status, body = await office.say(adjustment(6, expected=0))
    assert (status, body["messages"][0]["data"]["reason"]) == (409, "stale_expectation")
    status, body = await office.say(receipt(1, "GHOST"))
    assert (status, body["status"]) == (409, "deferred")
    assert "'GHOST'" in body["reason"]
    assert await office.desk.available() == 5


async def test_findings_are_listed_read_and_decided_with_the_entries_that_were_written(office: Office, databases: Databases) -> None:
    desk = office.desk
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(receipt(6))
    assert (await office.get("/findings"))[1]["findings"] == []
    admin = await databases.connect_as_admin()
    await admin.execute("UPDATE allocation.movements SET quantity = 7 WHERE kind = 'received'")
    desk.audited = False
    await look_at_everything(desk)
    _, listed = await office.get("/findings")
    (found,) = listed["findings"]
    assert (found["culprit"], found["balance"], found["found"], found["expected"]) == ("entry_altered", "shelf.on_shelf", 6, 7)
    assert (listed["counts"]["open"], {duty["duty"] for duty in listed["progress"]} >= {"ledger", "stock"}) == (1, True)
    wanted = StockCompensationRequested(
        decision_id=new_id(), finding_id=UUID(found["finding_id"]), expected_found=6, reason="delivery note", operator="kim"
    )
    status, answer = await office.say(wanted.model_copy(update={"expected_found": 5}))
    assert (status, answer["messages"][0]["data"]["reason"]) == (409, "stale_expectation")
    status, answer = await office.say(wanted)
    assert (status, answer["messages"][-1]["data"]["status"]) == (200, "applied")
    _, read = await office.get(f"/findings/{found['finding_id']}")
    assert (read["status"], read["decision"]["operator"], read["decision"]["reason"]) == ("applied", "kim", "delivery note")
    assert [(entry["kind"], entry["quantity"]) for entry in read["entries"]] == [("received", -1)]
    assert (await office.get("/findings?status=applied"))[1]["findings"][0]["finding_id"] == found["finding_id"]


@pytest.mark.parametrize("query", ["status=closed", "limit=0", "limit=201", "limit=x", "after=x"])
async def test_a_question_about_findings_that_makes_no_sense_names_its_field(office: Office, query: str) -> None:
    status, body = await office.get(f"/findings?{query}")
    assert (status, body["error"]["problems"][0]["field"]) == (422, query.split("=", maxsplit=1)[0])
    assert (await office.get(f"/findings/{new_id()}"))[0] == 404
    assert (await office.get("/findings/x"))[0] == 404
