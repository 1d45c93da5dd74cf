"""Feeds: which messages are missing, how old what we know is, and when a count stops waiting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.allocation.decide.counting import CLOCK_TOLERANCE, count_problem
from shared.contracts.stock import ThirdPartyStockSnapshot

STALE_AFTER = timedelta(hours=24)
"""How old the newest count of a location may be before it is flagged, unless an operator has set something else."""

PATIENCE = timedelta(hours=1)
"""How long a count waits for a message that it shows, unless an operator has set something else: as long as any message waits for what
it builds on."""


MOST_AHEAD = 1_000_000_000
"""How far a count's watermark may lie beyond all that is known of its location. A feed that is connected late starts far on; what lies
farther is no number of a message, and once it was taken every later message would count as shown long ago."""


class Arrived(NamedTuple):
    """Messages of a feed that have come without a gap between them; ``since`` is when the first of them came."""

    first: int
    last: int
    since: datetime


class Awaited(NamedTuple):
    """A count that shows messages up to ``watermark`` and waits for them."""

    watermark: int
    since: datetime


class Gap(NamedTuple):
    """Messages of a feed that must exist and have not come. ``since`` is when something that comes after them was first heard."""

    first: int
    last: int
    since: datetime

    @property
    def missing(self) -> int:
        """How many messages are missing."""
        return self.last - self.first + 1


class Counted(NamedTuple):
    """The newest count of a location that was applied."""

    as_of: datetime
    watermark: int


def gaps_of(floor: int, arrived: Iterable[Arrived], awaited: Iterable[Awaited]) -> list[Gap]:
    """Which messages of a feed are missing, lowest first.

    Args:
        floor: everything up to here has come or is no longer waited for.
        arrived: what has come above the floor.
        awaited: counts that wait.
    """
    islands = sorted(island for island in arrived if island.last > floor)
    counts = sorted(count for count in awaited if count.watermark > floor)
    bounds = sorted({count.watermark for count in counts} | {island.first - 1 for island in islands})
    gaps: list[Gap] = []
    for first, last in _holes(floor, islands, bounds):
        later = [island.since for island in islands if island.first > last]
        later += [count.since for count in counts if count.watermark >= last]
        gaps.append(Gap(first, last, min(later)))
    return _joined(gaps)


def _holes(floor: int, islands: Sequence[Arrived], bounds: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Missing sequences, cut where another reason to miss them begins."""
    position = floor
    for bound in bounds:
        for island in islands:
            if island.first <= position + 1 <= island.last:
                position = island.last
        if bound > position:
            yield position + 1, bound
            position = bound


def _joined(gaps: Iterable[Gap]) -> list[Gap]:
    joined: list[Gap] = []
    for gap in gaps:
        if joined and joined[-1].last + 1 == gap.first and joined[-1].since == gap.since:
            joined[-1] = Gap(joined[-1].first, gap.last, gap.since)
        else:
            joined.append(gap)
    return joined


def gaps_up_to(gaps: Iterable[Gap], sequence: int) -> list[Gap]:
    """What is missing up to and including a sequence; a gap that reaches beyond it is cut there."""
    return [gap._replace(last=min(gap.last, sequence)) for gap in gaps if gap.first <= sequence]


def given_up(gaps: Iterable[Gap], patience: timedelta, now: datetime) -> list[Gap]:
    """Gaps that have been open for longer than a location's patience: counts wait for them no more.

    Applying a count too early is safe for the stock: a message that it shows changes the shelf no more when it comes. Until then units that
    left may be taken for lost; waiting for ever, on the other hand, sells units that were reported lost long ago.
    """
    return [gap for gap in gaps if now - gap.since >= patience]


def snapshot_problem(count: ThirdPartyStockSnapshot, newest: Counted | None, floor: int, now: datetime) -> str | None:
    """Why a count can never be applied as it is: what is wrong, and what the sender must do.

    Args:
        count: the count.
        newest: the newest count of the location that was applied.
        floor: up to here the location's messages have come or were given up.
        now: the time.
    """
    if count.watermark > floor + MOST_AHEAD:
        return (
            f"watermark: {count.watermark} lies more than {MOST_AHEAD} beyond {floor}, the last known message of the location: "
            "send the sequence of the last message that the count shows"
        )
    for index, line in enumerate(count.lines):
        problem = count_problem(line, index)
        if problem is not None:
            return problem
    if count.as_of > now + CLOCK_TOLERANCE:
        return f"as_of: {count.as_of.isoformat()} lies in the future (now {now.isoformat()}): set the sender's clock and count again"
    if len({line.sku for line in count.lines}) < len(count.lines):
        return "lines: the same SKU stands twice; send one line per SKU"
    if newest is not None and count.watermark < newest.watermark and count.as_of > newest.as_of:
        return (
            f"watermark: {count.watermark} goes back behind {newest.watermark}, which the count of {newest.as_of.isoformat()} showed: "
            f"continue numbering the location's messages above {newest.watermark} and count again"
        )
    return None


class Age(NamedTuple):
    """How old what we know of a location is."""

    age: timedelta | None
    stale: bool


def age_of(counted_as_of: datetime | None, expected_since: datetime | None, stale_after: timedelta, now: datetime) -> Age:
    """How old the newest count is, and whether that is too old.

    A location that has never been counted is not stale, unless counts are expected there.
    """
    since = counted_as_of or expected_since
    if since is None:
        return Age(None, False)
    age = max(timedelta(0), now - since)
    return Age(age if counted_as_of else None, age > stale_after)
