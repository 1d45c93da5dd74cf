"""Routing rules that operators set at run time: which location may, must or should ship what, as versions that are published."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.contracts.base import Answer, Code, Command, Part, Refusal, ShortText, Time
from shared.contracts.channels import FieldProblem
from shared.contracts.orders import Segment

RuleName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f']{1,60}$")]
"""What decision records call the rule; unique within a version."""

Condition = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
"""A CEL expression that is true or false."""

RuleAction = Literal["require", "forbid", "prefer", "pin", "drain", "weight", "hold", "split", "objective", "pack"]

RuleSetVersion = Annotated[int, Field(ge=0, strict=True)]
"""Counts what was ever saved; 0 is no rules, 1 the example that ships as a draft."""


class RoutingRule(Part):
    """One rule: for which orders it holds, what it is about, and what it does. docs/decisions/0018 says how rules work together.

    ``channels`` and ``segments`` limit it to orders of these (nothing: all), ``when`` to orders for which the condition is true,
    ``items`` to these items of the order. ``locations`` (a condition) or ``ranking`` (codes, in order) say which locations it is about.
    ``cents`` belongs to ``weight``, ``split`` to ``split``, ``objective`` to ``objective``, ``instructions`` to ``pack``.
    """

    name: RuleName
    why: ShortText
    action: RuleAction
    channels: Annotated[list[Code], Field(max_length=100)] = []
    segments: list[Segment] = []
    when: Condition | None = None
    items: Condition | None = None
    locations: Condition | None = None
    ranking: Annotated[list[Code], Field(max_length=20)] = []
    cents: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    split: Literal["never", "avoid"] | None = None
    objective: Literal["cheapest", "closest", "fastest", "forward_looking"] | None = None
    instructions: Annotated[list[ShortText], Field(max_length=10)] = []


class RoutingRulesSaveRequested(Command):
    """An operator saves a draft: a whole set of rules, in their order. console -> routing. No order is routed by it."""

    type: ClassVar[str] = "routing.rules_save_requested.v1"

    request_id: UUID
    rules: Annotated[list[RoutingRule], Field(max_length=1_000)]
    reason: ShortText
    operator: ShortText


class RoutingRulesSaved(Answer):
    """The draft has this version; a version never changes."""

    type: ClassVar[str] = "routing.rules_saved.v1"

    request_id: UUID
    version: RuleSetVersion
    saved_at: Time


class RoutingRulesRejected(Refusal):
    """The draft was not saved; every fault is named with the rule, the field and the way out."""

    type: ClassVar[str] = "routing.rules_rejected.v1"

    request_id: UUID
    reason: Literal["invalid"]
    problems: list[FieldProblem]


class RoutingRulesPublishRequested(Command):
    """From now on orders are routed by this version; an earlier one is a rollback. console -> routing.

    ``expected_version`` is the version that is in force as the operator saw it; the command is refused when it is another.
    """

    type: ClassVar[str] = "routing.rules_publish_requested.v1"

    request_id: UUID
    version: RuleSetVersion
    expected_version: RuleSetVersion
    reason: ShortText
    operator: ShortText


class RoutingRulesPublished(Answer):
    """The version is in force."""

    type: ClassVar[str] = "routing.rules_published.v1"

    request_id: UUID
    version: RuleSetVersion
    replaced_version: RuleSetVersion
    change: Literal["published", "rolled_back"]
    published_at: Time


class RoutingRulesPublishRejected(Refusal):
    """Nothing was published; ``in_force`` is the version by which orders are routed."""

    type: ClassVar[str] = "routing.rules_publish_rejected.v1"

    request_id: UUID
    version: RuleSetVersion
    reason: Literal["stale_expectation", "unknown_version"]
    in_force: RuleSetVersion
