"""The order as a person sees it, folded from its timeline. The order in which events arrived makes no difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.portal.decide.bought import KitShare
from services.portal.decide.order import (
    DelayView,
    Entry,
    Identity,
    Interception,
    LineView,
    OrderStatus,
    OrderView,
    Parcel,
    PendingChange,
    RefundView,
    ReturnView,
    Version,
)

INTERCEPTIONS: tuple[Interception, ...] = ("requested", "failed", "succeeded")
"""In the order in which one may follow another, within one moment too."""


@dataclass
class _Units:
    """Sums of one line while folding."""

    queued: int = 0
    unqueued: int = 0
    shipped: int = 0
    delivered: int = 0
    cancelled: int = 0
    returning: int = 0
    promised: datetime | None = None


@dataclass
class _Story:
    """Everything folded so far. Entries come in the order in which things happened."""

    units: dict[str, _Units] = field(default_factory=lambda: defaultdict(_Units))
    started: dict[str, Entry] = field(default_factory=dict)
    shipped: dict[str, Entry] = field(default_factory=dict)
    delivered: dict[str, Entry] = field(default_factory=dict)
    interceptions: dict[str, Interception] = field(default_factory=dict)
    called_off: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    approved: dict[str, Entry] = field(default_factory=dict)
    declined: dict[str, Entry] = field(default_factory=dict)
    inspected: set[str] = field(default_factory=set)
    closed: dict[str, Entry] = field(default_factory=dict)
    refunds: list[RefundView] = field(default_factory=list)
    pending: dict[str, Entry] = field(default_factory=dict)
    shipping_delta_cents: int = 0
    answered: set[str] = field(default_factory=set)
    asked: dict[str, Entry] = field(default_factory=dict)
    last_asked_at: datetime | None = None
    consents: dict[str, str] = field(default_factory=dict)
    reserved: bool = False
    cancelled: bool = False


def moment(text: str | None) -> datetime | None:
    """A time as the timeline keeps it."""
    return None if text is None else datetime.fromisoformat(text)


def _fold(story: _Story, entry: Entry) -> None:
    kind = entry.type.rsplit(".", 1)[0]
    if kind.startswith("stock."):
        _fold_stock(story, kind, entry)
    elif kind.startswith("fulfillment."):
        _fold_fulfillment(story, kind, entry)
    elif kind.startswith("return."):
        _fold_return(story, kind, entry)
    elif kind.startswith("refund."):
        _fold_refund(story, kind, entry)
    else:
        _fold_change(story, kind, entry)


def _fold_stock(story: _Story, kind: str, entry: Entry) -> None:
    for line in entry.data["lines"]:
        units = story.units[line["line_id"]]
        if kind == "stock.backordered":
            units.queued += line["quantity"]
            units.promised = moment(line["promised_ship_at"])
        elif kind == "stock.promise_changed":
            units.promised = moment(line["new_ship_at"])
        elif kind == "stock.reservation_released" or entry.data["cause"] == "restocked":
            # What an order no longer needs is taken from its waiting units first.
            units.unqueued += line["quantity"]
    story.reserved = story.reserved or kind == "stock.reserved"


def _fold_fulfillment(story: _Story, kind: str, entry: Entry) -> None:
    fulfillment_id = entry.data["fulfillment_id"]
    if kind == "fulfillment.started":
        story.started[fulfillment_id] = entry
    elif kind == "fulfillment.shipped":
        story.shipped[fulfillment_id] = entry
    elif kind == "fulfillment.delivered":
        story.delivered[fulfillment_id] = entry
    elif kind == "fulfillment.interception_moved":
        known = story.interceptions.get(fulfillment_id)
        if known is None or INTERCEPTIONS.index(entry.data["outcome"]) > INTERCEPTIONS.index(known):
            story.interceptions[fulfillment_id] = entry.data["outcome"]
    else:
        for line in entry.data["lines"]:
            story.called_off[fulfillment_id][line["line_id"]] += line["quantity"]


def _fold_return(story: _Story, kind: str, entry: Entry) -> None:
    return_id = entry.data["return_id"]
    if kind == "return.approved":
        story.approved[return_id] = entry
    elif kind == "return.declined":
        story.declined[return_id] = entry
    elif kind == "return.inspected":
        story.inspected.add(return_id)
    else:
        story.closed[return_id] = entry


def _fold_refund(story: _Story, kind: str, entry: Entry) -> None:
    status: Literal["succeeded", "failed"] = "succeeded" if kind == "refund.succeeded" else "failed"
    story.refunds.append(RefundView(entry.data["refund_id"], status, entry.data["amount_cents"], entry.at, entry.data.get("reason")))


def _fold_change(story: _Story, kind: str, entry: Entry) -> None:
    if kind == "order.delayed":
        if entry.data["consent_id"] is not None:
            # A question that is told again, because other lines moved, stays as it was asked.
            if entry.at != story.last_asked_at:
                story.last_asked_at = entry.at
                story.asked = {key: asked for key, asked in story.asked.items() if key == entry.data["consent_id"]}
            story.asked.setdefault(entry.data["consent_id"], entry)
    elif kind == "order.delay_consent_settled":
        story.consents[entry.data["consent_id"]] = entry.data["outcome"]
    elif kind in ("order.change_pending", "order.payment_requested"):
        story.pending[entry.data["change_id"]] = entry
    elif kind in ("order.edited", "order.edit_rejected", "order.cancel_rejected"):
        story.answered.add(entry.data["change_id"])
        story.shipping_delta_cents += entry.data.get("shipping_delta_cents", 0)
    elif kind == "order.cancelled":
        story.answered.add(entry.data["change_id"])
        story.cancelled = True
        for line in entry.data["lines"]:
            story.units[line["line_id"]].cancelled += line["quantity"]


def _count_parcels_and_returns(story: _Story) -> None:
    for fulfillment_id, entry in story.shipped.items():
        for line in entry.data["lines"]:
            units = story.units[line["line_id"]]
            units.shipped += line["quantity"]
            units.delivered += line["quantity"] if fulfillment_id in story.delivered else 0
    for entry in story.approved.values():
        for line in entry.data["lines"]:
            story.units[line["line_id"]].returning += line["quantity"]


def _line_view(line: Mapping[str, Any], units: _Units) -> LineView:
    still_open = max(0, line["quantity"] - units.shipped - units.cancelled)
    waiting = min(still_open, max(0, units.queued - units.unqueued))
    return LineView(
        line_id=line["line_id"],
        sku=line["sku"],
        title=line["title"],
        ordered=line["quantity"],
        unit_price_cents=line["unit_price_cents"],
        tax_cents=line["tax_cents"],
        waiting=waiting,
        promised_ship_at=units.promised if waiting else None,
        shipped=units.shipped,
        delivered=units.delivered,
        cancelled=units.cancelled,
        returning=units.returning,
        kit=KitShare(**line["kit"]) if line.get("kit") else None,
    )


def _parcels(story: _Story) -> list[Parcel]:
    parcels = []
    for fulfillment_id in {**story.started, **story.shipped}:
        shipped = story.shipped.get(fulfillment_id)
        started = story.started.get(fulfillment_id)
        source = shipped or story.started[fulfillment_id]
        units: dict[str, int] = defaultdict(int)
        for line in source.data["lines"]:
            units[line["line_id"]] += line["quantity"]
        if shipped is None:
            # Units called off from a parcel that was being packed are not in it any more.
            for line_id, quantity in story.called_off[fulfillment_id].items():
                units[line_id] -= quantity
            units = {line_id: quantity for line_id, quantity in units.items() if quantity > 0}
            # What has not left of a cancelled order never will.
            if not units or story.cancelled:
                continue
        delivered = story.delivered.get(fulfillment_id)
        parcels.append(
            Parcel(
                fulfillment_id=fulfillment_id,
                location=source.data["location"],
                units=dict(units),
                started_at=started.at if started else None,
                carrier=shipped.data["carrier"] if shipped else None,
                tracking_number=shipped.data["tracking_number"] if shipped else None,
                shipped_at=shipped.at if shipped else None,
                delivered_at=delivered.at if shipped and delivered else None,
                interception=story.interceptions.get(fulfillment_id),
            )
        )
    return sorted(parcels, key=lambda parcel: (parcel.shipped_at is None, parcel.shipped_at or parcel.started_at, parcel.fulfillment_id))


def _returns(story: _Story) -> list[ReturnView]:
    views = []
    for return_id, entry in story.approved.items():
        closed = story.closed.get(return_id)
        units: dict[str, int] = defaultdict(int)
        for line in entry.data["lines"]:
            units[line["line_id"]] += line["quantity"]
        views.append(
            ReturnView(
                return_id=return_id,
                status="closed" if closed else "inspected" if return_id in story.inspected else "approved",
                units=dict(units),
                refund_quote_cents=entry.data["refund_quote_cents"],
                label_carrier=entry.data["label_carrier"],
                label_tracking_number=entry.data["label_tracking_number"],
                expires_at=moment(entry.data["expires_at"]),
                refunded_cents=closed.data["refunded_cents"] if closed else None,
            )
        )
    views.extend(
        ReturnView(return_id=return_id, status="declined", units={}, detail=entry.data["detail"])
        for return_id, entry in story.declined.items()
        if return_id not in story.approved
    )
    return views


def _delay(story: _Story, lines: Sequence[LineView]) -> DelayView | None:
    """What the customer may say about a delay, while units wait: only the newest may be answered, and of several that were told in one
    moment the one that has not ended in it."""
    if story.cancelled or not any(line.waiting for line in lines):
        return None
    views = [
        DelayView(
            consent_id=consent_id,
            consent=entry.data["consent"],
            old_ship_at=moment(entry.data["old_ship_at"]),
            new_ship_at=moment(entry.data["new_ship_at"]),
            answer_by=moment(entry.data["answer_by"]),
            outcome=story.consents.get(consent_id),
        )
        for consent_id, entry in story.asked.items()
    ]
    return next((view for view in views if view.may_call_off), None)


def _status(placed: bool, story: _Story, lines: Sequence[LineView], parcels: Sequence[Parcel]) -> OrderStatus:
    if not placed:
        return "announced"
    shipped = sum(line.shipped for line in lines)
    still_open = sum(max(0, line.ordered - line.shipped - line.cancelled) for line in lines)
    if story.cancelled and not shipped:
        return "cancelled"
    if shipped and not still_open:
        return "delivered" if all(parcel.delivered_at for parcel in parcels if parcel.shipped_at) else "shipped"
    if shipped:
        return "partially_shipped"
    if parcels:
        return "in_fulfillment"
    if not story.reserved:
        return "placed"
    return "partially_allocated" if any(line.waiting for line in lines) else "fully_allocated"


def order_view(order_id: UUID, identity: Identity | None, version: Version | None, timeline: Iterable[Entry]) -> OrderView:
    """Folds an order's timeline. The result depends on which facts are known, never on how they came."""
    entries = sorted(timeline, key=lambda entry: (entry.at, entry.type, entry.fact_id))
    story = _Story()
    for entry in entries:
        _fold(story, entry)
    _count_parcels_and_returns(story)
    lines = [_line_view(line, story.units[line["line_id"]]) for line in version.lines] if version else []
    parcels = _parcels(story)
    pending = [
        PendingChange(change_id, entry.data["change"], moment(entry.data["answer_due_at"]), entry.data.get("actor") in (None, "shopper"))
        for change_id, entry in story.pending.items()
        if change_id not in story.answered
    ]
    return OrderView(
        order_id=order_id,
        identity=identity,
        order_version=version.order_version if version else 0,
        ship_to=version.ship_to if version else {},
        status=_status(identity is not None, story, lines, parcels),
        lines=lines,
        parcels=parcels,
        returns=_returns(story),
        refunds=story.refunds,
        pending_changes=pending,
        entries=entries,
        shipping_paid_cents=(identity.shipping_paid_cents if identity else 0) + story.shipping_delta_cents,
        delay=_delay(story, lines),
    )
