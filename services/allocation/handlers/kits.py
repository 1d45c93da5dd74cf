"""Kits: registered from components, and told to channels whenever a component changes (feature A8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record

from services.allocation.decide.books import Books
from services.allocation.decide.kits import ComponentStock, sellable_kit
from services.allocation.decide.promising import Sellable
from services.allocation.handlers.announcing import availability_messages, supplies_by_sku
from services.allocation.queries import kits as sql
from services.allocation.queries.supplies import read_open_supplies
from shared.contracts.channels import Product, ProductRegistered
from shared.messaging.message import Connection, Outgoing, Received, Transaction

KitRegistrations = Mapping[str, tuple[Received[ProductRegistered], Product]]
"""By kit SKU: the newest registration of a batch and the message that it stands in."""


def changed_components(books: Books) -> list[str]:
    """SKUs of the books that changed and that kits are made of."""
    return sorted(sku for sku, pool in books.pools.items() if pool.touched and pool.in_kits)


async def tell_kits(tx: Transaction, skus: Sequence[str], messages: Sequence[Received[Any]]) -> list[Outgoing]:
    """New numbers of the kits that are made of these SKUs, whose pools this transaction has locked and saved. Comes last of all."""
    if not skus:
        return []
    return await _tell(tx, await sql.lock_kits_of(tx.connection, skus), messages)


async def read_component_stock(connection: Connection, kit_skus: Sequence[str]) -> dict[str, list[ComponentStock]]:
    """What kits are made of and what there is of it; supplies only of components that hold their kit up."""
    rows = await sql.read_components(connection, kit_skus)
    kits: dict[str, list[ComponentStock]] = {}
    for row in rows:
        component = ComponentStock(row["sku"], row["quantity"], row["available"], row["queued"], release_at=row["release_at"])
        kits.setdefault(row["kit_sku"], []).append(component)
    short = sorted({part.sku for components in kits.values() for part in components if part.kits == 0 or part.release_at is not None})
    supplies = supplies_by_sku(await read_open_supplies(connection, short)) if short else {}
    return {
        kit_sku: [component._replace(supplies=supplies.get(component.sku, ())) for component in components]
        for kit_sku, components in kits.items()
    }


async def _tell(tx: Transaction, rows: Sequence[Record], messages: Sequence[Received[Any]], new: Collection[str] = ()) -> list[Outgoing]:
    """Says what differs from what channels were told before, and everything about kits that are new. The kits' rows are locked."""
    if not rows:
        return []
    stock = await read_component_stock(tx.connection, [row["kit_sku"] for row in rows])
    told: list[tuple[str, int, Sellable]] = []
    for row in rows:
        sellable = sellable_kit(stock.get(row["kit_sku"], ()))
        if row["kit_sku"] in new or sellable != (row["available"], row["mode"], row["next_ship_at"]):
            told.append((row["kit_sku"], row["version"] + 1, sellable))
    if not told:
        return []
    await sql.update_kits(
        tx.connection,
        [kit_sku for kit_sku, _, _ in told],
        [sellable.available for _, _, sellable in told],
        [sellable.mode for _, _, sellable in told],
        [sellable.next_ship_at for _, _, sellable in told],
    )
    changes = [{"sku": kit_sku, "pool": "default", "stock_version": version, **sellable._asdict()} for kit_sku, version, sellable in told]
    return availability_messages(changes, messages, tx.now)


def kit_problem(books: Books, skus: Iterable[str]) -> str | None:
    """Why stock of these SKUs cannot be moved: one of them is a kit. Names its components, which can."""
    for sku in skus:
        components = books.kits.get(sku)
        if components is not None:
            named = ", ".join(map(repr, components[:10])) + (" and others" if len(components) > 10 else "")
            return f"sku: {sku!r} is a kit and has no stock of its own: say it of its components {named}"
    return None


async def components_of(connection: Connection, kit_skus: Collection[str]) -> set[str]:
    """The SKUs that kits are made of at this moment. One composition changes at a time, so they stand still until the transaction ends."""
    await sql.hold_compositions(connection)
    return {sku for row in await sql.read_kits(connection, kit_skus) for sku in row["components"] or ()}


async def compose_kits(tx: Transaction, books: Books, kits: KitRegistrations, former: Collection[str]) -> dict[str, bool]:
    """Makes kits of their components, whose pools are locked, and returns which were composed and whether each is new.

    Args:
        tx: the batch's transaction.
        books: pools of all components, old and new, under lock.
        kits: what was registered.
        former: components of these kits before.
    """
    fit = {sku: registration for sku, registration in kits.items() if _fits(tx, sku, registration, books)}
    times: list[datetime] = [message.time or tx.now for message, _ in fit.values()]
    composed = {row["kit_sku"]: row["is_new"] for row in await sql.insert_kits(tx.connection, list(fit), times)} if fit else {}
    parts = [(sku, component) for sku in composed for component in fit[sku][1].components]
    if parts:
        await sql.replace_components(
            tx.connection, [sku for sku, _ in parts], [part.sku for _, part in parts], [part.quantity for _, part in parts]
        )
        await sql.mark_components(tx.connection, sorted({*former, *(part.sku for _, part in parts)}))
    return composed


def _fits(tx: Transaction, sku: str, registration: tuple[Received[ProductRegistered], Product], books: Books) -> bool:
    message, kit = registration
    if sku in books.pools:
        tx.park(message, f"products: {sku!r} is stocked here and cannot become a kit; register the kit under a SKU of its own")
        return False
    stranger = next((component.sku for component in kit.components if component.sku not in books.pools), None)
    if stranger is not None:
        tx.defer(message, f"products: component {stranger!r} of kit {sku!r} is not registered here yet; it comes with product.registered")
    return stranger is None


async def tell_composed(tx: Transaction, composed: Mapping[str, bool], messages: Sequence[Received[Any]]) -> list[Outgoing]:
    """The numbers of kits that were composed in this transaction."""
    if not composed:
        return []
    rows = await sql.lock_kits(tx.connection, sorted(composed))
    return await _tell(tx, rows, messages, {sku for sku, is_new in composed.items() if is_new})
