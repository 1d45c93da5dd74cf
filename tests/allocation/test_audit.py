"""The audit names every planted corruption of allocation's books."""

from __future__ import annotations

import pytest

from services.allocation.audit import FACTS, INVARIANTS
from shared.messaging.message import Connection
from tests.allocation.conftest import Desk, violations
from tests.allocation.messages import (
    at,
    cancellation,
    inspected,
    kit,
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


async def busy_books(desk: Desk) -> None:
    """Every kind of row: reserved, waiting, assigned, shipped, cancelled, counted, returned, held, kept back, fenced."""
    await desk.hear(products("MUG", "CUP", "POT"))
    await desk.hear(kit("SET", MUG=2))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(5, at_location="west"))
    sent, held, waiting, gone = order(line(3)), order(line(2)), order(line(4, "CUP")), order(line(1))
    incomplete = order(line(1), line(1, "CUP", "2"), split_policy="hold_all", priority=9)
    await desk.hear(sent, held, waiting, gone, incomplete)
    parcel, open_parcel = planned("east", units(3)), planned("west", units(1))
    await desk.hear(plan(sent, parcel), plan(held, open_parcel))
    await desk.hear(shipped(sent, parcel))
    await desk.hear(cancellation(gone))
    await desk.hear(supply(9, at(600), sku="CUP"))
    await desk.hear(inspected(sent, (1, "restocked")))
    await desk.hear(snapshot(9, damaged=1, as_of=at(5)))
    await desk.hear(receipt(9, "POT"))
    kept, used = hold(("POT", 2)), hold(("POT", 1))
    await desk.hear(kept, used)
    await desk.hear(naming(used, line(1, "POT")))
    await desk.hear(safety(1, sku="POT"), safety(1, sku="POT", location="east"))
    await desk.hear(channel_rule("web", fence=5, cap=6, sku="POT"), channel_rule("market", share=50, sku="POT"))
    await desk.hear(sold_by("market", line(5, "POT")))


CORRUPTIONS = {
    "a unit vanishes from a shelf": ("UPDATE stock_locations SET on_shelf = on_shelf - 1 WHERE location = 'east'", "I1-shelf-is-ledger"),
    "a damaged unit appears": ("UPDATE stock_locations SET damaged = damaged + 1 WHERE location = 'west'", "I1-shelf-is-ledger"),
    "a ledger entry is lost": ("DELETE FROM movements WHERE kind = 'received' AND location = 'west'", "I1-shelf-is-ledger"),
    "a ledger entry is doubled": (
        "INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id) "
        "SELECT gen_random_uuid(), kind, quantity, sku, order_id, line_id FROM movements WHERE kind = 'reserved' LIMIT 1",
        "I1-reserved-is-ledger",
    ),
    "a reservation is doubled": ("UPDATE stock_pools SET reserved = reserved + 1 WHERE sku = 'MUG'", "I1-pool-is-demand"),
    "a waiting unit is forgotten": ("UPDATE stock_pools SET queued = queued - 1 WHERE sku = 'CUP'", "I1-pool-is-demand"),
    "a pool promises more than its shelves": ("UPDATE stock_pools SET sellable = sellable + 1 WHERE sku = 'MUG'", "I1-pool-is-shelves"),
    "a pool hides a shortage": ("UPDATE stock_pools SET pending_shortage = 1 WHERE sku = 'MUG'", "I1-pool-is-shelves"),
    "a shortage is invented": (
        "ALTER TABLE stock_locations DROP CONSTRAINT shortage_is_assigned; UPDATE stock_locations SET pending_shortage = 2",
        "I1-shortage-is-told",
    ),
    "a picker's report is lost": ("UPDATE stock_locations SET missed = missed + 1 WHERE location = 'east'", "I1-missed-units-are-told"),
    "a shelf is counted beyond its feed": (
        "UPDATE stock_locations SET counted_watermark = 9 WHERE location = 'east'",
        "I1-feed-is-counted-once",
    ),
    "more is reserved than there is": (
        "ALTER TABLE stock_pools DROP CONSTRAINT reserved_units_exist; UPDATE stock_pools SET reserved = sellable + 1",
        "I1-reserved-on-hand",
    ),
    "a closed shelf is sold from": ("UPDATE locations SET active = false WHERE location = 'west'", "I1-only-legal-stock-counts"),
    "a pool offers stale locations": ("UPDATE stock_pools SET assignable = '{1,1}' WHERE sku = 'MUG'", "I1-assignable-copy"),
    "a line loses a unit": (
        "ALTER TABLE demand DROP CONSTRAINT every_unit_has_one_state; UPDATE demand SET units = units + 1 WHERE reserved > 0",
        "I2-line-conservation",
    ),
    "units change hands": (
        "UPDATE demand SET reserved = reserved - 1, queued = queued + 1 WHERE reserved > assigned",
        "I2-reservations-are-ledger",
    ),
    "an order vanishes": ("DELETE FROM orders WHERE cancelled_version IS NULL", "I2-every-line-has-its-order"),
    "stock lies beside the queue": (
        "UPDATE stock_pools SET sellable = 9 WHERE sku = 'CUP'",
        "I2-nobody-waits-beside-free-stock",
    ),
    "a line forgets that its order holds all": ("UPDATE demand SET hold_all = false", "I2-place-is-the-orders"),
    "an incomplete order holds what a higher rank waits for": (
        "UPDATE demand SET units = units + 1, queued = queued + 1 WHERE sku = 'MUG' AND priority < 9 AND reserved > 0",
        "I2-nobody-waits-for-a-lower-hold",
    ),
    "a preorder is held back for good": (
        "UPDATE stock_pools SET release_at = now() - interval '1 day' WHERE sku = 'MUG'",
        "I2-preorders-are-released",
    ),
    "a supply is forgotten": ("UPDATE supply_lines SET open = false", "I2-supplies-are-expected-while-units-are"),
    "a cancelled supply is waited for": ("UPDATE supplies SET cancelled = true", "I2-supplies-are-expected-while-units-are"),
    "a date is promised that no supply keeps": (
        "UPDATE demand SET promised_ship_at = promised_ship_at - interval '1 hour' WHERE queued > 0",
        "I2-promises-follow-supply",
    ),
    "goods are late and no promise follows": (
        "UPDATE supplies SET expected_at = expected_at + interval '1 hour'",
        "I2-promises-follow-supply",
    ),
    "a moved date belongs to no cause": (
        "INSERT INTO promise_changes (round_id, order_id, line_id, demand_id, sku, quantity) "
        "SELECT gen_random_uuid(), order_id, line_id, demand_id, sku, queued FROM demand WHERE queued > 0",
        "I6-moved-dates-are-told",
    ),
    "a moved date is not told for hours": (
        "INSERT INTO promise_rounds (round_id, cause, cause_id, changed_at) "
        "VALUES (gen_random_uuid(), 'supply_scheduled', gen_random_uuid(), now() - interval '2 hours')",
        "I6-moved-dates-are-told",
    ),
    "a cancelled order keeps its place": ("UPDATE orders SET cancelled_version = 2", "I2-cancelled-orders-hold-nothing-free"),
    "an assigned unit is lost": ("UPDATE assignments SET open = open - 1 WHERE open > 0", "I3-assigned-units-of-lines"),
    "an assigned unit moves house": ("UPDATE assignments SET location = 'east' WHERE open > 0", "I3-assigned-units-of-shelves"),
    "more ships than was assigned": (
        "ALTER TABLE assignments DROP CONSTRAINT never_more_than_assigned; UPDATE assignments SET shipped = units + 1",
        "I3-shipped-within-assigned",
    ),
    "a parcel was never told": ("UPDATE fulfillments SET shipped_at = NULL", "I3-shipped-once"),
    "a parcel is booked twice": (
        "INSERT INTO movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id) "
        "SELECT gen_random_uuid(), kind, quantity, sku, location, order_id, line_id, fulfillment_id FROM movements WHERE kind = 'shipped'",
        "I3-shipped-once",
    ),
    "channels were told of too many kits": (
        "UPDATE kits SET available = available + 1",
        "I11-kits-are-their-components",
    ),
    "a kit forgets what it takes": ("UPDATE kit_components SET quantity = 3 WHERE sku = 'MUG'", "I11-kits-are-their-components"),
    "a component does not know its kits": ("UPDATE stock_pools SET in_kits = false", "I11-components-are-marked"),
    "a kit has stock of its own": (
        "INSERT INTO products VALUES ('SET', false, now()); INSERT INTO stock_pools (sku) VALUES ('SET')",
        "I11-components-are-marked",
    ),
    "a return is booked twice": ("UPDATE inspected_units SET disposition = 'damaged'", "I5-returned-once"),
    "a hold holds a unit twice": ("UPDATE stock_pools SET held = held + 1 WHERE sku = 'POT'", "I1-held-is-ledger"),
    "a hold is lost": (
        "DELETE FROM hold_lines USING holds WHERE hold_lines.hold_id = holds.hold_id AND state = 'held'",
        "I1-held-is-holds",
    ),
    "a hold that has ended goes on holding": (
        "UPDATE holds SET state = 'expired', closed_at = now() WHERE state = 'held'",
        "I1-hold-lines-are-ledger",
    ),
    "a hold is used twice": (
        "ALTER TABLE hold_lines DROP CONSTRAINT never_more_than_granted; "
        "UPDATE hold_lines SET used = 2 FROM holds WHERE hold_lines.hold_id = holds.hold_id AND state = 'confirmed'",
        "I1-hold-is-used-by-one-order",
    ),
    "a hold never ends": ("UPDATE holds SET expires_at = now() - interval '1 hour' WHERE state = 'held'", "I6-holds-end"),
    "more is kept back than anybody asked for": ("UPDATE stock_pools SET safety = safety + 1 WHERE sku = 'POT'", "I1-safety-is-rules"),
    "a channel has more open than it has": ("UPDATE channel_pools SET open = open + 1 WHERE channel = 'web'", "I1-channel-open-units"),
    "a fence is wider than its rule": ("UPDATE stock_pools SET fenced = fenced + 1 WHERE sku = 'POT'", "I1-fenced-is-rules"),
    "a date is promised that no rule lets be kept": (
        "UPDATE demand SET promised_ship_at = now() WHERE sku = 'POT' AND queued > 0",
        "I2-promises-follow-rules",
    ),
    "a rule forgets who waits for its channel": ("UPDATE channel_pools SET queued = 0 WHERE channel = 'market'", "I1-channel-open-units"),
    "a channel waits beside units that it may take": (
        "UPDATE channel_pools SET share_percent = NULL WHERE channel = 'market'",
        "I2-nobody-waits-beside-free-stock",
    ),
    "a compensation nobody agreed to": (
        "INSERT INTO movements (movement_id, kind, quantity, sku, location, compensates) "
        "VALUES (gen_random_uuid(), 'adjusted', 1, 'MUG', 'east', gen_random_uuid())",
        "A11-compensations-were-agreed",
    ),
    "a finding is applied by nobody": (
        "INSERT INTO audit_findings (finding_id, key, status, sku, balance, found, expected, balances, culprit, explanation, mends, "
        "compensation, found_at, confirmed_at, closed_at) "
        "VALUES (gen_random_uuid(), 'x', 'applied', 'MUG', 'x', 1, 2, '[]', 'x', 'x', 'ledger', '[]', now(), now(), now())",
        "A11-decisions-close-findings",
    ),
    "a receipt is booked elsewhere": ("UPDATE receipts SET location = 'west'", "I9-one-receipt-one-effect"),
}


@pytest.mark.parametrize(("statement", "named"), CORRUPTIONS.values(), ids=CORRUPTIONS)
async def test_a_planted_corruption_is_named(desk: Desk, databases: Databases, statement: str, named: str) -> None:
    await busy_books(desk)
    admin: Connection = await databases.connect_as_admin()
    corruption = admin.transaction()
    await corruption.start()
    await admin.execute("SET LOCAL search_path = allocation")
    await admin.execute(statement)
    found = await violations(admin)
    await corruption.rollback()
    assert named in {invariant for invariant, _, _ in found}
    assert all(subject and detail for _, subject, detail in found)


def test_every_invariant_has_a_corruption_that_it_names() -> None:
    assert {invariant.id for invariant in INVARIANTS} == {named for _, named in CORRUPTIONS.values()}


async def test_the_facts_are_what_the_books_say(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(kit("SET", MUG=2))
    await desk.hear(location("east"))
    await desk.hear(received(receipt(10), time=at(-9)))
    sent, gone = order(line(3)), order(line(2))
    await desk.hear(sent, gone)
    parcel = planned("east", units(3))
    await desk.hear(plan(sent, parcel))
    await desk.hear(shipped(sent, parcel))
    await desk.hear(cancellation(gone))
    scan = inspected(sent, (2, "restocked"), (1, "damaged"))
    await desk.hear(scan)
    await desk.hear(channel_rule("web", fence=4, cap=4), channel_rule("market"))
    await desk.hear(channel_rule("market", cap=9))
    facts = {fact.name: dict([tuple(row) for row in await desk.connection.fetch(fact.sql)]) for fact in FACTS}
    first, second = f"{sent.order_id}|1", f"{gone.order_id}|1"
    assert facts == {
        "units_ordered": {first: 3, second: 2},
        "units_shipped": {first: 3, second: 0},
        "units_cancelled": {first: 0, second: 2},
        "available_to_channel": {"MUG|web": 4, "MUG|market": 5},
        "available_to_sell": {"MUG": 5, "SET": 2},
        "units_restocked": {f"{scan.return_id}|1": 2},
    }
