"""What may not happen to a message type within its major version: whoever spoke or listened yesterday must be understood tomorrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
UNBOUNDED = float("inf")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Every change from one envelope schema to the next that breaks a reader or a writer of the old one, one sentence each.

    Breaking: a field that is gone, became required or has another type; a value that is no longer allowed; a narrower bound. Fine: new
    optional fields, wider bounds, other words in descriptions, new values of an enumeration (deploy its readers first).
    """
    return list(_changes("", old, old, new, new))


def _changes(path: str, old: Schema, old_root: Schema, new: Schema, new_root: Schema) -> Iterator[str]:
    old, old_nullable = _resolved(old, old_root)
    new, new_nullable = _resolved(new, new_root)
    place = path or "the message"
    if old_nullable and not new_nullable:
        yield f"{place} may no longer be null"
    if _type_of(old) != _type_of(new):
        yield f"{place} was {_type_of(old)} and is now {_type_of(new)}"
        return
    yield from _narrowed(place, old, new)
    yield from _fields(path, old, old_root, new, new_root)
    if "items" in old and "items" in new:
        yield from _changes(f"{path}[]", old["items"], old_root, new["items"], new_root)


def _fields(path: str, old: Schema, old_root: Schema, new: Schema, new_root: Schema) -> Iterator[str]:
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    prefix = f"{path}." if path else ""
    for name, part in old_fields.items():
        if name not in new_fields:
            yield f"{prefix}{name} was removed"
        else:
            yield from _changes(f"{prefix}{name}", part, old_root, new_fields[name], new_root)
    for name in new.get("required", []):
        if name not in old.get("required", []):
            yield f"{prefix}{name} {'became required' if name in old_fields else 'is new and required'}"


def _narrowed(place: str, old: Schema, new: Schema) -> Iterator[str]:
    allowed = new.get("enum", [])
    gone = [value for value in old.get("enum", []) if allowed and value not in allowed]
    if gone or (allowed and "enum" not in old):
        yield f"{place} no longer allows {', '.join(map(str, gone)) or 'every value'}"
    if old.get("pattern") != new.get("pattern") and "pattern" in new:
        yield f"{place} must now match {new['pattern']}"
    for bound in LOWER_BOUNDS:
        if new.get(bound, -UNBOUNDED) > old.get(bound, -UNBOUNDED):
            yield f"{place}: {bound} rose to {new[bound]}"
    for bound in UPPER_BOUNDS:
        if new.get(bound, UNBOUNDED) < old.get(bound, UNBOUNDED):
            yield f"{place}: {bound} fell to {new[bound]}"


def _resolved(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """The schema behind references, and whether it may also be null."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    options = schema.get("anyOf", [])
    others = [option for option in options if option.get("type") != "null"]
    if len(others) == 1:
        resolved, _ = _resolved(others[0], root)
        return resolved, len(others) < len(options)
    return schema, False


def _type_of(schema: Schema) -> str:
    if "const" in schema:
        return f"always {schema['const']}"
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind
