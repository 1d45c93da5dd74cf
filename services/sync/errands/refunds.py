"""Money back at a channel: one key, one movement, however often we have to ask."""

from __future__ import annotations

from collections.abc import Sequence

from services.sync.channels.protocol import Absent, Answer
from services.sync.decide.refunds import settle_refund
from services.sync.errands.calls import ChannelCalls, jitter
from services.sync.queries import refunds as queries
from services.sync.queries.refunds import RefundTask
from shared.contracts.returns import RefundExecutionRequested
from shared.messaging.message import Outgoing, Received, Transaction
from shared.service import Errand


def refund_errand(calls: ChannelCalls) -> Errand[RefundTask, Answer]:
    """Refunds of one channel. After the first attempt nobody knows whether money moved, so each further one begins with a look-up."""

    async def claim(tx: Transaction, limit: int) -> Sequence[RefundTask]:
        return await queries.claim_refunds(tx.connection, calls.code, tx.now, calls.leased_until(tx.now), limit)

    async def perform(task: RefundTask) -> Answer:
        if task.attempt > 1:
            found = await calls.call("find_refund", lambda: calls.channel.find_refund(task.order))
            if not isinstance(found, Absent):
                return found
        return await calls.call("refund", lambda: calls.channel.refund(task.order, traceparent=task.traceparent))

    async def settle(tx: Transaction, results: Sequence[tuple[RefundTask, Answer]]) -> Sequence[Outgoing]:
        return await _settle(calls, tx, results)

    return Errand(f"refunds at {calls.code}", claim, perform, settle, concurrency=calls.claim_limit, woken_by=(RefundExecutionRequested,))


async def _settle(calls: ChannelCalls, tx: Transaction, results: Sequence[tuple[RefundTask, Answer]]) -> list[Outgoing]:
    refunds = await queries.lock_refunds(tx.connection, [task.order.refund_id for task, _ in results])
    outgoing = []
    for task, answer in results:
        refund, event = settle_refund(refunds[task.order.refund_id], task.attempt, answer, tx.now, jitter())
        refunds[refund.refund_id] = refund
        if event is not None:
            # The command was handled long ago; what is left of it keeps the trace unbroken.
            cause = Received(event_id=refund.cause_event_id, source="ordermesh/returns", data=event, traceparent=refund.cause_traceparent)
            outgoing.append(Outgoing(event, subject=str(refund.order_id), because=cause))
    await queries.save_refunds(tx.connection, list(refunds.values()))
    await calls.record_health(tx, [answer for _, answer in results])
    return outgoing
