"""Taking the due rows of one window out of the source, inside the caller's transaction: read as Arrow, and deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from retention.archive.manifest import KeyValue
from retention.archive.write import Part
from retention.disposition.archived_values import as_text
from retention.disposition.job import Window
from retention.errors import SourceFailed
from retention.policy.dependent import Then
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent
from retention.sources.literal import value_of
from retention.sources.read import Rows, read_rows
from retention.sources.source import SourceBusy
from retention.sources.table import Table

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable

    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What left the source, as the archive takes it: the root rows first, then each dependent's."""

    parts: tuple[Part, ...]
    #: rows of dependents that went: not those that were detached, nor shared ones that stay with other records
    dependent_rows: int = 0
    #: the last key of a window that was given by ``rows``; None where nothing due lies beyond
    until: tuple[object, ...] | None = None

    @property
    def rows(self) -> int:
        """Records, without their dependents' rows."""
        return int(self.parts[0].rows.num_rows)

    @property
    def bytes(self) -> int:
        """Arrow's size of it all."""
        return sum(int(part.rows.nbytes) for part in self.parts)


def cut(
    session: Session,
    bound: BoundClass,
    condition: ColumnElement[bool],
    window: Window,
    wide: frozenset[str],
    encode: Callable[[Sequence[Part]], object],
) -> Cut:
    """Read and delete; ``encode`` is handed the rows as soon as they are read, to write them while the deletion goes on.

    Raises Widen where columns must travel as text, with the transaction to be rolled back, and SourceFailed where the
    source deleted another number of rows than was read.
    """
    if window.rows is not None:
        return _locked(session, bound, condition, window.after, window.rows, encode)
    if bound.source.streams_deleted and not bound.changed:
        return _streamed(session, bound, condition, window, wide, encode)
    return _selected(session, bound, condition, window, encode)


def last_key(part: Part) -> tuple[object, ...]:
    """The key of the last row, as windows take it."""
    last = part.rows.slice(part.rows.num_rows - 1)
    literal = {entry.name for entry in part.columns if entry.travels == "literal"}
    values = ((name, last[name][0].as_py()) for name in part.key)
    plain = (value_of(value) if name in literal else value for name, value in values)
    return tuple(value if isinstance(value, int | str) else as_text(value) for value in plain)


def key_range(part: Part) -> tuple[KeyValue, KeyValue]:
    """The least and greatest value of the key's first column, numbers by number and text by codepoint."""
    column = part.rows[part.key[0]]
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type):
        found = pc.min_max(column)
        return found["min"].as_py(), found["max"].as_py()
    return None, None  # of other types the order is the database's own: any file may hold the key


def _streamed(
    session: Session,
    bound: BoundClass,
    condition: ColumnElement[bool],
    window: Window,
    wide: frozenset[str],
    encode: Callable[[Sequence[Part]], object],
) -> Cut:
    build = statements.delete_due_returning(bound, condition, after=window.after, until=window.until)
    found = read_rows(session, bound.source, bound.table, build, wide=wide, repeatable=False)
    _agree(bound.table, found.rows.num_rows, session.deleted_in_transaction(bound.table))
    taken = Cut(parts=(_part(bound.table, bound.record_class.key, found),))
    if taken.rows:
        encode(taken.parts)
    return taken


def _selected(
    session: Session,
    bound: BoundClass,
    condition: ColumnElement[bool],
    window: Window,
    encode: Callable[[Sequence[Part]], object],
) -> Cut:
    """Select, then delete under the same predicate: every statement of the transaction sees one state of the data."""
    after, until = window.after, window.until
    build = statements.select_due(bound, condition, after=after, until=until)
    parts = [_part(bound.table, bound.record_class.key, read_rows(session, bound.source, bound.table, build))]
    if parts[0].rows.num_rows == 0:
        return Cut(parts=tuple(parts))
    parts += [
        _dependent_part(
            session,
            bound,
            dependent,
            statements.select_dependents(bound, dependent, condition, after=after, until=until),
        )
        for dependent in bound.changed
    ]
    encode(parts)
    window_due = sa.and_(condition, statements.in_window(bound, after, until))
    going = _going(session, bound, parts, lambda one: statements.count_dependents(bound, one, window_due))
    with referred_meanwhile():
        [counts] = session.rows(statements.delete_with_dependents(bound, condition, after=after, until=until))
    for part, expected, deleted in zip(parts, going, counts, strict=True):
        _agree(part.table, expected, int(deleted))
    return Cut(parts=tuple(parts), dependent_rows=_dependent_rows(parts, going))


def _locked(
    session: Session,
    bound: BoundClass,
    condition: ColumnElement[bool],
    after: tuple[object, ...] | None,
    rows: int,
    encode: Callable[[Sequence[Part]], object],
) -> Cut:
    """SQLite and MySQL, which delete from one table a statement; the records go first, while all that the predicate asks
    for is still there, then the lowest dependents, while what is above them still says to which record they belong.

    On SQLite the write lock is ours since BEGIN IMMEDIATE, so nobody changes anything between the statements. On MySQL keys
    are noted first, without a lock; then their rows are read as they are by then, and locked; then those among the noted
    that still fulfil the whole predicate are deleted. Whatever came or changed in between makes a count differ, and the
    batch is tried again: as many were deleted as were noted and read, so they are the same.
    """
    noted: int | None = None
    locks_rows = bound.dialect == "mysql"
    if bound.changed or locks_rows:
        chosen = statements.batch_keys(bound, condition, after=after, rows=rows)
        noted = session.keep_temporary(statements.BATCH_KEYS, chosen, bound.record_class.key)
        build = statements.select_batch(bound)
    else:
        build = statements.select_due(bound, condition, after=after, until=None, rows=rows)
    parts = [_part(bound.table, bound.record_class.key, read_rows(session, bound.source, bound.table, build))]
    if locks_rows and parts[0].rows.num_rows != noted:
        raise _changed(bound.table.name)
    if parts[0].rows.num_rows == 0:
        return Cut(parts=tuple(parts))
    until = last_key(parts[0])
    parts += [
        _dependent_part(session, bound, dependent, statements.select_batch_dependents(bound, dependent))
        for dependent in bound.changed
    ]
    encode(parts)
    going = _going(session, bound, parts, lambda one: statements.count_batch_dependents(bound, one))
    deleting = statements.delete_due(bound, condition, after=after, until=until)
    changes: list[tuple[Part, int, Executable]] = [(parts[0], going[0], deleting)]
    for part, expected, dependent in reversed(list(zip(parts[1:], going[1:], bound.changed, strict=True))):
        changes.append((part, expected, statements.delete_dependents(bound, dependent)))
    for part, expected, change in changes:
        changed = session.execute(change)
        if locks_rows and changed != expected:
            raise _changed(part.table)
        _agree(part.table, expected, changed)
    return Cut(
        parts=tuple(parts),
        dependent_rows=_dependent_rows(parts, going),
        until=until if parts[0].rows.num_rows == rows else None,
    )


def _going(
    session: Session, bound: BoundClass, parts: Sequence[Part], count: Callable[[BoundDependent], Executable]
) -> list[int]:
    """How many rows of each part go, or are detached: all, but of shared ones, and what is below them, those that ``count``
    counts. The others are archived with their record, and stay with other records."""
    going = [int(part.rows.num_rows) for part in parts]
    for place, one in enumerate(bound.changed, start=1):
        if one.then is not Then.DETACH and (one.shared or one.under is not None):
            [(going[place],)] = session.rows(count(one))
    return going


def _dependent_rows(parts: Sequence[Part], going: Sequence[int]) -> int:
    return sum(count for part, count in zip(parts[1:], going[1:], strict=True) if not part.detached)


def _dependent_part(session: Session, bound: BoundClass, dependent: BoundDependent, build: statements.Build) -> Part:
    table, key = dependent.table, dependent.table.primary_key or dependent.key
    detached = dependent.then is Then.DETACH
    if detached:  # its rows stay: what they referred to is all that is lost
        table = replace(table, columns=tuple(one for one in table.columns if one.name in (*key, *dependent.key)))
    return replace(_part(table, key, read_rows(session, bound.source, table, build)), detached=detached)


@contextlib.contextmanager
def referred_meanwhile() -> Iterator[None]:
    """Raises SourceBusy where the source refuses to let rows go to which something refers. Every reference is declared and
    went first, so that this one has come since the rows were looked at; the next attempt sees it."""
    try:
        yield
    except SourceFailed as error:
        if getattr(error, "sqlstate", None) != "23503":  # PostgreSQL's foreign_key_violation
            raise
        raise SourceBusy(
            f"{error.message}: a row that refers to what goes came meanwhile", hint="it is tried again"
        ) from error


def _changed(table: str) -> SourceBusy:
    return SourceBusy(f"rows of {table} changed while they were read: rolled back", hint="it is tried again")


def _agree(table: Table | str, read: int, deleted: int | None) -> None:
    """The last check before a commit may be thought of: what was read is what was deleted."""
    if deleted is not None and deleted != read:
        name = table if isinstance(table, str) else table.name
        raise SourceFailed(
            f"{read:,} rows of {name} were read and {deleted:,} deleted: rolled back, nothing is lost",
            hint="a trigger or rule of the database changes what is deleted; `retention validate` names it if it can",
        )


def _part(table: Table, key: tuple[str, ...], found: Rows) -> Part:
    return Part(table=table.name, key=key, columns=found.columns, rows=found.rows)
