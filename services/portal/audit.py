"""What must always hold in the portal's projection and in what customers were told, as queries that return violations.

Shares nothing with handlers, rules and queries on purpose. Every rule holds in any snapshot of a running system, however late or early
events arrive; what needs drained queues is stated as a fact and compared with other services by ``python -m shared.audit``.
"""

from collections.abc import Sequence

from shared.audit_model import Fact, Invariant

INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "I12-told",
        "everything that customers must hear of has its notification",
        """
        WITH news AS (
            SELECT order_id, type, fact_id,
                   CASE type
                       WHEN 'order.placed.v1' THEN 'confirmation'
                       WHEN 'order.edited.v1' THEN 'changed'
                       WHEN 'order.cancelled.v1' THEN 'cancelled'
                       WHEN 'stock.backordered.v1' THEN 'delay'
                       WHEN 'order.delayed.v1' THEN 'delay'
                       WHEN 'fulfillment.shipped.v1' THEN 'shipped'
                       WHEN 'return.approved.v1' THEN 'return_label'
                       WHEN 'refund.succeeded.v1' THEN 'refund'
                       WHEN 'order.cancel_rejected.v1' THEN 'change_refused'
                       WHEN 'order.edit_rejected.v1'
                           THEN CASE WHEN data ->> 'unpaid' IS NULL THEN 'change_refused' ELSE 'payment_dropped' END
                       WHEN 'order.payment_requested.v1' THEN 'payment_due'
                   END AS kind
            FROM timeline
            WHERE (type <> 'stock.backordered.v1' OR data ->> 'cause' IN ('placed', 'edited'))
              AND (type NOT IN ('order.cancel_rejected.v1', 'order.edit_rejected.v1')
                   OR data ->> 'reason' IN ('fulfillment_started', 'already_shipped') AND COALESCE(data ->> 'actor', 'shopper') = 'shopper'
                   OR data ->> 'unpaid' IN ('cancelled_in_part', 'lapsed', 'refused'))
        )
        SELECT news.order_id::text, format('%s (%s) was never told: no %s notification', news.type, news.fact_id, news.kind)
        FROM news
        LEFT JOIN notifications told ON told.order_id = news.order_id AND told.kind = news.kind AND told.cause_id = news.fact_id
        WHERE news.kind IS NOT NULL AND told.order_id IS NULL
        """,
    ),
    Invariant(
        "I12-caused",
        "every notification has a fact that caused it",
        """
        SELECT told.order_id::text, format('%s notification for %s %s, which never happened', told.kind, told.type, told.cause_id)
        FROM notifications told
        LEFT JOIN timeline fact ON fact.order_id = told.order_id AND fact.type = told.type AND fact.fact_id = told.cause_id
        WHERE fact.order_id IS NULL
        """,
    ),
    Invariant(
        "I12-once",
        "each customer hears once per cause, and of an order's confirmation once at all",
        """
        SELECT order_id::text, format('%s notifications of kind %s for cause %s', count(*), kind, cause_id)
        FROM notifications GROUP BY order_id, kind, cause_id HAVING count(*) > 1
        UNION ALL
        SELECT order_id::text, format('%s confirmations', count(*))
        FROM notifications WHERE kind = 'confirmation' GROUP BY order_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I12-dates",
        "no cause tells a customer the same dates twice",
        """
        SELECT order_id::text, format('cause %s told the same dates %s times', cause_id, count(*))
        FROM (
            SELECT fact.order_id, fact.data ->> 'cause_id' AS cause_id,
                   (SELECT jsonb_object_agg(line ->> 'line_id', line -> 'new_ship_at')
                    FROM jsonb_array_elements(fact.data -> 'lines') line) AS dates
            FROM notifications told
            JOIN timeline fact ON fact.order_id = told.order_id AND fact.type = told.type AND fact.fact_id = told.cause_id
            WHERE told.type = 'order.delayed.v1'
        ) AS promises
        GROUP BY order_id, cause_id, dates HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I12-settled",
        "a mail was sent, or waits, or failed with a reason",
        """
        SELECT order_id::text, format('%s notification %s: status %s, sent %s, reason %s', kind, cause_id, status, sent_at, reason)
        FROM notifications
        WHERE (status = 'sent') <> (sent_at IS NOT NULL) OR (status = 'failed' AND coalesce(reason, '') = '')
           OR (status <> 'due' AND attempts = 0)
        """,
    ),
    Invariant(
        "I10-handled",
        "every event that was handled stands in the timeline of its order",
        """
        SELECT heard.subject, format('%s %s was handled, but the timeline does not have it', heard.type, heard.event_id)
        FROM inbox heard
        WHERE heard.status = 'done' AND heard.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
          AND NOT EXISTS (
              SELECT FROM timeline fact
              WHERE fact.order_id = CASE WHEN heard.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN heard.subject::uuid END
                AND fact.type = heard.type)
        """,
    ),
    Invariant(
        "I10-orders",
        "every placed or edited order is kept as it was then, and nothing else is",
        """
        SELECT fact.order_id::text, format('%s version %s is not kept', fact.type, fact.data ->> 'order_version')
        FROM timeline fact
        LEFT JOIN order_versions version
          ON version.order_id = fact.order_id AND version.order_version = (fact.data ->> 'order_version')::int
        WHERE fact.type IN ('order.placed.v1', 'order.edited.v1') AND version.order_id IS NULL
        UNION ALL
        SELECT fact.order_id::text, 'placed, but nobody knows by whom'
        FROM timeline fact LEFT JOIN orders USING (order_id)
        WHERE fact.type = 'order.placed.v1' AND orders.order_id IS NULL
        UNION ALL
        SELECT orders.order_id::text, 'known, but never placed'
        FROM orders LEFT JOIN timeline fact ON fact.order_id = orders.order_id AND fact.type = 'order.placed.v1'
        WHERE fact.order_id IS NULL
        UNION ALL
        SELECT version.order_id::text, format('version %s is kept, but nobody placed or edited it', version.order_version)
        FROM order_versions version
        WHERE NOT EXISTS (
            SELECT FROM timeline fact
            WHERE fact.order_id = version.order_id AND fact.type IN ('order.placed.v1', 'order.edited.v1')
              AND (fact.data ->> 'order_version')::int = version.order_version)
        """,
    ),
    Invariant(
        "I10-units",
        "the lines that are kept hold the units that were placed",
        """
        SELECT fact.order_id::text, format('placed with %s units in %s lines, kept with %s in %s', fact.data ->> 'units',
                                           fact.data ->> 'lines', kept.units, kept.lines)
        FROM timeline fact
        JOIN order_versions version
          ON version.order_id = fact.order_id AND version.order_version = (fact.data ->> 'order_version')::int
        CROSS JOIN LATERAL (
            SELECT count(*) AS lines, coalesce(sum((line ->> 'quantity')::bigint), 0) AS units FROM jsonb_array_elements(version.lines) line
        ) kept
        WHERE fact.type = 'order.placed.v1'
          AND (kept.units <> (fact.data ->> 'units')::bigint OR kept.lines <> (fact.data ->> 'lines')::bigint)
        """,
    ),
    Invariant(
        "P-personal-data",
        "no timeline carries the customer's address or name",
        """
        SELECT fact.order_id::text, format('%s (%s) carries personal data', fact.type, fact.fact_id)
        FROM timeline fact JOIN orders USING (order_id)
        WHERE position(lower(orders.customer_email) IN lower(fact.data::text)) > 0
        """,
    ),
)

FACTS: Sequence[Fact] = (
    Fact(
        "units_ordered",
        """
        SELECT newest.order_id || '|' || (line ->> 'line_id'), (line ->> 'quantity')::bigint
        FROM (SELECT DISTINCT ON (order_id) order_id, lines FROM order_versions ORDER BY order_id, order_version DESC) newest
        CROSS JOIN LATERAL jsonb_array_elements(newest.lines) line
        """,
    ),
    Fact(
        "units_shipped",
        """
        SELECT order_id || '|' || (line ->> 'line_id'), sum((line ->> 'quantity')::bigint)::bigint
        FROM timeline CROSS JOIN LATERAL jsonb_array_elements(data -> 'lines') line
        WHERE type = 'fulfillment.shipped.v1' GROUP BY 1
        """,
    ),
    Fact(
        "units_cancelled",
        """
        SELECT order_id || '|' || (line ->> 'line_id'), sum((line ->> 'quantity')::bigint)::bigint
        FROM timeline CROSS JOIN LATERAL jsonb_array_elements(data -> 'lines') line
        WHERE type = 'order.cancelled.v1' GROUP BY 1
        """,
    ),
    Fact(
        "refund_cents_succeeded", "SELECT fact_id::text, (data ->> 'amount_cents')::bigint FROM timeline WHERE type = 'refund.succeeded.v1'"
    ),
    Fact(
        "units_restocked",
        """
        SELECT (data ->> 'return_id') || '|' || (line ->> 'line_id'), sum((line ->> 'quantity')::bigint)::bigint
        FROM timeline CROSS JOIN LATERAL jsonb_array_elements(data -> 'lines') line
        WHERE type = 'return.inspected.v1' AND line ->> 'disposition' = 'restocked' GROUP BY 1
        """,
    ),
)
