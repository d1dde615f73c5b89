"""Binding what is declared under a record: whether it fits the tables, and whether anything else refers to what goes.

Every foreign key to a row that goes must be declared: CASCADE would delete rows that were never archived, SET NULL and
SET DEFAULT would change rows that stay, RESTRICT and NO ACTION would fail, deferred ones at the very commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from retention.policy.dependent import Dependent, Then, every
from retention.policy.mark import Problem
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagTable
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent, as_class, comparable
from retention.sources.check import check_condition
from retention.sources.order import Closing, closings, own_reference
from retention.sources.table import Kind, Reference, Table
from retention.sources.unfit import mark_of, no_column


def named_tables(record_class: RecordClass) -> Iterator[tuple[str, str]]:
    """Each table that the class names beside its own, with its path below the class."""
    for dependent, path in every(record_class.dependents):
        yield dependent.table, path
    if isinstance(record_class.tags, TagTable):
        yield record_class.tags.table, "tags.table"


def unfit_dependents(record_class: RecordClass, table: Table, found: Mapping[str, Table]) -> Iterator[Problem]:
    """What of the declaration does not fit ``table``, the class's own, and those ``found`` by the names it uses."""
    yield from _unfit_level(record_class, record_class.dependents, "dependents", table, record_class.key, found, False)
    yield from _taken_twice(record_class, table, found)
    if isinstance(record_class.tags, TagTable):
        yield from _unfit_tag_table(record_class, record_class.tags, table, found.get(record_class.tags.table))


def _unfit_level(
    record_class: RecordClass,
    dependents: Sequence[Dependent],
    path: str,
    above: Table,
    key: tuple[str, ...],
    found: Mapping[str, Table],
    shared: bool,
) -> Iterator[Problem]:
    """``key`` is what the level's tables refer to where they do not say otherwise; ``shared``: it is below shared rows."""
    for one in dependents:
        here, of = f"{path}.{one.table}", key if one.of is None else one.of
        if one.of is None and not key:
            message = f'"{one.table}" refers to rows of {above.name}, which has no primary key'
            remedy = "say `of:` and the unique column of it that is referred to"
            yield Problem(mark=mark_of(record_class, here), message=message, remedy=remedy)
        elif len(one.key) != len(of):
            message = f'"{one.table}" refers by {_count(one.key)} to {_count(of)} of {above.name}: {", ".join(of)}'
            remedy = "write under `key` as many columns, in this order"
            yield Problem(mark=mark_of(record_class, f"{here}.key"), message=message, remedy=remedy)
        if one.of is not None:
            yield from _unfit_of(record_class, one, f"{here}.of", above)
        if one.then is Then.LAST and shared:
            message = f'"{one.table}" is shared by rows of {above.name} that are themselves shared'
            remedy = "say `then: block` of what refers to it there, or leave it out: its rows stay"
            yield Problem(mark=mark_of(record_class, here), message=message, remedy=remedy)
        table = found.get(one.table)
        if table is not None:
            if one.then is Then.LAST and all(table.column(name) is not None for name in one.key):
                yield from _not_unique(record_class, one.key, f"{here}.key", table)
            yield from (
                no_column(record_class, table, name, f"{here}.key") for name in one.key if table.column(name) is None
            )
            below, inside = f"{here}.dependents", shared or one.then is Then.LAST
            yield from _unfit_level(record_class, one.dependents, below, table, table.primary_key, found, inside)


def _unfit_of(record_class: RecordClass, dependent: Dependent, path: str, above: Table) -> Iterator[Problem]:
    of = dependent.of or ()
    missing = [name for name in of if above.column(name) is None]
    yield from (no_column(record_class, above, name, path) for name in missing)
    if not missing and dependent.then is not Then.LAST:
        yield from _not_unique(record_class, of, path, above)


def _not_unique(record_class: RecordClass, columns: tuple[str, ...], path: str, table: Table) -> Iterator[Problem]:
    unique = {frozenset(one) for one in (table.primary_key, *table.unique_keys) if one}
    if frozenset(columns) not in unique:
        text = ", ".join(columns)
        message = f'"{text}" is not unique in {table.name}, so that what refers to it may belong to several rows'
        yield Problem(mark=mark_of(record_class, path), message=message, remedy="name a unique column, or the key")


def _taken_twice(record_class: RecordClass, table: Table, found: Mapping[str, Table]) -> Iterator[Problem]:
    """Rows that go, or are detached, do so at one place, with one archive file of their table."""
    taken = {(table.schema, table.bare_name): "it is the class's own table"}
    for one, path in every(record_class.dependents):
        if one.then is Then.BLOCK or one.table not in found:
            continue
        place = (found[one.table].schema, found[one.table].bare_name)
        if place in taken:
            yield Problem(
                mark=mark_of(record_class, path),
                message=f'the rows of "{one.table}" cannot go here: {taken[place]}',
                remedy="say `then: block` here: a record stays while rows refer to it that do not go with it",
            )
        taken.setdefault(place, "they go with what they refer to elsewhere")


def _unfit_tag_table(record_class: RecordClass, tags: TagTable, own: Table, table: Table | None) -> Iterator[Problem]:
    if len(tags.record) != len(record_class.key):
        key = f"{_count(record_class.key)} of {own.name}: {', '.join(record_class.key)}"
        message = f'"{tags.table}" refers by {_count(tags.record)} to {key}'
        remedy = "write under `record` as many columns, in this order"
        yield Problem(mark=mark_of(record_class, "tags.record"), message=message, remedy=remedy)
    if table is None:
        return
    yield from (
        no_column(record_class, table, name, "tags.record") for name in tags.record if table.column(name) is None
    )
    column = table.column(tags.tag)
    if column is None:
        yield no_column(record_class, table, tags.tag, "tags.tag")
    elif column.kind is not Kind.TEXT:
        message = f'column "{column.name}" of {table.name} is {column.type}, which holds no tags'
        yield Problem(mark=mark_of(record_class, "tags.tag"), message=message, remedy="name a column of text")


def unfit_values(bound: BoundClass) -> Iterator[Problem]:
    """Columns that can never be equal to what they refer to, and conditions that do not fit the dependent's table."""
    tag_table = () if bound.tag_table is None or bound.tag_table in bound.declared else (bound.tag_table,)
    for one in (*bound.declared, *tag_table):
        above = bound.table if one.parent is None else one.parent.table
        for place, (name, of) in enumerate(zip(one.key, one.of, strict=True)):
            if not comparable(bound, one, above, place):
                types = [table.column(column) for table, column in ((one.table, name), (above, of))]
                child, parent = (found.type for found in types if found is not None)
                message = (
                    f'"{name}" of {one.table.name} is {child}, and "{of}" of {above.name}, to which it refers, {parent}'
                )
                yield Problem(mark=one.mark, message=message, remedy="name columns of one type")
        if one.then is Then.DETACH:
            yield from _undetachable(one)
        if one.when is not None:
            yield from check_condition(as_class(bound, one), one.when, bound.zone)


def _undetachable(dependent: BoundDependent) -> Iterator[Problem]:
    """Why the rows cannot be let refer to nothing, and back again."""
    table = dependent.table
    what = f'the rows of "{table.name}" cannot be detached'
    if not table.primary_key:
        remedy = "give it one, or say `then: block`"
        yield Problem(mark=dependent.mark, message=f"{what}: it has no primary key to know them by", remedy=remedy)
    for name in dependent.key:
        column = table.column(name)
        if column is not None and (not column.nullable or column.generated or name in table.primary_key):
            told = "is computed" if column.generated else "may not be null"
            remedy = "say `then: block`, or let them go with the record"
            yield Problem(mark=dependent.mark, message=f"{what}: {name} {told}", remedy=remedy)


def dangerous_references(bound: BoundClass) -> Iterator[tuple[str, str]]:
    """What the database would do by itself to rows that nobody declared, or would refuse: (what, the remedy)."""
    fast = [one for one in closings(bound) if not one.loose]
    shared = {own_reference(bound, one) for one in bound.shared}
    for above in (None, *bound.dependents):
        for reference in (bound.table if above is None else above.table).referenced_by:
            if all(reference != one.reference for one in fast) and reference not in shared:
                yield from _undeclared(bound, above, reference)
    for dependent in bound.shared:
        yield from _unsafely_shared(bound, dependent)
    for one in fast:
        told, columns = one.target.name, ", ".join(one.reference.columns)
        yield (
            f"{one.name} refers to {told}, whose rows refer to it in turn: in a circle nothing could be put back, unless"
            f" {columns} may be null for a while, which {_bound_to(one)}",
            f"let {columns} of {one.table.name} be null, or drop the foreign key, or take {told} out of the dependents, and"
            " its foreign key too",
        )


def _unsafely_shared(bound: BoundClass, shared: BoundDependent) -> Iterator[tuple[str, str]]:
    """Why nobody can tell, or not surely, which reference to the rows is the last."""
    table, above = shared.table, bound.table if shared.parent is None else shared.parent.table
    if own_reference(bound, shared) is None:
        of, key = ", ".join(shared.of), ", ".join(shared.key)
        yield (
            f"{above.name} ({of}) shares rows of {table.name} by no foreign key, so that nothing keeps another row from"
            " referring to one of them in the moment in which it goes",
            f"give {above.name} a foreign key ({of}) to {table.name} ({key}), or leave {table.name} out: its rows stay",
        )
    below = [one.table for one in bound.dependents if one.under is not None]
    for one in bound.declared:
        if one.under is shared and one.then is Then.BLOCK and one.table in below:
            yield (
                f"rows of {one.table.name} keep shared rows of {table.name}, and go with other shared rows themselves: which"
                " of them are the last cannot be told at once",
                f"leave {table.name} out of the dependents: its rows stay",
            )
    if any(table.is_named(one.table) for one in table.referenced_by):
        yield (
            f"rows of {table.name} are shared, and refer to one another: a row to which another of them refers would stay"
            " for ever",
            f"leave {table.name} out of the dependents: its rows stay",
        )


def _bound_to(closing: Closing) -> str:
    """Why the reference cannot be left empty for a while."""
    if not closing.key:
        return f"is no use without a primary key of {closing.table.name} to find the row again"
    columns = [closing.table.column(one) for one in closing.reference.columns]
    if any(one is not None and one.nullable and not one.generated for one in columns):
        return "a key of which it is a part, or MATCH FULL, does not allow"
    return "it may not"


def _undeclared(bound: BoundClass, above: BoundDependent | None, reference: Reference) -> Iterator[tuple[str, str]]:
    table = bound.table if above is None else above.table
    declared = [one for one in bound.declared if one.parent is above and one.table.is_named(reference.table)]
    wanted = dict(zip(reference.columns, reference.parent_columns or table.primary_key, strict=False))
    fitting = [one for one in declared if dict(zip(one.key, one.of, strict=True)) == wanted]
    if any(one.when is None for one in fitting):
        return
    whom, under = ("it", "the class") if above is None else (f"its dependent {table.name}", table.name)
    where = f"{reference.table} ({', '.join(reference.columns)}) refers to {whom}, ON DELETE {reference.on_delete}"
    line = _line(bound, above, reference, wanted, declared=bool(declared))
    if fitting:
        yield (
            f"{where}, by a foreign key, so that each of its rows does, and not only those that `when` tells",
            f"leave `when` out under `dependents:`:  {line}",
        )
    elif right := [one for one in declared if _is_reference(one, table)]:
        every = ", ".join([*map(_said, right), f"{line.partition(': ')[2].removesuffix('}')}, then: block}}"])
        yield f"{where}, as it does by {', '.join(right[0].key)}", _write(f"{reference.table}: [{every}]")
    elif declared:
        yield f"{where}, but it is declared with the key {', '.join(declared[0].key)}", _write(line)
    elif reference.table == table.name:
        what = "records refer to one another" if above is None else "its rows refer to one another"
        yield f"{where}: {what}", f"add under `dependents:` of {under}:  {line}"
    else:
        yield f"{where}, and is not declared", f"add under `dependents:` of {under}:  {line}"


def _write(line: str) -> str:
    return f"write under `dependents:`  {line}"


def _is_reference(dependent: BoundDependent, above: Table) -> bool:
    """Whether a foreign key is what is declared."""
    said = dict(zip(dependent.key, dependent.of, strict=True))
    return any(
        dependent.table.is_named(one.table)
        and said == dict(zip(one.columns, one.parent_columns or above.primary_key, strict=False))
        for one in above.referenced_by
    )


def _said(dependent: BoundDependent) -> str:
    """The declaration of a reference to the key, as it stands there."""
    then = "" if dependent.then is Then.DELETE else f", then: {dependent.then.value}"
    return f"{{key: {_listed(dependent.key)}{then}}}"


def _line(
    bound: BoundClass, above: BoundDependent | None, reference: Reference, wanted: Mapping[str, str], *, declared: bool
) -> str:
    """The declaration of a reference, as it may be pasted; ``declared``: its table is declared there by other columns."""
    usual = bound.record_class.key if above is None else above.table.primary_key
    by_parent = {parent: child for child, parent in wanted.items()}
    fits = set(by_parent) == set(usual)
    key = [by_parent[one] for one in usual] if fits else list(wanted)
    words = [f"key: {_listed(key)}"] + ([] if fits else [f"of: {_listed(list(wanted.values()))}"])
    taken = (bound.table, *(one.table for one in bound.declared if one.then is not Then.BLOCK))
    shared = above is not None and above.shared  # what else refers to it keeps it, unless a person says otherwise
    if shared or (not declared and any(table.is_named(reference.table) for table in taken)):
        words.append("then: block")  # its rows go, or stay, by what is declared of them elsewhere
    return f"{reference.table}: {{{', '.join(words)}}}"


def _listed(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"[{', '.join(columns)}]"


def _count(columns: Sequence[str]) -> str:
    return "one column" if len(columns) == 1 else f"{len(columns)} columns"
