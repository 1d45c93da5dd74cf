"""Orders that ship only as a whole, and what they hold while they are incomplete (feature B6).

Such an order keeps the units that it has got while it waits for others. Two of them that each hold what the other needs would wait for
ever, and one could hold for months what another would ship tomorrow. So units are lent, not given, as in wound-wait (Rosenkrantz, Stearns
and Lewis, System Level Concurrency Control for Distributed Database Systems, 1978): every order has a rank that never changes, its priority
class and then its age; whoever waits for a unit takes it from an incomplete order of lower rank, the lowest first. Nobody therefore waits
for what a lower rank merely holds. The highest rank that waits for anything waits for supply only, so it completes when that has come, and
then the next. No two orders can wait for each other: each would have to outrank the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from services.allocation.decide.books import Books, Notice
from services.allocation.decide.pools import open_units, takeable_units
from services.allocation.decide.stock import Cause, Pool


def may_move(pool: Pool, giver: str, taker: str, quantity: int) -> int:
    """How many of some units one channel may take over from another: all, unless a rule of the SKU keeps them apart."""
    while quantity and pool.channels and giver != taker:
        rules = [replace(rule) for rule in pool.channels]
        open_units(rules, giver, -quantity)
        takeable = takeable_units(pool.free + quantity, rules, taker)
        if takeable >= quantity:
            break
        quantity = takeable
    return quantity


def yield_units(books: Books, sku: str, incomplete: Collection[UUID], cause: Cause) -> None:
    """Moves unassigned units of one SKU from incomplete orders that hold all to those of higher rank that wait for them.

    Where channels have rules, units move from one channel to another only as far as the rules of both let them; what a rule keeps apart is
    not waited for because of rank.

    Who loses keeps the place in the queue. Nothing is taken from an order that ships what is available: it is about to ship. Once through
    is enough: who waits is served from the highest rank down and from the lowest holder up, so nobody who has lost could take from
    anybody who is left.

    Args:
        books: rows of the SKU: who waits, from the highest rank down, and who holds, from the lowest up, as far as they can meet.
        sku: which.
        incomplete: the orders that hold all and wait for something, of whatever SKU.
        cause: why this is looked at.
    """
    rows = books.demand_of(sku)
    waiting = sorted((row for row in rows if row.queued), key=lambda row: (row.rank, row.demand_id))
    holding = sorted(
        (row for row in rows if row.hold_all and row.unassigned and row.order_id in incomplete), key=lambda row: (row.rank, row.demand_id)
    )
    for claimant in waiting:
        while claimant.queued and holding and holding[-1].rank > claimant.rank:
            holder = holding[-1]
            quantity = may_move(books.pools[sku], holder.channel, claimant.channel, min(claimant.queued, holder.unassigned))
            if not quantity:
                break
            books.take_away(holder, quantity, "yielded", cause)
            books.reserve(claimant, quantity, cause)
            books.notices.append(Notice("reserved", "restocked", claimant, quantity, cause.event_id))
            if not holder.unassigned:
                holding.pop()
