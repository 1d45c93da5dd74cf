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
from urllib.parse import urlencode
from uuid import UUID

TIMEOUT_SECONDS = 20.0
HOW_TO_NAME_AN_ORDER = (
    "ORDER is missing: make trace ORDER=<id>, or the channel's number (ORDER=1001, ORDER=webshop:1001); "
    "the console's orders page and GET /api/orders list both"
)


def lines_of(messages: Sequence[Mapping[str, Any]], started_at: datetime | None, depth: int = 0) -> Iterator[str]:
    """One line per message, indented below what caused it: when, what, who said it, who handled it and how long that took.

    Of what went to a partner only the partner is known: it does not tell when it has read it.
    """
    for message in messages:
        at = datetime.fromisoformat(message["at"]) if message["at"] else None
        started_at = started_at or at
        offset = f"{(at - started_at).total_seconds() * 1000:9.1f} ms" if at and started_at else " " * 12
        heard = ", ".join(_heard(item) for item in message["heard_by"])
        sent = "" if message["sent"] else "  (not sent yet)"
        yield f"{offset}  {'  ' * depth}{message['type']}  {message['source']} -> {heard or message['partner'] or 'nobody yet'}{sent}"
        yield from lines_of(message["caused"], started_at, depth + 1)


def _heard(item: Mapping[str, Any]) -> str:
    took = f" {item['waited_ms']:.0f} ms" if item["waited_ms"] is not None else ""
    trouble = "" if item["status"] == "done" else f" [{item['status']}: {item['reason']}]"
    return f"{item['service']}{took}{trouble}"


class NoSuchOrderError(Exception):
    """Which order is meant cannot be told; the text says why and how to name it."""


def read_trace(portal_url: str, token: str, order_id: UUID) -> dict[str, Any]:
    """What ``GET /api/orders/{id}/trace`` answers.

    Raises:
        OSError: the portal does not answer, or knows no such order.
    """
    return _read(portal_url, token, f"/api/orders/{order_id}/trace")


def find_order(portal_url: str, token: str, name: str) -> UUID:
    """The id of the order that a person means: by its id, its number at the channel, or ``channel:number``.

    Raises:
        NoSuchOrderError: no order is called that, or several are.
        OSError: the portal does not answer.
    """
    try:
        return UUID(name)
    except ValueError:
        pass
    channel, _, number = name.rpartition(":")
    elsewhere: dict[str, None] = {}
    # Shops write their numbers with a sign that shells and people leave out; a number may itself hold a colon.
    for of_channel, text in (("", name), ("", f"#{name}"), (channel, number), (channel, f"#{number}")):
        found = _read(portal_url, token, f"/api/orders?{urlencode({'query': text})}")["orders"]
        numbered = [order for order in found if order["external_id"] == text]
        called = [order for order in numbered if of_channel in ("", order["channel"])]
        elsewhere |= dict.fromkeys(f"{order['channel']}:{text}" for order in numbered)
        if len(called) == 1:
            return UUID(called[0]["order_id"])
        if called:
            choice = " or ".join(f"{order['channel']}:{text}" for order in called)
            raise NoSuchOrderError(f"ORDER: several orders have the number {text}: say {choice}")
    remedy = f"there is {' and '.join(elsewhere)}" if elsewhere else "the console, and GET /api/orders, show ids and numbers"
    raise NoSuchOrderError(f"ORDER: no order has the id or number {name!r}: {remedy}")


def _read(portal_url: str, token: str, path: str) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the address is this stack's own portal
        f"{portal_url}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
        document: dict[str, Any] = json.load(response)
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m shared.trace", description="Show one order's trace across all services.")
    parser.add_argument("order", nargs="?", default="", help="the order's id, its number at the channel, or channel:number")
    name = parser.parse_args(arguments).order.strip()
    if not name:
        print(HOW_TO_NAME_AN_ORDER, file=sys.stderr)
        return 2
    portal_url, token = os.environ.get("ORDERMESH_PORTAL_URL"), os.environ.get("ORDERMESH_OPERATOR_TOKEN")
    if not portal_url or not token:
        print("ORDERMESH_PORTAL_URL and ORDERMESH_OPERATOR_TOKEN are not set: is the stack running (make up)?", file=sys.stderr)
        return 2
    try:
        order_id = find_order(portal_url, token, name)
        trace = read_trace(portal_url, token, order_id)
    except NoSuchOrderError as error:
        print(error, file=sys.stderr)
        return 1
    except urllib.error.HTTPError as error:
        print(f"no trace of {name}: {error.code} {error.read().decode(errors='replace')[:300]}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the portal at {portal_url} does not answer: {error}", file=sys.stderr)
        return 1
    print(f"order {order_id}  trace {', '.join(trace['trace_ids'])}")
    for line in lines_of(trace["messages"], None):
        print(line)
    for service in trace["unavailable"]:
        print(f"{service} did not answer: its part is missing", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
