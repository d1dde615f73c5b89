"""Clocks of MariaDB and MySQL. Their columns may hold dates that are none ("0000-00-00", "2024-02-31"): those are no time. The
session's zone is UTC, and literals are in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from retention.policy.calendar import FIRST_INSTANT
from retention.sources.clock_column import ClockColumn
from retention.sources.clock_patterns import OFFSET
from retention.sources.mariadb_types import converted, double, family, in_utf8
from retention.sources.numbers import decimal_text, least_float
from retention.sources.server_clock import ServerClock, Text, in_utc
from retention.sources.sql import Bool, raw, string
from retention.sources.table import Kind

#: by code point; what is compared has no space at its end, which it would not tell
_EXACT = "utf8mb4_bin"


class MariadbClock(ServerClock):
    """MariaDB's and MySQL's own way."""

    def valid(self, column: ClockColumn) -> list[Bool]:
        if column.kind not in (Kind.INSTANT, Kind.WALL, Kind.DATE):
            return []
        # the date exists: its day, counted and counted back, is the same, and after the year 0, which MySQL counts too
        day, counted = sa.func.date(column.expression), sa.func.from_days(sa.func.to_days(column.expression))
        return [sa.func.coalesce(sa.and_(day == counted, day >= self.day(date.min)), sa.false())]

    def text(self, column: ClockColumn) -> Text:
        expression = column.expression
        if column.kind is Kind.BINARY:  # each byte as some character, so that none is in the way of the patterns
            expression = sa.func.convert(expression.op("USING")(raw("latin1")))
        return in_utf8(expression).collate(_EXACT)

    def fits(self, text: Text, pattern: str) -> Bool:
        # "$" would pass over a line feed at the end
        return text.op("REGEXP", is_comparison=True)(string(rf"^{pattern}\z"))

    def number_fits(self, column: ClockColumn, pattern: str) -> Bool:
        whole = sa.func.truncate(column.expression, 0)
        written = in_utf8(sa.cast(whole, sa.Text())).collate(_EXACT)
        return sa.and_(column.expression == whole, self.fits(written, pattern))

    def first_of(self, column: ClockColumn, forms: Sequence[tuple[Bool, Bool]]) -> Bool:
        return sa.case((column.expression.is_(None), sa.false()), *forms, else_=sa.false()) == raw("1")

    def is_a_day(self, text: Text) -> Bool:
        return sa.func.char_length(text) == 10

    def has_an_offset(self, text: Text) -> Bool:
        return self.fits(text, f".{{16,}}{OFFSET}")

    def has_no_dash(self, text: Text) -> Bool:
        return sa.func.locate(string("-"), text) == 0

    def spaced(self, text: Text) -> Text:
        return sa.func.replace(text, string("T"), string(" ")).collate(_EXACT)

    def without_end(self, text: Text, length: int) -> Text:
        return sa.func.left(text, sa.func.char_length(text) - length)

    def moved_before(self, text: Text, instant: datetime) -> Bool:
        wall = converted(self.spaced(sa.func.left(self.without_end(text, 6), 26)), "datetime(6)")
        hours, rest = (converted(sa.func.substring(text, place, 2), "signed") for place in (-5, -2))
        ahead = sa.func.substring(text, -6, 1) == string("+")
        minutes = (hours * raw("60") + rest) * sa.case((ahead, raw("-1")), else_=raw("1"))
        moved = sa.func.timestampadd(raw("MINUTE"), minutes, wall)
        # beyond the calendar the server says null: that lies before it with an offset ahead of UTC, else after it
        beyond = ahead if instant > FIRST_INSTANT else sa.false()
        return sa.func.coalesce(moved < self.instant(instant), beyond)

    def instant(self, instant: datetime) -> sa.ColumnElement[Any]:
        return self.wall(in_utc(instant))

    def wall(self, wall: datetime) -> sa.ColumnElement[Any]:
        return raw(f"TIMESTAMP'{wall.isoformat(' ')}'")

    def day(self, day: date) -> sa.ColumnElement[Any]:
        return raw(f"DATE'{day.isoformat()}'")

    def number(self, value: Fraction, declared: str) -> sa.ColumnElement[Any]:
        match family(declared):
            case "float" | "double":
                return raw(double(least_float(value)))
            case "decimal":
                return raw(decimal_text(value))
            case _:
                return raw(str(math.ceil(value)))
