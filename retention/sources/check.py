"""Whether what a policy says fits the table: columns that exist, clocks that are clocks, values of the column's kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, Scalar
from retention.policy.mark import Mark, Problem
from retention.policy.policy import LegalBound, Policy
from retention.policy.record_class import RecordClass
from retention.policy.suggest import nearest
from retention.policy.unset import meant
from retention.sources.bound_class import BoundClass
from retention.sources.keep_last import keep_last_problems
from retention.sources.table import Column, Kind, Table

_TIMES = (Kind.DATE, Kind.WALL, Kind.INSTANT)
_TEXTS = (Kind.TEXT, Kind.BINARY)
_ORDERS = (Operator.BELOW, Operator.ABOVE, Operator.AT_LEAST, Operator.AT_MOST)
_SPANS = (Operator.BEFORE, Operator.AFTER)
_PARTS = (Operator.CONTAINS, Operator.STARTS_WITH)
_INT64 = range(-(2**63), 2**63)


def check(bound: BoundClass, policy: Policy | LegalBound, zone: ZoneInfo) -> list[Problem]:
    """Everything in which the policy (or legal bound) does not fit the table. ``zone`` is the policies' time zone."""
    problems: list[Problem] = []
    period, clock, mark = _clock(bound, policy)
    if clock is not None:
        for part in bound.record_class.clock_parts(clock):
            table = bound.table if part.kin is None else bound.kin(part.kin)[0]
            problems += clock_problems(table, bound.record_class, bound.dialect, part.column, mark, exact=period)
    if isinstance(policy, Policy):
        problems += keep_last_problems(bound, policy)
    if policy.where is not None:
        problems += check_condition(bound, policy.where, zone)
    return problems


def check_condition(bound: BoundClass, condition: Condition, zone: ZoneInfo) -> list[Problem]:
    """Columns that the table does not have, and values that their columns can never hold."""
    return [
        problem
        for compare in _comparisons(condition)
        for problem in _compare_problems(bound.table, bound.record_class, bound.dialect, compare)
    ]


def clock_problems(
    table: Table, record_class: RecordClass, dialect: str, name: str, mark: Mark, *, exact: bool = False
) -> list[Problem]:
    """Why the column cannot be a clock; ``exact`` says that hours are counted from it."""
    column = table.column(name)
    if column is None:
        return [_unknown(table, name, mark)]
    what = f'the clock "{name}" is {column.type or "of no type"}'
    wrong = _not_a_clock(column, record_class, dialect, exact=exact)
    if wrong is None:
        return []
    why, remedy = wrong
    return [Problem(mark=mark, message=f"{what}, {why}", remedy=remedy or _clocks(table))]


def _not_a_clock(column: Column, record_class: RecordClass, dialect: str, *, exact: bool) -> tuple[str, str] | None:
    """Why the column cannot be a clock, and what would be right ("": another column); None where it can."""
    zoned, counted, form = record_class.timezone is not None, record_class.unit is not None, record_class.format
    days = column.kind is Kind.DATE and dialect != "sqlite"
    numbers = column.kind in (Kind.INTEGER, Kind.NUMBER)
    if exact and (days or (form == "YYYYMMDD" and (numbers or column.kind in _TEXTS))):
        return "and hours cannot be counted from dates", "write the period in days"
    if numbers and not counted and form is None:
        return "a number", "say `unit: s`, `ms` or `us` on its class; or `format: YYYYMMDD` or `YYYYMMDDHHMMSS`"
    if form is not None and (column.type == "real" or (dialect == "mysql" and column.type.startswith("float"))):
        return "which has not the digits of a time", ""
    if numbers and form == "YYYYMMDDHHMMSS":
        naive = True
    elif numbers or column.kind is Kind.INSTANT or (column.kind is Kind.DATE and not exact):
        return None
    elif column.kind in _TEXTS and column.type != "uuid":
        naive = form != "YYYYMMDD"
    elif column.kind in (Kind.WALL, Kind.DATE):
        naive = True
    else:
        return "which tells no time", ""
    return ("without a zone", "say `timezone:` on its class, as in UTC") if naive and not zoned else None


def unset_problems(bound: BoundClass, rules: Iterable[Policy | LegalBound]) -> list[Problem]:
    """Values of the class's `unset` that can stand in none of its clocks: `created`, and those that the rules name."""
    declared = bound.record_class
    names = dict.fromkeys(filter(None, [declared.created, *(_clock(bound, rule)[1] for rule in rules)]))
    parts = [part for clock in names for part in declared.clock_parts(clock)]
    tables = [bound.table if part.kin is None else bound.kin(part.kin)[0] for part in parts]
    found = [table.column(part.column) for table, part in zip(tables, parts, strict=True)]
    clocks = [column for column in found if column is not None]
    told = " and ".join(f"{column.name} ({column.type})" for column in clocks)
    return [
        Problem(
            mark=declared.marks.get("unset", declared.mark),
            message=f'the unset value {value!r} can stand in no clock of "{bound.address}": {told}',
            remedy="take it away, or write it as it stands there",
        )
        for value in declared.unset
        if clocks and not any(_may_hold(column, declared, bound.dialect, value) for column in clocks)
    ]


def _may_hold(column: Column, record_class: RecordClass, dialect: str, value: Scalar) -> bool:
    if dialect == "sqlite" and column.kind not in (Kind.TEXT, Kind.INTEGER, Kind.NUMBER):
        return True  # such a column may hold anything
    if isinstance(value, int | float):
        return column.kind in (Kind.INTEGER, Kind.NUMBER)
    found = meant(value, record_class.timezone, record_class.unit, record_class.format)
    if found is None:  # text that is no time; MariaDB's dates may be such, as 0000-00-00 is
        return column.kind in _TEXTS or (dialect == "mysql" and column.kind in _TIMES)
    days = column.kind is Kind.DATE or (record_class.format == "YYYYMMDD" and column.kind not in (*_TEXTS, *_TIMES))
    return not (days and isinstance(found, datetime))


def _clock(bound: BoundClass, policy: Policy | LegalBound) -> tuple[bool, str | None, Mark]:
    if isinstance(policy, LegalBound):
        return policy.period.exact, bound.record_class.created, policy.mark
    named = policy.retain.clock
    mark = policy.marks.get("retain.from", policy.marks.get("retain", policy.mark))
    return policy.retain.period.exact, bound.record_class.created if named is None else named, mark


def _clocks(table: Table) -> str:
    named = [column.name for column in table.columns if column.kind in (*_TIMES, Kind.TEXT)]
    return f"name one of: {', '.join(named)}" if named else "the table has no column of dates or times"


def _comparisons(condition: Condition) -> Iterator[Compare]:
    match condition:
        case Compare():
            yield condition
        case AllOf(parts=parts) | AnyOf(parts=parts) | NoneOf(parts=parts):
            for part in parts:
                yield from _comparisons(part)


def _compare_problems(table: Table, record_class: RecordClass, dialect: str, compare: Compare) -> Iterator[Problem]:
    column = table.column(compare.column)
    if column is None:
        yield _unknown(table, compare.column, compare.mark)
        return
    values = compare.value if isinstance(compare.value, tuple) else (compare.value,)
    for value in values:
        if value is None:
            continue
        wanted = _fits(column, record_class, dialect, compare.operator, value)
        if wanted is not None:
            message = f'column "{column.name}" holds {_holds(column)}, which never "{compare.operator.value}" {value!r}'
            yield Problem(mark=compare.mark, message=message, remedy=wanted)


def _fits(column: Column, record_class: RecordClass, dialect: str, operator: Operator, value: Scalar) -> str | None:
    """None where the comparison can be true; else what would be right."""
    free = dialect == "sqlite" and column.kind in (Kind.OTHER, Kind.BINARY)  # such a column may hold anything
    dated = column.kind in (*_TIMES, *_TEXTS)
    if isinstance(value, date):
        if operator in _ORDERS or operator in _PARTS:
            return "write before or after"
        if column.kind is Kind.WALL and record_class.timezone is None:
            return "say `timezone:` on its class"
        form = record_class.format is not None and column.type != "real"
        counted = column.kind in (Kind.INTEGER, Kind.NUMBER) and (record_class.unit is not None or form)
        return None if dated or counted or free else _example(column)
    if operator in _SPANS:
        return "write a date, as in 2024-01-31"
    if isinstance(value, str):
        return None if column.kind is Kind.TEXT or free else _example(column)
    if operator in _PARTS:
        return "write text"
    if isinstance(value, bool):
        if operator in _ORDERS:
            return "write is or not"
        return None if column.kind in (Kind.BOOLEAN, Kind.INTEGER) or free else _example(column)
    if isinstance(value, float) and not math.isfinite(value):
        return "write a finite number"
    if isinstance(value, int) and value not in _INT64:
        return "write a number of at most 18 digits"
    numbers = (Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN) if dialect == "sqlite" else (Kind.INTEGER, Kind.NUMBER)
    return None if column.kind in numbers or free else _example(column)


def _holds(column: Column) -> str:
    return f"{column.type} ({column.kind.value})" if column.type else column.kind.value


def _example(column: Column) -> str:
    match column.kind:
        case Kind.TEXT:
            return 'write text, in quotes where it looks like something else ("42")'
        case Kind.INTEGER | Kind.NUMBER:
            return "write a number without quotes"
        case Kind.BOOLEAN:
            return "write true or false"
        case Kind.DATE | Kind.WALL | Kind.INSTANT:
            return "write a date without quotes, with is, not, before or after"
        case _:
            return "only null and {not: null} can be asked of it"


def _unknown(table: Table, name: str, mark: Mark) -> Problem:
    known = [column.name for column in table.columns]
    return Problem(mark=mark, message=f'table {table.name} has no column "{name}"', remedy=nearest(name, known))
