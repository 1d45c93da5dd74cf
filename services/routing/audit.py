"""What must always hold in routing's books, as queries that return violations.

Shares nothing with handlers, rules and queries on purpose. Every rule holds in any snapshot of a running system; what needs drained queues
is stated as a fact and compared with other services by ``python -m shared.audit``.
"""

from collections.abc import Sequence

from shared.audit_model import Fact, Invariant

INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "I2-units-once",
        "units of a line that shipped, were cancelled or are in a live fulfillment are never more than were ordered",
        """
        SELECT o.order_id::text,
               format('line %s: %s ordered, but %s shipped + %s cancelled + %s in live fulfillments', o.line_id, o.quantity, o.shipped,
                      o.cancelled, coalesce(l.units, 0))
        FROM order_lines o
        LEFT JOIN (
            SELECT f.order_id, fl.line_id, sum(fl.planned - fl.called_off - fl.shipped) AS units
            FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id)
            WHERE f.status IN ('open', 'in_progress', 'incomplete')
            GROUP BY f.order_id, fl.line_id
        ) l USING (order_id, line_id)
        WHERE o.shipped + o.cancelled + coalesce(l.units, 0) > o.quantity
        """,
    ),
    Invariant(
        "I2-fulfillment-lines-are-order-lines",
        "every unit of a fulfillment belongs to a line of its order, of the same SKU",
        """
        SELECT f.order_id::text, format('fulfillment %s: line %s of %s is no line of the order', f.fulfillment_id, fl.line_id, fl.sku)
        FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id)
        LEFT JOIN order_lines o ON o.order_id = f.order_id AND o.line_id = fl.line_id AND o.sku = fl.sku
        WHERE o.order_id IS NULL
        """,
    ),
    Invariant(
        "I2-kits-are-whole",
        "every line of a kit that was bought has the units of as many kits as every other line of it",
        """
        SELECT order_id::text,
               format('kit line %s: %s kits of %s', kit_line_id, string_agg(DISTINCT (quantity::numeric / kit_units)::text, ', '),
                      string_agg(DISTINCT kit_sku, ', '))
        FROM order_lines WHERE kit_line_id IS NOT NULL
        GROUP BY order_id, kit_line_id
        HAVING count(DISTINCT quantity::numeric / kit_units) > 1 OR count(DISTINCT kit_sku) > 1
        """,
    ),
    Invariant(
        "I3-shipped-by-fulfillments",
        "what a line says was shipped = what its fulfillments shipped",
        """
        SELECT o.order_id::text, format('line %s: %s shipped, its fulfillments say %s', o.line_id, o.shipped, coalesce(s.units, 0))
        FROM order_lines o
        LEFT JOIN (
            SELECT f.order_id, fl.line_id, sum(fl.shipped) AS units
            FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id) GROUP BY f.order_id, fl.line_id
        ) s USING (order_id, line_id)
        WHERE o.shipped <> coalesce(s.units, 0)
        """,
    ),
    Invariant(
        "I3-called-off-never-ships",
        "a fulfillment that was called off, rejected or withdrawn ships nothing; one that shipped has a parcel and was handed over",
        """
        SELECT f.order_id::text, format('fulfillment %s is %s and has %s shipped units, tracking number %s', f.fulfillment_id, f.state,
                                        sum(fl.shipped), coalesce(f.tracking_number, 'none'))
        FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id)
        GROUP BY f.fulfillment_id
        HAVING (f.state IN ('called_off', 'intercepted', 'rejected', 'emptied', 'withdrawn', 'planned') AND sum(fl.shipped) > 0)
            OR (f.state IN ('shipped', 'delivered', 'incomplete')
                AND (sum(fl.shipped) = 0 OR f.tracking_number IS NULL OR f.shipped_at IS NULL OR f.requested_at IS NULL))
        """,
    ),
    Invariant(
        "I3-nothing-left-behind",
        "a parcel that counts as shipped accounts for every unit that was planned for it",
        """
        SELECT f.order_id::text, format('fulfillment %s is %s with units of line %s neither shipped nor called off', f.fulfillment_id,
                                        f.state, fl.line_id)
        FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id)
        WHERE f.state IN ('shipped', 'delivered', 'emptied') AND fl.shipped + fl.called_off <> fl.planned
        """,
    ),
    Invariant(
        "I4-cancellation-refund",
        "a cancelled order's refund = price and tax share of the units that do not ship, with shipping only if nothing shipped",
        """
        SELECT o.order_id::text, format('%s cents are due for cancelled units, %s were asked for', d.cents,
                                        coalesce(sum(r.amount_cents), 0))
        FROM orders o
        JOIN LATERAL (
            SELECT sum(l.unit_price_cents * l.cancelled + l.tax_cents - (2 * l.tax_cents * l.shipped + l.quantity) / (2 * l.quantity))
                       FILTER (WHERE l.cancelled > 0)
                   + CASE WHEN sum(l.shipped) = 0 THEN o.shipping_paid_cents ELSE 0 END AS cents,
                   sum(l.cancelled) AS units
            FROM order_lines l WHERE l.order_id = o.order_id AND l.quantity > 0
        ) d ON d.units > 0
        LEFT JOIN refunds r ON r.order_id = o.order_id AND r.cause = 'cancelled'
        GROUP BY o.order_id, d.cents
        HAVING d.cents <> coalesce(sum(r.amount_cents), 0)
        """,
    ),
    Invariant(
        "I4-refund-adds-up",
        "a refund = its lines + its shipping, was caused by a change that was made, and is the only one of that change",
        """
        SELECT r.order_id::text, format('refund %s: %s cents, lines and shipping add up to %s, change answered with %s, %s refunds of it',
                                        r.refund_id, r.amount_cents, s.cents, coalesce(c.answer_type, 'nothing'), n.refunds)
        FROM refunds r
        JOIN LATERAL (
            SELECT r.shipping_cents + coalesce(sum((line ->> 'amount_cents')::bigint), 0) AS cents FROM jsonb_array_elements(r.lines) line
        ) s ON true
        JOIN LATERAL (SELECT count(*) AS refunds FROM refunds x WHERE x.cause_id = r.cause_id) n ON true
        LEFT JOIN changes c ON c.change_id = r.cause_id AND c.order_id = r.order_id
        WHERE r.amount_cents <> s.cents OR n.refunds > 1
           OR c.answer_type IS DISTINCT FROM CASE r.cause WHEN 'cancelled' THEN 'order.cancelled.v1' ELSE 'order.edited.v1' END
              AND NOT EXISTS (SELECT FROM changes p
                              WHERE p.payment_id = r.cause_id AND p.order_id = r.order_id AND p.payment_cents = r.amount_cents
                                AND p.answer_type = 'order.edit_rejected.v1')
        """,
    ),
    Invariant(
        "I4-paid-edits",
        "money that was collected for an edit belongs to one that was made, or went back; no edit that costs more was made unpaid",
        """
        SELECT c.order_id::text, format('change %s: payment %s, answered with %s', c.change_id, coalesce(c.payment, 'none'), c.answer_type)
        FROM changes c
        WHERE c.payment IN ('collected', 'paid_back') AND c.answered_at IS NOT NULL
              AND (c.answer_type = 'order.edited.v1') = EXISTS (SELECT FROM refunds r WHERE r.cause_id = c.payment_id)
           OR c.answer_type = 'order.edited.v1' AND (c.answer ->> 'money_delta_cents')::bigint > 0
              AND (c.payment, c.payment_cents) IS DISTINCT FROM ('collected', (c.answer ->> 'money_delta_cents')::bigint)
        """,
    ),
    Invariant(
        "I6-terminal-or-waiting",
        "an order whose journey is over has nothing open; every other one names what it waits for and until when",
        """
        SELECT o.order_id::text, format('status %s, waiting for %s until %s, %s units open, %s live fulfillments', o.status,
                                        coalesce(o.waiting_for, 'nothing'), coalesce(o.waiting_until::text, 'never'),
                                        u.open_units, f.live)
        FROM orders o
        JOIN LATERAL (SELECT sum(quantity - shipped - cancelled) AS open_units FROM order_lines l WHERE l.order_id = o.order_id) u ON true
        JOIN LATERAL (
            SELECT count(*) AS live FROM fulfillments f
            WHERE f.order_id = o.order_id AND f.status IN ('open', 'in_progress', 'incomplete')
        ) f ON true
        WHERE CASE WHEN o.status IN ('delivered', 'closed', 'cancelled') THEN u.open_units > 0 OR f.live > 0 OR o.waiting_for IS NOT NULL
                   WHEN o.status = 'shipped' THEN u.open_units > 0 OR f.live > 0 OR o.waiting_for IS NULL
                   ELSE u.open_units = 0 OR o.waiting_for IS NULL OR o.waiting_until IS NULL OR o.due_at IS NULL END
        """,
    ),
    Invariant(
        "I6-deadlines-are-kept",
        "nobody's deadline is long past: timers run, and what they find is dealt with",
        """
        SELECT order_id::text, format('due at %s, waiting for %s', due_at, waiting_for)
        FROM orders WHERE due_at < now() - interval '10 minutes'
        """,
    ),
    Invariant(
        "I6-silence-has-a-timer",
        "every 3PL that owes an answer has a timer running or a person called",
        """
        SELECT f.order_id::text, format('fulfillment %s is %s without a timer, and nobody is called', f.fulfillment_id, f.state)
        FROM fulfillments f JOIN orders o USING (order_id)
        WHERE f.state IN ('submitted', 'cancelling', 'accepted', 'cancel_refused', 'intercepting', 'intercept_failed', 'incomplete')
          AND f.due_at IS NULL AND o.attention_reason IS NULL
           OR f.due_at < o.due_at
        """,
    ),
    Invariant(
        "I6-one-open-change",
        "an order and its open change name each other, and the change waits only for fulfillments of that order",
        """
        SELECT coalesce(o.order_id, c.order_id)::text,
               format('order names change %s, open change is %s', coalesce(o.change_id::text, 'none'), coalesce(c.change_id::text, 'none'))
        FROM (SELECT order_id, change_id FROM orders WHERE change_id IS NOT NULL) o
        FULL JOIN (SELECT order_id, change_id, awaiting FROM changes WHERE answered_at IS NULL) c ON c.order_id = o.order_id
        WHERE o.change_id IS DISTINCT FROM c.change_id
           OR EXISTS (SELECT FROM unnest(c.awaiting) AS awaited (fulfillment_id)
                      WHERE NOT EXISTS (SELECT FROM fulfillments f
                                        WHERE f.fulfillment_id = awaited.fulfillment_id AND f.order_id = c.order_id))
        """,
    ),
    Invariant(
        "I6-changes-are-decided",
        "a change is open only while a 3PL that it asked has not answered, or works on what ships before the rest is cancelled",
        """
        SELECT c.order_id::text, format('change %s is open since %s, but every 3PL has answered', c.change_id, c.requested_at)
        FROM changes c
        WHERE c.answered_at IS NULL AND c.payment IS DISTINCT FROM 'asked'
          AND NOT EXISTS (SELECT FROM fulfillments f
                          WHERE f.fulfillment_id = ANY (c.awaiting)
                            AND (f.request_status = 'cancellation_requested'
                                 OR c.kind = 'cancel' AND f.state IN ('intercepting', 'intercept_failed', 'incomplete')
                                 OR f.status IN ('open', 'in_progress', 'incomplete')
                                    AND EXISTS (SELECT FROM delay_consents d
                                                WHERE d.consent_id = c.change_id AND d.outcome IN ('refused', 'lapsed'))))
        """,
    ),
    Invariant(
        "D5-what-left-cancelled-may-come-back",
        "a parcel that left although a cancellation of the whole order waited for it has a prepaid return",
        """
        SELECT c.order_id::text, format('fulfillment %s is %s although cancellation %s was answered with %s', f.fulfillment_id,
                                        f.state, c.change_id, c.answer_type)
        FROM changes c JOIN fulfillments f ON f.fulfillment_id = ANY (c.awaiting)
        WHERE c.kind = 'cancel' AND c.answered_at IS NOT NULL AND c.answer ->> 'reason' IS DISTINCT FROM 'fulfillment_started'
          AND NOT EXISTS (SELECT FROM delay_consents d WHERE d.consent_id = c.change_id)
          AND coalesce(jsonb_array_length(c.request -> 'lines'), 0) = 0
          AND f.state IN ('incomplete', 'shipped', 'delivered') AND f.return_id IS NULL
        """,
    ),
    Invariant(
        "I9-one-answer-per-change",
        "every change that was made stands in the order: a cancellation left nothing open",
        """
        SELECT o.order_id::text, format('change %s was answered with order.cancelled, but %s units are open', c.change_id,
                                        sum(l.quantity - l.shipped - l.cancelled))
        FROM changes c JOIN orders o USING (order_id) JOIN order_lines l USING (order_id)
        WHERE c.answer_type = 'order.cancelled.v1'
        GROUP BY o.order_id, c.change_id HAVING sum(l.quantity - l.shipped - l.cancelled) > 0
        """,
    ),
    Invariant(
        "B8-customers-have-a-deadline",
        "an order waits for its customer only with an open question, and no question outlives its deadline or its order",
        """
        SELECT c.order_id::text, format('question %s is open until %s, but the order (%s) asks %s, waits for %s and is due at %s',
                                        c.consent_id, c.answer_by, o.status, coalesce(o.consent_id::text, 'nothing'), o.waiting_for,
                                        o.due_at)
        FROM delay_consents c JOIN orders o USING (order_id)
        WHERE c.consent = 'required' AND c.outcome IS NULL
          AND (o.consent_id IS DISTINCT FROM c.consent_id OR o.status IN ('delivered', 'closed', 'cancelled')
               OR o.change_id IS NULL AND (o.due_at > c.answer_by OR c.answer_by < now() - interval '10 minutes'))
        UNION ALL
        SELECT o.order_id::text, format('waits for its customer until %s, who is asked nothing', o.waiting_until)
        FROM orders o
        WHERE o.waiting_for = 'customer_consent'
          AND NOT EXISTS (SELECT FROM delay_consents c
                          WHERE c.consent_id = o.consent_id AND c.consent = 'required' AND c.outcome IS NULL)
        """,
    ),
    Invariant(
        "B8-lapsed-is-cancelled-and-refunded",
        "a question that was refused or lapsed is a cancelled order with its refund, or waits for work that had started",
        """
        SELECT c.order_id::text, format('question %s was %s: change answered with %s, %s cents refunded', c.consent_id, c.outcome,
                                        coalesce(ch.answer_type, 'nothing'), coalesce(r.amount_cents, 0))
        FROM delay_consents c
        LEFT JOIN changes ch ON ch.change_id = c.consent_id AND ch.order_id = c.order_id
        LEFT JOIN refunds r ON r.cause_id = c.consent_id AND r.order_id = c.order_id
        JOIN LATERAL (SELECT sum(quantity - shipped - cancelled) AS open_units FROM order_lines l WHERE l.order_id = c.order_id) u ON true
        WHERE c.outcome IN ('refused', 'lapsed')
          AND (ch.change_id IS NULL
               OR ch.answered_at IS NOT NULL
                  AND (u.open_units > 0
                       OR coalesce(r.amount_cents, 0) <> coalesce((ch.answer ->> 'refund_cents')::bigint, 0)))
        """,
    ),
    Invariant(
        "B8-agreed-or-asked",
        "nobody waits beyond the date that was agreed to without being asked",
        """
        SELECT o.order_id::text, format('%s lines wait until %s, agreed is %s', w.lines, coalesce(w.ship_at::text, 'no date'), a.agreed)
        FROM orders o
        JOIN LATERAL (
            SELECT count(*) AS lines, CASE WHEN count(*) = count(told ->> 0) THEN max((told ->> 0)::timestamptz) END AS ship_at
            FROM jsonb_each(o.promised) AS promised (line_id, told)
            JOIN order_lines l ON l.order_id = o.order_id AND l.line_id = promised.line_id
            WHERE l.quantity - l.shipped - l.cancelled - greatest(0, l.coming_back) - l.unplanned - least(0, l.coming_back)
                  > (SELECT coalesce(sum(fl.planned - fl.called_off - fl.shipped), 0)
                     FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id)
                     WHERE f.order_id = o.order_id AND fl.line_id = l.line_id AND f.status IN ('open', 'in_progress', 'incomplete'))
        ) w ON w.lines > 0
        CROSS JOIN LATERAL (
            SELECT coalesce(o.agreed_ship_at, o.original_ship_at, least(o.deliver_by, o.placed_at + interval '30 days')) AS agreed
        ) a
        WHERE o.status NOT IN ('shipped', 'delivered', 'closed', 'cancelled') AND o.change_id IS NULL AND NOT o.open_ended
          AND o.stock_waiting_for = 'stock' AND coalesce(w.ship_at > a.agreed, a.agreed < now() - interval '10 minutes')
          AND NOT EXISTS (SELECT FROM delay_consents c
                          WHERE c.consent_id = o.consent_id AND c.consent = 'required' AND c.outcome IS NULL)
        """,
    ),
    Invariant(
        "C10-every-plan-is-explained",
        "every plan has its decision record, and the record's units are the plan's",
        """
        SELECT p.order_id::text, format('plan %s: %s units planned, its record says %s', p.plan_id, p.units,
                                        coalesce(d.units::text, 'nothing'))
        FROM (
            SELECT f.order_id, f.plan_id, sum(fl.planned) AS units
            FROM fulfillments f JOIN fulfillment_lines fl USING (fulfillment_id) GROUP BY f.order_id, f.plan_id
        ) p
        LEFT JOIN LATERAL (
            SELECT sum(unit.value::bigint) AS units
            FROM decisions d, jsonb_array_elements(d.record -> 'chosen') AS chosen, jsonb_each_text(chosen -> 3) AS unit
            WHERE d.decision_id = p.plan_id AND d.order_id = p.order_id
        ) d ON true
        WHERE p.units IS DISTINCT FROM d.units
        """,
    ),
    Invariant(
        "C7-slots-are-held",
        "the slots of a location that are taken = the fulfillment orders that hold one (those that did not end before their 3PL accepted),"
        " and never more than there were when the last one was taken",
        """
        SELECT location, format('%s, hour %s: %s of %s slots taken, %s fulfillments hold one', day, hour, coalesce(taken, 0),
                                coalesce(capacity::text, 'any number of'), coalesce(held, 0))
        FROM capacity_slots
        FULL JOIN (
            SELECT f.location, f.slot_day AS day, counted.hour, count(*) AS held
            FROM fulfillments f CROSS JOIN LATERAL (VALUES (-1), (f.slot_hour)) AS counted (hour)
            WHERE f.slot_day IS NOT NULL AND counted.hour IS NOT NULL
              AND (f.accepted_at IS NOT NULL OR f.state NOT IN ('called_off', 'intercepted', 'rejected', 'emptied', 'withdrawn'))
            GROUP BY f.location, f.slot_day, counted.hour
        ) holders USING (location, day, hour)
        WHERE coalesce(taken, 0) <> coalesce(held, 0) OR taken > capacity
        """,
    ),
    Invariant(
        "I7-early-reservations-are-taken-up",
        "a reservation that overtook its order is taken up soon after the order has come",
        """
        SELECT e.order_id::text, format('reservation %s waits since %s', e.event_id, e.received_at)
        FROM early_reservations e JOIN orders o USING (order_id)
        WHERE e.received_at < now() - interval '10 minutes'
        """,
    ),
)

FACTS: Sequence[Fact] = (
    Fact("units_ordered", "SELECT order_id || '|' || line_id, quantity::bigint FROM order_lines WHERE quantity > 0"),
    Fact("units_shipped", "SELECT order_id || '|' || line_id, shipped::bigint FROM order_lines WHERE quantity > 0"),
    Fact("units_cancelled", "SELECT order_id || '|' || line_id, cancelled::bigint FROM order_lines WHERE quantity > 0"),
    Fact("refund_cents_requested", "SELECT refund_id::text, amount_cents FROM refunds"),
)
