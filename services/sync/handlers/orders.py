"""Orders from channels, and what happened to them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.sync.decide import orders as decide
from services.sync.decide.cancellations import order_as_cancelled, order_as_edited
from services.sync.decide.texts import reason_of
from services.sync.handlers import edits
from services.sync.handlers.cancellations import tell_outcomes
from services.sync.queries import orders as queries
from services.sync.queries.orders import NewOrder
from shared.contracts.channels import ChannelOrderReceived, FieldProblem
from shared.contracts.orders import OrderCancelled, OrderEdited, OrderLine, OrderPlaced
from shared.messaging.message import Outgoing, Received, Transaction
from shared.messaging.reading import Unreadable
from shared.text import is_storable


@dataclass(frozen=True, slots=True)
class _Arrival:
    message: Received[ChannelOrderReceived]
    problems: list[FieldProblem]
    digest: bytes


async def receive_orders(tx: Transaction, messages: Sequence[Received[ChannelOrderReceived]]) -> list[Outgoing]:
    """Places what is new and valid; repetitions change nothing; the rest is parked and its adapter told.

    Two round trips when every order is new and valid, one more when there is something to compare. The unique key on (channel, external
    id) decides between two that arrive at once.
    """
    wanted = {(message.data.channel, line.sku) for message in messages for line in message.data.lines}
    catalogue = await queries.read_catalogue(tx.connection, wanted)
    arrivals = [
        _Arrival(
            message,
            decide.problems_of_order(message.data, partner=message.partner, catalogue=catalogue, now=tx.now),
            decide.content_digest(message.data),
        )
        for message in messages
    ]
    candidates: dict[decide.OrderKey, tuple[_Arrival, OrderPlaced]] = {}
    for arrival in arrivals:
        key = decide.key_of(arrival.message.data)
        if not arrival.problems and key not in candidates:
            candidates[key] = (arrival, decide.canonical_order(arrival.message.data, tx.new_id(), catalogue))
    taken = await queries.insert_orders(tx.connection, [_row(*candidate) for candidate in candidates.values()], tx.now)
    outgoing = [
        Outgoing(placed, subject=str(placed.order_id), because=arrival.message)
        for arrival, placed in candidates.values()
        if placed.order_id in taken
    ]
    placed_now = {id(arrival) for arrival, placed in candidates.values() if placed.order_id in taken}
    others = [arrival for arrival in arrivals if id(arrival) not in placed_now]
    if others:
        outgoing += await _answer_others(tx, others)
    return outgoing


def _row(arrival: _Arrival, placed: OrderPlaced) -> NewOrder:
    return NewOrder(
        order_id=placed.order_id,
        channel=placed.channel,
        external_id=placed.external_id,
        content_digest=arrival.digest,
        placed_at=placed.placed_at,
        currency=placed.currency,
        captured_cents=decide.captured_cents(arrival.message.data),
        lines=_lines(placed.lines),
    )


def _lines(lines: Sequence[OrderLine]) -> list[dict[str, Any]]:
    return [
        {"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity}
        | ({} if line.kit is None else {"kit": line.kit.model_dump(mode="json")})
        for line in lines
    ]


async def _answer_others(tx: Transaction, arrivals: Sequence[_Arrival]) -> list[Outgoing]:
    """Repetitions are silently done; everything else is parked and rejected."""
    keys = {decide.key_of(arrival.message.data) for arrival in arrivals}
    known = await queries.read_digests(tx.connection, {key for key in keys if is_storable(key[1])})
    outgoing = []
    for arrival in arrivals:
        message = arrival.message
        _, known_digest = known.get(decide.key_of(message.data), (None, None))
        problems = decide.judge_repetition(message.data, arrival.problems, arrival.digest, known_digest)
        if problems:
            tx.park(message, reason_of(problems))
            outgoing += _rejection(tx, message, problems)
    return outgoing


def _rejection(tx: Transaction, message: Received[ChannelOrderReceived], problems: list[FieldProblem]) -> list[Outgoing]:
    channel = message.partner or message.data.channel
    rejected = decide.rejection(
        channel=channel, external_id=message.data.external_id, event_id=message.event_id, problems=problems, now=tx.now
    )
    return [] if rejected is None else [Outgoing(rejected, because=message, partner=channel)]


async def answer_unreadable_orders(tx: Transaction, unreadable: Sequence[Unreadable]) -> list[Outgoing]:
    """Tells adapters what was wrong with messages that are no orders at all; the messages themselves are parked by the runtime."""
    answers = []
    for message in unreadable:
        rejected = decide.rejection(
            channel=message.partner,
            external_id=decide.external_id_in(message.document),
            event_id=message.stated_id,
            problems=list(message.problems),
            now=tx.now,
        )
        if rejected is not None:
            answers.append(Outgoing(rejected, partner=message.partner))
    return answers


async def record_edits(tx: Transaction, messages: Sequence[Received[OrderEdited]]) -> list[Outgoing]:
    """Keeps the newest lines of each order and tells its channel, once."""
    known = await queries.read_addresses(tx.connection, {message.data.order_id for message in messages})
    newest: dict[UUID, Received[OrderEdited]] = {}
    for message in messages:
        edited = message.data
        if edited.order_id not in known:
            tx.defer(message, f"order {edited.order_id} has not been placed here yet")
        elif edited.order_id not in newest or newest[edited.order_id].data.order_version < edited.order_version:
            newest[edited.order_id] = message
    versions = [(order_id, message.data.order_version, _lines(message.data.lines)) for order_id, message in newest.items()]
    applied = await queries.record_edits(tx.connection, versions) if versions else set()
    told = [
        Outgoing(order_as_edited(message.data, known[order_id]), subject=str(order_id), because=message, partner=known[order_id][0])
        for order_id, message in newest.items()
        if order_id in applied
    ]
    sound = [message for message in messages if message.data.order_id in known]
    return told + await tell_outcomes(tx, sound) + await edits.tell_outcomes(tx, sound)


async def record_cancellations(tx: Transaction, messages: Sequence[Received[OrderCancelled]]) -> list[Outgoing]:
    """Notes which orders were called off, when and why, and tells their channels, once."""
    known = await queries.read_order_lines(tx.connection, {message.data.order_id for message in messages})
    first: dict[UUID, Received[OrderCancelled]] = {}
    for message in messages:
        if message.data.order_id in known:
            first.setdefault(message.data.order_id, message)
        else:
            tx.defer(message, f"order {message.data.order_id} has not been placed here yet")
    cancellations = [(order_id, message.data.cancelled_at, message.data.reason) for order_id, message in first.items()]
    applied = await queries.record_cancellations(tx.connection, cancellations) if cancellations else set()
    told = [
        Outgoing(order_as_cancelled(message.data, *known[order_id]), subject=str(order_id), because=message, partner=known[order_id][0][0])
        for order_id, message in first.items()
        if order_id in applied
    ]
    return told + await tell_outcomes(tx, [message for message in messages if message.data.order_id in known])
