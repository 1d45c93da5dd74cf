"""From rows to the order as pages, mails and the API show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from services.portal import queries
from services.portal.decide.order import Entry, Identity, OrderView, Version
from services.portal.decide.view import order_view
from shared.messaging.message import Connection


def _identity(row: Record) -> Identity | None:
    if row["placed_at"] is None:
        return None
    return Identity(
        order_id=row["order_id"],
        channel=row["channel"],
        external_id=row["external_id"],
        placed_at=row["placed_at"],
        currency=row["currency"],
        shipping_paid_cents=row["shipping_paid_cents"],
        service_level=row["service_level"],
        deliver_by=row["deliver_by"],
        customer_email=row["customer_email"],
        customer_name=row["customer_name"],
        locale=row["locale"],
    )


def _entry(row: Record) -> Entry:
    return Entry(row["type"], row["fact_id"], row["event_id"], row["source"], row["at"], row["trace_id"].hex, row["data"])


async def read_order_view(connection: Connection, order_id: UUID) -> OrderView | None:
    """One order, or None when nothing was ever heard of it."""
    row = await queries.read_order(connection, order_id)
    if row is None:
        return None
    timeline = await queries.read_timeline(connection, order_id)
    version = Version(row["order_version"], row["lines"], row["ship_to"]) if row["order_version"] is not None else None
    return order_view(order_id, _identity(row), version, [_entry(item) for item in timeline])


async def read_order_views(connection: Connection, rows: Sequence[Record]) -> list[OrderView]:
    """Many orders at once, in the order of the rows that found them."""
    order_ids = [row["order_id"] for row in rows]
    versions = {row["order_id"]: row for row in await queries.read_versions_of(connection, order_ids)}
    entries: dict[UUID, list[Entry]] = defaultdict(list)
    for item in await queries.read_timelines_of(connection, order_ids):
        entries[item["order_id"]].append(_entry(item))
    views = []
    for row in rows:
        order_id = row["order_id"]
        newest = versions.get(order_id)
        version = Version(newest["order_version"], newest["lines"], newest["ship_to"]) if newest else None
        views.append(order_view(order_id, _identity(row), version, entries[order_id]))
    return views


def as_uuid(text: str) -> UUID | None:
    """The text as an id, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None
