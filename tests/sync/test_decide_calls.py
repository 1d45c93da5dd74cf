"""Back-off, patience and the circuit breaker."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.sync.channels.protocol import Accepted, Answer, Busy, Refused, Unclear
from services.sync.decide.calls import FAILURES_BEFORE_OPEN, ChannelHealth, health_after, next_call, retry_delay
from tests.sync.messages import NOW

LOST = Unclear("no answer")


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_wait_doubles_up_to_a_minute_and_is_never_less_than_half_of_it(failures: int, jitter: float) -> None:
    longest = min(60.0, 0.5 * 2 ** min(failures - 1, 20))
    assert longest / 2 <= retry_delay(failures, jitter).total_seconds() <= longest


@given(st.floats(0.1, 300), st.floats(0, 1))
def test_nobody_calls_earlier_than_a_busy_channel_asked(seconds: float, jitter: float) -> None:
    assert next_call(Busy(seconds), 1, NOW, jitter) > NOW + timedelta(seconds=seconds)


def test_four_failures_leave_the_circuit_closed_and_the_fifth_opens_it() -> None:
    health = ChannelHealth()
    for _ in range(FAILURES_BEFORE_OPEN - 1):
        health = health_after(health, [LOST], NOW, 1.0)
    assert (health.trips, health.paused_until) == (0, None)
    health = health_after(health, [LOST], NOW, 1.0)
    assert (health.trips, health.paused_until) == (1, NOW + timedelta(seconds=1))


def test_each_failed_probe_doubles_the_pause_up_to_half_a_minute() -> None:
    health = ChannelHealth(consecutive_failures=FAILURES_BEFORE_OPEN, trips=1)
    pauses = []
    for _ in range(8):
        health = health_after(health, [LOST], NOW, 1.0)
        assert health.paused_until is not None
        pauses.append((health.paused_until - NOW).total_seconds())
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]


def test_one_sensible_answer_closes_the_circuit() -> None:
    open_circuit = ChannelHealth(consecutive_failures=9, trips=3, paused_until=NOW + timedelta(seconds=9))
    for answer in (Accepted(), Refused("HTTP 422")):
        health = health_after(open_circuit, [LOST, answer], NOW, 1.0)
        assert (health.consecutive_failures, health.trips, health.paused_until) == (0, 0, None)


def test_patience_that_a_channel_asked_for_outlasts_answers_that_were_under_way() -> None:
    asked = health_after(ChannelHealth(), [Busy(20)], NOW, 1.0)
    assert health_after(asked, [Accepted()], NOW, 1.0).paused_until == NOW + timedelta(seconds=20)


def test_the_longest_patience_of_a_batch_counts() -> None:
    assert health_after(ChannelHealth(), [Busy(3), Accepted(), Busy(7)], NOW, 0.0).paused_until == NOW + timedelta(seconds=7)


@given(st.lists(st.lists(st.sampled_from([Accepted(), Refused("no"), LOST, Busy(1.0)]), min_size=1, max_size=16), max_size=20))
def test_the_circuit_is_open_exactly_while_the_last_answers_were_all_failures(batches: list[list[Answer]]) -> None:
    health = ChannelHealth()
    run = 0
    for answers in batches:
        health = health_after(health, answers, NOW, 0.5)
        run = run + len(answers) if all(isinstance(answer, Unclear) for answer in answers) else 0
        assert health.consecutive_failures == run
        assert (health.trips > 0) is (run >= FAILURES_BEFORE_OPEN)
        if health.trips:
            assert health.paused_until is not None
            assert health.paused_until > NOW
