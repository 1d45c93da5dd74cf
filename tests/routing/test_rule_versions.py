"""Versions of the routing rules on a real database: drafts, publishing, rolling back, and what they do to orders."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID

from services.routing.queries.rules import read_rules_in_force
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentPlanned, FulfillmentRequested, OrderNeedsAttention
from shared.contracts.routing_rules import (
    RoutingRulesPublished,
    RoutingRulesPublishRejected,
    RoutingRulesPublishRequested,
    RoutingRulesRejected,
    RoutingRulesSaved,
    RoutingRulesSaveRequested,
)
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import NEWARK, PATIENCE, RENO, a_line, an_order, reserved
from tests.routing.test_handlers import AMPLE
from tests.routing.test_rules import MIGRATION, a_rule


def a_draft(*rules: Any, request_id: UUID | None = None) -> RoutingRulesSaveRequested:
    return RoutingRulesSaveRequested(request_id=request_id or new_id(), rules=list(rules), reason="spring", operator="kim")


def publishing(version: int, expected: int, request_id: UUID | None = None) -> RoutingRulesPublishRequested:
    return RoutingRulesPublishRequested(
        request_id=request_id or new_id(), version=version, expected_version=expected, reason="tried it", operator="kim"
    )


async def in_force(desk: Desk, *rules: Any) -> int:
    """Saves and publishes."""
    saved = (await desk.hear(a_draft(*rules))).one(RoutingRulesSaved)
    was = await read_rules_in_force(desk.connection)
    (await desk.hear(publishing(saved.version, was))).one(RoutingRulesPublished)
    return saved.version


NEWARK_ONLY = a_rule("require", "newark only", ranking=["newark"])


async def test_a_version_is_saved_published_replaced_and_rolled_back_to_with_its_history(desk: Desk) -> None:
    async def ships_from() -> str:
        return (await desk.plan(an_order(), AMPLE)).fulfillments[0].location

    assert await ships_from() == "reno"
    draft = a_draft(NEWARK_ONLY)
    saved = (await desk.hear(draft)).one(RoutingRulesSaved)
    assert await ships_from() == "reno", "a draft routes nothing"
    assert (await desk.hear(draft)).one(RoutingRulesSaved) == saved, "told twice, saved once"
    published = (await desk.hear(publishing(saved.version, 0))).one(RoutingRulesPublished)
    assert (published.version, published.replaced_version, published.change) == (1, 0, "published")
    assert await ships_from() == "newark"
    back = publishing(0, 1)
    told = (await desk.hear(back)).one(RoutingRulesPublished)
    assert (told.change, await ships_from()) == ("rolled_back", "reno")
    assert (await desk.hear(back)).one(RoutingRulesPublished) == told, "told twice, done once"
    rows = await desk.connection.fetch("SELECT version, replaced_version, change, reason, author FROM rule_publications ORDER BY position")
    assert [tuple(row) for row in rows] == [(1, 0, "published", "tried it", "kim"), (0, 1, "rolled_back", "tried it", "kim")]


async def test_the_example_that_ships_routes_nothing_until_it_is_published(desk: Desk, databases: Databases) -> None:
    """The customer is in Reno; the bulk centre is Newark."""
    shipped = re.search(r"^INSERT INTO rule_sets .*?^\);$", MIGRATION.read_text(), re.MULTILINE | re.DOTALL)
    assert shipped is not None
    await (await databases.connect_as_admin()).execute("SET search_path TO routing; " + shipped[0])
    await desk.register(NEWARK.model_copy(update={"capabilities": ["bulk"]}))
    bulk = {"SKU-1": {"reno": 900, "newark": 900}}

    async def decided() -> tuple[str, Any]:
        placed = an_order(a_line(quantity=501), segment="wholesale")
        plan = await desk.plan(placed, bulk)
        record = await desk.connection.fetchval("SELECT record FROM decisions WHERE order_id = $1", placed.order_id)
        return plan.fulfillments[0].location, (record["rules"]["version"], record["rules"]["fired"])

    assert await decided() == ("reno", (0, []))
    assert (await desk.hear(publishing(1, 0))).one(RoutingRulesPublished).change == "published"
    assert await decided() == ("newark", (1, ["wholesale-bulk", "wholesale-cost"]))


async def test_a_faulty_draft_and_an_unknown_or_stale_version_are_refused_and_change_nothing(desk: Desk) -> None:
    refused = (await desk.hear(a_draft(a_rule("pin", "nowhere", ranking=["atlantis"])))).one(RoutingRulesRejected)
    assert [problem.field for problem in refused.problems] == ["rules.0.ranking"]
    for wanted, reason in ((publishing(1, 0), "unknown_version"), (publishing(0, 3), "stale_expectation")):
        assert (await desk.hear(wanted)).one(RoutingRulesPublishRejected).reason == reason
    assert await desk.connection.fetchval("SELECT (SELECT count(*) FROM rule_sets) + (SELECT count(*) FROM rule_publications)") == 0


async def test_of_two_who_publish_at_once_one_is_told_that_the_other_was_first(desk: Desk, databases: Databases) -> None:
    await desk.hear(a_draft(NEWARK_ONLY), a_draft())
    other = Desk(await databases.connect("routing"))
    heard = await asyncio.gather(desk.hear(publishing(1, 0)), other.hear(publishing(2, 0)))
    answers = [message for found in heard for message in (*found.of(RoutingRulesPublished), *found.of(RoutingRulesPublishRejected))]
    winner = next(answer for answer in answers if isinstance(answer, RoutingRulesPublished))
    loser = next(answer for answer in answers if isinstance(answer, RoutingRulesPublishRejected))
    assert (loser.reason, loser.in_force) == ("stale_expectation", winner.version)
    assert await desk.connection.fetchval("SELECT version FROM rules_in_force") == winner.version


async def test_an_order_that_no_location_may_ship_is_shown_with_the_rule_at_each(desk: Desk) -> None:
    version = await in_force(desk, NEWARK_ONLY, a_rule("forbid", "newark is closed", ranking=["newark"]))
    await desk.register(*(RENO.model_copy(update={"location": f"west-{number}", "active": number > 17}) for number in range(20)))
    placed = an_order()
    await desk.hear(placed)
    attention = (await desk.hear(reserved(placed, AMPLE))).one(OrderNeedsAttention)
    assert attention.reason == "no_location_can_ship"
    assert "reno: excluded by rule 'newark only'" in attention.detail
    assert "newark: excluded by rule 'newark is closed'" in attention.detail
    by_rule, closed = attention.detail.count(": excluded by rule"), attention.detail.count(": inactive")
    assert (by_rule, attention.detail.rindex(": excluded by rule") < attention.detail.index(": inactive")) == (4, True)
    assert attention.detail.endswith(f" and {18 - closed} more); change that, then retry the order")
    record = await desk.connection.fetchval("SELECT record FROM decisions WHERE order_id = $1", placed.order_id)
    assert (record["rules"]["version"], record["rules"]["fired"]) == (version, ["newark only", "newark is closed"])


async def test_a_held_order_waits_for_a_person_who_lets_it_go_once_and_for_all(desk: Desk) -> None:
    await in_force(desk, a_rule("hold", "check it", when="order.units >= 2"))
    placed = an_order()
    await desk.hear(placed)
    attention = (await desk.hear(reserved(placed, AMPLE))).one(OrderNeedsAttention)
    assert (attention.reason, "rule 'check it' holds it: because" in attention.detail) == ("held_by_rule", True)
    assert (await desk.wake()).of(FulfillmentPlanned) == [], "time alone does not let it go"
    heard = await desk.retry(placed.order_id)
    assert len(heard.one(FulfillmentPlanned).fulfillments) == 1
    assert (await desk.order(placed.order_id))["holds_lifted"] is True


async def test_what_rules_tell_the_packer_stands_on_the_pick_list_also_when_it_is_sent_again(desk: Desk) -> None:
    await in_force(desk, a_rule("pack", "stores", segments=["retail"], instructions=["two labels", "no void fill"]))
    placed = an_order(a_line(), segment="retail")
    plan = await desk.plan(placed, AMPLE)
    handed = await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))
    assert handed.one(FulfillmentRequested).packing_requirements == ["two labels", "no void fill"]
    again = await desk.wake(after=PATIENCE.answer * 1.01)
    assert again.one(FulfillmentRequested).packing_requirements == ["two labels", "no void fill"]
