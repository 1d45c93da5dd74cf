"""Which number a channel is told, and what its answer means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.sync.channels.protocol import Accepted, Answer, Busy, Refused, StockNumber, Unclear
from services.sync.decide.stock import ListingStock, Push, bucket_of, newest_numbers, percentile_ms, settle_push
from shared.contracts.stock import StockAvailabilityChanged
from tests.sync.messages import NOW, availability

FIVE, THREE = StockNumber(5, "in_stock", None), StockNumber(3, "in_stock", None)
CHANGED = NOW - timedelta(seconds=2)


def a_listing(wanted: StockNumber = FIVE) -> ListingStock:
    return ListingStock(
        channel="shop",
        sku="MUG",
        external_listing_id="L-MUG",
        wanted=wanted,
        wanted_at=CHANGED,
        stale_since=None,
        sending_since=CHANGED,
        due_at=NOW + timedelta(seconds=20),
        claims=4,
        failures=2,
        last_failure="HTTP 500",
        accepted=None,
        accepted_version=None,
        accepted_at=None,
        accepted_latency_ms=None,
    )


def a_push(number: StockNumber = FIVE, claim: int = 4) -> Push:
    return Push("shop", "MUG", "L-MUG", number, 7, claim)


def settled(listing: ListingStock, push: Push, answer: Answer) -> ListingStock:
    return settle_push(listing, push, answer, answered_at=NOW, now=NOW, jitter=1.0)


def test_a_yes_ends_the_matter_and_measures_from_the_change() -> None:
    after = settled(a_listing(), a_push(), Accepted())
    assert (after.accepted, after.accepted_version, after.accepted_latency_ms) == (FIVE, 7, 2000)
    assert (after.due_at, after.sending_since, after.failures, after.last_failure) == (None, None, 0, None)


def test_a_number_that_moved_on_during_the_call_is_due_at_once() -> None:
    moved_at = NOW - timedelta(seconds=1)
    after = settled(replace(a_listing(THREE), stale_since=moved_at), a_push(FIVE), Accepted())
    assert (after.accepted, after.due_at, after.stale_since, after.sending_since) == (FIVE, NOW, moved_at, None)


def test_a_failure_leaves_the_number_in_doubt_and_due_later() -> None:
    after = settled(a_listing(), a_push(), Unclear("no answer"))
    assert (after.accepted, after.sending_since, after.failures) == (None, CHANGED, 3)
    assert after.due_at == NOW + timedelta(seconds=2)


def test_a_busy_channel_is_left_alone_as_long_as_it_asked() -> None:
    due_at = settled(a_listing(), a_push(), Busy(30)).due_at
    assert due_at is not None
    assert due_at > NOW + timedelta(seconds=30)


def test_a_refused_number_is_told_again_in_minutes_not_seconds() -> None:
    due_at = settled(a_listing(), a_push(), Refused("HTTP 404")).due_at
    assert due_at == NOW + timedelta(minutes=5)


def test_an_answer_to_a_lost_claim_is_not_believed_and_the_number_told_again() -> None:
    idle = replace(a_listing(), due_at=None, sending_since=None, claims=5)
    after = settled(idle, a_push(claim=4), Accepted())
    assert (after.accepted, after.due_at, after.sending_since) == (None, NOW, NOW)


def test_an_answer_under_an_old_name_is_not_believed() -> None:
    renamed = replace(a_listing(), external_listing_id="L-NEW")
    assert settled(renamed, a_push(), Accepted()).accepted is None


def test_a_clock_that_went_backwards_measures_nothing_below_zero() -> None:
    ahead = replace(a_listing(), sending_since=NOW + timedelta(hours=1))
    assert settled(ahead, a_push(), Accepted()).accepted_latency_ms == 0


EVENTS = st.lists(
    st.builds(
        availability,
        st.sampled_from(["MUG", "LAMP", "CHAIR"]),
        st.integers(0, 9),
        st.integers(0, 50),
    ),
    max_size=40,
)


@given(EVENTS)
def test_the_highest_version_of_each_sku_wins_in_any_order(events: list[StockAvailabilityChanged]) -> None:
    numbers = newest_numbers(events)
    assert [(number.sku, number.pool) for number in numbers] == sorted({(event.changes[0].sku, "default") for event in events})
    for number in numbers:
        versions = [event.changes[0].stock_version for event in events if event.changes[0].sku == number.sku]
        assert number.stock_version == max(versions)


def test_pools_do_not_mix() -> None:
    numbers = newest_numbers([availability("MUG", 1, 9, pool="outlet"), availability("MUG", 2, 3)])
    assert [(number.pool, number.number.available) for number in numbers] == [("default", 2), ("outlet", 1)]


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.99]))
def test_percentiles_from_buckets_are_at_most_five_percent_off(latencies_ms: list[int], share: float) -> None:
    exact = max(1, sorted(latencies_ms)[math.ceil(len(latencies_ms) * share) - 1])
    measured = percentile_ms(Counter(bucket_of(latency) for latency in latencies_ms), share)
    assert measured is not None
    assert exact - 1 <= measured <= exact * 1.05 + 1


def test_no_pushes_have_no_percentile() -> None:
    assert percentile_ms({}, 0.99) is None
