"""Products, kits and listings: what may be registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from services.sync.decide.texts import problems_of_foreign_id, problems_of_texts
from shared.contracts.channels import FieldProblem, ListingRegistrationRequested, Product

PROBLEMS_LIMIT = 100
HEAVIEST_KIT_GRAMS = 1_000_000
"""As much as a single unit may weigh."""
LARGEST_KIT_CUBIC_CENTIMETRES = 10_000_000
"""As large as a single unit may be."""


@dataclass(frozen=True, slots=True)
class KnownProduct:
    """What kits need to know of a registered product."""

    is_kit: bool
    unit_weight_grams: int
    hazmat: bool
    unit_volume_cubic_centimetres: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The registration is wrong."""

    problems: list[FieldProblem]


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A kit came before a component of it."""

    reason: str


@dataclass
class ProductBook:
    """Products as they stand while the registrations of one batch are gone through, one after the other.

    Args:
        known: what is registered of the SKUs and components of the batch.
    """

    known: dict[str, KnownProduct]

    def register(self, products: Sequence[Product]) -> list[Product] | Refused | Unregistered:
        """Registers all products of a request and returns them, weight, volume and hazard of kits filled in; or none, and says why."""
        problems = problems_of_products(products)
        known = dict(self.known)
        for product in products:
            known[product.sku] = KnownProduct(
                bool(product.components), product.unit_weight_grams, product.hazmat, product.unit_volume_cubic_centimetres
            )
        registered = []
        for position, product in enumerate(products):
            problems += self._problems_of_kind(position, product)
            if not product.components:
                registered.append(product)
                continue
            stranger = next((index for index, component in enumerate(product.components) if component.sku not in known), None)
            if stranger is not None:
                sku = product.components[stranger].sku
                reason = f"SKU {sku!r} is not registered: register the component first, or in the same request"
                return Unregistered(f"products.{position}.components.{stranger}.sku: {reason}")
            problems += _problems_of_components(position, product, known)
            parts = [(component.quantity, known[component.sku]) for component in product.components]
            grams = sum(quantity * part.unit_weight_grams for quantity, part in parts)
            volume = sum(quantity * part.unit_volume_cubic_centimetres for quantity, part in parts)
            hazmat = any(part.hazmat for _, part in parts)
            derived = {"unit_weight_grams": grams, "unit_volume_cubic_centimetres": volume, "hazmat": hazmat}
            registered.append(product.model_copy(update=derived))
        if problems:
            return Refused(problems[:PROBLEMS_LIMIT])
        self.known = known
        return registered

    def _problems_of_kind(self, position: int, product: Product) -> list[FieldProblem]:
        """A SKU is a kit from its first registration or never: what had stock or was ordered by itself stays what it was."""
        known = self.known.get(product.sku)
        if known is None or known.is_kit == bool(product.components):
            return []
        text = f"SKU {product.sku!r} is registered as {'a kit' if known.is_kit else 'an ordinary product'}"
        remedy = "name its components" if known.is_kit else "leave components out, or register the kit under a SKU of its own"
        return [FieldProblem(field=f"products.{position}.components", problem=text, remedy=remedy)]


def _problems_of_components(position: int, kit: Product, known: Mapping[str, KnownProduct]) -> list[FieldProblem]:
    problems = []
    here = f"products.{position}.components"
    uses = Counter(component.sku for component in kit.components)
    for index, component in enumerate(kit.components):
        if uses[component.sku] > 1:
            text = f"SKU {component.sku!r} stands {uses[component.sku]} times in kit {kit.sku!r}"
            problems.append(FieldProblem(field=f"{here}.{index}.sku", problem=text, remedy="name each SKU once, with all its units"))
        if known[component.sku].is_kit:
            text = f"SKU {component.sku!r} is a kit, and a kit cannot hold kits"
            problems.append(FieldProblem(field=f"{here}.{index}.sku", problem=text, remedy="name the components of that kit instead"))
    grams = sum(component.quantity * known[component.sku].unit_weight_grams for component in kit.components)
    if grams > HEAVIEST_KIT_GRAMS:
        text = f"the components of kit {kit.sku!r} weigh {grams} g together, the heaviest kit is {HEAVIEST_KIT_GRAMS} g"
        problems.append(FieldProblem(field=here, problem=text, remedy="sell it as several products"))
    volume = sum(component.quantity * known[component.sku].unit_volume_cubic_centimetres for component in kit.components)
    if volume > LARGEST_KIT_CUBIC_CENTIMETRES:
        text = f"the components of kit {kit.sku!r} are {volume} cm3 together, the largest kit is {LARGEST_KIT_CUBIC_CENTIMETRES} cm3"
        problems.append(FieldProblem(field=here, problem=text, remedy="sell it as several products"))
    return problems


def problems_of_products(products: Sequence[Product]) -> list[FieldProblem]:
    """What is wrong with a registration of products in itself."""
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
