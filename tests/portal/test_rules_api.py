"""Operators' rules about stock, checkout holds and routing by the portal's API: what is asked of the owner, and how it answers."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import new_id
from shared.contracts.holds import (
    StockHoldAnswered,
    StockHoldRejected,
    StockHoldReleaseRequested,
    StockHoldRequested,
)
from shared.contracts.routing_rules import (
    RoutingRulesPublished,
    RoutingRulesPublishRejected,
    RoutingRulesPublishRequested,
    RoutingRulesRejected,
    RoutingRulesSaved,
    RoutingRulesSaveRequested,
)
from shared.contracts.rules import (
    ChannelPoolRejected,
    ChannelPoolRequested,
    ChannelPoolSet,
    StockSafetyRejected,
    StockSafetyRequested,
    StockSafetySet,
)
from tests.portal.stories import NOON
from tests.portal.test_api import problem, request
from tests.portal.test_console import form_to, sign_in, text_of
from tests.portal.world import World

CHANNELS = {"channels": [{"code": "shop"}, {"code": "market"}]}


async def test_safety_stock_is_set_compare_and_set_for_a_sku_or_at_a_location(world: World) -> None:
    for path, location in (("/api/safety-stock/A%2FB", None), ("/api/safety-stock-at/reno/A%2FB", "reno")):
        answer = StockSafetySet(change_id=new_id(), sku="A/B", location=location, old_safety_units=1, new_safety_units=4, changed_at=NOON)
        world.allocation.replies_with("done", answer)
        body = {"safety_units": 4, "expected_safety_units": 1, "reason": "miscounts", "operator": "ada"}
        status, raw = await request(world, "PUT", path, body)
        assert (status, raw["result"], raw["messages"][0]["data"]["new_safety_units"]) == (200, "done", 4)
        command = StockSafetyRequested.model_validate(world.allocation.asked[-1]["data"])
        assert (command.sku, command.location, command.safety_units, command.expected_safety_units) == ("A/B", location, 4, 1)
        assert (command.reason, command.operator) == ("miscounts", "ada")


async def test_a_stale_expectation_is_a_conflict(world: World) -> None:
    refusal = StockSafetyRejected(
        detail="3 are kept back now", change_id=new_id(), sku="A", location=None, reason="stale_expectation", safety_units=3
    )
    world.allocation.replies_with("done", refusal, http_status=409)
    status, raw = await request(world, "PUT", "/api/safety-stock/A", {"safety_units": 4, "expected_safety_units": 1, "reason": "x"})
    assert (status, problem(raw)[0], raw["error"]["message"]) == (409, "stale_expectation", "3 are kept back now")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"safety_units": -1, "reason": "x"}, "safety_units"),
        ({"safety_units": 1.5, "reason": "x"}, "safety_units"),
        ({"safety_units": 1}, "reason"),
        ({"safety_units": 1, "reason": "x", "until": "monday"}, "until"),
    ],
)
async def test_safety_stock_that_cannot_be_is_refused_here(world: World, body: dict[str, Any], field: str) -> None:
    status, raw = await request(world, "PUT", "/api/safety-stock/A", body)
    assert (status, problem(raw)[1]) == (422, [field])
    assert world.allocation.asked == []


async def test_a_rule_of_a_channel_is_set_compare_and_set(world: World) -> None:
    world.sync.shows("/channels", CHANNELS)
    answer = ChannelPoolSet(
        change_id=new_id(), sku="A/B", channel="shop", fence_units=5, cap_units=9, share_percent=None, rule_version=7, changed_at=NOON
    )
    world.allocation.replies_with("done", answer)
    body = {"fence_units": 5, "cap_units": 9, "expected_rule_version": 0, "reason": "campaign", "operator": "ada"}
    status, raw = await request(world, "PUT", "/api/channel-pools/shop/A%2FB", body)
    assert (status, raw["messages"][0]["data"]["rule_version"]) == (200, 7)
    command = ChannelPoolRequested.model_validate(world.allocation.asked[0]["data"])
    assert (command.channel, command.sku, command.fence_units, command.cap_units, command.share_percent) == ("shop", "A/B", 5, 9, None)
    assert (command.expected_rule_version, command.reason, command.operator) == (0, "campaign", "ada")
    refusal = ChannelPoolRejected(
        detail="cap_units: 2 is less", change_id=new_id(), sku="A", channel="shop", reason="invalid", rule_version=7
    )
    world.allocation.replies_with("done", refusal, http_status=409)
    status, raw = await request(world, "PUT", "/api/channel-pools/shop/A", body)
    assert (status, problem(raw)[0]) == (409, "invalid")


async def test_a_fence_for_a_misspelt_channel_is_refused_before_its_units_are_off_sale(world: World) -> None:
    world.sync.shows("/channels", CHANNELS)
    status, raw = await request(world, "PUT", "/api/channel-pools/shpo/A", {"fence_units": 5, "reason": "x"})
    assert (status, problem(raw)[1], raw["error"]["problems"][0]["remedy"]) == (422, ["channel"], "use one of: market, shop")
    assert world.allocation.asked == []


async def test_the_same_idempotency_key_is_the_same_change(world: World) -> None:
    world.sync.shows("/channels", CHANNELS)
    world.allocation.replies_with("done")
    for _ in range(2):
        await request(world, "PUT", "/api/channel-pools/shop/A", {"cap_units": 5, "reason": "x"}, Idempotency_Key="k")
    await request(world, "PUT", "/api/channel-pools/market/A", {"cap_units": 5, "reason": "x"}, Idempotency_Key="k")
    first, again, other = (envelope["data"]["change_id"] for envelope in world.allocation.asked)
    assert first == again != other


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/channel-pools?channel=shop&limit=5", "/channel-pools?channel=shop&limit=5"),
        ("/api/adjustments?sku=A%2FB&location=reno", "/adjustments?sku=A/B&location=reno&limit=100"),
        ("/api/rule-changes?sku=A", "/rule-changes?sku=A&limit=100"),
        ("/api/holds?channel=shop", "/holds?channel=shop&limit=100"),
    ],
)
async def test_what_stands_and_who_changed_it_is_allocations_own_list(world: World, path: str, asked: str) -> None:
    world.allocation.shows(asked.partition("?")[0], {"found": [1]})
    assert await request(world, "GET", path) == (200, {"found": [1]})
    assert world.allocation.paths[-1].replace("%2F", "/") == f"GET {asked}"


async def test_a_list_with_a_wrong_parameter_is_refused(world: World) -> None:
    status, raw = await request(world, "GET", "/api/adjustments?limit=0")
    assert (status, problem(raw)[1]) == (422, ["limit"])


async def test_a_hold_is_asked_for_read_and_released(world: World) -> None:
    hold_id = new_id()
    held = {"hold_id": hold_id, "channel": "shop", "outcome": "held", "lines": [{"sku": "A", "asked": 2, "held": 2}]}
    world.allocation.replies_with("done", StockHoldAnswered.model_validate({**held, "expires_at": NOON, "answered_at": NOON}))
    body = {"hold_id": str(hold_id), "channel": "shop", "lines": [{"sku": "A", "quantity": 2}], "ttl_seconds": 60}
    status, raw = await request(world, "POST", "/api/holds", body)
    assert (status, raw["id"], raw["messages"][0]["data"]["outcome"]) == (200, str(hold_id), "held")
    assert StockHoldRequested.model_validate(world.allocation.asked[0]["data"]).ttl_seconds == 60
    world.allocation.shows(f"/holds/{hold_id}", {"hold_id": str(hold_id), "channel": "shop"})
    assert (await request(world, "GET", f"/api/holds/{hold_id}"))[1]["channel"] == "shop"
    status, raw = await request(world, "POST", f"/api/holds/{hold_id}/release")
    assert (status, StockHoldReleaseRequested.model_validate(world.allocation.asked[1]["data"]).channel) == (200, "shop")


async def test_a_hold_that_is_refused_says_why(world: World) -> None:
    refusal = StockHoldRejected(detail="A is a kit", hold_id=new_id(), channel="shop", reason="kit", field="lines.0.sku")
    world.allocation.replies_with("done", refusal, http_status=409)
    body = {"hold_id": str(new_id()), "channel": "shop", "lines": [{"sku": "A", "quantity": 2}]}
    status, raw = await request(world, "POST", "/api/holds", body)
    assert (status, problem(raw)) == (409, ("kit", ["lines.0.sku"]))
    status, raw = await request(world, "POST", f"/api/holds/{new_id()}/release")
    assert (status, problem(raw)[0]) == (404, "not_found")
    status, raw = await request(world, "POST", "/api/holds", {**body, "ttl_seconds": 5})
    assert (status, problem(raw)[1]) == (422, ["ttl_seconds"])


async def test_a_hold_for_a_misspelt_channel_keeps_nothing_from_anybody(world: World) -> None:
    body = {"hold_id": str(new_id()), "channel": "shpo", "lines": [{"sku": "A", "quantity": 2}]}
    status, raw = await request(world, "POST", "/api/holds", body)
    assert (status, problem(raw)[1]) == (422, ["channel"])
    assert world.allocation.asked == []


HOLD = {"name": "look", "why": "dear", "action": "hold", "channels": ["shop"], "when": "order.value_cents > 1"}


async def test_a_draft_of_routing_rules_is_saved_or_refused_fault_by_fault(world: World) -> None:
    world.routing.replies_with("done", RoutingRulesSaved(request_id=new_id(), version=4, saved_at=NOON))
    status, raw = await request(world, "POST", "/api/routing-rules", {"rules": [HOLD], "reason": "spring", "operator": "ada"})
    assert (status, raw["messages"][0]["data"]["version"]) == (201, 4)
    command = RoutingRulesSaveRequested.model_validate(world.routing.asked[-1]["data"])
    assert (command.rules[0].when, command.reason, command.operator) == ("order.value_cents > 1", "spring", "ada")
    fault = FieldProblem(field="rules.0.when", problem="rule 'look': undeclared", remedy="did you mean order.units?")
    world.routing.replies_with(
        "done", RoutingRulesRejected(request_id=new_id(), reason="invalid", problems=[fault], detail="rules: 1 fault")
    )
    status, raw = await request(world, "POST", "/api/routing-rules", {"rules": [HOLD], "reason": "spring"})
    assert (status, problem(raw)) == (409, ("invalid", ["rules.0.when"]))
    for wrong, field in ((HOLD | {"action": "ban"}, "rules.0.action"), (HOLD | {"then": "x"}, "rules.0.then")):
        status, raw = await request(world, "POST", "/api/routing-rules", {"rules": [wrong], "reason": "x"})
        assert (status, problem(raw)[1]) == (422, [field])
    misspelt = [HOLD, HOLD | {"name": "other", "channels": ["shop", "shpo"]}]
    for path, more in (("", {"reason": "x"}), ("/try", {"order_id": str(new_id())})):
        status, raw = await request(world, "POST", f"/api/routing-rules{path}", {"rules": misspelt, **more})
        assert (status, problem(raw)[1]) == (422, ["rules.1.channels.1"])
        assert raw["error"]["problems"][0]["problem"] == "rule 'other': there is no channel 'shpo'"


async def test_routing_rules_are_published_compare_and_set_read_and_tried(world: World) -> None:
    done = RoutingRulesPublished(request_id=new_id(), version=3, replaced_version=4, change="rolled_back", published_at=NOON)
    world.routing.replies_with("done", done)
    status, raw = await request(world, "POST", "/api/routing-rules/3/publish", {"expected_version": 4, "reason": "undo"})
    assert (status, raw["messages"][0]["data"]["change"]) == (200, "rolled_back")
    command = RoutingRulesPublishRequested.model_validate(world.routing.asked[-1]["data"])
    assert (command.version, command.expected_version, command.reason) == (3, 4, "undo")
    stale = RoutingRulesPublishRejected(
        request_id=new_id(),
        version=3,
        reason="stale_expectation",
        in_force=5,
        detail="expected_version: 4 was expected, 5 is in force: look",
    )
    world.routing.replies_with("done", stale)
    status, raw = await request(world, "POST", "/api/routing-rules/3/publish", {"expected_version": 4, "reason": "undo"})
    assert (status, problem(raw)) == (409, ("stale_expectation", ["expected_version"]))
    world.routing.shows("/rules/3", {"version": 3, "words": ["hold"]})
    assert (await request(world, "GET", "/api/routing-rules/3"))[1]["words"] == ["hold"]
    status, raw = await request(world, "GET", "/api/routing-rules/9")
    assert (status, problem(raw)[1]) == (404, ["version"])
    world.routing.shows("/rules/try", {"same": True}, method="POST")
    order_id = str(new_id())
    status, raw = await request(world, "POST", "/api/routing-rules/try", {"order_id": order_id, "version": 3})
    assert (status, raw["same"], world.routing.asked[-1]["order_id"]) == (200, True, order_id)


async def test_the_console_shows_versions_words_and_changes_and_publishes_what_the_operator_saw(world: World) -> None:
    await sign_in(world)
    saved = {"version": 2, "state": "draft", "rules": 1, "reason": "<spring>", "author": "kim", "saved_at": NOON.isoformat()}
    put = {"version": 1, "replaced_version": 0, "change": "published", "reason": "first", "author": "kim", "published_at": NOON.isoformat()}
    world.routing.shows("/rules", {"in_force": 1, "versions": [saved], "publications": [put], "next_before": None})
    page = await text_of(world, "/console/rules")
    assert "&lt;spring&gt;" in page
    assert "Published version 1, replacing 0: first" in page
    changes = [{"change": "changed", "rule": "look", "old": "hold <all>", "new": "hold some"}]
    rule_set = {"version": 2, "in_force": 1, "reason": "spring", "author": "kim", "saved_at": NOON.isoformat(), "rules": [HOLD]}
    world.routing.shows("/rules/2", {**rule_set, "words": ["hold some"], "broken": {}, "changes_in_force": changes})
    page = await text_of(world, "/console/rules/2")
    assert "<del>hold &lt;all&gt;</del><br><ins>hold some</ins>" in page
    fields = form_to(page, "/console/rules/2/publish") | {"reason": "tried it"}
    done = RoutingRulesPublished(request_id=new_id(), version=2, replaced_version=1, change="published", published_at=NOON)
    world.routing.replies_with("done", done)
    answer = await world.client.post("/console/rules/2/publish", data=fields)
    assert "Version 2 is in force; it replaces version 1." in await answer.text()
    command = RoutingRulesPublishRequested.model_validate(world.routing.asked[-1]["data"])
    assert (command.version, command.expected_version, command.reason) == (2, 1, "tried it")
    assert (await world.client.post("/console/rules/2/publish", data=fields | {"token": "guessed"})).status == 403
    await text_of(world, "/console/rules/9", status=404)
