"""``make trace ORDER=...``: the trace tree of one order, without any trace server.

Asks the portal, which merges what every service said and heard about the order (their outboxes and inboxes) into one tree.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

TIMEOUT_SECONDS = 20.0


def lines_of(messages: Sequence[Mapping[str, Any]], started_at: datetime | None, depth: int = 0) -> Iterator[str]:
    """One line per message, indented below what caused it: when, what, who said it, who handled it and how long that took."""
    for message in messages:
        at = datetime.fromisoformat(message["at"]) if message["at"] else None
        started_at = started_at or at
        offset = f"{(at - started_at).total_seconds() * 1000:9.1f} ms" if at and started_at else " " * 12
        heard = ", ".join(_heard(item) for item in message["heard_by"])
        sent = "" if message["sent"] else "  (not sent yet)"
        yield f"{offset}  {'  ' * depth}{message['type']}  {message['source']} -> {heard or 'nobody yet'}{sent}"
        yield from lines_of(message["caused"], started_at, depth + 1)


def _heard(item: Mapping[str, Any]) -> str:
    took = f" {item['waited_ms']:.0f} ms" if item["waited_ms"] is not None else ""
    trouble = "" if item["status"] == "done" else f" [{item['status']}: {item['reason']}]"
    return f"{item['service']}{took}{trouble}"


def read_trace(portal_url: str, token: str, order_id: UUID) -> dict[str, Any]:
    """What ``GET /api/orders/{id}/trace`` answers.

    Raises:
        OSError: the portal does not answer, or knows no such order.
    """
    request = urllib.request.Request(  # noqa: S310 - the address is this stack's own portal
        f"{portal_url}/api/orders/{order_id}/trace", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
        document: dict[str, Any] = json.load(response)
    return document


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m shared.trace", description="Show one order's trace across all services.")
    parser.add_argument("order", type=UUID, help="the order's id, as the API and the console show it")
    arguments = parser.parse_args()
    portal_url, token = os.environ.get("ORDERMESH_PORTAL_URL"), os.environ.get("ORDERMESH_OPERATOR_TOKEN")
    if not portal_url or not token:
        print("ORDERMESH_PORTAL_URL and ORDERMESH_OPERATOR_TOKEN are not set: is the stack running (make up)?", file=sys.stderr)
        return 2
    try:
        trace = read_trace(portal_url, token, arguments.order)
    except urllib.error.HTTPError as error:
        print(f"no trace of {arguments.order}: {error.code} {error.read().decode(errors='replace')[:300]}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the portal at {portal_url} does not answer: {error}", file=sys.stderr)
        return 1
    print(f"order {arguments.order}  trace {', '.join(trace['trace_ids'])}")
    for line in lines_of(trace["messages"], None):
        print(line)
    for service in trace["unavailable"]:
        print(f"{service} did not answer: its part is missing", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
