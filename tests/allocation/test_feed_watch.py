"""Watching feeds: what is late, stale, missing or unknown, who decides about it, and that no count waits for ever."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.allocation.decide.feeds import MOST_AHEAD, Arrived, Awaited, Gap, age_of, gaps_of, gaps_up_to, given_up
from services.allocation.feed_pages import GAUGES, feed_as_json
from services.allocation.handlers.feeds import FeedStatus, feed_measures, read_feed_statuses, settle_sequences
from services.allocation.handlers.snapshots import apply_remembered_counts, forget_unregistered
from services.allocation.queries.gaps import list_below_zero
from shared.contracts.envelope import new_id
from shared.contracts.feeds import (
    FeedGapClosed,
    FeedGapCloseRejected,
    FeedGapCloseRequested,
    FeedSettingsChanged,
    FeedSettingsRejected,
    FeedSettingsRequested,
)
from shared.contracts.stock import SnapshotLine, StockBackordered, ThirdPartyStockSnapshot
from shared.messaging.message import Outgoing, Received, Transaction
from shared.telemetry import Metrics
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    NOW,
    PARTNER,
    at,
    correction,
    line,
    location,
    order,
    plan,
    planned,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    third_party_receipt,
    units,
)


@pytest.fixture
async def stocked(desk: Desk) -> Desk:
    """Ten mugs in the east, on the shelf since long ago."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west", partner="other"))
    await desk.hear(received(receipt(10), time=at(-60)))
    return desk


async def run(desk: Desk, work: Any) -> list[Outgoing]:
    """A schedule's turn."""
    async with desk.connection.transaction():
        said: list[Outgoing] = await work(Transaction(desk.connection, desk.now))
    return said


async def status_of(desk: Desk, code: str = "east") -> FeedStatus:
    (status,) = await read_feed_statuses(desk.connection, code, desk.now)
    return status


def close_gap(up_to: int, *, at_location: str = "east") -> FeedGapCloseRequested:
    return FeedGapCloseRequested(
        decision_id=new_id(), location=at_location, up_to_sequence=up_to, reason="lost with the 3PL's old system", operator="kim"
    )


def watch(
    *, stale_after_seconds: int | None = None, patience_seconds: int | None = None, at_location: str = "east"
) -> FeedSettingsRequested:
    return FeedSettingsRequested(
        decision_id=new_id(),
        location=at_location,
        stale_after_seconds=stale_after_seconds,
        patience_seconds=patience_seconds,
        reason="counts daily",
        operator="kim",
    )


class TestGaps:
    def test_a_gap_is_what_lies_below_something_that_came(self) -> None:
        arrived = [Arrived(3, 4, at(1)), Arrived(7, 7, at(2))]
        assert gaps_of(0, arrived, []) == [Gap(1, 2, at(1)), Gap(5, 6, at(2))]
        assert gaps_of(2, arrived, []) == [Gap(5, 6, at(2))]
        assert gaps_of(7, arrived, []) == []

    def test_a_jump_by_a_million_is_one_gap(self) -> None:
        assert gaps_of(3, [Arrived(1_000_004, 1_000_005, at(1))], []) == [Gap(4, 1_000_003, at(1))]

    def test_a_waiting_count_makes_a_gap_above_everything_that_came(self) -> None:
        assert gaps_of(3, [], [Awaited(5, at(1)), Awaited(8, at(2))]) == [Gap(4, 5, at(1)), Gap(6, 8, at(2))]
        assert gaps_of(3, [Arrived(4, 5, at(1))], [Awaited(5, at(1))]) == []

    def test_a_message_is_missing_since_the_first_sign_of_it(self) -> None:
        assert gaps_of(0, [Arrived(2, 2, at(5))], [Awaited(2, at(1))]) == [Gap(1, 1, at(1))]

    @settings(max_examples=200, deadline=None)
    @given(
        floor=st.integers(0, 12),
        came=st.sets(st.integers(1, 20)),
        awaited=st.lists(st.integers(1, 25), max_size=4, unique=True),
    )
    def test_gaps_are_exactly_the_numbers_that_must_exist_and_have_not_come(self, floor: int, came: set[int], awaited: list[int]) -> None:
        counts = [Awaited(watermark, at(minute)) for minute, watermark in enumerate(awaited)]
        gaps = gaps_of(floor, islands(number for number in came if number > floor), counts)
        missing = [number for gap in gaps for number in range(gap.first, gap.last + 1)]
        top = max([floor, *came, *awaited])
        assert missing == [number for number in range(floor + 1, top + 1) if number not in came]
        assert [gap.since for gap in gaps] == sorted(gap.since for gap in gaps)
        for gap in gaps:
            signs = [at(100)] * any(number > gap.last for number in came if number > floor)
            signs += [count.since for count in counts if count.watermark >= gap.last]
            assert gap.since == min(signs)

    def test_gaps_are_cut_where_an_operator_says_and_given_up_when_patience_is_over(self) -> None:
        gaps = [Gap(1, 2, at(0)), Gap(5, 9, at(30))]
        assert gaps_up_to(gaps, 6) == [Gap(1, 2, at(0)), Gap(5, 6, at(30))]
        assert gaps_up_to(gaps, 0) == []
        assert given_up(gaps, timedelta(minutes=60), at(60)) == [Gap(1, 2, at(0))]
        assert given_up(gaps, timedelta(minutes=60), at(59)) == []


def islands(numbers: Iterable[int]) -> list[Arrived]:
    """Runs of numbers; all came at the same moment, after every count."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [Arrived(run[0], run[-1], at(100)) for run in runs]


class TestAge:
    def test_a_count_is_stale_when_it_is_older_than_its_limit(self) -> None:
        limit = timedelta(hours=24)
        assert age_of(at(0), None, limit, at(60)) == (timedelta(hours=1), False)
        assert age_of(at(0), None, limit, at(24 * 60)) == (timedelta(hours=24), False)
        assert age_of(at(0), None, limit, at(24 * 60 + 1)).stale
        assert age_of(at(5), None, limit, at(0)) == (timedelta(0), False)

    def test_a_location_that_never_counts_is_only_stale_where_counts_are_expected(self) -> None:
        assert age_of(None, None, timedelta(hours=1), at(0)) == (None, False)
        assert age_of(None, at(-59), timedelta(hours=1), at(0)) == (None, False)
        assert age_of(None, at(-61), timedelta(hours=1), at(0)) == (None, True)


async def test_a_feed_shows_when_it_was_last_heard_and_how_old_its_count_is(stocked: Desk) -> None:
    assert (await status_of(stocked)).last_heard_at is None
    await stocked.hear(correction(-1, sequence=1))
    stocked.now = at(10)
    await stocked.hear(snapshot(9, as_of=at(7), watermark=1))
    stocked.now = at(20)
    await stocked.hear(third_party_receipt(2, sequence=2, time=at(19)))
    stocked.now = at(25)
    status = await status_of(stocked)
    assert (status.last_heard_at, status.counted_at, status.counted_as_of, status.counted_watermark) == (at(20), at(10), at(7), 1)
    assert (status.age.age, status.age.stale) == (timedelta(minutes=18), False)
    stocked.now = at(7 + 24 * 60 + 1)
    assert (await status_of(stocked)).age.stale


async def test_an_older_count_shows_that_the_sender_lives_and_not_that_it_has_counted(stocked: Desk) -> None:
    await stocked.hear(snapshot(9, as_of=at(7)))
    stocked.now = at(30)
    await stocked.hear(snapshot(8, as_of=at(3)))
    status = await status_of(stocked)
    assert (status.last_heard_at, status.counted_as_of, status.counted_at) == (at(30), at(7), NOW)


async def test_an_operator_sets_when_a_location_is_stale_and_the_decision_is_on_record(stocked: Desk) -> None:
    answer = (await stocked.hear(watch(stale_after_seconds=600))).one(FeedSettingsChanged)
    assert (answer.stale_after_seconds, answer.patience_seconds) == (600, 3600)
    assert not (await status_of(stocked)).age.stale
    stocked.now = at(11)
    assert (await status_of(stocked)).age.stale, "counts are expected here now, and none has come"
    await stocked.hear(snapshot(9, as_of=at(10)))
    assert not (await status_of(stocked)).age.stale
    (decision,) = await stocked.connection.fetch("SELECT * FROM feed_decisions")
    assert (decision["kind"], decision["author"]) == ("settings_changed", "kim")
    assert "stale after 600" in decision["reason"]
    await stocked.hear(watch())
    stocked.now = at(300)
    assert not (await status_of(stocked)).age.stale, "back to the default of a day"


async def test_settings_of_an_unknown_location_are_refused_with_the_way_out(stocked: Desk) -> None:
    refused = (await stocked.hear(watch(at_location="nowhere"))).one(FeedSettingsRejected)
    assert "register the location" in refused.detail
    assert "register the location" in (await stocked.hear(close_gap(1, at_location="nowhere"))).one(FeedGapCloseRejected).detail


async def test_missing_messages_are_shown_with_their_numbers_and_since_when(stocked: Desk) -> None:
    await stocked.hear(correction(-1, sequence=1))
    stocked.now = at(2)
    await stocked.hear(correction(-1, sequence=4))
    stocked.now = at(3)
    assert (await stocked.hear(snapshot(7, as_of=at(2), watermark=6))).deferred
    status = await status_of(stocked)
    assert list(status.gaps) == [Gap(2, 3, at(2)), Gap(5, 6, at(3))]
    shown = feed_as_json(status)
    assert (shown["missing_messages"], shown["gaps"][0]) == (
        4,
        {
            "first_sequence": 2,
            "last_sequence": 3,
            "messages": 2,
            "since": at(2).isoformat(),
            "given_up_at": at(62).isoformat(),
        },
    )


async def test_an_operator_closes_a_gap_with_a_reason_and_the_count_that_waited_is_applied(stocked: Desk) -> None:
    await stocked.hear(correction(-1, sequence=3))
    count = snapshot(7, as_of=at(2), watermark=4)
    assert "3 of the location's messages up to sequence 4" in (await stocked.hear(count)).deferred[0]
    refused = (await stocked.hear(close_gap(3))).one(FeedGapClosed)
    assert [(gap.first_sequence, gap.last_sequence) for gap in refused.gaps] == [(1, 2)]
    assert "1 of the location's messages up to sequence 4" in (await stocked.hear(count)).deferred[0]
    await stocked.hear(close_gap(4))
    assert not (await stocked.hear(count)).deferred
    assert await stocked.available() == 7
    decisions = await stocked.connection.fetch("SELECT first_sequence, last_sequence, author, reason FROM feed_decisions ORDER BY 1")
    assert [tuple(row.values())[:3] for row in decisions] == [(1, 2, "kim"), (4, 4, "kim")]
    assert decisions[0]["reason"] == "lost with the 3PL's old system"
    assert "nothing is missing" in (await stocked.hear(close_gap(9))).one(FeedGapCloseRejected).detail


async def test_a_message_that_comes_after_its_gap_was_closed_is_booked_once(stocked: Desk) -> None:
    await stocked.hear(close_gap_after_count := snapshot(7, as_of=at(2), watermark=2))
    await stocked.hear(close_gap(2))
    await stocked.hear(close_gap_after_count)
    assert await stocked.available() == 7
    await stocked.hear(correction(-3, sequence=1, time=at(1)))
    assert await stocked.available() == 7, "the count showed it"
    await stocked.hear(correction(-3, sequence=2, sku="CUP", time=at(1)))
    assert (await stocked.shelf(sku="CUP"))["on_shelf"] == -3, "the count did not list cups, so it showed nothing of them"


async def test_a_count_that_waits_too_long_is_applied_and_the_gap_is_on_record(stocked: Desk) -> None:
    """A lost message must neither stop all later counts nor park them in silence."""
    count = snapshot(6, as_of=at(0), watermark=2)
    assert (await stocked.hear(count)).deferred
    stocked.now = at(59)
    assert (await stocked.hear(count)).deferred
    assert [gap.since for gap in (await status_of(stocked)).gaps] == [NOW]
    stocked.now = at(60)
    assert not (await stocked.hear(count)).deferred
    assert await stocked.available() == 6
    (decision,) = await stocked.connection.fetch("SELECT first_sequence, last_sequence, missing, author, reason FROM feed_decisions")
    assert tuple(decision.values())[:4] == (1, 2, 2, "allocation")
    assert "patience" in decision["reason"]
    assert (await status_of(stocked)).gaps == []


async def test_each_location_has_its_own_patience(stocked: Desk) -> None:
    await stocked.hear(watch(patience_seconds=0))
    assert not (await stocked.hear(snapshot(6, as_of=at(0), watermark=2))).deferred
    await stocked.hear(watch(patience_seconds=7200))
    count = snapshot(5, as_of=at(1), watermark=3)
    assert (await stocked.hear(count)).deferred
    stocked.now = at(119)
    assert (await stocked.hear(count)).deferred
    stocked.now = at(121)
    assert not (await stocked.hear(count)).deferred


async def test_a_parcel_that_comes_after_patience_gives_its_order_back_what_the_count_took(stocked: Desk) -> None:
    """Applying a count without a message it shows may take units that left for lost; the message sets it right."""
    sent, waits = order(line(4)), order(line(6))
    await stocked.hear(sent)
    await stocked.hear(waits)
    parcel = planned("east", units(4))
    await stocked.hear(plan(sent, parcel))
    count = snapshot(6, as_of=at(1), watermark=1)
    await stocked.hear(count)
    stocked.now = at(61)
    lost = (await stocked.hear(count)).one(StockBackordered)
    assert (lost.order_id, lost.lines[0].quantity) == (waits.order_id, 4)
    await stocked.hear(shipped(sent, parcel, sequence=1, at_time=at(0)))
    assert await stocked.line(waits.order_id) == {"units": 6, "reserved": 6}
    assert ((await stocked.shelf())["on_shelf"], await stocked.available()) == (6, 0)


async def test_a_count_that_is_superseded_while_it_waits_changes_nothing(stocked: Desk) -> None:
    old, new = snapshot(5, as_of=at(1), watermark=1), snapshot(7, as_of=at(2), watermark=1)
    assert len((await stocked.hear(old, new)).deferred) == 2
    await stocked.hear(correction(-3, sequence=1))
    await stocked.hear(new)
    assert not (await stocked.hear(old)).deferred
    assert await stocked.available() == 7


async def test_sequences_without_a_gap_are_forgotten_and_the_others_kept(stocked: Desk) -> None:
    await stocked.hear(*(correction(-1, sequence=number) for number in (1, 2, 3, 5)))
    await run(stocked, settle_sequences)
    assert await stocked.connection.fetchval("SELECT sequence_floor FROM locations WHERE location = 'east'") == 3
    assert [row["sequence"] for row in await stocked.connection.fetch("SELECT sequence FROM feed_sequences")] == [5]
    await stocked.hear(correction(-1, sequence=2))
    assert list((await status_of(stocked)).gaps) == [Gap(4, 4, NOW)]
    await stocked.hear(snapshot(5, as_of=at(1), watermark=5))
    await stocked.hear(correction(-1, sequence=4))
    await run(stocked, settle_sequences)
    assert await stocked.connection.fetchval("SELECT count(*) FROM awaited_watermarks") == 0


async def test_staleness_and_gaps_are_gauges_by_location_code_and_silent_places_have_none(stocked: Desk) -> None:
    metrics = Metrics("allocation")
    for name, documentation in GAUGES.names.items():
        metrics.declare(name, documentation, GAUGES.labels)
    await stocked.hear(correction(-1, sequence=3))
    await stocked.hear(snapshot(9, as_of=at(-5)))
    stocked.now = at(25 * 60)
    metrics.measure(await feed_measures(stocked.connection, stocked.now))

    def value(name: str, place: str = "east") -> float | None:
        return metrics.registry.get_sample_value(f"ordermesh_{name}", {"location": place})

    assert (value("feed_age_seconds"), value("feed_stale")) == (25 * 3600 + 300, 1)
    assert (value("feed_missing_messages"), value("feed_gap_seconds"), value("feed_unregistered_skus")) == (2, 25 * 3600, 0)
    assert value("feed_stale", "west") is None
    await stocked.hear(location("east", active=False).model_copy(), received(location("east", active=False), time=at(5)))
    metrics.measure(await feed_measures(stocked.connection, stocked.now))
    assert value("feed_stale") is None, "a closed location alarms nobody"


async def test_a_correction_that_takes_more_than_there_is_is_booked_and_shown_until_the_shelf_is_right_again(stocked: Desk) -> None:
    await stocked.hear(correction(-3, sku="CUP"))
    await stocked.hear(received(receipt(5, "CUP"), time=at(-1)))
    assert (await status_of(stocked)).shelves_below_zero == 0, "what was on its way has come"
    await stocked.hear(correction(-7))
    await stocked.hear(correction(-5_000))
    assert await stocked.available() == 0
    status = await status_of(stocked)
    measured = {item.name: item.value for item in await feed_measures(stocked.connection, NOW)}
    assert (status.shelves_below_zero, measured["feed_shelves_below_zero"]) == (1, 1)
    (shown,) = await list_below_zero(stocked.connection, "east", 10)
    assert (shown["sku"], shown["missing"], shown["reason"], shown["author"]) == ("MUG", 4_997, "counted", f"3pl:{PARTNER}")
    await stocked.hear(snapshot(3, as_of=at(1)))
    assert (await status_of(stocked)).shelves_below_zero == 0
    assert await list_below_zero(stocked.connection, "east", 10) == []


class TestUnregisteredSkus:
    async def test_one_unknown_sku_among_thousands_of_lines_holds_up_nothing_and_is_reported(self, stocked: Desk) -> None:
        skus = [f"S{number:04}" for number in range(4_999)]
        for start in range(0, len(skus), 1_000):
            await stocked.hear(products(*skus[start : start + 1_000]))
        lines = [SnapshotLine(sku=sku, on_hand=7) for sku in (*skus, "GHOST")]
        count = ThirdPartyStockSnapshot(location="east", as_of=at(1), lines=lines)
        heard = await stocked.hear(received(count, partner=PARTNER))
        assert (heard.deferred, heard.parked) == ([], [])
        assert await stocked.connection.fetchval("SELECT count(*) FROM stock_pools WHERE available = 7") == 4_999
        assert (await status_of(stocked)).unregistered_skus == 1

    async def test_a_product_that_is_registered_after_it_was_counted_gets_its_count(self, stocked: Desk) -> None:
        await stocked.hear(snapshot(5, sku="NEW", as_of=at(1)))
        await stocked.hear(snapshot(4, sku="NEW", as_of=at(3)))
        await stocked.hear(snapshot(9, sku="NEW", as_of=at(2)))
        assert await run(stocked, apply_remembered_counts) == []
        await stocked.hear(products("NEW"))
        assert await run(stocked, apply_remembered_counts) != []
        assert await stocked.available("NEW") == 4
        assert (await status_of(stocked)).unregistered_skus == 0
        assert await run(stocked, apply_remembered_counts) == []

    async def test_a_remembered_count_does_not_undo_a_newer_one(self, stocked: Desk) -> None:
        await stocked.hear(snapshot(5, sku="NEW", as_of=at(1)))
        await stocked.hear(products("NEW"))
        await stocked.hear(snapshot(8, sku="NEW", as_of=at(2)))
        await run(stocked, apply_remembered_counts)
        assert await stocked.available("NEW") == 8

    async def test_a_correction_of_an_unknown_sku_waits_alone(self, stocked: Desk) -> None:
        """It has its number in the feed, but counts of other products need not wait for it."""
        late = correction(-2, sequence=1, sku="NEW")
        assert (await stocked.hear(late)).deferred
        assert not (await stocked.hear(snapshot(8, as_of=at(1), watermark=1))).deferred
        assert await stocked.available() == 8
        await stocked.hear(products("NEW"))
        await stocked.hear(snapshot(3, sku="NEW", as_of=at(2), watermark=1))
        assert not (await stocked.hear(late)).deferred
        assert await stocked.available("NEW") == 3

    async def test_skus_that_no_feed_lists_any_more_leave_the_report(self, stocked: Desk) -> None:
        await stocked.hear(snapshot(5, sku="OLD", as_of=at(1)))
        stocked.now = at(29 * 24 * 60)
        await run(stocked, forget_unregistered)
        assert (await status_of(stocked)).unregistered_skus == 1
        stocked.now = at(31 * 24 * 60)
        await run(stocked, forget_unregistered)
        assert (await status_of(stocked)).unregistered_skus == 0


class TestDistributors:
    async def test_a_distributor_that_numbers_nothing_is_netted_by_time(self, stocked: Desk) -> None:
        """Absolute numbers every few minutes: as_of, SKU and number are all it sends."""
        placed = order(line(4))
        await stocked.hear(placed)
        parcel = planned("east", units(4))
        await stocked.hear(plan(placed, parcel))
        before = ThirdPartyStockSnapshot.model_validate({"location": "east", "as_of": at(1), "lines": [{"sku": "MUG", "on_hand": 10}]})
        after = ThirdPartyStockSnapshot.model_validate({"location": "east", "as_of": at(3), "lines": [{"sku": "MUG", "on_hand": 6}]})
        await stocked.hear(received(after, partner=PARTNER))
        await stocked.hear(shipped(placed, parcel, at_time=at(2)))
        await stocked.hear(received(before, partner=PARTNER))
        assert await stocked.available() == 6

    async def test_a_distributor_that_reports_free_units_says_what_it_has_set_aside_for_us(self, stocked: Desk) -> None:
        placed = order(line(4))
        await stocked.hear(placed)
        parcel = planned("east", units(4))
        await stocked.hear(plan(placed, parcel))

        def free(units_free: int, set_aside: int, minute: int) -> Received[Any]:
            counted = SnapshotLine(sku="MUG", on_hand=units_free, set_aside=set_aside)
            return received(ThirdPartyStockSnapshot(location="east", as_of=at(minute), lines=[counted]), partner=PARTNER)

        await stocked.hear(free(10, 0, 1))
        assert await stocked.available() == 6, "it has not seen the pick list yet"
        await stocked.hear(free(6, 4, 2))
        assert await stocked.available() == 6, "it has set the units aside"
        await stocked.hear(free(6, 0, 4))
        await stocked.hear(shipped(placed, parcel, at_time=at(3)))
        assert await stocked.available() == 6, "they have left"


class TestBadFeeds:
    async def test_a_snapshot_from_the_future_is_refused_with_the_way_out(self, stocked: Desk) -> None:
        heard = await stocked.hear(snapshot(3, as_of=at(61)))
        assert heard.parked[0].startswith("as_of:")
        assert "set the sender's clock" in heard.parked[0]
        assert await stocked.available() == 10
        assert (await status_of(stocked)).counted_as_of is None

    async def test_a_watermark_that_goes_backwards_is_refused_with_the_number_to_continue_from(self, stocked: Desk) -> None:
        await stocked.hear(correction(-1, sequence=1), correction(-1, sequence=2))
        await stocked.hear(snapshot(8, as_of=at(1), watermark=2))
        heard = await stocked.hear(snapshot(3, as_of=at(2), watermark=1))
        assert heard.parked[0].startswith("watermark: 1 goes back behind 2")
        assert "continue numbering the location's messages above 2" in heard.parked[0]
        assert await stocked.available() == 8

    async def test_a_watermark_beyond_all_messages_is_refused_and_the_feed_goes_on(self, stocked: Desk) -> None:
        await stocked.hear(correction(-1, sequence=1))
        heard = await stocked.hear(snapshot(9, as_of=at(1), watermark=MOST_AHEAD + 2))
        assert heard.parked[0].startswith(f"watermark: {MOST_AHEAD + 2} lies more than")
        assert "send the sequence of the last message" in heard.parked[0]
        await stocked.hear(correction(-1, sequence=2))
        await stocked.hear(snapshot(8, as_of=at(2), watermark=2))
        assert await stocked.available() == 8

    @pytest.mark.parametrize("message", [{"watermark": 2**64}, {"as_of": "9999-12-31T00:00:00Z"}, {"watermark": 10**15 + 1}])
    def test_numbers_and_times_that_only_a_mistake_gives_are_no_count(self, message: dict[str, Any]) -> None:
        count = {"location": "east", "as_of": "2026-01-01T00:00:00Z", "lines": [{"sku": "MUG", "on_hand": 1}]}
        with pytest.raises(ValidationError, match="must"):
            ThirdPartyStockSnapshot.model_validate({**count, **message})

    async def test_a_late_count_with_a_lower_watermark_is_only_old(self, stocked: Desk) -> None:
        await stocked.hear(correction(-1, sequence=1), correction(-1, sequence=2))
        await stocked.hear(snapshot(8, as_of=at(2), watermark=2))
        heard = await stocked.hear(snapshot(9, as_of=at(1), watermark=1))
        assert (heard.parked, heard.deferred) == ([], [])
        assert await stocked.available() == 8

    async def test_a_sender_whose_clock_was_set_back_goes_on_by_its_numbers(self, stocked: Desk) -> None:
        await stocked.hear(correction(-1, sequence=1))
        await stocked.hear(snapshot(9, as_of=at(30), watermark=1))
        await stocked.hear(correction(-1, sequence=2))
        await stocked.hear(snapshot(8, as_of=at(2), watermark=2))
        assert await stocked.available() == 8

    async def test_a_feed_for_a_location_that_is_not_the_senders_is_refused_and_leaves_no_trace(self, stocked: Desk) -> None:
        for message in (snapshot(3, at_location="west"), correction(1, at_location="west"), third_party_receipt(1, at_location="west")):
            heard = await stocked.hear(message)
            assert "does not belong to 3PL 'acme'" in heard.parked[0]
            assert "send the location's own code" in heard.parked[0]
        assert (await status_of(stocked, "west")).last_heard_at is None
        assert await stocked.connection.fetchval("SELECT count(*) FROM unregistered_counts") == 0

    async def test_a_line_that_cannot_be_stops_its_whole_count_and_names_the_line(self, stocked: Desk) -> None:
        lines = [SnapshotLine(sku="CUP", on_hand=5), SnapshotLine(sku="MUG", on_hand=1, damaged=2)]
        count = ThirdPartyStockSnapshot(location="east", as_of=at(1), lines=lines)
        heard = await stocked.hear(received(count, partner=PARTNER))
        assert heard.parked[0].startswith("lines.1: on_hand 1 is less than damaged 2")
        assert await stocked.available("CUP") == 0
