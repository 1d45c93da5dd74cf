"""Changed copies of frozen values.

``replace`` means what :func:`dataclasses.replace` means, and type checkers see that one. At run time it copies the fields at once instead
of reading and setting them one by one: an order has thirty, and every message about it makes several copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value, /, **changes):
        """A copy of a frozen dataclass (without slots and without ``__post_init__``) with some fields changed."""
        fields = value.__dict__
        unknown = changes.keys() - fields.keys()
        if unknown:
            raise TypeError(f"{type(value).__name__} has no field {', '.join(sorted(unknown))}")
        copy = object.__new__(type(value))
        copy.__dict__.update(fields)
        copy.__dict__.update(changes)
        return copy
