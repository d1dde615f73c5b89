"""Which tables could be record classes, and what the schema says about each. Reads the schema alone, never a row."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retention.policy.tags import TagColumn, TagTable
from retention.sources.source import Source
from retention.sources.table import Column, Kind, Reference, Table
from retention.starter_project import by_name, names
from retention.starter_project.dependents import ProposedDependent, below, proposed_dependents


@dataclass(frozen=True, kw_only=True)
class ProposedClass:
    """One record class. ``notes`` are what a person should know or find out."""

    name: str
    table: str
    key: tuple[str, ...]
    created: Column
    other_clocks: tuple[str, ...]
    tags: TagColumn | TagTable | None
    #: subject name -> column
    subjects: Mapping[str, str]
    dependents: tuple[ProposedDependent, ...]
    notes: tuple[str, ...]
    #: None where the class can be used as it is; else why it is written as a comment
    doubt: str | None

    @property
    def needs_zone(self) -> bool:
        """Whether times without a zone stand in the clock, so that `timezone` must be named."""
        return self.created.kind in (Kind.WALL, Kind.TEXT)

    @property
    def needs_unit(self) -> bool:
        """Whether numbers stand in the clock, so that `unit` must be named."""
        return self.created.kind is Kind.INTEGER


@dataclass(frozen=True, kw_only=True)
class SkippedTable:
    """A table that no class was proposed for, and why."""

    table: str
    why: str


@dataclass(frozen=True, kw_only=True)
class StarterProject:
    """What `retention init` proposes for one source; tables that record what happened come first."""

    source: str
    classes: tuple[ProposedClass, ...]
    skipped: tuple[SkippedTable, ...]


def source_name(url: str) -> str:
    """A short name for the database at ``url``: its own name, in lower case (``sqlite:///data/crm.db`` is ``crm``)."""
    path = url.partition("?")[0].rstrip("/").replace("\\", "/")
    last = path.partition("://")[2].rpartition("/")[2]
    name = names.snake(re.sub(r"\.(db|sqlite3?|sqlite_db)$", "", last))
    return name[:60] if re.match(r"[a-z]", name) else "source"


def propose(source: Source) -> StarterProject:
    """Reflect the schema and propose record classes. Raises SourceFailed where the database does not answer."""
    tables = [table for name in source.tables() if (table := source.table(name)) is not None]
    every = {table.name: table for table in tables}
    parts = {
        reference.table: table.name
        for table in tables
        for reference in table.referenced_by
        if _is_part(reference, table, every)
    }
    classes: list[ProposedClass] = []
    skipped: list[SkippedTable] = []
    for table in sorted(tables, key=lambda table: (not names.is_log(table.bare_name), table.name)):
        if table.name in parts:
            skipped.append(SkippedTable(table=table.name, why=f"its rows are a part of {parts[table.name]}"))
        elif (why := _no_class(table)) is not None:
            skipped.append(SkippedTable(table=table.name, why=why))
        else:
            classes.append(_propose_class(table, every, parts, taken={proposed.name for proposed in classes}))
    classes.sort(key=lambda proposed: proposed.doubt is not None)
    return StarterProject(source=source.name, classes=tuple(classes), skipped=tuple(skipped))


def _is_part(reference: Reference, parent: Table, tables: Mapping[str, Table]) -> bool:
    """Whether the referring table's rows belong to the record and to nothing else, so that they may go with it."""
    child = tables.get(reference.table)
    if child is None or child.name == parent.name or set(reference.parent_columns) != set(parent.primary_key):
        return False
    if parent.name in below(child, tables):
        return False  # they refer to one another in a circle
    further = [other for other in child.referenced_by if other.table != child.name]
    if not all(_is_part(other, child, tables) for other in further):
        return False
    if names.is_part(child.bare_name, parent.bare_name):
        return True
    alone = all(other.parent == parent.name for other in child.refers_to) and not child.referenced_by
    return names.is_log(parent.bare_name) and not names.is_log(child.bare_name) and alone


def _no_class(table: Table) -> str | None:
    """Why the table cannot be a class at all, or None."""
    if table.relation not in ("table", "partitioned"):
        return f"it is no ordinary table ({table.relation})"
    if not table.primary_key:
        return "it has no primary key, so no record can be named, held or restored"
    if not names.clocks(table.columns):
        return "it has no column with a date, so nothing says how old a record is"
    return None


def _propose_class(
    table: Table, tables: Mapping[str, Table], parts: Mapping[str, str], *, taken: set[str]
) -> ProposedClass:
    created, *others = names.clocks(table.columns)
    notes: list[str] = []
    tag_source, tag_note = _tags(table, tables)
    if tag_note is not None:
        notes.append(tag_note)
    if created.nullable:
        notes.append(f"{created.name} may be null: such records are never deleted, and are reported as no clock")
    if table.delete_triggers:
        triggers = ", ".join(table.delete_triggers)
        notes.append(
            f"deleting fires {triggers}, which might delete what was not archived: drop it, or nothing is deleted"
        )
    if not table.referenced_by:
        notes.append(
            "no foreign key refers to this table. Rows elsewhere that belong to a record without one are left behind: "
            "name their table under `dependents`"
        )
        notes += by_name.polymorphic(table, tables)
    dependents = proposed_dependents(table, tables, parts)
    subjects = {subject: column.name for column in table.columns if (subject := names.subject(column.name)) is not None}
    return ProposedClass(
        name=_free_name(table, taken),
        table=table.name,
        key=table.primary_key,
        created=created,
        other_clocks=tuple(column.name for column in others),
        tags=tag_source,
        subjects=subjects,
        dependents=(*dependents, *by_name.children(table, tables)),
        notes=tuple(notes),
        doubt=_doubt(table, created, dependents, parts),
    )


def _free_name(table: Table, taken: set[str]) -> str:
    """A name as retention.yaml takes it: a small letter, then small letters, digits and underscores, at most 60."""
    name = names.snake(table.bare_name)
    if not re.match(r"[a-z]", name):
        name = f"table_{name}".rstrip("_")
    if name in taken and table.schema is not None:
        name = f"{names.snake(table.schema)}_{name}"
    choices = itertools.chain([name[:60]], (f"{name[:55]}_{number}" for number in itertools.count(2)))
    return next(choice for choice in choices if choice not in taken)


def _doubt(
    table: Table, created: Column, dependents: Sequence[ProposedDependent], parts: Mapping[str, str]
) -> str | None:
    if created.kind is Kind.INTEGER:
        return f"{created.name} holds numbers: say with `unit` whether they count s, ms or us since 1970"
    asking = sorted({one.table for one in dependents if parts.get(one.table) != table.name} - {table.name})
    if asking and not names.is_log(table.bare_name):
        return (
            f"other tables refer to it ({', '.join(asking)}): it looks like what records are about, not like a record"
        )
    return None


def _tags(table: Table, tables: Mapping[str, Table]) -> tuple[TagColumn | TagTable | None, str | None]:
    """Where the tags are, and what is open about them."""
    column = names.tags(table.columns)
    if column is not None:
        return TagColumn(column=column.name), None
    for reference in table.referenced_by:
        child = tables.get(reference.table)
        by_key = dict(zip(reference.parent_columns or table.primary_key, reference.columns, strict=False))
        if child is None or not names.is_tag_table(child.bare_name) or set(by_key) != set(table.primary_key):
            continue
        tag = next((column for column in child.columns if names.is_tag_word(column)), None)
        if tag is not None:
            record = tuple(by_key[one] for one in table.primary_key)
            return TagTable(table=child.name, record=record, tag=tag.name), None
        return None, f"{child.name} looks like its tags, but holds numbers for them, not the tags as text"
    return (
        None,
        "no column or table holds tags: derive them from columns (`tags: {rules: ...}`), or let policies use `where`",
    )
