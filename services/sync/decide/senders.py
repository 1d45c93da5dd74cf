"""Whether a channel may say what it says of an order, and whether the order is named so that the channel can be answered."""

from __future__ import annotations

from services.sync.decide.texts import problems_of_foreign_id, problems_of_texts
from shared.contracts.channels import ChannelCancelRequested, ChannelEditRequested, ChannelOrderReceived, FieldProblem


def problems_of_sender(
    message: ChannelOrderReceived | ChannelCancelRequested | ChannelEditRequested, partner: str | None, wish: str
) -> list[FieldProblem]:
    """What is wrong before anything of an order is looked at.

    Args:
        message: what was sent.
        partner: the code that the broker or the signature vouches for; None when an operator sends it.
        wish: what channels may do to their own orders with such a message.
    """
    problems = problems_of_texts(message) + problems_of_foreign_id("external_id", message.external_id)
    if partner is not None and partner != message.channel:
        problem = f"{message.channel!r} is not the channel {partner!r} that sent it"
        problems.append(FieldProblem(field="channel", problem=problem, remedy=f"{wish} orders of {partner!r} only"))
    return problems
