"""What planning stands on in this process: settings, tariffs and the locations as they are registered now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from services.routing.decide.capacity import Capacity, Openings, SlotKey
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.foresight import StockPrices
from services.routing.decide.geography import Place
from services.routing.decide.network import Location, Network
from services.routing.decide.planner import Planner
from services.routing.decide.rules import RuleSet, read_rules
from services.routing.decide.service_prices import ServicePrices
from services.routing.decide.tariffs import SERVICES, Tariffs
from services.routing.postal_codes import all_places, find_place
from services.routing.queries import capacity, locations, prices, rules
from services.routing.service_price_files import load_service_prices
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import card_files, restore_tariffs
from shared.config import load_partners, load_settings
from shared.contracts.routing_rules import RoutingRule
from shared.messaging.message import Connection

__all__ = [
    "are_stale",
    "closed_locations",
    "deadlines",
    "looking_ahead",
    "network_of",
    "openings",
    "partners",
    "planner",
    "planner_with",
    "rate_cards",
    "rule_set_of",
    "rules_of",
    "service_prices",
    "settings",
    "stock_prices",
    "tariffs",
    "time_zones",
    "warm_up",
]


@cache
def settings() -> PlanningSettings:
    """The planning settings of this process; the service has checked them at start."""
    return load_settings(PlanningSettings)


@cache
def deadlines() -> Deadlines:
    """How long to wait for whom."""
    return settings().deadlines()


@cache
def service_prices() -> ServicePrices:
    """What service levels cost customers; empty where the merchant has not said."""
    file = settings().service_prices
    return {} if file is None else load_service_prices(file)


class RateCards(NamedTuple):
    """Rate cards and transit days, and the files that they were read from."""

    tariffs: Tariffs
    files: Mapping[str, str]


@cache
def rate_cards() -> RateCards:
    """Those that were in their folder when this process started; what happens to the folder later changes nothing."""
    files = card_files(settings().rate_cards)
    return RateCards(restore_tariffs(files, handling_cents=settings().handling_cents, carrier=settings().carrier), files)


def tariffs() -> Tariffs:
    """Rate cards and transit days."""
    return rate_cards().tariffs


def warm_up() -> None:
    """Loads the rate cards, and the map, so that the first order need not wait for it."""
    rate_cards()
    all_places()
    find_place("", "")


async def planner(connection: Connection, *, keep_at: datetime | None = None) -> Planner:
    """The planner for the locations as they are registered and the rules as they are published now.

    Costs one small query, and a reload after a change of either.

    Args:
        connection: a transaction, or at least one snapshot.
        keep_at: the time of who records what is planned: the rate cards are kept with it, so that every decision can be made again.
    """
    cards = tariffs()
    footing = await locations.read_footing(connection, cards.version)
    if keep_at is not None and not footing["cards_are_kept"]:
        await locations.keep_rate_cards(connection, cards.version, rate_cards().files, keep_at)
    revision = (footing["revision"], footing["rules"])
    if not _known or _known[0].revision != revision:
        # The locations of just this version: another registration may have been committed since.
        network = network_of(await locations.read_locations_of(connection, footing["version"]), footing["version"])
        _known[:] = [_Known(revision, planner_with(network, await rule_set_of(connection, footing["rules"])))]
    return _known[0].planner


async def closed_locations(connection: Connection) -> frozenset[str]:
    """Codes of the locations that ship nothing now."""
    network = (await planner(connection)).network
    return frozenset(location.code for location in network.locations if not location.active)


async def openings(
    connection: Connection, network: Network, now: datetime, changes: Mapping[SlotKey, int] | None = None
) -> Openings | None:
    """The free slots of the locations that limit their work; None where none does, which costs nothing.

    Args:
        connection: a transaction.
        network: the locations.
        now: the time.
        changes: slots that this transaction takes (above zero) and gives back (below it).
    """
    if not network.limited:
        return None
    taken = await capacity.read_slots(connection, list(network.limited), (now - timedelta(days=1)).date())
    for key, change in (changes or {}).items():
        taken[key] = taken.get(key, 0) + change
    return Openings(network.limited, taken, now)


async def looking_ahead(connection: Connection, planner: Planner, skus: Collection[str], now: datetime) -> Planner:
    """The planner with the prices of these SKUs, where it or a rule looks ahead; else the planner, without a question."""
    return replace(planner, stock_prices=await stock_prices(connection, skus, now)) if planner.looks_ahead else planner


async def stock_prices(connection: Connection, skus: Collection[str] | None, now: datetime | None) -> StockPrices | None:
    """What units of these SKUs are worth; None before that was ever worked out.

    Args:
        connection: where to read.
        skus: the SKUs; None: all.
        now: at which they must not be too old; None: however old they are.
    """
    rows = await prices.read_prices(connection, None if skus is None else sorted(skus))
    version, computed_at = rows[0]["version"], rows[0]["computed_at"]
    if computed_at is None:
        return None
    if now is not None and are_stale(computed_at, now):
        return StockPrices(version, computed_at, {}, stale=True)
    return StockPrices(version, computed_at, {row["sku"]: row["cents"] for row in rows if row["sku"] is not None})


def are_stale(computed_at: datetime, now: datetime) -> bool:
    """Whether prices are too old to be used."""
    return now - computed_at > timedelta(seconds=settings().stock_prices_oldest_seconds)


@dataclass
class _Known:
    """The planner for the network of one revision and one version of the rules."""

    revision: tuple[UUID | None, int]
    planner: Planner


_known: list[_Known] = []


async def rules_of(connection: Connection, version: int) -> tuple[RoutingRule, ...] | None:
    """The rules of a version as they were written, none for version 0; None when there is no such version."""
    if version == 0:
        return ()
    stored = await rules.read_rules(connection, version)
    return None if stored is None else tuple(RoutingRule.model_validate(rule) for rule in stored)


async def rule_set_of(connection: Connection, version: int) -> RuleSet:
    """A version that was in force, ready to be applied."""
    written = await rules_of(connection, version)
    assert written is not None, "only a version that exists can be in force"
    return read_rules(version, written)


def planner_with(network: Network, rule_set: RuleSet) -> Planner:
    """A planner by the settings of this process."""
    chosen = settings()
    return Planner(network, tariffs(), chosen.routing_objective, chosen.pick_cents, chosen.split_cents, rule_set, chosen.capacity_cents)


def network_of(documents: Iterable[Mapping[str, Any]], version: int) -> Network:
    """A version of the network from the documents of its locations. What is on no map ships nothing.

    A version from before it was kept where locations lie has them where the map has them now.
    """
    registered: list[Location] = []
    off_map: list[str] = []
    for document in documents:
        if "place" not in document:
            place = find_place(document["postal_code"], document["country"])
        else:
            place = None if document["place"] is None else Place(*document["place"])
        if place is None:
            off_map.append(document["location"])
        else:
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
                    # Versions from before locations had any do not name them.
                    capabilities=frozenset(document.get("capabilities", ())),
                    capacity=_capacity_of(document),
                    # Versions from before locations named them offered all.
                    services=tuple(service for service in SERVICES if service in document.get("services", SERVICES)),
                    # Versions from before there were several carriers do not name them.
                    carriers=frozenset(document.get("carriers", ())),
                )
            )
    return Network(registered, version, tuple(off_map))


def _capacity_of(document: Mapping[str, Any]) -> Capacity | None:
    # Versions from before locations had one do not name it.
    per_day, per_hour = document.get("fulfillments_per_day"), document.get("fulfillments_per_hour")
    if per_day is None and per_hour is None:
        return None
    return Capacity(per_day, per_hour, time.fromisoformat(document["work_starts"]))


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA time zone database. ``localtime`` is none: it is whatever the machine's own clock says."""
    return frozenset(available_timezones()) - {"localtime"}


@cache
def partners() -> frozenset[str] | None:
    """Codes of the 3PLs that have a queue; None without a partners file."""
    file = settings().partners_file
    return None if file is None else frozenset(partner.code for partner in load_partners(file).third_party_logistics)
