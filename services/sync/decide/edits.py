"""Edits that channels ask for (feature D1): the same edit in the words of the order, and its outcome in the words of the channel."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TypeAlias
from uuid import UUID, uuid5

from services.sync.decide.orders import Article, Catalogue
from services.sync.decide.texts import problems_of_address
from shared.contracts.channels import ChannelEditDecided, ChannelEditRequested, ChannelLineChange, FieldProblem
from shared.contracts.orders import Actor, LineChange, OrderEdited, OrderEditRejected, OrderEditRequested

EditKey: TypeAlias = tuple[str, str, str]
"""(channel, external id, edit id): what makes an edit one edit for ever."""


def key_of(request: ChannelEditRequested) -> EditKey:
    """Which edit this message asks for."""
    return (request.channel, request.external_id, request.edit_id)


def content_of(request: ChannelEditRequested) -> bytes:
    """What is asked for, as a digest. Spelled-out defaults make no difference, nor do fields that a later contract adds and nobody uses."""
    return hashlib.sha256(request.model_dump_json(exclude_defaults=True).encode()).digest()


def change_id_of(order_id: UUID, edit_id: str) -> UUID:
    """The change that routing is asked for: the same for every repetition."""
    return uuid5(order_id, f"channel edit {edit_id}")


def problems_of_edit(request: ChannelEditRequested, catalogue: Catalogue) -> list[FieldProblem]:
    """What is wrong with the address and the lines that an edit adds; everything else routing judges by the order as it stands."""
    problems = [] if request.ship_to is None else problems_of_address(request.ship_to)
    for position, change in enumerate(request.line_changes):
        if change.external_line_id is not None:
            continue
        where = f"line_changes.{position}"
        if change.sku is None:
            problems.append(FieldProblem(field=where, problem="names no line", remedy="name external_line_id, or sku to add a line"))
            continue
        article = catalogue.get((request.channel, change.sku))
        if article is None or not article.listed:
            problem = f"SKU {change.sku!r} is not known" if article is None else f"SKU {change.sku!r} is not listed on {request.channel!r}"
            remedy = "register the product and its listing, then send the edit again"
            problems.append(FieldProblem(field=f"{where}.sku", problem=problem, remedy=remedy))
        elif change.unit_price_cents is None:
            remedy = "say what the channel sells it for"
            problems.append(FieldProblem(field=f"{where}.unit_price_cents", problem="an added line has no price", remedy=remedy))
    return problems


def command_of(order_id: UUID, request: ChannelEditRequested, catalogue: Catalogue) -> OrderEditRequested:
    """The same edit in the words of the order, with what the product master knows of the lines it adds."""
    return OrderEditRequested(
        order_id=order_id,
        change_id=change_id_of(order_id, request.edit_id),
        actor=Actor(kind="channel", name=request.channel),
        expected_order_version=request.expected_order_version,
        ship_to=request.ship_to,
        line_changes=[_change_of(change, catalogue.get((request.channel, change.sku or ""))) for change in request.line_changes],
        service_level=request.service_level,
        split_policy=request.split_policy,
    )


def _change_of(change: ChannelLineChange, article: Article | None) -> LineChange:
    if change.external_line_id is not None or article is None:
        # What the line costs now is routing's to know, so it judges what is said of that. A tax of 0 is what the contract fills in.
        return LineChange(
            line_id=change.external_line_id,
            sku=change.sku,
            quantity=change.quantity,
            unit_price_cents=change.unit_price_cents,
            tax_cents=change.tax_cents or None,
        )
    return LineChange(
        sku=change.sku,
        quantity=change.quantity,
        title=article.title,
        unit_price_cents=change.unit_price_cents,
        tax_cents=change.tax_cents,
        # Weight, volume and hazard of a kit are told by its components alone.
        unit_weight_grams=None if article.components else article.unit_weight_grams,
        unit_volume_cubic_centimetres=0 if article.components else article.unit_volume_cubic_centimetres,
        hazmat=False if article.components else article.hazmat,
        components=list(article.components),
    )


def decision(key: EditKey, answer: OrderEdited | OrderEditRejected, decided_at: datetime) -> ChannelEditDecided:
    """What the channel is told of its edit."""
    channel, external_id, edit_id = key
    words = {"channel": channel, "external_id": external_id, "edit_id": edit_id, "decided_at": decided_at}
    if isinstance(answer, OrderEdited):
        made = {"outcome": "made", "order_version": answer.order_version, "money_delta_cents": answer.money_delta_cents}
        return ChannelEditDecided.model_validate({**words, **made})
    refused = {"outcome": "refused", "order_version": answer.order_version, "reason": answer.reason, "detail": answer.detail}
    return ChannelEditDecided.model_validate({**words, **refused})


def refusal(key: EditKey, detail: str, decided_at: datetime) -> ChannelEditDecided:
    """What the channel is told of an edit that routing was never asked for."""
    channel, external_id, edit_id = key
    return ChannelEditDecided(
        channel=channel,
        external_id=external_id,
        edit_id=edit_id,
        outcome="refused",
        reason="invalid",
        detail=detail[:500],
        decided_at=decided_at,
    )
