"""Rules about stock that an operator sets at run time: safety stock, and what one channel may take."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Answer, Code, Command, Refusal, ShortText, Sku, Time, UnitCount

RuleUnits = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
"""A count of units in a rule; zero is a rule, too."""

RulePercent = Annotated[int, Field(ge=0, le=100, strict=True)]
"""A whole percentage."""

RuleVersion = Annotated[int, Field(ge=0, strict=True)]
"""Grows with every change of a rule; 0 means that there is no rule."""


class StockSafetyRequested(Command):
    """An operator keeps units back from sale, as a buffer against miscounts. console -> allocation.

    Of a SKU wherever it lies or, with ``location``, of what lies there (at most what does lie there); both add up.
    ``expected_safety_units`` makes it compare-and-set. Raising it takes nothing from anybody who has units; lowering it serves the queue.
    """

    type: ClassVar[str] = "stock.safety_requested.v1"

    change_id: UUID
    sku: Sku
    location: Code | None = None
    safety_units: RuleUnits
    expected_safety_units: RuleUnits | None = None
    reason: ShortText
    operator: ShortText


class StockSafetySet(Answer):
    """The safety stock is as asked."""

    type: ClassVar[str] = "stock.safety_set.v1"

    change_id: UUID
    sku: Sku
    location: Code | None
    old_safety_units: UnitCount
    new_safety_units: UnitCount
    changed_at: Time


class StockSafetyRejected(Refusal):
    """The safety stock was not changed; ``detail`` says why and what to do."""

    type: ClassVar[str] = "stock.safety_rejected.v1"

    change_id: UUID
    sku: Sku
    location: Code | None
    reason: Literal["stale_expectation", "unknown_sku", "unknown_location", "kit_has_no_stock"]
    safety_units: UnitCount | None


class ChannelPoolRequested(Command):
    """An operator decides what one channel may take of a SKU. console -> allocation. What is left out does not apply; nothing: no rule.

    ``fence_units`` are set aside for the channel: its reserved and held units fill them first, nobody else may take the rest, and shipped
    units leave them. ``cap_units`` is the most it may have reserved or held and not shipped. ``share_percent`` is the most it may have of
    what is free for all. ``expected_rule_version`` makes it compare-and-set.
    """

    type: ClassVar[str] = "stock.channel_pool_requested.v1"

    change_id: UUID
    sku: Sku
    channel: Code
    fence_units: RuleUnits | None = None
    cap_units: RuleUnits | None = None
    share_percent: RulePercent | None = None
    expected_rule_version: RuleVersion | None = None
    reason: ShortText
    operator: ShortText


class ChannelPoolSet(Answer):
    """The rule stands as asked."""

    type: ClassVar[str] = "stock.channel_pool_set.v1"

    change_id: UUID
    sku: Sku
    channel: Code
    fence_units: UnitCount
    cap_units: UnitCount | None
    share_percent: RulePercent | None
    rule_version: RuleVersion
    changed_at: Time


class ChannelPoolRejected(Refusal):
    """The rule was not changed; ``detail`` says why and what to do."""

    type: ClassVar[str] = "stock.channel_pool_rejected.v1"

    change_id: UUID
    sku: Sku
    channel: Code
    reason: Literal["stale_expectation", "unknown_sku", "invalid", "kit_has_no_stock"]
    rule_version: RuleVersion | None
