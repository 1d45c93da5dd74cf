"""Feeds of 3PLs, and counts that come as files."""

from __future__ import annotations

from typing import Literal

from services.portal.api.models.shapes import Request
from shared.contracts.base import ShortText
from shared.contracts.feeds import PatienceSeconds, StaleAfterSeconds
from shared.contracts.stock import FeedSequence


class SetFeed(Request):
    """How the feed of a location is watched. What is left out goes back to the default.

    ``stale_after_seconds``: how old the newest count may be before the location is flagged (default a day). ``patience_seconds``: how long
    a count waits for a message that it shows and that has not come (default an hour).
    """

    stale_after_seconds: StaleAfterSeconds | None = None
    patience_seconds: PatienceSeconds | None = None
    reason: ShortText
    operator: ShortText = "operator"


class CloseGap(Request):
    """Messages that will not come: everything missing up to and including ``up_to_sequence`` is given up."""

    up_to_sequence: FeedSequence
    reason: ShortText
    operator: ShortText = "operator"


class ApplyCounts(Request):
    """Applies an uploaded file. ``all``: every row or none; ``valid``: its valid rows, however many are wrong."""

    rows: Literal["valid", "all"] = "all"
    reason: ShortText
    operator: ShortText = "operator"
