"""The portal's audit: silent over a true story, and naming every lie that is planted into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from services.portal.audit import FACTS, INVARIANTS
from shared.contracts.envelope import new_id
from shared.contracts.orders import LineUnits
from shared.messaging.message import Connection
from tests.portal import stories
from tests.portal.stories import NOON, at, line, received, units
from tests.portal.telling import hand_over

ORDER = UUID("0199aaaa-0000-7000-8000-000000000001")


@pytest.fixture
async def books(connection: Connection, admin: Connection) -> Connection:
    """A portal that has seen everything there is to see; the connection may do anything."""
    parcel, return_id, early = new_id(), new_id(), new_id()
    story: list[Any] = [
        stories.shipped(early, new_id()),
        stories.placed(ORDER, lines=[line("1", 3), line("2", 1)]),
        stories.reserved(ORDER, 3),
        stories.backordered(ORDER, 1, line_id="2"),
        stories.backordered(ORDER, 1, line_id="2", cause="shortage"),
        stories.promise_changed(ORDER, at(900)),
        stories.delayed(ORDER, "silence", at(900)),
        stories.delayed(ORDER, "required", at(99_000), minutes=4),
        stories.delay_settled(ORDER, new_id(), "replaced"),
        stories.edited(ORDER, 2, [line("1", 2), line("2", 1)]),
        stories.started(ORDER, parcel),
        stories.shipped(ORDER, parcel),
        stories.delivered(ORDER, parcel),
        stories.change_pending(ORDER, new_id()),
        stories.cancel_rejected(ORDER, "stale_version"),
        stories.cancel_rejected(ORDER, "fulfillment_started"),
        stories.payment_dropped(ORDER, "cancelled_in_part"),
        stories.payment_dropped(ORDER, "cancelled"),
        stories.cancelled(ORDER, [LineUnits(line_id="2", sku="MUG-BLUE", quantity=1)]),
        stories.return_approved(ORDER, return_id),
        stories.return_inspected(ORDER, return_id),
        stories.refund_succeeded(ORDER, UUID("0199aaaa-0000-7000-8000-00000000000f")),
        stories.return_closed(ORDER, return_id),
        stories.placed(new_id(), external_id="#1002"),
    ]
    for message in story:
        envelope = received(message)
        await hand_over(connection, envelope)
        await connection.execute(
            "INSERT INTO inbox (event_id, source, type, subject, status, received_at, handled_at) VALUES ($1, $2, $3, $4, 'done', $5, $5)",
            envelope.event_id,
            envelope.source,
            message.type,
            str(message.order_id),
            NOON,
        )
    await connection.execute("UPDATE notifications SET status = 'sent', sent_at = $1, attempts = 1 WHERE kind = 'shipped'", NOON)
    return admin


async def violated(books: Connection) -> dict[str, list[tuple[str, str]]]:
    """The invariants that do not hold, with what they complain about."""
    found = {}
    for invariant in INVARIANTS:
        rows = await books.fetch(invariant.sql)
        if rows:
            found[invariant.id] = [(row[0], row[1]) for row in rows]
    return found


async def fact(books: Connection, name: str) -> dict[str, int]:
    """What the portal states under one name."""
    (statement,) = (item.sql for item in FACTS if item.name == name)
    return {row[0]: row[1] for row in await books.fetch(statement)}


async def test_a_true_story_violates_nothing(books: Connection) -> None:
    assert await violated(books) == {}


async def test_states_where_the_units_and_the_money_went(books: Connection) -> None:
    ordered = await fact(books, "units_ordered")
    assert (ordered[f"{ORDER}|1"], ordered[f"{ORDER}|2"], len(ordered)) == (2, 1, 3)
    shipped = await fact(books, "units_shipped")
    assert shipped[f"{ORDER}|1"] == 2
    assert await fact(books, "units_cancelled") == {f"{ORDER}|2": 1}
    assert await fact(books, "refund_cents_succeeded") == {"0199aaaa-0000-7000-8000-00000000000f": 1300}
    assert list((await fact(books, "units_restocked")).values()) == [1]


def test_the_statements_have_names_of_their_own() -> None:
    assert len({invariant.id for invariant in INVARIANTS}) == len(INVARIANTS) >= 4
    assert len({item.name for item in FACTS}) == len(FACTS)


CORRUPTIONS: Sequence[tuple[str, str, str]] = (
    ("a confirmation that was never written", "DELETE FROM notifications WHERE kind = 'confirmation' AND order_id = '{order}'", "I12-told"),
    ("a delay nobody was told of", "DELETE FROM notifications WHERE kind = 'delay' AND type = 'order.delayed.v1'", "I12-told"),
    ("a first date nobody was told of", "DELETE FROM notifications WHERE kind = 'delay' AND type = 'stock.backordered.v1'", "I12-told"),
    ("an unpaid change that nobody was told is dropped", "DELETE FROM notifications WHERE kind = 'payment_dropped'", "I12-told"),
    ("a refused cancellation nobody was told of", "DELETE FROM notifications WHERE kind = 'change_refused'", "I12-told"),
    (
        "a mail about a parcel that never left",
        "INSERT INTO notifications (order_id, kind, cause_id, type, created_at, due_at) "
        "VALUES ('{order}', 'shipped', gen_random_uuid(), 'fulfillment.shipped.v1', now(), now())",
        "I12-caused",
    ),
    (
        "a second confirmation",
        "INSERT INTO notifications (order_id, kind, cause_id, type, created_at, due_at) "
        "VALUES ('{order}', 'confirmation', gen_random_uuid(), 'order.placed.v1', now(), now())",
        "I12-once",
    ),
    (
        "the same mail twice",
        "ALTER TABLE notifications DROP CONSTRAINT notifications_pkey; "
        "INSERT INTO notifications SELECT * FROM notifications WHERE kind = 'refund'",
        "I12-once",
    ),
    (
        "the same dates told twice for one cause",
        "UPDATE timeline SET data = (SELECT data FROM timeline t WHERE t.type = 'order.delayed.v1' ORDER BY at, fact_id LIMIT 1) "
        "WHERE type = 'order.delayed.v1'",
        "I12-dates",
    ),
    (
        "a sent mail without a time",
        "ALTER TABLE notifications DROP CONSTRAINT notifications_check; UPDATE notifications SET sent_at = NULL WHERE kind = 'shipped'",
        "I12-settled",
    ),
    ("a mail that was sent without a try", "UPDATE notifications SET attempts = 0 WHERE kind = 'shipped'", "I12-settled"),
    ("a handled event without its effect", "DELETE FROM timeline WHERE type = 'fulfillment.delivered.v1'", "I10-handled"),
    ("a placed order that nobody knows", "DELETE FROM orders WHERE order_id = '{order}'", "I10-orders"),
    ("an order that was never placed", "DELETE FROM timeline WHERE type = 'order.placed.v1' AND order_id = '{order}'", "I10-orders"),
    ("a version that was lost", "DELETE FROM order_versions WHERE order_version = 2", "I10-orders"),
    (
        "a version that nobody made",
        "INSERT INTO order_versions SELECT order_id, 3, lines, ship_to FROM order_versions WHERE order_version = 2",
        "I10-orders",
    ),
    (
        "one unit more than was placed",
        "UPDATE order_versions SET lines = jsonb_set(lines, '{0,quantity}', '4') WHERE order_version = 1 AND order_id = '{order}'",
        "I10-units",
    ),
    (
        "an address in the timeline",
        "UPDATE timeline SET data = data || jsonb_build_object('detail', 'ask ADA@example.com') WHERE type = 'order.cancelled.v1'",
        "P-personal-data",
    ),
)


@pytest.mark.parametrize(("what", "corruption", "invariant"), CORRUPTIONS, ids=[what for what, _, _ in CORRUPTIONS])
async def test_a_planted_lie_is_named(books: Connection, what: str, corruption: str, invariant: str) -> None:
    lie = books.transaction()
    await lie.start()
    await books.execute(corruption.replace("{order}", str(ORDER)))
    found = await violated(books)
    # Some lies change tables that the next test uses as well.
    await lie.rollback()
    assert invariant in found, what
    assert all(subject and detail for complaints in found.values() for subject, detail in complaints)


async def test_units_are_counted_over_all_parcels(connection: Connection, admin: Connection) -> None:
    order = new_id()
    for _ in range(2):
        await hand_over(connection, received(stories.shipped(order, new_id(), [units(quantity=2)])))
    assert await fact(admin, "units_shipped") == {f"{order}|1": 4}
