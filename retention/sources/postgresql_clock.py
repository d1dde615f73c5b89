"""Clocks of PostgreSQL: its own types, numbers, and text, which is tested by a regular expression before it is compared.

Text is compared as text with the shortest form of the bound (`clock_column.shortest`), in the collation "C"; text with an offset
is moved by its minutes first. Nothing here raises, whatever stands in the column, and no setting of a server, role, database or
session has a say: literals carry their zone, and no function of the calendar is called.

``-infinity`` is no clock (a record that says "always" is not to be deleted for it); ``infinity`` lies in the future; years
before 1 are long ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from retention.sources.clock_column import Bound, ClockColumn, shortest
from retention.sources.clock_patterns import DIGITS, ISO_DAY, ISO_OFFSET, ISO_UTC, ISO_WALL, OFFSET
from retention.sources.numbers import decimal_text, least_float
from retention.sources.sql import Bool, Declared, raw, string
from retention.sources.table import Kind

_TEXTS = (Kind.TEXT, Kind.BINARY)
_COUNTED = (Kind.INTEGER, Kind.NUMBER)


_ISO_DAY, _ISO_WALL = f"^{ISO_DAY}$", f"^{ISO_WALL}$"
_ISO_UTC, _ISO_OFFSET = f"^{ISO_UTC}$", f"^{ISO_OFFSET}$"
_DIGITS = {form: f"^{pattern}$" for form, pattern in DIGITS.items()}


def holds(column: ClockColumn, *, dates: bool) -> Bool:
    """Whether there is a time; ``dates`` says whether a date alone is one."""
    present = column.expression.is_not(None)
    match column.kind:
        case Kind.INSTANT:
            return sa.and_(present, *_finite(column))
        case Kind.WALL if column.zone is not None:
            return sa.and_(present, *_finite(column))
        case Kind.DATE if dates:
            return sa.and_(present, *_finite(column))
        case Kind.INTEGER | Kind.NUMBER if column.unit is not None:
            return sa.and_(present, *_finite(column))
        case Kind.INTEGER | Kind.NUMBER if _digits_count(column, dates=dates):
            return sa.and_(present, _are_digits(column))
        case Kind.TEXT | Kind.BINARY:
            forms = [_ISO_UTC, _ISO_OFFSET]
            forms += [_ISO_DAY] if dates else []
            forms += [] if column.zone is None else [_ISO_WALL]
            forms += [_DIGITS[column.format]] if column.format and _digits_count(column, dates=dates) else []
            return sa.and_(present, sa.or_(*(_like(_text(column), form) for form in forms)))
    return sa.false()


def before(column: ClockColumn, bound: Bound) -> Bool:
    """Whether the time lies before the bound. An index on the column serves it, except on text: a plain comparison is
    among the conjuncts."""
    if column.kind in _TEXTS:
        return _text_before(column, bound)
    valid = [_are_digits(column)] if column.kind in _COUNTED and column.format else _finite(column)
    return sa.and_(column.expression.is_not(None), _earlier(column, bound), *valid)


def _earlier(column: ClockColumn, bound: Bound) -> Bool:
    """The same of columns that are no text, and of records that are known to have a time there."""
    limit: sa.ColumnElement[Any] | None
    wall, number = bound.wall(column.zone), bound.number(column.unit)
    match column.kind:
        case Kind.INSTANT:
            limit = None if bound.instant is None else _timestamp(bound.instant)
        case Kind.WALL:
            limit = None if wall is None else _timestamp(wall)
        case Kind.DATE:
            limit = None if bound.day is None else sa.cast(string(bound.day.isoformat()), sa.Date())
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
        return _halved(edges, below, lambda bound: _earlier(column, bound))
    text = _text(column)
    cases: list[tuple[Bool, Callable[[Bound], Bool]]] = [
        (sa.func.length(text) == 10, lambda bound: _day_before(text, bound)),
        (_ends_in(text, 1, "Z"), lambda bound: _utc_before(text, bound)),
        (sa.and_(sa.func.length(text) > 16, _like(text, f"{OFFSET}$")), lambda bound: _offset_before(text, bound)),
    ]
    if column.format is not None:
        cases.insert(0, (sa.func.strpos(text, string("-")) == 0, lambda bound: _digits_before(column, text, bound)))
    return sa.case(
        *((form, _halved(edges, below, test)) for form, test in cases),
        else_=_halved(edges, below, lambda bound: _wall_before(column, text, bound)),
    )


def _halved(edges: Sequence[tuple[str, Bound]], below: str, test: Callable[[Bound], Bool]) -> sa.ColumnElement[str]:
    if not edges:
        return string(below)
    middle = len(edges) // 2
    label, limit = edges[middle]
    return sa.case((test(limit), _halved(edges[:middle], below, test)), else_=_halved(edges[middle + 1 :], label, test))


# -- text ------------------------------------------------------------------------------------------------------------


def _text(column: ClockColumn) -> sa.ColumnElement[str]:
    if column.kind is Kind.BINARY:  # what is no ASCII comes out in a form that no pattern fits
        return sa.func.encode(column.expression, string("escape")).collate("C")
    return sa.cast(column.expression, sa.Text()).collate("C")


def _like(text: sa.ColumnElement[str], pattern: str) -> Bool:
    return text.op("~", is_comparison=True)(string(pattern))


def _text_before(column: ClockColumn, bound: Bound) -> Bool:
    text = _text(column)
    forms = [
        (_like(text, _ISO_DAY), _day_before(text, bound)),
        (_like(text, _ISO_WALL), _wall_before(column, text, bound)),
        (_like(text, _ISO_UTC), _utc_before(text, bound)),
        (_like(text, _ISO_OFFSET), _offset_before(text, bound)),
    ]
    if column.format is not None:
        forms.append((_like(text, _DIGITS[column.format]), _digits_before(column, text, bound)))
    return sa.case(*forms, else_=sa.false())


def _day_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    return sa.false() if bound.day is None else text < string(bound.day.isoformat())


def _wall_before(column: ClockColumn, text: sa.ColumnElement[str], bound: Bound) -> Bool:
    wall = bound.wall(column.zone)
    return sa.false() if wall is None else _spaced(text) < string(shortest(wall))


def _utc_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    if bound.instant is None:
        return sa.false()
    return _spaced(sa.func.left(text, -1)) < string(shortest(_utc(bound.instant)))


def _offset_before(text: sa.ColumnElement[str], bound: Bound) -> Bool:
    """The wall time less its offset; digits finer than a microsecond are cut off, for a cast would round them."""
    if bound.instant is None:
        return sa.false()
    wall = sa.cast(sa.func.left(sa.func.left(text, -6), 26), sa.TIMESTAMP())
    return wall - sa.cast(sa.func.right(text, 6), sa.Interval()) < _timestamp(_utc(bound.instant))


def _digits_before(column: ClockColumn, text: sa.ColumnElement[str], bound: Bound) -> Bool:
    digits = bound.digits(column.format, column.zone)
    return sa.false() if digits is None else text < string(digits)


def _spaced(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    return sa.func.translate(text, string("T"), string(" ")).collate("C")


def _ends_in(text: sa.ColumnElement[str], length: int, end: str) -> Bool:
    return sa.func.right(text, length) == string(end)


# -- numbers ---------------------------------------------------------------------------------------------------------


def _digits_count(column: ClockColumn, *, dates: bool) -> bool:
    """Whether digits are a time: dates where these count, times where the class has a zone."""
    return dates if column.format == "YYYYMMDD" else column.format is not None and column.zone is not None


def _are_digits(column: ClockColumn) -> Bool:
    """Whether the number is one of the class's format."""
    if column.format is None or not _digits_count(column, dates=True):
        return sa.false()
    if column.kind is Kind.INTEGER:
        return _like(sa.cast(column.expression, sa.Text()), _DIGITS[column.format])
    whole = sa.func.trunc(column.expression)
    return sa.and_(column.expression == whole, _like(sa.cast(whole, sa.Text()), _DIGITS[column.format]))


def _number(value: Fraction, declared: str) -> sa.ColumnElement[Any]:
    """The bound as the column's own type, so that `column < bound` is exact and an index serves it."""
    if declared in ("real", "double precision"):
        return sa.cast(string(repr(least_float(value))), sa.Double())
    if _family(declared) == "numeric":
        return raw(decimal_text(value))
    return raw(str(math.ceil(value)))


# -- PostgreSQL's own types ------------------------------------------------------------------------------------------


def _finite(column: ClockColumn) -> list[Bool]:
    if column.kind in (Kind.INSTANT, Kind.WALL, Kind.DATE):
        return [column.expression > sa.cast(string("-infinity"), Declared(column.type))]
    if column.kind is Kind.NUMBER:
        odd = [sa.cast(string(word), Declared(_family(column.type))) for word in ("NaN", "Infinity", "-Infinity")]
        return [column.expression.not_in(odd)]
    return []


def _timestamp(moment: datetime) -> sa.ColumnElement[Any]:
    text = moment.astimezone(UTC).isoformat(" ") if moment.tzinfo is not None else moment.isoformat(" ")
    return sa.cast(string(text), sa.TIMESTAMP(timezone=moment.tzinfo is not None))


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _family(declared: str) -> str:
    return declared.split("(")[0]
