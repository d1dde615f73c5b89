"""Times as applications write them where the column has no type for them: text in ISO form, digits, numbers since 1970."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from retention.policy.calendar import FIRST_INSTANT, LAST_INSTANT, shift

#: what digits alone mean, in text or as a number: a local date, or a time without a zone
Format: TypeAlias = Literal["YYYYMMDD", "YYYYMMDDHHMMSS"]
#: what a number counts since 1970-01-01 UTC
Unit: TypeAlias = Literal["s", "ms", "us"]

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_DIGITS = re.compile(r"[0-9]+")
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


def parse_digits(text: str, form: Format) -> datetime | date | None:
    """Read exactly as many digits as the form has: a date, or a naive datetime. None for all else."""
    if len(text) != len(form) or not _DIGITS.fullmatch(text):
        return None
    iso = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
    return parse_iso(iso if form == "YYYYMMDD" else f"{iso} {text[8:10]}:{text[10:12]}:{text[12:]}")


def whole_digits(value: int | float | Decimal) -> str:
    """The digits of a whole number; empty for all others."""
    try:
        return str(int(value)) if value == int(value) else ""
    except (ValueError, OverflowError):  # NaN and the infinities
        return ""


def since_1970(value: int | float | Decimal, unit: Unit) -> datetime | None:
    """The instant (UTC) that so many units after 1970 began is; beyond the years 1 and 9999, their end."""
    try:
        # rounding down keeps `clock < cutoff` as it is, because every cutoff is a whole number of microseconds
        count = Fraction(value) * _MICROSECONDS[unit] // 1
    except (ValueError, OverflowError):
        return None  # NaN and the infinities are no time
    if abs(count) > 10**18:  # about 31,700 years
        return LAST_INSTANT if count > 0 else FIRST_INSTANT
    return shift(_EPOCH, timedelta(microseconds=int(count)))
