"""Clocks of PostgreSQL. Nothing here raises, whatever stands in the column, and no setting of a server, role, database or
session has a say: text is compared in the collation "C", literals carry their zone, and no function of the calendar is called.

``-infinity`` is no clock (a record that says "always" is not to be deleted for it); ``infinity`` lies in the future; years
before 1 are long ago.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from retention.sources.clock_column import ClockColumn
from retention.sources.clock_patterns import OFFSET
from retention.sources.numbers import decimal_text, least_float
from retention.sources.server_clock import ServerClock, Text, in_utc
from retention.sources.sql import Bool, Declared, raw, string
from retention.sources.table import Kind


class PostgresqlClock(ServerClock):
    """PostgreSQL's own way."""

    def valid(self, column: ClockColumn) -> list[Bool]:
        if column.kind in (Kind.INSTANT, Kind.WALL, Kind.DATE):
            return [column.expression > sa.cast(string("-infinity"), Declared(column.type))]
        if column.kind is Kind.NUMBER:
            odd = [sa.cast(string(word), Declared(_family(column.type))) for word in ("NaN", "Infinity", "-Infinity")]
            return [column.expression.not_in(odd)]
        return []

    def text(self, column: ClockColumn) -> Text:
        if column.kind is Kind.BINARY:  # what is no ASCII comes out in a form that no pattern fits
            return sa.func.encode(column.expression, string("escape")).collate("C")
        return sa.cast(column.expression, sa.Text()).collate("C")

    def fits(self, text: Text, pattern: str) -> Bool:
        return text.op("~", is_comparison=True)(string(f"^{pattern}$"))

    def number_fits(self, column: ClockColumn, pattern: str) -> Bool:
        if column.kind is Kind.INTEGER:
            return self.fits(sa.cast(column.expression, sa.Text()), pattern)
        whole = sa.func.trunc(column.expression)
        return sa.and_(column.expression == whole, self.fits(sa.cast(whole, sa.Text()), pattern))

    def first_of(self, column: ClockColumn, forms: Sequence[tuple[Bool, Bool]]) -> Bool:
        return sa.case(*forms, else_=sa.false())

    def is_a_day(self, text: Text) -> Bool:
        return sa.func.length(text) == 10

    def has_an_offset(self, text: Text) -> Bool:
        return sa.and_(sa.func.length(text) > 16, text.op("~", is_comparison=True)(string(f"{OFFSET}$")))

    def has_no_dash(self, text: Text) -> Bool:
        return sa.func.strpos(text, string("-")) == 0

    def spaced(self, text: Text) -> Text:
        return sa.func.translate(text, string("T"), string(" ")).collate("C")

    def without_end(self, text: Text, length: int) -> Text:
        return sa.func.left(text, -length)

    def moved_before(self, text: Text, instant: datetime) -> Bool:
        wall = sa.cast(sa.func.left(self.without_end(text, 6), 26), sa.TIMESTAMP())
        return wall - sa.cast(sa.func.right(text, 6), sa.Interval()) < self.wall(in_utc(instant))

    def instant(self, instant: datetime) -> sa.ColumnElement[Any]:
        return sa.cast(string(instant.astimezone(UTC).isoformat(" ")), sa.TIMESTAMP(timezone=True))

    def wall(self, wall: datetime) -> sa.ColumnElement[Any]:
        return sa.cast(string(wall.isoformat(" ")), sa.TIMESTAMP())

    def day(self, day: date) -> sa.ColumnElement[Any]:
        return sa.cast(string(day.isoformat()), sa.Date())

    def number(self, value: Fraction, declared: str) -> sa.ColumnElement[Any]:
        if declared in ("real", "double precision"):
            return sa.cast(string(repr(least_float(value))), sa.Double())
        if _family(declared) == "numeric":
            return raw(decimal_text(value))
        return raw(str(math.ceil(value)))


def _family(declared: str) -> str:
    return declared.split("(")[0]
