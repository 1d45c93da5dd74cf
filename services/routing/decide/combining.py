"""Which parcels together ship an order at the least cost, when every location sends at most one: exact whatever the prices are.

A parcel is a number: one digit per item, how much of it is inside. Locations may first send as many parcels as they like, which is quickly
solved; when one would, those that send something are then looked at one by one, each with its one parcel, until nobody sends two. What is
found then is the best there is, because the easier question allowed everything the real one allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.routing.decide.tariffs import Numbers

NEVER = 1 << 61
"""The score of what cannot be done. Two of them still fit a number of 64 bits."""

Places = NDArray[np.intp]


def ways_to_cut(sizes: Sequence[int]) -> int:
    """In how many ways everything that could be in a parcel can be cut in two: what one step costs.

    Args:
        sizes: of each item, how many digits it has: how much of it may be in a parcel, and one for nothing.
    """
    ways = 1
    for size in sizes:
        ways *= size * (size + 1) // 2
    return ways


def digits_of(sizes: Sequence[int]) -> Places:
    """The digits of every parcel: a row per parcel, a column per item."""
    digits = np.zeros((1, 0), dtype=np.intp)
    for size in sizes:
        before = len(digits)
        own = np.repeat(np.arange(size), before)[:, None]
        digits = np.hstack([np.tile(digits, (size, 1)), own])
    return digits


def cheapest_parcels(scores: Numbers, sizes: Sequence[int]) -> tuple[int, dict[int, int]] | None:
    """The least score at which the last parcel, which has everything, can be made of parcels from different locations.

    Args:
        scores: of every parcel (column) from every location (row); ``NEVER`` where it cannot be. Nothing, the first parcel, costs nothing.
        sizes: digits per item, the first item's being the lowest.

    Returns:
        The score and the parcel of each location that sends one; None when there is no way.
    """
    cuts = _cuts(tuple(sizes))
    apart: list[int] = []
    while True:
        score, chosen, twice = _with_apart(scores, cuts, apart)
        if score >= NEVER:
            return None
        if not twice:
            return score, chosen
        apart.extend(option for option in chosen if option not in apart)


class _Cuts:
    """Every way to cut a parcel in two, ordered by the whole: the parts, the rests, and where each whole's ways begin."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        wholes = np.zeros(1, dtype=np.intp)
        parts = np.zeros(1, dtype=np.intp)
        worth = 1
        for size in sizes:
            whole, part = np.tril_indices(size)
            wholes = (wholes[:, None] + whole * worth).ravel()
            parts = (parts[:, None] + part * worth).ravel()
            worth *= size
        order = np.lexsort((parts, wholes))
        self.parts = parts[order]
        self.rests = wholes[order] - self.parts
        self.starts = np.searchsorted(wholes[order], np.arange(worth + 1))

    def combined(self, one: Numbers, other: Numbers) -> Numbers:
        """The least score of each parcel as a part that ``one`` prices and a rest that ``other`` prices."""
        return np.minimum(np.minimum.reduceat(one[self.parts] + other[self.rests], self.starts[:-1]), NEVER)

    def part(self, whole: int, one: Numbers, other: Numbers) -> int:
        """The part at which that least score is reached."""
        own = slice(self.starts[whole], self.starts[whole + 1])
        parts = self.parts[own]
        return int(parts[(one[parts] + other[self.rests[own]]).argmin()])


@lru_cache(maxsize=32)
def _cuts(sizes: tuple[int, ...]) -> _Cuts:
    return _Cuts(sizes)


def _with_apart(scores: Numbers, cuts: _Cuts, apart: Sequence[int]) -> tuple[int, dict[int, int], bool]:
    """The best way when those ``apart`` send one parcel at most and the others as many as they like; and whether one sends several."""
    others = scores.copy()
    others[list(apart)] = NEVER
    best: Numbers = others.min(axis=0)
    best[0] = 0
    doubled = [best]  # in one parcel, in up to two, up to four ...
    while not np.array_equal(more := cuts.combined(doubled[-1], doubled[-1]), doubled[-1]):
        doubled.append(more)
    totals = [doubled[-1]]
    for option in apart:
        totals.append(cuts.combined(scores[option], totals[-1]))
    left = scores.shape[1] - 1
    score = int(totals[-1][left])
    chosen: dict[int, int] = {}
    if score >= NEVER:
        return score, chosen, False
    for option, before in zip(reversed(apart), reversed(totals[:-1]), strict=True):
        parcel = cuts.part(left, scores[option], before)
        if parcel:
            chosen[option] = parcel
            left -= parcel
    twice = False
    for parcel in _parcels(cuts, doubled, len(doubled) - 1, left):
        option = int(others[:, parcel].argmin())
        twice = twice or option in chosen
        chosen[option] = chosen.get(option, 0) + parcel
    return score, chosen, twice


def _parcels(cuts: _Cuts, doubled: Sequence[Numbers], level: int, whole: int) -> Iterator[int]:
    """Takes apart what was doubled: the single parcels of ``whole``."""
    if not whole:
        return
    if not level:
        yield whole
        return
    part = cuts.part(whole, doubled[level - 1], doubled[level - 1])
    yield from _parcels(cuts, doubled, level - 1, part)
    yield from _parcels(cuts, doubled, level - 1, whole - part)
