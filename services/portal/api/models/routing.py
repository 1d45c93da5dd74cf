"""Routing rules."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.portal.api.models.shapes import Request
from shared.contracts.base import Code, ShortText, Sku, UnitCount
from shared.contracts.routing_rules import RoutingRule, RuleSetVersion


class SaveRoutingRules(Request):
    """A whole set of rules, in the order in which they apply, as a draft."""

    rules: Annotated[list[RoutingRule], Field(max_length=1_000)]
    reason: ShortText
    operator: ShortText = "operator"


class PublishRoutingRules(Request):
    """``expected_version`` is the version in force as you saw it; it is refused when another one is."""

    expected_version: RuleSetVersion
    reason: ShortText
    operator: ShortText = "operator"


class TryRoutingRules(Request):
    """A trial on one order: a saved ``version``, or ``rules`` that are not saved yet. Without ``stock`` (units by SKU and location) it
    stands on what allocation told last, else on the assumption that every location has everything."""

    order_id: UUID
    version: RuleSetVersion | None = None
    rules: Annotated[list[RoutingRule], Field(max_length=1_000)] | None = None
    stock: dict[Sku, dict[Code, UnitCount]] | None = None
