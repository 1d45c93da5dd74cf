"""What the auditor found, what operators decided about it, and the compensations that they applied."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.messaging.message import Connection


class FindingRows(NamedTuple):
    """Columns of findings; lists have the same length. Balances and compensations are JSON texts."""

    finding_ids: list[UUID]
    keys: list[str]
    skus: list[str]
    locations: list[str | None]
    order_ids: list[UUID | None]
    line_ids: list[str | None]
    fulfillment_ids: list[UUID | None]
    about_ids: list[UUID | None]
    balances_first: list[str]
    found: list[int]
    expected: list[int]
    balances: list[str]
    culprits: list[str]
    entry_ids: list[UUID | None]
    event_ids: list[UUID | None]
    event_types: list[str | None]
    after_entry_ids: list[UUID | None]
    after_at: list[datetime | None]
    before_entry_ids: list[UUID | None]
    before_at: list[datetime | None]
    explanations: list[str]
    mends: list[str]
    compensations: list[str]


async def record_findings(connection: Connection, rows: FindingRows, now: datetime) -> None:
    """Opens findings, or confirms those that are open. One that was dismissed with the same figures is not opened again."""
    await connection.execute(
        """
        INSERT INTO audit_findings AS known (finding_id, key, sku, location, order_id, line_id, fulfillment_id, cause_id, balance, found,
                                    expected, balances, culprit, entry_id, event_id, event_type, after_entry_id, after_at, before_entry_id,
                                    before_at, explanation, mends, compensation, found_at, confirmed_at)
        SELECT finding_id, key, sku, location, order_id, line_id, fulfillment_id, cause_id, balance, found, expected, balances::jsonb,
               culprit, entry_id, event_id, event_type, after_entry_id, after_at, before_entry_id, before_at, explanation, mends,
               compensation::jsonb, $24, $24
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::uuid[], $9::text[],
                    $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::uuid[], $15::uuid[], $16::text[], $17::uuid[],
                    $18::timestamptz[], $19::uuid[], $20::timestamptz[], $21::text[], $22::text[], $23::text[])
            AS told(finding_id, key, sku, location, order_id, line_id, fulfillment_id, cause_id, balance, found, expected, balances,
                    culprit, entry_id, event_id, event_type, after_entry_id, after_at, before_entry_id, before_at, explanation, mends,
                    compensation)
        WHERE NOT EXISTS (
            SELECT FROM audit_findings judged
            WHERE judged.sku = told.sku AND judged.key = told.key AND judged.status = 'dismissed'
              AND judged.found = told.found AND judged.expected = told.expected)
        ON CONFLICT (key) WHERE status = 'open' DO UPDATE
        SET found = excluded.found, expected = excluded.expected, balances = excluded.balances, compensation = excluded.compensation,
            mends = excluded.mends, explanation = excluded.explanation, confirmed_at = excluded.confirmed_at
        """,
        *rows,
        now,
    )


async def close_vanished(connection: Connection, skus: Sequence[str], keys: Sequence[str], now: datetime) -> int:
    """Closes open findings about these SKUs whose defect is not there any more; returns how many."""
    closed: int = await connection.fetchval(
        """
        WITH closed AS (
            UPDATE audit_findings SET status = 'vanished', closed_at = $3
            WHERE status = 'open' AND sku = ANY($1::text[]) AND key <> ALL($2::text[]) RETURNING 1
        ) SELECT count(*) FROM closed
        """,
        skus,
        keys,
        now,
    )
    return closed


async def skus_to_confirm(connection: Connection, confirmed_before: datetime, limit: int) -> list[str]:
    """SKUs with an open finding that nobody has confirmed for a while."""
    rows = await connection.fetch(
        """
        SELECT sku FROM audit_findings WHERE status = 'open' AND confirmed_at <= $1
        GROUP BY sku ORDER BY min(confirmed_at), sku LIMIT $2
        """,
        confirmed_before,
        limit,
    )
    return [row["sku"] for row in rows]


async def skus_confirmed_since(connection: Connection, skus: Sequence[str], instant: datetime) -> set[str]:
    """Those of these SKUs with an open finding that was confirmed a moment ago: their ledger was read then."""
    rows = await connection.fetch(
        "SELECT DISTINCT sku FROM audit_findings WHERE status = 'open' AND sku = ANY($1::text[]) AND confirmed_at > $2", skus, instant
    )
    return {row["sku"] for row in rows}


async def lock_findings(connection: Connection, finding_ids: Sequence[UUID]) -> list[Record]:
    """Findings about which somebody decides now. Comes before everything else that is locked."""
    return await connection.fetch(
        """
        SELECT finding_id, key, status, sku, location, order_id, cause_id, found, expected, mends, compensation
        FROM audit_findings WHERE finding_id = ANY($1::uuid[]) ORDER BY finding_id FOR NO KEY UPDATE
        """,
        finding_ids,
    )


async def read_decisions(connection: Connection, finding_ids: Sequence[UUID]) -> list[Record]:
    """What was decided about these findings."""
    return await connection.fetch(
        """
        SELECT decision_id, finding_id, decision, operator, reason, found, decided_at
        FROM audit_decisions WHERE finding_id = ANY($1::uuid[])
        """,
        finding_ids,
    )


async def close_finding(connection: Connection, finding_id: UUID, status: str, now: datetime) -> None:
    """Ends a finding: applied, dismissed, or vanished."""
    await connection.execute(
        "UPDATE audit_findings SET status = $2, closed_at = $3 WHERE finding_id = $1 AND status = 'open'", finding_id, status, now
    )


async def insert_decision(
    connection: Connection, decision_id: UUID, finding_id: UUID, decision: str, operator: str, reason: str, found: int, now: datetime
) -> None:
    """Remembers who decided what about a finding, and why."""
    await connection.execute(
        """
        INSERT INTO audit_decisions (decision_id, finding_id, decision, operator, reason, found, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        decision_id,
        finding_id,
        decision,
        operator,
        reason,
        found,
        now,
    )


class CompensatingRows(NamedTuple):
    """Columns of entries that mend the ledger alone; lists have the same length."""

    movement_ids: list[UUID]
    kinds: list[str]
    quantities: list[int]
    locations: list[str | None]
    order_ids: list[UUID | None]
    line_ids: list[str | None]
    fulfillment_ids: list[UUID | None]
    cause_ids: list[UUID | None]
    event_ids: list[UUID | None]
    happened_at: list[datetime | None]
    sequences: list[int | None]


async def insert_compensating_entries(connection: Connection, sku: str, finding_id: UUID, rows: CompensatingRows) -> None:
    """Writes entries that no balance moves by: they say what the ledger should have said, or take back what it should not."""
    await connection.execute(
        """
        INSERT INTO movements (movement_id, kind, quantity, sku, location, order_id, line_id, fulfillment_id, cause_id, event_id,
                               happened_at, sequence, compensates, pool_version)
        SELECT movement_id, kind::movement_kind, quantity, $12, location, order_id, line_id, fulfillment_id, cause_id, event_id,
               happened_at, sequence, $13, (SELECT version FROM stock_pools WHERE sku = $12 AND pool = 'default')
        FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::uuid[], $9::uuid[],
                    $10::timestamptz[], $11::bigint[])
            AS entry(movement_id, kind, quantity, location, order_id, line_id, fulfillment_id, cause_id, event_id, happened_at, sequence)
        """,
        *rows,
        sku,
        finding_id,
    )


async def restate_shelf(
    connection: Connection,
    sku: str,
    location: str,
    on_shelf: int | None,
    assigned: int | None,
    damaged: int | None,
    quality_control: int | None,
    missed: int | None,
) -> None:
    """Sets balances of a shelf (those that are not null), and what is missing of its assigned units accordingly. The pool is locked."""
    await connection.execute(
        """
        UPDATE stock_locations
        SET on_shelf = COALESCE($3, on_shelf), assigned = COALESCE($4, assigned), damaged = COALESCE($5, damaged),
            quality_control = COALESCE($6, quality_control), missed = COALESCE($7, missed),
            pending_shortage = GREATEST(0, COALESCE($4, assigned) - GREATEST(0, COALESCE($3, on_shelf)))
        WHERE sku = $1 AND location = $2
        """,
        sku,
        location,
        on_shelf,
        assigned,
        damaged,
        quality_control,
        missed,
    )


async def restate_assignment(connection: Connection, fulfillment_id: UUID, line_id: str, open_: int | None, shipped: int | None) -> None:
    """Sets what an assignment holds and what of it has shipped (where not null); its units are no fewer than that. The pool is locked."""
    await connection.execute(
        """
        UPDATE assignments
        SET open = COALESCE($3, open), shipped = COALESCE($4, shipped),
            units = GREATEST(units, COALESCE($3, open) + COALESCE($4, shipped) + recalled)
        WHERE fulfillment_id = $1 AND line_id = $2
        """,
        fulfillment_id,
        line_id,
        open_,
        shipped,
    )


async def restate_pool(connection: Connection, sku: str, fenced: int | None, ruled: bool | None) -> None:
    """Sets what a pool says of the rules of channels (where not null). The pool is locked."""
    await connection.execute(
        "UPDATE stock_pools SET fenced = COALESCE($2, fenced), ruled = COALESCE($3, ruled) WHERE sku = $1 AND pool = 'default'",
        sku,
        fenced,
        ruled,
    )


async def restate_rule(connection: Connection, sku: str, channel: str, open_: int | None, queued: int | None) -> None:
    """Sets what a channel has open and what waits for it (where not null). The pool is locked."""
    await connection.execute(
        "UPDATE channel_pools SET open = COALESCE($3, open), queued = COALESCE($4, queued) WHERE sku = $1 AND channel = $2",
        sku,
        channel,
        open_,
        queued,
    )


async def restate_hold(connection: Connection, hold_id: UUID, sku: str, held: int) -> None:
    """Sets what a checkout hold holds; it was granted no fewer units than that. Hold and pool are locked."""
    await connection.execute(
        """
        UPDATE hold_lines SET held = $3, granted = GREATEST(granted, $3 + used), asked = GREATEST(asked, $3 + used)
        WHERE hold_id = $1 AND sku = $2
        """,
        hold_id,
        sku,
        held,
    )


async def restate_supply(connection: Connection, supply_id: UUID, sku: str, received: int | None, open_: bool | None) -> None:
    """Sets what a supply has brought and whether more is expected (where not null). Supply and pool are locked."""
    await connection.execute(
        "UPDATE supply_lines SET received = COALESCE($3, received), open = COALESCE($4, open) WHERE supply_id = $1 AND sku = $2",
        supply_id,
        sku,
        received,
        open_,
    )


async def read_demand_of_line(connection: Connection, order_id: UUID, line_id: str, sku: str) -> list[Record]:
    """The rows of one order line, newest first. The pool is locked."""
    return await connection.fetch(
        """
        SELECT demand_id, units, queued, reserved, assigned, shipped, cancelled
        FROM demand WHERE order_id = $1 AND line_id = $2 AND sku = $3 ORDER BY demand_id DESC
        """,
        order_id,
        line_id,
        sku,
    )


async def restore_demand(connection: Connection, order_id: UUID, line_id: str, sku: str, new_id: UUID) -> UUID:
    """A line of a known order whose row is lost gets one without units; under its old id, if its first entry still tells.

    The pool is locked.
    """
    demand_id: UUID = await connection.fetchval(
        """
        INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved, priority, hold_all, channel)
        SELECT order_id, $2, COALESCE((
            SELECT movement_id FROM movements
            WHERE sku = $3 AND order_id = $1 AND line_id = $2 AND kind = 'reserved' AND happened_at IS NULL AND compensates IS NULL
            ORDER BY movement_id LIMIT 1), $4::uuid), $3, 0, 0, 0, priority, split_policy = 'hold_all',
               COALESCE((SELECT channel FROM demand WHERE order_id = $1 LIMIT 1), '')
        FROM orders WHERE order_id = $1
        RETURNING demand_id
        """,
        order_id,
        line_id,
        sku,
        new_id,
    )
    return demand_id


async def restate_demand(
    connection: Connection,
    demand_id: UUID,
    order_id: UUID,
    line_id: str,
    units: int,
    queued: int,
    reserved: int,
    assigned: int,
    shipped: int,
    cancelled: int,
) -> None:
    """Sets the states of one row's units. The pool is locked."""
    await connection.execute(
        """
        UPDATE demand SET units = $4, queued = $5, reserved = $6, assigned = $7, shipped = $8, cancelled = $9
        WHERE demand_id = $1 AND order_id = $2 AND line_id = $3
        """,
        demand_id,
        order_id,
        line_id,
        units,
        queued,
        reserved,
        assigned,
        shipped,
        cancelled,
    )


async def list_findings(connection: Connection, status: str, after: UUID, limit: int) -> list[Record]:
    """Findings of one status behind a given id, oldest first, with what was decided about them."""
    return await connection.fetch(
        """
        SELECT finding.*, decision.decision, decision.operator, decision.reason, decision.decided_at
        FROM audit_findings finding LEFT JOIN audit_decisions decision USING (finding_id)
        WHERE finding.status = $1 AND finding.finding_id > $2 ORDER BY finding.finding_id LIMIT $3
        """,
        status,
        after,
        limit,
    )


async def read_finding(connection: Connection, finding_id: UUID) -> Record | None:
    """One finding, with what was decided about it."""
    return await connection.fetchrow(
        """
        SELECT finding.*, decision.decision, decision.operator, decision.reason, decision.decided_at
        FROM audit_findings finding LEFT JOIN audit_decisions decision USING (finding_id) WHERE finding.finding_id = $1
        """,
        finding_id,
    )


async def list_entries_of_finding(connection: Connection, finding_id: UUID) -> list[Record]:
    """The compensating entries that were written for a finding; entries of long ago are found by the order or the shelf."""
    return await connection.fetch(
        """
        SELECT entry.movement_id, entry.kind::text AS kind, entry.quantity FROM movements entry
        WHERE entry.compensates = $1
          AND entry.movement_id >= movement_floor((SELECT decided_at FROM audit_decisions WHERE finding_id = $1) - interval '1 day')
        ORDER BY entry.movement_id
        """,
        finding_id,
    )


async def count_findings(connection: Connection) -> list[Record]:
    """How many findings there are of each status."""
    return await connection.fetch("SELECT status, count(*)::int AS findings FROM audit_findings GROUP BY status")


async def read_progress(connection: Connection) -> list[Record]:
    """How far the auditor's duties are."""
    return await connection.fetch(
        """
        SELECT duty, looked_at, cycles, skus_examined, oldest_look_at, position, seen IS NOT NULL AS knows_sums
        FROM audit_duties ORDER BY duty
        """
    )
