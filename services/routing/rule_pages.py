"""What operators read of the routing rules, and the trial of a draft on one order, which changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field, ValidationError

from services.routing import current
from services.routing.book import open_for_reading
from services.routing.decide.planner import Planner
from services.routing.decide.planning import as_if_new
from services.routing.decide.plans import Plan
from services.routing.decide.publishing import differences, in_words
from services.routing.decide.rules import check_rules, read_rules
from services.routing.postal_codes import find_place
from services.routing.queries import rules as sql
from shared.contracts.base import Code, Part, Sku, UnitCount
from shared.contracts.channels import FieldProblem
from shared.contracts.routing_rules import RoutingRule, RuleSetVersion
from shared.http import error_response
from shared.json_document import model_in
from shared.messaging.message import Connection
from shared.messaging.reading import problems_of
from shared.service import Environment

VERSIONS_SHOWN = 100
PUBLICATIONS_SHOWN = 100


class TryRules(Part):
    """A trial on one order: saved rules by ``version``, or ``rules`` that are not saved yet; on this stock, or on what allocation told."""

    order_id: UUID
    version: RuleSetVersion | None = None
    rules: Annotated[list[RoutingRule], Field(max_length=1_000)] | None = None
    stock: dict[Sku, dict[Code, UnitCount]] | None = None


def _unknown_version() -> web.Response:
    problem = FieldProblem(field="version", problem="no such version was saved", remedy="GET /api/routing-rules lists the versions")
    return error_response(404, "not_found", "there is no such version of the rules", [problem])


def _version(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def list_rules(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /rules?before=``: versions, newest first, which one is in force, and who put what in force when and why."""
    given = request.query.get("before") or None
    before = None if given is None else _version(given)
    if given is not None and before is None:
        problem = FieldProblem(field="before", problem=f"{given[:40]!r} is no version", remedy="next_before of the page before")
        return error_response(422, "invalid_query", "before is wrong", [problem])
    async with environment.database.acquire(timeout=10) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        in_force = await sql.read_rules_in_force(connection)
        rows = await sql.list_rule_sets(connection, before, VERSIONS_SHOWN)
        publications = await sql.list_publications(connection, PUBLICATIONS_SHOWN)
    versions = [
        {
            "version": row["version"],
            "state": _state(row["version"], in_force, row["published_at"] is not None),
            "rules": row["rules"],
            "reason": row["reason"],
            "author": row["author"],
            "saved_at": row["saved_at"].isoformat(),
        }
        for row in rows
    ]
    history = [dict(row) | {"published_at": row["published_at"].isoformat()} for row in publications]
    following = rows[-1]["version"] if len(rows) == VERSIONS_SHOWN else None
    return web.json_response({"in_force": in_force, "versions": versions, "publications": history, "next_before": following})


def _state(version: int, in_force: int, was_published: bool) -> str:
    if version == in_force:
        return "in_force"
    return "replaced" if was_published or version == 0 else "draft"


async def read_rules_of_version(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /rules/{version}``: its rules as written and in words, and what it changes of those in force. Version 0 is no rules."""
    version = _version(request.match_info["version"])
    if version is None:
        return _unknown_version()
    async with environment.database.acquire(timeout=10) as connection:
        written = await current.rules_of(connection, version)
        in_force = await sql.read_rules_in_force(connection)
        applied = await current.rules_of(connection, in_force)
        row = await sql.read_rule_set(connection, version)
    if written is None or applied is None:
        return _unknown_version()
    broken = {rule.name: rule.broken for rule in read_rules(version, written).rules if rule.broken is not None}
    return web.json_response(
        {
            "version": version,
            "in_force": in_force,
            "reason": row["reason"] if row is not None else "no rules: the cheapest plan that keeps the promise",
            "author": row["author"] if row is not None else "ordermesh",
            "saved_at": row["saved_at"].isoformat() if row is not None else None,
            "rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in written],
            "words": [in_words(rule) for rule in written],
            "broken": broken,
            "changes_in_force": differences(applied, written),
        }
    )


async def try_rules(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /rules/try``: how an order would ship by a draft and by the rules in force, as if it were placed now with all that its
    customer still expects. Nothing is changed and nobody is told."""
    try:
        wanted = model_in(TryRules, await request.read())
    except ValidationError as error:
        return error_response(422, "invalid", "the trial is wrong", problems_of(error, "TryRoutingRules in /openapi.json"))
    async with environment.database.acquire(timeout=10) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return await _tried(connection, wanted, environment)


async def _tried(connection: Connection, wanted: TryRules, environment: Environment) -> web.Response:
    planner = await current.planner(connection)
    rules = wanted.rules
    if rules is None and wanted.version is not None:
        stored = await current.rules_of(connection, wanted.version)
        rules = None if stored is None else list(stored)
        if rules is None:
            return _unknown_version()
    if rules is None or (wanted.rules is not None and wanted.version is not None):
        problem = FieldProblem(field="version", problem="a trial is of one set of rules", remedy="give version or rules, one of them")
        return error_response(422, "invalid", "the trial is wrong", [problem])
    codes = {location.code for location in planner.network.locations}
    if wanted.rules is not None:
        problems = check_rules(rules, codes, planner.network.locations)
        if problems:
            return error_response(422, "invalid", "the rules have faults", problems[:100])
    order = await open_for_reading(connection, wanted.order_id)
    if order is None:
        return error_response(404, "not_found", "there is no such order here")
    problems = _unknown_stock(wanted.stock or {}, [line.sku for line in order.lines], codes)
    if problems:
        return error_response(422, "invalid", "the stock of the trial is wrong", problems[:100])
    place = find_place(order.ship_to["postal_code"], order.ship_to["country"])
    if place is None:
        return error_response(409, "unknown_postal_code", "the order's postal code is not on the map; edit its address")
    now = environment.now()
    tried = current.planner_with(planner.network, read_rules(wanted.version if wanted.version is not None else -1, rules))
    openings = await current.openings(connection, planner.network, now)
    skus = {line.sku for line in order.lines}
    tried = await current.looking_ahead(connection, tried, skus, now)
    in_force = await current.looking_ahead(connection, planner, skus, now)
    stood_on, by_draft = as_if_new(order, place, tried, wanted.stock, now, openings)
    _, by_force = as_if_new(order, place, in_force, wanted.stock, now, openings)
    return web.json_response(
        {
            "order_id": str(wanted.order_id),
            "stock": stood_on,
            "tried": _shown(by_draft, tried),
            "in_force": _shown(by_force, planner),
            "same": by_draft.parcels == by_force.parcels and by_draft.held == by_force.held,
        }
    )


def _unknown_stock(stock: Mapping[str, Collection[str]], skus: Sequence[str], codes: Collection[str]) -> list[FieldProblem]:
    """Stock that no plan of this order could take: misspelt, it would look as if the rules left no location."""
    problems = []
    for sku, places in stock.items():
        if sku not in skus:
            remedy = f"leave it out, or name one of {', '.join(dict.fromkeys(skus))}"
            problems.append(FieldProblem(field=f"stock.{sku}"[:120], problem="is not in this order", remedy=remedy[:500]))
        for code in places:
            if code not in codes:
                remedy = "leave it out, or register the location first: GET /api/locations lists them"
                problems.append(FieldProblem(field=f"stock.{sku}.{code}"[:120], problem="is no location", remedy=remedy))
    return problems


def _shown(plan: Plan, planner: Planner) -> dict[str, Any]:
    version = None if planner.rules is None or planner.rules.version < 0 else planner.rules.version
    record = dict(plan.record)
    if "rules" in record:
        record["rules"] = record["rules"] | {"version": version}
    return {
        "version": version,
        "cost_cents": plan.cost_cents,
        "late": plan.late,
        "unplaced": dict(plan.unplaced),
        "held_by": None if plan.held is None else plan.held[0],
        "instructions": list(plan.instructions),
        "record": record,
    }
