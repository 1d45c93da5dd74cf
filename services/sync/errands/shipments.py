"""Tracking to a channel: every parcel announced once."""

from __future__ import annotations

from collections.abc import Sequence

from services.sync.channels.protocol import Answer
from services.sync.decide.shipments import settle_notice
from services.sync.errands.calls import ChannelCalls, jitter
from services.sync.queries import shipments as queries
from services.sync.queries.shipments import NoticeTask
from shared.contracts.fulfillment import FulfillmentShipped
from shared.messaging.message import Outgoing, Transaction
from shared.service import Errand


def notice_errand(calls: ChannelCalls) -> Errand[NoticeTask, Answer]:
    """Shipment notices of one channel, under the fulfillment's id as idempotency key."""

    async def claim(tx: Transaction, limit: int) -> Sequence[NoticeTask]:
        return await queries.claim_notices(tx.connection, calls.code, tx.now, calls.leased_until(tx.now), limit)

    async def perform(task: NoticeTask) -> Answer:
        return await calls.call("announce_shipment", lambda: calls.channel.announce_shipment(task.shipment, traceparent=task.traceparent))

    async def settle(tx: Transaction, results: Sequence[tuple[NoticeTask, Answer]]) -> Sequence[Outgoing]:
        notices = await queries.lock_notices(tx.connection, [task.shipment.fulfillment_id for task, _ in results])
        settled = [settle_notice(notices[task.shipment.fulfillment_id], task.attempt, answer, tx.now, jitter()) for task, answer in results]
        await queries.save_notices(tx.connection, settled)
        await calls.record_health(tx, [answer for _, answer in results])
        return ()

    return Errand(f"tracking to {calls.code}", claim, perform, settle, concurrency=calls.claim_limit, woken_by=(FulfillmentShipped,))
