"""Deliveries from a partner that nobody would send by mistake: parked with a reason, and the next message goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.sync.__main__ import SERVICE
from shared.contracts.base import PartnerMessage
from shared.contracts.channels import ChannelCancelRequested, ChannelEditRequested, ChannelOrderReceived
from shared.contracts.envelope import new_id
from shared.messaging import inbox
from shared.messaging.batching import Processor
from shared.messaging.reading import Delivery
from tests.sync.conftest import Desk
from tests.sync.messages import an_order_document
from tests.sync.service_side import SyncHttp

KEY = "channel.shop.order_received.v1"


def an_envelope(**changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "an-adapter",
        "type": "channel.order_received.v1",
        "time": "2026-03-02T12:00:00Z",
        "data": an_order_document(external_id=str(new_id())),
    } | changes


HOSTILE: dict[str, Delivery] = {
    "a NUL in the subject of an order that cannot be read": Delivery(json.dumps(an_envelope(subject="a\x00b", data={})).encode(), KEY),
    "half a surrogate pair in the subject": Delivery(json.dumps(an_envelope(subject="\ud800", data={})).encode(), KEY),
    "a NUL in the external id": Delivery(json.dumps(an_envelope(data=an_order_document(external_id="a\x00b"))).encode(), KEY),
    "no JSON": Delivery(b"\xff\x00{", KEY),
    "JSON nested without end": Delivery(b"[" * 100_000, KEY),
    "another content type": Delivery(b"<order/>", KEY, "application/xml"),
    "no content type": Delivery(json.dumps(an_envelope()).encode(), KEY, None),
    "an unknown major version": Delivery(json.dumps(an_envelope(type="channel.order_received.v9")).encode(), KEY),
    "a quantity beyond all numbers": Delivery(
        json.dumps(an_envelope()).replace('"quantity": 2', '"quantity": 1e999').encode(),
        KEY,
    ),
    "a number of four thousand digits": Delivery(
        json.dumps(an_envelope()).replace('"quantity": 2', '"quantity": ' + "9" * 4_500).encode(),
        KEY,
    ),
    "a date before all dates": Delivery(json.dumps(an_envelope(data=an_order_document(paid_at="0001-01-01T00:00:00+14:00"))).encode(), KEY),
    "half a surrogate pair": Delivery(json.dumps(an_envelope(data=an_order_document(external_id="\ud800"))).encode(), KEY),
    "a misspelt field": Delivery(json.dumps(an_envelope(data=an_order_document(split_polisy="hold_all"))).encode(), KEY),
    "a currency that nobody has": Delivery(json.dumps(an_envelope(data=an_order_document(currency="ZZZ"))).encode(), KEY),
    "an order of another channel": Delivery(json.dumps(an_envelope(data=an_order_document(channel="outlet"))).encode(), KEY),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_delivery_is_parked_answered_and_disturbs_nobody(sync: SyncHttp, desk: Desk, name: str) -> None:
    await desk.set_up("MUG")
    subscription = next(item for item in SERVICE.consumes if item.message is ChannelOrderReceived)
    processor = Processor(subscription, sync.environment.around)
    good = Delivery(json.dumps(an_envelope()).encode(), KEY)
    await processor.process([good, HOSTILE[name], HOSTILE[name]])
    rows = await desk.connection.fetch("SELECT status, reason FROM inbox ORDER BY status")
    assert [row["status"] for row in rows] == ["done", "parked"]
    assert ": " in rows[1]["reason"], "the reason names a field"
    said = await desk.connection.fetch("SELECT type, routing_key FROM outbox WHERE type <> 'product.registered.v1' ORDER BY type")
    assert [row["routing_key"] for row in said] == ["channel.shop.order_rejected.v1", "order.placed.v1"]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "later"])
async def test_another_order_under_an_id_that_was_used_is_parked_and_answered_and_can_be_redriven(
    sync: SyncHttp, desk: Desk, together: bool
) -> None:
    await desk.set_up("MUG")
    subscription = next(item for item in SERVICE.consumes if item.message is ChannelOrderReceived)
    processor = Processor(subscription, sync.environment.around)
    first = an_envelope()
    again = first | {"time": "2026-03-02T13:00:00Z"}
    other = first | {"data": an_order_document(external_id="another order")}
    deliveries = [Delivery(json.dumps(envelope).encode(), KEY) for envelope in (first, again, other, other)]
    for batch in [deliveries] if together else [[delivery] for delivery in deliveries]:
        await processor.process(batch)
    rows = await desk.connection.fetch("SELECT event_id, status, reason FROM inbox ORDER BY status")
    assert [row["status"] for row in rows] == ["done", "parked"], "the same order again is nothing to speak of, told in whatever envelope"
    assert f"id: {first['id']} was used before for a message with other content" in rows[1]["reason"]
    (told,) = await desk.connection.fetch("SELECT body FROM outbox WHERE type = 'channel.order_rejected.v1'")
    rejected = json.loads(told["body"])["data"]
    assert (rejected["event_id"], rejected["external_id"], rejected["problems"][0]["field"]) == (first["id"], "another order", "id")

    assert await inbox.redrive(desk.connection, rows[1]["event_id"], sync.now())
    assert await processor.retry_due(10) == 1
    assert await desk.connection.fetchval("SELECT count(*) FROM channel_orders") == 2
    assert [row["status"] for row in await desk.connection.fetch("SELECT status FROM inbox")] == ["done", "done"]


async def test_a_nul_in_the_subject_of_a_good_order_is_no_obstacle(sync: SyncHttp, desk: Desk) -> None:
    await desk.set_up("MUG")
    subscription = next(item for item in SERVICE.consumes if item.message is ChannelOrderReceived)
    delivery = Delivery(json.dumps(an_envelope(subject="a\x00b")).encode(), KEY)
    await Processor(subscription, sync.environment.around).process([delivery])
    assert await desk.connection.fetchval("SELECT subject FROM inbox") == "ab"
    assert await desk.connection.fetchval("SELECT count(*) FROM channel_orders") == 1


NAMED = [{"external_line_id": "a", "quantity": 1}]
PLACE = an_order_document()["ship_to"]


@pytest.mark.parametrize(
    ("message", "name", "lines", "answered", "mistakes"),
    [
        (
            ChannelEditRequested,
            "edit_id",
            "line_changes",
            "channel.edit_decided.v1",
            [
                {"line_changes": [{"external_line_id": "a", "quantity": -1}]},
                {"service_level": "teleport"},
                {"ship_too": PLACE},
                {"ship_to": {**PLACE, "line1": "a\x00b"}},
            ],
        ),
        (
            ChannelCancelRequested,
            "cancellation_id",
            "lines",
            "channel.cancel_decided.v1",
            [{"lines": [{"external_line_id": "a", "quantity": -7}]}, {"reason": "a\x00"}],
        ),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
async def test_a_wish_that_breaks_its_contract_is_parked_and_refused_in_the_same_words_once(
    sync: SyncHttp,
    desk: Desk,
    message: type[PartnerMessage],
    name: str,
    lines: str,
    answered: str,
    mistakes: list[dict[str, Any]],
) -> None:
    await desk.set_up("MUG")
    await desk.place()
    processor = Processor(next(item for item in SERVICE.consumes if item.message is message), sync.environment.around)
    key = f"channel.shop.{message.type.removeprefix('channel.')}"

    def asking(wish_id: Any, **changes: Any) -> Delivery:
        data = {"channel": "shop", "external_id": "1001", name: wish_id, lines: NAMED, **changes}
        return Delivery(json.dumps(an_envelope(type=message.type, data=data)).encode(), key)

    broken = [asking(f"broken {number}", **mistake) for number, mistake in enumerate(mistakes)]
    nobodys = [asking(5), asking("a\x00"), asking("another's", channel="outlet", **mistakes[0]), asking("known", **mistakes[0])]
    await processor.process([asking("known")])
    for _ in range(2):
        await processor.process(broken + nobodys)
    parked = await desk.connection.fetch("SELECT reason FROM inbox WHERE status = 'parked'")
    assert len(parked) == len(broken) + len(nobodys)
    told = await desk.connection.fetch("SELECT body, routing_key FROM outbox WHERE type = $1", answered)
    said = [json.loads(row["body"])["data"] for row in told]
    assert {row["routing_key"] for row in told} == {f"channel.shop.{answered.removeprefix('channel.')}"}
    assert sorted((answer[name], answer["outcome"], answer["reason"]) for answer in said) == [
        (f"broken {number}", "refused", "invalid") for number in range(len(mistakes))
    ]
    assert {answer["detail"] for answer in said} < {row["reason"] for row in parked}, "in the words that operators see"
