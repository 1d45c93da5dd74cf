"""What customers and operators want changed during the day. Drawn from the seed; no input or output here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from simulators.adapter.replay import Replay, SourceOrder, Withdrawal

CANCEL_SHARE = 0.05
EDIT_SHARE = 0.05
RETURN_SHARE = 0.07
LATEST_WISH_SECONDS = 4.0
"""How long after its order a wish may come: some before the 3PL has started, some too late."""
SELLABLE_SHARE = 0.7
DAMAGED_SHARE = 0.2
"""Of returned units; the rest never arrives."""
SCANNED_TWICE_SHARE = 0.2

Kind = Literal["cancel", "fewer_units", "new_address"]
Condition = Literal["sellable", "damaged", "missing"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that somebody asks for some seconds after the order."""

    kind: Kind
    channel: str
    external_id: str
    after_seconds: float


@dataclass(frozen=True, slots=True)
class ReturnWish:
    """An order of which something comes back once it has shipped. ``units`` names lines and units; empty: some of whatever shipped."""

    channel: str
    external_id: str
    seed: int
    units: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """All of a day. ``of_input`` of them stand in the input; the others nobody has had, they are simulated."""

    changes: Sequence[Wish]
    returns: Sequence[ReturnWish]
    of_input: int = 0

    @property
    def simulated(self) -> int:
        """How many of them were drawn."""
        return len(self.changes) + len(self.returns) - self.of_input

    def describe(self) -> str:
        """What is played, for a person who may take it for their customers' doing."""
        kinds = Counter(wish.kind for wish in self.changes)
        edits = kinds["fewer_units"] + kinds["new_address"]
        played = f"{kinds['cancel']:,} cancellations, {edits:,} changes and {len(self.returns):,} returns are played"
        if not self.changes and not self.returns:
            return "none is played."
        if not self.simulated:
            return f"{played}, all of them from the input: none is simulated."
        origin = f"the other {self.of_input:,} stand in the input" if self.of_input else "none stands in the input"
        return f"{played}; {self.simulated:,} of them are SIMULATED, drawn from the seed ({origin}). WISHES=none leaves these out."


def draw_wishes(replay: Replay, seed: int, *, simulated: bool = True) -> Wishes:
    """What the input itself withdraws and, unless ``simulated`` is off, wishes for a share of its other orders, at most one each."""
    random = Random(f"wishes {seed}")
    changes = [_cancellation(withdrawal, random) for withdrawal in replay.withdrawals if withdrawal.whole]
    returns = [_return(withdrawal) for withdrawal in replay.withdrawals if not withdrawal.whole]
    of_input = len(changes) + len(returns)
    if not simulated:
        return Wishes(changes, returns, of_input)
    taken = {(withdrawal.channel, withdrawal.external_id) for withdrawal in replay.withdrawals}
    for order in replay.good_orders:
        if (order.channel, order.external_id) in taken:
            continue
        chance = random.random()
        if chance < CANCEL_SHARE:
            changes.append(_wish("cancel", order, random))
        elif chance < CANCEL_SHARE + EDIT_SHARE:
            changes.append(_wish(_possible_edit(order, random), order, random))
        elif chance < CANCEL_SHARE + EDIT_SHARE + RETURN_SHARE:
            returns.append(ReturnWish(order.channel, order.external_id, random.randrange(1_000_000)))
    return Wishes(changes, returns, of_input)


def _wish(kind: Kind, order: SourceOrder, random: Random) -> Wish:
    return Wish(kind, order.channel, order.external_id, random.uniform(0, LATEST_WISH_SECONDS))


def _possible_edit(order: SourceOrder, random: Random) -> Kind:
    has_units_to_spare = any(line["quantity"] > 1 for line in order.content["lines"])
    return "fewer_units" if has_units_to_spare and random.random() < 0.6 else "new_address"


def _cancellation(withdrawal: Withdrawal, random: Random) -> Wish:
    return Wish("cancel", withdrawal.channel, withdrawal.external_id, random.uniform(0, LATEST_WISH_SECONDS))


def _return(withdrawal: Withdrawal) -> ReturnWish:
    units = tuple((unit.external_line_id, unit.quantity) for unit in withdrawal.units)
    return ReturnWish(withdrawal.channel, withdrawal.external_id, seed=0, units=units)


def choose_units(wish: ReturnWish, returnable: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Which units of the shipped lines the customer sends back: those of the wish as far as they shipped, else some."""
    if wish.units:
        shipped = dict(returnable)
        return [(line_id, min(quantity, shipped[line_id])) for line_id, quantity in wish.units if shipped.get(line_id)]
    random = Random(f"return {wish.seed}")
    chosen = random.sample(list(returnable), k=random.randint(1, min(2, len(returnable)))) if returnable else []
    return [(line_id, random.randint(1, quantity)) for line_id, quantity in chosen]


def condition_of(wish: ReturnWish, line_id: str) -> Condition:
    """How the units of a line arrive."""
    chance = Random(f"condition {wish.seed} {line_id}").random()
    if chance < SELLABLE_SHARE:
        return "sellable"
    return "damaged" if chance < SELLABLE_SHARE + DAMAGED_SHARE else "missing"


def is_scanned_twice(wish: ReturnWish) -> bool:
    """Whether two scanners book the same parcel."""
    return Random(f"scan {wish.seed} {wish.external_id}").random() < SCANNED_TWICE_SHARE
