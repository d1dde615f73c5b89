"""Records as `policy/decide.py` takes them: plain Python values, and their tags."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.holds.scope import Key
from retention.policy.decide import Record, tags_of
from retention.policy.record_class import ClockPart
from retention.policy.tags import TagColumn, TagTable
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import belongs_to_this
from retention.sources.literal import value_of
from retention.sources.mariadb_types import in_utf8
from retention.sources.sql import Bool, of_rows, rows_of
from retention.sources.statements import is_key
from retention.sources.table import Column, Kind, Table

if TYPE_CHECKING:
    from retention.sources.source import Session

_Row = dict[str, object]


def read_record(
    session: Session, bound: BoundClass, key: Key, zone: ZoneInfo, clocks: Iterable[str | None] = ()
) -> Record | None:
    """The record of that key as it is now, or None. ``zone`` is the policies' time zone, ``clocks`` those that they name.
    Raises SourceFailed."""
    found = read_records(session, bound, is_key(bound, key), zone, clocks)
    return found[0] if found else None


def read_records(
    session: Session, bound: BoundClass, condition: Bool, zone: ZoneInfo, clocks: Iterable[str | None] = ()
) -> list[Record]:
    """The records that fulfil the condition, in key order; all of them stand in memory. Raises SourceFailed."""
    rows = _read(session, bound, bound.table, bound.rows, condition, bound.key)
    joined = _joined_tags(session, bound, condition)
    related = {part.path: (part, _related(session, bound, part, condition)) for part in _kin_parts(bound, clocks)}
    return [
        replace(
            _record(bound, row, joined, zone),
            related={path: tuple(found.get(_own(bound, part, row), ())) for path, (part, found) in related.items()},
        )
        for row in rows
    ]


def _joined_tags(session: Session, bound: BoundClass, condition: Bool) -> dict[tuple[str, ...], list[object]]:
    """Key of a record that fulfils the condition -> its tags in the join table. The database says what refers to what: by a
    column's collation or type two values may be equal there that are not equal here."""
    source, join = bound.record_class.tags, bound.tag_table
    if not isinstance(source, TagTable) or join is None:
        return {}
    pick = _PICKS[bound.dialect]
    tag_column = join.table.column(source.tag)
    assert tag_column is not None, "binding made sure that the column is there"
    picked = [*(pick(bound, bound.rows, one) for one in bound.key_columns), pick(bound, join.rows, tag_column)]
    statement = sa.select(*(expression.label(f"c{place}") for place, (expression, _) in enumerate(picked)))
    rows = session.rows(
        statement.select_from(bound.rows, join.rows)
        .where(condition, belongs_to_this(bound, join))
        .order_by(*bound.key, join.rows.c[source.tag])
    )
    found: dict[tuple[str, ...], list[object]] = {}
    for values in rows:
        *key, tag = (None if value is None else read(value) for value, (_, read) in zip(values, picked, strict=True))
        found.setdefault(tuple(map(repr, key)), []).append(tag)
    return found


def _kin_parts(bound: BoundClass, clocks: Iterable[str | None]) -> list[ClockPart]:
    """The parts of the class's and the named clocks that stand in other tables."""
    named = dict.fromkeys(filter(None, (bound.record_class.created, *clocks)))
    return [part for clock in named for part in bound.record_class.clock_parts(clock) if part.kin is not None]


def _own(bound: BoundClass, part: ClockPart, row: _Row) -> object:
    """What the part's rows refer to, or what refers to them."""
    assert part.kin is not None, "only parts in other tables are asked for"
    return row[bound.kin(part.kin)[2]]


def _related(session: Session, bound: BoundClass, part: ClockPart, condition: Bool) -> dict[object, list[object]]:
    """What belongs to the records that fulfil the condition -> the values of the part's column there."""
    assert part.kin is not None, "only parts in other tables are asked for"
    table, key, own = bound.kin(part.kin)
    rows = rows_of(table)
    chosen = sa.select(bound.column(own)).select_from(bound.rows).where(condition).correlate_except(bound.rows)
    asked = replace(table, columns=tuple(one for one in table.columns if one.name in (key, part.column)))
    found: dict[object, list[object]] = {}
    for row in _read(session, bound, asked, rows, rows.c[key].in_(chosen), [rows.c[key]]):
        found.setdefault(row[key], []).append(row[part.column])
    return found


def _record(bound: BoundClass, row: _Row, joined: dict[tuple[str, ...], list[object]], zone: ZoneInfo) -> Record:
    declared = bound.record_class
    raw: object = None
    is_json = False
    match declared.tags:
        case TagColumn(column=column):
            raw = row[column]
            is_json = bound.described(column).kind is Kind.JSON
        case TagTable():
            raw = joined.get(tuple(repr(row[one]) for one in declared.key), [])
    return Record(values=row, tags=tags_of(row, declared, raw, zone, is_json=is_json))


def _read(
    session: Session,
    bound: BoundClass,
    table: Table,
    rows: sa.FromClause,
    condition: Bool,
    order: Sequence[sa.ColumnElement[Any]],
) -> list[_Row]:
    pick = _PICKS[bound.dialect]
    picked = [pick(bound, rows, one) for one in table.columns]
    statement = sa.select(*(expression.label(f"c{place}") for place, (expression, _) in enumerate(picked)))
    return [
        {
            one.name: None if value is None else read(value)
            for one, (_, read), value in zip(table.columns, picked, values, strict=True)
        }
        for values in session.rows(statement.select_from(rows).where(condition).order_by(*order))
    ]


_Picked = tuple[sa.ColumnElement[Any], Callable[[Any], object]]


def _sqlite_column(bound: BoundClass, rows: sa.FromClause, one: Column) -> _Picked:
    alone, _ = bound.source.projection(one, wide=frozenset({one.name}))
    return of_rows(alone, rows), value_of


def _postgresql_column(bound: BoundClass, rows: sa.FromClause, one: Column) -> _Picked:
    plain = rows.c[one.name]
    text = sa.cast(plain, sa.Text())
    match one.kind:
        case Kind.INTEGER | Kind.BOOLEAN:
            return plain, _same
        case Kind.NUMBER:
            return (text, Decimal) if one.type.startswith("numeric") else (plain, float)
        case Kind.DATE:
            return text, _date
        case Kind.WALL:
            return text, _wall
        case Kind.INSTANT:
            return text, _instant
        case Kind.BINARY:
            return text, lambda shown: bytes.fromhex(shown.removeprefix("\\x"))
        case Kind.TEXT_ARRAY:
            return sa.cast(sa.func.to_jsonb(plain), sa.Text()), json.loads
        case _:
            return text, _same


def _mariadb_column(bound: BoundClass, rows: sa.FromClause, one: Column) -> _Picked:
    plain = rows.c[one.name]
    match one.kind:
        case Kind.INTEGER:
            return plain, _same
        case Kind.NUMBER:
            decimal = one.type.startswith("decimal")
            return (sa.cast(plain, sa.Text()), Decimal) if decimal else (plain.op("*")(sa.literal_column("1e0")), float)
        case Kind.DATE:
            return sa.cast(plain, sa.Text()), _real(date.fromisoformat)
        case Kind.WALL:
            return sa.cast(plain, sa.Text()), _real(datetime.fromisoformat)
        case Kind.INSTANT:
            return sa.cast(plain, sa.Text()), _real(lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC))
        case Kind.TEXT | Kind.JSON:
            return in_utf8(plain), _same
        case Kind.BINARY:
            return sa.func.hex(plain), bytes.fromhex
        case _:
            return sa.func.hex(plain), _same


def _real(read: Callable[[str], object]) -> Callable[[str], object]:
    """A date that does not exist, which is no time, as text."""

    def read_real(text: str) -> object:
        try:
            return read(text)
        except ValueError:
            return text

    return read_real


_PICKS = {"sqlite": _sqlite_column, "postgresql": _postgresql_column, "mysql": _mariadb_column}


def _same(value: object) -> object:
    return value


def _date(text: str) -> object:
    """-infinity, which is no time, as text; the first or last day for what Python cannot say."""
    beyond = _beyond(text)
    if beyond is not None:
        return text if beyond == 0 else (date.max if beyond > 0 else date.min)
    return date.fromisoformat(text)


def _wall(text: str) -> object:
    beyond = _beyond(text)
    if beyond is not None:
        return text if beyond == 0 else (datetime.max if beyond > 0 else datetime.min)
    return datetime.fromisoformat(text)


def _instant(text: str) -> object:
    moment = _wall(text)
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.tzinfo is None else moment


def _beyond(text: str) -> int | None:
    """0 for -infinity, 1 beyond year 9999, -1 before year 1, else None."""
    if text == "-infinity":
        return 0
    if text == "infinity" or (not text.endswith("BC") and text.index("-") > 4):
        return 1
    return -1 if text.endswith("BC") else None
