"""What refers to a record, and what the schema says becomes of it: goes with the record, keeps it, or stays without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retention.sources.order import loose_columns
from retention.sources.table import Reference, Table

#: a table with more below it is no part of a record, and its line would be read by nobody
_MOST = 12


@dataclass(frozen=True, kw_only=True)
class ProposedDependent:
    """A table whose rows refer to the record by ``key``, or to the row above it."""

    table: str
    key: tuple[str, ...]
    #: what they refer to, where that is not the key
    of: tuple[str, ...] = ()
    #: they keep the record instead of going with it: rows of the record's own table, or that go by another reference
    blocks: bool = False
    #: they stay, and refer to nothing any more
    detached: bool = False
    #: what refers to its rows in turn
    dependents: tuple[ProposedDependent, ...] = ()
    #: what the schema itself says of them, where a person may want to know
    told: str = ""
    #: None where its rows are plainly a part of the record; else why a person must decide
    question: str | None = None


def proposed_dependents(
    table: Table, tables: Mapping[str, Table], parts: Mapping[str, str]
) -> tuple[ProposedDependent, ...]:
    """Every level of what refers to rows of the table; ``parts`` are plainly parts of a table, by their names."""
    return _level(table, tables, parts, {table.name}, frozenset({table.name}))


def below(table: Table, tables: Mapping[str, Table], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The tables that refer to the table, to those, and so on."""
    found = seen
    for name in {reference.table for reference in table.referenced_by} - seen:
        found |= {name}
        if name in tables:
            found = below(tables[name], tables, found)
    return found


def _level(
    parent: Table, tables: Mapping[str, Table], parts: Mapping[str, str], taken: set[str], path: frozenset[str]
) -> tuple[ProposedDependent, ...]:
    """``taken`` are the tables whose rows go, or are detached, by what is proposed so far; rows do so at one place."""
    blocking = []
    for reference in parent.referenced_by:
        blocking.append(reference.table in taken)
        taken.add(reference.table)
    found: list[ProposedDependent] = []
    for reference, blocks in zip(parent.referenced_by, blocking, strict=True):
        first = next((one for one in found if one.table == reference.table), None)
        found.append(_one(reference, parent, tables, parts, taken, path, blocks=blocks, first=first))
    return tuple(found)


def _one(
    reference: Reference,
    parent: Table,
    tables: Mapping[str, Table],
    parts: Mapping[str, str],
    taken: set[str],
    path: frozenset[str],
    *,
    blocks: bool,
    first: ProposedDependent | None,
) -> ProposedDependent:
    """``first`` is what is proposed of the same table by another reference to the parent."""
    by_parent = dict(zip(reference.parent_columns, reference.columns, strict=True))
    by_key = set(by_parent) == set(parent.primary_key)
    child = tables.get(reference.table)
    # rows without a primary key could not be told apart when they are attached again
    detached = not blocks and reference.on_delete == "SET NULL" and child is not None and child.primary_key != ()
    dependents: tuple[ProposedDependent, ...] = ()
    question: str | None = None
    if blocks:
        if reference.table in path - {parent.name} and not _may_close(reference, tables):
            question = "they must refer to it, in a circle: nothing could be put back"
        elif first is not None and first.question is not None:
            question = (
                f"{reference.table} refers to it a second time, by {', '.join(reference.columns)}: a list under its name"
                " says both, one of them with `then: block`"
            )
    elif not detached:
        circle = child is not None and not path.isdisjoint(below(child, tables))
        if child is not None and (not circle or _belongs(reference, child)):
            by_now = set(taken)
            dependents, question = _further(child, tables, parts, by_now, path)
            if not circle or question is None:
                taken |= by_now
        if circle and (not dependents or question is not None):
            dependents = ()
            question = (
                f"rows of {parent.name} belong to its rows in turn, in a circle: say `then: detach`, or `then: block`"
            )
        elif reference.on_delete == "SET NULL":
            question = "the database lets its rows stay without it, and they have no key by which to be attached again"
        elif question is None and reference.on_delete != "CASCADE" and parts.get(reference.table) != parent.name:
            question = "its rows may be records of their own"
    return ProposedDependent(
        table=reference.table,
        key=tuple(by_parent[one] for one in parent.primary_key) if by_key else reference.columns,
        of=() if by_key else reference.parent_columns,
        blocks=blocks,
        detached=detached,
        dependents=dependents,
        told=_told(reference, parts, blocks=blocks, detached=detached),
        question=question,
    )


def _further(
    child: Table, tables: Mapping[str, Table], parts: Mapping[str, str], taken: set[str], path: frozenset[str]
) -> tuple[tuple[ProposedDependent, ...], str | None]:
    """What refers to the child's rows, and what is to be decided of it."""
    by_now = set(taken)
    found = _level(child, tables, parts, by_now, path | {child.name})
    if _count(found) > _MOST:
        return (), f"{', '.join(sorted({one.table for one in found}))} refer to its rows in turn"
    taken |= by_now
    asking = sorted({one.table for one in found if one.question is not None})
    return found, f"{', '.join(asking)} refer to its rows in turn" if asking else None


def _belongs(reference: Reference, child: Table) -> bool:
    """Whether, of tables that refer to one another, the child's rows are what belongs to the others: they cannot be
    without them, or the database lets them go with them."""
    columns = [child.column(one) for one in reference.columns]
    return reference.on_delete == "CASCADE" or any(one is not None and not one.nullable for one in columns)


def _may_close(reference: Reference, tables: Mapping[str, Table]) -> bool:
    """Whether a restore can leave the reference empty until what it refers to is there."""
    child = tables.get(reference.table)
    return child is not None and loose_columns(child, child.primary_key, reference) != ()


def _count(dependents: tuple[ProposedDependent, ...]) -> int:
    return sum(1 + _count(one.dependents) for one in dependents)


def _told(reference: Reference, parts: Mapping[str, str], *, blocks: bool, detached: bool) -> str:
    if blocks:
        return "a record stays while others refer to it"
    if detached:
        return "ON DELETE SET NULL: they stay, and refer to nothing any more"
    if reference.on_delete == "CASCADE" and reference.table not in parts:
        return "ON DELETE CASCADE: the database itself lets them go with it"
    return ""
