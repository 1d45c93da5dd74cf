"""What customers and operators want changed during the day. Drawn from the seed; no input or output here."""

from __future__ import annotations

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
    """All of a day."""

    changes: Sequence[Wish]
    returns: Sequence[ReturnWish]


def draw_wishes(replay: Replay, seed: int) -> Wishes:
    """A share of the orders of a replay, each with at most one wish; what the input itself withdraws comes first."""
    random = Random(f"wishes {seed}")
    changes = [_cancellation(withdrawal, random) for withdrawal in replay.withdrawals if withdrawal.whole]
    returns = [_return(withdrawal) for withdrawal in replay.withdrawals if not withdrawal.whole]
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
    return Wishes(changes, returns)


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
