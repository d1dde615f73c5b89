"""Upgrades of MariaDB and MySQL that were killed: there every change of a table commits by itself, so the next upgrade
begins the revision again and passes over what the killed one had done.

Statements that change rows need no such thing where they stand in one transaction with the revision's number. Where a
change of a table follows them, they must themselves be safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.ddl.base import AddColumn, DropColumn
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement


def is_done(connection: sa.Connection, change: ExecutableDDLElement) -> bool:
    """Whether the tables show the change already. Raises NotImplementedError for a kind of change that no revision made
    yet: whoever writes the first says here how it shows."""
    inspector = sa.inspect(connection)
    match change:
        case CreateTable():
            return inspector.has_table(change.element.name)
        case CreateIndex():
            table = change.element.table
            assert table is not None
            return change.element.name in {index["name"] for index in inspector.get_indexes(table.name)}
        case AddColumn():
            return change.column.name in _columns(inspector, change.table_name)
        case DropColumn():
            return change.column.name not in _columns(inspector, change.table_name)
    raise NotImplementedError(f"say how {type(change).__name__} shows in the tables")


def _columns(inspector: sa.Inspector, table: str) -> set[str]:
    return {column["name"] for column in inspector.get_columns(table)}


class _Resumed:
    """What both kinds of server do otherwise than Alembic would: nothing that is done already."""

    connection: sa.Connection | None

    def _exec(
        self,
        construct: Any,
        execution_options: Mapping[str, Any] | None = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] = sa.util.immutabledict(),
    ) -> sa.CursorResult[Any] | None:
        assert self.connection is not None
        if isinstance(construct, ExecutableDDLElement) and is_done(self.connection, construct):
            return None
        found: sa.CursorResult[Any] | None = super()._exec(construct, execution_options, multiparams, params)  # type: ignore[misc]  # Alembic's, which stands behind this class
        return found


class ResumedMySQL(_Resumed, MySQLImpl):
    """Registered by Alembic under its dialect's name, in the place of its own."""

    __dialect__ = "mysql"


class ResumedMariaDB(_Resumed, MariaDBImpl):
    """The same under the other name that SQLAlchemy has for it."""

    __dialect__ = "mariadb"
