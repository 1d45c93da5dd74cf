"""Text from outside that no database can hold."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a database can hold the text, or be asked for it: no NUL, no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None
