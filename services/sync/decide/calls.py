"""When to call a channel, and when to leave it in peace: back-off, patience, circuit breaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.sync.channels.protocol import Accepted, Answer, Busy, Refused, Unclear

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0
REFUSED_DELAY_SECONDS = 300.0

FAILURES_BEFORE_OPEN = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


def _spread(seconds: float, jitter: float) -> timedelta:
    """Between half of the time and all of it, so that what failed together does not come back together.

    Source: "equal jitter", AWS Architecture Blog, Exponential Backoff and Jitter (2015).
    """
    return timedelta(seconds=seconds * (0.5 + 0.5 * jitter))


def retry_delay(failures: int, jitter: float) -> timedelta:
    """How long to wait after this many failures in a row: doubling, at most a minute.

    Args:
        failures: failed calls since the last success, at least 1.
        jitter: chance, in 0..1.
    """
    return _spread(min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(failures - 1, 16)), jitter)


def next_call(answer: Busy | Refused | Unclear, failures: int, now: datetime, jitter: float) -> datetime:
    """When to try again what was answered like this."""
    if isinstance(answer, Busy):
        return now + timedelta(seconds=answer.retry_after_seconds) + _spread(FIRST_DELAY_SECONDS, jitter)
    if isinstance(answer, Refused):
        return now + _spread(REFUSED_DELAY_SECONDS, jitter)
    return now + retry_delay(failures, jitter)


def failure_text(answer: Busy | Refused | Unclear) -> str:
    """A failure in words, for the operator."""
    if isinstance(answer, Busy):
        return f"the channel asks for patience: {answer.retry_after_seconds:g} s"
    return answer.reason


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How a channel has been answering. ``trips``: how often in a row its circuit opened; 0 means closed."""

    consecutive_failures: int = 0
    trips: int = 0
    paused_until: datetime | None = None
    last_accepted_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure: str | None = None


def health_after(health: ChannelHealth, answers: Sequence[Answer], now: datetime, jitter: float) -> ChannelHealth:
    """A channel's health after some calls that were under way together.

    One answer that makes sense (a yes, or a reasoned no) closes the circuit. Five failures in a row without one open it: nobody calls for
    a second, then one call probes; each failed probe doubles the pause, up to half a minute. A 429 pauses everybody for the time asked.
    """
    busy = max((answer.retry_after_seconds for answer in answers if isinstance(answer, Busy)), default=None)
    unclear = [answer for answer in answers if isinstance(answer, Unclear)]
    alive = len(unclear) < len(answers)
    failures = 0 if alive else health.consecutive_failures + len(unclear)
    trips = 0 if alive else health.trips
    # What an open circuit paused goes on once the channel answers; what the channel itself asked for stays.
    paused_until = None if alive and health.trips > 0 else health.paused_until
    if failures >= FAILURES_BEFORE_OPEN:
        trips += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(trips - 1, 16))
        paused_until = now + _spread(pause, jitter)
    if busy is not None:
        paused_until = now + timedelta(seconds=busy)
    failed = [answer for answer in answers if isinstance(answer, Busy | Refused | Unclear)]
    return ChannelHealth(
        consecutive_failures=failures,
        trips=trips,
        paused_until=paused_until,
        last_accepted_at=now if any(isinstance(answer, Accepted) for answer in answers) else health.last_accepted_at,
        last_failure_at=now if failed else health.last_failure_at,
        last_failure=failure_text(failed[-1]) if failed else health.last_failure,
    )
