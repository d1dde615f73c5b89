"""What a clock column says, in SQL: the same as `policy/moment.py` says of each value, in every dialect.

A clock is a column of times. `before` compares its moment with a bound: instants, and times without a zone (in the class's
`timezone`), with an instant; dates with a day. All expressions are two-valued: what is no time is before nothing.

PostgreSQL's ``-infinity`` is no clock (a record that says "always" is not to be deleted for it); ``infinity`` lies in the
future; years before 1 are long ago.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.calendar import LAST_INSTANT, day_start, local_day, wall_bound
from retention.sources import sqlite_clock
from retention.sources.sql import Bool, Declared, any_of, raw, string
from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

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

    def number(self, unit: str) -> Fraction | None:
        """The bound for numbers that count ``unit`` since 1970."""
        if self.instant is None:
            return None
        return Fraction((self.instant - EPOCH) // MICROSECOND, _UNITS[unit])


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


def is_clock(bound: BoundClass, column: str, *, dates: bool = True) -> Bool:
    """Whether the column holds a time; ``dates`` says whether a date alone is one."""
    described, expression = bound.described(column), bound.column(column)
    record_class = bound.record_class
    if bound.dialect == "sqlite":
        return raw(
            sqlite_clock.is_clock(
                bound.text(column),
                dates=dates,
                naive=record_class.timezone is not None,
                numbers=record_class.unit is not None,
            )
        )
    match described.kind:
        case Kind.INSTANT:
            usable = True
        case Kind.WALL:
            usable = record_class.timezone is not None
        case Kind.DATE:
            usable = dates
        case Kind.INTEGER | Kind.NUMBER:
            usable = record_class.unit is not None
        case _:
            usable = False
    if not usable:
        return sa.false()
    return sa.and_(expression.is_not(None), *_finite(described.kind, described.type, expression))


def before(bound: BoundClass, column: str, limit: Bound) -> Bool:
    """Whether the column's moment lies before ``limit``. An index on the column serves it: a plain comparison is among
    the conjuncts."""
    if bound.dialect == "sqlite":
        return earlier(bound, column, limit)
    described, expression = bound.described(column), bound.column(column)
    return sa.and_(
        expression.is_not(None),
        earlier(bound, column, limit),
        *_finite(described.kind, described.type, expression),
    )


def earlier(bound: BoundClass, column: str, limit: Bound) -> Bool:
    """The same, of records that are known to have a clock there."""
    described, expression = bound.described(column), bound.column(column)
    zone, unit = bound.record_class.timezone, bound.record_class.unit
    number = None if unit is None else limit.number(unit)
    if bound.dialect == "sqlite":
        wall = limit.wall(zone)
        return raw(
            sqlite_clock.before(bound.text(column), instant=limit.instant, wall=wall, day=limit.day, number=number)
        )
    literal: sa.ColumnElement[object] | None
    match described.kind:
        case Kind.INSTANT:
            literal = None if limit.instant is None else _timestamp(limit.instant)
        case Kind.WALL:
            wall = limit.wall(zone)
            literal = None if wall is None else _timestamp(wall)
        case Kind.DATE:
            literal = None if limit.day is None else sa.cast(string(limit.day.isoformat()), sa.Date())
        case Kind.INTEGER | Kind.NUMBER:
            literal = None if number is None else _number(number, described.type)
        case _:
            literal = None
    return sa.false() if literal is None else expression < literal


def between(bound: BoundClass, column: str, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]:
    """The label of the last of ``edges`` (in order) that the column's moment does not lie before, else ``below``; of
    records that are known to have a clock there. Found by halving: eight comparisons for twenty years of months."""
    if bound.dialect == "sqlite":
        zone, unit = bound.record_class.timezone, bound.record_class.unit
        told = [
            sqlite_clock.Edge(
                label=label,
                instant=limit.instant,
                wall=limit.wall(zone),
                day=limit.day,
                number=None if unit is None else limit.number(unit),
            )
            for label, limit in edges
            if limit.instant is not None and limit.day is not None
        ]
        return raw(sqlite_clock.between(bound.text(column), told, below))
    if not edges:
        return string(below)
    middle = len(edges) // 2
    label, limit = edges[middle]
    return sa.case(
        (earlier(bound, column, limit), between(bound, column, edges[:middle], below)),
        else_=between(bound, column, edges[middle + 1 :], label),
    )


def on_day(bound: BoundClass, column: str, day: date, zone: ZoneInfo) -> Bool:
    """Whether the column's moment lies on the local ``day``, as a calendar on the wall in ``zone`` shows it."""
    spans = [
        sa.and_(
            before(bound, column, Bound(instant=end, day=None)), ~before(bound, column, Bound(instant=start, day=None))
        )
        for start, end in local_spans(day, zone)
    ]
    next_day = day + timedelta(days=1) if day < date.max else None
    dated = sa.and_(
        is_clock(bound, column) if next_day is None else before(bound, column, Bound(instant=None, day=next_day)),
        ~before(bound, column, Bound(instant=None, day=day)),
    )
    if next_day is None:  # instants of the last day are told by their spans alone
        dated = sa.and_(dated, ~is_clock(bound, column, dates=False))
    return any_of([*spans, dated])


def local_spans(day: date, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The stretches of instants [start, end) during which the wall shows ``day``: one, none where the zone skipped it,
    two where a clock was turned back across midnight."""
    first = datetime.combine(day, datetime.min.time(), UTC)
    hours = [at for step in range(-50, 76) if (at := _moved(first, timedelta(hours=step))) is not None]
    edges = sorted({edge for one, two in pairwise(hours) for edge in _changes(one, two, zone)} | {hours[0], hours[-1]})
    spans: list[tuple[datetime, datetime]] = []
    for start, end in pairwise(edges):
        if local_day(start, zone) == day:
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return spans


def _changes(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants within an hour at which the wall shows another day: at most one, or two around a change of offset."""
    quarter = timedelta(minutes=15)
    found = []
    while start < end:
        stop = min(start + quarter, end)
        if local_day(start, zone) != local_day(stop, zone):
            low, high = start, stop
            while high - low > MICROSECOND:
                middle = low + (high - low) // 2
                if local_day(middle, zone) == local_day(start, zone):
                    low = middle
                else:
                    high = middle
            found.append(high)
        start = stop
    return found


def _moved(moment: datetime, by: timedelta) -> datetime | None:
    try:
        return moment + by
    except OverflowError:
        return None


def _finite(kind: Kind, declared: str, expression: sa.ColumnElement[object]) -> list[Bool]:
    if kind in (Kind.INSTANT, Kind.WALL, Kind.DATE):
        return [expression > sa.cast(string("-infinity"), Declared(declared))]
    if kind is Kind.NUMBER:
        return [
            expression.not_in(
                [sa.cast(string(word), Declared(_family(declared))) for word in ("NaN", "Infinity", "-Infinity")]
            )
        ]
    return []


def _timestamp(moment: datetime) -> sa.ColumnElement[object]:
    text = moment.astimezone(UTC).isoformat(" ") if moment.tzinfo is not None else moment.isoformat(" ")
    return sa.cast(string(text), sa.TIMESTAMP(timezone=moment.tzinfo is not None))


def _number(value: Fraction, declared: str) -> sa.ColumnElement[object]:
    """The bound as the column's own type, so that `column < bound` is exact and an index serves it."""
    if declared in ("real", "double precision"):
        return sa.cast(string(repr(least_float(value))), sa.Double())
    if _family(declared) == "numeric":
        return raw(_decimal(value))
    return raw(str(math.ceil(value)))


def least_float(value: Fraction) -> float:
    """The least float that is not less than ``value``: for floats, ``x < least_float(v)`` is ``x < v``."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def _decimal(value: Fraction) -> str:
    """Exact: the denominator divides a million."""
    scaled = int(value * 1_000_000)
    sign, digits = ("-" if scaled < 0 else ""), f"{abs(scaled):07}"
    return f"{sign}{digits[:-6]}.{digits[-6:]}"


def _family(declared: str) -> str:
    return declared.split("(")[0]
