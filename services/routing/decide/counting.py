"""Which units each of an order's decisions counts for, so that sums over decisions have every unit once (features C11 and C12).

An order is often decided about again: a rule held it, no location could ship, allocation refused the plan, a 3PL rejected the parcel. Of
all decisions about a unit the last that placed it counts, or the last one when none did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Decided(NamedTuple):
    """What one decision of an order was about, per order line: units asked for, units placed, and which of these did not ship after all,
    from what time on."""

    at: datetime
    wanted: Mapping[str, int]
    placed: Mapping[str, int]
    came_back: Sequence[tuple[str, int, datetime]] = ()


@dataclass(slots=True)
class _Piece:
    """Units that wait to be decided about again. ``counted`` is the decision that they count for so far."""

    units: int
    counted: int
    placed: bool
    since: datetime


def units_that_count(decisions: Sequence[Decided]) -> list[dict[str, int]]:
    """Units per line that each decision of an order counts for; lines of which it counts none are left out.

    Args:
        decisions: of one order, in the order in which they were made.
    """
    counts: list[dict[str, int]] = [{} for _ in decisions]
    open_pieces: dict[str, list[_Piece]] = {}
    for index, decided in enumerate(decisions):
        for line_id, wanted in decided.wanted.items():
            pieces = open_pieces.setdefault(line_id, [])
            again, waiting = _asked_again(pieces, wanted, decided.at)
            fresh = wanted - sum(piece.units for piece in again)
            counts[index][line_id] = fresh
            placed = decided.placed.get(line_id, 0)
            # What nobody has placed yet comes first, so that it is not left to a decision that did not place it either.
            for piece in sorted([*again, _Piece(fresh, index, False, decided.at)], key=lambda piece: piece.placed):
                now = min(piece.units, placed)
                placed -= now
                left = piece.units - now
                moved = now if piece.placed else piece.units
                counts[piece.counted][line_id] -= moved
                counts[index][line_id] += moved
                if left:
                    waiting.append(_Piece(left, piece.counted if piece.placed else index, piece.placed, decided.at))
            open_pieces[line_id] = waiting
        for line_id, units, since in decided.came_back:
            open_pieces.setdefault(line_id, []).append(_Piece(units, index, True, since))
    return [{line_id: units for line_id, units in own.items() if units} for own in counts]


def _asked_again(pieces: Sequence[_Piece], wanted: int, at: datetime) -> tuple[list[_Piece], list[_Piece]]:
    """The units of earlier decisions that one of this time asks for, and those that go on waiting."""
    again: list[_Piece] = []
    waiting: list[_Piece] = []
    for piece in pieces:
        taken = min(piece.units, wanted) if piece.since <= at else 0
        wanted -= taken
        if taken:
            again.append(_Piece(taken, piece.counted, piece.placed, piece.since))
        if taken < piece.units:
            waiting.append(_Piece(piece.units - taken, piece.counted, piece.placed, piece.since))
    return again, waiting
