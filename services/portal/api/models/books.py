"""The audit of the books."""

from __future__ import annotations

from datetime import datetime

from services.portal.api.models.shapes import Response


class AuditViolation(Response):
    """One thing that is wrong: what it is about, and the figures that disagree."""

    subject: str
    detail: str


class AuditCheck(Response):
    """One rule about the books of one service or several."""

    id: str
    service: str
    title: str
    violation_count: int
    counts: dict[str, int]
    violations: list[AuditViolation]


class AuditDocument(Response):
    """The auditor's finding over all services. ``under_way`` messages were on their way when the snapshot was taken."""

    taken_at: datetime
    seconds: float
    under_way: int
    violations: int
    checks: list[AuditCheck]
