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
from services.routing.decide.tariffs import Tariffs
from services.routing.postal_codes import all_places, find_place
from services.routing.queries import locations
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import load_tariffs
from shared.config import load_partners
from shared.messaging.message import Connection

__all__ = ["deadlines", "partners", "planner", "settings", "tariffs", "time_zones", "warm_up"]


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
    """The planner for the network of one revision."""

    revision: UUID | None
    planner: Planner


_known: list[_Known] = []


async def planner(connection: Connection) -> Planner:
    """The planner for the locations as they are registered now. Costs one small query, and a reload after a registration."""
    revision = await locations.network_revision(connection)
    if not _known or _known[0].revision != revision:
        _known[:] = [_Known(revision, await _load(connection))]
    return _known[0].planner


async def _load(connection: Connection) -> Planner:
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
                )
            )
    known = settings()
    return Planner(Network(registered), tariffs(), known.routing_objective, known.pick_cents, known.split_cents)


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA time zone database of this machine."""
    return frozenset(available_timezones())


@cache
def partners() -> frozenset[str] | None:
    """Codes of the 3PLs that have a queue; None without a partners file."""
    file = settings().partners_file
    return None if file is None else frozenset(partner.code for partner in load_partners(file).third_party_logistics)
