"""The operations on the books of all services."""

from __future__ import annotations

from services.portal.api import books, models
from services.portal.api.operation import Operation

BOOKS: tuple[Operation, ...] = (
    Operation("GET", "/api/audit", "Operations", "Audit the books", books.run_audit, models.AuditDocument, errors=(501, 503)),
)
