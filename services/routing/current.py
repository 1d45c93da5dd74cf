"""What planning stands on in this process: settings, tariffs and the locations as they are registered now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from services.routing.decide.network import Location, Network
from services.routing.decide.order import Deadlines
from services.routing.decide.planner import Planner
from services.routing.decide.tariffs import Tariffs
from services.routing.postal_codes import all_places, find_place
from services.routing.queries import locations
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import card_files, load_tariffs
from shared.config import load_partners
from shared.messaging.message import Connection

__all__ = ["deadlines", "network_of", "partners", "planner", "settings", "tariffs", "time_zones", "warm_up"]


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


async def planner(connection: Connection, now: datetime) -> Planner:
    """The planner for the locations as they are registered now. Costs one small query, and a reload after a registration.

    The rate cards that it plans with are kept in the transaction that first uses them, so that every decision can be made again.
    """
    known = tariffs()
    footing = await locations.read_footing(connection, known.version)
    if not footing["cards_are_kept"]:
        await locations.keep_rate_cards(connection, known.version, card_files(settings().rate_cards), now)
    if not _known or _known[0].revision != footing["revision"]:
        # The locations of just this version: another registration may have been committed since.
        documents = await locations.read_locations_of(connection, footing["version"])
        chosen = settings()
        network = network_of(documents, footing["version"])
        _known[:] = [_Known(footing["revision"], Planner(network, known, chosen.routing_objective, chosen.pick_cents, chosen.split_cents))]
    return _known[0].planner


@dataclass
class _Known:
    """The planner for the network of one revision."""

    revision: UUID | None
    planner: Planner


_known: list[_Known] = []


def network_of(documents: Iterable[Mapping[str, Any]], version: int) -> Network:
    """A version of the network from the documents of its locations. What is not on the map ships nothing."""
    registered = []
    for document in documents:
        place = find_place(document["postal_code"], document["country"])
        if place is not None:
            registered.append(
                Location(
                    code=document["location"],
                    name=document["name"],
                    partner=document["partner"],
                    place=place,
                    time_zone=ZoneInfo(document["time_zone"]),
                    order_cutoff=time.fromisoformat(document["order_cutoff"]),
                    hazmat_certified=document["hazmat_certified"],
                    active=document["active"],
                    working_days=frozenset(document["working_days"]),
                    holidays=frozenset(date.fromisoformat(day) for day in document["holidays"]),
                )
            )
    return Network(registered, version)


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA time zone database of this machine."""
    return frozenset(available_timezones())


@cache
def partners() -> frozenset[str] | None:
    """Codes of the 3PLs that have a queue; None without a partners file."""
    file = settings().partners_file
    return None if file is None else frozenset(partner.code for partner in load_partners(file).third_party_logistics)
