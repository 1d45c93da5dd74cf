"""Working days of a location: when orders and goods leave it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from shared.calendar import WorkCalendar

NEW_YORK = ZoneInfo("America/New_York")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
EASTERN = WorkCalendar(NEW_YORK)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis takes naive bounds


def local(day: int, hour: int, minute: int = 0, *, month: int = 3, zone: ZoneInfo = NEW_YORK) -> datetime:
    """An instant in 2026 as a clock at the place shows it; 6 March is a Friday."""
    return datetime(2026, month, day, hour, minute, tzinfo=zone)


def test_an_order_leaves_the_same_working_day_until_the_cutoff_where_the_location_is() -> None:
    before = EASTERN.dispatch(datetime(2026, 3, 4, 19, 59, tzinfo=UTC))
    assert before.day == date(2026, 3, 4)
    assert before.holds_until == datetime(2026, 3, 4, 20, 0, tzinfo=UTC)
    at = EASTERN.dispatch(datetime(2026, 3, 4, 20, 0, tzinfo=UTC))
    assert at.day == date(2026, 3, 5)
    assert EASTERN.dispatch(datetime(2026, 3, 6, 20, 1, tzinfo=UTC)).day == date(2026, 3, 9), "Friday evening: Monday"
    assert WorkCalendar(LOS_ANGELES).dispatch(datetime(2026, 3, 4, 20, 0, tzinfo=UTC)).day == date(2026, 3, 4)


def test_goods_expected_on_friday_evening_with_one_day_dock_to_stock_ship_on_monday() -> None:
    assert WorkCalendar(NEW_YORK, dock_to_stock_days=1).ships_goods_arriving(local(6, 17)) == local(9, 15)


def test_goods_that_need_no_dock_to_stock_time_ship_the_same_day_until_the_cutoff() -> None:
    assert EASTERN.ships_goods_arriving(local(6, 14, 59)) == local(6, 15)
    assert EASTERN.ships_goods_arriving(local(6, 15)) == local(9, 15)
    assert EASTERN.ships_goods_arriving(local(7, 9)) == local(9, 15), "Saturday: Monday"


def test_goods_that_arrive_on_a_day_of_rest_are_received_on_the_next_working_day() -> None:
    assert WorkCalendar(NEW_YORK, dock_to_stock_days=1).ships_goods_arriving(local(7, 9)) == local(10, 15)
    assert WorkCalendar(NEW_YORK, dock_to_stock_days=2).ships_goods_arriving(local(5, 9)) == local(9, 15)


def test_nothing_leaves_on_a_holiday() -> None:
    rests_monday = WorkCalendar(NEW_YORK, holidays={date(2026, 3, 9)}, dock_to_stock_days=1)
    assert rests_monday.ships_goods_arriving(local(6, 17)) == local(10, 15)
    assert rests_monday.dispatch(local(6, 16)).day == date(2026, 3, 10)


def test_a_place_may_work_on_saturday() -> None:
    works_on_saturday = WorkCalendar(NEW_YORK, working_days={1, 2, 3, 4, 5, 6})
    assert works_on_saturday.ships_goods_arriving(local(6, 17)) == local(7, 15)


def test_the_day_is_the_one_that_the_location_has() -> None:
    late_in_new_york = datetime(2026, 3, 7, 3, 0, tzinfo=UTC)
    assert WorkCalendar(NEW_YORK).ships_goods_arriving(late_in_new_york) == local(9, 15)
    assert WorkCalendar(LOS_ANGELES, time(20, 0)).ships_goods_arriving(late_in_new_york) == local(6, 20, zone=LOS_ANGELES)


def test_the_cutoff_keeps_its_local_hour_when_the_clocks_change() -> None:
    assert WorkCalendar(NEW_YORK, dock_to_stock_days=1).ships_goods_arriving(local(6, 9)).hour == 19, "summer time began on 8 March 2026"
    assert EASTERN.ships_goods_arriving(local(6, 9)).hour == 20


@given(INSTANTS, st.times())
def test_a_dispatch_holds_until_its_cutoff_and_changes_then(now: datetime, cutoff: time) -> None:
    calendar = WorkCalendar(NEW_YORK, cutoff.replace(second=0, microsecond=0))
    found = calendar.dispatch(now)
    assert calendar.works_on(found.day)
    assert found.holds_from <= now < found.holds_until <= found.ship_by.replace(year=9999)
    later = calendar.dispatch(found.holds_until)
    assert later.day > found.day


@given(
    INSTANTS,
    st.sets(st.integers(1, 7), min_size=1),
    st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=20),
    st.integers(0, 10),
    st.integers(0, 200),
)
def test_goods_ship_on_a_working_day_never_before_they_arrive_and_later_goods_never_earlier(
    arrival: datetime, working_days: set[int], holidays: set[date], dock_to_stock_days: int, hours_later: int
) -> None:
    calendar = WorkCalendar(NEW_YORK, time(15, 0), working_days, holidays, dock_to_stock_days)
    ships = calendar.ships_goods_arriving(arrival)
    assert ships > arrival
    assert calendar.works_on(ships.astimezone(NEW_YORK).date())
    assert calendar.ships_goods_arriving(arrival + timedelta(hours=hours_later)) >= ships
