"""The map: US ZIP codes with their coordinates, from the ``zipcodes`` package, offline; other countries,
and codes that the package lacks, from the operator's own file.

The US is loaded once, half a second and about 25 MB.
"""

from __future__ import annotations

import re
from functools import cache
from sys import intern

import zipcodes

from services.routing.decide.geography import Place
from services.routing.postal_areas import PostalAreas, load_postal_areas
from services.routing.settings import MapSettings
from shared.config import load_settings

ZIP = re.compile(r"^(\d{5})(?:-?\d{4})?$")


@cache
def all_places() -> dict[str, Place]:
    """Every ZIP code on the map.

    Military and some new codes carry no coordinates; they lie at the centre of their three-digit area when it has others that do, else they
    are not on the map.
    """
    known: dict[str, tuple[float, float, str, str]] = {}
    # Asked for in pieces, because the package would keep the whole list of its records in memory for ever.
    for prefix in range(100):
        for entry in zipcodes.similar_to(f"{prefix:02d}"):  # type: ignore[no-untyped-call]  # the package ships no types
            known[entry["zip_code"]] = (
                float(entry["lat"] or 0),
                float(entry["long"] or 0),
                intern(entry["state"]),
                intern(_time_zone(entry["timezone"])),
            )
    centres = _area_centres(known)
    places = {}
    for code, (latitude, longitude, state, time_zone) in known.items():
        centre = centres.get(code[:3])
        if centre is not None:
            on_map = (latitude, longitude) if latitude or longitude else centre
            places[code] = Place(code, on_map[0], on_map[1], centre[0], centre[1], state, time_zone)
    return places


def _time_zone(name: str) -> str:
    # A few records carry no zone, or a town instead of one; only the day of a promise depends on it.
    return name if "/" in name else "America/New_York"


def _area_centres(known: dict[str, tuple[float, float, str, str]]) -> dict[str, tuple[float, float]]:
    sums: dict[str, tuple[float, float, int]] = {}
    for code, (latitude, longitude, _, _) in known.items():
        if latitude or longitude:
            north, east, count = sums.get(code[:3], (0.0, 0.0, 0))
            sums[code[:3]] = (north + latitude, east + longitude, count + 1)
    return {area: (north / count, east / count) for area, (north, east, count) in sums.items()}


def find_place(postal_code: str, country: str) -> Place | None:
    """Where a postal code is; None when it is not on the map. ``12345-6789`` is found as ``12345``."""
    if country != "US":
        return _own().find(postal_code, country)
    match = ZIP.match(postal_code.strip())
    return None if match is None else all_places().get(match.group(1)) or _own().find(match.group(1), country)


@cache
def _own() -> PostalAreas:
    file = load_settings(MapSettings).postal_areas
    return PostalAreas({}) if file is None else load_postal_areas(file)
