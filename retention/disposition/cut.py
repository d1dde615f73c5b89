"""Taking the due rows of one window out of the source, inside the caller's transaction: read as Arrow, and deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from retention.archive.manifest import KeyValue
from retention.archive.write import Part
from retention.disposition.job import Window
from retention.errors import SourceFailed
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.read import Rows, read_rows
from retention.sources.table import Table

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What left the source, as the archive takes it: the root rows first, then each dependent's."""

    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Records, without their dependents' rows."""
        return int(self.parts[0].rows.num_rows)

    @property
    def dependent_rows(self) -> int:
        """Rows of dependents."""
        return sum(int(part.rows.num_rows) for part in self.parts[1:])

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
    if bound.source.streams_deleted and not bound.dependents:
        return _streamed(session, bound, condition, window, wide, encode)
    return _selected(session, bound, condition, window, encode)


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
    keys = {"after": window.after, "until": window.until}
    build = statements.select_due(bound, condition, **keys)
    parts = [_part(bound.table, bound.record_class.key, read_rows(session, bound.source, bound.table, build))]
    if parts[0].rows.num_rows == 0:
        return Cut(parts=tuple(parts))
    for dependent in bound.dependents:
        build = statements.select_dependents(bound, dependent, condition, **keys)
        found = read_rows(session, bound.source, dependent.table, build)
        parts.append(_part(dependent.table, dependent.table.primary_key or (dependent.key,), found))
    encode(parts)
    for part, deleted in zip(parts, _delete(session, bound, condition, window), strict=True):
        _agree(part.table, part.rows.num_rows, deleted)
    return Cut(parts=tuple(parts))


def _delete(session: Session, bound: BoundClass, condition: ColumnElement[bool], window: Window) -> list[int]:
    """How many rows went: the records, then each dependent's."""
    keys = {"after": window.after, "until": window.until}
    if not bound.dependents:
        return [session.execute(statements.delete_due(bound, condition, **keys))]
    if bound.dialect == "postgresql":
        [counts] = session.rows(statements.delete_with_dependents(bound, condition, **keys))
        return [int(count) for count in counts]
    # SQLite deletes from one table a statement. The write lock is ours since BEGIN IMMEDIATE, so what the statements see
    # is one state; the records go first, while everything that the predicate asks for is still there.
    for statement in statements.keep_batch_keys(bound, condition, **keys):
        session.execute(statement)
    records = session.execute(statements.delete_due(bound, condition, **keys))
    return [
        records,
        *(session.execute(statements.delete_dependents(bound, dependent)) for dependent in bound.dependents),
    ]


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
