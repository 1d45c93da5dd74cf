"""Feeds in flight on a real database: whatever is late, repeated or out of order, the books end where the story ends.

A story mixes what we decide (orders, plans, cancellations, each at its moment) with what a 3PL tells (each message as late as chance wants,
but never before it happened). Deferred messages are tried again until all is quiet, as the runtime does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.returns import DispositionLine, ReturnInspected
from shared.messaging.message import Received
from tests.allocation.conftest import Desk, violations
from tests.allocation.messages import (
    PARTNER,
    at,
    called_off,
    cancellation,
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


class Told(NamedTuple):
    """Something that happened at the 3PL in its own minute: what it did to the 3PL's number, and the message about it."""

    delta: int
    message: Message | Received[Any]


class End(NamedTuple):
    """The numbers that must not depend on the order of delivery."""

    on_shelf: int
    available: int
    reserved: int
    queued: int
    assigned: int
    pending_shortage: int


@dataclass
class Story:
    """One shelf's story. ``moments`` are decisions (lists of messages, heard at once) and what the 3PL tells, as they happened."""

    sku: str
    place: str
    opening: int
    numbered: bool
    moments: list[Sequence[Message] | Told] = field(default_factory=list)
    sequence: int = 0

    def number(self) -> int | None:
        """The number of the 3PL's next stock-moving message."""
        self.sequence += 1
        return self.sequence if self.numbered else None

    def decide(self, *messages: Message) -> None:
        self.moments.append(messages)

    def tell(self, delta: int, message: Message | Received[Any]) -> None:
        self.moments.append(Told(delta, message))

    def placed(self, quantity: int) -> OrderPlaced:
        wanted = order(line(quantity, self.sku))
        self.decide(wanted)
        return wanted

    def count_before(self, position: int) -> Received[Any]:
        """What the 3PL counts before a moment."""
        told = [moment for moment in self.moments[:position] if isinstance(moment, Told)]
        numbers = [found for moment in told if (found := sequence_of(moment.message)) is not None]
        on_hand = self.opening + sum(moment.delta for moment in told)
        watermark = max(numbers, default=0)
        return snapshot(on_hand, as_of=at(position - 0.5), watermark=watermark, at_location=self.place, sku=self.sku)


def sequence_of(message: Message | Received[Any]) -> int | None:
    data = message.data if isinstance(message, Received) else message
    found: int | None = getattr(data, "sequence", None) or getattr(data, "partner_sequence", None)
    return found


def story_of(name: str, *, numbered: bool, opening: int) -> Story:
    """Orders, plans, parcels, a short pick, a call-off, a receipt, corrections, a return, a cancellation and a late order."""
    story = Story(f"SKU {name}", f"place-{name}", opening, numbered)
    first, short, refused = story.placed(4), story.placed(5), story.placed(2)
    parcels = {}
    for wanted in (first, short, refused):
        parcel = planned(story.place, units(wanted.lines[0].quantity, sku=story.sku))
        parcels[wanted.order_id] = parcel
        story.decide(plan(wanted, parcel))
    fickle = story.placed(3)

    def now() -> Any:
        return at(len(story.moments))

    story.tell(-4, shipped(first, parcels[first.order_id], sequence=story.number(), at_time=now()))
    lost = units(2, sku=story.sku)
    story.tell(-2, called_off(short, parcels[short.order_id], lost, missing=[lost], cause="short_picked", at_time=now()))
    story.tell(+9, third_party_receipt(9, sequence=story.number(), sku=story.sku, at_location=story.place, time=now()))
    story.placed(6)
    story.tell(-8, correction(-8, sequence=story.number(), sku=story.sku, at_location=story.place, time=now()))
    story.decide(cancellation(fickle))
    story.tell(0, called_off(refused, parcels[refused.order_id], cause="rejected", at_time=now()))
    back = [DispositionLine(line_id="1", sku=story.sku, quantity=1, disposition="restocked")]
    scan = ReturnInspected(
        return_id=new_id(), scan_id=new_id(), order_id=first.order_id, location=story.place, dispositions=back, inspected_at=now()
    )
    story.tell(+1, scan)
    story.tell(+2, correction(+2, sequence=story.number(), sku=story.sku, at_location=story.place, time=now()))
    return story


async def open_place(desk: Desk, story: Story) -> None:
    await desk.hear(products(story.sku))
    await desk.hear(location(story.place))
    await desk.hear(received(receipt(story.opening, story.sku, at_location=story.place), time=at(-60)))


async def live(desk: Desk, story: Story, arrivals: Sequence[Sequence[Message] | Message | Received[Any]]) -> End:
    """Hears everything in the order given; what must wait is tried again after each message and at the end until nothing waits."""
    await open_place(desk, story)
    waiting: list[Message | Received[Any]] = []
    for arrival in arrivals:
        if isinstance(arrival, tuple):
            for message in arrival:
                assert not (await desk.hear(message)).deferred
            continue
        assert isinstance(arrival, Message | Received)
        waiting.append(arrival)
        waiting = await heard(desk, waiting)
    assert waiting == [], "everything has arrived, so nothing may wait"
    assert await violations(desk.connection) == []
    pool, shelf = await desk.pool(story.sku), await desk.shelf(story.place, story.sku)
    return End(shelf["on_shelf"], pool["available"], pool["reserved"], pool["queued"], shelf["assigned"], shelf["pending_shortage"])


async def heard(desk: Desk, messages: Sequence[Message | Received[Any]]) -> list[Message | Received[Any]]:
    """Tries messages until a round brings none of them further; returns those that still wait."""
    waiting = list(messages)
    while waiting:
        still = [message for message in waiting if await must_wait(desk, message)]
        if len(still) == len(waiting):
            break
        waiting = still
    return waiting


async def must_wait(desk: Desk, message: Message | Received[Any]) -> bool:
    told = await desk.hear(message)
    assert told.parked == []
    return bool(told.deferred)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), numbered=st.booleans(), opening=st.sampled_from([11, 40]))
async def test_feeds_in_flight_end_where_the_story_ends(desk: Desk, data: st.DataObject, numbered: bool, opening: int) -> None:
    """``opening``: just what the first three orders need, so that units are short and orders queue, or plenty."""
    desk.audited = False
    name = new_id().hex[20:]
    truth = story_of(f"{name}-true", numbered=numbered, opening=opening)
    expected = await live(desk, truth, [moment.message if isinstance(moment, Told) else moment for moment in truth.moments])
    on_shelf = opening - 4 - 2 + 9 - 8 + 1 + 2
    wanted = 5 + 2 + 6
    assert (expected.on_shelf, expected.reserved) == (on_shelf, min(wanted, on_shelf))
    assert (expected.queued, expected.available) == (wanted - expected.reserved, on_shelf - expected.reserved)

    story = story_of(name, numbered=numbered, opening=opening)
    positions = sorted(data.draw(st.lists(st.integers(0, len(story.moments)), min_size=1, max_size=2, unique=True), label="counted before"))
    delays = st.integers(0, len(story.moments))
    timed: list[tuple[float, float, Any]] = []
    for moment_number, moment in enumerate(story.moments):
        if isinstance(moment, Told):
            delay = data.draw(delays, label=f"moment {moment_number} comes later by")
            timed.append((moment_number + delay, data.draw(st.floats(0, 1)), moment.message))
            if data.draw(st.booleans(), label=f"moment {moment_number} is told twice"):
                again = (
                    moment.message
                    if isinstance(moment.message, Message)
                    else received(moment.message.data, partner=PARTNER, time=at(moment_number))
                )
                timed.append((moment_number + data.draw(delays), data.draw(st.floats(0, 1)), again))
        else:
            timed.append((moment_number, -1, moment))
    for position in positions:
        often = data.draw(st.integers(1, 2), label="told so often")
        timed += [(position - 0.5 + data.draw(delays), data.draw(st.floats(0, 1)), story.count_before(position)) for _ in range(often)]
    timed.sort(key=lambda entry: entry[:2])
    assert await live(desk, story, [arrival for _, _, arrival in timed]) == expected


@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("arrives", ["at once", "last"])
async def test_a_3pl_snapshot_taken_before_during_or_after_reservations_gives_the_same_final_availability(
    desk: Desk, moment: str, arrives: str
) -> None:
    """Reservations move nothing on the shelf, so the moment of a count among them, and of its arrival, must not matter."""
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(received(receipt(10), time=at(-60)))
    orders = [order(line(quantity)) for quantity in (3, 2, 1)]
    taken = {"before": 0, "during": 2, "after": 3}[moment]
    count = snapshot(10, as_of=at(taken - 0.5))
    for number, placed in enumerate(orders):
        if number == taken and arrives == "at once":
            await desk.hear(count)
        await desk.hear(placed)
    if arrives == "last" or taken == len(orders):
        await desk.hear(count)
    pool = await desk.pool()
    assert (pool["available"], pool["reserved"], pool["queued"]) == (4, 6, 0)


async def test_a_count_that_comes_twice_in_one_batch_counts_what_is_in_flight_once(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(correction(2, time=at(5)))
    count = snapshot(10, as_of=at(0))
    await desk.hear(count, received(count.data, partner=PARTNER))
    assert (await desk.shelf())["on_shelf"] == 12


def test_the_story_numbers_what_moves_stock() -> None:
    story = story_of("x", numbered=True, opening=40)
    told = [moment for moment in story.moments if isinstance(moment, Told)]
    assert [sequence_of(moment.message) for moment in told] == [1, None, 2, 3, None, None, 4]
    assert story.count_before(len(story.moments)).data.watermark == 4
