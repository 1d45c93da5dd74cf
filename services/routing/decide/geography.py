"""Where things are: coordinates, distances, and the carrier zones that follow from distance."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_MILES = 3958.7613
"""Mean radius. Source: IUGG."""

ZONE_LIMITS_MILES = (150.0, 300.0, 600.0, 1000.0, 1400.0, 1800.0)
"""Up to how many miles zones 2 to 7 reach; zone 8 is beyond.

Source: USPS Domestic Mail Manual 608.9, zones by distance between three-digit ZIP areas (0 to 50 miles is zone 1 there, which parcel
tariffs price as zone 2); UPS and FedEx ground charts use the same bands. Agreement with the published 2018 charts is measured by a test.
"""

OFFSHORE_STATES = frozenset({"AK", "HI", "PR", "VI", "GU", "AS", "MP", "FM", "MH", "PW", "AA", "AE", "AP"})
"""Beyond the road network of the contiguous states: ground parcels take a ship or a plane."""


def is_country_code(text: str) -> bool:
    """Whether a text has the form of an ISO 3166 code, like DE."""
    return len(text) == 2 and text.isascii() and text.isalpha() and text.isupper()


@dataclass(frozen=True, slots=True)
class Place:
    """A postal code on the map. Zones are taken between the centres of three-digit areas, as carriers do; distances between the places.

    Outside the US ``postal_code`` is in capitals, without spaces and hyphens, and an area is the place itself.
    """

    postal_code: str
    latitude: float
    longitude: float
    area_latitude: float
    area_longitude: float
    state: str
    time_zone: str
    country: str = "US"
    own: bool = False
    """From the operator's own file, which may change."""

    @property
    def area(self) -> str:
        """The three-digit ZIP area; outside the US the first three characters."""
        return self.postal_code[:3]


def place_as_json(place: Place) -> list[str | float]:
    """A place as it is kept with a location."""
    position = (place.latitude, place.longitude, place.area_latitude, place.area_longitude)
    return [place.postal_code, *position, place.state, place.time_zone, place.country]


def plain_postal_code(postal_code: str) -> str:
    """A postal code as codes are compared: in capitals, without spaces and hyphens."""
    return "".join(postal_code.split()).replace("-", "").upper()


def miles_between(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance (haversine)."""
    phi, other_phi = radians(latitude), radians(other_latitude)
    half_latitude = sin((other_phi - phi) / 2)
    half_longitude = sin(radians(other_longitude - longitude) / 2)
    chord = half_latitude * half_latitude + cos(phi) * cos(other_phi) * half_longitude * half_longitude
    return 2 * EARTH_RADIUS_MILES * asin(min(1.0, sqrt(chord)))


def zone_of_distance(miles: float) -> int:
    """The carrier zone, 2 to 8, of a distance."""
    return 2 + bisect_left(ZONE_LIMITS_MILES, miles)


def zone_between(origin: Place, destination: Place) -> int:
    """The zone of a parcel between two places."""
    return zone_of_distance(
        miles_between(origin.area_latitude, origin.area_longitude, destination.area_latitude, destination.area_longitude)
    )


def is_offshore(origin: Place, destination: Place) -> bool:
    """Whether a parcel has to cross the sea."""
    if not origin.country == destination.country == "US":
        return False
    return origin.state != destination.state and bool({origin.state, destination.state} & OFFSHORE_STATES)


NOT_CARRIED = 0
"""In place of a zone: no rate card has a price."""


@dataclass(frozen=True, slots=True)
class Lane:
    """How a carrier sees the way between two places: the zone that it prices, and business days beyond those of the zone."""

    zone: int
    extra_days: int = 0


LaneKey = tuple[str, str, str, str]
"""Country and first characters of the postal code where a parcel comes from, and the same of where it goes."""


@dataclass(frozen=True, eq=False)
class ZoneChart:
    """A carrier's own zones, where they differ from those by distance, and the borders that it crosses.

    A row is for all postal codes that begin so; none but the country's code is every place of it. Where several rows fit, the longest
    origin wins, then the longest destination.
    """

    lanes: Mapping[LaneKey, Lane]
    _lengths: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        lengths: dict[str, set[int]] = {}
        for origin_country, origin, destination_country, destination in self.lanes:
            lengths.setdefault("from " + origin_country, set()).add(len(origin))
            lengths.setdefault("to " + destination_country, set()).add(len(destination))
        self._lengths.update((key, tuple(sorted(found, reverse=True))) for key, found in lengths.items())

    def find(self, origin: Place, destination: Place) -> Lane | None:
        """The row for the way between two places; None when the chart says nothing of it."""
        for from_length in self._lengths.get("from " + origin.country, ()):
            for to_length in self._lengths.get("to " + destination.country, ()):
                if from_length <= len(origin.postal_code) and to_length <= len(destination.postal_code):
                    key = (origin.country, origin.postal_code[:from_length], destination.country, destination.postal_code[:to_length])
                    if key in self.lanes:
                        return self.lanes[key]
        return None


def lane_between(origin: Place, destination: Place, chart: ZoneChart | None) -> Lane:
    """The way of a parcel: by the carrier's chart, else by distance within one country. No border is crossed without a row that says so."""
    known = None if chart is None else chart.find(origin, destination)
    if known is not None:
        return known
    return Lane(zone_between(origin, destination) if origin.country == destination.country else NOT_CARRIED)
