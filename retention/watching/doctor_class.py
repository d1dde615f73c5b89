"""Whether a record class can be worked on: its declaration, rights, clocks, indexes, and what acts on its tables by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from retention.errors import RetentionError
from retention.policy.dependent import every
from retention.sources.order import closings
from retention.sources.rights import Need, lacks
from retention.sources.table import Column, Kind
from retention.watching.finding import Finding, Level, failed

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.policy.record_class import RecordClass
    from retention.sources.source import Source
    from retention.sources.table import Table


def examine_class(engine: Engine, address: str) -> Iterator[Finding]:
    """What stands against the class, or slows it down; what cannot be told because of that is left out."""
    subject = f"class {address}"
    declared = engine.project.config.classes[address]
    source = engine.source(declared.source)
    try:
        try:
            bound = engine.deletable(address)
        except RetentionError as error:
            yield from failed(subject, error)
        else:
            key = ", ".join(f"{one.name} {one.type}" for one in bound.key_columns)
            what = f"table {bound.table.name}, key {key}: every row can be seen and deleted"
            yield Finding(subject=subject, level=Level.OK, what=what)
            closing = list({one.table.name: one.table for one in closings(bound)}.values())
            missing = [
                *lacks(source, bound.tables, Need.INSERT),
                *(lacks(source, closing, Need.UPDATE) if closing else ()),
            ]
            for lack in missing:
                what = f"{lack.what}: nothing could be restored"
                yield Finding(subject=subject, level=Level.WARNING, what=what, change=lack.remedy)
        table = source.table(declared.table)
        if table is None:
            return  # binding has said so
        for clock in _clocks(engine, declared):
            yield from _clock(engine, source, declared, table, clock)
        yield from _references(source, declared, table)
        yield from _triggers(source, declared, table)
    except RetentionError as error:
        yield from failed(subject, error)


def _clocks(engine: Engine, declared: RecordClass) -> list[str]:
    """What tells when a record of the class expires: its own clock, and those that policies name."""
    named = [declared.created, *(one.retain.clock for one in engine.project.policies.of(declared.address))]
    return list(dict.fromkeys(name for name in named if name is not None))


def _clock(engine: Engine, source: Source, declared: RecordClass, table: Table, name: str) -> Iterator[Finding]:
    found: list[tuple[str, Column]] = []
    for part in declared.clock_parts(name):
        stands = _kin_table(source, declared, table, part.kin)
        column = None if stands is None else stands.column(part.column)
        if stands is None or column is None:
            return  # binding has said so
        found.append((column.name if part.kin is None else f"{stands.name}.{column.name}", column))
    if [where for where, _ in found] == [name]:
        yield from _one_column(source, declared, table, found[0][1])
    else:
        said = ", ".join(f"{where} ({_read_as(declared, column)})" for where, column in found)
        what = f"clock {name} is {'the latest of ' if len(found) > 1 else ''}{said}"
        what += ", looked up for each record: no index on it could serve a plan"
        yield Finding(subject=f"class {declared.address}", level=Level.OK, what=what)
    for where, column in found:
        yield from _zone(engine, source, declared, column, where)


def _kin_table(source: Source, declared: RecordClass, table: Table, kin: str | None) -> Table | None:
    """The table in which a part of a clock stands: the class's own, a parent's or a dependent's."""
    if kin is None:
        return table
    return source.table(declared.parents[kin].table if kin in declared.parents else kin)


def _read_as(declared: RecordClass, column: Column) -> str:
    if declared.timezone is None or column.kind is Kind.INSTANT:
        return column.type
    return f"{column.type}, in {declared.timezone.key}"


def _one_column(source: Source, declared: RecordClass, table: Table, column: Column) -> Iterator[Finding]:
    subject, name = f"class {declared.address}", column.name
    yield Finding(subject=subject, level=Level.OK, what=f"clock {name} is {_read_as(declared, column)}")
    # text and bytes are read by expressions of their own there, which no index on the column serves
    served = source.dialect.name == "sqlite" or column.kind not in (Kind.TEXT, Kind.OTHER)
    if served and not any(index[0] == name for index in table.indexes if index):
        yield Finding(
            subject=subject,
            level=Level.WARNING,
            what=f"no index begins with the clock {name}: each plan reads the whole table",
            change=source.index_sql(table, (name,)),
        )


def _zone(engine: Engine, source: Source, declared: RecordClass, column: Column, name: str) -> Iterator[Finding]:
    """A time without a zone that the database itself fills in (``DEFAULT now()``) is in the zone of its sessions."""
    if column.kind is not Kind.WALL or declared.timezone is None:
        return
    session = source.session()
    try:
        there = session.server().zone
    finally:
        session.close()
    if there is None or _same(there, declared.timezone, engine.now()):
        return
    yield Finding(
        subject=f"class {declared.address}",
        level=Level.WARNING,
        what=f"clock {name} has no zone and is declared as {declared.timezone.key}, and the server's sessions are in"
        f" {there}: what DEFAULT now() or a trigger writes there would be of that zone",
        change=f"find out which zone the application writes; if it is that one:  timezone: {there}",
    )


def _same(there: str, declared: ZoneInfo, now: datetime) -> bool:
    """Whether both zones show the same time now and half a year from now."""
    try:
        other = ZoneInfo(there)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    days = (now.replace(month=1, day=1), now.replace(month=7, day=1))
    return all(one.astimezone(other).utcoffset() == one.astimezone(declared).utcoffset() for one in days)


def _references(source: Source, declared: RecordClass, table: Table) -> Iterator[Finding]:
    """Each deletion looks up the rows that refer to the record, whether declared or not: without an index it reads all."""
    wanted: list[tuple[str, tuple[str, ...]]] = [(one.table, one.key) for one, _ in every(declared.dependents)]
    wanted += [(one.table, one.columns) for one in table.referenced_by]
    for name, columns in dict.fromkeys(wanted):
        child = source.table(name)
        if child is None or any(child.column(one) is None for one in columns):
            continue  # binding has said so
        indexed = [index[: len(columns)] for index in (child.primary_key, *child.indexes)]
        if not any(sorted(index) == sorted(columns) for index in indexed):
            yield Finding(
                subject=f"class {declared.address}",
                level=Level.WARNING,
                what=f"no index begins with {', '.join(columns)} of {child.name}: each deleted record reads all of it",
                change=source.index_sql(child, columns),
            )


def _triggers(source: Source, declared: RecordClass, table: Table) -> Iterator[Finding]:
    restored = [one.table for one, _ in every(declared.dependents) if one.then.goes]
    children = [child for name in restored if (child := source.table(name)) is not None]
    for one in (table, *children):
        for trigger in one.insert_triggers:
            yield Finding(
                subject=f"class {declared.address}",
                level=Level.NOTE,
                what=f"trigger {trigger} of {one.name} fires on insert: a restore is compared with the archive, and rolled"
                " back where the trigger changed what was inserted",
                change=f"disable {trigger} for the time of a restore",
            )
