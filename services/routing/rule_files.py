"""The example rules that ship with Ordermesh and apply until others are published."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from shared.contracts.routing_rules import RoutingRule

EXAMPLE_RULES = Path(__file__).parent / "rule_sets" / "example.toml"


@cache
def example_rules() -> tuple[RoutingRule, ...]:
    """The rules of version 0."""
    document = tomllib.loads(EXAMPLE_RULES.read_text(encoding="utf-8"))
    return tuple(RoutingRule.model_validate(rule) for rule in document["rules"])
