"""Whether a condition can ever have an answer, tried when a rule is saved: one that has none would be skipped by every decision.

Types are checked when a condition is read; a constant regular expression, a division by a constant zero or a missing key of a literal fails
only when it is evaluated. So it is evaluated for orders that differ in all that real ones differ in, with the texts and numbers of the
condition itself among theirs. One that fails for all of them, and always with the same words, fails for a reason that no order changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from services.routing.decide.conditions import (
    DISTANCE_FIELDS,
    FIELDS,
    STOCK_FIELDS,
    TOKEN,
    Condition,
    EvaluationError,
    Facts,
    facts_about,
)
from services.routing.decide.network import Location

MOST_SAMPLES = 100
"""So many are tried of one condition; only one that fails is tried more than once."""
STRIDE = 1_000_003
"""A prime: samples that follow each other differ in every field, and none comes twice."""

TEXTS = ("shop", "89501", "A-1", "7", "2026-03-02T12:00:00Z", "90s", "true")
"""Also those that the conversions of the language read."""
NUMBERS = (3, 1, 8, 250, 1_000_000_007, 0)
NUMBER = re.compile(r"\b\d{1,15}\b")

USUAL: Mapping[str, Any] = {
    "location.zone": 5,
    "location.miles": 800,
    "location.ground_days": 3,
    "location.has_everything": True,
    "location.units_in_stock": 4,
}
"""How an order finds a location, for a first try. All that orders change of it."""
assert USUAL.keys() == DISTANCE_FIELDS.keys() | STOCK_FIELDS.keys()


class Shown(NamedTuple):
    """A registered location: what no order changes of it, and that prepared for a first try."""

    code: str
    values: Mapping[str, Any]
    facts: Facts


def location_values(location: Location) -> dict[str, Any]:
    """What conditions may ask of a location, whatever the order."""
    return {
        "location.code": location.code,
        "location.name": location.name,
        "location.partner": location.partner,
        "location.state": location.place.state,
        "location.capabilities": sorted(location.capabilities),
        "location.hazmat_certified": location.hazmat_certified,
    }


def shown(locations: Sequence[Location]) -> list[Shown]:
    """The locations that orders may be asked about; closed ones are not."""
    known = ((location.code, location_values(location)) for location in locations if location.active)
    return [Shown(code, values, facts_about("location", {**values, **USUAL})) for code, values in known]


def why_never(condition: Condition, locations: Sequence[Shown]) -> str | None:
    """Why a condition has no answer, whatever the order; None where some order gets one.

    A condition about locations must have an answer at each of them: a rule that fails at one is skipped altogether.
    """
    error = _always_failing(condition, {})
    if error is not None or condition.subject != "location":
        return error
    for location in locations:
        if _error(condition, location.facts) is not None:
            error = _always_failing(condition, location.values)
            if error is not None:
                return f"at location {location.code!r}, {error}"
    return None


def _error(condition: Condition, facts: Facts) -> str | None:
    try:
        condition.holds(facts)
    except EvaluationError as error:
        return error.problem
    return None


def _always_failing(condition: Condition, fixed: Mapping[str, Any]) -> str | None:
    """The words with which it fails for every sample."""
    told = None
    for values in _samples(condition, fixed):
        error = _error(condition, facts_about(condition.subject, {**values, **fixed}))
        if error is None or told not in (None, error):
            return None
        told = error
    return told


def _samples(condition: Condition, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Values of the fields that it asks for and that are not fixed: all of their combinations, or many that are spread over them."""
    kinds = FIELDS[condition.subject]
    asked = sorted(condition.fields - fixed.keys())
    values_by_kind = _values(condition.text)
    choices = [values_by_kind[kinds[name]] for name in asked]
    total = prod(len(values) for values in choices)
    for place in range(min(total, MOST_SAMPLES)):
        left = place * STRIDE % total
        sample = {}
        for name, values in zip(asked, choices, strict=True):
            left, which = divmod(left, len(values))
            sample[name] = values[which]
        yield sample


def _values(text: str) -> dict[str, Sequence[Any]]:
    """Values by kind of field, those that the condition itself speaks of first."""
    quoted = [token.group().lstrip("bB") for token in TOKEN.finditer(text) if token.lastgroup == "text"]
    said = [text.strip(text[0]) for text in quoted]
    counted = [int(found) for found in NUMBER.findall(text)]
    texts = list(dict.fromkeys((*said, *TEXTS)))
    numbers = dict.fromkeys((*counted, *(number + 1 for number in counted), *NUMBERS))
    return {"string": texts, "int": list(numbers), "bool": (True, False), "list": (texts, texts[:1], [])}
