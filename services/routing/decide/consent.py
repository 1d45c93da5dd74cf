"""Whether a customer agrees to wait longer: what each new date asks of them, what silence means, and what follows when they do not agree.

Source: US FTC Mail, Internet, or Telephone Order Merchandise Rule, 16 CFR part 435.

- A seller who stated no shipping date has 30 days from the order, 435.2(a)(1). The first date that a customer is told is the *original*.
- A first delay with a new date at most 30 days after the original: who says nothing agrees, and may call off until it ships,
  435.2(b)(1)(iii).
- A first delay that is longer or has no date: without a yes within 30 days after the original the order is cancelled, 435.2(b)(1)(iv).
- A later delay, beyond the date that was agreed to: without a yes until that date the order is cancelled, 435.2(b)(2).
- Who agreed to wait without a date may call off at any time.

All is about the order as a whole: its date is the latest of its waiting lines, and there is none while one of them has none. Nobody has
less time to answer than ``Deadlines.consent``. Where the rule leaves a choice: docs/decisions/0015-delay-consent.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from services.routing.decide.changes import cancel_unshipped
from services.routing.decide.deadlines import Deadlines
from services.routing.decide.order import Order, Promised, Question, StockWait, live_units
from services.routing.decide.outcome import Outcome, Say
from services.routing.decide.values import replace
from shared.contracts.orders import (
    Actor,
    DelayCause,
    DelayedLine,
    DelayOutcome,
    OrderCancelRequested,
    OrderDelayAnswered,
    OrderDelayAnswerRejected,
    OrderDelayConsentSettled,
    OrderDelayed,
)

RULE_TIME = timedelta(days=30)
"""The rule's time, twice: to ship where no date was stated, and the longest first delay to which silence agrees."""

DELAYS = UUID("c0e9f0a1-7d51-5e0e-9a3b-7d1f2b6f8e44")
"""The name space of delays and their questions, so that the same news has one id for ever (RFC 9562, version 5)."""

CLOCK = Actor(kind="system", name="delay consent")
"""Who cancels when a question was not answered in time."""

MOVED_AGAIN = "consent_id: the date has moved again since; look at the order and answer the newest question"


@dataclass(frozen=True)
class News:
    """What moved an order's dates, and which of its lines."""

    cause: DelayCause
    cause_id: UUID
    at: datetime
    lines: tuple[DelayedLine, ...]


def stated_by(order: Order) -> datetime:
    """By when an order is to ship of which no shipping date was told: 30 days after it was placed, or the delivery date of its channel."""
    by_rule = order.placed_at + RULE_TIME
    return by_rule if order.deliver_by is None else min(by_rule, order.deliver_by)


def original_of(order: Order) -> datetime:
    """The shipping date that the customer was told first, or the one that the rule sets while there was none."""
    return order.original_ship_at or stated_by(order)


def agreed_of(order: Order) -> datetime:
    """The latest shipping date that the customer has agreed to; who waits without a date has agreed to any, see ``open_ended``."""
    return order.agreed_ship_at or original_of(order)


def told_to_wait(order: Order) -> dict[str, int]:
    """Units per line of which allocation has said that they wait for supply, and that still do.

    Units that a plan holds and a shortage has taken wait as well, although the plan is still to be refused.
    """
    if not order.promised:
        return {}
    live = live_units(order)
    waiting = {}
    for line in order.lines:
        if line.line_id in order.promised:
            free = line.unplanned + min(0, line.coming_back)
            units = min(line.open, line.open - max(0, line.coming_back) - free - live.get(line.line_id, 0))
            if units > 0:
                waiting[line.line_id] = units
    return waiting


def ship_date(order: Order) -> datetime | None:
    """When all of an order will have shipped, as far as its waiting lines say; None while one of them has no date, or none waits."""
    dates = [order.promised[line_id].ship_at for line_id in told_to_wait(order)]
    known = [date for date in dates if date is not None]
    return max(known) if known and len(known) == len(dates) else None


def note_dates(order: Order, dates: Mapping[str, datetime | None], at: datetime) -> Order:
    """The order with what allocation said of these lines at a time; what it said later stays."""
    newer = {
        line_id: Promised(date, at)
        for line_id, date in dates.items()
        if order.line(line_id) is not None and (line_id not in order.promised or order.promised[line_id].told_at <= at)
    }
    return replace(order, promised={**order.promised, **newer}) if newer else order


def forget_covered(order: Order) -> Order:
    """The order without the dates of lines that have all their units by now."""
    if not order.promised:
        return order
    waiting = told_to_wait(order)
    if len(waiting) == len(order.promised):
        return order
    return replace(order, promised={line_id: promised for line_id, promised in order.promised.items() if line_id in waiting})


def accept_dates(order: Order, dates: Mapping[str, datetime | None]) -> Order:
    """The order whose customer was told these dates on buying, or on adding lines: they are agreed to, however late.

    While no line has a date there is no original; the first date that is told becomes it, if it is within the rule's time.
    """
    known = [date for date in dates.values() if date is not None]
    if not known:
        return order
    stated = max([*known, *([stated_by(order)] if len(known) < len(dates) else [])])
    original = stated if order.original_ship_at is None else max(order.original_ship_at, stated)
    agreed = None if order.agreed_ship_at is None else max(order.agreed_ship_at, stated)
    return replace(order, original_ship_at=original, agreed_ship_at=agreed)


def tell(order: Order, old_ship_at: datetime | None, news: News, now: datetime, deadlines: Deadlines) -> Outcome:
    """Decides what a customer is to be told of an order's new date, and whether they must agree to it.

    Args:
        order: the order, with its new dates.
        old_ship_at: when all of it was to ship before; None without a date.
        news: what moved them.
        now: the time.
        deadlines: how long customers have to answer at least.
    """
    if _given_up(order):
        return Outcome(order)
    new = ship_date(order)
    if order.open_ended or (new is not None and new <= agreed_of(order)):
        agreed = _agree_to(order, new)
        return review(agreed, now).then(lambda settled: _say(settled, old_ship_at, news, now))
    first = order.agreed_ship_at is None
    original = original_of(order)
    consent_id = uuid5(DELAYS, f"question {order.order_id} {news.cause_id} {news.at.isoformat()}")
    if first and new is not None and new <= original + RULE_TIME:
        agreed = replace(order, original_ship_at=original, agreed_ship_at=new)
        asked = replace(agreed, question=Question(consent_id, new, None))
        return _close(agreed, "not_needed", now).then(lambda _: _say(asked, old_ship_at, news, now, "silence"))
    known = order.question
    if known is not None and order.answer_by is not None and known.new_ship_at == new:
        # Nothing to ask beyond what is being asked: the lines moved, the order's date did not.
        return _say(order, old_ship_at, news, now, "required")
    answer_by = max(original + RULE_TIME if first else agreed_of(order), now + deadlines.consent)
    asked = replace(order, question=Question(consent_id, new, answer_by))
    return _close(order, "replaced", now).then(lambda _: _say(asked, old_ship_at, news, now, "required"))


def _given_up(order: Order) -> bool:
    """Whether what has not shipped is being cancelled, as soon as the warehouse lets it: nothing is told or asked any more."""
    return order.question is not None and order.question.outcome in ("refused", "lapsed")


def _agree_to(order: Order, ship_at: datetime | None) -> Order:
    """The order when its new date needs nobody's consent. The first date that is told at all is the original; an open-ended wait ends with
    a date."""
    if ship_at is None:
        return order
    if order.open_ended:
        return replace(order, open_ended=False, agreed_ship_at=max(agreed_of(order), ship_at))
    return replace(order, original_ship_at=ship_at) if order.original_ship_at is None else order


def _say(order: Order, old_ship_at: datetime | None, news: News, now: datetime, consent: str = "not_needed") -> Outcome:
    question = order.question if consent != "not_needed" else None
    event = OrderDelayed.model_validate(
        {
            "order_id": order.order_id,
            "order_version": order.order_version,
            "delay_id": uuid5(DELAYS, f"{order.order_id} {news.cause_id} {news.at.isoformat()}"),
            "cause": news.cause,
            "cause_id": news.cause_id,
            "old_ship_at": old_ship_at,
            "new_ship_at": ship_date(order),
            "consent": consent,
            "consent_id": None if question is None else question.consent_id,
            "answer_by": None if question is None else question.answer_by,
            "lines": news.lines,
            "told_at": now,
        }
    )
    return Outcome(order, (Say(event),))


def _settled(order: Order, question: Question) -> Say:
    assert question.outcome is not None
    assert question.settled_at is not None
    return Say(
        OrderDelayConsentSettled(
            order_id=order.order_id,
            order_version=order.order_version,
            consent_id=question.consent_id,
            outcome=question.outcome,
            agreed_ship_at=None if order.open_ended else agreed_of(order),
            settled_at=question.settled_at,
        )
    )


def _settle(order: Order, question: Question, outcome: DelayOutcome, now: datetime) -> Outcome:
    settled = replace(question, outcome=outcome, settled_at=now)
    order = replace(order, question=settled)
    return Outcome(order, (_settled(order, settled),))


def _close(order: Order, outcome: DelayOutcome, now: datetime) -> Outcome:
    """The end of a question that is open, if there is one."""
    if order.question is None or order.answer_by is None:
        return Outcome(order)
    return _settle(order, order.question, outcome, now)


def review(order: Order, now: datetime) -> Outcome:
    """Ends an open question of which nothing is left: the goods have come, or the date is no later than what was agreed to, or the order
    was changed. Whatever happens to an order goes through here."""
    if order.answer_by is None:
        return Outcome(order)
    if told_to_wait(order):
        date = ship_date(order)
        if date is None or date > agreed_of(order):
            return Outcome(order)
    return _close(order, "not_needed", now)


def asks_at(order: Order) -> datetime | None:
    """When a customer must be asked of whose order some units wait without a date: by the day until which they agreed to wait."""
    if order.open_ended or order.stock_wait.waiting_for != "stock" or order.answer_by is not None or _given_up(order):
        return None
    return agreed_of(order) if told_to_wait(order) and ship_date(order) is None else None


def ask_on_the_day(order: Order, now: datetime, deadlines: Deadlines) -> Outcome:
    """Asks the customer when the day has come by which the order was to ship and there is still no date: an indefinite delay."""
    due_at = asks_at(order) if order.change is None else None
    if due_at is None or due_at > now:
        return Outcome(order)
    skus = {line.line_id: line.sku for line in order.lines}
    lines = tuple(
        DelayedLine(line_id=line_id, sku=skus[line_id], quantity=units, old_ship_at=date, new_ship_at=date)
        for line_id, units in told_to_wait(order).items()
        for date in (order.promised[line_id].ship_at,)
    )
    cause_id = uuid5(DELAYS, f"no date {order.order_id} {due_at.isoformat()}")
    return tell(order, None, News("no_date", cause_id, due_at, lines), now, deadlines)


def overdue_answer(order: Order, now: datetime) -> OrderCancelRequested | None:
    """The cancellation that is due because nobody answered in time; None while a change is open, which may yet make it needless."""
    if order.question is None or order.answer_by is None or order.answer_by > now or order.change is not None:
        return None
    return OrderCancelRequested(order_id=order.order_id, change_id=order.question.consent_id, actor=CLOCK, reason="delay_not_answered")


def lapse(order: Order, cancellation: OrderCancelRequested, now: datetime, deadlines: Deadlines) -> Outcome:
    """Nobody answered in time: what has not shipped is cancelled and refunded."""
    return _close(order, "lapsed", now).then(lambda settled: cancel_unshipped(settled, cancellation, now, deadlines))


def refused_wait(order: Order, answer: OrderDelayAnswered) -> OrderCancelRequested | None:
    """The cancellation that an answer asks for: a no to the newest delay, while units still wait and no other change is open."""
    question = order.question
    if answer.answer != "no" or question is None or question.consent_id != answer.consent_id or order.change is not None:
        return None
    if question.outcome not in (None, "consented") or not told_to_wait(order):
        return None
    return OrderCancelRequested(order_id=order.order_id, change_id=answer.consent_id, actor=answer.actor, reason="delay_refused")


def hear_answer(
    order: Order,
    answer: OrderDelayAnswered,
    asked: Question | None,
    cancellation: OrderCancelRequested | None,
    now: datetime,
    deadlines: Deadlines,
) -> Outcome:
    """A customer's answer: agreed, called off, or an answer that decides nothing, with the reason.

    Args:
        order: the order.
        answer: what was said, and about which question.
        asked: that question as it stands; None when the order never had it.
        cancellation: what :func:`refused_wait` made of the answer.
        now: the time.
        deadlines: how long 3PLs may take.
    """
    if asked is None:
        return _reject(order, answer, "unknown_question", "consent_id: this order has no such question; look at the order again")
    if cancellation is not None:
        settled = _settle(order, asked, "refused", now)
        return settled.then(lambda changed: cancel_unshipped(changed, cancellation, now, deadlines))
    said_before: DelayOutcome = "consented" if answer.answer == "yes" else "refused"
    if asked.outcome == said_before:
        return Outcome(order, (_settled(order, asked),))
    if asked.outcome == "replaced":
        return _reject(order, answer, "replaced", MOVED_AGAIN)
    if asked.outcome == "lapsed" or (asked.outcome is None and asked.answer_by is not None and answer.answered_at > asked.answer_by):
        due = "" if asked.answer_by is None else f" by {asked.answer_by:%Y-%m-%d %H:%M} UTC"
        return _reject(order, answer, "too_late", f"the answer was due{due}; what had not shipped is cancelled")
    if asked.outcome == "refused":
        return _reject(order, answer, "already_settled", "the order was called off before; what had not shipped is cancelled")
    if asked.outcome == "not_needed" or not told_to_wait(order):
        return _reject(order, answer, "not_needed", "nothing of the order waits beyond what was agreed; to call it off, cancel the order")
    if answer.answer == "no" and order.change is not None:
        return _reject(order, answer, "change_in_progress", "a change of the order is open until the warehouse answers; try again then")
    if order.question is None or order.question.consent_id != asked.consent_id:
        return _reject(order, answer, "replaced", MOVED_AGAIN)
    return _consent(order, asked, now, deadlines)


def _consent(order: Order, question: Question, now: datetime, deadlines: Deadlines) -> Outcome:
    original = original_of(order)
    if question.new_ship_at is None:
        # A person looks after the rule's time, and not at once because the old date has passed.
        wait = StockWait(order.stock_wait.waiting_for, max(order.stock_wait.until, now + deadlines.stock))
        agreed = replace(order, original_ship_at=original, open_ended=True, stock_wait=wait)
    else:
        agreed = replace(order, original_ship_at=original, agreed_ship_at=max(agreed_of(order), question.new_ship_at))
    return _settle(agreed, question, "consented", now)


def _reject(order: Order, answer: OrderDelayAnswered, reason: str, detail: str) -> Outcome:
    rejected = OrderDelayAnswerRejected.model_validate(
        {"order_id": order.order_id, "consent_id": answer.consent_id, "reason": reason, "detail": detail}
    )
    return Outcome(order, (Say(rejected),))
