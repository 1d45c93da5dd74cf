"""Checkout holds that orders name: locked before the pools, used by the orders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from services.allocation.decide.holds import UsableHold
from services.allocation.decide.placing import ConfirmedHold
from services.allocation.queries import holds as sql
from shared.contracts.orders import OrderPlaced
from shared.messaging.message import Received, Transaction


async def lock_open_holds(tx: Transaction, named: Collection[UUID]) -> tuple[list[UUID], set[str]]:
    """Locks the open ones among the holds that orders name, so that none of them ends meanwhile.

    Returns:
        their ids, and the SKUs whose pools must be locked with those of the orders. A hold that comes to life later is unknown.
    """
    if not named:
        return [], set()
    hold_ids = [row["hold_id"] for row in await sql.lock_holds(tx.connection, list(named)) if row["state"] == "held"]
    return hold_ids, {row["sku"] for row in await sql.read_skus_of_holds(tx.connection, hold_ids)}


async def read_usable_holds(tx: Transaction, hold_ids: Sequence[UUID]) -> dict[UUID, UsableHold]:
    """What the locked holds hold, now that their pools are locked, too."""
    holds: dict[UUID, UsableHold] = {}
    for row in await sql.read_hold_lines(tx.connection, hold_ids) if hold_ids else ():
        hold = holds.setdefault(row["hold_id"], UsableHold(row["hold_id"], row["channel"], {}))
        hold.held[row["sku"]] = row["held"]
    return holds


async def save_confirmed_holds(tx: Transaction, confirmed: Sequence[ConfirmedHold], messages: Sequence[Received[OrderPlaced]]) -> None:
    """Empties the holds; the units moved with the orders."""
    lines = [(hold, sku) for hold in confirmed for sku in hold.held]
    rows = sql.ConfirmedRows(
        hold_ids=[hold.hold_id for hold in confirmed],
        order_ids=[hold.order_id for hold in confirmed],
        line_hold_ids=[hold.hold_id for hold, _ in lines],
        line_skus=[sku for _, sku in lines],
        line_held=[hold.held[sku] for hold, sku in lines],
        line_used=[hold.used[sku] for hold, sku in lines],
        movement_ids=[tx.new_id() for _ in lines],
        event_ids=[messages[hold.batch_index].event_id for hold, _ in lines],
    )
    await sql.confirm_holds(tx.connection, rows, tx.now)
