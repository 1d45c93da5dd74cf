"""Everything about the SKUs whose books do not balance. It reads the whole ledger of a SKU, and so only when something is off.

Nothing here is shared with the statements that it checks.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record

from shared.messaging.message import Connection


async def read_stock(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Pool and shelves, one row per shelf (and one for a pool that has none), with what location and product say about ``counts``."""
    return await connection.fetch(
        """
        SELECT pool.sku, pool.version, pool.sellable AS pool_sellable, pool.pending_shortage AS pool_pending, pool.reserved, pool.queued,
               pool.locations, pool.assignable, pool.held, pool.safety AS pool_safety, pool.sku_safety, pool.fenced, pool.ruled,
               seen.verified_at, COALESCE(shelf.safety, 0) AS safety,
               shelf.location, shelf.counts, shelf.on_shelf, shelf.assigned, shelf.damaged, shelf.quality_control, shelf.pending_shortage,
               COALESCE(place.active AND (place.hazmat_certified OR NOT products.hazmat), false) AS may_count, shelf.missed,
               (SELECT COALESCE(sum(quantity), 0) FROM missed_units told
                WHERE told.location = shelf.location AND told.sku = shelf.sku
                  AND (shelf.counted_as_of IS NULL OR told.happened_at > shelf.counted_as_of)) AS told_missed
        FROM stock_pools pool
        LEFT JOIN stock_locations shelf ON shelf.sku = pool.sku
        LEFT JOIN locations place ON place.location = shelf.location
        LEFT JOIN products ON products.sku = pool.sku
        LEFT JOIN audit_checkpoints seen ON seen.sku = pool.sku
        WHERE pool.sku = ANY($1::text[]) AND pool.pool = 'default'
        ORDER BY pool.sku, shelf.location
        """,
        skus,
    )


async def sum_ledger(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """What the entries of these SKUs add up to: per location, and (without a location) what is reserved and held."""
    return await connection.fetch(
        """
        WITH entries AS MATERIALIZED (SELECT sku, location, kind, quantity FROM movements WHERE sku = ANY($1::text[]))
        SELECT sku, location,
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped')), 0) AS on_shelf,
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('assigned', 'unassigned', 'shipped')), 0) AS assigned,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'damaged'), 0) AS damaged,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'quarantined'), 0) AS quality_control,
               0 AS reserved, 0 AS held
        FROM entries WHERE location IS NOT NULL GROUP BY sku, location
        UNION ALL
        SELECT sku, NULL, 0, 0, 0, 0, COALESCE(sum(quantity) FILTER (WHERE kind IN ('reserved', 'released', 'requeued', 'shipped')), 0),
               COALESCE(sum(quantity) FILTER (WHERE kind IN ('held', 'unheld')), 0)
        FROM entries GROUP BY sku
        """,
        skus,
    )


async def sum_demand(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """What all orders together hold and wait for."""
    return await connection.fetch(
        "SELECT sku, sum(reserved) AS reserved, sum(queued) AS queued FROM demand WHERE sku = ANY($1::text[]) GROUP BY sku", skus
    )


async def read_wrong_lines(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Order lines whose units, entries and assignments do not tell the same story, oldest first."""
    return await connection.fetch(
        """
        WITH lines AS (
            SELECT order_id, line_id, sku, sum(units) AS units, sum(queued) AS queued, sum(reserved) AS reserved,
                   sum(assigned) AS assigned, sum(shipped) AS shipped, sum(cancelled) AS cancelled, min(channel) AS channel
            FROM demand WHERE sku = ANY($1::text[]) GROUP BY order_id, line_id, sku
        ), written AS (
            SELECT order_id, line_id COLLATE "C" AS line_id, sku, sum(quantity) AS reserved FROM movements
            WHERE sku = ANY($1::text[]) AND order_id IS NOT NULL AND kind IN ('reserved', 'released', 'requeued', 'shipped')
            GROUP BY order_id, line_id, sku
        ), held AS (
            SELECT order_id, line_id, sku, sum(open) AS open, sum(shipped) AS shipped
            FROM assignments WHERE sku = ANY($1::text[]) GROUP BY order_id, line_id, sku
        )
        SELECT sku, order_id, line_id, lines.units IS NOT NULL AS known, orders.order_id IS NOT NULL AS order_known,
               orders.cancelled_version IS NOT NULL AS cancelled_order,
               COALESCE(lines.units, 0) AS units, COALESCE(lines.queued, 0) AS queued, COALESCE(lines.reserved, 0) AS reserved,
               COALESCE(lines.assigned, 0) AS assigned, COALESCE(lines.shipped, 0) AS shipped, COALESCE(lines.cancelled, 0) AS cancelled,
               COALESCE(written.reserved, 0) AS ledger_reserved, COALESCE(held.open, 0) AS assignments_open,
               COALESCE(held.shipped, 0) AS assignments_shipped, unwritten.demand_id AS unwritten_demand_id,
               COALESCE(lines.channel, (SELECT channel FROM demand other WHERE other.order_id = orders.order_id LIMIT 1), '') AS channel,
               CASE WHEN unwritten.demand_id IS NOT NULL THEN (
                   SELECT entry.event_id FROM demand other JOIN movements entry ON entry.movement_id = other.demand_id
                   WHERE other.order_id = lines.order_id LIMIT 1) END AS unwritten_event_id
        FROM lines FULL JOIN written USING (order_id, line_id, sku) FULL JOIN held USING (order_id, line_id, sku)
        LEFT JOIN orders USING (order_id)
        LEFT JOIN LATERAL (
            SELECT own.demand_id FROM demand own
            WHERE own.order_id = lines.order_id AND own.line_id = lines.line_id AND own.sku = lines.sku
              AND NOT EXISTS (SELECT FROM movements first WHERE first.movement_id = own.demand_id)
            ORDER BY own.demand_id LIMIT 1
        ) unwritten ON COALESCE(lines.reserved, 0) > COALESCE(written.reserved, 0)
        WHERE (COALESCE(lines.reserved, 0), COALESCE(lines.assigned, 0), COALESCE(lines.shipped, 0))
                  IS DISTINCT FROM (COALESCE(written.reserved, 0), COALESCE(held.open, 0), COALESCE(held.shipped, 0))
           OR lines.units <> lines.queued + lines.reserved + lines.shipped + lines.cancelled
           OR (orders.cancelled_version IS NOT NULL AND lines.queued > 0)
        ORDER BY order_id, line_id LIMIT $2
        """,
        skus,
        limit,
    )


async def read_wrong_assignments(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Assignments whose entries say something else, oldest first."""
    return await connection.fetch(
        """
        WITH tied AS (
            SELECT fulfillment_id, line_id, sku, order_id, location, open, shipped FROM assignments WHERE sku = ANY($1::text[])
        ), written AS (
            SELECT fulfillment_id, line_id COLLATE "C" AS line_id, sku, min(order_id::text)::uuid AS order_id, min(location) AS location,
                   sum(quantity) AS open, -COALESCE(sum(quantity) FILTER (WHERE kind = 'shipped'), 0) AS shipped
            FROM movements WHERE sku = ANY($1::text[]) AND fulfillment_id IS NOT NULL AND kind IN ('assigned', 'unassigned', 'shipped')
            GROUP BY fulfillment_id, line_id, sku
        )
        SELECT sku, fulfillment_id, line_id, COALESCE(tied.order_id, written.order_id) AS order_id,
               COALESCE(tied.location::text, written.location) AS location, tied.open IS NOT NULL AS known,
               COALESCE(tied.open, 0) AS open, COALESCE(tied.shipped, 0) AS shipped, COALESCE(written.open, 0) AS ledger_open,
               COALESCE(written.shipped, 0) AS ledger_shipped, fulfillments.plan_id, fulfillments.shipped_at
        FROM tied FULL JOIN written USING (fulfillment_id, line_id, sku) LEFT JOIN fulfillments USING (fulfillment_id)
        WHERE (COALESCE(tied.open, 0), COALESCE(tied.shipped, 0)) IS DISTINCT FROM (COALESCE(written.open, 0), COALESCE(written.shipped, 0))
        ORDER BY fulfillment_id, line_id LIMIT $2
        """,
        skus,
        limit,
    )


async def read_suspects(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Entries with something odd about them, in the order in which they were written; of equal ones the first is above suspicion.

    An entry is altered when another transaction than the one that wrote it has left the row as it stands. It is a stray when no transaction
    of the service has written it: those give an entry the version of its pool, or the id of the demand that it reserves for; a checkout
    hold gets its units once, and gives back no more than it has.
    """
    return await connection.fetch(
        """
        WITH entries AS MATERIALIZED (
            SELECT entry.*,
                   written_in IS NOT NULL AND (written_in::text::bigint & 4294967295) <> entry.xmin::text::bigint AS is_altered,
                   sum(quantity) FILTER (WHERE kind IN ('held', 'unheld')) OVER (PARTITION BY sku, cause_id) AS held_in_all,
                   sum(quantity) FILTER (WHERE kind IN ('held', 'unheld'))
                       OVER (PARTITION BY sku, cause_id ORDER BY movement_id) AS held_until_then,
                   row_number() OVER (PARTITION BY sku, cause_id, kind ORDER BY movement_id) AS place_of_kind,
                   row_number() OVER same_cause > 1 AS follows_twin, count(*) OVER same_line > 1 AS has_like
            FROM movements entry WHERE sku = ANY($1::text[]) AND compensates IS NULL
            WINDOW same_line AS (PARTITION BY sku, kind, quantity, location, order_id, line_id, fulfillment_id),
                   same_cause AS (PARTITION BY sku, kind, quantity, location, order_id, line_id, fulfillment_id, cause_id, event_id
                                  ORDER BY pool_version, written_in::text::bigint, movement_id)
        ), judged AS (
            SELECT entries.*, written_in IS NOT NULL AND CASE
                WHEN kind = 'held' THEN place_of_kind > 1
                WHEN kind = 'unheld' THEN held_until_then < 0
                WHEN kind = 'reserved' AND happened_at IS NULL THEN NOT EXISTS (
                    SELECT FROM demand own
                    WHERE own.demand_id = movement_id AND own.order_id = entries.order_id AND own.line_id = entries.line_id)
                ELSE pool_version IS NULL END AS is_stray, CASE
                WHEN kind IN ('held', 'unheld') THEN held_in_all <> 0 AND NOT EXISTS (
                    SELECT FROM hold_lines kept WHERE kept.hold_id = entries.cause_id AND kept.sku = entries.sku)
                WHEN kind = 'received' THEN NOT EXISTS (SELECT FROM receipts WHERE receipts.receipt_id = cause_id)
                WHEN kind = 'returned' THEN NOT EXISTS (SELECT FROM inspections WHERE inspections.scan_id = cause_id)
                WHEN kind IN ('assigned', 'unassigned', 'shipped') THEN NOT EXISTS (
                    SELECT FROM assignments held
                    WHERE held.fulfillment_id = entries.fulfillment_id AND held.line_id = entries.line_id AND held.sku = entries.sku)
                WHEN kind IN ('reserved', 'released', 'requeued') THEN NOT EXISTS (
                    SELECT FROM demand own
                    WHERE own.order_id = entries.order_id AND own.line_id = entries.line_id AND own.sku = entries.sku)
                ELSE false END AS is_unfounded
            FROM entries
        )
        SELECT sku, movement_id, kind::text AS kind, quantity, location, order_id, line_id, fulfillment_id, cause_id, event_id,
               happened_at, sequence, follows_twin OR (is_stray AND has_like) AS has_twin, is_stray, is_altered, is_unfounded
        FROM judged WHERE is_stray OR is_altered OR is_unfounded OR follows_twin
        ORDER BY pool_version, written_in::text::bigint, movement_id LIMIT $2
        """,
        skus,
        limit,
    )


async def read_breaks(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Where a shelf's balance moved between two transactions that wrote entries for it, since the SKU's books were last found right.

    The last break of a balance is between its last entry and the row as it stands.
    """
    return await connection.fetch(
        """
        WITH entries AS MATERIALIZED (SELECT * FROM movements WHERE sku = ANY($1::text[])),
        links AS (
            SELECT sku, balance, link.location, pool_version, sum(link.quantity) AS moved, max(link.after) AS after,
                   min(movement_id::text)::uuid AS first_id, max(movement_id::text)::uuid AS last_id,
                   (array_agg(event_id ORDER BY movement_id))[1] AS event_id
            FROM entries
            CROSS JOIN LATERAL (VALUES
                ('on_shelf', location, quantity, on_shelf_after),
                ('assigned', location, quantity, assigned_after),
                ('damaged', location, quantity, CASE kind WHEN 'damaged' THEN set_aside_after END),
                ('quality_control', location, quantity, CASE kind WHEN 'quarantined' THEN set_aside_after END)
            ) AS link(balance, location, quantity, after)
            WHERE pool_version IS NOT NULL AND link.after IS NOT NULL
            GROUP BY sku, balance, link.location, pool_version
        ), chain AS (
            SELECT links.*, lag(after) OVER own AS before, lag(last_id) OVER own AS previous_id,
                   lead(pool_version) OVER own IS NULL AS is_last,
                   NOT EXISTS (SELECT FROM entries old WHERE old.sku = links.sku AND old.written_in IS NULL) AS starts_at_zero
            FROM links WINDOW own AS (PARTITION BY sku, balance, location ORDER BY pool_version)
        ), rows AS (
            SELECT sku, balance, shelf.location::text AS location, stated FROM stock_locations shelf
            CROSS JOIN LATERAL (VALUES ('on_shelf', on_shelf), ('assigned', assigned), ('damaged', damaged),
                                       ('quality_control', quality_control)) AS own(balance, stated)
            WHERE shelf.sku = ANY($1::text[])
        ), found AS (
            SELECT sku, balance, location, pool_version, after - COALESCE(before, 0) - moved AS by, previous_id AS after_entry_id,
                   first_id AS before_entry_id, event_id AS before_event_id
            FROM chain WHERE before IS NOT NULL OR starts_at_zero
            UNION ALL
            SELECT chain.sku, chain.balance, chain.location, NULL, rows.stated - chain.after, chain.last_id, NULL, NULL
            FROM chain
            JOIN rows ON rows.sku = chain.sku AND rows.balance = chain.balance AND rows.location = chain.location
            WHERE chain.is_last
        )
        SELECT sku, balance, location, by, after_entry_id, before_entry_id, before_event_id
        FROM found LEFT JOIN audit_checkpoints seen USING (sku)
        WHERE by <> 0 AND (found.pool_version IS NULL OR seen.pool_version IS NULL OR found.pool_version > seen.pool_version)
        ORDER BY sku, balance, location, found.pool_version LIMIT $2
        """,
        skus,
        limit,
    )


async def read_wrong_causes(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Receipts that a second message booked, scans that restocked more than they found; and what should have led to an entry and has none.

    What a count of the shelf may have shown already needs no entry, and an adjustment down to or up from nothing may have moved less.
    """
    return await connection.fetch(
        """
        WITH booked AS (
            SELECT sku, cause_id, location, event_id, sum(quantity) AS quantity, min(movement_id::text)::uuid AS movement_id,
                   min(happened_at) AS happened_at, min(sequence) AS sequence,
                   row_number() OVER (PARTITION BY sku, cause_id ORDER BY min(pool_version), min(movement_id::text)) AS place
            FROM movements WHERE kind = 'received' AND sku = ANY($1::text[])
            GROUP BY sku, cause_id, location, event_id HAVING sum(quantity) <> 0
        ), scanned AS (
            SELECT sku, scan_id, location, inspected_at, sum(quantity) AS quantity
            FROM inspected_units JOIN inspections USING (scan_id)
            WHERE disposition = 'restocked' AND sku = ANY($1::text[]) GROUP BY sku, scan_id, location, inspected_at
        ), restocked AS (
            SELECT sku, cause_id, location, sum(quantity) AS quantity, max(movement_id::text)::uuid AS movement_id,
                   min(happened_at) AS happened_at, (array_agg(event_id ORDER BY movement_id DESC))[1] AS event_id
            FROM movements WHERE kind = 'returned' AND sku = ANY($1::text[]) GROUP BY sku, cause_id, location
        ), came AS (
            SELECT line.sku, line.supply_id, line.received - COALESCE(sum(booked.quantity), 0) AS lacking,
                   array_agg(receipts.receipt_id ORDER BY receipts.receipt_id) FILTER (WHERE booked.cause_id IS NULL AND NOT EXISTS (
                       SELECT FROM movements entry WHERE entry.cause_id = receipts.receipt_id AND entry.kind = 'received')) AS unbooked,
                   bool_or(shelf.counted_as_of >= receipts.received_at OR shelf.counted_watermark > 0) AS may_be_counted
            FROM supply_lines line JOIN receipts USING (supply_id)
            LEFT JOIN booked ON booked.cause_id = receipts.receipt_id AND booked.sku = line.sku
            LEFT JOIN stock_locations shelf ON shelf.location = receipts.location AND shelf.sku = line.sku
            WHERE line.sku = ANY($1::text[]) GROUP BY line.sku, line.supply_id, line.received
        )
        SELECT sku, false AS is_missing, 'received' AS kind, quantity, location, movement_id, cause_id, event_id, happened_at, sequence
        FROM booked WHERE place > 1
        UNION ALL
        SELECT restocked.sku, false, 'returned', restocked.quantity - COALESCE(scanned.quantity, 0), restocked.location,
               restocked.movement_id, restocked.cause_id, restocked.event_id, restocked.happened_at, NULL
        FROM restocked LEFT JOIN scanned ON scanned.sku = restocked.sku AND scanned.scan_id = restocked.cause_id
        WHERE restocked.quantity > COALESCE(scanned.quantity, 0)
        UNION ALL
        SELECT scanned.sku, true, 'returned', scanned.quantity - COALESCE(restocked.quantity, 0), scanned.location::text, NULL,
               scanned.scan_id, NULL, scanned.inspected_at, NULL
        FROM scanned LEFT JOIN restocked ON restocked.sku = scanned.sku AND restocked.cause_id = scanned.scan_id
        LEFT JOIN stock_locations shelf ON shelf.sku = scanned.sku AND shelf.location = scanned.location
        WHERE COALESCE(restocked.quantity, 0) < scanned.quantity AND (shelf.counted_as_of >= scanned.inspected_at) IS NOT TRUE
        UNION ALL
        SELECT came.sku, true, 'received', came.lacking, receipts.location::text, NULL, receipts.receipt_id, NULL,
               receipts.received_at, NULL
        FROM came JOIN receipts ON receipts.receipt_id = came.unbooked[1]
        WHERE came.lacking > 0 AND cardinality(came.unbooked) = 1 AND came.may_be_counted IS NOT TRUE
        UNION ALL
        SELECT made.sku, true, 'adjusted', made.new_on_hand - made.old_on_hand, made.location::text, NULL, made.adjustment_id, NULL,
               made.adjusted_at, NULL
        FROM adjustments made
        WHERE made.sku = ANY($1::text[]) AND made.new_on_hand <> made.old_on_hand AND made.new_on_hand > 0 AND made.old_on_hand > 0
          AND NOT EXISTS (SELECT FROM movements entry
                          WHERE entry.sku = made.sku AND entry.location = made.location AND entry.cause_id = made.adjustment_id)
        """,
        skus,
    )


async def read_first_entries(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """Of each SKU the first entry that was not there yet when its books were last found right."""
    return await connection.fetch(
        """
        SELECT seen.sku, first.* FROM audit_checkpoints seen
        CROSS JOIN LATERAL (
            SELECT movement_id, kind::text AS kind, quantity, location, order_id, line_id, fulfillment_id, cause_id, event_id,
                   happened_at, sequence
            FROM movements
            WHERE movement_id >= movement_floor(seen.verified_at - interval '1 minute') AND movements.sku = seen.sku
              AND written_in IS NOT NULL AND NOT pg_visible_in_snapshot(written_in, seen.verified_in)
            ORDER BY movement_id LIMIT 1
        ) first
        WHERE seen.sku = ANY($1::text[]) AND seen.verified_at IS NOT NULL
        """,
        skus,
    )


async def read_wrong_holds(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Checkout holds that hold something else than their entries say, or hold something although they have ended; oldest first."""
    return await connection.fetch(
        """
        WITH written AS (
            SELECT cause_id AS hold_id, sku, sum(quantity) AS held FROM movements
            WHERE kind IN ('held', 'unheld') AND sku = ANY($1::text[]) GROUP BY cause_id, sku
        ), lines AS (
            SELECT line.hold_id, line.sku, line.held, line.granted, line.used, holds.state, holds.channel, holds.opened_at
            FROM hold_lines line JOIN holds USING (hold_id) WHERE line.sku = ANY($1::text[])
        )
        SELECT sku, hold_id, lines.held IS NOT NULL AS known, COALESCE(lines.channel, '') AS channel, lines.state, lines.opened_at,
               COALESCE(lines.held, 0) AS held, COALESCE(written.held, 0) AS ledger_held
        FROM lines FULL JOIN written USING (hold_id, sku)
        WHERE COALESCE(lines.held, 0) <> COALESCE(written.held, 0) OR (lines.state <> 'held' AND lines.held > 0)
        ORDER BY hold_id LIMIT $2
        """,
        skus,
        limit,
    )


async def read_rules(connection: Connection, skus: Sequence[str]) -> list[Record]:
    """What channels with rules have open and waiting, and what orders and checkout holds say about it."""
    return await connection.fetch(
        """
        SELECT rule.sku, rule.channel, rule.fence, rule.open, rule.queued,
               COALESCE(sold.reserved, 0) + COALESCE(kept.held, 0) AS right_open, COALESCE(sold.queued, 0) AS right_queued
        FROM channel_pools rule
        LEFT JOIN (
            SELECT sku, channel, sum(reserved) AS reserved, sum(queued) AS queued FROM demand WHERE sku = ANY($1::text[])
            GROUP BY sku, channel
        ) sold USING (sku, channel)
        LEFT JOIN (
            SELECT line.sku, holds.channel, sum(line.held) AS held FROM hold_lines line JOIN holds USING (hold_id)
            WHERE line.sku = ANY($1::text[]) GROUP BY line.sku, holds.channel
        ) kept USING (sku, channel)
        WHERE rule.sku = ANY($1::text[]) ORDER BY rule.sku, rule.channel
        """,
        skus,
    )


async def read_wrong_supply_lines(connection: Connection, skus: Sequence[str], limit: int) -> list[Record]:
    """Lines of supplies that say to have brought something else than their receipts, or are expected although nothing more comes.

    Where a receipt has no entry at all, it is the receipt that is looked at; what a count may have shown already needs none.
    """
    return await connection.fetch(
        """
        SELECT line.sku, line.supply_id, line.received, line.open,
               CASE WHEN line.received < came.quantity OR (line.received > came.quantity AND came.unbooked = 0
                         AND came.may_be_counted IS NOT TRUE) THEN came.quantity ELSE line.received END AS right_received,
               NOT supplies.cancelled AS stands, line.quantity - line.called_off AS wanted
        FROM supply_lines line JOIN supplies USING (supply_id)
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(booked.quantity), 0) AS quantity, count(*) FILTER (WHERE booked.entries = 0) AS unbooked,
                   bool_or(shelf.counted_as_of >= receipts.received_at OR shelf.counted_watermark > 0) AS may_be_counted
            FROM receipts
            LEFT JOIN LATERAL (
                SELECT sum(entry.quantity) FILTER (WHERE entry.sku = line.sku) AS quantity, count(entry.quantity) AS entries
                FROM movements entry WHERE entry.cause_id = receipts.receipt_id AND entry.kind = 'received'
            ) booked ON true
            LEFT JOIN stock_locations shelf ON shelf.location = receipts.location AND shelf.sku = line.sku
            WHERE receipts.supply_id = line.supply_id
        ) came
        WHERE line.sku = ANY($1::text[])
          AND (line.open <> (NOT supplies.cancelled AND line.received < line.quantity - line.called_off)
               OR line.received < came.quantity
               OR (line.received > came.quantity AND came.unbooked = 0 AND came.may_be_counted IS NOT TRUE))
        ORDER BY line.supply_id LIMIT $2
        """,
        skus,
        limit,
    )


async def read_types_of_events(connection: Connection, event_ids: Sequence[object]) -> list[Record]:
    """What kind of messages some events were, as far as they are remembered."""
    return await connection.fetch("SELECT event_id, type FROM inbox WHERE event_id = ANY($1::uuid[])", event_ids)
