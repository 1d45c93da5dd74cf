"""A 3PL's memory on disk: written before anything is said, so that a killed process goes on where it was.

One fact a line: a pick list that was taken, goods that were put on a shelf, units that were lost, what was said, which of it the broker has
confirmed. Everything else follows from these. What was said but not confirmed is said again under the same event ids. The file is flushed,
not synced: it survives the process, not the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from shared.contracts.base import PartnerMessage
from shared.contracts.fulfillment import (
    ThirdPartyAccepted,
    ThirdPartyCancelAccepted,
    ThirdPartyDelivered,
    ThirdPartyIntercepted,
    ThirdPartyLabelPrinted,
    ThirdPartyRejected,
    ThirdPartyShipped,
    ThirdPartyShortPicked,
)
from shared.contracts.orders import LineUnits
from shared.contracts.registry import MESSAGES
from shared.contracts.stock import ThirdPartyReceipt, ThirdPartyStockAdjusted
from simulators.third_party_logistics.answers import Answer
from simulators.third_party_logistics.shelf import Shelf
from simulators.third_party_logistics.warehouse import WILL_NOT_SHIP, Fulfillment, Status, Warehouse, without

STATUS_AFTER: dict[type[PartnerMessage], Status] = {
    ThirdPartyAccepted: "accepted",
    ThirdPartyRejected: "rejected",
    ThirdPartyLabelPrinted: "labelled",
    ThirdPartyShipped: "shipped",
    ThirdPartyDelivered: "delivered",
}


class Journal:
    """The file of one 3PL."""

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._source = source
        self._lines: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO | None = None

    def take(self, fulfillment: Fulfillment) -> None:
        """A pick list was taken."""
        self._lines.append(json.dumps({"taken": _fulfillment_row(fulfillment)}))

    def shelve(self, location: str, units: Iterable[tuple[str, int]]) -> None:
        """Goods were put on a shelf and nothing is said about it."""
        self._lines.append(json.dumps({"shelved": [location, list(units)]}))

    def lose(self, location: str, sku: str, quantity: int) -> None:
        """Units were not found."""
        self._lines.append(json.dumps({"lost": [location, sku, quantity]}))

    def say(self, answers: Iterable[Answer]) -> None:
        """These messages are about to be said."""
        self._lines += [f'{{"said": {answer.body(self._source).decode()}}}' for answer in answers]

    def confirm(self, event_ids: Iterable[UUID]) -> None:
        """These messages have reached the broker."""
        self._lines.append(json.dumps({"confirmed": [str(event_id) for event_id in event_ids]}))

    def flush(self) -> None:
        """Hands everything to the operating system: from here on a kill does no harm."""
        if not self._lines:
            return
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write("\n".join([*self._lines, ""]))
        self._file.flush()
        self._lines.clear()

    def restore(self, warehouse: Warehouse, now: datetime) -> list[Answer]:
        """Brings the warehouse to where it was and returns what it had said without a confirmation."""
        fulfillments: dict[UUID, Fulfillment] = {}
        unconfirmed: dict[UUID, Answer] = {}
        for record in self._records():
            match record:
                case {"taken": dict(row)}:
                    fulfillment = _read_fulfillment(row)
                    fulfillments[fulfillment.fulfillment_id] = fulfillment
                case {"shelved": [location, list(units)]}:
                    warehouse.shelf.add(location, ((sku, quantity) for sku, quantity in units))
                case {"lost": [location, sku, quantity]}:
                    warehouse.shelf.count(location, sku).missing += quantity
                case {"said": dict(envelope)}:
                    answer = _read_answer(envelope)
                    unconfirmed[answer.event_id] = answer
                    _remember(warehouse, fulfillments, answer)
                case {"confirmed": list(event_ids)}:
                    for event_id in event_ids:
                        unconfirmed.pop(UUID(event_id), None)
        for fulfillment in fulfillments.values():
            warehouse.resume(fulfillment, now)
        return list(unconfirmed.values())

    def _records(self) -> Iterator[dict[str, Any]]:
        """Every whole line; the last one may have been cut short by the kill."""
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)


def _remember(warehouse: Warehouse, fulfillments: dict[UUID, Fulfillment], answer: Answer) -> None:
    """Does to the state what saying this did; a repetition of the same fact changes nothing."""
    fulfillment = fulfillments.get(getattr(answer.data, "fulfillment_id", UUID(int=0)))
    said = warehouse.stock_messages if fulfillment is None else fulfillment.said
    if any(answer.data == earlier.data for earlier in said):
        return
    if isinstance(answer.data, ThirdPartyCancelAccepted | ThirdPartyIntercepted):
        warehouse.remember_cancellation(answer.data.fulfillment_id)
    if fulfillment is not None:
        said.append(answer)
        _advance(warehouse.shelf, fulfillment, answer.data)
    elif isinstance(answer.data, ThirdPartyReceipt | ThirdPartyStockAdjusted):
        said.append(answer)
        _move_stock(warehouse.shelf, answer.data)


def _advance(shelf: Shelf, fulfillment: Fulfillment, word: PartnerMessage) -> None:
    if isinstance(word, ThirdPartyShortPicked):
        fulfillment.picked = list(without(fulfillment.lines, word.missing))
        fulfillment.status = "labelled" if fulfillment.picked else "nothing_found"
    elif isinstance(word, ThirdPartyCancelAccepted | ThirdPartyIntercepted):
        if fulfillment.status not in WILL_NOT_SHIP:
            fulfillment.status = "cancelled"
    elif type(word) in STATUS_AFTER:
        fulfillment.status = STATUS_AFTER[type(word)]
    if isinstance(word, ThirdPartyLabelPrinted):
        fulfillment.picked = fulfillment.picked or list(fulfillment.lines)
    if isinstance(word, ThirdPartyShipped):
        fulfillment.picked = list(word.lines)
        for line in word.lines:
            shelf.count(fulfillment.location, line.sku).shipped += line.quantity
        shelf.continue_after(fulfillment.location, word.sequence)


def _move_stock(shelf: Shelf, word: ThirdPartyReceipt | ThirdPartyStockAdjusted) -> None:
    if isinstance(word, ThirdPartyReceipt):
        shelf.add(word.location, ((line.sku, line.quantity) for line in word.lines))
    else:
        shelf.count(word.location, word.sku).adjusted += word.quantity_delta
    shelf.continue_after(word.location, word.sequence)


def _fulfillment_row(fulfillment: Fulfillment) -> dict[str, Any]:
    return {
        "fulfillment_id": str(fulfillment.fulfillment_id),
        "order_number": fulfillment.order_number,
        "subject": fulfillment.subject,
        "traceparent": fulfillment.traceparent,
        "location": fulfillment.location,
        "carrier": fulfillment.carrier,
        "service": fulfillment.service,
        "service_level": fulfillment.service_level,
        "postal_code": fulfillment.postal_code,
        "lines": [[line.line_id, line.sku, line.quantity] for line in fulfillment.lines],
        "first_requested_at": fulfillment.first_requested_at.isoformat(),
    }


def _read_fulfillment(row: dict[str, Any]) -> Fulfillment:
    return Fulfillment(
        **{
            **row,
            "fulfillment_id": UUID(row["fulfillment_id"]),
            "lines": [LineUnits(line_id=line_id, sku=sku, quantity=quantity) for line_id, sku, quantity in row["lines"]],
            "first_requested_at": datetime.fromisoformat(row["first_requested_at"]),
        }
    )


def _read_answer(envelope: dict[str, Any]) -> Answer:
    data = MESSAGES[envelope["type"]].model_validate(envelope["data"])
    if not isinstance(data, PartnerMessage):
        raise TypeError(f"the state file holds a {envelope['type']}, which no 3PL says")
    return Answer(
        data=data,
        subject=envelope.get("subject"),
        traceparent=envelope.get("traceparent"),
        said_at=datetime.fromisoformat(envelope["time"]),
        event_id=UUID(envelope["id"]),
    )
