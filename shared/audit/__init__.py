"""The conservation auditor: ``python -m shared.audit``, or ``make audit``, against any running system.

It shares no code with what it checks. Each service states rules about its own books (``services/<name>/audit.py``); here they are run, the
facts on which two services must agree are compared, and every message is followed from the outbox that holds it to each inbox that must
know it. Everything is read in one REPEATABLE READ snapshot over all schemas, so what is under way can be told from what is wrong.
"""

from shared.audit.report import Check, Report, Violation
from shared.audit.running import audit, audit_until_settled

__all__ = ["Check", "Report", "Violation", "audit", "audit_until_settled"]
