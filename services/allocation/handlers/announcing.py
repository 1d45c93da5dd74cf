"""What is said after a batch: units that orders got, wait for or gave back, and new numbers to sell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books, Notice
from services.allocation.decide.promising import sellable_of
from services.allocation.decide.stock import SupplyUnits
from shared.contracts.base import Message
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
    """Groups supply rows, which come sorted by SKU and date."""
    units = (SupplyUnits(row["sku"], row["ships_at"], row["quantity"]) for row in rows)
    return {sku: list(group) for sku, group in groupby(units, key=lambda unit: unit.sku)}


def availability_messages(changes: Sequence[Mapping[str, object]], messages: Sequence[Received[Any]], now: datetime) -> list[Outgoing]:
    """One message for all SKUs that a batch changed, in chunks. It carries on the trace of the batch's first message.

    Args:
        changes: the fields of :class:`~shared.contracts.stock.Availability`, per SKU.
        messages: the batch.
        now: when the numbers changed.
    """
    return [
        Outgoing(
            StockAvailabilityChanged.model_validate({"changes": changes[start : start + CHANGES_IN_ONE_MESSAGE], "changed_at": now}),
            None,
            messages[0],
        )
        for start in range(0, len(changes), CHANGES_IN_ONE_MESSAGE)
    ]


def availability_changes(books: Books, supplies_before: Supplies, supplies_after: Supplies) -> list[dict[str, object]]:
    """The fields of what channels must be told about the SKUs of a batch: only what differs from before."""
    changes: list[dict[str, object]] = []
    for sku, pool in sorted(books.pools.items()):
        if not pool.touched:
            continue
        before = sellable_of(pool.was.available, pool.was.queued, supplies_before.get(sku, ()), pool.was_preorder.release_at)
        after = sellable_of(pool.available, pool.queued, supplies_after.get(sku, ()), pool.release_at)
        if before != after:
            changes.append({"sku": sku, "pool": "default", "stock_version": pool.next_version, **after._asdict()})
    return changes


def messages_of(
    books: Books, messages: Sequence[Received[Any]], supplies_before: Supplies, supplies_after: Supplies, now: datetime
) -> list[Outgoing]:
    """Everything that orders and channels must be told about a batch.

    Supplies are only needed of SKUs that have nothing available, before or after.
    """
    causes = {message.event_id: message for message in messages}
    outgoing = [Outgoing(body, str(order_id), causes[event_id]) for order_id, event_id, body in _about_orders(books, now)]
    return outgoing + availability_messages(availability_changes(books, supplies_before, supplies_after), messages, now)


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
