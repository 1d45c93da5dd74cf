"""Locations."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing import current
from services.routing.decide.geography import Place
from services.routing.decide.registration import check_location
from services.routing.postal_codes import find_place
from services.routing.queries import locations, orders
from shared.contracts.fulfillment import LocationRegistered, LocationRegistrationRejected, LocationRegistrationRequested
from shared.messaging.message import Outgoing, Received, Transaction


async def register_locations(tx: Transaction, messages: Sequence[Received[LocationRegistrationRequested]]) -> Sequence[Outgoing]:
    """Registers locations; the same code again replaces its data. A location that cannot ship anything is refused by name of the field.

    Orders of which a location that closes has something, not yet accepted, are due at once: it is called off and planned elsewhere. Orders
    that wait for the others of their window are due, too: the cutoff that let them wait may be another one now.
    """
    answers: list[Outgoing] = []
    accepted: dict[str, tuple[LocationRegistrationRequested, Place]] = {}
    for message in messages:
        wanted = message.data
        place = find_place(wanted.postal_code, wanted.country)
        problem = check_location(
            wanted,
            on_map=place is not None,
            time_zones=current.time_zones(),
            partners=current.partners(),
            carriers={name: carrier.cards.keys() for name, carrier in current.tariffs().carriers.items()},
        )
        if problem is not None or place is None:
            assert problem is not None, "what is not on the map is refused"
            refusal = LocationRegistrationRejected(location=wanted.location, field=problem.field, detail=problem.detail)
            answers.append(Outgoing(refusal, because=message))
            continue
        accepted[wanted.location] = (wanted, place)
        answers.append(
            Outgoing(
                LocationRegistered(
                    location=wanted.location,
                    name=wanted.name,
                    partner=wanted.partner,
                    hazmat_certified=wanted.hazmat_certified,
                    active=wanted.active,
                    time_zone=wanted.time_zone,
                    order_cutoff=wanted.order_cutoff,
                    working_days=wanted.working_days,
                    holidays=wanted.holidays,
                    dock_to_stock_days=wanted.dock_to_stock_days,
                ),
                because=message,
            )
        )
    if accepted:
        await locations.save_locations(tx.connection, [accepted[code] for code in sorted(accepted)], tx.new_id(), tx.now)
        closed = [code for code, (wanted, _) in accepted.items() if not wanted.active]
        if closed:
            await orders.wake_orders_planned_for(tx.connection, closed, tx.now)
        if current.settings().replanning_window():
            await orders.end_wait_for_window(tx.connection, sorted(accepted), tx.now)
    return answers
