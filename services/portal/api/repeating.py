"""What an Idempotency-Key stands for: one request with one content, until that request was refused.

Source: IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header), which asks for 422 when a key comes
again with another payload.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.portal import queries
from shared.service import Environment


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that came with a key.

    Args:
        request: what the key is about.
        attempt: how many requests under this key were refused before; part of the ids that the request asks under.
        first: whether nothing was asked for under this key before, or only what was refused.
    """

    request: bytes
    attempt: int
    first: bool


@dataclass(frozen=True, slots=True)
class OtherContent:
    """The key was used for something else."""

    since: str


async def keyed(
    environment: Environment, operation: str, values: Mapping[str, Any], key: str, canonical_body: str
) -> KeyedRequest | OtherContent:
    """Binds the key to this request, or finds what it was bound to.

    Args:
        environment: the service.
        operation: what is asked for.
        values: what the address names: the same key may be used for the same operation on different things.
        key: the Idempotency-Key.
        canonical_body: the JSON document as it was sent, in the one form in which spaces and the order of fields make no difference.
    """
    about = json.dumps([operation, {name: str(value) for name, value in sorted(values.items())}, key])
    request, content = hashlib.sha256(about.encode()).digest(), hashlib.sha256(canonical_body.encode()).digest()
    async with environment.database.acquire(timeout=10) as connection:
        attempt = await queries.claim_key(connection, request, content, environment.now())
        if attempt is not None:
            return KeyedRequest(request, attempt, first=True)
        bound = await queries.read_key(connection, request)
    assert bound is not None, "a key that can not be claimed is bound, and no key is ever forgotten"
    if bound["content"] != content:
        return OtherContent(bound["asked_at"].isoformat(timespec="seconds"))
    return KeyedRequest(request, bound["attempt"], first=False)


async def free(environment: Environment, keyed_request: KeyedRequest) -> None:
    """Lets the key be used again: what was asked for under it was not done."""
    async with environment.database.acquire(timeout=10) as connection:
        await queries.free_key(connection, keyed_request.request, keyed_request.attempt)
