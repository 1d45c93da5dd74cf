"""What must hold of units that are kept from the queue: checkout holds, safety stock, channel pools. A part of ``audit.py``."""

from __future__ import annotations

from shared.audit_model import Fact, Invariant

TAKEABLE_BY_CHANNEL = """
    SELECT asked.sku, asked.channel, own.channel IS NOT NULL AS has_rule,
           GREATEST(0, LEAST(filled.own + shared.units, COALESCE(own.cap - own.open, 2147483647)))::bigint AS units
    FROM (
        SELECT sku, channel FROM channel_pools
        UNION
        SELECT demand.sku, demand.channel FROM demand JOIN stock_pools USING (sku) WHERE demand.queued > 0 AND stock_pools.ruled
    ) AS asked
    JOIN stock_pools pool ON pool.sku = asked.sku AND pool.pool = 'default'
    LEFT JOIN channel_pools own ON own.sku = asked.sku AND own.channel = asked.channel
    CROSS JOIN LATERAL (
        SELECT GREATEST(0, pool.sellable - pool.pending_shortage - pool.reserved - pool.held - pool.safety) AS units
    ) AS free
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(wants), 0) AS wanted,
               COALESCE(sum(LEAST(wants, GREATEST(0, free.units - older))) FILTER (WHERE fence.channel = asked.channel), 0) AS own
        FROM (
            SELECT channel, GREATEST(0, rule.fence - rule.open) AS wants,
                   COALESCE(sum(GREATEST(0, rule.fence - rule.open)) OVER (
                       ORDER BY rule.seniority ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS older
            FROM channel_pools rule WHERE rule.sku = asked.sku
        ) AS fence
    ) AS filled
    CROSS JOIN LATERAL (
        SELECT GREATEST(0, free.units - filled.wanted) AS units, GREATEST(0, COALESCE(own.open - own.fence, 0)) AS outside
    ) AS common
    CROSS JOIN LATERAL (
        SELECT CASE WHEN own.share_percent IS NULL THEN common.units
                    ELSE GREATEST(0, LEAST(common.units, floor(own.share_percent * (common.units + common.outside) / 100.0)
                                                         - common.outside)) END AS units
    ) AS shared
"""
"""What every channel that has a rule, or waits for a SKU with rules, may take: its own fence as far as it is filled, the oldest first, and
its share of what no fence wants, up to its cap."""

KEEPING_INVARIANTS = (
    Invariant(
        "I1-held-is-ledger",
        "every pool's held units are the sum of its ledger entries",
        """
        SELECT sku, format('pool: held %s; ledger: %s', p.held, e.held)
        FROM (SELECT sku, sum(held) AS held FROM stock_pools GROUP BY sku) p
        FULL JOIN (SELECT sku, sum(quantity) AS held FROM movements WHERE kind IN ('held', 'unheld') GROUP BY sku) e USING (sku)
        WHERE COALESCE(p.held, 0) <> COALESCE(e.held, 0)
        """,
    ),
    Invariant(
        "I1-held-is-holds",
        "every pool's held units are those of open checkout holds",
        """
        SELECT sku, format('pool: held %s; open holds: %s', p.held, l.held)
        FROM (SELECT sku, sum(held) AS held FROM stock_pools GROUP BY sku) p
        FULL JOIN (
            SELECT sku, sum(line.held) AS held FROM hold_lines line JOIN holds USING (hold_id) WHERE state = 'held' GROUP BY sku
        ) l USING (sku)
        WHERE COALESCE(p.held, 0) <> COALESCE(l.held, 0)
        """,
    ),
    Invariant(
        "I1-hold-lines-are-ledger",
        "per checkout hold and SKU: what is held is the sum of its ledger entries, and nothing once the hold has ended",
        """
        SELECT l.hold_id || '|' || l.sku,
               format('%s: held %s of %s granted, %s used; ledger %s', h.state, l.held, l.granted, l.used, e.held)
        FROM hold_lines l JOIN holds h USING (hold_id)
        LEFT JOIN (
            SELECT cause_id AS hold_id, sku, sum(quantity) AS held FROM movements WHERE kind IN ('held', 'unheld') GROUP BY cause_id, sku
        ) e USING (hold_id, sku)
        WHERE l.held <> COALESCE(e.held, 0) OR (h.state <> 'held' AND l.held > 0) OR l.held < 0 OR l.held + l.used > l.granted
           OR l.granted > l.asked OR (h.state <> 'confirmed' AND l.used > 0)
        """,
    ),
    Invariant(
        "I1-hold-is-used-by-one-order",
        "a confirmed checkout hold names an order that is there, and gave it no more units than it has wanted",
        """
        SELECT h.hold_id::text, format('order %s: used %s of %s, ordered %s', h.order_id, l.used, l.sku, d.units)
        FROM holds h JOIN hold_lines l USING (hold_id) LEFT JOIN orders o USING (order_id)
        LEFT JOIN LATERAL (
            SELECT sum(quantity) AS units FROM movements WHERE kind = 'reserved' AND order_id = h.order_id AND sku = l.sku
        ) d ON true
        WHERE h.state = 'confirmed' AND (o.order_id IS NULL OR l.used > COALESCE(d.units, 0))
        """,
    ),
    Invariant(
        "I6-holds-end",
        "no checkout hold outlives its time by more than ten minutes",
        """
        SELECT hold_id::text, format('channel %s, expired at %s', channel, expires_at)
        FROM holds WHERE state = 'held' AND expires_at < now() - interval '10 minutes'
        """,
    ),
    Invariant(
        "I1-safety-is-rules",
        "what a pool keeps back is what is kept back of the SKU and, as far as it lies there, at its locations",
        """
        SELECT p.sku, format('pool keeps back %s; SKU %s, locations %s', p.safety, p.sku_safety, s.safety)
        FROM stock_pools p
        LEFT JOIN (
            SELECT sku, sum(CASE WHEN counts THEN LEAST(safety, GREATEST(on_shelf, 0)) ELSE 0 END) AS safety
            FROM stock_locations GROUP BY sku
        ) s USING (sku)
        WHERE p.pool = 'default' AND p.safety <> p.sku_safety + COALESCE(s.safety, 0)
        """,
    ),
    Invariant(
        "I1-channel-open-units",
        "what a channel with a rule has open is what its orders have reserved and its checkout holds hold",
        """
        SELECT c.sku || '|' || c.channel, format('rule says %s open; orders %s, holds %s', c.open, d.reserved, h.held)
        FROM channel_pools c
        LEFT JOIN (SELECT sku, channel, sum(reserved) AS reserved FROM demand GROUP BY sku, channel) d USING (sku, channel)
        LEFT JOIN (
            SELECT line.sku, holds.channel, sum(line.held) AS held FROM hold_lines line JOIN holds USING (hold_id) GROUP BY 1, 2
        ) h USING (sku, channel)
        WHERE c.open <> COALESCE(d.reserved, 0) + COALESCE(h.held, 0)
        """,
    ),
    Invariant(
        "I1-fenced-is-rules",
        "what a pool fences is what the fences of channels still want, and a pool knows whether it has rules",
        """
        SELECT p.sku, format('pool fences %s, ruled %s; rules want %s', p.fenced, p.ruled, c.fenced)
        FROM stock_pools p
        LEFT JOIN (SELECT sku, sum(GREATEST(0, fence - open)) AS fenced FROM channel_pools GROUP BY sku) c USING (sku)
        WHERE p.pool = 'default' AND (p.fenced <> COALESCE(c.fenced, 0) OR p.ruled <> (c.sku IS NOT NULL))
        """,
    ),
)

KEEPING_FACTS = (
    Fact(
        "available_to_channel",
        "SELECT sku || '|' || channel, units::bigint FROM ({takeable}) AS takeable WHERE has_rule".replace(
            "{takeable}", TAKEABLE_BY_CHANNEL
        ),
    ),
)
