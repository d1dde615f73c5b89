"""Period, clock and cutoff against an oracle of its own that walks day by day, and minute by minute."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.calendar import counted_day, day_start, instant_of, local_day, wall_bound
from retention.policy.clock import counting_starts, cutoff, expired, expires, is_future
from retention.policy.period import Period
from retention.policy.policy import Retain

#: zone -> local days around which its clock did something rare
RARE = {
    "Pacific/Apia": date(2011, 12, 30),  # a day that never was
    "Pacific/Kwajalein": date(1993, 8, 21),  # another
    "Pacific/Kiritimati": date(1994, 12, 31),  # and another
    "America/Sao_Paulo": date(2018, 11, 4),  # midnight does not exist
    "Asia/Beirut": date(2021, 3, 28),  # midnight does not exist
    "America/Havana": date(2020, 11, 1),  # midnight comes twice
    "America/St_Johns": date(2010, 11, 7),  # turned back at 00:01, across midnight
    "America/New_York": date(2024, 11, 3),
    "Europe/Berlin": date(2024, 3, 31),
    "Asia/Shanghai": date(1991, 9, 15),
    "Australia/Lord_Howe": date(2024, 4, 7),  # half an hour
    "Africa/Casablanca": date(2024, 3, 10),
    "UTC": date(2024, 2, 29),
}
STARTS = [None, "next month", "next quarter", "next year", "next fiscal year"]
FISCAL = [(1, 1), (4, 1), (7, 1), (10, 1), (2, 28), (12, 31), (3, 15)]

periods = st.builds(
    Period,
    months=st.sampled_from([0, 0, 1, 2, 6, 11, 12, 13, 18, 24, 60]),
    days=st.sampled_from([0, 1, 7, 28, 29, 30, 31, 90, 365, 366]),
).filter(lambda period: period.months + period.days > 0)
retains = st.builds(Retain, period=periods, starts=st.sampled_from(STARTS), fiscal_year_starts=st.sampled_from(FISCAL))
days = st.dates(date(1990, 1, 1), date(2032, 12, 31)) | st.builds(
    lambda year, month, back: date(year, month, calendar.monthrange(year, month)[1]) - timedelta(days=back),
    st.integers(1990, 2032),
    st.integers(1, 12),
    st.integers(0, 3),
)
zones = st.sampled_from(sorted(RARE)).map(ZoneInfo)


@st.composite
def local_instants(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """A zone, and an instant anywhere, or close to what is rare there."""
    name = draw(st.sampled_from(sorted(RARE)))
    around = datetime.combine(RARE[name], datetime.min.time(), UTC)
    near = st.integers(-60 * 48, 60 * 48).map(lambda minutes: around + timedelta(minutes=minutes))
    anywhere = st.datetimes(datetime(1990, 1, 1), datetime(2032, 1, 1)).map(lambda wall: wall.replace(tzinfo=UTC))
    return ZoneInfo(name), draw(near | anywhere)


# ---- the oracle: nothing here is taken from the package ----


def walk_start(retain: Retain, day: date) -> date:
    """The day from which is counted, found by walking forward until the first day of what `starts` names."""
    if retain.starts is None:
        return day
    first = {
        "next month": lambda d: d.day == 1,
        "next quarter": lambda d: d.day == 1 and d.month in (1, 4, 7, 10),
        "next year": lambda d: (d.month, d.day) == (1, 1),
        "next fiscal year": lambda d: (d.month, d.day) == retain.fiscal_year_starts,
    }[retain.starts]
    day += timedelta(days=1)
    while not first(day):
        day += timedelta(days=1)
    return day


def walk_end(retain: Retain, day: date) -> date:
    """The last day of keeping: walk month by month to the target month, take its day or its last, then day by day."""
    day = walk_start(retain, day)
    wanted = day.day
    year, month = day.year, day.month
    for _ in range(retain.period.months):
        month += 1
        if month == 13:
            year, month = year + 1, 1
    while True:
        try:
            landed = date(year, month, wanted)
            break
        except ValueError:
            wanted -= 1
    for _ in range(retain.period.days):
        landed += timedelta(days=1)
    return landed


def wall_date(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def latest_day_begun(instant: datetime, zone: ZoneInfo) -> date:
    """The latest date that the calendar on the wall has shown up to ``instant``, minute by minute over three days."""
    seen = wall_date(instant, zone)
    for back in range(3 * 24 * 60):
        seen = max(seen, wall_date(instant - timedelta(minutes=back), zone))
    return seen


# ---- periods ----


@given(retain=retains, day=days)
@settings(max_examples=400)
def test_the_last_day_is_where_the_walk_ends(retain: Retain, day: date) -> None:
    start = counting_starts(retain, day)
    assert start == walk_start(retain, day)
    assert retain.period.after(start) == walk_end(retain, day)


@pytest.mark.parametrize("starts", STARTS)
def test_every_day_of_four_years_starts_where_the_walk_says(starts: str | None) -> None:
    for fiscal in FISCAL:
        retain = Retain(period=Period(days=1), starts=starts, fiscal_year_starts=fiscal)
        for number in range(1461):
            day = date(2024, 1, 1) + timedelta(days=number)
            assert counting_starts(retain, day) == walk_start(retain, day), (day, fiscal)


def test_every_month_end_of_a_leap_cycle_lands_where_the_walk_says() -> None:
    for number in range(1461):
        day = date(2023, 1, 1) + timedelta(days=number)
        for months in (1, 2, 3, 6, 11, 12, 18, 60):
            retain = Retain(period=Period(months=months))
            assert retain.period.after(day) == walk_end(retain, day)


@given(retain=retains, day=days, later=st.integers(0, 400))
def test_who_comes_later_goes_later(retain: Retain, day: date, later: int) -> None:
    assert walk_end(retain, day) <= walk_end(retain, day + timedelta(days=later))
    first, second = counting_starts(retain, day), counting_starts(retain, day + timedelta(days=later))
    assert first is not None and second is not None
    assert retain.period.after(first) <= retain.period.after(second)


# ---- the equivalence: expired <=> clock < cutoff ----


@given(retain=retains, place=local_instants(), ahead=st.integers(-3, 3), part=st.integers(0, 86399))
@settings(max_examples=300, deadline=None)
def test_expired_is_before_the_cutoff_and_what_the_walk_says(
    retain: Retain, place: tuple[ZoneInfo, datetime], ahead: int, part: int
) -> None:
    zone, clock = place
    counted = latest_day_begun(clock, zone)
    last = walk_end(retain, counted)
    as_of = datetime.combine(last + timedelta(days=ahead), datetime.min.time(), UTC) + timedelta(seconds=part)
    by_walk = last < wall_date(as_of, zone)
    bound = cutoff(retain, as_of, zone)
    assert expired(retain, clock, as_of, zone) is by_walk
    assert (bound is not None and clock < bound.instant) is by_walk
    # the rule as the language page writes it: the same, except that a repeated part of a day is kept longer
    by_page = walk_end(retain, wall_date(clock, zone)) < wall_date(as_of, zone)
    assert by_page or not by_walk
    if counted == wall_date(clock, zone):
        assert by_page is by_walk
    first_day = expires(retain, clock, zone)
    assert first_day == last + timedelta(days=1)
    assert (wall_date(as_of, zone) >= first_day) is by_walk


@given(retain=retains, day=days, ahead=st.integers(-3, 3), zone=zones)
@settings(deadline=None)
def test_dates_are_expired_when_before_the_cutoff_day(retain: Retain, day: date, ahead: int, zone: ZoneInfo) -> None:
    last = walk_end(retain, day)
    as_of = datetime.combine(last + timedelta(days=ahead), datetime.min.time(), UTC) + timedelta(hours=13)
    by_walk = last < wall_date(as_of, zone)
    bound = cutoff(retain, as_of, zone)
    assert bound is not None and bound.day is not None
    assert (day < bound.day) is by_walk
    assert expired(retain, day, as_of, zone) is by_walk
    assert expires(retain, day, zone) == last + timedelta(days=1)
    # no day is ever between: the cutoff is the day after the latest expired one
    assert walk_end(retain, bound.day - timedelta(days=1)) < wall_date(as_of, zone) <= walk_end(retain, bound.day)


@given(hours=st.integers(1, 5000), place=local_instants(), off=st.sampled_from([-1, 0, 1]))
def test_hours_are_exact(hours: int, place: tuple[ZoneInfo, datetime], off: int) -> None:
    zone, clock = place
    retain = Retain(period=Period(hours=hours))
    as_of = clock + timedelta(hours=hours, microseconds=off)
    assert expired(retain, clock, as_of, zone) is (off > 0)
    assert expires(retain, clock, zone) == clock + timedelta(hours=hours)
    bound = cutoff(retain, as_of, zone)
    assert bound is not None and bound.day is None and (clock < bound.instant) is (off > 0)


@given(place=local_instants(), off=st.integers(-2, 2))
def test_the_future(place: tuple[ZoneInfo, datetime], off: int) -> None:
    zone, instant = place
    assert is_future(instant + timedelta(microseconds=off), instant, zone) is (off > 0)
    assert is_future(wall_date(instant, zone) + timedelta(days=off), instant, zone) is (off > 0)


# ---- local time ----


@given(place=local_instants())
@settings(max_examples=300, deadline=None)
def test_a_day_starts_when_the_wall_first_shows_it(place: tuple[ZoneInfo, datetime]) -> None:
    zone, instant = place
    day = wall_date(instant, zone)
    start = day_start(day, zone)
    assert start <= instant
    assert wall_date(start, zone) == day
    assert wall_date(start - timedelta(microseconds=1), zone) < day
    assert local_day(instant, zone) == day
    assert counted_day(instant, zone) == latest_day_begun(instant, zone)


@given(place=local_instants(), micro=st.integers(0, 999_999))
@settings(max_examples=300, deadline=None)
def test_a_wall_time_is_its_latest_instant_or_the_end_of_the_gap(place: tuple[ZoneInfo, datetime], micro: int) -> None:
    zone, near = place
    wall = near.replace(tzinfo=None, microsecond=micro)
    shown = [
        instant
        for offset in range(-26 * 4, 27 * 4)
        if (instant := wall.replace(tzinfo=UTC) + timedelta(minutes=15 * offset)).astimezone(zone).replace(tzinfo=None)
        == wall
    ]
    found = instant_of(wall, zone)
    if shown:
        assert found == max(shown)
    else:
        assert found.astimezone(zone).replace(tzinfo=None) > wall
        assert (found - timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None) < wall


@given(place=local_instants(), minutes=st.integers(0, 3000))
@settings(deadline=None)
def test_instants_never_decrease_with_the_wall_and_a_bound_decides(
    place: tuple[ZoneInfo, datetime], minutes: int
) -> None:
    zone, near = place
    wall = near.replace(tzinfo=None)
    assert instant_of(wall, zone) <= instant_of(wall + timedelta(minutes=minutes), zone)
    bound = wall_bound(near, zone)
    assert instant_of(bound, zone) >= near > instant_of(bound - timedelta(microseconds=1), zone)
    about = near.astimezone(zone).replace(tzinfo=None)
    for off in (-90, -60, -30, 0, 30, 60, 90):
        around = about + timedelta(minutes=off)
        assert (around < bound) is (instant_of(around, zone) < near)
