"""Names in retention.yaml that the database does not know, as problems with their places."""

from __future__ import annotations

from retention.policy.mark import Mark, Problem
from retention.policy.record_class import RecordClass
from retention.policy.suggest import nearest
from retention.sources.source import Source
from retention.sources.table import Table


def mark_of(record_class: RecordClass, path: str) -> Mark:
    """Where ``path`` below the class stands, or else what it stands in."""
    while path and path not in record_class.marks:
        path = path.rpartition(".")[0]
    return record_class.marks.get(path, record_class.mark)


def no_table(source: Source, record_class: RecordClass, name: str, path: str) -> Problem:
    """The source has no such table."""
    message = f'source "{source.name}" has no table "{name}"'
    return Problem(mark=mark_of(record_class, path), message=message, remedy=nearest(name, source.tables()))


def no_column(record_class: RecordClass, table: Table, name: str, path: str) -> Problem:
    """The table has no such column."""
    message = f'table {table.name} has no column "{name}"'
    known = [column.name for column in table.columns]
    return Problem(mark=mark_of(record_class, path), message=message, remedy=nearest(name, known))
