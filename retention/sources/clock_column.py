"""One column that may tell times, and what it is compared with: all that a dialect needs to say it in SQL.

`policy/moment.py` is the meaning. A dialect (`server_clock.py`, `sqlite_clock.py`) has three functions of a ClockColumn:
`holds` (is there a time), `before` (a bound), `between` (which of many bounds).
What means "not set" is no matter of dialects: `clocks.py` leaves it out by its moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.calendar import LAST_INSTANT, day_start, local_day, wall_bound
from retention.policy.unset import Unset
from retention.policy.written import Format, Unit
from retention.sources.table import Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What clocks are compared with; None: no clock of that kind lies before it."""

    instant: datetime | None
    day: date | None

    def wall(self, zone: ZoneInfo | None) -> datetime | None:
        """The bound for times without a zone that stand in ``zone``."""
        return None if self.instant is None or zone is None else wall_bound(self.instant, zone)

    def number(self, unit: Unit | None) -> Fraction | None:
        """The bound for numbers that count ``unit`` since 1970."""
        if self.instant is None or unit is None:
            return None
        return Fraction((self.instant - EPOCH) // MICROSECOND, _UNITS[unit])

    def digits(self, form: Format | None, zone: ZoneInfo | None) -> str | None:
        """The bound for digits of that form, as text: they lie before it as they sort before it."""
        if form == "YYYYMMDD":
            return None if self.day is None else self.day.isoformat().replace("-", "")
        wall = self.wall(zone)
        return None if form is None or wall is None else shortest(wall).translate(_ONLY_DIGITS).ljust(14, "0")


_ONLY_DIGITS = {ord(mark): None for mark in "- :"}


@dataclass(frozen=True, kw_only=True)
class ClockColumn:
    """A column with how its class reads it; ``kind`` and ``type`` are the database's own word on it."""

    dialect: str
    expression: sa.ColumnElement[Any]
    #: the same as SQL text, quoted and qualified
    text: str
    kind: Kind
    type: str
    #: in which times without a zone stand; None: they tell nothing
    zone: ZoneInfo | None
    unit: Unit | None
    format: Format | None
    #: moments at which it holds no time
    unset: Unset


def day_bound(day: date, zone: ZoneInfo) -> Bound:
    """Before it lies everything before the local ``day``."""
    return Bound(instant=day_start(day, zone), day=day)


def after_bound(instant: datetime, zone: ZoneInfo) -> Bound:
    """Before it lies everything that is not after ``instant``."""
    day = local_day(instant, zone)
    return Bound(
        instant=instant + MICROSECOND if instant < LAST_INSTANT else None,
        day=day + timedelta(days=1) if day < date.max else None,
    )


def shortest(wall: datetime) -> str:
    """The naive time as the shortest ISO text that means it: ``YYYY-MM-DD HH:MM``, seconds and fraction where they are not
    zero. Text of the same moment, with more digits or fewer, never sorts before it; text of any earlier one does."""
    text = wall.isoformat(" ", "microseconds").rstrip("0") if wall.microsecond else wall.isoformat(" ", "seconds")
    return text.removesuffix(":00") if not wall.microsecond else text
