"""What operators and the portal read over HTTP, and the one thing they can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.routing import current
from services.routing.__main__ import SERVICE
from services.routing.settings import RoutingSettings
from shared.contracts.base import MOST_CENTS
from shared.contracts.envelope import new_id
from shared.contracts.orders import LineChange, OrderCancelRequested, OrderEditRequested
from shared.database import prepare_connection
from shared.http import build_application
from shared.messaging.batching import Surroundings
from shared.running import Environment
from shared.telemetry import Metrics
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import HOME, NOON, RENO, SHOPPER, a_line, an_order, reserved
from tests.routing.test_delay_consent import day, delayed, moved
from tests.routing.test_handlers import AMPLE, shipped
from tests.routing.test_rule_versions import NEWARK_ONLY, a_draft, in_force
from tests.routing.test_rules import a_rule

TOKEN = "an-operator-token-for-tests"


async def nothing_wrong() -> dict[str, str]:
    return {}


@pytest.fixture
async def client(databases: Databases, desk: Desk) -> AsyncIterator[TestClient[Any, Any]]:
    """The service's HTTP side over its own pool."""
    settings = RoutingSettings(database_url=databases.url("routing"), amqp_url="amqp://unused", operator_token=TOKEN)
    pool = await asyncpg.create_pool(settings.database_url, min_size=1, max_size=2, init=prepare_connection)
    around = Surroundings("routing", pool, settings, Metrics("routing"), lambda: NOON, lambda: None)
    async with aiohttp.ClientSession() as session:
        application = build_application(Environment(around, session, {}), SERVICE.routes, live=nothing_wrong, ready=nothing_wrong)
        async with TestClient(TestServer(application), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            yield client
    await pool.close()


async def ask(client: TestClient[Any, Any], path: str, *, method: str = "GET") -> tuple[int, Any]:
    response = await client.request(method, path)
    return response.status, await response.json()


async def test_an_order_shows_where_every_unit_is_what_it_waits_for_and_why_it_was_planned_so(
    desk: Desk, client: TestClient[Any, Any]
) -> None:
    placed = an_order(a_line("1", 3), a_line("2", 1))
    [pick] = await desk.hand_over(placed, AMPLE)
    await desk.hear(OrderCancelRequested(order_id=placed.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    status, order = await ask(client, f"/orders/{placed.order_id}")
    assert status == 200
    assert (order["status"], order["waiting_for"], order["open_change"]["kind"]) == ("released", "third_party_cancel_answer", "cancel")
    assert [(line["line_id"], line["quantity"], line["shipped"]) for line in order["lines"]] == [("1", 3, 0), ("2", 1, 0)]
    [fulfillment] = order["fulfillments"]
    assert (fulfillment["status"], fulfillment["request_status"], fulfillment["location"]) == ("open", "cancellation_requested", "reno")
    assert fulfillment["fulfillment_id"] == str(pick.fulfillment_id)
    assert [line["planned"] for line in fulfillment["lines"]] == [3, 1]
    assert order["decisions"][0]["record"]["chosen"][0][0] == "reno"
    assert "A. Shopper" not in str(order), "nobody needs the customer's name to understand a plan"


async def test_a_decision_is_said_in_a_sentence_until_the_record_does_not_bear_it(
    desk: Desk, client: TestClient[Any, Any], databases: Databases
) -> None:
    placed = an_order()
    await desk.plan(placed, {"SKU-1": {"reno": 5, "newark": 5}})
    await desk.register(RENO.model_copy(update={"active": False}))
    _, order = await ask(client, f"/orders/{placed.order_id}")
    assert order["decisions"][0]["in_words"].startswith("reno, not newark: 1 parcel for ")
    admin = await databases.connect_as_admin()
    await admin.execute("UPDATE routing.decisions SET record = jsonb_set(record, '{late}', 'true')")
    _, order = await ask(client, f"/orders/{placed.order_id}")
    assert order["decisions"][0]["in_words"] is None


async def test_orders_are_listed_by_status_page_by_page(desk: Desk, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.routing.pages.ROWS_LIMIT", 2)
    orders = [an_order() for _ in range(3)]
    await desk.hear(*orders)
    _, first = await ask(client, "/orders?status=placed")
    assert [item["order_id"] for item in first["orders"]] == [str(order.order_id) for order in orders[:2]]
    _, second = await ask(client, f"/orders?status=placed&after={first['next_after']}")
    assert ([item["order_id"] for item in second["orders"]], second["next_after"]) == ([str(orders[2].order_id)], None)
    assert (await ask(client, "/orders?status=shipped"))[1]["orders"] == []


@pytest.mark.parametrize(("path", "field"), [("/orders?status=lost", "status"), ("/orders?after=yesterday", "after")])
async def test_a_wrong_question_is_answered_by_field(client: TestClient[Any, Any], path: str, field: str) -> None:
    status, body = await ask(client, path)
    assert (status, body["error"]["problems"][0]["field"]) == (422, field)


async def test_an_unknown_order_is_not_found_and_nothing_is_shown_without_the_token(client: TestClient[Any, Any]) -> None:
    for method, path in (
        ("GET", f"/orders/{new_id()}"),
        ("GET", "/orders/x"),
        ("POST", f"/orders/{new_id()}/retry"),
        ("POST", "/orders/x/retry"),
    ):
        assert (await ask(client, path, method=method))[0] == 404
    response = await client.request("GET", "/locations", headers={"Authorization": "Bearer wrong"})
    assert response.status == 401


async def test_locations_are_listed(client: TestClient[Any, Any]) -> None:
    _, body = await ask(client, "/locations")
    assert [(item["location"], item["partner"], item["postal_code"]) for item in body["locations"]] == [
        ("newark", "east", "07114"),
        ("reno", "west", "89506"),
    ]
    assert (body["locations"][0]["fulfillments_per_day"], body["locations"][0]["slots_taken"]) == (None, [])
    assert body["locations"][0]["services"] == ["ground", "two_day", "next_day"], "none given: all"
    assert (body["locations"][0]["working_days"], body["locations"][0]["holidays"]) == ([1, 2, 3, 4, 5], [])


async def test_locations_near_a_postal_code_are_listed_by_distance(client: TestClient[Any, Any]) -> None:
    _, body = await ask(client, "/locations?near=07114")
    newark, reno = body["locations"]
    assert (newark["location"], newark["zone"], reno["location"], reno["zone"]) == ("newark", 2, "reno", 8)
    assert newark["miles"] < 5
    assert 2_300 < reno["miles"] < 2_500
    _, body = await ask(client, "/locations?near=07114&within_miles=100")
    assert [item["location"] for item in body["locations"]] == ["newark"]
    for query, field in (("near=00000", "near"), ("near=10115&country=DE", "near"), ("near=07114&within_miles=far", "within_miles")):
        status, body = await ask(client, f"/locations?{query}")
        assert (status, body["error"]["problems"][0]["field"]) == (422, field)


async def test_an_order_in_the_exception_queue_can_be_retried_and_then_leaves_it(desk: Desk, client: TestClient[Any, Any]) -> None:
    placed = an_order()
    await desk.hear(placed)
    await desk.hear(reserved(placed, {}))
    _, queue = await ask(client, "/attention")
    assert [(item["order_id"], item["attention_reason"]) for item in queue["orders"]] == [(str(placed.order_id), "no_location_can_ship")]
    status, order = await ask(client, f"/orders/{placed.order_id}/retry", method="POST")
    assert (status, order["attention"], order["waiting_for"]) == (200, None, "assignment")
    published = await desk.connection.fetch("SELECT type FROM outbox WHERE subject = $1", str(placed.order_id))
    assert [row["type"] for row in published] == ["fulfillment.planned.v1"]
    assert (await ask(client, "/attention"))[1]["orders"] == []
    status, body = await ask(client, f"/orders/{placed.order_id}/retry", method="POST")
    assert (status, body["error"]["code"]) == (409, "nothing_to_retry")


async def test_what_shipped_is_shown_with_its_parcel(desk: Desk, client: TestClient[Any, Any]) -> None:
    placed = an_order()
    [pick] = await desk.hand_over(placed, AMPLE)
    await desk.hear(shipped(pick.fulfillment_id, (2, "1")), partner="west")
    _, order = await ask(client, f"/orders/{placed.order_id}")
    assert (order["status"], order["fulfillments"][0]["tracking_number"]) == ("shipped", "1Z999")
    assert order["waiting_until"] == (NOON + timedelta(days=30)).isoformat()


async def test_an_order_shows_what_its_customer_agreed_to_and_the_orders_that_wait_for_an_answer_come_most_urgent_first(
    desk: Desk, client: TestClient[Any, Any]
) -> None:
    relaxed, _ = await delayed(desk, None)
    short, _ = await delayed(desk, day(20))
    desk.now = day(19)
    await desk.hear(moved(short, day(30), at=day(19)))
    status, listed = await ask(client, "/delays")
    assert (status, [entry["order_id"] for entry in listed["delays"]]) == (200, [str(short.order_id), str(relaxed.order_id)])
    assert listed["delays"][0]["answer_by"] == day(22).isoformat()
    _, rest = await ask(client, f"/delays?after={listed['delays'][0]['consent_id']}")
    assert [entry["order_id"] for entry in rest["delays"]] == [str(relaxed.order_id)]
    _, order = await ask(client, f"/orders/{short.order_id}")
    assert (order["delay"]["original_ship_at"], order["delay"]["agreed_ship_at"]) == (day(10).isoformat(), day(20).isoformat())
    assert [question["consent"] for question in order["delay"]["questions"]] == ["silence", "required"]
    assert order["delay"]["newest"] == order["delay"]["questions"][1]
    status, problem = await ask(client, "/delays?after=nonsense")
    assert (status, problem["error"]["problems"][0]["field"]) == (422, "after")


async def test_a_preview_says_what_an_edit_would_do_and_changes_nothing(
    desk: Desk, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.register(RENO.model_copy(update={"fulfillments_per_day": 1}))
    placed = an_order(a_line("1", 3, tax_cents=100))
    await desk.hand_over(placed, AMPLE)
    before = await desk.order(placed.order_id)
    free = {"SKU-1": {"reno": 5, "newark": 5}}
    east = HOME.model_copy(update={"city": "Newark", "region": "NJ", "postal_code": "07102"})

    async def preview(stock: Mapping[str, Mapping[str, int]] = free, **changes: Any) -> tuple[int, Any]:
        edit = {"order_id": placed.order_id, "change_id": new_id(), "actor": SHOPPER, **changes}
        wish = OrderEditRequested(**edit).model_dump(mode="json")
        response = await client.post(f"/orders/{placed.order_id}/edit/preview", json={"request": wish, "stock": stock})
        return response.status, await response.json()

    status, less = await preview(line_changes=[LineChange(line_id="1", quantity=2)])
    assert (status, less["refusal"], less["money_delta_cents"], less["asks"]) == (200, None, -1_033, ["west"])
    assert [(line["quantity"], line["tax_cents"]) for line in less["lines"]] == [(2, 67)]
    leaves = await desk.connection.fetchval("SELECT ship_by FROM fulfillments")
    assert [parcel["ship_by"] for parcel in less["shipping_after"]["parcels"]] == [leaves.isoformat()], "by the slot that it has"
    _, moved = await preview(ship_to=east)
    assert [parcel["location"] for parcel in moved["shipping_before"]["parcels"]] == ["reno"]
    assert [parcel["location"] for parcel in moved["shipping_after"]["parcels"]] == ["newark"]
    assert (moved["money_delta_cents"], moved["added"]) == (0, [])
    _, far = await preview({}, ship_to=east)
    assert [parcel["location"] for parcel in far["shipping_after"]["parcels"]] == ["reno"], "the order's own units are where they are"
    assert far["shipping_after"]["cost_cents"] > far["shipping_before"]["cost_cents"]
    _, more = await preview({}, line_changes=[LineChange(line_id="1", quantity=5)])
    assert (more["refusal"]["reason"], more["money_delta_cents"]) == ("payment_required", 2_067)
    assert (more["added"], more["shipping_after"]["unplaced"]) == ([{"sku": "SKU-1", "units": 2}], {"SKU-1": 2})
    _, fast = await preview({}, ship_to=east, service_level="next_day")
    assert (fast["refusal"], fast["money_delta_cents"], fast["service_pricing"]) == (None, 0, "no_price")
    monkeypatch.setattr(current, "service_prices", lambda: {("USD", "standard"): 400, ("USD", "next_day"): 2_400})
    _, sold = await preview({}, ship_to=east, service_level="next_day")
    assert (sold["service_pricing"], sold["shipping_paid_before_cents"], sold["shipping_paid_after_cents"]) == ("priced", 500, 2_500)
    assert (sold["refusal"]["reason"], sold["money_delta_cents"]) == ("payment_required", 2_000)
    assert sold["refusal"]["detail"].startswith("service_level: the change costs 2000 cents")
    assert fast["shipping_after"]["cost_cents"] > far["shipping_after"]["cost_cents"]
    assert fast["shipping_after"]["parcels"][0]["service"] != far["shipping_after"]["parcels"][0]["service"]
    assert {parcel["carrier"] for parcel in fast["shipping_after"]["parcels"]} == {"parcel-carrier"}
    _, whole = await preview({}, line_changes=[LineChange(line_id="1", quantity=5)], split_policy="hold_all")
    assert (whole["shipping_after"]["parcels"], whole["shipping_after"]["unplaced"]) == ([], {"SKU-1": 5})
    _, nowhere = await preview(ship_to=HOME.model_copy(update={"postal_code": "00000"}))
    assert (nowhere["refusal"]["reason"], nowhere["shipping_after"]) == ("invalid", None)
    _, stale = await preview(ship_to=east, expected_order_version=7)
    assert (stale["refusal"]["reason"], stale["money_delta_cents"]) == ("stale_version", 0)
    assert (await client.post(f"/orders/{placed.order_id}/edit/preview", json={"stock": {}})).status == 422
    _, dear = await preview(line_changes=[LineChange(sku="NEW", quantity=1_000_000, unit_price_cents=MOST_CENTS, unit_weight_grams=1)])
    assert (dear["refusal"]["reason"], dear["refusal"]["detail"].split(":")[0]) == ("invalid", "line_changes.0.unit_price_cents")
    status, unstorable = await preview(ship_to=east.model_copy(update={"line1": "a\x00b"}))
    assert (status, unstorable["error"]["problems"][0]["field"]) == (422, "request.ship_to.line1"), "as it could not be made"
    await in_force(desk, NEWARK_ONLY)
    _, ruled = await preview(line_changes=[LineChange(line_id="1", quantity=2)])
    assert [parcel["location"] for parcel in ruled["shipping_after"]["parcels"]] == ["newark"], "as it would be planned: by the rules"
    await in_force(desk, a_rule("hold", "a look first"))
    _, held = await preview(line_changes=[LineChange(line_id="1", quantity=2)])
    assert (held["shipping_after"]["parcels"], held["shipping_after"]["held"]) == ([], "a look first: because")
    assert await desk.order(placed.order_id) == before
    assert await desk.connection.fetchval("SELECT count(*) FROM changes") == 0


async def test_a_trial_shows_both_plans_and_touches_nothing(desk: Desk, client: TestClient[Any, Any]) -> None:
    placed = an_order()
    await desk.hand_over(placed, AMPLE)
    before = await desk.order(placed.order_id)
    rules = [NEWARK_ONLY.model_dump(mode="json")]

    async def tried(**body: Any) -> tuple[int, Any]:
        response = await client.post("/rules/try", json={"order_id": str(placed.order_id), **body})
        return response.status, await response.json()

    status, shown = await tried(rules=rules)
    assert (status, shown["stock"], shown["same"]) == (200, "assumed", False)
    assert (shown["tried"]["record"]["chosen"][0][0], shown["in_force"]["record"]["chosen"][0][0]) == ("newark", "reno")
    assert (shown["tried"]["version"], shown["in_force"]["version"]) == (None, 0)
    status, shown = await tried(rules=rules, stock={"SKU-1": {"reno": 5}})
    assert (shown["stock"], shown["tried"]["unplaced"]) == ("given", {"SKU-1": 2})
    status, refused = await tried(rules=rules, stock={"SKU-1": {"reno": 5, "nowhere": 1}, "SKU-2": {"reno": 4}})
    faults = {problem["field"]: problem["problem"] for problem in refused["error"]["problems"]}
    assert (status, faults) == (422, {"stock.SKU-1.nowhere": "is no location", "stock.SKU-2": "is not in this order"})
    assert (await tried(rules=[{"name": "x", "why": "y", "action": "pin"}]))[0] == 422
    assert [(await tried(**body))[0] for body in ({}, {"version": 9}, {"version": 0, "rules": []})] == [422, 404, 422]
    assert await desk.order(placed.order_id) == before
    assert await desk.connection.fetchval("SELECT count(*) FROM rule_sets") == 0


async def test_operators_read_versions_with_state_and_words(desk: Desk, client: TestClient[Any, Any]) -> None:
    await in_force(desk, NEWARK_ONLY)
    await desk.hear(a_draft(a_rule("hold", "later")))
    listed = await (await client.get("/rules")).json()
    states = [(row["version"], row["state"]) for row in listed["versions"]]
    assert (listed["in_force"], states) == (1, [(2, "draft"), (1, "in_force")])
    assert [(row["version"], row["author"]) for row in listed["publications"]] == [(1, "kim")]
    shown = await (await client.get("/rules/2")).json()
    assert shown["words"] == ["For orders of every channel: hold the order until a person lets it go on. Why: because."]
    assert {(row["change"], row["rule"]) for row in shown["changes_in_force"]} == {("removed", "newark only"), ("added", "later")}
    assert [(await client.get(f"/rules/{version}")).status for version in ("0", "1", "3", "x")] == [200, 200, 404, 404]
    assert (await client.get("/rules?before=x")).status == 422
