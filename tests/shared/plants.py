"""Corruptions to plant into the books of a lived day, and the checks that must name them.

``plain`` was shipped and partly came back, ``split`` was shipped and is coming back, ``cancelled`` was called off, ``edited`` was made
smaller, ``waiting`` waits for chairs and for its customer's answer, the customer of ``declined`` did not want to wait, ``short`` was
short-picked, ``kit`` are two kits that were shipped, ``held`` was held before it was
paid, ``capped`` waits for a rug that its channel may not take. See ``tests/shared/world.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plant:
    """One corruption.

    In the statements ``:plain``, ``:split`` and so on stand for the ids of the orders of the day, ``:scan`` for the scan of the return of
    ``plain``.

    Args:
        name: what is done to the books, as a sentence.
        statements: how. They run as the administrator, who may do what no service may; constraints in the way are dropped first.
        caught_by: (service, check) that must name it.
        subject: SQL for a text that one of the violations must contain.
    """

    name: str
    statements: tuple[str, ...]
    caught_by: tuple[tuple[str, str], ...]
    subject: str

    def __str__(self) -> str:
        return self.name.replace(" ", "_").replace("'", "")


QUEUES_ARE_DATED = "DELETE FROM allocation.promise_dating"
"""An edit moved the queue of the day, and its dates would be looked at some seconds later; they are right as they are."""

ALLOCATION = (
    Plant(
        "channels are told of a kit that cannot be made",
        ("UPDATE allocation.kits SET available = available + 1 WHERE kit_sku = 'SET'",),
        (("allocation", "I11-kits-are-their-components"),),
        "SELECT 'SET'",
    ),
    Plant(
        "a component does not know that a kit is made of it",
        ("UPDATE allocation.stock_pools SET in_kits = false WHERE sku = 'LAMP'",),
        (("allocation", "I11-components-are-marked"),),
        "SELECT 'LAMP'",
    ),
    Plant(
        "a unit appears on a shelf out of nothing",
        ("UPDATE allocation.stock_locations SET on_shelf = on_shelf + 1 WHERE sku = 'MUG' AND location = 'reno'",),
        (("allocation", "I1-shelf-is-ledger"), ("allocation", "I1-pool-is-shelves"), ("allocation", "I1-assignable-copy")),
        "SELECT 'MUG at reno'",
    ),
    Plant(
        "a reservation is counted twice",
        ("UPDATE allocation.stock_pools SET reserved = reserved + 1 WHERE sku = 'MUG'",),
        (("allocation", "I1-reserved-is-ledger"), ("allocation", "I1-pool-is-demand"), ("allocation+sync", "F-available_to_sell")),
        "SELECT 'MUG'",
    ),
    Plant(
        "a reservation stands twice in the ledger",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, order_id, line_id) "
            "VALUES (gen_random_uuid(), 'reserved', 1, 'MUG', :plain, '1')",
        ),
        (("allocation", "I2-reservations-are-ledger"), ("allocation", "I1-reserved-is-ledger")),
        "SELECT :plain::text || '|1'",
    ),
    Plant(
        "somebody queues whom no order knows",
        ("UPDATE allocation.stock_pools SET queued = queued + 1 WHERE sku = 'CHAIR'",),
        (("allocation", "I1-pool-is-demand"),),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "a pool sells more than its shelves hold",
        ("UPDATE allocation.stock_pools SET sellable = sellable + 5 WHERE sku = 'LAMP'",),
        (("allocation", "I1-pool-is-shelves"), ("allocation+sync", "F-available_to_sell")),
        "SELECT 'LAMP'",
    ),
    Plant(
        "more is reserved than there is",
        (
            "ALTER TABLE allocation.stock_pools DROP CONSTRAINT reserved_units_exist",
            "UPDATE allocation.stock_pools SET reserved = sellable + 1 WHERE sku = 'MUG'",
        ),
        (("allocation", "I1-reserved-on-hand"),),
        "SELECT 'MUG'",
    ),
    Plant(
        "a shelf hides a shortage",
        (
            "ALTER TABLE allocation.stock_locations DROP CONSTRAINT shortage_is_assigned",
            "UPDATE allocation.stock_locations SET pending_shortage = 1 WHERE sku = 'MUG' AND location = 'reno'",
        ),
        (("allocation", "I1-shortage-is-told"),),
        "SELECT 'MUG at reno'",
    ),
    Plant(
        "a shelf remembers a missed unit that no picker reported",
        ("UPDATE allocation.stock_locations SET missed = missed + 1 WHERE sku = 'MUG' AND location = 'reno'",),
        (("allocation", "I1-missed-units-are-told"),),
        "SELECT 'MUG at reno'",
    ),
    Plant(
        "a shelf was counted by a message that its feed never carried",
        (
            "INSERT INTO allocation.feeds (location) VALUES ('reno') ON CONFLICT DO NOTHING",
            "UPDATE allocation.stock_locations SET counted_watermark = 1000000 WHERE sku = 'MUG' AND location = 'reno'",
        ),
        (("allocation", "I1-feed-is-counted-once"),),
        "SELECT 'MUG at reno'",
    ),
    Plant(
        "hazardous goods are sold from a location without a certificate",
        ("UPDATE allocation.products SET hazmat = true WHERE sku = 'LAMP'",),
        (("allocation", "I1-only-legal-stock-counts"),),
        "SELECT 'LAMP at reno'",
    ),
    Plant(
        "a pool believes a shelf has one unit more to assign",
        ("UPDATE allocation.stock_pools SET assignable[1] = assignable[1] + 1 WHERE sku = 'MUG'",),
        (("allocation", "I1-assignable-copy"),),
        "SELECT 'MUG'",
    ),
    Plant(
        "a line has shipped more than it ordered",
        (
            "ALTER TABLE allocation.demand DROP CONSTRAINT every_unit_has_one_state",
            "UPDATE allocation.demand SET shipped = shipped + 1 WHERE order_id = :plain AND line_id = '1'",
        ),
        (
            ("allocation", "I2-line-conservation"),
            ("allocation", "I3-assigned-units-of-lines"),
            ("allocation+portal+returns+routing", "F-units_shipped"),
        ),
        "SELECT :plain::text || '|1'",
    ),
    Plant(
        "an order is lost and its demand stays",
        ("DELETE FROM allocation.orders WHERE order_id = :plain",),
        (("allocation", "I2-every-line-has-its-order"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a unit is for sale while an order waits for one",
        ("UPDATE allocation.stock_pools SET sellable = sellable + 1 WHERE sku = 'CHAIR'",),
        (("allocation", "I2-nobody-waits-beside-free-stock"),),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "a line waits in another class than its order",
        ("UPDATE allocation.demand SET priority = 1 WHERE order_id = :waiting",),
        (("allocation", "I2-place-is-the-orders"),),
        "SELECT :waiting::text || '|1'",
    ),
    Plant(
        "an incomplete order holds what one of higher rank waits for",
        (
            "UPDATE allocation.orders SET priority = 9, split_policy = 'hold_all' WHERE order_id = :waiting",
            "UPDATE allocation.demand SET priority = 9, hold_all = true, units = units + 1, reserved = reserved + 1 "
            "WHERE order_id = :waiting",
            "UPDATE allocation.demand SET sku = 'CHAIR', units = units + 1, queued = queued + 1 WHERE order_id = :plain AND line_id = '1'",
        ),
        (("allocation", "I2-nobody-waits-for-a-lower-hold"), ("allocation", "I1-pool-is-demand")),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "a preorder is held back though its goods are there and its date has come",
        ("UPDATE allocation.stock_pools SET release_at = now() - interval '1 day' WHERE sku = 'LAMP'",),
        (("allocation", "I2-preorders-are-released"),),
        "SELECT 'LAMP'",
    ),
    Plant(
        "a supply is forgotten while it is on its way",
        (QUEUES_ARE_DATED, "UPDATE allocation.supply_lines SET open = false WHERE sku = 'CHAIR'"),
        (("allocation", "I2-supplies-are-expected-while-units-are"), ("allocation", "I2-promises-follow-supply")),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "an order is promised a day that no supply keeps",
        (
            QUEUES_ARE_DATED,
            "UPDATE allocation.demand SET promised_ship_at = promised_ship_at - interval '1 day' WHERE order_id = :waiting",
        ),
        (("allocation", "I2-promises-follow-supply"),),
        "SELECT :waiting::text || '|1'",
    ),
    Plant(
        "a date has moved and nobody will tell its order",
        (
            "INSERT INTO allocation.promise_changes (round_id, order_id, line_id, demand_id, sku, quantity) "
            "VALUES (gen_random_uuid(), :waiting, '1', gen_random_uuid(), 'CHAIR', 1)",
        ),
        (("allocation", "I6-moved-dates-are-told"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "a cancelled order waits for stock",
        ("UPDATE allocation.demand SET queued = cancelled, cancelled = 0 WHERE order_id = :cancelled",),
        (
            ("allocation", "I2-cancelled-orders-hold-nothing-free"),
            ("allocation", "I1-pool-is-demand"),
            ("allocation+portal+returns+routing", "F-units_cancelled"),
        ),
        "SELECT :cancelled::text || '|1'",
    ),
    Plant(
        "a fulfillment holds a unit that was never assigned",
        ("UPDATE allocation.assignments SET units = units + 1, open = open + 1 WHERE order_id = :split AND line_id = '1'",),
        (("allocation", "I3-assigned-units-of-lines"), ("allocation", "I3-assigned-units-of-shelves")),
        "SELECT :split::text || '|1'",
    ),
    Plant(
        "a fulfillment ships more than was assigned to it",
        (
            "ALTER TABLE allocation.assignments DROP CONSTRAINT never_more_than_assigned",
            "UPDATE allocation.assignments SET shipped = units + 1 WHERE order_id = :plain AND line_id = '1'",
        ),
        (("allocation", "I3-shipped-within-assigned"), ("allocation", "I3-shipped-once")),
        "SELECT fulfillment_id || '|1' FROM allocation.assignments WHERE order_id = :plain AND line_id = '1'",
    ),
    Plant(
        "a shipment is deducted twice",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id) "
            "SELECT gen_random_uuid(), kind, quantity, sku, location, order_id, line_id, fulfillment_id FROM allocation.movements "
            "WHERE kind = 'shipped' AND order_id = :plain AND line_id = '1'",
        ),
        (("allocation", "I3-shipped-once"), ("allocation", "I1-shelf-is-ledger")),
        "SELECT fulfillment_id || '|1' FROM allocation.assignments WHERE order_id = :plain AND line_id = '1'",
    ),
    Plant(
        "a scan restocks a unit more than it found",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, cause_id) "
            "VALUES (gen_random_uuid(), 'returned', 1, 'MUG', 'reno', :scan)",
        ),
        (("allocation", "I5-returned-once"), ("allocation", "I1-shelf-is-ledger")),
        "SELECT :scan::text",
    ),
    Plant(
        "the ledger is mended without anybody's consent",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, compensates) "
            "VALUES ('00000000-0000-7000-8000-0000000000dd', 'adjusted', 1, 'MUG', 'reno', gen_random_uuid())",
        ),
        (("allocation", "A11-compensations-were-agreed"), ("allocation", "I1-shelf-is-ledger")),
        "SELECT '00000000-0000-7000-8000-0000000000dd'",
    ),
    Plant(
        "a finding counts as dismissed and nobody has dismissed it",
        (
            "INSERT INTO allocation.audit_findings (finding_id, key, status, sku, balance, found, expected, balances, culprit, "
            "explanation, mends, compensation, found_at, confirmed_at, closed_at) "
            "VALUES ('00000000-0000-7000-8000-0000000000ee', 'x', 'dismissed', 'MUG', 'pool.reserved', 1, 2, '[]', 'changed', 'x', "
            "'balance', '[]', now(), now(), now())",
        ),
        (("allocation", "A11-decisions-close-findings"),),
        "SELECT '00000000-0000-7000-8000-0000000000ee'",
    ),
    Plant(
        "a receipt is booked by a second message",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, cause_id, event_id) "
            "SELECT gen_random_uuid(), kind, quantity, sku, location, cause_id, gen_random_uuid() FROM allocation.movements "
            "WHERE kind = 'received' AND sku = 'CHAIR'",
        ),
        (("allocation", "I9-one-receipt-one-effect"),),
        "SELECT cause_id::text FROM allocation.movements WHERE kind = 'received' AND sku = 'CHAIR'",
    ),
    Plant(
        "a hold holds a unit more than it was granted",
        ("UPDATE allocation.stock_pools SET held = held + 1 WHERE sku = 'LAMP'",),
        (
            ("allocation", "I1-held-is-ledger"),
            ("allocation", "I1-held-is-holds"),
            ("allocation+sync", "F-available_to_sell"),
        ),
        "SELECT 'LAMP'",
    ),
    Plant(
        "a hold that has ended goes on holding",
        ("UPDATE allocation.holds SET state = 'expired', closed_at = now() WHERE state = 'held'",),
        (("allocation", "I1-hold-lines-are-ledger"), ("allocation", "I1-held-is-holds")),
        "SELECT hold_id || '|LAMP' FROM allocation.holds WHERE state = 'expired'",
    ),
    Plant(
        "a hold gave its units to an order that nobody knows",
        ("UPDATE allocation.holds SET order_id = gen_random_uuid() WHERE state = 'confirmed'",),
        (("allocation", "I1-hold-is-used-by-one-order"),),
        "SELECT hold_id::text FROM allocation.holds WHERE state = 'confirmed'",
    ),
    Plant(
        "a hold never ends",
        ("UPDATE allocation.holds SET expires_at = now() - interval '1 hour' WHERE state = 'held'",),
        (("allocation", "I6-holds-end"),),
        "SELECT hold_id::text FROM allocation.holds WHERE state = 'held'",
    ),
    Plant(
        "a pool keeps back a unit that no rule keeps back",
        ("UPDATE allocation.stock_pools SET safety = safety + 1 WHERE sku = 'LAMP'",),
        (("allocation", "I1-safety-is-rules"), ("allocation+sync", "F-available_to_sell")),
        "SELECT 'LAMP'",
    ),
    Plant(
        "a channel has a unit open that no order and no hold has",
        ("UPDATE allocation.channel_pools SET open = open + 1 WHERE sku = 'LAMP'",),
        (
            ("allocation", "I1-channel-open-units"),
            ("allocation", "I1-fenced-is-rules"),
            ("allocation+sync", "F-available_to_channel"),
        ),
        "SELECT 'LAMP|shop'",
    ),
    Plant(
        "an order beyond its channel's cap is promised a day",
        ("UPDATE allocation.demand SET promised_ship_at = now() WHERE order_id = :capped AND queued > 0",),
        (("allocation", "I2-promises-follow-rules"),),
        "SELECT :capped::text || '|1'",
    ),
    Plant(
        "a pool forgets that a channel has a rule",
        ("UPDATE allocation.stock_pools SET ruled = false WHERE sku = 'LAMP'",),
        (("allocation", "I1-fenced-is-rules"),),
        "SELECT 'LAMP'",
    ),
)

EXTRA_REFUND = """
WITH refund AS (
    INSERT INTO returns.refunds (refund_id, order_id, cause, cause_id, amount_cents, shipping_cents, currency, state, requested_at)
    SELECT '00000000-0000-5000-8000-0000000000ff', order_id, 'cancelled', gen_random_uuid(), line_cents + shipping_cents, shipping_cents,
           'USD', 'sent', now()
    FROM (SELECT order_id, CASE WHEN :of_line THEN l.captured_cents - l.returned_cents + 1 ELSE 0 END AS line_cents,
                 CASE WHEN :of_line THEN 0 ELSE o.captured_cents + 1 END AS shipping_cents
          FROM returns.orders o JOIN returns.order_lines l USING (order_id)
          WHERE order_id = :plain AND line_id = '1') AS wanted
    RETURNING refund_id, amount_cents, shipping_cents
), line AS (
    INSERT INTO returns.refund_lines (refund_id, line_id, quantity, amount_cents)
    SELECT refund_id, '1', 0, amount_cents - shipping_cents FROM refund
)
INSERT INTO returns.refund_ledger (entry_id, refund_id, kind, amount_cents, detail, recorded_at)
SELECT gen_random_uuid(), refund_id, 'requested', amount_cents, 'cancelled', now() FROM refund
"""
"""A refund of ``plain`` that nobody asked for, complete with line and ledger entry."""

RETURNS = (
    Plant(
        "one cent more is refunded of a line than was captured",
        (EXTRA_REFUND.replace(":of_line", "true"),),
        (("returns", "I4-captured-per-line"), ("returns", "I4-claims"), ("returns", "I9-execution-asked-once")),
        "SELECT :plain::text",
    ),
    Plant(
        "a whole order's money and a cent go back as shipping",
        (EXTRA_REFUND.replace(":of_line", "false"),),
        (("returns", "I4-captured-per-order"), ("returns", "I4-shipping")),
        "SELECT :plain::text",
    ),
    Plant(
        "shipping counts as refunded although nobody refunded it",
        ("UPDATE returns.orders SET shipping_refunded_cents = 1 WHERE order_id = :plain",),
        (("returns", "I4-shipping"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a line captures a cent that nobody paid",
        ("UPDATE returns.order_lines SET captured_cents = captured_cents + 1 WHERE order_id = :split AND line_id = '1'",),
        (("returns", "I4-captured-conserved"),),
        "SELECT :split::text",
    ),
    Plant(
        "a line forgets a cent of its refunds",
        ("UPDATE returns.order_lines SET returned_cents = returned_cents - 1 WHERE order_id = :plain AND line_id = '1'",),
        (("returns", "I4-claims"),),
        "SELECT :plain::text",
    ),
    Plant(
        "money is no longer held for a return on its way",
        ("UPDATE returns.order_lines SET held_cents = 0 WHERE order_id = :split",),
        (("returns", "I4-held"),),
        "SELECT :split::text",
    ),
    Plant(
        "a refund grows by a cent after it was asked for",
        ("UPDATE returns.refunds SET amount_cents = amount_cents + 1 WHERE order_id = :plain",),
        (("returns", "I4-refund-sum"), ("portal+returns+sync", "F-refund_cents_succeeded")),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "a refund that succeeded counts as failed",
        ("UPDATE returns.refunds SET state = 'failed', failure_reason = 'x' WHERE order_id = :plain",),
        (("returns", "I4-refund-state"), ("returns", "I6-return-waits")),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "the money of a refund moves twice",
        (
            "DROP INDEX returns.refund_succeeded_once",
            "INSERT INTO returns.refund_ledger SELECT gen_random_uuid(), refund_id, kind, amount_cents, detail, recorded_at "
            "FROM returns.refund_ledger JOIN returns.refunds r USING (refund_id, amount_cents) WHERE kind = 'succeeded' "
            "AND r.order_id = :plain",
        ),
        (("returns", "I4-refund-state"),),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "a received unit gets a second disposition",
        ("UPDATE returns.dispositions SET quantity = quantity + 1 WHERE scan_id = :scan AND disposition = 'restocked'",),
        (("returns", "I5-one-disposition"), ("returns", "I5-return-units"), ("allocation+portal+returns", "F-units_restocked")),
        "SELECT :scan::text",
    ),
    Plant(
        "a missing unit counts as restocked",
        (
            "UPDATE returns.return_lines SET restocked_units = 2, missing_units = 0 "
            "WHERE return_id IN (SELECT return_id FROM returns.returns WHERE order_id = :plain)",
        ),
        (("returns", "I5-return-units"), ("returns", "I5-refund-for-received")),
        "SELECT return_id::text FROM returns.returns WHERE order_id = :plain",
    ),
    Plant(
        "a return is refunded without a scan",
        ("UPDATE returns.refunds SET cause_id = gen_random_uuid() WHERE order_id = :plain",),
        (("returns", "I5-refund-has-scan"),),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "a missing unit is paid for",
        ("UPDATE returns.return_lines SET refunded_cents = quote_cents WHERE missing_units > 0",),
        (("returns", "I5-refund-for-received"),),
        "SELECT return_id::text FROM returns.returns WHERE order_id = :plain",
    ),
    Plant(
        "units came back that never shipped",
        ("DELETE FROM returns.shipped_units WHERE order_id = :plain AND line_id = '1'",),
        (("returns", "I5-shipped"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a return waits for ever",
        ("UPDATE returns.returns SET expires_at = now() - interval '16 days' WHERE order_id = :split",),
        (("returns", "I6-return-waits"),),
        "SELECT return_id::text FROM returns.returns WHERE order_id = :split",
    ),
    Plant(
        "a return counts as inspected while units are still expected",
        ("UPDATE returns.returns SET status = 'inspected' WHERE order_id = :split",),
        (("returns", "I6-return-waits"),),
        "SELECT return_id::text FROM returns.returns WHERE order_id = :split",
    ),
    Plant(
        "the channel is asked twice for one refund",
        (
            "INSERT INTO returns.outbox SELECT gen_random_uuid(), type, subject, exchange, routing_key, body, created_at, sent_at "
            "FROM returns.outbox WHERE type = 'refund.execution_requested.v1' AND subject = :plain::text",
        ),
        (("returns", "I9-execution-asked-once"), ("returns", "I9-envelope"), ("sync", "I7-handled")),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "an inspection drops out of the outbox",
        ("DELETE FROM returns.outbox WHERE type = 'return.inspected.v1'",),
        (("returns", "I9-inspection-told-once"), ("allocation", "I8-source"), ("portal", "I8-source")),
        "SELECT :scan::text",
    ),
)

ROUTING = (
    Plant(
        "half a kit is left on an order",
        ("UPDATE routing.order_lines SET quantity = quantity + kit_units WHERE order_id = :kit AND sku = 'LAMP'",),
        (("routing", "I2-kits-are-whole"), ("allocation+portal+returns+routing+sync", "F-units_ordered")),
        "SELECT :kit::text",
    ),
    Plant(
        "a shipped unit is cancelled as well",
        (
            "ALTER TABLE routing.order_lines DROP CONSTRAINT every_unit_at_most_once",
            "UPDATE routing.order_lines SET cancelled = 1 WHERE order_id = :plain AND line_id = '1'",
        ),
        (("routing", "I2-units-once"), ("allocation+portal+returns+routing", "F-units_cancelled")),
        "SELECT :plain::text",
    ),
    Plant(
        "a parcel holds what the order does not",
        (
            "UPDATE routing.fulfillment_lines SET sku = 'GHOST' FROM routing.fulfillments f "
            "WHERE f.fulfillment_id = fulfillment_lines.fulfillment_id AND f.order_id = :plain AND line_id = '1'",
        ),
        (("routing", "I2-fulfillment-lines-are-order-lines"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a line forgets a unit that its parcels shipped",
        ("UPDATE routing.order_lines SET shipped = shipped - 1 WHERE order_id = :plain AND line_id = '1'",),
        (("routing", "I3-shipped-by-fulfillments"), ("allocation+portal+returns+routing", "F-units_shipped")),
        "SELECT :plain::text",
    ),
    Plant(
        "a change waits for a 3PL that has answered",
        (
            "UPDATE routing.changes SET answered_at = NULL, awaiting = '{}' WHERE order_id = :cancelled AND kind = 'cancel'",
            "UPDATE routing.orders SET change_id = c.change_id FROM routing.changes c "
            "WHERE c.order_id = orders.order_id AND c.order_id = :cancelled AND c.kind = 'cancel'",
        ),
        (("routing", "I6-changes-are-decided"),),
        "SELECT :cancelled::text",
    ),
    Plant(
        "a parcel that was called off has shipped",
        ("UPDATE routing.fulfillments SET state = 'called_off' WHERE order_id = :plain",),
        (("routing", "I3-called-off-never-ships"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a shipped parcel leaves a unit behind",
        (
            "UPDATE routing.fulfillment_lines SET shipped = shipped - 1 FROM routing.fulfillments f "
            "WHERE f.fulfillment_id = fulfillment_lines.fulfillment_id AND f.order_id = :plain AND line_id = '1'",
        ),
        (("routing", "I3-nothing-left-behind"), ("routing", "I3-shipped-by-fulfillments")),
        "SELECT :plain::text",
    ),
    Plant(
        "a cancelled order's money is never asked for",
        ("DELETE FROM routing.refunds WHERE order_id = :cancelled",),
        (("routing", "I4-cancellation-refund"),),
        "SELECT :cancelled::text",
    ),
    Plant(
        "a refund is asked for with a cent more than its lines",
        ("UPDATE routing.refunds SET amount_cents = amount_cents + 1 WHERE order_id = :edited",),
        (("routing", "I4-refund-adds-up"), ("returns+routing", "F-refund_cents_requested")),
        "SELECT refund_id::text FROM routing.refunds WHERE order_id = :edited",
    ),
    Plant(
        "an order with open units is called delivered",
        (
            "UPDATE routing.orders SET status = 'delivered', waiting_for = NULL, waiting_until = NULL, due_at = NULL "
            "WHERE order_id = :waiting",
        ),
        (("routing", "I6-terminal-or-waiting"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "nobody looks at an order whose time is over",
        ("UPDATE routing.orders SET due_at = now() - interval '1 hour' WHERE order_id = :waiting",),
        (("routing", "I6-deadlines-are-kept"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "a silent 3PL has no timer",
        ("UPDATE routing.fulfillments SET state = 'submitted', due_at = NULL WHERE order_id = :plain",),
        (("routing", "I6-silence-has-a-timer"),),
        "SELECT :plain::text",
    ),
    Plant(
        "an order waits for a change that nobody asked for",
        ("UPDATE routing.orders SET change_id = gen_random_uuid() WHERE order_id = :waiting",),
        (("routing", "I6-one-open-change"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "a parcel left although it was cancelled, and nobody opened a return",
        (
            "INSERT INTO routing.changes (change_id, order_id, kind, request, awaiting, answer_type, answer, requested_at, answered_at) "
            "SELECT gen_random_uuid(), order_id, 'cancel', '{}', array_agg(fulfillment_id), 'order.cancel_rejected.v1', '{}', now(), now() "
            "FROM routing.fulfillments WHERE order_id = :plain GROUP BY order_id",
        ),
        (("routing", "D5-what-left-cancelled-may-come-back"),),
        "SELECT :plain::text",
    ),
    Plant(
        "an edit that costs more was made although nobody paid",
        ("UPDATE routing.changes SET answer = jsonb_set(answer, '{money_delta_cents}', '500') WHERE order_id = :edited AND kind = 'edit'",),
        (("routing", "I4-paid-edits"),),
        "SELECT :edited::text",
    ),
    Plant(
        "a slot of a location is taken by nothing",
        ("INSERT INTO routing.capacity_slots (location, day, hour, taken, capacity) VALUES ('reno', current_date, -1, 1, 5)",),
        (("routing", "C7-slots-are-held"),),
        "SELECT 'reno'",
    ),
    Plant(
        "an order was cancelled and is still open",
        ("UPDATE routing.order_lines SET cancelled = 0 WHERE order_id = :cancelled",),
        (("routing", "I9-one-answer-per-change"),),
        "SELECT :cancelled::text",
    ),
    Plant(
        "a customer is asked without a deadline",
        ("UPDATE routing.orders SET waiting_for = 'stock', due_at = due_at + interval '1 year' WHERE order_id = :waiting",),
        (("routing", "B8-customers-have-a-deadline"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "a customer who did not want to wait gets no money back",
        ("DELETE FROM routing.refunds WHERE order_id = :declined",),
        (("routing", "B8-lapsed-is-cancelled-and-refunded"), ("routing", "I4-cancellation-refund")),
        "SELECT :declined::text",
    ),
    Plant(
        "a customer waits longer than was agreed and is not asked",
        (
            "UPDATE routing.orders SET waiting_for = 'stock' WHERE order_id = :waiting",
            "UPDATE routing.delay_consents SET outcome = 'not_needed', settled_at = now() WHERE order_id = :waiting",
        ),
        (("routing", "B8-agreed-or-asked"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "nobody knows why an order ships from where it ships",
        ("DELETE FROM routing.decisions WHERE order_id = :plain",),
        (("routing", "C10-every-plan-is-explained"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a reservation that came early is forgotten",
        (
            "INSERT INTO routing.early_reservations (event_id, order_id, message, received_at) "
            "VALUES (gen_random_uuid(), :plain, '{}', now() - interval '1 hour')",
        ),
        (("routing", "I7-early-reservations-are-taken-up"),),
        "SELECT :plain::text",
    ),
)

SYNC = (
    Plant(
        "a line of an order has the units of more kits than were bought",
        ("UPDATE sync.channel_orders SET lines = jsonb_set(lines, '{0,kit,quantity}', '7') WHERE order_id = :kit",),
        (("sync", "I2-kits-are-whole"),),
        "SELECT :kit::text",
    ),
    Plant(
        "a product becomes a kit of nothing",
        ("UPDATE sync.products SET is_kit = true WHERE sku = 'CHAIR'",),
        (("sync", "I2-kits-hold-no-kits"),),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "a channel shows another number than it was told last",
        ("UPDATE sync.listing_stock SET accepted_available = accepted_available + 1 WHERE sku = 'MUG'",),
        (("sync", "I11-channel-shows-latest"),),
        "SELECT 'shop/MUG'",
    ),
    Plant(
        "sync sells a unit that allocation does not have",
        ("UPDATE sync.stock_numbers SET available = available + 1 WHERE sku = 'MUG'",),
        (("allocation+sync", "F-available_to_sell"), ("sync", "I11-newest-wins")),
        "SELECT 'MUG'",
    ),
    Plant(
        "a channel was told a number newer than any",
        ("UPDATE sync.listing_stock SET accepted_version = accepted_version + 1 WHERE sku = 'MUG'",),
        (("sync", "I11-newest-wins"),),
        "SELECT 'shop/MUG'",
    ),
    Plant(
        "nobody finds out whether a channel took a number",
        ("UPDATE sync.listing_stock SET sending_since = now(), due_at = NULL WHERE sku = 'MUG'",),
        (("sync", "I11-doubt-is-due"),),
        "SELECT 'shop/MUG'",
    ),
    Plant(
        "a channel's order becomes two orders",
        (
            "ALTER TABLE sync.channel_orders DROP CONSTRAINT channel_orders_channel_external_id_key",
            "INSERT INTO sync.channel_orders SELECT gen_random_uuid(), channel, external_id, content_digest, placed_at, received_at, "
            "currency, captured_cents, order_version, lines, cancelled_at, cancel_reason FROM sync.channel_orders "
            "WHERE external_id = 'waiting'",
        ),
        (("sync", "I9-order-once"), ("sync", "I8-order-said-once")),
        "SELECT 'shop/waiting'",
    ),
    Plant(
        "an order drops out of the outbox",
        ("DELETE FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = :plain::text",),
        (("sync", "I8-order-said-once"), *((service, "I8-source") for service in ("allocation", "routing", "returns", "portal"))),
        "SELECT :plain::text",
    ),
    Plant(
        "an order is told that sync does not have",
        ("UPDATE sync.channel_orders SET external_id = 'other' WHERE external_id = 'waiting'",),
        (("sync", "I8-order-has-its-row"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "an order sells what nobody makes",
        ("UPDATE sync.channel_orders SET lines = jsonb_set(lines, '{0,sku}', '\"GHOST\"') WHERE order_id = :plain",),
        (("sync", "I2-order-lines-are-products"),),
        "SELECT :plain::text",
    ),
    Plant(
        "refunds exceed what the channel was paid",
        ("UPDATE sync.channel_orders SET captured_cents = 1 WHERE order_id = :plain",),
        (("sync", "I4-refunds-within-captured"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a refund succeeded without the channel's reference",
        ("UPDATE sync.refunds SET provider_reference = NULL WHERE order_id = :plain",),
        (("sync", "I4-refund-has-one-reference"),),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "one cent more goes back at the channel",
        ("UPDATE sync.refunds SET amount_cents = amount_cents + 1 WHERE order_id = :plain",),
        (("portal+returns+sync", "F-refund_cents_succeeded"), ("sync", "I9-refund-said-once")),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "nobody is told that money moved",
        ("DELETE FROM sync.outbox WHERE type = 'refund.succeeded.v1' AND subject = :plain::text",),
        (("sync", "I9-refund-said-once"), ("returns", "I8-source")),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
    Plant(
        "a shipment notice waits until next year",
        ("UPDATE sync.shipment_notices SET state = 'due', settled_at = NULL, due_at = now() + interval '1 year' WHERE order_id = :plain",),
        (("sync", "I6-waiting-has-a-time"),),
        "SELECT fulfillment_id::text FROM sync.shipment_notices WHERE order_id = :plain",
    ),
    Plant(
        "a refund goes to another order of the channel",
        ("UPDATE sync.refunds SET external_id = 'split' WHERE order_id = :plain",),
        (("sync", "I15-partner-owns-its-rows"),),
        "SELECT refund_id::text FROM returns.refunds WHERE order_id = :plain",
    ),
)

PORTAL = (
    Plant(
        "a customer never hears that the order was taken",
        ("DELETE FROM portal.notifications WHERE kind = 'confirmation' AND order_id = :plain",),
        (("portal", "I12-told"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a customer is told of what never happened",
        ("UPDATE portal.notifications SET cause_id = gen_random_uuid() WHERE kind = 'shipped' AND order_id = :plain",),
        (("portal", "I12-caused"), ("portal", "I12-told")),
        "SELECT :plain::text",
    ),
    Plant(
        "a customer gets two confirmations",
        (
            "ALTER TABLE portal.notifications DROP CONSTRAINT notifications_pkey",
            "INSERT INTO portal.notifications SELECT * FROM portal.notifications WHERE kind = 'confirmation' AND order_id = :plain",
        ),
        (("portal", "I12-once"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a customer is told the same new dates twice",
        (
            "INSERT INTO portal.timeline "
            "SELECT order_id, type, '00000000-0000-7000-8000-0000000000aa', event_id, source, at, trace_id, data "
            "FROM portal.timeline WHERE type = 'order.delayed.v1' AND order_id = :waiting AND data ->> 'cause' = 'supply_scheduled'",
            "INSERT INTO portal.notifications SELECT order_id, kind, '00000000-0000-7000-8000-0000000000aa', type, created_at, status, "
            "attempts, due_at, sent_at, reason FROM portal.notifications "
            "WHERE type = 'order.delayed.v1' AND order_id = :waiting LIMIT 1",
        ),
        (("portal", "I12-dates"),),
        "SELECT :waiting::text",
    ),
    Plant(
        "a mail fails without a reason",
        (
            "UPDATE portal.notifications SET status = 'failed', attempts = 1, sent_at = NULL, reason = '' "
            "WHERE kind = 'confirmation' AND order_id = :plain",
        ),
        (("portal", "I12-settled"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a shipment is missing in the timeline",
        ("DELETE FROM portal.timeline WHERE type = 'fulfillment.delivered.v1' AND order_id = :plain",),
        (("portal", "I10-handled"),),
        "SELECT :plain::text",
    ),
    Plant(
        "the portal forgets what was bought",
        ("DELETE FROM portal.order_versions WHERE order_id = :plain",),
        (("portal", "I10-orders"),),
        "SELECT :plain::text",
    ),
    Plant(
        "the portal shows another number of units than was bought",
        ("UPDATE portal.order_versions SET lines = jsonb_set(lines, '{0,quantity}', '99') WHERE order_id = :plain",),
        (("portal", "I10-units"), ("allocation+portal+returns+routing+sync", "F-units_ordered")),
        "SELECT :plain::text",
    ),
    Plant(
        "personal data slips into a timeline",
        (
            'UPDATE portal.timeline SET data = data || \'{"sent_to": "plain@example.com"}\' '
            "WHERE type = 'fulfillment.shipped.v1' AND order_id = :plain",
        ),
        (("portal", "P-personal-data"),),
        "SELECT :plain::text",
    ),
)

MESSAGES = (
    Plant(
        "a message never arrives",
        ("DELETE FROM returns.inbox WHERE type = 'fulfillment.shipped.v1' AND subject = :plain::text",),
        (("returns", "I7-handled"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a message stays in the outbox",
        ("UPDATE routing.outbox SET sent_at = NULL WHERE type = 'order.cancelled.v1' AND subject = :cancelled::text",),
        (("routing", "I7-sent"),),
        "SELECT :cancelled::text",
    ),
    Plant(
        "a message waits and waits",
        (
            "UPDATE portal.inbox i SET status = 'retry', due_at = now() + interval '1 day', reason = 'not yet', body = o.body "
            "FROM sync.outbox o WHERE o.event_id = i.event_id AND o.type = 'order.placed.v1' "
            "AND o.subject = :plain::text",
        ),
        (("portal", "I7-retry"),),
        "SELECT :plain::text",
    ),
    Plant(
        "a service hears what nobody said",
        (
            "INSERT INTO allocation.inbox (event_id, source, type, subject, status, received_at) "
            "VALUES ('00000000-0000-5000-8000-0000000000bb', 'ordermesh/sync', 'order.placed.v1', :plain::text, 'done', now())",
        ),
        (("allocation", "I8-source"),),
        "SELECT '00000000-0000-5000-8000-0000000000bb'",
    ),
    Plant(
        "an event comes from a service that does not exist",
        (
            "INSERT INTO returns.inbox (event_id, source, type, status, received_at) "
            "VALUES ('00000000-0000-5000-8000-0000000000cc', 'ordermesh/billing', 'refund.succeeded.v1', 'done', now())",
        ),
        (("returns", "I8-source"),),
        "SELECT '00000000-0000-5000-8000-0000000000cc'",
    ),
    Plant(
        "an event is heard twice under two names",
        (
            "INSERT INTO returns.inbox (event_id, source, type, status, received_at) "
            "SELECT event_id, 'ordermesh/routing', type, 'done', now() FROM returns.inbox "
            "WHERE type = 'order.placed.v1' AND subject = :plain::text",
        ),
        (("returns", "I9-once"), ("returns", "I8-source")),
        "SELECT event_id::text FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = :plain::text",
    ),
    Plant(
        "an event is heard as another one",
        ("UPDATE routing.inbox SET type = 'order.cancelled.v1' WHERE type = 'order.placed.v1' AND subject = :plain::text",),
        (("routing", "I9-once"),),
        "SELECT event_id::text FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = :plain::text",
    ),
    Plant(
        "an outbox row is not what its message says",
        ("UPDATE routing.outbox SET type = 'order.edited.v1' WHERE type = 'order.cancelled.v1' AND subject = :cancelled::text",),
        (("routing", "I9-envelope"),),
        "SELECT event_id::text FROM routing.outbox WHERE subject = :cancelled::text AND type = 'order.edited.v1'",
    ),
    Plant(
        "a service believes in more cancelled units than all others",
        ("UPDATE returns.cancelled_units SET quantity = quantity + 1",),
        (("allocation+portal+returns+routing", "F-units_cancelled"),),
        "SELECT :cancelled::text || '|1'",
    ),
    Plant(
        "a service believes in another order than all others",
        ("UPDATE routing.order_lines SET quantity = quantity + 1 WHERE order_id = :plain AND line_id = '2'",),
        (("allocation+portal+returns+routing+sync", "F-units_ordered"),),
        "SELECT :plain::text || '|2'",
    ),
)

PLANTS = (*ALLOCATION, *RETURNS, *ROUTING, *SYNC, *PORTAL, *MESSAGES)
