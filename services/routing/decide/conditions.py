"""Conditions of routing rules: CEL (Common Expression Language), read once, checked against the fields that there are, then only evaluated.

The one place that knows the library. It is Google's C++ implementation (``cel-expr-python``), which checks types: a field that does not
exist, or units compared with a text, is an error when a rule is saved and not when an order comes. CEL has no clock, no state and no side
effects, regular expressions are RE2 (linear time); what is left to limit is length, nesting and loops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, Literal

from cel_expr_python import cel

Subject = Literal["order", "item", "location"]
"""What a condition is about: an order, one item of it, or one location seen from where the order goes."""

MOST_CHARACTERS = 1_000
MOST_NESTING = 12
MOST_LOOPS = 1
"""How many ``exists``, ``all`` and the like one condition may have: with one, its cost grows with the lines of an order and no faster."""

LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})

ORDER_FIELDS: Mapping[str, str] = {
    "order.channel": "string",
    "order.segment": "string",
    "order.service_level": "string",
    "order.country": "string",
    "order.state": "string",
    "order.postal_code": "string",
    "order.area": "string",
    "order.units": "int",
    "order.lines": "int",
    "order.skus": "list",
    "order.weight_grams": "int",
    "order.value_cents": "int",
    "order.currency": "string",
    "order.hazmat": "bool",
}
ITEM_FIELDS: Mapping[str, str] = {
    "item.sku": "string",
    "item.units": "int",
    "item.unit_weight_grams": "int",
    "item.hazmat": "bool",
}
LOCATION_FIELDS: Mapping[str, str] = {
    "location.code": "string",
    "location.name": "string",
    "location.partner": "string",
    "location.state": "string",
    "location.capabilities": "list",
    "location.hazmat_certified": "bool",
}
DISTANCE_FIELDS: Mapping[str, str] = {
    "location.zone": "int",
    "location.miles": "int",
    "location.ground_days": "int",
}
"""What is true of a location for one destination."""
STOCK_FIELDS: Mapping[str, str] = {
    "location.has_everything": "bool",
    "location.units_in_stock": "int",
}
"""What is true of a location for one order only."""

FIELDS: Mapping[Subject, Mapping[str, str]] = {
    "order": ORDER_FIELDS,
    "item": {**ORDER_FIELDS, **ITEM_FIELDS},
    "location": {**LOCATION_FIELDS, **DISTANCE_FIELDS, **STOCK_FIELDS},
}

TOKEN = re.compile(
    r"""
      (?P<raw>(?:[rR][bB]?|[bB][rR])["'])
    | (?P<text>[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    | (?P<comment>//[^\n]*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
POSITION = re.compile(r"<input>:\d+:(\d+): (.*)")
UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
KIND_OF_ERROR = re.compile(r"^[A-Z_]+: ")


class ConditionError(ValueError):
    """A condition that cannot be used.

    Args:
        problem: what is wrong.
        remedy: the way out.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class EvaluationError(Exception):
    """A condition that has no answer for what it was asked about, such as a division by zero."""

    @property
    def problem(self) -> str:
        """Why, as it is told to people."""
        return without_kind(str(self))


Facts = Any
"""What conditions about one subject are evaluated on; made by :func:`facts_about`."""


@dataclass(frozen=True)
class Condition:
    """A condition that was read and checked."""

    text: str
    subject: Subject
    fields: frozenset[str]
    """Those it asks for."""
    _program: Any

    def holds(self, facts: Facts) -> bool:
        """Whether it is true.

        Raises:
            EvaluationError: it has no answer.
        """
        try:
            answer = self._program.eval(facts).value()
        except RuntimeError as error:
            raise EvaluationError(_first_line(error)) from error
        if answer is True or answer is False:
            return bool(answer)
        raise EvaluationError(str(answer)[:200])


@cache
def _environment(subject: Subject) -> Any:
    kinds = {"string": cel.Type.STRING, "int": cel.Type.INT, "bool": cel.Type.BOOL, "list": cel.Type.List(cel.Type.STRING)}
    return cel.NewEnv(variables={name: kinds[kind] for name, kind in FIELDS[subject].items()})


def facts_about(subject: Subject, values: Mapping[str, Any]) -> Facts:
    """Prepares values, one per field of the subject, for any number of conditions."""
    return _environment(subject).Activation(values)


@lru_cache(maxsize=4_096)
def read_condition(text: str, subject: Subject) -> Condition:
    """Reads and checks a condition.

    Raises:
        ConditionError: it is too long, too deep, loops too much, is no CEL, names a field that does not exist, or is not true or false.
    """
    words = _words_within_limits(text)
    try:
        program = _environment(subject).compile(text)
    except RuntimeError as error:
        raise _explained(error, subject) from error
    if program.return_type() != cel.Type.BOOL:
        raise ConditionError(
            f"gives {program.return_type().name()} and not true or false", 'compare something, such as order.segment == "dtc"'
        )
    return Condition(text, subject, frozenset(name for name in FIELDS[subject] if name.partition(".")[2] in words), program)


def _words_within_limits(text: str) -> set[str]:
    if len(text) > MOST_CHARACTERS:
        raise ConditionError(f"{len(text)} characters, at most {MOST_CHARACTERS} are read", "make several rules of it")
    words: set[str] = set()
    depth = loops = 0
    before = ""
    for token in TOKEN.finditer(text):
        kind, said = token.lastgroup, token.group()
        if kind == "raw":
            raise ConditionError("texts with the prefix r are not read", r'double each backslash instead: "\\d+"')
        if kind == "word":
            words.add(said)
            loops += said in LOOPS and before == "."
        elif kind == "sign":
            depth += (said in "([{") - (said in ")]}")
            if depth > MOST_NESTING:
                raise ConditionError(f"nested more than {MOST_NESTING} deep", "make several rules of it")
        if kind != "comment":
            before = said
    if loops > MOST_LOOPS:
        raise ConditionError(f"{loops} loops ({', '.join(sorted(LOOPS & words))}), at most {MOST_LOOPS} is run", "make several rules of it")
    return words


def without_kind(error: str) -> str:
    """The library's words without the kind of error that they begin with (``INVALID_ARGUMENT``)."""
    return KIND_OF_ERROR.sub("", error)


def _first_line(error: RuntimeError) -> str:
    return str(error).splitlines()[0][:200]


def _explained(error: RuntimeError, subject: Subject) -> ConditionError:
    """The library's words without its frame, and what was probably meant."""
    found = POSITION.search(str(error))
    problem = f"at character {found[1]}: {found[2]}" if found else _first_line(error)
    problem = problem.replace(" (in container '')", "").replace(" [INVALID_ARGUMENT]", "")
    unknown = UNDECLARED.search(problem)
    known = FIELDS[subject]
    if unknown is None:
        return ConditionError(problem[:400], "docs/decisions/0018-routing-rules.md lists fields with their types")
    near = get_close_matches(unknown[1], known, n=1, cutoff=0.7)
    meant = f"did you mean {near[0]}? " if near else ""
    return ConditionError(problem[:400], f"{meant}fields of {subject} conditions: {', '.join(known)}"[:500])
