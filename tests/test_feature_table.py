"""docs/features.md tells the truth: every feature has one row, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "features.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.splitlines() if re.match(r"\| [A-I]\d+ ", line)]
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FEATURES = {"A": 11, "B": 8, "C": 12, "D": 6, "E": 8, "F": 10, "G": 4, "H": 4, "I": 5}
"""How many features each chapter has."""


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests of a file, of its classes too."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_feature_has_one_row_in_order() -> None:
    assert [row[0] for row in ROWS] == [f"{chapter}{number}" for chapter, count in FEATURES.items() for number in range(1, count + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_feature_that_is_there_names_its_proof_and_one_that_is_not_names_none(row: list[str]) -> None:
    _, promise, status, proof = row
    assert promise
    assert status in ("done", "main path", "not yet")
    assert bool(PROOF.findall(proof)) == (status != "not yet")


def test_every_scenario_names_its_proof_or_says_what_is_missing() -> None:
    scenarios = [line for line in DOCUMENT.split("## Scenarios from real bugs")[1].splitlines() if line.startswith("| ")][1:]
    assert len(scenarios) >= 24
    assert [line for line in scenarios if not PROOF.search(line) and "| missing: " not in line] == []


@pytest.mark.parametrize(("path", "name"), sorted(set(PROOF.findall(DOCUMENT))))
def test_a_named_test_exists(path: str, name: str) -> None:
    assert name in names_in(ROOT / path)


def test_whatever_looks_like_a_proof_is_one() -> None:
    assert re.findall(r"`tests/[^`]*`", PROOF.sub("", DOCUMENT.replace("`tests/test_feature_table.py`", ""))) == []
