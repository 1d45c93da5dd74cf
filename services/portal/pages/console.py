"""The operators' console: find an order and see everything about it, set messages going again, decide what waits for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from uuid import NAMESPACE_URL, UUID, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking, neighbours, queries
from services.portal.api.outcomes import problem_of
from services.portal.asking import Answer, Reply, ServiceAway
from services.portal.decide.traces import flatten
from services.portal.pages.frame import back_to as _back
from services.portal.pages.frame import console_page as _page
from services.portal.pages.frame import stale_form as _stale
from services.portal.pages.messages import about_order
from services.portal.pages.rendering import see_other
from services.portal.pages.sessions import Session
from services.portal.reading import as_uuid, read_order_view, read_order_views
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.orders import (
    Actor,
    LineToCancel,
    OrderCancelled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderChangePending,
    OrderDelayAnswered,
    OrderDelayAnswerRejected,
    OrderDelayConsentSettled,
    OrderEdited,
)
from shared.contracts.stock import ShortagePolicyRequested, StockAdjusted, StockAdjustmentRejected, StockAdjustmentRequested
from shared.messaging.reading import problems_of
from shared.service import Environment

ORDERS_SHOWN = 50
ADJUSTMENT_FIELDS = ("request_id", "sku", "location", "expected_on_hand", "new_on_hand")
OPERATOR = Actor(kind="support", name="operator")


async def go_to_orders(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /``: whoever comes without a link is an operator."""
    return see_other(environment, "/console")


async def say_missing(session: Session) -> web.StreamResponse:
    """Any other address under ``/console``: there is nothing, and here is the way back; behind ``/console/stock/`` the way to the SKU."""
    path = session.request.match_info["path"]
    if not path:
        return see_other(session.environment, "/console")
    sku = path.removeprefix("stock/") if path.startswith("stock/") else ""
    return _page(session, "console_missing.html", "", status=404, what="page", sku=sku[:64])


async def search_orders(session: Session) -> web.StreamResponse:
    """``GET /console?query=``: orders by id, number, e-mail address or tracking number; the newest without a query."""
    query = session.request.query.get("query", "").strip()[:300]
    async with session.environment.database.acquire(timeout=10) as connection:
        if query:
            rows = await queries.search_orders(connection, query, as_uuid(query), ORDERS_SHOWN)
        else:
            rows = await queries.newest_orders(connection, ORDERS_SHOWN)
        views = await read_order_views(connection, rows)
    return _page(session, "console_orders.html", "orders", query=query, orders=views)


async def read_order(session: Session) -> web.StreamResponse:
    """``GET /console/orders/{order_id}``: one order across all services."""
    environment = session.environment
    order_id = as_uuid(session.request.match_info["order_id"])
    if order_id is None:
        return _page(session, "console_missing.html", "orders", status=404, what="order")
    async with environment.database.acquire(timeout=10) as connection:
        order = await read_order_view(connection, order_id)
        notifications = await queries.read_notifications(connection, order_id)
    routing, stock, channel_order, trace, parked, retrying = await asyncio.gather(
        neighbours.routing_of(environment, order_id),
        neighbours.stock_of(environment, order_id),
        neighbours.channel_order(environment, order_id),
        neighbours.read_trace(environment, order_id),
        neighbours.list_waiting(environment, "parked"),
        neighbours.list_waiting(environment, "retry"),
    )
    if order is None and not trace.roots:
        return _page(session, "console_missing.html", "orders", status=404, what="order")
    cancel_id, delay_id = str(new_id()), str(new_id())
    return _page(
        session,
        "console_order.html",
        "orders",
        order_id=order_id,
        order=order,
        notifications=notifications,
        routing=routing,
        stock=stock,
        channel_order=channel_order,
        trace_rows=flatten(trace.roots),
        trace_away=trace.away,
        parked=about_order(order_id, parked),
        retrying=about_order(order_id, retrying),
        redrive_token=session.token("redrive"),
        retry_token=session.token("retry"),
        cancel={"request_id": cancel_id, "token": session.token(f"cancel:{cancel_id}")},
        answer_delay={"request_id": delay_id, "token": session.token(f"delay:{delay_id}")},
    )


def _words(answer: Answer) -> str:
    """What routing said to a cancellation or about a delay, for an operator."""
    for message in sorted(answer.messages, key=lambda message: isinstance(message, OrderDelayConsentSettled)):
        if isinstance(message, OrderDelayConsentSettled):
            return f"The customer's answer is taken: {message.outcome}."
        if isinstance(message, OrderDelayAnswerRejected):
            return f"Refused ({message.reason}): {message.detail}"
        if isinstance(message, OrderCancelled):
            return "The order is cancelled."
        if isinstance(message, OrderEdited):
            missed = "; ".join(f"not line {line.line_id} ({line.quantity}): {line.detail}" for line in message.not_cancelled)
            units = sum(line.quantity for line in message.cancelled)
            return f"{units} units are cancelled{'; ' if missed else ''}{missed}."[:500]
        if isinstance(message, OrderChangePending):
            return "The warehouse is asked; its word decides."
        if isinstance(message, OrderCancelRejected):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"


async def cancel_order(session: Session) -> web.StreamResponse:
    """``POST /console/orders/{order_id}/cancel``."""
    order_id = as_uuid(session.request.match_info["order_id"])
    fields = await session.form("cancel", of="request_id")
    if order_id is None or fields is None:
        return _stale(session, f"/console/orders/{session.request.match_info['order_id']}")
    change_id = uuid5(order_id, f"console cancel {fields['request_id']}")
    reason = fields.get("reason", "").strip()[:120] or "cancelled by an operator"
    command = OrderCancelRequested(order_id=order_id, change_id=change_id, actor=OPERATOR, reason=reason)
    notice = await _told(session, command, change_id, order_id)
    return _back(session, f"/console/orders/{order_id}", notice)


async def cancel_lines(session: Session) -> web.StreamResponse:
    """``POST /console/orders/{order_id}/cancel-lines``: calls off the units that were filled in, and nothing else."""
    order_id = as_uuid(session.request.match_info["order_id"])
    fields = await session.form("cancel", of="request_id")
    if order_id is None or fields is None:
        return _stale(session, f"/console/orders/{session.request.match_info['order_id']}")
    back = f"/console/orders/{order_id}"
    named = [(name.removeprefix("units "), text.strip()) for name, text in fields.items() if name.startswith("units ") and text.strip()]
    lines = []
    for line_id, text in [(line_id, text) for line_id, text in named if text != "0"]:
        try:
            lines.append(LineToCancel.model_validate({"line_id": line_id, "quantity": _count(text)}))
        except ValidationError:
            return _back(session, back, f"Nothing was cancelled. Line {line_id[:64]}: {text[:20]!r} is no whole number of units.")
    if not lines:
        return _back(session, back, "Nothing was cancelled: fill in how many units of which line.")
    # One page has two buttons: what was asked for is part of the request's name.
    asked = " ".join(f"{line.line_id}={line.quantity}" for line in lines)
    change_id = uuid5(order_id, f"console cancel {fields['request_id']} {asked}")
    reason = fields.get("reason", "").strip()[:120] or "cancelled by an operator"
    command = OrderCancelRequested(order_id=order_id, change_id=change_id, actor=OPERATOR, reason=reason, lines=lines)
    return _back(session, back, await _told(session, command, change_id, order_id))


async def answer_delay(session: Session) -> web.StreamResponse:
    """``POST /console/orders/{order_id}/delay``: what the customer said to an operator."""
    order_id = as_uuid(session.request.match_info["order_id"])
    fields = await session.form("delay", of="request_id")
    if order_id is None or fields is None:
        return _stale(session, f"/console/orders/{session.request.match_info['order_id']}")
    try:
        command = OrderDelayAnswered.model_validate(
            {
                "order_id": order_id,
                "consent_id": fields.get("consent_id"),
                "answer": fields.get("answer"),
                "actor": OPERATOR,
                "answered_at": session.environment.now(),
            }
        )
    except ValidationError:
        return _stale(session, f"/console/orders/{order_id}")
    event_id = uuid5(order_id, f"console delay {fields['request_id']} {command.answer}")
    return _back(session, f"/console/orders/{order_id}", await _told(session, command, event_id, order_id))


async def _told(session: Session, command: Message, event_id: UUID, order_id: UUID) -> str:
    try:
        return _words(await asking.ask(session.environment, "routing", command, event_id=event_id, order_id=order_id))
    except ServiceAway as away:
        return str(away)


async def list_attention(session: Session) -> web.StreamResponse:
    """``GET /console/attention``: what no service can bring forward alone: orders, refunds, mails."""
    environment = session.environment
    orders, refunds = await asyncio.gather(neighbours.attention(environment), neighbours.failed_refunds(environment))
    async with environment.database.acquire(timeout=10) as connection:
        mails = await queries.failed_notifications(connection, ORDERS_SHOWN)
    return _page(
        session,
        "console_attention.html",
        "attention",
        orders=orders,
        refunds=refunds,
        mails=mails,
        retry_token=session.token("retry"),
    )


async def retry_order(session: Session) -> web.StreamResponse:
    """``POST /console/orders/{order_id}/retry``: the trouble is dealt with, routing may plan the order again."""
    order_id = as_uuid(session.request.match_info["order_id"])
    if order_id is None or await session.form("retry") is None:
        return _stale(session, "/console/attention")
    return await _retried(session, neighbours.retry_order(session.environment, order_id), "The order is planned again.")


async def retry_refund(session: Session) -> web.StreamResponse:
    """``POST /console/refunds/{refund_id}/retry``: has the channel try a refund again."""
    refund_id = as_uuid(session.request.match_info["refund_id"])
    if refund_id is None or await session.form("retry") is None:
        return _stale(session, "/console/attention")
    return await _retried(session, neighbours.retry_refund(session.environment, refund_id), "The refund is tried again.")


async def _retried(session: Session, retry: Awaitable[Reply], done: str) -> web.Response:
    try:
        reply = await retry
    except ServiceAway as away:
        return _back(session, "/console/attention", str(away))
    return _back(session, "/console/attention", done if reply.succeeded else f"Not done: {problem_of(reply)}")


async def retry_mail(session: Session) -> web.StreamResponse:
    """``POST /console/mails/{order_id}/{kind}/{cause_id}/retry``: sends a mail again that was given up."""
    match = session.request.match_info
    order_id, cause_id = as_uuid(match["order_id"]), as_uuid(match["cause_id"])
    if order_id is None or cause_id is None or await session.form("retry") is None:
        return _stale(session, "/console/attention")
    async with session.environment.database.acquire(timeout=10) as connection:
        found = await queries.retry_notification(connection, order_id, match["kind"], cause_id, session.environment.now())
    return _back(session, "/console/attention", "The mail is sent again." if found else "This mail does not wait any more.")


async def read_stock(session: Session) -> web.StreamResponse:
    """``GET /console/stock?sku=&after=``: one SKU at every location with who waits for it, or all SKUs page by page."""
    environment = session.environment
    sku, after = session.request.query.get("sku", "").strip()[:64], session.request.query.get("after", "")[:64]
    document, supplies, policy, feeds, away = None, None, None, {}, None
    try:
        reply = await (neighbours.read_stock(environment, sku) if sku else neighbours.list_stock(environment, after))
        document = reply.document if reply.succeeded else None
        if sku and document:
            supplies = (await neighbours.read_supplies(environment, sku)).document
            told = await neighbours.list_feeds(environment)
            feeds = {feed["location"]: feed for feed in told.document["feeds"]} if told.succeeded else {}
        if not sku:
            chosen = await neighbours.read_shortage_policy(environment)
            policy = chosen.document if chosen.succeeded else None
    except ServiceAway as error:
        away = str(error)
    adjustment_id = str(new_id())
    return _page(
        session,
        "console_stock.html",
        "stock",
        sku=sku,
        document=document,
        supplies=supplies,
        feeds=feeds,
        away=away,
        adjustment={"request_id": adjustment_id, "token": session.token(f"adjust:{adjustment_id}")},
        policy=policy,
        choice={"request_id": adjustment_id, "token": session.token(f"shortage policy:{adjustment_id}")},
    )


async def set_shortage_policy(session: Session) -> web.StreamResponse:
    """``POST /console/shortage-policy``: chooses whose reserved units a shortage takes first."""
    fields = await session.form("shortage policy", of="request_id")
    if fields is None:
        return _stale(session, "/console/stock")
    try:
        command = ShortagePolicyRequested.model_validate(
            {
                "change_id": uuid5(NAMESPACE_URL, f"{fields.get('request_id', '')}\n{fields.get('policy', '')}"),
                "policy": fields.get("policy"),
                "operator": OPERATOR.name,
            }
        )
    except ValidationError as error:
        problem = problems_of(error, "the form")[0]
        return _back(session, "/console/stock", f"Nothing was changed. {problem.field}: {problem.problem}")
    try:
        answer = await asking.ask(session.environment, "allocation", command, event_id=command.change_id)
    except ServiceAway as away:
        return _back(session, "/console/stock", str(away))
    said = "The shortage policy is set." if answer.status == "done" else f"Not done: {answer.reason or answer.status}"
    return _back(session, "/console/stock", "Handled before." if answer.status == "duplicate" else said)


async def adjust_stock(session: Session) -> web.StreamResponse:
    """``POST /console/stock``: sets what is on one shelf, unless the shelf has changed since the page was shown."""
    fields = await session.form("adjust", of="request_id")
    if fields is None:
        return _stale(session, "/console/stock")
    try:
        command = StockAdjustmentRequested.model_validate(
            {
                # One page has a form for each shelf: what is asked for is part of the request's name.
                "adjustment_id": uuid5(NAMESPACE_URL, "\n".join(fields.get(name, "") for name in ADJUSTMENT_FIELDS)),
                "sku": fields.get("sku"),
                "location": fields.get("location"),
                "new_on_hand": _count(fields.get("new_on_hand", "")),
                "expected_on_hand": _count(fields.get("expected_on_hand", "")),
                "reason": fields.get("reason", "").strip(),
                "operator": OPERATOR.name,
            }
        )
    except ValidationError as error:
        problem = problems_of(error, "the form")[0]
        return _back(session, "/console/stock", f"Nothing was changed. {problem.field}: {problem.problem}")
    try:
        answer = await asking.ask(session.environment, "allocation", command, event_id=command.adjustment_id)
    except ServiceAway as away:
        return _back(session, "/console/stock", str(away))
    return see_other(session.environment, session.address_with("/console/stock", _words_of_adjustment(answer), sku=command.sku))


def _count(text: str) -> int | str:
    """A whole number, or the text itself for the contract to complain about."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text


def _words_of_adjustment(answer: Answer) -> str:
    for message in answer.messages:
        if isinstance(message, StockAdjusted):
            return f"{message.sku} at {message.location}: {message.old_on_hand} is now {message.new_on_hand}."
        if isinstance(message, StockAdjustmentRejected):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"
