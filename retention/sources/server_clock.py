"""Clocks of PostgreSQL, MariaDB and MySQL, whose columns have one type each: the servers' own times, numbers, and text.

Text is tested by a regular expression before it is compared, as text with the shortest form of the bound
(`clock_column.shortest`); text with an offset is moved by its minutes first. How a server writes each of these steps is what its
own module says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from retention.sources.clock_column import Bound, ClockColumn, shortest
from retention.sources.clock_patterns import DIGITS, ISO_DAY, ISO_OFFSET, ISO_UTC, ISO_WALL
from retention.sources.sql import Bool, string
from retention.sources.table import Kind

Text = sa.ColumnElement[str]

_TEXTS = (Kind.TEXT, Kind.BINARY)
_COUNTED = (Kind.INTEGER, Kind.NUMBER)


class ServerClock(ABC):
    """One server's way to say what its clock columns hold."""

    def holds(self, column: ClockColumn, *, dates: bool) -> Bool:
        """Whether there is a time; ``dates`` says whether a date alone is one."""
        present = column.expression.is_not(None)
        match column.kind:
            case Kind.INSTANT:
                return sa.and_(present, *self.valid(column))
            case Kind.WALL if column.zone is not None:
                return sa.and_(present, *self.valid(column))
            case Kind.DATE if dates:
                return sa.and_(present, *self.valid(column))
            case Kind.INTEGER | Kind.NUMBER if column.unit is not None:
                return sa.and_(present, *self.valid(column))
            case Kind.INTEGER | Kind.NUMBER if digits_count(column, dates=dates):
                return sa.and_(present, self._are_digits(column))
            case Kind.TEXT | Kind.BINARY:
                forms = [ISO_UTC, ISO_OFFSET]
                forms += [ISO_DAY] if dates else []
                forms += [] if column.zone is None else [ISO_WALL]
                forms += [DIGITS[column.format]] if column.format and digits_count(column, dates=dates) else []
                return sa.and_(present, sa.or_(*(self.fits(self.text(column), form) for form in forms)))
        return sa.false()

    def before(self, column: ClockColumn, bound: Bound) -> Bool:
        """Whether the time lies before the bound. An index on the column serves it, except on text: a plain comparison is
        among the conjuncts."""
        if column.kind in _TEXTS:
            return self._text_before(column, bound)
        digits = column.kind in _COUNTED and column.format
        valid = [self._are_digits(column)] if digits else self.valid(column)
        return sa.and_(column.expression.is_not(None), self._earlier(column, bound), *valid)

    def between(self, column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> Text:
        """The label of the last of ``edges`` (in order) that the time does not lie before, else ``below``; of records that are
        known to have a time there. Found by halving: eight comparisons for twenty years of months."""
        if column.kind not in _TEXTS:
            return _halved(edges, below, lambda bound: self._earlier(column, bound))
        text = self.text(column)
        cases: list[tuple[Bool, Callable[[Bound], Bool]]] = [
            (self.is_a_day(text), lambda bound: _day_before(text, bound)),
            (sa.func.right(text, 1) == string("Z"), lambda bound: self._utc_before(text, bound)),
            (self.has_an_offset(text), lambda bound: self._offset_before(text, bound)),
        ]
        if column.format is not None:
            cases.insert(0, (self.has_no_dash(text), lambda bound: _digits_before(column, text, bound)))
        return sa.case(
            *((form, _halved(edges, below, test)) for form, test in cases),
            else_=_halved(edges, below, lambda bound: self._wall_before(column, text, bound)),
        )

    def _earlier(self, column: ClockColumn, bound: Bound) -> Bool:
        """`before` for columns that are no text, and records that are known to have a time there."""
        limit: sa.ColumnElement[Any] | None
        wall, number = bound.wall(column.zone), bound.number(column.unit)
        match column.kind:
            case Kind.INSTANT:
                limit = None if bound.instant is None else self.instant(bound.instant)
            case Kind.WALL:
                limit = None if wall is None else self.wall(wall)
            case Kind.DATE:
                limit = None if bound.day is None else self.day(bound.day)
            case Kind.INTEGER | Kind.NUMBER if column.format is not None:
                digits = bound.digits(column.format, column.zone)
                limit = None if digits is None else self.number(Fraction(digits), column.type)
            case Kind.INTEGER | Kind.NUMBER:
                limit = None if number is None else self.number(number, column.type)
            case _:
                limit = None
        return sa.false() if limit is None else column.expression < limit

    def _text_before(self, column: ClockColumn, bound: Bound) -> Bool:
        text = self.text(column)
        forms = [
            (self.fits(text, ISO_DAY), _day_before(text, bound)),
            (self.fits(text, ISO_WALL), self._wall_before(column, text, bound)),
            (self.fits(text, ISO_UTC), self._utc_before(text, bound)),
            (self.fits(text, ISO_OFFSET), self._offset_before(text, bound)),
        ]
        if column.format is not None:
            forms.append((self.fits(text, DIGITS[column.format]), _digits_before(column, text, bound)))
        return self.first_of(column, forms)

    def _wall_before(self, column: ClockColumn, text: Text, bound: Bound) -> Bool:
        wall = bound.wall(column.zone)
        return sa.false() if wall is None else self.spaced(text) < string(shortest(wall))

    def _utc_before(self, text: Text, bound: Bound) -> Bool:
        if bound.instant is None:
            return sa.false()
        return self.spaced(self.without_end(text, 1)) < string(shortest(in_utc(bound.instant)))

    def _offset_before(self, text: Text, bound: Bound) -> Bool:
        return sa.false() if bound.instant is None else self.moved_before(text, bound.instant)

    def _are_digits(self, column: ClockColumn) -> Bool:
        """Whether the number is one of the class's format."""
        if column.format is None or not digits_count(column, dates=True):
            return sa.false()
        return self.number_fits(column, DIGITS[column.format])

    # -- what each server says in its own way ---------------------------------------------------------------------------

    @abstractmethod
    def valid(self, column: ClockColumn) -> list[Bool]:
        """What must hold of a value that is no text, and no null, for it to be a time."""

    @abstractmethod
    def text(self, column: ClockColumn) -> Text:
        """A text or binary column as text that is compared by code point; none is in the way of a pattern."""

    @abstractmethod
    def fits(self, text: Text, pattern: str) -> Bool:
        """Whether the whole of the text fits the pattern."""

    @abstractmethod
    def number_fits(self, column: ClockColumn, pattern: str) -> Bool:
        """Whether a number is whole, and its digits fit the pattern."""

    @abstractmethod
    def first_of(self, column: ClockColumn, forms: Sequence[tuple[Bool, Bool]]) -> Bool:
        """The second of the first pair whose first holds of the column's text, else false."""

    @abstractmethod
    def is_a_day(self, text: Text) -> Bool:
        """Whether the text, which is a time, is a date alone."""

    @abstractmethod
    def has_an_offset(self, text: Text) -> Bool:
        """Whether the text, which is a time, ends in +HH:MM or -HH:MM."""

    @abstractmethod
    def has_no_dash(self, text: Text) -> Bool:
        """Whether the text, which is a time, is digits alone."""

    @abstractmethod
    def spaced(self, text: Text) -> Text:
        """The text with a space for its T."""

    @abstractmethod
    def without_end(self, text: Text, length: int) -> Text:
        """The text without its last characters."""

    @abstractmethod
    def moved_before(self, text: Text, instant: datetime) -> Bool:
        """Whether the wall time less its offset lies before the instant; digits finer than a microsecond are cut off, for a
        cast would round them."""

    @abstractmethod
    def instant(self, instant: datetime) -> sa.ColumnElement[Any]:
        """The instant, for a column of instants."""

    @abstractmethod
    def wall(self, wall: datetime) -> sa.ColumnElement[Any]:
        """The naive time, for a column of such."""

    @abstractmethod
    def day(self, day: date) -> sa.ColumnElement[Any]:
        """The date."""

    @abstractmethod
    def number(self, value: Fraction, declared: str) -> sa.ColumnElement[Any]:
        """The bound as the column's declared type, so that ``column < bound`` is exact and an index serves it."""


def digits_count(column: ClockColumn, *, dates: bool) -> bool:
    """Whether digits are a time: dates where these count, times where the class has a zone."""
    return dates if column.format == "YYYYMMDD" else column.format is not None and column.zone is not None


def in_utc(instant: datetime) -> datetime:
    """The instant as a naive time in UTC."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def _halved(edges: Sequence[tuple[str, Bound]], below: str, test: Callable[[Bound], Bool]) -> Text:
    if not edges:
        return string(below)
    middle = len(edges) // 2
    label, limit = edges[middle]
    return sa.case((test(limit), _halved(edges[:middle], below, test)), else_=_halved(edges[middle + 1 :], label, test))


def _day_before(text: Text, bound: Bound) -> Bool:
    return sa.false() if bound.day is None else text < string(bound.day.isoformat())


def _digits_before(column: ClockColumn, text: Text, bound: Bound) -> Bool:
    digits = bound.digits(column.format, column.zone)
    return sa.false() if digits is None else text < string(digits)
