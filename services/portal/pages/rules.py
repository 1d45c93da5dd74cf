"""The console's pages about routing rules: versions, what they say, what they change, and the form that puts one in force."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from aiohttp import web
from pydantic import ValidationError

from services.portal import asking, neighbours
from services.portal.asking import Answer, ServiceAway
from services.portal.pages.console import OPERATOR
from services.portal.pages.frame import back_to, console_page, document_of, stale_form
from services.portal.pages.sessions import Session
from shared.contracts.envelope import new_id
from shared.contracts.routing_rules import RoutingRulesPublished, RoutingRulesPublishRejected, RoutingRulesPublishRequested
from shared.messaging.reading import problems_of


def _version(session: Session) -> int | None:
    text = session.request.match_info["version"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def list_rules(session: Session) -> web.StreamResponse:
    """``GET /console/rules``: which version is in force, all versions, and who put what in force when and why."""
    document, away = await document_of(neighbours.list_routing_rules(session.environment))
    return console_page(session, "console_rules.html", "rules", document=document, away=away)


async def read_rules(session: Session) -> web.StreamResponse:
    """``GET /console/rules/{version}``: the rules in words, what they change of those in force, and the form that publishes them."""
    version = _version(session)
    document, away = (None, None) if version is None else await document_of(neighbours.read_routing_rules(session.environment, version))
    if document is None and away is None:
        return console_page(session, "console_missing.html", "rules", status=404, what="version of the routing rules")
    request_id = str(new_id())
    return console_page(
        session,
        "console_rule_set.html",
        "rules",
        version=version,
        rule_set=document,
        away=away,
        request_id=request_id,
        publish_token=session.token(f"publish-rules:{request_id}"),
    )


async def publish(session: Session) -> web.StreamResponse:
    """``POST /console/rules/{version}/publish``: puts the version in force, if the operator saw what it replaces."""
    version = _version(session)
    address = f"/console/rules/{version}"
    fields = await session.form("publish-rules", of="request_id")
    if fields is None or version is None:
        return stale_form(session, "/console/rules")
    expected = fields.get("expected_version", "")
    try:
        command = RoutingRulesPublishRequested.model_validate(
            {
                "request_id": uuid5(NAMESPACE_URL, f"publish routing rules {fields['request_id']}"),
                "version": version,
                "expected_version": int(expected) if expected.isascii() and expected.isdigit() and len(expected) < 19 else expected,
                "reason": fields.get("reason", "").strip(),
                "operator": OPERATOR.name,
            }
        )
    except ValidationError as error:
        problem = problems_of(error, "the form")[0]
        return back_to(session, address, f"Nothing was changed. {problem.field}: {problem.problem}")
    try:
        answer = await asking.ask(session.environment, "routing", command, event_id=command.request_id)
    except ServiceAway as away:
        return back_to(session, address, str(away))
    return back_to(session, address, _words(answer))


def _words(answer: Answer) -> str:
    for message in answer.messages:
        if isinstance(message, RoutingRulesPublished):
            what = "is in force again" if message.change == "rolled_back" else "is in force"
            return f"Version {message.version} {what}; it replaces version {message.replaced_version}."
        if isinstance(message, RoutingRulesPublishRejected):
            return f"Refused ({message.reason}): {message.detail}"
    return "Handled before." if answer.status == "duplicate" else f"Not done: {answer.reason or answer.status}"
