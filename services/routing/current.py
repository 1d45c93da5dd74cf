"""What planning stands on in this process: settings, tariffs and the locations as they are registered now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from functools import cache
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from services.routing.decide.network import Location, Network
from services.routing.decide.order import Deadlines
from services.routing.decide.planner import Planner
from services.routing.decide.rules import RuleSet, read_rules
from services.routing.decide.tariffs import Tariffs
from services.routing.postal_codes import all_places, find_place
from services.routing.queries import locations, rules
from services.routing.rule_files import example_rules
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import load_tariffs
from shared.config import load_partners
from shared.contracts.routing_rules import RoutingRule
from shared.messaging.message import Connection

__all__ = ["deadlines", "partners", "planner", "planner_with", "rules_of", "settings", "tariffs", "time_zones", "warm_up"]


@cache
def settings() -> PlanningSettings:
    """The planning settings of this process; the service has checked them at start."""
    return PlanningSettings()


@cache
def deadlines() -> Deadlines:
    """How long to wait for whom."""
    return settings().deadlines()


@cache
def tariffs() -> Tariffs:
    """Rate cards and transit days."""
    return load_tariffs(settings().rate_cards, handling_cents=settings().handling_cents)


def warm_up() -> None:
    """Loads the map, so that the first order need not wait for it."""
    all_places()


@dataclass
class _Known:
    """The planner for the network of one revision and one version of the rules."""

    revision: tuple[UUID | None, int]
    planner: Planner


_known: list[_Known] = []


async def planner(connection: Connection) -> Planner:
    """The planner for the locations as they are registered and the rules as they are published now.

    Costs one small query, and a reload after a change of either.
    """
    revision = await locations.planning_revision(connection)
    if not _known or _known[0].revision != revision:
        _known[:] = [_Known(revision, await _load(connection, revision[1]))]
    return _known[0].planner


async def rules_of(connection: Connection, version: int) -> tuple[RoutingRule, ...] | None:
    """The rules of a version as they were written; None when there is none of it."""
    if version == 0:
        return example_rules()
    stored = await rules.read_rules(connection, version)
    return None if stored is None else tuple(RoutingRule.model_validate(rule) for rule in stored)


async def _load(connection: Connection, version: int) -> Planner:
    written = await rules_of(connection, version)
    assert written is not None, "only a version that exists can be in force"
    return planner_with(await _network(connection), read_rules(version, written))


def planner_with(network: Network, rule_set: RuleSet) -> Planner:
    """A planner by the settings of this process."""
    return Planner(network, tariffs(), settings().routing_objective, settings().pick_cents, rule_set)


async def _network(connection: Connection) -> Network:
    registered = []
    for row in await locations.read_locations(connection):
        place = find_place(row["postal_code"], row["country"])
        if place is not None:
            registered.append(
                Location(
                    code=row["location"],
                    name=row["name"],
                    partner=row["partner"],
                    place=place,
                    time_zone=ZoneInfo(row["time_zone"]),
                    order_cutoff=time.fromisoformat(row["order_cutoff"]),
                    hazmat_certified=row["hazmat_certified"],
                    active=row["active"],
                    working_days=frozenset(row["working_days"]),
                    holidays=frozenset(row["holidays"]),
                    capabilities=frozenset(row["capabilities"]),
                )
            )
    return Network(registered)


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA time zone database of this machine."""
    return frozenset(available_timezones())


@cache
def partners() -> frozenset[str] | None:
    """Codes of the 3PLs that have a queue; None without a partners file."""
    file = settings().partners_file
    return None if file is None else frozenset(partner.code for partner in load_partners(file).third_party_logistics)
