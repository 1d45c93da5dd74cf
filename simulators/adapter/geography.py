"""Real US addresses down to the ZIP code, from the offline table of the ``zipcodes`` package.

States are drawn by their population, ZIP codes evenly within a state. Source of the population: US Census 2020, thousands of residents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

import zipcodes

RESIDENTS_THOUSANDS = {
    "AL": 5024, "AK": 733, "AZ": 7152, "AR": 3012, "CA": 39538, "CO": 5774, "CT": 3606, "DE": 990, "DC": 690, "FL": 21538,
    "GA": 10712, "HI": 1455, "ID": 1839, "IL": 12813, "IN": 6786, "IA": 3190, "KS": 2938, "KY": 4506, "LA": 4658, "ME": 1362,
    "MD": 6177, "MA": 7030, "MI": 10077, "MN": 5706, "MS": 2961, "MO": 6155, "MT": 1084, "NE": 1962, "NV": 3105, "NH": 1378,
    "NJ": 9289, "NM": 2118, "NY": 20201, "NC": 10439, "ND": 779, "OH": 11799, "OK": 3959, "OR": 4237, "PA": 13003, "RI": 1097,
    "SC": 5118, "SD": 887, "TN": 6911, "TX": 29146, "UT": 3272, "VT": 643, "VA": 8631, "WA": 7705, "WV": 1794, "WI": 5894,
    "WY": 577,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere parcels are delivered."""

    postal_code: str
    city: str
    state: str


@cache
def places_by_state() -> dict[str, tuple[Place, ...]]:
    """Every ordinary ZIP code (no PO boxes, no single organisations, no military mail) of the fifty states and DC."""
    found: dict[str, list[Place]] = {state: [] for state in RESIDENTS_THOUSANDS}
    for row in zipcodes.list_all():  # type: ignore[no-untyped-call]  # the package has no types
        if row["zip_code_type"] == "STANDARD" and row["active"] and row["state"] in found:
            found[row["state"]].append(Place(row["zip_code"], row["city"], row["state"]))
    return {state: tuple(sorted(places, key=lambda place: place.postal_code)) for state, places in found.items()}


def draw_place(random: Random) -> Place:
    """A place where a customer may live."""
    state = random.choices(list(RESIDENTS_THOUSANDS), weights=list(RESIDENTS_THOUSANDS.values()))[0]
    return random.choice(places_by_state()[state])


def place_of_customer(customer: str) -> Place:
    """The same simulated home for the same customer, in every run and on every machine."""
    return draw_place(Random(f"home of {customer}"))
