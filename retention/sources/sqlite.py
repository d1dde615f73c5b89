"""SQLite files. `BEGIN IMMEDIATE` is the fence: one transaction writes at a time, across all processes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from adbc_driver_manager import Error as DriverError
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.sql import Executable

from retention.errors import SourceFailed
from retention.sources.adbc import AdbcSession
from retention.sources.column_entry import Travels
from retention.sources.rights import Lack, Need
from retention.sources.server import Server
from retention.sources.source import PATIENCE, MixedColumn, Outcome, Source, SourceBusy
from retention.sources.sql import column as sa_column
from retention.sources.sqlite_rights import sqlite_lacks
from retention.sources.sqlite_schema import fires_on, fires_on_delete, kind_of
from retention.sources.table import Column, Reference, Table

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

_PRAGMAS = (
    "busy_timeout = 10000",
    # A commit that was reported must survive a power cut, the directory entry of the journal included.
    "synchronous = EXTRA",
    # References are handled here: every table that refers to a record is declared as a dependent, and binding checks
    # that. With enforcement on, a cascade would delete rows that were never archived.
    "foreign_keys = OFF",
    "cache_size = -65536",
)


class SqliteSession(AdbcSession):
    """One connection to the file."""

    temporary_schema = "temp"

    def __init__(self, source: SqliteSource, connection: Connection) -> None:
        super().__init__(source, connection)
        self._file = source.path

    def begin(self, *, write: bool) -> None:
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        self.begun()
        self._writes = write

    def keep_definitions(self, tables: Sequence[Table], shared: Sequence[Table] = ()) -> None:
        """Nobody else writes while the write lock is held."""

    def actions(self, tables: Sequence[Table] | None = None) -> Mapping[str, str]:
        [(version,)] = self.rows("PRAGMA schema_version")
        return {"some table": str(version)}

    def lacks(self, tables: Sequence[Table], need: Need) -> Iterable[Lack]:
        return () if need is Need.READ else sqlite_lacks(self._file)

    def server(self) -> Server:
        [(version,)] = self.rows("SELECT sqlite_version()")
        return Server(version=f"SQLite {version}")

    def table_bytes(self, table: Table) -> int:
        """Of the whole file: SQLite is not asked to tell its tables apart."""
        [(pages,)], [(size,)] = self.rows("PRAGMA page_count"), self.rows("PRAGMA page_size")
        return int(pages) * int(size)

    def share_fence(self, addresses: Sequence[str]) -> None:
        """The write lock is the fence of every class, and `begin(write=True)` has taken it."""
        if not (self._open and self._writes):
            raise SourceFailed(f"{self._source.name}: a fence is shared in a writing transaction only")

    def pass_fence(self, addresses: Sequence[str], *, patience: int = PATIENCE) -> None:
        self.execute(f"PRAGMA busy_timeout = {patience * 1000}")
        try:
            self.begin(write=True)
            self.commit()
        except SourceBusy as error:
            raise SourceFailed(
                f"{self._source.name}: another process kept writing for {patience} seconds",
                hint="try again when it has finished",
            ) from error
        finally:
            self.rollback()
            self.execute("PRAGMA busy_timeout = 10000")

    def keep_temporary(self, name: str, chosen: Executable, key: Sequence[str]) -> int:
        quote = self._source.dialect.identifier_preparer.quote_identifier
        kept = super().keep_temporary(name, chosen, key)
        # who asks of a shared row what refers to it looks keys up one by one
        columns = ", ".join(map(quote, key))
        self.execute(f"CREATE UNIQUE INDEX temp.{quote(f'{name}_key')} ON {quote(name)} ({columns})")
        return kept

    def prepare(self, cursor: Cursor) -> None:
        # Types are taken from the first batch of the stream, so it is a large one; the driver reserves room for all of it.
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "65536"})

    def changed(self, cursor: Cursor) -> int:
        cursor.execute("SELECT changes()")
        return int(cursor.fetchall()[0][0])

    def deleted_in_transaction(self, table: Table) -> int | None:
        return None

    def transaction_id(self) -> str | None:
        return None

    def failure(self, text: str, sqlstate: str | None) -> SourceFailed:
        name = self._source.name
        mixed = re.search(r"Type mismatch in column ([0-9]+)", text)
        if mixed is not None:
            return MixedColumn(f"{name}: a column holds values of several types", position=int(mixed.group(1)))
        if "is locked" in text or "is busy" in text:
            return SourceBusy(f"{name}: another process is writing to the database", hint="it is tried again")
        if "readonly" in text:
            return SourceFailed(
                f"{name}: the database file cannot be written", hint="grant write access to it and its folder"
            )
        if "malformed" in text or "not a database" in text:
            return SourceFailed(f"{name}: the file is damaged, or no SQLite database", hint="restore it from a backup")
        return SourceFailed(f"{name}: {_plain(text)}")


class SqliteSource(Source):
    """One SQLite file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path.absolute()
        self.dialect = SQLiteDialect(paramstyle="named")

    def session(self) -> SqliteSession:
        import adbc_driver_sqlite.dbapi as driver

        if not self.path.is_file():  # SQLite would create an empty one, and a policy find nothing to retain
            raise SourceFailed(
                f"{self.name}: there is no file {self.path}", hint="correct the source's url in retention.yaml"
            )
        try:
            connection = driver.connect(f"file:{quote(str(self.path))}?mode=rw", autocommit=True)
        except DriverError as error:
            raise SourceFailed(
                f"{self.name}: {self.path} cannot be opened",
                hint="grant read and write access to the file and its folder",
            ) from error
        session = SqliteSession(self, connection)
        try:
            for pragma in _PRAGMAS:
                session.execute(f"PRAGMA {pragma}")
            session.rows("SELECT count(*) FROM sqlite_schema")  # the first look into the file: is it a database?
        except SourceFailed:
            session.close()
            raise
        return session

    def tables(self) -> list[str]:
        return [
            row[0]
            for row in self._ask(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
                r"AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name"
            )
        ]

    def table(self, name: str) -> Table | None:
        session = self.session()
        try:
            return self._table(session, name)
        finally:
            session.close()

    def _table(self, session: SqliteSession, name: str) -> Table | None:
        wanted = self.text(name)
        found = session.rows(f"SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND name = {wanted}")
        if not found:
            return None
        columns = session.rows(
            f'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo({wanted}) WHERE hidden <> 1 ORDER BY cid'
        )
        key = [column for _, column in sorted((int(row[3]), str(row[0])) for row in columns if row[3])]
        # only a key that is the rowid has no index of its own: not one of WITHOUT ROWID, nor one that says DESC
        [(of_key,)] = session.rows(f"SELECT count(*) FROM pragma_index_list({wanted}) WHERE origin = 'pk'")
        rowid = bool(key) and not of_key
        references = self._references(session)
        triggers = session.rows(
            f"SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower({wanted})"
        )
        indexes: dict[str, list[str]] = {}
        for index, column in session.rows(
            f"SELECT i.name, c.name FROM pragma_index_list({wanted}) i, pragma_index_info(i.name) c "
            "WHERE i.partial = 0 AND c.name IS NOT NULL ORDER BY i.seq, c.seqno"
        ):
            indexes.setdefault(index, []).append(column)
        # by which a foreign key to the column compares; what a CREATE UNIQUE INDEX says itself comes last
        collations = dict(
            session.rows(
                f"SELECT c.name, c.coll FROM pragma_index_list({wanted}) i, pragma_index_xinfo(i.name) c"
                ' WHERE i."unique" AND NOT i.partial AND c.key AND c.name IS NOT NULL'
                " ORDER BY i.origin"
            )
        )
        unique = [
            row[0]
            for row in session.rows(f'SELECT name FROM pragma_index_list({wanted}) WHERE "unique" AND NOT partial')
        ]
        return Table(
            name=name,
            schema=None,
            bare_name=name,
            columns=tuple(
                Column(
                    name=column,
                    type=declared,
                    kind=kind_of(declared),
                    # the rowid is never null; any other key column of SQLite may be, unless it says NOT NULL
                    nullable=not required and not (rowid and column == key[0]),
                    generated=hidden in (2, 3),
                    collation=None if collations.get(column) == "BINARY" else collations.get(column),
                )
                for column, declared, required, _, hidden in columns
            ),
            primary_key=tuple(key),
            rowid=rowid,
            unique_keys=tuple(tuple(indexes[index]) for index in unique if index in indexes),
            referenced_by=tuple(r for r in references if r.parent.lower() == name.lower()),
            refers_to=tuple(r for r in references if r.table == name),
            relation="table" if found[0][1] == "table" else str(found[0][1]),
            delete_triggers=tuple(row[0] for row in triggers if fires_on_delete(row[1])),
            insert_triggers=tuple(row[0] for row in triggers if fires_on(row[1]) == "INSERT"),
            indexes=(*((tuple(key),) if rowid else ()), *(tuple(columns) for columns in indexes.values())),
        )

    def projection(
        self, column: Column, *, wide: frozenset[str] = frozenset()
    ) -> tuple[sa.ColumnElement[Any], Travels]:
        plain: sa.ColumnElement[Any] = sa_column(column.name)
        if column.name not in wide:
            return plain, "native"
        # quote() stops at a NUL and passes bytes that are no UTF-8; text with anything but printable ASCII goes by its bytes
        odd = sa.and_(
            sa.func.typeof(plain) == "text", plain.op("GLOB")("*[^ -~]*") | (sa.func.instr(plain, sa.func.char(0)) > 0)
        )
        by_bytes = sa.literal("CAST(") + sa.func.quote(sa.cast(plain, sa.BLOB)) + sa.literal(" AS TEXT)")
        return sa.case((odd, by_bytes), else_=sa.func.quote(plain)).label(column.name), "literal"

    def outcome(self, transaction_id: str) -> Outcome:
        """SQLite gives transactions no names; recovery looks for the keys instead."""
        return Outcome.UNKNOWN

    def _references(self, session: SqliteSession) -> list[Reference]:
        rows = session.rows(
            'SELECT m.name, f.id, f."from", f."table", f."to", f.on_delete '
            "FROM sqlite_schema m, pragma_foreign_key_list(m.name) f "
            "WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq"
        )
        grouped: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
        for row in rows:
            grouped.setdefault((row[0], row[1]), []).append(row)
        return [
            Reference(
                name=f"{table}:{number}",
                table=table,
                columns=tuple(str(part[2]) for part in parts),
                parent=str(parts[0][3]),
                parent_columns=tuple(str(part[4]) for part in parts if part[4] is not None),
                on_delete=str(parts[0][5]),
            )
            for (table, number), parts in grouped.items()
        ]

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        session = self.session()
        try:
            return session.rows(statement)
        finally:
            session.close()


def _plain(text: str) -> str:
    """The driver's message without its own decoration and without the statement, which may hold people's data."""
    first = text.split("\nquery:")[0].strip()
    return re.sub(r"^[A-Z_]+: (\[SQLite\] )?(Failed to \w+ query: )?", "", first)
