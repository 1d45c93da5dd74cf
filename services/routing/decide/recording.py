"""What a decision is recorded with, so that it can be made again (feature C10): everything that was asked, beside what it stood on.

A decision follows from its request, the network, the rate cards and a few figures, and from nothing else: no clock, no chance, no order of
a set. So the same planner makes the same record of the same request, byte for byte, whenever it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from services.routing.decide.capacity import Slot
from services.routing.decide.foresight import recorded_prices
from services.routing.decide.geography import Place
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.plans import ONLY_A_PART, PlanRequest, Replanned, Wanted

DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a record raises that is not as it was written."""


class NotReplayableError(ValueError):
    """A record does not say enough to make its decision again; the message says what is missing."""


def record_of_request(request: PlanRequest) -> dict[str, Any]:
    """The request as it is recorded; :func:`request_of` makes it out of that again."""
    place = request.destination
    # The operator's own file may change; ZIP codes are everybody's.
    own = {"place": [place.country, place.latitude, place.longitude, place.state, place.time_zone]} if place.own else {}
    asked: dict[str, Any] = own | {
        # Lines without a volume are written as they were before volumes were known.
        "lines": [list(entry if entry.unit_volume_cubic_centimetres else entry[:5]) for entry in request.wanted],
        "stock": {entry.sku: dict(request.assignable.get(entry.sku, {})) for entry in request.wanted},
        "postal_code": request.destination.postal_code,
        "service_level": request.service_level,
        "deliver_by": request.deliver_by.isoformat() if request.deliver_by is not None else None,
        "promise_from": request.promise_from.isoformat(),
        "now": request.now.isoformat(),
        "residential": request.residential,
        "excluded": sorted(request.excluded),
        "partly": request.partly,
        "order": None if request.order is None else asdict(request.order),
    }
    if request.slots:
        asked["slots"] = {code: None if slot is None else [slot.day.isoformat(), *slot[1:]] for code, slot in request.slots.items()}
    if request.replanned is not None:
        asked["replanned"] = list(request.replanned)
    return asked


def request_of(record: Mapping[str, Any], find_place: Callable[[str], Place | None]) -> PlanRequest:
    """The request that a record answers.

    Args:
        record: the decision record.
        find_place: the place of a US postal code.

    Raises:
        NotReplayableError: it does not say what was asked, or its postal code is not on the map any more.
    """
    try:
        return _request_of(record, find_place)
    except NotReplayableError:
        raise
    except DAMAGE as error:
        raise damaged(error) from error


def damaged(error: Exception) -> NotReplayableError:
    """That a record is not as it was written, by what reading it or planning by it raised."""
    return NotReplayableError(f"its record is damaged ({type(error).__name__}: {error})")


def _request_of(record: Mapping[str, Any], find_place: Callable[[str], Place | None]) -> PlanRequest:
    asked = record.get("asked")
    if asked is None:
        raise NotReplayableError("its record does not say what was asked")
    place = _own_place(asked) if "place" in asked else find_place(asked["postal_code"])
    if place is None:
        raise NotReplayableError(f"postal code {asked['postal_code']} is not on the map")
    return PlanRequest(
        wanted=[Wanted(*entry) for entry in asked["lines"]],
        assignable={sku: {code: units + 0 for code, units in places.items()} for sku, places in asked["stock"].items()},
        destination=place,
        service_level=asked["service_level"],
        deliver_by=None if asked["deliver_by"] is None else datetime.fromisoformat(asked["deliver_by"]),
        promise_from=datetime.fromisoformat(asked["promise_from"]),
        now=datetime.fromisoformat(asked["now"]),
        residential=asked["residential"],
        excluded=frozenset(asked["excluded"]),
        partly=asked["partly"],
        order=None if asked["order"] is None else OrderFacts(**{**asked["order"], "skus": tuple(asked["order"]["skus"])}),
        # Only where locations limit their work.
        slots={
            code: None if slot is None else Slot(date.fromisoformat(slot[0]), *slot[1:]) for code, slot in asked.get("slots", {}).items()
        },
        stock_prices=recorded_prices(asked.get("stock_prices")),
        replanned=Replanned(*asked["replanned"]) if "replanned" in asked else None,
        unpriced_when_held=_held_unpriced(record),
    )


def _held_unpriced(record: Mapping[str, Any]) -> bool:
    """Whether the record is of an order that a rule held, from before what its candidates cost was told: there all have only a part. One
    that says so truly is the same either way, unless it names a day."""
    held = "held_by" in record.get("rules", {})
    return held and record["arrive_by"] is None and all(cost == ONLY_A_PART for *_, cost in record["candidates"])


def _own_place(asked: Mapping[str, Any]) -> Place:
    country, latitude, longitude, state, time_zone = asked["place"]
    return Place(asked["postal_code"], latitude, longitude, latitude, longitude, state, time_zone, country, own=True)


def canonical(record: Mapping[str, Any]) -> bytes:
    """The record as bytes that are the same for equal records, wherever they were kept meanwhile."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
