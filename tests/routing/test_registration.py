"""Which locations may be registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.routing import current
from services.routing.decide.geography import Place
from services.routing.decide.registration import Settled, Unplaced, check_location, settle_places
from services.routing.settings import PlanningSettings
from shared.contracts.fulfillment import CARRIER_SERVICES, CarrierService, LocationRegistrationRequested
from tests.routing.messages import RENO

ZONES = {"America/Los_Angeles"}
CARRIERS: Mapping[str, Sequence[CarrierService]] = {"UPS": CARRIER_SERVICES, "Regional": ("ground",)}


def test_a_location_on_the_map_with_a_clock_and_a_3pl_is_registered() -> None:
    assert check_location(RENO, on_map=True, time_zones=ZONES, partners={"west"}, carriers=CARRIERS) is None
    assert check_location(RENO, on_map=True, time_zones=ZONES, partners=None, carriers=CARRIERS) is None, (
        "no partners file, nothing to check against"
    )


@pytest.mark.parametrize(
    ("on_map", "zones", "partners", "field"),
    [
        (False, ZONES, {"west"}, "postal_code"),
        (True, set(), {"west"}, "time_zone"),
        (True, ZONES, {"east"}, "partner"),
        (True, ZONES, set(), "partner"),
    ],
)
def test_what_is_wrong_is_told_by_field_with_the_way_out(on_map: bool, zones: set[str], partners: set[str], field: str) -> None:
    refused = check_location(RENO, on_map=on_map, time_zones=zones, partners=partners, carriers=CARRIERS)
    assert refused is not None
    assert refused.field == field
    assert ";" in refused.detail, "what is wrong; what to do"


def test_the_clock_of_the_machine_is_no_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "available_timezones", lambda: {"America/Los_Angeles", "localtime"})
    current.time_zones.cache_clear()
    assert current.time_zones() == ZONES
    current.time_zones.cache_clear()


BERLIN = Place("10115", 52.5, 13.4, 52.5, 13.4, "BE", "Europe/Berlin", "DE")


@pytest.mark.parametrize(("newest", "looked_for"), [(True, False), (True, True), (False, False)])
def test_what_was_never_looked_for_gets_its_place_in_the_past_and_what_changes_since_is_a_new_version(
    newest: bool, looked_for: bool
) -> None:
    berlin = Unplaced("berlin", 3, "10115", "DE", newest, looked_for)
    on_a_map = settle_places([berlin], lambda code, country: BERLIN if (code, country) == ("10115", "DE") else None)
    assert on_a_map == (Settled(moved=[("berlin", BERLIN)]) if looked_for else Settled(found=[("berlin", 3, BERLIN)]))
    on_none = settle_places([berlin], lambda *_: None)
    assert on_none == Settled(moved=[("berlin", None)] if newest and not looked_for else [], lost=[berlin] if newest else [])


def test_a_location_that_nothing_could_leave_is_refused_with_the_services_that_there_are() -> None:
    nothing, some = RENO.model_copy(update={"services": []}), RENO.model_copy(update={"services": ["next_day"]})
    refused = check_location(nothing, on_map=True, time_zones=ZONES, partners=None, carriers=CARRIERS)
    assert refused is not None
    assert (refused.field, "at least one of ground, two_day, next_day" in refused.detail) == ("services", True)
    assert check_location(some, on_map=True, time_zones=ZONES, partners=None, carriers=CARRIERS) is None
    with pytest.raises(ValidationError, match="'ground', 'two_day' or 'next_day'"):
        LocationRegistrationRequested.model_validate({**RENO.model_dump(), "services": ["drone"]})


def test_the_3pls_are_those_of_the_partners_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "partners.json"
    file.write_text('{"third_party_logistics": [{"code": "west"}, {"code": "east"}]}')
    monkeypatch.setattr(current, "settings", lambda: PlanningSettings(partners_file=file))
    current.partners.cache_clear()
    assert current.partners() == frozenset({"west", "east"})
    current.partners.cache_clear()
