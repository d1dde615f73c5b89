"""Slots against an oracle that walks the calendar day by day and knows nothing of croniter or of the program's calendar."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from retention.policy.policy import Schedule
from retention.policy.read_schedule import WORDS
from retention.scheduling.cron import Occurrence, slots

#: a zone turned back in summer, by half an hour, across the date line, two hours at once, and where DST follows the moon
ZONES = (
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Australia/Sydney",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Shanghai",
    "Antarctica/Troll",
    "Asia/Gaza",
    "America/St_Johns",
)
CRONS = (
    "0 2 1 1,4,7,10 *",
    "30 2 * * *",
    "15 1 * * 0",
    "0 0 1 * *",
    "59 23 * * *",
    "*/20 1-3 * * *",
    "0 3 13 * 5",
    "45 0 28-31 * *",
    "0 2 29 2 *",
)


class Zone:
    """A time zone as the list of its offsets, found by asking for the offset of every hour."""

    def __init__(self, name: str, first: int, last: int) -> None:
        zone = ZoneInfo(name)

        def offset(moment: datetime) -> timedelta:
            found = moment.astimezone(zone).utcoffset()
            assert found is not None
            return found

        moment, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 3, tzinfo=UTC)
        self.starts, self.offsets = [moment], [offset(moment)]
        while moment < end:
            following = moment + timedelta(hours=1)
            if offset(following) != self.offsets[-1]:
                minute = moment
                while offset(minute) == self.offsets[-1]:
                    minute += timedelta(minutes=1)
                self.starts.append(minute)
                self.offsets.append(offset(minute))
            moment = following

    def at(self, wall: datetime) -> datetime:
        """When clocks show it first, or the end of the gap."""
        utc = wall.replace(tzinfo=UTC)
        # offsets differ from one another by less than two days
        begin = max(bisect.bisect(self.starts, utc - timedelta(days=2)) - 1, 0)
        for number in range(begin, len(self.starts)):
            moment = utc - self.offsets[number]
            if number and moment < self.starts[number]:
                return self.starts[number]  # the one before has ended, this one shows a later wall time already
            if number + 1 == len(self.starts) or moment < self.starts[number + 1]:
                return moment
        raise AssertionError(wall)

    def shown(self, moment: datetime) -> datetime:
        number = bisect.bisect(self.starts, moment) - 1
        return (moment + self.offsets[number]).replace(tzinfo=None)


def values(field: str, least: int, greatest: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first, last = (least, greatest) if span == "*" else (int(low), int(high or low))
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def expected(cron: str, zone: Zone, first: int, last: int) -> Iterator[tuple[datetime, datetime]]:
    minutes, hours, days, months, weekdays = cron.split()
    last_moment: datetime | None = None
    day = date(first, 1, 2)
    while day < date(last, 12, 30):
        by_day = day.day in values(days, 1, 31)
        by_week = day.isoweekday() % 7 in {number % 7 for number in values(weekdays, 0, 7)}
        # crontab(5): where both are restricted, either will do
        fits = by_day or by_week if days != "*" and weekdays != "*" else by_day and by_week
        if fits and day.month in values(months, 1, 12):
            for hour in sorted(values(hours, 0, 23)):
                for minute in sorted(values(minutes, 0, 59)):
                    moment = zone.at(datetime.combine(day, time(hour, minute)))
                    if last_moment is None or moment > last_moment:
                        last_moment = moment
                        yield moment, zone.shown(moment)
        day += timedelta(days=1)


def check(zone_name: str, cron: str, zone: Zone, first: int, last: int) -> int:
    wanted = list(expected(cron, zone, first, last))
    schedule = Schedule(cron=cron, timezone=ZoneInfo(zone_name))
    begin = zone.at(datetime(first, 1, 2)) - timedelta(seconds=1)
    until = zone.at(datetime(last, 12, 29, 23, 59))
    found = [(one.due_at, one.wall) for one in slots(schedule, after=begin, until=until)]
    assert found == wanted, (zone_name, cron)
    names = [one for _, one in found]
    assert len(set(names)) == len(names), "two slots of one name"
    return len(found)


@pytest.mark.parametrize("zone", ZONES)
def test_slots_are_what_a_walk_through_the_calendar_finds(zone: str) -> None:
    """Years with odd changes: Apia left out a day in 2011, Troll has two-hour steps, Casablanca turns back for Ramadan."""
    for first, last in ((2011, 2011), (2026, 2026), (2046, 2046)):
        walked = Zone(zone, first, last)
        for cron in CRONS:
            check(zone, cron, walked, first, last)


@pytest.mark.soak
@pytest.mark.parametrize("zone", ZONES)
def test_forty_years_of_slots(zone: str) -> None:
    walked = Zone(zone, 2007, 2047)
    assert sum(check(zone, cron, walked, 2007, 2047) for cron in (*CRONS, *WORDS.values())) > 100_000


def around(zone: str, cron: str, after: str, count: int = 3) -> list[Occurrence]:
    schedule = Schedule(cron=cron, timezone=ZoneInfo(zone))
    return list(islice(slots(schedule, after=datetime.fromisoformat(after)), count))


def test_a_time_that_comes_twice_is_its_first_coming() -> None:
    before, twice, following = around("Europe/Berlin", "30 2 * * *", "2026-10-24T00:00Z")
    assert (twice.local_time, twice.due_at.isoformat()) == ("2026-10-25T02:30", "2026-10-25T00:30:00+00:00")
    assert [one.jump for one in (before, twice, following)] == [None, "overlap", None]
    assert following.local_time == "2026-10-26T02:30"


def test_sydney_s_quarter_that_comes_twice_is_one_slot() -> None:
    """1 April 2029, 02:00: the night in which clocks are turned back there."""
    first, following = around("Australia/Sydney", WORDS["quarterly"], "2029-03-30T00:00Z", 2)
    assert (first.local_time, first.jump, following.local_time) == ("2029-04-01T02:00", "overlap", "2029-07-01T02:00")


def test_a_time_that_does_not_come_is_the_end_of_the_gap() -> None:
    _, skipped, following = around("Europe/Berlin", "30 2 * * *", "2026-03-28T00:00Z")
    assert (skipped.local_time, skipped.due_at.isoformat()) == ("2026-03-29T03:00", "2026-03-29T01:00:00+00:00")
    assert (skipped.jump, following.jump) == ("gap", None)


def test_several_times_in_one_gap_are_one_slot() -> None:
    names = [one.local_time for one in around("Europe/Berlin", "*/20 2,3 * * *", "2026-03-28T12:00Z")]
    assert names == ["2026-03-29T03:00", "2026-03-29T03:20", "2026-03-29T03:40"]


def test_after_is_not_in_and_until_is() -> None:
    schedule = Schedule(cron="0 2 * * *", timezone=ZoneInfo("UTC"))
    two = datetime(2026, 10, 1, 2, tzinfo=UTC)
    assert [one.due_at for one in slots(schedule, after=two - timedelta(days=1), until=two)] == [two]
    assert list(slots(schedule, after=two, until=two + timedelta(days=1, microseconds=-1))) == []


def test_slots_found_piece_by_piece_are_those_found_at_once() -> None:
    """Whatever the instants at which a beat looks, a night with a change of clocks included."""
    schedule = Schedule(cron="*/15 * * * *", timezone=ZoneInfo("Australia/Lord_Howe"))
    begin, end = datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 4, 5, tzinfo=UTC)
    at_once = list(slots(schedule, after=begin, until=end))
    pieces: list[Occurrence] = []
    moment = begin
    while moment < end:
        following = min(moment + timedelta(minutes=7, seconds=13), end)
        pieces += slots(schedule, after=moment, until=following)
        moment = following
    assert pieces == at_once
    assert len(at_once) == 24 * 4 - 2  # the half hour that comes twice fires once


def test_the_calendar_s_end_ends_the_slots() -> None:
    assert [one.local_time for one in around("UTC", WORDS["yearly"], "9998-06-01T00:00Z")] == ["9999-01-01T02:00"]
