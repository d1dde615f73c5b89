"""Values that mean that a time is not set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from retention.policy.moment import moment_of
from retention.policy.record_class import RecordClass

SHANGHAI = ZoneInfo("Asia/Shanghai")
USUAL = (0, "1970-01-01", "0000-00-00", "9999-12-31")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "value",
    [
        0,
        0.0,
        "1970-01-01",
        "1970-01-01 08:00:00",
        "1969-12-31T16:00:00Z",  # midnight in Shanghai
        b"1970-01-01",
        "0000-00-00",
        "0000-00-00 00:00:00",
        "9999-12-31 23:59:59",
        date(9999, 12, 31),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        date(1970, 1, 1),
        EPOCH,
        EPOCH + timedelta(hours=23),
    ],
)
def test_the_usual_ones_are_no_clock(value: object, make_class: Callable[..., RecordClass]) -> None:
    assert moment_of(value, make_class(unset=USUAL, unit="s", timezone=SHANGHAI)) is None


@pytest.mark.parametrize(
    "value",
    [
        "1970-01-02",
        "1969-12-31",
        "1970-01-02 08:00:00",
        EPOCH + timedelta(days=1),
        86400,
        "9999-12-30 12:00",
        1700000000,
    ],
)
def test_their_neighbours_are_clocks(value: object, make_class: Callable[..., RecordClass]) -> None:
    assert moment_of(value, make_class(unset=USUAL, unit="s", timezone=SHANGHAI)) is not None


def test_a_number_and_a_time_mean_themselves_alone(make_class: Callable[..., RecordClass]) -> None:
    declared = make_class(unset=(-1, datetime(2000, 1, 1, 12)), unit="s", timezone=SHANGHAI)
    assert moment_of(-1, declared) is None
    assert moment_of(0, declared) == EPOCH
    noon = datetime(2000, 1, 1, 4, tzinfo=UTC)
    assert [moment_of(noon + step * _US, declared) is None for step in (-1, 0, 1)] == [False, True, False]
    assert moment_of(date(2000, 1, 1), declared) == date(2000, 1, 1)


def test_digits_are_days_and_times(make_class: Callable[..., RecordClass]) -> None:
    days = make_class(unset=(19700101, "99991231"), format="YYYYMMDD")
    assert [moment_of(one, days) for one in (19700101, "19700101", 99991231, "1970-01-01", 0)] == [None] * 5
    assert moment_of(19700102, days) == date(1970, 1, 2)
    times = make_class(unset=(date(1970, 1, 1),), format="YYYYMMDDHHMMSS", timezone=SHANGHAI)
    assert moment_of("19700101080000", times) is None
    assert moment_of(20240131093000, times) == datetime(2024, 1, 31, 1, 30, tzinfo=UTC)


def test_the_ends_of_the_calendar_stand_for_all_beyond_them(make_class: Callable[..., RecordClass]) -> None:
    declared = make_class(unset=("0001-01-01", "9999-12-31"), unit="s")
    assert moment_of(-(10**12), declared) is None
    assert moment_of(10**12, declared) is None
    assert moment_of(date.min, declared) is None
