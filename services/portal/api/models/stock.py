"""What is on the shelves, and whom a shortage takes it from."""

from __future__ import annotations

from services.portal.api.models.shapes import Request
from shared.contracts.base import ShortText, UnitCount
from shared.contracts.stock import ShortagePolicy


class AdjustStock(Request):
    """What is on the shelf now. With ``expected_on_hand`` it is refused when the shelf has changed meanwhile."""

    new_on_hand: UnitCount
    expected_on_hand: UnitCount | None = None
    reason: ShortText
    operator: ShortText = "operator"


class SetShortagePolicy(Request):
    """Whose reserved units queue again first when a shelf holds less than is reserved; in force at once.

    ``newest_first``: who came last. ``lowest_priority_first``: the highest priority number, the newest of it first. ``wholesale_first``:
    wholesale orders, then retail's, then shoppers'; the newest of them first.
    """

    policy: ShortagePolicy
    operator: ShortText = "operator"
