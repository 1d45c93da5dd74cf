"""Places one order with the system in containers and follows it to the 3PL and the channels: ``python3 -m deploy.compose``.

First: ``docker-compose --profile simulators up --build --detach``. Needs nothing but Python's own library; ports and the operator's token
are taken from the environment under the names of .env.example. Exits 1 when the order does not arrive within five minutes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

SKU = "MUG-BLUE"
SELLING_CHANNEL = "webshop"
CHANNELS = (SELLING_CHANNEL, "marketplace")
SHOWN_OF_STOCK = ("available", "mode", "stock_version")
PATIENCE_SECONDS = 300.0
COUNTED = {"new_on_hand": 10, "reason": "opening count"}
ADDRESS = {
    "name": "Ada Example",
    "line1": "1 Capitol Mall",
    "city": "Sacramento",
    "region": "CA",
    "postal_code": "95814",
    "country": "US",
}
LOCATIONS = (
    {"location": "reno", "name": "Reno", "partner": "west", "postal_code": "89506", "country": "US", "time_zone": "America/Los_Angeles"},
    {"location": "newark", "name": "Newark", "partner": "east", "postal_code": "07114", "country": "US"},
)


def call(method: str, port: str, path: str, content: object = None, *, token: str | None = None) -> Any:
    """One HTTP call to a published port; the JSON answer.

    Raises:
        OSError: nobody answers, or the answer is an error.
    """
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(request, body, timeout=30) as answer:
        return json.load(answer)


class Installation:
    """The containers, as seen from this machine."""

    def __init__(self) -> None:
        self._token = os.environ.get("OPERATOR_TOKEN", "only-for-development-operator")

    def portal(self, method: str, path: str, content: object = None) -> Any:
        """The operator's API."""
        return call(method, os.environ.get("PORTAL_PORT", "8080"), path, content, token=self._token)

    def third_parties(self, path: str) -> Any:
        """What the simulated 3PLs know."""
        return call("GET", os.environ.get("THIRD_PARTY_LOGISTICS_PORT", "8082"), path)

    def channels(self, path: str) -> Any:
        """What the simulated channels were told."""
        return call("GET", os.environ.get("CHANNELS_PORT", "8081"), path)

    def mail(self, path: str) -> Any:
        """What the simulated mail server took."""
        return call("GET", os.environ.get("MAIL_PORT", "8083"), path)


def until(what: str, check: Callable[[], Any]) -> Any:
    """The first true answer of a check, tried again until patience ends; errors on the way are waited out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except OSError as error:
            last = error
        time.sleep(0.5)
    sys.exit(f"not within {PATIENCE_SECONDS:.0f} s: {what}; last seen: {last}")


def stock_up(here: Installation) -> None:
    """Two locations, one product that both channels sell, ten units at each location."""
    for location in LOCATIONS:
        here.portal("POST", "/api/locations", location)
    product = {"sku": SKU, "title": "Mug, blue", "unit_price_cents": 2450, "unit_weight_grams": 380}
    here.portal("POST", "/api/products", {"products": [product]})
    for channel in CHANNELS:
        here.portal("POST", "/api/listings", {"channel": channel, "listings": [{"sku": SKU, "external_listing_id": f"L-{SKU}"}]})
    for location in LOCATIONS:
        shelf = f"/api/stock/{SKU}/{location['location']}"
        until(f"allocation knows {SKU} at {location['location']}", partial(here.portal, "PUT", shelf, COUNTED))


def place(here: Installation) -> tuple[str, str]:
    """One order of two units to Sacramento, as the web shop's adapter would have it; returns its id and its number there."""
    number = f"WEB-{datetime.now(UTC):%H%M%S}"
    order = {
        "channel": SELLING_CHANNEL,
        "external_id": number,
        "paid_at": datetime.now(UTC).isoformat(),
        "currency": "USD",
        "lines": [{"external_line_id": "1", "sku": SKU, "quantity": 2, "unit_price_cents": 2450, "tax_cents": 404}],
        "shipping_paid_cents": 599,
        "ship_to": ADDRESS,
        "customer": {"email": "ada@example.com", "name": "Ada Example"},
    }
    placed = here.portal("POST", "/api/orders", order)
    return str(placed["order_id"]), number


def shipped_order(here: Installation, order_id: str) -> Any:
    """The order once its parcel has left, else nothing."""
    order = here.portal("GET", f"/api/orders/{order_id}")
    return order if order.get("status") in ("shipped", "delivered") else None


def told_channel(here: Installation, channel: str, number: str) -> Any:
    """The numbers a channel shows and the parcels of this order that it heard of; the channel that sold it must have heard of one."""
    state = here.channels(f"/{channel}/state")
    parcels = [parcel for parcel in state["fulfillments"] if parcel["external_id"] == number]
    stock = {listing: {name: shown[name] for name in SHOWN_OF_STOCK} for listing, shown in state["listings"].items()}
    return {"stock": stock, "parcels": parcels} if stock and (parcels or channel != SELLING_CHANNEL) else None


def mails_about(here: Installation, number: str) -> Any:
    """Subjects of the mails about this order, once the one about its parcel is there."""
    subjects = [mail["subject"] for mail in here.mail("/messages?to=ada@example.com") if number in mail["subject"]]
    return subjects if any("on its way" in subject for subject in subjects) else None


def show(title: str, content: object) -> None:
    """Prints one finding."""
    print(f"\n{title}\n{json.dumps(content, indent=2)}")


def main() -> None:
    """Command line entry."""
    here = Installation()
    until("the portal answers", lambda: here.portal("GET", "/api/locations") is not None)
    stock_up(here)
    order_id, number = place(here)
    print(f"placed order {order_id} ({number})")
    order = until(f"order {number} is shipped", lambda: shipped_order(here, order_id))
    show("the order's timeline", [f"{entry['at']}  {entry['type']}" for entry in order["timeline"]])
    show("at the 3PL", [row for row in here.third_parties("/fulfillments")["fulfillments"] if row["subject"] == order_id])
    for channel in CHANNELS:
        show(f"the channel {channel} was told", until(f"{channel} is told", partial(told_channel, here, channel, number)))
    show("mails to the customer", until("the mail about the parcel", lambda: mails_about(here, number)))


if __name__ == "__main__":
    main()
