"""Corruptions to plant into the books of a lived day, and the checks that must name them.

``plain`` was shipped and partly came back, ``split`` was shipped and is coming back, ``cancelled`` was called off, ``edited`` was made
smaller, ``waiting`` waits for chairs, ``short`` was short-picked. See ``tests/shared/world.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


def order(name: str) -> str:
    """The id of an order of the day, as SQL."""
    return f"(SELECT order_id FROM sync.channel_orders WHERE external_id = '{name}')"  # noqa: S608 - names of this file


@dataclass(frozen=True)
class Plant:
    """One corruption.

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


SCAN = f"(SELECT scan_id FROM returns.return_scans JOIN returns.returns USING (return_id) WHERE order_id = {order('plain')})"  # noqa: S608

ALLOCATION = (
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
            f"VALUES (gen_random_uuid(), 'reserved', 1, 'MUG', {order('plain')}, '1')",
        ),
        (("allocation", "I2-reservations-are-ledger"), ("allocation", "I1-reserved-is-ledger")),
        f"SELECT {order('plain')}::text || '|1'",
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
            f"UPDATE allocation.demand SET shipped = shipped + 1 WHERE order_id = {order('plain')} AND line_id = '1'",
        ),
        (
            ("allocation", "I2-line-conservation"),
            ("allocation", "I3-assigned-units-of-lines"),
            ("allocation+portal+returns+routing", "F-units_shipped"),
        ),
        f"SELECT {order('plain')}::text || '|1'",
    ),
    Plant(
        "an order is lost and its demand stays",
        (f"DELETE FROM allocation.orders WHERE order_id = {order('plain')}",),
        (("allocation", "I2-every-line-has-its-order"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a unit is for sale while an order waits for one",
        ("UPDATE allocation.stock_pools SET sellable = sellable + 1 WHERE sku = 'CHAIR'",),
        (("allocation", "I2-nobody-waits-beside-free-stock"),),
        "SELECT 'CHAIR'",
    ),
    Plant(
        "a cancelled order waits for stock",
        (f"UPDATE allocation.demand SET queued = cancelled, cancelled = 0 WHERE order_id = {order('cancelled')}",),
        (
            ("allocation", "I2-cancelled-orders-hold-nothing-free"),
            ("allocation", "I1-pool-is-demand"),
            ("allocation+portal+returns+routing", "F-units_cancelled"),
        ),
        f"SELECT {order('cancelled')}::text || '|1'",
    ),
    Plant(
        "a fulfillment holds a unit that was never assigned",
        (f"UPDATE allocation.assignments SET units = units + 1, open = open + 1 WHERE order_id = {order('split')} AND line_id = '1'",),
        (("allocation", "I3-assigned-units-of-lines"), ("allocation", "I3-assigned-units-of-shelves")),
        f"SELECT {order('split')}::text || '|1'",
    ),
    Plant(
        "a fulfillment ships more than was assigned to it",
        (
            "ALTER TABLE allocation.assignments DROP CONSTRAINT never_more_than_assigned",
            f"UPDATE allocation.assignments SET shipped = units + 1 WHERE order_id = {order('plain')} AND line_id = '1'",
        ),
        (("allocation", "I3-shipped-within-assigned"), ("allocation", "I3-shipped-once")),
        f"SELECT fulfillment_id || '|1' FROM allocation.assignments WHERE order_id = {order('plain')} AND line_id = '1'",
    ),
    Plant(
        "a shipment is deducted twice",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id) "
            "SELECT gen_random_uuid(), kind, quantity, sku, location, order_id, line_id, fulfillment_id FROM allocation.movements "
            f"WHERE kind = 'shipped' AND order_id = {order('plain')} AND line_id = '1'",
        ),
        (("allocation", "I3-shipped-once"), ("allocation", "I1-shelf-is-ledger")),
        f"SELECT fulfillment_id || '|1' FROM allocation.assignments WHERE order_id = {order('plain')} AND line_id = '1'",
    ),
    Plant(
        "a scan restocks a unit more than it found",
        (
            "INSERT INTO allocation.movements (movement_id, kind, quantity, sku, location, cause_id) "
            f"VALUES (gen_random_uuid(), 'returned', 1, 'MUG', 'reno', {SCAN})",
        ),
        (("allocation", "I5-returned-once"), ("allocation", "I1-shelf-is-ledger")),
        f"SELECT {SCAN}::text",
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
)

EXTRA_REFUND = "'00000000-0000-5000-8000-0000000000ff'::uuid"


def refund_out_of_nothing(line_cents: str, shipping_cents: str) -> tuple[str, ...]:
    """A refund of ``plain`` that nobody asked for, complete with line and ledger entry."""
    return (
        "INSERT INTO returns.refunds (refund_id, order_id, cause, cause_id, amount_cents, shipping_cents, currency, state, requested_at) "
        f"VALUES ({EXTRA_REFUND}, {order('plain')}, 'cancelled', gen_random_uuid(), {line_cents} + {shipping_cents}, {shipping_cents}, "
        "'USD', 'sent', now())",
        f"INSERT INTO returns.refund_lines (refund_id, line_id, quantity, amount_cents) VALUES ({EXTRA_REFUND}, '1', 0, {line_cents})",
        "INSERT INTO returns.refund_ledger (entry_id, refund_id, kind, amount_cents, detail, recorded_at) "
        f"VALUES (gen_random_uuid(), {EXTRA_REFUND}, 'requested', {line_cents} + {shipping_cents}, 'cancelled', now())",
    )


RETURNS = (
    Plant(
        "one cent more is refunded of a line than was captured",
        refund_out_of_nothing(
            "(SELECT captured_cents - returned_cents + 1 FROM returns.order_lines "  # noqa: S608
            f"WHERE order_id = {order('plain')} AND line_id = '1')",
            "0",
        ),
        (("returns", "I4-captured-per-line"), ("returns", "I4-claims"), ("returns", "I9-execution-asked-once")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a whole order's money and a cent go back as shipping",
        refund_out_of_nothing("0", f"(SELECT captured_cents + 1 FROM returns.orders WHERE order_id = {order('plain')})"),  # noqa: S608
        (("returns", "I4-captured-per-order"), ("returns", "I4-shipping")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "shipping counts as refunded although nobody refunded it",
        (f"UPDATE returns.orders SET shipping_refunded_cents = 1 WHERE order_id = {order('plain')}",),
        (("returns", "I4-shipping"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a line captures a cent that nobody paid",
        (f"UPDATE returns.order_lines SET captured_cents = captured_cents + 1 WHERE order_id = {order('split')} AND line_id = '1'",),
        (("returns", "I4-captured-conserved"),),
        f"SELECT {order('split')}::text",
    ),
    Plant(
        "a line forgets a cent of its refunds",
        (f"UPDATE returns.order_lines SET returned_cents = returned_cents - 1 WHERE order_id = {order('plain')} AND line_id = '1'",),
        (("returns", "I4-claims"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "money is no longer held for a return on its way",
        (f"UPDATE returns.order_lines SET held_cents = 0 WHERE order_id = {order('split')}",),
        (("returns", "I4-held"),),
        f"SELECT {order('split')}::text",
    ),
    Plant(
        "a refund grows by a cent after it was asked for",
        (f"UPDATE returns.refunds SET amount_cents = amount_cents + 1 WHERE order_id = {order('plain')}",),
        (("returns", "I4-refund-sum"), ("portal+returns+sync", "F-refund_cents_succeeded")),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a refund that succeeded counts as failed",
        (f"UPDATE returns.refunds SET state = 'failed', failure_reason = 'x' WHERE order_id = {order('plain')}",),
        (("returns", "I4-refund-state"), ("returns", "I6-return-waits")),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "the money of a refund moves twice",
        (
            "DROP INDEX returns.refund_succeeded_once",
            "INSERT INTO returns.refund_ledger SELECT gen_random_uuid(), refund_id, kind, amount_cents, detail, recorded_at "
            f"FROM returns.refund_ledger JOIN returns.refunds r USING (refund_id, amount_cents) WHERE kind = 'succeeded' "
            f"AND r.order_id = {order('plain')}",
        ),
        (("returns", "I4-refund-state"),),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a received unit gets a second disposition",
        (f"UPDATE returns.dispositions SET quantity = quantity + 1 WHERE scan_id = {SCAN} AND disposition = 'restocked'",),
        (("returns", "I5-one-disposition"), ("returns", "I5-return-units"), ("allocation+portal+returns", "F-units_restocked")),
        f"SELECT {SCAN}::text",
    ),
    Plant(
        "a missing unit counts as restocked",
        (
            f"UPDATE returns.return_lines SET restocked_units = 2, missing_units = 0 "
            f"WHERE return_id IN (SELECT return_id FROM returns.returns WHERE order_id = {order('plain')})",
        ),
        (("returns", "I5-return-units"), ("returns", "I5-refund-for-received")),
        f"SELECT return_id::text FROM returns.returns WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a return is refunded without a scan",
        (f"UPDATE returns.refunds SET cause_id = gen_random_uuid() WHERE order_id = {order('plain')}",),
        (("returns", "I5-refund-has-scan"),),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a missing unit is paid for",
        ("UPDATE returns.return_lines SET refunded_cents = quote_cents WHERE missing_units > 0",),
        (("returns", "I5-refund-for-received"),),
        f"SELECT return_id::text FROM returns.returns WHERE order_id = {order('plain')}",
    ),
    Plant(
        "units came back that never shipped",
        (f"DELETE FROM returns.shipped_units WHERE order_id = {order('plain')} AND line_id = '1'",),
        (("returns", "I5-shipped"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a return waits for ever",
        (f"UPDATE returns.returns SET expires_at = now() - interval '16 days' WHERE order_id = {order('split')}",),
        (("returns", "I6-return-waits"),),
        f"SELECT return_id::text FROM returns.returns WHERE order_id = {order('split')}",
    ),
    Plant(
        "a return counts as inspected while units are still expected",
        (f"UPDATE returns.returns SET status = 'inspected' WHERE order_id = {order('split')}",),
        (("returns", "I6-return-waits"),),
        f"SELECT return_id::text FROM returns.returns WHERE order_id = {order('split')}",
    ),
    Plant(
        "the channel is asked twice for one refund",
        (
            "INSERT INTO returns.outbox SELECT gen_random_uuid(), type, subject, exchange, routing_key, body, created_at, sent_at "
            f"FROM returns.outbox WHERE type = 'refund.execution_requested.v1' AND subject = {order('plain')}::text",
        ),
        (("returns", "I9-execution-asked-once"), ("returns", "I9-envelope"), ("sync", "I7-handled")),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "an inspection drops out of the outbox",
        ("DELETE FROM returns.outbox WHERE type = 'return.inspected.v1'",),
        (("returns", "I9-inspection-told-once"), ("allocation", "I8-source"), ("portal", "I8-source")),
        f"SELECT {SCAN}::text",
    ),
)

ROUTING = (
    Plant(
        "a shipped unit is cancelled as well",
        (
            "ALTER TABLE routing.order_lines DROP CONSTRAINT every_unit_at_most_once",
            f"UPDATE routing.order_lines SET cancelled = 1 WHERE order_id = {order('plain')} AND line_id = '1'",
        ),
        (("routing", "I2-units-once"), ("allocation+portal+returns+routing", "F-units_cancelled")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a parcel holds what the order does not",
        (
            "UPDATE routing.fulfillment_lines SET sku = 'GHOST' FROM routing.fulfillments f "
            f"WHERE f.fulfillment_id = fulfillment_lines.fulfillment_id AND f.order_id = {order('plain')} AND line_id = '1'",
        ),
        (("routing", "I2-fulfillment-lines-are-order-lines"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a line forgets a unit that its parcels shipped",
        (f"UPDATE routing.order_lines SET shipped = shipped - 1 WHERE order_id = {order('plain')} AND line_id = '1'",),
        (("routing", "I3-shipped-by-fulfillments"), ("allocation+portal+returns+routing", "F-units_shipped")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a parcel that was called off has shipped",
        (f"UPDATE routing.fulfillments SET state = 'called_off' WHERE order_id = {order('plain')}",),
        (("routing", "I3-called-off-never-ships"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a shipped parcel leaves a unit behind",
        (
            "UPDATE routing.fulfillment_lines SET shipped = shipped - 1 FROM routing.fulfillments f "
            f"WHERE f.fulfillment_id = fulfillment_lines.fulfillment_id AND f.order_id = {order('plain')} AND line_id = '1'",
        ),
        (("routing", "I3-nothing-left-behind"), ("routing", "I3-shipped-by-fulfillments")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a cancelled order's money is never asked for",
        (f"DELETE FROM routing.refunds WHERE order_id = {order('cancelled')}",),
        (("routing", "I4-cancellation-refund"),),
        f"SELECT {order('cancelled')}::text",
    ),
    Plant(
        "a refund is asked for with a cent more than its lines",
        (f"UPDATE routing.refunds SET amount_cents = amount_cents + 1 WHERE order_id = {order('edited')}",),
        (("routing", "I4-refund-adds-up"), ("returns+routing", "F-refund_cents_requested")),
        f"SELECT refund_id::text FROM routing.refunds WHERE order_id = {order('edited')}",
    ),
    Plant(
        "an order with open units is called delivered",
        (
            "UPDATE routing.orders SET status = 'delivered', waiting_for = NULL, waiting_until = NULL, due_at = NULL "
            f"WHERE order_id = {order('waiting')}",
        ),
        (("routing", "I6-terminal-or-waiting"),),
        f"SELECT {order('waiting')}::text",
    ),
    Plant(
        "nobody looks at an order whose time is over",
        (f"UPDATE routing.orders SET due_at = now() - interval '1 hour' WHERE order_id = {order('waiting')}",),
        (("routing", "I6-deadlines-are-kept"),),
        f"SELECT {order('waiting')}::text",
    ),
    Plant(
        "a silent 3PL has no timer",
        (f"UPDATE routing.fulfillments SET state = 'submitted', due_at = NULL WHERE order_id = {order('plain')}",),
        (("routing", "I6-silence-has-a-timer"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "an order waits for a change that nobody asked for",
        (f"UPDATE routing.orders SET change_id = gen_random_uuid() WHERE order_id = {order('waiting')}",),
        (("routing", "I6-one-open-change"),),
        f"SELECT {order('waiting')}::text",
    ),
    Plant(
        "an order was cancelled and is still open",
        (f"UPDATE routing.order_lines SET cancelled = 0 WHERE order_id = {order('cancelled')}",),
        (("routing", "I9-one-answer-per-change"),),
        f"SELECT {order('cancelled')}::text",
    ),
    Plant(
        "nobody knows why an order ships from where it ships",
        (f"DELETE FROM routing.decisions WHERE order_id = {order('plain')}",),
        (("routing", "C10-every-plan-is-explained"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a reservation that came early is forgotten",
        (
            "INSERT INTO routing.early_reservations (event_id, order_id, message, received_at) "
            f"VALUES (gen_random_uuid(), {order('plain')}, '{{}}', now() - interval '1 hour')",
        ),
        (("routing", "I7-early-reservations-are-taken-up"),),
        f"SELECT {order('plain')}::text",
    ),
)

SYNC = (
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
        (f"DELETE FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = {order('plain')}::text",),
        (("sync", "I8-order-said-once"), *((service, "I8-source") for service in ("allocation", "routing", "returns", "portal"))),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "an order is told that sync does not have",
        ("UPDATE sync.channel_orders SET external_id = 'other' WHERE external_id = 'waiting'",),
        (("sync", "I8-order-has-its-row"),),
        f"SELECT {order('waiting')}::text",
    ),
    Plant(
        "an order sells what nobody makes",
        (f"UPDATE sync.channel_orders SET lines = jsonb_set(lines, '{{0,sku}}', '\"GHOST\"') WHERE order_id = {order('plain')}",),
        (("sync", "I2-order-lines-are-products"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "refunds exceed what the channel was paid",
        (f"UPDATE sync.channel_orders SET captured_cents = 1 WHERE order_id = {order('plain')}",),
        (("sync", "I4-refunds-within-captured"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a refund succeeded without the channel's reference",
        (f"UPDATE sync.refunds SET provider_reference = NULL WHERE order_id = {order('plain')}",),
        (("sync", "I4-refund-has-one-reference"),),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "one cent more goes back at the channel",
        (f"UPDATE sync.refunds SET amount_cents = amount_cents + 1 WHERE order_id = {order('plain')}",),
        (("portal+returns+sync", "F-refund_cents_succeeded"), ("sync", "I9-refund-said-once")),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "nobody is told that money moved",
        (f"DELETE FROM sync.outbox WHERE type = 'refund.succeeded.v1' AND subject = {order('plain')}::text",),
        (("sync", "I9-refund-said-once"), ("returns", "I8-source")),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a shipment notice waits until next year",
        (
            "UPDATE sync.shipment_notices SET state = 'due', settled_at = NULL, due_at = now() + interval '1 year' "
            f"WHERE order_id = {order('plain')}",
        ),
        (("sync", "I6-waiting-has-a-time"),),
        f"SELECT fulfillment_id::text FROM sync.shipment_notices WHERE order_id = {order('plain')}",
    ),
    Plant(
        "a refund goes to another order of the channel",
        (f"UPDATE sync.refunds SET external_id = 'split' WHERE order_id = {order('plain')}",),
        (("sync", "I15-partner-owns-its-rows"),),
        f"SELECT refund_id::text FROM returns.refunds WHERE order_id = {order('plain')}",
    ),
)

PORTAL = (
    Plant(
        "a customer never hears that the order was taken",
        (f"DELETE FROM portal.notifications WHERE kind = 'confirmation' AND order_id = {order('plain')}",),
        (("portal", "I12-told"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a customer is told of what never happened",
        (f"UPDATE portal.notifications SET cause_id = gen_random_uuid() WHERE kind = 'shipped' AND order_id = {order('plain')}",),
        (("portal", "I12-caused"), ("portal", "I12-told")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a customer gets two confirmations",
        (
            "ALTER TABLE portal.notifications DROP CONSTRAINT notifications_pkey",
            f"INSERT INTO portal.notifications SELECT * FROM portal.notifications WHERE kind = 'confirmation' AND order_id = {order('plain')}",
        ),
        (("portal", "I12-once"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a customer is told the same new dates twice",
        (
            "INSERT INTO portal.timeline SELECT order_id, type, '00000000-0000-7000-8000-0000000000aa', event_id, source, at, trace_id, data "
            f"FROM portal.timeline WHERE type = 'stock.promise_changed.v1' AND order_id = {order('waiting')}",
            "INSERT INTO portal.notifications SELECT order_id, kind, '00000000-0000-7000-8000-0000000000aa', type, created_at, status, "
            "attempts, due_at, sent_at, reason FROM portal.notifications "
            f"WHERE type = 'stock.promise_changed.v1' AND order_id = {order('waiting')}",
        ),
        (("portal", "I12-dates"),),
        f"SELECT {order('waiting')}::text",
    ),
    Plant(
        "a mail fails without a reason",
        (
            "UPDATE portal.notifications SET status = 'failed', attempts = 1, sent_at = NULL, reason = '' "
            f"WHERE kind = 'confirmation' AND order_id = {order('plain')}",
        ),
        (("portal", "I12-settled"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a shipment is missing in the timeline",
        (f"DELETE FROM portal.timeline WHERE type = 'fulfillment.delivered.v1' AND order_id = {order('plain')}",),
        (("portal", "I10-handled"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "the portal forgets what was bought",
        (f"DELETE FROM portal.order_versions WHERE order_id = {order('plain')}",),
        (("portal", "I10-orders"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "the portal shows another number of units than was bought",
        (f"UPDATE portal.order_versions SET lines = jsonb_set(lines, '{{0,quantity}}', '99') WHERE order_id = {order('plain')}",),
        (("portal", "I10-units"), ("allocation+portal+returns+routing+sync", "F-units_ordered")),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "personal data slips into a timeline",
        (
            'UPDATE portal.timeline SET data = data || \'{"sent_to": "plain@example.com"}\' '
            f"WHERE type = 'fulfillment.shipped.v1' AND order_id = {order('plain')}",
        ),
        (("portal", "P-personal-data"),),
        f"SELECT {order('plain')}::text",
    ),
)

MESSAGES = (
    Plant(
        "a message never arrives",
        (f"DELETE FROM returns.inbox WHERE type = 'fulfillment.shipped.v1' AND subject = {order('plain')}::text",),
        (("returns", "I7-handled"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a message stays in the outbox",
        (f"UPDATE routing.outbox SET sent_at = NULL WHERE type = 'order.cancelled.v1' AND subject = {order('cancelled')}::text",),
        (("routing", "I7-sent"),),
        f"SELECT {order('cancelled')}::text",
    ),
    Plant(
        "a message waits and waits",
        (
            "UPDATE portal.inbox i SET status = 'retry', due_at = now() + interval '1 day', reason = 'not yet', body = o.body "
            "FROM sync.outbox o WHERE o.event_id = i.event_id AND o.type = 'order.placed.v1' "
            f"AND o.subject = {order('plain')}::text",
        ),
        (("portal", "I7-retry"),),
        f"SELECT {order('plain')}::text",
    ),
    Plant(
        "a service hears what nobody said",
        (
            "INSERT INTO allocation.inbox (event_id, source, type, subject, status, received_at) "
            f"VALUES ('00000000-0000-5000-8000-0000000000bb', 'ordermesh/sync', 'order.placed.v1', {order('plain')}::text, 'done', now())",
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
            f"SELECT event_id, 'ordermesh/routing', type, 'done', now() FROM returns.inbox "
            f"WHERE type = 'order.placed.v1' AND subject = {order('plain')}::text",
        ),
        (("returns", "I9-once"), ("returns", "I8-source")),
        f"SELECT event_id::text FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = {order('plain')}::text",
    ),
    Plant(
        "an event is heard as another one",
        (f"UPDATE routing.inbox SET type = 'order.cancelled.v1' WHERE type = 'order.placed.v1' AND subject = {order('plain')}::text",),
        (("routing", "I9-once"),),
        f"SELECT event_id::text FROM sync.outbox WHERE type = 'order.placed.v1' AND subject = {order('plain')}::text",
    ),
    Plant(
        "an outbox row is not what its message says",
        (f"UPDATE routing.outbox SET type = 'order.edited.v1' WHERE type = 'order.cancelled.v1' AND subject = {order('cancelled')}::text",),
        (("routing", "I9-envelope"),),
        f"SELECT event_id::text FROM routing.outbox WHERE subject = {order('cancelled')}::text AND type = 'order.edited.v1'",
    ),
    Plant(
        "a service believes in more cancelled units than all others",
        ("UPDATE returns.cancelled_units SET quantity = quantity + 1",),
        (("allocation+portal+returns+routing", "F-units_cancelled"),),
        f"SELECT {order('cancelled')}::text || '|1'",
    ),
    Plant(
        "a service believes in another order than all others",
        (f"UPDATE routing.order_lines SET quantity = quantity + 1 WHERE order_id = {order('plain')} AND line_id = '2'",),
        (("allocation+portal+returns+routing+sync", "F-units_ordered"),),
        f"SELECT {order('plain')}::text || '|2'",
    ),
)

PLANTS = (*ALLOCATION, *RETURNS, *ROUTING, *SYNC, *PORTAL, *MESSAGES)
