"""The table of pages. Shoppers are let in by their link, operators by their session; the pages themselves see to it."""

from services.portal.pages import console, feeds, messages, rules, sessions, shopper
from services.portal.pages.rendering import read_mark, read_style_sheet
from services.portal.pages.sessions import console as for_operators
from shared.service import get, post

ROUTES = [
    get("/", console.go_to_orders, public=True),
    get("/orders/{order_id}", shopper.read_order_page, public=True),
    post("/orders/{order_id}/cancel", shopper.cancel_order, public=True),
    post("/orders/{order_id}/delay", shopper.answer_delay, public=True),
    post("/orders/{order_id}/returns", shopper.request_return, public=True),
    get("/orders/{order_id}/returns/{return_id}/label.pdf", shopper.read_label, public=True),
    get("/console/login", sessions.read_login, public=True),
    post("/console/login", sessions.sign_in, public=True),
    post("/console/logout", for_operators(sessions.sign_out), public=True),
    get("/console", for_operators(console.search_orders), public=True),
    get("/console/orders/{order_id}", for_operators(console.read_order), public=True),
    post("/console/orders/{order_id}/cancel", for_operators(console.cancel_order), public=True),
    post("/console/orders/{order_id}/delay", for_operators(console.answer_delay), public=True),
    get("/console/parked", for_operators(messages.list_messages), public=True),
    get("/console/parked/{service}/{event_id}", for_operators(messages.read_message), public=True),
    post("/console/parked/{service}/{event_id}/redrive", for_operators(messages.redrive), public=True),
    post("/console/parked/{service}/{event_id}/dismiss", for_operators(messages.dismiss), public=True),
    get("/console/attention", for_operators(console.list_attention), public=True),
    post("/console/orders/{order_id}/retry", for_operators(console.retry_order), public=True),
    post("/console/refunds/{refund_id}/retry", for_operators(console.retry_refund), public=True),
    post("/console/mails/{order_id}/{kind}/{cause_id}/retry", for_operators(console.retry_mail), public=True),
    get("/console/stock", for_operators(console.read_stock), public=True),
    post("/console/stock", for_operators(console.adjust_stock), public=True),
    get("/console/feeds", for_operators(feeds.list_feeds), public=True),
    get("/console/feeds/{location}", for_operators(feeds.read_feed), public=True),
    post("/console/feeds/{location}/settings", for_operators(feeds.set_feed), public=True),
    post("/console/feeds/{location}/close-gap", for_operators(feeds.close_gap), public=True),
    get("/console/counts", for_operators(feeds.read_uploads), public=True),
    post("/console/counts", for_operators(feeds.upload_counts), public=True),
    get("/console/counts/{upload_id}", for_operators(feeds.read_upload), public=True),
    get("/console/counts/{upload_id}/report.csv", for_operators(feeds.download_report), public=True),
    post("/console/counts/{upload_id}/apply", for_operators(feeds.apply_upload), public=True),
    post("/console/shortage-policy", for_operators(console.set_shortage_policy), public=True),
    get("/console/rules", for_operators(rules.list_rules), public=True),
    get("/console/rules/{version}", for_operators(rules.read_rules), public=True),
    post("/console/rules/{version}/publish", for_operators(rules.publish), public=True),
    get("/console/{path:.*}", for_operators(console.say_missing), public=True),
    get("/static/portal.css", read_style_sheet, public=True),
    get("/static/mark.svg", read_mark, public=True),
]
