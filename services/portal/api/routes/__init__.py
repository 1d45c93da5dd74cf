"""The table of operations, chapter by chapter: routes, their documentation and the tests over both are made from it."""

from __future__ import annotations

from aiohttp import web

from services.portal.api.openapi import openapi_document
from services.portal.api.operation import Operation
from services.portal.api.routes.books import BOOKS
from services.portal.api.routes.catalogue import CATALOGUE
from services.portal.api.routes.feeds import FEEDS
from services.portal.api.routes.findings import FINDINGS
from services.portal.api.routes.holds import HOLDS
from services.portal.api.routes.messages import MESSAGES
from services.portal.api.routes.orders import ORDERS
from services.portal.api.routes.returns import RETURNS
from services.portal.api.routes.routing import ROUTING
from services.portal.api.routes.stock import STOCK
from services.portal.api.routes.supplies import SUPPLIES
from services.portal.pages.documentation import documentation_page
from services.portal.settings import PortalSettings
from shared.service import Environment, get

OPERATIONS: tuple[Operation, ...] = (
    *ORDERS,
    *RETURNS,
    *STOCK,
    *HOLDS,
    *SUPPLIES,
    *CATALOGUE,
    *ROUTING,
    *FEEDS,
    *MESSAGES,
    *FINDINGS,
    *BOOKS,
)


async def read_openapi(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /openapi.json``: this API, for machines."""
    settings: PortalSettings = environment.settings
    return web.json_response(openapi_document(OPERATIONS, server=settings.public_base_url.rstrip("/")))


async def read_documentation(environment: Environment, _: web.Request) -> web.StreamResponse:
    """``GET /docs``: the same, for people."""
    settings: PortalSettings = environment.settings
    return documentation_page(environment, openapi_document(OPERATIONS, server=settings.public_base_url.rstrip("/")))


ROUTES = [
    *(operation.route() for operation in sorted(OPERATIONS, key=lambda operation: ":" in operation.path)),
    get("/openapi.json", read_openapi, public=True),
    get("/docs", read_documentation, public=True),
]
