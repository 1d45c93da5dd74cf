"""Who may see an order: whoever holds the signed link from the e-mail. Nothing is stored, nothing can be guessed.

A key is ``<expiry>.<HMAC-SHA256 of purpose, order and expiry>``. Form tokens are bound to the key (or, in the console, to the session), so
a form only works for who was shown it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID


def _signature(secret: str, *parts: str) -> str:
    # Lengths stand before the parts, so that no two lists of parts give the same bytes.
    message = "".join(f"{len(part)}:{part}" for part in parts).encode()
    digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True)
class LinkSigner:
    """Makes and checks the shoppers' keys.

    Args:
        secrets: the secret that signs, then the ones that are still accepted.
        days: how long a key opens its order.
    """

    secrets: Sequence[str]
    days: int

    def key_for(self, order_id: UUID, now: datetime) -> str:
        """A key to one order. Keys made on the same day are the same, so that repeated mails carry one link."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        expiry = f"{int((midnight + timedelta(days=self.days + 1)).timestamp()):x}"
        return f"{expiry}.{_signature(self.secrets[0], 'order', str(order_id), expiry)}"

    def opens(self, key: str, order_id: UUID, now: datetime) -> bool:
        """Whether a key opens an order now. Compares in constant time."""
        expiry, _, signature = key.partition(".")
        genuine = [
            hmac.compare_digest(signature.encode(), _signature(secret, "order", str(order_id), expiry).encode()) for secret in self.secrets
        ]
        return any(genuine) and int(expiry, 16) > now.timestamp()

    def form_token(self, bound_to: str, purpose: str) -> str:
        """The hidden field of a form, bound to a key or a session."""
        return _signature(self.secrets[0], "form", bound_to, purpose)

    def form_is_ours(self, token: str, bound_to: str, purpose: str) -> bool:
        """Whether a form came from a page that was shown to this key or session."""
        genuine = [hmac.compare_digest(token.encode(), _signature(secret, "form", bound_to, purpose).encode()) for secret in self.secrets]
        return any(genuine)
