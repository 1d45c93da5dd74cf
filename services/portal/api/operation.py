"""What an operation of the API is: its path, models and errors in one value, from which both the route and its documentation are made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.portal.api import repeating
from services.portal.api.repeating import KeyedRequest, OtherContent
from services.portal.asking import RETRY_AFTER_SECONDS, ServiceAway
from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import new_id
from shared.contracts.unknown_fields import tellable, unknown_fields
from shared.errors import OrdermeshError
from shared.http import Route, error_response
from shared.json_document import UnacceptableJson, document_in
from shared.messaging.reading import JSON_CONTENT_TYPES, in_words, problems_of
from shared.service import Environment

ModelT = TypeVar("ModelT", bound=BaseModel)

IDEMPOTENCY_KEY_LENGTH = 200


class Problem(OrdermeshError):
    """An operation that cannot be done, as the caller will read it.

    Args:
        status: the HTTP status.
        code: what scripts tell it by.
        message: what people read.
        problems: the fields that are at fault, each with the way out.
        decided: whether the owner was asked and has refused: nothing was done, now or by an earlier request under the same key.
    """

    def __init__(self, status: int, code: str, message: str, problems: Sequence[FieldProblem] = (), *, decided: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = tuple(problems)
        self.decided = decided


def invalid(name: str, problem: str, remedy: str) -> Problem:
    """422: one field is wrong."""
    return Problem(422, "invalid", f"{name} is wrong", [FieldProblem(field=name, problem=problem, remedy=remedy)])


def not_found(what: str) -> Problem:
    """404: what the address names does not exist."""
    return Problem(404, "not_found", f"there is no such {what}")


WAYS_OUT = {
    "order_id": "GET /api/orders?query= finds orders by number, e-mail address or tracking number",
    "return_id": "GET /api/orders/{order_id} lists the returns of an order",
    "supply_id": "GET /api/supplies lists supplies; POST /api/supplies schedules one",
    "hold_id": "GET /api/holds lists open holds",
    "upload_id": "GET /api/count-uploads lists the uploads",
    "event_id": "GET /api/parked, /api/retrying and /api/dismissed list messages",
    "sku": "POST /api/products registers products",
    "location": "GET /api/locations lists the locations; POST /api/locations registers one",
    "version": "GET /api/routing-rules lists the versions; POST /api/routing-rules saves one",
    "channel": "name one of the channels of ORDERMESH_PARTNERS_FILE",
}


def unknown_in_address(name: str, value: str) -> FieldProblem:
    """Which part of an address names nothing that is known."""
    return FieldProblem(field=name[:120], problem=f"{value[:100]!r} is not known here", remedy=WAYS_OUT.get(name, "check the address"))


@dataclass(frozen=True)
class Parameter:
    """One parameter in the path or the query."""

    name: str
    place: Literal["path", "query"]
    kind: Any
    description: str
    default: Any = None


@dataclass(frozen=True)
class Call:
    """One request to an operation, validated."""

    environment: Environment
    body: Any
    values: Mapping[str, Any]
    idempotency_key: str | None
    operation: str
    request: web.Request
    keyed: KeyedRequest | None = None

    def uuid(self, name: str) -> UUID:
        """A parameter that is an id."""
        value = self.values[name]
        assert isinstance(value, UUID)
        return value

    def text(self, name: str) -> str:
        """A parameter that is text."""
        return str(self.values[name])

    def request_id(self, purpose: str, *scope: object) -> UUID:
        """The id of what this request asks for: the same for the same Idempotency-Key on the same thing, otherwise fresh."""
        if self.idempotency_key is None:
            return new_id()
        # What was refused was not done; its owner remembers the ids all the same, so the next request under the key needs others.
        attempt = [f"after {self.keyed.attempt} refusals"] if self.keyed is not None and self.keyed.attempt else []
        return uuid5(NAMESPACE_URL, "\n".join(("ordermesh api", self.operation, purpose, *map(str, scope), self.idempotency_key, *attempt)))


@dataclass(frozen=True)
class Operation:
    """One route of the API.

    Args:
        errors: the error statuses it can answer beside 401, which all can.
        response: the model of the answer, for the documentation and the tests that hold answers against it.
        idempotent: accepts an Idempotency-Key.
        takes_file: the body is a CSV file, by itself or as a part of a form; the function reads it as it comes in.
        gives_file: the answer is a CSV file and not ``response``.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    tag: str
    summary: str
    function: Callable[[Call], Awaitable[web.StreamResponse]]
    response: type[BaseModel]
    status: int = 200
    request: type[BaseModel] | None = None
    parameters: Sequence[Parameter] = ()
    errors: Sequence[int] = ()
    idempotent: bool = False
    takes_file: bool = False
    gives_file: bool = False
    more_statuses: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The operation's id."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What it means, from the function's own words."""
        return " ".join((self.function.__doc__ or "").split())

    def route(self) -> Route:
        """The operation as a route of the service; the runtime checks the operator's token."""
        return Route(self.method, self.path, self._serve)

    async def _serve(self, environment: Environment, request: web.Request) -> web.StreamResponse:
        try:
            return await self._done(await self._read(environment, request))
        except ServiceAway as away:
            return error_response(503, "service_unavailable", str(away), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        except Problem as problem:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if problem.code == "not_yet" else None
            return error_response(problem.status, problem.code, str(problem), problem.problems or self._faults(problem, request), headers)

    def _faults(self, problem: Problem, request: web.Request) -> list[FieldProblem]:
        """What is wrong with a request whose address names something that does not exist: the innermost thing that it names."""
        named = [parameter.name for parameter in self.parameters if parameter.place == "path"]
        return [unknown_in_address(named[-1], request.match_info[named[-1]])] if problem.status == 404 and named else []

    def _refuse_unknown_parameters(self, request: web.Request) -> None:
        """A filter that is misspelt would show everything."""
        known = [parameter.name for parameter in self.parameters if parameter.place == "query"]
        unknown = [tellable(name) for name in dict.fromkeys(request.query) if name not in known]
        if unknown:
            remedy = f"leave it out, or use one of: {', '.join(known)}" if known else "leave it out: there are none here"
            problems = [FieldProblem(field=name, problem="there is no such query parameter here", remedy=remedy) for name in unknown[:20]]
            raise Problem(422, "invalid", f"there is no query parameter {unknown[0]}", problems)

    async def _done(self, call: Call) -> web.StreamResponse:
        try:
            return await self.function(call)
        except Problem as problem:
            if call.keyed is not None and (call.keyed.first or problem.decided):
                await repeating.free(call.environment, call.keyed)
            raise

    async def _read(self, environment: Environment, request: web.Request) -> Call:
        self._refuse_unknown_parameters(request)
        values = {parameter.name: _value_of(parameter, request) for parameter in self.parameters}
        key = request.headers.get("Idempotency-Key") if self.idempotent else None
        if key is not None and not (1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH and key.isprintable()):
            problem = "empty, too long or not printable"
            raise invalid("Idempotency-Key", problem, f"1 to {IDEMPOTENCY_KEY_LENGTH} printable characters, or leave it out")
        body, canonical = await _body_of(self.request, request) if self.request is not None else (None, "")
        call = Call(environment, body, values, key, self.name, request)
        if key is None:
            return call
        keyed = await repeating.keyed(environment, self.name, values, key, canonical)
        if isinstance(keyed, OtherContent):
            raise Problem(
                422,
                "idempotency_key_reused",
                "this Idempotency-Key was used for a request with other content; nothing was done",
                [
                    FieldProblem(
                        field="Idempotency-Key",
                        problem=f"was used at {keyed.since} with other content",
                        remedy="send a fresh key for a new request, or the first one unchanged to hear what became of it",
                    )
                ],
            )
        return replace(call, keyed=keyed)


def _value_of(parameter: Parameter, request: web.Request) -> Any:
    given = request.match_info.get(parameter.name) if parameter.place == "path" else request.query.get(parameter.name)
    if given is None:
        return parameter.default
    try:
        return TypeAdapter(parameter.kind).validate_strings(given)
    except ValidationError as error:
        if parameter.place == "path" and parameter.kind is UUID:
            raise not_found(parameter.name.removesuffix("_id").replace("_", " ")) from error
        problem = in_words(error.errors(include_url=False, include_input=False)[0])
        raise invalid(parameter.name, problem, parameter.description) from error


async def _body_of(model: type[ModelT], request: web.Request) -> tuple[ModelT, str]:
    """The body, and the one form that all ways to write the same document have."""
    if request.content_type not in JSON_CONTENT_TYPES:
        problem = FieldProblem(field="Content-Type", problem=f"not {request.content_type[:100]!r}", remedy="application/json")
        raise Problem(415, "unsupported_media_type", "send application/json", [problem])
    raw = await request.read()
    try:
        document = document_in(raw)
    except UnacceptableJson as error:
        raise Problem(error.status, error.code, str(error), error.faults) from error
    try:
        # The parts of contracts ignore unknown fields; who writes to this API is told of each, at any depth.
        body = model.model_validate_json(raw, extra="ignore")
    except ValidationError as error:
        problems = problems_of(error, f"{model.__name__} in /openapi.json")
        raise Problem(422, "invalid", "the body does not match the schema", problems) from error
    unknown = unknown_fields(body, document)
    if unknown:
        raise Problem(422, "invalid", "the body has fields that do not exist", [field.problem for field in unknown])
    return body, json.dumps(document, sort_keys=True, separators=(",", ":"))


def answered(model: BaseModel, status: int = 200) -> web.Response:
    """A successful answer."""
    return web.Response(body=model.model_dump_json().encode(), status=status, content_type="application/json")
