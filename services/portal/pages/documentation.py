"""The API's documentation as a page: no scripts, nothing from elsewhere."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from services.portal.pages.rendering import page
from shared.service import Environment

DEEPEST = 4


def _reference(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema["$ref"]).rsplit("/", 1)[1]
    found: Mapping[str, Any] = document["components"]["schemas"][name]
    return found


def example_of(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """What a value of a schema looks like, in words where a value would say less."""
    if "$ref" in schema:
        return example_of(document, _reference(document, schema), depth)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return example_of(document, schema[choice][0], depth)
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        if depth >= DEEPEST:
            return {}
        return {name: example_of(document, value, depth + 1) for name, value in schema["properties"].items()}
    if kind == "array":
        return [example_of(document, schema.get("items", {}), depth + 1)]
    simple: dict[Any, Any] = {"string": schema.get("format", "text"), "integer": 1, "number": 1.5, "boolean": True, "object": {}}
    return simple.get(kind, "…")


def _body_of(document: Mapping[str, Any], content: Mapping[str, Any] | None) -> str | None:
    if content is None:
        return None
    schema = content["content"]["application/json"]["schema"]
    return json.dumps(example_of(document, schema), indent=2, ensure_ascii=False)


def documentation_page(environment: Environment, document: Mapping[str, Any]) -> web.Response:
    """The page of an OpenAPI document."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            done = next(status for status in operation["responses"] if status.startswith("2"))
            groups[operation["tags"][0]].append(
                {
                    "method": method,
                    "path": path,
                    "operation": operation,
                    "request": _body_of(document, operation.get("requestBody")),
                    "done": done,
                    "answer": _body_of(document, operation["responses"][done]),
                }
            )
    return page(environment, "documentation.html", document=document, groups=groups)
