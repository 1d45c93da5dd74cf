"""Telling the channel what was shipped (feature F8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from services.sync.channels.protocol import Accepted, Answer, Refused, ShippedLine
from services.sync.decide.calls import failure_text, next_call
from shared.contracts.orders import KitPart, LineUnits
from shared.kits import kit_part_of, whole_kits

NoticeState: TypeAlias = Literal["due", "accepted", "refused"]


@dataclass(frozen=True, slots=True)
class ShipmentNotice:
    """One parcel's notice as it stands when the answer to an attempt is recorded."""

    fulfillment_id: UUID
    state: NoticeState
    attempts: int
    due_at: datetime | None
    last_failure: str | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrderLines:
    """The lines of one order as a parcel is told of: which there are, and which of them are parts of kits."""

    line_ids: frozenset[str]
    kits: Mapping[str, KitPart]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the channel is told of a parcel, in its own line ids, and the units of kits in the parcel by line of the order."""

    lines: Sequence[ShippedLine]
    component_units: Mapping[str, int]


def order_lines(lines: Iterable[Mapping[str, Any]]) -> OrderLines:
    """The lines of an order from what is stored of them."""
    stored = {line["line_id"]: kit_part_of(line) for line in lines}
    return OrderLines(frozenset(stored), {line_id: part for line_id, part in stored.items() if part is not None})


def announce(parcel: Sequence[LineUnits], order: OrderLines, earlier: Mapping[str, int]) -> Announcement:
    """What the channel is told of a parcel. It sold kits and knows nothing of their components.

    A kit counts as shipped with the parcel that completes it, never before: what a channel takes for shipped has left. A parcel that
    carries only a part of a kit has no line of it.

    Args:
        parcel: what is in it, by line of the order.
        order: the order's lines.
        earlier: units of kits, by line, in the order's other parcels that were told before.
    """
    lines = [ShippedLine(line.line_id, line.sku, line.quantity) for line in parcel if line.line_id not in order.kits]
    units: dict[str, int] = {}
    for line in parcel:
        if line.line_id in order.kits:
            units[line.line_id] = units.get(line.line_id, 0) + line.quantity
    before = whole_kits((part, earlier.get(line_id, 0)) for line_id, part in order.kits.items())
    after = whole_kits((part, earlier.get(line_id, 0) + units.get(line_id, 0)) for line_id, part in order.kits.items())
    skus = {part.line_id: part.sku for part in order.kits.values()}
    lines += [ShippedLine(kit, skus[kit], count - before[kit]) for kit, count in after.items() if count > before[kit]]
    return Announcement(lines, units)


def settle_notice(notice: ShipmentNotice, attempt: int, answer: Answer, now: datetime, jitter: float) -> ShipmentNotice:
    """A notice after the channel's answer to one attempt. A yes counts of any attempt, a failure only of the newest."""
    if notice.state != "due":
        return notice
    if isinstance(answer, Accepted):
        return replace(notice, state="accepted", due_at=None, last_failure=None, settled_at=now)
    if attempt != notice.attempts:
        return notice
    reason = failure_text(answer)[:500]
    if isinstance(answer, Refused):
        return replace(notice, state="refused", due_at=None, last_failure=reason, settled_at=now)
    return replace(notice, due_at=next_call(answer, notice.attempts, now, jitter), last_failure=reason)
