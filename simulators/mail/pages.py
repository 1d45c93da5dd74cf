"""The sink's HTTP side: look at mails, count them, change how senders are treated."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulators.mail.sink import Behaviour, Sink

MOST_MESSAGES = 1_000
SINK = web.AppKey("sink", Sink)


class BehaviourRequested(BaseModel):
    """``POST /behaviour``: what is left out goes back to its default."""

    model_config = ConfigDict(extra="forbid")

    delay_seconds: float = Field(0.0, ge=0, le=600)
    reject_rate: float = Field(0.0, ge=0, le=1)
    reject_code: int = Field(451, ge=400, le=599)


async def read_ready(_: web.Request) -> web.Response:
    """``GET /readyz``."""
    return web.json_response({"status": "ok"})


async def read_messages(request: web.Request) -> web.Response:
    """``GET /messages?to=&limit=``: newest first."""
    limit = request.query.get("limit", "100")
    if not limit.isdigit():
        return web.json_response({"error": f"limit: {limit!r} is no number: use 1 to {MOST_MESSAGES}"}, status=422)
    mails = request.app[SINK].newest(request.query.get("to"), min(int(limit), MOST_MESSAGES))
    return web.json_response([mail.as_json() for mail in mails])


async def read_count(request: web.Request) -> web.Response:
    """``GET /count``: everything since the start, also what is no longer kept."""
    sink = request.app[SINK]
    return web.json_response({"accepted": sink.accepted, "rejected": sink.rejected, "kept": len(sink.mails)})


async def change_behaviour(request: web.Request) -> web.Response:
    """``POST /behaviour`` {"delay_seconds", "reject_rate", "reject_code"}."""
    sink = request.app[SINK]
    try:
        wanted = BehaviourRequested.model_validate_json(await request.read())
    except ValidationError as error:
        return web.json_response({"error": error.errors(include_url=False, include_context=False)}, status=422)
    sink.behaviour = Behaviour(**wanted.model_dump())
    return web.json_response(asdict(sink.behaviour))


def build_application(sink: Sink) -> web.Application:
    """The HTTP application around a sink."""
    application = web.Application()
    application[SINK] = sink
    application.router.add_get("/readyz", read_ready)
    application.router.add_get("/messages", read_messages)
    application.router.add_get("/count", read_count)
    application.router.add_post("/behaviour", change_behaviour)
    return application
