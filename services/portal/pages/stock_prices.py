"""The console's page about what scarce stock is worth to later orders."""

from __future__ import annotations

from aiohttp import web

from services.portal import neighbours
from services.portal.pages.frame import console_page, document_of
from services.portal.pages.sessions import Session


async def list_stock_prices(session: Session) -> web.StreamResponse:
    """``GET /console/stock-prices?sku=``: the dearest units, or those of one SKU; when the prices were made and from what."""
    sku = session.request.query.get("sku", "").strip()[:64]
    document, away = await document_of(neighbours.list_stock_prices(session.environment, sku))
    return console_page(session, "console_stock_prices.html", "rules", sku=sku, document=document, away=away)
