"""What must hold of units that are kept from the queue: checkout holds, safety stock, channel pools. A part of ``audit.py``."""

from __future__ import annotations

from shared.audit_model import Fact, Invariant

ARRIVALS = """
    SELECT sku, supply_id, ships_at, units - GREATEST(0, LEAST(units, lacks - (so_far - units))) AS units
    FROM (
        SELECT line.sku, supply_id, ships_at, quantity - called_off - received AS units,
               sum(quantity - called_off - received) OVER (PARTITION BY line.sku, supplies.location ORDER BY ships_at, supply_id) AS so_far,
               COALESCE((SELECT safety - LEAST(safety, GREATEST(0, on_shelf)) FROM stock_locations shelf
                         WHERE shelf.sku = line.sku AND shelf.location = supplies.location AND shelf.counts), 0) AS lacks
        FROM supply_lines line JOIN supplies USING (supply_id) WHERE open
    ) expected
"""
"""What of the goods on their way is for the queue and for sale: the first that come to a location fill up what is kept back there."""

COMING = """
    CASE WHEN pool.release_at IS NULL THEN 0 ELSE (
        SELECT COALESCE(sum(coming.units), 0) FROM ({arrivals}) AS coming WHERE coming.sku = pool.sku
    ) END
""".replace("{arrivals}", ARRIVALS)
"""Goods on their way that are sold ahead: those of a preorder."""

WISHES = """
    SELECT waits.sku, waits.channel, waits.units,
           CASE WHEN rule.channel IS NULL THEN waits.units
                WHEN rule.cap IS NULL THEN GREATEST(0, waits.units - GREATEST(0, rule.fence - rule.open))
                ELSE GREATEST(0, LEAST(waits.units, GREATEST(0, rule.cap - rule.open)) - GREATEST(0, rule.fence - rule.open)) END AS common
    FROM (
        SELECT sku, channel, sum(queued) AS units FROM demand
        WHERE queued > 0 AND sku IN (SELECT sku FROM stock_pools WHERE ruled) GROUP BY sku, channel
    ) waits
    LEFT JOIN channel_pools rule ON rule.sku = waits.sku AND rule.channel = waits.channel
"""
"""Of SKUs with rules: what waits for each channel, and how much of that needs units that no fence protects."""

FOR_SALE = """
    SELECT pool.sku, pool.release_at IS NOT NULL AS preordered,
           CASE WHEN NOT pool.ruled THEN GREATEST(0, pool.available - pool.queued + {coming})
                WHEN pool.release_at IS NULL THEN GREATEST(0, pool.available)
                ELSE GREATEST(0, pool.available + {coming} - (
                    SELECT COALESCE(sum(wish.common), 0) FROM ({wishes}) AS wish WHERE wish.sku = pool.sku
                )) END::bigint AS units
    FROM stock_pools pool WHERE pool.pool = 'default'
""".replace("{coming}", COMING).replace("{wishes}", WISHES)
"""What everybody without a rule may buy: nothing that somebody waits for. Where channels have rules, who waits may not take what is
available; a preorder is sold from what is there and on its way."""

TAKEABLE_BY_CHANNEL = """
    SELECT asked.sku, asked.channel, own.channel IS NOT NULL AS has_rule,
           GREATEST(0, LEAST(filled.own + shared.units, COALESCE(own.cap - own.open - waits.own, 2147483647)))::bigint AS units
    FROM (
        SELECT sku, channel FROM channel_pools
        UNION
        SELECT demand.sku, demand.channel FROM demand JOIN stock_pools USING (sku) WHERE demand.queued > 0 AND stock_pools.ruled
    ) AS asked
    JOIN stock_pools pool ON pool.sku = asked.sku AND pool.pool = 'default'
    LEFT JOIN channel_pools own ON own.sku = asked.sku AND own.channel = asked.channel
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(wish.units) FILTER (WHERE wish.channel = asked.channel), 0) AS own, COALESCE(sum(wish.common), 0) AS common
        FROM ({wishes}) AS wish WHERE wish.sku = asked.sku AND pool.release_at IS NOT NULL
    ) AS waits
    CROSS JOIN LATERAL (
        SELECT GREATEST(0, pool.sellable - pool.pending_shortage - pool.reserved - pool.held - pool.safety + {coming}) AS units
    ) AS free
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(wants), 0) AS wanted,
               GREATEST(0, COALESCE(sum(LEAST(wants, GREATEST(0, free.units - older))) FILTER (WHERE fence.channel = asked.channel), 0)
                           - waits.own) AS own
        FROM (
            SELECT channel, GREATEST(0, rule.fence - rule.open) AS wants,
                   COALESCE(sum(GREATEST(0, rule.fence - rule.open)) OVER (
                       ORDER BY rule.seniority ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS older
            FROM channel_pools rule WHERE rule.sku = asked.sku
        ) AS fence
    ) AS filled
    CROSS JOIN LATERAL (
        SELECT GREATEST(0, free.units - filled.wanted - waits.common) AS units,
               GREATEST(0, COALESCE(own.open + waits.own - own.fence, 0)) AS outside
    ) AS common
    CROSS JOIN LATERAL (
        SELECT CASE WHEN own.share_percent IS NULL THEN common.units
                    ELSE GREATEST(0, LEAST(common.units, floor(own.share_percent * (common.units + common.outside) / 100.0)
                                                         - common.outside)) END AS units
    ) AS shared
""".replace("{coming}", COMING).replace("{wishes}", WISHES)
"""What every channel that has a rule, or waits for a SKU with rules, may take: its own fence as far as it is filled, the oldest first, and
its share of what no fence wants, up to its cap. Of a preorder: what it may still sell, when everybody who waits has got his."""

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
        "what a channel with a rule has open is what its orders have reserved and its checkout holds hold, and what waits for it is queued",
        """
        SELECT c.sku || '|' || c.channel,
               format('rule says %s open, %s waiting; orders %s, %s waiting, holds %s', c.open, c.queued, d.reserved, d.queued, h.held)
        FROM channel_pools c
        LEFT JOIN (
            SELECT sku, channel, sum(reserved) AS reserved, sum(queued) AS queued FROM demand GROUP BY sku, channel
        ) d USING (sku, channel)
        LEFT JOIN (
            SELECT line.sku, holds.channel, sum(line.held) AS held FROM hold_lines line JOIN holds USING (hold_id) GROUP BY 1, 2
        ) h USING (sku, channel)
        WHERE c.open <> COALESCE(d.reserved, 0) + COALESCE(h.held, 0) OR c.queued <> COALESCE(d.queued, 0)
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
    Invariant(
        "I2-promises-follow-rules",
        "of SKUs with rules every waiting line was told when the units that its channel may take reach it: no date beyond its cap or for a"
        " share, unless its queue is being dated anew",
        """
        WITH fence AS (
            SELECT sku, channel, cap, share_percent, open, GREATEST(0, fence - open) AS wants,
                   sum(GREATEST(0, fence - open)) OVER (PARTITION BY sku ORDER BY seniority) AS up_to_it
            FROM channel_pools
        ), place AS (
            SELECT demand.sku, order_id, line_id, priority, demand_id, promised_ship_at, release_at,
                   pool.sellable - pool.pending_shortage - pool.reserved - pool.held - pool.safety AS free,
                   (SELECT COALESCE(sum(wants), 0) FROM fence WHERE fence.sku = demand.sku) AS fenced,
                   fence.share_percent, COALESCE(fence.wants, 0) AS wants, fence.up_to_it - fence.wants AS older,
                   CASE WHEN fence.cap IS NULL THEN 2147483647 ELSE GREATEST(0, fence.cap - fence.open) END AS room, demand.queued,
                   sum(demand.queued) OVER (PARTITION BY demand.sku, demand.channel ORDER BY priority, demand_id) AS own
            FROM demand JOIN stock_pools pool ON pool.sku = demand.sku AND pool.pool = 'default' AND pool.ruled
            LEFT JOIN fence ON fence.sku = demand.sku AND fence.channel = demand.channel
            WHERE demand.queued > 0
        ), reached AS (
            SELECT *, sum(GREATEST(0, LEAST(own, room) - wants) - GREATEST(0, LEAST(own - queued, room) - wants))
                          OVER (PARTITION BY sku ORDER BY priority, demand_id) AS common
            FROM place
        ), arrival AS (
            SELECT sku, ships_at, units, sum(units) OVER (PARTITION BY sku ORDER BY ships_at, supply_id) AS last_unit
            FROM ({arrivals}) AS coming
        )
        SELECT order_id || '|' || line_id, format('told %s, supply says %s', promised_ship_at, ships.at)
        FROM reached
        CROSS JOIN LATERAL (
            SELECT CASE WHEN own <= LEAST(wants, room) THEN older + own - free
                        WHEN own <= room AND share_percent IS NULL THEN fenced + common - free END AS missing
        ) lacks
        LEFT JOIN arrival ON arrival.sku = reached.sku
                         AND lacks.missing BETWEEN arrival.last_unit - arrival.units + 1 AND arrival.last_unit
        CROSS JOIN LATERAL (
            SELECT CASE WHEN lacks.missing <= 0 THEN COALESCE(release_at, promised_ship_at)
                        WHEN ships_at IS NOT NULL THEN GREATEST(ships_at, release_at) END AS at
        ) ships
        WHERE promised_ship_at IS DISTINCT FROM ships.at AND NOT EXISTS (SELECT FROM promise_dating dating WHERE dating.sku = reached.sku)
        """.replace("{arrivals}", ARRIVALS),
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
