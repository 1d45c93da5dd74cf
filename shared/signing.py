"""Signed HTTP requests of channels: who sent a body, and how much of it is read before that is known."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from aiohttp import web

from shared.http import error_response

SIGNATURE_HEADER = "X-Ordermesh-Hmac-Sha256"
CONTENT_TYPES = ("application/json", "application/cloudevents+json")


def is_signed(body: bytes, signature: str, secrets: Sequence[str]) -> bool:
    """Whether the signature is that of one of the live secrets. Takes the same time whichever it is and wherever it differs."""
    given = signature.strip().encode("utf-8", "surrogateescape")
    good = False
    for secret in secrets:
        expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
        good |= hmac.compare_digest(expected, given)
    return good


def signature_problem(body: bytes, request: web.Request, secrets: Sequence[str]) -> web.Response | None:
    """Why a body is not looked into; None when its signature is good."""
    if is_signed(body, request.headers.get(SIGNATURE_HEADER, ""), secrets):
        return None
    message = f"send {SIGNATURE_HEADER}: base64 of the HMAC-SHA256 over the raw body under this channel's webhook secret"
    return error_response(401, "bad_signature", message)


async def read_body(request: web.Request, limit_bytes: int) -> bytes | web.Response:
    """The raw body, or why it is not read: what claims to be too long is refused before a byte of it is kept."""
    if request.content_type not in CONTENT_TYPES:
        return error_response(415, "unsupported_media_type", f"send {' or '.join(CONTENT_TYPES)}")
    too_large = error_response(413, "body_too_large", f"the body is larger than {limit_bytes} bytes: send less at a time")
    if request.content_length is not None and request.content_length > limit_bytes:
        return too_large
    content = bytearray()
    async for piece in request.content.iter_chunked(64 * 1024):
        content += piece
        if len(content) > limit_bytes:
            return too_large
    return bytes(content)
