"""Clocks of MariaDB and MySQL: their own types, numbers, and text, which is tested by a regular expression before it is
compared, as on PostgreSQL.

Their columns may hold dates that are none ("0000-00-00", "2024-02-31"): those are no time. The session's zone is UTC, and
literals are in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from retention.policy.calendar import FIRST_INSTANT
from retention.sources.clock_column import Bound, ClockColumn, shortest
from retention.sources.clock_patterns import DIGITS, ISO_DAY, ISO_OFFSET, ISO_UTC, ISO_WALL, OFFSET
from retention.sources.mariadb_types import converted, family, in_utf8
from retention.sources.numbers import decimal_text, least_float
from retention.sources.sql import Bool, raw, string
from retention.sources.table import Kind

_TEXTS = (Kind.TEXT, Kind.BINARY)
_COUNTED = (Kind.INTEGER, Kind.NUMBER)
#: by code point; what is compared has no space at its end, which it would not tell
_EXACT = "utf8mb4_bin"


def holds(column: ClockColumn, *, dates: bool) -> Bool:
    """Whether there is a time; ``dates`` says whether a date alone is one."""
    present = column.expression.is_not(None)
    match column.kind:
        case Kind.INSTANT:
            return sa.and_(present, _is_real(column))
        case Kind.WALL if column.zone is not None:
            return sa.and_(present, _is_real(column))
        case Kind.DATE if dates:
            return sa.and_(present, _is_real(column))
        case Kind.INTEGER | Kind.NUMBER if column.unit is not None:
            return present
        case Kind.INTEGER | Kind.NUMBER if _digits_count(column, dates=dates):
            return sa.and_(present, _are_digits(column))
        case Kind.TEXT | Kind.BINARY:
            forms = [ISO_UTC, ISO_OFFSET]
            forms += [ISO_DAY] if dates else []
            forms += [] if column.zone is None else [ISO_WALL]
            forms += [DIGITS[column.format]] if column.format and _digits_count(column, dates=dates) else []
            return sa.and_(present, sa.or_(*(_like(_text(column), form) for form in forms)))
    return sa.false()


def before(column: ClockColumn, bound: Bound) -> Bool:
    """Whether the time lies before the bound. An index on the column serves it, except on text: a plain comparison is
    among the conjuncts."""
    if column.kind in _TEXTS:
        return earlier(column, bound)
    valid = [] if column.kind in _COUNTED else [_is_real(column)]
    valid = [_are_digits(column)] if column.kind in _COUNTED and column.format else valid
    return sa.and_(column.expression.is_not(None), earlier(column, bound), *valid)


def earlier(column: ClockColumn, bound: Bound) -> Bool:
    """The same, of records that are known to have a time there."""
    if column.kind in _TEXTS:
        return _text_before(column, bound)
    limit: sa.ColumnElement[Any] | None
    wall, number = bound.wall(column.zone), bound.number(column.unit)
    match column.kind:
        case Kind.INSTANT:
            limit = None if bound.instant is None else _timestamp(_utc(bound.instant))
        case Kind.WALL:
            limit = None if wall is None else _timestamp(wall)
        case Kind.DATE:
            limit = None if bound.day is None else raw(f"DATE'{bound.day.isoformat()}'")
        case Kind.INTEGER | Kind.NUMBER if column.format is not None:
            digits = bound.digits(column.format, column.zone)
            limit = None if digits is None else _number(Fraction(digits), column.type)
        case Kind.INTEGER | Kind.NUMBER:
            limit = None if number is None else _number(number, column.type)
        case _:
            limit = None
    return sa.false() if limit is None else column.expression < limit


def between(column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]:
    """The label of the last of ``edges`` (in order) that the time does not lie before, else ``below``; of records that are
    known to have a time there. Found by halving: eight comparisons for twenty years of months."""
    if column.kind not in _TEXTS:
        return _halved(edges, below, lambda bound: earlier(column, bound))
    text = _text(column)
    cases: list[tuple[Bool, Callable[[Bound], Bool]]] = [
        (sa.func.char_length(text) == 10, lambda bound: _day_before(text, bound)),
        (sa.func.right(text, 1) == string("Z"), lambda bound: _utc_before(text, bound)),
        (_like(text, f".{{16,}}{OFFSET}"), lambda bound: _offset_before(text, bound)),
    ]
    if column.format is not None:
        cases.insert(0, (sa.func.locate(string("-"), text) == 0, lambda bound: _digits_before(column, text, bound)))
    return sa.case(
        *((form, _halved(edges, below, test)) for form, test in cases),
        else_=_halved(edges, below, lambda bound: _wall_before(column, text, bound)),
    )


def double(value: float) -> str:
    """A literal that the server takes for a double, not for a decimal number."""
    text = repr(value)
    return text if "e" in text else f"{text}e0"


def _halved(edges: Sequence[tuple[str, Bound]], below: str, test: Callable[[Bound], Bool]) -> sa.ColumnElement[str]:
    if not edges:
        return string(below)
    middle = len(edges) // 2
    label, limit = edges[middle]
    return sa.case((test(limit), _halved(edges[:middle], below, test)), else_=_halved(edges[middle + 1 :], label, test))


# -- text ------------------------------------------------------------------------------------------------------------


def _text(column: ClockColumn) -> sa.ColumnElement[str]:
    expression = column.expression
    if column.kind is Kind.BINARY:  # each byte as some character, so that none is in the way of the patterns
        expression = sa.func.convert(expression.op("USING")(raw("latin1")))
    return in_utf8(expression).collate(_EXACT)


def _like(text: sa.ColumnElement[str], pattern: str) -> Bool:
    # "$" would pass over a line feed at the end
    return text.op("REGEXP", is_comparison=True)(string(rf"^{pattern}\z"))


def _text_before(column: ClockColumn, bound: Bound) -> Bool:
    text = _text(column)
    forms = [
        (_like(text, ISO_DAY), _day_before(text, bound)),
        (_like(text, ISO_WALL), _wall_before(column, text, bound)),
        (_like(text, ISO_UTC), _utc_before(text, bound)),
        (_like(text, ISO_OFFSET), _offset_before(text, bound)),
    ]
    if column.format is not None:
        forms.append((_like(text, DIGITS[column.format]), _digits_before(column, text, bound)))
    return sa.case((column.expression.is_(None), sa.false()), *forms, else_=sa.false()) == raw("1")


def _day_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    return sa.false() if bound.day is None else text < string(bound.day.isoformat())


def _wall_before(column: ClockColumn, text: sa.ColumnElement[str], bound: Bound) -> Bool:
    wall = bound.wall(column.zone)
    return sa.false() if wall is None else _spaced(text) < string(shortest(wall))


def _utc_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    if bound.instant is None:
        return sa.false()
    return _spaced(_without_end(text, 1)) < string(shortest(_utc(bound.instant)))


def _offset_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    """The wall time less its offset; digits finer than a microsecond are cut off, for a cast would round them. Where that
    lies beyond the calendar, the server says null: before it with an offset ahead of UTC, else after it."""
    if bound.instant is None:
        return sa.false()
    wall = converted(_spaced(sa.func.left(_without_end(text, 6), 26)), "datetime(6)")
    hours, rest = (converted(sa.func.substring(text, place, 2), "signed") for place in (-5, -2))
    ahead = sa.func.substring(text, -6, 1) == string("+")
    minutes = (hours * raw("60") + rest) * sa.case((ahead, raw("-1")), else_=raw("1"))
    instant = sa.func.timestampadd(raw("MINUTE"), minutes, wall)
    beyond = ahead if bound.instant > FIRST_INSTANT else sa.false()
    return sa.func.coalesce(instant < _timestamp(_utc(bound.instant)), beyond)


def _digits_before(column: ClockColumn, text: sa.ColumnElement[str], bound: Bound) -> Bool:
    digits = bound.digits(column.format, column.zone)
    return sa.false() if digits is None else text < string(digits)


def _spaced(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    return sa.func.replace(text, string("T"), string(" ")).collate(_EXACT)


def _without_end(text: sa.ColumnElement[str], length: int) -> sa.ColumnElement[str]:
    return sa.func.left(text, sa.func.char_length(text) - length)


# -- numbers ---------------------------------------------------------------------------------------------------------


def _digits_count(column: ClockColumn, *, dates: bool) -> bool:
    """Whether digits are a time: dates where these count, times where the class has a zone."""
    return dates if column.format == "YYYYMMDD" else column.format is not None and column.zone is not None


def _are_digits(column: ClockColumn) -> Bool:
    """Whether the number is one of the class's format."""
    if column.format is None or not _digits_count(column, dates=True):
        return sa.false()
    whole = sa.func.truncate(column.expression, 0)
    written = in_utf8(sa.cast(whole, sa.Text())).collate(_EXACT)
    return sa.and_(column.expression == whole, _like(written, DIGITS[column.format]))


def _number(value: Fraction, declared: str) -> sa.ColumnElement[Any]:
    """The bound as the column's own type, so that ``column < bound`` is exact and an index serves it."""
    match family(declared):
        case "float" | "double":
            return raw(double(least_float(value)))
        case "decimal":
            return raw(decimal_text(value))
        case _:
            return raw(str(math.ceil(value)))


# -- the servers' own types ------------------------------------------------------------------------------------------


def _is_real(column: ClockColumn) -> Bool:
    """Whether the date exists: its day, counted and counted back, is the same."""
    counted = sa.func.from_days(sa.func.to_days(column.expression))
    return sa.func.coalesce(sa.func.date(column.expression) == counted, sa.false())


def _timestamp(wall: datetime) -> sa.ColumnElement[Any]:
    return raw(f"TIMESTAMP'{wall.isoformat(' ')}'")


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
