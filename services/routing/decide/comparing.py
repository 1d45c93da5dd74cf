"""What the same orders cost under two ways of planning (features C11 and C12): sums that can be put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from services.routing.decide.planner import Plan


@dataclass(slots=True)
class Totals:
    """Sums over decisions, each taken with the stock that it was recorded with."""

    decisions: int = 0
    parcels: int = 0
    split: int = 0
    """Decisions that ship from more than one location."""
    late: int = 0
    unplaced_units: int = 0
    miles: int = 0
    carrier_cents: int = 0
    cost_cents: int = 0
    """The carrier's price, handling and picking."""

    def add(self, plan: Plan) -> None:
        """Counts a plan in."""
        self.decisions += 1
        self.parcels += sum(parcel.parcels for parcel in plan.parcels)
        self.split += len(plan.parcels) > 1
        self.late += plan.late
        self.unplaced_units += sum(plan.unplaced.values())
        self.miles += sum(parcel.miles for parcel in plan.parcels)
        self.carrier_cents += sum(parcel.carrier_cents for parcel in plan.parcels)
        self.cost_cents += plan.cost_cents


def side_by_side(names: Sequence[str], columns: Sequence[Totals]) -> list[str]:
    """Lines of a table, one per sum; the last column is the difference of the last from the first."""
    header = f"{'':<16}" + "".join(f"{name:>18}" for name in names) + f"{'difference':>26}"
    lines = [header]
    for field in fields(Totals):
        values = [getattr(column, field.name) for column in columns]
        in_money = field.name.endswith("_cents")
        label = field.name.removesuffix("_cents").replace("_", " ")
        cells = [_cell(value, in_money=in_money) for value in values]
        difference = values[-1] - values[0]
        share = f" ({100 * difference / values[0]:+.1f}%)" if values[0] and difference else ""
        lines.append(f"{label:<16}" + "".join(f"{cell:>18}" for cell in cells) + f"{_cell(difference, in_money=in_money) + share:>26}")
    return lines


def _cell(value: int, *, in_money: bool) -> str:
    return f"{value / 100:,.2f}" if in_money else f"{value:,}"
