"""Which wish of a channel a message spoke of that breaks its contract, so that the channel can be answered."""

from __future__ import annotations

from typing import Any, TypeAlias

from services.sync.decide.orders import external_id_in
from shared.text import is_storable

WishKey: TypeAlias = tuple[str, str, str]
"""(channel, external id, the channel's own id of the wish)."""


def wish_in(document: Any, partner: str | None, name: str, default: str | None = None) -> WishKey | None:
    """The wish as far as it can be made out; None when nobody can tell, or when it is another channel's.

    Args:
        document: the envelope.
        partner: whom the broker vouches for.
        name: the field with the channel's own id of the wish.
        default: what that id is where the field is left out.
    """
    external_id = external_id_in(document)
    if partner is None or external_id is None or document["data"].get("channel") != partner:
        return None
    wish_id = document["data"].get(name, default)
    if not isinstance(wish_id, str) or not 0 < len(wish_id) <= 120 or not is_storable(external_id + wish_id):
        return None
    return partner, external_id, wish_id
