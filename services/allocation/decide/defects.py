"""What is wrong with one balance or several, and by how much entries and rows differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from services.allocation.decide.evidence import (
    ASSIGNED_KINDS,
    HELD_KINDS,
    ON_SHELF_KINDS,
    RESERVED_KINDS,
    SHELF_BALANCES,
    Break,
    Evidence,
    Written,
)

Row = Literal["shelf", "pool", "line", "assignment", "hold", "rule", "supply"]
Mends = Literal["ledger", "balance", "both"]


class Site(NamedTuple):
    """One balance of one row. ``cause_id`` is a checkout hold or a supply."""

    row: Row
    balance: str
    location: str | None = None
    order_id: UUID | None = None
    line_id: str | None = None
    fulfillment_id: UUID | None = None
    cause_id: UUID | None = None
    channel: str | None = None

    def __str__(self) -> str:
        subject = self.fulfillment_id or self.order_id or self.cause_id
        where = [str(part) for part in (self.location, subject, self.line_id, self.channel) if part is not None]
        return f"{self.row} {self.balance}" + (f" ({', '.join(where)})" if where else "")


class Imbalance(NamedTuple):
    """A balance that says ``found`` where the evidence says ``expected``."""

    site: Site
    found: int
    expected: int


class Restatement(NamedTuple):
    """A balance that is to be set."""

    site: Site
    value: int


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong, and its compensation: entries to write, or rows to set to what the entries say.

    ``mends`` is ``ledger`` when the entries move no balance, ``both`` when they do. ``key`` stays the same as long as the defect is there.
    """

    key: str
    culprit: str
    imbalances: tuple[Imbalance, ...]
    mends: Mends
    explanation: str
    entry: Written | None = None
    interval: Break | None = None
    entries: tuple[Written, ...] = ()
    restatements: tuple[Restatement, ...] = ()

    @property
    def leading(self) -> Imbalance:
        """The balance that shows it first; an operator's word is taken only while this is as it was shown."""
        return self.imbalances[0]


def parts_of(entry: Written) -> dict[Site, int]:
    """What one entry adds to each row's sum of entries. Units shipped are counted upwards by an assignment, downwards by the ledger."""
    found: dict[Site, int] = {}
    if entry.location is not None:
        if entry.kind in ON_SHELF_KINDS:
            found[Site("shelf", "on_shelf", entry.location)] = entry.quantity
        if entry.kind in ASSIGNED_KINDS:
            found[Site("shelf", "assigned", entry.location)] = entry.quantity
        if entry.kind == "damaged":
            found[Site("shelf", "damaged", entry.location)] = entry.quantity
        if entry.kind == "quarantined":
            found[Site("shelf", "quality_control", entry.location)] = entry.quantity
    if entry.kind in RESERVED_KINDS:
        found[Site("pool", "reserved")] = entry.quantity
        if entry.order_id is not None:
            found[Site("line", "reserved", None, entry.order_id, entry.line_id)] = entry.quantity
    if entry.kind in HELD_KINDS:
        found[Site("pool", "held")] = entry.quantity
        found[Site("hold", "held", cause_id=entry.cause_id)] = entry.quantity
    if entry.fulfillment_id is not None and entry.kind in ASSIGNED_KINDS:
        found[Site("assignment", "open", None, None, entry.line_id, entry.fulfillment_id)] = entry.quantity
        if entry.kind == "shipped":
            found[Site("assignment", "shipped", None, None, entry.line_id, entry.fulfillment_id)] = -entry.quantity
    return found


class Surpluses:
    """By how much the entries exceed each row; what a defect explains is taken away, so that nothing is explained twice."""

    def __init__(self, evidence: Evidence) -> None:
        self.rows: dict[Site, int] = {}
        self.left: dict[Site, int] = {}
        ledger = evidence.ledger_shelves
        shelves = {shelf.location: shelf for shelf in evidence.shelves}
        for location in sorted({*ledger, *shelves}):
            for balance in SHELF_BALANCES:
                stated = getattr(shelves.get(location), balance, 0)
                self._note(Site("shelf", balance, location), stated, getattr(ledger.get(location), balance, 0))
        self._note(Site("pool", "reserved"), evidence.pool.reserved if evidence.pool else 0, evidence.ledger_reserved)
        self._note(Site("pool", "held"), evidence.pool.held if evidence.pool else 0, evidence.ledger_held)
        for hold in evidence.holds:
            self._note(Site("hold", "held", cause_id=hold.hold_id), hold.held, hold.ledger_held)
        for line in evidence.lines:
            self._note(Site("line", "reserved", None, line.order_id, line.line_id), line.reserved, line.ledger_reserved)
        for part in evidence.parts:
            self._note(Site("assignment", "open", None, None, part.line_id, part.fulfillment_id), part.open, part.ledger_open)
            self._note(Site("assignment", "shipped", None, None, part.line_id, part.fulfillment_id), part.shipped, part.ledger_shipped)

    def _note(self, site: Site, stated: int, ledger: int) -> None:
        self.rows[site] = stated
        if stated != ledger:
            self.left[site] = ledger - stated

    def of(self, site: Site) -> int:
        """What is still unexplained of one balance."""
        return self.left.get(site, 0)

    def contain(self, effects: Mapping[Site, int]) -> bool:
        """Whether these effects are part of what is unexplained, everywhere."""
        return bool(effects) and all(0 < units <= self.of(site) or self.of(site) <= units < 0 for site, units in effects.items())

    def explain(self, effects: Mapping[Site, int]) -> tuple[Imbalance, ...]:
        """Takes effects away and returns the imbalances that they were."""
        found = []
        for site, units in effects.items():
            found.append(Imbalance(site, self.rows[site], self.rows[site] + self.of(site)))
            self.left[site] = self.of(site) - units
            if self.left[site] == 0:
                del self.left[site]
        return tuple(found)
