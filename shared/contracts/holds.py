"""Checkout holds: a channel keeps units for a shopper before the payment.

Asked for by queue (``channel.hold_requested``, answered into the channel's own queue) or over HTTP (``stock.hold_requested``, answered at
once); the content and the rules are the same.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Answer, Code, Command, Part, PartnerCommand, PartnerMessage, Refusal, Sku, Time, UnitCount, Units
from shared.contracts.channels import FieldProblem

HoldPolicy = Literal["partial", "all_or_nothing"]
HoldOutcome = Literal["held", "partly_held", "nothing_held", "released"]
HoldRefusal = Literal["invalid", "foreign_channel", "unknown_sku", "kit", "different_content", "confirmed", "released", "expired"]

HoldSeconds = Annotated[int, Field(ge=10, le=3_600, strict=True)]
"""How long a hold lasts: 10 seconds to an hour."""

DEFAULT_HOLD_SECONDS = 600


class HoldLine(Part):
    """Units of one SKU to keep for a shopper."""

    sku: Sku
    quantity: Units


class HoldRequest(Part):
    """What a hold is asked for with.

    The channel chooses ``hold_id`` (a UUID, best of version 7). Asking again with the same content prolongs the hold and is answered with
    what it holds. ``policy``: hold what is there, or all lines or nothing.
    """

    hold_id: UUID
    channel: Code
    lines: Annotated[list[HoldLine], Field(min_length=1, max_length=100)]
    ttl_seconds: HoldSeconds = DEFAULT_HOLD_SECONDS
    policy: HoldPolicy = "partial"


class HoldRelease(Part):
    """Names a hold whose units the shopper no longer wants."""

    hold_id: UUID
    channel: Code


class HeldLine(Part):
    """What is held of one SKU. Less than asked when there was less, or when a shortage took some since."""

    sku: Sku
    asked: Units
    held: UnitCount


class HoldAnswer(Part):
    """What a hold holds now. With ``nothing_held`` there is no hold; asking again under the same id tries again.

    ``expires_at`` is when the units are free again unless an order names the hold before; null when nothing is held.
    """

    hold_id: UUID
    channel: Code
    outcome: HoldOutcome
    lines: list[HeldLine]
    expires_at: Time | None
    answered_at: Time


class ChannelHoldRequested(PartnerMessage, HoldRequest):
    """Keep units for a shopper before the payment. adapter -> allocation, which answers into ``channel.<code>.commands``."""

    type: ClassVar[str] = "channel.hold_requested.v1"


class ChannelHoldReleaseRequested(PartnerMessage, HoldRelease):
    """The shopper left. adapter -> allocation. Releasing twice is as good as once."""

    type: ClassVar[str] = "channel.hold_release_requested.v1"


class ChannelHoldAnswered(PartnerCommand, HoldAnswer):
    """The answer to a request for a hold, or to its release. allocation -> ``channel.<code>.commands``."""

    type: ClassVar[str] = "channel.hold_answered.v1"


class ChannelHoldRejected(PartnerCommand):
    """The request was not done. allocation -> ``channel.<code>.commands``. ``event_id`` is the envelope id of what was refused."""

    type: ClassVar[str] = "channel.hold_rejected.v1"

    channel: Code
    hold_id: UUID | None
    event_id: UUID | None
    reason: HoldRefusal
    problems: Annotated[list[FieldProblem], Field(min_length=1, max_length=100)]
    rejected_at: Time


class ChannelHoldShrunk(PartnerCommand):
    """Units that a hold held are not on any shelf. allocation -> ``channel.<code>.commands``. ``lines`` are those that got smaller."""

    type: ClassVar[str] = "channel.hold_shrunk.v1"

    channel: Code
    hold_id: UUID
    lines: list[HeldLine]
    shrunk_at: Time


class StockHoldRequested(Command, HoldRequest):
    """Keep units for a shopper before the payment. adapter, console -> allocation, over HTTP."""

    type: ClassVar[str] = "stock.hold_requested.v1"


class StockHoldReleaseRequested(Command, HoldRelease):
    """The shopper left. adapter, console -> allocation, over HTTP."""

    type: ClassVar[str] = "stock.hold_release_requested.v1"


class StockHoldAnswered(Answer, HoldAnswer):
    """The answer to a request for a hold, or to its release."""

    type: ClassVar[str] = "stock.hold_answered.v1"


class StockHoldRejected(Refusal):
    """The request was not done; ``detail`` says why and what to do."""

    type: ClassVar[str] = "stock.hold_rejected.v1"

    hold_id: UUID
    channel: Code
    reason: HoldRefusal
    field: Annotated[str, Field(max_length=120)]
