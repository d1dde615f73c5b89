"""Binding a record class to its table, and every reason why it cannot be bound.

What is written wrongly in retention.yaml is told all at once, each with its place. What the database would do behind our
back (cascades, triggers, partitions) is refused by name: nothing may be deleted that was not archived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import sqlalchemy as sa

from retention.errors import PolicyFilesError, SchemaUnsafe, SourceFailed
from retention.policy.condition import Condition
from retention.policy.mark import Problem
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn, TagRules
from retention.sources.bind_dependents import dangerous_references, named_tables, unfit_dependents, unfit_values
from retention.sources.bound_class import BoundClass, bound_rows
from retention.sources.check import check_condition, clock_problems
from retention.sources.mariadb_types import names_records
from retention.sources.rights import Need, refuse_without
from retention.sources.source import Source
from retention.sources.table import Column, Kind, Table
from retention.sources.unfit import mark_of, no_column, no_table
from retention.sources.usual_tags import usual_tags


def bind(source: Source, record_class: RecordClass, others: Mapping[str, RecordClass]) -> BoundClass:
    """Bind the class to its table as it is now. ``others`` are all classes, by address.

    Raises PolicyFilesError with every problem of the declaration, SchemaUnsafe for what the database itself would do,
    RightMissing where some of it may not be read, SourceFailed where it does not answer.
    """
    actions = _actions(source)  # first: what changes while we look is found by the first batch
    table = source.table(record_class.table)
    if table is None:
        raise PolicyFilesError([no_table(source, record_class, record_class.table, "table")])
    dependents: dict[str, Table] = {}
    problems = list(_table_problems(record_class, table, others, source.dialect.name))
    for name, path in named_tables(record_class):
        dependent = source.table(name)
        if dependent is None:
            problems.append(no_table(source, record_class, name, path))
        else:
            dependents[name] = dependent
    problems += unfit_dependents(record_class, table, dependents)
    parents: dict[str, Table] = {}
    for name, parent in record_class.parents.items():
        found = source.table(parent.table)
        if found is None:
            problems.append(no_table(source, record_class, parent.table, f"parents.{name}.table"))
        else:
            parents[name] = found
            problems += _parent_problems(record_class, table, name, found)
    problems += _clock_problems(record_class, table, {**dependents, **parents}, source.dialect.name)
    if problems:
        raise PolicyFilesError(sorted(set(problems)))
    bound = bound_rows(source, record_class, table, dependents, parents)
    refuse_without(source, [bound.table, *(one.table for one in bound.declared)], Need.READ)
    problems = [*_rule_problems(bound), *unfit_values(bound)]
    if problems:
        raise PolicyFilesError(sorted(set(problems)))
    dangers = [*_dangers(bound)]
    if dangers:
        raise SchemaUnsafe.of_all([(f"{bound.address}: {message}", hint) for message, hint in dangers])
    return replace(bound, actions=actions, usual_tags=usual_tags(bound))


def _actions(source: Source) -> Mapping[str, str]:
    session = source.session()
    try:
        return session.actions()
    finally:
        session.close()


def _table_problems(
    record_class: RecordClass, table: Table, others: Mapping[str, RecordClass], dialect: str
) -> Iterator[Problem]:
    if table.relation in ("view", "materialized view"):
        message = f'"{record_class.table}" is a {table.relation}'
        yield Problem(
            mark=mark_of(record_class, "table"), message=message, remedy="name the table that holds the records"
        )
    for other in others.values():
        if other.source == record_class.source and other.name != record_class.name and table.is_named(other.table):
            yield Problem(
                mark=mark_of(record_class, "table"),
                message=f'the classes "{record_class.name}" and "{other.name}" are the same table, {table.name}',
                remedy="declare it once, and tell the records apart by `where` or tags in the policies",
            )
    yield from _key_problems(record_class, table, dialect)
    named = [(name, f"subjects.{subject}") for subject, name in record_class.subjects.items()]
    if record_class.columns is not None:
        named += [(name, f"columns.{place}") for place, name in enumerate(record_class.columns)]
    for name, path in named:
        if table.column(name) is None:
            yield no_column(record_class, table, name, path if path in record_class.marks else path.split(".")[0])
    if isinstance(record_class.tags, TagColumn):
        yield from _tag_column_problems(record_class, table, record_class.tags.column, dialect)


def _clock_problems(
    record_class: RecordClass, table: Table, kin: Mapping[str, Table], dialect: str
) -> Iterator[Problem]:
    """Why the class's clocks cannot be. Tables that are not there, of dependents and parents, are told elsewhere."""
    named = {clock: f"clocks.{clock}" for clock in record_class.clocks}
    if record_class.created is not None and record_class.created not in named:
        named[record_class.created] = "created"
    for clock, path in named.items():
        mark = mark_of(record_class, path)
        if path != "created" and table.column(clock) is not None:
            message = f'the clock "{clock}" bears the name of a column of {table.name}'
            yield Problem(mark=mark, message=message, remedy="give the clock another name")
        for part in record_class.clock_parts(clock):
            found = table if part.kin is None else kin.get(part.kin)
            if found is not None:
                yield from clock_problems(found, record_class, dialect, part.column, mark)


def _parent_problems(record_class: RecordClass, table: Table, name: str, parent: Table) -> Iterator[Problem]:
    declared = record_class.parents[name]
    if table.column(declared.column) is None:
        yield no_column(record_class, table, declared.column, f"parents.{name}.column")
    key = parent.primary_key if declared.key is None else (declared.key,)
    if declared.key is not None and parent.column(declared.key) is None:
        yield no_column(record_class, parent, declared.key, f"parents.{name}.key")
    elif len(key) != 1 or key not in (parent.primary_key, *parent.unique_keys):
        message = f'the parent "{name}" has no key of one column: {", ".join(key) or "no primary key"}'
        remedy = f"write key: and a column of {parent.name} that is unique"
        yield Problem(mark=mark_of(record_class, f"parents.{name}"), message=message, remedy=remedy)


def _tag_column_problems(record_class: RecordClass, table: Table, name: str, dialect: str) -> Iterator[Problem]:
    column = table.column(name)
    if column is None:
        yield no_column(record_class, table, name, "tags.column")
    elif column.kind not in (Kind.TEXT, Kind.JSON, Kind.TEXT_ARRAY) and not (
        dialect == "sqlite" and column.kind in (Kind.OTHER, Kind.BINARY)
    ):
        message = f'column "{name}" is {column.type}, which holds no tags'
        remedy = "name a column of text, JSON or an array of text"
        yield Problem(mark=mark_of(record_class, "tags.column"), message=message, remedy=remedy)


def _key_problems(record_class: RecordClass, table: Table, dialect: str) -> Iterator[Problem]:
    missing = [name for name in record_class.key if table.column(name) is None]
    for name in missing:
        yield no_column(record_class, table, name, "key")
    if missing:
        return
    unique = {frozenset(key) for key in (table.primary_key, *table.unique_keys) if key}
    primary = f"write key: [{', '.join(table.primary_key)}]" if table.primary_key else "give the table a primary key"
    wanted = frozenset(record_class.key)
    columns = [column for column in table.columns if column.name in wanted]
    text = ", ".join(record_class.key)
    if wanted not in unique:
        message = f'"{text}" is neither the primary key of {table.name} nor unique'
        yield Problem(mark=mark_of(record_class, "key"), message=message, remedy=primary)
    elif wanted != frozenset(table.primary_key) and any(column.nullable for column in columns):
        message = f'"{text}" may be null in {table.name}'
        yield Problem(mark=mark_of(record_class, "key"), message=message, remedy=primary)
    else:
        for column in columns:
            remedy = _no_key(column, dialect)
            if remedy is not None:
                message = f'the key "{column.name}" is {column.type or "of no type"}'
                yield Problem(mark=mark_of(record_class, "key"), message=message, remedy=remedy)


def _no_key(column: Column, dialect: str) -> str | None:
    """What a key must be, where the column's values cannot name a record."""
    if dialect == "postgresql" and column.type in ("real", "double precision"):
        return "no text says such a number exactly: a key must be of an exact type"
    if dialect == "sqlite" and column.kind not in (Kind.INTEGER, Kind.TEXT):
        return "a key must be declared INTEGER or TEXT"
    if dialect == "mysql" and not names_records(column):
        return "a key must be a whole or decimal number, text in a Unicode character set, a UUID, binary or a date"
    return None


def _rule_problems(bound: BoundClass) -> Iterator[Problem]:
    if isinstance(bound.record_class.tags, TagRules):
        rules: list[Condition] = [rule for _, rule in bound.record_class.tags.rules]
        for rule in rules:
            yield from check_condition(bound, rule, bound.zone)


def _dangers(bound: BoundClass) -> Iterator[tuple[str, str]]:
    """What would be deleted without being archived, or not be deleted at all: (what, the remedy)."""
    yield from _relation_dangers(bound.table, "the table")
    for dependent in bound.dependents:
        yield from _relation_dangers(dependent.table, "the dependent")
    yield from dangerous_references(bound)
    for table in bound.tables:
        yield from _untravelled(bound, table)
    if bound.dialect == "sqlite":
        yield from _odd_keys(bound)


def _untravelled(bound: BoundClass, table: Table) -> Iterator[tuple[str, str]]:
    """Columns whose values could not be archived."""
    for column in table.columns:
        try:
            bound.source.projection(column)
        except SourceFailed as error:
            yield f"{table.name}: {error.message}", error.hint


def _relation_dangers(table: Table, what: str) -> Iterator[tuple[str, str]]:
    if table.relation not in ("table", "partitioned"):
        yield f"{what} {table.name} is a {table.relation}", _remedy(table)
    for trigger in table.delete_triggers:
        yield (
            f"{what} {table.name} has a trigger that fires on deletion, {trigger}",
            f"drop {trigger}, or do what it does in the application: it might delete what was not archived",
        )


def _remedy(table: Table) -> str:
    """What to declare instead of what is no table of records of its own."""
    match table.relation:
        case "partition":
            return (
                f"declare {table.part_of}, of which it is a part: its records are in the class once, wherever they lie"
            )
        case "view" | "materialized view":
            return "name the table that its rows are from"
        case "foreign table":
            return "make the other server a source of its own: one transaction does not span both"
        case "table with inheriting tables":
            return "declare the tables that inherit from it: by its own name it has their rows as well"
        case "table with a foreign partition":
            return "detach the partition that lies on another server: one transaction does not span both"
        case _:
            return "declare an ordinary table"


def _odd_keys(bound: BoundClass) -> Iterator[tuple[str, str]]:
    """SQLite takes nulls, and values of any type, into most keys; such a record could be counted, but not be named."""
    if bound.table.rowid and bound.record_class.key == bound.table.primary_key:
        return
    kinds = [
        sa.func.typeof(column) != sa.literal("integer" if described.kind is Kind.INTEGER else "text")
        for column, described in zip(bound.key, bound.key_columns, strict=True)
    ]
    session = bound.source.session()
    try:
        if session.rows(sa.select(sa.literal_column("1")).select_from(bound.rows).where(sa.or_(*kinds)).limit(1)):
            key = ", ".join(bound.record_class.key)
            what = f"some records have no proper key: {key} is null, or of another type than it is declared"
            yield what, f"give every record a {key} of the declared type"
    finally:
        session.close()
