"""The map, the zones, and the business calendar."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.decide.calendar import add_business_days, promised_day
from services.routing.decide.geography import Place, is_offshore, miles_between, zone_between, zone_of_distance
from services.routing.postal_codes import all_places, find_place

NEW_YORK = ZoneInfo("America/New_York")


def place(postal_code: str) -> Place:
    found = find_place(postal_code, "US")
    assert found is not None
    return found


def test_distances_are_those_of_the_globe() -> None:
    new_york, los_angeles = place("10001"), place("90001")
    miles = miles_between(new_york.latitude, new_york.longitude, los_angeles.latitude, los_angeles.longitude)
    assert 2_440 < miles < 2_465, "JFK to LAX is 2,475 statute miles by the great circle, the cities lie a little closer"
    assert miles_between(40.0, -75.0, 40.0, -75.0) == 0


@pytest.mark.parametrize(
    ("miles", "zone"),
    [
        (0, 2),
        (150, 2),
        (150.1, 3),
        (300, 3),
        (301, 4),
        (600, 4),
        (601, 5),
        (1000, 5),
        (1400, 6),
        (1401, 7),
        (1800, 7),
        (1801, 8),
        (6000, 8),
    ],
)
def test_zones_follow_the_published_distance_bands(miles: float, zone: int) -> None:
    assert zone_of_distance(miles) == zone


@given(st.floats(0, 7_000), st.floats(0, 7_000))
def test_farther_is_never_a_lower_zone(one: float, other: float) -> None:
    assert (zone_of_distance(min(one, other))) <= zone_of_distance(max(one, other))


def test_zones_agree_with_the_published_charts(real_inputs: Path, record_property: Callable[[str, object], None]) -> None:
    """The 2018 charts of USPS, 110,439 pairs of three-digit areas, are the oracle. Zone 1 (local) is priced as zone 2; 9 is the islands."""
    areas = {found.area: found for found in all_places().values()}
    agreed: Counter[bool] = Counter()
    neighbours = 0
    with gzip.open(real_inputs / "zones" / "usps_zones_2018.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            origin, destination = areas.get(row["origin_zip"]), areas.get(row["dest_zip"])
            if origin is None or destination is None or row["zone"] == "9":
                continue
            ours, theirs = zone_between(origin, destination), max(2, int(row["zone"]))
            agreed[ours == theirs] += 1
            neighbours += abs(ours - theirs) <= 1
    rate = agreed[True] / agreed.total()
    record_property("zones that agree", f"{rate:.2%}")
    record_property("zones at most one off", f"{neighbours / agreed.total():.2%}")
    assert agreed.total() > 100_000
    assert rate > 0.85
    assert neighbours / agreed.total() > 0.999


def test_a_postal_code_is_found_with_or_without_its_extension_and_only_in_its_country() -> None:
    assert find_place("89501-1234", "US") == find_place("89501", "US") == find_place(" 89501 ", "US")
    assert find_place("895011234", "US") is not None
    for unknown in ("00000", "8950", "89501-", "ABCDE", "", "٨٩٥٠١"):
        assert find_place(unknown, "US") is None, unknown
    assert find_place("89501", "DE") is None


def test_a_code_without_coordinates_lies_in_the_middle_of_its_area() -> None:
    without = [found for found in all_places().values() if (found.latitude, found.longitude) == (found.area_latitude, found.area_longitude)]
    assert without, "the map has such codes"
    assert all(found.latitude for found in all_places().values())


def test_parcels_cross_the_sea_only_to_another_state() -> None:
    assert is_offshore(place("89501"), place("99501"))
    assert is_offshore(place("96813"), place("89501"))
    assert not is_offshore(place("96813"), place("96720")), "within Hawaii"
    assert not is_offshore(place("89501"), place("10001"))


def test_business_days_pass_over_weekends() -> None:
    friday = date(2026, 3, 6)
    assert add_business_days(friday, 1) == date(2026, 3, 9)
    assert add_business_days(friday, 5) == date(2026, 3, 13)
    assert add_business_days(date(2026, 3, 7), 1) == date(2026, 3, 9)
    assert add_business_days(friday, 0) == friday


def test_a_service_level_promises_a_day_counted_from_when_the_order_was_placed() -> None:
    morning = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
    assert promised_day("standard", None, morning, NEW_YORK) is None
    assert promised_day("two_day", None, morning, NEW_YORK) == date(2026, 3, 6)
    assert promised_day("next_day", None, datetime(2026, 3, 5, 23, 0, tzinfo=UTC), NEW_YORK) == date(2026, 3, 9), "counts as Friday's"
    told = datetime(2026, 3, 8, 3, 0, tzinfo=UTC)
    assert promised_day("next_day", told, morning, NEW_YORK) == date(2026, 3, 7), "the date that was told, where the customer lives"
