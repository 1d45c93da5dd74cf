"""The generic JSON channel: the HTTP API that any shop can offer, described in docs and spoken by the channels simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from services.sync.channels.protocol import (
    Absent,
    Accepted,
    Answer,
    Answered,
    Busy,
    ListingNumber,
    LookUp,
    RefundOrder,
    Refused,
    Shipment,
    Unclear,
)

ANSWER_LIMIT_BYTES = 64 * 1024
"""No answer of a channel needs more; a channel that sends more is not read to its end."""

DEFAULT_RETRY_AFTER_SECONDS = 1.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
REASON_CHARACTERS = 300
REFERENCE_CHARACTERS = 120


class GenericChannel:
    """One channel behind the generic JSON API.

    Args:
        base_url: where its API starts, from the partners file.
        http: the process's client session.
        timeout_seconds: longest one call may take.
        listings_per_call: how many listings it takes in one call, from the partners file.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, *, timeout_seconds: float, listings_per_call: int = 1) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self.listings_per_call = listings_per_call

    async def show_stock(self, numbers: Sequence[ListingNumber]) -> Answered | Answer:
        """``PUT /stock``: all of them in one call. The channel names those that it refuses."""
        body = {
            "listings": [
                {
                    "external_listing_id": listing.external_listing_id,
                    "available": listing.number.available,
                    "mode": listing.number.mode,
                    "next_ship_at": None if listing.number.next_ship_at is None else _rfc3339(listing.number.next_ship_at),
                    "stock_version": listing.stock_version,
                }
                for listing in numbers
            ]
        }
        said = await self._call("PUT", "/stock", body)
        if not isinstance(said, _Said):
            return said
        if said.status not in (200, 201, 204):
            return Refused(said.reason)
        refused = said.refused
        return Answered(
            [Refused(refused[listing.external_listing_id]) if listing.external_listing_id in refused else Accepted() for listing in numbers]
        )

    async def refund(self, order: RefundOrder, *, traceparent: str | None = None) -> Answer:
        """``POST /orders/{external_id}/refunds`` with an Idempotency-Key. Only 422 is a refusal for good."""
        body = {"refund_id": str(order.refund_id), "amount_cents": order.amount_cents, "currency": order.currency}
        headers = _headers(order.idempotency_key, traceparent)
        said = await self._call("POST", f"/orders/{_segment(order.external_order_id)}/refunds", body, headers)
        if not isinstance(said, _Said):
            return said
        if said.status == 422:
            return Refused(said.reason)
        if said.status not in (200, 201):
            return Unclear(said.reason)
        return Unclear("the channel said yes without a reference") if said.reference is None else Accepted(said.reference)

    async def find_refund(self, order: RefundOrder) -> LookUp:
        """``GET /refunds/{idempotency_key}``."""
        said = await self._call("GET", f"/refunds/{_segment(order.idempotency_key)}")
        if not isinstance(said, _Said):
            return said
        if said.status == 404:
            return Absent()
        if said.status != 200 or said.reference is None:
            return Unclear(f"look-up of the refund: {said.reason}")
        held = said.document.get("amount_cents")
        if held != order.amount_cents:
            return Unclear(f"the channel holds {held!r:.40} cents under this key, not {order.amount_cents}")
        return Accepted(said.reference)

    async def announce_shipment(self, shipment: Shipment, *, traceparent: str | None = None) -> Answer:
        """``POST /orders/{external_id}/fulfillments`` with an Idempotency-Key. Only 422 is a refusal for good."""
        body = {
            "fulfillment_id": str(shipment.fulfillment_id),
            "carrier": shipment.carrier,
            "tracking_number": shipment.tracking_number,
            "lines": [{"line_id": line.line_id, "sku": line.sku, "quantity": line.quantity} for line in shipment.lines],
        }
        headers = _headers(str(shipment.fulfillment_id), traceparent)
        path = f"/orders/{_segment(shipment.external_order_id)}/fulfillments"
        said = await self._call("POST", path, body, headers)
        if not isinstance(said, _Said):
            return said
        if said.status in (200, 201):
            return Accepted()
        return Refused(said.reason) if said.status == 422 else Unclear(said.reason)

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> _Said | Busy | Unclear:
        """One request. Redirects are not followed: a channel's address is what the partners file says and nothing else."""
        url = URL(self._base_url + path, encoded=True)
        try:
            async with self._http.request(
                method, url, json=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                said = _Said(response.status, _object_in(await _beginning_of(response)))
        except TimeoutError:
            return Unclear(f"no answer within {self._timeout.total} s")
        except aiohttp.ClientError as error:
            return Unclear(f"{type(error).__name__}: {error}"[:REASON_CHARACTERS])
        if said.status == 429:
            return Busy(retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)))
        if said.status >= 500 or 300 <= said.status < 400:
            return Unclear(said.reason)
        return said


@dataclass(frozen=True, slots=True)
class _Said:
    """A channel's answer that neither asks for patience nor leaves the outcome open. The document is empty when it was no JSON object."""

    status: int
    document: Mapping[str, Any]

    @property
    def reference(self) -> str | None:
        """The channel's name for a refund, where it gave a usable one."""
        reference = self.document.get("reference")
        usable = isinstance(reference, str) and 0 < len(reference) <= REFERENCE_CHARACTERS and "\x00" not in reference
        return reference if usable else None

    @property
    def refused(self) -> dict[str, str]:
        """Of a call about several listings: those that the channel refuses, with its reasons. What it does not name, it took."""
        named = self.document.get("refused")
        return {
            str(entry.get("external_listing_id")): self._in_words(entry.get("error", "no reason given"))
            for entry in (named if isinstance(named, list) else ())
            if isinstance(entry, dict)
        }

    @property
    def reason(self) -> str:
        """What the channel says is wrong, in words fit to be stored."""
        return self._in_words(self.document.get("error", self.document.get("message", "no reason given")))

    def _in_words(self, error: object) -> str:
        text = error if isinstance(error, str) else json.dumps(error)
        return f"HTTP {self.status}: {text}".replace("\x00", "")[:REASON_CHARACTERS]


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """How long a channel asks us to wait: seconds or an HTTP date, at least 0.1 s and at most 300 s. Source: RFC 9110, 10.2.3."""
    seconds = DEFAULT_RETRY_AFTER_SECONDS
    if header is not None:
        try:
            seconds = float(header)
        except ValueError:
            try:
                moment = parsedate_to_datetime(header)
                seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
            except ValueError:
                seconds = DEFAULT_RETRY_AFTER_SECONDS
    # Written so that "nan" also ends at the shortest wait.
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds > 0.1 else 0.1


def _segment(text: str) -> str:
    """A partner's id as exactly one path segment, whatever is in it."""
    return quote(text, safe="")


def _headers(idempotency_key: str, traceparent: str | None) -> dict[str, str]:
    headers = {"Idempotency-Key": idempotency_key}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return headers


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def _beginning_of(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_chunked(16 * 1024):
        content += piece
        if len(content) > ANSWER_LIMIT_BYTES:
            break
    return bytes(content)


def _object_in(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
