"""The books of some SKUs, held in memory under their pool locks: every change goes through here and leaves its entry in the ledger.

A unit moves between places (shelves) and between states (queued, reserved, assigned, shipped, cancelled). Rules say which units move; the
books keep pool, shelf, demand and ledger in step and note what the order must be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from uuid import UUID

from services.allocation.decide.pools import open_units, queue_units, ship_units
from services.allocation.decide.shortage import first_to_lose
from services.allocation.decide.stock import (
    Assignment,
    BalancesAfter,
    Cause,
    Demand,
    HeldUnits,
    MissedUnits,
    Movement,
    MovementKind,
    OrderState,
    Pool,
    Shelf,
    ShelfStock,
)
from shared.contracts.stock import ShortagePolicy

LineKey = tuple[UUID, str, str]
"""order id, line id, SKU"""


class Place(NamedTuple):
    """What allocation knows of a location. ``partner`` is the 3PL that works there."""

    partner: str
    active: bool
    hazmat_certified: bool


class Notice(NamedTuple):
    """Something that one order must be told about one of its lines."""

    kind: Literal["reserved", "backordered", "released"]
    reason: Literal["restocked", "fulfillment_cancelled", "shortage", "yielded", "edited", "cancelled"]
    demand: Demand
    quantity: int
    event_id: UUID


MOST_UNITS = 1_000_000_000
"""Of one SKU, on shelves, reserved or waited for: beyond it there is a mistake, not a warehouse."""


def _fullest(shelf: Shelf) -> int:
    return max(shelf.on_hand, shelf.assigned, shelf.damaged, shelf.quality_control)


@dataclass(slots=True)
class Books:
    """Rows loaded under lock, and what became of them. ``kits`` are SKUs that were asked for but have no stock, with their components.

    ``listed_orders`` are orders whose reserved units are told as a whole (after an edit), so that single gains need no notice. ``restated``
    are SKUs whose rows were wrong and are put right: nobody knows what channels were told of them, so they are told all of it.
    """

    pools: dict[str, Pool] = field(default_factory=dict)
    shelves: dict[str, dict[str, Shelf]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    hazmat: dict[str, bool] = field(default_factory=dict)
    kits: dict[str, list[str]] = field(default_factory=dict)
    orders: dict[UUID, OrderState] = field(default_factory=dict)
    demand: dict[UUID, Demand] = field(default_factory=dict)
    assignments: dict[tuple[UUID, str], Assignment] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    listed_orders: dict[UUID, UUID] = field(default_factory=dict)
    returning: dict[UUID, tuple[int, UUID]] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)
    missed: list[MissedUnits] = field(default_factory=list)
    changed_orders: set[UUID] = field(default_factory=set)
    held_units: dict[tuple[UUID, str], HeldUnits] = field(default_factory=dict)
    restated: set[str] = field(default_factory=set)
    _lines: dict[LineKey, list[Demand]] = field(default_factory=dict)
    _demand_of_sku: dict[str, list[Demand]] = field(default_factory=dict)
    _demand_of_order: dict[UUID, list[Demand]] = field(default_factory=dict)
    _assignments_of_line: dict[LineKey, list[Assignment]] = field(default_factory=dict)

    def add_demand(self, demand: Demand) -> Demand:
        """Puts a row into the books, unless it is there already; rows of one line stay in queue order."""
        known = self.demand.get(demand.demand_id)
        if known is not None:
            return known
        self.demand[demand.demand_id] = demand
        self._demand_of_sku.setdefault(demand.sku, []).append(demand)
        self._demand_of_order.setdefault(demand.order_id, []).append(demand)
        rows = self._lines.setdefault((demand.order_id, demand.line_id, demand.sku), [])
        rows.append(demand)
        rows.sort(key=lambda row: row.demand_id)
        return demand

    def add_assignment(self, assignment: Assignment) -> Assignment:
        """Puts an assignment into the books, unless it is there already."""
        known = self.assignments.setdefault((assignment.fulfillment_id, assignment.line_id), assignment)
        if known is assignment:
            self._assignments_of_line.setdefault((assignment.order_id, assignment.line_id, assignment.sku), []).append(assignment)
        return known

    def demand_of(self, sku: str) -> Sequence[Demand]:
        """The demand rows of one SKU that are in the books."""
        return self._demand_of_sku.get(sku, ())

    def line(self, order_id: UUID, line_id: str, sku: str) -> Sequence[Demand]:
        """The demand rows of one order line, oldest first."""
        return self._lines.get((order_id, line_id, sku), ())

    def line_keys(self, order_id: UUID) -> list[LineKey]:
        """Every line that an order has or had, in the order in which they came."""
        rows = sorted(self._demand_of_order.get(order_id, ()), key=lambda row: row.demand_id)
        return list(dict.fromkeys((row.order_id, row.line_id, row.sku) for row in rows))

    def rows_of_order(self, order_id: UUID) -> list[Demand]:
        """All demand rows of one order, oldest first."""
        return sorted(self._demand_of_order.get(order_id, ()), key=lambda row: row.demand_id)

    def channel_of(self, order_id: UUID) -> str:
        """The channel that sold an order; an order has a line from its first day."""
        rows = self._demand_of_order.get(order_id, ())
        return rows[0].channel if rows else ""

    def assignments_of(self, order_id: UUID, line_id: str, sku: str) -> list[Assignment]:
        """The assignments of one order line, oldest first."""
        return sorted(self._assignments_of_line.get((order_id, line_id, sku), ()), key=lambda row: row.fulfillment_id)

    def open_assignments(self, order_id: UUID, line_id: str, sku: str) -> list[Assignment]:
        """Those that still hold units."""
        return [row for row in self.assignments_of(order_id, line_id, sku) if row.open]

    def set_order(self, order_id: UUID, state: OrderState) -> None:
        """Changes the version or life of an order."""
        self.orders[order_id] = state
        self.changed_orders.add(order_id)

    def may_sell(self, sku: str, location: str) -> bool:
        """Only stock that may legally ship counts: an active location, certified if the product is hazardous (blueprint section 6)."""
        place = self.places[location]
        return place.active and (place.hazmat_certified or not self.hazmat[sku])

    def shelf(self, sku: str, location: str) -> Shelf:
        """The shelf of a SKU at a registered location; an empty one when there was none."""
        shelves = self.shelves.setdefault(sku, {})
        if location not in shelves:
            shelves[location] = Shelf(sku, location, self.may_sell(sku, location), is_new=True)
        return shelves[location]

    def shelves_of(self, sku: str) -> list[Shelf]:
        """All shelves of one SKU, by location."""
        return sorted(self.shelves.get(sku, {}).values(), key=lambda shelf: shelf.location)

    def assignable(self, sku: str) -> list[ShelfStock]:
        """Where a plan may still tie units of one SKU."""
        return [ShelfStock(shelf.location, shelf.assignable) for shelf in self.shelves_of(sku) if shelf.assignable]

    def move(self, shelf: Shelf, kind: MovementKind, quantity: int, cause: Cause) -> None:
        """Changes what is on a shelf, in the state that the kind of movement names, and writes it into the ledger.

        A change of sellable or set-aside units that the newest count already shows changes nothing more.
        """
        if quantity == 0 or shelf.shows(cause):
            return
        self.book(shelf, kind, quantity, cause)

    def book(self, shelf: Shelf, kind: MovementKind, quantity: int, cause: Cause, owner: Assignment | None = None) -> None:
        """Changes one balance of a shelf and writes it into the ledger; ``owner`` names whose units they are."""
        if quantity == 0:
            return
        pool = self.touch(shelf.sku, cause)
        sellable, pending, withheld = shelf.sellable, shelf.pending_shortage, shelf.withheld
        if kind == "damaged":
            shelf.damaged += quantity
        elif kind == "quarantined":
            shelf.quality_control += quantity
        elif kind in ("assigned", "unassigned"):
            shelf.assigned += quantity
        elif kind == "shipped":
            shelf.on_shelf += quantity
            shelf.assigned += quantity
            pool.reserved += quantity
        else:
            shelf.on_shelf += quantity
        pool.sellable += shelf.sellable - sellable
        pool.pending_shortage += shelf.pending_shortage - pending
        pool.safety += shelf.withheld - withheld
        self.movements.append(
            Movement(
                kind,
                quantity,
                shelf.sku,
                cause,
                shelf.location,
                owner.order_id if owner else None,
                owner.line_id if owner else None,
                owner.fulfillment_id if owner else None,
            )
        )

    def set_counts(self, shelf: Shelf, counts: bool, cause: Cause) -> None:
        """Opens or closes a shelf to the pool. Units already assigned there stay with their orders."""
        if shelf.counts == counts:
            return
        pool = self.touch(shelf.sku, cause)
        sellable, withheld = shelf.sellable, shelf.withheld
        shelf.counts = counts
        pool.sellable += shelf.sellable - sellable
        pool.safety += shelf.withheld - withheld

    def touch(self, sku: str, cause: Cause) -> Pool:
        """Marks a SKU as changed, and by what."""
        pool = self.pools[sku]
        pool.touched = True
        self.causes[sku] = cause
        return pool

    def enqueue(self, demand: Demand, quantity: int, cause: Cause) -> None:
        """Adds wanted units to the queue; a shortage's units were wanted before and are not added again."""
        demand.units += quantity
        demand.queued += quantity
        pool = self.touch(demand.sku, cause)
        pool.queued += quantity
        queue_units(pool.channels, demand.channel, quantity)

    def reserve(self, demand: Demand, quantity: int, cause: Cause) -> None:
        """Gives units of the pool to queued demand."""
        pool = self.touch(demand.sku, cause)
        demand.queued -= quantity
        demand.reserved += quantity
        pool.queued -= quantity
        pool.reserved += quantity
        open_units(pool.channels, demand.channel, quantity)
        queue_units(pool.channels, demand.channel, -quantity)
        self._note("reserved", quantity, demand, cause)

    def requeue(self, demand: Demand, quantity: int, cause: Cause) -> None:
        """Takes units back from a reservation that nothing covers; they keep their place in the queue."""
        pool = self.touch(demand.sku, cause)
        demand.reserved -= quantity
        demand.queued += quantity
        pool.reserved -= quantity
        pool.queued += quantity
        open_units(pool.channels, demand.channel, -quantity)
        queue_units(pool.channels, demand.channel, quantity)
        self._note("requeued", -quantity, demand, cause)

    def drop_queued(self, demand: Demand, quantity: int, cause: Cause) -> None:
        """Takes units out of the queue that are no longer wanted; the caller says whether they count as cancelled."""
        demand.queued -= quantity
        pool = self.touch(demand.sku, cause)
        pool.queued -= quantity
        queue_units(pool.channels, demand.channel, -quantity)

    def drop_reserved(self, demand: Demand, quantity: int, cause: Cause) -> None:
        """Gives reserved, unassigned units that are no longer wanted back to the pool."""
        pool = self.touch(demand.sku, cause)
        demand.reserved -= quantity
        pool.reserved -= quantity
        open_units(pool.channels, demand.channel, -quantity)
        self._note("released", -quantity, demand, cause)

    def unhold(self, units: HeldUnits, quantity: int, cause: Cause) -> None:
        """Takes units from a checkout hold: they are free again, or become an order's."""
        if quantity == 0:
            return
        pool = self.touch(units.sku, cause)
        units.held -= quantity
        pool.held -= quantity
        open_units(pool.channels, units.channel, -quantity)
        self.movements.append(Movement("unheld", -quantity, units.sku, cause._replace(cause_id=units.hold_id)))

    def _note(self, kind: MovementKind, quantity: int, demand: Demand, cause: Cause) -> None:
        self.movements.append(Movement(kind, quantity, demand.sku, cause, None, demand.order_id, demand.line_id))

    def balances_after(self, entry: Movement) -> BalancesAfter:
        """The balances of its shelf that an entry moved, as the books leave them: the auditor's chain from entry to entry."""
        if entry.location is None:
            return BalancesAfter()
        shelf = self.shelf(entry.sku, entry.location)
        if entry.kind == "shipped":
            return BalancesAfter(shelf.on_shelf, shelf.assigned)
        if entry.kind in ("assigned", "unassigned"):
            return BalancesAfter(assigned=shelf.assigned)
        if entry.kind in ("damaged", "quarantined"):
            return BalancesAfter(set_aside=shelf.damaged if entry.kind == "damaged" else shelf.quality_control)
        return BalancesAfter(on_shelf=shelf.on_shelf)

    def assign(self, assignment: Assignment, quantity: int, cause: Cause) -> None:
        """Ties reserved units of a line, oldest first, to the location of an assignment. The caller has checked that they are there."""
        left = quantity
        for demand in self.line(assignment.order_id, assignment.line_id, assignment.sku):
            taken = min(left, demand.unassigned)
            demand.assigned += taken
            left -= taken
        assignment.open += quantity
        assignment.units += quantity
        self.book(self.shelf(assignment.sku, assignment.location), "assigned", quantity, cause, assignment)

    def unassign(self, assignment: Assignment, quantity: int, cause: Cause) -> list[tuple[Demand, int]]:
        """Unties units from a location, the line's newest first; they stay reserved. Returns whose they are."""
        freed: list[tuple[Demand, int]] = []
        left = quantity
        for demand in reversed(self.line(assignment.order_id, assignment.line_id, assignment.sku)):
            taken = min(left, demand.assigned)
            if taken:
                demand.assigned -= taken
                left -= taken
                freed.append((demand, taken))
        assignment.open -= quantity
        self.book(self.shelf(assignment.sku, assignment.location), "unassigned", -quantity, cause, assignment)
        return freed

    def ship(self, assignment: Assignment, quantity: int, cause: Cause) -> None:
        """Assigned units leave the building. What a count already shows as gone is not taken off the shelf twice."""
        left = quantity
        for demand in self.line(assignment.order_id, assignment.line_id, assignment.sku):
            taken = min(left, demand.assigned)
            demand.assigned -= taken
            demand.reserved -= taken
            demand.shipped += taken
            left -= taken
            if taken:
                ship_units(self.pools[demand.sku].channels, demand.channel, taken)
        assignment.open -= quantity
        assignment.shipped += quantity
        shelf = self.shelf(assignment.sku, assignment.location)
        already_counted = shelf.shows(cause)
        self.book(shelf, "shipped", -quantity, cause, assignment)
        if already_counted:
            self.book(shelf, "adjusted", quantity, cause, assignment)
            self.explain(shelf, quantity, 0, cause)

    def miss(self, assignment: Assignment, called_off: int, missing: int, cause: Cause) -> None:
        """A picker did not find some of the units that will not ship. Those that a count has missed already are not written off again.

        ``missing`` may be more than is called off now: what was called off before and not known to be missing then.
        """
        shelf = self.shelf(assignment.sku, assignment.location)
        if missing:
            self.missed.append(MissedUnits(assignment.location, assignment.sku, assignment.fulfillment_id, missing, cause.happened_at))
        if shelf.shows(cause):
            self.explain(shelf, called_off, 0, cause)
        else:
            self.explain(shelf, called_off - missing, missing, cause)

    def explain(self, shelf: Shelf, accounted: int, missed: int, cause: Cause) -> None:
        """Some of the assigned units that the newest count did not find are accounted for, some are missed by a picker."""
        before = shelf.written_off
        shelf.counted_short -= accounted
        shelf.missed += missed
        self.book(shelf, "written_off", before - shelf.written_off, cause)

    def return_to_plan(self, freed: Iterable[tuple[Demand, int]], event_id: UUID) -> None:
        """Notes units that routing may plan again; what a shortage takes of them is not announced."""
        for demand, quantity in freed:
            known, _ = self.returning.get(demand.demand_id, (0, event_id))
            self.returning[demand.demand_id] = (known + quantity, event_id)

    def share_out(self, sku: str, last: tuple[int, UUID] | None = None) -> None:
        """Gives available units to the queue: by priority class, then first come first served (features A2, B3, B5).

        Where channels have rules, each place takes what its channel may take and lets the next one pass. Giving units to one channel never
        gives another one more to take, so that one walk through the queue is enough.

        Args:
            sku: whose queue.
            last: the place at which to stop, when the books do not hold the queue behind it.
        """
        pool = self.pools[sku]
        cause = self.causes[sku]
        for demand in sorted(self.demand_of(sku), key=lambda row: row.place):
            quantity = min(pool.takeable(demand.channel) if pool.channels else pool.available, demand.queued)
            if pool.free <= 0 or (last is not None and demand.place > last):
                return
            if quantity:
                self.reserve(demand, quantity, cause)
                if demand.order_id not in self.listed_orders:
                    self.notices.append(Notice("reserved", "restocked", demand, quantity, cause.event_id))

    def requeue_uncovered(self, sku: str, policy: ShortagePolicy) -> None:
        """Queues reserved units that no shelf has any more: unassigned ones, in the order that the policy says (feature A10).

        Assigned units stay with their order: the 3PL's word about them is awaited, meanwhile they are the shelf's pending shortage.
        """
        pool = self.pools[sku]
        cause = self.causes[sku]
        for demand in first_to_lose(self.demand_of(sku), self.orders, policy):
            quantity = min(pool.uncovered, demand.unassigned)
            if pool.uncovered == 0:
                return
            if quantity:
                self.take_away(demand, quantity, "shortage", cause)

    def take_away(self, demand: Demand, quantity: int, reason: Literal["shortage", "yielded"], cause: Cause) -> None:
        """Takes units back from a reservation and tells the order.

        An order whose reserved units are told as a whole never hears that it had these, so they are not taken from it: they only wait.
        """
        self.requeue(demand, quantity, cause)
        self._keep_back(demand, quantity)
        told = "edited" if demand.order_id in self.listed_orders else reason
        self.notices.append(Notice("backordered", told, demand, quantity, cause.event_id))

    def _keep_back(self, demand: Demand, quantity: int) -> None:
        """Units that have just come back and are lost again at once were never announced, so they are only told as waiting."""
        returned, event_id = self.returning.get(demand.demand_id, (0, self.causes[demand.sku].event_id))
        self.returning[demand.demand_id] = (max(0, returned - quantity), event_id)

    def overfull(self) -> str | None:
        """What goes beyond all that can be counted, if anything does: units are told and kept as numbers of at most ``MOST_UNITS``."""
        for sku, pool in self.pools.items():
            if pool.touched and max(pool.sellable, pool.queued, pool.reserved, *map(_fullest, self.shelves_of(sku)), 0) > MOST_UNITS:
                return f"quantity: {sku} would have more than {MOST_UNITS:,} units in all; correct the figure and send it again"
        return None

    def announce(self) -> None:
        """Turns what shortages left of returned units, and what edits left waiting, into notices."""
        for demand_id, (quantity, event_id) in self.returning.items():
            demand = self.demand[demand_id]
            if quantity and demand.order_id not in self.listed_orders:
                self.notices.append(Notice("reserved", "fulfillment_cancelled", demand, quantity, event_id))
        self.returning.clear()
        for order_id, event_id in self.listed_orders.items():
            for demand in self.rows_of_order(order_id):
                if demand.is_new and demand.queued:
                    self.notices.append(Notice("backordered", "edited", demand, demand.queued, event_id))
