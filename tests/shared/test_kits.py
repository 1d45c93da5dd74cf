"""A kit as lines: its price and tax to the cent, its units to the unit."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.orders import ComponentProduct, KitPart
from shared.kits import Kit, largest_remainder, lines_of, oversized_component, price_units, whole_kits


def component(sku: str = "MUG", quantity: int = 1, price: int = 1_000) -> ComponentProduct:
    return ComponentProduct(sku=sku, title=f"The {sku}", quantity=quantity, unit_price_cents=price, unit_weight_grams=300)


def a_kit(*components: ComponentProduct, quantity: int = 1, price: int = 1_000, tax: int = 0, line_id: str = "1") -> Kit:
    return Kit(line_id, "SET", "The set", quantity, price, tax, components)


COMPONENTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5_000)), min_size=1, max_size=8).map(
    lambda rows: [component(f"SKU-{number}", quantity, price) for number, (quantity, price) in enumerate(rows)]
)


def test_a_kits_price_is_shared_out_by_what_its_components_cost() -> None:
    lines = lines_of(a_kit(component("MUG", 1, 1_000), component("LAMP", 1, 3_000), price=2_000, tax=100), {"1"})
    assert [(line.line_id, line.sku, line.quantity, line.unit_price_cents, line.tax_cents) for line in lines] == [
        ("1.1", "MUG", 1, 500, 25),
        ("1.2", "LAMP", 1, 1_500, 75),
    ]
    assert lines[0].kit == KitPart(line_id="1", sku="SET", title="The set", quantity=1, units_per_kit=1)


def test_the_last_cents_make_one_component_two_lines() -> None:
    lines = lines_of(a_kit(component("MUG", 3), price=1_000, quantity=2, tax=7), {"1"})
    assert [(line.sku, line.quantity, line.unit_price_cents, line.kit and line.kit.units_per_kit) for line in lines] == [
        ("MUG", 2, 334, 1),
        ("MUG", 4, 333, 2),
    ]
    assert sum(line.quantity * line.unit_price_cents for line in lines) == 2_000
    assert sum(line.tax_cents for line in lines) == 7


def test_components_without_a_price_count_by_their_units() -> None:
    priced = price_units(900, [component("MUG", 2, 0), component("LAMP", 1, 0)])
    assert [(part.component.sku, part.units, part.unit_price_cents) for part in priced] == [("MUG", 2, 300), ("LAMP", 1, 300)]


def test_a_free_kit_still_shares_out_its_tax() -> None:
    lines = lines_of(a_kit(component("MUG", 1, 100), component("LAMP", 1, 300), price=0, tax=40), {"1"})
    assert [(line.unit_price_cents, line.tax_cents) for line in lines] == [(0, 10), (0, 30)]


def test_lines_of_a_kit_never_take_the_id_of_another_line() -> None:
    two = (component("MUG"), component("LAMP"))
    ids = [line.line_id for line in lines_of(a_kit(*two), {"1", "1.2"})]
    assert ids[0] == "1.1"
    assert len({*ids, "1", "1.2"}) == 4
    long = [line.line_id for line in lines_of(a_kit(*two, line_id="x" * 64), {"x" * 64})]
    assert len(set(long)) == 2
    assert all(len(line_id) <= 64 for line_id in long)
    assert long == [line.line_id for line in lines_of(a_kit(*two, line_id="x" * 64), {"x" * 64})]


def test_more_units_than_a_line_may_have_are_named() -> None:
    few, many = component("MUG", 1), component("SCREW", 1_000)
    assert oversized_component([few, many], 1_000) is None
    assert oversized_component([few, many], 1_001) is many


def test_kits_are_whole_as_far_as_their_scarcest_component_reaches() -> None:
    mug = KitPart(line_id="1", sku="SET", title="", quantity=5, units_per_kit=2)
    lamp = KitPart(line_id="1", sku="SET", title="", quantity=5, units_per_kit=1)
    other = KitPart(line_id="2", sku="SET", title="", quantity=1, units_per_kit=1)
    assert whole_kits([(mug, 7), (lamp, 4), (other, 1)]) == {"1": 3, "2": 1}
    assert whole_kits([(mug, 7), (lamp, 0)]) == {"1": 0}


@given(total=st.integers(0, 10**10), weights=st.lists(st.integers(0, 10**7), min_size=1, max_size=20))
def test_shares_add_up_and_are_never_a_whole_one_off(total: int, weights: list[int]) -> None:
    shares = largest_remainder(total, weights)
    fair = weights if any(weights) else [1] * len(weights)
    assert sum(shares) == total
    assert all(abs(share - Fraction(total * weight, sum(fair))) < 1 for share, weight in zip(shares, fair, strict=True))


@given(price=st.integers(0, 10**7), components=COMPONENTS)
def test_pricing_component_by_component_equals_pricing_unit_by_unit(price: int, components: list[ComponentProduct]) -> None:
    weights = [item.unit_price_cents for item in components for _ in range(item.quantity)]
    one_by_one = largest_remainder(price, weights)
    by_component = [cents for part in price_units(price, components) for cents in [part.unit_price_cents] * part.units]
    assert by_component == one_by_one


@given(price=st.integers(0, 10**6), tax=st.integers(0, 10**6), quantity=st.integers(1, 500), components=COMPONENTS)
def test_the_lines_of_a_kit_are_the_kit_to_the_cent_and_to_the_unit(
    price: int, tax: int, quantity: int, components: list[ComponentProduct]
) -> None:
    lines = lines_of(a_kit(*components, quantity=quantity, price=price, tax=tax), {"1"})
    assert sum(line.quantity * line.unit_price_cents for line in lines) == price * quantity
    assert sum(line.tax_cents for line in lines) == tax
    units: dict[str, int] = {}
    for line in lines:
        assert line.kit is not None
        assert line.quantity == line.kit.quantity * line.kit.units_per_kit
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    assert units == {item.sku: item.quantity * quantity for item in components}
    assert len(lines) <= len(components) + 1
    assert len({line.line_id for line in lines}) == len(lines)
