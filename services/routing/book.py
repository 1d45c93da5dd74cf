"""The orders of one batch: loaded under lock, changed by rules, saved as a whole, with everything that the rules had to say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from services.routing.decide.capacity import SlotKey
from services.routing.decide.consent import review
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.fulfillment import Fulfillment, FulfillmentLine
from services.routing.decide.order import Line, Order
from services.routing.decide.outcome import Defer, Outcome, Park
from services.routing.decide.planning import Decision
from services.routing.decide.waiting import settled
from services.routing.queries import capacity, changes, consents, fulfillments, orders
from services.routing.queries.changes import ChangeRow
from services.routing.rows import change_of, fulfillments_by_order, lines_by_order, order_of, question_of
from shared.contracts.base import Message
from shared.contracts.orders import (
    OrderCancelled,
    OrderCancelRejected,
    OrderChangePending,
    OrderDelayConsentSettled,
    OrderDelayed,
    OrderEdited,
    OrderEditRejected,
    OrderPaymentRequested,
)
from shared.contracts.returns import RefundRequested
from shared.messaging.message import Connection, Outgoing, Received, Transaction

ChangeAnswer = OrderCancelled | OrderCancelRejected | OrderChangePending | OrderEdited | OrderEditRejected | OrderPaymentRequested


class Book:
    """Collects what becomes of orders during one transaction."""

    def __init__(self, tx: Transaction, deadlines: Deadlines) -> None:
        self.tx = tx
        self.deadlines = deadlines
        self.orders: dict[UUID, Order] = {}
        self.order_of_fulfillment: dict[UUID, UUID] = {}
        self.outgoing: list[Outgoing] = []
        self.touched: dict[UUID, Received[Any] | None] = {}
        self._before: dict[UUID, Order] = {}
        self._decisions: list[Decision] = []
        self._changes: dict[UUID, ChangeRow] = {}
        self._refunds: list[RefundRequested] = []
        self._asked: list[OrderDelayed] = []
        self._settled: list[OrderDelayConsentSettled] = []
        self._payments: dict[UUID, str] = {}

    async def open(self, order_ids: Collection[UUID]) -> None:
        """Loads and locks orders by id; those that are not known are left out."""
        await self._load(await orders.lock_orders(self.tx.connection, sorted(order_ids)))

    async def open_by_fulfillment(self, fulfillment_ids: Collection[UUID]) -> None:
        """Loads and locks the orders that own these fulfillments."""
        await self._load(await orders.lock_orders_of_fulfillments(self.tx.connection, list(fulfillment_ids)))

    async def open_due(self, limit: int) -> None:
        """Loads and locks orders of which something is due."""
        await self._load(await orders.lock_due_orders(self.tx.connection, self.tx.now, limit))

    async def _load(self, rows: Sequence[Record]) -> None:
        for order in await _with_all_of_theirs(self.tx.connection, rows):
            self.orders[order.order_id] = self._before[order.order_id] = order
            for fulfillment in order.fulfillments:
                self.order_of_fulfillment[fulfillment.fulfillment_id] = order.order_id

    def add(self, order: Order, because: Received[Any]) -> None:
        """An order that was inserted in this transaction."""
        self.orders[order.order_id] = self._before[order.order_id] = order
        self.touched[order.order_id] = because

    def apply(self, outcome: Outcome, because: Received[Any] | None, request: Message | None = None) -> None:
        """Takes over what a rule decided; a message that it could not handle is parked or deferred and changes nothing.

        Whatever happened, a question to the customer of which nothing is left ends with it.

        Args:
            outcome: what the rule decided.
            because: the message that caused it.
            request: the change command that it answers, when it is not the order's open change.
        """
        if outcome.problem is not None and because is not None:
            if isinstance(outcome.problem, Park):
                self.tx.park(because, outcome.problem.reason)
            elif isinstance(outcome.problem, Defer):
                self.tx.defer(because, outcome.problem.reason)
            return
        outcome = outcome.then(lambda order: review(order, self.tx.now))
        before = self.orders[outcome.order.order_id]
        self.orders[outcome.order.order_id] = outcome.order
        self.touched[outcome.order.order_id] = because
        for say in outcome.says:
            self.outgoing.append(Outgoing(say.data, subject=str(outcome.order.order_id), because=because, partner=say.partner))
            if isinstance(say.data, ChangeAnswer):
                self._note_answer(before, outcome.order, say.data, request)
            elif isinstance(say.data, RefundRequested):
                self._refunds.append(say.data)
            elif isinstance(say.data, OrderDelayed) and say.data.consent_id is not None:
                self._asked.append(say.data)
            elif isinstance(say.data, OrderDelayConsentSettled):
                self._settled.append(say.data)

    def decide(self, decision: Decision | None) -> None:
        """Keeps the record of a decision."""
        if decision is not None:
            self._decisions.append(decision)

    def answered(self, change_id: UUID) -> ChangeRow | None:
        """The change of this id, if it was answered in this transaction."""
        return self._changes.get(change_id)

    def note_payment(self, change_id: UUID, became: Literal["collected", "paid_back"]) -> None:
        """What became of the money for an edit."""
        self._payments[change_id] = became

    def payment_of(self, change_id: UUID) -> str | None:
        """The same, as far as this transaction has noted it."""
        return self._payments.get(change_id)

    def _note_answer(self, before: Order, after: Order, answer: ChangeAnswer, request: Message | None) -> None:
        pending = isinstance(answer, OrderChangePending | OrderPaymentRequested)
        change = next((item for item in (after.change, before.change) if item is not None and item.change_id == answer.change_id), None)
        # An open change keeps its request as it was understood when it was asked.
        asked = dict(change.request) if change is not None else request.model_dump(mode="json") if request is not None else {}
        payment = None if change is None else change.payment
        self._changes[answer.change_id] = ChangeRow(
            change_id=answer.change_id,
            order_id=answer.order_id,
            kind=_kind_of(answer),
            request=asked,
            awaiting=sorted(change.awaiting) if change is not None else [],
            answer_due_at=change.answer_due_at if change is not None else None,
            answer_type=answer.type,
            answer=answer.model_dump(mode="json"),
            requested_at=self.tx.now,
            answered_at=None if pending else self.tx.now,
            payment_id=None if payment is None else payment.payment_id,
            payment_cents=None if payment is None else payment.amount_cents,
            payment=None if payment is None else "collected" if payment.collected else "asked",
        )

    def slot_changes(self) -> dict[SlotKey, int]:
        """The slots that were taken (above zero) and given back (below it) by what became of the orders so far."""
        changed: dict[SlotKey, int] = {}
        for order_id in self.touched:
            before, after = self._before[order_id].fulfillments, self.orders[order_id].fulfillments
            if before is after:
                continue
            for fulfillments_then, step in ((before, -1), (after, 1)):
                for fulfillment in fulfillments_then:
                    for key in fulfillment.slots:
                        changed[key] = changed.get(key, 0) + step
        return {key: change for key, change in changed.items() if change}

    async def save(self) -> list[Outgoing]:
        """Writes the differences, a statement per table, and returns what there is to publish."""
        connection = self.tx.connection
        changed = []
        for order_id in sorted(self.touched):
            order = self.orders[order_id] = settled(self.orders[order_id], self.tx.now, self.deadlines)
            if order != self._before[order_id]:
                changed.append(order)
        await self._save_lines(changed)
        await self._save_fulfillments(changed)
        slots = self.slot_changes()
        if slots:
            await capacity.change_slots(connection, slots)
        if self._changes:
            await changes.save_changes(connection, list(self._changes.values()))
        if self._payments:
            await changes.note_payments(connection, list(self._payments.items()))
        beyond_progress = [order for order in changed if _beyond_progress(order) != _beyond_progress(self._before[order.order_id])]
        if beyond_progress:
            await orders.update_orders(connection, beyond_progress)
        known = {order.order_id for order in beyond_progress}
        progressed = [order for order in changed if order.order_id not in known]
        if progressed:
            await orders.update_progress(connection, progressed)
        if self._settled:
            await consents.settle_consents(connection, self._settled)
        if self._asked:
            await consents.insert_consents(connection, self._asked, self._settled)
        if self._refunds:
            await changes.insert_refunds(connection, self._refunds, self.tx.now)
        if self._decisions:
            await fulfillments.insert_decisions(connection, self._decisions)
        return self.outgoing

    async def _save_lines(self, changed: Iterable[Order]) -> None:
        new: list[tuple[UUID, int, Line]] = []
        updated: list[tuple[UUID, Line]] = []
        for order in changed:
            known = self._before[order.order_id].lines
            for position, line in enumerate(order.lines):
                if position >= len(known):
                    new.append((order.order_id, position, line))
                elif line is not known[position] and line != known[position]:
                    updated.append((order.order_id, line))
        if new:
            await orders.insert_lines(self.tx.connection, new)
        if updated:
            await orders.update_lines(self.tx.connection, updated)

    async def _save_fulfillments(self, changed: Iterable[Order]) -> None:
        new: list[tuple[UUID, Fulfillment]] = []
        updated: list[Fulfillment] = []
        lines: list[tuple[UUID, FulfillmentLine]] = []
        for order in changed:
            known = {item.fulfillment_id: item for item in self._before[order.order_id].fulfillments}
            for item in order.fulfillments:
                before = known.get(item.fulfillment_id)
                if before is None:
                    new.append((order.order_id, item))
                elif item is not before:
                    updated.append(item)
                    lines.extend(
                        (item.fulfillment_id, line)
                        for line, old in zip(item.lines, before.lines, strict=True)
                        if line is not old and line != old
                    )
        if new:
            await fulfillments.insert_fulfillments(self.tx.connection, new)
            await fulfillments.insert_fulfillment_lines(
                self.tx.connection,
                [(item.fulfillment_id, position, line) for _, item in new for position, line in enumerate(item.lines)],
            )
        if updated:
            await fulfillments.update_fulfillments(self.tx.connection, updated)
        if lines:
            await fulfillments.update_fulfillment_lines(self.tx.connection, lines)


async def open_for_reading(connection: Connection, order_id: UUID) -> Order | None:
    """One order as it stands, not locked: for questions that change nothing."""
    found = await _with_all_of_theirs(connection, await orders.read_orders(connection, [order_id]))
    return found[0] if found else None


async def _with_all_of_theirs(connection: Connection, rows: Sequence[Record]) -> list[Order]:
    """Orders with everything that belongs to them."""
    if not rows:
        return []
    order_ids = [row["order_id"] for row in rows]
    lines = lines_by_order(await orders.read_lines(connection, order_ids))
    parcels = fulfillments_by_order(await fulfillments.read_fulfillments(connection, order_ids))
    open_changes = [row["change_id"] for row in rows if row["change_id"] is not None]
    changes_by_order = {}
    if open_changes:
        changes_by_order = {row["order_id"]: change_of(row) for row in await changes.read_changes(connection, open_changes)}
    asked = [row["consent_id"] for row in rows if row["consent_id"] is not None]
    questions_by_order = {}
    if asked:
        questions_by_order = {row["order_id"]: question_of(row) for row in await consents.read_consents(connection, asked)}
    return [
        order_of(
            row,
            lines.get(row["order_id"], []),
            parcels.get(row["order_id"], []),
            changes_by_order.get(row["order_id"]),
            questions_by_order.get(row["order_id"]),
        )
        for row in rows
    ]


def _beyond_progress(order: Order) -> tuple[object, ...]:
    """What is saved of an order beside its progress."""
    return (
        order.order_version,
        order.ship_to,
        order.service_level,
        order.shipping_paid_cents,
        order.shipping_refunded_cents,
        order.deliver_by,
        order.split_policy,
        order.promise_from,
        order.stock_wait,
        order.assignable,
        order.excluded_locations,
        order.rejections,
        order.refused_plans,
        order.plan_due_at,
        order.coming_back_until,
        order.change,
        order.attention,
        order.promised,
        order.original_ship_at,
        order.agreed_ship_at,
        order.open_ended,
        order.question,
        order.holds_lifted,
    )


def _kind_of(answer: ChangeAnswer) -> str:
    if isinstance(answer, OrderChangePending):
        return answer.change
    return "cancel" if isinstance(answer, OrderCancelled | OrderCancelRejected) else "edit"
