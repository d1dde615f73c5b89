"""A record class together with its table as the database describes it now: what every statement is built on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.errors import SchemaUnsafe
from retention.policy.dependent import Dependent, Then
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagTable
from retention.sources.bound_dependent import BoundDependent
from retention.sources.order import in_order
from retention.sources.source import Source
from retention.sources.sql import name, rows_of
from retention.sources.table import Column, Table


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
    #: everything that is declared under the record, each after all that its rows refer to
    declared: tuple[BoundDependent, ...]
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
    def zone(self) -> ZoneInfo:
        """In which the days and times lie that conditions of the class's own declaration name."""
        return self.record_class.timezone or ZoneInfo("UTC")

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
        column to which that belongs. Raises KeyError, and SchemaUnsafe where it refers by several columns."""
        if kin in self.parents:
            parent = self.parents[kin]
            return parent.table, parent.key, parent.column
        for dependent in self.declared:
            if dependent.parent is None and dependent.table.is_named(kin):
                if len(dependent.key) > 1:
                    raise SchemaUnsafe(
                        f"{self.address}: a clock counts from {kin}, which refers to the record by several columns",
                        hint="count from a column of the record, or of a dependent that refers by one",
                    )
                return dependent.table, dependent.key[0], dependent.of[0]
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
    def dependents(self) -> tuple[BoundDependent, ...]:
        """What goes with the record, of every level."""
        return tuple(one for one in self.declared if one.then.goes)

    @property
    def own(self) -> tuple[BoundDependent, ...]:
        """What goes with the record whatever else refers to it."""
        return tuple(one for one in self.declared if one.then is Then.DELETE and one.under is None)

    @property
    def shared(self) -> tuple[BoundDependent, ...]:
        """What goes with the last record that shares it."""
        return tuple(one for one in self.declared if one.shared)

    @property
    def blocking(self) -> tuple[BoundDependent, ...]:
        """What keeps the record. What is declared under a shared row keeps only that."""
        return tuple(one for one in self.declared if one.then is Then.BLOCK and one.under is None)

    @property
    def changed(self) -> tuple[BoundDependent, ...]:
        """What is changed when a record goes: what goes with it, and what is detached from it."""
        return tuple(one for one in self.declared if one.then is not Then.BLOCK)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables whose rows are changed when a record goes: the class's own first."""
        return (self.table, *(one.table for one in self.changed))

    @property
    def leaving(self) -> tuple[Table, ...]:
        """The tables whose rows go when a record goes: the class's own first."""
        return (self.table, *(one.table for one in self.dependents))

    @property
    def detached(self) -> tuple[Table, ...]:
        """The tables whose rows are let refer to nothing when a record goes."""
        return tuple(one.table for one in self.declared if one.then is Then.DETACH)

    def aliased(self, alias: str) -> BoundClass:
        """The same class under another name, for a subquery beside a statement on the same table."""
        return replace(self, rows=sa.alias(rows_of(self.table), name(alias)))


def bound_rows(
    source: Source,
    record_class: RecordClass,
    table: Table,
    tables: Mapping[str, Table],
    parents: Mapping[str, Table] | None = None,
) -> BoundClass:
    """Put a class and the tables of its dependents and parents (by the names that retention.yaml gives them) together."""
    declared = list(_bound_dependents(record_class.dependents, record_class.key, None, tables))
    tag_table = None
    if isinstance(record_class.tags, TagTable):
        tags = tables[record_class.tags.table]
        tag_table = BoundDependent(
            table=tags, key=record_class.tags.record, of=record_class.key, rows=rows_of(tags),
            mark=record_class.marks.get("tags.record", record_class.mark),
        )  # fmt: skip
        if not any(one.table.is_named(record_class.tags.table) for one in declared):
            declared.append(tag_table)
    return BoundClass(
        source=source,
        record_class=record_class,
        table=table,
        rows=rows_of(table),
        declared=in_order(declared),
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


def _bound_dependents(
    dependents: Sequence[Dependent], above: tuple[str, ...], parent: BoundDependent | None, tables: Mapping[str, Table]
) -> Iterator[BoundDependent]:
    """Each of them, those above before those below; ``above`` is the key of what the first ones refer to."""
    for one in dependents:
        table = tables[one.table]
        rows: sa.FromClause = rows_of(table)
        if one.then is Then.BLOCK:  # its rows may be of a table that stands elsewhere in the statement too
            rows = sa.alias(rows, name(f"blocking_{table.bare_name}"))
        bound = BoundDependent(
            table=table, parent=parent, key=one.key, of=above if one.of is None else one.of, when=one.when,
            then=one.then, rows=rows, mark=one.mark,
        )  # fmt: skip
        yield bound
        yield from _bound_dependents(one.dependents, table.primary_key, bound, tables)
