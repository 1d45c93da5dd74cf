"""Which SKUs' books deserve a closer look: cheap questions about a few SKUs, orders, receipts or scans.

Nothing here is shared with the statements that it checks. All of it reads one snapshot and locks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from shared.messaging.message import Connection


async def skus_that_differ_from_the_ledger(
    connection: Connection,
    skus: Sequence[str],
    *,
    round_: int,
    floor: datetime,
    seen: str,
    target: str | None,
    position: UUID,
) -> list[str]:
    """Those of these SKUs of which some balance is not what the entries of the ledger add up to.

    Sums lag a little behind the ledger: entries that are not in them yet are added here. One that came very late, by a clock that lags, may
    be missed; then a closer look finds nothing.
    """
    rows = await connection.fetch(
        """
        WITH late AS MATERIALIZED (
            SELECT sku, location COLLATE "C" AS location, kind, quantity FROM movements
            WHERE movement_id >= movement_floor($3) AND sku = ANY($1::text[]) AND written_in IS NOT NULL
              AND NOT COALESCE(pg_visible_in_snapshot(written_in, $4::text::pg_snapshot), false)
              AND NOT COALESCE(pg_visible_in_snapshot(written_in, $5::text::pg_snapshot) AND movement_id <= $6, false)
        ), ledger AS (
            SELECT sku, location, sum(on_shelf) AS on_shelf, sum(assigned) AS assigned, sum(damaged) AS damaged,
                   sum(quality_control) AS quality_control, sum(reserved) AS reserved, sum(held) AS held
            FROM (
                SELECT sku, location, on_shelf, assigned, damaged, quality_control, reserved, held
                FROM audit_sums WHERE round = $2 AND sku = ANY($1::text[])
                UNION ALL
                SELECT sku, location,
                       CASE WHEN kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped') THEN quantity ELSE 0 END,
                       CASE WHEN kind IN ('assigned', 'unassigned', 'shipped') THEN quantity ELSE 0 END,
                       CASE WHEN kind = 'damaged' THEN quantity ELSE 0 END, CASE WHEN kind = 'quarantined' THEN quantity ELSE 0 END, 0, 0
                FROM late WHERE location IS NOT NULL
                UNION ALL
                SELECT sku, '', 0, 0, 0, 0, quantity, 0 FROM late WHERE kind IN ('reserved', 'released', 'requeued', 'shipped')
                UNION ALL
                SELECT sku, '', 0, 0, 0, 0, 0, quantity FROM late WHERE kind IN ('held', 'unheld')
            ) part GROUP BY sku, location
        )
        SELECT sku
        FROM (SELECT sku, location, on_shelf, assigned, damaged, quality_control FROM stock_locations WHERE sku = ANY($1::text[])) shelves
        FULL JOIN (SELECT * FROM ledger WHERE location <> '') entries USING (sku, location)
        WHERE (COALESCE(shelves.on_shelf, 0), COALESCE(shelves.assigned, 0), COALESCE(shelves.damaged, 0),
               COALESCE(shelves.quality_control, 0))
           IS DISTINCT FROM (COALESCE(entries.on_shelf, 0), COALESCE(entries.assigned, 0), COALESCE(entries.damaged, 0),
                             COALESCE(entries.quality_control, 0))
        UNION
        SELECT sku
        FROM (SELECT sku, sum(reserved) AS reserved, sum(held) AS held FROM stock_pools WHERE sku = ANY($1::text[]) GROUP BY sku) pools
        FULL JOIN (SELECT sku, reserved, held FROM ledger WHERE location = '') entries USING (sku)
        WHERE (COALESCE(pools.reserved, 0), COALESCE(pools.held, 0))
           IS DISTINCT FROM (COALESCE(entries.reserved, 0), COALESCE(entries.held, 0))
        """,
        skus,
        round_,
        floor,
        seen,
        target,
        position,
    )
    return [row["sku"] for row in rows]


async def skus_that_differ_from_their_copies(connection: Connection, skus: Sequence[str]) -> list[str]:
    """Those of these SKUs of which some balance is not what shelves, holds, rules of channels and those who wait come to."""
    rows = await connection.fetch(
        """
        WITH shelves AS (
            SELECT sku, location, counts, on_shelf, assigned, pending_shortage, missed, counted_as_of,
                   CASE WHEN counts THEN LEAST(safety, GREATEST(0, on_shelf)) ELSE 0 END AS withheld,
                   CASE WHEN counts THEN GREATEST(on_shelf, assigned) ELSE assigned END AS sellable,
                   GREATEST(0, assigned - GREATEST(0, on_shelf)) AS uncovered
            FROM stock_locations WHERE sku = ANY($1::text[])
        )
        SELECT pools.sku FROM stock_pools pools
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(line.held), 0) AS held, COALESCE(bool_or(holds.state IS DISTINCT FROM 'held'), false) AS has_ended
            FROM hold_lines line LEFT JOIN holds USING (hold_id) WHERE line.sku = pools.sku AND line.held > 0
        ) kept
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(GREATEST(0, fence - open)), 0) AS fenced, COALESCE(sum(open), 0) AS open, count(*) > 0 AS ruled
            FROM channel_pools rule WHERE rule.sku = pools.sku
        ) rules
        WHERE pools.sku = ANY($1::text[]) AND pools.pool = 'default'
          AND (pools.held <> kept.held OR kept.has_ended OR pools.fenced <> rules.fenced OR pools.ruled <> rules.ruled
               OR rules.open > pools.reserved + pools.held)
        UNION
        SELECT rule.sku FROM channel_pools rule
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(queued), 0) AS queued FROM demand
            WHERE demand.sku = rule.sku AND demand.queued > 0 AND demand.channel = rule.channel
        ) waiting
        WHERE rule.sku = ANY($1::text[]) AND rule.queued <> waiting.queued
        UNION
        SELECT pools.sku FROM stock_pools pools
        CROSS JOIN LATERAL (SELECT COALESCE(sum(queued), 0) AS queued FROM demand WHERE sku = pools.sku AND queued > 0) waiting
        WHERE pools.sku = ANY($1::text[]) AND pools.pool = 'default' AND pools.queued <> waiting.queued
        UNION
        SELECT shelf.sku FROM shelves shelf LEFT JOIN locations place ON place.location = shelf.location
        LEFT JOIN products ON products.sku = shelf.sku
        LEFT JOIN LATERAL (
            SELECT COALESCE(sum(quantity), 0) AS missed FROM missed_units
            WHERE location = shelf.location AND sku = shelf.sku AND (shelf.counted_as_of IS NULL OR happened_at > shelf.counted_as_of)
        ) told ON true
        WHERE shelf.pending_shortage <> shelf.uncovered OR shelf.missed <> told.missed
           OR shelf.counts IS DISTINCT FROM (place.active AND (place.hazmat_certified OR NOT products.hazmat))
        UNION
        SELECT pool.sku FROM stock_pools pool
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(sellable), 0) AS sellable, COALESCE(sum(uncovered), 0) AS uncovered,
                   COALESCE(sum(withheld), 0) AS withheld,
                   COALESCE(array_agg(location::text ORDER BY location) FILTER (WHERE counts AND on_shelf > assigned), '{}') AS locations,
                   COALESCE(array_agg(on_shelf - assigned ORDER BY location) FILTER (WHERE counts AND on_shelf > assigned), '{}') AS free
            FROM shelves WHERE shelves.sku = pool.sku
        ) shelf
        WHERE pool.sku = ANY($1::text[]) AND pool.pool = 'default'
          AND (pool.sellable <> shelf.sellable OR pool.pending_shortage <> shelf.uncovered
               OR pool.safety <> pool.sku_safety + shelf.withheld
               OR pool.locations::text[] <> shelf.locations OR pool.assignable <> shelf.free)
        """,
        skus,
    )
    return [row["sku"] for row in rows]


async def skus_of_orders_that_do_not_balance(connection: Connection, order_ids: Sequence[UUID]) -> list[str]:
    """SKUs of lines whose units, entries and assignments do not tell the same story.

    The entry of a line's first reservation carries the demand's id; all others are found by the order.
    """
    rows = await connection.fetch(
        """
        WITH entries AS MATERIALIZED (
            SELECT order_id, line_id, sku, fulfillment_id, kind, quantity FROM movements
            WHERE order_id = ANY($1::uuid[]) AND order_id IS NOT NULL AND happened_at IS NOT NULL
            UNION ALL
            SELECT first.order_id, first.line_id, first.sku, first.fulfillment_id, first.kind, first.quantity
            FROM demand JOIN movements first ON first.movement_id = demand.demand_id AND first.happened_at IS NULL
            WHERE demand.order_id = ANY($1::uuid[])
        ), lines AS (
            SELECT order_id, line_id, sku, sum(units) AS units, sum(queued) AS queued, sum(reserved) AS reserved,
                   sum(assigned) AS assigned, sum(shipped) AS shipped, sum(cancelled) AS cancelled
            FROM demand WHERE order_id = ANY($1::uuid[]) GROUP BY order_id, line_id, sku
        ), tied AS (
            SELECT order_id, line_id, sku, fulfillment_id, open, shipped FROM assignments WHERE order_id = ANY($1::uuid[])
        )
        SELECT sku FROM lines
        FULL JOIN (
            SELECT order_id, line_id COLLATE "C" AS line_id, sku, sum(quantity) AS reserved FROM entries
            WHERE kind IN ('reserved', 'released', 'requeued', 'shipped') GROUP BY order_id, line_id, sku
        ) written USING (order_id, line_id, sku)
        FULL JOIN (SELECT order_id, line_id, sku, sum(open) AS open, sum(shipped) AS shipped FROM tied GROUP BY order_id, line_id, sku) held
            USING (order_id, line_id, sku)
        LEFT JOIN orders USING (order_id)
        WHERE (COALESCE(lines.reserved, 0), COALESCE(lines.assigned, 0), COALESCE(lines.shipped, 0))
                  IS DISTINCT FROM (COALESCE(written.reserved, 0), COALESCE(held.open, 0), COALESCE(held.shipped, 0))
           OR lines.units <> lines.queued + lines.reserved + lines.shipped + lines.cancelled
           OR (orders.cancelled_version IS NOT NULL AND lines.queued > 0)
        UNION
        SELECT sku FROM tied
        FULL JOIN (
            SELECT fulfillment_id, line_id COLLATE "C" AS line_id, sku, sum(quantity) AS open,
                   -COALESCE(sum(quantity) FILTER (WHERE kind = 'shipped'), 0) AS shipped
            FROM entries WHERE kind IN ('assigned', 'unassigned', 'shipped') GROUP BY fulfillment_id, line_id, sku
        ) written USING (fulfillment_id, line_id, sku)
        WHERE (COALESCE(tied.open, 0), COALESCE(tied.shipped, 0))
              IS DISTINCT FROM (COALESCE(written.open, 0), COALESCE(written.shipped, 0))
        """,
        order_ids,
    )
    return [row["sku"] for row in rows]


async def skus_of_causes_that_do_not_fit(connection: Connection, receipt_ids: Sequence[UUID], scan_ids: Sequence[UUID]) -> list[str]:
    """SKUs of receipts booked by two messages, of supplies that say to have brought what no entry shows, of scans with other units.

    What a count of the shelf may have shown already needs no entry.
    """
    rows = await connection.fetch(
        """
        SELECT sku FROM (
            SELECT cause_id, sku, event_id, sum(quantity) AS quantity FROM movements
            WHERE kind = 'received' AND cause_id = ANY($1::uuid[]) GROUP BY cause_id, sku, event_id
        ) booked WHERE quantity <> 0 GROUP BY cause_id, sku HAVING count(*) > 1
        UNION
        SELECT line.sku FROM supply_lines line
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(entry.quantity), 0) AS quantity,
                   bool_or(shelf.counted_as_of >= receipts.received_at OR shelf.counted_watermark > 0) AS may_be_counted
            FROM receipts
            LEFT JOIN movements entry ON entry.cause_id = receipts.receipt_id AND entry.kind = 'received' AND entry.sku = line.sku
            LEFT JOIN stock_locations shelf ON shelf.location = receipts.location AND shelf.sku = line.sku
            WHERE receipts.supply_id = line.supply_id
        ) came
        WHERE line.supply_id IN (SELECT supply_id FROM receipts WHERE receipt_id = ANY($1::uuid[]) AND supply_id IS NOT NULL)
          AND (line.received < came.quantity OR (line.received > came.quantity AND came.may_be_counted IS NOT TRUE))
        UNION
        SELECT found.sku FROM (
            SELECT scan_id, location, inspected_at, sku, sum(quantity) AS quantity FROM inspected_units JOIN inspections USING (scan_id)
            WHERE scan_id = ANY($2::uuid[]) AND disposition = 'restocked' GROUP BY scan_id, location, inspected_at, sku
        ) found
        LEFT JOIN (
            SELECT cause_id, sku, sum(quantity) AS quantity FROM movements
            WHERE kind = 'returned' AND cause_id = ANY($2::uuid[]) GROUP BY cause_id, sku
        ) booked ON booked.cause_id = found.scan_id AND booked.sku = found.sku
        LEFT JOIN stock_locations shelf ON shelf.sku = found.sku AND shelf.location = found.location
        WHERE booked.quantity > found.quantity
           OR (COALESCE(booked.quantity, 0) < found.quantity AND (shelf.counted_as_of >= found.inspected_at) IS NOT TRUE)
        UNION
        SELECT booked.sku FROM movements booked
        WHERE booked.kind = 'returned' AND booked.cause_id = ANY($2::uuid[])
          AND NOT EXISTS (SELECT FROM inspected_units found WHERE found.scan_id = booked.cause_id AND found.disposition = 'restocked')
        """,
        receipt_ids,
        scan_ids,
    )
    return [row["sku"] for row in rows]


async def skus_of_supplies_that_do_not_fit(connection: Connection, supply_ids: Sequence[UUID]) -> list[str]:
    """SKUs of supplies that say to have brought something else than their receipts, or are expected although nothing more comes.

    What a count of the shelf may have shown already needs no entry, so more may have come than the ledger knows.
    """
    rows = await connection.fetch(
        """
        SELECT line.sku FROM supply_lines line JOIN supplies USING (supply_id)
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(entry.quantity), 0) AS quantity,
                   bool_or(shelf.counted_as_of >= receipts.received_at OR shelf.counted_watermark > 0) AS may_be_counted
            FROM receipts
            LEFT JOIN movements entry ON entry.cause_id = receipts.receipt_id AND entry.kind = 'received' AND entry.sku = line.sku
            LEFT JOIN stock_locations shelf ON shelf.location = receipts.location AND shelf.sku = line.sku
            WHERE receipts.supply_id = line.supply_id
        ) came
        WHERE line.supply_id = ANY($1::uuid[])
          AND (line.open <> (NOT supplies.cancelled AND line.received < line.quantity - line.called_off)
               OR line.received < came.quantity OR (line.received > came.quantity AND came.may_be_counted IS NOT TRUE))
        """,
        supply_ids,
    )
    return [row["sku"] for row in rows]


async def skus_of_rules_that_do_not_fit(connection: Connection, skus: Sequence[str]) -> list[str]:
    """Those of these SKUs of which a channel's rule counts other open units than there are.

    They are found where they are few, as units on their way through: unassigned ones, those of open assignments, held ones.
    """
    rows = await connection.fetch(
        """
        WITH units AS (
            SELECT sku, channel, reserved - assigned AS open FROM demand WHERE reserved > assigned AND sku = ANY($1::text[])
            UNION ALL
            SELECT tied.sku, sold.channel, tied.open
            FROM assignments tied
            CROSS JOIN LATERAL (SELECT channel FROM demand WHERE demand.order_id = tied.order_id LIMIT 1) sold
            WHERE (tied.open > 0 OR tied.recalled > 0) AND tied.sku = ANY($1::text[])
            UNION ALL
            SELECT line.sku, holds.channel, line.held FROM hold_lines line JOIN holds USING (hold_id)
            WHERE line.held > 0 AND line.sku = ANY($1::text[])
        )
        SELECT DISTINCT rule.sku FROM channel_pools rule
        LEFT JOIN (SELECT sku, channel, sum(open) AS open FROM units GROUP BY sku, channel) own USING (sku, channel)
        WHERE rule.sku = ANY($1::text[]) AND rule.open <> COALESCE(own.open, 0)
        """,
        skus,
    )
    return [row["sku"] for row in rows]


async def skus_of_lost_lines(connection: Connection, after: UUID, limit: int) -> list[str]:
    """SKUs of which the next entries behind a given one speak of order lines that are not there."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT sku FROM (
            SELECT sku, order_id, line_id FROM movements WHERE movement_id > $1 ORDER BY movement_id LIMIT $2
        ) page
        WHERE order_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM demand WHERE demand.order_id = page.order_id AND demand.line_id = page.line_id)
        """,
        after,
        limit,
    )
    return [row["sku"] for row in rows]
