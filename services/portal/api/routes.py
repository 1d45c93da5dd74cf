"""The table of operations: routes, their documentation and the tests over both are made from it."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from services.portal.api import feeds, models, operations, orders, returns, stock
from services.portal.api.openapi import openapi_document
from services.portal.api.operation import Operation, Parameter
from services.portal.api.rule_routes import RULES
from services.portal.pages.documentation import documentation_page
from services.portal.settings import PortalSettings
from shared.contracts.base import Code, Sku
from shared.service import Environment, get


def _path(name: str, description: str, kind: object = UUID) -> Parameter:
    return Parameter(name, "path", kind, description)


ORDER = _path("order_id", "The order's id.")
RETURN = _path("return_id", "The return's id.")
LOCATION = _path("location", "The location's code.", Code)
UPLOAD = _path("upload_id", "The upload's id.")
SUPPLY = _path("supply_id", "The supply's id.")
SKU = _path("sku", "The stock keeping unit, exactly as the merchant writes it; percent-encoded.", Sku)
SEARCH = Parameter("query", "query", str, "An order id, a channel's order number, an e-mail address or a tracking number.", "")
ANY_SKU = Parameter("sku", "query", str, "Only what concerns this SKU.", "")
PURCHASE_ORDER = Parameter("purchase_order", "query", str, "Only supplies with this purchase order number.", "")
OVER_RECEIVED = Parameter("over_received", "query", bool, "Only supplies of which more came than they should have brought.", False)
AFTER = Parameter("after", "query", str, "next_after of the page before.", "")
LIMIT = Parameter("limit", "query", Annotated[int, Field(ge=1, le=200)], "How many at most, 1 to 200.", 50)

PENDING = {202: "Passed on: a 3PL is asked, and its word decides."}
CHANGES = (404, 409, 422, 503)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/orders",
        "Orders",
        "Place an order",
        orders.place_order,
        models.Placed,
        status=202,
        request=models.PlaceOrder,
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "GET", "/api/orders", "Orders", "Find orders", orders.find_orders, models.OrderList, parameters=(SEARCH, LIMIT), errors=(422,)
    ),
    Operation(
        "GET",
        "/api/orders/{order_id}",
        "Orders",
        "Read an order",
        orders.read_order,
        models.OrderDocument,
        parameters=(ORDER,),
        errors=(404,),
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/cancel",
        "Orders",
        "Cancel an order",
        orders.cancel_order,
        models.Outcome,
        request=models.CancelOrder,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses=PENDING,
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/edit",
        "Orders",
        "Change an order",
        orders.edit_order,
        models.Outcome,
        request=models.EditOrder,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses=PENDING,
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/delay-answer",
        "Orders",
        "Answer about a delay",
        orders.answer_delay,
        models.Outcome,
        request=models.AnswerDelay,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses={202: "What the warehouse has started ships first, then the rest is cancelled."},
    ),
    Operation(
        "GET",
        "/api/delays",
        "Orders",
        "List orders that wait for their customer",
        orders.list_delays,
        models.Document,
        parameters=(AFTER,),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/orders/{order_id}/trace",
        "Orders",
        "Trace an order",
        orders.read_order_trace,
        models.TraceDocument,
        parameters=(ORDER,),
        errors=(404, 503),
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/returns",
        "Returns",
        "Ask for a return",
        returns.request_return,
        models.Outcome,
        status=201,
        request=models.RequestReturn,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses={200: "This very request was made before."},
    ),
    Operation(
        "GET",
        "/api/returns/{return_id}",
        "Returns",
        "Read a return",
        returns.read_return,
        models.Document,
        parameters=(RETURN,),
        errors=(404, 503),
    ),
    Operation(
        "POST",
        "/api/returns/{return_id}/scan",
        "Returns",
        "Scan a returned parcel",
        returns.scan_return,
        models.Outcome,
        request=models.ScanReturn,
        parameters=(RETURN,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "GET",
        "/api/stock/{sku:.+}",
        "Stock",
        "Read the stock of a SKU",
        stock.read_stock,
        models.Document,
        parameters=(SKU,),
        errors=(404, 422, 503),
    ),
    Operation(
        "PUT",
        "/api/stock/{sku:.+}/{location}",
        "Stock",
        "Adjust stock",
        stock.adjust_stock,
        models.Outcome,
        request=models.AdjustStock,
        parameters=(SKU, _path("location", "The location's code.", Code)),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    *RULES,
    Operation(
        "GET",
        "/api/shortage-policy",
        "Stock",
        "Read the shortage policy",
        stock.read_shortage_policy,
        models.Document,
        errors=(503,),
    ),
    Operation(
        "PUT",
        "/api/shortage-policy",
        "Stock",
        "Set the shortage policy",
        stock.set_shortage_policy,
        models.Outcome,
        request=models.SetShortagePolicy,
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/supplies",
        "Supplies",
        "Schedule a supply",
        stock.schedule_supply,
        models.Outcome,
        status=201,
        request=models.ScheduleSupply,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses={200: "This very request was made before."},
    ),
    Operation(
        "POST",
        "/api/supplies/{supply_id}/receive",
        "Supplies",
        "Receive a supply",
        stock.receive_supply,
        models.Outcome,
        request=models.ReceiveSupply,
        parameters=(SUPPLY,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/supplies/{supply_id}/reschedule",
        "Supplies",
        "Reschedule a supply",
        stock.reschedule_supply,
        models.Outcome,
        request=models.RescheduleSupply,
        parameters=(SUPPLY,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/supplies/{supply_id}/change",
        "Supplies",
        "Change the quantities of a supply",
        stock.change_supply,
        models.Outcome,
        request=models.ChangeSupply,
        parameters=(SUPPLY,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "GET",
        "/api/supplies",
        "Supplies",
        "List supplies",
        stock.list_supplies,
        models.Document,
        parameters=(ANY_SKU, PURCHASE_ORDER, OVER_RECEIVED, AFTER, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/preorders",
        "Preorders",
        "List preorders",
        stock.list_preorders,
        models.Document,
        parameters=(AFTER, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "PUT",
        "/api/preorders/{sku:.+}",
        "Preorders",
        "Open a preorder or move its release",
        stock.open_preorder,
        models.Outcome,
        request=models.OpenPreorder,
        parameters=(SKU,),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/preorders/{sku:.+}/close",
        "Preorders",
        "Close a preorder",
        stock.close_preorder,
        models.Outcome,
        parameters=(SKU,),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/supplies/{supply_id}/cancel",
        "Supplies",
        "Cancel a supply",
        stock.cancel_supply,
        models.Outcome,
        parameters=(SUPPLY,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/products",
        "Catalogue",
        "Register products",
        stock.register_products,
        models.Outcome,
        status=201,
        request=models.RegisterProducts,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses={200: "This very request was made before."},
    ),
    Operation(
        "POST",
        "/api/listings",
        "Catalogue",
        "Register listings",
        stock.register_listings,
        models.Outcome,
        status=201,
        request=models.RegisterListings,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses={200: "This very request was made before."},
    ),
    Operation(
        "POST",
        "/api/locations",
        "Catalogue",
        "Register a location",
        stock.register_location,
        models.Outcome,
        status=201,
        request=models.RegisterLocation,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses={200: "This very request was made before."},
    ),
    Operation("GET", "/api/locations", "Catalogue", "List locations", stock.read_locations, models.Document, errors=(503,)),
    Operation("GET", "/api/feeds", "Feeds", "List feeds", feeds.list_feeds, models.Document, errors=(503,)),
    Operation(
        "GET",
        "/api/feeds/{location}",
        "Feeds",
        "Read a feed",
        feeds.read_feed,
        models.Document,
        parameters=(LOCATION,),
        errors=(404, 422, 503),
    ),
    Operation(
        "PUT",
        "/api/feeds/{location}",
        "Feeds",
        "Set how a feed is watched",
        feeds.set_feed,
        models.Outcome,
        request=models.SetFeed,
        parameters=(LOCATION,),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/feeds/{location}/close-gap",
        "Feeds",
        "Give up missing messages",
        feeds.close_gap,
        models.Outcome,
        request=models.CloseGap,
        parameters=(LOCATION,),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/count-uploads",
        "Counts",
        "Upload counts",
        feeds.upload_counts,
        models.Document,
        status=201,
        parameters=(
            Parameter("file_name", "query", Annotated[str, Field(max_length=200)], "What the file is called.", "counts.csv"),
            Parameter("operator", "query", Annotated[str, Field(min_length=1, max_length=120)], "Who uploads it.", "operator"),
        ),
        errors=(503,),
        takes_file=True,
    ),
    Operation("GET", "/api/count-uploads", "Counts", "List uploads", feeds.list_uploads, models.Document, errors=(503,)),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}",
        "Counts",
        "Read an upload",
        feeds.read_upload,
        models.Document,
        parameters=(UPLOAD,),
        errors=(404, 503),
    ),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}/rows",
        "Counts",
        "Read an upload's rows",
        feeds.list_upload_rows,
        models.Document,
        parameters=(
            UPLOAD,
            Parameter(
                "status",
                "query",
                Literal["", "invalid", "same", "changed", "applied", "moved"],
                "Rows of one state: invalid, same, changed, applied or moved.",
                "",
            ),
            Parameter("after", "query", Annotated[int, Field(ge=0, le=2_000_000_000)], "next_after of the page before.", 0),
            Parameter("limit", "query", Annotated[int, Field(ge=1, le=1_000)], "How many at most, 1 to 1000.", 100),
        ),
        errors=(404, 422, 503),
    ),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}/report.csv",
        "Counts",
        "Download an upload's report",
        feeds.download_report,
        models.Document,
        parameters=(UPLOAD,),
        errors=(404, 503),
        gives_file=True,
    ),
    Operation(
        "POST",
        "/api/count-uploads/{upload_id}/apply",
        "Counts",
        "Apply uploaded counts",
        feeds.apply_upload,
        models.Document,
        request=models.ApplyCounts,
        parameters=(UPLOAD,),
        errors=(404, 409, 422, 503),
        more_statuses={202: "Begun: the rest is applied portion by portion; read the upload to see how far it is."},
    ),
    Operation("GET", "/api/parked", "Operations", "List parked messages", operations.list_parked, models.ParkedList),
    Operation(
        "POST",
        "/api/parked/{service}/{event_id}/redrive",
        "Operations",
        "Re-drive a parked message",
        operations.redrive_parked,
        models.Redriven,
        status=202,
        parameters=(_path("service", "Whose parked message.", Code), _path("event_id", "The message's id.")),
        errors=(404, 422, 503),
    ),
    Operation("GET", "/api/audit", "Operations", "Audit the books", operations.run_audit, models.AuditDocument, errors=(501, 503)),
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
