"""When a record is expired: one cutoff for a run, so that an index can serve `clock < cutoff`.

    expired(record, as_of)  <=>  local_date(clock) + period  <  local_date(as_of)

as PRC Civil Code art. 200-204 and Regulation (EEC, Euratom) 1182/71 art. 3 count (policy-language.md, "The clock").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from retention.policy.calendar import FIRST_INSTANT, LAST_INSTANT, counted_day, day_start, local_day
from retention.policy.policy import Retain

#: what a clock column says: an aware datetime, or a local date
Moment: TypeAlias = datetime | date


@dataclass(frozen=True, kw_only=True)
class Cutoff:
    """Records whose clock lies before it are expired."""

    #: clocks that are instants are expired when before this (UTC)
    instant: datetime
    #: clocks that are dates are expired when before this day; None for periods of hours, which dates cannot have
    day: date | None


def counting_starts(retain: Retain, day: date) -> date | None:
    """The day from which the period of a record of ``day`` is counted: ``day`` itself, or as `starts` moves it.

    None beyond year 9999. Never decreases as ``day`` grows.
    """
    if retain.starts is None:
        return day
    month, day_of_month = retain.fiscal_year_starts if retain.starts == "next fiscal year" else (1, 1)
    step = {"next month": 1, "next quarter": 3}.get(retain.starts, 12)
    # months since year 0 in which a year, quarter or month of this kind may begin: month, month + step, ...
    months = day.year * 12 + day.month - month
    begun = months // step * step
    if (months - begun, day.day) < (0, day_of_month):
        begun -= step
    year, month_index = divmod(begun + step + month - 1, 12)
    return date(year, month_index + 1, day_of_month) if year <= date.max.year else None


def cutoff(retain: Retain, as_of: datetime, zone: ZoneInfo) -> Cutoff | None:
    """The bound before which clocks are expired at the aware ``as_of``; None where nothing can be.

    It is the first instant of the day after the latest day D with ``D + period < local_date(as_of)``.
    """
    if retain.period.forever:
        return None
    if retain.period.exact:
        instant = _shifted(as_of, -timedelta(hours=retain.period.hours))
        return None if instant == FIRST_INSTANT else Cutoff(instant=instant, day=None)
    today = local_day(as_of, zone)
    low, high = 0, today.toordinal()  # no day up to `low` fails, none from `high` on passes: `today` itself never does
    while high - low > 1:
        middle = (low + high) // 2
        last_day = _last_day(retain, date.fromordinal(middle))
        if last_day is not None and last_day < today:
            low = middle
        else:
            high = middle
    if low == 0:
        return None
    day = date.fromordinal(low + 1)
    return Cutoff(instant=day_start(day, zone), day=day)


def expired(retain: Retain, moment: Moment, as_of: datetime, zone: ZoneInfo) -> bool:
    """Whether a record whose clock says ``moment`` is expired at the aware ``as_of``: its clock lies before the cutoff.

    Raises ValueError for a date under a period of hours: half a day cannot be told from a date.
    """
    bound = cutoff(retain, as_of, zone)
    if bound is None:
        return False
    if isinstance(moment, datetime):
        return moment < bound.instant
    if bound.day is None:
        raise ValueError("a clock that is a date cannot be counted in hours")
    return moment < bound.day


def expires(retain: Retain, moment: Moment, zone: ZoneInfo) -> Moment | None:
    """The first local day from which a record is expired; for hours, the instant (UTC) after which it is; None: never.

    Raises ValueError for a date under a period of hours.
    """
    if retain.period.forever:
        return None
    if retain.period.exact:
        if not isinstance(moment, datetime):
            raise ValueError("a clock that is a date cannot be counted in hours")
        instant = _shifted(moment, timedelta(hours=retain.period.hours))
        return None if instant == LAST_INSTANT else instant
    last_day = _last_day(retain, counted_day(moment, zone) if isinstance(moment, datetime) else moment)
    return None if last_day is None or last_day == date.max else last_day + timedelta(days=1)


def is_future(moment: Moment, as_of: datetime, zone: ZoneInfo) -> bool:
    """Whether a clock lies after the aware ``as_of``; a date, after its local day."""
    return moment > as_of if isinstance(moment, datetime) else moment > local_day(as_of, zone)


def _last_day(retain: Retain, day: date) -> date | None:
    """The last day on which a record of ``day`` is kept; None beyond year 9999."""
    start = counting_starts(retain, day)
    return None if start is None else retain.period.after(start)


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment.astimezone(UTC) + by
    except OverflowError:
        return LAST_INSTANT if by > timedelta(0) else FIRST_INSTANT
