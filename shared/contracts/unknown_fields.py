"""Fields that somebody sent and no contract knows: which they are, and what was probably meant.

Readers ignore unknown fields, so that an older one survives a newer sender (docs/decisions/0003-contracts.md). A name that is a slip of the
pen from a field that was left out is another matter: ``split_polisy`` says something about ``split_policy``, and ignoring it would do what
nobody asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from pydantic import BaseModel

from shared.contracts.channels import FieldProblem

SLIP = 0.85
"""From this likeness on (difflib's ratio, without regard to case and separators) a name is taken for a slip of another one."""

LIKE = 0.6
"""From this likeness on a known name is worth suggesting."""

LONGEST_NAME = 120
MOST_FIELDS = 50


class UnknownField(NamedTuple):
    """One field that is not in the contract. ``meant`` is a field that was left out and of which the name is a slip, ``closest`` the known
    field that is most like it."""

    path: str
    meant: str | None
    closest: str | None

    @property
    def problem(self) -> FieldProblem:
        """As the sender is told."""
        suggestion = self.meant or self.closest
        remedy = "leave it out" if suggestion is None else f"did you mean {suggestion!r}? correct the name or leave the field out"
        return FieldProblem(field=self.path[:LONGEST_NAME], problem="there is no such field", remedy=remedy)


def likeness(name: str, other: str) -> float:
    """How alike two field names are, from 0 to 1; ``splitPolicy`` and ``split_policy`` are the same."""
    return difflib.SequenceMatcher(None, _plain(name), _plain(other)).ratio()


def _plain(name: str) -> str:
    return name[:LONGEST_NAME].replace("_", "").replace("-", "").replace(" ", "").lower()


def closest_name(name: str, known: Iterable[str], threshold: float) -> str | None:
    """The known name that is most like another one, if any is like enough."""
    best = max(known, key=lambda other: likeness(name, other), default=None)
    return best if best is not None and likeness(name, best) >= threshold else None


def unknown_fields(model: BaseModel, document: Any, path: str = "") -> list[UnknownField]:
    """What a document holds beyond the model that was read from it, at any depth; as much of it as a sender can be told.

    Args:
        model: what was read.
        document: the JSON that it was read from.
        path: where the model lies in the message.
    """
    return list(islice(_unknown_in(model, document, path), MOST_FIELDS))


def _unknown_in(value: Any, document: Any, path: str) -> Iterator[UnknownField]:
    if isinstance(value, BaseModel) and isinstance(document, dict):
        fields = type(value).model_fields
        left_out = [name for name in fields if name not in document]
        for name, source in document.items():
            if name in fields:
                yield from _unknown_in(getattr(value, name), source, _joined(path, name))
            else:
                yield UnknownField(_joined(path, name), closest_name(name, left_out, SLIP), closest_name(name, fields, LIKE))
    elif isinstance(value, list | tuple) and isinstance(document, list):
        for position, (item, source) in enumerate(zip(value, document, strict=False)):
            yield from _unknown_in(item, source, _joined(path, str(position)))


def tellable(name: str) -> str:
    """A field's name as it can be stored and told, whatever characters somebody uses for names."""
    return name[:LONGEST_NAME].replace("\x00", "").encode("utf-8", "replace").decode() or "''"


def _joined(path: str, name: str) -> str:
    return f"{path}.{tellable(name)}" if path else tellable(name)


def slips(unknown: Collection[UnknownField]) -> tuple[FieldProblem, ...]:
    """Those that cannot be ignored, because their names are slips of fields that were left out."""
    return tuple(field.problem for field in unknown if field.meant is not None)


def ignored(unknown: Collection[UnknownField]) -> list[str]:
    """The paths of those that are ignored."""
    return [field.path[:LONGEST_NAME] for field in unknown if field.meant is None]
