"""The stretches of time during which a wall shows a day, against a look at the wall every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from retention.policy.calendar import local_day
from retention.sources.clocks import local_spans


@pytest.mark.parametrize(
    ("zone", "day", "spans"),
    [
        ("UTC", date(2024, 2, 29), 1),
        ("America/New_York", date(2021, 3, 14), 1),
        ("Pacific/Apia", date(2011, 12, 30), 0),  # skipped
        ("America/St_Johns", date(2006, 10, 28), 2),  # at 00:01 the clock went back to 23:01
        ("America/St_Johns", date(2006, 10, 29), 2),
        ("Asia/Shanghai", date(9998, 12, 31), 1),
        ("America/New_York", date(1, 1, 1), 1),
    ],
)
def test_every_minute_is_in_a_span_exactly_when_the_wall_shows_the_day(zone: str, day: date, spans: int) -> None:
    found = local_spans(day, ZoneInfo(zone))
    assert len(found) == spans
    noon = datetime.combine(day, datetime.min.time(), UTC)
    for minute in range(-30 * 60, 54 * 60):
        try:
            at = noon + timedelta(minutes=minute)
            shown = local_day(at, ZoneInfo(zone))
        except OverflowError:
            continue
        assert any(start <= at < end for start, end in found) == (shown == day), at
