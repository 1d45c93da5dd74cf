"""JSON as people and partners send it: one document in UTF-8, in which no object says a field twice."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from shared.contracts.channels import FieldProblem
from shared.contracts.unknown_fields import tellable
from shared.errors import OrdermeshError


class MalformedJson(OrdermeshError):
    """A body that is no JSON document, or one that contradicts itself. ``fault`` says what is wrong and the way out."""

    def __init__(self, text: str, fault: FieldProblem) -> None:
        super().__init__(text)
        self.fault = fault


def document_in(body: bytes, *, each_field_once: bool = True) -> Any:
    """The document in a body.

    Args:
        body: as it came.
        each_field_once: whether a field that is there twice in one object is refused, because nobody can tell which of the two was meant;
            without it the last one counts.

    Raises:
        MalformedJson: it is not in UTF-8, is no JSON, or has a field twice in one object.
    """
    if body.startswith(BOM_UTF8):
        raise _malformed("it begins with a byte order mark", "send it without the mark")
    # No JSON has a NUL; UTF-16 and UTF-32 are full of them.
    if b"\x00" in body[:4]:
        raise _malformed("it is not in UTF-8")
    try:
        return json.loads(body.decode(), object_pairs_hook=_each_field_once if each_field_once else None)
    except UnicodeDecodeError as error:
        raise _malformed("it is not in UTF-8") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply", "send what the schema asks for") from error
    except ValueError as error:
        raise _malformed(str(error)[:200]) from error


def _malformed(problem: str, remedy: str = "send one JSON document in UTF-8") -> MalformedJson:
    fault = FieldProblem(field="body", problem=f"not valid JSON: {problem}", remedy=remedy)
    return MalformedJson("the body is not one JSON document in UTF-8", fault)


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                fault = FieldProblem(field=tellable(name), problem="is there twice in one object", remedy="send it once")
                raise MalformedJson(f"the body has {fault.field} twice in one object", fault)
            seen.add(name)
    return fields
