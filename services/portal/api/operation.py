"""What an operation of the API is: its path, models and errors in one value, from which both the route and its documentation are made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.portal.asking import RETRY_AFTER_SECONDS, ServiceAway
from shared.contracts.channels import FieldProblem
from shared.contracts.envelope import new_id
from shared.contracts.unknown_fields import unknown_fields
from shared.errors import OrdermeshError
from shared.http import Route, error_response
from shared.messaging.reading import problems_of
from shared.service import Environment

ModelT = TypeVar("ModelT", bound=BaseModel)

IDEMPOTENCY_KEY_LENGTH = 200
JSON_CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json"})


class Problem(OrdermeshError):
    """An operation that cannot be done, as the caller will read it."""

    def __init__(self, status: int, code: str, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = tuple(problems)


def invalid(name: str, problem: str, remedy: str) -> Problem:
    """422: one field is wrong."""
    return Problem(422, "invalid", f"{name} is wrong", [FieldProblem(field=name, problem=problem, remedy=remedy)])


def not_found(what: str) -> Problem:
    """404: what the address names does not exist."""
    return Problem(404, "not_found", f"there is no such {what}")


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
        return uuid5(NAMESPACE_URL, "\n".join(("ordermesh api", self.operation, purpose, *map(str, scope), self.idempotency_key)))


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
            return await self.function(await self._read(environment, request))
        except ServiceAway as away:
            return error_response(503, "service_unavailable", str(away), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        except Problem as problem:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if problem.code == "not_yet" else None
            return error_response(problem.status, problem.code, str(problem), problem.problems, headers)

    async def _read(self, environment: Environment, request: web.Request) -> Call:
        values = {parameter.name: _value_of(parameter, request) for parameter in self.parameters}
        key = request.headers.get("Idempotency-Key") if self.idempotent else None
        if key is not None and not 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH:
            raise invalid("Idempotency-Key", "empty or too long", f"1 to {IDEMPOTENCY_KEY_LENGTH} characters, or leave it out")
        body = await _body_of(self.request, request) if self.request is not None else None
        return Call(environment, body, values, key, self.name, request)


def _value_of(parameter: Parameter, request: web.Request) -> Any:
    given = request.match_info.get(parameter.name) if parameter.place == "path" else request.query.get(parameter.name)
    if given is None:
        return parameter.default
    try:
        return TypeAdapter(parameter.kind).validate_strings(given)
    except ValidationError as error:
        if parameter.place == "path" and parameter.kind is UUID:
            raise not_found(parameter.name.removesuffix("_id").replace("_", " ")) from error
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        raise invalid(parameter.name, problem, parameter.description) from error


async def _body_of(model: type[ModelT], request: web.Request) -> ModelT:
    if request.content_type not in JSON_CONTENT_TYPES:
        raise Problem(415, "unsupported_media_type", "send application/json")
    raw = await request.read()
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "malformed_json", "the body is not one JSON document in UTF-8") from error
    try:
        # The parts of contracts ignore unknown fields; who writes to this API is told of each, at any depth.
        body = model.model_validate_json(raw, extra="ignore")
    except ValidationError as error:
        problems = problems_of(error, f"{model.__name__} in /openapi.json")
        raise Problem(422, "invalid", "the body does not match the schema", problems) from error
    unknown = unknown_fields(body, document)
    if unknown:
        raise Problem(422, "invalid", "the body has fields that do not exist", [field.problem for field in unknown])
    return body


def answered(model: BaseModel, status: int = 200) -> web.Response:
    """A successful answer."""
    return web.Response(body=model.model_dump_json().encode(), status=status, content_type="application/json")
