"""What operators decide about the feeds of 3PLs and distributors."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Answer, Code, Command, Part, Refusal, ShortText
from shared.contracts.stock import FeedSequence

StaleAfterSeconds = Annotated[int, Field(ge=60, le=31_536_000, strict=True)]
"""How old the newest count of a location may be before the location is flagged as stale."""

PatienceSeconds = Annotated[int, Field(ge=0, le=604_800, strict=True)]
"""How long a count waits for a message that it shows and that has not come; after that it is applied without it."""


class FeedSettingsRequested(Command):
    """An operator sets how a location's feed is watched. console -> allocation. Null means the default of the system.

    With ``stale_after_seconds`` set, counts are expected even of a location that has never sent one.
    """

    type: ClassVar[str] = "feed.settings_requested.v1"

    decision_id: UUID
    location: Code
    stale_after_seconds: StaleAfterSeconds | None = None
    patience_seconds: PatienceSeconds | None = None
    reason: ShortText
    operator: ShortText


class FeedSettingsChanged(Answer):
    """The feed is watched like this from now on. allocation -> the console's answer."""

    type: ClassVar[str] = "feed.settings_changed.v1"

    decision_id: UUID
    location: Code
    stale_after_seconds: StaleAfterSeconds
    patience_seconds: PatienceSeconds


class FeedSettingsRejected(Refusal):
    """Nothing was set; ``detail`` says why and what to do."""

    type: ClassVar[str] = "feed.settings_rejected.v1"

    decision_id: UUID
    location: Code
    reason: Literal["unknown_location"]


class FeedGapCloseRequested(Command):
    """An operator gives up messages of a feed that will not come, so that counts need not wait for them. console -> allocation.

    Everything missing up to and including ``up_to_sequence`` is given up. A message that comes all the same is handled as ever: a count
    that shows it keeps it from being booked twice.
    """

    type: ClassVar[str] = "feed.gap_close_requested.v1"

    decision_id: UUID
    location: Code
    up_to_sequence: FeedSequence
    reason: ShortText
    operator: ShortText


class ClosedGap(Part):
    """Messages that are waited for no more."""

    first_sequence: FeedSequence
    last_sequence: FeedSequence


class FeedGapClosed(Answer):
    """Counts wait for these messages no more; those that waited for nothing else are applied within seconds. allocation -> the console's
    answer."""

    type: ClassVar[str] = "feed.gap_closed.v1"

    decision_id: UUID
    location: Code
    gaps: Annotated[list[ClosedGap], Field(min_length=1)]


class FeedGapCloseRejected(Refusal):
    """Nothing was given up; ``detail`` says why and what to do."""

    type: ClassVar[str] = "feed.gap_close_rejected.v1"

    decision_id: UUID
    location: Code
    reason: Literal["unknown_location", "nothing_missing"]
