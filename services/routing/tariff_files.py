"""Reads rate cards and transit days from files: one carrier's in a folder, or several carriers' in a folder each, named after them.

Where cards lie in the folder itself they are one carrier's, and its subfolders are passed over: old cards, or what Kubernetes keeps beside
the files of a ConfigMap. Where none do, every subfolder is a carrier's. File names are read in whatever case.

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
import io
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
MOST_TRANSIT_DAYS = 30

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
HIDDEN = (".", "__")
"""What the names of files and folders begin with that systems put beside ours: Kubernetes' ``..data``, ``.git``, a Mac's ``__MACOSX``."""
NO_CARRIER = "lost+found"
"""Lies in every volume that is a file system of its own, and cannot be moved away."""
LONGEST_NAME = 120
MARKS_IN_NAMES = "-_.&'()+,"
VERSION_CHARACTERS = 12
MOST_SHOWN = 60
MOST_DIGITS = 18


class RateCardError(OrdermeshError):
    """A rate card cannot be used. Names file, row and column, and what would be right."""


@dataclass(frozen=True)
class _File:
    """A file as it was read: once, so that what is priced is what the version names and what is kept."""

    path: Path
    content: bytes
    text: str

    def __str__(self) -> str:
        return _shown(self.path)


@dataclass(frozen=True)
class _CarrierFiles:
    """All that is read of one carrier.

    Args:
        folder: where its cards are.
        name: of one of several carriers; None for an only one, which settings name.
        cards: in the order of their names, which the version depends on.
        others: by name in lower case; transit days are always there, the shipped ones where it has none of its own.
    """

    folder: Path
    name: str | None
    cards: Mapping[Service, _File]
    others: Mapping[str, _File]


def load_tariffs(folder: Path, *, handling_cents: int, carrier: str = ONLY_CARRIER) -> Tariffs:
    """Reads the rate cards of a folder: one carrier's, or a folder of its own for each of several carriers, which it is named after.

    Args:
        folder: where they are.
        handling_cents: our cost per parcel.
        carrier: the name of an only carrier.

    Raises:
        RateCardError: a file is missing or wrong.
    """
    found = _find_carriers(folder)
    loaded = [_load_carrier(files, carrier if files.name is None else files.name) for files in found]
    only = found[0].name is None
    _check_services(folder, [one for one, _ in loaded], only=only)
    version = loaded[0][1] if only else hashlib.sha256("".join(f"{one.name}={digest}\n" for one, digest in loaded).encode()).hexdigest()
    return Tariffs(version[:VERSION_CHARACTERS], {one.name: one for one, _ in loaded}, handling_cents)


def card_files(folder: Path) -> dict[str, str]:
    """What :func:`load_tariffs` reads from a folder, by file name: loaded from a folder with just these files, the version is the same.

    Of several carriers each name begins with the carrier's folder.
    """
    kept: dict[str, str] = {}
    for files in _find_carriers(folder):
        before = "" if files.name is None else f"{files.name}/"
        kept |= {before + file.path.name: file.text for file in files.cards.values()}
        kept |= {before + name: file.text for name, file in files.others.items()}
    return kept


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


def _find_carriers(folder: Path) -> list[_CarrierFiles]:
    """The files of an only carrier, or of several by name. At least one."""
    with _readable(folder):
        if not folder.is_dir():
            raise RateCardError(
                f"{_shown(folder)}: no such folder; give the folder that holds ground.csv, two_day.csv and next_day.csv, "
                "or that holds such a folder for each of several carriers"
            )
    # By name alone: a card that cannot be read must not turn the old cards beside it into carriers.
    if any(entry.name.lower() in FILE_NAMES for entry in _entries(folder)):
        return [_read_files(folder, None)]
    folders = _folders_of_carriers(folder)
    if not folders:
        raise RateCardError(f"{_shown(folder)}: no rate card; known names: {', '.join(FILE_NAMES)}; or a folder with them for each carrier")
    return [_read_files(own, name) for name, own in sorted(folders.items())]


def _folders_of_carriers(folder: Path) -> dict[str, Path]:
    """The folders of several carriers by the carrier's name; empty where there are none."""
    folders: dict[str, Path] = {}
    loose: list[Path] = []
    for entry in _entries(folder):
        with _readable(entry):
            if entry.is_dir():
                if entry.name != NO_CARRIER:
                    name = _name_of_carrier(entry)
                    alike = next((known for other, known in folders.items() if other.casefold() == name.casefold()), None)
                    if alike is not None:
                        raise RateCardError(f"{_shown(entry)}: is the name of {_shown(alike)} but for its case; rename one of them")
                    folders[name] = entry
            elif not entry.exists():
                raise RateCardError(f"{_shown(entry)}: points to nothing; mend the link, or take it away")
            elif entry.suffix.lower() == ".csv":
                loose.append(entry)
    if folders and loose:
        raise RateCardError(
            f"{_shown(loose[0])}: lies beside the folders of carriers and is no rate card, so it would be nobody's; "
            "move it into the folder of its carrier"
        )
    return folders


def _name_of_carrier(folder: Path) -> str:
    """The carrier that a folder is named after, written as everybody else writes it: a Mac takes the accents off their letters."""
    name = unicodedata.normalize("NFC", folder.name)
    # Letters, the marks that belong to them in some scripts, and numbers.
    known = all(character in MARKS_IN_NAMES or character == " " or unicodedata.category(character)[0] in "LMN" for character in name)
    if not known or len(name) > LONGEST_NAME or name != name.strip():
        raise RateCardError(
            f"{_shown(folder)}: is no name of a carrier; give 1 to {LONGEST_NAME} letters, digits, blanks "
            f"and {' '.join(MARKS_IN_NAMES)} in UTF-8, no blank at either end"
        )
    return name


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what systems keep there."""
    with _readable(folder):
        return [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(HIDDEN)]


def _read_files(folder: Path, name: str | None) -> _CarrierFiles:
    """The files of a carrier. A CSV of a name that we do not know is most likely a misspelt one, which would be missed silently.

    That of an only carrier is passed over all the same, as ever: its folder has always been allowed to hold more.
    """
    entries = _entries(folder)
    names = {entry.name for entry in entries}
    cards: dict[Service, _File] = {}
    others: dict[str, _File] = {}
    for entry in entries:
        known = entry.name.lower()
        service = FILE_NAMES.get(known)
        if service is not None:
            if service in cards:
                raise RateCardError(f"{_shown(entry)}: a second rate card for {service}; keep one of them")
            cards[service] = _read_file(entry)
        elif known in OTHER_FILES:
            # What has always been passed over in an only carrier's folder must not end its start now.
            if name is None and ((entry.name != known and known in names) or not _is_file(entry)):
                continue
            if known in others:
                raise RateCardError(f"{_shown(entry)}: a second {known}; keep one of them")
            others[known] = _read_file(entry)
        elif name is not None and entry.suffix.lower() == ".csv" and not _is_folder(entry):
            raise RateCardError(
                f"{_shown(entry)}: is no known name; give it one of {', '.join([*FILE_NAMES, *OTHER_FILES])}, or take it away"
            )
    if not cards:
        raise RateCardError(
            f"{_shown(folder)}: no rate card; known names: {', '.join(FILE_NAMES)}; "
            "each folder here is a carrier's: put its cards right into it, or take it away"
        )
    if TRANSIT_DAYS not in others:
        others[TRANSIT_DAYS] = _read_file(SHIPPED_RATE_CARDS / TRANSIT_DAYS)
    return _CarrierFiles(folder, name, cards, others)


def _is_file(path: Path) -> bool:
    with _readable(path):
        return path.is_file()


def _is_folder(path: Path) -> bool:
    with _readable(path):
        return path.is_dir()


def _read_file(path: Path) -> _File:
    """A file's text, which must be such that it can be kept: a database takes no NUL, so every later decision would fail."""
    shown = _shown(path)
    with _readable(path):
        if path.is_dir():
            raise RateCardError(f"{shown}: is a folder; put the file of this name in its place")
        if not path.exists():
            raise RateCardError(f"{shown}: points to nothing; mend the link, or put the file in its place")
        # A pipe, say: reading it might never end.
        if not path.is_file():
            raise RateCardError(f"{shown}: is no file; put the file of this name in its place")
        content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RateCardError(f"{shown}: is no UTF-8: {error}; save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RateCardError(f"{shown}: line {line}: holds a NUL character, which no text has; save it as UTF-8 text anew")
    return _File(path, content, text)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says of which file or folder the system tells that it cannot be read."""
    try:
        yield
    except OSError as error:
        raise RateCardError(
            f"{_shown(path)}: cannot be read: {error.strerror}; let the user that routing runs as read it, or take it away"
        ) from error


def _shown(path: Path) -> str:
    """A path in one line that can be written anywhere: names need not be UTF-8, and may hold line breaks."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in str(path))


def _quoted(cell: str) -> str:
    """What a cell holds, or the beginning of it: a card with a lost quote has a cell as long as the file."""
    return repr(cell if len(cell) <= MOST_SHOWN else cell[:MOST_SHOWN] + "...")


def _whole(cell: str, least: int = 0, most: int = 10**MOST_DIGITS) -> int | None:
    """A whole number from ``least`` to ``most``; None where it is none. Python itself refuses to read numbers of thousands of digits."""
    if not cell.isdecimal() or len(cell) > MOST_DIGITS:
        return None
    return int(cell) if least <= int(cell) <= most else None


def _check_services(folder: Path, carriers: Sequence[Carrier], *, only: bool) -> None:
    """Every service must be somebody's."""
    missing = [service for service in SERVICES if not any(service in carrier.cards for carrier in carriers)]
    if missing:
        hint = ""
        if only and any(_is_folder(entry) for entry in _entries(folder)):
            hint = "; cards lie in this folder itself, so they are one carrier's and its subfolders are passed over"
        raise RateCardError(f"{_shown(folder)}: no rate card for {', '.join(missing)}; known names: {', '.join(FILE_NAMES)}{hint}")


def _load_carrier(files: _CarrierFiles, name: str) -> tuple[Carrier, str]:
    """One carrier's cards, and a digest of all that was read."""
    cards = {service: _read_card(file, service) for service, file in files.cards.items()}
    transit_file = files.others[TRANSIT_DAYS]
    chart_file = files.others.get(ZONE_CHART)
    dimensional_file = files.others.get(DIMENSIONAL)
    if dimensional_file is not None:
        rules = _read_dimensional(dimensional_file)
        cards = {service: replace(card, dimensional=rules[service]) for service, card in cards.items()}
    digest = hashlib.sha256()
    # Decisions of before name the version that comes of just this order.
    for file in (*files.cards.values(), transit_file, chart_file, dimensional_file):
        if file is not None:
            digest.update(file.content)
    carrier = Carrier(
        name=name,
        cards=cards,
        transit_days=_read_transit_days(transit_file, [service for service in SERVICES if service in cards]),
        offshore_days=OFFSHORE_DAYS,
        chart=None if chart_file is None else _read_zone_chart(chart_file),
    )
    return carrier, digest.hexdigest()


def _rows(file: _File) -> Iterator[tuple[int, list[str]]]:
    """Rows with their number in the file; empty ones are passed over."""
    number = 0
    try:
        for number, row in enumerate(csv.reader(io.StringIO(file.text.removeprefix("\ufeff"), newline="")), start=1):
            if any(cell.strip() for cell in row):
                yield number, [cell.strip() for cell in row]
    except csv.Error as error:
        raise RateCardError(f"{file}: row {number + 1}: is no CSV: {error}; look for a quote that is not closed") from error


def _read_card(file: _File, service: Service) -> RateCard:
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


def _zone(file: _File, position: int, name: str) -> int | str:
    """The zone that a column is for: its number without the service's hundreds, or ``res``."""
    if name == "res":
        return name
    if _whole(name) is None:
        raise RateCardError(f"{file}: row 1, column {position}: {_quoted(name)} is neither a zone number nor res")
    return int(name) % 100


def _cents(file: _File, row: int, column: str, cell: str) -> int:
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


def _read_transit_days(file: _File, needed: Sequence[Service]) -> dict[Service, dict[int, int]]:
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


def _read_dimensional(file: _File) -> dict[Service, DimensionalWeight | None]:
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


def _read_zone_chart(file: _File) -> ZoneChart:
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
