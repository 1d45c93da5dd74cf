"""What is on the shelves: counts, corrections, receipts and returns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.stock import Cause, Shelf
from shared.contracts.returns import DispositionLine
from shared.contracts.stock import SnapshotLine

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far ahead of our clock a count may be dated before it is refused."""


class MovedSince(NamedTuple):
    """What the books show beyond a count: units moved by messages whose effect the count does not show yet.

    ``on_shelf`` leaves out what was written off; ``missed`` are all units that pickers have not found since, ``shipped`` those that left.
    """

    on_shelf: int = 0
    damaged: int = 0
    quality_control: int = 0
    shipped: int = 0
    missed: int = 0


def set_on_hand(books: Books, shelf: Shelf, new_on_hand: int, cause: Cause) -> None:
    """An operator's word about everything on a shelf (feature A7).

    The difference is sellable units; when fewer are left than were set aside, those in quality control go first, then damaged ones.
    """
    sellable = new_on_hand - shelf.damaged - shelf.quality_control
    books.book(shelf, "adjusted", max(0, sellable) - shelf.on_shelf, cause)
    surplus = max(0, -sellable)
    from_quality_control = min(surplus, shelf.quality_control)
    books.book(shelf, "quarantined", -from_quality_control, cause)
    books.book(shelf, "damaged", from_quality_control - surplus, cause)


def set_counted(books: Books, shelf: Shelf, on_hand: int, damaged: int | None, quality_control: int | None, cause: Cause) -> None:
    """A person's count of a shelf, by state where the states were counted; a state that was not counted stays as it is."""
    if damaged is None and quality_control is None:
        set_on_hand(books, shelf, on_hand, cause)
        return
    new_damaged = shelf.damaged if damaged is None else damaged
    new_quality_control = shelf.quality_control if quality_control is None else quality_control
    books.book(shelf, "adjusted", on_hand - new_damaged - new_quality_control - shelf.on_shelf, cause)
    books.book(shelf, "damaged", new_damaged - shelf.damaged, cause)
    books.book(shelf, "quarantined", new_quality_control - shelf.quality_control, cause)


def count_problem(line: SnapshotLine, index: int) -> str | None:
    """Why a line of a count cannot be: its parts exceed the whole (``on_hand`` holds every state, blueprint section 5)."""
    if line.damaged + line.quality_control > line.on_hand:
        return (
            f"lines.{index}: on_hand {line.on_hand} is less than damaged {line.damaged} and quality_control {line.quality_control} "
            "together; on_hand counts every unit there, whatever its state: send the corrected count"
        )
    return None


def is_newer_count(shelf: Shelf, as_of: datetime, watermark: int) -> bool:
    """Whether a count tells more than the last one of this shelf. An older one, and the same one again, is ignored.

    The watermark decides: sequences are the sender's own order, whatever its clock says.
    """
    return shelf.counted_as_of is None or (watermark, as_of) > (shelf.counted_watermark, shelf.counted_as_of)


def apply_count(
    books: Books, shelf: Shelf, line: SnapshotLine, *, as_of: datetime, watermark: int, since: MovedSince, event_id: UUID
) -> bool:
    """Sets a shelf to a 3PL's count plus what moved after it, so that everything in flight counts exactly once (feature A6).

    The result is the same whether a movement's message came before or after the count: it is a sum over the messages that have come, and
    their order is none of its terms. Returns whether the count was new.

    Args:
        books: the books that hold the shelf.
        shelf: the shelf that was counted.
        line: the count.
        as_of: when it was taken.
        watermark: the last sequence of the location's feed that it shows.
        since: movements that are in the books but not in the count: a later sequence or, for those without one, a later time.
        event_id: the message.
    """
    if not is_newer_count(shelf, as_of, watermark):
        return False
    # What a count corrects, a newer one shows, whatever the sender's clock says: it stands at the count's own place in the feed.
    cause = Cause(event_id, as_of, sequence=watermark)
    books.touch(shelf.sku, cause)
    counted = line.on_hand + line.set_aside - line.damaged - line.quality_control
    moved_on = counted + since.on_shelf
    shelf.counted_short = shelf.assigned + since.shipped + since.missed - max(counted, moved_on)
    shelf.missed = since.missed
    books.book(shelf, "adjusted", moved_on - shelf.written_off - shelf.on_shelf, cause)
    books.book(shelf, "damaged", max(0, line.damaged + since.damaged) - shelf.damaged, cause)
    books.book(shelf, "quarantined", max(0, line.quality_control + since.quality_control) - shelf.quality_control, cause)
    shelf.counted_as_of = as_of
    shelf.counted_watermark = watermark
    return True


def take_back_return(books: Books, location: str, line: DispositionLine, cause: Cause) -> None:
    """Units that came back: sellable ones may be sold again, damaged ones are kept apart; the rest never reaches a shelf (feature E2)."""
    if line.disposition == "restocked":
        books.move(books.shelf(line.sku, location), "returned", line.quantity, cause)
    elif line.disposition == "damaged":
        books.move(books.shelf(line.sku, location), "damaged", line.quantity, cause)
