"""Reading CSV files of counts: what spreadsheets really save, fed in pieces of any size."""

from __future__ import annotations

import contextlib
import csv
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocation.decide import uploads
from services.allocation.decide.uploads import CountFile, CountRow, FileRefused, safe_cell

HEADER = b"sku,location,on_hand\n"


def read(content: bytes, size: int = 65_536) -> tuple[list[CountRow], CountFile]:
    """All rows of a file that comes in pieces."""
    file, rows = CountFile(), []
    for start in range(0, len(content), size):
        file.feed(content[start : start + size])
        rows += list(file.rows())
    file.end()
    rows += list(file.rows())
    return rows, file


def problem_of(content: bytes) -> tuple[str, str]:
    (row,), _ = read(HEADER + content)
    assert row.problem is not None
    assert row.problem.remedy
    return row.problem.column, row.problem.problem


@pytest.mark.parametrize("size", [1, 2, 7, 65_536])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["unix", "windows", "old_mac"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_file_of_any_delimiter_and_line_end_is_read_in_pieces_of_any_size(delimiter: str, end: bytes, size: int) -> None:
    lines = [["SKU", "Location", "On hand", "Damaged"], ["MUG", "reno", "12", "1"], ["CUP", "reno", "0", ""]]
    content = end.join(delimiter.join(line).encode() for line in lines)
    rows, file = read(content, size)
    assert rows == [CountRow(2, "MUG", "reno", 12, 1, None), CountRow(3, "CUP", "reno", 0, None, None)]
    assert file.delimiter == delimiter


@pytest.mark.parametrize("size", [1, 3, 65_536])
def test_lines_in_different_encodings_are_each_read_in_their_own(size: int) -> None:
    content = b"\xef\xbb\xbf" + HEADER + "TÉLÉ,reno,1\n".encode() + "CAFÉ,reno,2\n".encode("cp1252") + "ÜBER,reno,3\n".encode("latin-1")
    rows, file = read(content, size)
    assert [(row.sku, row.on_hand, row.problem) for row in rows] == [("TÉLÉ", 1, None), ("CAFÉ", 2, None), ("ÜBER", 3, None)]
    assert file.encoding == "utf-8 and windows-1252"


def test_a_file_in_utf_16_is_refused_with_the_way_out() -> None:
    with pytest.raises(FileRefused, match="save it as CSV UTF-8"):
        read((HEADER + b"MUG,reno,1\n").decode().encode("utf-16"))
    with pytest.raises(FileRefused, match="no text"):
        read(HEADER + b"M\x00UG,reno,1\n")


def test_quoted_line_breaks_keep_the_numbers_of_the_following_rows_right() -> None:
    rows, _ = read(HEADER + b'"MU\nG",reno,1\nCUP,reno,2\n', size=5)
    assert [(row.row_number, row.sku) for row in rows] == [(2, "MU\nG"), (4, "CUP")]
    assert rows[0].problem is not None
    assert "line break" in rows[0].problem.problem


def test_a_quote_that_is_never_closed_refuses_the_file_and_names_the_line() -> None:
    with pytest.raises(FileRefused, match="line 3 and those after it"):
        read(HEADER + b'MUG,reno,1\n"CUP,reno,2\nHAT,reno,3\n')


def test_empty_lines_are_no_rows_wherever_they_stand() -> None:
    rows, _ = read(b"\n,,\n" + HEADER + b"\nMUG,reno,1\n , ,\n\n\nCUP,reno,2\n\n")
    assert [(row.row_number, row.sku) for row in rows] == [(5, "MUG"), (9, "CUP")]


def test_quoted_delimiters_and_quotes_belong_to_the_text() -> None:
    rows, _ = read(HEADER + b'"MUG, 12"" wide",reno,4\n')
    assert rows[0].sku == 'MUG, 12" wide'


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (b"MUG,reno,-3\n", "on_hand", "'-3' is negative"),
        (b"MUG,reno,2.5\n", "on_hand", "'2.5' is no whole number"),
        (b'MUG,reno,"1,000"\n', "on_hand", "'1,000' is no whole number"),
        (b"MUG,reno,12.0\n", "on_hand", "'12.0' is no whole number"),
        (b"MUG,reno,many\n", "on_hand", "'many' is no number of units"),
        (b"MUG,reno,+5\n", "on_hand", "'+5' is no number of units"),
        ("MUG,reno,١٢\n".encode(), "on_hand", "'١٢' is no number of units"),
        (b"MUG,reno,1000000001\n", "on_hand", "'1000000001' is more than 1,000,000,000"),
        (b"MUG,reno," + b"9" * 5_000 + b"\n", "on_hand", f"'{'9' * 40}' is more than 1,000,000,000"),
        (b"MUG,reno,\n", "on_hand", "is empty"),
        (b"MUG,reno\n", "on_hand", "is empty"),
        (b",reno,1\n", "sku", "is empty"),
        (b"M" * 65 + b",reno,1\n", "sku", "is longer than 64 characters"),
        (b"MUG,,1\n", "location", "is empty"),
        (b"MUG,Reno 1,1\n", "location", "'Reno 1' is no location code"),
        (b"MUG,reno,1,7\n", "row", "has 4 fields, the first line has 3"),
    ],
)
def test_a_wrong_row_names_its_column_and_what_is_wrong(row: bytes, column: str, problem: str) -> None:
    assert problem_of(row) == (column, problem)


def test_parts_that_exceed_the_whole_are_wrong() -> None:
    (row,), _ = read(b"sku,location,on_hand,damaged,quality_control\nMUG,reno,2,2,1\n")
    assert row.problem is not None
    assert row.problem.problem == "2 is less than damaged and quality_control together (3)"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"MUG,reno,1\n", "names no column sku and no column location and no column on_hand"),
        (b"sku,location\nMUG,reno\n", "names no column on_hand"),
        (b"sku,location,qty,on_hand\n", "names the column on_hand twice"),
        (HEADER + b"M" * 70_000, "a line is longer than"),
    ],
)
def test_a_file_that_is_no_list_of_counts_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(FileRefused, match=problem):
        read(content)


def test_columns_that_mean_nothing_here_are_ignored_and_named() -> None:
    rows, file = read(b"title,SKU,price,location,QTY\nA mug,MUG,9.99,reno,3\n")
    assert rows == [CountRow(2, "MUG", "reno", 3, None, None)]
    assert file.ignored_columns == ["title", "price"]


def test_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_ROWS", 3)
    with pytest.raises(FileRefused, match="more than 3 rows: split it"):
        read(HEADER + b"MUG,reno,1\n" * 4)
    monkeypatch.setattr(uploads, "MOST_BYTES", 20)
    with pytest.raises(FileRefused, match="larger than"):
        read(HEADER)


def test_a_long_file_is_read_with_little_memory() -> None:
    """50,000 rows come and go in less memory than the bytes of the file."""
    file, rows = CountFile(), 0
    chunk = b"".join(f"SKU-{number},reno,{number}\n".encode() for number in range(500))
    file.feed(HEADER)
    tracemalloc.start()
    for _ in range(100):
        file.feed(chunk)
        rows += sum(1 for _ in file.rows())
    file.end()
    rows += sum(1 for _ in file.rows())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 50_000
    assert peak_bytes < 100 * len(chunk) / 2


@settings(max_examples=200, deadline=None)
@given(
    table=st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12), st.integers(0, 10**9)),
        max_size=8,
    ),
    delimiter=st.sampled_from(uploads.DELIMITERS),
    size=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_spreadsheet_writes_is_read_back(table: list[tuple[str, int]], delimiter: str, size: int, end: str) -> None:
    table = [(sku.strip(), units) for sku, units in table if sku.strip() and "\ufffd" not in sku]
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator=end)
    writer.writerow(["sku", "location", "on_hand"])
    writer.writerows([sku, "reno", units] for sku, units in table)
    rows, _ = read(written.getvalue().encode(), size)
    assert [(row.sku, row.location, row.on_hand, row.problem) for row in rows] == [(sku, "reno", units, None) for sku, units in table]


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_bytes_break_the_reader(content: bytes, size: int) -> None:
    """Every file is either read, each wrong row with its way out, or refused with the way out."""
    remedies = []
    with contextlib.suppress(FileRefused):
        rows, _ = read(HEADER + content, size)
        remedies = [row.problem.remedy for row in rows if row.problem]
    assert all(remedies)


def test_text_that_a_spreadsheet_would_run_is_marked_as_text() -> None:
    assert [safe_cell(text) for text in ("=1+1", "@x", "-A", "+A", "MUG", 5, None)] == ["'=1+1", "'@x", "'-A", "'+A", "MUG", "5", ""]
