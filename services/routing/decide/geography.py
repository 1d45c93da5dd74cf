"""Where things are: coordinates, distances, and the carrier zones that follow from distance."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Place:
    """A postal code on the map. Zones are taken between the centres of three-digit areas, as carriers do; distances between the places."""

    postal_code: str
    latitude: float
    longitude: float
    area_latitude: float
    area_longitude: float
    state: str
    time_zone: str

    @property
    def area(self) -> str:
        """The three-digit ZIP area."""
        return self.postal_code[:3]


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
    return origin.state != destination.state and bool({origin.state, destination.state} & OFFSHORE_STATES)
