"""Putting archived rows back: what travelled as text or literal becomes the value again, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from retention.sources import mariadb_types
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent
from retention.sources.column_entry import ColumnEntry
from retention.sources.keys import row_value
from retention.sources.source import Source
from retention.sources.sql import Declared, raw, temporary
from retention.sources.statements import DETACHED, RESTORED
from retention.sources.table import Column, Table


def insert_restored(source: Source, table: Table, entries: Sequence[ColumnEntry]) -> str:
    """Inserts the rows of the temporary table RESTORED, whose columns are those of ``entries``, into ``table``.

    Columns are mapped by name; the caller leaves out entries that today's table does not have. Generated columns compute
    themselves anew. Identity columns keep the archived value.
    """
    placed = [(one, entry) for entry in entries if (one := table.column(entry.name)) is not None and not one.generated]
    archived = temporary(source.dialect.name, RESTORED, [entry.name for entry in entries])
    values = [_value(source, one, entry, archived.c[entry.name]) for one, entry in placed]
    columns = ", ".join(_quoted(source, one.name) for one, _ in placed)
    # SQLAlchemy knows no such clause
    overriding = " OVERRIDING SYSTEM VALUE" if any(one.identity_always for one, _ in placed) else ""
    select = source.compile(sa.select(*values).select_from(archived))
    return f"INSERT INTO {_place(source, table)} ({columns}){overriding} {select}"


def attach_restored(bound: BoundClass, dependent: BoundDependent, entries: Sequence[ColumnEntry]) -> sa.Update:
    """Lets the dependent's rows refer again to what the temporary tables RESTORED and DETACHED say, which hold the same:
    those whose keys stand there, and that refer to nothing now."""
    key, described = dependent.table.primary_key, {one.name: one for one in dependent.table.columns}
    stood = {entry.name: entry for entry in entries}
    tables = {one: temporary(bound.dialect, one, stood) for one in (RESTORED, DETACHED)}

    def value(table: str, one: str) -> sa.ColumnElement[Any]:
        return _value(bound.source, described[one], stood[one], tables[table].c[one], table)

    restored, detached = tables[RESTORED], tables[DETACHED]
    same = sa.and_(*(value(RESTORED, one) == dependent.rows.c[one] for one in key))
    values = {
        column: sa.select(value(RESTORED, column.name)).select_from(restored).where(same).correlate_except(restored)
        for column in dependent.refers
    }
    there = sa.select(*(value(DETACHED, one) for one in key)).select_from(detached)
    among = row_value([dependent.rows.c[one] for one in key]).in_(there)
    rows = dependent.rows
    assert isinstance(rows, sa.TableClause), "what blocks alone stands under an alias"
    attaching = sa.update(rows).values({column: found.scalar_subquery() for column, found in values.items()})
    return attaching.where(among, *(one.is_(None) for one in dependent.refers))


def _value(
    source: Source, one: Column, entry: ColumnEntry, archived: sa.ColumnElement[Any], table: str = RESTORED
) -> sa.ColumnElement[Any]:
    if source.dialect.name == "mysql":
        return mariadb_types.restored(one, entry, archived)
    if entry.travels == "literal":
        return raw(_literal_value(f"temp.{_quoted(source, table)}.{_quoted(source, entry.name)}"))
    if source.dialect.name == "sqlite":
        return archived
    return sa.cast(archived, Declared(one.type))


def _literal_value(text: str) -> str:
    """What a literal of SQLite stands for: it has no eval, and the forms are few."""
    return (
        f"CASE WHEN {text} = 'NULL' OR {text} IS NULL THEN NULL"
        f" WHEN substr({text}, 1, 1) = '''' THEN replace(substr({text}, 2, length({text}) - 2), '''''', '''')"
        f" WHEN substr({text}, 1, 2) = 'X''' THEN unhex(substr({text}, 3, length({text}) - 3))"
        f" WHEN substr({text}, 1, 5) = 'CAST(' THEN CAST(unhex(substr({text}, 8, length({text}) - 17)) AS TEXT)"
        f" WHEN {text} GLOB '*[.eE]*' THEN CAST({text} AS REAL) ELSE CAST({text} AS INTEGER) END"
    )


def _place(source: Source, table: Table) -> str:
    return f"{_quoted(source, table.schema or 'main')}.{_quoted(source, table.bare_name)}"


def _quoted(source: Source, text: str) -> str:
    return source.dialect.identifier_preparer.quote_identifier(text)
