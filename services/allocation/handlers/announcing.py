"""What is said after a batch: units that orders got, wait for or gave back, and new numbers to sell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books, Notice
from services.allocation.decide.offering import PoolOffer, offers_of
from services.allocation.decide.promising import sellable_of
from services.allocation.decide.stock import SupplyUnits
from shared.contracts.base import Message
from shared.contracts.holds import ChannelHoldShrunk
from shared.contracts.stock import (
    AssignableAtLocation,
    AssignableStock,
    BackorderedLine,
    ReleasedLine,
    ReservedLine,
    StockAvailabilityChanged,
    StockBackordered,
    StockReservationReleased,
    StockReserved,
)
from shared.messaging.message import Outgoing, Received

CHANGES_IN_ONE_MESSAGE = 500

Supplies = Mapping[str, Sequence[SupplyUnits]]


def supplies_by_sku(rows: Iterable[Record]) -> dict[str, list[SupplyUnits]]:
    """Groups supply rows, which come sorted by SKU and date: what of them is for the queue and for sale."""
    units = (SupplyUnits(row["sku"], row["ships_at"], row["quantity"]) for row in rows)
    return {sku: list(group) for sku, group in groupby(units, key=lambda unit: unit.sku)}


def availability_messages(changes: Sequence[Mapping[str, object]], messages: Sequence[Received[Any]], now: datetime) -> list[Outgoing]:
    """One message for all SKUs that a batch changed, in chunks. It carries on the trace of the batch's first message, if there is one.

    All numbers of one SKU stand in one message, so that no channel is shown another one's number in between.

    Args:
        changes: the fields of :class:`~shared.contracts.stock.Availability`, sorted by SKU.
        messages: the batch.
        now: when the numbers changed.
    """
    because = messages[0] if messages else None
    outgoing = []
    start = 0
    while start < len(changes):
        end = start + CHANGES_IN_ONE_MESSAGE
        while end < len(changes) and changes[end]["sku"] == changes[end - 1]["sku"]:
            end += 1
        body = {"changes": changes[start:end], "changed_at": now}
        outgoing.append(Outgoing(StockAvailabilityChanged.model_validate(body), None, because))
        start = end
    return outgoing


def changes_of(sku: str, stock_version: int, before: Sequence[PoolOffer], after: Sequence[PoolOffer]) -> list[dict[str, object]]:
    """The fields of what must be told about one SKU: nothing if all is as before, else every number.

    A channel whose rule is gone is not among them: its number is older than everybody's from then on, and so falls back to it.
    """
    if before == after:
        return []
    return [{"sku": sku, "pool": pool, "stock_version": stock_version, **said._asdict()} for pool, said in after]


def availability_changes(books: Books, supplies_before: Supplies, supplies_after: Supplies) -> list[dict[str, object]]:
    """The fields of what channels must be told about the SKUs of a batch: what differs from before, and all of what was restated."""
    changes: list[dict[str, object]] = []
    for sku, pool in sorted(books.pools.items()):
        if not pool.touched:
            continue
        if pool.ruled:
            offered = offers_of(
                pool.was.free, pool.was.queued, pool.channels_were, supplies_before.get(sku, ()), pool.was_preorder.release_at
            )
            offers = offers_of(pool.free, pool.queued, pool.channels, supplies_after.get(sku, ()), pool.release_at)
            changes.extend(changes_of(sku, pool.next_version, () if sku in books.restated else offered, offers))
            continue
        before = sellable_of(pool.was.available, pool.was.queued, supplies_before.get(sku, ()), pool.was_preorder.release_at)
        after = sellable_of(pool.available, pool.queued, supplies_after.get(sku, ()), pool.release_at)
        if before != after or sku in books.restated:
            changes.append({"sku": sku, "pool": "default", "stock_version": pool.next_version, **after._asdict()})
    return changes


def messages_of(
    books: Books, messages: Sequence[Received[Any]], supplies_before: Supplies, supplies_after: Supplies, now: datetime
) -> list[Outgoing]:
    """Everything that orders and channels must be told about a batch.

    Supplies are only needed of SKUs that have nothing available, before or after.
    """
    causes = {message.event_id: message for message in messages}
    outgoing = [Outgoing(body, str(order_id), causes.get(event_id)) for order_id, event_id, body in _about_orders(books, now)]
    return outgoing + availability_messages(availability_changes(books, supplies_before, supplies_after), messages, now)


def shrunken_holds(books: Books, hold_ids: Iterable[UUID], messages: Sequence[Received[Any]], now: datetime) -> list[Outgoing]:
    """Tells channels what a shortage took from their holds. A hold's lines of other SKUs are as they were."""
    outgoing = []
    for hold_id in hold_ids:
        lines = sorted((units for units in books.held_units.values() if units.hold_id == hold_id), key=lambda units: units.sku)
        body = {
            "channel": lines[0].channel,
            "hold_id": hold_id,
            "lines": [{"sku": units.sku, "asked": units.asked, "held": units.held} for units in lines if units.held != units.was_held],
            "shrunk_at": now,
        }
        because = messages[0] if messages else None
        outgoing.append(Outgoing(ChannelHoldShrunk.model_validate(body), str(hold_id), because, lines[0].channel))
    return outgoing


def assignable_stock(books: Books, skus: Iterable[str]) -> list[AssignableStock]:
    """What routing may still plan, read under lock."""
    return [
        AssignableStock(
            sku=sku,
            stock_version=books.pools[sku].next_version,
            locations=[AssignableAtLocation(location=place.location, quantity=place.assignable) for place in books.assignable(sku)],
        )
        for sku in dict.fromkeys(skus)
        if sku in books.pools
    ]


def kind_of_demand(release_at: datetime | None) -> Literal["preorder", "backorder"]:
    """What units of a SKU wait for: its release, or only for goods."""
    return "backorder" if release_at is None else "preorder"


def version_of(books: Books, order_id: UUID) -> int:
    """The newest version that we know of an order, its cancellation included."""
    state = books.orders[order_id]
    return max(state.order_version, state.cancelled_version or 0)


def _about_orders(books: Books, now: datetime) -> Iterable[tuple[UUID, UUID, Message]]:
    groups: dict[tuple[UUID, str, str], list[Notice]] = {}
    for notice in books.notices:
        groups.setdefault((notice.demand.order_id, notice.kind, notice.reason), []).append(notice)
    for order_id, event_id in books.listed_orders.items():
        yield order_id, event_id, _all_reserved(books, order_id, now)
    for (order_id, _, _), notices in groups.items():
        yield order_id, notices[0].event_id, _told(books, notices, now)


def _all_reserved(books: Books, order_id: UUID, now: datetime) -> StockReserved:
    """After an edit: everything that may be planned under the new version, even if that is nothing."""
    rows = [row for row in books.rows_of_order(order_id) if row.unassigned]
    return StockReserved(
        order_id=order_id,
        order_version=version_of(books, order_id),
        cause="edited",
        lines=[ReservedLine(reservation_id=row.demand_id, line_id=row.line_id, sku=row.sku, quantity=row.unassigned) for row in rows],
        assignable=assignable_stock(books, (row.sku for row in rows)),
        reserved_at=now,
    )


def _told(books: Books, notices: Sequence[Notice], now: datetime) -> Message:
    order_id = notices[0].demand.order_id
    heading = {"order_id": order_id, "order_version": version_of(books, order_id), "cause": notices[0].reason}
    if notices[0].kind == "reserved":
        lines = [
            ReservedLine(
                reservation_id=notice.demand.demand_id,
                line_id=notice.demand.line_id,
                sku=notice.demand.sku,
                quantity=notice.quantity,
            )
            for notice in notices
        ]
        stock = assignable_stock(books, (notice.demand.sku for notice in notices))
        return StockReserved.model_validate({**heading, "lines": lines, "assignable": stock, "reserved_at": now})
    if notices[0].kind == "backordered":
        waiting = [
            BackorderedLine(
                demand_id=notice.demand.demand_id,
                line_id=notice.demand.line_id,
                sku=notice.demand.sku,
                quantity=notice.quantity,
                demand_kind=kind_of_demand(books.pools[notice.demand.sku].release_at),
                promised_ship_at=notice.demand.promised_ship_at,
            )
            for notice in notices
        ]
        return StockBackordered.model_validate({**heading, "lines": waiting, "backordered_at": now})
    released: dict[tuple[str, str], int] = {}
    for notice in notices:
        key = (notice.demand.line_id, notice.demand.sku)
        released[key] = released.get(key, 0) + notice.quantity
    given_back = [ReleasedLine(line_id=line_id, sku=sku, quantity=quantity) for (line_id, sku), quantity in released.items()]
    return StockReservationReleased.model_validate({**heading, "lines": given_back, "released_at": now})
