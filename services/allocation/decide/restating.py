"""Rows that were changed without an entry, and what they must be set to."""

from __future__ import annotations

from collections.abc import Iterable

from services.allocation.decide.defects import Defect, Imbalance, Restatement, Site, Surpluses
from services.allocation.decide.evidence import Break, Evidence, KeptUnits, OrderLine, Part, StockOfShelf, Written


def sellable(shelf: StockOfShelf) -> int:
    """What a shelf gives to its pool; a closed one still honours what is assigned there."""
    return max(shelf.on_shelf, shelf.assigned) if shelf.counts else shelf.assigned


def withheld(shelf: StockOfShelf) -> int:
    """What a shelf keeps back of what lies there."""
    return min(shelf.safety, max(0, shelf.on_shelf)) if shelf.counts else 0


def changed_rows(evidence: Evidence, surpluses: Surpluses) -> list[Defect]:
    """Shelves, the reserved and held units of the pool, assignments and checkout holds that say something else than their entries."""
    parts = {(part.fulfillment_id, part.line_id): part for part in evidence.parts}
    holds = {hold.hold_id: hold for hold in evidence.holds}
    found = []
    for site in [site for site in surpluses.left if site.row != "line"]:
        hold = holds.get(site.cause_id) if site.row == "hold" and site.cause_id else None
        if hold is not None and not hold.known:
            found.append(_lost_hold(hold, evidence))
            continue
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


def _lost_hold(hold: KeptUnits, evidence: Evidence) -> Defect:
    """Units are held for a checkout hold that is not there: they are free again."""
    return Defect(
        key=f"lost hold {hold.hold_id}",
        culprit="hold_lost",
        imbalances=(Imbalance(Site("hold", "held", cause_id=hold.hold_id), 0, hold.ledger_held),),
        mends="both",
        explanation=f"{hold.ledger_held} units are held for checkout hold {hold.hold_id}, which is not there.",
        interval=Break("held", None, 0, None, evidence.verified_at),
        entries=(Written(None, "unheld", -hold.ledger_held, cause_id=hold.hold_id),),
    )


def ended_holds(evidence: Evidence, surpluses: Surpluses) -> list[Defect]:
    """Checkout holds that have ended and hold units all the same, in row and ledger alike: the units are free again."""
    return [
        Defect(
            key=f"ended hold {hold.hold_id}",
            culprit="hold_never_ended",
            imbalances=(Imbalance(Site("hold", "held", cause_id=hold.hold_id), hold.held, 0),),
            mends="both",
            explanation=f"Checkout hold {hold.hold_id} has ended and holds {hold.held} units all the same.",
            interval=Break("held", None, 0, None, evidence.verified_at),
            entries=(Written(None, "unheld", -hold.held, cause_id=hold.hold_id),),
        )
        for hold in evidence.holds
        if hold.known and hold.ended and hold.held == hold.ledger_held
    ]


def changed_supplies(evidence: Evidence) -> Iterable[Defect]:
    """Lines of supplies that say to have brought something else than their receipts, or are expected although nothing more comes."""
    for supply in evidence.supplies:
        wrong = [
            Imbalance(Site("supply", balance, cause_id=supply.supply_id), int(found), int(right))
            for balance, found, right in (
                ("received", supply.received, supply.right_received),
                ("open", supply.open, supply.right_open),
            )
            if found != right
        ]
        if wrong:
            yield _changed(evidence, wrong)


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
    since = "" if where else _since(evidence)
    subject = " ".join(str(part) for part in site if part is not None)
    return Defect(
        key=f"row {subject}",
        culprit="changed_without_entry",
        imbalances=tuple(imbalances),
        mends="balance",
        explanation=f"The {site} says {first.found}, everything else says {first.expected}: it was changed without an entry.{since}",
        interval=where or Break(site.balance, site.location, first.found - first.expected, None, evidence.verified_at),
        restatements=tuple(Restatement(imbalance.site, imbalance.expected) for imbalance in imbalances),
    )


def _since(evidence: Evidence) -> str:
    """Where to look for what changed a row whose balances make no chain."""
    if evidence.verified_at is None:
        return ""
    held = f" It was right at {evidence.verified_at:%Y-%m-%d %H:%M:%S} UTC"
    first = evidence.first_since
    if first is None:
        return f"{held}, and no entry was written since."
    said = f", event {first.event_id}" if first.event_id else ""
    return f"{held}; the first entry since is {first.kind} {first.quantity:+d} ({first.entry_id}{said})."


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


def changed_pool(evidence: Evidence, changed: Iterable[Defect], lines: Iterable[Defect], queued: int) -> Iterable[Defect]:
    """What shelves say of themselves, the pool's copies against the mended shelves and lines, and the rules of channels against who has
    and who waits for units.
    """
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
        ("safety", pool.sku_safety + sum(withheld(shelf) for shelf in mended)),
    ):
        if getattr(pool, balance) != expected:
            yield _changed(evidence, [Imbalance(Site("pool", balance), getattr(pool, balance), expected)])
    # The copy is made anew with every change of the pool, so it may be that of the shelves as they stand.
    as_they_are, as_they_should_be = _assignable(evidence.shelves), _assignable(mended)
    if pool.assignable not in (as_they_are, as_they_should_be):
        said, right_units = (sum(units for _, units in copy) for copy in (pool.assignable, as_they_should_be))
        yield _changed(evidence, [Imbalance(Site("pool", "assignable"), said, right_units)])

    yield from _changed_rules(evidence, [*changed, *lines])


def _changed_rules(evidence: Evidence, mended: Iterable[Defect]) -> Iterable[Defect]:
    """Channels' rules that count other units than there will be once orders and checkout holds are mended, and the pool's sum of fences."""
    moved = _moved_by_channel(evidence, mended)
    fenced = 0
    for rule in evidence.rules:
        more_open, more_queued = moved.get(rule.channel, (0, 0))
        right = {"open": rule.right_open + more_open, "queued": rule.right_queued + more_queued}
        fenced += max(0, rule.fence - right["open"])
        wrong = [
            Imbalance(Site("rule", balance, channel=rule.channel), getattr(rule, balance), expected)
            for balance, expected in right.items()
            if getattr(rule, balance) != expected
        ]
        if wrong:
            yield _changed(evidence, wrong)
    pool = evidence.pool
    if pool is None:
        return
    for balance, found, expected in (("fenced", pool.fenced, fenced), ("ruled", int(pool.ruled), int(bool(evidence.rules)))):
        if found != expected:
            yield _changed(evidence, [Imbalance(Site("pool", balance), found, expected)])


def _moved_by_channel(evidence: Evidence, mended: Iterable[Defect]) -> dict[str, tuple[int, int]]:
    """How many more units each channel has open and waiting once these defects are mended."""
    lines = {(line.order_id, line.line_id): line.channel for line in evidence.lines}
    holds = {hold.hold_id: hold.channel for hold in evidence.holds}
    moved: dict[str, tuple[int, int]] = {}
    for defect in mended:
        for imbalance in defect.imbalances if defect.restatements else ():
            site, more = imbalance.site, imbalance.expected - imbalance.found
            if site.row == "line" and site.order_id and site.line_id and site.balance in ("reserved", "queued"):
                channel = lines.get((site.order_id, site.line_id), "")
            elif site.row == "hold" and site.cause_id:
                channel = holds.get(site.cause_id, "")
            else:
                continue
            open_units, queued = moved.get(channel, (0, 0))
            moved[channel] = (open_units, queued + more) if site.balance == "queued" else (open_units + more, queued)
    return moved


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
