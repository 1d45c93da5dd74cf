"""Counts that a person uploads as CSV: reading whatever spreadsheets save, row by row, and saying what is wrong with each.

The reader is fed bytes as they come and keeps no more than one unfinished row, so a file may be larger than memory.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MOST_ROWS = 1_000_000
MOST_BYTES = 128 * 1024 * 1024
LONGEST_LINE_BYTES = 64 * 1024
MOST_UNITS = 1_000_000_000
SKU_CHARACTERS = 64

DELIMITERS = (",", ";", "\t", "|")
REQUIRED = ("sku", "location", "on_hand")
OPTIONAL = ("damaged", "quality_control")
OTHER_NAMES = {"onhand": "on_hand", "quantity": "on_hand", "qty": "on_hand", "qc": "quality_control"}
"""What spreadsheets call the columns as well."""

LOCATION_CODE = re.compile(r"^[a-z0-9][a-z0-9_-]{0,39}$")


class FileRefused(Exception):
    """The file as a whole cannot be read.

    Args:
        problem: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy


class Problem(NamedTuple):
    """What is wrong with one row, in which column, and the way out."""

    column: str
    problem: str
    remedy: str


class CountRow(NamedTuple):
    """One row of a file as it was read. ``row_number`` is the line of the file on which it begins; the first is 1."""

    row_number: int
    sku: str | None
    location: str | None
    on_hand: int | None
    damaged: int | None
    quality_control: int | None
    problem: Problem | None = None


class _MoreNeeded(Exception):
    """The bytes end in the middle of a row."""


class _Lines:
    """Hands decoded lines to the CSV reader and takes those of an unfinished row back, to hand them out again when more has come."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.line_number = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self.waiting:
            if self.ended:
                raise StopIteration
            raise _MoreNeeded
        line = self.waiting.popleft()
        self.taken.append(line)
        self.line_number += 1
        return line

    def finish_row(self) -> None:
        self.taken.clear()

    def take_back(self) -> None:
        self.waiting.extendleft(reversed(self.taken))
        self.line_number -= len(self.taken)
        self.taken.clear()


class CountFile:
    """Reads one file. Feed it bytes, take rows, end it, take the rest."""

    def __init__(self) -> None:
        self.encodings: set[str] = set()
        self.delimiter: str | None = None
        self.ignored_columns: list[str] = []
        self.rows_read = 0
        self._bytes_read = 0
        self._unfinished = b""
        self._lines = _Lines()
        self._reader: Iterator[list[str]] | None = None
        self._columns: list[str | None] = []

    @property
    def encoding(self) -> str:
        """What the lines were written in; files that several programs have touched mix encodings."""
        return " and ".join(sorted(self.encodings)) or "ascii"

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            FileRefused: too many bytes, a line without end, or no text.
        """
        if not self._bytes_read and chunk[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise FileRefused("the file is UTF-16", "save it as CSV UTF-8 and upload it again")
        self._bytes_read += len(chunk)
        if self._bytes_read > MOST_BYTES:
            raise FileRefused(f"the file is larger than {MOST_BYTES // 1024 // 1024} MB", "split it and upload the parts")
        lines = (self._unfinished + chunk).splitlines(keepends=True)
        # A last line that ends in a carriage return may still get its line feed.
        self._unfinished = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(self._unfinished) > LONGEST_LINE_BYTES:
            raise FileRefused(f"a line is longer than {LONGEST_LINE_BYTES} bytes", "this is no CSV of counts: check the file")
        for line in lines:
            self._lines.waiting.append(self._decoded(line))

    def end(self) -> None:
        """Nothing more comes."""
        if self._unfinished:
            self._lines.waiting.append(self._decoded(self._unfinished))
            self._unfinished = b""
        self._lines.ended = True

    def _decoded(self, line: bytes) -> str:
        """One line. Whatever is no UTF-8 is what Windows writes in western Europe and America; the rest of a file is judged anew."""
        if b"\x00" in line:
            raise FileRefused("the file holds bytes that are no text", "save it as CSV UTF-8 and upload it again")
        if line.isascii():
            return line.decode("ascii")
        try:
            text = line.decode("utf-8-sig" if not self._lines.line_number and not self._lines.waiting else "utf-8")
        except UnicodeDecodeError:
            self.encodings.add("windows-1252")
            return line.decode("cp1252", "replace")
        self.encodings.add("utf-8")
        return text

    def rows(self) -> Iterator[CountRow]:
        """The rows that have come completely.

        Raises:
            FileRefused: no usable header, too many rows, or a quote that is never closed.
        """
        while (found := self._next_row()) is not None:
            row_number, cells = found
            if not any(cell.strip() for cell in cells):
                continue
            if not self._columns:
                self._take_header(cells)
                continue
            self.rows_read += 1
            if self.rows_read > MOST_ROWS:
                raise FileRefused(f"the file has more than {MOST_ROWS:,} rows", "split it and upload the parts")
            yield self._row(row_number, cells)
        if self._lines.ended and not self._columns:
            raise FileRefused("the file is empty", f"the first line must name the columns {', '.join(REQUIRED)}")

    def _next_row(self) -> tuple[int, list[str]] | None:
        if self._reader is None and not self._choose_delimiter():
            return None
        assert self._reader is not None
        row_number = self._lines.line_number + 1
        try:
            cells = next(self._reader)
        except _MoreNeeded:
            self._lines.take_back()
            return None
        except StopIteration:
            return None
        except csv.Error as error:
            remedy = "close every quote, or double those that belong to the text"
            raise FileRefused(f"line {row_number} and those after it cannot be read ({error})", remedy) from error
        self._lines.finish_row()
        return row_number, cells

    def _choose_delimiter(self) -> bool:
        """Judges by the first line that is not empty: the delimiter with which it names the columns."""
        while self._lines.waiting and not self._lines.waiting[0].strip(" \t\r\n,;|"):
            self._lines.waiting.popleft()
            self._lines.line_number += 1
        if not self._lines.waiting:
            return False
        header = self._lines.waiting[0]
        counts = {delimiter: len(set(REQUIRED) & set(_names(header, delimiter))) for delimiter in DELIMITERS}
        self.delimiter = max(DELIMITERS, key=lambda delimiter: counts[delimiter])
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        return True

    def _take_header(self, cells: Sequence[str]) -> None:
        names = [_column_name(cell) for cell in cells]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FileRefused(
                f"the first line names no column {' and no column '.join(missing)}",
                f"name the columns {', '.join(REQUIRED)} in the first line; {' and '.join(OPTIONAL)} may follow",
            )
        known = [name for name in names if name in REQUIRED + OPTIONAL]
        twice = next((name for name in known if known.count(name) > 1), None)
        if twice is not None:
            raise FileRefused(f"the first line names the column {twice} twice", "keep one of them")
        self._columns = [name if name in known else None for name in names]
        self.ignored_columns = [cell.strip()[:40] for cell, name in zip(cells, self._columns, strict=True) if name is None and cell.strip()]

    def _row(self, row_number: int, cells: Sequence[str]) -> CountRow:
        values = {name: cell.strip() for name, cell in zip(self._columns, cells, strict=False) if name is not None}
        sku, location = values.get("sku", ""), values.get("location", "")
        problem = _shape_problem(len(self._columns), cells) or _sku_problem(sku) or _location_problem(location)
        units: dict[str, int | None] = {}
        for column in ("on_hand", *OPTIONAL):
            text = values.get(column, "")
            units[column], wrong = (None, None) if not text and column in OPTIONAL else _units(column, text)
            problem = problem or wrong
        row = CountRow(
            row_number, sku[:SKU_CHARACTERS] or None, location[:40] or None, units["on_hand"], units["damaged"], units["quality_control"]
        )
        return row._replace(problem=problem or _parts_problem(row))


def _names(header: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [_column_name(cell) for cell in cells]


def _column_name(cell: str) -> str:
    name = re.sub(r"[\s_-]+", "_", cell.strip().strip("\ufeff").lower())
    return OTHER_NAMES.get(name, name)


def _shape_problem(columns: int, cells: Sequence[str]) -> Problem | None:
    if len(cells) > columns and any(cell.strip() for cell in cells[columns:]):
        return Problem("row", f"has {len(cells)} fields, the first line has {columns}", "put text that holds the delimiter into quotes")
    return None


def _sku_problem(sku: str) -> Problem | None:
    if not sku:
        return Problem("sku", "is empty", "write the product's SKU")
    if len(sku) > SKU_CHARACTERS:
        return Problem("sku", f"is longer than {SKU_CHARACTERS} characters", "write the product's SKU as it is registered")
    if re.search(r"[\x00-\x1f]", sku):
        return Problem("sku", "holds a line break or another control character", "write the SKU on one line; check the quotes around it")
    if "\ufffd" in sku:
        return Problem("sku", "holds a character that could not be read", "save the file as CSV UTF-8")
    return None


def _location_problem(location: str) -> Problem | None:
    if not location:
        return Problem("location", "is empty", "write the location's code")
    if not LOCATION_CODE.fullmatch(location):
        return Problem(
            "location", f"{location[:40]!r} is no location code", "codes are lower case, without spaces, as the location is registered"
        )
    return None


def _units(column: str, text: str) -> tuple[int | None, Problem | None]:
    """A count of whole units; anything else is refused, because guessing what ``1.000`` means would move stock."""
    if not text:
        return None, Problem(column, "is empty", "write how many units are there; 0 if there are none")
    if text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= MOST_UNITS:
        return int(text), None
    if re.fullmatch(r"-\s*\d+", text):
        return None, Problem(column, f"{text[:40]!r} is negative", "write how many units are there, 0 or more")
    if re.fullmatch(r"[+-]?\d+[.,]\d+", text):
        return None, Problem(column, f"{text[:40]!r} is no whole number", "write whole units without points or commas")
    if text.isascii() and text.isdigit():
        return None, Problem(column, f"{text[:40]!r} is more than {MOST_UNITS:,}", "check the number")
    return None, Problem(column, f"{text[:40]!r} is no number of units", "write a whole number in digits")


def _parts_problem(row: CountRow) -> Problem | None:
    parts = (row.damaged or 0) + (row.quality_control or 0)
    if row.on_hand is not None and parts > row.on_hand:
        return Problem(
            "on_hand",
            f"{row.on_hand} is less than damaged and quality_control together ({parts})",
            "on_hand counts every unit there, whatever its state",
        )
    return None


def safe_cell(text: object) -> str:
    """A value for a file that a spreadsheet opens: text that would be taken for a formula is marked as text.

    Source: OWASP, CSV Injection.
    """
    written = "" if text is None else str(text)
    return f"'{written}" if written[:1] in ("=", "+", "-", "@", "\t", "\r") else written
