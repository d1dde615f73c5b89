"""Every value as the database itself writes it, so exactly that two rows with the same text are the same row."""

from __future__ import annotations

import sqlalchemy as sa

from retention.sources.source import Session, Source
from retention.sources.sql import rows_of
from retention.sources.table import Kind, Table


def everything(session: Session, source: Source, table: Table, *, by: str = "id") -> list[tuple[object, ...]]:
    """The rows, in the order of that column."""
    return session.rows(_as_text(source, table, by))


def _as_text(source: Source, table: Table, by: str) -> sa.Select[tuple[object, ...]]:
    """Exact text of every column: type and bytes on SQLite, the output form on PostgreSQL, floats by their bits."""
    rows = rows_of(table)
    columns = []
    for one in table.columns:
        value = rows.c[one.name]
        if source.dialect.name == "sqlite":
            number = sa.func.typeof(value).in_(["integer", "real"])
            text = sa.func.typeof(value) + " " + sa.case((number, sa.func.quote(value)), else_=sa.func.hex(value))
        elif source.dialect.name == "mysql":
            exact = one.type.startswith(("float", "double"))
            by_bytes = one.kind in (Kind.TEXT, Kind.JSON, Kind.OTHER) and not one.type.startswith(
                ("time", "bit", "uuid", "inet")
            )
            text = sa.cast(value.op("*")(sa.literal_column("1e0")) if exact else value, sa.Text())
            text = sa.func.hex(value) if by_bytes else sa.func.bin(value) if one.type.startswith("bit") else text
        elif one.type in ("real", "double precision"):
            send = sa.func.float4send if one.type == "real" else sa.func.float8send
            text = sa.cast(send(value), sa.Text())
        else:
            text = sa.cast(value, sa.Text())
        columns.append(text.label(f"c{len(columns)}"))
    return sa.select(*columns).select_from(rows).order_by(rows.c[by])
