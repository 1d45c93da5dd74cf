"""The books of allocation under random histories of everything that may happen to one order book, in memory."""

from __future__ import annotations

from datetime import datetime
from typing import get_args
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.allocation.decide.assigning import assign_plan, cancel_fulfillment, ship_fulfillment
from services.allocation.decide.books import Books, Place
from services.allocation.decide.changing import cancel_order, edit_order
from services.allocation.decide.counting import MovedSince, apply_count, set_on_hand
from services.allocation.decide.placing import place_orders
from services.allocation.decide.stock import Cause, Demand, Movement, OrderState, Pool
from services.allocation.decide.yielding import yield_units
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import PlannedFulfillment
from shared.contracts.orders import OrderPlaced, Segment, SplitPolicy
from shared.contracts.stock import ShortagePolicy, SnapshotLine
from tests.allocation.messages import at, called_off, cancellation, edit, line, order, plan, planned, shipped, units

SKUS = ("A", "B")
PLACES = ("east", "west")
ON_SHELF = ("received", "adjusted", "returned", "written_off", "shipped")
RESERVED = ("reserved", "released", "requeued", "shipped")
ASSIGNED = ("assigned", "unassigned", "shipped")


class OneOrderBook(RuleBasedStateMachine):
    """Every rule of allocation in any order. After each step units are conserved and no unit is promised twice."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(
            pools={sku: Pool(sku) for sku in SKUS},
            places=dict.fromkeys(PLACES, Place("acme", True, True)),
            hazmat=dict.fromkeys(SKUS, False),
        )
        self.orders: list[OrderPlaced] = []
        self.versions: dict[UUID, int] = {}
        self.fulfillments: list[tuple[OrderPlaced, PlannedFulfillment]] = []
        self.placed: dict[tuple[UUID, str], int] = {}
        self.minutes = 0
        self.policy: ShortagePolicy = "newest_first"

    def cause(self) -> Cause:
        return Cause(new_id(), self.moment())

    def moment(self) -> datetime:
        self.minutes += 1
        return at(self.minutes)

    def settle(self) -> None:
        for sku in SKUS:
            if self.books.pools[sku].available > 0 and self.books.pools[sku].queued:
                self.books.share_out(sku)
            if self.books.pools[sku].uncovered:
                self.books.requeue_uncovered(sku, self.policy)
        for sku in SKUS:
            yield_units(self.books, sku, self.incomplete(), self.cause())
        self.books.announce()

    def incomplete(self) -> set[UUID]:
        return {row.order_id for row in self.books.demand.values() if row.hold_all and row.queued}

    @rule(policy=st.sampled_from(get_args(ShortagePolicy)))
    def choose_policy(self, policy: ShortagePolicy) -> None:
        self.policy = policy

    @rule(sku=st.sampled_from(SKUS), location=st.sampled_from(PLACES), quantity=st.integers(1, 8))
    def receive(self, sku: str, location: str, quantity: int) -> None:
        self.books.move(self.books.shelf(sku, location), "received", quantity, self.cause())
        self.settle()

    @rule(
        lines=st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 4)), min_size=1, max_size=3),
        split_policy=st.sampled_from(get_args(SplitPolicy)),
        priority=st.sampled_from([1, 5, 9]),
        segment=st.sampled_from(get_args(Segment)),
    )
    def place(self, lines: list[tuple[str, int]], split_policy: SplitPolicy, priority: int, segment: Segment) -> None:
        placed = order(
            *(line(quantity, sku, str(number)) for number, (sku, quantity) in enumerate(lines)),
            split_policy=split_policy,
            priority=priority,
            segment=segment,
        )
        placement = place_orders(
            [(0, placed)],
            known=(),
            available={sku: pool.available for sku, pool in self.books.pools.items()},
            queued={sku: pool.queued for sku, pool in self.books.pools.items()},
            new_id=new_id,
        )
        cause = self.cause()
        for one in placement.orders[0].lines:
            demand = self.books.add_demand(
                Demand(
                    one.demand_id,
                    placed.order_id,
                    one.line_id,
                    one.sku,
                    one.units,
                    one.units - one.reserved,
                    one.reserved,
                    priority=priority,
                    hold_all=split_policy == "hold_all",
                )
            )
            self.books.touch(one.sku, cause)
            if one.reserved:
                self.books.movements.append(Movement("reserved", one.reserved, one.sku, cause, None, placed.order_id, demand.line_id))
        for sku, claim in placement.claims.items():
            self.books.pools[sku].reserved += claim.reserved
            self.books.pools[sku].queued += claim.queued
        self.books.orders[placed.order_id] = OrderState(1, None, priority, split_policy == "hold_all", segment)
        self.orders.append(placed)
        self.versions[placed.order_id] = 1
        self.settle()

    @rule(data=st.data(), location=st.sampled_from(PLACES), quantity=st.integers(1, 4))
    def plan(self, data: st.DataObject, location: str, quantity: int) -> None:
        if self.orders:
            placed = data.draw(st.sampled_from(self.orders))
            wanted = data.draw(st.sampled_from(placed.lines))
            part = planned(location, units(quantity, wanted.line_id, wanted.sku))
            version = self.versions[placed.order_id]
            before = self.books.pools[wanted.sku].numbers
            verdict = assign_plan(self.books, plan(placed, part, version=version), self.cause())
            assert self.books.pools[wanted.sku].numbers == before
            if verdict.outcome == "assigned":
                self.fulfillments.append((placed, part))

    @rule(data=st.data(), sequence=st.none() | st.integers(1, 50))
    def ship(self, data: st.DataObject, sequence: int | None) -> None:
        if self.fulfillments:
            placed, part = data.draw(st.sampled_from(self.fulfillments))
            numbers = {sku: pool.numbers for sku, pool in self.books.pools.items()}
            cause = Cause(new_id(), self.moment(), part.fulfillment_id, sequence)
            problem = ship_fulfillment(self.books, shipped(placed, part), cause)
            if problem is not None:
                assert numbers == {sku: pool.numbers for sku, pool in self.books.pools.items()}
            self.settle()

    @rule(data=st.data(), missing=st.integers(0, 4))
    def call_off(self, data: st.DataObject, missing: int) -> None:
        if self.fulfillments:
            placed, part = data.draw(st.sampled_from(self.fulfillments))
            lost = [units(missing, part.lines[0].line_id, part.lines[0].sku)] if missing else []
            cancel_fulfillment(self.books, called_off(placed, part, missing=lost), self.cause())
            self.settle()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.orders:
            placed = data.draw(st.sampled_from(self.orders))
            cancel_order(self.books, cancellation(placed, version=self.versions[placed.order_id] + 1), self.cause())
            self.settle()

    @rule(data=st.data(), quantity=st.integers(1, 6), ahead=st.integers(0, 2))
    def edit(self, data: st.DataObject, quantity: int, ahead: int) -> None:
        if self.orders:
            placed = data.draw(st.sampled_from(self.orders))
            sku = data.draw(st.sampled_from(SKUS))
            withdrawn = [part.fulfillment_id for owner, part in self.fulfillments if owner is placed]
            version = self.versions[placed.order_id] + ahead
            event = edit(placed, line(quantity, sku, "0"), version=version, withdrawn=withdrawn)
            edit_order(self.books, event, self.cause(), new_id)
            if self.books.orders[placed.order_id].cancelled_version is None:
                self.versions[placed.order_id] = version
            self.settle()
            self.books.listed_orders.clear()

    @rule(sku=st.sampled_from(SKUS), location=st.sampled_from(PLACES), on_hand=st.integers(0, 10))
    def operator_counts(self, sku: str, location: str, on_hand: int) -> None:
        shelf = self.books.shelf(sku, location)
        set_on_hand(self.books, shelf, on_hand, self.cause())
        assert shelf.on_hand == on_hand
        self.settle()

    @rule(sku=st.sampled_from(SKUS), location=st.sampled_from(PLACES), on_hand=st.integers(0, 10), damaged=st.integers(0, 2))
    def third_party_counts(self, sku: str, location: str, on_hand: int, damaged: int) -> None:
        shelf = self.books.shelf(sku, location)
        count = SnapshotLine(sku=sku, on_hand=on_hand + damaged, damaged=damaged)
        as_of = self.moment()
        applied = apply_count(
            self.books, shelf, count, as_of=as_of, watermark=shelf.counted_watermark, since=MovedSince(), event_id=new_id()
        )
        assert applied
        assert (shelf.on_hand, shelf.damaged) == (on_hand + damaged, damaged)
        self.settle()

    @rule(sku=st.sampled_from(SKUS), location=st.sampled_from(PLACES), counts=st.booleans())
    def open_or_close(self, sku: str, location: str, counts: bool) -> None:
        self.books.set_counts(self.books.shelf(sku, location), counts, self.cause())
        self.settle()

    @invariant()
    def every_unit_of_a_line_has_one_state(self) -> None:
        for row in self.books.demand.values():
            numbers = row.numbers
            assert min(numbers) >= 0
            assert row.units == row.queued + row.reserved + row.shipped + row.cancelled
            assert row.assigned <= row.reserved

    @invariant()
    def pools_are_sums_of_demand_and_shelves(self) -> None:
        for sku, pool in self.books.pools.items():
            rows = [row for row in self.books.demand.values() if row.sku == sku]
            shelves = self.books.shelves_of(sku)
            assert pool.reserved == sum(row.reserved for row in rows)
            assert pool.queued == sum(row.queued for row in rows)
            assert pool.sellable == sum(max(s.on_shelf, s.assigned) if s.counts else s.assigned for s in shelves)
            assert pool.pending_shortage == sum(max(0, s.assigned - max(0, s.on_shelf)) for s in shelves)

    @invariant()
    def no_unit_is_promised_twice(self) -> None:
        for sku, pool in self.books.pools.items():
            assigned = sum(shelf.assigned for shelf in self.books.shelves_of(sku))
            assert 0 <= pool.reserved <= pool.sellable
            assert pool.reserved <= max(pool.sellable - pool.pending_shortage, assigned)

    @invariant()
    def nobody_waits_beside_free_stock(self) -> None:
        for pool in self.books.pools.values():
            assert pool.available <= 0 or pool.queued == 0

    @invariant()
    def nobody_waits_for_what_an_incomplete_order_of_lower_rank_merely_holds(self) -> None:
        incomplete = self.incomplete()
        for sku in SKUS:
            rows = [row for row in self.books.demand.values() if row.sku == sku]
            waiting = [row.rank for row in rows if row.queued]
            holding = [row.rank for row in rows if row.unassigned and row.order_id in incomplete]
            assert not waiting or not holding or min(waiting) >= max(holding)

    @invariant()
    def assignments_shelves_and_demand_tell_the_same(self) -> None:
        held = self.books.assignments.values()
        for sku in SKUS:
            for shelf in self.books.shelves_of(sku):
                assert shelf.assigned == sum(a.open for a in held if (a.sku, a.location) == (sku, shelf.location))
            rows = [row for row in self.books.demand.values() if row.sku == sku]
            assert sum(row.assigned for row in rows) == sum(a.open for a in held if a.sku == sku)
            assert sum(row.shipped for row in rows) == sum(a.shipped for a in held if a.sku == sku)
        assert all(min(a.numbers) >= 0 and a.open + a.shipped + a.recalled <= a.units for a in held)

    @invariant()
    def balances_are_sums_of_the_ledger(self) -> None:
        entries = self.books.movements
        for sku, pool in self.books.pools.items():
            own = [entry for entry in entries if entry.sku == sku]
            assert pool.reserved == sum(entry.quantity for entry in own if entry.kind in RESERVED)
            for shelf in self.books.shelves_of(sku):
                here = [entry for entry in own if entry.location == shelf.location]
                assert shelf.on_shelf == sum(entry.quantity for entry in here if entry.kind in ON_SHELF)
                assert shelf.assigned == sum(entry.quantity for entry in here if entry.kind in ASSIGNED)
                assert shelf.damaged == sum(entry.quantity for entry in here if entry.kind == "damaged")


TestOneOrderBook = OneOrderBook.TestCase
TestOneOrderBook.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
