"""Where postal codes are that the map of the US lacks: read from the operator's own file, once, at start.

Two forms are read. A table of areas (``.csv``): ``country``, ``postal_prefix``, ``latitude``, ``longitude``, ``region``, ``time_zone``; a
prefix is the beginning of postal codes, or empty for the whole country, and the longest that fits wins; ``region`` and ``time_zone`` may be
empty. Or the postal codes of GeoNames as they are (``.txt``, https://download.geonames.org/export/zip/), whose places of one code are taken
together. Rows of the US count for ZIP codes that its own map lacks, like those of the military. Without a time zone the nearest principal
city of the country tells it (IANA's ``zone.tab``).
"""

from __future__ import annotations

import csv
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from services.routing.decide.geography import Place, is_country_code, miles_between, plain_postal_code
from shared.errors import OrdermeshError

COLUMNS = ("country", "postal_prefix", "latitude", "longitude", "region", "time_zone")
GEONAMES_COLUMNS = 12
GEONAMES_COUNTRY, GEONAMES_CODE, GEONAMES_REGION, GEONAMES_LATITUDE, GEONAMES_LONGITUDE = 0, 1, 4, 9, 10
ISO_6709 = re.compile(r"^([+-])(\d{2})(\d{2})(\d{2})?([+-])(\d{3})(\d{2})(\d{2})?$")


class PostalAreaError(OrdermeshError):
    """A file of postal areas cannot be used. Names file and row, and what would be right."""


@dataclass(frozen=True)
class PostalAreas:
    """Places by country and by the beginning of their postal codes."""

    places: Mapping[str, Mapping[str, Place]]

    def find(self, postal_code: str, country: str) -> Place | None:
        """The place of the longest beginning that is known; None when none is."""
        known = self.places.get(country)
        if known is None:
            return None
        plain = plain_postal_code(postal_code)
        for length in range(len(plain), -1, -1):
            place = known.get(plain[:length])
            if place is not None:
                return replace(place, postal_code=plain, own=True)
        return None


def load_postal_areas(file: Path) -> PostalAreas:
    """Reads a file of postal areas.

    Raises:
        PostalAreaError: it is missing or wrong.
    """
    if not file.is_file():
        raise PostalAreaError(f"{file}: no such file; give a .csv of areas, or a .txt of GeoNames")
    rows = _geonames(file) if file.suffix == ".txt" else _areas(file)
    found_at: dict[tuple[str, str], list[Place]] = {}
    try:
        for number, prefix, place in rows:
            if not is_country_code(place.country):
                raise PostalAreaError(f"{file}: row {number}: country {place.country!r} should be two capital letters, like DE")
            places_there = found_at.setdefault((place.country, prefix), [])
            if places_there and file.suffix != ".txt":
                raise PostalAreaError(f"{file}: row {number}: a second row for {place.country} {prefix}".rstrip() + "; keep one of them")
            places_there.append(place)
    except UnicodeDecodeError as error:
        raise PostalAreaError(f"{file}: is no UTF-8: {error}; save it as UTF-8") from error
    places: dict[str, dict[str, Place]] = {}
    for (country, prefix), found in found_at.items():
        places.setdefault(country, {})[prefix] = _middle(file, found)
    return PostalAreas(places)


def _areas(file: Path) -> Iterator[tuple[int, str, Place]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            raise PostalAreaError(f"{file}: row 1: should be {','.join(COLUMNS)}")
        for number, row in enumerate(rows, start=2):
            if not any(row):
                continue
            cells = dict(zip(COLUMNS, [cell.strip() for cell in [*row, *[""] * len(COLUMNS)]], strict=False))
            if cells["time_zone"] and cells["time_zone"] not in _time_zones():
                zone = cells["time_zone"]
                raise PostalAreaError(
                    f"{file}: row {number}: time_zone {zone!r} is no IANA time zone; give one like Europe/Berlin, or none"
                )
            position = _position(file, number, cells["latitude"], cells["longitude"])
            prefix = plain_postal_code(cells["postal_prefix"])
            yield number, prefix, Place("", *position, *position, cells["region"], cells["time_zone"], cells["country"])


def _geonames(file: Path) -> Iterator[tuple[int, str, Place]]:
    with file.open(newline="", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != GEONAMES_COLUMNS:
                raise PostalAreaError(f"{file}: row {number}: {len(cells)} columns, GeoNames has {GEONAMES_COLUMNS} separated by tabs")
            position = _position(file, number, cells[GEONAMES_LATITUDE], cells[GEONAMES_LONGITUDE])
            code = plain_postal_code(cells[GEONAMES_CODE])
            yield number, code, Place("", *position, *position, cells[GEONAMES_REGION], "", cells[GEONAMES_COUNTRY])


def _position(file: Path, number: int, latitude: str, longitude: str) -> tuple[float, float]:
    try:
        north, east = float(latitude), float(longitude)
    except ValueError:
        north, east = 999.0, 999.0
    if not (-90 <= north <= 90 and -180 <= east <= 180):
        raise PostalAreaError(f"{file}: row {number}: {latitude!r}, {longitude!r} should be degrees like 52.5, 13.4")
    return north, east


def _middle(file: Path, found: list[Place]) -> Place:
    """One place for several of the same code."""
    latitude = sum(place.latitude for place in found) / len(found)
    longitude = sum(place.longitude for place in found) / len(found)
    time_zone = found[0].time_zone or _nearest_time_zone(found[0].country, latitude, longitude)
    if time_zone is None:
        raise PostalAreaError(f"{file}: the time zones of {found[0].country} are not known here; fill in the column time_zone")
    return Place("", latitude, longitude, latitude, longitude, found[0].state, time_zone, found[0].country)


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - {"localtime"}


def _nearest_time_zone(country: str, latitude: float, longitude: float) -> str | None:
    cities = _principal_cities().get(country, ())
    return min(((miles_between(latitude, longitude, north, east), name) for north, east, name in cities), default=(0.0, None))[1]


@cache
def _principal_cities() -> dict[str, list[tuple[float, float, str]]]:
    """Latitude, longitude and time zone of the cities that name time zones, by country; empty where this machine has no ``zone.tab``."""
    cities: dict[str, list[tuple[float, float, str]]] = {}
    for table in (Path(folder) / "zone.tab" for folder in zoneinfo.TZPATH):
        if table.is_file():
            for line in table.read_text(encoding="utf-8").splitlines():
                if line.startswith("#"):
                    continue
                country, position, name, *_ = line.split("\t")
                cities.setdefault(country, []).append((*_degrees(position), name))
            break
    return cities


def _degrees(position: str) -> tuple[float, float]:
    """Of ISO 6709, ``+DDMM+DDDMM`` or with seconds."""
    match = ISO_6709.match(position)
    assert match is not None, "zone.tab is written so"
    north, north_degrees, north_minutes, north_seconds, east, east_degrees, east_minutes, east_seconds = match.groups()
    latitude = int(north_degrees) + int(north_minutes) / 60 + int(north_seconds or 0) / 3600
    longitude = int(east_degrees) + int(east_minutes) / 60 + int(east_seconds or 0) / 3600
    return (latitude if north == "+" else -latitude), (longitude if east == "+" else -longitude)
