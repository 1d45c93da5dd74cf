"""Cancellations by channels: kept, passed on to routing, and their outcome told to who asked."""

from __future__ import annotations

from collections.abc import Sequence

from services.sync.decide import cancellations as decide
from services.sync.decide.cancellations import Answer, Asked
from services.sync.decide.senders import problems_of_sender
from services.sync.decide.shipments import order_lines
from services.sync.decide.texts import reason_of
from services.sync.decide.unreadable import wish_in
from services.sync.queries import cancellations as queries
from services.sync.queries.orders import read_digests, read_order_lines
from shared.contracts.channels import ChannelCancelRequested
from shared.contracts.orders import OrderCancelled, OrderCancelRejected, OrderEdited
from shared.messaging.message import Outgoing, Received, Transaction
from shared.messaging.reading import Unreadable

MOST_AT_ONCE = 200


async def pass_on_cancellations(tx: Transaction, messages: Sequence[Received[ChannelCancelRequested]]) -> list[Outgoing]:
    """Asks routing for what channels call off. What comes before its order is kept until that has arrived; repetitions change nothing."""
    outgoing = []
    wanted: dict[decide.CancellationKey, Received[ChannelCancelRequested]] = {}
    for message in messages:
        problems = problems_of_sender(message.data, message.partner, "cancel")
        if problems:
            tx.park(message, reason_of(problems))
        else:
            wanted.setdefault(decide.key_of(message.data), message)
    orders = await read_digests(tx.connection, {key[:2] for key in wanted})
    asked: dict[decide.CancellationKey, Asked] = {}
    for key, message in wanted.items():
        order_id, _ = orders.get(key[:2], (None, None))
        change_id = None if order_id is None else decide.change_id_of(order_id, key[2], 1)
        request = message.data
        asked[key] = Asked(key, decide.lines_of(request), request.reason, message.event_id, message.traceparent, change_id)
    fresh = await queries.insert_cancellations(tx.connection, list(asked.values()), tx.now, tx.now + decide.WAITS_FOR_ITS_ORDER)
    for key in fresh:
        order_id, _ = orders.get(key[:2], (None, None))
        change_id = asked[key].change_id
        if order_id is not None and change_id is not None:
            command = decide.command_of(order_id, change_id, asked[key])
            outgoing.append(Outgoing(command, subject=str(order_id), because=wanted[key]))
    await _park_contradictions(tx, messages)
    return outgoing


async def _park_contradictions(tx: Transaction, messages: Sequence[Received[ChannelCancelRequested]]) -> None:
    """A cancellation that says something else than the first of its name is left to a person: nobody knows which one is meant."""
    sound = [message for message in messages if message.event_id not in tx.parked]
    rows = await queries.read_cancellations(tx.connection, {decide.key_of(message.data) for message in sound})
    known = {(row["channel"], row["external_id"], row["cancellation_id"]): row["lines"] for row in rows}
    for message in sound:
        key = decide.key_of(message.data)
        if known[key] != decide.lines_of(message.data):
            tx.park(
                message,
                f"cancellation_id: {key[2]!r} of order {key[1]!r} was used for other lines; give every cancellation an id of its own",
            )


async def answer_unreadable_cancellations(tx: Transaction, unreadable: Sequence[Unreadable]) -> list[Outgoing]:
    """Tells channels what was wrong with cancellations that are none; the messages are parked. Of a cancellation that is known its outcome
    is told, and nothing else."""
    default = ChannelCancelRequested.model_fields["cancellation_id"].default
    found = [
        (message, key)
        for message in unreadable
        if (key := wish_in(message.document, message.partner, "cancellation_id", default)) is not None
    ]
    rows = await queries.read_cancellations(tx.connection, {key for _, key in found}) if found else []
    known = {(row["channel"], row["external_id"], row["cancellation_id"]) for row in rows}
    return [Outgoing(decide.refusal(key, "invalid", message.reason, tx.now), partner=key[0]) for message, key in found if key not in known]


async def take_up_waiting_cancellations(tx: Transaction) -> list[Outgoing]:
    """Asks routing for cancellations whose order has arrived by now or whose other change may be over; tells channels of orders that never
    came."""
    passed_on = []
    over = []
    outgoing = []
    for row in await queries.lock_waiting_cancellations(tx.connection, tx.now, MOST_AT_ONCE):
        key = (row["channel"], row["external_id"], row["cancellation_id"])
        order_id = row["order_id"]
        if order_id is None:
            over.append(key)
            detail = f"external_id: no order {key[1]!r} came within {decide.WAITS_FOR_ITS_ORDER.days} days; there is nothing to cancel"
            outgoing.append(Outgoing(decide.refusal(key, "unknown_order", detail, tx.now), partner=key[0]))
            continue
        change_id = decide.change_id_of(order_id, key[2], row["attempts"] + 1)
        asked = Asked(key, row["lines"], row["reason"], row["cause_event_id"], row["cause_traceparent"], change_id)
        passed_on.append((key, change_id))
        outgoing.append(Outgoing(decide.command_of(order_id, change_id, asked), subject=str(order_id)))
    if passed_on:
        await queries.note_passed_on(tx.connection, passed_on)
    if over:
        await queries.give_up_waiting(tx.connection, over, tx.now)
    return outgoing


async def tell_refusals(tx: Transaction, messages: Sequence[Received[OrderCancelRejected]]) -> list[Outgoing]:
    """Tells channels that what they called off ships; asks again where only another open change stood against it."""
    again = [message.data.change_id for message in messages if decide.is_to_be_asked_again(message.data)]
    if again:
        await queries.ask_again(tx.connection, again, tx.now + decide.ASKED_AGAIN_AFTER)
    return await tell_outcomes(tx, [message for message in messages if not decide.is_to_be_asked_again(message.data)])


async def tell_outcomes(
    tx: Transaction, messages: Sequence[Received[OrderEdited] | Received[OrderCancelled] | Received[OrderCancelRejected]]
) -> list[Outgoing]:
    """Tells each channel what became of the cancellations that it asked for, once."""
    answers: dict[object, Received[OrderEdited] | Received[OrderCancelled] | Received[OrderCancelRejected]] = {}
    for message in messages:
        answers.setdefault(message.data.change_id, message)
    if not answers:
        return []
    said: list[Answer] = [message.data for message in answers.values()]
    decided = await queries.decide(tx.connection, [decide.Decided(answer.change_id, decide.outcome_of(answer)) for answer in said], tx.now)
    if not decided:
        return []
    orders = await read_order_lines(tx.connection, {answer.order_id for answer in said if answer.change_id in decided})
    outgoing = []
    for answer in said:
        key = decided.get(answer.change_id)
        if key is not None:
            _, stored = orders[answer.order_id]
            told = decide.decision(key, answer, order_lines(stored), tx.now)
            outgoing.append(Outgoing(told, subject=str(answer.order_id), because=answers[answer.change_id], partner=key[0]))
    return outgoing
