"""Reading rows for the archive: every value travels without loss, or the column travels as text.

PostgreSQL's Arrow types wrap around at infinity and beyond the years 1 to 9999; SQLite's columns may hold values of
several types; MariaDB's dates need not exist. All are told only by the values, so they are looked at after reading, and the
columns in question are read again as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.sql import Executable

from retention.errors import SourceFailed
from retention.sources.column_entry import ColumnEntry
from retention.sources.mariadb_types import arrow_type
from retention.sources.source import MixedColumn, Session, Source
from retention.sources.sql import column
from retention.sources.sqlite_schema import affinity
from retention.sources.table import Column, Table

#: makes the statement that reads (or deletes, returning) these columns
Build = Callable[[Sequence[sa.ColumnElement[Any]]], Executable]

#: the canonical Arrow type of a native column, by the declared type's first word(s)
_POSTGRESQL_TYPES = {
    "boolean": pa.bool_(),
    "smallint": pa.int64(),
    "integer": pa.int64(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "bytea": pa.binary(),
    "date": pa.date32(),
}
_AFFINITY_TYPES = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
#: SQLite's types by the bits of the mask
_MASK_BITS = {"integer": 1, "real": 2, "text": 4, "blob": 8}
_MASK_TYPES = {1: pa.int64(), 2: pa.float64(), 4: pa.string(), 8: pa.binary()}
#: several types, of which the mask need not tell which
_SEVERAL = 15
_NUMBERS = {"integer": pa.int64(), "real": pa.float64()}
#: columns a mask; 4 bits each, within 63 bits
_MASKED = 15

#: the first and last day, and microsecond, of the years 1 to 9999, since 1970-01-01
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_MICROSECONDS = 86_400_000_000


class Widen(SourceFailed):
    """Some columns hold values that their Arrow type cannot carry. Roll back, and read again with ``columns`` wide."""

    code = "source-widen"
    retryable = True

    def __init__(self, columns: frozenset[str]) -> None:
        super().__init__(f"columns {', '.join(sorted(columns))} hold values that must travel as text")
        self.columns = columns


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was read. ``columns`` describe those of ``rows``, in order; ``wide`` is what a next reading should start with."""

    rows: pa.Table
    columns: tuple[ColumnEntry, ...]
    wide: frozenset[str]


def read_rows(
    session: Session,
    source: Source,
    table: Table,
    build: Build,
    *,
    wide: frozenset[str] = frozenset(),
    repeatable: bool = True,
) -> Rows:
    """Run what ``build`` makes of the table's projections, and return every row.

    Reads again with more columns ``wide`` where the values ask for it; where the statement changes data (``repeatable``
    False), raises Widen instead, and the caller rolls back and begins anew.
    """
    while True:
        projections = [source.projection(one, wide=wide) for one in table.columns]
        sqlite = source.dialect.name == "sqlite"
        masked = _masked(table, wide) if sqlite else ()
        masks = [_mask(masked[at : at + _MASKED]) for at in range(0, len(masked), _MASKED)]
        try:
            found = session.arrow(build([*(projection for projection, _ in projections), *masks]))
        except MixedColumn as error:  # only SELECTs of SQLite raise it; its transaction goes on
            wide |= {table.columns[error.position].name}
            continue
        kinds = _kinds(table, found, masked, wide) if sqlite else {}
        rows, beyond = _canonical(source.dialect.name, table, found, wide, kinds)
        if not beyond:
            entries = tuple(
                ColumnEntry(name=one.name, type=one.type, travels=travels)
                for one, (_, travels) in zip(table.columns, projections, strict=True)
            )
            return Rows(rows=rows, columns=entries, wide=wide)
        if beyond <= wide:
            raise SourceFailed(f"table {table.name}: {', '.join(sorted(beyond))} hold text that is not UTF-8")
        if not repeatable:
            raise Widen(beyond)
        wide |= beyond


def _masked(table: Table, wide: frozenset[str]) -> tuple[Column, ...]:
    """The columns whose Arrow type does not say what they hold. The driver reads as numbers what are numbers without
    exception; where all of them should be of one type by the column's affinity, the mask would tell nothing more."""
    return tuple(one for one in table.columns if one.name not in wide and affinity(one.type) not in _NUMBERS)


def _mask(columns: Sequence[Column]) -> sa.ColumnElement[Any]:
    """One number a row that tells the type of each column's value, 4 bits each."""
    terms = [
        sa.case(_likely_first(one), value=sa.func.typeof(column(one.name)), else_=0).op("<<")(4 * place)
        for place, one in enumerate(columns)
    ]
    total = terms[0]
    for term in terms[1:]:
        total = total.op("|")(term)
    return total


def _likely_first(one: Column) -> dict[str, int]:
    likely = affinity(one.type)
    return dict(sorted(_MASK_BITS.items(), key=lambda bit: bit[0] != likely))


def _kinds(table: Table, found: pa.Table, masked: Sequence[Column], wide: frozenset[str]) -> dict[str, int]:
    """Column -> the types of its values in these rows, as mask bits."""
    width = len(table.columns)
    kinds: dict[str, int] = {}
    for one, values in zip(table.columns, found.columns, strict=False):
        number = _NUMBERS.get(affinity(one.type))
        if number is not None and one.name not in wide:
            if values.null_count == len(values):
                kinds[one.name] = 0
            else:
                kinds[one.name] = _MASK_BITS[affinity(one.type)] if values.type == number else _SEVERAL
    for number, values in enumerate(found.columns[width:]):
        merged = int(np.bitwise_or.reduce(values.to_numpy())) if len(values) else 0
        for place, one in enumerate(masked[number * _MASKED : (number + 1) * _MASKED]):
            kinds[one.name] = merged >> 4 * place & 15
    return kinds


def _canonical(
    dialect: str, table: Table, found: pa.Table, wide: frozenset[str], kinds: dict[str, int]
) -> tuple[pa.Table, frozenset[str]]:
    """The rows in the types that their declared types ask for, and the columns that do not fit into those."""
    beyond = set()
    columns = []
    for one, values in zip(table.columns, found.columns, strict=False):
        arrow, bits = values.type, kinds.get(one.name)
        kind = _mariadb_kind(one, arrow, wide) if dialect == "mysql" else _kind(one, arrow, wide, bits)
        if kind is None or not _fits(values, kind):
            beyond.add(one.name)
        elif values.null_count == len(values):
            columns.append(pa.chunked_array([pa.nulls(len(values), kind)]))
        else:
            columns.append(values.cast(kind))
    if beyond:
        return found, frozenset(beyond)
    return pa.table(columns, names=[one.name for one in table.columns]), frozenset()


def _kind(one: Column, arrow: pa.DataType, wide: frozenset[str], bits: int | None) -> pa.DataType | None:
    """The canonical type; None where SQLite's values are not of the one type that the declaration promises."""
    if bits is not None:
        declared = _AFFINITY_TYPES.get(affinity(one.type)) if one.type.strip() else None
        if bits and (bits not in _MASK_TYPES or declared not in (None, _MASK_TYPES[bits])):
            return None
        return _MASK_TYPES.get(bits, declared or pa.string())
    if one.name in wide:
        return pa.string()
    if pa.types.is_timestamp(arrow):
        return arrow
    return _POSTGRESQL_TYPES.get(one.type, pa.string())


def _mariadb_kind(one: Column, arrow: pa.DataType, wide: frozenset[str]) -> pa.DataType | None:
    """The canonical type; None where some value came as text that is none of it (a date that does not exist)."""
    kind = pa.string() if one.name in wide else arrow_type(one.type)
    return kind if arrow == kind or arrow not in (pa.string(), pa.binary()) else None


def _fits(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    if values.null_count == len(values):
        return True
    if pa.types.is_date(kind):
        return _within(values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY)
    if pa.types.is_timestamp(kind):
        last = (_LAST_DAY + 1) * _DAY_MICROSECONDS - 1
        return _within(values.cast(pa.int64()), _FIRST_DAY * _DAY_MICROSECONDS, last)
    if pa.types.is_string(kind):
        try:
            values.validate(full=True)  # UTF-8, which SQLite does not ask for
        except pa.ArrowInvalid:
            return False
    return True


def _within(values: pa.ChunkedArray, least: int, most: int) -> bool:
    found = pc.min_max(values)
    return bool(found["min"].as_py() >= least and found["max"].as_py() <= most)
