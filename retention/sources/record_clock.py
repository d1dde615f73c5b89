"""The clock of a record, in SQL: one column, or the latest of several, its dependents' and its parents' columns among them.

`decide.clock_moments` is the meaning. "The latest lies before the bound" is asked without finding the latest: there is a time
before the bound, and none that is not before it. Rows of other tables are asked for by EXISTS, inside the statement that
deletes, so that they count as they are in its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import NamedFromClause

from retention.policy.record_class import ClockPart
from retention.sources import clocks
from retention.sources.clock_column import Bound, ClockColumn
from retention.sources.clocks import clock_column
from retention.sources.sql import Bool, any_of, name, raw, rows_of, string
from retention.sources.table import Column

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass


def is_clock(bound: BoundClass, clock: str, *, dates: bool = True) -> Bool:
    """Whether the record has a clock there; without ``dates``, one of which no part is a date alone."""
    parts = _parts(bound, clock)
    if _is_column(parts):
        return clocks.is_clock(parts[0].column, dates=dates)
    there = any_of(part.some(clocks.is_clock) for part in parts)
    return there if dates else sa.and_(there, sa.not_(any_of(part.some(_is_date) for part in parts)))


def before(bound: BoundClass, clock: str, limit: Bound) -> Bool:
    """Whether the clock lies before ``limit``; of several times, the latest. An index serves a clock that is one column: a
    plain comparison is among the conjuncts."""
    parts = _parts(bound, clock)
    if _is_column(parts):
        return clocks.before(parts[0].column, limit)

    def late(column: ClockColumn) -> Bool:
        return sa.and_(clocks.is_clock(column), sa.not_(clocks.before(column, limit)))

    some = any_of(part.some(lambda column: clocks.before(column, limit)) for part in parts)
    return sa.and_(some, sa.not_(any_of(part.some(late) for part in parts)))


def between(bound: BoundClass, clock: str, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]:
    """The label of the last of ``edges`` (in order) that the clock does not lie before, else ``below``; of records that
    have a clock there. Labels must sort as their edges do."""
    parts = _parts(bound, clock)
    if _is_column(parts):
        return clocks.between(parts[0].column, edges, below)
    labels = [part.greatest(lambda column: clocks.between(column, edges, "")) for part in parts]
    greatest = sa.func.max if bound.dialect == "sqlite" else sa.func.greatest
    latest = labels[0] if len(labels) == 1 else greatest(*labels)
    return sa.case((latest == string(""), string(below)), else_=latest)


def _rows(bound: BoundClass, part: ClockPart) -> tuple[NamedFromClause, Bool, Column]:
    """The rows of a dependent or parent, how they belong to the record, and their column that the clock counts from."""
    assert part.kin is not None, "a column of the class itself needs no other rows"
    table, key, own = bound.kin(part.kin)
    rows = sa.alias(rows_of(table), name(f"clock of {part.kin}"))
    described = table.column(part.column)
    assert described is not None, "binding and checking have found the column"
    return rows, rows.c[key] == bound.column(own), described


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One column, and where its rows are: None, in the record itself."""

    column: ClockColumn
    rows: sa.FromClause | None = None
    joined: Bool | None = None

    def some(self, test: Callable[[ClockColumn], Bool]) -> Bool:
        """Whether some value of the column fulfils the test."""
        if self.rows is None or self.joined is None:
            return test(self.column)
        exists = sa.exists(raw("1")).select_from(self.rows).where(self.joined, test(self.column))
        return exists.correlate_except(self.rows)

    def greatest(self, label: Callable[[ClockColumn], sa.ColumnElement[str]]) -> sa.ColumnElement[Any]:
        """The greatest label of the times there; "" where there is none."""
        labelled = sa.case((clocks.is_clock(self.column), label(self.column)), else_=string(""))
        if self.rows is None or self.joined is None:
            return labelled
        found = sa.select(sa.func.max(labelled)).select_from(self.rows).where(self.joined)
        return sa.func.coalesce(found.correlate_except(self.rows).scalar_subquery(), string(""))


def _is_date(column: ClockColumn) -> Bool:
    return sa.and_(clocks.is_clock(column), sa.not_(clocks.is_clock(column, dates=False)))


def _is_column(parts: Sequence[_Part]) -> bool:
    return len(parts) == 1 and parts[0].rows is None


def _parts(bound: BoundClass, clock: str) -> list[_Part]:
    found = []
    for part in bound.record_class.clock_parts(clock):
        if part.kin is None:
            found.append(_Part(column=clock_column(bound, part.column)))
            continue
        rows, joined, described = _rows(bound, part)
        found.append(_Part(column=clock_column(bound, part.column, rows, described), rows=rows, joined=joined))
    return found
