"""Operations on what the continuous auditor found in the books of stock. Allocation decides; these functions only phrase the question."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.portal import neighbours
from services.portal.api.models import Request
from services.portal.api.operation import Call
from services.portal.api.outcomes import shown, told
from shared.contracts.base import ShortText
from shared.contracts.stock import StockCompensationRequested, StockFindingDismissalRequested


class DecideFinding(Request):
    """Why a finding is mended or left. ``expected_found`` is the finding's ``found`` as you read it."""

    expected_found: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000, strict=True)]
    reason: ShortText
    operator: ShortText = "operator"


async def list_findings(call: Call) -> web.StreamResponse:
    """Where the books of stock do not balance: which balance, which entry or event broke it, and what would mend it. Oldest first."""
    after = call.values["after"]
    query = {"status": call.text("status"), "limit": call.text("limit"), **({"after": str(after)} if after else {})}
    reply = await neighbours.list_findings(call.environment, **query)
    return shown(reply)


async def read_finding(call: Call) -> web.StreamResponse:
    """One finding, with the decision about it and the ledger entries that were written for it."""
    reply = await neighbours.read_finding(call.environment, call.uuid("finding_id"))
    return shown(reply)


async def apply_finding(call: Call) -> web.StreamResponse:
    """Mends the books as proposed. 409 ``stale_expectation`` when the balance says something else than you were shown, ``vanished`` when
    there is nothing left to mend."""
    return await _decided(call, StockCompensationRequested, "apply finding")


async def dismiss_finding(call: Call) -> web.StreamResponse:
    """Leaves the books as they are. The finding comes back only when its figures change."""
    return await _decided(call, StockFindingDismissalRequested, "dismiss finding")


async def _decided(
    call: Call, command: type[StockCompensationRequested] | type[StockFindingDismissalRequested], purpose: str
) -> web.StreamResponse:
    wanted: DecideFinding = call.body
    finding_id = call.uuid("finding_id")
    decision_id = call.request_id(purpose, finding_id)
    wish = command(
        decision_id=decision_id,
        finding_id=finding_id,
        expected_found=wanted.expected_found,
        reason=wanted.reason,
        operator=wanted.operator,
    )
    return await told(call, "allocation", wish, event_id=decision_id, identifier=decision_id)
