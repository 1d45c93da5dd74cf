"""Routing rules as operators write them: what is wrong with a set, and a set that was read once and is applied to any number of orders."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.routing.decide.conditions import (
    STOCK_FIELDS,
    Condition,
    ConditionError,
    Subject,
    facts_about,
    read_condition,
)
from services.routing.decide.network import Location, Reach
from services.routing.decide.proving import Shown, location_values, shown, why_never
from shared.contracts.channels import FieldProblem
from shared.contracts.routing_rules import RoutingRule, RuleAction

MOST_KEPT_ANSWERS = 50_000
"""Answers of conditions about locations that are kept, per condition and distance; beyond that they are worked out anew."""

WHICH_LOCATIONS = ("locations", "ranking")
NEEDS: Mapping[RuleAction, str | None] = {
    "require": "locations",
    "forbid": "locations",
    "prefer": "locations",
    "pin": "locations",
    "drain": "ranking",
    "weight": "cents",
    "hold": None,
    "split": "split",
    "objective": "objective",
    "pack": "instructions",
}
"""The field without which an action says nothing; ``locations`` may be a ``ranking`` too."""
ABOUT_LOCATIONS: frozenset[RuleAction] = frozenset({"require", "forbid", "prefer", "pin", "weight"})
OPTIONAL_FIELDS = ("locations", "ranking", "cents", "split", "objective", "instructions")


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be applied. ``broken`` says why it cannot be, after a change of what conditions may ask."""

    written: RoutingRule
    when: Condition | None
    items: Condition | None
    locations: Condition | None
    broken: str | None = None

    @property
    def name(self) -> str:
        """What records call it."""
        return self.written.name


@dataclass(frozen=True)
class LocationFacts:
    """What conditions may ask of one location, for one order; what the order does not change is kept between orders."""

    reach: Reach
    ground_days: int
    """Where ground does not pick up: those of the next service that does."""
    units_in_stock: int
    has_everything: bool


@dataclass(frozen=True)
class RuleSet:
    """A version of the rules, for one network of locations."""

    version: int
    rules: Sequence[Rule]
    _by_scope: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict)
    _answers: dict[tuple[str | int, ...], bool] = field(default_factory=dict)

    def for_another_network(self) -> RuleSet:
        """The same rules, which know nothing yet of the locations."""
        return RuleSet(self.version, self.rules)

    def rules_for(self, channel: str, segment: str) -> tuple[Rule, ...]:
        """The rules that may concern orders of a channel and segment, in their order."""
        key = (channel, segment)
        if key not in self._by_scope:
            self._by_scope[key] = tuple(
                rule
                for rule in self.rules
                if (not rule.written.channels or channel in rule.written.channels)
                and (not rule.written.segments or segment in rule.written.segments)
            )
        return self._by_scope[key]

    def rank(self, rule: Rule, facts: LocationFacts) -> int | None:
        """Where a location stands with a rule: 0 is first; None when the rule is not about it.

        Raises:
            EvaluationError: the rule's condition has no answer.
        """
        code = facts.reach.location.code
        ranking = rule.written.ranking
        if rule.locations is None:
            return ranking.index(code) if code in ranking else None
        asked = rule.locations.fields
        if asked & STOCK_FIELDS.keys():
            return 0 if rule.locations.holds(_evaluable(facts)) else None
        key = (rule.locations.text, code, *_distance(facts, asked))
        if key not in self._answers:
            if len(self._answers) >= MOST_KEPT_ANSWERS:
                self._answers.clear()
            self._answers[key] = rule.locations.holds(_evaluable(facts))
        return 0 if self._answers[key] else None


def _distance(facts: LocationFacts, asked: Collection[str]) -> tuple[int, int, int]:
    """What a condition asks of the distance: many destinations are equally far away."""
    return (
        facts.reach.zone if "location.zone" in asked else 0,
        facts.reach.miles if "location.miles" in asked else 0,
        facts.ground_days if "location.ground_days" in asked else 0,
    )


def _evaluable(facts: LocationFacts) -> object:
    location = facts.reach.location
    return facts_about(
        "location",
        {
            **location_values(location),
            "location.zone": facts.reach.zone,
            "location.miles": facts.reach.miles,
            "location.ground_days": facts.ground_days,
            "location.has_everything": facts.has_everything,
            "location.units_in_stock": facts.units_in_stock,
        },
    )


def read_rules(version: int, rules: Sequence[RoutingRule]) -> RuleSet:
    """A set that was checked when it was saved. A rule that cannot be read any more is kept and said to be broken: the others apply."""
    return RuleSet(version, tuple(_read(rule) for rule in rules))


def _read(rule: RoutingRule) -> Rule:
    try:
        when, items, locations = (None if text is None else read_condition(text, subject) for _, subject, text in _conditions(rule))
    except ConditionError as error:
        return Rule(rule, None, None, None, error.problem)
    return Rule(rule, when, items, locations)


def _conditions(rule: RoutingRule) -> tuple[tuple[str, Subject, str | None], ...]:
    return (("when", "order", rule.when), ("items", "item", rule.items), ("locations", "location", rule.locations))


def check_rules(rules: Sequence[RoutingRule], known_locations: Collection[str], locations: Sequence[Location] = ()) -> list[FieldProblem]:
    """Everything that is wrong with a set, each fault by rule and field with the way out; nothing when it may be saved.

    Args:
        rules: the set.
        known_locations: codes of the registered locations.
        locations: those that orders may ship from, for which conditions about locations are tried.
    """
    problems = []
    asked = shown(locations)
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        for name, problem, remedy in (*_twice(rule, seen), *_faults(rule, known_locations, asked)):
            seen.add(rule.name)
            problems.append(
                FieldProblem(field=f"rules.{number}.{name}", problem=f"rule {rule.name!r}: {problem}"[:500], remedy=remedy[:500])
            )
        seen.add(rule.name)
    return problems


def _twice(rule: RoutingRule, seen: Collection[str]) -> Iterator[tuple[str, str, str]]:
    if rule.name in seen:
        yield "name", "there is another rule of this name before it", "give every rule a name of its own"


def _faults(rule: RoutingRule, known_locations: Collection[str], asked: Sequence[Shown]) -> Iterator[tuple[str, str, str]]:
    for name, subject, text in _conditions(rule):
        if text is not None:
            try:
                never = why_never(read_condition(text, subject), asked)
            except ConditionError as error:
                yield name, error.problem, error.remedy
                continue
            if never is not None:
                yield name, f"can never be evaluated: {never}", "correct it, or add a condition before it (&&): the rule would be skipped"
    yield from _shape(rule)
    for code in rule.ranking:
        if code not in known_locations:
            yield "ranking", f"{code!r} is no location", "register the location first, or correct its code"
    for code in sorted({code for code in rule.ranking if rule.ranking.count(code) > 1}):
        yield "ranking", f"{code!r} stands there twice", "name each location once"


def _shape(rule: RoutingRule) -> Iterator[tuple[str, str, str]]:
    """Whether the rule has the fields that its action needs, and no others."""
    needed = NEEDS[rule.action]
    given = {name for name in OPTIONAL_FIELDS if getattr(rule, name) not in (None, [])}
    about_locations = rule.action in ABOUT_LOCATIONS
    allowed = {needed, *(WHICH_LOCATIONS if about_locations else ())}
    if needed is not None and needed not in given and not about_locations:
        yield needed, f"is missing: {rule.action} says nothing without it", f"add {needed}"
    elif rule.action == "weight" and "cents" not in given:
        yield "cents", "is missing: weight says nothing without it", "add the cents that a parcel from there counts more"
    if about_locations and not given & set(WHICH_LOCATIONS):
        yield "locations", f"is missing: {rule.action} is about locations", "add locations (a condition) or ranking (location codes)"
    if given >= set(WHICH_LOCATIONS):
        yield "ranking", "stands beside locations", "give one of them"
    for name in sorted(given - allowed - set(WHICH_LOCATIONS if about_locations else ())):
        yield name, f"means nothing for {rule.action}", f"leave {name} out, or make a second rule of it"
