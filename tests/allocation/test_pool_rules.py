"""Rules of channels under random histories of one SKU: never oversold, a fence never eaten by others, a cap never exceeded."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.allocation.decide.books import Books, Place
from services.allocation.decide.counting import set_on_hand
from services.allocation.decide.holds import grant, shrink_holds
from services.allocation.decide.placing import place_orders
from services.allocation.decide.pools import ChannelPool, SharedPool, open_units, takeable_units
from services.allocation.decide.rules import ChannelUnits, set_channel_pool, set_shelf_safety, set_sku_safety
from services.allocation.decide.stock import Assignment, Cause, Demand, HeldUnits, OrderState, Pool
from shared.contracts.envelope import new_id
from tests.allocation.messages import NOW, line
from tests.allocation.wishes import channel_rule, hold, sold_by

CHANNELS = ("web", "shop", "market")
channels = st.sampled_from(CHANNELS)
quantities = st.integers(1, 9)


def filled_fences(free: int, rules: list[ChannelPool]) -> dict[str, int]:
    """What each fence has of what is free, the oldest first; written down once more, in other words than the rule itself."""
    filled: dict[str, int] = {}
    for rule_ in rules:
        filled[rule_.channel] = min(max(0, free - sum(filled.values())), max(0, rule_.fence - rule_.open))
    return filled


class OneSku(RuleBasedStateMachine):
    """Orders, holds, rules, restocks, counts, parcels and cancellations of one SKU, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(pools={"MUG": Pool("MUG")}, places={"east": Place("acme", True, True)}, hazmat={"MUG": False})
        self.pool = self.books.pools["MUG"]

    def cause(self) -> Cause:
        return Cause(new_id(), NOW)

    def settle(self) -> None:
        self.books.touch("MUG", self.cause())
        self.books.share_out("MUG")
        shrink_holds(self.books, ["MUG"])
        self.books.requeue_uncovered("MUG", "newest_first")
        self.books.share_out("MUG")
        self.books.notices.clear()

    def shared(self) -> SharedPool:
        return SharedPool(self.pool.numbers.free, self.pool.queued, 1, [replace(known) for known in self.pool.channels])

    def expect_fair(self, channel: str, before: tuple[dict[str, int], dict[str, int]]) -> None:
        """After one channel took units: the fences of the others are as filled as before, and its cap holds."""
        fences, opened = before
        after = filled_fences(self.pool.numbers.free, self.pool.channels)
        assert all(after[other] == units for other, units in fences.items() if other != channel)
        for known in self.pool.channels:
            if known.cap is not None:
                assert known.open <= max(known.cap, opened[known.channel])

    def now(self) -> tuple[dict[str, int], dict[str, int]]:
        fences = filled_fences(self.pool.numbers.free, self.pool.channels)
        return fences, {known.channel: known.open for known in self.pool.channels}

    @rule(channel=channels, quantity=quantities)
    def place(self, channel: str, quantity: int) -> None:
        before = self.now()
        placed = sold_by(channel, line(quantity))
        placement = place_orders(
            [(0, placed)],
            known=(),
            available={"MUG": self.pool.available},
            queued={"MUG": self.pool.queued},
            new_id=new_id,
            ruled={"MUG": self.shared()} if self.pool.channels else {},
        )
        for own in placement.orders[0].lines:
            self.books.orders[placed.order_id] = OrderState(1)
            demand = self.books.add_demand(Demand(own.demand_id, placed.order_id, own.line_id, "MUG", 0, channel=channel))
            self.books.enqueue(demand, own.units, self.cause())
            self.books.reserve(demand, own.reserved, self.cause())
        self.expect_fair(channel, before)

    @rule(channel=channels, quantity=quantities, whole=st.booleans())
    def hold(self, channel: str, quantity: int, whole: bool) -> None:
        before = self.now()
        wish = hold(("MUG", quantity), channel=channel, policy="all_or_nothing" if whole else "partial")
        for sku, own in grant(wish, {"MUG": self.shared()}).items():
            assert own.held == quantity or not whole
            self.books.held_units[wish.hold_id, sku] = HeldUnits(wish.hold_id, channel, sku, NOW, own.asked, own.granted, own.held)
            self.pool.held += own.held
            open_units(self.pool.channels, channel, own.held)
        self.expect_fair(channel, before)

    @rule(data=st.data())
    def end_hold(self, data: st.DataObject) -> None:
        held = [units for units in self.books.held_units.values() if units.held]
        if held:
            units = data.draw(st.sampled_from(held))
            self.books.unhold(units, units.held, self.cause())
            self.settle()

    @rule(quantity=quantities)
    def restock(self, quantity: int) -> None:
        fences = filled_fences(self.pool.numbers.free, self.pool.channels)
        self.books.book(self.books.shelf("MUG", "east"), "received", quantity, self.cause())
        self.settle()
        for known in self.pool.channels:
            assert min(fences[known.channel], known.unfilled) <= filled_fences(self.pool.numbers.free, self.pool.channels)[known.channel]

    @rule(on_hand=st.integers(0, 30))
    def count(self, on_hand: int) -> None:
        set_on_hand(self.books, self.books.shelf("MUG", "east"), on_hand, self.cause())
        self.settle()

    @rule(
        channel=channels,
        fence=st.none() | st.integers(0, 9),
        cap=st.none() | st.integers(0, 12),
        share=st.none() | st.integers(0, 100),
    )
    def decide(self, channel: str, fence: int | None, cap: int | None, share: int | None) -> None:
        if fence is not None and cap is not None and cap < fence:
            return
        set_channel_pool(
            self.books, channel_rule(channel, fence=fence, cap=cap, share=share), self.units_of(channel), new_id(), self.cause()
        )
        self.settle()

    @rule(units=st.integers(0, 9), of_sku=st.booleans())
    def keep_back(self, units: int, of_sku: bool) -> None:
        reserved = self.pool.reserved
        if of_sku:
            set_sku_safety(self.books, "MUG", units, self.cause())
        else:
            set_shelf_safety(self.books, self.books.shelf("MUG", "east"), units, self.cause())
        self.settle()
        assert self.pool.reserved >= reserved

    @rule(data=st.data())
    def ship(self, data: st.DataObject) -> None:
        free = [row for row in self.books.demand.values() if row.unassigned]
        shelf = self.books.shelf("MUG", "east")
        if not free or shelf.assignable < 1:
            return
        row = data.draw(st.sampled_from(free))
        quantity = min(row.unassigned, shelf.assignable)
        numbers = {channel: self.pool.takeable(channel) for channel in CHANNELS}
        assignment = self.books.add_assignment(Assignment(new_id(), row.order_id, row.line_id, "MUG", "east", 0, 0))
        self.books.assign(assignment, quantity, self.cause())
        safety = self.pool.safety
        self.books.ship(assignment, quantity, self.cause())
        if safety == self.pool.safety and not any(known.cap is not None or known.share_percent for known in self.pool.channels):
            assert numbers == {channel: self.pool.takeable(channel) for channel in CHANNELS}
        self.settle()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        wanted = [row for row in self.books.demand.values() if row.queued or row.unassigned]
        if wanted:
            row = data.draw(st.sampled_from(wanted))
            cancelled = row.queued + row.unassigned
            self.books.drop_queued(row, row.queued, self.cause())
            self.books.drop_reserved(row, row.unassigned, self.cause())
            row.cancelled += cancelled
            self.settle()

    def units_of(self, channel: str) -> ChannelUnits:
        rows = [row for row in self.books.demand.values() if row.channel == channel]
        held = sum(units.held for units in self.books.held_units.values() if units.channel == channel)
        return ChannelUnits(sum(row.reserved for row in rows) + held, sum(row.queued for row in rows))

    @invariant()
    def never_oversold(self) -> None:
        assert 0 <= self.pool.reserved + self.pool.held <= self.pool.sellable
        assert self.pool.reserved == sum(row.reserved for row in self.books.demand.values())
        assert self.pool.held == sum(units.held for units in self.books.held_units.values())

    @invariant()
    def rules_know_what_their_channels_have_and_wait_for(self) -> None:
        assert {known.channel: (known.open, known.queued) for known in self.pool.channels} == {
            known.channel: self.units_of(known.channel) for known in self.pool.channels
        }

    @invariant()
    def nobody_waits_beside_units_that_his_channel_may_take(self) -> None:
        waiting = {row.channel for row in self.books.demand.values() if row.queued}
        assert all(self.pool.takeable(channel) == 0 for channel in waiting)

    @invariant()
    def reserved_units_are_the_sum_of_the_ledger(self) -> None:
        kinds = ("reserved", "released", "requeued", "shipped")
        assert sum(entry.quantity for entry in self.books.movements if entry.kind in kinds) == self.pool.reserved

    @invariant()
    def what_is_kept_back_is_what_the_rules_say(self) -> None:
        shelf = self.books.shelf("MUG", "east")
        assert self.pool.safety == self.pool.sku_safety + min(shelf.safety, max(0, shelf.on_shelf))


TestRulesOfChannels = OneSku.TestCase
TestRulesOfChannels.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

rules_of_channels = st.lists(
    st.builds(
        ChannelPool,
        sku=st.just("MUG"),
        channel=channels,
        fence=st.integers(0, 20),
        cap=st.none() | st.integers(0, 20),
        share_percent=st.none() | st.integers(0, 100),
        open=st.integers(0, 20),
        queued=st.just(0),
        seniority=st.just(UUID(int=0)),
        rule_version=st.just(1),
    ),
    max_size=3,
    unique_by=lambda known: known.channel,
)


@given(free=st.integers(-5, 60), rules=rules_of_channels)
def test_no_channel_may_take_more_than_is_free_nor_what_a_fence_of_another_has(free: int, rules: list[ChannelPool]) -> None:
    filled = filled_fences(free, rules)
    for channel in (*CHANNELS, "other"):
        others = sum(units for other, units in filled.items() if other != channel)
        assert 0 <= takeable_units(free, rules, channel) <= max(0, max(0, free) - others)


@given(free=st.integers(0, 60), rules=rules_of_channels, channel=channels)
def test_taking_in_small_steps_gets_no_more_than_taking_at_once(free: int, rules: list[ChannelPool], channel: str) -> None:
    at_once = SharedPool(free, 0, 1, rules).takeable(channel)
    pool, taken = SharedPool(free, 0, 1, [replace(known) for known in rules]), 0
    while pool.takeable(channel):
        pool.take(channel, 1)
        taken += 1
    assert taken == at_once
