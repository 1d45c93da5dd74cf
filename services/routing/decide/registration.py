"""Whether a location may be registered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.routing.decide.geography import Place
from shared.contracts.fulfillment import CARRIER_SERVICES, CarrierService, LocationRegistrationRequested


@dataclass(frozen=True, slots=True)
class FieldRefused:
    """What is wrong with which field, and the way out."""

    field: str
    detail: str


def check_location(
    wanted: LocationRegistrationRequested,
    *,
    on_map: bool,
    time_zones: Collection[str],
    partners: Collection[str] | None,
    carriers: Mapping[str, Collection[CarrierService]],
) -> FieldRefused | None:
    """A location must lie on the map, live in a known time zone, be worked by a 3PL that reads a queue, and be left by some service.

    Args:
        wanted: the registration.
        on_map: whether its postal code was found.
        time_zones: names of the IANA time zone database.
        partners: codes of the 3PLs in the partners file; None when there is no such file to check against.
        carriers: the services that each carrier of the rate cards has.
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
    problem = _check_carriers(wanted, carriers)
    if problem is not None:
        return problem
    if wanted.fulfillments_per_hour is not None and wanted.work_starts >= wanted.order_cutoff:
        return FieldRefused(
            "work_starts",
            f"{wanted.work_starts} is not before order_cutoff {wanted.order_cutoff}, so no hour has a slot; "
            "let work start earlier, or leave fulfillments_per_hour out",
        )
    return None


def _check_carriers(wanted: LocationRegistrationRequested, carriers: Mapping[str, Collection[CarrierService]]) -> FieldRefused | None:
    known = ", ".join(carriers)
    stranger = next((name for name in wanted.carriers if name not in carriers), None)
    if stranger is not None:
        return FieldRefused("carriers", f"{stranger!r} has no rate cards (known: {known}); add them, or leave carriers out for all of them")
    if not any(service in carriers[name] for name in wanted.carriers or carriers for service in wanted.services):
        return FieldRefused(
            "carriers",
            f"none of {', '.join(wanted.carriers) or known} has {' or '.join(wanted.services)}, so nothing could leave; "
            "name another carrier or service, or leave carriers out for all of them",
        )
    return None


class Unplaced(NamedTuple):
    """A version of a location of which no place is kept. ``looked_for``: its postal code was on no map."""

    location: str
    version: int
    postal_code: str
    country: str
    newest: bool
    looked_for: bool


@dataclass(slots=True)
class Settled:
    """Versions whose place is ``found``; locations that have ``moved`` onto the map or off it; those that are ``lost``: on no map now.

    What has moved is a new version of the network, because decisions were made on the one before.
    """

    found: list[tuple[str, int, Place]] = field(default_factory=list)
    moved: list[tuple[str, Place | None]] = field(default_factory=list)
    lost: list[Unplaced] = field(default_factory=list)


def settle_places(unplaced: Iterable[Unplaced], find_place: Callable[[str, str], Place | None]) -> Settled:
    """Looks for what has no place on the map of today.

    A version that was never looked for was planned with where the map of its day had it; it gets its place whenever a map has it.
    """
    settled = Settled()
    for version in unplaced:
        place = find_place(version.postal_code, version.country)
        if place is None and version.newest:
            settled.lost.append(version)
        if version.looked_for == (place is not None) and version.newest:
            settled.moved.append((version.location, place))
        elif place is not None:
            settled.found.append((version.location, version.version, place))
    return settled
