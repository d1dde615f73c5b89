"""What a clock value means as a moment, whatever form the database gives it in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from retention.policy.calendar import FIRST_INSTANT, LAST_INSTANT, instant_of, shift
from retention.policy.clock import Moment
from retention.policy.record_class import RecordClass

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1)
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def parse_iso(text: str) -> datetime | date | None:
    """Read ``YYYY-MM-DD`` (a date) or the same with `` HH:MM`` or ``THH:MM``, optional seconds and fraction, and
    optional ``Z`` or ``+HH:MM`` (a datetime: aware, in UTC, where it says its offset, else naive). None for all else.

    Fractions finer than a microsecond are cut off.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    day, minutes, seconds, fraction, offset = match.groups()
    try:
        if minutes is None:
            return date.fromisoformat(day)
        wall = datetime.fromisoformat(f"{day}T{minutes}{seconds or ':00'}.{(fraction or '')[:6]:0<6}")
    except ValueError:
        return None
    if offset is None:
        return wall
    if offset == "Z":
        return wall.replace(tzinfo=UTC)
    hours, rest = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or rest > 59:
        return None
    ahead = timedelta(hours=hours, minutes=rest)
    return shift(wall, ahead if offset[0] == "-" else -ahead)


def moment_of(value: object, record_class: RecordClass) -> Moment | None:
    """The moment for which a clock ``value`` stands, or None for null and for whatever is no time.

    Aware datetimes are instants (given in UTC); naive ones, and ISO text without an offset, stand in the class's
    `timezone` (None without one); numbers count the class's `unit` since 1970 (None without one); dates, and text that
    is a date alone, are local dates. What lies beyond the years 1 and 9999 is taken as their end.
    """
    if isinstance(value, str):
        value = parse_iso(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return _utc(value)
        return None if record_class.timezone is None else instant_of(value, record_class.timezone)
    if isinstance(value, date):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return None if record_class.unit is None else _since_1970(value, _MICROSECONDS[record_class.unit])


def wall_instant(value: datetime, zone: ZoneInfo) -> datetime:
    """An instant (UTC) written in a policy: as its offset says, or, without one, in the policies' time zone."""
    return instant_of(value, zone) if value.tzinfo is None else _utc(value)


def _utc(value: datetime) -> datetime:
    offset = value.utcoffset()
    assert offset is not None, "the caller has tested that the datetime is aware"
    return shift(value.replace(tzinfo=None), -offset)


def _since_1970(value: int | float | Decimal, microseconds: int) -> datetime | None:
    try:
        # rounding down keeps `clock < cutoff` as it is, because every cutoff is a whole number of microseconds
        count = Fraction(value) * microseconds // 1
    except (ValueError, OverflowError):
        return None  # NaN and the infinities are no time
    if abs(count) > 10**18:  # about 31,700 years
        return LAST_INSTANT if count > 0 else FIRST_INSTANT
    return shift(_EPOCH, timedelta(microseconds=int(count)))
