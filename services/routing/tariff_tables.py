"""What the tables of a carrier say: rate cards, transit days, its zone chart and how it bills volume.

A rate card is a CSV: the first column, ``WeightNotToExceed``, is the weight in pounds (1, 2, 3 ... without gaps; a row ``Letter`` is
passed over), the others are zones with the price of a parcel in dollars, and ``res`` the surcharge for a residence. A zone is written as
2 to 8, or as carriers write it for air services, 202 to 208 and 102 to 108. Columns of other zones (Alaska, Hawaii ...) and rows cut short
behind zone 8 are allowed and not used; a hole in zones 2 to 8 is not.

``zones.csv``, where there is one, is the carrier's own zone chart: ``origin_country``, ``origin_prefix``, ``destination_country``,
``destination_prefix``, ``zone`` and ``extra_days``. A prefix is the beginning of postal codes, or empty for the whole country; the longest
that fits wins. Ways within a country that it does not name are priced by distance, ways across a border not at all.

``dimensional.csv``, where there is one, says which services bill the volume of a parcel where that comes to more than its weight:
``service``, ``divisor``, ``unit`` (``in3/lb`` or ``cm3/kg``, as the carrier publishes it) and ``above``, the volume in in3 or cm3 up to
which only the weight counts (empty: none). A service that it does not name bills the weight alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from services.routing.decide.geography import Lane, LaneKey, ZoneChart, is_country_code, plain_postal_code
from services.routing.decide.tariffs import SERVICES, ZONES, DimensionalWeight, RateCard, Service
from shared.errors import OrdermeshError

ZONE_CHART_COLUMNS = ("origin_country", "origin_prefix", "destination_country", "destination_prefix", "zone", "extra_days")
MOST_EXTRA_DAYS = 60
MOST_TRANSIT_DAYS = 30
DIMENSIONAL_COLUMNS = ("service", "divisor", "unit", "above")
DIMENSIONAL_UNITS: Mapping[str, Callable[[int, int], DimensionalWeight]] = {
    "in3/lb": DimensionalWeight.of_inches,
    "cm3/kg": DimensionalWeight.of_centimetres,
}
LARGEST_DIVISOR = 100_000
LARGEST_VOLUME_NOT_BILLED = 10_000_000
PRICE = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)$", re.ASCII)
MOST_CENTS = 100_000_000
MOST_SHOWN = 60
MOST_DIGITS = 18


class RateCardError(OrdermeshError):
    """A rate card cannot be used. Names file, row and column, and what would be right."""


@dataclass(frozen=True)
class TableFile:
    """A file as it was read: once, so that what is priced is what the version names and what is kept."""

    path: Path
    content: bytes
    text: str

    def __str__(self) -> str:
        return shown(self.path)


def shown(path: Path) -> str:
    """A path in one line that can be written anywhere: names need not be UTF-8, and may hold line breaks."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in str(path))


def _rows(file: TableFile) -> Iterator[tuple[int, list[str]]]:
    """Rows with their number in the file; empty ones are passed over."""
    number = 0
    try:
        for number, row in enumerate(csv.reader(io.StringIO(file.text.removeprefix("\ufeff"), newline="")), start=1):
            if any(cell.strip() for cell in row):
                yield number, [cell.strip() for cell in row]
    except csv.Error as error:
        raise RateCardError(f"{file}: row {number + 1}: is no CSV: {error}; look for a quote that is not closed") from error


def read_card(file: TableFile, service: Service) -> RateCard:
    """The rate card of one service.

    Raises:
        RateCardError: it is wrong.
    """
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if header[0] != "WeightNotToExceed":
        raise RateCardError(f"{file}: row 1, column 1: {_quoted(header[0])} should be WeightNotToExceed")
    zones = [_zone(file, position, name) for position, name in enumerate(header[1:], start=2)]
    absent = [zone for zone in ZONES if zone not in zones]
    if absent:
        raise RateCardError(f"{file}: row 1: no column for zone {absent[0]}; zones 2 to 8 are needed")
    prices: dict[int, list[int | None]] = {zone: [] for zone in ZONES}
    residential: list[int] = []
    for number, row in rows:
        if row[0].lower() == "letter":
            continue
        expected = len(residential) + 1
        if row[0] != str(expected):
            raise RateCardError(
                f"{file}: row {number}, column WeightNotToExceed: {_quoted(row[0])} should be {expected}: pounds without gaps"
            )
        cells = dict(zip(zones, row[1:], strict=False))
        for zone in ZONES:
            prices[zone].append(_cents(file, number, header[zones.index(zone) + 1], cells.get(zone, "")))
        surcharge = cells.get("res", "")
        residential.append(_cents(file, number, "res", surcharge) if surcharge else 0)
    if not residential:
        raise RateCardError(f"{file}: row 2: no prices; the first row of prices is for 1 pound")
    return RateCard(service, {zone: tuple(cents) for zone, cents in prices.items()}, tuple(residential))


def _zone(file: TableFile, position: int, name: str) -> int | str:
    """The zone that a column is for: its number without the service's hundreds, or ``res``."""
    if name == "res":
        return name
    if _whole(name) is None:
        raise RateCardError(f"{file}: row 1, column {position}: {_quoted(name)} is neither a zone number nor res")
    return int(name) % 100


def _cents(file: TableFile, row: int, column: str, cell: str) -> int:
    """A price. Nothing is free: a 0 stands for "not offered" in some tables, and such a parcel would win every choice."""
    where = f"{file}: row {row}, column {column}"
    if not PRICE.match(cell):
        found = _quoted(cell) if cell else "nothing"
        raise RateCardError(f"{where}: {found} is no price in dollars, like 7.35")
    cents = Decimal(cell) * 100
    if cents < 0 or cents != cents.to_integral_value():
        raise RateCardError(f"{where}: {_quoted(cell)} should be dollars and whole cents, not negative")
    if cents > MOST_CENTS:
        raise RateCardError(f"{where}: {_quoted(cell)} should be at most {MOST_CENTS // 100:,} dollars")
    if not cents and column != "res":
        raise RateCardError(f"{where}: {_quoted(cell)} would be free and win every choice; give what the carrier charges")
    return int(cents)


def read_transit_days(file: TableFile, needed: Sequence[Service]) -> dict[Service, dict[int, int]]:
    """``service,2,3,4,5,6,7,8`` and a row of business days per service; those that the carrier has cards for are needed."""
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if header != ["service", *(str(zone) for zone in ZONES)]:
        raise RateCardError(f"{file}: row 1: should be service,{','.join(str(zone) for zone in ZONES)}")
    days: dict[Service, dict[int, int]] = {}
    for number, row in rows:
        service = next((known for known in SERVICES if known == row[0]), None)
        if service is None:
            raise RateCardError(f"{file}: row {number}, column service: {_quoted(row[0])} should be one of {', '.join(SERVICES)}")
        cells = dict(zip(ZONES, row[1:], strict=False))
        for zone in ZONES:
            cell = cells.get(zone, "")
            if _whole(cell, 1, MOST_TRANSIT_DAYS) is None:
                raise RateCardError(
                    f"{file}: row {number}, column {zone}: {_quoted(cell)} should be 1 to {MOST_TRANSIT_DAYS} business days"
                )
        days[service] = {zone: int(cells[zone]) for zone in ZONES}
    missing = [service for service in needed if service not in days]
    if missing:
        raise RateCardError(f"{file}: no row for {missing[0]}, which there is a rate card for; add its business days")
    return days


def read_dimensional(file: TableFile) -> dict[Service, DimensionalWeight | None]:
    """How each service bills volume, None where it does not."""
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if tuple(header) != DIMENSIONAL_COLUMNS:
        raise RateCardError(f"{file}: row 1: should be {','.join(DIMENSIONAL_COLUMNS)}")
    rules: dict[Service, DimensionalWeight | None] = dict.fromkeys(SERVICES)
    for number, row in rows:
        cells = dict(zip(DIMENSIONAL_COLUMNS, [*row, *[""] * len(DIMENSIONAL_COLUMNS)], strict=False))
        service = next((known for known in SERVICES if known == cells["service"]), None)
        if service is None:
            raise RateCardError(f"{file}: row {number}, column service: {_quoted(cells['service'])} should be one of {', '.join(SERVICES)}")
        if rules[service] is not None:
            raise RateCardError(f"{file}: row {number}, column service: a second row for {service}; keep one of them")
        divisor, above = cells["divisor"], cells["above"] or "0"
        if _whole(divisor, 1, LARGEST_DIVISOR) is None:
            raise RateCardError(
                f"{file}: row {number}, column divisor: {_quoted(divisor)} should be a whole number from 1 to {LARGEST_DIVISOR:,}, like 139"
            )
        if cells["unit"] not in DIMENSIONAL_UNITS:
            raise RateCardError(
                f"{file}: row {number}, column unit: {_quoted(cells['unit'])} should be one of {', '.join(DIMENSIONAL_UNITS)}"
            )
        if _whole(above, 0, LARGEST_VOLUME_NOT_BILLED) is None:
            raise RateCardError(f"{file}: row {number}, column above: {_quoted(above)} should be empty or a whole volume, like 1728")
        rules[service] = DIMENSIONAL_UNITS[cells["unit"]](int(divisor), int(above))
    return rules


def read_zone_chart(file: TableFile) -> ZoneChart:
    """A carrier's own zones.

    Raises:
        RateCardError: they are wrong.
    """
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if tuple(header) != ZONE_CHART_COLUMNS:
        raise RateCardError(f"{file}: row 1: should be {','.join(ZONE_CHART_COLUMNS)}")
    lanes: dict[LaneKey, Lane] = {}
    for number, row in rows:
        cells = dict(zip(ZONE_CHART_COLUMNS, [*row, *[""] * len(ZONE_CHART_COLUMNS)], strict=False))
        for column in ("origin_country", "destination_country"):
            if not is_country_code(cells[column]):
                raise RateCardError(
                    f"{file}: row {number}, column {column}: {_quoted(cells[column])} should be two capital letters, like DE"
                )
        zone, extra_days = cells["zone"], cells["extra_days"] or "0"
        # Zone 1, local, is priced as zone 2 by parcel tariffs.
        if _whole(zone, 1, ZONES[-1]) is None:
            raise RateCardError(f"{file}: row {number}, column zone: {_quoted(zone)} should be a zone of the rate cards, 2 to 8")
        if _whole(extra_days, 0, MOST_EXTRA_DAYS) is None:
            raise RateCardError(
                f"{file}: row {number}, column extra_days: {_quoted(extra_days)} should be 0 to {MOST_EXTRA_DAYS} business days"
            )
        key = (
            cells["origin_country"],
            plain_postal_code(cells["origin_prefix"]),
            cells["destination_country"],
            plain_postal_code(cells["destination_prefix"]),
        )
        if key in lanes:
            raise RateCardError(f"{file}: row {number}: a second row from {key[0]} {key[1]} to {key[2]} {key[3]}; keep one of them")
        lanes[key] = Lane(max(ZONES[0], int(zone)), int(extra_days))
    return ZoneChart(lanes)


def _quoted(cell: str) -> str:
    """What a cell holds, or the beginning of it: a card with a lost quote has a cell as long as the file."""
    return repr(cell if len(cell) <= MOST_SHOWN else cell[:MOST_SHOWN] + "...")


def _whole(cell: str, least: int = 0, most: int = 10**MOST_DIGITS) -> int | None:
    """A whole number from ``least`` to ``most``; None where it is none. Python itself refuses to read numbers of thousands of digits."""
    if not cell.isdecimal() or len(cell) > MOST_DIGITS:
        return None
    return int(cell) if least <= int(cell) <= most else None
