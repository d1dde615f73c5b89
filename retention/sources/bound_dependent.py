"""A dependent together with its table, and which of its rows belong to which records, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from retention.policy.condition import Condition
from retention.policy.dependent import Then
from retention.policy.mark import Mark
from retention.sources.conditions import condition_sql
from retention.sources.sql import Bool, all_of, name, raw, rows_of
from retention.sources.table import Kind, Table

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

#: makes of column names a selection of these columns of some records
Chosen = Callable[[Sequence[str]], sa.Select[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundDependent:
    """A table whose rows refer to a record, or to rows of ``parent``; the tags' join table is one too."""

    table: Table
    #: None: its rows refer to the record itself
    parent: BoundDependent | None = None
    #: the columns that refer, and those that they refer to, in the same order
    key: tuple[str, ...]
    of: tuple[str, ...]
    when: Condition | None = None
    then: Then = Then.DELETE
    #: what statements stand on: the table, or an alias of it
    rows: sa.FromClause
    #: where it is declared
    mark: Mark

    @property
    def refers(self) -> tuple[sa.ColumnElement[Any], ...]:
        """The columns that refer to the record, or to the parent's rows."""
        return tuple(self.rows.c[one] for one in self.key)

    def aliased(self, prefix: str) -> BoundDependent:
        """The same under other names, its parents too, for a subquery beside a statement on the same tables."""
        rows = sa.alias(rows_of(self.table), name(f"{prefix}_{self.table.bare_name}"))
        return replace(self, rows=rows, parent=None if self.parent is None else self.parent.aliased(prefix))


def belongs(bound: BoundClass, dependent: BoundDependent, chosen: Chosen) -> Bool:
    """Whether a row of the dependent belongs to one of the chosen records."""
    parent = dependent.parent
    if parent is None:
        return refers_to(bound, dependent, chosen)

    def above(names: Sequence[str]) -> sa.Select[Any]:
        columns = (parent.rows.c[one] for one in names)
        where = belongs(bound, parent, chosen)
        return sa.select(*columns).select_from(parent.rows).where(where).correlate_except(parent.rows)

    return refers_to(bound, dependent, above)


def refers_to(bound: BoundClass, dependent: BoundDependent, above: Chosen) -> Bool:
    """Whether a row of the dependent refers to one of the chosen rows above it."""
    there = above(dependent.of)
    columns = [_compared(bound, dependent, place, column) for place, column in enumerate(there.selected_columns)]
    refers = dependent.refers[0] if len(dependent.key) == 1 else sa.tuple_(*dependent.refers)
    return sa.and_(refers.in_(there.with_only_columns(*columns)), counts(bound, dependent))


def belongs_to_this(bound: BoundClass, dependent: BoundDependent) -> Bool:
    """Whether a row of the dependent belongs to the record of ``bound.rows`` at hand, joined over `between`."""
    above = bound.rows if dependent.parent is None else dependent.parent.rows
    pairs = enumerate(zip(dependent.refers, dependent.of, strict=True))
    joined = [refers == _compared(bound, dependent, place, above.c[of]) for place, (refers, of) in pairs]
    further = [] if dependent.parent is None else [belongs_to_this(bound, dependent.parent)]
    return all_of([*joined, counts(bound, dependent), *further])


def between(dependent: BoundDependent) -> list[sa.FromClause]:
    """The rows of the dependents above it, nearest first."""
    return [] if dependent.parent is None else [dependent.parent.rows, *between(dependent.parent)]


def blocks(bound: BoundClass, dependent: BoundDependent) -> Bool:
    """Whether a row of the dependent, joined over `between`, keeps the record of ``bound.rows`` at hand: it refers to it, or
    to what goes with it, and does not go with it itself."""
    along = [
        _goes_with_this(bound, replace(one.aliased("along"), rows=dependent.rows))
        for one in bound.dependents
        if one.table == dependent.table
    ]
    if dependent.table == bound.table:
        along.append(all_of(dependent.rows.c[one] == bound.column(one) for one in bound.record_class.key))
    # null, where the row refers to nothing there, is no going along
    return sa.and_(belongs_to_this(bound, dependent), *(sa.not_(sa.func.coalesce(one, sa.false())) for one in along))


def _goes_with_this(bound: BoundClass, dependent: BoundDependent) -> Bool:
    where = belongs_to_this(bound, dependent)
    rows = between(dependent)
    return exists(rows, where) if rows else where


def counts(bound: BoundClass, dependent: BoundDependent) -> Bool:
    """Whether a row of the dependent's table is one that refers to records at all."""
    if dependent.when is None:
        return sa.true()
    return condition_sql(as_class(bound, dependent), dependent.when, bound.zone)


def as_class(bound: BoundClass, dependent: BoundDependent) -> BoundClass:
    """The dependent's rows in the place of the records, for conditions over them."""
    return replace(bound, table=dependent.table, rows=dependent.rows, usual_tags={})


def exists(rows: Sequence[sa.FromClause], where: Bool) -> Bool:
    """Whether there is such a row; everything that is not in ``rows`` is the statement's around it."""
    return sa.exists(raw("1")).select_from(*rows).where(where).correlate_except(*rows)


def comparable(bound: BoundClass, dependent: BoundDependent, above: Table, place: int) -> bool:
    """Whether values of the two columns can be equal in the database's own eyes: of one kind, or text that writes a key
    of another kind."""
    child, parent = dependent.table.column(dependent.key[place]), above.column(dependent.of[place])
    assert child is not None and parent is not None, "asked of columns that are there"
    return bound.dialect == "sqlite" or child.kind in (Kind.TEXT, parent.kind)


def _compared(
    bound: BoundClass, dependent: BoundDependent, place: int, above: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    """What is referred to, as a value of the referring column's type: text in which a polymorphic child writes a key of
    any type. (SQLite compares them by the columns' affinity.)"""
    parent = bound.table if dependent.parent is None else dependent.parent.table
    child_column, parent_column = dependent.table.column(dependent.key[place]), parent.column(dependent.of[place])
    assert child_column is not None and parent_column is not None, "binding made sure that the columns are there"
    if bound.dialect == "sqlite" or child_column.kind is not Kind.TEXT or child_column.type == parent_column.type:
        return above
    return above if _plain_text(child_column.type, parent_column.type) else sa.cast(above, sa.Text())


def _plain_text(*types: str) -> bool:
    return all(one.split("(")[0] in ("text", "character varying", "character", "varchar", "char") for one in types)
