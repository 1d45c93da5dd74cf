"""``python -m shared.audit``: do the books balance? Exit code 0 when they do, 1 when they do not, 2 when that could not be found out.

ORDERMESH_AUDIT_DATABASE_URL   DSN of a role that may read every schema (``ordermesh_audit``); without it
ADMIN_DATABASE_URL             DSN of the administrator

Runs against a living system: what is under way is counted, not reported. With --wait it goes on until the system has come to rest and
every check holds; what is still under way or wrong when the time is over is a violation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg

from shared.audit.report import Report
from shared.audit.running import audit, audit_until_settled
from shared.audit.statements import load_statements
from shared.errors import OrdermeshError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.audit", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="wait for the system to come to rest, at most this long")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--service", metavar="NAME", help="only checks in which this service takes part")
    return parser.parse_args()


async def _run(url: str, arguments: argparse.Namespace) -> Report:
    if arguments.wait is None:
        return await audit(url, only=arguments.service)
    return await audit_until_settled(url, wait_seconds=arguments.wait, only=arguments.service)


def main() -> int:
    """Command line entry."""
    arguments = _arguments()
    url = os.environ.get("ORDERMESH_AUDIT_DATABASE_URL") or os.environ.get("ADMIN_DATABASE_URL")
    if not url:
        print("set ORDERMESH_AUDIT_DATABASE_URL or ADMIN_DATABASE_URL: the DSN of a role that may read every schema", file=sys.stderr)
        return 2
    known = [statements.service for statements in load_statements()]
    if arguments.service is not None and arguments.service not in known:
        print(f"--service: {arguments.service!r} is not audited; one of {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        report = asyncio.run(_run(url, arguments))
    except (OrdermeshError, OSError, asyncpg.PostgresError) as error:
        print(f"the audit could not run: {error}", file=sys.stderr)
        return 2
    for line in report.lines():
        print(line)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.violation_count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
