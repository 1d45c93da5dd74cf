"""What a service tells the auditor about itself: rules that must always hold, and facts that other services must agree with.

``services/<name>/audit.py`` exposes ``INVARIANTS`` and ``FACTS``; ``python -m shared.audit`` runs them in one read-only snapshot of that
service's schema. The statements are independent of the service's own queries and rules on purpose: an auditor that shares code with what
it checks repeats its mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule about one service's books.

    Args:
        id: which rule of the programme it proves, and what of it: ``I4-captured-per-line``. Unique within the service.
        title: the rule in words, as it stands when it holds.
        sql: finds the rows that break it, as ``(subject text, detail text)``: what it is about (an order id, a SKU) and the figures that
            disagree. No rows means that the rule holds.
    """

    id: str
    title: str
    sql: str


@dataclass(frozen=True, slots=True)
class Fact:
    """What one service believes about things that another service also keeps books on.

    Args:
        name: the fact's name; services that state a fact of the same name must agree on every key that both know.
        sql: states it as ``(key text, value bigint)``, each key once. A key is one id or SKU, or several joined by ``|``, the widest first.

    Names in use, with their keys: ``units_ordered``, ``units_shipped``, ``units_cancelled`` (``order_id|line_id``), ``units_restocked``
    (``return_id|line_id``), ``refund_cents_requested``, ``refund_cents_succeeded`` (``refund_id``), ``available_to_sell`` (``sku``),
    ``available_to_channel`` (``sku|channel``, where a channel has a rule).
    """

    name: str
    sql: str
