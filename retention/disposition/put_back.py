"""The steps of a restore inside its transaction: insert, close circles of references, read back and compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.archive.manifest import FileEntry
from retention.archive.rows import leaves
from retention.errors import Failed, SourceFailed
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent
from retention.sources.column_entry import ColumnEntry
from retention.sources.order import Closing, closings
from retention.sources.read import read_rows
from retention.sources.restored import count_astray, insert_restored, present_restored, refer_restored
from retention.sources.table import Table

if TYPE_CHECKING:
    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class Returned:
    """Archived rows that come back to a table, and what reads them there."""

    table: Table
    file: FileEntry
    rows: pa.Table
    build: statements.Build

    @property
    def placed(self) -> list[ColumnEntry]:
        """The archived columns that today's table has."""
        return [entry for entry in self.file.columns if self.table.column(entry.name) is not None]

    @property
    def unplaced(self) -> set[str]:
        """Those that it does not have."""
        return {entry.name for entry in self.file.columns} - {entry.name for entry in self.placed}

    def values(self, names: Sequence[str] | None = None) -> pa.Table:
        """The archived values of the placed columns, or of these."""
        return self.rows.select([entry.name for entry in self.placed] if names is None else names)


def absent(session: Session, bound: BoundClass, shared: BoundDependent, file: FileEntry, rows: pa.Table) -> pa.Table:
    """Those of the shared rows that are not there now: the others stayed with other records, or came back with them."""
    back = Returned(table=shared.table, file=file, rows=rows, build=statements.select_dependents_by_keys(bound, shared))
    if rows.num_rows == 0 or not {entry.name for entry in back.placed}.issuperset(shared.key):
        return rows
    numbers = pa.array(range(rows.num_rows), pa.int64())
    session.load_temporary(statements.RESTORED, back.values().append_column(statements.PLACE, numbers))
    there = {int(place) for (place,) in session.rows(present_restored(bound, shared.table, shared.key, back.placed))}
    return rows.filter(pa.array([one not in there for one in range(rows.num_rows)], pa.bool_()))


def insert(session: Session, bound: BoundClass, back: Returned) -> None:
    """Insert the rows. What would refer to rows that are put back later is left empty until `close_circles`."""
    closing = _closing(bound, back)
    empty = {name for one in closing for name in one.loose}
    session.load_temporary(statements.RESTORED, back.values())
    try:
        session.execute(insert_restored(bound.source, back.table, back.placed, empty))
    except SourceFailed as error:
        if not empty or type(error) is not SourceFailed:
            raise
        columns = ", ".join(sorted(empty))
        raise SourceFailed(
            f"{error.message} (the rows of {back.table.name} came with {columns} empty, to be set once all others are in)",
            hint=f"{error.hint or 'see what the source says'}; where a CHECK or a unique index of {back.table.name} does not"
            f" allow an empty {columns}, drop it for the time of the restore",
        ) from error


def close_circles(session: Session, bound: BoundClass, back: Sequence[Returned]) -> None:
    """Let rows refer to what was put back after them. Raises Failed where that is not there."""
    for one in back:
        closing = _closing(bound, one)
        if not closing:
            continue
        columns = {name for each in closing for name in each.loose}
        needed = {*columns, *closing[0].key, *(name for each in closing for name in each.reference.columns)}
        entries = [entry for entry in one.placed if entry.name in needed]
        session.load_temporary(statements.RESTORED, one.values([entry.name for entry in entries]))
        for each in closing:
            [(astray,)] = session.rows(count_astray(bound, each, entries))
            if astray:
                raise Failed(
                    f"{each.name}: {astray:,} of the restored rows refer to rows of {each.target.name} that are not there:"
                    " rolled back",
                    hint=f"restore the records with which those rows of {each.target.name} went first, or together with"
                    " these",
                )
        session.execute(refer_restored(bound, one.table, closing[0].key, sorted(columns), entries))


def compare(session: Session, bound: BoundClass, back: Returned, every: Sequence[Returned]) -> None:
    """Read the rows back through the same projection, and compare every value. Raises Failed."""
    archived = back.values()
    as_text = frozenset(entry.name for entry in back.placed if entry.travels != "native")
    found = read_rows(session, bound.source, back.table, back.build, wide=as_text).rows.select(archived.column_names)
    # every archived row must be there, as often as it was archived; rows of others may stand beside a dependent's
    try:
        lost = Counter(leaves(archived)) - Counter(leaves(found.cast(archived.schema)))
    except pa.ArrowException:  # today's column is of a type that cannot even be compared
        lost = Counter(leaves(archived))
    if lost:
        raise Failed(
            f"what was restored to {back.table.name} reads back differently: rolled back", hint=_alters(back, every)
        )


def _closing(bound: BoundClass, back: Returned) -> list[Closing]:
    """The references of the table that are set last. What was archived without one of their columns refers to nothing."""
    there = {entry.name for entry in back.placed}
    return [
        one
        for one in closings(bound)
        if one.table == back.table and there.issuperset((*one.key, *one.reference.columns))
    ]


def _alters(back: Returned, every: Sequence[Returned]) -> str:
    """What may have changed the rows on their way into the table, or when others came."""
    told = [
        f"on insert{'' if one is back else f' into {one.table.name}'} fires {name}: disable it for the time of the restore"
        for one in (back, *(one for one in every if one is not back))
        for name in one.table.insert_triggers
    ]
    for entry in back.placed:
        column = back.table.column(entry.name)
        if column is not None and column.type != entry.type:
            told.append(f"{entry.name} was {entry.type} when it was archived, and is {column.type}")
    return "; ".join(told) or "a trigger, a rule or a changed column type alters what is inserted"
