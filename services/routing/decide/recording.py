"""What a decision is recorded with, so that it can be made again (feature C10): everything that was asked, beside what it stood on.

A decision follows from its request, the network, the rate cards and a few figures, and from nothing else: no clock, no chance, no order of
a set. So the same planner makes the same record of the same request, byte for byte, whenever it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from services.routing.decide.capacity import Slot
from services.routing.decide.foresight import recorded_prices
from services.routing.decide.geography import Place
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.planner import PlanRequest, Replanned, Wanted

DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a record raises that is not as it was written."""


class NotReplayableError(ValueError):
    """A record does not say enough to make its decision again; the message says what is missing."""


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
    )


def _own_place(asked: Mapping[str, Any]) -> Place:
    country, latitude, longitude, state, time_zone = asked["place"]
    return Place(asked["postal_code"], latitude, longitude, latitude, longitude, state, time_zone, country, own=True)


def canonical(record: Mapping[str, Any]) -> bytes:
    """The record as bytes that are the same for equal records, wherever they were kept meanwhile."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
