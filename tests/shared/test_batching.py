"""One transaction per batch: each event has its effect once, culprits are isolated, nothing is lost."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import ThirdPartyLabelPrinted
from shared.contracts.orders import OrderCancelRequested, OrderEditRequested, OrderPlaced
from shared.errors import NotYet, Refused
from shared.messaging import inbox
from shared.messaging.message import Received, Transaction
from shared.messaging.reading import Delivery, Reader, Unreadable
from tests.shared.conftest import Workshop, an_order, delivery_of


async def test_a_message_delivered_five_times_has_one_effect_and_says_one_thing(workshop: Workshop) -> None:
    delivery = delivery_of(an_order())
    await workshop.processor().process([delivery, delivery])
    for _ in range(3):
        await workshop.processor().process([delivery])
    assert await workshop.effects() == 1
    assert await workshop.unsent() == 1
    assert await workshop.statuses() == {"done": 1}


async def test_replicas_that_get_the_same_messages_at_once_share_the_effects(workshop: Workshop) -> None:
    deliveries = [delivery_of(an_order(str(number))) for number in range(40)]
    await asyncio.gather(*(workshop.processor().process(deliveries[start:] + deliveries[:start]) for start in (0, 10, 20, 30)))
    assert await workshop.effects() == 40
    assert await workshop.statuses() == {"done": 40}


async def test_one_failing_message_waits_and_its_whole_batch_goes_through(workshop: Workshop) -> None:
    async def fail(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if message.data.external_id == "culprit":
            await tx.connection.execute("INSERT INTO effects (order_id) VALUES ($1)", message.data.order_id)
            raise KeyError("a mistake in a rule")

    workshop.behaviour = fail
    orders = [an_order("culprit" if number == 23 else str(number)) for number in range(50)]
    await workshop.processor().process([delivery_of(order) for order in orders])
    assert await workshop.effects() == 49
    assert await workshop.statuses() == {"done": 49, "retry": 1}
    assert await workshop.reasons() == ["KeyError: 'a mistake in a rule'"]


async def test_a_message_that_keeps_failing_is_parked_with_its_reason_and_can_be_redriven(workshop: Workshop) -> None:
    broken = True

    async def fail(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if broken:
            raise ValueError("no such rate")

    workshop.behaviour = fail
    processor = workshop.processor()
    await processor.process([delivery_of(an_order())])
    for _ in range(5):
        workshop.offset += timedelta(minutes=5)
        await processor.retry_due(10)
    assert await workshop.statuses() == {"parked": 1}
    assert await workshop.reasons() == ["failed 3 times, last with ValueError: no such rate"]
    assert len(workshop.seen) == 3

    broken = False
    event_id: UUID = await workshop.around.pool.fetchval("SELECT event_id FROM inbox")
    async with workshop.around.pool.acquire() as connection:
        assert await inbox.redrive(connection, event_id, workshop.around.now())
    assert await processor.retry_due(10) == 1
    assert await workshop.statuses() == {"done": 1}
    assert await workshop.effects() == 1


async def test_a_failing_message_among_due_ones_does_not_hold_the_others_back(workshop: Workshop) -> None:
    ready = False

    async def fail(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if not ready or message.data.external_id == "culprit":
            raise LookupError("not today")

    workshop.behaviour = fail
    processor = workshop.processor()
    await processor.process([delivery_of(an_order("culprit" if number == 2 else "good")) for number in range(5)])
    assert await workshop.statuses() == {"retry": 5}
    ready = True
    workshop.offset += timedelta(minutes=5)
    await processor.retry_due(10)
    assert await workshop.statuses() == {"done": 4, "retry": 1}
    assert await workshop.effects() == 4


async def test_a_message_that_came_too_early_is_handled_when_its_time_has_come(workshop: Workshop) -> None:
    arrived = False

    async def wait(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if not arrived:
            tx.defer(message, "order 7 has not arrived")

    workshop.behaviour = wait
    processor = workshop.processor()
    await processor.process([delivery_of(an_order())])
    assert await workshop.statuses() == {"retry": 1}
    assert await workshop.reasons() == ["order 7 has not arrived"]
    assert await processor.retry_due(10) == 0, "it is not due yet"
    arrived = True
    workshop.offset += timedelta(minutes=1)
    assert await processor.retry_due(10) == 1
    assert await workshop.effects() == 1


@pytest.mark.parametrize("raised", [True, False])
async def test_a_message_whose_predecessor_never_comes_is_parked_in_the_end(workshop: Workshop, raised: bool) -> None:
    async def wait(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if raised:
            raise NotYet("order 7 has not arrived")
        tx.defer(message, "order 7 has not arrived")

    workshop.behaviour = wait
    processor = workshop.processor()
    await processor.process([delivery_of(an_order())])
    workshop.offset += timedelta(seconds=workshop.around.settings.deferral_seconds + 120)
    await processor.retry_due(10)
    assert await workshop.statuses() == {"parked": 1}
    assert (await workshop.reasons())[0].endswith("order 7 has not arrived")


@pytest.mark.parametrize("raised", [True, False])
async def test_a_message_that_can_never_be_handled_is_parked_at_once(workshop: Workshop, raised: bool) -> None:
    async def refuse(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if message.data.external_id != "culprit":
            return
        if raised:
            raise Refused("lines.0.sku: unknown SKU, register the product first")
        tx.park(message, "lines.0.sku: unknown SKU, register the product first")

    workshop.behaviour = refuse
    await workshop.processor().process([delivery_of(an_order("culprit")), delivery_of(an_order("good"))])
    assert await workshop.statuses() == {"done": 1, "parked": 1}
    assert await workshop.reasons() == ["lines.0.sku: unknown SKU, register the product first"]
    assert await workshop.effects() == 1


def _broken(text: bytes, content_type: str | None = "application/json") -> Delivery:
    return Delivery(text, "order.placed.v1", content_type)


@pytest.mark.parametrize(
    ("delivery", "named"),
    [
        (_broken(b'{"specversion": '), "body: not valid JSON"),
        (_broken(b"\xff\xfe\x00"), "body: not valid JSON: it is not in UTF-8"),
        (_broken('{"type": "order.placed.v1"}'.encode("utf-16-le")), "body: not valid JSON: it is not in UTF-8"),
        (_broken(b"[" * 5_000), "body: not valid JSON: it is nested too deeply"),
        (_broken(b"{}", "text/plain"), "content_type: 'text/plain' is not application/json"),
        (_broken(b"{}", None), "content_type: None is not application/json"),
        (_broken(b'{"type": "order.placed.v9", "id": 5}'), "type: 'order.placed.v9' is an unknown type or version here"),
        (_broken(b'{"type": "order.cancelled.v1", "id": 5}'), "type: 'order.cancelled.v1' is another type here"),
        (_broken(b"[1, 2]"), "body: Input should be an object"),
        (_broken(b'{"type": "order.placed.v1"}'), "id: Field required"),
        (_broken(b'{"type": "order.placed.v9", "type": "order.placed.v1"}'), "id: Field required"),
    ],
)
async def test_what_is_no_message_is_parked_naming_the_field_and_disturbs_nobody(
    workshop: Workshop, delivery: Delivery, named: str
) -> None:
    await workshop.processor().process([delivery_of(an_order()), delivery, delivery_of(an_order())])
    await workshop.processor().process([delivery])
    assert await workshop.statuses() == {"done": 2, "parked": 1}, "a redelivery is parked once"
    assert named in (await workshop.reasons())[0]


async def test_a_negative_quantity_is_parked_naming_line_and_field(workshop: Workshop) -> None:
    good = delivery_of(an_order())
    bad = Delivery(good.body.replace(b'"quantity":2', b'"quantity":-2'), good.routing_key)
    await workshop.processor().process([bad])
    assert "data.lines.0.quantity: Input should be greater than 0" in (await workshop.reasons())[0]


A_CHANGE = {"order_id": str(new_id()), "change_id": str(new_id()), "actor": {"kind": "support", "name": "Kim"}}


@pytest.mark.parametrize(
    ("message", "routing_key", "data", "fields"),
    [
        (
            ThirdPartyLabelPrinted,
            "3pl.west.label_printed.v1",
            {"fulfillment_id": str(new_id()), "carrier": "UPS", "tracking_number": "T\x00x", "printed_at": "2026-03-02T12:00:00Z"},
            ["data.tracking_number"],
        ),
        (
            OrderEditRequested,
            "order.edit_requested.v1",
            {**A_CHANGE, "line_changes": [{"line_id": "1", "quantity": 1}, {"line_id": "a\x00", "quantity": 1, "title": "\x00"}]},
            ["data.line_changes.1.line_id", "data.line_changes.1.title"],
        ),
        (OrderCancelRequested, "order.cancel_requested.v1", {**A_CHANGE, "reason": "written \\u0000", "invented": "a\x00b"}, []),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_nul_in_a_text_that_a_contract_knows_is_refused_by_field(
    message: type[Message], routing_key: str, data: dict[str, Any], fields: list[str]
) -> None:
    envelope = {"specversion": "1.0", "id": str(new_id()), "source": "x", "type": message.type, "time": "2026-03-02T12:00:00Z"}
    delivery = Delivery(json.dumps({**envelope, "subject": "a\x00b", "data": data}).encode(), routing_key)
    content = Reader(message).read(delivery).content
    problems = content.problems if isinstance(content, Unreadable) else ()
    assert [problem.field for problem in problems] == fields
    assert all((problem.problem, problem.remedy) == ("contains a NUL character", "send the text without U+0000") for problem in problems)


async def test_a_twenty_megabyte_body_is_parked_whole(workshop: Workshop) -> None:
    body = b'{"type": "order.placed.v1", "padding": "' + b"x" * 20_000_000 + b'"}'
    await workshop.processor().process([_broken(body), delivery_of(an_order())])
    assert await workshop.statuses() == {"done": 1, "parked": 1}
    assert await workshop.around.pool.fetchval("SELECT length(body) FROM inbox WHERE status = 'parked'") == len(body)


async def test_a_connection_cut_in_the_middle_of_the_work_leaves_one_effect(workshop: Workshop) -> None:
    admin = await workshop.databases.connect_as_admin()
    cuts = 0

    async def cut(tx: Transaction, message: Received[OrderPlaced]) -> None:
        nonlocal cuts
        if cuts < 2:
            cuts += 1
            backend = await tx.connection.fetchval("SELECT pg_backend_pid()")
            await tx.connection.execute("INSERT INTO effects (order_id) VALUES ($1)", message.data.order_id)
            await admin.execute("SELECT pg_terminate_backend($1)", backend)

    workshop.behaviour = cut
    await workshop.processor().process([delivery_of(an_order()) for _ in range(3)])
    assert cuts == 2
    assert await workshop.effects() == 3
    assert await workshop.statuses() == {"done": 3}
    assert not workshop.around.database_away


async def test_deadlocks_are_tried_again_without_parking_anybody(workshop: Workshop) -> None:
    failures = 2

    async def deadlock(tx: Transaction, message: Received[OrderPlaced]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise asyncpg.DeadlockDetectedError("deadlock detected")

    workshop.behaviour = deadlock
    await workshop.processor().process([delivery_of(an_order()) for _ in range(5)])
    assert await workshop.statuses() == {"done": 5}
    assert await workshop.effects() == 5


async def test_a_sender_who_waits_hears_what_became_of_its_message(workshop: Workshop) -> None:
    async def decide(tx: Transaction, message: Received[OrderPlaced]) -> None:
        if message.data.external_id == "park":
            tx.park(message, "lines.0.sku: unknown SKU")
        if message.data.external_id == "defer":
            tx.defer(message, "the order has not arrived")

    workshop.behaviour = decide
    processor = workshop.processor()
    good = delivery_of(an_order("good"))
    done = await processor.handle_now(good)
    assert done.status == "done"
    assert [outgoing.data.type for outgoing in done.messages] == ["stock.reserved.v1"]
    assert (await processor.handle_now(good)).status == "duplicate"
    parked = await processor.handle_now(delivery_of(an_order("park")))
    assert (parked.status, parked.reason) == ("parked", "lines.0.sku: unknown SKU")
    deferred = await processor.handle_now(delivery_of(an_order("defer")))
    assert (deferred.status, deferred.reason) == ("deferred", "the order has not arrived")
    assert await workshop.statuses() == {"done": 1}, "the sender was told, so nothing waits here"
    assert await workshop.effects() == 1


async def test_a_partner_can_not_make_anothers_message_look_like_a_duplicate(workshop: Workshop) -> None:
    event_id = new_id()
    await workshop.processor().process(
        [
            delivery_of(an_order(), event_id=event_id, source="ordermesh/sync"),
            delivery_of(an_order(), event_id=event_id, source="somebody/else"),
        ]
    )
    assert await workshop.effects() == 2


def test_delays_double_and_stay_bounded() -> None:
    assert [inbox.retry_delay(attempts, 1.0).total_seconds() for attempts in (0, 1, 2, 3)] == [0.25, 0.5, 1.0, 2.0]
    assert inbox.retry_delay(1_000, 1.0).total_seconds() == inbox.LONGEST_DELAY_SECONDS
    assert inbox.retry_delay(3, 0.0).total_seconds() == 1.0
