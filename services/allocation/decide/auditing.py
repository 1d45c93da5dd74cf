"""From evidence to defects: which entry or which row is wrong, since when, and what would mend it (feature A11).

The ledger is the pivot: every balance is compared with its entries, every order line and assignment too. Where they differ there are three
possibilities, tried in this order. An entry is wrong, because something about it is odd and without it everything that it speaks of would
fit. An entry is missing, because a row exists that must have led to one and with it everything would fit. Otherwise a row was changed
without an entry: of a shelf the chain of balances that the entries carry says between which two, of everything else the auditor's last look
says since when.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.allocation.decide.defects import Defect, Imbalance, Site, Surpluses, parts_of
from services.allocation.decide.evidence import Break, Evidence, Part, Suspect, Written
from services.allocation.decide.restating import changed_lines, changed_pool, changed_rows, changed_supplies, ended_holds, sellable


def explain(evidence: Evidence) -> list[Defect]:
    """Every defect of one SKU's books, wrong entries first, then missing ones, then changed rows."""
    surpluses = Surpluses(evidence)
    entries = [*_wrong_entries(evidence, surpluses), *_missing_entries(evidence, surpluses)]
    entries += _wrong_causes(evidence, surpluses, entries)
    entries += _outvoted_ledger(evidence, surpluses)
    changed = changed_rows(evidence, surpluses)
    lines, queued = changed_lines(evidence, surpluses)
    pool = changed_pool(evidence, changed, lines, queued)
    return [*entries, *changed, *lines, *ended_holds(evidence, surpluses), *changed_supplies(evidence), *pool]


def _wrong_entries(evidence: Evidence, surpluses: Surpluses) -> Iterable[Defect]:
    for suspect in evidence.suspects:
        entry = suspect.entry
        effects = parts_of(entry)
        if _may_be_superfluous(suspect, evidence) and surpluses.contain(effects):
            said = "stands twice in the ledger" if suspect.has_twin else "was not written by any transaction of the service"
            if suspect.is_unfounded and not suspect.has_twin:
                said = "speaks of something that does not exist"
            yield Defect(
                key=f"entry {entry.entry_id}",
                culprit="entry_doubled" if suspect.has_twin else "entry_unfounded",
                imbalances=surpluses.explain(effects),
                mends="ledger",
                explanation=f"The entry {entry.kind} {entry.quantity:+d} {said}; no balance moved by it.",
                entry=entry,
                # A copy of a first entry has no time either, so that whoever looks for the others of its order finds both or none.
                entries=(entry._replace(entry_id=None, quantity=-entry.quantity, is_first=entry.happened_at is None),),
            )
        elif suspect.is_altered:
            yield from _altered_entry(entry, surpluses)


def _may_be_superfluous(suspect: Suspect, evidence: Evidence) -> bool:
    """Equal entries of one message are normal (two rows of a line); only a chain that does not hold, or a row that was not left by its
    own transaction, makes them suspicious.
    """
    if suspect.is_stray or suspect.is_unfounded:
        return True
    return suspect.has_twin and (suspect.is_altered or any(found.by == -suspect.entry.quantity for found in evidence.breaks))


def _altered_entry(entry: Written, surpluses: Surpluses) -> Iterable[Defect]:
    directions = parts_of(entry._replace(quantity=1))
    error = next((surpluses.of(site) * sign for site, sign in directions.items()), 0)
    effects = {site: error * sign for site, sign in directions.items()}
    if error and surpluses.contain(effects):
        yield Defect(
            key=f"entry {entry.entry_id}",
            culprit="entry_altered",
            imbalances=surpluses.explain(effects),
            mends="ledger",
            explanation=(
                f"The entry {entry.kind} was changed after it was written: it says {entry.quantity:+d}, "
                f"the balances moved by {entry.quantity - error:+d}."
            ),
            entry=entry,
            entries=(entry._replace(entry_id=None, quantity=-error),),
        )


def _missing_entries(evidence: Evidence, surpluses: Surpluses) -> Iterable[Defect]:
    """What rows exist for that have no entry."""
    for wanted in _entries_that_should_be(evidence):
        effects = {site: -units for site, units in parts_of(wanted).items()}
        if wanted.quantity and surpluses.contain(effects):
            subject = wanted.fulfillment_id or wanted.order_id or wanted.cause_id
            yield Defect(
                key=f"missing {wanted.kind} {subject} {wanted.line_id or wanted.location} {wanted.cause_id or ''}".strip(),
                culprit="entry_missing",
                imbalances=surpluses.explain(effects),
                mends="ledger",
                explanation=f"The entry {wanted.kind} {wanted.quantity:+d} is missing; the balances have moved by it.",
                entry=wanted,
                interval=_interval(evidence, wanted),
                entries=(wanted,),
            )


def _interval(evidence: Evidence, wanted: Written) -> Break | None:
    since = Break(wanted.kind, wanted.location, wanted.quantity, None, evidence.verified_at) if evidence.verified_at else None
    return next((found for found in evidence.breaks if found.by == wanted.quantity and found.location == wanted.location), since)


def _entries_that_should_be(evidence: Evidence) -> Iterable[Written]:
    for part in evidence.parts:
        yield from _entries_of_part(part)
    for line in evidence.lines:
        missing = line.reserved - line.ledger_reserved
        first = line.unwritten_demand_id is not None and missing > 0
        yield Written(
            entry_id=line.unwritten_demand_id if first else None,
            kind="reserved" if missing > 0 else "released",
            quantity=missing,
            order_id=line.order_id,
            line_id=line.line_id,
            event_id=line.unwritten_event_id if first else None,
            is_first=first,
        )
    for cause in evidence.causes:
        if cause.is_missing:
            yield cause.entry
    for hold in evidence.holds:
        missing = hold.held - hold.ledger_held
        if hold.known and not (hold.ended and missing > 0):
            yield Written(
                None,
                "held" if missing > 0 else "unheld",
                missing,
                cause_id=hold.hold_id,
                happened_at=hold.opened_at if missing > 0 else None,
            )


def _entries_of_part(part: Part) -> Iterable[Written]:
    unshipped = part.shipped - part.ledger_shipped
    dimensions = Written(None, "shipped", -unshipped, part.location, part.order_id, part.line_id, part.fulfillment_id)
    if unshipped > 0:
        yield dimensions._replace(cause_id=part.fulfillment_id, happened_at=part.shipped_at)
    untied = part.open - part.ledger_open + max(0, unshipped)
    if untied > 0:
        yield dimensions._replace(kind="assigned", quantity=untied, cause_id=part.plan_id)
    elif untied < 0:
        yield dimensions._replace(kind="unassigned", quantity=untied, cause_id=part.fulfillment_id)


def _wrong_causes(evidence: Evidence, surpluses: Surpluses, known: Iterable[Defect]) -> list[Defect]:
    """Receipts and scans that moved too many units or none, row and ledger alike: the shelf itself must be put right."""
    explained = {(defect.entry.kind, defect.entry.cause_id, defect.entry.location) for defect in known if defect.entry}
    found = []
    for cause in evidence.causes:
        entry = cause.entry
        site = Site("shelf", "on_shelf", entry.location)
        if (entry.kind, entry.cause_id, entry.location) in explained or site in surpluses.left or entry.kind == "adjusted":
            continue
        stated = surpluses.rows.get(site, 0)
        quantity = entry.quantity if cause.is_missing else -entry.quantity
        said = "never reached its shelf" if cause.is_missing else "moved units that it did not bring"
        found.append(
            Defect(
                key=f"cause {entry.kind} {entry.cause_id} {entry.event_id} {entry.location}",
                culprit="never_booked" if cause.is_missing else "booked_twice",
                imbalances=(Imbalance(site, stated, stated + quantity),),
                mends="both",
                explanation=f"The {'receipt' if entry.kind == 'received' else 'scan'} {entry.cause_id} {said}: {abs(quantity)} units.",
                entry=entry,
                entries=(entry._replace(entry_id=None, quantity=quantity),),
            )
        )
    return found


def _outvoted_ledger(evidence: Evidence, surpluses: Surpluses) -> list[Defect]:
    """Shelves whose pool has moved with them: who changes a row by hand changes one, so here it is the entry that is lost."""
    found: list[Defect] = []
    if evidence.pool is None or evidence.pool.sellable != sum(sellable(shelf) for shelf in evidence.shelves):
        return found
    for shelf in evidence.shelves:
        site = Site("shelf", "on_shelf", shelf.location)
        missing = -surpluses.of(site)
        if missing and sellable(shelf) != sellable(shelf._replace(on_shelf=shelf.on_shelf - missing)):
            wanted = Written(None, "adjusted", missing, shelf.location)
            found.append(
                Defect(
                    key=f"missing adjusted {shelf.location}",
                    culprit="entry_missing",
                    imbalances=surpluses.explain({site: -missing}),
                    mends="ledger",
                    explanation=f"Shelf and pool have moved by {missing:+d} together; the entry that says so is missing.",
                    entry=wanted,
                    interval=_interval(evidence, wanted),
                    entries=(wanted,),
                )
            )
    return found
