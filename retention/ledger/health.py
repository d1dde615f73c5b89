"""Whether the control database could be written, and has room; told without writing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from retention.ledger.engine import control_url, is_sqlite, make_engine, reading, sqlite_file
from retention.ledger.tables import metadata, pause
from retention.sources.rights import Lack
from retention.sources.sqlite_rights import sqlite_lacks


def control_lacks(url: str) -> Iterator[Lack]:
    """Why something could not be written down there. Raises ControlFailed where it does not answer."""
    where = control_url(url)
    if is_sqlite(where):
        yield from sqlite_lacks(sqlite_file(where))
        return
    engine = make_engine(where)
    try:
        with reading(engine) as connection:
            yield from _server_lacks(connection)
    finally:
        engine.dispose()


def control_room(url: str) -> int | None:
    """Free bytes where it lies; None for a server, whose disks are not seen from here."""
    where = control_url(url)
    return shutil.disk_usage(Path(sqlite_file(where)).parent).free if is_sqlite(where) else None


def _server_lacks(connection: sa.Connection) -> Iterator[Lack]:
    if connection.dialect.name != "postgresql":
        return
    if connection.scalar(sa.text("SELECT pg_is_in_recovery()")):
        yield Lack(what="the server is a standby, which can only be read", remedy="name the primary as `control:`")
    role = connection.scalar(sa.text("SELECT current_user::text"))
    for table in metadata.sorted_tables:
        for right in ("SELECT", "INSERT", "UPDATE", *(("DELETE",) if table is pause else ())):
            asked = sa.select(sa.func.has_table_privilege(table.name, right))
            if not connection.scalar(asked):
                quote = connection.dialect.identifier_preparer.quote
                remedy = f"GRANT {right} ON {quote(table.name)} TO {quote(str(role))};"
                yield Lack(what=f"role {role} may not {right} {table.name}", remedy=remedy)
