"""Where the places and points of the cases are: what a merchant outside the US writes into the file of postal areas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from services.routing.decide.geography import miles_between
from services.routing.postal_areas import COLUMNS
from services.routing.postal_codes import all_places
from tests.cases.tables import Case
from tests.cases.world import Address

KILOMETRES_PER_MILE = 1.609344
NAMED_WITHOUT_A_CODE = {"Saint-Saturnin-les-Apt, FR": Address("FR", "84490")}
WHOLE_COUNTRIES = (("UA", "", 50.45, 30.52),)
"""Of Kyiv the case says no more than that it is there."""


def address_of_point(point: Any) -> Address:
    """A point is called ``DE 81671 Munich``.

    Raises:
        ValueError: it is called otherwise.
    """
    name = point["name"]
    if name in NAMED_WITHOUT_A_CODE:
        return NAMED_WITHOUT_A_CODE[name]
    words = re.match(r"([A-Z]{2}) (\d+) ", name)
    if words is None:
        raise ValueError(f"no postal code in {name!r}")
    return Address(words.group(1), words.group(2))


def address_of_place(name: str, facts: Any) -> Address:
    """Of a place of a fixture only the coordinates are known: in the US it gets the nearest ZIP code, elsewhere a code of its own."""
    if facts["country"] != "US":
        return Address(facts["country"], name)
    nearest = min(all_places().values(), key=lambda place: miles_between(place.latitude, place.longitude, facts["lat"], facts["lon"]))
    return Address("US", nearest.postal_code)


def write_areas(file: Path, cases: Iterable[Case]) -> None:
    """Writes the file of postal areas that these cases need."""
    rows = sorted(set(WHOLE_COUNTRIES).union(*(_areas_of(case) for case in cases)))
    text = "".join(f"{country},{prefix},{latitude},{longitude},,\n" for country, prefix, latitude, longitude in rows)
    file.write_text(",".join(COLUMNS) + "\n" + text)


def _areas_of(case: Case) -> Iterator[tuple[str, str, float, float]]:
    if "point" in case.given:
        point = case.given["point"]
        yield *address_of_point(point), point["lat"], point["lon"]
    for name, facts in case.fixture.get("locations", {}).items():
        if facts["country"] != "US":
            yield *address_of_place(name, facts), facts["lat"], facts["lon"]
