"""The auditor of routing's books must find nothing in good books and name every corruption that is planted."""

from __future__ import annotations

import pytest

from services.routing.audit import FACTS, INVARIANTS
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderCancelRequested
from shared.messaging.message import Connection
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import NEWARK, RENO, SHOPPER, a_line, an_order, reserved
from tests.routing.test_delay_consent import answer, day, delayed
from tests.routing.test_handlers import AMPLE, shipped

Corruption = tuple[str, str]
CORRUPTIONS: list[Corruption] = [
    ("I2-units-once", "UPDATE order_lines SET quantity = quantity - 1 WHERE shipped = 0 AND cancelled = 0"),
    ("I2-units-once", "UPDATE fulfillments SET state = 'submitted', requested_at = now() WHERE state = 'withdrawn'"),
    ("I2-fulfillment-lines-are-order-lines", "UPDATE fulfillment_lines SET sku = 'OTHER'"),
    ("I2-fulfillment-lines-are-order-lines", "DELETE FROM order_lines WHERE shipped > 0"),
    (
        "I2-kits-are-whole",
        "UPDATE order_lines SET kit_line_id = 'k', kit_sku = 'SET', kit_title = '', kit_units = 1;"
        " INSERT INTO order_lines SELECT order_id, 'k.2', 9, sku, title, quantity + 1, unit_price_cents, tax_cents, unit_weight_grams,"
        " hazmat, 0, 0, 0, 0, kit_line_id, kit_sku, kit_title, kit_units FROM order_lines",
    ),
    ("I3-shipped-by-fulfillments", "UPDATE order_lines SET shipped = shipped - 1 WHERE shipped > 0"),
    ("I3-called-off-never-ships", "UPDATE fulfillments SET state = 'called_off' WHERE state = 'shipped'"),
    ("I3-called-off-never-ships", "UPDATE fulfillments SET tracking_number = NULL WHERE state = 'shipped'"),
    ("I3-nothing-left-behind", "UPDATE fulfillment_lines SET shipped = shipped - 1 WHERE shipped > 0"),
    ("I4-cancellation-refund", "UPDATE refunds SET amount_cents = amount_cents + 1"),
    ("I4-cancellation-refund", "DELETE FROM refunds"),
    ("I4-refund-adds-up", "UPDATE refunds SET shipping_cents = shipping_cents + 1"),
    ("I4-refund-adds-up", "UPDATE refunds SET cause_id = gen_random_uuid()"),
    (
        "I4-refund-adds-up",
        "INSERT INTO refunds SELECT gen_random_uuid(), order_id, cause, cause_id, lines, shipping_cents, amount_cents,"
        " currency, requested_at FROM refunds",
    ),
    (
        "I4-paid-edits",
        "UPDATE changes SET answer_type = 'order.edited.v1', answer = '{\"money_delta_cents\": 100}' WHERE answered_at IS NOT NULL",
    ),
    (
        "I4-paid-edits",
        "UPDATE changes SET payment_id = gen_random_uuid(), payment_cents = 5, payment = 'collected' WHERE answered_at IS NOT NULL",
    ),
    ("I6-terminal-or-waiting", "UPDATE orders SET status = 'closed', waiting_for = NULL, waiting_until = NULL, due_at = NULL"),
    ("I6-terminal-or-waiting", "UPDATE order_lines SET cancelled = 0 WHERE cancelled > 0"),
    ("I6-deadlines-are-kept", "UPDATE orders SET due_at = now() - interval '1 hour' WHERE due_at IS NOT NULL"),
    ("I6-silence-has-a-timer", "UPDATE fulfillments SET due_at = NULL WHERE state = 'submitted'"),
    ("I6-silence-has-a-timer", "UPDATE orders SET due_at = due_at + interval '1 day' WHERE due_at IS NOT NULL"),
    ("I6-one-open-change", "UPDATE orders SET change_id = gen_random_uuid() WHERE status = 'released'"),
    ("I6-one-open-change", "UPDATE changes SET answered_at = NULL"),
    ("I6-changes-are-decided", "UPDATE changes SET answered_at = NULL"),
    ("D5-what-left-cancelled-may-come-back", "UPDATE fulfillments SET return_id = NULL WHERE return_id IS NOT NULL"),
    ("I9-one-answer-per-change", "UPDATE order_lines SET quantity = quantity + 1 WHERE cancelled > 0"),
    ("B8-customers-have-a-deadline", "UPDATE orders SET due_at = due_at + interval '1 year' WHERE waiting_for = 'customer_consent'"),
    (
        "B8-customers-have-a-deadline",
        "UPDATE delay_consents SET answer_by = now() - interval '1 day' WHERE outcome IS NULL AND consent = 'required'",
    ),
    ("B8-customers-have-a-deadline", "UPDATE orders SET consent_id = NULL"),
    ("B8-customers-have-a-deadline", "DELETE FROM delay_consents"),
    ("B8-lapsed-is-cancelled-and-refunded", "DELETE FROM refunds"),
    ("B8-lapsed-is-cancelled-and-refunded", "DELETE FROM changes"),
    ("B8-lapsed-is-cancelled-and-refunded", "UPDATE order_lines SET cancelled = 0"),
    ("B8-agreed-or-asked", "UPDATE delay_consents SET outcome = 'consented', settled_at = now() WHERE outcome IS NULL"),
    ("B8-agreed-or-asked", "UPDATE orders SET agreed_ship_at = now() - interval '1 day' WHERE agreed_ship_at IS NOT NULL"),
    ("C10-every-plan-is-explained", "DELETE FROM decisions"),
    ("C10-every-plan-is-explained", "UPDATE fulfillment_lines SET planned = planned + 1"),
    ("C7-slots-are-held", "UPDATE fulfillments SET slot_hour = NULL WHERE state = 'submitted'"),
    ("C7-slots-are-held", "UPDATE fulfillments SET state = 'withdrawn' WHERE state = 'planned'"),
    ("C7-slots-are-held", "DELETE FROM capacity_slots"),
    (
        "I7-early-reservations-are-taken-up",
        "INSERT INTO early_reservations SELECT gen_random_uuid(), order_id, '{}', now() - interval '1 hour' FROM orders",
    ),
]


async def fill(connection: Connection) -> Desk:
    """Books with an order in every stage: waiting, planned, handed over, shipped, cancelled with and without a plan and too late, delayed
    with an open question, with silence, and with a no."""
    desk = Desk(connection)
    await desk.register(RENO.model_copy(update={"fulfillments_per_day": 100, "fulfillments_per_hour": 50}), NEWARK)
    waiting, planned, gone, cancelled, submitted, too_late = (an_order(a_line("1", 3)) for _ in range(6))
    await desk.hear(waiting)
    await desk.plan(planned, AMPLE)
    await desk.hand_over(submitted, AMPLE)
    [pick] = await desk.hand_over(gone, AMPLE)
    await desk.hear(shipped(pick.fulfillment_id, (3, "1")), partner="west")
    await desk.plan(cancelled, AMPLE)
    await desk.hear(OrderCancelRequested(order_id=cancelled.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    [left] = await desk.hand_over(too_late, AMPLE)
    await desk.hear(OrderCancelRequested(order_id=too_late.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    await desk.hear(shipped(left.fulfillment_id, (3, "1")), partner="west")
    await delayed(desk, day(60))
    await delayed(desk, day(20))
    _, question = await delayed(desk, day(60))
    await desk.hear(answer(question, "no"))
    return desk


@pytest.fixture
async def filled(databases: Databases) -> Desk:
    return await fill(await databases.connect("routing"))


async def test_good_books_have_no_violations_and_facts_have_unique_keys(filled: Desk) -> None:
    assert await filled.violations() == []
    for fact in FACTS:
        rows = await filled.connection.fetch(fact.sql)
        assert rows, fact.name
        assert len({row[0] for row in rows}) == len(rows)
        assert all(isinstance(row[0], str) and isinstance(row[1], int) for row in rows)


@pytest.mark.parametrize(("invariant", "sql"), CORRUPTIONS, ids=[f"{name}-{index}" for index, (name, _) in enumerate(CORRUPTIONS)])
async def test_every_planted_corruption_is_named(filled: Desk, databases: Databases, invariant: str, sql: str) -> None:
    admin = await databases.connect_as_admin()
    await admin.execute("SET search_path = routing")
    await admin.execute(sql)
    assert invariant in {name for name, _, _ in await filled.violations()}


def test_every_invariant_is_proven_by_a_corruption() -> None:
    assert {item.id for item in INVARIANTS} == {name for name, _ in CORRUPTIONS}
    assert len({item.id for item in INVARIANTS}) == len(INVARIANTS)


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE order_lines SET cancelled = quantity WHERE shipped > 0",
        "UPDATE order_lines SET quantity = quantity - 1 WHERE shipped > 0",
        "UPDATE orders SET waiting_for = NULL WHERE status = 'released'",
        "UPDATE fulfillment_lines SET shipped = planned + 1",
        "DELETE FROM decisions",
        "UPDATE capacity_slots SET taken = capacity + 1 WHERE taken > 0",
        "UPDATE refunds SET amount_cents = 1",
        "UPDATE delay_consents SET answer_by = NULL",
    ],
)
async def test_the_database_itself_refuses_the_worst(filled: Desk, forbidden: str) -> None:
    with pytest.raises(Exception, match=r"violates check constraint|permission denied"):
        await filled.connection.execute(forbidden)


async def test_one_open_change_per_order_is_a_constraint_of_the_database(filled: Desk) -> None:
    await filled.connection.execute("UPDATE changes SET answered_at = NULL")
    with pytest.raises(Exception, match="changes_one_open_per_order"):
        await filled.connection.execute(
            "INSERT INTO changes SELECT gen_random_uuid(), order_id, kind, request, awaiting, answer_due_at, answer_type, answer,"
            " requested_at, NULL FROM changes"
        )


async def test_facts_follow_the_order(desk: Desk) -> None:
    placed = an_order(a_line("1", 3))
    await desk.hear(placed)
    await desk.hear(reserved(placed, AMPLE, {"1": 1}))
    await desk.hear(OrderCancelRequested(order_id=placed.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
    facts = {fact.name: {row[0]: row[1] for row in await desk.connection.fetch(fact.sql)} for fact in FACTS}
    key = f"{placed.order_id}|1"
    assert (facts["units_ordered"][key], facts["units_shipped"][key], facts["units_cancelled"][key]) == (3, 0, 3)
    assert list(facts["refund_cents_requested"].values()) == [3_600]
