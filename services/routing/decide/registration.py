"""Whether a location may be registered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shared.contracts.fulfillment import CARRIER_SERVICES, LocationRegistrationRequested


@dataclass(frozen=True, slots=True)
class FieldRefused:
    """What is wrong with which field, and the way out."""

    field: str
    detail: str


def check_location(
    wanted: LocationRegistrationRequested, *, on_map: bool, time_zones: Collection[str], partners: Collection[str] | None
) -> FieldRefused | None:
    """A location must lie on the map, live in a known time zone, be worked by a 3PL that reads a queue, and be left by some service.

    Args:
        wanted: the registration.
        on_map: whether its postal code was found.
        time_zones: names of the IANA time zone database.
        partners: codes of the 3PLs in the partners file; None when there is no such file to check against.
    """
    if not on_map:
        way_out = "give a US ZIP code that exists" if wanted.country == "US" else "add it to the file that ORDERMESH_POSTAL_AREAS names"
        return FieldRefused("postal_code", f"{wanted.country} postal code {wanted.postal_code} is not on the map; {way_out}")
    if wanted.time_zone not in time_zones:
        return FieldRefused("time_zone", f"{wanted.time_zone} is no IANA time zone; give one like America/Chicago")
    if partners is not None and wanted.partner not in partners:
        known = ", ".join(sorted(partners)) or "none"
        return FieldRefused("partner", f"{wanted.partner} is no 3PL of the partners file (known: {known}); add it there first")
    if not wanted.services:
        known = ", ".join(CARRIER_SERVICES)
        return FieldRefused(
            "services",
            f"names none, so nothing could leave; give at least one of {known}, leave it out for all of them, "
            "or register the location with active false",
        )
    if wanted.fulfillments_per_hour is not None and wanted.work_starts >= wanted.order_cutoff:
        return FieldRefused(
            "work_starts",
            f"{wanted.work_starts} is not before order_cutoff {wanted.order_cutoff}, so no hour has a slot; "
            "let work start earlier, or leave fulfillments_per_hour out",
        )
    return None
