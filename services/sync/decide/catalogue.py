"""Products and listings: what may be registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from services.sync.decide.texts import problems_of_foreign_id, problems_of_texts
from shared.contracts.channels import FieldProblem, ListingRegistrationRequested, Product

PROBLEMS_LIMIT = 100


def problems_of_products(products: Sequence[Product]) -> list[FieldProblem]:
    """What is wrong with a registration of products; empty when it may be done."""
    problems = []
    uses = Counter(product.sku for product in products)
    for position, product in enumerate(products):
        problems += [problem.model_copy(update={"field": f"products.{position}.{problem.field}"}) for problem in problems_of_texts(product)]
        if uses[product.sku] > 1:
            text = f"SKU {product.sku!r} stands {uses[product.sku]} times in one registration"
            problems.append(FieldProblem(field=f"products.{position}.sku", problem=text, remedy="name each SKU once"))
    return problems[:PROBLEMS_LIMIT]


@dataclass
class ListingBook:
    """Listings as they stand while the registrations of one batch are gone through, one after the other.

    Args:
        channels: codes of the channels there are.
        skus: those SKUs, of the ones asked about, that are registered products.
        names: external listing id by (channel, SKU).
    """

    channels: Set[str]
    skus: Set[str]
    names: dict[tuple[str, str], str]
    _holders: dict[tuple[str, str], str] = field(init=False)

    def __post_init__(self) -> None:
        self._holders = {(channel, name): sku for (channel, sku), name in self.names.items()}

    def register(self, request: ListingRegistrationRequested) -> list[FieldProblem]:
        """Registers all listings of the request, or none and says why."""
        if request.channel not in self.channels:
            known = ", ".join(sorted(self.channels)) or "none"
            text = f"there is no channel {request.channel!r}"
            return [FieldProblem(field="channel", problem=text, remedy=f"use a channel of the partners file: {known}"[:500])]
        wanted = {listing.sku: listing.external_listing_id for listing in request.listings}
        problems = self._problems(request, wanted)
        if problems:
            return problems[:PROBLEMS_LIMIT]
        for sku in wanted:
            old_name = self.names.pop((request.channel, sku), None)
            if old_name is not None:
                del self._holders[(request.channel, old_name)]
        for sku, name in wanted.items():
            self.names[(request.channel, sku)] = name
            self._holders[(request.channel, name)] = sku
        return []

    def _problems(self, request: ListingRegistrationRequested, wanted: Mapping[str, str]) -> list[FieldProblem]:
        problems = []
        sku_uses = Counter(listing.sku for listing in request.listings)
        name_uses = Counter(listing.external_listing_id for listing in request.listings)
        for position, listing in enumerate(request.listings):
            here = f"listings.{position}"
            if sku_uses[listing.sku] > 1:
                text = f"SKU {listing.sku!r} stands {sku_uses[listing.sku]} times in one registration"
                problems.append(FieldProblem(field=f"{here}.sku", problem=text, remedy="name each SKU once"))
            if listing.sku not in self.skus:
                text = f"SKU {listing.sku!r} is not known"
                problems.append(FieldProblem(field=f"{here}.sku", problem=text, remedy="register the product first"))
            name = f"{here}.external_listing_id"
            problems += [problem.model_copy(update={"field": f"{here}.{problem.field}"}) for problem in problems_of_texts(listing)]
            problems += problems_of_foreign_id(name, listing.external_listing_id)
            holder = self._holders.get((request.channel, listing.external_listing_id))
            taken = holder is not None and holder != listing.sku and holder not in wanted
            if taken or name_uses[listing.external_listing_id] > 1:
                text = f"{listing.external_listing_id!r} would name two SKUs" + (f" (it names {holder!r})" if taken else "")
                problems.append(FieldProblem(field=name, problem=text, remedy="give every listing of a channel its own id"))
        return problems
