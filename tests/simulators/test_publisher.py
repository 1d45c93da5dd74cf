"""The channel adapter's publisher, with a channel's real rights on a real broker."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected, FieldProblem
from shared.contracts.envelope import Envelope, new_id
from shared.contracts.holds import ChannelHoldAnswered, HeldLine
from simulators.adapter.generated_day import generate_day
from simulators.adapter.publisher import Adapters, ChannelAdapter, NotPublishedError, Sent
from simulators.adapter.replay import Replay, SourceOrder
from simulators.adapter.sources import move_in_time
from tests.simulators.conftest import Bench


def a_day(bench: Bench, orders: int) -> Replay:
    return generate_day(seed=3, channels=[bench.codes["shop"]], orders=orders)


async def test_every_order_arrives_once_as_the_contract_says(bench: Bench) -> None:
    replay = a_day(bench, 450)
    adapters = Adapters({bench.codes["shop"]: bench.urls["shop"]})
    sent: list[Sent] = []
    await adapters.publish_all(replay.orders, paced=False, on_sent=sent.extend)
    await adapters.close()
    queue = await bench.channel.get_queue(f"simulated_oms.{ChannelOrderReceived.type}", ensure=False)
    bodies = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        bodies.append(json.loads(message.body))
    assert len(bodies) == len(replay.orders) == len(sent)
    assert {body["id"] for body in bodies} == {str(item.event_id) for item in sent}
    good = {order.external_id for order in replay.good_orders}
    for body in bodies:
        if body["data"]["external_id"] in good:
            Envelope[ChannelOrderReceived].model_validate(body)
    assert len({body["traceparent"] for body in bodies}) == len(bodies)


async def test_paced_orders_leave_at_their_time(bench: Bench) -> None:
    replay = a_day(bench, 100)
    start = datetime.now(UTC)
    orders = move_in_time(replay.orders, start, 2.0)
    adapters = Adapters({bench.codes["shop"]: bench.urls["shop"]})
    sent: list[Sent] = []
    await adapters.publish_all(orders, paced=True, on_sent=sent.extend)
    await adapters.close()
    assert all(item.sent_at >= item.order.arrives_at for item in sent)
    assert timedelta(seconds=1.5) < sent[-1].sent_at - start < timedelta(seconds=6)


async def test_a_channel_may_not_speak_for_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.adapter.publisher.ATTEMPTS", 2)
    (order, *_) = a_day(bench, 5).orders
    stranger = ChannelAdapter("stranger", bench.urls["shop"])
    with pytest.raises(NotPublishedError, match="ACCESS_REFUSED"):
        await stranger.publish([SourceOrder("stranger", order.external_id, order.arrives_at, order.content)])
    await stranger.close()


async def test_an_unknown_channel_is_named(bench: Bench) -> None:
    with pytest.raises(NotPublishedError, match="channel nobody: no broker URL"):
        Adapters({"webshop": bench.urls["shop"]}).adapter("nobody")


async def test_a_lost_connection_costs_no_order(bench: Bench) -> None:
    replay = a_day(bench, 300)
    adapter = ChannelAdapter(bench.codes["shop"], bench.urls["shop"])
    for start in range(0, len(replay.orders), 50):
        await adapter.publish(replay.orders[start : start + 50])
        assert adapter._connection is not None
        await adapter._connection.close()
    assert await bench.waiting(f"simulated_oms.{ChannelOrderReceived.type}") == len(replay.orders)
    await adapter.close()


async def test_what_the_channel_is_answered_is_kept_by_order(bench: Bench) -> None:
    shop = bench.codes["shop"]
    adapter = ChannelAdapter(shop, bench.urls["shop"])
    refusal = ChannelOrderRejected(
        channel=shop,
        external_id="1001",
        event_id=new_id(),
        problems=[FieldProblem(field="lines.0.sku", problem="unknown", remedy="register it")],
        rejected_at=datetime.now(UTC),
    )
    envelope = Envelope[ChannelOrderRejected](
        id=new_id(), source="sync", type=ChannelOrderRejected.type, time=datetime.now(UTC), data=refusal
    )
    held = ChannelHoldAnswered(
        hold_id=new_id(),
        channel=shop,
        outcome="held",
        lines=[HeldLine(sku="MUG", asked=1, held=1)],
        expires_at=datetime.now(UTC),
        answered_at=datetime.now(UTC),
    )
    about_hold = Envelope[ChannelHoldAnswered](
        id=new_id(), source="allocation", type=ChannelHoldAnswered.type, time=datetime.now(UTC), data=held
    )
    async with adapter.listening():
        await bench.say(ChannelOrderRejected, shop, b"garbage")
        await bench.say(ChannelHoldAnswered, shop, about_hold.model_dump_json().encode())
        await bench.say(ChannelOrderRejected, shop, envelope.model_dump_json().encode())
        async with asyncio.timeout(10):
            while "1001" not in adapter.rejections:  # noqa: ASYNC110 - the broker decides when
                await asyncio.sleep(0.02)
    assert adapter.rejections["1001"] == [refusal]
    assert adapter.hold_answers == {held.hold_id: [held]}
    assert adapter.unreadable_answers == 1
    assert await bench.waiting(f"channel.{shop}.commands") == 0
