"""The only conversions between local time and instants.

Three rules keep every doubt on the side of keeping (docs/design.md, "Calendar"): a wall time that stands for two
instants counts as the later one; one that stands for none counts as the end of the gap; a local day begins at its
first instant. Hence `instant_of` and `day_start` never decrease, and one comparison with a bound decides expiry.

`datetime` ends at the years 1 and 9999; what would lie beyond is taken as its end, which keeps the order.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT = datetime.max.replace(tzinfo=UTC)
#: larger than any offset from UTC, and than any jump of a local clock
_MARGIN = timedelta(days=2)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) for which the naive ``wall`` stands in ``zone``: the later of two, the end of a gap if none.

    Never decreases as ``wall`` grows.
    """
    early, late = _offsets(wall, zone)
    return _end_of_gap(wall, early, late, zone) if late > early else shift(wall, -late)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) of the local ``day``: the earlier of two midnights; the end of the gap where midnight, or
    the whole day, does not exist. Never decreases as ``day`` grows."""
    return first_instant_of(datetime.combine(day, time.min), zone)


def first_instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) at which a clock in ``zone`` shows the naive ``wall``; the end of a gap that skips it.

    Never decreases as ``wall`` grows.
    """
    early, late = _offsets(wall, zone)
    return _end_of_gap(wall, early, late, zone) if late > early else shift(wall, -early)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The date that a calendar on the wall shows in ``zone`` at the aware ``instant``."""
    return _local(instant, zone).date()


def counted_day(instant: datetime, zone: ZoneInfo) -> date:
    """The day to which a record's ``instant`` counts: the latest one that has begun.

    This is `local_day`, except where a clock was turned back across midnight (St John's until 2011): the repeated part
    of the old day counts to the new one, which keeps one day longer.
    """
    day = local_day(instant, zone)
    while day < date.max and day_start(day + timedelta(days=1), zone) <= instant:
        day += timedelta(days=1)
    return day


def wall_bound(instant: datetime, zone: ZoneInfo) -> datetime:
    """The least naive wall time ``w`` (to the microsecond) with ``instant_of(w, zone) >= instant``.

    So ``wall < wall_bound(i)`` says of a column without a zone exactly what ``instant_of(wall) < i`` says.
    ``datetime.max`` where there is no such wall time.
    """
    about = instant.astimezone(UTC).replace(tzinfo=None)
    low, high = _clamped(about, -_MARGIN), _clamped(about, _MARGIN)
    while low < high:
        middle = low + (high - low) // 2
        if instant_of(middle, zone) >= instant:
            high = middle
        else:
            low = middle + _MICROSECOND
    return low


def shift(wall: datetime, by: timedelta) -> datetime:
    """The naive ``wall`` moved by ``by`` and read as UTC; beyond the years 1 and 9999, their end."""
    return _clamped(wall, by).replace(tzinfo=UTC)


def _clamped(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max if by > timedelta(0) else datetime.min


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Offsets of ``wall`` read with fold 0 and fold 1 (PEP 495): equal; or early > late where it comes twice; or
    early < late where it does not come at all."""
    return _offset(wall.replace(tzinfo=zone, fold=0)), _offset(wall.replace(tzinfo=zone, fold=1))


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    assert offset is not None, "a ZoneInfo always has an offset"
    return offset


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    utc = instant.astimezone(UTC)
    try:
        return utc.astimezone(zone)
    except OverflowError:
        return utc.replace(tzinfo=zone)  # within a day of the first or the last instant: their end of the calendar


def _end_of_gap(wall: datetime, early: timedelta, late: timedelta, zone: ZoneInfo) -> datetime:
    """The instant at which the clock jumped over ``wall``: bisected between its readings by the two offsets."""
    low, high = shift(wall.replace(microsecond=0), -late), shift(wall.replace(microsecond=0), -early)
    while high - low > _SECOND:  # clocks jump at whole seconds
        middle = low + _SECOND * ((high - low) // _SECOND // 2)
        if _offset(middle.astimezone(zone)) == early:
            low = middle
        else:
            high = middle
    return high
