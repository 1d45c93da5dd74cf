"""Text from outside that could not be stored or put into an address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from shared.contracts.channels import FieldProblem

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a database can hold the text, or be asked for it: no NUL, no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _texts(f"{name}.{field}" if name else field, getattr(value, field))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _texts(f"{name}.{position}", item)


def problems_of_texts(model: BaseModel) -> list[FieldProblem]:
    """Fields with a NUL character, which no database text can hold and no label can show."""
    # As JSON the whole message is searched at once, ten times as fast as field by field.
    if b"\\u0000" not in model.__pydantic_serializer__.to_json(model):
        return []
    return [
        FieldProblem(field=name[:120], problem="contains a NUL character", remedy="send the text without U+0000")
        for name, text in _texts("", model)
        if not is_storable(text)
    ]


def problems_of_foreign_id(name: str, text: str) -> list[FieldProblem]:
    """A partner's id has to name one thing in the path of that partner's own API."""
    if not text.strip():
        return [FieldProblem(field=name, problem="is blank", remedy="send the id that the channel itself uses")]
    if text in (".", ".."):
        return [FieldProblem(field=name, problem=f"{text!r} cannot stand in a path", remedy="send the id that the channel itself uses")]
    return []


def reason_of(problems: Sequence[FieldProblem]) -> str:
    """All problems in one text, for a parked message or a refusal."""
    return "; ".join(f"{problem.field}: {problem.problem} ({problem.remedy})" for problem in problems)[:2_000]
