"""The auditor's statements: silent on good books, and each names the corruption planted for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.sync.audit import FACTS, INVARIANTS
from services.sync.errands.calls import ChannelCalls
from services.sync.errands.pushes import push_errand
from services.sync.errands.refunds import refund_errand
from services.sync.errands.shipments import notice_errand
from services.sync.handlers import orders, refunds, shipments
from shared.contracts.orders import OrderPlaced
from shared.messaging.message import Connection
from tests.conftest import Databases
from tests.sync.conftest import Desk, Shopfront
from tests.sync.messages import a_line, a_refund, availability, edited, received, shipped


async def broken(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    """Rules that do not hold, with what they name."""
    found = {}
    for rule in INVARIANTS:
        rows = await connection.fetch(rule.sql)
        if rows:
            found[rule.id] = [(row[0], row[1]) for row in rows]
    return found


@pytest.fixture
async def placed(desk: Desk, shop: Shopfront, calls: ChannelCalls) -> OrderPlaced:
    """Good books: numbers told, an order of two lines, a refund that succeeded and one that failed, a parcel announced."""
    desk.now = datetime.now(UTC)
    await desk.set_up("MUG", "LAMP")
    await desk.change_availability(availability("MUG", 5, 1, changed_at=desk.now), availability("LAMP", 0, 2, changed_at=desk.now))
    await desk.run(push_errand(calls))
    placed = await desk.place(paid_at=desk.now, lines=[a_line("MUG", 2), a_line("LAMP", line="b")])
    errand = refund_errand(calls)
    await desk.handle(refunds.request_refunds, received(a_refund(placed, 1000)), received(a_refund(placed, 1500)))
    await desk.run(errand)
    await shop.behave(error_rate=1.0, status=422)
    await desk.handle(refunds.request_refunds, received(a_refund(placed, 100)))
    await desk.run(errand)
    await shop.behave()
    await desk.handle(shipments.schedule_notices, received(shipped(placed)))
    await desk.run(notice_errand(calls))
    return placed


async def test_good_books_break_no_rule(desk: Desk, placed: OrderPlaced) -> None:
    assert await broken(desk.connection) == {}
    states = [row["state"] for row in await desk.connection.fetch("SELECT state FROM refunds ORDER BY refund_id")]
    assert states == ["succeeded", "succeeded", "failed"]


async def test_what_is_under_way_breaks_no_rule(desk: Desk, placed: OrderPlaced, shop: Shopfront, calls: ChannelCalls) -> None:
    await shop.behave(error_rate=1.0)
    await desk.change_availability(availability("MUG", 4, 3, changed_at=desk.now))
    await desk.handle(refunds.request_refunds, received(a_refund(placed, 10)))
    await desk.handle(shipments.schedule_notices, received(shipped(placed)))
    assert await broken(desk.connection) == {}
    for errand in (push_errand(calls), refund_errand(calls), notice_errand(calls)):
        await desk.run(errand)
        assert await broken(desk.connection) == {}


CORRUPTIONS = {
    "a channel took another number": ("I11-channel-shows-latest", "UPDATE listing_stock SET accepted_available = 6 WHERE sku = 'MUG'"),
    "a channel took another mode": ("I11-channel-shows-latest", "UPDATE listing_stock SET accepted_mode = 'backorder' WHERE sku = 'LAMP'"),
    "a listing was forgotten": ("I11-channel-shows-latest", "DELETE FROM listing_stock WHERE sku = 'MUG'"),
    "a push that is never due": (
        "I11-channel-shows-latest",
        "UPDATE listing_stock SET accepted_version = NULL, due_at = now() + interval '1 hour' WHERE sku = 'MUG'",
    ),
    "a push that nobody performs": (
        "I11-channel-shows-latest",
        "UPDATE listing_stock SET accepted_version = NULL, due_at = now() - interval '1 hour' WHERE sku = 'MUG'",
    ),
    "a newer number did not reach the listing": ("I11-newest-wins", "UPDATE stock_numbers SET stock_version = 9 WHERE sku = 'MUG'"),
    "an older number overwrote a newer one": ("I11-newest-wins", "UPDATE listing_stock SET wanted_version = 0 WHERE sku = 'MUG'"),
    "a doubt that nobody clears": ("I11-doubt-is-due", "UPDATE listing_stock SET sending_since = now() WHERE sku = 'MUG'"),
    "one external id, two orders": (
        "I9-order-once",
        """
        ALTER TABLE channel_orders DROP CONSTRAINT channel_orders_channel_external_id_key;
        INSERT INTO channel_orders (order_id, channel, external_id, content_digest, placed_at, received_at, currency, captured_cents, lines)
        SELECT gen_random_uuid(), channel, external_id, content_digest, placed_at, received_at, currency, captured_cents, lines
        FROM channel_orders
        """,
    ),
    "an order that was never told": ("I8-order-said-once", "DELETE FROM outbox WHERE type = 'order.placed.v1'"),
    "an order told twice": (
        "I8-order-said-once",
        """
        INSERT INTO outbox (event_id, type, subject, exchange, routing_key, body, created_at)
        SELECT gen_random_uuid(), type, subject, exchange, routing_key, body, created_at FROM outbox WHERE type = 'order.placed.v1'
        """,
    ),
    "an order told under another external id": (
        "I8-order-has-its-row",
        "UPDATE outbox SET body = replace(convert_from(body, 'UTF8'), '\"1001\"', '\"1002\"')::bytea WHERE type = 'order.placed.v1'",
    ),
    "a message about an order that is not in the books": (
        "I8-order-has-its-row",
        """
        INSERT INTO outbox (event_id, type, subject, exchange, routing_key, body, created_at)
        SELECT gen_random_uuid(), type, gen_random_uuid()::text, exchange, routing_key, body, created_at
        FROM outbox WHERE type = 'order.placed.v1'
        """,
    ),
    "a line of no units": (
        "I2-order-lines-are-products",
        "UPDATE channel_orders SET lines = jsonb_set(lines, '{0,quantity}', '0')",
    ),
    "a line of nothing we sell": (
        "I2-order-lines-are-products",
        "UPDATE channel_orders SET lines = jsonb_set(lines, '{1,sku}', '\"SOFA\"')",
    ),
    "a line twice": ("I2-order-lines-are-products", "UPDATE channel_orders SET lines = lines || (lines -> 0)"),
    "a line with the units of fewer kits than were bought": (
        "I2-kits-are-whole",
        "UPDATE channel_orders SET lines = "
        """jsonb_set(lines, '{0,kit}', '{"line_id": "k", "sku": "SET", "title": "", "quantity": 3, "units_per_kit": 1}')""",
    ),
    "a kit of nothing": ("I2-kits-hold-no-kits", "UPDATE products SET is_kit = true WHERE sku = 'MUG'"),
    "a product that has components but is no kit": (
        "I2-kits-hold-no-kits",
        "INSERT INTO kit_components (kit_sku, sku, quantity, position) VALUES ('MUG', 'LAMP', 1, 0)",
    ),
    "one cent more refund than was paid": (
        "I4-refunds-within-captured",
        "UPDATE channel_orders SET captured_cents = 2499",
    ),
    "a success without a reference": (
        "I4-refund-has-one-reference",
        "UPDATE refunds SET provider_reference = NULL WHERE state = 'succeeded' AND amount_cents = 1000",
    ),
    "a failure with a reference": ("I4-refund-has-one-reference", "UPDATE refunds SET provider_reference = 'x' WHERE state = 'failed'"),
    "one movement for two refunds": (
        "I4-refund-has-one-reference",
        "UPDATE refunds SET provider_reference = 'shop-refund-1' WHERE state = 'succeeded'",
    ),
    "a success that was never told": (
        "I9-refund-said-once",
        "DELETE FROM outbox WHERE type = 'refund.succeeded.v1' AND convert_from(body, 'UTF8') LIKE '%:1000,%'",
    ),
    "a success told twice": (
        "I9-refund-said-once",
        """
        INSERT INTO outbox (event_id, type, subject, exchange, routing_key, body, created_at)
        SELECT gen_random_uuid(), type, subject, exchange, routing_key, body, created_at FROM outbox WHERE type = 'refund.succeeded.v1'
        """,
    ),
    "a success told with another amount": ("I9-refund-said-once", "UPDATE refunds SET amount_cents = 999 WHERE amount_cents = 1000"),
    "a refund that nobody executes": (
        "I6-waiting-has-a-time",
        "UPDATE refunds SET state = 'unknown', settled_at = NULL, due_at = now() - interval '1 day' WHERE state = 'failed'",
    ),
    "a parcel that nobody announces": (
        "I6-waiting-has-a-time",
        "UPDATE shipment_notices SET state = 'due', due_at = now() + interval '1 day'",
    ),
    "a refund at another channel": ("I15-partner-owns-its-rows", "UPDATE refunds SET channel = 'outlet' WHERE state = 'failed'"),
    "a parcel announced for another order": ("I15-partner-owns-its-rows", "UPDATE shipment_notices SET external_id = '1002'"),
}


@pytest.mark.parametrize("planted", CORRUPTIONS)
async def test_a_planted_corruption_is_named(desk: Desk, placed: OrderPlaced, databases: Databases, planted: str) -> None:
    rule, statement = CORRUPTIONS[planted]
    admin = await databases.connect_as_admin()
    await admin.execute("SET search_path = sync")
    transaction = admin.transaction()
    await transaction.start()
    try:
        await admin.execute(statement)
        found = await broken(admin)
    finally:
        await transaction.rollback()
    assert rule in found
    assert all(subject and detail for subject, detail in found[rule])


async def test_no_rule_is_without_a_corruption_that_it_names() -> None:
    assert {rule for rule, _ in CORRUPTIONS.values()} == {rule.id for rule in INVARIANTS}


async def test_the_facts_are_what_the_books_say(desk: Desk, placed: OrderPlaced) -> None:
    facts = {fact.name: {row[0]: row[1] for row in await desk.connection.fetch(fact.sql)} for fact in FACTS}
    assert facts["available_to_sell"] == {"MUG": 5, "LAMP": 0}
    assert facts["units_ordered"] == {f"{placed.order_id}|a": 2, f"{placed.order_id}|b": 1}
    assert sorted(facts["refund_cents_succeeded"].values()) == [1000, 1500]


async def test_a_channels_own_number_is_a_fact_while_it_is_not_older_than_everybodys(desk: Desk, placed: OrderPlaced) -> None:
    [fact] = [fact for fact in FACTS if fact.name == "available_to_channel"]
    insert = (
        "INSERT INTO stock_numbers SELECT sku, 'shop', 2, mode, NULL, stock_version - $1, changed_at FROM stock_numbers WHERE sku = 'MUG'"
    )
    await desk.connection.execute(insert, 1)
    assert await desk.connection.fetch(fact.sql) == []
    await desk.connection.execute("UPDATE stock_numbers SET stock_version = stock_version + 1 WHERE pool = 'shop'")
    assert [tuple(row) for row in await desk.connection.fetch(fact.sql)] == [("MUG|shop", 2)]
    assert "I11-newest-wins" in await broken(desk.connection)


async def test_an_edited_order_states_its_new_units(desk: Desk, placed: OrderPlaced) -> None:
    await desk.handle(orders.record_edits, received(edited(placed, 2, 7)))
    [fact] = [fact for fact in FACTS if fact.name == "units_ordered"]
    assert {row[0]: row[1] for row in await desk.connection.fetch(fact.sql)} == {f"{placed.order_id}|a": 7}


async def test_a_push_may_be_late_by_minutes_without_breaking_a_rule(desk: Desk, placed: OrderPlaced) -> None:
    late = datetime.now(UTC) - timedelta(minutes=5)
    await desk.connection.execute("UPDATE listing_stock SET accepted_version = NULL, due_at = $1", late)
    assert await broken(desk.connection) == {}
