"""Rows of the database as values of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.routing.decide.fulfillment import Fulfillment, FulfillmentLine, ShortPick, State
from services.routing.decide.order import Attention, Change, Line, Order, PartOfKit, Payment, Promised, Question, StockWait
from services.routing.decide.values import replace

STATES: Mapping[str, State] = {state.value: state for state in State}


def lines_by_order(rows: Iterable[Record]) -> dict[UUID, list[Line]]:
    """Order lines, in the order's order."""
    found: dict[UUID, list[Line]] = {}
    for row in rows:
        order_id, *values, kit_line_id, kit_sku, kit_title, kit_units = row
        line = Line(*values)
        if kit_line_id is not None:
            line = replace(line, kit=PartOfKit(kit_line_id, kit_sku, kit_title, kit_units))
        found.setdefault(order_id, []).append(line)
    return found


def fulfillments_by_order(rows: Iterable[Record]) -> dict[UUID, list[Fulfillment]]:
    """Fulfillments with their lines; the rows of one fulfillment follow each other."""
    grouped: dict[UUID, list[Record]] = {}
    for row in rows:
        grouped.setdefault(row["fulfillment_id"], []).append(row)
    found: dict[UUID, list[Fulfillment]] = {}
    for own in grouped.values():
        found.setdefault(own[0]["order_id"], []).append(_fulfillment(own))
    return found


def _fulfillment(rows: Sequence[Record]) -> Fulfillment:
    first = rows[0]
    return Fulfillment(
        fulfillment_id=first["fulfillment_id"],
        plan_id=first["plan_id"],
        order_version=first["order_version"],
        location=first["location"],
        partner=first["partner"],
        state=STATES[first["state"]],
        carrier=first["carrier"],
        service=first["service"],
        zone=first["zone"],
        shipping_cost_cents=first["shipping_cost_cents"],
        ship_by=first["ship_by"],
        arrives_on=first["arrives_on"],
        planned_at=first["planned_at"],
        lines=tuple(FulfillmentLine(row["line_id"], row["sku"], row["planned"], row["called_off"], row["shipped"]) for row in rows),
        assigned=first["assigned"],
        attempts=first["attempts"],
        due_at=first["due_at"],
        requested_at=first["requested_at"],
        accepted_at=first["accepted_at"],
        tracking_number=first["tracking_number"],
        shipped_at=first["shipped_at"],
        delivered_at=first["delivered_at"],
        ended_because=first["ended_because"],
        short_picks=tuple(
            ShortPick(datetime.fromisoformat(picked_at), tuple((line_id, units) for line_id, units in missing))
            for picked_at, missing in first["short_picks"] or ()
        ),
        return_id=first["return_id"],
        packing=tuple(first["packing"]["instructions"]) if first["packing"] else (),
        slot_day=first["slot_day"],
        slot_hour=first["slot_hour"],
    )


def change_of(row: Record) -> Change:
    """An open change."""
    payment = None
    if row["payment_id"] is not None:
        payment = Payment(row["payment_id"], row["payment_cents"], row["payment"] == "collected")
    return Change(row["change_id"], row["kind"], row["request"], frozenset(row["awaiting"]), row["answer_due_at"], payment)


def question_of(row: Record) -> Question:
    """What a customer was asked about a delay."""
    return Question(row["consent_id"], row["new_ship_at"], row["answer_by"], row["outcome"], row["settled_at"])


def _promised(stored: Mapping[str, Sequence[str | None]] | None) -> dict[str, Promised]:
    promised = {}
    for line_id, (ship_at, told_at) in (stored or {}).items():
        assert told_at is not None
        promised[line_id] = Promised(None if ship_at is None else datetime.fromisoformat(ship_at), datetime.fromisoformat(told_at))
    return promised


def order_of(
    row: Record, lines: Sequence[Line], fulfillments: Sequence[Fulfillment], change: Change | None, question: Question | None
) -> Order:
    """An order with everything that belongs to it."""
    attention = None
    if row["attention_reason"] is not None:
        attention = Attention(row["attention_reason"], row["attention_detail"], row["attention_due_at"])
    return Order(
        order_id=row["order_id"],
        order_version=row["order_version"],
        channel=row["channel"],
        external_id=row["external_id"],
        placed_at=row["placed_at"],
        currency=row["currency"],
        segment=row["segment"],
        service_level=row["service_level"],
        deliver_by=row["deliver_by"],
        shipping_paid_cents=row["shipping_paid_cents"],
        shipping_refunded_cents=row["shipping_refunded_cents"],
        split_policy=row["split_policy"],
        ship_to=row["ship_to"],
        promise_from=row["promise_from"],
        lines=tuple(lines),
        stock_wait=StockWait(row["stock_waiting_for"], row["stock_until"]),
        fulfillments=tuple(fulfillments),
        assignable=row["assignable"] or {},
        excluded_locations=frozenset(row["excluded_locations"]),
        rejections=row["rejections"],
        refused_plans=row["refused_plans"],
        plan_due_at=row["plan_due_at"],
        coming_back_until=row["coming_back_until"],
        change=change,
        attention=attention,
        promised=_promised(row["promised"]),
        original_ship_at=row["original_ship_at"],
        agreed_ship_at=row["agreed_ship_at"],
        open_ended=row["open_ended"],
        question=question,
        holds_lifted=row["holds_lifted"],
        status=row["status"],
        waiting_for=row["waiting_for"],
        waiting_until=row["waiting_until"],
        due_at=row["due_at"],
    )
