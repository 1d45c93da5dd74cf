"""The operations on what the continuous auditor found in the books of stock, for the table of operations."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from services.portal.api import findings, models
from services.portal.api.operation import Operation, Parameter
from services.portal.api.routes.parameters import CHANGES, LIMIT

FINDING = Parameter("finding_id", "path", UUID, "The finding's id.")
STATUS = Parameter("status", "query", Literal["open", "applied", "dismissed", "vanished"], "open, applied, dismissed or vanished.", "open")
AFTER = Parameter("after", "query", UUID, "next_after of the page before.")


FINDINGS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/api/findings",
        "Books",
        "List findings",
        findings.list_findings,
        models.Document,
        parameters=(STATUS, AFTER, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/findings/{finding_id}",
        "Books",
        "Read a finding",
        findings.read_finding,
        models.Document,
        parameters=(FINDING,),
        errors=(404, 503),
    ),
    Operation(
        "POST",
        "/api/findings/{finding_id}/apply",
        "Books",
        "Apply a compensation",
        findings.apply_finding,
        models.Outcome,
        request=findings.DecideFinding,
        parameters=(FINDING,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/findings/{finding_id}/dismiss",
        "Books",
        "Dismiss a finding",
        findings.dismiss_finding,
        models.Outcome,
        request=findings.DecideFinding,
        parameters=(FINDING,),
        errors=CHANGES,
        idempotent=True,
    ),
)
