"""What the auditor concludes from evidence: which entry or row is wrong, and what mends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.auditing import explain
from services.allocation.decide.compensating import STATES, LineRow, restate_rows
from services.allocation.decide.defects import Defect, Site, parts_of
from services.allocation.decide.evidence import (
    SHELF_BALANCES,
    Break,
    Evidence,
    LedgerSums,
    OrderLine,
    Part,
    StockOfPool,
    StockOfShelf,
    Suspect,
    Written,
)

ORDER, FULFILLMENT, ENTRY, OTHER = (UUID(int=number) for number in range(1, 5))
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def shelf(on_shelf: int = 10, assigned: int = 0, location: str = "east", *, counts: bool = True) -> StockOfShelf:
    """A shelf whose own figures fit each other."""
    return StockOfShelf(location, counts, counts, on_shelf, assigned, 0, 0, max(0, assigned - max(0, on_shelf)))


def balanced(*shelves: StockOfShelf, reserved: int = 0, queued: int = 0) -> Evidence:
    """Books in which everything fits."""
    own = shelves or (shelf(),)
    sellable = sum(max(each.on_shelf, each.assigned) if each.counts else each.assigned for each in own)
    free = tuple((each.location, each.on_shelf - each.assigned) for each in own if each.counts and each.on_shelf > each.assigned)
    return Evidence(
        sku="MUG",
        pool=StockOfPool(7, sellable, sum(each.pending_shortage for each in own), reserved, queued, free),
        shelves=own,
        ledger_reserved=reserved,
        ledger_shelves={each.location: LedgerSums(each.on_shelf, each.assigned, each.damaged, each.quality_control) for each in own},
        demand_reserved=reserved,
        demand_queued=queued,
    )


def one(evidence: Evidence) -> Defect:
    """The only defect."""
    found = explain(evidence)
    assert len(found) == 1, found
    return found[0]


def line(**changes: Any) -> OrderLine:
    """An order line of two reserved units, changed."""
    return OrderLine(ORDER, "1", True, True, False, 2, 0, 2, 0, 0, 0, 2, 0, 0)._replace(**changes)


RECEIPT = Written(ENTRY, "received", 10, "east", cause_id=OTHER, event_id=OTHER)
RESERVATION = Written(ENTRY, "reserved", 2, order_id=ORDER, line_id="1")
PARCEL = Written(ENTRY, "shipped", -2, "east", ORDER, "1", FULFILLMENT)


def test_books_that_balance_have_no_defect() -> None:
    assert explain(balanced(shelf(3, 2), shelf(-2, 0, "west"), shelf(4, 1, "far", counts=False), reserved=3, queued=1)) == []


def test_a_parcel_counts_for_shelf_pool_line_and_assignment() -> None:
    assert parts_of(PARCEL) == {
        Site("shelf", "on_shelf", "east"): -2,
        Site("shelf", "assigned", "east"): -2,
        Site("pool", "reserved"): -2,
        Site("line", "reserved", None, ORDER, "1"): -2,
        Site("assignment", "open", None, None, "1", FULFILLMENT): -2,
        Site("assignment", "shipped", None, None, "1", FULFILLMENT): 2,
    }


def test_a_shelf_that_moved_alone_is_set_to_what_its_entries_say() -> None:
    evidence = replace(balanced(shelf(10)), shelves=(shelf(12),))
    defect = one(evidence)
    assert (defect.culprit, defect.mends, defect.leading.found, defect.leading.expected) == ("changed_without_entry", "balance", 12, 10)
    assert [(str(each.site), each.value) for each in defect.restatements] == [("shelf on_shelf (east)", 10)]


def test_a_shelf_that_moved_with_its_pool_has_lost_an_entry() -> None:
    defect = one(replace(balanced(shelf(12)), ledger_shelves={"east": LedgerSums(10)}))
    assert (defect.culprit, defect.mends) == ("entry_missing", "ledger")
    assert [(entry.kind, entry.quantity, entry.location) for entry in defect.entries] == [("adjusted", 2, "east")]


def test_a_change_is_named_between_the_two_entries_around_it() -> None:
    found = Break("on_shelf", "east", 2, ENTRY, NOON, OTHER, NOON)
    defect = one(replace(balanced(shelf(10)), shelves=(shelf(12),), breaks=(found,)))
    assert defect.interval == found


def test_a_change_after_the_last_look_is_named_by_that_look_when_no_entry_tells() -> None:
    defect = one(replace(balanced(shelf(10)), shelves=(shelf(12),), verified_at=NOON))
    assert defect.interval is not None
    assert (defect.interval.after_at, defect.interval.after_entry_id) == (NOON, None)


def test_a_stray_entry_is_named_if_without_it_everything_fits() -> None:
    stray = Suspect(RECEIPT, has_twin=True, is_stray=True, is_altered=False, is_unfounded=False)
    defect = one(replace(balanced(shelf(10)), ledger_shelves={"east": LedgerSums(20)}, suspects=(stray,)))
    assert (defect.culprit, defect.entry, defect.mends) == ("entry_doubled", RECEIPT, "ledger")
    assert [(entry.kind, entry.quantity, entry.cause_id) for entry in defect.entries] == [("received", -10, OTHER)]


def test_a_stray_entry_is_not_blamed_for_what_it_does_not_explain() -> None:
    stray = Suspect(RECEIPT, has_twin=True, is_stray=True, is_altered=False, is_unfounded=False)
    defect = one(replace(balanced(shelf(10)), shelves=(shelf(11),), suspects=(stray,)))
    assert defect.culprit == "changed_without_entry"


def test_equal_entries_of_one_message_are_above_suspicion_while_the_chain_holds() -> None:
    twin = Suspect(RECEIPT, has_twin=True, is_stray=False, is_altered=False, is_unfounded=False)
    evidence = replace(balanced(shelf(10)), ledger_shelves={"east": LedgerSums(20)}, suspects=(twin,))
    assert one(evidence).culprit == "entry_missing"
    broken = replace(evidence, breaks=(Break("on_shelf", "east", -10, ENTRY, NOON),))
    assert one(broken).culprit == "entry_doubled"


def test_an_altered_entry_is_corrected_by_the_difference() -> None:
    altered = Suspect(RESERVATION._replace(quantity=5), has_twin=False, is_stray=False, is_altered=True, is_unfounded=False)
    evidence = replace(balanced(reserved=2), ledger_reserved=5, lines=(line(ledger_reserved=5),), suspects=(altered,))
    defect = one(evidence)
    assert (defect.culprit, [entry.quantity for entry in defect.entries]) == ("entry_altered", [-3])
    assert "it says +5, the balances moved by +2" in defect.explanation


def test_a_lost_first_reservation_comes_back_under_its_own_id() -> None:
    broken = line(ledger_reserved=0)._replace(unwritten_demand_id=ENTRY, unwritten_event_id=OTHER)
    defect = one(replace(balanced(reserved=2), ledger_reserved=0, lines=(broken,)))
    assert (defect.culprit, defect.mends) == ("entry_missing", "ledger")
    assert defect.entries == (Written(ENTRY, "reserved", 2, order_id=ORDER, line_id="1", event_id=OTHER, is_first=True),)


def test_a_pool_that_stands_alone_is_outvoted_by_orders_and_entries() -> None:
    books = balanced(reserved=2)
    assert books.pool is not None
    defect = one(replace(books, pool=books.pool._replace(reserved=3)))
    assert (defect.key, [each.value for each in defect.restatements]) == ("row pool reserved", [2])


def test_units_taken_from_the_queue_by_hand_go_back_there() -> None:
    books = replace(balanced(reserved=1, queued=1), demand_reserved=2, demand_queued=0, lines=(line(units=2, ledger_reserved=1),))
    defect = one(books)
    assert {each.site.balance: each.value for each in defect.restatements} == {"reserved": 1, "queued": 1}


def test_units_that_nobody_ordered_leave_the_line() -> None:
    defect = one(replace(balanced(reserved=2), lines=(line(units=3, reserved=3),)))
    assert {each.site.balance: each.value for each in defect.restatements} == {"reserved": 2, "units": 2}


def test_an_assignment_that_stands_alone_follows_its_entries_and_its_line_is_left_alone() -> None:
    part = Part(FULFILLMENT, "1", ORDER, "east", True, 1, 0, 2, 0)
    tied = line(assigned=2, assignments_open=1)
    defect = one(replace(balanced(shelf(10, 2), reserved=2), lines=(tied,), parts=(part,)))
    assert (defect.key.split()[:3], [each.value for each in defect.restatements]) == (["row", "assignment", "open"], [2])


def test_a_lost_parcel_is_written_with_everything_that_it_moved() -> None:
    part = Part(FULFILLMENT, "1", ORDER, "east", True, 0, 2, 2, 0, shipped_at=NOON)
    gone = line(reserved=0, shipped=2, assignments_shipped=2)
    books = balanced(shelf(8))
    evidence = replace(books, ledger_reserved=2, ledger_shelves={"east": LedgerSums(10, 2)}, lines=(gone,), parts=(part,))
    defect = one(evidence)
    assert [(entry.kind, entry.quantity, entry.happened_at) for entry in defect.entries] == [("shipped", -2, NOON)]
    assert len(defect.imbalances) == 6


def test_two_defects_of_one_sku_are_told_apart() -> None:
    books = balanced(shelf(10), shelf(5, 0, "west"), reserved=2)
    assert books.pool is not None
    evidence = replace(books, shelves=(shelf(11), shelf(5, 0, "west")), pool=books.pool._replace(reserved=3))
    assert sorted(defect.key for defect in explain(evidence)) == ["row pool reserved", "row shelf on_shelf east"]


numbers = st.integers(-3, 20)
few = st.integers(0, 5)
some_shelf = st.builds(
    StockOfShelf,
    st.just("east"),
    st.booleans(),
    st.booleans(),
    numbers,
    st.integers(0, 20),
    damaged=few,
    quality_control=few,
    pending_shortage=few,
    safety=few,
)


@st.composite
def wrong_books(draw: st.DrawFn) -> Evidence:
    """Shelves, a pool and a ledger that have nothing to do with each other."""
    shelves = tuple(draw(some_shelf)._replace(location=location) for location in draw(st.sampled_from([("east",), ("east", "west")])))
    pool = StockOfPool(
        3, draw(numbers), draw(st.integers(0, 5)), draw(numbers), draw(numbers), (), draw(few), draw(few), draw(few), draw(few)
    )
    ledger = {each.location: LedgerSums(*(draw(st.integers(0, 20)) for _ in SHELF_BALANCES)) for each in shelves}
    reserved = draw(st.integers(0, 20))
    return Evidence(
        sku="MUG",
        pool=pool,
        shelves=shelves,
        ledger_reserved=reserved,
        ledger_shelves=ledger,
        demand_reserved=reserved,
        demand_queued=draw(st.integers(0, 20)),
        ledger_held=draw(few),
    )


def mended(evidence: Evidence) -> Evidence:
    """What the books are once every compensation is applied."""
    ledger = {location: sums._asdict() for location, sums in evidence.ledger_shelves.items()}
    shelves = {each.location: each._asdict() for each in evidence.shelves}
    assert evidence.pool is not None
    pool = evidence.pool._asdict()
    for defect in explain(evidence):
        for entry in defect.entries:
            for site, units in parts_of(entry).items():
                assert site.location is not None
                ledger[site.location][site.balance] += units
        for site, value in defect.restatements:
            if site.row == "pool":
                pool[site.balance] = value
            elif site.location is not None:
                shelves[site.location][site.balance] = bool(value) if site.balance == "counts" else value
    for each in shelves.values():
        each["pending_shortage"] = max(0, each["assigned"] - max(0, each["on_shelf"]))
    rows = tuple(StockOfShelf(**each) for each in shelves.values())
    pool["assignable"] = tuple((row.location, row.on_shelf - row.assigned) for row in rows if row.counts and row.on_shelf > row.assigned)
    return replace(
        evidence,
        pool=StockOfPool(**pool),
        shelves=rows,
        ledger_shelves={location: LedgerSums(**sums) for location, sums in ledger.items()},
    )


@given(wrong_books())
def test_whatever_is_wrong_is_right_once_all_compensations_are_applied(evidence: Evidence) -> None:
    """Opening or closing a shelf changes what it gives to the pool, so that comes by itself with the next look."""
    first = mended(evidence)
    assert explain(mended(first)) == []


@given(wrong_books())
def test_every_defect_has_a_name_of_its_own(evidence: Evidence) -> None:
    keys = [defect.key for defect in explain(evidence)]
    assert len(keys) == len(set(keys))


@st.composite
def line_rows(draw: st.DrawFn) -> list[LineRow]:
    """Rows of one line, one of which may be impossible."""
    rows = []
    for number in range(draw(st.integers(1, 3))):
        queued, reserved, shipped, cancelled = (draw(st.integers(0, 4)) for _ in range(4))
        units = queued + reserved + shipped + cancelled
        rows.append(LineRow(UUID(int=number), units, queued, reserved, draw(st.integers(0, reserved)), shipped, cancelled))
    if draw(st.booleans()):
        rows[0] = rows[0]._replace(reserved=rows[0].reserved + draw(st.integers(-2, 2)))
    return rows


@given(line_rows(), st.tuples(*(st.integers(0, 6) for _ in range(5))))
def test_a_restated_line_has_the_wanted_sums_and_every_row_is_possible(rows: list[LineRow], wanted: tuple[int, ...]) -> None:
    queued, reserved, shipped, cancelled, assigned = wanted
    right = {
        "units": queued + reserved + shipped + cancelled,
        "queued": queued,
        "reserved": reserved,
        "assigned": min(assigned, reserved),
        "shipped": shipped,
        "cancelled": cancelled,
    }
    restated = restate_rows(rows, right)
    assert [row.demand_id for row in restated] == [row.demand_id for row in rows]
    assert all(row.is_possible for row in restated)
    assert {state: sum(getattr(row, state) for row in restated) for state in STATES} == right


def test_a_line_is_restated_in_one_row_where_one_can_bear_it() -> None:
    rows = [LineRow(ENTRY, 2, 0, 2, 0, 0, 0), LineRow(OTHER, 1, 0, 1, 1, 0, 0)]
    assert restate_rows(rows, {"reserved": 2, "queued": 1}) == [LineRow(ENTRY, 2, 1, 1, 0, 0, 0), rows[1]]
