"""The continuous auditor names what broke a balance and proposes what mends it; applied, the books are clean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.allocation.handlers.auditing import RECOUNT_PAUSE
from shared.contracts.stock import StockAvailabilityChanged
from shared.messaging.message import Connection
from tests.allocation.auditor import LOOKS_LIMIT, apply_all, cycles, keep, look, look_at_everything, put_back
from tests.allocation.conftest import Desk, violations
from tests.allocation.messages import (
    adjustment,
    at,
    cancellation,
    inspected,
    line,
    location,
    order,
    plan,
    planned,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    supply,
    units,
)
from tests.allocation.wishes import channel_rule, hold, naming, safety, sold_by
from tests.conftest import Databases


async def busy_books(databases: Databases) -> Desk:
    """Every kind of row and entry: received, reserved, waiting, assigned, shipped, cancelled, returned, adjusted, held, fenced."""
    desk = Desk(await databases.connect("allocation"), audited=False)
    await desk.hear(products("MUG", "CUP", "JAR", "POT"))
    await desk.hear(location("east"), location("west"))
    expected = supply(20, at(60), sku="JAR")
    await desk.hear(expected)
    await desk.hear(receipt(20, "JAR", supply_id=expected.supply_id))
    await desk.hear(receipt(10), receipt(5, at_location="west"))
    sent, held, waiting, gone = order(line(3)), order(line(2)), order(line(4, "CUP")), order(line(1))
    await desk.hear(sent, held, waiting, gone)
    parcel, open_parcel = planned("east", units(3)), planned("west", units(1))
    await desk.hear(plan(sent, parcel), plan(held, open_parcel))
    await desk.hear(received(shipped(sent, parcel, at_time=at(1)), time=at(1)))
    await desk.hear(cancellation(gone))
    await desk.hear(inspected(sent, (1, "restocked"), (1, "damaged")))
    await desk.hear(adjustment(8, at_location="east"))
    await desk.hear(snapshot(7, damaged=1, at_location="west", as_of=at(5)))
    await desk.hear(order(line(1)))
    await desk.hear(supply(9, at(600), sku="CUP"))
    await desk.hear(receipt(9, "POT"))
    kept, used = hold(("POT", 2)), hold(("POT", 1))
    await desk.hear(kept, used)
    await desk.hear(naming(used, line(1, "POT")))
    await desk.hear(safety(1, sku="POT"), safety(1, sku="POT", location="east"))
    await desk.hear(channel_rule("web", fence=5, cap=6, sku="POT"), channel_rule("market", share=50, sku="POT"))
    await desk.hear(sold_by("market", line(5, "POT")))
    assert await violations(desk.connection) == []
    return desk


@dataclass(frozen=True)
class Plant:
    """One corruption, and what the auditor must say about it.

    ``entry``: the statement that finds the id of the entry that must be named; none where it is a row that was changed.
    """

    statement: str
    culprit: str
    balance: str
    mends: str
    entry: str | None = None
    write: tuple[str, int] | None = None
    seen_by_make_audit: bool = True


COLUMNS = "kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id, happened_at, sequence"
NEWEST = "SELECT movement_id FROM movements WHERE movement_id = '0fffffff-0000-7000-8000-000000000001'"
COPY = f"INSERT INTO movements (movement_id, {COLUMNS}) SELECT '0fffffff-0000-7000-8000-000000000001', {COLUMNS} FROM movements"  # noqa: S608
FULL_COLUMNS = f"{COLUMNS}, written_in, pool_version, on_shelf_after, assigned_after, set_aside_after"
FULL_COPY = (
    f"INSERT INTO movements (movement_id, {FULL_COLUMNS}) "  # noqa: S608
    f"SELECT '0fffffff-0000-7000-8000-000000000001', {FULL_COLUMNS} FROM movements"
)

PLANTS = {
    "a unit appears on a shelf": Plant(
        "UPDATE stock_locations SET on_shelf = on_shelf + 1 WHERE sku = 'MUG' AND location = 'east'",
        "changed_without_entry",
        "shelf.on_shelf",
        "balance",
    ),
    "a unit vanishes from a shelf": Plant(
        "UPDATE stock_locations SET on_shelf = on_shelf - 1 WHERE sku = 'MUG' AND location = 'east'",
        "changed_without_entry",
        "shelf.on_shelf",
        "balance",
    ),
    "a damaged unit appears": Plant(
        "UPDATE stock_locations SET damaged = damaged + 1 WHERE sku = 'MUG' AND location = 'west'",
        "changed_without_entry",
        "shelf.damaged",
        "balance",
    ),
    "a unit in quality control appears": Plant(
        "UPDATE stock_locations SET quality_control = 2 WHERE sku = 'MUG' AND location = 'east'",
        "changed_without_entry",
        "shelf.quality_control",
        "balance",
    ),
    "a shelf believes in one more assigned unit": Plant(
        "UPDATE stock_locations SET assigned = assigned + 1 WHERE sku = 'MUG' AND location = 'west'",
        "changed_without_entry",
        "shelf.assigned",
        "balance",
    ),
    "a shortage is invented": Plant(
        "ALTER TABLE stock_locations DROP CONSTRAINT shortage_is_assigned; "
        "UPDATE stock_locations SET pending_shortage = 2 WHERE sku = 'MUG' AND location = 'west'",
        "changed_without_entry",
        "shelf.pending_shortage",
        "balance",
    ),
    "a shelf believes that a picker missed a unit": Plant(
        "UPDATE stock_locations SET missed = 1 WHERE sku = 'MUG' AND location = 'west'",
        "changed_without_entry",
        "shelf.missed",
        "balance",
    ),
    "a shelf that may not sell counts": Plant(
        "UPDATE stock_locations SET counts = false WHERE sku = 'JAR'",
        "changed_without_entry",
        "shelf.counts",
        "balance",
    ),
    "a pool reserves a unit too many": Plant(
        "UPDATE stock_pools SET reserved = reserved + 1 WHERE sku = 'MUG'", "changed_without_entry", "pool.reserved", "balance"
    ),
    "a pool reserves more than there is": Plant(
        "ALTER TABLE stock_pools DROP CONSTRAINT reserved_units_exist; UPDATE stock_pools SET reserved = sellable + 1 WHERE sku = 'MUG'",
        "changed_without_entry",
        "pool.reserved",
        "balance",
    ),
    "a waiting unit is forgotten": Plant(
        "UPDATE stock_pools SET queued = queued - 1 WHERE sku = 'CUP'", "changed_without_entry", "pool.queued", "balance"
    ),
    "a pool sells more than its shelves hold": Plant(
        "UPDATE stock_pools SET sellable = sellable + 1 WHERE sku = 'MUG'", "changed_without_entry", "pool.sellable", "balance"
    ),
    "a pool hides a shortage": Plant(
        "UPDATE stock_pools SET pending_shortage = 1 WHERE sku = 'MUG'", "changed_without_entry", "pool.pending_shortage", "balance"
    ),
    "a pool offers stale locations": Plant(
        "UPDATE stock_pools SET assignable[1] = assignable[1] + 1 WHERE sku = 'MUG'",
        "changed_without_entry",
        "pool.assignable",
        "balance",
    ),
    "a first reservation stands twice": Plant(
        f"{COPY} WHERE kind = 'reserved' AND sku = 'MUG' ORDER BY movement_id LIMIT 1",
        "entry_doubled",
        "pool.reserved",
        "ledger",
        NEWEST,
        ("reserved", -3),
    ),
    "a receipt stands twice, chain and all": Plant(
        f"{FULL_COPY} WHERE kind = 'received' AND sku = 'JAR'", "entry_doubled", "shelf.on_shelf", "ledger", NEWEST, ("received", -20)
    ),
    "a receipt is booked by a second message in the ledger alone": Plant(
        "INSERT INTO movements (movement_id, kind, quantity, sku, location, cause_id, event_id) "
        "SELECT '0fffffff-0000-7000-8000-000000000001', kind, quantity, sku, location, cause_id, gen_random_uuid() "
        "FROM movements WHERE kind = 'received' AND sku = 'JAR'",
        "entry_doubled",
        "shelf.on_shelf",
        "ledger",
        NEWEST,
        ("received", -20),
    ),
    "a parcel is deducted twice": Plant(
        f"{COPY} WHERE kind = 'shipped'", "entry_doubled", "shelf.on_shelf", "ledger", NEWEST, ("shipped", 3)
    ),
    "an entry speaks of an order that does not exist": Plant(
        "INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id) "
        "VALUES ('0fffffff-0000-7000-8000-000000000001', 'reserved', 1, 'MUG', gen_random_uuid(), '1')",
        "entry_unfounded",
        "pool.reserved",
        "ledger",
        NEWEST,
        ("reserved", -1),
    ),
    "a receipt is lost from the ledger": Plant(
        "DELETE FROM movements WHERE kind = 'received' AND sku = 'JAR'",
        "entry_missing",
        "shelf.on_shelf",
        "ledger",
        write=("received", 20),
    ),
    "a first reservation is lost": Plant(
        "DELETE FROM movements WHERE kind = 'reserved' AND sku = 'MUG' AND quantity = 3",
        "entry_missing",
        "pool.reserved",
        "ledger",
        "SELECT demand_id FROM demand WHERE sku = 'MUG' AND units = 3",
        ("reserved", 3),
    ),
    "a release is lost": Plant(
        "DELETE FROM movements WHERE kind = 'released'", "entry_missing", "pool.reserved", "ledger", write=("released", -1)
    ),
    "an assignment's entry is lost": Plant(
        "DELETE FROM movements WHERE kind = 'assigned' AND location = 'west'",
        "entry_missing",
        "shelf.assigned",
        "ledger",
        write=("assigned", 1),
    ),
    "a shipment's entry is lost": Plant(
        "DELETE FROM movements WHERE kind = 'shipped'", "entry_missing", "shelf.on_shelf", "ledger", write=("shipped", -3)
    ),
    "a restocking is lost": Plant(
        "DELETE FROM movements WHERE kind = 'returned'", "entry_missing", "shelf.on_shelf", "ledger", write=("returned", 1)
    ),
    "an operator's adjustment is lost": Plant(
        "DELETE FROM movements WHERE kind = 'adjusted' AND location = 'east'",
        "entry_missing",
        "shelf.on_shelf",
        "ledger",
        write=("adjusted", -1),
    ),
    "a count's entry is lost": Plant(
        "DELETE FROM movements WHERE kind = 'adjusted' AND location = 'west'",
        "entry_missing",
        "shelf.on_shelf",
        "ledger",
        write=("adjusted", 1),
    ),
    "a receipt says fewer than came": Plant(
        "UPDATE movements SET quantity = 9 WHERE kind = 'received' AND sku = 'MUG' AND location = 'east'",
        "entry_altered",
        "shelf.on_shelf",
        "ledger",
        "SELECT movement_id FROM movements WHERE kind = 'received' AND sku = 'MUG' AND quantity = 9",
        ("received", 1),
    ),
    "a reservation says more than was taken": Plant(
        "UPDATE movements SET quantity = 5 WHERE kind = 'reserved' AND quantity = 3",
        "entry_altered",
        "pool.reserved",
        "ledger",
        "SELECT movement_id FROM movements WHERE kind = 'reserved' AND quantity = 5",
        ("reserved", -2),
    ),
    "a line's reserved unit waits again, says its row": Plant(
        "UPDATE demand SET reserved = reserved - 1, queued = queued + 1 WHERE sku = 'MUG' AND units = 2",
        "changed_without_entry",
        "line.reserved",
        "balance",
    ),
    "a line wants a unit more than was ordered": Plant(
        "UPDATE demand SET units = units + 1, reserved = reserved + 1 WHERE sku = 'MUG' AND units = 2",
        "changed_without_entry",
        "line.reserved",
        "balance",
    ),
    "a line has shipped more than it ordered": Plant(
        "ALTER TABLE demand DROP CONSTRAINT every_unit_has_one_state; UPDATE demand SET shipped = shipped + 1 WHERE shipped > 0",
        "changed_without_entry",
        "line.shipped",
        "balance",
    ),
    "a cancelled order waits for stock": Plant(
        "UPDATE demand SET queued = cancelled, cancelled = 0 WHERE cancelled > 0", "changed_without_entry", "line.queued", "balance"
    ),
    "an assignment loses its unit": Plant(
        "UPDATE assignments SET open = open - 1 WHERE open > 0", "changed_without_entry", "assignment.open", "balance"
    ),
    "an assignment ships a unit that it never held": Plant(
        "UPDATE assignments SET shipped = shipped + 1, units = units + 1 WHERE shipped > 0",
        "changed_without_entry",
        "assignment.shipped",
        "balance",
    ),
    "a receipt never reaches its shelf": Plant(
        "DELETE FROM movements WHERE kind = 'received' AND sku = 'JAR'; "
        "UPDATE stock_locations SET on_shelf = 0 WHERE sku = 'JAR'; "
        "UPDATE stock_pools SET sellable = 0, locations = '{}', assignable = '{}' WHERE sku = 'JAR'",
        "never_booked",
        "shelf.on_shelf",
        "both",
        write=("received", 20),
        seen_by_make_audit=False,
    ),
    "a pool holds a unit too many": Plant(
        "UPDATE stock_pools SET held = held + 1 WHERE sku = 'POT'", "changed_without_entry", "pool.held", "balance"
    ),
    "a checkout hold loses a unit": Plant(
        "UPDATE hold_lines SET held = held - 1 WHERE held > 0", "changed_without_entry", "hold.held", "balance"
    ),
    "a checkout hold is lost": Plant("DELETE FROM holds WHERE state = 'held'", "hold_lost", "hold.held", "both", write=("unheld", -2)),
    "a checkout hold that has ended goes on holding": Plant(
        "UPDATE holds SET state = 'expired', closed_at = now() WHERE state = 'held'",
        "hold_never_ended",
        "hold.held",
        "both",
        write=("unheld", -2),
    ),
    "the entry of a checkout hold is lost": Plant(
        "DELETE FROM movements WHERE kind = 'held' AND quantity = 2", "entry_missing", "pool.held", "ledger", write=("held", 2)
    ),
    "the entry of a used checkout hold is lost": Plant(
        "DELETE FROM movements WHERE kind = 'unheld'", "entry_missing", "pool.held", "ledger", write=("unheld", -1)
    ),
    "the entry of a checkout hold stands twice": Plant(
        f"{COPY} WHERE kind = 'held' AND quantity = 2", "entry_doubled", "pool.held", "ledger", NEWEST, ("held", -2)
    ),
    "a checkout hold gives back twice": Plant(
        f"{COPY} WHERE kind = 'unheld'", "entry_doubled", "pool.held", "ledger", NEWEST, ("unheld", 1)
    ),
    "more is kept back than anybody asked for": Plant(
        "UPDATE stock_pools SET safety = safety + 1 WHERE sku = 'POT'", "changed_without_entry", "pool.safety", "balance"
    ),
    "a fence is wider than its rule": Plant(
        "UPDATE stock_pools SET fenced = fenced + 1 WHERE sku = 'POT'", "changed_without_entry", "pool.fenced", "balance"
    ),
    "a pool forgets its rules": Plant(
        "UPDATE stock_pools SET ruled = false WHERE sku = 'POT'", "changed_without_entry", "pool.ruled", "balance"
    ),
    "a channel has more open than it has": Plant(
        "UPDATE channel_pools SET open = open + 1 WHERE channel = 'market'", "changed_without_entry", "rule.open", "balance"
    ),
    "a rule forgets who waits for its channel": Plant(
        "UPDATE channel_pools SET queued = 0 WHERE channel = 'market'", "changed_without_entry", "rule.queued", "balance"
    ),
    "a supply has brought more than its receipts": Plant(
        "UPDATE supply_lines SET received = received + 1 WHERE sku = 'JAR'",
        "changed_without_entry",
        "supply.received",
        "balance",
        seen_by_make_audit=False,
    ),
    "a supply is forgotten": Plant(
        "UPDATE supply_lines SET open = false WHERE sku = 'CUP'", "changed_without_entry", "supply.open", "balance"
    ),
    "a demand row is lost": Plant(
        "DELETE FROM demand WHERE sku = 'MUG' AND units = 2", "changed_without_entry", "line.reserved", "balance"
    ),
    "an order is lost with its demand": Plant(
        "DELETE FROM demand WHERE units = 1 AND cancelled = 0 AND sku = 'MUG'; "
        "DELETE FROM orders WHERE order_id NOT IN (SELECT order_id FROM demand)",
        "line_lost",
        "pool.reserved",
        "both",
    ),
}


async def recount(desk: Desk) -> None:
    """Time passes, and the whole ledger is added up anew."""
    before = (await cycles(desk.connection))["recount"]
    desk.now = desk.now + RECOUNT_PAUSE + timedelta(seconds=1)
    for _ in range(LOOKS_LIMIT):
        await look(desk.connection, desk)
        if (await cycles(desk.connection))["recount"] > before:
            return
    raise AssertionError("no recount")


async def name_and_mend(desk: Desk, admin: Connection, planted: Plant) -> None:
    """Plants a corruption, has it named, agrees to what is proposed; then nobody finds anything any more."""
    await admin.execute(f"SET search_path = allocation; {planted.statement}")
    assert (await violations(desk.connection) != []) is planted.seen_by_make_audit
    found = await look_at_everything(desk)
    if not found:
        await recount(desk)
        found = await look_at_everything(desk)
    first = found[0]
    assert (first["culprit"], first["balance"], first["mends"]) == (planted.culprit, planted.balance, planted.mends), [*map(dict, found)]
    if planted.entry is not None:
        assert first["entry_id"] == await admin.fetchval(planted.entry)
    if planted.write is not None:
        assert [(step["write"], step["quantity"]) for step in first["compensation"]] == [planted.write]
    said = [told.data for heard in await apply_all(desk) for told in heard.outgoing]
    told = {change.sku for each in said if isinstance(each, StockAvailabilityChanged) for change in each.changes}
    assert first["sku"] in told, "nobody knows what channels were told of wrong rows, so they are told anew"
    assert await violations(desk.connection) == [], planted
    assert await look_at_everything(desk) == [], planted


def needs_other_tables(planted: Plant) -> bool:
    """Whether a constraint must be out of the way."""
    return "DROP CONSTRAINT" in planted.statement


PLAIN = {name: planted for name, planted in PLANTS.items() if not needs_other_tables(planted)}
FORBIDDEN = {name: planted for name, planted in PLANTS.items() if needs_other_tables(planted)}
NEVER_LOOKED_AT = (
    "a unit appears on a shelf",
    "a pool reserves a unit too many",
    "a first reservation stands twice",
    "a first reservation is lost",
    "a receipt says fewer than came",
    "a checkout hold is lost",
)
"""One of each way to name a defect: without an earlier look the entries alone must tell."""


class TestEveryCorruption:
    async def test_whatever_is_planted_is_named_mended_and_the_books_are_clean(self, databases: Databases) -> None:
        """The same shop for all of them, put back as it was before each."""
        desk = await busy_books(databases)
        admin = await databases.connect_as_admin()
        await keep(admin, "allocation")
        wrong = {}
        for name, planted in PLAIN.items():
            await put_back(admin, "allocation")
            assert await look_at_everything(desk) == []
            try:
                await name_and_mend(desk, admin, planted)
            except AssertionError as error:
                wrong[name] = str(error)
        for name in NEVER_LOOKED_AT:
            await put_back(admin, "allocation")
            try:
                await name_and_mend(desk, admin, PLANTS[name])
            except AssertionError as error:
                wrong[f"{name}, never looked at"] = str(error)
        assert wrong == {}

    async def test_what_no_constraint_would_allow_is_named_and_mended_too(self, fresh_databases: Databases) -> None:
        desk = await busy_books(fresh_databases)
        admin = await fresh_databases.connect_as_admin()
        await look_at_everything(desk)
        for planted in FORBIDDEN.values():
            await name_and_mend(desk, admin, planted)
