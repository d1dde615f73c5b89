"""What a clock value means."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from retention.policy.calendar import FIRST_INSTANT, LAST_INSTANT
from retention.policy.moment import moment_of, wall_instant
from retention.policy.record_class import RecordClass
from retention.policy.written import parse_iso

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-05-01", date(2024, 5, 1)),
        ("2024-05-01 12:00", datetime(2024, 5, 1, 12)),
        ("2024-05-01T12:00:30", datetime(2024, 5, 1, 12, 0, 30)),
        ("2024-05-01 12:00:30.5", datetime(2024, 5, 1, 12, 0, 30, 500000)),
        ("2024-05-01 12:00:30.123456789", datetime(2024, 5, 1, 12, 0, 30, 123456)),
        ("2024-05-01T12:00Z", NOON),
        ("2024-05-01 20:00:00+08:00", NOON),
        ("2024-05-01 07:30:00-04:30", NOON),
        ("0001-01-01T00:00+14:00", FIRST_INSTANT),
        ("9999-12-31T23:59:59.999999-12:00", LAST_INSTANT),
        *[
            (text, None)
            for text in (
                "",
                "now",
                "2024",
                "2024-5-1",
                "2024-13-01",
                "2023-02-29",
                "2024-05-01 25:00",
                "2024-05-01 12:00:60",
                "20240501",
                "2024-05-01  12:00",
                "2024-05-01 12:00 Z",
                "2024-05-01Z",
                "2024-05-01 12",
                "2024-05-01 12:00+0800",
                "0000-01-01",
                "2024-05-01 12:00+24:00",
                "2024-05-01 12:00+01:60",
                " 2024-05-01",
                "2024-05-01\n",
                "२०२४-०५-०१",
            )
        ],
    ],
)
def test_iso_text(text: str, meant: object) -> None:
    assert parse_iso(text) == meant


@pytest.mark.parametrize(
    ("value", "more", "meant"),
    [
        (None, {}, None),
        (True, {"unit": "s"}, None),
        (b"2024-05-01", {}, date(2024, 5, 1)),
        (b"2024-05-01\xff", {}, None),
        ("not a time", {}, None),
        (NOON.astimezone(timezone(timedelta(hours=8))), {}, NOON),
        (datetime(2024, 5, 1, 20), {"timezone": ZoneInfo("Asia/Shanghai")}, NOON),
        ("2024-05-01 20:00", {"timezone": ZoneInfo("Asia/Shanghai")}, NOON),
        (datetime(2024, 5, 1, 20), {"timezone": None}, None),
        (date(2024, 5, 1), {}, date(2024, 5, 1)),
        ("2024-05-01", {}, date(2024, 5, 1)),
        (1714564800, {}, None),
        (1714564800, {"unit": "s"}, NOON),
        (1714564800000, {"unit": "ms"}, NOON),
        (1714564800000000, {"unit": "us"}, NOON),
        (Decimal("1714564800.5"), {"unit": "s"}, NOON + timedelta(milliseconds=500)),
        (1714564800.25, {"unit": "s"}, NOON + timedelta(milliseconds=250)),
        (0, {"unit": "s"}, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, {"unit": "us"}, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (-0.5, {"unit": "us"}, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (float("nan"), {"unit": "s"}, None),
        (float("inf"), {"unit": "s"}, None),
        (Decimal("NaN"), {"unit": "s"}, None),
        (10**30, {"unit": "us"}, LAST_INSTANT),
        (-(10**30), {"unit": "s"}, FIRST_INSTANT),
        (10**12, {"unit": "s"}, LAST_INSTANT),
    ],
)
def test_values(value: object, more: dict[str, object], meant: object, make_class: Callable[..., RecordClass]) -> None:
    assert moment_of(value, make_class(**more)) == meant


def test_times_in_policies() -> None:
    assert wall_instant(datetime(2024, 5, 1, 20), ZoneInfo("Asia/Shanghai")) == NOON
    assert wall_instant(NOON.astimezone(ZoneInfo("America/New_York")), ZoneInfo("Asia/Shanghai")) == NOON
