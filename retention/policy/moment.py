"""What a clock value means as a moment, whatever form the database gives it in."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from retention.policy.calendar import instant_of, shift
from retention.policy.clock import Moment
from retention.policy.record_class import RecordClass
from retention.policy.written import parse_digits, parse_iso, since_1970, whole_digits


def moment_of(value: object, record_class: RecordClass) -> Moment | None:
    """The moment for which a clock ``value`` stands, or None for null, for whatever is no time, and for what the class
    says is `unset`.

    Aware datetimes are instants (given in UTC); naive ones, and ISO text without an offset, stand in the class's
    `timezone` (None without one); numbers count the class's `unit` since 1970, or are digits of its `format` (None
    without one), and so is text of digits; dates, and text that is a date alone, are local dates; bytes are ASCII text.
    What lies beyond the years 1 and 9999 is taken as their end.
    """
    moment = _told(value, record_class)
    return None if moment is None or moment in record_class.unset_moments else moment


def _told(value: object, record_class: RecordClass) -> Moment | None:
    form = record_class.format
    if isinstance(value, bytes):
        value = value.decode("ascii") if value.isascii() else None
    if form is not None and isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = parse_digits(whole_digits(value), form)
    if isinstance(value, str):
        value = (None if form is None else parse_digits(value, form)) or parse_iso(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return _utc(value)
        return None if record_class.timezone is None else instant_of(value, record_class.timezone)
    if isinstance(value, date):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return None if record_class.unit is None else since_1970(value, record_class.unit)


def wall_instant(value: datetime, zone: ZoneInfo) -> datetime:
    """An instant (UTC) written in a policy: as its offset says, or, without one, in the policies' time zone."""
    return instant_of(value, zone) if value.tzinfo is None else _utc(value)


def _utc(value: datetime) -> datetime:
    offset = value.utcoffset()
    assert offset is not None, "the caller has tested that the datetime is aware"
    return shift(value.replace(tzinfo=None), -offset)
