"""Changing an order in the console: the preview first, then the change."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from aiohttp import web

from services.portal import asking
from services.portal.api.models import EditPreview
from services.portal.api.operation import Problem
from services.portal.api.previews import completed, preview_with_stock
from services.portal.asking import Answer, ServiceAway
from services.portal.decide.order import OrderView
from services.portal.pages.changing import ADDRESS_LABELS, ChangeForm, line_id_of, read_change
from services.portal.pages.frame import back_to, console_page, stale_form
from services.portal.pages.sessions import Session
from services.portal.reading import as_uuid, read_order_view
from shared.contracts.envelope import new_id
from shared.contracts.orders import (
    Actor,
    OrderChangePending,
    OrderEdited,
    OrderEditRejected,
    OrderPaymentRequested,
    ServiceLevel,
    SplitPolicy,
)

OPERATOR = Actor(kind="support", name="operator")
CHOICES: dict[str, tuple[str, ...]] = {"service_level": get_args(ServiceLevel), "split_policy": get_args(SplitPolicy)}


async def read_change_page(session: Session) -> web.StreamResponse:
    """``GET /console/orders/{order_id}/change``: the form as the order stands."""
    order = await _order(session)
    return _missing(session) if order is None else _show(session, order, ChangeForm({}))


async def change_order(session: Session) -> web.StreamResponse:
    """``POST /console/orders/{order_id}/change``: what a change would do and, on its page, the button that makes it."""
    environment = session.environment
    fields = await session.form("change", of="request_id")
    if fields is None:
        return stale_form(session, f"/console/orders/{session.request.match_info['order_id']}")
    order = await _order(session)
    if order is None:
        return _missing(session)
    change = read_change(order, fields, for_operators=True)
    unknown = {name: "Choose one of the list." for name, known in CHOICES.items() if fields.get(name, "") not in ("", *known)}
    change = replace(change, wrong={**change.wrong, **unknown})
    if change.wrong:
        return _show(session, order, change, problem=change.wrong.get("form", "Nothing was changed: please look at what is marked."))
    back = f"/console/orders/{order.order_id}"
    command = change.command(order.order_id, OPERATOR, "console")
    try:
        lines = [await completed(environment, number, line) for number, line in enumerate(command.line_changes)]
        command = command.model_copy(update={"line_changes": lines})
        if fields.get("step") != "make":
            return _show(session, order, change, preview=await preview_with_stock(environment, command, order))
        answer = await asking.ask(environment, "routing", command, event_id=command.change_id, order_id=order.order_id)
    except ServiceAway as away:
        return back_to(session, back, str(away))
    except Problem as error:
        words = "; ".join(f"{item.problem} ({item.remedy})" for item in error.problems) or str(error)
        return _show(session, order, change, problem=words)
    return back_to(session, back, _words(answer))


async def _order(session: Session) -> OrderView | None:
    order_id = as_uuid(session.request.match_info["order_id"])
    if order_id is None:
        return None
    async with session.environment.database.acquire(timeout=10) as connection:
        order = await read_order_view(connection, order_id)
    return order if order is not None and order.identity is not None else None


def _missing(session: Session) -> web.Response:
    return console_page(session, "console_missing.html", "orders", status=404, what="order")


def _show(session: Session, order: OrderView, form: ChangeForm, *, preview: EditPreview | None = None, problem: str = "") -> web.Response:
    request_id = str(new_id())
    return console_page(
        session,
        "console_change.html",
        "orders",
        status=422 if problem else 200,
        order=order,
        form=form,
        preview=preview,
        problem=problem,
        change={"request_id": request_id, "token": session.token(f"change:{request_id}")},
        address_labels=ADDRESS_LABELS,
        change_line_id=line_id_of,
    )


def _words(answer: Answer) -> str:
    """What routing said to a change, for an operator."""
    for message in answer.messages:
        if isinstance(message, OrderEdited):
            return "The order is changed."
        if isinstance(message, OrderPaymentRequested):
            return f"The change waits until {message.amount_cents} cents ({message.currency}) are paid."
        if isinstance(message, OrderChangePending):
            return "The warehouse is asked; its word decides."
        if isinstance(message, OrderEditRejected):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"
