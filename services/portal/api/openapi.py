"""OpenAPI 3.1, generated from the table of operations and the models. Nothing of it is written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from services.portal.api.models import ErrorAnswer
from services.portal.api.operation import IDEMPOTENCY_KEY_LENGTH, Operation, Parameter

REFERENCES = "#/components/schemas/{model}"

ERROR_MEANINGS = {
    400: "The body is no JSON in UTF-8, or has a field twice in one object.",
    401: "The operator token is missing or wrong.",
    404: "What the address names does not exist.",
    409: "Refused by the service that owns it, with its reason.",
    413: "The body is too large.",
    415: "The body is not of the content type that is asked for, not in UTF-8, or compressed.",
    422: "A field or parameter is wrong, or unknown; `problems` names each one and the way out.",
    501: "Not set up here; the message says what is needed.",
    503: "The service that owns it does not answer. Whether it acted is unknown: repeat with the same Idempotency-Key.",
}

INTRODUCTION = """\
Everything an operator or a script does with Ordermesh. Each operation is forwarded to the service that owns the data; the portal decides
nothing.

Operations that act take an `Idempotency-Key` header: repeat a request with the same key and it is done once. A repeated request is answered
with `"result": "already_handled"`; the same key with other content is refused (422). A refused request was not done: its key may be used
again.

What does not exist is 404, or 422 where the body names it. 409 `not_yet` means that it is on its way: try again in a moment.

Every error has the same shape: `{"error": {"code", "message", "problems": [{"field", "problem", "remedy"}]}}`."""


CSV_FILE: dict[str, Any] = {"text/csv": {"schema": {"type": "string"}}}
CSV_UPLOAD: dict[str, Any] = {
    **CSV_FILE,
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"file": {"type": "string", "contentMediaType": "text/csv"}},
            "required": ["file"],
        }
    },
}


def _models(operations: Sequence[Operation]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {ErrorAnswer: None}
    for operation in operations:
        found[operation.response] = None
        if operation.request is not None:
            found[operation.request] = None
    return list(found)


def _content(reference: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": reference}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = TypeAdapter(parameter.kind).json_schema()
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": schema,
    }


IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH},
}


def _operation(operation: Operation, references: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    answer = CSV_FILE if operation.gives_file else _content(references[operation.response, "serialization"])
    responses: dict[str, Any] = {str(operation.status): {"description": "Done.", "content": answer}}
    for status, meaning in operation.more_statuses.items():
        responses[str(status)] = {"description": meaning, "content": _content(references[operation.response, "serialization"])}
    body_errors = (400, 413, 415, 422) if operation.request is not None else (413, 415, 422) if operation.takes_file else (422,)
    for status in sorted({401, *body_errors, *operation.errors}):
        responses[str(status)] = {
            "description": ERROR_MEANINGS[status],
            "content": _content(references[ErrorAnswer, "serialization"]),
        }
    parameters = [_parameter(parameter) for parameter in operation.parameters]
    if operation.idempotent:
        parameters.append(IDEMPOTENCY_KEY)
    document: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters,
        "responses": responses,
        "security": [{"operator": []}],
    }
    if operation.request is not None:
        document["requestBody"] = {"required": True, "content": _content(references[operation.request, "validation"])}
    if operation.takes_file:
        document["requestBody"] = {"required": True, "content": CSV_UPLOAD}
    return document


def openapi_document(operations: Sequence[Operation], *, server: str) -> dict[str, Any]:
    """The whole API as one OpenAPI 3.1 document."""
    modes: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in _models(operations)]
    modes += [(operation.request, "validation") for operation in operations if operation.request is not None]
    references, definitions = models_json_schema(modes, ref_template=REFERENCES)
    paths: dict[str, Any] = {}
    for operation in operations:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ordermesh operator API", "version": "1.0.0", "description": INTRODUCTION},
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer", "description": "The operator token."}},
        },
    }
