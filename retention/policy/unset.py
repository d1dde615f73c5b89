"""The values by which a database says that a time is not set: `unset: [0, "1970-01-01", "9999-12-31"]` of a class.

Whatever their form, they are told by their moment: a number as the class reads numbers, a time to the microsecond, a day
as the whole day, in the class's time zone or in UTC, because applications write such a day at any midnight. (Text that
is no time, as "0000-00-00", is no clock anyhow.) More is taken for unset than was meant, rather than less: what has no
clock is never expired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from retention.policy.calendar import FIRST_INSTANT, LAST_INSTANT, day_start, instant_of
from retention.policy.condition import Scalar
from retention.policy.written import Format, Unit, parse_digits, parse_iso, since_1970, whole_digits

_MICROSECOND = timedelta(microseconds=1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, kw_only=True)
class Unset:
    """The moments that mean "not set"."""

    #: stretches of instants from the first to before the second, in order, none meeting another; None: without end
    spans: tuple[tuple[datetime | None, datetime | None], ...] = ()
    #: of clocks that are dates
    days: tuple[date, ...] = ()

    def __contains__(self, moment: datetime | date) -> bool:
        if not isinstance(moment, datetime):
            return moment in self.days
        return any((first is None or first <= moment) and (end is None or moment < end) for first, end in self.spans)


def meant(value: Scalar, zone: ZoneInfo | None, unit: Unit | None, form: Format | None) -> datetime | date | None:
    """What a value of the list says: a day, or an instant (UTC); None for what is no time to a class that reads so."""
    if isinstance(value, int | float):
        if form is None:
            return None if unit is None else since_1970(value, unit)
        value = whole_digits(value)
    if isinstance(value, str):
        value = (None if form is None else parse_digits(value, form)) or parse_iso(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return value.astimezone(UTC)
        return None if zone is None else instant_of(value, zone)
    return value if isinstance(value, date) else None


def unset_moments(values: Iterable[Scalar], zone: ZoneInfo | None, unit: Unit | None, form: Format | None) -> Unset:
    """The moments of all values of the list."""
    moments = [one for one in (meant(value, zone, unit, form) for value in values) if one is not None]
    days = sorted({one for one in moments if not isinstance(one, datetime)})
    spans = [_day(day, zone) for day in days]
    spans += [(one, _after(one)) for one in moments if isinstance(one, datetime)]
    return Unset(spans=tuple((_open(first, FIRST_INSTANT), _open(end, LAST_INSTANT)) for first, end in _merged(spans)),
                 days=tuple(days))  # fmt: skip


def _day(day: date, zone: ZoneInfo | None) -> tuple[datetime, datetime]:
    zones = [_UTC] if zone is None else [_UTC, zone]
    following = day + timedelta(days=1) if day < date.max else None
    ends = [LAST_INSTANT if following is None else day_start(following, one) for one in zones]
    return min(day_start(day, one) for one in zones), max(ends)


def _after(instant: datetime) -> datetime:
    return instant + _MICROSECOND if instant < LAST_INSTANT else LAST_INSTANT


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    found: list[tuple[datetime, datetime]] = []
    for first, end in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    return found


def _open(edge: datetime, last: datetime) -> datetime | None:
    """None at the calendar's own ends: what lies beyond them counts to them."""
    return None if edge == last else edge
