"""How an order line that says too much or too little is put right, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID


class LineRow(NamedTuple):
    """The states of one demand row's units."""

    demand_id: UUID
    units: int
    queued: int
    reserved: int
    assigned: int
    shipped: int
    cancelled: int

    @property
    def is_possible(self) -> bool:
        """Every unit is in exactly one state, and what is assigned is reserved."""
        states = self.queued, self.reserved, self.shipped, self.cancelled
        return self.units == sum(states) and min(*states, self.assigned) >= 0 and self.assigned <= self.reserved


STATES = ("units", "queued", "reserved", "assigned", "shipped", "cancelled")


def restate_rows(rows: Sequence[LineRow], right: Mapping[str, int]) -> list[LineRow]:
    """The rows of a line, newest first, with sums as they should be. Changes one row where one can bear it, all of them otherwise.

    Args:
        rows: the rows as they stand, newest first, at least one.
        right: what each state should be over all rows; states that are not named stay as they are.
    """
    wanted = {state: right.get(state, sum(getattr(row, state) for row in rows)) for state in STATES}
    difference = {state: wanted[state] - sum(getattr(row, state) for row in rows) for state in STATES}
    for place, row in enumerate(rows):
        changed = LineRow(row.demand_id, *(getattr(row, state) + difference[state] for state in STATES))
        others = [*rows[:place], *rows[place + 1 :]]
        if changed.is_possible and all(other.is_possible for other in others):
            return [*rows[:place], changed, *rows[place + 1 :]]
    return _filled_anew(rows, wanted)


def _filled_anew(rows: Sequence[LineRow], wanted: Mapping[str, int]) -> list[LineRow]:
    """Fills the rows from the oldest on: what has shipped first, then what is reserved, what waits and what is cancelled."""
    sizes = [max(0, row.units) for row in reversed(rows)]
    surplus = sum(sizes) - wanted["units"]
    for place in range(len(sizes) - 1, -1, -1):
        taken = min(sizes[place], max(0, surplus))
        sizes[place] -= taken
        surplus -= taken
    sizes[-1] -= min(0, surplus)
    left = dict(wanted)
    filled = []
    for row, size in zip(reversed(rows), sizes, strict=True):
        room, states = size, dict.fromkeys(STATES, 0)
        for state in ("shipped", "reserved", "queued", "cancelled"):
            states[state] = min(room, left[state])
            room -= states[state]
            left[state] -= states[state]
        states["assigned"] = min(states["reserved"], left["assigned"])
        left["assigned"] -= states["assigned"]
        filled.append(LineRow(row.demand_id, size, *(states[state] for state in STATES[1:])))
    return filled[::-1]
