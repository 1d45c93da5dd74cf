"""Case tables that were translated from the tests of other systems: read at run time from the folder of real inputs beside the project.

Nothing of the tables is kept here. A case is three small documents: what is given, what is done, what is expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, Literal

Json = Any
Fit = Literal["direct", "policy", "contrast"]

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cases"
"""Beside the project, like all real inputs."""

NO_QUANTITIES = frozenset({"point", "radius_km", "lat", "lon"})
"""What is measured on the map is not counted in units."""

ANY_QUANTITY = 5
"""For ``x``, ``n``, ``any qty``: a number that the case leaves open."""


@dataclass(frozen=True)
class Quantity:
    """Units on a shelf as a table writes them: ``6``, ``5.5``, ``"6 (flagged out of stock)"``, ``">0"``, ``-15``."""

    units: int
    sellable: bool = True


@dataclass(frozen=True)
class Case:
    """One case of one peer."""

    peer: str
    id: str
    test: str
    area: str
    given: Mapping[str, Json]
    when: Mapping[str, Json]
    expect: Mapping[str, Json]
    fit: Fit
    note: str = ""
    fixtures: Mapping[str, Json] = field(default_factory=dict, repr=False)

    @property
    def fixture(self) -> Mapping[str, Json]:
        """The shared set-up that the case names; empty when it names none."""
        name = self.given.get("fixture")
        fixture: Mapping[str, Json] = self.fixtures[name] if name else {}
        return fixture

    def mentions(self, word: str) -> bool:
        """Whether the case itself speaks of a SKU, beside its fixture, in whatever case of letters."""
        return word.lower() in json.dumps([self.given, self.when, self.expect]).lower()

    @property
    def scale(self) -> int:
        """Our units are whole: the smallest number that makes all quantities of the case whole when they are multiplied by it."""
        stock = self.fixture.get("stock", {})
        own_stock = [quantity for shelf in stock.values() for sku, quantity in shelf.items() if self.mentions(sku)]
        documents = [self.given, self.when, self.expect, own_stock]
        return lcm(1, *(number.denominator for document in documents for number in _numbers(document)))

    def units(self, value: Json) -> int:
        """A quantity of the table in our whole units.

        Raises:
            ValueError: it is no number.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no quantity")
        scaled = Fraction(str(value)) * self.scale
        assert scaled.denominator == 1
        return int(scaled)

    def quantity(self, value: Json) -> Quantity:
        """What stands on a shelf, in our whole units.

        Raises:
            ValueError: the text is none that a table uses.
        """
        if isinstance(value, str):
            flagged = re.fullmatch(r"(\d+) \(flagged out of stock\)", value)
            if flagged:
                return Quantity(int(flagged.group(1)) * self.scale, sellable=False)
            if value in (">0", "x", "n"):
                return Quantity(ANY_QUANTITY)
            raise ValueError(f"{value!r} is no quantity")
        return Quantity(self.units(value))


def _numbers(document: Json) -> Iterator[Fraction]:
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name not in NO_QUANTITIES:
                yield from _numbers(value)
    elif isinstance(document, list):
        for value in document:
            yield from _numbers(value)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield Fraction(str(document))


def tables_are_there() -> bool:
    """Whether the folder of real inputs is beside the project."""
    return FOLDER.is_dir()


def read_cases(folder: Path = FOLDER) -> list[Case]:
    """Every case of every table, in the order of their ids."""
    cases = []
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text())
        cases += [
            Case(
                peer=table["peer"],
                id=row["id"],
                test=row["test"],
                area=row["area"],
                given=row["given"],
                when=row["when"],
                expect=row["expect"],
                fit=row["fit"],
                note=row.get("note", ""),
                fixtures=table["fixtures"],
            )
            for row in table["cases"]
        ]
    return sorted(cases, key=lambda case: case.id)
