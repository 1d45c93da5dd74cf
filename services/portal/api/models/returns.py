"""Returns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.portal.api.models.shapes import Request
from shared.contracts.base import Code, ShortText
from shared.contracts.returns import ReturnLine, ScannedUnits


class RequestReturn(Request):
    """Units that the customer wants to send back."""

    operator: ShortText = "operator"
    lines: Annotated[list[ReturnLine], Field(min_length=1, max_length=500)]


class ScanReturn(Request):
    """What was found in the parcel. Approved units that are not listed are recorded as missing when ``closes`` is true."""

    location: Code
    operator: ShortText = "operator"
    units: Annotated[list[ScannedUnits], Field(max_length=500)]
    closes: bool = True
