"""What `where` says, in SQL: two-valued, exactly as `policy/evaluate.py` says it of the values.

Every comparison yields true or false, never null, so NOT and NONE mean what officers read. Text is compared by code point
(COLLATE "C", BINARY): a database's own collation may hold "a" and "A" for equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.calendar import LAST_INSTANT, day_start, local_day
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, Scalar
from retention.policy.moment import wall_instant
from retention.sources.clocks import MICROSECOND, Bound, after_bound, before, clock_column, is_clock, on_day
from retention.sources.mariadb_types import double, family, text_of
from retention.sources.sql import Bool, all_of, any_of, raw, string
from retention.sources.table import Column, Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

_ORDER: dict[Operator, Callable[[Any, Any], Bool]] = {
    Operator.BELOW: lt,
    Operator.ABOVE: gt,
    Operator.AT_LEAST: ge,
    Operator.AT_MOST: le,
}


def condition_sql(bound: BoundClass, condition: Condition, zone: ZoneInfo) -> Bool:
    """Whether the condition holds. ``zone``: in it lie the days and the times without offset that the condition names.

    Raises KeyError for a column that the table does not have (`check` finds it before).
    """
    match condition:
        case AllOf(parts=parts):
            return all_of(condition_sql(bound, part, zone) for part in parts)
        case AnyOf(parts=parts):
            return any_of(condition_sql(bound, part, zone) for part in parts)
        case NoneOf(parts=parts):
            return sa.not_(any_of(condition_sql(bound, part, zone) for part in parts))
        case Compare():
            return _Column(bound, condition.column, zone).compares(condition)


class _Column:
    """One column of one class, as conditions compare it."""

    def __init__(self, bound: BoundClass, name: str, zone: ZoneInfo) -> None:
        self.zone = zone
        self.clock = clock_column(bound, name)
        self.described: Column = bound.described(name)
        self.expression: sa.ColumnElement[Any] = bound.column(name)
        self.sqlite = bound.dialect == "sqlite"
        self.mysql = bound.dialect == "mysql"

    def compares(self, compare: Compare) -> Bool:
        wanted = compare.value
        if isinstance(wanted, tuple):
            equals_one = any_of(self.equals(one) for one in wanted)
            return equals_one if compare.operator is Operator.IN else self.present(sa.not_(equals_one))
        match compare.operator:
            case Operator.IS:
                return self.equals(wanted)
            case Operator.NOT:
                return self.present(sa.not_(self.equals(wanted)))
            case Operator.BEFORE | Operator.AFTER if isinstance(wanted, date):
                return self.in_time(compare.operator, wanted)
            case Operator.CONTAINS if isinstance(wanted, str):
                find = sa.func.strpos if self.clock.dialect == "postgresql" else sa.func.instr
                return self.as_text(lambda text: find(text, string(wanted)) > 0)
            case Operator.STARTS_WITH if isinstance(wanted, str):
                length = len(wanted.encode() if self.mysql else wanted)
                return self.as_text(lambda text: sa.func.substr(text, 1, length) == string(wanted))
            case Operator.BELOW | Operator.ABOVE | Operator.AT_LEAST | Operator.AT_MOST:
                order = _ORDER[compare.operator]
                if isinstance(wanted, str):
                    return self.as_text(lambda text: order(text, string(wanted)))
                return self.as_number(order, wanted)
        raise ValueError(f"{compare.operator.value} does not compare with {wanted!r}")  # the loader refuses it

    def equals(self, wanted: Scalar) -> Bool:
        if wanted is None:
            return self.expression.is_(None)
        if isinstance(wanted, datetime):
            instant = wall_instant(wanted, self.zone)
            next_one = Bound(instant=instant + MICROSECOND if instant < LAST_INSTANT else None, day=None)
            not_after = is_clock(self.clock, dates=False) if next_one.instant is None else self.before(next_one)
            return sa.and_(not_after, sa.not_(self.before(Bound(instant=instant, day=None))))
        if isinstance(wanted, date):
            return on_day(self.clock, wanted, self.zone)
        if isinstance(wanted, bool):
            return self.as_boolean(wanted)
        if isinstance(wanted, str):
            return self.as_text(lambda text: text == string(wanted))
        return self.as_number(lambda value, literal: value == literal, wanted)

    def present(self, what: Bool) -> Bool:
        return sa.and_(self.expression.is_not(None), what)

    def before(self, limit: Bound) -> Bool:
        return before(self.clock, limit)

    def in_time(self, operator: Operator, wanted: date) -> Bool:
        if isinstance(wanted, datetime):
            instant = wall_instant(wanted, self.zone)
            if operator is Operator.BEFORE:
                return self.before(Bound(instant=instant, day=local_day(instant, self.zone)))
            return self.not_before(after_bound(instant, self.zone))
        if operator is Operator.BEFORE:
            return self.before(Bound(instant=day_start(wanted, self.zone), day=wanted))
        if wanted == date.max:
            return sa.false()
        following = wanted + timedelta(days=1)
        return self.not_before(Bound(instant=day_start(following, self.zone), day=following))

    def not_before(self, limit: Bound) -> Bool:
        """A time that does not lie before ``limit``; where it is None, nothing lies that late."""
        parts: list[Bool] = []
        if limit.instant is not None:
            parts.append(sa.and_(is_clock(self.clock, dates=False), sa.not_(self.before(limit))))
        if limit.day is not None:
            dated = sa.and_(is_clock(self.clock), sa.not_(is_clock(self.clock, dates=False)))
            parts.append(sa.and_(dated, sa.not_(self.before(limit))))
        return any_of(parts)

    def as_text(self, test: Callable[[sa.ColumnElement[Any]], Bool]) -> Bool:
        if self.sqlite:
            # a numeric column would turn '12' into 12 before it compares; an expression has no affinity
            plain = self.described.kind is Kind.TEXT
            text = self.expression if plain else self.expression.op("||")(string(""))
            is_text = sa.func.typeof(self.expression) == string("text")
            return self.present(sa.and_(is_text, test(text.collate("BINARY"))))
        if self.described.kind is not Kind.TEXT:
            return sa.false()
        if self.mysql:
            return self.present(test(text_of(self.expression)))
        text = self.expression if self.described.type == "text" else sa.cast(self.expression, sa.Text())
        return self.present(test(text.collate("C")))

    def as_boolean(self, wanted: bool) -> Bool:
        if self.sqlite:  # it has no booleans: 0 and 1 stand for them
            return self.present(
                sa.and_(sa.func.typeof(self.expression) == string("integer"), self.expression == raw(str(int(wanted))))
            )
        if self.described.kind is Kind.BOOLEAN:
            return self.present(self.expression == raw("true" if wanted else "false"))
        return (
            self.present(self.expression == raw(str(int(wanted))))
            if self.described.kind is Kind.INTEGER
            else sa.false()
        )

    def as_number(self, test: Callable[[Any, Any], Bool], wanted: object) -> Bool:
        """As `evaluate._numbers`: floats compare with a float, whole and decimal numbers with the number as written."""
        if isinstance(wanted, bool) or not isinstance(wanted, int | float) or math.isnan(wanted):
            return sa.false()
        exact, floating = _decimal(wanted), repr(float(wanted))
        if self.sqlite:
            typeof = sa.func.typeof(self.expression)
            whole = raw(exact if Decimal(exact) == int(Decimal(exact)) and abs(Decimal(exact)) < 2**63 else floating)
            return self.present(
                any_of(
                    [
                        sa.and_(typeof == string("integer"), test(self.expression, whole)),
                        sa.and_(typeof == string("real"), test(self.expression, raw(floating))),
                    ]
                )
            )
        if self.described.kind is Kind.INTEGER:
            return self.present(test(self.expression, raw(exact)))
        if self.described.kind is not Kind.NUMBER:
            return sa.false()
        if self.mysql:
            floats = family(self.described.type) in ("float", "double")
            return self.present(test(self.expression, raw(double(float(wanted)) if floats else exact)))
        if self.described.type in ("real", "double precision"):
            literal: sa.ColumnElement[Any] = sa.cast(string(floating), sa.Double())
        else:
            literal = raw(exact)
        # NaN is no number; to PostgreSQL it equals itself and is above every number
        return self.present(sa.and_(self.expression != string("NaN"), test(self.expression, literal)))


def _decimal(value: int | float) -> str:
    """The number as it was written, without an exponent."""
    return format(Decimal(repr(value)), "f")
