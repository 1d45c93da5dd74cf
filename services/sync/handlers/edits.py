"""Edits by channels: passed on to routing, and their outcome told to who asked."""

from __future__ import annotations

from collections.abc import Sequence

from services.sync.decide import edits as decide
from services.sync.decide.edits import EditKey
from services.sync.decide.senders import problems_of_sender
from services.sync.decide.texts import reason_of
from services.sync.decide.unreadable import wish_in
from services.sync.queries import edits as queries
from services.sync.queries.orders import read_catalogue, read_digests
from shared.contracts.channels import ChannelEditRequested
from shared.contracts.orders import OrderEdited, OrderEditRejected
from shared.messaging.message import Outgoing, Received, Transaction
from shared.messaging.reading import Unreadable


async def pass_on_edits(tx: Transaction, messages: Sequence[Received[ChannelEditRequested]]) -> list[Outgoing]:
    """Asks routing for what channels change, each edit once. What adds lines that cannot be sold is refused here, and may come again."""
    outgoing: list[Outgoing] = []
    sound: list[Received[ChannelEditRequested]] = []
    for message in messages:
        problems = problems_of_sender(message.data, message.partner, "edit")
        if problems:
            tx.park(message, reason_of(problems))
        else:
            sound.append(message)
    added = {(message.data.channel, change.sku) for message in sound for change in message.data.line_changes if change.sku is not None}
    catalogue = await read_catalogue(tx.connection, added) if added else {}
    orders = await read_digests(tx.connection, {decide.key_of(message.data)[:2] for message in sound})
    known = await queries.read_contents(tx.connection, {decide.key_of(message.data) for message in sound})
    wanted: dict[EditKey, Received[ChannelEditRequested]] = {}
    for message in sound:
        key = decide.key_of(message.data)
        first = known.get(key) or (decide.content_of(wanted[key].data) if key in wanted else None)
        problems = decide.problems_of_edit(message.data, catalogue)
        if key[:2] not in orders:
            tx.defer(message, f"external_id: order {key[1]!r} has not been placed here yet")
        elif first is not None:
            _park_another(tx, message, first)
        elif problems:
            outgoing.append(Outgoing(decide.refusal(key, reason_of(problems), tx.now), because=message, partner=key[0]))
        else:
            wanted[key] = message
    commands = {key: decide.command_of(orders[key[:2]][0], message.data, catalogue) for key, message in wanted.items()}
    rows = [(key, decide.content_of(wanted[key].data), command.change_id) for key, command in commands.items()]
    fresh = await queries.insert_edits(tx.connection, rows, tx.now) if rows else set()
    if len(fresh) < len(rows):
        # Another process took them up at the same moment.
        taken = await queries.read_contents(tx.connection, commands.keys() - fresh)
        for key, first in taken.items():
            _park_another(tx, wanted[key], first)
    outgoing += [Outgoing(commands[key], subject=str(commands[key].order_id), because=wanted[key]) for key in commands if key in fresh]
    return outgoing


def _park_another(tx: Transaction, message: Received[ChannelEditRequested], first: bytes) -> None:
    """Parks what asks for something else under the name of an edit that was asked for before; a repetition is done."""
    if first != decide.content_of(message.data):
        _, external_id, edit_id = decide.key_of(message.data)
        tx.park(message, f"edit_id: {edit_id!r} of order {external_id!r} was used for another edit; give every edit an id of its own")


async def answer_unreadable_edits(tx: Transaction, unreadable: Sequence[Unreadable]) -> list[Outgoing]:
    """Tells channels what was wrong with edits that are none; the messages are parked. Of an edit that is known its outcome is told, and
    nothing else."""
    found = [(message, key) for message in unreadable if (key := wish_in(message.document, message.partner, "edit_id")) is not None]
    known = await queries.read_contents(tx.connection, {key for _, key in found}) if found else {}
    return [Outgoing(decide.refusal(key, message.reason, tx.now), partner=key[0]) for message, key in found if key not in known]


async def tell_outcomes(
    tx: Transaction, messages: Sequence[Received[OrderEdited]] | Sequence[Received[OrderEditRejected]]
) -> list[Outgoing]:
    """Tells each channel what became of the edits that it asked for, once."""
    answers: dict[object, Received[OrderEdited] | Received[OrderEditRejected]] = {}
    for message in messages:
        answers.setdefault(message.data.change_id, message)
    said = [answer.data for answer in answers.values()]
    if not said:
        return []
    outcomes = [(answer.change_id, "made" if isinstance(answer, OrderEdited) else "refused") for answer in said]
    decided = await queries.decide(tx.connection, outcomes, tx.now)
    return [
        Outgoing(
            decide.decision(decided[answer.change_id], answer, tx.now),
            subject=str(answer.order_id),
            because=answers[answer.change_id],
            partner=decided[answer.change_id][0],
        )
        for answer in said
        if answer.change_id in decided
    ]
