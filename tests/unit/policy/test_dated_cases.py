"""Dated cases, for reading: a clock, a rule, and the first day on which the record is expired (in Shanghai)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from retention.policy.calendar import (
    FIRST_INSTANT,
    LAST_INSTANT,
    counted_day,
    day_start,
    instant_of,
    local_day,
    wall_bound,
)
from retention.policy.clock import Cutoff, counting_starts, cutoff, expired, expires
from retention.policy.period import Period
from retention.policy.policy import Retain

SHANGHAI = ZoneInfo("Asia/Shanghai")

CASES = [
    # clock         period              starts              fiscal year   expired from
    ("2020-05-10", "90 days", None, (1, 1), "2020-08-09"),
    ("2020-05-10", "1 day", None, (1, 1), "2020-05-12"),
    ("2020-05-10", "5 years", None, (1, 1), "2025-05-11"),
    ("2020-02-29", "1 year", None, (1, 1), "2021-03-01"),
    ("2020-02-29", "4 years", None, (1, 1), "2024-03-01"),
    ("2019-08-31", "6 months", None, (1, 1), "2020-03-01"),
    ("2019-08-31", "1 month", None, (1, 1), "2019-10-01"),
    ("2018-08-31", "1 year 6 months", None, (1, 1), "2020-03-01"),
    ("2019-01-30", "1 month 1 day", None, (1, 1), "2019-03-02"),
    ("2020-05-10", "1 year", "next month", (1, 1), "2021-06-02"),
    ("2020-12-01", "1 month", "next month", (1, 1), "2021-02-02"),
    ("2020-05-10", "1 year", "next quarter", (1, 1), "2021-07-02"),
    ("2020-10-01", "1 year", "next quarter", (1, 1), "2022-01-02"),
    ("2020-01-01", "6 years", "next year", (1, 1), "2027-01-02"),
    ("2020-12-31", "6 years", "next year", (1, 1), "2027-01-02"),
    ("2020-03-31", "10 years", "next fiscal year", (4, 1), "2030-04-02"),
    ("2020-04-01", "10 years", "next fiscal year", (4, 1), "2031-04-02"),
    ("2020-02-29", "1 year", "next fiscal year", (2, 28), "2022-03-01"),
]


@pytest.mark.parametrize(("clock", "period", "starts", "fiscal", "first"), CASES)
def test_dated_case(clock: str, period: str, starts: str | None, fiscal: tuple[int, int], first: str) -> None:
    retain = Retain(period=Period.parse(period), starts=starts, fiscal_year_starts=fiscal)
    day, first_day = date.fromisoformat(clock), date.fromisoformat(first)
    assert expires(retain, day, SHANGHAI) == first_day
    last_moment = day_start(day + timedelta(days=1), SHANGHAI) - timedelta(microseconds=1)
    midnight = day_start(first_day, SHANGHAI)
    for moment in (day, day_start(day, SHANGHAI), last_moment):
        assert not expired(retain, moment, midnight - timedelta(microseconds=1), SHANGHAI)
        assert expired(retain, moment, midnight, SHANGHAI)


def test_the_cutoff_is_a_date_that_a_person_can_check() -> None:
    as_of = datetime(2026, 10, 1, tzinfo=SHANGHAI)
    assert cutoff(Retain(period=Period.parse("5 years")), as_of, SHANGHAI) == Cutoff(
        instant=datetime(2021, 9, 29, 16, tzinfo=UTC) + timedelta(days=1), day=date(2021, 10, 1)
    )


def test_a_deal_closed_before_midnight_in_shanghai_counts_to_that_day_though_utc_says_another() -> None:
    retain = Retain(period=Period.parse("1 day"))
    closed = datetime(2024, 1, 1, 15, 59, tzinfo=UTC)  # 23:59 in Shanghai
    assert expires(retain, closed, SHANGHAI) == date(2024, 1, 3)
    assert expires(retain, closed + timedelta(minutes=1), SHANGHAI) == date(2024, 1, 4)


def test_forever_and_the_ends_of_the_calendar() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    forever, century, hours = (Retain(period=Period.parse(text)) for text in ("forever", "100 years", "876000 hours"))
    assert cutoff(forever, now, SHANGHAI) is None
    assert not expired(forever, date(1, 1, 1), now, SHANGHAI)
    assert expires(forever, now, SHANGHAI) is None
    assert expires(century, date(9950, 1, 1), SHANGHAI) is None
    assert expires(Retain(period=Period(days=1)), date(9999, 12, 30), SHANGHAI) is None
    assert cutoff(century, datetime(50, 1, 1, tzinfo=UTC), SHANGHAI) is None
    assert cutoff(hours, datetime(50, 1, 1, tzinfo=UTC), SHANGHAI) is None
    assert expires(hours, datetime(9950, 1, 1, tzinfo=UTC), SHANGHAI) is None
    next_year = Retain(period=Period(days=1), starts="next year")
    assert counting_starts(next_year, date(9999, 5, 5)) is None
    assert expires(next_year, date(9999, 5, 5), SHANGHAI) is None
    late = cutoff(next_year, datetime(9999, 12, 30, tzinfo=UTC), SHANGHAI)
    assert late is not None and late.day == date(9999, 1, 1)


def test_hours_do_not_count_dates() -> None:
    retain = Retain(period=Period.parse("36 hours"))
    with pytest.raises(ValueError, match="hours"):
        expired(retain, date(2020, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), SHANGHAI)
    with pytest.raises(ValueError, match="hours"):
        expires(retain, date(2020, 1, 1), SHANGHAI)


@pytest.mark.parametrize(
    ("zone", "day", "utc"),
    [
        (
            "Pacific/Apia",
            "2011-12-30",
            "2011-12-30T10:00",
        ),  # the day that never was begins, and ends, with the next one
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00"),
        ("Pacific/Kwajalein", "1993-08-21", "1993-08-21T12:00"),
        ("Pacific/Kiritimati", "1994-12-31", "1994-12-31T10:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00"),  # 00:00 does not exist: from 01:00
        ("Asia/Beirut", "2021-03-28", "2021-03-27T22:00"),
        ("America/Havana", "2020-11-01", "2020-11-01T04:00"),  # 00:00 comes twice: from the first
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30"),
        ("UTC", "0001-01-01", "0001-01-01T00:00"),
        ("Asia/Shanghai", "0001-01-01", "0001-01-01T00:00"),  # the end of the calendar
    ],
)
def test_when_days_start(zone: str, day: str, utc: str) -> None:
    assert day_start(date.fromisoformat(day), ZoneInfo(zone)) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "wall", "utc"),
    [
        ("America/New_York", "2024-11-03T01:30", "2024-11-03T06:30"),  # twice: the later
        ("America/New_York", "2024-03-10T02:30", "2024-03-10T07:00"),  # never: the end of the gap
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00"),
        ("Asia/Shanghai", "2024-01-01T08:00", "2024-01-01T00:00"),
    ],
)
def test_wall_times(zone: str, wall: str, utc: str) -> None:
    assert instant_of(datetime.fromisoformat(wall), ZoneInfo(zone)) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_st_johns_keeps_the_repeated_evening_one_day_longer() -> None:
    zone = ZoneInfo("America/St_Johns")
    again = datetime(2010, 11, 7, 3, 0, tzinfo=UTC)  # 23:30 on 6 November, for the second time
    assert local_day(again, zone) == date(2010, 11, 6)
    assert counted_day(again, zone) == date(2010, 11, 7)
    assert expires(Retain(period=Period(days=1)), again, zone) == date(2010, 11, 9)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "Pacific/Kiritimati"])
def test_the_ends_of_the_calendar_do_not_fail(zone: str) -> None:
    where = ZoneInfo(zone)
    assert FIRST_INSTANT <= instant_of(datetime.min, where) < instant_of(datetime.max, where) <= LAST_INSTANT
    assert local_day(FIRST_INSTANT, where) == date.min
    assert local_day(LAST_INSTANT, where) == date.max == counted_day(LAST_INSTANT, where)
    assert wall_bound(FIRST_INSTANT, where) == datetime.min
    assert wall_bound(LAST_INSTANT, where).year == 9999
