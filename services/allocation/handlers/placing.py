"""New orders."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.allocation.decide.offering import date_of_place, offers_of
from services.allocation.decide.placing import PlacedOrder, Placement, place_orders, queue_positions
from services.allocation.decide.pools import SharedPool
from services.allocation.decide.promising import date_of_unit, sellable_of
from services.allocation.decide.stock import Cause, SupplyUnits
from services.allocation.handlers.announcing import availability_messages, changes_of, kind_of_demand, supplies_by_sku
from services.allocation.handlers.confirming import lock_open_holds, read_usable_holds, save_confirmed_holds
from services.allocation.handlers.keeping import channel_pool_rows, read_ahead
from services.allocation.handlers.kits import tell_kits
from services.allocation.handlers.loading import open_books, shared_pools
from services.allocation.handlers.promising import date_later
from services.allocation.handlers.settling import settle
from services.allocation.queries.kits import read_kits
from services.allocation.queries.placing import PlacedRows, lock_pools_for_orders, save_placed_orders
from services.allocation.queries.pools import update_channel_pools
from services.allocation.queries.queue import Newcomers, Work, insert_work, read_units_ahead
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.orders import OrderPlaced
from shared.contracts.stock import AssignableStock, StockBackordered, StockReserved
from shared.messaging.message import Outgoing, Received, Transaction

Supplies = Mapping[str, Sequence[SupplyUnits]]
Releases = Mapping[str, datetime]
"""Before when nothing of a SKU in preorder ships."""
Dates = Mapping[UUID, datetime | None]
"""When the lines that wait will ship, by demand id."""

LAST_ID = UUID(int=2**128 - 1)


async def reserve_placed_orders(tx: Transaction, messages: Sequence[Received[OrderPlaced]]) -> list[Outgoing]:
    """Reserves what is there for new paid orders and queues the rest (features A1, B3)."""
    skus = {line.sku for message in messages for line in message.data.lines}
    hold_ids, held_skus = await lock_open_holds(tx, {message.data.hold_id for message in messages if message.data.hold_id is not None})
    rows = await lock_pools_for_orders(tx.connection, sorted(skus | held_skus), [message.data.order_id for message in messages])
    available = {row["sku"]: row["available"] for row in rows}
    kits = await _kits_among(tx, skus, available) if not skus <= available.keys() else ()
    releases = {row["sku"]: row["release_at"] for row in rows if row["release_at"] is not None}
    orders = [(index, message.data) for index, message in enumerate(messages) if _all_registered(tx, message, available, kits)]
    if not orders:
        return []
    ruled = await shared_pools(tx.connection, [row for row in rows if row["ruled"]])
    placement = place_orders(
        orders,
        known=rows[0]["known_order_ids"] or (),
        available=available,
        queued={row["sku"]: row["queued"] for row in rows},
        held_back=releases,
        new_id=tx.new_id,
        holds=await read_usable_holds(tx, hold_ids),
        ruled=ruled,
    )
    if not placement.orders:
        return []
    scarce = [sku for sku, claim in placement.claims.items() if claim.is_scarce or sku in releases or sku in ruled]
    supplies = supplies_by_sku(await read_open_supplies(tx.connection, scarce)) if scarce else {}
    dates = await _dates(tx, placement, supplies, releases, ruled) if placement.waiting else {}
    if ruled and placement.waiting:
        dates |= await _dates_by_rules(tx, placement, supplies, releases, ruled)
    saving = asyncio.create_task(_save(tx, placement, _rows_of(placement, messages, dates, ruled), messages, ruled))
    try:
        await asyncio.sleep(0)  # lets the statement leave; the messages are worded while the database writes
        outgoing = _messages_of(placement, messages, rows, supplies, dates, ruled, tx.now)
    finally:
        await saving
    outgoing += await _serve_queue(tx, placement, messages, rows, supplies)
    components = [row["sku"] for row in rows if row["in_kits"] and row["sku"] in placement.claims]
    return outgoing + await tell_kits(tx, components, messages) if components else outgoing


async def _save(
    tx: Transaction, placement: Placement, rows: PlacedRows, messages: Sequence[Received[OrderPlaced]], ruled: Mapping[str, SharedPool]
) -> None:
    await save_placed_orders(tx.connection, rows)
    if placement.confirmed:
        await save_confirmed_holds(tx, placement.confirmed, messages)
    if ruled:
        await update_channel_pools(tx.connection, channel_pool_rows((pool.channels, pool.channels_were) for pool in ruled.values()))
    if placement.waiting:
        await insert_work(tx.connection, *_work_of(placement, messages))


async def _serve_queue(
    tx: Transaction, placement: Placement, messages: Sequence[Received[OrderPlaced]], rows: Sequence[Record], supplies: Supplies
) -> list[Outgoing]:
    """What holds held beyond their orders goes to those who waited before, in the same transaction; rare, so it takes the long way. Who
    goes on waiting has come nearer to his goods."""
    freed = {sku for hold in placement.confirmed for sku, units in hold.held.items() if units > hold.used[sku]}
    waited_for = [row["sku"] for row in rows if row["queued"] and row["sku"] in freed]
    if not waited_for:
        return []
    causes = [messages[index] for index in sorted({hold.batch_index for hold in placement.confirmed})]
    books = await open_books(tx.connection, waited_for)
    for sku in books.pools:
        books.touch(sku, Cause(causes[0].event_id, tx.now, placement.confirmed[0].hold_id))
    await date_later(tx, [sku for sku, pool in books.pools.items() if sku in supplies or pool.release_at is not None])
    return await settle(tx, books, causes)


def _work_of(placement: Placement, messages: Sequence[Received[OrderPlaced]]) -> tuple[Work, Newcomers]:
    """Who waits may outrank an incomplete order that holds units of the same SKU; per SKU the highest rank speaks for all.

    What a new order got itself was there for everybody, so nobody of higher rank waits for that.
    """
    first = messages[placement.orders[0].batch_index]
    highest: dict[str, tuple[int, UUID]] = {}
    for placed in placement.orders:
        rank = placed.order.priority, placed.order.order_id
        for line in placed.lines:
            if line.reserved < line.units:
                highest[line.sku] = min(highest.get(line.sku, rank), rank)
    contested, count = placement.contested, len(highest)
    return (
        Work(contested, [first.event_id] * len(contested), [first.traceparent] * len(contested)),
        Newcomers(
            list(highest),
            [priority for priority, _ in highest.values()],
            [order_id for _, order_id in highest.values()],
            [False] * count,
            [first.event_id] * count,
            [first.traceparent] * count,
        ),
    )


async def _dates(
    tx: Transaction, placement: Placement, supplies: Supplies, releases: Releases, ruled: Collection[str]
) -> dict[UUID, datetime | None]:
    """When the new waiting lines will ship, of SKUs without rules. Whoever they overtake is dated anew a little later."""
    claims = placement.claims
    waiting = [line for line in placement.waiting if line.sku not in ruled] if ruled else placement.waiting
    classes = sorted({(line.sku, line.priority) for line in waiting})
    longer = [(sku, priority) for sku, priority in classes if claims[sku].waiting > claims[sku].queued]
    ahead: dict[tuple[str, int], int] = {}
    if longer:
        rows = await read_units_ahead(
            tx.connection,
            [sku for sku, _ in longer],
            [priority for _, priority in longer],
            [claims[sku].waiting - claims[sku].queued for sku, _ in longer],
        )
        ahead = {(row["sku"], row["priority"]): row["ahead"] for row in rows}
        overtaken = {sku for (sku, _), units in ahead.items() if units < claims[sku].waiting - claims[sku].queued}
        await date_later(tx, [sku for sku in sorted(overtaken) if sku in supplies or sku in releases])
    positions = queue_positions(waiting, ahead)
    return {
        line.demand_id: date_of_unit(
            positions[line.demand_id],
            supplies.get(line.sku, ()),
            on_shelf=claims[line.sku].available,
            release_at=releases.get(line.sku),
            now=tx.now,
        )
        for line in waiting
    }


async def _dates_by_rules(
    tx: Transaction, placement: Placement, supplies: Supplies, releases: Releases, ruled: Mapping[str, SharedPool]
) -> dict[UUID, datetime | None]:
    """The same of SKUs with rules: what counts is how many units each channel waits for before a line."""
    waiting = [line for line in placement.waiting if line.sku in ruled]
    channels = {line.demand_id: placed.order.channel for placed in placement.orders for line in placed.lines}
    classes = sorted({(line.sku, line.priority) for line in waiting})
    ahead = await read_ahead(tx.connection, [(sku, priority, LAST_ID) for sku, priority in classes])
    overtaken = {sku for (sku, _, _), units in ahead.items() if sum(units.values()) < ruled[sku].queued_was}
    await date_later(tx, [sku for sku in sorted(overtaken) if sku in supplies or sku in releases])
    come: dict[str, Counter[str]] = {sku: Counter() for sku in ruled}
    dates: dict[UUID, datetime | None] = {}
    for line in sorted(waiting, key=lambda line: line.priority):
        pool, channel = ruled[line.sku], channels[line.demand_id]
        come[line.sku][channel] += line.queued
        dates[line.demand_id] = date_of_place(
            pool.free,
            pool.channels,
            ahead[line.sku, line.priority, LAST_ID] + come[line.sku],
            channel,
            supplies.get(line.sku, ()),
            release_at=releases.get(line.sku),
            now=tx.now,
        )
    return dates


async def _kits_among(tx: Transaction, skus: Collection[str], registered: Collection[str]) -> set[str]:
    rows = await read_kits(tx.connection, [sku for sku in skus if sku not in registered])
    return {row["kit_sku"] for row in rows}


def _all_registered(tx: Transaction, message: Received[OrderPlaced], registered: Collection[str], kits: Collection[str]) -> bool:
    """Sync took the order, so it knows the products; their registration is still on its way to us."""
    for line in message.data.lines:
        if line.sku in kits:
            tx.park(
                message, f"lines: SKU {line.sku!r} is a kit and cannot be reserved itself: an order names its components (sync does that)"
            )
            return False
        if line.sku not in registered:
            tx.defer(message, f"lines: SKU {line.sku!r} is not registered here yet; it comes with product.registered")
            return False
    return True


def _rows_of(placement: Placement, messages: Sequence[Received[OrderPlaced]], dates: Dates, ruled: Mapping[str, SharedPool]) -> PlacedRows:
    orders = [placed.order for placed in placement.orders]
    lines = [line for placed in placement.orders for line in placed.lines]
    return PlacedRows(
        pool_skus=list(placement.claims),
        pool_reserved=[claim.reserved for claim in placement.claims.values()],
        pool_queued=[claim.queued for claim in placement.claims.values()],
        pool_unheld=[placement.unheld.get(sku, 0) for sku in placement.claims],
        pool_fenced=[ruled[sku].fenced_change if sku in ruled else 0 for sku in placement.claims],
        order_ids=[order.order_id for order in orders],
        order_versions=[order.order_version for order in orders],
        split_policies=[order.split_policy for order in orders],
        placed_at=[order.placed_at for order in orders],
        priorities=[order.priority for order in orders],
        segments=[order.segment for order in orders],
        line_order_ids=[placed.order.order_id for placed in placement.orders for _ in placed.lines],
        line_ids=[line.line_id for line in lines],
        line_skus=[line.sku for line in lines],
        demand_ids=[line.demand_id for line in lines],
        units=[line.units for line in lines],
        reserved=[line.reserved for line in lines],
        promised_ship_at=[dates.get(line.demand_id) for line in lines],
        event_ids=[messages[placed.batch_index].event_id for placed in placement.orders for _ in placed.lines],
        line_priorities=[placed.order.priority for placed in placement.orders for _ in placed.lines],
        hold_all=[placed.order.split_policy == "hold_all" for placed in placement.orders for _ in placed.lines],
        line_channels=[placed.order.channel for placed in placement.orders for _ in placed.lines],
    )


def _messages_of(
    placement: Placement,
    messages: Sequence[Received[OrderPlaced]],
    rows: Sequence[Record],
    supplies: Supplies,
    dates: Dates,
    ruled: Mapping[str, SharedPool],
    now: datetime,
) -> list[Outgoing]:
    """Built from plain values and validated whole, which costs half of building part by part."""
    assignable: dict[str, AssignableStock] = {}
    changes: list[dict[str, object]] = []
    kinds: dict[str, str] = {}
    for sku, available, queued, version, locations, free, release_at, *_ in rows:
        claim = placement.claims.get(sku)
        if claim is None:
            continue
        if claim.reserved:
            places = [{"location": location, "quantity": quantity} for location, quantity in zip(locations, free, strict=True)]
            assignable[sku] = AssignableStock.model_validate({"sku": sku, "stock_version": version + 1, "locations": places})
        known = supplies.get(sku, ())
        kinds[sku] = kind_of_demand(release_at)
        if sku in ruled:
            pool = ruled[sku]
            before = offers_of(pool.free_was, pool.queued_was, pool.channels_were, known, release_at)
            after = offers_of(pool.free, pool.queued, pool.channels, known, release_at)
            changes.extend(changes_of(sku, version + 1, before, after))
            continue
        left, mode, next_ship_at = sellable_of(claim.available, queued + claim.queued, known, release_at)
        taken = claim.reserved and sku not in placement.unheld  # what was held was not for sale before either
        if taken or (left, mode, next_ship_at) != sellable_of(available, queued, known, release_at):
            changes.append(
                {
                    "sku": sku,
                    "pool": "default",
                    "available": left,
                    "mode": mode,
                    "next_ship_at": next_ship_at,
                    "stock_version": version + 1,
                }
            )
    outgoing: list[Outgoing] = []
    for placed in placement.orders:
        outgoing.extend(_messages_of_order(placed, messages[placed.batch_index], assignable, kinds, dates, now))
    outgoing.extend(availability_messages(changes, messages, now))
    return outgoing


def _messages_of_order(
    placed: PlacedOrder,
    message: Received[OrderPlaced],
    assignable: Mapping[str, AssignableStock],
    kinds: Mapping[str, str],
    dates: Dates,
    now: datetime,
) -> list[Outgoing]:
    order_id = placed.order.order_id
    heading = {"order_id": order_id, "order_version": placed.order.order_version, "cause": "placed"}
    reserved: list[dict[str, object]] = []
    queued: list[dict[str, object]] = []
    stock: dict[str, AssignableStock] = {}
    for line in placed.lines:
        if line.reserved:
            stock[line.sku] = assignable[line.sku]
            reserved.append({"reservation_id": line.demand_id, "line_id": line.line_id, "sku": line.sku, "quantity": line.reserved})
        if line.reserved < line.units:
            queued.append(
                {
                    "demand_id": line.demand_id,
                    "line_id": line.line_id,
                    "sku": line.sku,
                    "quantity": line.units - line.reserved,
                    "demand_kind": kinds[line.sku],
                    "promised_ship_at": dates[line.demand_id],
                }
            )
    outgoing: list[Outgoing] = []
    if reserved:
        body = {**heading, "lines": reserved, "assignable": list(stock.values()), "reserved_at": now}
        outgoing.append(Outgoing(StockReserved.model_validate(body), str(order_id), message))
    if queued:
        body = {**heading, "lines": queued, "backordered_at": now}
        outgoing.append(Outgoing(StockBackordered.model_validate(body), str(order_id), message))
    return outgoing
