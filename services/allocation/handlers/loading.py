"""Loads the books that a batch needs: locks first, then everything that stands still under them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.books import Books, Place
from services.allocation.decide.pools import ChannelPool, SharedPool
from services.allocation.decide.stock import Assignment, Demand, HeldUnits, OrderState, Pool, Shelf
from services.allocation.queries import books as sql
from services.allocation.queries.kits import read_kits
from services.allocation.queries.pools import read_channel_pools
from shared.messaging.message import Connection


async def open_books(connection: Connection, skus: Collection[str]) -> Books:
    """Locks the pools of these SKUs, in SKU order, and reads their shelves. SKUs that are not registered are not in ``pools``, and those
    that are kits are in ``kits``."""
    books = Books()
    wanted = sorted(set(skus))
    rows = await sql.lock_pools(connection, wanted)
    channels = await channel_pools_of(connection, rows)
    for row in rows:
        books.pools[row["sku"]] = Pool(
            row["sku"],
            row["sellable"],
            row["pending_shortage"],
            row["reserved"],
            row["queued"],
            row["safety"],
            row["version"],
            row["release_at"],
            row["early_release"],
            row["preorder_said_at"],
            row["held"],
            row["sku_safety"],
            channels.get(row["sku"], []),
            in_kits=row["in_kits"],
        )
    strangers = [sku for sku in wanted if sku not in books.pools]
    for row in await read_kits(connection, strangers) if strangers else ():
        books.kits[row["kit_sku"]] = row["components"]
    for row in await sql.read_shelves(connection, wanted):
        books.shelves.setdefault(row["sku"], {})[row["location"]] = _shelf_of(row)
    for row in await sql.read_hazmat(connection, wanted):
        books.hazmat[row["sku"]] = row["hazmat"]
    return books


def _shelf_of(row: Record) -> Shelf:
    return Shelf(
        row["sku"],
        row["location"],
        row["counts"],
        row["on_shelf"],
        row["assigned"],
        row["damaged"],
        row["quality_control"],
        row["counted_as_of"],
        row["counted_watermark"],
        row["counted_short"],
        row["missed"],
        safety=row["safety"],
    )


async def channel_pools_of(connection: Connection, pools: Iterable[Record]) -> dict[str, list[ChannelPool]]:
    """The rules of those locked pools that have some, oldest first; nothing is asked where none has."""
    ruled = [row["sku"] for row in pools if row["ruled"]]
    channels: dict[str, list[ChannelPool]] = {}
    if ruled:
        for row in await read_channel_pools(connection, ruled):
            channels.setdefault(row["sku"], []).append(ChannelPool(*row.values()))
    return channels


async def shared_pools(connection: Connection, rows: Collection[Record]) -> dict[str, SharedPool]:
    """The free units of each SKU, with the rules of those that have some."""
    channels = await channel_pools_of(connection, rows)
    return {
        row["sku"]: SharedPool(row["free"], row["queued"], row["version"], channels.get(row["sku"], []), row["release_at"] is not None)
        for row in rows
    }


def add_held_rows(books: Books, rows: Iterable[Record]) -> None:
    """Adds what checkout holds hold, unless it is in the books already."""
    for row in rows:
        units = HeldUnits(row["hold_id"], row["channel"], row["sku"], row["opened_at"], row["asked"], row["granted"], row["held"])
        books.held_units.setdefault((units.hold_id, units.sku), units)


def place_of(row: Record) -> Place:
    """A location as its row tells it."""
    return Place(row["partner"], row["active"], row["hazmat_certified"])


async def load_orders(connection: Connection, books: Books, order_ids: Collection[UUID]) -> None:
    """Adds orders, all their demand and their open assignments to the books."""
    wanted = list(order_ids)
    for row in await sql.read_orders(connection, wanted):
        books.orders[row["order_id"]] = _state_of(row)
    add_demand_rows(books, await sql.read_demand_of_orders(connection, wanted))
    add_assignment_rows(books, await sql.read_open_assignments(connection, wanted))


def add_demand_rows(books: Books, rows: Iterable[Record]) -> None:
    """Adds demand rows that are not in the books yet."""
    for row in rows:
        books.add_demand(
            Demand(
                row["demand_id"],
                row["order_id"],
                row["line_id"],
                row["sku"],
                row["units"],
                row["queued"],
                row["reserved"],
                row["assigned"],
                row["shipped"],
                row["cancelled"],
                row["promised_ship_at"],
                row["priority"],
                row["hold_all"],
                channel=row["channel"],
            )
        )


def _state_of(row: Record) -> OrderState:
    return OrderState(row["order_version"], row["cancelled_version"], row["priority"], row["hold_all"], row["segment"])


def add_waiting_rows(books: Books, rows: Iterable[Record]) -> None:
    """Adds demand rows that come with what is known of their order."""
    rows = list(rows)
    add_demand_rows(books, rows)
    for row in rows:
        if row["order_id"] not in books.orders:
            books.orders[row["order_id"]] = _state_of(row)


def add_assignment_rows(books: Books, rows: Iterable[Record]) -> None:
    """Adds assignments that are not in the books yet."""
    for row in rows:
        books.add_assignment(
            Assignment(
                row["fulfillment_id"],
                row["order_id"],
                row["line_id"],
                row["sku"],
                row["location"],
                row["units"],
                row["open"],
                row["shipped"],
                row["recalled"],
            )
        )
