"""The locations that ship, and how they lie towards a customer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from services.routing.decide.geography import Place, is_offshore, miles_between, zone_between
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

    @property
    def calendar(self) -> WorkCalendar:
        """When it works."""
        return WorkCalendar(self.time_zone, self.order_cutoff, self.working_days, self.holidays)


@dataclass(frozen=True, slots=True)
class Reach:
    """One location seen from a destination."""

    index: int
    location: Location
    zone: int
    miles: int
    offshore: bool


@dataclass(frozen=True)
class Network:
    """All locations. Distances and the day's dispatch are worked out once and remembered; they follow from the arguments alone."""

    locations: Sequence[Location]
    version: int = 0
    """Counted up with every registration; stands in every decision record."""
    _reaches: dict[str, tuple[Reach, ...]] = field(default_factory=dict)
    _dispatches: dict[int, Dispatch] = field(default_factory=dict)

    def reach(self, destination: Place) -> tuple[Reach, ...]:
        """Every location with its zone and distance, nearest first, so that among equals the nearest wins."""
        known = self._reaches.get(destination.postal_code)
        if known is None:
            if len(self._reaches) >= MOST_KNOWN_DESTINATIONS:
                for postal_code in list(self._reaches)[: MOST_KNOWN_DESTINATIONS // 2]:
                    del self._reaches[postal_code]
            known = self._reaches[destination.postal_code] = self._look(destination)
        return known

    def _look(self, destination: Place) -> tuple[Reach, ...]:
        seen = [
            Reach(
                index,
                location,
                zone_between(location.place, destination),
                round(miles_between(location.place.latitude, location.place.longitude, destination.latitude, destination.longitude)),
                is_offshore(location.place, destination),
            )
            for index, location in enumerate(self.locations)
        ]
        return tuple(sorted(seen, key=lambda reach: (reach.miles, reach.location.code)))

    def dispatch(self, index: int, now: datetime) -> Dispatch:
        """When an order handed over now leaves the location at ``index``."""
        known = self._dispatches.get(index)
        if known is None or not known.holds_from <= now < known.holds_until:
            known = self._dispatches[index] = self.locations[index].calendar.dispatch(now)
        return known
