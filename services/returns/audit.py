"""What must always hold in the books of returns and refunds, as queries that return violations.

Shares nothing with handlers, rules and queries on purpose. Every rule holds in any snapshot of a running system; what needs drained queues
is stated as a fact and compared with other services by ``python -m shared.audit``.
"""

from collections.abc import Sequence

from shared.audit_model import Fact, Invariant

INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "I4-captured-per-line",
        "refunds of a line never exceed what was captured for it",
        """
        SELECT l.order_id::text, format('line %s: %s cents refunded or asked for, %s captured', l.line_id,
                                        sum(r.amount_cents), l.captured_cents)
        FROM order_lines l
        JOIN refunds f ON f.order_id = l.order_id
        JOIN refund_lines r ON r.refund_id = f.refund_id AND r.line_id = l.line_id
        GROUP BY l.order_id, l.line_id
        HAVING sum(r.amount_cents) > l.captured_cents
        """,
    ),
    Invariant(
        "I4-captured-per-order",
        "refunds of an order, whatever became of them, never exceed what was captured",
        """
        SELECT o.order_id::text, format('%s cents refunded or asked for, %s captured', sum(f.amount_cents), o.captured_cents)
        FROM orders o JOIN refunds f USING (order_id)
        GROUP BY o.order_id HAVING sum(f.amount_cents) > o.captured_cents
        """,
    ),
    Invariant(
        "I4-shipping",
        "shipping is refunded at most once, and counted right",
        """
        SELECT o.order_id::text, format('%s cents of shipping refunded by refunds, %s by the order, %s captured',
                                        coalesce(sum(f.shipping_cents), 0), o.shipping_refunded_cents, o.shipping_captured_cents)
        FROM orders o LEFT JOIN refunds f USING (order_id)
        GROUP BY o.order_id
        HAVING coalesce(sum(f.shipping_cents), 0) <> o.shipping_refunded_cents OR o.shipping_refunded_cents > o.shipping_captured_cents
        """,
    ),
    Invariant(
        "I4-captured-conserved",
        "captured money of an order = its lines + shipping + what an edit freed",
        """
        SELECT o.order_id::text, format('%s captured, but lines %s + shipping %s + freed %s', o.captured_cents,
                                        coalesce(sum(l.captured_cents), 0), o.shipping_captured_cents, o.unapportioned_cents)
        FROM orders o LEFT JOIN order_lines l USING (order_id)
        GROUP BY o.order_id
        HAVING o.captured_cents <> coalesce(sum(l.captured_cents), 0) + o.shipping_captured_cents + o.unapportioned_cents
        """,
    ),
    Invariant(
        "I4-claims",
        "what a line says was claimed = its refunds by cause",
        """
        SELECT l.order_id::text, format('line %s says returned %s, cancelled %s, edited %s; its refunds say %s, %s, %s', l.line_id,
                                        l.returned_cents, l.cancelled_cents, l.edited_cents, c.returned, c.cancelled, c.edited)
        FROM order_lines l
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(r.amount_cents) FILTER (WHERE f.cause = 'returned'), 0) AS returned,
                   coalesce(sum(r.amount_cents) FILTER (WHERE f.cause = 'cancelled'), 0) AS cancelled,
                   coalesce(sum(r.amount_cents) FILTER (WHERE f.cause = 'edited'), 0) AS edited
            FROM refunds f JOIN refund_lines r USING (refund_id)
            WHERE f.order_id = l.order_id AND r.line_id = l.line_id
        ) c
        WHERE (l.returned_cents, l.cancelled_cents, l.edited_cents) <> (c.returned, c.cancelled, c.edited)
        """,
    ),
    Invariant(
        "I4-held",
        "money held on a line = what returns on their way were quoted and not yet paid",
        """
        SELECT l.order_id::text, format('line %s holds %s cents and %s units, its open returns %s and %s', l.line_id,
                                        l.held_cents, l.open_units, h.cents, h.units)
        FROM order_lines l
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(q.quote_cents - q.refunded_cents), 0) AS cents,
                   coalesce(sum(q.approved_units - q.restocked_units - q.damaged_units - q.missing_units), 0) AS units
            FROM returns b JOIN return_lines q USING (return_id)
            WHERE b.order_id = l.order_id AND q.line_id = l.line_id
              AND q.approved_units > q.restocked_units + q.damaged_units + q.missing_units
        ) h
        WHERE (l.held_cents, l.open_units) <> (h.cents, h.units)
        """,
    ),
    Invariant(
        "I4-refund-sum",
        "a refund = its lines + shipping = its one request in the ledger",
        """
        SELECT f.refund_id::text, format('order %s: refund over %s cents, lines and shipping %s, requested in the ledger %s times over %s',
                                         f.order_id, f.amount_cents, l.cents + f.shipping_cents, e.times, e.cents)
        FROM refunds f
        CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0) AS cents FROM refund_lines r WHERE r.refund_id = f.refund_id) l
        CROSS JOIN LATERAL (SELECT count(*) AS times, coalesce(sum(amount_cents), 0) AS cents
                            FROM refund_ledger r WHERE r.refund_id = f.refund_id AND r.kind = 'requested') e
        WHERE f.amount_cents <> l.cents + f.shipping_cents OR e.times <> 1 OR e.cents <> f.amount_cents
        """,
    ),
    Invariant(
        "I4-refund-state",
        "where a refund stands = what its ledger says, and money moved at most once",
        """
        SELECT f.refund_id::text, format('order %s: state %s, ledger: %s times succeeded (%s cents of %s), last %s',
                                         f.order_id, f.state, s.times, s.cents, f.amount_cents, coalesce(e.kind, 'nothing'))
        FROM refunds f
        CROSS JOIN LATERAL (SELECT count(*) AS times, coalesce(sum(amount_cents), 0) AS cents
                            FROM refund_ledger r WHERE r.refund_id = f.refund_id AND r.kind = 'succeeded') s
        LEFT JOIN LATERAL (SELECT kind FROM refund_ledger r WHERE r.refund_id = f.refund_id
                           ORDER BY recorded_at DESC, entry_id DESC LIMIT 1) e ON true
        WHERE f.state <> CASE WHEN s.times > 0 THEN 'succeeded' WHEN e.kind = 'failed' THEN 'failed' ELSE 'sent' END
           OR s.times > 1
           OR (s.times = 1 AND s.cents <> f.amount_cents)
        """,
    ),
    Invariant(
        "I5-one-disposition",
        "every scanned unit has one disposition, by its condition",
        """
        WITH scanned AS (
            SELECT s.scan_id, u ->> 'line_id' AS line_id,
                   CASE u ->> 'condition' WHEN 'sellable' THEN 'restocked' ELSE 'damaged' END AS disposition,
                   sum((u ->> 'quantity')::int) AS units
            FROM return_scans s CROSS JOIN jsonb_array_elements(s.units) u GROUP BY 1, 2, 3
        ), disposed AS (
            SELECT scan_id, line_id, disposition, sum(quantity) AS units FROM dispositions WHERE disposition <> 'missing' GROUP BY 1, 2, 3
        )
        SELECT scan_id::text, format('line %s: %s units scanned, %s %s', line_id, coalesce(s.units, 0), coalesce(d.units, 0), disposition)
        FROM scanned s FULL JOIN disposed d USING (scan_id, line_id, disposition)
        WHERE s.units IS DISTINCT FROM d.units
        """,
    ),
    Invariant(
        "I5-return-units",
        "units of a return = its dispositions, never more than approved",
        """
        SELECT l.return_id::text, format('line %s: approved %s; restocked %s, damaged %s, missing %s; dispositions say %s, %s, %s',
                                         l.line_id, l.approved_units, l.restocked_units, l.damaged_units, l.missing_units,
                                         d.restocked, d.damaged, d.missing)
        FROM return_lines l JOIN returns b USING (return_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(quantity) FILTER (WHERE disposition = 'restocked'), 0) AS restocked,
                   coalesce(sum(quantity) FILTER (WHERE disposition = 'damaged'), 0) AS damaged,
                   coalesce(sum(quantity) FILTER (WHERE disposition = 'missing'), 0) AS missing
            FROM dispositions x WHERE x.return_id = l.return_id AND x.line_id = l.line_id
        ) d
        WHERE (l.restocked_units, l.damaged_units) <> (d.restocked, d.damaged)
           -- units given up because their label expired were never scanned
           OR l.missing_units < d.missing OR (l.missing_units > d.missing AND b.status NOT IN ('inspected', 'closed', 'cancelled'))
           OR d.restocked + d.damaged + d.missing > l.approved_units
        """,
    ),
    Invariant(
        "I5-refund-has-scan",
        "every refund of a return has its scan, one refund per scan",
        """
        SELECT f.refund_id::text, format('order %s: refund over %s cents for return %s, %s', f.order_id, f.amount_cents, f.return_id,
                                         CASE WHEN s.scan_id IS NULL THEN 'which has no such scan' ELSE 'one of several for one scan' END)
        FROM (SELECT *, count(*) OVER (PARTITION BY cause_id) AS of_scan FROM refunds WHERE cause = 'returned') f
        LEFT JOIN return_scans s ON s.scan_id = f.cause_id AND s.return_id = f.return_id
        WHERE s.scan_id IS NULL OR f.of_scan > 1
        """,
    ),
    Invariant(
        "I5-refund-for-received",
        "a return pays its quote's share of the units that arrived, to the cent",
        """
        SELECT l.return_id::text, format('line %s: %s of %s units arrived, quote %s cents, refunded %s by the line, %s by refunds',
                                         l.line_id, l.restocked_units + l.damaged_units, l.approved_units, l.quote_cents,
                                         l.refunded_cents, p.cents)
        FROM return_lines l
        CROSS JOIN LATERAL (SELECT coalesce(sum(r.amount_cents), 0) AS cents
                            FROM refunds f JOIN refund_lines r USING (refund_id)
                            WHERE f.return_id = l.return_id AND r.line_id = l.line_id) p
        WHERE l.refunded_cents <> p.cents
           OR l.refunded_cents <> round(l.quote_cents::numeric * (l.restocked_units + l.damaged_units) / l.approved_units)
        """,
    ),
    Invariant(
        "I5-shipped",
        "no more units came back, or may come back, than shipped",
        """
        SELECT l.order_id::text, format('line %s: %s units shipped, %s received, %s on their way back', l.line_id,
                                        s.units, b.received, b.outstanding)
        FROM order_lines l
        CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS units FROM shipped_units u
                            WHERE u.order_id = l.order_id AND u.line_id = l.line_id) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(q.restocked_units + q.damaged_units), 0) AS received,
                   coalesce(sum(q.approved_units - q.restocked_units - q.damaged_units - q.missing_units), 0) AS outstanding
            FROM returns r JOIN return_lines q USING (return_id) WHERE r.order_id = l.order_id AND q.line_id = l.line_id
        ) b
        WHERE b.received + b.outstanding > s.units OR b.received <> l.received_units
        """,
    ),
    Invariant(
        "I6-return-waits",
        "every return is at its end, or waits for units before a deadline or for its refund",
        """
        SELECT b.return_id::text,
               format('order %s: %s, %s units expected until %s, %s refunds not settled', b.order_id, b.status, u.outstanding,
                      b.expires_at, r.unsettled)
        FROM returns b
        CROSS JOIN LATERAL (SELECT coalesce(sum(approved_units - restocked_units - damaged_units - missing_units), 0) AS outstanding
                            FROM return_lines l WHERE l.return_id = b.return_id) u
        CROSS JOIN LATERAL (SELECT count(*) AS unsettled FROM refunds f WHERE f.return_id = b.return_id AND f.state <> 'succeeded') r
        WHERE CASE b.status
                WHEN 'approved' THEN u.outstanding = 0 OR b.expires_at < now() - interval '15 days'
                WHEN 'received' THEN u.outstanding = 0 OR b.expires_at < now() - interval '15 days'
                WHEN 'inspected' THEN u.outstanding > 0 OR r.unsettled = 0
                WHEN 'declined' THEN u.outstanding > 0 OR r.unsettled > 0
                ELSE u.outstanding > 0 OR r.unsettled > 0
              END
        """,
    ),
    Invariant(
        "I9-execution-asked-once",
        "the channel is asked once for each request and each retry of a refund",
        """
        WITH asked AS (
            SELECT (convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'refund_id')::uuid AS refund_id, count(*) AS times
            FROM outbox WHERE type = 'refund.execution_requested.v1' GROUP BY 1
        ), wanted AS (
            SELECT e.refund_id, count(*) AS times
            FROM refund_ledger e JOIN refunds f USING (refund_id)
            WHERE e.kind IN ('requested', 'retried') AND f.amount_cents > 0
            GROUP BY e.refund_id
            -- sent outbox rows are dropped after their retention, two days at the least
            HAVING min(e.recorded_at) > now() - interval '1 day'
        )
        SELECT w.refund_id::text, format('to be asked for %s times, asked for %s times', w.times, coalesce(a.times, 0))
        FROM wanted w LEFT JOIN asked a USING (refund_id) WHERE w.times <> coalesce(a.times, 0)
        UNION ALL
        SELECT a.refund_id::text, format('asked for %s times, but there is no such refund', a.times)
        FROM asked a WHERE NOT EXISTS (SELECT FROM refunds f WHERE f.refund_id = a.refund_id)
        """,
    ),
    Invariant(
        "I9-inspection-told-once",
        "every scan is told once, with the dispositions that were booked",
        """
        WITH told AS (
            SELECT (d ->> 'scan_id')::uuid AS scan_id, count(*) AS times, sum(u.units) AS units
            FROM outbox
            CROSS JOIN LATERAL (SELECT convert_from(body, 'UTF8')::jsonb -> 'data' AS d) m
            CROSS JOIN LATERAL (SELECT sum((x ->> 'quantity')::int) AS units FROM jsonb_array_elements(d -> 'dispositions') x) u
            WHERE type = 'return.inspected.v1' GROUP BY 1
        ), booked AS (
            SELECT s.scan_id, sum(x.quantity) AS units FROM return_scans s JOIN dispositions x USING (scan_id)
            WHERE s.scanned_at > now() - interval '1 day' GROUP BY s.scan_id
        )
        SELECT scan_id::text, format('%s units booked, told %s times with %s units', b.units, coalesce(t.times, 0), coalesce(t.units, 0))
        FROM booked b LEFT JOIN told t USING (scan_id) WHERE t.times IS DISTINCT FROM 1 OR t.units <> b.units
        UNION ALL
        SELECT t.scan_id::text, 'told, but never booked' FROM told t
        WHERE NOT EXISTS (SELECT FROM return_scans s WHERE s.scan_id = t.scan_id)
        """,
    ),
)

FACTS: Sequence[Fact] = (
    Fact("units_ordered", "SELECT order_id || '|' || line_id, quantity::bigint FROM order_lines"),
    Fact("units_cancelled", "SELECT order_id || '|' || line_id, quantity::bigint FROM cancelled_units"),
    Fact("units_shipped", "SELECT order_id || '|' || line_id, sum(quantity)::bigint FROM shipped_units GROUP BY order_id, line_id"),
    Fact("refund_cents_requested", "SELECT refund_id::text, amount_cents FROM refunds"),
    Fact("refund_cents_succeeded", "SELECT refund_id::text, amount_cents FROM refunds WHERE state = 'succeeded'"),
    Fact(
        "units_restocked",
        """
        SELECT return_id || '|' || line_id, sum(quantity)::bigint FROM dispositions
        WHERE disposition = 'restocked' GROUP BY return_id, line_id
        """,
    ),
)
