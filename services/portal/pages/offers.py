"""What shoppers may add to an order: what its own channel lists, at today's price. Nothing of it is taken from a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.portal import neighbours
from services.portal.asking import ServiceAway
from services.portal.decide.order import OrderView
from services.portal.settings import PortalSettings
from shared.service import Environment

MOST_SHOWN = 8
"""As many as a phone shows without getting lost."""
LONGEST_SEARCH = 60

GONE = "This shop does not sell that, or not any more. Please choose again."


@dataclass(frozen=True, slots=True)
class Offer:
    """One product as its channel sells it now; ``mode`` and ``next_ship_at`` as the channel is told them, None while nothing is known."""

    sku: str
    title: str
    unit_price_cents: int
    mode: str | None
    next_ship_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """What the page offers: ``searched`` is what was looked for, ``words`` what there is to say about it."""

    offers: Sequence[Offer] = ()
    searched: str = ""
    words: str = ""


def may_add(settings: PortalSettings, order: OrderView) -> bool:
    """Whether shoppers add products to this order. The product master has one price each, so only to orders in its currency."""
    return settings.shopper_changes == "lines" and order.identity is not None and order.identity.currency == settings.catalogue_currency


def asks_to_search(fields: Mapping[str, str]) -> bool:
    """Whether a form searches: by its button, or by words whose results were not shown yet. The Enter key of a browser presses whichever
    button comes first, and nobody who has just typed a name means to make the change."""
    searched = _search_in(fields)
    return fields.get("step") == "find" or bool(searched and searched != fields.get("found", ""))


async def offers_for(environment: Environment, order: OrderView, fields: Mapping[str, str]) -> Found:
    """What to offer beside a form that was filled in: the product that is chosen, or what the search finds."""
    searched, chosen = _search_in(fields), fields.get("add_sku", "").strip()
    try:
        offer = await find_offer(environment, order, chosen) if chosen else None
        if not searched or (offer is not None and not asks_to_search(fields)):
            words = "Type a word of its name, or its SKU." if asks_to_search(fields) else ""
            return Found([offer] if offer else [], searched, words)
        found = await _listed(environment, order, searched, MOST_SHOWN + 1)
    except ServiceAway:
        return Found(words="We cannot look into the shop just now. Please try again in a minute.")
    shown = found[:MOST_SHOWN]
    if offer is not None and offer.sku not in {other.sku for other in shown}:
        shown = [offer, *shown]
    words = f"Nothing found for “{searched}”." if not found else "There are more: add a word." if len(found) > MOST_SHOWN else ""
    return Found(shown, searched, words)


async def find_offer(environment: Environment, order: OrderView, sku: str) -> Offer | None:
    """The product of this SKU, if the order's channel sells it now.

    Raises:
        ServiceAway: sync does not answer.
    """
    return next((offer for offer in await _listed(environment, order, sku, 1) if offer.sku == sku), None)


async def _listed(environment: Environment, order: OrderView, search: str, limit: int) -> list[Offer]:
    if order.identity is None:
        return []
    reply = await neighbours.find_listings(environment, order.identity.channel, search, limit)
    if not reply.succeeded:
        return []
    # What has no price is not for sale: a sample, a gift, or not priced yet.
    return [_offer(row) for row in reply.document["listings"] if row["unit_price_cents"] > 0]


def _offer(row: Mapping[str, Any]) -> Offer:
    next_ship_at = row["wanted_next_ship_at"]
    return Offer(
        row["sku"],
        row["title"],
        row["unit_price_cents"],
        row["wanted_mode"],
        None if next_ship_at is None else datetime.fromisoformat(next_ship_at),
    )


def _search_in(fields: Mapping[str, str]) -> str:
    return " ".join(fields.get("find", "").split())[:LONGEST_SEARCH].strip()
