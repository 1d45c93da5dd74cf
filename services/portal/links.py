"""The links in e-mails."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from services.portal.access import LinkSigner
from services.portal.settings import PortalSettings


def signer_of(settings: PortalSettings) -> LinkSigner:
    """Signs with the secret, accepts the previous one while it is set."""
    secrets = [settings.link_secret]
    if settings.previous_link_secret is not None:
        secrets.append(settings.previous_link_secret)
    return LinkSigner(secrets, settings.link_days)


def order_url(settings: PortalSettings, signer: LinkSigner, order_id: UUID, now: datetime) -> str:
    """The address under which a shopper sees one order."""
    return f"{settings.public_base_url.rstrip('/')}/orders/{order_id}?key={signer.key_for(order_id, now)}"
