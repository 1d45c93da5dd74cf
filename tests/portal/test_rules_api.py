"""Operators' rules about stock and checkout holds by the portal's API: what is asked of allocation, and how it answers."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts.envelope import new_id
from shared.contracts.holds import (
    StockHoldAnswered,
    StockHoldRejected,
    StockHoldReleaseRequested,
    StockHoldRequested,
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
