"""A record class together with its table as the database describes it now: what every statement is built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from retention.policy.record_class import RecordClass
from retention.policy.tags import TagTable
from retention.sources.source import Source
from retention.sources.sql import name, rows_of
from retention.sources.table import Column, Table


@dataclass(frozen=True, kw_only=True)
class BoundDependent:
    """A table whose rows go with the record that ``key`` refers to; the tags' join table is one too."""

    table: Table
    key: str
    rows: sa.TableClause

    @property
    def refers(self) -> sa.ColumnElement[Any]:
        """The column that refers to the record."""
        return self.rows.c[self.key]


@dataclass(frozen=True, kw_only=True)
class BoundParent:
    """The table of a parent, and its column to which the class's ``column`` refers."""

    table: Table
    key: str
    column: str


@dataclass(frozen=True, kw_only=True)
class BoundClass:
    """A record class with its source and table. ``rows`` is what statements stand on: the table, or an alias of it."""

    source: Source
    record_class: RecordClass
    table: Table
    rows: sa.FromClause
    dependents: tuple[BoundDependent, ...]
    #: the join table of the class's tags, which is among the dependents as well
    tag_table: BoundDependent | None
    #: by the name that the class gives them
    parents: Mapping[str, BoundParent] = field(default_factory=dict)
    #: what acted by itself on deletions before the tables were looked at, see `Session.actions`
    actions: Mapping[str, str] = field(default_factory=dict)
    #: what some texts of the tag column mean: a shortcut past reading them, see `usual_tags`
    usual_tags: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``source.class``."""
        return self.record_class.address

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql``, or ``mysql``, which MariaDB is too."""
        return self.source.dialect.name

    def described(self, column_name: str) -> Column:
        """The column as the database describes it. Raises KeyError."""
        found = self.table.column(column_name)
        if found is None:
            raise KeyError(column_name)
        return found

    def column(self, column_name: str) -> sa.ColumnElement[Any]:
        """The column in statements. Raises KeyError."""
        return self.rows.c[column_name]

    def text(self, column_name: str) -> str:
        """The column as SQL text, quoted and qualified, for templates. Raises KeyError."""
        quote = self.source.dialect.identifier_preparer.quote_identifier
        owner = (
            quote(self.rows.name)
            if isinstance(self.rows, sa.Alias)
            else f"{quote(self.table.schema or 'main')}.{quote(self.table.bare_name)}"
        )
        return f"{owner}.{quote(self.described(column_name).name)}"

    def kin(self, kin: str) -> tuple[Table, str, str]:
        """The table of a dependent or parent, as clocks name it, its column that belongs to a record, and the record's
        column to which that belongs. Raises KeyError."""
        if kin in self.parents:
            parent = self.parents[kin]
            return parent.table, parent.key, parent.column
        for dependent in self.dependents:
            if dependent.table.is_named(kin):
                return dependent.table, dependent.key, self.record_class.key[0]
        raise KeyError(kin)

    @property
    def key(self) -> tuple[sa.ColumnElement[Any], ...]:
        """The key's columns."""
        return tuple(self.column(one) for one in self.record_class.key)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The key's columns as the database describes them."""
        return tuple(self.described(one) for one in self.record_class.key)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The class's table, then those of its dependents."""
        return (self.table, *(dependent.table for dependent in self.dependents))

    def aliased(self, alias: str) -> BoundClass:
        """The same class under another name, for a subquery beside a statement on the same table."""
        return replace(self, rows=sa.alias(rows_of(self.table), name(alias)))


def bound_rows(
    source: Source,
    record_class: RecordClass,
    table: Table,
    dependents: Mapping[str, Table],
    parents: Mapping[str, Table] | None = None,
) -> BoundClass:
    """Put a class and the tables of its dependents and parents (by the names that retention.yaml gives them) together."""
    found = {
        one.table: BoundDependent(table=dependents[one.table], key=one.key, rows=rows_of(dependents[one.table]))
        for one in record_class.dependents
    }
    tag_table = None
    if isinstance(record_class.tags, TagTable):
        tags = dependents[record_class.tags.table]
        tag_table = BoundDependent(table=tags, key=record_class.tags.record, rows=rows_of(tags))
        if not any(one.table.is_named(record_class.tags.table) for one in found.values()):
            found[record_class.tags.table] = tag_table
    return BoundClass(
        source=source,
        record_class=record_class,
        table=table,
        rows=rows_of(table),
        dependents=tuple(found.values()),
        tag_table=tag_table,
        parents={
            one: BoundParent(
                table=parent,
                key=record_class.parents[one].key or parent.primary_key[0],
                column=record_class.parents[one].column,
            )
            for one, parent in (parents or {}).items()
        },
    )
