"""Reads rate cards and transit days from files: one carrier's in a folder, or several carriers' in a folder each, named after them.

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
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from services.routing.decide.geography import Lane, LaneKey, ZoneChart, is_country_code, plain_postal_code
from services.routing.decide.tariffs import SERVICES, ZONES, Carrier, DimensionalWeight, RateCard, Service, Tariffs
from shared.errors import OrdermeshError

SHIPPED_RATE_CARDS = Path(__file__).parent / "rate_cards"
TRANSIT_DAYS = "transit_days.csv"
ZONE_CHART = "zones.csv"
ZONE_CHART_COLUMNS = ("origin_country", "origin_prefix", "destination_country", "destination_prefix", "zone", "extra_days")
MOST_EXTRA_DAYS = 60

FILE_NAMES: Mapping[str, Service] = {
    "ground.csv": "ground",
    "two_day.csv": "two_day",
    "2nddayair.csv": "two_day",
    "next_day.csv": "next_day",
    "nextdayair.csv": "next_day",
}
"""File names, in lower case, by service: ours, and those of the published tables that carry the same structure."""

OFFSHORE_DAYS: Mapping[Service, int] = {"ground": 5, "two_day": 1, "next_day": 1}
"""Business days more to or from Alaska, Hawaii and the islands. Declared by us as an example, in the order of what carriers publish."""


DIMENSIONAL = "dimensional.csv"
DIMENSIONAL_COLUMNS = ("service", "divisor", "unit", "above")
DIMENSIONAL_UNITS: Mapping[str, Callable[[int, int], DimensionalWeight]] = {
    "in3/lb": DimensionalWeight.of_inches,
    "cm3/kg": DimensionalWeight.of_centimetres,
}
OTHER_FILES = (TRANSIT_DAYS, ZONE_CHART, DIMENSIONAL)
LARGEST_DIVISOR = 100_000
LARGEST_VOLUME_NOT_BILLED = 10_000_000


PRICE = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)$", re.ASCII)
MOST_CENTS = 100_000_000


ONLY_CARRIER = "parcel-carrier"
CARRIER_NAME = re.compile(r"^[\w&.-][\w&. -]{0,119}$")
VERSION_CHARACTERS = 12


class RateCardError(OrdermeshError):
    """A rate card cannot be used. Names file, row and column, and what would be right."""


def load_tariffs(folder: Path, *, handling_cents: int, carrier: str = ONLY_CARRIER) -> Tariffs:
    """Reads the rate cards of a folder: one carrier's, or a folder of its own for each of several carriers, which it is named after.

    Args:
        folder: where they are.
        handling_cents: our cost per parcel.
        carrier: the name of an only carrier.

    Raises:
        RateCardError: a file is missing or wrong.
    """
    if not folder.is_dir():
        raise RateCardError(f"{folder}: no such folder; give the folder that holds ground.csv, two_day.csv and next_day.csv")
    folders = _folders_of_carriers(folder)
    if not folders:
        only, digest = _load_carrier(folder, carrier)
        _check_services(folder, [only])
        return Tariffs(digest[:VERSION_CHARACTERS], {carrier: only}, handling_cents)
    loaded = [_load_carrier(own, own.name) for own in folders]
    _check_services(folder, [found for found, _ in loaded])
    version = hashlib.sha256("".join(f"{found.name}={digest}\n" for found, digest in loaded).encode()).hexdigest()
    return Tariffs(version[:VERSION_CHARACTERS], {found.name: found for found, _ in loaded}, handling_cents)


def _folders_of_carriers(folder: Path) -> list[Path]:
    """The folders of several carriers, by name; none where the cards lie in the folder itself."""
    folders = [own for own in sorted(folder.iterdir()) if own.is_dir() and any(_is_read(file) for file in own.iterdir())]
    loose = next((file for file in sorted(folder.iterdir()) if _is_read(file)), None) if folders else None
    if loose is not None:
        raise RateCardError(f"{loose}: lies beside the folder of carrier {folders[0].name}; move it into the folder of its carrier")
    for own in folders:
        if not CARRIER_NAME.match(own.name):
            raise RateCardError(f"{own}: is no name of a carrier; give 1 to 120 letters, digits, spaces and - _ . &")
    return folders


def _is_read(file: Path) -> bool:
    """Whether a file is one of those that are read."""
    return file.is_file() and (file.name in OTHER_FILES or file.name.lower() in FILE_NAMES)


def _check_services(folder: Path, carriers: Sequence[Carrier]) -> None:
    """Every service must be somebody's."""
    missing = [service for service in SERVICES if not any(service in carrier.cards for carrier in carriers)]
    if missing:
        raise RateCardError(f"{folder}: no rate card for {', '.join(missing)}; known names: {', '.join(FILE_NAMES)}")


def _load_carrier(folder: Path, name: str) -> tuple[Carrier, str]:
    """One carrier's cards, and a digest of all that was read. Transit days come from its own file, or from the shipped one."""
    digest = hashlib.sha256()
    cards: dict[Service, RateCard] = {}
    for file in sorted(folder.iterdir()):
        service = FILE_NAMES.get(file.name.lower())
        if service is None:
            continue
        if service in cards:
            raise RateCardError(f"{file}: a second rate card for {service}; keep one of them")
        cards[service] = _read_card(file, service)
        digest.update(file.read_bytes())
    if not cards:
        raise RateCardError(f"{folder}: no rate card; known names: {', '.join(FILE_NAMES)}")
    transit_file = _transit_file(folder)
    digest.update(transit_file.read_bytes())
    chart_file = folder / ZONE_CHART
    if chart_file.is_file():
        digest.update(chart_file.read_bytes())
    dimensional_file = folder / DIMENSIONAL
    if dimensional_file.is_file():
        digest.update(dimensional_file.read_bytes())
        rules = _read_dimensional(dimensional_file)
        cards = {service: replace(card, dimensional=rules[service]) for service, card in cards.items()}
    carrier = Carrier(
        name=name,
        cards=cards,
        transit_days=_read_transit_days(transit_file),
        offshore_days=OFFSHORE_DAYS,
        chart=_read_zone_chart(chart_file) if chart_file.is_file() else None,
    )
    return carrier, digest.hexdigest()


def _transit_file(folder: Path) -> Path:
    own = folder / TRANSIT_DAYS
    return own if own.is_file() else SHIPPED_RATE_CARDS / TRANSIT_DAYS


def card_files(folder: Path) -> dict[str, str]:
    """What :func:`load_tariffs` reads from a folder, by file name: loaded from a folder with just these files, the version is the same.

    Of several carriers each name begins with the carrier's folder.
    """
    folders = _folders_of_carriers(folder)
    files: dict[str, str] = {}
    for own in folders or [folder]:
        before = f"{own.name}/" if folders else ""
        read = {file.name: file for file in sorted(own.iterdir()) if _is_read(file)} | {TRANSIT_DAYS: _transit_file(own)}
        files |= {before + name: file.read_bytes().decode() for name, file in read.items()}
    return files


def restore_tariffs(files: Mapping[str, str], *, handling_cents: int, carrier: str = ONLY_CARRIER) -> Tariffs:
    """The tariffs of kept files.

    Raises:
        RateCardError: they are not whole.
    """
    with tempfile.TemporaryDirectory(prefix="ordermesh-rate-cards-") as folder:
        for name, text in files.items():
            file = Path(folder) / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(text.encode())
        return load_tariffs(Path(folder), handling_cents=handling_cents, carrier=carrier)


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows with their number in the file; empty ones are passed over."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.reader(lines), start=1):
                if any(cell.strip() for cell in row):
                    yield number, [cell.strip() for cell in row]
    except UnicodeDecodeError as error:
        raise RateCardError(f"{file}: is no UTF-8: {error}; save it as UTF-8") from error


def _read_card(file: Path, service: Service) -> RateCard:
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if header[0] != "WeightNotToExceed":
        raise RateCardError(f"{file}: row 1, column 1: {header[0]!r} should be WeightNotToExceed")
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
            raise RateCardError(f"{file}: row {number}, column WeightNotToExceed: {row[0]!r} should be {expected}: pounds without gaps")
        cells = dict(zip(zones, row[1:], strict=False))
        for zone in ZONES:
            prices[zone].append(_cents(file, number, header[zones.index(zone) + 1], cells.get(zone, "")))
        surcharge = cells.get("res", "")
        residential.append(_cents(file, number, "res", surcharge) if surcharge else 0)
    if not residential:
        raise RateCardError(f"{file}: row 2: no prices; the first row of prices is for 1 pound")
    return RateCard(service, {zone: tuple(cents) for zone, cents in prices.items()}, tuple(residential))


def _zone(file: Path, position: int, name: str) -> int | str:
    """The zone that a column is for: its number without the service's hundreds, or ``res``."""
    if name == "res":
        return name
    if not name.isdigit():
        raise RateCardError(f"{file}: row 1, column {position}: {name!r} is neither a zone number nor res")
    return int(name) % 100


def _cents(file: Path, row: int, column: str, cell: str) -> int:
    """A price. Nothing is free: a 0 stands for "not offered" in some tables, and such a parcel would win every choice."""
    where = f"{file}: row {row}, column {column}"
    if not PRICE.match(cell):
        found = repr(cell) if cell else "nothing"
        raise RateCardError(f"{where}: {found} is no price in dollars, like 7.35")
    cents = Decimal(cell) * 100
    if cents < 0 or cents != cents.to_integral_value():
        raise RateCardError(f"{where}: {cell!r} should be dollars and whole cents, not negative")
    if cents > MOST_CENTS:
        raise RateCardError(f"{where}: {cell!r} should be at most {MOST_CENTS // 100:,} dollars")
    if not cents and column != "res":
        raise RateCardError(f"{where}: {cell!r} would be free and win every choice; give what the carrier charges")
    return int(cents)


def _read_transit_days(file: Path) -> dict[Service, dict[int, int]]:
    """``service,2,3,4,5,6,7,8`` and a row of business days per service."""
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if header != ["service", *(str(zone) for zone in ZONES)]:
        raise RateCardError(f"{file}: row 1: should be service,{','.join(str(zone) for zone in ZONES)}")
    days: dict[Service, dict[int, int]] = {}
    for number, row in rows:
        service = next((known for known in SERVICES if known == row[0]), None)
        if service is None:
            raise RateCardError(f"{file}: row {number}, column service: {row[0]!r} should be one of {', '.join(SERVICES)}")
        cells = dict(zip(ZONES, row[1:], strict=False))
        for zone in ZONES:
            cell = cells.get(zone, "")
            if not cell.isdigit() or not 1 <= int(cell) <= 30:
                raise RateCardError(f"{file}: row {number}, column {zone}: {cell!r} should be 1 to 30 business days")
        days[service] = {zone: int(cells[zone]) for zone in ZONES}
    missing = [service for service in SERVICES if service not in days]
    if missing:
        raise RateCardError(f"{file}: no row for {missing[0]}")
    return days


def _read_dimensional(file: Path) -> dict[Service, DimensionalWeight | None]:
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
            raise RateCardError(f"{file}: row {number}, column service: {cells['service']!r} should be one of {', '.join(SERVICES)}")
        if rules[service] is not None:
            raise RateCardError(f"{file}: row {number}, column service: a second row for {service}; keep one of them")
        divisor, above = cells["divisor"], cells["above"] or "0"
        if not divisor.isdecimal() or not 1 <= int(divisor) <= LARGEST_DIVISOR:
            raise RateCardError(
                f"{file}: row {number}, column divisor: {divisor!r} should be a whole number from 1 to {LARGEST_DIVISOR:,}, like 139"
            )
        if cells["unit"] not in DIMENSIONAL_UNITS:
            raise RateCardError(f"{file}: row {number}, column unit: {cells['unit']!r} should be one of {', '.join(DIMENSIONAL_UNITS)}")
        if not above.isdecimal() or int(above) > LARGEST_VOLUME_NOT_BILLED:
            raise RateCardError(f"{file}: row {number}, column above: {above!r} should be empty or a whole volume, like 1728")
        rules[service] = DIMENSIONAL_UNITS[cells["unit"]](int(divisor), int(above))
    return rules


def _read_zone_chart(file: Path) -> ZoneChart:
    rows = _rows(file)
    _, header = next(rows, (0, [""]))
    if tuple(header) != ZONE_CHART_COLUMNS:
        raise RateCardError(f"{file}: row 1: should be {','.join(ZONE_CHART_COLUMNS)}")
    lanes: dict[LaneKey, Lane] = {}
    for number, row in rows:
        cells = dict(zip(ZONE_CHART_COLUMNS, [*row, *[""] * len(ZONE_CHART_COLUMNS)], strict=False))
        for column in ("origin_country", "destination_country"):
            if not is_country_code(cells[column]):
                raise RateCardError(f"{file}: row {number}, column {column}: {cells[column]!r} should be two capital letters, like DE")
        zone, extra_days = cells["zone"], cells["extra_days"] or "0"
        # Zone 1, local, is priced as zone 2 by parcel tariffs.
        if not zone.isdecimal() or not 1 <= int(zone) <= ZONES[-1]:
            raise RateCardError(f"{file}: row {number}, column zone: {zone!r} should be a zone of the rate cards, 2 to 8")
        if not extra_days.isdecimal() or int(extra_days) > MOST_EXTRA_DAYS:
            raise RateCardError(f"{file}: row {number}, column extra_days: {extra_days!r} should be 0 to {MOST_EXTRA_DAYS} business days")
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
