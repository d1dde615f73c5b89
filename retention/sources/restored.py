"""Putting archived rows back: what travelled as text or literal becomes the value again, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from retention.sources import mariadb_types
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import exists
from retention.sources.column_entry import ColumnEntry
from retention.sources.order import Closing
from retention.sources.source import Source
from retention.sources.sql import Bool, Declared, all_of, name, raw, rows_of, string, temporary
from retention.sources.statements import PLACE, RESTORED
from retention.sources.table import Column, Table


def insert_restored(source: Source, table: Table, entries: Sequence[ColumnEntry], empty: Collection[str] = ()) -> str:
    """Inserts the rows of the temporary table RESTORED, whose columns are those of ``entries``, into ``table``.

    Columns are mapped by name; the caller leaves out entries that today's table does not have. Those of ``empty`` are null
    until `refer_restored` sets them. Generated columns compute themselves anew. Identity columns keep the archived value.
    """
    placed = [(one, entry) for entry in entries if (one := table.column(entry.name)) is not None and not one.generated]
    archived = temporary(source.dialect.name, RESTORED, [entry.name for entry in entries])
    values: list[sa.ColumnElement[Any]] = [
        sa.null() if one.name in empty else _value(source, one, entry, archived.c[entry.name]) for one, entry in placed
    ]
    columns = ", ".join(_quoted(source, one.name) for one, _ in placed)
    # SQLAlchemy knows no such clause
    overriding = " OVERRIDING SYSTEM VALUE" if any(one.identity_always for one, _ in placed) else ""
    select = source.compile(sa.select(*values).select_from(archived))
    return f"INSERT INTO {_place(source, table)} ({columns}){overriding} {select}"


def refer_restored(
    bound: BoundClass, table: Table, key: Sequence[str], columns: Sequence[str], entries: Sequence[ColumnEntry]
) -> sa.Update:
    """Lets rows refer again as the temporary table RESTORED says: those whose keys stand there, and that refer to nothing
    now, because `insert_restored` left the columns empty or because they were detached."""
    rows, value = rows_of(table), _Values(bound, table, entries)
    setting = sa.update(rows).values({rows.c[one]: value(one) for one in columns})
    return setting.where(*(rows.c[one] == value(one) for one in key), *(rows.c[one].is_(None) for one in columns))


def present_restored(
    bound: BoundClass, table: Table, key: Sequence[str], entries: Sequence[ColumnEntry]
) -> sa.Select[Any]:
    """Column PLACE of those rows of the temporary table RESTORED that are in ``table`` already, by their key."""
    value, rows = _Values(bound, table, entries, (PLACE,)), rows_of(table)
    there = exists([rows], all_of(_same(bound, table, rows, one, value(one)) for one in key))
    return sa.select(value.archived.c[PLACE]).select_from(value.archived).where(there)


def count_astray(bound: BoundClass, closing: Closing, entries: Sequence[ColumnEntry]) -> sa.Select[Any]:
    """How many rows of the temporary table RESTORED refer to a row that is not there: one row."""
    value, target = _Values(bound, closing.table, entries), sa.alias(rows_of(closing.target), name("referred_to"))
    there = exists([target], all_of(_same(bound, closing.target, target, of, value(one)) for one, of in closing.pairs))
    refers = all_of(value(one).is_not(None) for one in closing.reference.columns)
    return sa.select(sa.func.count()).select_from(value.archived).where(refers, sa.not_(there))


def _same(bound: BoundClass, table: Table, rows: sa.FromClause, name: str, value: sa.ColumnElement[Any]) -> Bool:
    """Whether the column has that value, as the column's own collation takes it; a temporary table has another."""
    one = table.column(name)
    if bound.dialect == "mysql" and one is not None and one.collation is not None:
        value = sa.func.convert(value.op("USING")(raw(str(mariadb_types.charset(one))))).collate(one.collation)
    return rows.c[name] == value


class _Values:
    """Of a column's name its value in the temporary table RESTORED, as the table takes it."""

    def __init__(
        self, bound: BoundClass, table: Table, entries: Sequence[ColumnEntry], more: Sequence[str] = ()
    ) -> None:
        self.archived = temporary(bound.dialect, RESTORED, [*(entry.name for entry in entries), *more])
        self._source = bound.source
        self._described = {one.name: one for one in table.columns}
        self._stood = {entry.name: entry for entry in entries}

    def __call__(self, one: str) -> sa.ColumnElement[Any]:
        return _value(self._source, self._described[one], self._stood[one], self.archived.c[one])


def _value(source: Source, one: Column, entry: ColumnEntry, archived: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if source.dialect.name == "mysql":
        return mariadb_types.restored(one, entry, archived)
    if entry.travels == "literal":
        return _literal_value(archived)
    if source.dialect.name == "sqlite":
        return archived
    return sa.cast(archived, Declared(one.type))


def _literal_value(text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """What a literal of SQLite stands for: it has no eval, and the forms are few."""

    def part(start: int, less: int) -> sa.ColumnElement[Any]:
        return sa.func.substr(text, start, sa.func.length(text) - raw(str(less)))

    def begins(form: str) -> Bool:
        return sa.func.substr(text, 1, len(form)) == string(form)

    return sa.case(
        (sa.or_(text == string("NULL"), text.is_(None)), sa.null()),
        (begins("'"), sa.func.replace(part(2, 2), string("''"), string("'"))),
        (begins("X'"), sa.func.unhex(part(3, 3))),
        (begins("CAST("), sa.cast(sa.func.unhex(part(8, 17)), sa.Text())),
        (text.op("GLOB", is_comparison=True)(string("*[.eE]*")), sa.cast(text, sa.REAL())),
        else_=sa.cast(text, sa.Integer()),
    )


def _place(source: Source, table: Table) -> str:
    return f"{_quoted(source, table.schema or 'main')}.{_quoted(source, table.bare_name)}"


def _quoted(source: Source, text: str) -> str:
    return source.dialect.identifier_preparer.quote_identifier(text)
