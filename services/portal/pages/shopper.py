"""The shopper's order page: see, change, cancel, send back. Opened by the signed link of an e-mail, and by nothing else."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode
from uuid import UUID, uuid5

import structlog
from aiohttp import web
from pydantic import ValidationError

from services.portal import asking, neighbours
from services.portal.access import LinkSigner
from services.portal.api.models import EditPreview
from services.portal.api.operation import Problem
from services.portal.api.previews import completed, preview_with_stock
from services.portal.decide.bought import ReturnableUnits, returnable_units
from services.portal.decide.order import OrderView
from services.portal.links import signer_of
from services.portal.pages import offers
from services.portal.pages.answers import (
    ANSWERS,
    Notice,
    answer_to_cancel,
    answer_to_change,
    answer_to_delay,
    answer_to_return,
    notice_of,
    words_of_refusal,
)
from services.portal.pages.changing import ADDRESS_LABELS, ChangeForm, line_id_of, marked, read_change
from services.portal.pages.offers import Found
from services.portal.pages.rendering import comes_from_our_page, page, read_form, security_headers, see_other
from services.portal.reading import read_order_view
from shared.contracts.envelope import new_id
from shared.contracts.orders import Actor, OrderCancelRequested, OrderDelayAnswered, OrderEditRequested
from shared.contracts.returns import ReturnAuthorisationRequested, ReturnLine
from shared.service import Environment

log = structlog.get_logger()

SHOPPER = Actor(kind="shopper", name="shopper")

CANCEL_REASONS = {
    "changed_mind": "I changed my mind",
    "ordered_by_mistake": "I ordered by mistake",
    "takes_too_long": "It takes too long",
    "better_price": "I found a better price",
    "other": "Another reason",
}
RETURN_REASONS = {
    "changed_mind": "I changed my mind",
    "wrong_size": "It does not fit",
    "defective": "It does not work",
    "damaged_in_transit": "It arrived damaged",
    "wrong_item": "It is not what I ordered",
    "late": "It came too late",
    "other": "Another reason",
}


@dataclass(frozen=True)
class Visit:
    """A visitor whose key opens the order."""

    order_id: UUID
    key: str
    signer: LinkSigner

    @property
    def path(self) -> str:
        """The order page."""
        return f"/orders/{self.order_id}"

    def address(self, answer: str | None = None) -> str:
        """The order page with the visitor's key, and what to say on it, sealed: only we can have our page say something."""
        query = {"key": self.key} | ({"answer": answer, "seal": self.token("answer", answer)} if answer else {})
        return f"{self.path}?{urlencode(query)}"

    def action(self, name: str) -> str:
        """Where a form of this page goes."""
        return f"{self.path}/{name}?{urlencode({'key': self.key})}"

    def token(self, name: str, request_id: str) -> str:
        """The hidden token of a form."""
        return self.signer.form_token(self.key, f"{name}:{request_id}")

    def answer_in(self, query: Mapping[str, str]) -> str | None:
        """The answer in the address of the page, if we put it there for this visitor."""
        answer, seal = query.get("answer", ""), query.get("seal", "")
        if not answer.isascii() or not seal.isascii():
            return None
        return answer if self.signer.form_is_ours(seal, self.key, f"answer:{answer}") else None

    def seal_of(self, command: OrderEditRequested) -> str:
        """Stands in the form of a previewed change, and in no other: what is asked for, with the prices that were shown."""
        content = command.model_dump_json(exclude={"change_id"})
        return self.token("seen", hashlib.sha256(content.encode()).hexdigest())

    def has_seen(self, command: OrderEditRequested, fields: Mapping[str, str]) -> bool:
        """Whether the visitor was shown what exactly this change would do."""
        seen = fields.get("seen", "")
        return seen.isascii() and hmac.compare_digest(seen, self.seal_of(command))

    def form_is_ours(self, name: str, form: Mapping[str, str]) -> bool:
        """Whether a form came from a page shown to this visitor."""
        return self.signer.form_is_ours(form.get("token", ""), self.key, f"{name}:{form.get('request_id', '')}")


def _visit(environment: Environment, request: web.Request) -> Visit | None:
    """The visitor, or None for whoever has no valid key: before anything is looked up, so nothing can be learnt from the answer."""
    try:
        order_id = UUID(request.match_info["order_id"])
    except ValueError:
        return None
    key = request.query.get("key", "")
    signer = signer_of(environment.settings)
    if not key.isascii() or not signer.opens(key, order_id, environment.now()):
        return None
    return Visit(order_id, key, signer)


def not_found(environment: Environment) -> web.Response:
    """One answer for a wrong link, an old link, and an order that does not exist."""
    return page(environment, "not_found.html", status=404)


async def _order(environment: Environment, visit: Visit) -> OrderView | None:
    async with environment.database.acquire(timeout=10) as connection:
        view = await read_order_view(connection, visit.order_id)
    return view if view is not None and view.identity is not None else None


async def read_order_page(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}?key=``: everything a shopper wants to know of an order."""
    visit = _visit(environment, request)
    order = await _order(environment, visit) if visit else None
    if visit is None or order is None:
        return not_found(environment)
    answer = visit.answer_in(request.query)
    return await _show(environment, visit, order, None if answer is None else notice_of(answer, order))


async def _returnable(environment: Environment, order: OrderView) -> Sequence[ReturnableUnits]:
    """How much of each piece may come back, and until when, as returns says; what was shipped while it does not answer."""
    shown = await neighbours.returnable_of(environment, order.order_id) if order.may_ask_to_return else neighbours.Shown()
    return returnable_units(order.pieces, shown.document["lines"] if shown.document else None)


async def _show(
    environment: Environment,
    visit: Visit,
    order: OrderView,
    notice: Notice | None,
    *,
    filled_in: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    change_form: ChangeForm | None = None,
    preview: EditPreview | None = None,
    seen: str = "",
    look_again: bool = False,
) -> web.Response:
    """The page. ``filled_in`` and ``wrong`` are a return form that could not be sent on, and what is wrong by field; ``change_form`` and
    ``preview`` a change that was filled in, and what it would do (sealed in ``seen``; ``look_again``: it is not what was shown before)."""
    change_refusal = words_of_refusal(preview.refusal.reason) if preview and preview.refusal else ""
    if change_form and preview and preview.refusal:
        change_form = marked(change_form, preview.refusal.detail)
        change_refusal = "Nothing was changed: please look at what is marked." if change_form.wrong else change_refusal
    cancel_id, return_id, delay_id, change_id = (str(new_id()) for _ in range(4))
    may_add = offers.may_add(environment.settings, order)
    found = await offers.offers_for(environment, order, change_form.fields) if may_add and change_form else Found()
    return page(
        environment,
        "order.html",
        order=order,
        visit=visit,
        notice=notice,
        cancel={"request_id": cancel_id, "token": visit.token("cancel", cancel_id)},
        send_back={"request_id": return_id, "token": visit.token("returns", return_id)},
        answer_delay={"request_id": delay_id, "token": visit.token("delay", delay_id)},
        change={"request_id": change_id, "token": visit.token("change", change_id)},
        may_change=environment.settings.shopper_changes and order.may_ask_to_change,
        may_add=may_add,
        found=found,
        change_form=change_form,
        preview=preview,
        seen=seen,
        look_again=look_again,
        change_refusal=change_refusal,
        address_labels=ADDRESS_LABELS,
        change_line_id=line_id_of,
        cancel_reasons=CANCEL_REASONS,
        return_reasons=RETURN_REASONS,
        returnable=await _returnable(environment, order),
        filled_in=filled_in or {},
        wrong=wrong or {},
        status=422 if wrong or (change_form and change_form.wrong) else 200,
    )


async def _form(environment: Environment, request: web.Request, name: str) -> tuple[Visit, OrderView, dict[str, str]] | web.Response:
    """The visitor, the order and the fields of a form that one of our pages sent; or the answer to anything else."""
    visit = _visit(environment, request)
    order = await _order(environment, visit) if visit else None
    if visit is None or order is None:
        return not_found(environment)
    fields = await read_form(request)
    if not comes_from_our_page(environment, request) or not visit.form_is_ours(name, fields):
        return page(environment, "stale_form.html", status=403, address=visit.address())
    return visit, order, fields


async def cancel_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/cancel``: asks routing, which decides."""
    form = await _form(environment, request, "cancel")
    if isinstance(form, web.Response):
        return form
    visit, _, fields = form
    change_id = uuid5(visit.order_id, f"shopper cancel {fields['request_id']}")
    reason = fields.get("reason", "other")
    command = OrderCancelRequested(
        order_id=visit.order_id, change_id=change_id, actor=SHOPPER, reason=reason if reason in CANCEL_REASONS else "other"
    )
    try:
        answer = await asking.ask(environment, "routing", command, event_id=change_id, order_id=visit.order_id)
    except asking.ServiceAway as away:
        log.warning("cancel_unanswered", service=away.service, detail=away.detail, order_id=str(visit.order_id))
        return see_other(environment, visit.address("try_again"))
    return see_other(environment, visit.address(answer_to_cancel(answer)))


async def change_order(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/change``: looks for products to add, shows what a change would do, or asks routing to make it: what was
    shown, on the version that was looked at, and nothing else."""
    form = await _form(environment, request, "change")
    if isinstance(form, web.Response):
        return form
    visit, order, fields = form
    if not environment.settings.shopper_changes:
        return not_found(environment)
    makes = fields.get("step") == "make"
    if makes and _is_known(order, ChangeForm(fields).change_id(order.order_id, "shopper")):
        return see_other(environment, visit.address("already_done"))
    may_add = offers.may_add(environment.settings, order)
    if may_add and offers.asks_to_search(fields):
        return await _show(environment, visit, order, None, change_form=ChangeForm(fields))
    change = read_change(order, fields, may_add=may_add)
    if change.wrong:
        return await _show(environment, visit, order, None, change_form=change)
    try:
        command = await _priced(environment, order, change.command(visit.order_id, SHOPPER, "shopper"))
        if command is None:
            gone = replace(change, wrong={"add_sku": offers.GONE})
            return await _show(environment, visit, order, None, change_form=gone)
        if not makes or not visit.has_seen(command, fields):
            preview = await preview_with_stock(environment, command, order)
            seen = "" if preview.refusal else visit.seal_of(command)
            return await _show(environment, visit, order, None, change_form=change, preview=preview, seen=seen, look_again=makes)
        answer = await asking.ask(environment, "routing", command, event_id=command.change_id, order_id=visit.order_id)
    except (asking.ServiceAway, Problem) as error:
        log.warning("change_unanswered", detail=str(error), order_id=str(visit.order_id))
        return see_other(environment, visit.address("try_again"))
    return see_other(environment, visit.address(answer_to_change(answer)))


def _is_known(order: OrderView, change_id: UUID) -> bool:
    """Whether routing has taken up this very change: a button that was pressed twice asks for nothing new."""
    taken_up = ("order.edited.v1", "order.change_pending.v1", "order.payment_requested.v1")
    return any(entry.fact_id == change_id and entry.type in taken_up for entry in order.entries)


async def _priced(environment: Environment, order: OrderView, command: OrderEditRequested) -> OrderEditRequested | None:
    """The change with what the product master says today of a product that it adds; None where the order's channel does not sell that."""
    for change in command.line_changes:
        if change.sku is not None and await offers.find_offer(environment, order, change.sku) is None:
            return None
    lines = [await completed(environment, number, change) for number, change in enumerate(command.line_changes)]
    return command.model_copy(update={"line_changes": lines})


async def answer_delay(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/delay``: tells routing whether the shopper waits; routing decides what follows."""
    form = await _form(environment, request, "delay")
    if isinstance(form, web.Response):
        return form
    visit, _, fields = form
    # One form has two buttons: what was said is part of the request's name.
    event_id = uuid5(visit.order_id, f"shopper delay {fields['request_id']} {fields.get('answer', '')}")
    try:
        command = OrderDelayAnswered.model_validate(
            {
                "order_id": visit.order_id,
                "consent_id": fields.get("consent_id"),
                "answer": fields.get("answer"),
                "actor": SHOPPER,
                "answered_at": environment.now(),
            }
        )
    except ValidationError:
        return page(environment, "stale_form.html", status=403, address=visit.address())
    try:
        answer = await asking.ask(environment, "routing", command, event_id=event_id, order_id=visit.order_id)
    except asking.ServiceAway as away:
        log.warning("delay_unanswered", service=away.service, detail=away.detail, order_id=str(visit.order_id))
        return see_other(environment, visit.address("try_again"))
    return see_other(environment, visit.address(answer_to_delay(answer)))


def _return_lines(order: OrderView, fields: Mapping[str, str]) -> tuple[list[ReturnLine], dict[str, str]]:
    """The units that a form asks to send back, at most what was shipped and is not on its way back already; and what is wrong, by field."""
    lines: list[ReturnLine] = []
    wrong: dict[str, str] = {}
    for number, piece in enumerate(order.pieces):
        text, most = fields.get(f"units_{number}", "").strip() or "0", piece.whole.returnable
        reason = fields.get(f"reason_{number}", "other")
        if not (text.isascii() and text.isdigit() and len(text) <= 7) or int(text) > most:
            wrong[f"units_{number}"] = f"Choose a whole number from 0 to {most}." if most else "Nothing of this can be sent back now."
            continue
        if reason not in RETURN_REASONS:
            wrong[f"reason_{number}"] = "Choose one of the reasons."
            continue
        lines += [
            ReturnLine.model_validate({"line_id": line_id, "quantity": units, "reason": reason})
            for line_id, units in piece.spread(int(text)).items()
        ]
    if not lines and not wrong:
        wrong["units"] = "Choose how many of at least one item you want to send back."
    return lines, wrong


async def request_return(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /orders/{order_id}/returns``: asks returns, which decides and makes the label."""
    form = await _form(environment, request, "returns")
    if isinstance(form, web.Response):
        return form
    visit, order, fields = form
    lines, wrong = _return_lines(order, fields)
    if wrong:
        return await _show(environment, visit, order, ANSWERS["return_form_incomplete"], filled_in=fields, wrong=wrong)
    # Bound to the order, so that no visitor can name somebody else's return.
    return_id = uuid5(visit.order_id, f"shopper return {fields['request_id']}")
    command = ReturnAuthorisationRequested(return_id=return_id, order_id=visit.order_id, actor=SHOPPER, lines=lines)
    try:
        answer = await asking.ask(environment, "returns", command, event_id=return_id, order_id=visit.order_id)
    except asking.ServiceAway as away:
        log.warning("return_unanswered", service=away.service, detail=away.detail, order_id=str(visit.order_id))
        return see_other(environment, visit.address("try_again"))
    return see_other(environment, visit.address(answer_to_return(answer)))


async def read_label(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /orders/{order_id}/returns/{return_id}/label.pdf``: the label of one of this order's returns, drawn by the returns service."""
    visit = _visit(environment, request)
    order = await _order(environment, visit) if visit else None
    return_id = request.match_info["return_id"]
    if order is None or not any(item.return_id == return_id and item.label_tracking_number for item in order.returns):
        return not_found(environment)
    try:
        document = await asking.fetch_document(environment, "returns", f"/returns/{return_id}/label.pdf")
    except asking.ServiceAway:
        return page(environment, "away.html", status=503)
    if document is None:
        return not_found(environment)
    headers = {**security_headers(environment.settings), "Content-Disposition": 'attachment; filename="return-label.pdf"'}
    return web.Response(body=document, content_type="application/pdf", headers=headers)
