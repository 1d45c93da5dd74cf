"""A count at every place among everything that is in flight: all orders of delivery, enumerated over the rules alone.

The story of one shelf is told in the order in which it happened at the 3PL. Its messages then arrive in every order there is, with a count
that was taken at any moment of the story, and that may be told twice. Whatever the order, the books must end where the story ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import permutations
from typing import NamedTuple

import pytest

from services.allocation.decide.assigning import assign_plan, cancel_fulfillment, ship_fulfillment
from services.allocation.decide.books import Books, Place
from services.allocation.decide.counting import MovedSince, apply_count, take_back_return
from services.allocation.decide.stock import Cause, Demand, OrderState, Pool, Shelf
from shared.contracts.envelope import new_id
from shared.contracts.returns import DispositionLine
from shared.contracts.stock import SnapshotLine
from tests.allocation.messages import at, called_off, order, plan, planned, shipped, units
from tests.allocation.messages import line as order_line

OPENING = 12
"""As many as are assigned: whatever is heard of too early or too late leaves the shelf short for a moment."""
ON_SHELF_KINDS = ("received", "adjusted", "returned", "shipped")


class Outcome(NamedTuple):
    """Where the books end."""

    on_shelf: int
    available: int
    reserved: int
    assigned: int
    pending_shortage: int


@dataclass
class Desk:
    """The books of one shelf, and what has been heard of its feed. Hears as the handlers do, with the ledger in memory."""

    books: Books = field(default_factory=lambda: Books(pools={"MUG": Pool("MUG")}, places={"east": Place("acme", True, False)}))
    arrived: set[int] = field(default_factory=set)

    @property
    def shelf(self) -> Shelf:
        return self.books.shelf("MUG", "east")

    def since(self, as_of: datetime, watermark: int) -> MovedSince:
        """What the ledger shows beyond a count; what ``queries.feeds.read_moved_since`` reads."""
        later = [
            entry
            for entry in self.books.movements
            if entry.location and (entry.cause.happened_at > as_of if entry.cause.sequence is None else entry.cause.sequence > watermark)
        ]
        return MovedSince(
            on_shelf=sum(entry.quantity for entry in later if entry.kind in ON_SHELF_KINDS),
            shipped=-sum(entry.quantity for entry in later if entry.kind == "shipped"),
            missed=sum(missed.quantity for missed in self.books.missed if missed.happened_at > as_of),
        )

    def outcome(self) -> Outcome:
        pool, shelf = self.books.pools["MUG"], self.shelf
        return Outcome(shelf.on_shelf, pool.available, pool.reserved, shelf.assigned, shelf.pending_shortage)


class Step(NamedTuple):
    """One thing that happened at the 3PL: what it did to the number in the 3PL's own system, and the message that tells it."""

    name: str
    delta: int
    numbered: bool
    tell: Callable[[Desk, Cause], None]


# Messages are built once: what is enumerated are their orders, not their contents.
SHIPPING, SHORT, REFUSED = (order(order_line(quantity)) for quantity in (4, 5, 3))
ORDERS = (SHIPPING, SHORT, REFUSED)
PARCELS = {placed.order_id: planned("east", units(placed.lines[0].quantity)) for placed in ORDERS}
PLANS = {placed.order_id: plan(placed, PARCELS[placed.order_id]) for placed in ORDERS}
LEFT = shipped(SHIPPING, PARCELS[SHIPPING.order_id])
NOT_FOUND = called_off(SHORT, PARCELS[SHORT.order_id], units(2), missing=[units(2)], cause="short_picked")
REJECTED = called_off(REFUSED, PARCELS[REFUSED.order_id], missing=[units(3)], cause="rejected")
BACK = DispositionLine(line_id="1", sku="MUG", quantity=1, disposition="restocked")
DEMAND_IDS = {placed.order_id: new_id() for placed in ORDERS}
LONG_AGO = Cause(new_id(), at(-900))


def prepared_desk() -> Desk:
    """A shelf of 12 with three orders, each reserved and assigned to it."""
    desk = Desk()
    books = desk.books
    books.hazmat["MUG"] = False
    books.book(desk.shelf, "received", OPENING, LONG_AGO)
    for placed in ORDERS:
        demand = books.add_demand(Demand(DEMAND_IDS[placed.order_id], placed.order_id, "1", "MUG", 0, is_new=True))
        books.set_order(placed.order_id, OrderState(1))
        books.enqueue(demand, placed.lines[0].quantity, LONG_AGO)
        books.reserve(demand, placed.lines[0].quantity, LONG_AGO)
        assert assign_plan(books, PLANS[placed.order_id], LONG_AGO).outcome == "assigned"
    return desk


STORY = (
    Step("parcel", -4, True, lambda desk, cause: _told(ship_fulfillment(desk.books, LEFT, cause))),
    Step("short pick", -2, False, lambda desk, cause: cancel_fulfillment(desk.books, NOT_FOUND, cause)),
    Step("return", +1, False, lambda desk, cause: take_back_return(desk.books, "east", BACK, cause)),
    Step("receipt", +9, True, lambda desk, cause: desk.books.move(desk.shelf, "received", 9, cause)),
    Step("loss", -8, True, lambda desk, cause: desk.books.move(desk.shelf, "adjusted", -8, cause)),
    Step("nothing found", -3, False, lambda desk, cause: cancel_fulfillment(desk.books, REJECTED, cause)),
)


def _told(problem: str | None) -> None:
    assert problem is None


def hear(steps: Sequence[Step], numbered: bool, arrival: Sequence[int], position: int, again: int | None = None) -> Outcome:
    """Tells the messages of ``steps`` in the order ``arrival``; -1 stands for the count, which was taken before step ``position``.

    Args:
        steps: the story.
        numbered: whether the 3PL numbers its stock-moving messages.
        arrival: in which order messages come.
        position: when the count was taken.
        again: at which place in the order of arrival the count is told a second time.
    """
    desk = prepared_desk()
    number = iter(range(1, 9))
    sequences = [next(number) if numbered and step.numbered else None for step in steps]
    watermark = max((sequence for sequence in sequences[:position] if sequence), default=0)
    as_of = at(position - 0.5)
    line = SnapshotLine(sku="MUG", on_hand=OPENING + sum(step.delta for step in steps[:position]))
    waiting = 0

    def count_now() -> bool:
        """Applies the count once everything it shows is here, as ``handlers.snapshots`` does."""
        if not desk.arrived.issuperset(range(1, watermark + 1)):
            return False
        since = desk.since(as_of, watermark)
        apply_count(desk.books, desk.shelf, line, as_of=as_of, watermark=watermark, since=since, event_id=LONG_AGO.event_id)
        return True

    for place, index in enumerate(arrival):
        waiting += (index == -1) + (place == again)
        if index >= 0:
            steps[index].tell(desk, Cause(LONG_AGO.event_id, at(index), None, sequences[index]))
            desk.arrived.update(filter(None, [sequences[index]]))
        while waiting and count_now():
            waiting -= 1
    assert waiting == 0, "the count must be applied once everything is here"
    return desk.outcome()


def arrivals(steps: Sequence[Step]) -> Iterator[tuple[int, ...]]:
    """Every order in which the messages of a story and one count can arrive."""
    return permutations((*range(len(steps)), -1))


def in_order(steps: Sequence[Step], position: int) -> tuple[int, ...]:
    """The order in which everything happened."""
    return (*range(position), -1, *range(position, len(steps)))


WITHOUT_REJECTION = STORY[:5]
TRUTH = Outcome(on_shelf=8, available=0, reserved=8, assigned=6, pending_shortage=0)
"""12 - 4 - 2 + 1 + 9 - 8 on the shelf; 5 + 3 reserved, because a short pick takes no reservation away, 2 of them not assigned any more."""

FEEDS = pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "by_time"])


@FEEDS
@pytest.mark.parametrize("position", range(6))
def test_a_count_at_every_place_of_every_order_of_delivery_ends_in_the_same_stock(numbered: bool, position: int) -> None:
    steps = WITHOUT_REJECTION
    assert hear(steps, numbered, in_order(steps, position), position) == TRUTH
    assert {hear(steps, numbered, arrival, position) for arrival in arrivals(steps)} == {TRUTH}


@FEEDS
@pytest.mark.parametrize("position", [0, 2, 6])
def test_seven_messages_in_every_order_end_in_the_same_stock(numbered: bool, position: int) -> None:
    ended = Outcome(on_shelf=5, available=-3, reserved=8, assigned=3, pending_shortage=0)
    assert {hear(STORY, numbered, arrival, position) for arrival in arrivals(STORY)} == {ended}


@FEEDS
@pytest.mark.parametrize("again", [0, 2, 5])
def test_a_count_that_is_told_twice_ends_in_the_same_stock(numbered: bool, again: int) -> None:
    steps = WITHOUT_REJECTION
    assert {hear(steps, numbered, arrival, 3, again) for arrival in arrivals(steps)} == {TRUTH}
