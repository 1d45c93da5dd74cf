"""Rows that were changed without an entry, and what they must be set to."""

from __future__ import annotations

from collections.abc import Iterable

from services.allocation.decide.defects import Defect, Imbalance, Restatement, Site, Surpluses
from services.allocation.decide.evidence import Break, Evidence, OrderLine, Part, StockOfShelf, Written


def sellable(shelf: StockOfShelf) -> int:
    """What a shelf gives to its pool; a closed one still honours what is assigned there."""
    return max(shelf.on_shelf, shelf.assigned) if shelf.counts else shelf.assigned


def changed_rows(evidence: Evidence, surpluses: Surpluses) -> list[Defect]:
    """Shelves, the reserved units of the pool, and assignments that say something else than their entries."""
    parts = {(part.fulfillment_id, part.line_id): part for part in evidence.parts}
    found = []
    for site in [site for site in surpluses.left if site.row != "line"]:
        part = parts.get((site.fulfillment_id, site.line_id)) if site.fulfillment_id and site.line_id else None
        if part is not None and not part.known:
            if site.balance == "open":
                found.append(_lost_part(part, surpluses.of(site)))
            continue
        found.append(_changed(evidence, [Imbalance(site, surpluses.rows[site], surpluses.rows[site] + surpluses.of(site))]))
    return found


def _lost_part(part: Part, units: int) -> Defect:
    """Units are tied to a location for an assignment that is not there: they are untied."""
    site = Site("assignment", "open", None, None, part.line_id, part.fulfillment_id)
    return Defect(
        key=f"lost assignment {part.fulfillment_id} {part.line_id}",
        culprit="assignment_lost",
        imbalances=(Imbalance(site, 0, units),),
        mends="both",
        explanation=(
            f"{units} units are tied to {part.location} for line {part.line_id} of fulfillment {part.fulfillment_id}, "
            "which has no assignment of them."
        ),
        entries=(Written(None, "unassigned", -units, part.location, part.order_id, part.line_id, part.fulfillment_id),),
    )


def _changed(evidence: Evidence, imbalances: list[Imbalance]) -> Defect:
    first = imbalances[0]
    site = first.site
    where = next(
        (
            found
            for found in evidence.breaks
            if site.row in ("shelf", "pool") and (found.balance, found.location) == (site.balance, site.location)
        ),
        None,
    )
    subject = " ".join(str(part) for part in site if part is not None)
    return Defect(
        key=f"row {subject}",
        culprit="changed_without_entry",
        imbalances=tuple(imbalances),
        mends="balance",
        explanation=f"The {site} says {first.found}, everything else says {first.expected}: it was changed without an entry.",
        interval=where or Break(site.balance, site.location, first.found - first.expected, None, evidence.verified_at),
        restatements=tuple(Restatement(imbalance.site, imbalance.expected) for imbalance in imbalances),
    )


def changed_lines(evidence: Evidence, surpluses: Surpluses) -> tuple[list[Defect], int]:
    """Order lines whose states are not what entries and assignments say; also the units that will wait once they are mended."""
    mended_parts = {
        (site.fulfillment_id, site.line_id, site.balance): surplus for site, surplus in surpluses.left.items() if site.row == "assignment"
    }
    queued = evidence.demand_queued
    found = []
    for line in evidence.lines:
        moved = {"open": 0, "shipped": 0}
        for part in evidence.parts:
            if (part.order_id, part.line_id) == (line.order_id, line.line_id):
                for balance in moved:
                    moved[balance] += mended_parts.get((part.fulfillment_id, part.line_id, balance), 0)
        reserved = line.reserved + surpluses.of(Site("line", "reserved", None, line.order_id, line.line_id))
        right = _right_states(
            line,
            reserved=reserved,
            assigned=line.assignments_open + moved["open"],
            shipped=line.assignments_shipped + moved["shipped"],
            waiting=evidence.pool.queued - queued if evidence.pool else 0,
        )
        imbalances = [
            Imbalance(Site("line", state, None, line.order_id, line.line_id), getattr(line, state), value)
            for state, value in right.items()
            if getattr(line, state) != value
        ]
        if reserved and not line.known and not line.order_known and not line.assignments_open:
            found.append(_lost_line(line, reserved, evidence))
        elif imbalances:
            queued += right["queued"] - line.queued
            found.append(_changed(evidence, imbalances))
    return found, queued


def _right_states(line: OrderLine, *, reserved: int, assigned: int, shipped: int, waiting: int) -> dict[str, int]:
    """What the states of a line's units must be: reserved, assigned and shipped are known, the rest of its units waits or is cancelled.

    Args:
        line: the line as it stands.
        reserved: what its entries say.
        assigned: what its assignments hold.
        shipped: what its assignments have shipped.
        waiting: how many more units the pool believes to wait than the orders do.
    """
    units, queued, cancelled = line.units, line.queued, line.cancelled
    if line.cancelled_order and queued:
        cancelled, queued = cancelled + queued, 0
    gap = units - (queued + reserved + shipped + cancelled)
    if gap and gap == waiting and queued + gap >= 0 and not line.cancelled_order:
        queued += gap
    elif gap and line.cancelled_order and cancelled + gap >= 0:
        cancelled += gap
    else:
        units -= gap
    return {"reserved": reserved, "assigned": assigned, "shipped": shipped, "queued": queued, "cancelled": cancelled, "units": units}


def _lost_line(line: OrderLine, reserved: int, evidence: Evidence) -> Defect:
    """Units are reserved for an order that is not there: they go back to the pool."""
    stated = evidence.pool.reserved if evidence.pool else 0
    entry = Written(None, "released", -reserved, None, line.order_id, line.line_id)
    return Defect(
        key=f"lost line {line.order_id} {line.line_id}",
        culprit="line_lost",
        imbalances=(Imbalance(Site("pool", "reserved"), stated, stated - reserved),),
        mends="both",
        explanation=f"{reserved} units are reserved for line {line.line_id} of order {line.order_id}; neither is there.",
        interval=Break("reserved", None, 0, None, evidence.verified_at),
        entries=(entry,),
    )


def changed_pool(evidence: Evidence, changed: Iterable[Defect], queued: int) -> Iterable[Defect]:
    """What shelves say of themselves, and the pool's copies against the mended shelves and lines."""
    changed = list(changed)
    mended = [_mended(shelf, changed) for shelf in evidence.shelves]
    restated = {defect.leading.site.location for defect in changed if defect.leading.site.row == "shelf"}
    for shelf, right in zip(evidence.shelves, mended, strict=True):
        if shelf.counts != shelf.may_count:
            yield _changed(evidence, [Imbalance(Site("shelf", "counts", shelf.location), int(shelf.counts), int(shelf.may_count))])
        if shelf.missed != shelf.told_missed:
            yield _changed(evidence, [Imbalance(Site("shelf", "missed", shelf.location), shelf.missed, shelf.told_missed)])
        if shelf.pending_shortage != right.pending_shortage and shelf.location not in restated:
            wrong = Imbalance(Site("shelf", "pending_shortage", shelf.location), shelf.pending_shortage, right.pending_shortage)
            yield _changed(evidence, [wrong])
    pool = evidence.pool
    if pool is None:
        return
    for balance, expected in (
        ("queued", queued),
        ("sellable", sum(sellable(shelf) for shelf in mended)),
        ("pending_shortage", sum(shelf.pending_shortage for shelf in mended)),
    ):
        if getattr(pool, balance) != expected:
            yield _changed(evidence, [Imbalance(Site("pool", balance), getattr(pool, balance), expected)])
    # The copy is made anew with every change of the pool, so it may be that of the shelves as they stand.
    as_they_are, as_they_should_be = _assignable(evidence.shelves), _assignable(mended)
    if pool.assignable not in (as_they_are, as_they_should_be):
        said, right_units = (sum(units for _, units in copy) for copy in (pool.assignable, as_they_should_be))
        yield _changed(evidence, [Imbalance(Site("pool", "assignable"), said, right_units)])


def _assignable(shelves: Iterable[StockOfShelf]) -> tuple[tuple[str, int], ...]:
    return tuple((each.location, each.on_shelf - each.assigned) for each in shelves if each.counts and each.on_shelf > each.assigned)


def _mended(shelf: StockOfShelf, changed: Iterable[Defect]) -> StockOfShelf:
    """A shelf as it will be once its own balances are mended; opening or closing it is a defect of its own."""
    values: dict[str, int] = {
        restatement.site.balance: restatement.value
        for defect in changed
        for restatement in defect.restatements
        if restatement.site.row == "shelf" and restatement.site.location == shelf.location
    }
    on_shelf, assigned = values.get("on_shelf", shelf.on_shelf), values.get("assigned", shelf.assigned)
    return shelf._replace(on_shelf=on_shelf, assigned=assigned, pending_shortage=max(0, assigned - max(0, on_shelf)))
