"""JSON as people and partners send it: one document in UTF-8, in which no object says a field twice."""

from __future__ import annotations

import json
from typing import Any

from shared.contracts.channels import FieldProblem
from shared.errors import OrdermeshError


class MalformedJson(OrdermeshError):
    """A body that is no JSON document, or one that contradicts itself. ``fault`` says what is wrong and the way out."""

    def __init__(self, text: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(text)
        self.fault = FieldProblem(field=field, problem=problem, remedy=remedy)


def document_in(body: bytes, *, each_field_once: bool = True) -> Any:
    """The document in a body.

    Args:
        body: as it came.
        each_field_once: of a field that is there twice in one object, no value is taken instead of the last.

    Raises:
        MalformedJson: it is not in UTF-8, is no JSON, or has a field twice in one object: which of the two was meant is not guessed.
    """
    # No JSON has a NUL; UTF-16 and UTF-32 are full of them.
    if b"\x00" in body[:4]:
        raise _malformed("it is not in UTF-8", "send one JSON document in UTF-8")
    try:
        return json.loads(body.decode(), object_pairs_hook=_each_field_once if each_field_once else None)
    except UnicodeDecodeError as error:
        raise _malformed("it is not in UTF-8", "send one JSON document in UTF-8") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply", "send what the schema asks for") from error
    except ValueError as error:
        raise _malformed(str(error)[:200], "send one JSON document in UTF-8") from error


def _malformed(problem: str, remedy: str) -> MalformedJson:
    return MalformedJson("the body is not one JSON document in UTF-8", "body", f"not valid JSON: {problem}", remedy)


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)[:100]
        shown = twice if twice and twice.isprintable() else ascii(twice)[:120]
        raise MalformedJson(f"the body has {shown} twice in one object", shown, "is there twice in one object", "send it once")
    return fields
