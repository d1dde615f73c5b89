"""`keep_last` in SQL: whether enough of its group are newer is asked inside the statement that deletes.

`policy/keep_last.py` is the meaning. The newest N of a group are never deleted by us, so it does not matter to a record which
of its elders other batches have deleted; where somebody else deletes a newer one, more stay.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.mark import Problem
from retention.policy.policy import Policy
from retention.policy.suggest import nearest
from retention.sources.clocks import after_bound, before, clock_column
from retention.sources.sql import Bool, raw, string
from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

#: kinds whose values the databases order as time does
_ORDERED = (Kind.INSTANT, Kind.WALL, Kind.DATE, Kind.INTEGER, Kind.NUMBER)
_GROUPS = (Kind.INTEGER, Kind.TEXT, Kind.DATE, Kind.BOOLEAN)


def is_among_last(
    bound: BoundClass, policy: Policy, matched: Callable[[BoundClass], Bool], as_of: datetime, zone: ZoneInfo
) -> Bool:
    """Whether the record is one of the newest of its group that the policy keeps; false where it keeps none so.

    ``matched`` says which records the policy is about. What has no clock, or one that lies after the aware ``as_of``, is
    newer than nothing.
    """
    keep, clock = policy.retain.keep_last, policy.retain.clock or bound.record_class.created
    if keep is None or clock is None:
        return sa.false()
    other = bound.aliased("newer")
    # looked for, not counted: the search ends with the last that is needed, where counting would read every group once a record
    enough = (
        sa.select(raw("1"))
        .select_from(other.rows)
        .where(
            _same(bound, keep.per, other),
            _later(other, bound, clock),
            before(clock_column(other, clock), after_bound(as_of, zone)),
            matched(other),
        )
        .correlate_except(other.rows)
        .limit(raw("1"))
        .offset(raw(str(keep.count - 1)))
        .scalar_subquery()
    )
    return sa.or_(bound.column(keep.per).is_(None), enough.is_(None))


def keep_last_problems(bound: BoundClass, policy: Policy) -> list[Problem]:
    """Why the table cannot tell the newest of a group."""
    keep, clock = policy.retain.keep_last, policy.retain.clock or bound.record_class.created
    if keep is None or clock is None:
        return []
    mark = policy.marks.get("retain.keep_last", policy.mark)
    problems = []
    column, parts = bound.table.column(keep.per), bound.record_class.clock_parts(clock)
    per = policy.marks.get("retain.per", policy.mark)
    free = bound.dialect == "sqlite"
    if column is None:
        known = [one.name for one in bound.table.columns]
        message = f'table {bound.table.name} has no column "{keep.per}"'
        problems.append(Problem(mark=per, message=message, remedy=nearest(keep.per, known)))
    elif column.kind not in _GROUPS and not free:
        message = f'"per" is {column.type}, by which records are not grouped'
        problems.append(Problem(mark=per, message=message, remedy="name a column of whole numbers, text or dates"))
    found = None if len(parts) != 1 or parts[0].kin is not None else bound.table.column(parts[0].column)
    if len(parts) != 1 or parts[0].kin is not None or (found is not None and found.kind not in _ORDERED and not free):
        message = f'the clock "{clock}" does not order records by itself, so nobody can tell the newest'
        remedy = "write from: and one column of the class: dates, times or numbers"
        problems.append(Problem(mark=mark, message=message, remedy=remedy))
    return problems


def _same(bound: BoundClass, column: str, other: BoundClass) -> Bool:
    """Whether both are of one group, exactly: whatever the column's collation holds for equal."""
    mine, theirs = bound.column(column), other.column(column)
    if bound.dialect == "sqlite":
        return sa.and_(sa.func.typeof(theirs) == sa.func.typeof(mine), theirs.collate("BINARY") == mine)
    if bound.described(column).kind is not Kind.TEXT:
        return theirs == mine
    return sa.and_(theirs == mine, _exact(bound, theirs) == _exact(bound, mine))


def _exact(bound: BoundClass, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if bound.dialect == "postgresql":
        return sa.cast(column, sa.Text()).collate("C")
    return sa.cast(column, sa.LargeBinary())


def _later(one: BoundClass, other: BoundClass, clock: str) -> Bool:
    later, earlier = one.column(clock), other.column(clock)
    if one.dialect != "sqlite":
        return later > earlier
    text = sa.and_(*(form(later) == form(earlier) for form in (sa.func.length, _separator, _zone)))
    kind = sa.func.typeof(later)
    comparable = sa.case((kind == string("text"), text), (kind == string("blob"), sa.false()), else_=sa.true())
    return sa.and_(kind == sa.func.typeof(earlier), comparable, later.collate("BINARY") > earlier)


def _separator(text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.substr(text, 11, 1)


def _zone(text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    offset = sa.func.substr(text, -6)
    ends = sa.and_(sa.func.length(text) > 16, offset.op("GLOB")(string("[+-][0-9][0-9]:[0-9][0-9]")))
    return sa.case((sa.func.substr(text, -1) == string("Z"), string("Z")), (ends, offset), else_=string(""))
