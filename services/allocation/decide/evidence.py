"""What the auditor has gathered about one SKU whose books do not balance. Plain values, read by statements of the auditor's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

ShelfBalance = Literal["on_shelf", "assigned", "damaged", "quality_control"]
Kind = Literal[
    "received",
    "adjusted",
    "returned",
    "written_off",
    "shipped",
    "assigned",
    "unassigned",
    "reserved",
    "released",
    "requeued",
    "damaged",
    "quarantined",
    "held",
    "unheld",
]
SHELF_BALANCES: tuple[ShelfBalance, ...] = ("on_shelf", "assigned", "damaged", "quality_control")

ON_SHELF_KINDS = frozenset({"received", "adjusted", "returned", "written_off", "shipped"})
ASSIGNED_KINDS = frozenset({"assigned", "unassigned", "shipped"})
RESERVED_KINDS = frozenset({"reserved", "released", "requeued", "shipped"})
HELD_KINDS = frozenset({"held", "unheld"})


class StockOfPool(NamedTuple):
    """The pool's own row. ``sku_safety`` and what the shelves keep back are what ``safety`` must be."""

    version: int
    sellable: int
    pending_shortage: int
    reserved: int
    queued: int
    assignable: tuple[tuple[str, int], ...]
    held: int = 0
    safety: int = 0
    sku_safety: int = 0
    fenced: int = 0
    ruled: bool = False


class StockOfShelf(NamedTuple):
    """A shelf's own row.

    ``may_count`` is what its location and product say about ``counts``, ``told_missed`` what pickers have told about ``missed``, ``safety``
    what is to be kept back here.
    """

    location: str
    counts: bool
    may_count: bool
    on_shelf: int
    assigned: int
    damaged: int
    quality_control: int
    pending_shortage: int
    missed: int = 0
    told_missed: int = 0
    safety: int = 0


class Written(NamedTuple):
    """One ledger entry, or one that should be there. Quantities are signed as in the ledger.

    ``is_first`` entries are written when an order is placed: they carry the id of their demand and no time.
    """

    entry_id: UUID | None
    kind: Kind
    quantity: int
    location: str | None = None
    order_id: UUID | None = None
    line_id: str | None = None
    fulfillment_id: UUID | None = None
    cause_id: UUID | None = None
    event_id: UUID | None = None
    happened_at: datetime | None = None
    sequence: int | None = None
    is_first: bool = False


class Suspect(NamedTuple):
    """An entry with something odd about it.

    ``has_twin``: another entry says the same. ``is_stray``: no transaction of the service has written it. ``is_altered``: it was changed
    after it was written. ``is_unfounded``: the line, receipt or scan that it speaks of does not exist.
    """

    entry: Written
    has_twin: bool
    is_stray: bool
    is_altered: bool
    is_unfounded: bool


class OrderLine(NamedTuple):
    """An order line with something wrong: its rows summed, its entries and its assignments.

    ``unwritten_demand_id`` is a demand row whose first reservation has no entry. ``known`` is false when there is no demand row at all,
    ``order_known`` when there is no order either.
    """

    order_id: UUID
    line_id: str
    known: bool
    order_known: bool
    cancelled_order: bool
    units: int
    queued: int
    reserved: int
    assigned: int
    shipped: int
    cancelled: int
    ledger_reserved: int
    assignments_open: int
    assignments_shipped: int
    unwritten_demand_id: UUID | None = None
    unwritten_event_id: UUID | None = None
    channel: str = ""


class Part(NamedTuple):
    """Units of an order line tied to a location (an assignment) whose entries say something else. ``known``: whether the row exists."""

    fulfillment_id: UUID
    line_id: str
    order_id: UUID
    location: str
    known: bool
    open: int
    shipped: int
    ledger_open: int
    ledger_shipped: int
    plan_id: UUID | None = None
    shipped_at: datetime | None = None


class KeptUnits(NamedTuple):
    """Units of one checkout hold that something is wrong with. ``known``: whether the hold has a row; ``ended``: it should hold nothing."""

    hold_id: UUID
    channel: str
    known: bool
    ended: bool
    held: int
    ledger_held: int
    opened_at: datetime | None = None


class ChannelUnits(NamedTuple):
    """What a channel with a rule has open and waiting, and what its orders and checkout holds say about it."""

    channel: str
    fence: int
    open: int
    queued: int
    right_open: int
    right_queued: int


class SupplyUnits(NamedTuple):
    """A line of a supply that something is wrong with: what has come by its receipts, and whether more is expected."""

    supply_id: UUID
    received: int
    right_received: int
    open: bool
    right_open: bool


class Break(NamedTuple):
    """Where a balance moved between two entries without one. ``by`` is what it moved by.

    ``before_entry_id`` is null when it moved after the last entry.
    """

    balance: str
    location: str | None
    by: int
    after_entry_id: UUID | None
    after_at: datetime | None
    before_entry_id: UUID | None = None
    before_at: datetime | None = None
    before_event_id: UUID | None = None


class WrongCause(NamedTuple):
    """A receipt, scan or adjustment whose entries do not fit it: ``entry`` is too much, or is missing."""

    is_missing: bool
    entry: Written


class LedgerSums(NamedTuple):
    """What the entries of one shelf add up to."""

    on_shelf: int = 0
    assigned: int = 0
    damaged: int = 0
    quality_control: int = 0


@dataclass(frozen=True)
class Evidence:
    """Everything about one SKU. ``lines``, ``parts``, ``causes``, ``holds``, ``supplies`` hold only what is wrong; ``demand_*`` are sums
    over all orders, ``rules`` are all there are. ``verified_at`` is when the books were last found right, ``first_since`` the first entry
    that was written after that.
    """

    sku: str
    pool: StockOfPool | None
    shelves: tuple[StockOfShelf, ...] = ()
    ledger_reserved: int = 0
    ledger_shelves: dict[str, LedgerSums] = field(default_factory=dict)
    demand_reserved: int = 0
    demand_queued: int = 0
    lines: tuple[OrderLine, ...] = ()
    parts: tuple[Part, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    breaks: tuple[Break, ...] = ()
    causes: tuple[WrongCause, ...] = ()
    ledger_held: int = 0
    holds: tuple[KeptUnits, ...] = ()
    rules: tuple[ChannelUnits, ...] = ()
    supplies: tuple[SupplyUnits, ...] = ()
    verified_at: datetime | None = None
    first_since: Written | None = None
