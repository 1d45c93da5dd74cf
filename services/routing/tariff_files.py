"""Reads rate cards and transit days from files: one carrier's in a folder, or several carriers' in a folder each, named after them.

Where cards lie in the folder itself they are one carrier's, and its subfolders are passed over: old cards, or what Kubernetes keeps beside
the files of a ConfigMap. Where none do, every subfolder is a carrier's. File names are read in whatever case.

What is in the files is read by ``tariff_tables.py``.
"""

from __future__ import annotations

import hashlib
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.routing.decide.tariffs import SERVICES, Carrier, Service, Tariffs
from services.routing.tariff_tables import (
    RateCardError,
    TableFile,
    read_card,
    read_dimensional,
    read_transit_days,
    read_zone_chart,
    shown,
)

SHIPPED_RATE_CARDS = Path(__file__).parent / "rate_cards"
TRANSIT_DAYS = "transit_days.csv"
ZONE_CHART = "zones.csv"
DIMENSIONAL = "dimensional.csv"

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

OTHER_FILES = (TRANSIT_DAYS, ZONE_CHART, DIMENSIONAL)

ONLY_CARRIER = "parcel-carrier"
HIDDEN = (".", "__")
"""What the names of files and folders begin with that systems put beside ours: Kubernetes' ``..data``, ``.git``, a Mac's ``__MACOSX``."""
NO_CARRIER = "lost+found"
"""Lies in every volume that is a file system of its own, and cannot be moved away."""
LONGEST_NAME = 120
MARKS_IN_NAMES = "-_.&'()+,"
VERSION_CHARACTERS = 12


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
    cards: Mapping[Service, TableFile]
    others: Mapping[str, TableFile]


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
                f"{shown(folder)}: no such folder; give the folder that holds ground.csv, two_day.csv and next_day.csv, "
                "or that holds such a folder for each of several carriers"
            )
    # By name alone: a card that cannot be read must not turn the old cards beside it into carriers.
    if any(entry.name.lower() in FILE_NAMES for entry in _entries(folder)):
        return [_read_files(folder, None)]
    folders = _folders_of_carriers(folder)
    if not folders:
        raise RateCardError(f"{shown(folder)}: no rate card; known names: {', '.join(FILE_NAMES)}; or a folder with them for each carrier")
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
                        raise RateCardError(f"{shown(entry)}: is the name of {shown(alike)} but for its case; rename one of them")
                    folders[name] = entry
            elif not entry.exists():
                raise RateCardError(f"{shown(entry)}: points to nothing; mend the link, or take it away")
            elif entry.suffix.lower() == ".csv":
                loose.append(entry)
    if folders and loose:
        raise RateCardError(
            f"{shown(loose[0])}: lies beside the folders of carriers and is no rate card, so it would be nobody's; "
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
            f"{shown(folder)}: is no name of a carrier; give 1 to {LONGEST_NAME} letters, digits, blanks "
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
    cards: dict[Service, TableFile] = {}
    others: dict[str, TableFile] = {}
    for entry in entries:
        known = entry.name.lower()
        service = FILE_NAMES.get(known)
        if service is not None:
            if service in cards:
                raise RateCardError(f"{shown(entry)}: a second rate card for {service}; keep one of them")
            cards[service] = _read_file(entry)
        elif known in OTHER_FILES:
            # What has always been passed over in an only carrier's folder must not end its start now.
            if name is None and ((entry.name != known and known in names) or not _is_file(entry)):
                continue
            if known in others:
                raise RateCardError(f"{shown(entry)}: a second {known}; keep one of them")
            others[known] = _read_file(entry)
        elif name is not None and entry.suffix.lower() == ".csv" and not _is_folder(entry):
            raise RateCardError(
                f"{shown(entry)}: is no known name; give it one of {', '.join([*FILE_NAMES, *OTHER_FILES])}, or take it away"
            )
    if not cards:
        raise RateCardError(
            f"{shown(folder)}: no rate card; known names: {', '.join(FILE_NAMES)}; "
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


def _read_file(path: Path) -> TableFile:
    """A file's text, which must be such that it can be kept: a database takes no NUL, so every later decision would fail."""
    named = shown(path)
    with _readable(path):
        if path.is_dir():
            raise RateCardError(f"{named}: is a folder; put the file of this name in its place")
        if not path.exists():
            raise RateCardError(f"{named}: points to nothing; mend the link, or put the file in its place")
        # A pipe, say: reading it might never end.
        if not path.is_file():
            raise RateCardError(f"{named}: is no file; put the file of this name in its place")
        content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RateCardError(f"{named}: is no UTF-8: {error}; save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RateCardError(f"{named}: line {line}: holds a NUL character, which no text has; save it as UTF-8 text anew")
    return TableFile(path, content, text)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says of which file or folder the system tells that it cannot be read."""
    try:
        yield
    except OSError as error:
        raise RateCardError(
            f"{shown(path)}: cannot be read: {error.strerror}; let the user that routing runs as read it, or take it away"
        ) from error


def _check_services(folder: Path, carriers: Sequence[Carrier], *, only: bool) -> None:
    """Every service must be somebody's."""
    missing = [service for service in SERVICES if not any(service in carrier.cards for carrier in carriers)]
    if missing:
        hint = ""
        if only and any(_is_folder(entry) for entry in _entries(folder)):
            hint = "; cards lie in this folder itself, so they are one carrier's and its subfolders are passed over"
        raise RateCardError(f"{shown(folder)}: no rate card for {', '.join(missing)}; known names: {', '.join(FILE_NAMES)}{hint}")


def _load_carrier(files: _CarrierFiles, name: str) -> tuple[Carrier, str]:
    """One carrier's cards, and a digest of all that was read."""
    cards = {service: read_card(file, service) for service, file in files.cards.items()}
    transit_file = files.others[TRANSIT_DAYS]
    chart_file = files.others.get(ZONE_CHART)
    dimensional_file = files.others.get(DIMENSIONAL)
    if dimensional_file is not None:
        rules = read_dimensional(dimensional_file)
        cards = {service: replace(card, dimensional=rules[service]) for service, card in cards.items()}
    digest = hashlib.sha256()
    # Decisions of before name the version that comes of just this order.
    for file in (*files.cards.values(), transit_file, chart_file, dimensional_file):
        if file is not None:
            digest.update(file.content)
    carrier = Carrier(
        name=name,
        cards=cards,
        transit_days=read_transit_days(transit_file, [service for service in SERVICES if service in cards]),
        offshore_days=OFFSHORE_DAYS,
        chart=None if chart_file is None else read_zone_chart(chart_file),
    )
    return carrier, digest.hexdigest()
