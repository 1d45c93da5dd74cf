"""The HTTP side that every service has: probes, metrics, one way in for messages, and parked messages for operators."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web
from prometheus_client import generate_latest
from pydantic import ValidationError

from shared.contracts.base import Refusal
from shared.contracts.channels import FieldProblem
from shared.contracts.unknown_fields import tellable
from shared.database import is_unavailable
from shared.json_document import UnacceptableJson, document_in, model_in
from shared.messaging import inbox, outbox, waiting
from shared.messaging.batching import HandledNow
from shared.messaging.reading import JSON_CONTENT_TYPES, Delivery, problems_of
from shared.running import Environment
from shared.text import is_storable

log = structlog.get_logger()

BODY_LIMIT_BYTES = 4 * 1024 * 1024
PROBLEMS_TOLD = 20
CHARSETS_IN_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})

RouteFunction = Callable[[Environment, web.Request], Awaitable[web.StreamResponse]]
Probe = Callable[[], Awaitable[dict[str, str]]]
"""Names what is wrong, by part; empty when all is well."""


@dataclass(frozen=True)
class Route:
    """One HTTP route of a service. Routes that are not ``public`` need the operator's token."""

    method: str
    path: str
    function: RouteFunction
    public: bool = False


def get(path: str, function: RouteFunction, *, public: bool = False) -> Route:
    """A route that reads."""
    return Route("GET", path, function, public)


def post(path: str, function: RouteFunction, *, public: bool = False) -> Route:
    """A route that acts."""
    return Route("POST", path, function, public)


def put(path: str, function: RouteFunction, *, public: bool = False) -> Route:
    """A route that sets."""
    return Route("PUT", path, function, public)


def error_body(code: str, message: str, problems: Sequence[FieldProblem] = ()) -> dict[str, Any]:
    """The one shape that every error has."""
    return {"error": {"code": code, "message": message, "problems": [problem.model_dump() for problem in problems]}}


def error_response(
    status: int, code: str, message: str, problems: Sequence[FieldProblem] = (), headers: dict[str, str] | None = None
) -> web.Response:
    """An error in the one shape that all have."""
    return web.json_response(error_body(code, message, problems), status=status, headers=headers)


def unacceptable_json(error: UnacceptableJson) -> web.Response:
    """The answer to a body that is no JSON, or that nobody could take whatever it asks for."""
    return error_response(error.status, error.code, str(error), error.faults)


def authorised(request: web.Request, token: str) -> bool:
    """Whether the request carries the operator's token; compared in constant time."""
    given = request.headers.get("Authorization", "")
    # A header's bytes need not be UTF-8, and then are no text that could be encoded: a wrong token, no mistake of ours.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode())


def build_application(environment: Environment, routes: Sequence[Route], *, live: Probe, ready: Probe) -> web.Application:
    """The aiohttp application of one service."""
    token = environment.settings.operator_token
    application = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_tell_errors, _refuse_unstorable])

    def bind(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not route.public and not authorised(request, token):
                problem = FieldProblem(field="Authorization", problem="no operator token, or a wrong one", remedy="Bearer ...")
                return error_response(401, "unauthorised", "send the operator token: Authorization: Bearer ...", [problem])
            return await route.function(environment, request)

        return handle

    def probe(function: Probe) -> RouteFunction:
        async def answer(_: Environment, request: web.Request) -> web.StreamResponse:
            problems = await function()
            return web.json_response({"status": "ok" if not problems else "failing", "problems": problems}, status=503 if problems else 200)

        return answer

    runtime_routes = [
        get("/livez", probe(live), public=True),
        get("/readyz", probe(ready), public=True),
        get("/metrics", read_metrics, public=True),
        post("/messages", receive_message),
        get("/operations/parked", read_parked),
        get("/operations/parked/{event_id}", read_waiting),
        post("/operations/parked/{event_id}/redrive", redrive_parked),
        post("/operations/parked/{event_id}/dismiss", dismiss_parked),
        get("/operations/messages", read_messages),
    ]
    for route in (*runtime_routes, *routes):
        application.router.add_route(route.method, route.path, bind(route))
    return application


def build_runner(application: web.Application, *, shutdown_seconds: float) -> web.AppRunner:
    """What serves an application. Nothing decompresses a body on the way, so none can be broken, or a bomb, before it is refused."""
    return web.AppRunner(application, access_log=None, shutdown_timeout=shutdown_seconds, auto_decompress=False)


@web.middleware
async def _tell_errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Turns what went wrong into the one error shape; nothing internal leaks."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        # Before anybody reads the body: signatures are over the bytes that were sent, and nobody is asked yet who he is.
        problem = FieldProblem(field="Content-Encoding", problem=f"{encoding[:40]!r} is not read here", remedy="send the body as it is")
        return error_response(415, "unsupported_content_encoding", "send the body without Content-Encoding, uncompressed", [problem])
    charset = request.charset if request.content_type in JSON_CONTENT_TYPES else None
    if charset is not None and charset.lower() not in CHARSETS_IN_UTF_8:
        problem = FieldProblem(field="Content-Type", problem=f"charset {charset[:40]!r} is not read here", remedy="send JSON in UTF-8")
        return error_response(415, "unsupported_charset", "send JSON in UTF-8, the only charset that it has", [problem])
    try:
        return await handler(request)
    except web.RequestPayloadError:
        problem = FieldProblem(field="body", problem="broke off, or is not what the headers say", remedy="send it again")
        return error_response(400, "broken_body", "the body broke off, or is not what the headers say", [problem])
    except web.HTTPRequestEntityTooLarge:
        problem = FieldProblem(field="body", problem=f"larger than {BODY_LIMIT_BYTES} bytes", remedy="split it")
        return error_response(413, "body_too_large", f"the body is larger than {BODY_LIMIT_BYTES} bytes: split it", [problem])
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(error.status, (error.reason or "error").lower().replace(" ", "_"), error.text or error.reason or "error")
    except UnacceptableJson as error:
        return unacceptable_json(error)
    except Exception as error:
        if is_unavailable(error):
            return error_response(503, "database_away", "the database does not answer: try again", headers={"Retry-After": "2"})
        log.exception("request_failed", path=request.match_info.route.resource.canonical if request.match_info.route.resource else "?")
        return error_response(500, "internal_error", "this is a mistake of ours; the log has it")


@web.middleware
async def _refuse_unstorable(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Refuses an address with text that no database could be asked for, as bodies with such text are refused: nobody's question has to
    think of it."""
    parts = (*request.match_info.items(), *request.query.items())
    unstorable = dict.fromkeys(tellable(name) for name, value in parts if not is_storable(name + value))
    if not unstorable:
        return await handler(request)
    problem, remedy = "contains a NUL character or half a surrogate pair", "send the text without it"
    problems = [FieldProblem(field=name, problem=problem, remedy=remedy) for name in list(unstorable)[:PROBLEMS_TOLD]]
    return error_response(422, "invalid", f"{problems[0].field}: {problem}", problems)


async def read_metrics(environment: Environment, _: web.Request) -> web.StreamResponse:
    """Prometheus text."""
    return web.Response(body=generate_latest(environment.around.metrics.registry), headers={"Content-Type": "text/plain; version=0.0.4"})


async def receive_message(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /messages``: one CloudEvents envelope, handled while the sender waits. The envelope's id makes it safe to repeat."""
    if request.content_type not in JSON_CONTENT_TYPES:
        problem = FieldProblem(field="Content-Type", problem=f"not {request.content_type[:100]!r}", remedy="send application/json")
        return error_response(415, "unsupported_media_type", "send application/json or application/cloudevents+json", [problem])
    body = await request.read()
    document = document_in(body)
    message_type = document.get("type") if isinstance(document, dict) else None
    if not isinstance(message_type, str):
        problem = FieldProblem(field="type", problem="missing", remedy="send a CloudEvents envelope with its type")
        return error_response(422, "invalid_message", "this is no envelope", [problem])
    handled = await environment.handle_now(message_type, Delivery(body, message_type, from_outside=True))
    if handled is None:
        problem = FieldProblem(
            field="type", problem=f"{message_type[:100]!r} is not handled here", remedy="see contracts/ for who hears what"
        )
        return error_response(422, "unknown_type", "nobody here handles this type or version", [problem])
    return handled_response(handled)


def handled_response(handled: HandledNow) -> web.Response:
    """What became of a message that was handled at once."""
    refused = any(isinstance(outgoing.data, Refusal) for outgoing in handled.messages)
    status = {"done": 409 if refused else 200, "duplicate": 200, "deferred": 409, "parked": 422}[handled.status]
    messages = [
        {"id": str(outgoing.event_id), "type": outgoing.data.type, "data": outgoing.data.model_dump(mode="json")}
        for outgoing in handled.messages
    ]
    return web.json_response({"status": handled.status, "reason": handled.reason, "messages": messages}, status=status)


async def read_parked(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /operations/parked?status=parked|retry|dismissed&limit=&mentioned=``: messages that wait, with their reason, or what was
    dismissed, with who did it and why."""
    status, mentioned = request.query.get("status", "parked"), request.query.get("mentioned", "")
    if status not in waiting.STATUSES:
        problem = FieldProblem(field="status", problem=f"{status[:40]!r} is unknown", remedy=f"one of {', '.join(waiting.STATUSES)}")
        return error_response(422, "invalid_query", "unknown status", [problem])
    limit = min(1_000, int(request.query["limit"])) if request.query.get("limit", "").isdigit() else 100
    async with environment.database.acquire(timeout=10) as connection:
        return web.json_response(await waiting.list_messages(connection, status, limit, mentioned))


def _event_id(request: web.Request) -> UUID | None:
    try:
        return UUID(request.match_info["event_id"])
    except ValueError:
        return None


def _no_such_message() -> web.Response:
    problem = FieldProblem(field="event_id", problem="nothing of this id waits", remedy="GET /operations/parked lists what does")
    return error_response(404, "not_found", "no message of this id waits here", [problem])


async def read_waiting(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /operations/parked/{event_id}``: one message that waits or was dismissed."""
    event_id = _event_id(request)
    if event_id is None:
        return _no_such_message()
    async with environment.database.acquire(timeout=10) as connection:
        found = await waiting.read_message(connection, event_id)
    return _no_such_message() if found is None else web.json_response(found)


async def redrive_parked(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /operations/parked/{event_id}/redrive``: gives a parked or dismissed message a fresh start."""
    event_id = _event_id(request)
    if event_id is None:
        return _no_such_message()
    async with environment.database.acquire(timeout=10) as connection:
        found = await inbox.redrive(connection, event_id, environment.now())
    if not found:
        return _no_such_message()
    log.info("message_redriven", event_id=str(event_id))
    return web.json_response({"event_id": str(event_id), "status": "retry"}, status=202)


async def dismiss_parked(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``POST /operations/parked/{event_id}/dismiss`` with ``{"reason", "operator"}``: nobody will handle it; it stays on record."""
    event_id = _event_id(request)
    if event_id is None:
        return _no_such_message()
    try:
        dismissal = model_in(waiting.Dismissal, await request.read())
    except ValidationError as error:
        return error_response(422, "invalid", "the body does not match the schema", problems_of(error, "DismissParked in /openapi.json"))
    async with environment.database.acquire(timeout=10) as connection, connection.transaction():
        refused = await waiting.dismiss(connection, event_id, dismissal, environment.now())
    if refused is not None:
        return _no_such_message() if refused.message is None else error_response(409, *why_not_parked(refused.message))
    log.info("message_dismissed", event_id=str(event_id), operator=dismissal.operator)
    return web.json_response({"event_id": str(event_id), "status": "dismissed"})


def why_not_parked(message: dict[str, Any]) -> tuple[str, str]:
    """The code and the words for a message that can not be dismissed."""
    if message["status"] == "dismissed":
        last = message["dismissals"][0]
        text = f"{last['dismissed_by']} dismissed it at {last['dismissed_at']}: re-drive it if it is to be handled after all"
        return "already_dismissed", text
    return "not_parked", f"it is tried again by itself at {message['due_at']}: it can be dismissed once it is parked"


def _iso(moment: Any) -> str | None:
    return moment.isoformat() if moment is not None else None


async def read_messages(environment: Environment, request: web.Request) -> web.StreamResponse:
    """``GET /operations/messages?subject=``: what this service said and heard about a subject, with the trace context of each."""
    subject = request.query.get("subject", "")
    if not subject:
        problem = FieldProblem(field="subject", problem="missing", remedy="?subject=<order id>")
        return error_response(422, "invalid_query", "which subject?", [problem])
    async with environment.database.acquire(timeout=10) as connection:
        said = await outbox.about_subject(connection, subject)
        heard = await outbox.heard_about_subject(connection, subject)
    return web.json_response(
        {
            "service": environment.around.service,
            "said": [
                {
                    "event_id": str(row["event_id"]),
                    "type": row["type"],
                    "created_at": _iso(row["created_at"]),
                    "sent_at": _iso(row["sent_at"]),
                    "traceparent": row["traceparent"],
                    "partner": row["partner"],
                }
                for row in said
            ],
            "heard": [
                {
                    "event_id": str(row["event_id"]),
                    "source": row["source"],
                    "type": row["type"],
                    "status": row["status"],
                    "attempts": row["attempts"],
                    "reason": row["reason"],
                    "received_at": _iso(row["received_at"]),
                    "handled_at": _iso(row["handled_at"]),
                    "traceparent": row["traceparent"],
                }
                for row in heard
            ],
        }
    )
