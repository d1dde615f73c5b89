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
from retention.sources.sql import Bool, all_of, any_of, name, raw, rows_of
from retention.sources.table import Kind, Table

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

#: makes of column names a selection of these columns of some records
Chosen = Callable[[Sequence[str]], sa.Select[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundDependent:
    """A table whose rows refer to a record, or to rows of ``parent``, or are shared and referred to by these; the tags' join
    table is one too."""

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

    @property
    def shared(self) -> bool:
        """Whether its rows go with the last that refers to them."""
        return self.then is Then.LAST

    @property
    def under(self) -> BoundDependent | None:
        """The shared dependent under which it is declared."""
        above = self.parent
        return above if above is None or above.shared else above.under

    def aliased(self, prefix: str) -> BoundDependent:
        """The same under other names, its parents too, for a subquery beside a statement on the same tables."""
        rows = sa.alias(rows_of(self.table), name(f"{prefix}_{self.table.bare_name}"))
        return replace(self, rows=rows, parent=None if self.parent is None else self.parent.aliased(prefix))


def belongs(bound: BoundClass, dependent: BoundDependent, chosen: Chosen) -> Bool:
    """Whether a row of the dependent belongs to one of the chosen records; a shared one to others too, perhaps."""
    return _belongs(bound, dependent, chosen, lambda shared: sa.true())


def goes(bound: BoundClass, dependent: BoundDependent, chosen: Chosen) -> Bool:
    """Whether a row of the dependent goes, or is detached, when the chosen records go."""
    return _belongs(bound, dependent, chosen, lambda shared: is_last(bound, shared, chosen))


def _belongs(
    bound: BoundClass, dependent: BoundDependent, chosen: Chosen, narrowed: Callable[[BoundDependent], Bool]
) -> Bool:
    """``narrowed`` says of which of the shared rows on the way."""
    refers = refers_to(bound, dependent, _above(bound, dependent, chosen, narrowed))
    return sa.and_(refers, narrowed(dependent)) if dependent.shared else refers


def _above(
    bound: BoundClass, dependent: BoundDependent, chosen: Chosen, narrowed: Callable[[BoundDependent], Bool]
) -> Chosen:
    """The rows to which those of the dependent refer that belong to the chosen records."""
    parent = dependent.parent
    if parent is None:
        return chosen

    def above(names: Sequence[str]) -> sa.Select[Any]:
        columns = (parent.rows.c[one] for one in names)
        where = _belongs(bound, parent, chosen, narrowed)
        return sa.select(*columns).select_from(parent.rows).where(where).correlate_except(parent.rows)

    return above


def is_last(bound: BoundClass, shared: BoundDependent, chosen: Chosen) -> Bool:
    """Whether nothing refers to the shared row at hand but what goes with the chosen records."""
    kept = []
    above = bound.table if shared.parent is None else shared.parent.table
    other = sa.alias(rows_of(above), name(f"other_{above.bare_name}"))
    pairs = enumerate(zip(shared.of, shared.refers, strict=True))
    refers = all_of(_referring(bound, shared, place, other.c[of]) == column for place, (of, column) in pairs)
    kept.append(exists([other], sa.and_(refers, sa.not_(_goes_along(bound, above, other, chosen)))))
    for one in bound.declared:
        if one.then is Then.BLOCK and one.under is shared:
            stays = sa.not_(_goes_along(bound, one.table, one.rows, chosen))
            kept.append(exists(_up_to(one, shared), sa.and_(_refers_up_to(bound, one, shared), stays)))
    return sa.not_(any_of(kept))


def _goes_along(bound: BoundClass, table: Table, rows: sa.FromClause, chosen: Chosen) -> Bool:
    """Whether the row at hand of the table goes with the chosen records, whatever else refers to it. Looked up one by one:
    there may be millions of chosen ones, and few that are asked about."""
    along: list[Bool] = []
    for one in bound.own:
        if one.table == table:
            beside = replace(one, rows=rows)
            there = _above(bound, beside, chosen, lambda shared: sa.true())(one.of)
            columns = [_compared(bound, beside, place, of) for place, of in enumerate(there.selected_columns)]
            referring = [_referring(bound, beside, place, refers) for place, refers in enumerate(beside.refers)]
            along.append(_is_there(there.where(counts(bound, beside)), columns, referring))
    if table == bound.table:
        key = bound.record_class.key
        there = chosen(key)
        along.append(_is_there(there, list(there.selected_columns), [rows.c[one] for one in key]))
    return any_of(along)


def _is_there(there: sa.Select[Any], columns: Sequence[sa.ColumnElement[Any]], wanted: Sequence[Any]) -> Bool:
    """Whether the selection has a row with the wanted values in these columns."""
    equal = (column == value for column, value in zip(columns, wanted, strict=True))
    return sa.exists(there.with_only_columns(raw("1")).where(*equal))


def _refers_up_to(bound: BoundClass, dependent: BoundDependent, shared: BoundDependent) -> Bool:
    """Whether a row of the dependent belongs to the shared row at hand, joined over `_up_to`."""
    parent = dependent.parent
    assert parent is not None, "asked of what is declared under the shared one"
    joined = _joined(bound, dependent, parent.rows)
    return joined if parent is shared else sa.and_(joined, _refers_up_to(bound, parent, shared))


def _up_to(dependent: BoundDependent, shared: BoundDependent) -> list[sa.FromClause]:
    """The rows of the dependent, and of those between it and the shared one."""
    parent = dependent.parent
    return [dependent.rows, *([] if parent is None or parent is shared else _up_to(parent, shared))]


def refers_to(bound: BoundClass, dependent: BoundDependent, above: Chosen) -> Bool:
    """Whether a row of the dependent refers to one of the chosen rows above it."""
    there = above(dependent.of)
    columns = [_compared(bound, dependent, place, column) for place, column in enumerate(there.selected_columns)]
    referring = [_referring(bound, dependent, place, one) for place, one in enumerate(dependent.refers)]
    refers = referring[0] if len(referring) == 1 else sa.tuple_(*referring)
    return sa.and_(refers.in_(there.with_only_columns(*columns)), counts(bound, dependent))


def belongs_to_this(bound: BoundClass, dependent: BoundDependent) -> Bool:
    """Whether a row of the dependent belongs to the record of ``bound.rows`` at hand, joined over `between`."""
    if dependent.parent is None:
        return _joined(bound, dependent, bound.rows)
    return sa.and_(_joined(bound, dependent, dependent.parent.rows), belongs_to_this(bound, dependent.parent))


def _joined(bound: BoundClass, dependent: BoundDependent, above: sa.FromClause) -> Bool:
    """Whether a row of the dependent refers to the row at hand of what is above it."""
    pairs = enumerate(zip(dependent.refers, dependent.of, strict=True))
    return all_of(
        [
            *(
                _referring(bound, dependent, place, refers) == _compared(bound, dependent, place, above.c[of])
                for place, (refers, of) in pairs
            ),
            counts(bound, dependent),
        ]
    )


def between(dependent: BoundDependent) -> list[sa.FromClause]:
    """The rows of the dependents above it, nearest first."""
    return [] if dependent.parent is None else [dependent.parent.rows, *between(dependent.parent)]


def blocks(bound: BoundClass, dependent: BoundDependent) -> Bool:
    """Whether a row of the dependent, joined over `between`, keeps the record of ``bound.rows`` at hand: it refers to it, or
    to what goes with it, and does not go with it itself."""
    along = [
        _goes_with_this(bound, replace(one.aliased("along"), rows=dependent.rows))
        for one in bound.own
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


def _referring(
    bound: BoundClass, dependent: BoundDependent, place: int, column: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    """A column on one side of the reference, so that SQLite compares as its foreign keys do: by the collation of what is
    referred to, and not of what happens to stand on the left."""
    if bound.dialect != "sqlite":
        return column
    above = bound.table if dependent.parent is None else dependent.parent.table
    referred = dependent.table.column(dependent.key[place]) if dependent.shared else above.column(dependent.of[place])
    collation = None if referred is None else referred.collation
    return column if collation is None else column.collate(collation)


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
