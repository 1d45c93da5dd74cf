"""What must hold of sync's books, in statements that share nothing with its queries and rules."""

from __future__ import annotations

from collections.abc import Sequence

from shared.audit_model import Fact, Invariant

NEWEST_NUMBER = """
    SELECT available, mode, next_ship_at, stock_version FROM stock_numbers n
    WHERE n.sku = l.sku AND n.pool IN (l.pool, l.channel)
    ORDER BY n.stock_version DESC, n.pool = l.channel DESC LIMIT 1
"""
"""What a listing shall show: the channel's own number or that of its pool, whichever is newer; the own one of two that are as new."""

INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "I11-channel-shows-latest",
        "each channel last took the latest known number of every listing, or a push of it is due within ten minutes",
        """
        SELECT l.channel || '/' || l.sku,
               format('latest %s %s, last taken %s %s, push due %s', n.available, n.mode, s.accepted_available, s.accepted_mode, s.due_at)
        FROM listings l
        CROSS JOIN LATERAL ({newest}) AS n
        LEFT JOIN listing_stock s ON s.channel = l.channel AND s.sku = l.sku
        WHERE (s.due_at IS NULL OR s.due_at NOT BETWEEN now() - interval '10 minutes' AND now() + interval '10 minutes')
          AND (s.accepted_version IS NULL OR s.accepted_available <> n.available OR s.accepted_mode <> n.mode
               OR s.accepted_next_ship_at IS DISTINCT FROM n.next_ship_at)
        """.replace("{newest}", NEWEST_NUMBER),
    ),
    Invariant(
        "I11-newest-wins",
        "what a listing shall show is the newest version known of its SKU, and nothing newer was ever told",
        """
        SELECT l.channel || '/' || l.sku,
               format('newest version %s, to be shown %s, last taken %s', n.stock_version, s.wanted_version, s.accepted_version)
        FROM listings l
        CROSS JOIN LATERAL ({newest}) AS n
        LEFT JOIN listing_stock s ON s.channel = l.channel AND s.sku = l.sku
        WHERE s.wanted_version IS NULL OR s.wanted_version <> n.stock_version OR s.wanted_available <> n.available
           OR s.wanted_mode <> n.mode OR s.wanted_next_ship_at IS DISTINCT FROM n.next_ship_at
           OR COALESCE(s.accepted_version, 0) > n.stock_version
        """.replace("{newest}", NEWEST_NUMBER),
    ),
    Invariant(
        "I11-doubt-is-due",
        "a number that a channel may or may not have taken is told again",
        """
        SELECT channel || '/' || sku, format('in doubt since %s, nothing due', COALESCE(sending_since, stale_since))
        FROM listing_stock
        WHERE due_at IS NULL AND (sending_since IS NOT NULL OR stale_since IS NOT NULL)
        """,
    ),
    Invariant(
        "I9-order-once",
        "no external id of a channel became two orders",
        """
        SELECT channel || '/' || external_id, format('%s orders: %s', count(*), string_agg(order_id::text, ', ' ORDER BY order_id))
        FROM channel_orders GROUP BY channel, external_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I8-order-said-once",
        "every order of the last day was told as order.placed exactly once",
        """
        SELECT o.order_id::text, format('%s order.placed messages', count(m.event_id))
        FROM channel_orders o
        LEFT JOIN outbox m ON m.subject = o.order_id::text AND m.type = 'order.placed.v1'
        WHERE o.received_at > now() - interval '1 day'
        GROUP BY o.order_id HAVING count(m.event_id) <> 1
        """,
    ),
    Invariant(
        "I8-order-has-its-row",
        "every order.placed message speaks of an order in the books, under its channel and external id",
        """
        SELECT m.subject, format('message %s says %s/%s', m.event_id, m.said ->> 'channel', m.said ->> 'external_id')
        FROM (SELECT event_id, subject, convert_from(body, 'UTF8')::jsonb -> 'data' AS said FROM outbox
              WHERE type = 'order.placed.v1' AND created_at > now() - interval '1 day') m
        LEFT JOIN channel_orders o ON o.order_id::text = m.subject
        WHERE o.order_id IS NULL OR o.channel <> m.said ->> 'channel' OR o.external_id <> m.said ->> 'external_id'
           OR o.order_id::text <> m.said ->> 'order_id'
        """,
    ),
    Invariant(
        "I2-order-lines-are-products",
        "every line of an order is at least one unit of a registered product, under an id of its own",
        """
        SELECT o.order_id::text, format('line %s: %s of %s', line.line_id, line.quantity, line.sku)
        FROM channel_orders o, jsonb_to_recordset(o.lines) AS line (line_id text, sku text, quantity integer)
        WHERE line.line_id IS NULL OR COALESCE(line.quantity, 0) < 1 OR NOT EXISTS (SELECT FROM products p WHERE p.sku = line.sku)
        UNION ALL
        SELECT o.order_id::text, format('line %s stands %s times', line.line_id, count(*))
        FROM channel_orders o, jsonb_to_recordset(o.lines) AS line (line_id text)
        GROUP BY o.order_id, line.line_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I2-kits-are-whole",
        "every line of a kit that was bought has the units of as many kits as every other line of it",
        """
        SELECT o.order_id::text,
               format('kit line %s: %s kits of %s', line.kit ->> 'line_id',
                      string_agg(DISTINCT line.kit ->> 'quantity', ', '), string_agg(DISTINCT line.kit ->> 'sku', ', '))
        FROM channel_orders o, jsonb_to_recordset(o.lines) AS line (line_id text, quantity integer, kit jsonb)
        WHERE jsonb_typeof(line.kit) = 'object'
        GROUP BY o.order_id, line.kit ->> 'line_id'
        HAVING count(DISTINCT line.kit ->> 'quantity') > 1 OR count(DISTINCT line.kit ->> 'sku') > 1
            OR bool_or(line.quantity <> (line.kit ->> 'quantity')::integer * (line.kit ->> 'units_per_kit')::integer)
        """,
    ),
    Invariant(
        "I2-kits-hold-no-kits",
        "every kit has components, which are no kits; nothing else has any",
        """
        SELECT p.sku, format('a kit: %s, components: %s, of them kits: %s', p.is_kit, count(c.sku), count(*) FILTER (WHERE part.is_kit))
        FROM products p LEFT JOIN kit_components c ON c.kit_sku = p.sku LEFT JOIN products part ON part.sku = c.sku
        GROUP BY p.sku, p.is_kit HAVING p.is_kit <> (count(c.sku) > 0) OR bool_or(part.is_kit)
        """,
    ),
    Invariant(
        "I4-refunds-within-captured",
        "refunds of an order, pending and unknown ones included, are no more than it paid",
        """
        SELECT o.order_id::text, format('captured %s, refunds %s cents', o.captured_cents, sum(r.amount_cents))
        FROM channel_orders o JOIN refunds r ON r.order_id = o.order_id AND r.state <> 'failed'
        GROUP BY o.order_id, o.captured_cents HAVING sum(r.amount_cents) > o.captured_cents
        """,
    ),
    Invariant(
        "I4-refund-has-one-reference",
        "every succeeded refund has a reference at its channel, no reference pays two refunds, and no other refund has one",
        """
        SELECT refund_id::text, format('state %s, reference %s', state, COALESCE(provider_reference, 'none'))
        FROM refunds WHERE (state = 'succeeded') <> (provider_reference IS NOT NULL)
        UNION ALL
        SELECT string_agg(refund_id::text, ' '), format('reference %s at %s stands %s times', provider_reference, channel, count(*))
        FROM refunds WHERE provider_reference IS NOT NULL
        GROUP BY channel, provider_reference HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I9-refund-said-once",
        "a refund that succeeded in the last day was told once as such, with its amount; one that did not was not",
        """
        SELECT r.refund_id::text, format('state %s of %s cents, told %s times', r.state, r.amount_cents, count(m.said))
        FROM refunds r
        LEFT JOIN (SELECT subject, convert_from(body, 'UTF8')::jsonb -> 'data' AS said FROM outbox
                   WHERE type = 'refund.succeeded.v1' AND created_at > now() - interval '1 day') m
               ON m.subject = r.order_id::text AND m.said ->> 'refund_id' = r.refund_id::text
              AND (m.said ->> 'amount_cents')::bigint = r.amount_cents
        WHERE COALESCE(r.settled_at, now()) > now() - interval '1 day'
        GROUP BY r.refund_id, r.state, r.amount_cents
        HAVING count(m.said) <> CASE WHEN r.state = 'succeeded' THEN 1 ELSE 0 END
        """,
    ),
    Invariant(
        "I6-waiting-has-a-time",
        "every refund and every shipment notice that waits is due within ten minutes",
        """
        SELECT refund_id::text, format('refund %s, due %s', state, due_at) FROM refunds
        WHERE state IN ('requested', 'sent', 'unknown')
          AND (due_at IS NULL OR due_at NOT BETWEEN now() - interval '10 minutes' AND now() + interval '10 minutes')
        UNION ALL
        SELECT fulfillment_id::text, format('shipment notice %s, due %s', state, due_at) FROM shipment_notices
        WHERE state = 'due' AND (due_at IS NULL OR due_at NOT BETWEEN now() - interval '10 minutes' AND now() + interval '10 minutes')
        """,
    ),
    Invariant(
        "I15-partner-owns-its-rows",
        "refunds and shipment notices go to the channel and the order they belong to",
        """
        SELECT r.refund_id::text, format('refund at %s/%s, order at %s/%s', r.channel, r.external_id, o.channel, o.external_id)
        FROM refunds r JOIN channel_orders o ON o.order_id = r.order_id
        WHERE (r.channel, r.external_id) <> (o.channel, o.external_id)
        UNION ALL
        SELECT s.fulfillment_id::text, format('notice to %s/%s, order at %s/%s', s.channel, s.external_id, o.channel, o.external_id)
        FROM shipment_notices s JOIN channel_orders o ON o.order_id = s.order_id
        WHERE (s.channel, s.external_id) <> (o.channel, o.external_id)
        """,
    ),
)

FACTS: Sequence[Fact] = (
    Fact(
        "available_to_channel",
        """
        SELECT own.sku || '|' || own.pool, own.available::bigint
        FROM stock_numbers own JOIN stock_numbers common ON common.sku = own.sku AND common.pool = 'default'
        WHERE own.pool <> 'default' AND own.stock_version >= common.stock_version
        """,
    ),
    Fact("available_to_sell", "SELECT sku, available::bigint FROM stock_numbers WHERE pool = 'default'"),
    Fact("refund_cents_succeeded", "SELECT refund_id::text, amount_cents FROM refunds WHERE state = 'succeeded'"),
    Fact(
        "units_ordered",
        """
        SELECT o.order_id::text || '|' || line.line_id, line.quantity::bigint
        FROM channel_orders o, jsonb_to_recordset(o.lines) AS line (line_id text, quantity integer)
        """,
    ),
)
