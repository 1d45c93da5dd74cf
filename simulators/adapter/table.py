"""Reading merchants' CSV files, gzip or not, row by row as a spreadsheet numbers them, without losing one."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from shared.errors import OrdermeshError

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_FIELD = 1_000_000

ZERO_DECIMAL_CURRENCIES = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
THREE_DECIMAL_CURRENCIES = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


class UnreadableFileError(OrdermeshError):
    """The file is not what its reader expects; the text names the file and what would be right."""


@dataclass(frozen=True, slots=True)
class Row:
    """One data row. ``number`` counts as spreadsheets do: the heading is row 1. ``cells`` is None when their number is wrong."""

    number: int
    cells: dict[str, str] | None
    raw: tuple[str, ...]

    def cell(self, column: str) -> str:
        """One cell without surrounding blanks; a column that the file does not have is empty."""
        return (self.cells or {}).get(column, "").strip()


def read_text(path: Path) -> str:
    """The file as text: UTF-8 with or without a mark, else Windows-1252 (what spreadsheets save).

    Raises:
        UnreadableFileError: it cannot be opened or unpacked, or holds bytes that are no text.
    """
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(f"{path}: cannot be read ({error})") from error
    if b"\x00" in content:
        raise UnreadableFileError(f"{path}: holds NUL bytes, so it is no CSV text (an .xlsx must be saved as CSV first)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_table(text: str, path: Path) -> tuple[list[str], Iterator[Row]]:
    """The heading and the rows.

    Raises:
        UnreadableFileError: there is no heading (here), or a quote is never closed (while iterating).
    """
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        heading = [name.strip() for name in next(reader)]
    except StopIteration as error:
        raise UnreadableFileError(f"{path}: is empty; a CSV with a heading row is needed") from error
    return heading, _rows(reader, heading, path)


def _rows(reader: Iterator[list[str]], heading: list[str], path: Path) -> Iterator[Row]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFileError(f"{path}: row {number} is no CSV: {error}") from error
        right = len(cells) == len(heading)
        yield Row(number, dict(zip(heading, cells, strict=True)) if right else None, tuple(cells))


def decimals_of(currency: str) -> int:
    """Digits after the point in a currency's amounts (ISO 4217)."""
    if currency in ZERO_DECIMAL_CURRENCIES:
        return 0
    return 3 if currency in THREE_DECIMAL_CURRENCIES else 2


def decimal_of(text: str) -> Decimal | None:
    """A finite decimal number, or None for anything else."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def whole_number_of(text: str) -> int | None:
    """A whole number (also written as 17850.0), or None for anything else."""
    number = decimal_of(text)
    if number is None or abs(number) >= 10**15 or number != number.to_integral_value():
        return None
    return int(number)


def minor_units_of(text: str, currency: str) -> int | None:
    """An amount in minor units, rounded half up, or None when it is no number."""
    number = decimal_of(text)
    if number is None or abs(number) >= 10**15:
        return None
    scaled = number.scaleb(decimals_of(currency))
    return int(scaled.quantize(Decimal(1), rounding="ROUND_HALF_UP"))
