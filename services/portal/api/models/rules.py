"""What is kept back from sale, and what channels may take."""

from __future__ import annotations

from services.portal.api.models.shapes import Request
from shared.contracts.base import ShortText
from shared.contracts.rules import RulePercent, RuleUnits, RuleVersion


class SetSafety(Request):
    """Units to keep back from sale. With ``expected_safety_units`` it is refused when they were changed meanwhile."""

    safety_units: RuleUnits
    expected_safety_units: RuleUnits | None = None
    reason: ShortText
    operator: ShortText = "operator"


class SetChannelPool(Request):
    """What a channel may take of a SKU. What is left out does not apply; with nothing the rule ends.

    ``fence_units`` are set aside for the channel, ``cap_units`` is the most it may have reserved or held and not shipped,
    ``share_percent`` the most it may have of what is free for all. With ``expected_rule_version`` (0: no rule) it is refused when the rule
    was changed meanwhile.
    """

    fence_units: RuleUnits | None = None
    cap_units: RuleUnits | None = None
    share_percent: RulePercent | None = None
    expected_rule_version: RuleVersion | None = None
    reason: ShortText
    operator: ShortText = "operator"
