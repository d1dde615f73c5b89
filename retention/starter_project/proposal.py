"""Which tables could be record classes, and what the schema says about each. Reads the schema alone, never a row."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retention.policy.tags import TagColumn, TagTable
from retention.sources.source import Source
from retention.sources.table import Column, Kind, Reference, Table
from retention.starter_project import names


@dataclass(frozen=True, kw_only=True)
class ProposedDependent:
    """A table whose rows refer to the record by ``key``, or to the row above it."""

    table: str
    key: tuple[str, ...]
    #: what they refer to, where that is not the key
    of: tuple[str, ...] = ()
    #: they keep the record instead of going with it: rows of the record's own table
    blocks: bool = False
    #: what refers to its rows in turn
    dependents: tuple[ProposedDependent, ...] = ()
    #: None where its rows are plainly a part of the record; else why a person must decide
    question: str | None = None


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
    by_name = {table.name: table for table in tables}
    parts = {
        reference.table: table.name
        for table in tables
        for reference in table.referenced_by
        if _is_part(reference, table, by_name)
    }
    classes: list[ProposedClass] = []
    skipped: list[SkippedTable] = []
    for table in sorted(tables, key=lambda table: (not names.is_log(table.bare_name), table.name)):
        if table.name in parts:
            skipped.append(SkippedTable(table=table.name, why=f"its rows are a part of {parts[table.name]}"))
        elif (why := _no_class(table)) is not None:
            skipped.append(SkippedTable(table=table.name, why=why))
        else:
            classes.append(_propose_class(table, by_name, parts, taken={proposed.name for proposed in classes}))
    classes.sort(key=lambda proposed: proposed.doubt is not None)
    return StarterProject(source=source.name, classes=tuple(classes), skipped=tuple(skipped))


def _is_part(reference: Reference, parent: Table, tables: Mapping[str, Table]) -> bool:
    """Whether the referring table's rows belong to the record and to nothing else, so that they may go with it."""
    child = tables.get(reference.table)
    if child is None or child.name == parent.name or set(reference.parent_columns) != set(parent.primary_key):
        return False
    if parent.name in _below(child, tables):
        return False  # they refer to one another in a circle
    further = [other for other in child.referenced_by if other.table != child.name]
    if not all(_is_part(other, child, tables) for other in further):
        return False
    if names.is_part(child.bare_name, parent.bare_name):
        return True
    alone = all(other.parent == parent.name for other in child.refers_to) and not child.referenced_by
    return names.is_log(parent.bare_name) and not names.is_log(child.bare_name) and alone


def _below(table: Table, tables: Mapping[str, Table], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The tables that refer to the table, to those, and so on."""
    found = seen
    for name in {reference.table for reference in table.referenced_by} - seen:
        found |= {name}
        if name in tables:
            found = _below(tables[name], tables, found)
    return found


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
    dependents: list[ProposedDependent] = []
    for reference in table.referenced_by:
        twice = any(dependent.table == reference.table for dependent in dependents)
        dependents.append(_dependent(reference, table, tables, parts, twice=twice))
    subjects = {subject: column.name for column in table.columns if (subject := names.subject(column.name)) is not None}
    return ProposedClass(
        name=_free_name(table, taken),
        table=table.name,
        key=table.primary_key,
        created=created,
        other_clocks=tuple(column.name for column in others),
        tags=tag_source,
        subjects=subjects,
        dependents=tuple(dependents),
        notes=tuple(notes),
        doubt=_doubt(table, created, dependents),
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


def _doubt(table: Table, created: Column, dependents: Sequence[ProposedDependent]) -> str | None:
    if created.kind is Kind.INTEGER:
        return f"{created.name} holds numbers: say with `unit` whether they count s, ms or us since 1970"
    asking = sorted({dependent.table for dependent in dependents if dependent.question is not None} - {table.name})
    if asking and not names.is_log(table.bare_name):
        return (
            f"other tables refer to it ({', '.join(asking)}): it looks like what records are about, not like a record"
        )
    return None


def _dependent(
    reference: Reference, parent: Table, tables: Mapping[str, Table], parts: Mapping[str, str], *, twice: bool
) -> ProposedDependent:
    by_parent = dict(zip(reference.parent_columns, reference.columns, strict=True))
    by_key = set(by_parent) == set(parent.primary_key)
    child = tables.get(reference.table)
    is_part = parts.get(reference.table) == parent.name
    blocks = reference.table == parent.name
    question: str | None
    if twice:
        question = (
            f"{reference.table} refers to it a second time, by {', '.join(reference.columns)}: a list under its name"
            " says both, one of them with `then: block`"
        )
    elif blocks or is_part:
        question = None
    elif child is not None and child.referenced_by:
        further = ", ".join(sorted({other.table for other in child.referenced_by}))
        question = f"{further} refer to its rows in turn"
    else:
        question = "its rows may be records of their own"
    return ProposedDependent(
        table=reference.table,
        key=tuple(by_parent[one] for one in parent.primary_key) if by_key else reference.columns,
        of=() if by_key else reference.parent_columns,
        blocks=blocks,
        dependents=tuple(_dependent(other, child, tables, parts, twice=False) for other in child.referenced_by)
        if is_part and child is not None
        else (),
        question=question,
    )


def _tags(table: Table, tables: Mapping[str, Table]) -> tuple[TagColumn | TagTable | None, str | None]:
    """Where the tags are, and what is open about them."""
    column = names.tags(table.columns)
    if column is not None:
        return TagColumn(column=column.name), None
    for reference in table.referenced_by:
        child = tables.get(reference.table)
        if child is None or not names.is_tag_table(child.bare_name) or len(reference.columns) > 1:
            continue
        tag = next((column for column in child.columns if names.is_tag_word(column)), None)
        if tag is not None:
            return TagTable(table=child.name, record=reference.columns[0], tag=tag.name), None
        return None, f"{child.name} looks like its tags, but holds numbers for them, not the tags as text"
    return (
        None,
        "no column or table holds tags: derive them from columns (`tags: {rules: ...}`), or let policies use `where`",
    )
