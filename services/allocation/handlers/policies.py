"""Policies that an operator chooses while the service runs."""

from __future__ import annotations

from collections.abc import Sequence

from services.allocation.queries import queue as sql
from shared.contracts.stock import ShortagePolicyRequested, ShortagePolicySet
from shared.messaging.message import Outgoing, Received, Transaction


async def set_shortage_policy(tx: Transaction, messages: Sequence[Received[ShortagePolicyRequested]]) -> list[Outgoing]:
    """Puts another shortage policy in force (feature A10). The same change told twice is made once and answered the same."""
    rows = await sql.read_policy_changes(tx.connection, [message.data.change_id for message in messages])
    answers = {row["change_id"]: ShortagePolicySet(change_id=row["change_id"], policy=row["policy"], set_at=row["set_at"]) for row in rows}
    outgoing = []
    for message in messages:
        wanted = message.data
        if wanted.change_id not in answers:
            answers[wanted.change_id] = ShortagePolicySet(change_id=wanted.change_id, policy=wanted.policy, set_at=tx.now)
            await sql.insert_policy_change(tx.connection, wanted.change_id, wanted.policy, wanted.operator, tx.now)
        outgoing.append(Outgoing(answers[wanted.change_id], None, message))
    return outgoing
