"""What a clock column says, in SQL: the same as `policy/moment.py` says of each value, in every dialect.

A clock is a column of times. `before` compares its moment with a bound: instants, and times without a zone (in the class's
`timezone`), with an instant; dates with a day. All expressions are two-valued: what is no time is before nothing. Each
dialect reads a column in a module of its own; what the class says is `unset` is left out here, by its moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.sql.selectable import NamedFromClause

from retention.policy.calendar import local_day
from retention.sources import sqlite_clock
from retention.sources.clock_column import MICROSECOND, Bound, ClockColumn, after_bound, day_bound
from retention.sources.mariadb_clock import MariadbClock
from retention.sources.postgresql_clock import PostgresqlClock
from retention.sources.sql import Bool, all_of, any_of
from retention.sources.table import Column

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

__all__ = [
    "MICROSECOND",
    "Bound",
    "after_bound",
    "before",
    "between",
    "clock_column",
    "day_bound",
    "is_clock",
    "local_spans",
    "on_day",
]


class _Reads(Protocol):
    """What a dialect says of one column."""

    def holds(self, column: ClockColumn, *, dates: bool) -> Bool: ...
    def before(self, column: ClockColumn, bound: Bound) -> Bool: ...
    def between(self, column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]: ...


_DIALECTS: dict[str, _Reads] = {"postgresql": PostgresqlClock(), "sqlite": sqlite_clock, "mysql": MariadbClock()}


def clock_column(
    bound: BoundClass, column: str, rows: NamedFromClause | None = None, described: Column | None = None
) -> ClockColumn:
    """The class's column of that name, or that of other ``rows``, read as the class reads its own. Raises KeyError."""
    declared, found = bound.record_class, described or bound.described(column)
    quote = bound.source.dialect.identifier_preparer.quote_identifier
    return ClockColumn(
        dialect=bound.dialect,
        expression=bound.column(column) if rows is None else rows.c[column],
        text=bound.text(column) if rows is None else f"{quote(rows.name)}.{quote(column)}",
        kind=found.kind,
        type=found.type,
        zone=declared.timezone,
        unit=declared.unit,
        format=declared.format,
        unset=declared.unset_moments,
    )


def is_clock(column: ClockColumn, *, dates: bool = True) -> Bool:
    """Whether the column holds a time; ``dates`` says whether a date alone is one."""
    found = [_within(column, *span) for span in column.unset.spans]
    found += [_is_date(column, day) for day in column.unset.days if dates]
    return _but(_DIALECTS[column.dialect].holds(column, dates=dates), found)


def before(column: ClockColumn, limit: Bound) -> Bool:
    """Whether the column's moment lies before ``limit``. An index on the column serves it: a plain comparison is among
    the conjuncts."""
    unset, instant, day = column.unset, limit.instant, limit.day
    # what does not lie before the limit need not be asked about
    found = [_within(column, *span) for span in unset.spans if instant and (not span[0] or span[0] < instant)]
    found += [_is_date(column, one) for one in unset.days if day and one < day]
    return _but(_DIALECTS[column.dialect].before(column, limit), found)


def between(column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]:
    """The label of the last of ``edges`` (in order) that the column's moment does not lie before, else ``below``; of
    records that are known to have a clock there."""
    return _DIALECTS[column.dialect].between(column, edges, below)


def _but(there: Bool, unset: list[Bool]) -> Bool:
    return sa.and_(there, sa.not_(any_of(unset))) if unset else there


def _within(column: ClockColumn, first: datetime | None, end: datetime | None) -> Bool:
    """Whether an instant lies from the first to before the second."""
    dialect = _DIALECTS[column.dialect]
    edges = [sa.not_(dialect.before(column, Bound(instant=one, day=None))) for one in (first,) if one is not None]
    at_most = (
        dialect.holds(column, dates=False) if end is None else dialect.before(column, Bound(instant=end, day=None))
    )
    return all_of([at_most, *edges])


def _is_date(column: ClockColumn, day: date) -> Bool:
    """Whether a date is this one; the calendar's own ends are all that lies beyond them, too."""
    dialect = _DIALECTS[column.dialect]
    dated = sa.and_(dialect.holds(column, dates=True), sa.not_(dialect.holds(column, dates=False)))
    if day < date.max:
        dated = dialect.before(column, Bound(instant=None, day=day + timedelta(days=1)))
    return dated if day == date.min else sa.and_(dated, sa.not_(dialect.before(column, Bound(instant=None, day=day))))


def on_day(column: ClockColumn, day: date, zone: ZoneInfo) -> Bool:
    """Whether the column's moment lies on the local ``day``, as a calendar on the wall in ``zone`` shows it."""
    spans = [
        sa.and_(before(column, Bound(instant=end, day=None)), ~before(column, Bound(instant=start, day=None)))
        for start, end in local_spans(day, zone)
    ]
    next_day = day + timedelta(days=1) if day < date.max else None
    dated = sa.and_(
        is_clock(column) if next_day is None else before(column, Bound(instant=None, day=next_day)),
        ~before(column, Bound(instant=None, day=day)),
    )
    if next_day is None:  # instants of the last day are told by their spans alone
        dated = sa.and_(dated, ~is_clock(column, dates=False))
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
