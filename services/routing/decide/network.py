"""The locations that ship, and how they lie towards a customer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cached_property
from zoneinfo import ZoneInfo

from services.routing.decide.capacity import Capacity
from services.routing.decide.geography import NOT_CARRIED, Place, miles_between
from services.routing.decide.tariffs import SERVICES, Service, Tariffs, Way, Ways, usual
from shared.calendar import MONDAY_TO_FRIDAY, Dispatch, WorkCalendar

MOST_KNOWN_DESTINATIONS = 20_000
"""Destinations whose distances are kept; beyond that the oldest half is worked out anew when needed."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place that holds stock, as registered."""

    code: str
    name: str
    partner: str
    place: Place
    time_zone: ZoneInfo
    order_cutoff: time
    hazmat_certified: bool
    active: bool
    working_days: Collection[int] = MONDAY_TO_FRIDAY
    holidays: Collection[date] = frozenset()
    capabilities: frozenset[str] = frozenset()
    """What it can do, in the operator's words; routing rules ask for them."""
    capacity: Capacity | None = None
    """How much work it takes; None: as much as comes."""
    services: tuple[Service, ...] = SERVICES
    """Those that pick up there, in the order of ``SERVICES``, at least one."""
    carriers: frozenset[str] = frozenset()
    """Those that pick up there; none named: all."""

    @property
    def calendar(self) -> WorkCalendar:
        """When it works."""
        return WorkCalendar(self.time_zone, self.order_cutoff, self.working_days, self.holidays)

    def has(self, way: Way, tariffs: Tariffs) -> bool:
        """Whether its carrier picks up there for its service. An only carrier does so everywhere."""
        return way.service in self.services and (not self.carriers or way.carrier in self.carriers or len(tariffs.carriers) == 1)


def named(location: Location, tariffs: Tariffs) -> str:
    """What picks up at a location that was registered with fewer services or carriers: ``ground``, ``UPS``, ``ground of UPS``."""
    services = "" if location.carriers and location.services == SERVICES else " and ".join(location.services)
    carriers = [name if name in tariffs.carriers else f"{name} (which has no rate cards)" for name in sorted(location.carriers)]
    return " of ".join(part for part in (services, " and ".join(carriers)) if part)


@dataclass(frozen=True, slots=True)
class Reach:
    """One location seen from a destination.

    ``ways`` are those of the carriers and services that pick up there, and where they are the same as of another location, the same object.
    ``zone`` and ``usual_days`` are those of the usual way (:func:`usual`).
    """

    index: int
    location: Location
    zone: int
    miles: int
    ways: Ways
    usual_days: int = 0


@dataclass(frozen=True)
class Network:
    """All locations. Distances and the day's dispatch are worked out once and remembered; they follow from the arguments alone."""

    locations: Sequence[Location]
    version: int = 0
    """Counted up with every registration; stands in every decision record."""
    off_map: Sequence[str] = ()
    """Codes of registered locations whose postal code is on no map: nothing ships from there."""
    _reaches: dict[tuple[Place, tuple[str, ...]], tuple[Reach, ...]] = field(default_factory=dict)
    _ways: dict[Ways, Ways] = field(default_factory=dict)
    _dispatches: dict[int, Dispatch] = field(default_factory=dict)

    @cached_property
    def limited(self) -> Mapping[str, tuple[Capacity, WorkCalendar]]:
        """Capacity and calendar of the locations that limit their work."""
        return {place.code: (place.capacity, place.calendar) for place in self.locations if place.active and place.capacity is not None}

    def reach(self, destination: Place, tariffs: Tariffs) -> tuple[Reach, ...]:
        """Every location with its ways and distance, nearest first, so that among equals the nearest wins."""
        key = (destination, tariffs.identity)
        known = self._reaches.get(key)
        if known is None:
            if len(self._reaches) >= MOST_KNOWN_DESTINATIONS:
                for oldest in list(self._reaches)[: MOST_KNOWN_DESTINATIONS // 2]:
                    del self._reaches[oldest]
            known = self._reaches[key] = self._look(destination, tariffs)
        return known

    def _look(self, destination: Place, tariffs: Tariffs) -> tuple[Reach, ...]:
        seen = []
        for index, location in enumerate(self.locations):
            origin = location.place
            miles = round(miles_between(origin.latitude, origin.longitude, destination.latitude, destination.longitude))
            ways = tuple(way for way in tariffs.ways(origin, destination) if location.has(way, tariffs))
            by = usual(ways)
            zone, days = (NOT_CARRIED, 0) if by is None else (by.zone, by.days)
            seen.append(Reach(index, location, zone, miles, self._ways.setdefault(ways, ways), days))
        return tuple(sorted(seen, key=lambda reach: (reach.miles, reach.location.code)))

    def dispatch(self, index: int, now: datetime) -> Dispatch:
        """When an order handed over now leaves the location at ``index``."""
        known = self._dispatches.get(index)
        if known is None or not known.holds_from <= now < known.holds_until:
            known = self._dispatches[index] = self.locations[index].calendar.dispatch(now)
        return known
