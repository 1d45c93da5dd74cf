"""What a carrier needs of an address beyond its form: the same rule for an order that comes in and for an edit."""

from __future__ import annotations

from shared.contracts.orders import Address

ADDRESSED = ("name", "line1", "city")


def blank_fields(address: Address) -> list[str]:
    """Fields without which no parcel arrives and of which a label would show nothing. The contract cannot refuse them: addresses of orders
    that were placed before go on to warehouses in the same form."""
    return [name for name in ADDRESSED if not any(sign.isprintable() and not sign.isspace() for sign in getattr(address, name))]
