"""What may belong to a record though no foreign key says so: told by the names of columns, and for people to decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from retention.sources.table import Kind, Table
from retention.starter_project import names
from retention.starter_project.dependents import ProposedDependent, below


def children(table: Table, tables: Mapping[str, Table]) -> tuple[ProposedDependent, ...]:
    """Tables with a column that is named after this one, and refers to nothing by a foreign key."""
    if len(table.primary_key) != 1:
        return ()
    key = table.column(table.primary_key[0])
    kind = None if key is None else key.kind
    called = names.named_after(table.bare_name)
    found = []
    named = {table.name, *below(table, tables)}
    for other in tables.values():
        if other.name in named:
            continue
        referring = {column for reference in other.refers_to for column in reference.columns}
        fitting = [
            column.name
            for column in other.columns
            if names.snake(column.name) in called and column.name not in referring and column.kind in (kind, Kind.TEXT)
        ]
        if fitting:
            question = "no foreign key says that its rows belong to a record, but the name of its column does"
            found.append(ProposedDependent(table=other.name, key=(fitting[0],), question=question))
    return tuple(found)


def polymorphic(table: Table, tables: Mapping[str, Table]) -> Iterator[str]:
    """What to ask of tables whose rows name by one column the table, and by another the record in it."""
    for other in tables.values():
        for kind, key in names.pairs(column.name for column in other.columns):
            referring = any(key in reference.columns for reference in other.refers_to)
            if other.name != table.name and other.primary_key != (key,) and not referring:
                yield (
                    f"{other.name} may refer to records of several tables, told by {kind}: where to these, add under"
                    f" `dependents`  {other.name}: {{key: {key}, when: {{{kind}: ...}}}}"
                )
