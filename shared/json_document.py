"""JSON as people and partners send it: one document in UTF-8, in which no object says a field twice and no text has a NUL character."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.contracts.channels import FieldProblem
from shared.contracts.unknown_fields import tellable
from shared.errors import OrdermeshError

ModelT = TypeVar("ModelT", bound=BaseModel)

NUL = b"\\u0000"
"""A NUL character as JSON writes it: unescaped it is no JSON."""


class UnacceptableJson(OrdermeshError):
    """A body that is not taken, whatever is asked for. ``faults`` say what is wrong and the way out."""

    status: int
    code: str

    def __init__(self, text: str, faults: Sequence[FieldProblem]) -> None:
        super().__init__(text)
        self.faults = tuple(faults)


class MalformedJson(UnacceptableJson):
    """A body that is no JSON document, or one that contradicts itself."""

    status = 400
    code = "malformed_json"


class NulCharacters(UnacceptableJson):
    """Texts with a NUL character, which no database stores and no label shows."""

    status = 422
    code = "invalid"


def document_in(body: bytes) -> Any:
    """The document in a body.

    Raises:
        MalformedJson: it is not in UTF-8, is no JSON, or has a field twice in one object.
        NulCharacters: a text in it has one.
    """
    # Nobody can tell which of two was meant.
    document = _parsed(body, each_field_once=True)
    faults = nul_problems(body)
    if faults:
        raise NulCharacters(f"{faults[0].field}: {faults[0].problem}", faults)
    return document


def readable_part_of(body: bytes) -> Any:
    """The document in a body that is refused for something else, to tell its sender what: of a field that is there twice the last one.

    Raises:
        MalformedJson: it is not in UTF-8, or is no JSON.
    """
    return _parsed(body, each_field_once=False)


def model_in(model: type[ModelT], body: bytes) -> ModelT:
    """What a body says.

    Raises:
        UnacceptableJson: as :func:`document_in`.
        ValidationError: it is not what the model asks for.
    """
    document_in(body)
    return model.model_validate_json(body)


def nul_problems(body: bytes, under: str = "") -> list[FieldProblem]:
    """The fields of a JSON document whose text has a NUL character.

    Args:
        body: JSON in UTF-8.
        under: where in what was sent the document stands.
    """
    if NUL not in body:
        return []
    names = dict.fromkeys(_fields_with_nul(under, json.loads(body)))
    remedy = "send the text without U+0000"
    return [FieldProblem(field=name[:120], problem="contains a NUL character", remedy=remedy) for name in names]


def _fields_with_nul(under: str, document: Any) -> Iterator[str]:
    left = [(under, document)]
    while left:
        name, value = left.pop()
        if isinstance(value, str) and "\x00" in value:
            yield name or "body"
        parts = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
        named = [(f"{name}.{tellable(str(part))}" if name else tellable(str(part)), part, inner) for part, inner in parts]
        yield from (here for here, part, _ in named if isinstance(part, str) and "\x00" in part)
        left += [(here, inner) for here, _, inner in reversed(named)]


def _parsed(body: bytes, *, each_field_once: bool) -> Any:
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
    return MalformedJson("the body is not one JSON document in UTF-8", [fault])


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                fault = FieldProblem(field=tellable(name), problem="is there twice in one object", remedy="send it once")
                raise MalformedJson(f"the body has {fault.field} twice in one object", [fault])
            seen.add(name)
    return fields
