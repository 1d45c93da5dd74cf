"""What the same orders cost under two ways of planning (features C11 and C12): sums that can be put side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest


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


@dataclass(frozen=True, slots=True)
class Baselines:
    """How one order would ship by the habits that a merchant is compared with (feature C12), each with the same stock and promise.

    ``by_hand``: from the first location of a fixed list that has everything, as somebody with a list does it; where none has, like
    ``nearest``. ``nearest``: the fewest miles. ``least``: what it must cost at least, whatever the price of a split. None knows rules.
    """

    by_hand: Plan
    nearest: Plan
    least: Plan


def baselines_of(planner: Planner, request: PlanRequest, by_hand: Sequence[str]) -> Baselines:
    """Plans one order by each habit, on the network and the rate cards of a planner.

    Args:
        planner: network, rate cards and figures.
        request: the order.
        by_hand: location codes, the favourite first.
    """
    # Habits ship on the days of the free slots, and wait for them as long as it takes.
    slots = {code: None if slot is None else slot._replace(put_off=0) for code, slot in request.slots.items()}
    request = replace(request, slots=slots)
    nearest = replace(planner, objective="closest", split_cents=0, capacity_cents=0, rules=None).plan(request)
    habit = replace(planner, objective="cheapest", split_cents=0, capacity_cents=0, rules=None)
    everywhere = frozenset(location.code for location in planner.network.locations)
    for code in by_hand:
        alone = habit.plan(replace(request, excluded=request.excluded | (everywhere - {code}), partly=False))
        if alone.parcels:
            break
    else:
        alone = nearest
    return Baselines(alone, nearest, habit.plan(request))


class Habits:
    """Sums of all orders by each habit."""

    def __init__(self) -> None:
        self.by_hand, self.nearest, self.least = Totals(), Totals(), Totals()

    def add(self, baselines: Baselines | None, unplaced: int = 0) -> None:
        """Counts one order in.

        Args:
            baselines: how it would ship; None where the live plan ships nothing either.
            unplaced: units that the live plan does not ship: they are in no habit's cost either.
        """
        for totals in (self.by_hand, self.nearest, self.least):
            totals.unplaced_units += unplaced
            totals.decisions += baselines is None
        if baselines is not None:
            self.by_hand.add(baselines.by_hand)
            self.nearest.add(baselines.nearest)
            self.least.add(baselines.least)

    def lines(self, live: Totals) -> Iterator[str]:
        """The sums beside those of the live plans, what these save, and how far they are from the least that each order must cost."""
        names = ("by hand", "the nearest", "as recorded", "the least")
        yield from side_by_side(names, (self.by_hand, self.nearest, live, self.least), difference=False)
        yield ""
        for name, habit in (("by hand", self.by_hand), ("the nearest", self.nearest)):
            share = 100 * (habit.cost_cents - live.cost_cents) / habit.cost_cents if habit.cost_cents else 0.0
            yield f"against {name}: {(habit.cost_cents - live.cost_cents) / 100:,.2f} saved, {share:.1f}%"
        gap = 100 * (live.cost_cents - self.least.cost_cents) / self.least.cost_cents if self.least.cost_cents else 0.0
        yield f"above the least, each order by itself: {(live.cost_cents - self.least.cost_cents) / 100:,.2f}, {gap:.1f}%"


def side_by_side(names: Sequence[str], columns: Sequence[Totals], *, difference: bool = True) -> list[str]:
    """Lines of a table, one per sum, and with the difference of the last column from the first."""
    lines = [f"{'':<16}" + "".join(f"{name:>18}" for name in names) + (f"{'difference':>26}" if difference else "")]
    for field in fields(Totals):
        values = [getattr(column, field.name) for column in columns]
        in_money = field.name.endswith("_cents")
        label = field.name.removesuffix("_cents").replace("_", " ")
        line = f"{label:<16}" + "".join(f"{_cell(value, in_money=in_money):>18}" for value in values)
        if difference:
            more = values[-1] - values[0]
            share = f" ({100 * more / values[0]:+.1f}%)" if values[0] and more else ""
            line += f"{_cell(more, in_money=in_money) + share:>26}"
        lines.append(line)
    return lines


def _cell(value: int, *, in_money: bool) -> str:
    return f"{value / 100:,.2f}" if in_money else f"{value:,}"
