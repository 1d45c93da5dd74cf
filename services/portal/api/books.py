"""Operations on the books of all services."""

from __future__ import annotations

import asyncpg
from aiohttp import web

from services.portal.api.models import AuditDocument
from services.portal.api.operation import Call, Problem, answered
from services.portal.settings import PortalSettings
from shared.audit import audit
from shared.errors import OrdermeshError


async def run_audit(call: Call) -> web.StreamResponse:
    """Runs the conservation auditor over the books of all services and reports every violation. Needs the auditor's own database role."""
    settings: PortalSettings = call.environment.settings
    if settings.audit_database_url is None:
        raise Problem(
            501,
            "audit_not_set_up",
            "the portal's own role may not read the other services' books: set ORDERMESH_AUDIT_DATABASE_URL to the DSN of the role "
            "ordermesh_audit, or run make audit",
        )
    try:
        report = await audit(settings.audit_database_url)
    except (OrdermeshError, OSError, asyncpg.PostgresError) as error:
        raise Problem(503, "audit_could_not_run", f"the audit could not run: {error}") from error
    return answered(AuditDocument.model_validate(report.as_json()))
