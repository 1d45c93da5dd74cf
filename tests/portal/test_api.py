"""The operators' HTTP API: what it forwards, how it answers, and its own description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.portal.api import outcomes
from services.portal.api.models import ErrorAnswer, OrderDocument, OrderList, Outcome, Placed, TraceDocument
from services.portal.api.openapi import openapi_document
from services.portal.api.outcomes import faults_in
from services.portal.api.routes import OPERATIONS
from shared.contracts.channels import (
    ChannelOrderReceived,
    FieldProblem,
    ListingRegistered,
    ListingRegistrationRejected,
    ProductRegistered,
    ProductRegistrationRequested,
)
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import LocationRegistered, LocationRegistrationRejected
from shared.contracts.orders import OrderDelayAnswered, OrderDelayAnswerRejected, OrderEditRejected, OrderEditRequested
from shared.contracts.returns import ReturnDeclined, ReturnScanRejected, ReturnScanRequested
from shared.contracts.stock import (
    ReceiptBookedLine,
    ShortagePolicyRequested,
    ShortagePolicySet,
    StockAdjusted,
    StockAdjustmentRejected,
    StockAdjustmentRequested,
    StockCompensationRequested,
    StockFindingDecided,
    StockFindingDismissalRequested,
    StockFindingRefused,
    StockPreorderClosed,
    StockPreorderOpened,
    SupplyCancelled,
    SupplyChanged,
    SupplyReceiptBooked,
    SupplyReceived,
    SupplyRejected,
    SupplyRescheduled,
    SupplyScheduled,
)
from shared.database import Pool
from tests.portal import stories
from tests.portal.stories import NOON, line
from tests.portal.telling import happened
from tests.portal.world import OPERATOR_TOKEN, World

AUTHORISED = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
ADDRESS = {"name": "Ada", "line1": "12 St James Square", "city": "Portland", "postal_code": "97201", "country": "US"}
ORDER_BODY = {
    "channel": "shop",
    "external_id": "#1001",
    "paid_at": NOON.isoformat(),
    "currency": "USD",
    "lines": [{"external_line_id": "1", "sku": "MUG-BLUE", "quantity": 2, "unit_price_cents": 1250}],
    "ship_to": ADDRESS,
    "customer": {"email": "ada@example.com"},
}


async def request(world: World, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """One authorised request; the answer must be JSON."""
    answer = await world.client.request(
        method,
        path,
        json=body if body is not None else None,
        headers={**AUTHORISED, **{name.replace("_", "-"): value for name, value in headers.items()}},
    )
    return answer.status, await answer.json()


def problem(document: Any) -> tuple[str, list[str]]:
    """The code and the fields of an error, which must have the one shape that all errors have."""
    error = ErrorAnswer.model_validate(document).error
    return error.code, [item.field for item in error.problems]


async def parked_at_the_portal(pool: Pool) -> UUID:
    """A message that the portal has parked."""
    event = new_id()
    await pool.execute(
        "INSERT INTO inbox (event_id, source, type, status, attempts, reason, routing_key, body, received_at) "
        "VALUES ($1, 'ordermesh/sync', 'order.placed.v1', 'parked', 1, 'no lines', 'order.placed.v1', '{}', $2)",
        event,
        NOON,
    )
    return event


class TestTheDoor:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.name))
    async def test_every_operation_wants_the_operator_token(self, world: World, operation: Any) -> None:
        path = re.sub(r"\{\w+(:[^}]*)?\}", str(new_id()), operation.path)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": OPERATOR_TOKEN}):
            answer = await world.client.request(operation.method, path, headers=headers)
            assert answer.status == 401
            assert problem(await answer.json())[0] == "unauthorised"

    async def test_a_console_session_is_no_api_token(self, world: World) -> None:
        await world.client.post("/console/login", data={"operator_token": OPERATOR_TOKEN})
        assert (await world.client.get("/api/orders")).status == 401

    @pytest.mark.parametrize("operation", [item for item in OPERATIONS if item.request], ids=lambda operation: str(operation.name))
    async def test_every_body_is_checked_before_anybody_is_asked(self, world: World, operation: Any) -> None:
        path = re.sub(r"\{\w+(:[^}]*)?\}", str(new_id()), operation.path.replace("{version}", "1"))
        for content, content_type, status, code in (
            (b"{", "application/json", 400, "malformed_json"),
            (b"[" * 100_000, "application/json", 400, "malformed_json"),
            (b"\xff", "application/json", 400, "malformed_json"),
            (b'{"reason": "x", "reason": "y"}', "application/json", 400, "malformed_json"),
            (b"{}", "application/json; charset=latin1", 415, "unsupported_charset"),
            (b"{}", "text/plain", 415, "unsupported_media_type"),
            (b"[]", "application/json", 422, "invalid"),
            (
                b'{"surprise": 1, "lines": 7, "units": 7, "products": 7, "listings": 7, "line_changes": 7}',
                "application/json",
                422,
                "invalid",
            ),
            (b" " * 5_000_000, "application/json", 413, "body_too_large"),
        ):
            answer = await world.client.request(operation.method, path, data=content, headers={**AUTHORISED, "Content-Type": content_type})
            assert (answer.status, problem(await answer.json())[0]) == (status, code), content[:50]
        assert all(not neighbour.asked for neighbour in world.neighbours.values())

    async def test_a_query_parameter_that_an_operation_does_not_have_is_named_with_those_that_it_has(self, world: World) -> None:
        """A misspelt filter would show everything, as if it were the answer."""
        for operation in OPERATIONS:
            path = re.sub(r"\{\w+(:[^}]*)?\}", str(new_id()), operation.path)
            status, document = await request(world, operation.method, f"{path}?limitt=5")
            assert (status, problem(document)) == (422, ("invalid", ["limitt"])), operation.name
        _, document = await request(world, "GET", "/api/orders?querry=1001&limitt=5&limit=1")
        assert [(item["field"], item["remedy"]) for item in document["error"]["problems"]] == [
            (name, "leave it out, or use one of: query, limit") for name in ("querry", "limitt")
        ]
        assert all(not neighbour.asked for neighbour in world.neighbours.values())

    @pytest.mark.parametrize(
        ("path", "body", "field"),
        [
            ("cancel", {"reason": "a\x00"}, "reason"),
            ("cancel", {"reason": "a", "lines": [{"line_id": "\x00"}]}, "lines.0.line_id"),
            ("edit", {"ship_to": {**ADDRESS, "line1": "a\x00b"}}, "ship_to.line1"),
            ("edit/preview", {"ship_to": {**ADDRESS, "line1": "a\x00b"}}, "ship_to.line1"),
            ("returns", {"lines": [], "\x00": 1}, "''"),
        ],
    )
    async def test_a_nul_in_a_body_is_refused_by_field_whatever_is_asked_for(self, world: World, path: str, body: Any, field: str) -> None:
        status, document = await request(world, "POST", f"/api/orders/{new_id()}/{path}", body)
        assert (status, problem(document)) == (422, ("invalid", [field]))
        assert document["error"]["message"] == f"{field}: contains a NUL character"
        assert all(not neighbour.asked for neighbour in world.neighbours.values())

    @pytest.mark.parametrize("operation", [item for item in OPERATIONS if item.request], ids=lambda operation: str(operation.name))
    async def test_an_owner_that_is_away_is_named_and_nothing_breaks(self, world: World, operation: Any) -> None:
        for neighbour in world.neighbours.values():
            neighbour.away = True
        bodies: Mapping[str, Any] = {
            "place_order": ORDER_BODY,
            "cancel_order": {"reason": "x"},
            "edit_order": {"ship_to": ADDRESS},
            "preview_edit": {"ship_to": ADDRESS},
            "answer_delay": {"consent_id": str(new_id()), "answer": "yes"},
            "request_return": {"lines": [{"line_id": "1", "quantity": 1, "reason": "other"}]},
            "scan_return": {"location": "reno", "units": []},
            "adjust_stock": {"new_on_hand": 1, "reason": "x"},
            "apply_finding": {"expected_found": 1, "reason": "x"},
            "dismiss_finding": {"expected_found": 1, "reason": "x"},
            "set_feed": {"stale_after_seconds": 3600, "reason": "x"},
            "close_gap": {"up_to_sequence": 3, "reason": "x"},
            "apply_upload": {"reason": "x"},
            "set_shortage_policy": {"policy": "newest_first"},
            "set_safety": {"safety_units": 1, "reason": "x"},
            "set_location_safety": {"safety_units": 1, "reason": "x"},
            "set_channel_pool": {"fence_units": 1, "reason": "x"},
            "dismiss_parked": {"reason": "x"},
            "request_hold": {"hold_id": str(new_id()), "channel": "shop", "lines": [{"sku": "A", "quantity": 1}]},
            "schedule_supply": {"location": "reno", "expected_at": NOON.isoformat(), "lines": [{"sku": "A", "quantity": 1}]},
            "receive_supply": {"location": "reno", "lines": [{"sku": "A", "quantity": 1}]},
            "reschedule_supply": {"expected_at": NOON.isoformat()},
            "change_supply": {"lines": [{"sku": "A", "quantity": 0}]},
            "open_preorder": {"release_at": NOON.isoformat()},
            "register_products": {"products": [{"sku": "A", "title": "A", "unit_price_cents": 1}]},
            "register_listings": {"channel": "shop", "listings": [{"sku": "A", "external_listing_id": "1"}]},
            "register_location": {"location": "reno", "name": "Reno", "partner": "acme", "postal_code": "89501", "country": "US"},
            "save_routing_rules": {"rules": [], "reason": "x"},
            "publish_routing_rules": {"expected_version": 0, "reason": "x"},
            "try_routing_rules": {"order_id": str(new_id()), "version": 0},
        }
        path = re.sub(r"\{location\}", "reno", re.sub(r"\{\w+_id\}", str(new_id()), operation.path)).replace("{sku:.+}", "A")
        path = path.replace("{channel}", "shop").replace("{service}", "routing").replace("{version}", "1")
        answer = await world.client.request(operation.method, path, json=bodies[operation.name], headers=AUTHORISED)
        code, _ = problem(await answer.json())
        assert (answer.status, code) == (503, "service_unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert re.search("sync|allocation|routing|returns", (await answer.json())["error"]["message"])

    async def test_a_connection_refused_and_an_answer_too_late_are_the_same_503(self, world: World) -> None:
        object.__setattr__(world.settings, "routing_url", "http://127.0.0.1:1")
        assert (await request(world, "GET", "/api/locations"))[0] == 503


class TestPlacing:
    async def test_forwards_the_order_to_sync(self, world: World) -> None:
        order = new_id()
        world.sync.shows("/orders", {"order_id": str(order), "status": "placed"}, method="POST", status=202)
        status, document = await request(world, "POST", "/api/orders", ORDER_BODY, Idempotency_Key="day-1")
        assert (status, Placed.model_validate(document)) == (202, Placed(result="placed", order_id=order))
        assert ChannelOrderReceived.model_validate(world.sync.asked[0]) == ChannelOrderReceived.model_validate(ORDER_BODY)

    async def test_passes_syncs_field_problems_on(self, world: World) -> None:
        error = {"error": {"code": "invalid_order", "message": "x", "problems": [{"field": "lines.0.sku", "problem": "p", "remedy": "r"}]}}
        world.sync.shows("/orders", error, method="POST", status=422)
        status, document = await request(world, "POST", "/api/orders", ORDER_BODY)
        assert (status, problem(document)) == (422, ("invalid_order", ["lines.0.sku"]))

    async def test_names_every_wrong_field_itself(self, world: World) -> None:
        bad = {**ORDER_BODY, "currency": "usd", "lines": [{"external_line_id": "1", "sku": "A", "quantity": -2, "unit_price_cents": 1}]}
        status, document = await request(world, "POST", "/api/orders", bad)
        assert (status, problem(document)) == (422, ("invalid", ["currency", "lines.0.quantity"]))
        drone = {"location": "reno", "name": "Reno", "partner": "acme", "postal_code": "89501", "country": "US", "services": ["drone"]}
        status, document = await request(world, "POST", "/api/locations", drone)
        assert (status, problem(document)) == (422, ("invalid", ["services.0"]))
        assert "'ground', 'two_day' or 'next_day'" in document["error"]["problems"][0]["problem"], "the way out"


class TestReadingOrders:
    async def test_merges_the_projection_with_what_the_owners_know(self, world: World, pool: Pool) -> None:
        order, parcel = new_id(), new_id()
        await happened(pool, stories.placed(order), stories.reserved(order), stories.shipped(order, parcel))
        world.routing.shows(f"/orders/{order}", {"fulfillments": [1]})
        world.allocation.shows(f"/orders/{order}/stock", {"lines": [2]})
        status, raw = await request(world, "GET", f"/api/orders/{order}")
        document = OrderDocument.model_validate(raw)
        assert status == 200
        assert (document.status, document.external_id, document.routing, document.stock) == (
            "shipped",
            "#1001",
            {"fulfillments": [1]},
            {"lines": [2]},
        )
        assert [entry.type for entry in document.timeline] == ["order.placed.v1", "stock.reserved.v1", "fulfillment.shipped.v1"]
        assert sorted(mail.kind for mail in document.notifications) == ["confirmation", "shipped"]
        assert (document.lines[0].shipped, document.unavailable) == (2, [])

    async def test_shows_what_it_can_when_an_owner_is_away(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        world.routing.away = True
        status, raw = await request(world, "GET", f"/api/orders/{order}")
        assert (status, raw["routing"], raw["unavailable"]) == (200, None, ["routing"])

    async def test_an_unknown_order_is_a_404(self, world: World) -> None:
        for identifier in (str(new_id()), "1001", "null"):
            status, document = await request(world, "GET", f"/api/orders/{identifier}")
            assert (status, problem(document)[0]) == (404, "not_found")

    async def test_finds_orders(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order), stories.placed(new_id(), external_id="#2"))
        _, raw = await request(world, "GET", "/api/orders?query=%231001")
        found = OrderList.model_validate(raw).orders
        assert [(item.order_id, item.status, item.units_ordered) for item in found] == [(order, "placed", 2)]
        _, raw = await request(world, "GET", "/api/orders")
        assert len(raw["orders"]) == 2
        _, raw = await request(world, "GET", "/api/orders?limit=1")
        assert len(raw["orders"]) == 1

    @pytest.mark.parametrize("limit", ["0", "-1", "201", "many", ""])
    async def test_a_limit_that_makes_no_sense_is_refused(self, world: World, limit: str) -> None:
        status, document = await request(world, "GET", f"/api/orders?limit={limit}")
        assert (status, problem(document)) == (422, ("invalid", ["limit"]))


class TestChangingOrders:
    async def test_cancelled_at_once(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        world.routing.replies_with("done", stories.cancelled(order))
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "fraud"})
        outcome = Outcome.model_validate(raw)
        assert (status, outcome.result, outcome.messages[0].type) == (200, "cancelled", "order.cancelled.v1")
        _, raw = await request(world, "GET", f"/api/orders/{order}")
        assert raw["status"] == "cancelled"

    async def test_pending_is_202_and_too_late_is_409(self, world: World) -> None:
        order = new_id()
        world.routing.replies_with("done", stories.change_pending(order, new_id()))
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, raw["result"]) == (202, "pending")
        world.routing.replies_with("done", stories.cancel_rejected(order, "fulfillment_started"))
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, problem(raw)[0], raw["error"]["message"]) == (409, "fulfillment_started", "the warehouse has started")

    async def test_cancelling_what_is_cancelled_is_no_conflict(self, world: World) -> None:
        order = new_id()
        world.routing.replies_with("done", stories.cancel_rejected(order, "already_cancelled"))
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, raw["result"]) == (200, "cancelled")

    async def test_a_cancellation_that_ends_an_unpaid_edit_is_answered_about_itself(self, world: World) -> None:
        order = new_id()
        change_id = uuid5(NAMESPACE_URL, f"ordermesh api\ncancel_order\ncancel\n{order}\nkey")
        ended = OrderEditRejected(order_id=order, order_version=1, change_id=new_id(), reason="payment_required", detail="12.50 USD more")
        world.routing.replies_with("done", ended, stories.cancelled(order, change_id=change_id))
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"}, Idempotency_Key="key")
        assert (status, raw.get("result"), raw.get("id")) == (200, "cancelled", str(change_id))

    async def test_not_yet_and_parked_are_told_apart(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        world.routing.replies_with("deferred", http_status=409, reason="order has not arrived yet")
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, problem(raw)[0]) == (409, "not_yet")
        world.routing.replies_with("parked", http_status=422, reason="nobody knows why")
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, problem(raw)[0], raw["error"]["message"]) == (422, "refused", "nobody knows why")

    async def test_the_same_idempotency_key_asks_under_the_same_ids_and_another_does_not(self, world: World) -> None:
        order, other = new_id(), new_id()
        world.routing.replies_with("duplicate")
        for target, key in ((order, "k"), (order, "k"), (order, "other"), (other, "k")):
            status, raw = await request(world, "POST", f"/api/orders/{target}/cancel", {"reason": "x"}, Idempotency_Key=key)
            assert (status, raw["result"]) == (200, "already_handled")
        ids = [envelope["id"] for envelope in world.routing.asked]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 3
        assert [envelope["data"]["change_id"] for envelope in world.routing.asked] == ids

    async def test_a_key_that_comes_again_with_other_content_is_refused_and_the_exact_repeat_is_not(self, world: World) -> None:
        body = {"new_on_hand": 5, "reason": "counted"}
        world.allocation.replies_with("done")
        assert (await request(world, "PUT", "/api/stock/A/reno", body, Idempotency_Key="k"))[0] == 200
        status, raw = await request(world, "PUT", "/api/stock/A/reno", {**body, "new_on_hand": 6}, Idempotency_Key="k")
        assert (status, problem(raw)) == (422, ("idempotency_key_reused", ["Idempotency-Key"]))
        assert len(world.allocation.asked) == 1
        world.allocation.replies_with("duplicate")
        status, raw = await request(world, "PUT", "/api/stock/A/reno", dict(reversed(body.items())), Idempotency_Key="k")
        assert (status, raw["result"]) == (200, "already_handled")
        assert world.allocation.asked[0]["id"] == world.allocation.asked[1]["id"]

    async def test_a_refused_request_leaves_its_key_free_and_an_unanswered_one_does_not(self, world: World) -> None:
        body = {"new_on_hand": 5, "expected_on_hand": 3, "reason": "counted"}
        refusal = StockAdjustmentRejected(
            detail="expected_on_hand: 3 was expected, 4 are on hand now: look again and send a new adjustment",
            adjustment_id=new_id(),
            sku="A",
            location="reno",
            reason="stale_expectation",
            on_hand=4,
        )
        world.allocation.replies_with("done", refusal, http_status=409)
        status, raw = await request(world, "PUT", "/api/stock/A/reno", body, Idempotency_Key="k")
        assert (status, problem(raw)) == (409, ("stale_expectation", ["expected_on_hand"]))
        assert raw["error"]["problems"][0]["remedy"] == "look again and send a new adjustment"
        world.allocation.away = True
        corrected = {**body, "expected_on_hand": 4}
        assert (await request(world, "PUT", "/api/stock/A/reno", corrected, Idempotency_Key="k"))[0] == 503
        assert (await request(world, "PUT", "/api/stock/A/reno", body, Idempotency_Key="k"))[0] == 422
        world.allocation.away = False
        world.allocation.replies_with("done")
        assert (await request(world, "PUT", "/api/stock/A/reno", corrected, Idempotency_Key="k"))[0] == 200
        # the owner remembers what it refused: the next request needs an id of its own
        assert world.allocation.asked[0]["id"] != world.allocation.asked[1]["id"]

    async def test_an_empty_idempotency_key_is_refused(self, world: World) -> None:
        status, raw = await request(world, "POST", f"/api/orders/{new_id()}/cancel", {"reason": "x"}, Idempotency_Key="")
        assert (status, problem(raw)[1]) == (422, ["Idempotency-Key"])

    async def test_the_question_about_a_delay_is_shown_and_answered_for_the_customer(self, world: World, pool: Pool) -> None:
        order, question = new_id(), new_id()
        await happened(pool, stories.placed(order), stories.backordered(order, 1), stories.delayed(order, consent_id=question))
        _, raw = await request(world, "GET", f"/api/orders/{order}")
        delay = raw["delay"]
        assert (delay["consent_id"], delay["consent"], delay["new_ship_at"], delay["outcome"]) == (str(question), "required", None, None)
        assert [entry["type"] for entry in raw["timeline"]][-1] == "order.delayed.v1"
        address = f"/api/orders/{order}/delay-answer"
        world.routing.replies_with("done", stories.delay_settled(order, question, "consented"))
        status, raw = await request(world, "POST", address, {"consent_id": str(question), "answer": "yes", "operator": "maria"})
        assert (status, raw["result"]) == (200, "done")
        command = OrderDelayAnswered.model_validate(world.routing.asked[0]["data"])
        assert (command.actor.name, command.answer, command.answered_at) == ("maria", "yes", NOON)
        _, raw = await request(world, "GET", f"/api/orders/{order}")
        assert raw["delay"]["outcome"] == "consented"
        world.routing.replies_with("done", stories.delay_settled(order, question, "refused"), stories.change_pending(order, question))
        status, raw = await request(world, "POST", address, {"consent_id": str(question), "answer": "no"})
        assert (status, raw["result"]) == (202, "pending")
        refused = OrderDelayAnswerRejected(order_id=order, consent_id=question, reason="replaced", detail="the date has moved again")
        world.routing.replies_with("done", refused, http_status=409)
        status, raw = await request(world, "POST", address, {"consent_id": str(question), "answer": "no"})
        assert (status, problem(raw)[0], raw["error"]["message"]) == (409, "replaced", "the date has moved again")
        status, raw = await request(world, "POST", address, {"consent_id": str(question), "answer": "maybe"})
        assert (status, problem(raw)[1]) == (422, ["answer"])

    async def test_lists_the_orders_that_wait_for_their_customer_as_routing_tells_them(self, world: World) -> None:
        waiting = {"delays": [{"order_id": str(new_id()), "answer_by": NOON.isoformat()}], "next_after": None}
        world.routing.shows("/delays", waiting)
        assert await request(world, "GET", "/api/delays") == (200, waiting)
        await request(world, "GET", "/api/delays?after=0199")
        assert world.routing.paths == ["GET /delays", "GET /delays?after=0199"]
        world.routing.away = True
        assert (await request(world, "GET", "/api/delays"))[0] == 503

    async def test_an_added_line_is_completed_from_the_product_master(self, world: World, pool: Pool) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        product = {"sku": "TEA", "title": "Tea", "unit_price_cents": 900, "unit_weight_grams": 250, "hazmat": False, "registered_at": "x"}
        world.sync.shows("/products/TEA", {**product, "unit_volume_cubic_centimetres": 800})
        world.routing.replies_with("done", stories.edited(order, 2, [line(), line("2", 1, "TEA", "Tea")]))
        body = {"line_changes": [{"sku": "TEA", "quantity": 1}, {"line_id": "1", "quantity": 0}], "expected_order_version": 1}
        status, raw = await request(world, "POST", f"/api/orders/{order}/edit", body)
        assert (status, raw["result"]) == (200, "edited")
        command = OrderEditRequested.model_validate(world.routing.asked[0]["data"])
        added, removed = command.line_changes
        assert (added.title, added.unit_price_cents, added.tax_cents, added.unit_weight_grams) == ("Tea", 900, 0, 250)
        assert added.unit_volume_cubic_centimetres == 800
        assert (removed.line_id, removed.quantity, removed.title) == ("1", 0, None)
        _, raw = await request(world, "GET", f"/api/orders/{order}")
        assert (raw["order_version"], len(raw["lines"])) == (2, 2)

    async def test_a_preview_shows_routings_word_beside_allocations_and_asks_nobody_to_change_anything(
        self, world: World, pool: Pool
    ) -> None:
        order = new_id()
        await happened(pool, stories.placed(order))
        product = {"sku": "TEA", "title": "Tea", "unit_price_cents": 900, "unit_weight_grams": 250, "hazmat": False}
        world.sync.shows("/products/TEA", product)
        shelf = {"location": "reno", "assignable_units": 2}
        world.allocation.shows("/stock/TEA", {"locations": [shelf], "available_units": 2, "mode": "in_stock", "next_ship_at": None})
        quote = {"cost_cents": 900, "parcels": [], "unplaced": {"TEA": 1}}
        line_after = {"line_id": "1", "sku": "TEA", "title": "Tea", "quantity": 3, "unit_price_cents": 900, "tax_cents": 0}
        told = {
            "order_id": str(order),
            "order_version": 1,
            "currency": "USD",
            "refusal": {"reason": "payment_required", "detail": "more"},
            "asks": ["west"],
            "lines": [line_after],
            "total_before_cents": 100,
            "total_after_cents": 2_800,
            "money_delta_cents": 2_700,
            "added": [{"sku": "TEA", "units": 3}],
            "shipping_before": quote,
            "shipping_after": {**quote, "cost_cents": 1_250},
        }
        world.routing.shows(f"/orders/{order}/edit/preview", told, method="POST")
        body = {"line_changes": [{"sku": "TEA", "quantity": 3}]}
        status, raw = await request(world, "POST", f"/api/orders/{order}/edit/preview", body)
        assert (status, raw["refusal"]["reason"], raw["shipping_delta_cents"]) == (200, "payment_required", 350)
        assert raw["stock"] == [{"sku": "TEA", "units_added": 3, "units_available": 2, "mode": "in_stock", "next_ship_at": None}]
        [asked] = world.routing.asked
        assert (asked["stock"], asked["request"]["line_changes"][0]["title"]) == ({"TEA": {"reno": 2}}, "Tea")
        world.routing.shows(f"/orders/{order}/edit/preview", {"error": {"code": "not_found", "message": "x"}}, method="POST", status=404)
        assert (await request(world, "POST", f"/api/orders/{order}/edit/preview", body))[0] == 404

    async def test_an_added_line_of_an_unknown_product_is_refused_here(self, world: World) -> None:
        body = {"line_changes": [{"sku": "NOPE", "quantity": 1}]}
        status, raw = await request(world, "POST", f"/api/orders/{new_id()}/edit", body)
        assert (status, problem(raw)) == (422, ("invalid", ["line_changes.0.sku"]))
        assert world.routing.asked == []

    async def test_an_edit_of_nothing_and_a_refused_edit(self, world: World) -> None:
        order = new_id()
        status, raw = await request(world, "POST", f"/api/orders/{order}/edit", {})
        assert (status, problem(raw)[0]) == (422, "invalid")
        refusal = OrderEditRejected(order_id=order, order_version=1, change_id=new_id(), reason="payment_required", detail="5.00 USD more")
        world.routing.replies_with("done", refusal)
        status, raw = await request(world, "POST", f"/api/orders/{order}/edit", {"ship_to": ADDRESS})
        assert (status, problem(raw)[0]) == (409, "payment_required")


class TestReturns:
    async def test_approved_declined_and_read(self, world: World, pool: Pool) -> None:
        order, return_id = new_id(), new_id()
        await happened(pool, stories.placed(order))
        body = {"lines": [{"line_id": "1", "quantity": 1, "reason": "defective"}]}
        world.returns.replies_with("done", stories.return_approved(order, return_id))
        status, raw = await request(world, "POST", f"/api/orders/{order}/returns", body, Idempotency_Key="r1")
        assert (status, raw["result"], raw["id"]) == (201, "approved", world.returns.asked[0]["data"]["return_id"])
        declined = ReturnDeclined(return_id=return_id, order_id=order, reason="window_closed", detail="30 days are over")
        world.returns.replies_with("done", declined)
        status, raw = await request(world, "POST", f"/api/orders/{order}/returns", body)
        assert (status, problem(raw)[0]) == (409, "window_closed")
        world.returns.shows(f"/returns/{return_id}", {"return_id": str(return_id), "status": "approved"})
        assert (await request(world, "GET", f"/api/returns/{return_id}")) == (200, {"return_id": str(return_id), "status": "approved"})
        assert (await request(world, "GET", f"/api/returns/{new_id()}"))[0] == 404

    async def test_a_scan_is_booked_in_the_trace_of_its_order(self, world: World, pool: Pool) -> None:
        order, return_id = new_id(), new_id()
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        await happened(
            pool, stories.placed(order), stories.return_approved(order, return_id), traceparent=f"00-{trace}-00f067aa0ba902b7-01"
        )
        world.returns.replies_with("done", stories.return_inspected(order, return_id))
        body = {"location": "reno", "units": [{"line_id": "1", "quantity": 1, "condition": "sellable"}]}
        status, raw = await request(world, "POST", f"/api/returns/{return_id}/scan", body, Idempotency_Key="scan-1")
        command = ReturnScanRequested.model_validate(world.returns.asked[0]["data"])
        assert (status, raw["result"], UUID(raw["id"])) == (200, "done", command.scan_id)
        assert (world.returns.asked[0]["subject"], world.returns.asked[0]["traceparent"][3:35]) == (str(order), trace)

    async def test_a_return_of_an_order_that_nobody_knows_is_a_404_and_of_one_under_way_a_not_yet(self, world: World, pool: Pool) -> None:
        placed, body = new_id(), {"lines": [{"line_id": "1", "quantity": 1, "reason": "defective"}]}
        await happened(pool, stories.placed(placed))
        world.returns.replies_with("deferred", http_status=409, reason="order_id: order has not arrived here")
        status, raw = await request(world, "POST", f"/api/orders/{new_id()}/returns", body)
        assert (status, problem(raw)[0]) == (404, "not_found")
        status, raw = await request(world, "POST", f"/api/orders/{placed}/returns", body)
        assert (status, problem(raw)) == (409, ("not_yet", ["order_id"]))

    async def test_a_scan_at_a_place_of_which_returns_has_not_heard_yet_names_the_field(self, world: World) -> None:
        world.returns.replies_with("deferred", http_status=409, reason="location: 'reno' is not registered here, nothing was booked")
        status, raw = await request(world, "POST", f"/api/returns/{new_id()}/scan", {"location": "reno", "units": []})
        assert (status, problem(raw)) == (409, ("not_yet", ["location"]))
        assert raw["error"]["problems"][0]["problem"] == "'reno' is not registered here, nothing was booked"

    async def test_a_refused_scan_says_why(self, world: World) -> None:
        refusal = ReturnScanRejected(
            detail="2 scanned, 1 approved", return_id=new_id(), scan_id=new_id(), reason="quantity_exceeds_approved"
        )
        world.returns.replies_with("done", refusal, http_status=409)
        status, raw = await request(world, "POST", f"/api/returns/{new_id()}/scan", {"location": "reno", "units": []})
        assert (status, problem(raw), raw["error"]["message"]) == (409, ("quantity_exceeds_approved", ["units"]), "2 scanned, 1 approved")

    async def test_a_return_of_no_order_and_a_scan_at_no_location_are_not_even_asked_for(self, world: World) -> None:
        """Returns would remember the one, and send money for the other, whose units would be nowhere."""
        lines = [{"line_id": "1", "quantity": 1, "reason": "defective"}]
        status, raw = await request(world, "POST", f"/api/orders/{new_id()}/returns", {"lines": lines})
        assert (status, problem(raw)) == (404, ("not_found", ["order_id"]))
        status, raw = await request(world, "POST", f"/api/returns/{new_id()}/scan", {"location": "mars", "units": []})
        assert (status, problem(raw)) == (422, ("unknown_location", ["location"]))
        assert world.returns.asked == []


class TestStockAndSupplies:
    async def test_reads_stock_of_any_sku(self, world: World) -> None:
        world.allocation.shows("/stock/MUG/BLUE 1", {"sku": "MUG/BLUE 1", "available_units": 7})
        assert (await request(world, "GET", "/api/stock/MUG%2FBLUE%201")) == (200, {"sku": "MUG/BLUE 1", "available_units": 7})
        status, raw = await request(world, "GET", "/api/stock/NOPE")
        assert (status, problem(raw)[0]) == (404, "not_found")

    async def test_adjusts_with_compare_and_set(self, world: World) -> None:
        adjusted = StockAdjusted(adjustment_id=new_id(), sku="A/B", location="reno", old_on_hand=3, new_on_hand=5, adjusted_at=NOON)
        world.allocation.replies_with("done", adjusted)
        body = {"new_on_hand": 5, "expected_on_hand": 3, "reason": "counted", "operator": "ada"}
        status, raw = await request(world, "PUT", "/api/stock/A%2FB/reno", body)
        command = StockAdjustmentRequested.model_validate(world.allocation.asked[0]["data"])
        assert (status, raw["result"], raw["messages"][0]["data"]["new_on_hand"]) == (200, "done", 5)
        assert (command.sku, command.location, command.expected_on_hand, command.operator) == ("A/B", "reno", 3, "ada")
        refusal = StockAdjustmentRejected(
            detail="4 on hand", adjustment_id=new_id(), sku="A/B", location="reno", reason="stale_expectation", on_hand=4
        )
        world.allocation.replies_with("done", refusal, http_status=409)
        status, raw = await request(world, "PUT", "/api/stock/A%2FB/reno", body)
        assert (status, problem(raw)[0]) == (409, "stale_expectation")

    async def test_reads_and_sets_the_shortage_policy(self, world: World) -> None:
        world.allocation.shows("/shortage-policy", {"policy": "newest_first", "operator": None})
        assert (await request(world, "GET", "/api/shortage-policy")) == (200, {"policy": "newest_first", "operator": None})
        world.allocation.replies_with("done", ShortagePolicySet(change_id=new_id(), policy="wholesale_first", set_at=NOON))
        status, raw = await request(world, "PUT", "/api/shortage-policy", {"policy": "wholesale_first", "operator": "ada"})
        command = ShortagePolicyRequested.model_validate(world.allocation.asked[0]["data"])
        assert (status, raw["result"], command.policy, command.operator) == (200, "done", "wholesale_first", "ada")
        status, raw = await request(world, "PUT", "/api/shortage-policy", {"policy": "oldest_first"})
        assert (status, problem(raw)[1]) == (422, ["policy"])

    async def test_a_location_that_is_no_code_is_refused(self, world: World) -> None:
        status, raw = await request(world, "PUT", "/api/stock/A/Reno%20West", {"new_on_hand": 5, "reason": "x"})
        assert (status, problem(raw)[1]) == (422, ["location"])

    async def test_the_life_of_a_supply(self, world: World) -> None:
        world.allocation.replies_with("done")
        supply = new_id()
        lines = [{"sku": "A", "quantity": 10}]
        for path, body, expected in (
            ("/api/supplies", {"supply_id": str(supply), "location": "reno", "expected_at": NOON.isoformat(), "lines": lines}, 201),
            (f"/api/supplies/{supply}/reschedule", {"expected_at": NOON.isoformat()}, 200),
            (f"/api/supplies/{supply}/receive", {"location": "reno", "lines": lines}, 200),
            (f"/api/supplies/{supply}/cancel", None, 200),
        ):
            status, raw = await request(world, "POST", path, body, Idempotency_Key="s")
            assert (status, raw["result"]) == (expected, "done"), path
        models: tuple[type[Any], ...] = (SupplyScheduled, SupplyRescheduled, SupplyReceived, SupplyCancelled)
        for model, envelope in zip(models, world.allocation.asked, strict=True):
            assert envelope["type"] == model.type
            assert model.model_validate(envelope["data"]).supply_id == supply
        assert len({envelope["id"] for envelope in world.allocation.asked}) == 4

    async def test_quantities_of_a_supply_are_changed_and_a_refusal_names_the_field(self, world: World) -> None:
        supply = new_id()
        body = {"lines": [{"sku": "A", "quantity": 0}, {"sku": "B", "quantity": 7}]}
        world.allocation.replies_with("done")
        assert (await request(world, "POST", f"/api/supplies/{supply}/change", body))[0] == 200
        command = SupplyChanged.model_validate(world.allocation.asked[0]["data"])
        assert (command.supply_id, [line.quantity for line in command.lines]) == (supply, [0, 7])
        refusal = SupplyRejected(detail="lines: 3 have come", supply_id=supply, field="lines", reason="less_than_received")
        world.allocation.replies_with("done", refusal, http_status=409)
        status, raw = await request(world, "POST", f"/api/supplies/{supply}/change", body)
        assert (status, problem(raw)) == (409, ("less_than_received", ["lines"]))
        negative = {"lines": [{"sku": "A", "quantity": -1}]}
        status, raw = await request(world, "POST", f"/api/supplies/{supply}/change", negative)
        assert (status, problem(raw)) == (422, ("invalid", ["lines.0.quantity"]))

    async def test_too_many_goods_are_booked_and_named_to_the_operator(self, world: World) -> None:
        booked = SupplyReceiptBooked(
            receipt_id=new_id(),
            supply_id=new_id(),
            lines=[ReceiptBookedLine(sku="A", quantity=12, over_received=2)],
            over_received=2,
        )
        world.allocation.replies_with("done", booked)
        body = {"location": "reno", "lines": [{"sku": "A", "quantity": 12}]}
        status, raw = await request(world, "POST", f"/api/supplies/{new_id()}/receive", body)
        assert (status, raw["messages"][0]["data"]["over_received"]) == (200, 2)

    async def test_supplies_are_listed_as_allocation_has_them(self, world: World) -> None:
        listed: dict[str, Any] = {"supplies": [], "next_after": None}
        world.allocation.shows("/supplies", listed)
        assert (await request(world, "GET", "/api/supplies?over_received=true&purchase_order=PO-7")) == (200, listed)

    async def test_a_preorder_is_opened_moved_closed_and_listed(self, world: World) -> None:
        world.allocation.replies_with("done")
        body = {"release_at": NOON.isoformat(), "early_release": True}
        assert (await request(world, "PUT", "/api/preorders/A%2FB", body))[0] == 200
        opened = StockPreorderOpened.model_validate(world.allocation.asked[0]["data"])
        assert (opened.sku, opened.release_at, opened.early_release) == ("A/B", NOON, True)
        assert (await request(world, "POST", "/api/preorders/A%2FB/close"))[0] == 200
        assert StockPreorderClosed.model_validate(world.allocation.asked[1]["data"]).sku == "A/B"
        listed: dict[str, Any] = {"preorders": [], "next_after": None}
        world.allocation.shows("/preorders", listed)
        assert (await request(world, "GET", "/api/preorders")) == (200, listed)

    async def test_a_supply_without_an_id_gets_one(self, world: World) -> None:
        world.allocation.replies_with("done")
        body = {"location": "reno", "expected_at": NOON.isoformat(), "lines": [{"sku": "A", "quantity": 10}]}
        _, raw = await request(world, "POST", "/api/supplies", body)
        assert raw["id"] == world.allocation.asked[0]["data"]["supply_id"]


DOCK = {"location": "mars", "lines": [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 1}]}


def refused_for(reason: str, sku: str = "A") -> StockAdjustmentRejected:
    """How allocation refuses to adjust what it does not know."""
    field, value = ("sku", sku) if reason == "unknown_sku" else ("location", "mars")
    detail = f"{field}: {value!r} is not registered: register it, then send the adjustment again"
    words = {"adjustment_id": new_id(), "sku": sku, "location": "mars", "reason": reason, "on_hand": None, "detail": detail}
    return StockAdjustmentRejected.model_validate(words)


class TestWhatDoesNotExist:
    """An owner that is asked about something unknown says "not yet" for ever, because it may still come."""

    @pytest.mark.parametrize(
        ("method", "path", "body", "waits_for", "status", "fields"),
        [
            ("POST", "/api/orders/{id}/cancel", {"reason": "x"}, "order_id: order x has not arrived yet", 404, ["order_id"]),
            ("POST", "/api/orders/{id}/edit", {"ship_to": ADDRESS}, "order_id: order x has not arrived yet", 404, ["order_id"]),
            ("POST", "/api/supplies/{id}/cancel", None, "supply_id: supply x has not been scheduled yet", 404, ["supply_id"]),
            ("POST", "/api/supplies/{id}/receive", {**DOCK, "location": "reno"}, "supply_id: supply x has not been", 404, ["supply_id"]),
            ("POST", "/api/supplies/{id}/receive", DOCK, "location: 'mars' is not registered here yet; it comes", 422, ["location"]),
            (
                "POST",
                "/api/supplies",
                {**DOCK, "expected_at": NOON.isoformat()},
                "sku: 'B' not registered here yet: register the products",
                422,
                ["lines.1.sku"],
            ),
            ("PUT", "/api/preorders/B", {"release_at": NOON.isoformat()}, "sku: 'B' not registered here yet", 404, ["sku"]),
            (
                "POST",
                "/api/products",
                {"products": [{"sku": "K", "title": "K", "unit_price_cents": 1, "components": [{"sku": "B", "quantity": 1}]}]},
                "products.0.components.0.sku: SKU 'B' is not registered: register the component first",
                422,
                ["products.0.components.0.sku"],
            ),
        ],
    )
    async def test_is_not_found_or_named_as_a_wrong_field(
        self, world: World, method: str, path: str, body: Any, waits_for: str, status: int, fields: list[str]
    ) -> None:
        world.sync.shows("/products/A", {"sku": "A"})
        for neighbour in world.neighbours.values():
            neighbour.replies_with("deferred", http_status=409, reason=waits_for)
        answered, raw = await request(world, method, path.replace("{id}", str(new_id())), body)
        assert (answered, problem(raw)[1]) == (status, fields)
        assert all(item["remedy"] for item in raw["error"]["problems"])

    @pytest.mark.parametrize(("reason", "field"), [("unknown_sku", "sku"), ("unknown_location", "location")])
    async def test_is_not_found_where_its_owner_refuses(self, world: World, reason: str, field: str) -> None:
        world.allocation.replies_with("done", refused_for(reason), http_status=409)
        status, raw = await request(world, "PUT", "/api/stock/A/mars", {"new_on_hand": 1, "reason": "x"})
        assert (status, problem(raw)) == (404, ("not_found", [field]))

    async def test_what_is_on_its_way_is_not_yet_there(self, world: World) -> None:
        order, supply = new_id(), new_id()
        world.sync.shows(f"/orders/{order}", {"order_id": str(order)})
        world.routing.replies_with("deferred", http_status=409, reason=f"order_id: order {order} has not arrived yet")
        status, raw = await request(world, "POST", f"/api/orders/{order}/cancel", {"reason": "x"})
        assert (status, problem(raw)) == (409, ("not_yet", ["order_id"]))
        waiting: dict[str, Any] = {
            "counts": {"parked": 0, "retry": 1},
            "messages": [{"event_id": str(new_id()), "type": "supply.received.v1"}],
        }
        world.allocation.shows("/operations/parked?status=retry", waiting)
        world.allocation.replies_with("deferred", http_status=409, reason=f"supply_id: supply {supply} has not been scheduled yet")
        # goods of a supply do not announce it
        assert (await request(world, "POST", f"/api/supplies/{supply}/cancel"))[0] == 404
        waiting["messages"] = [{"event_id": str(new_id()), "type": SupplyScheduled.type}]
        status, raw = await request(world, "POST", f"/api/supplies/{supply}/cancel")
        assert (status, problem(raw)) == (409, ("not_yet", ["supply_id"]))
        assert any(f"mentioned=%22{supply}%22" in path for path in world.allocation.paths)
        world.sync.shows("/products/A", {"sku": "A"})
        world.allocation.replies_with("done", refused_for("unknown_sku"), http_status=409)
        status, raw = await request(world, "PUT", "/api/stock/A/reno", {"new_on_hand": 1, "reason": "x"})
        assert (status, problem(raw)) == (409, ("not_yet", ["sku"]))
        asked = [path for path in world.allocation.paths if path == "POST /messages"]
        assert len(asked) > len(outcomes.PAUSES_SECONDS), "it was asked again while the registration may have been on its way"

    @pytest.mark.parametrize(
        ("path", "field"),
        [("/api/returns/{id}", "return_id"), ("/api/holds/{id}", "hold_id"), ("/api/orders/17", "order_id"), ("/api/stock/NO", "sku")],
    )
    async def test_is_named_when_it_is_read(self, world: World, path: str, field: str) -> None:
        status, raw = await request(world, "GET", path.replace("{id}", str(new_id())))
        assert (status, problem(raw)) == (404, ("not_found", [field]))


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("sku: 'A' is not registered: register it first", [("sku", "'A' is not registered", "register it first")]),
        ("lines.0.sku: is a kit (name its components)", [("lines.0.sku", "is a kit", "name its components")]),
        ("consent_id: no such question; look again", [("consent_id", "no such question", "look again")]),
        ("partner: x is no 3PL (known: a, b); add it", [("partner", "x is no 3PL (known: a, b)", "add it")]),
        ("ship_to: is no address", [("ship_to", "is no address", "correct it and send it again")]),
        ("everything has shipped; send it back instead", []),
        ("Reno has started: too late", []),
    ],
)
def test_the_fields_that_an_owner_blames_are_read_from_its_words(words: str, fields: list[tuple[str, str, str]]) -> None:
    assert [(fault.field, fault.problem, fault.remedy) for fault in faults_in(words)] == fields


class TestFindingsInTheBooks:
    async def test_reads_them_as_allocation_has_them(self, world: World) -> None:
        finding = new_id()
        world.allocation.shows("/findings", {"findings": [], "counts": {"open": 0}})
        world.allocation.shows(f"/findings/{finding}", {"finding_id": str(finding)})
        status, raw = await request(world, "GET", f"/api/findings?status=dismissed&after={finding}&limit=7")
        assert (status, raw["counts"]) == (200, {"open": 0})
        assert f"GET /findings?status=dismissed&limit=7&after={finding}" in world.allocation.paths
        assert (await request(world, "GET", f"/api/findings/{finding}")) == (200, {"finding_id": str(finding)})
        assert (await request(world, "GET", f"/api/findings/{new_id()}"))[0] == 404
        status, raw = await request(world, "GET", "/api/findings?status=closed")
        assert (status, problem(raw)[1]) == (422, ["status"])

    async def test_mends_as_proposed_if_the_figure_is_as_it_was_shown(self, world: World) -> None:
        finding = new_id()
        decided = StockFindingDecided(decision_id=new_id(), finding_id=finding, sku="MUG", status="applied", decided_at=NOON)
        world.allocation.replies_with("done", decided)
        body = {"expected_found": -3, "reason": "delivery note 7", "operator": "ada"}
        for _ in range(2):
            status, raw = await request(world, "POST", f"/api/findings/{finding}/apply", body, Idempotency_Key="k")
            assert (status, raw["result"], raw["messages"][0]["data"]["status"]) == (200, "done", "applied")
        first, again = (StockCompensationRequested.model_validate(each["data"]) for each in world.allocation.asked)
        assert first == again
        assert (first.finding_id, first.expected_found, first.operator) == (finding, -3, "ada")
        refusal = StockFindingRefused(detail="9 now", decision_id=new_id(), finding_id=finding, reason="stale_expectation")
        world.allocation.replies_with("done", refusal, http_status=409)
        status, raw = await request(world, "POST", f"/api/findings/{finding}/apply", body)
        assert (status, problem(raw)[0], raw["error"]["message"]) == (409, "stale_expectation", "9 now")

    async def test_dismisses_only_with_a_reason(self, world: World) -> None:
        finding = new_id()
        status, raw = await request(world, "POST", f"/api/findings/{finding}/dismiss", {"expected_found": 3})
        assert (status, problem(raw)) == (422, ("invalid", ["reason"]))
        decided = StockFindingDecided(decision_id=new_id(), finding_id=finding, sku="MUG", status="dismissed", decided_at=NOON)
        world.allocation.replies_with("done", decided)
        assert (await request(world, "POST", f"/api/findings/{finding}/dismiss", {"expected_found": 3, "reason": "known"}))[0] == 200
        assert world.allocation.asked[0]["type"] == StockFindingDismissalRequested.type


class TestTheCatalogue:
    async def test_registers_products_listings_and_locations(self, world: World) -> None:
        product = {"sku": "A", "title": "A", "unit_price_cents": 100, "unit_weight_grams": 10, "hazmat": False}
        world.sync.replies_with("done", ProductRegistered(products=[product]))
        status, raw = await request(world, "POST", "/api/products", {"products": [product]})
        assert (status, raw["result"]) == (201, "done")
        assert ProductRegistrationRequested.model_validate(world.sync.asked[0]["data"]).products[0].sku == "A"
        status, raw = await request(world, "POST", "/api/products", {"products": [{**product, "unit_weight_gramms": 5}]})
        assert (status, problem(raw)) == (422, ("invalid", ["products.0.unit_weight_gramms"]))
        assert "unit_weight_grams" in raw["error"]["problems"][0]["remedy"]
        listings = [{"sku": "A", "external_listing_id": "L1"}]
        world.sync.replies_with("done", ListingRegistered(channel="shop", listings=listings, registered_at=NOON))
        assert (await request(world, "POST", "/api/listings", {"channel": "shop", "listings": listings}))[0] == 201
        location = {"location": "reno", "name": "Reno", "partner": "acme", "postal_code": "89501", "country": "US"}
        registered = LocationRegistered(location="reno", name="Reno", partner="acme", hazmat_certified=False, active=True)
        world.routing.replies_with("done", registered)
        assert (await request(world, "POST", "/api/locations", location))[0] == 201
        assert world.routing.asked[0]["data"]["postal_code"] == "89501"
        world.routing.shows("/locations", {"locations": [location]})
        assert (await request(world, "GET", "/api/locations")) == (200, {"locations": [location]})

    async def test_a_refused_registration_says_why(self, world: World) -> None:
        refusal = ListingRegistrationRejected(
            detail="no product A", channel="shop", problems=[FieldProblem(field="listings.0.sku", problem="unknown", remedy="register it")]
        )
        world.sync.replies_with("done", refusal, http_status=409)
        body = {"channel": "shop", "listings": [{"sku": "A", "external_listing_id": "L1"}]}
        status, raw = await request(world, "POST", "/api/listings", body)
        assert (status, problem(raw)) == (409, ("refused", ["listings.0.sku"]))
        rejected = LocationRegistrationRejected(detail="no such 3PL: mars", location="reno", field="partner")
        world.routing.replies_with("done", rejected, http_status=409)
        location = {"location": "reno", "name": "Reno", "partner": "mars", "postal_code": "89501", "country": "US"}
        status, raw = await request(world, "POST", "/api/locations", location)
        assert (status, problem(raw)) == (409, ("refused", ["partner"]))

    async def test_a_misspelt_field_is_named(self, world: World) -> None:
        location = {"location": "reno", "name": "Reno", "partner": "acme", "postal_code": "89501", "country": "US", "hazmat": True}
        status, raw = await request(world, "POST", "/api/locations", location)
        assert (status, problem(raw)) == (422, ("invalid", ["hazmat"]))


class TestOperations:
    async def test_parked_messages_of_all_services_and_their_redrive(self, world: World) -> None:
        event = new_id()
        parked = {
            "event_id": str(event),
            "source": "3pl/acme",
            "type": "3pl.shipped.v1",
            "subject": None,
            "attempts": 1,
            "reason": "foreign fulfillment",
            "received_at": NOON.isoformat(),
            "body": "{}",
        }
        world.routing.shows("/operations/parked", {"counts": {"parked": 1, "retry": 0}, "messages": [parked]})
        world.returns.away = True
        status, raw = await request(world, "GET", "/api/parked")
        assert (status, raw["unavailable"]) == (200, ["returns"])
        assert [(item["service"], item["reason"]) for item in raw["messages"]] == [("routing", "foreign fulfillment")]
        world.routing.shows(f"/operations/parked/{event}/redrive", {"status": "retry"}, method="POST", status=202)
        assert (await request(world, "POST", f"/api/parked/routing/{event}/redrive"))[0] == 202
        assert (await request(world, "POST", f"/api/parked/routing/{new_id()}/redrive"))[0] == 404
        assert (await request(world, "POST", f"/api/parked/portal/{new_id()}/redrive"))[0] == 404
        status, raw = await request(world, "POST", f"/api/parked/pluto/{event}/redrive")
        assert (status, problem(raw)) == (422, ("invalid", ["service"]))

    async def test_messages_that_are_tried_again_are_listed_and_shown(self, world: World, pool: Pool) -> None:
        event = new_id()
        waiting = {
            "event_id": str(event),
            "source": "3pl/acme",
            "type": "3pl.shipped.v1",
            "subject": None,
            "status": "retry",
            "attempts": 4,
            "due_at": NOON.isoformat(),
            "reason": "fulfillment_id: is not known here",
            "received_at": NOON.isoformat(),
            "body": "{}",
        }
        world.routing.shows("/operations/parked?status=retry", {"counts": {"parked": 0, "retry": 7}, "messages": [waiting]})
        world.returns.away = True
        status, raw = await request(world, "GET", "/api/retrying")
        assert (status, raw["unavailable"], raw["counts"]["routing"]) == (200, ["returns"], 7)
        assert [(item["service"], item["event_id"], item["attempts"], item["reason"]) for item in raw["messages"]] == [
            ("routing", str(event), 4, "fulfillment_id: is not known here")
        ]
        assert datetime.fromisoformat(raw["messages"][0]["next_try_at"]) == NOON
        world.routing.shows(f"/operations/parked/{event}", {**waiting, "dismissals": []})
        status, raw = await request(world, "GET", f"/api/messages/routing/{event}")
        assert (status, raw["status"], raw["service"], raw["dismissals"]) == (200, "retry", "routing", [])
        status, raw = await request(world, "GET", f"/api/messages/portal/{new_id()}")
        assert (status, problem(raw)) == (404, ("not_found", ["event_id"]))

    async def test_a_parked_message_is_dismissed_with_a_reason_that_stays_on_record(self, world: World, pool: Pool) -> None:
        event = await parked_at_the_portal(pool)
        address = f"/api/parked/portal/{event}/dismiss"
        for body, field in (({}, "reason"), ({"reason": "  "}, "reason"), ({"reason": "x", "who": "ada"}, "who")):
            status, raw = await request(world, "POST", address, body)
            assert (status, problem(raw)[1]) == (422, [field])
        status, raw = await request(world, "POST", address, {"reason": "a test of the partner", "operator": "ada"})
        assert (status, raw["status"]) == (200, "dismissed")
        _, raw = await request(world, "GET", "/api/parked")
        assert raw["messages"] == []
        _, raw = await request(world, "GET", "/api/dismissed")
        shown = [(item["event_id"], item["dismissed_by"], item["dismissed_because"], item["reason"]) for item in raw["messages"]]
        assert shown == [(str(event), "ada", "a test of the partner", "no lines")]
        status, raw = await request(world, "POST", address, {"reason": "again"})
        assert (status, problem(raw)[0]) == (409, "already_dismissed")
        assert (await request(world, "POST", f"/api/parked/portal/{event}/redrive"))[0] == 202
        status, raw = await request(world, "POST", address, {"reason": "again"})
        assert (status, problem(raw)[0]) == (409, "not_parked")
        _, raw = await request(world, "GET", f"/api/messages/portal/{event}")
        assert (raw["status"], [item["dismissed_by"] for item in raw["dismissals"]]) == ("retry", ["ada"])

    async def test_every_service_lists_shows_and_dismisses_its_own_messages(self, world: World, pool: Pool) -> None:
        event = await parked_at_the_portal(pool)
        await pool.execute("UPDATE inbox SET body = $1", f'{{"supply_id": "{event}"}}'.encode())
        for mentioned, found in ((str(event), 1), (str(new_id()), 0)):
            _, raw = await request(world, "GET", f"/operations/parked?mentioned={mentioned}")
            assert (len(raw["messages"]), raw["counts"]) == (found, {"parked": 1, "retry": 0})
        assert (await request(world, "GET", f"/operations/parked/{event}"))[1]["status"] == "parked"
        for address in (f"/operations/parked/{new_id()}", "/operations/parked/17"):
            status, raw = await request(world, "GET", address)
            assert (status, problem(raw)) == (404, ("not_found", ["event_id"]))
        status, raw = await request(world, "POST", f"/operations/parked/{event}/dismiss", {"operator": "ada"})
        assert (status, problem(raw)[1]) == (422, ["reason"])
        assert (await request(world, "POST", f"/operations/parked/{event}/dismiss", {"reason": "x"}))[0] == 200
        assert (await request(world, "POST", f"/operations/parked/{event}/dismiss", {"reason": "x"}))[0] == 409
        _, raw = await request(world, "GET", "/operations/parked?status=dismissed")
        assert (raw["messages"][0]["dismissed_because"], raw["counts"]) == ("x", {"parked": 0, "retry": 0})

    async def test_an_order_is_tried_again_and_those_that_need_it_are_listed(self, world: World) -> None:
        order = new_id()
        world.routing.shows("/attention", {"orders": [{"order_id": str(order)}]})
        assert (await request(world, "GET", "/api/attention"))[1]["orders"] == [{"order_id": str(order)}]
        world.routing.shows(f"/orders/{order}/retry", {"order_id": str(order), "status": "planned"}, method="POST")
        assert await request(world, "POST", f"/api/orders/{order}/retry") == (200, {"order_id": str(order), "status": "planned"})
        refusal = {"error": {"code": "nothing_to_retry", "message": "it goes on by itself", "problems": []}}
        world.routing.shows(f"/orders/{order}/retry", refusal, method="POST", status=409)
        status, raw = await request(world, "POST", f"/api/orders/{order}/retry")
        assert (status, problem(raw)[0]) == (409, "nothing_to_retry")
        status, raw = await request(world, "POST", f"/api/orders/{new_id()}/retry")
        assert (status, problem(raw)) == (404, ("not_found", ["order_id"]))

    async def test_the_trace_of_an_order(self, world: World) -> None:
        order, event = new_id(), new_id()
        said = {
            "event_id": str(event),
            "type": "order.placed.v1",
            "created_at": NOON.isoformat(),
            "sent_at": None,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        }
        world.sync.shows("/operations/messages", {"service": "sync", "said": [said], "heard": []})
        status, raw = await request(world, "GET", f"/api/orders/{order}/trace")
        document = TraceDocument.model_validate(raw)
        assert (status, document.trace_ids, document.messages[0]["sent"]) == (200, ["4bf92f3577b34da6a3ce929d0e0e4736"], False)

    async def test_the_trace_of_nothing_is_a_404_and_of_nobody_a_503(self, world: World) -> None:
        assert (await request(world, "GET", f"/api/orders/{new_id()}/trace"))[0] == 404
        for neighbour in world.neighbours.values():
            neighbour.away = True
        assert (await request(world, "GET", f"/api/orders/{new_id()}/trace"))[0] == 503

    async def test_an_audit_that_is_not_set_up_says_what_it_needs(self, world: World) -> None:
        status, raw = await request(world, "GET", "/api/audit")
        assert (status, problem(raw)[0]) == (501, "audit_not_set_up")
        assert "ORDERMESH_AUDIT_DATABASE_URL" in raw["error"]["message"]

    async def test_an_audit_that_cannot_run_is_a_503(self, world: World) -> None:
        object.__setattr__(world.settings, "audit_database_url", "postgresql://nobody@127.0.0.1:1/nothing")
        status, raw = await request(world, "GET", "/api/audit")
        assert (status, problem(raw)[0]) == (503, "audit_could_not_run")


DOCUMENT = openapi_document(OPERATIONS, server="http://portal.test")


class TestItsOwnDescription:
    def test_is_valid_openapi_3_1(self) -> None:
        OpenAPIV31SpecValidator(DOCUMENT).validate()

    def test_lists_every_route_under_api_and_no_other(self, world: World) -> None:
        routed = {
            (route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical))
            for route in world.client.app.router.routes()
            if route.resource is not None and route.resource.canonical.startswith("/api")
        }
        described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
        assert routed - {(method, path) for method, path in routed if method == "HEAD"} == described

    def test_every_schema_is_a_valid_json_schema_and_every_reference_leads_somewhere(self) -> None:
        schemas = DOCUMENT["components"]["schemas"]
        for name, schema in schemas.items():
            jsonschema.Draft202012Validator.check_schema(schema)
            assert name
        for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)):
            assert reference.removeprefix("#/components/schemas/") in schemas

    def test_every_operation_has_words_and_every_path_parameter_is_declared(self) -> None:
        for path, methods in DOCUMENT["paths"].items():
            for operation in methods.values():
                assert operation["summary"]
                assert len(operation["description"]) > 20
                declared = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
                assert declared == set(re.findall(r"\{(\w+)\}", path))
                assert {"401", "422"} <= operation["responses"].keys()

    async def test_is_served_to_everybody_as_json_and_as_a_page(self, world: World) -> None:
        answer = await world.client.get("/openapi.json")
        assert (answer.status, (await answer.json())["openapi"]) == (200, "3.1.0")
        text = await (await world.client.get("/docs")).text()
        for path in DOCUMENT["paths"]:
            assert path in text
