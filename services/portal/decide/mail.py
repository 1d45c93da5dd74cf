"""What becomes of a notification after a try to send it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 3600.0
REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Delivered:
    """The mail server has taken responsibility."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be delivered: the server said so (5xx), or the address is none."""

    reason: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not now: the server said so (4xx), or it could not be reached."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """There was no time left to try."""


MailOutcome = Delivered | Refused | Postponed | NotTried


@dataclass(frozen=True, slots=True)
class NextStep:
    """The new state of a notification."""

    status: Literal["due", "sent", "failed"]
    due_at: datetime
    reason: str | None


def next_step(
    outcome: MailOutcome, *, attempts: int, created_at: datetime, now: datetime, give_up_after: timedelta, jitter: float
) -> NextStep:
    """Decides what to do with a notification after its try number ``attempts``.

    A server that is away is no fault of the mail, so age and not the number of tries ends it. Source: RFC 5321, 4.5.4.1 (give up after four
    to five days).

    Args:
        jitter: 0..1, spreads the next tries of mails that failed together.
    """
    if isinstance(outcome, Delivered):
        return NextStep("sent", now, None)
    if isinstance(outcome, Refused):
        return NextStep("failed", now, outcome.reason[:REASON_LENGTH])
    if isinstance(outcome, NotTried):
        return NextStep("due", now, None)
    if now - created_at >= give_up_after:
        return NextStep("failed", now, f"given up after {attempts} tries, the last with: {outcome.reason}"[:REASON_LENGTH])
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 20)) * (0.75 + 0.5 * jitter)
    return NextStep("due", now + timedelta(seconds=pause), outcome.reason[:REASON_LENGTH])
