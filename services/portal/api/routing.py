"""Operations on the rules by which orders are routed. Routing decides."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import PublishRoutingRules, SaveRoutingRules, TryRoutingRules
from services.portal.api.naming import known_channels, one_of_channels
from services.portal.api.operation import Call, Problem, not_found
from services.portal.api.outcomes import shown, told
from shared.contracts.channels import FieldProblem
from shared.contracts.routing_rules import RoutingRule, RoutingRulesPublishRequested, RoutingRulesSaveRequested

MOST_PROBLEMS = 100
"""Faults that are told at once; whoever corrects these sees the rest."""


async def list_routing_rules(call: Call) -> web.StreamResponse:
    """Versions of the routing rules, newest first, as ``draft``, ``in_force`` or ``replaced``, and who put what in force when and why.
    Version 0, no rules, is in force until another is published; version 1 is an example to start from."""
    return shown(await neighbours.list_routing_rules(call.environment, call.values["before"]))


async def read_routing_rules(call: Call) -> web.StreamResponse:
    """One version: its rules as written and in words, and what they change of the rules in force."""
    reply = await neighbours.read_routing_rules(call.environment, call.values["version"])
    if reply.status == 404:
        raise not_found("version of the routing rules")
    return shown(reply)


async def save_routing_rules(call: Call) -> web.StreamResponse:
    """Saves a draft as a new version; orders are routed by it once it is published. 409 ``invalid`` with a problem per fault, each naming
    the rule, the field and the way out."""
    wanted: SaveRoutingRules = call.body
    await _want_channels(call, wanted.rules)
    request_id = call.request_id("routing rules")
    command = RoutingRulesSaveRequested(request_id=request_id, rules=wanted.rules, reason=wanted.reason, operator=wanted.operator)
    return await told(call, "routing", command, event_id=request_id, status=201)


async def publish_routing_rules(call: Call) -> web.StreamResponse:
    """Puts a version in force for all orders that are planned from now on; an earlier version is a rollback. Compare-and-set: 409
    ``stale_expectation`` when another version is in force than you saw."""
    wanted: PublishRoutingRules = call.body
    request_id = call.request_id("publish routing rules", call.values["version"])
    command = RoutingRulesPublishRequested(
        request_id=request_id,
        version=call.values["version"],
        expected_version=wanted.expected_version,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return await told(call, "routing", command, event_id=request_id)


async def try_routing_rules(call: Call) -> web.StreamResponse:
    """How one order would ship by a draft, beside how it would ship by the rules in force, with both decision records. Changes nothing."""
    wanted: TryRoutingRules = call.body
    await _want_channels(call, wanted.rules or ())
    return shown(await neighbours.try_routing_rules(call.environment, wanted.model_dump_json().encode()))


async def _want_channels(call: Call, rules: Sequence[RoutingRule]) -> None:
    """A rule for a misspelt channel would be about no order.

    Raises:
        Problem: there is no such channel (422); every place is named with its rule.
    """
    named = [
        (f"rules.{number}.channels.{place}", rule.name, channel)
        for number, rule in enumerate(rules)
        for place, channel in enumerate(rule.channels)
    ]
    if not named:
        return
    known = await known_channels(call)
    problems = [
        FieldProblem(field=field, problem=f"rule {rule!r}: there is no channel {channel!r}", remedy=one_of_channels(known))
        for field, rule, channel in named
        if channel not in known
    ]
    if problems:
        raise Problem(422, "invalid", f"{problems[0].field} is wrong", problems[:MOST_PROBLEMS])
