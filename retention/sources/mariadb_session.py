"""A session of MariaDB or MySQL: one connection, its transactions, its named locks, its temporary tables."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pymysql
from sqlalchemy.sql import Executable

from retention.errors import SourceFailed
from retention.failpoint import failpoint
from retention.sources.mariadb_arrow import arrow_table
from retention.sources.mariadb_failures import failure
from retention.sources.mariadb_rights import mariadb_lacks
from retention.sources.mariadb_schema import read_actions
from retention.sources.mariadb_values import chunks, temporary_type
from retention.sources.rights import Lack, Need
from retention.sources.server import Server
from retention.sources.source import PATIENCE, Session, SourceBusy, fence_key, names
from retention.sources.sql import copies_named, copy_of
from retention.sources.table import Table

if TYPE_CHECKING:
    from types import TracebackType

    from retention.sources.mariadb import MariadbSource

#: so many batches may work on one class at a time. A named lock is exclusive: a batch takes one, a hold takes all
SLOTS = 8

_IN_TRANSACTION = 1
_TOO_LARGE = 1301
_PATTERN_GIVEN_UP = 1139


class MariadbSession(Session):
    """One connection to the server, in autocommit but for the transactions that `begin` opens."""

    def __init__(self, source: MariadbSource, connection: pymysql.Connection[Any]) -> None:
        self._source = source
        #: the driver tells the server's state by attributes that its type stubs do not know
        self._connection: Any = connection
        #: bytes of the longest statement that the server takes, once it has told
        self.most: int | None = None
        self._open = False
        self._closed = False
        #: a statement of this transaction failed; after some failures the server has rolled it back, and would take
        #: the next statement by itself
        self._spoilt = False
        self._fenced = False
        #: references are watched by this project, not by the server (`keep_definitions`)
        self._unchecked = False
        #: the temporary tables that were loaded, and the places of a statement for which each has a copy
        self._temporary: dict[str, set[int]] = {}

    def begin(self, *, write: bool) -> None:
        """For writing READ COMMITTED: what is read before it is locked takes no locks, and every later statement sees the
        latest rows, as locking reads and DELETE always do; so they agree. For reading REPEATABLE READ: one state."""
        level = "READ COMMITTED" if write else "REPEATABLE READ"
        self.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        self.execute("START TRANSACTION" if write else "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        self._open, self._spoilt = True, False

    def keep_definitions(self, tables: Sequence[Table], shared: Sequence[Table] = ()) -> None:
        # a transaction's first look at a table takes its metadata lock, against which ALTER TABLE and CREATE TRIGGER wait
        for table in tables:
            self.rows(f"SELECT 1 AS one FROM {self._source.place(table)} LIMIT 0")
        # MariaDB lets a foreign key to the table come nevertheless. Without the server's checks it cannot delete what was
        # not archived; binding and `refuse_drift` see to it that every reference is declared, and the records go first.
        self.execute("SET foreign_key_checks = 0")
        self._unchecked = True

    def actions(self, tables: Sequence[Table] | None = None) -> Mapping[str, str]:
        return read_actions(self, self._source.text, tables)

    def lacks(self, tables: Sequence[Table], need: Need) -> Iterable[Lack]:
        return mariadb_lacks(self, tables, need)

    def server(self) -> Server:
        [(version, zone, now, flushed)] = self.rows(
            "SELECT version() AS v, CASE @@global.time_zone WHEN 'SYSTEM' THEN @@system_time_zone ELSE @@global.time_zone END"
            " AS z, utc_timestamp(6) AS now, @@innodb_flush_log_at_trx_commit AS f"
        )
        what = "innodb_flush_log_at_trx_commit is not 1: a crash of the machine loses what was committed, evidence of it stays"
        risks = () if flushed == 1 else (Lack(what=what, remedy="SET GLOBAL innodb_flush_log_at_trx_commit = 1;"),)
        name = "" if "mariadb" in version.lower() else "MySQL "
        return Server(version=f"{name}{version}", zone=zone, now=now.replace(tzinfo=UTC), risks=risks)

    def table_bytes(self, table: Table) -> int:
        [(size,)] = self.rows(
            "SELECT coalesce(data_length, 0) AS n FROM information_schema.tables"
            f" WHERE table_schema = {self._source.text(str(table.schema))} AND table_name = {self._source.text(table.bare_name)}"
        )
        return int(size)

    def share_fence(self, addresses: Sequence[str]) -> None:
        for address in names(addresses):
            slots = random.sample(range(SLOTS), SLOTS)
            if not any(self._lock(address, slot, 0) for slot in slots) and not self._lock(address, slots[0], 10):
                raise SourceBusy(
                    f"{self._source.name}: {SLOTS} batches work on {address}, or a hold is being placed",
                    hint="it is tried again",
                )

    def pass_fence(self, addresses: Sequence[str], *, patience: int = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        try:
            for address in names(addresses):
                for slot in range(SLOTS):
                    # in the order in which batches take them, and the server serves those who wait in turn
                    if not self._lock(address, slot, max(0, math.ceil(deadline - time.monotonic()))):
                        raise SourceFailed(
                            f"{self._source.name}: a batch that was under way did not end within {patience} seconds",
                            hint="try again; SHOW PROCESSLIST shows who is connected",
                        )
        finally:
            self._release()

    def rows(self, statement: Executable | str) -> list[tuple[Any, ...]]:
        columns = self.arrow(statement).columns
        try:
            return list(zip(*(column.to_pylist() for column in columns), strict=True))
        except (OverflowError, ValueError) as error:
            self._spoilt = True
            raise SourceFailed(f"{self._source.name}: a value cannot be read: {error}") from error

    def arrow(self, statement: Executable | str) -> pa.Table:
        with self._failures(), self._connection.cursor() as cursor:
            self._run(cursor, statement)
            found: Any = cursor._result
            table = arrow_table(found.fields, cursor.fetchall())
            failpoint("source.answered", OSError)
        self._refuse_warnings(found)
        return table

    def execute(self, statement: Executable | str) -> int:
        with self._failures(), self._connection.cursor() as cursor:
            changed = self._run(cursor, statement)
            found: Any = cursor._result
            failpoint("source.answered", OSError)
        self._refuse_warnings(found)
        if self._open and not self._connection.server_status & _IN_TRANSACTION:
            self._spoilt = True
            raise SourceFailed(f"{self._source.name}: the server ended the transaction by itself")
        return changed

    def load_temporary(self, name: str, rows: pa.Table) -> None:
        quoted = self._source.quoted(name)
        self._drop_temporary(name)
        columns = [(self._source.quoted(one), temporary_type(rows[one])) for one in rows.column_names]
        # a DELETE looks each record's key up in it
        short = len(columns) <= 3 and not any("TEXT" in kind or "BLOB" in kind for _, kind in columns)
        index = f", KEY ({', '.join(column for column, _ in columns)})" if short else ""
        declared = ", ".join(f"{column} {kind}" for column, kind in columns)
        self.execute(f"CREATE TEMPORARY TABLE {quoted} ({declared}{index}) ENGINE = InnoDB")
        self._temporary[name] = set()
        for values in chunks(rows):
            self.execute(f"INSERT INTO {quoted} VALUES {values}")

    def keep_temporary(self, name: str, chosen: Executable, key: Sequence[str]) -> int:
        self._drop_temporary(name)
        # what is deleted by these keys looks for them
        index = f"(PRIMARY KEY ({', '.join(map(self._source.quoted, key))})) ENGINE = InnoDB"
        made = f"CREATE TEMPORARY TABLE {self._source.quoted(name)} {index} AS {self._source.compile(chosen)}"
        kept = self.execute(made)
        self._temporary[name] = set()
        return kept

    def deleted_in_transaction(self, table: Table) -> int | None:
        return None

    def transaction_id(self) -> str | None:
        return None

    def commit(self) -> None:
        if self._spoilt:
            raise SourceFailed(f"{self._source.name}: the transaction failed before and cannot be committed")
        with self._failures():
            self._connection.query("COMMIT")
        self._open = False
        with contextlib.suppress(SourceFailed):  # it is committed, whatever becomes of the connection now
            self._ended()

    def rollback(self) -> None:
        if self._closed:
            return
        was_open, self._open, self._spoilt = self._open, False, False
        if was_open:
            # where the connection is gone, so is the transaction; the next statement says so
            with contextlib.suppress(SourceFailed):
                with self._failures():
                    self._connection.query("ROLLBACK")
                # a rollback empties temporary tables and leaves them standing: nobody may take such a one for the holds
                for name in sorted(self._temporary):
                    self._drop_temporary(name)
                self._ended()
            self._spoilt = False

    def close(self) -> None:
        if not self._closed:
            self.rollback()
            self._closed = True
            with contextlib.suppress(pymysql.Error, OSError):
                self._connection.close()

    def _ended(self) -> None:
        """Give back what a transaction had taken, once it is over for the server."""
        if self._unchecked:
            self.execute("SET foreign_key_checks = 1")
            self._unchecked = False
        self._release()

    def _lock(self, address: str, slot: int, seconds: int) -> bool:
        self._fenced = True
        [(got,)] = self.rows(f"SELECT GET_LOCK('retention:{fence_key(address)}:{slot}', {seconds}) AS got")
        return bool(got == 1)

    def _release(self) -> None:
        if self._fenced:
            self.rows("SELECT RELEASE_ALL_LOCKS() AS released")
            self._fenced = False

    def _run(self, cursor: Any, statement: Executable | str) -> int:
        text = self._source.compile(statement)
        if self._open and self._spoilt:
            raise SourceFailed(f"{self._source.name}: the transaction failed before")
        size = len(text.encode())
        if self.most is not None and size >= self.most:  # the server would hang up
            self._spoilt = True
            raise SourceFailed(
                f"{self._source.name}: a statement of {size:,} bytes is larger than the server's max_allowed_packet,"
                f" {self.most:,}",
                hint="raise that, or look for shorter tags and values",
            )
        failpoint("source.statement", OSError)
        self._copy_temporary(cursor, text)
        return int(cursor.execute(text))

    def _copy_temporary(self, cursor: Any, statement: str) -> None:
        """Make the copies of temporary tables that the statement names and that are not there (see `sql.Temporary`)."""
        for name, places in self._temporary.items():
            for place in sorted(copies_named(name, statement) - places):
                copy = self._source.quoted(copy_of(name, place))
                cursor.execute(f"CREATE TEMPORARY TABLE {copy} LIKE {self._source.quoted(name)}")
                cursor.execute(f"INSERT INTO {copy} SELECT * FROM {self._source.quoted(name)}")
                places.add(place)

    def _drop_temporary(self, name: str) -> None:
        for one in (name, *(copy_of(name, place) for place in self._temporary.pop(name, ()))):
            self.execute(f"DROP TEMPORARY TABLE IF EXISTS {self._source.quoted(one)}")

    def _refuse_warnings(self, answer: Any) -> None:
        """Raise SourceFailed where the server put null in the place of a value that was too large for it, or "no" in the
        place of what a pattern would have told."""
        if not answer.warning_count:
            return
        with self._failures(), self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            numbers = {int(row[1]) for row in cursor.fetchall()}
            for number in (_TOO_LARGE, _PATTERN_GIVEN_UP):
                if number in numbers:
                    raise pymysql.OperationalError(number, "")

    def _failures(self) -> contextlib.AbstractContextManager[None]:
        return _Translated(self)


class _Translated(contextlib.AbstractContextManager[None]):
    """Turns what the driver raises into SourceFailed, and marks the transaction as spoilt."""

    def __init__(self, session: MariadbSession) -> None:
        self._session = session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        session = self._session
        session._spoilt = True
        if isinstance(error, pymysql.Error):
            number = error.args[0] if error.args and isinstance(error.args[0], int) else None
            text = str(error.args[1]) if len(error.args) > 1 else ""
            raise failure(session._source.name, number, text) from error
        if isinstance(error, UnicodeEncodeError):
            raise SourceFailed(f"{session._source.name}: a value is no text that a statement can carry") from error
        if isinstance(error, OSError | ValueError):
            raise failure(session._source.name, 2013, "") from error
        if not isinstance(error, SourceFailed):
            # Ctrl-C in the middle of an answer: what would be read next is the rest of it
            session._connection._force_close()
