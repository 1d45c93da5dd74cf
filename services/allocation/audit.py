"""What must always hold in allocation's books, and what allocation believes about things that others keep books on too.

The statements read tables and ledger directly and share nothing with queries.py or decide. Shelf balances are sums of the ledger; pools are
sums of shelves and demand; assignments, fulfillments and demand tell the same story of every unit.
"""

from __future__ import annotations

from services.allocation.keeping_audit import ARRIVALS, FOR_SALE, KEEPING_FACTS, KEEPING_INVARIANTS, TAKEABLE_BY_CHANNEL
from shared.audit_model import Fact, Invariant

INVARIANTS = (
    *KEEPING_INVARIANTS,
    Invariant(
        "I1-shelf-is-ledger",
        "every shelf balance is the sum of its ledger entries",
        """
        WITH entries AS (
            SELECT sku, location,
                   sum(quantity) FILTER (WHERE kind IN ('received', 'adjusted', 'returned', 'written_off', 'shipped')) AS on_shelf,
                   sum(quantity) FILTER (WHERE kind IN ('assigned', 'unassigned', 'shipped')) AS assigned,
                   sum(quantity) FILTER (WHERE kind = 'damaged') AS damaged,
                   sum(quantity) FILTER (WHERE kind = 'quarantined') AS quality_control
            FROM movements WHERE location IS NOT NULL GROUP BY sku, location
        )
        SELECT sku || ' at ' || location,
               format('shelf: on_shelf %s assigned %s damaged %s quality_control %s; ledger: %s %s %s %s',
                      s.on_shelf, s.assigned, s.damaged,
                      s.quality_control, e.on_shelf, e.assigned, e.damaged, e.quality_control)
        FROM stock_locations s FULL JOIN entries e USING (sku, location)
        WHERE (COALESCE(s.on_shelf, 0), COALESCE(s.assigned, 0), COALESCE(s.damaged, 0), COALESCE(s.quality_control, 0))
           IS DISTINCT FROM
              (COALESCE(e.on_shelf, 0), COALESCE(e.assigned, 0), COALESCE(e.damaged, 0), COALESCE(e.quality_control, 0))
        """,
    ),
    Invariant(
        "I1-reserved-is-ledger",
        "every pool's reserved units are the sum of its ledger entries",
        """
        SELECT sku, format('pool: reserved %s; ledger: %s', p.reserved, e.reserved)
        FROM (SELECT sku, sum(reserved) AS reserved FROM stock_pools GROUP BY sku) p
        FULL JOIN (
            SELECT sku, sum(quantity) AS reserved FROM movements
            WHERE kind IN ('reserved', 'released', 'requeued', 'shipped') GROUP BY sku
        ) e USING (sku)
        WHERE COALESCE(p.reserved, 0) <> COALESCE(e.reserved, 0)
        """,
    ),
    Invariant(
        "I1-pool-is-demand",
        "every pool's reserved and queued units are those of the orders",
        """
        SELECT sku, format('pool: reserved %s queued %s; orders: %s %s', p.reserved, p.queued, d.reserved, d.queued)
        FROM (SELECT sku, sum(reserved) AS reserved, sum(queued) AS queued FROM stock_pools GROUP BY sku) p
        FULL JOIN (SELECT sku, sum(reserved) AS reserved, sum(queued) AS queued FROM demand GROUP BY sku) d USING (sku)
        WHERE (COALESCE(p.reserved, 0), COALESCE(p.queued, 0)) IS DISTINCT FROM (COALESCE(d.reserved, 0), COALESCE(d.queued, 0))
        """,
    ),
    Invariant(
        "I1-pool-is-shelves",
        "every pool sells exactly what its shelves that count hold, and what is assigned on the others",
        """
        SELECT p.sku, format('pool: sellable %s pending %s; shelves: %s %s', p.sellable, p.pending_shortage, s.sellable, s.pending)
        FROM stock_pools p
        LEFT JOIN (
            SELECT sku, sum(CASE WHEN counts THEN GREATEST(on_shelf, assigned) ELSE assigned END) AS sellable,
                   sum(GREATEST(0, assigned - GREATEST(0, on_shelf))) AS pending
            FROM stock_locations GROUP BY sku
        ) s USING (sku)
        WHERE p.pool = 'default' AND (p.sellable, p.pending_shortage) IS DISTINCT FROM (COALESCE(s.sellable, 0), COALESCE(s.pending, 0))
        """,
    ),
    Invariant(
        "I1-reserved-on-hand",
        "0 <= reserved and held <= sellable units, and no unit is promised twice",
        """
        SELECT sku,
               format('reserved %s and held %s of %s sellable, %s of them missing, %s assigned',
                      p.reserved, p.held, p.sellable, p.pending_shortage, s.assigned)
        FROM stock_pools p
        LEFT JOIN (SELECT sku, sum(assigned) AS assigned FROM stock_locations GROUP BY sku) s USING (sku)
        WHERE p.reserved < 0 OR p.held < 0 OR p.reserved + p.held > p.sellable
           OR p.reserved + p.held > GREATEST(p.sellable - p.pending_shortage, COALESCE(s.assigned, 0))
        """,
    ),
    Invariant(
        "I1-shortage-is-told",
        "a shelf's pending shortage is exactly the assigned units that it no longer shows",
        """
        SELECT sku || ' at ' || location, format('pending %s, assigned %s, on_shelf %s', pending_shortage, assigned, on_shelf)
        FROM stock_locations WHERE pending_shortage <> GREATEST(0, assigned - GREATEST(0, on_shelf))
        """,
    ),
    Invariant(
        "I1-missed-units-are-told",
        "what a shelf's pickers have missed since its newest count is what they reported",
        """
        SELECT s.sku || ' at ' || s.location, format('shelf %s, reports %s', s.missed, m.reported)
        FROM stock_locations s
        LEFT JOIN LATERAL (
            SELECT COALESCE(sum(quantity), 0) AS reported FROM missed_units
            WHERE location = s.location AND sku = s.sku AND (s.counted_as_of IS NULL OR happened_at > s.counted_as_of)
        ) m ON true
        WHERE s.missed <> m.reported
        """,
    ),
    Invariant(
        "I1-feed-is-counted-once",
        "no message of a feed is remembered as arrived twice, and no shelf was counted beyond what its feed has counted",
        """
        SELECT f.location, format('sequence %s is below the floor %s', f.sequence, l.sequence_floor)
        FROM feed_sequences f JOIN locations l USING (location) WHERE f.sequence <= l.sequence_floor
        UNION ALL
        SELECT s.sku || ' at ' || s.location, format('counted up to %s, the feed up to %s', s.counted_watermark, f.counted_watermark)
        FROM stock_locations s JOIN feeds f USING (location) WHERE s.counted_watermark > f.counted_watermark
        """,
    ),
    Invariant(
        "I1-only-legal-stock-counts",
        "a shelf counts if its location is active and certified for the product",
        """
        SELECT s.sku || ' at ' || s.location,
               format('counts %s, active %s, certified %s, hazmat %s', s.counts, l.active, l.hazmat_certified, p.hazmat)
        FROM stock_locations s LEFT JOIN locations l USING (location) LEFT JOIN products p USING (sku)
        WHERE s.counts IS DISTINCT FROM (l.active AND (l.hazmat_certified OR NOT p.hazmat))
        """,
    ),
    Invariant(
        "I1-assignable-copy",
        "what a pool says may be assigned is what its shelves have free",
        """
        SELECT p.sku, format('pool says %s %s, shelves have %s', p.locations, p.assignable, s.free)
        FROM stock_pools p
        CROSS JOIN LATERAL (
            SELECT COALESCE(string_agg(location || '=' || on_shelf - assigned, ',' ORDER BY location), '') AS free
            FROM stock_locations WHERE sku = p.sku AND counts AND on_shelf > assigned
        ) s
        WHERE s.free <> COALESCE((SELECT string_agg(l || '=' || a, ',' ORDER BY l) FROM unnest(p.locations, p.assignable) AS u(l, a)), '')
        """,
    ),
    Invariant(
        "I11-kits-are-their-components",
        "what channels were told of a kit is how many can be made of its components, those on their way of a preorder included",
        """
        SELECT k.kit_sku, format('told %s as %s, can be made: %s as %s', k.available, k.mode, d.kits, d.mode)
        FROM kits k CROSS JOIN LATERAL (
            SELECT COALESCE(min(kits), 0) AS kits,
                   CASE WHEN min(kits) > 0 THEN CASE WHEN bool_or(preorder) THEN 'preorder' ELSE 'in_stock' END
                        WHEN bool_or(preorder AND kits = 0) THEN 'sold_out' ELSE 'backorder' END AS mode
            FROM (
                SELECT COALESCE(p.preordered, false) AS preorder, COALESCE(p.units, 0) / c.quantity AS kits
                FROM kit_components c LEFT JOIN ({for_sale}) AS p ON p.sku = c.sku WHERE c.kit_sku = k.kit_sku
            ) part
        ) d
        WHERE k.available <> d.kits OR k.mode <> d.mode
        """.replace("{for_sale}", FOR_SALE),
    ),
    Invariant(
        "I11-components-are-marked",
        "a pool knows whether kits are made of its SKU, and no kit has a pool",
        """
        SELECT p.sku, format('marked %s, in %s kits', p.in_kits, count(c.kit_sku))
        FROM stock_pools p LEFT JOIN kit_components c USING (sku)
        GROUP BY p.sku, p.pool, p.in_kits HAVING p.in_kits <> (count(c.kit_sku) > 0)
        UNION ALL
        SELECT sku, 'is a kit and has a pool' FROM stock_pools JOIN kits ON kit_sku = sku
        """,
    ),
    Invariant(
        "I2-line-conservation",
        "per order line: ordered = reserved + queued + shipped + cancelled",
        """
        SELECT order_id || '|' || line_id,
               format('ordered %s; reserved %s queued %s shipped %s cancelled %s',
                      sum(units), sum(reserved), sum(queued), sum(shipped), sum(cancelled))
        FROM demand GROUP BY order_id, line_id
        HAVING sum(units) <> sum(reserved) + sum(queued) + sum(shipped) + sum(cancelled)
            OR min(LEAST(units, reserved, queued, shipped, cancelled, assigned)) < 0 OR bool_or(assigned > reserved)
        """,
    ),
    Invariant(
        "I2-reservations-are-ledger",
        "per order line: what is reserved is the sum of its ledger entries",
        """
        SELECT order_id || '|' || line_id, format('reserved %s; ledger %s', d.reserved, e.reserved)
        FROM (SELECT order_id, line_id, sku, sum(reserved) AS reserved FROM demand GROUP BY order_id, line_id, sku) d
        FULL JOIN (
            SELECT order_id, line_id, sku, sum(quantity) AS reserved FROM movements
            WHERE kind IN ('reserved', 'released', 'requeued', 'shipped') GROUP BY order_id, line_id, sku
        ) e USING (order_id, line_id, sku)
        WHERE COALESCE(d.reserved, 0) <> COALESCE(e.reserved, 0)
        """,
    ),
    Invariant(
        "I2-every-line-has-its-order",
        "every demand row belongs to an order, every order has demand",
        """
        SELECT COALESCE(d.order_id, o.order_id)::text,
               CASE WHEN o.order_id IS NULL THEN 'demand without order' ELSE 'order without demand' END
        FROM (SELECT DISTINCT order_id FROM demand) d FULL JOIN orders o USING (order_id)
        WHERE d.order_id IS NULL OR o.order_id IS NULL
        """,
    ),
    Invariant(
        "I2-nobody-waits-beside-free-stock",
        "no unit is for sale to a channel while an order of that channel waits for one, but in a queue that is being served step by step or"
        " waits for a release",
        """
        SELECT sku, format('%s available while %s wait', available, queued) FROM stock_pools
        WHERE available > 0 AND queued > 0 AND release_at IS NULL AND NOT ruled
          AND NOT EXISTS (SELECT FROM queue_work w WHERE w.sku = stock_pools.sku)
        UNION ALL
        SELECT takeable.sku, format('%s for channel %s while %s wait', takeable.units, takeable.channel, waiting.queued)
        FROM ({takeable}) AS takeable
        JOIN (SELECT sku, channel, sum(queued) AS queued FROM demand WHERE queued > 0 GROUP BY sku, channel) waiting
            USING (sku, channel)
        WHERE takeable.units > 0 AND takeable.sku NOT IN (SELECT sku FROM stock_pools WHERE release_at IS NOT NULL)
        """.replace("{takeable}", TAKEABLE_BY_CHANNEL),
    ),
    Invariant(
        "I2-place-is-the-orders",
        "every waiting or reserved unit has the priority class and the split policy of its order",
        """
        SELECT d.order_id || '|' || d.line_id,
               format('line: class %s, holds all %s; order: class %s, %s', d.priority, d.hold_all, o.priority, o.split_policy)
        FROM demand d JOIN orders o USING (order_id)
        WHERE (d.priority, d.hold_all) IS DISTINCT FROM (o.priority, o.split_policy = 'hold_all')
        """,
    ),
    Invariant(
        "I2-nobody-waits-for-a-lower-hold",
        "no order waits for units that an incomplete order of lower rank merely holds, unless noted as work or because of a channel's rule",
        """
        WITH held AS (
            SELECT d.sku, d.priority, d.order_id FROM demand d JOIN stock_pools p ON p.sku = d.sku AND p.pool = 'default' AND NOT p.ruled
            WHERE d.hold_all AND d.reserved > d.assigned
              AND EXISTS (SELECT FROM demand missing WHERE missing.order_id = d.order_id AND missing.queued > 0)
        )
        SELECT DISTINCT ON (held.sku) held.sku, format('order %s waits for what order %s holds', wanted.order_id, held.order_id)
        FROM held JOIN demand wanted ON wanted.sku = held.sku AND wanted.queued > 0
        WHERE (wanted.priority, wanted.order_id) < (held.priority, held.order_id)
          AND NOT EXISTS (SELECT FROM queue_work w WHERE w.sku = held.sku)
          AND NOT EXISTS (SELECT FROM stock_pools p WHERE p.sku = held.sku AND p.release_at IS NOT NULL)
        ORDER BY held.sku, wanted.priority, wanted.order_id
        """,
    ),
    Invariant(
        "I2-preorders-are-released",
        "no preorder holds goods back whose date has come, or that may go early",
        """
        SELECT sku, format('%s available, release at %s, early %s', available, release_at, early_release)
        FROM stock_pools
        WHERE release_at IS NOT NULL AND available + fenced > 0 AND (early_release OR release_at < now() - interval '5 minutes')
        """,
    ),
    Invariant(
        "I2-supplies-are-expected-while-units-are",
        "a line of a supply is expected exactly while the supply stands and fewer units have come than it should bring",
        """
        SELECT supply_id || '|' || sku,
               format('open %s, cancelled %s; %s of %s came, %s called off', open, cancelled, received, quantity, called_off)
        FROM supply_lines JOIN supplies USING (supply_id)
        WHERE open <> (NOT cancelled AND received < quantity - called_off)
        """,
    ),
    Invariant(
        "I2-promises-follow-supply",
        "every waiting line was told when its last unit ships, supplies serving the queue in order, unless its queue is being dated anew",
        """
        WITH place AS (
            SELECT order_id, line_id, sku, promised_ship_at, release_at,
                   sum(demand.queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) - available AS last_unit
            FROM demand JOIN stock_pools USING (sku) WHERE demand.queued > 0 AND pool = 'default' AND NOT ruled
        ), arrival AS (
            SELECT sku, ships_at, units, sum(units) OVER (PARTITION BY sku ORDER BY ships_at, supply_id) AS last_unit
            FROM ({arrivals}) AS coming
        )
        SELECT order_id || '|' || line_id, format('told %s, supply says %s', promised_ship_at, ships.at)
        FROM place
        LEFT JOIN arrival ON arrival.sku = place.sku
                         AND place.last_unit BETWEEN arrival.last_unit - arrival.units + 1 AND arrival.last_unit
        CROSS JOIN LATERAL (
            SELECT CASE WHEN place.last_unit <= 0 THEN COALESCE(release_at, promised_ship_at)
                        WHEN ships_at IS NOT NULL THEN GREATEST(ships_at, release_at) END AS at
        ) ships
        WHERE promised_ship_at IS DISTINCT FROM ships.at AND NOT EXISTS (SELECT FROM promise_dating dating WHERE dating.sku = place.sku)
        """.replace("{arrivals}", ARRIVALS),
    ),
    Invariant(
        "I6-moved-dates-are-told",
        "every date that moved belongs to a cause that is being told, and none waits to be told for long",
        """
        SELECT COALESCE(change.order_id::text, dating.sku, round_id::text),
               format('%s since %s', COALESCE(told.cause, 'no cause'), told.changed_at)
        FROM promise_rounds told
        FULL JOIN (SELECT DISTINCT round_id, order_id FROM promise_changes) change USING (round_id)
        FULL JOIN promise_dating dating USING (round_id)
        WHERE told.round_id IS NULL OR told.changed_at < now() - interval '1 hour'
        """,
    ),
    Invariant(
        "I2-cancelled-orders-hold-nothing-free",
        "a cancelled order holds at most units that are on their way to the customer",
        """
        SELECT d.order_id || '|' || d.line_id, format('queued %s, reserved %s, assigned %s', d.queued, d.reserved, d.assigned)
        FROM demand d JOIN orders o USING (order_id)
        WHERE o.cancelled_version IS NOT NULL AND (d.queued > 0 OR d.reserved > d.assigned)
        """,
    ),
    Invariant(
        "I3-assigned-units-of-lines",
        "per order line: assigned units are those of its open assignments",
        """
        SELECT order_id || '|' || line_id,
               format('line: assigned %s shipped %s; assignments: %s %s', d.assigned, d.shipped, a.open, a.shipped)
        FROM (SELECT order_id, line_id, sku, sum(assigned) AS assigned, sum(shipped) AS shipped FROM demand GROUP BY 1, 2, 3) d
        FULL JOIN (SELECT order_id, line_id, sku, sum(open) AS open, sum(shipped) AS shipped FROM assignments GROUP BY 1, 2, 3) a
            USING (order_id, line_id, sku)
        WHERE (COALESCE(d.assigned, 0), COALESCE(d.shipped, 0)) IS DISTINCT FROM (COALESCE(a.open, 0), COALESCE(a.shipped, 0))
        """,
    ),
    Invariant(
        "I3-assigned-units-of-shelves",
        "per shelf: assigned units are those of its open assignments",
        """
        SELECT sku || ' at ' || location, format('shelf %s; assignments %s', s.assigned, a.open)
        FROM stock_locations s
        FULL JOIN (SELECT sku, location, sum(open) AS open FROM assignments GROUP BY sku, location) a USING (sku, location)
        WHERE COALESCE(s.assigned, 0) <> COALESCE(a.open, 0)
        """,
    ),
    Invariant(
        "I3-shipped-within-assigned",
        "no fulfillment ships more than was assigned to it",
        """
        SELECT fulfillment_id || '|' || line_id, format('assigned %s, open %s, shipped %s', units, open, shipped)
        FROM assignments WHERE shipped + open > units OR shipped < 0 OR open < 0
        """,
    ),
    Invariant(
        "I3-shipped-once",
        "every shipped unit belongs to one fulfillment that was told as shipped, and left its shelf once",
        """
        SELECT fulfillment_id || '|' || line_id, format('shipped %s, told %s, ledger %s', a.shipped, f.shipped_at, e.shipped)
        FROM assignments a LEFT JOIN fulfillments f USING (fulfillment_id)
        FULL JOIN (
            SELECT fulfillment_id, line_id, -sum(quantity) AS shipped FROM movements WHERE kind = 'shipped' GROUP BY fulfillment_id, line_id
        ) e USING (fulfillment_id, line_id)
        WHERE COALESCE(a.shipped, 0) <> COALESCE(e.shipped, 0) OR (a.shipped > 0 AND f.shipped_at IS NULL)
        """,
    ),
    Invariant(
        "I5-returned-once",
        "what a scan put back on the shelf is no more than what it found sellable",
        """
        SELECT cause_id::text, format('ledger %s, scan %s', e.returned, s.restocked)
        FROM (SELECT cause_id, sum(quantity) AS returned FROM movements WHERE kind = 'returned' GROUP BY cause_id) e
        LEFT JOIN (
            SELECT scan_id, sum(quantity) AS restocked FROM inspected_units WHERE disposition = 'restocked' GROUP BY scan_id
        ) s ON s.scan_id = e.cause_id
        WHERE e.returned > COALESCE(s.restocked, 0)
        """,
    ),
    Invariant(
        "I9-one-receipt-one-effect",
        "no receipt is booked on a shelf that it does not name, and none twice; what was taken back again does not count",
        """
        SELECT cause_id::text, format('%s messages booked it', count(DISTINCT event_id))
        FROM (
            SELECT cause_id, event_id, location FROM movements WHERE kind = 'received'
            GROUP BY cause_id, event_id, location, sku HAVING sum(quantity) <> 0
        ) booked GROUP BY cause_id
        HAVING count(DISTINCT event_id) > 1 OR cause_id IS NULL
            OR bool_or(NOT EXISTS (SELECT FROM receipts r WHERE r.receipt_id = booked.cause_id AND r.location = booked.location))
        """,
    ),
    Invariant(
        "A11-compensations-were-agreed",
        "every compensating entry mends a finding that an operator has agreed to",
        """
        SELECT e.movement_id::text, format('%s %s compensates finding %s: %s', e.kind, e.quantity, e.compensates,
                                           COALESCE(d.decision || ' by ' || d.operator, 'nobody has decided about it'))
        FROM movements e LEFT JOIN audit_decisions d ON d.finding_id = e.compensates
        WHERE e.compensates IS NOT NULL AND d.decision IS DISTINCT FROM 'applied'
        """,
    ),
    Invariant(
        "A11-decisions-close-findings",
        "a finding is applied or dismissed by exactly one decision",
        """
        SELECT finding_id::text, format('finding is %s, decision %s', f.status, d.decision)
        FROM audit_findings f LEFT JOIN audit_decisions d USING (finding_id)
        WHERE (f.status IN ('applied', 'dismissed') OR d.decision IS NOT NULL) AND d.decision IS DISTINCT FROM f.status
        """,
    ),
)

FACTS = (
    *KEEPING_FACTS,
    Fact(
        "units_ordered",
        "SELECT order_id || '|' || line_id, sum(units)::bigint FROM demand GROUP BY order_id, line_id HAVING sum(units) > 0",
    ),
    Fact(
        "units_shipped",
        "SELECT order_id || '|' || line_id, sum(shipped)::bigint FROM demand GROUP BY order_id, line_id HAVING sum(units) > 0",
    ),
    Fact(
        "units_cancelled",
        "SELECT order_id || '|' || line_id, sum(cancelled)::bigint FROM demand GROUP BY order_id, line_id HAVING sum(units) > 0",
    ),
    Fact(
        "available_to_sell",
        """
        WITH pool AS ({for_sale})
        SELECT sku, units FROM pool
        UNION ALL
        SELECT c.kit_sku, min(p.units / c.quantity) FROM kit_components c JOIN pool p ON p.sku = c.sku GROUP BY c.kit_sku
        """.replace("{for_sale}", FOR_SALE),
    ),
    Fact(
        "units_restocked",
        """
        SELECT i.return_id || '|' || u.line_id, sum(u.quantity) FILTER (WHERE u.disposition = 'restocked')::bigint
        FROM inspected_units u JOIN inspections i USING (scan_id)
        GROUP BY i.return_id, u.line_id HAVING bool_or(u.disposition = 'restocked')
        """,
    ),
)
