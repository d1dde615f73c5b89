"""What SQLite and PostgreSQL share: one ADBC connection, its statements, its failures in words that hold no secret."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adbc_driver_manager import Error as DriverError
from adbc_driver_manager import NotSupportedError
from sqlalchemy.sql import Executable

from retention.errors import SourceFailed
from retention.failpoint import failpoint
from retention.sources.source import MixedColumn, Session, Source

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection, Cursor


class AdbcSession(Session):
    """The connection is in autocommit; transactions begin and end by the dialect's own words."""

    def __init__(self, source: Source, connection: Connection) -> None:
        self._source = source
        self._connection = connection
        self._open = False
        self._closed = False
        #: a statement of this transaction failed: PostgreSQL would answer its COMMIT with a silent ROLLBACK
        self._spoilt = False

    def rows(self, statement: Executable | str) -> list[tuple[Any, ...]]:
        columns = self.arrow(statement).columns
        try:
            return list(zip(*(column.to_pylist() for column in columns), strict=True))
        except (UnicodeDecodeError, OverflowError, ValueError) as error:
            self._spoilt = True
            raise SourceFailed(f"{self._source.name}: a value cannot be read: {error}") from error

    def arrow(self, statement: Executable | str) -> pa.Table:
        text = self._source.compile(statement)
        with self._failures(), self._connection.cursor() as cursor:
            self.prepare(cursor)
            failpoint("source.statement", OSError)
            cursor.execute(text)
            # to the end of the stream, before anything else happens on this connection
            found = cursor.fetch_arrow_table().combine_chunks()
            failpoint("source.answered", OSError)
            return found

    def execute(self, statement: Executable | str) -> int:
        text = self._source.compile(statement)
        with self._failures(), self._connection.cursor() as cursor:
            failpoint("source.statement", OSError)
            cursor.execute(text)
            failpoint("source.answered", OSError)
            return self.changed(cursor)

    def load_temporary(self, name: str, rows: pa.Table) -> None:
        quoted = f"{self.temporary_schema}.{self._source.dialect.identifier_preparer.quote_identifier(name)}"
        # dropped by its full name: the driver's own "replace" would drop an application's table of the same name
        self.execute(f"DROP TABLE IF EXISTS {quoted}")
        with self._failures(), self._connection.cursor() as cursor:
            cursor.adbc_ingest(name, rows, mode="create", temporary=True)
        self.execute(f"ANALYZE {quoted}")

    def keep_temporary(self, name: str, chosen: Executable, key: Sequence[str]) -> int:
        quoted = self._source.dialect.identifier_preparer.quote_identifier(name)
        self.execute(f"DROP TABLE IF EXISTS {self.temporary_schema}.{quoted}")
        return self.execute(f"CREATE TEMPORARY TABLE {quoted} AS {self._source.compile(chosen)}")

    def commit(self) -> None:
        if self._spoilt:
            raise SourceFailed(f"{self._source.name}: the transaction failed before and cannot be committed")
        self.execute("COMMIT")
        self._open = False

    def rollback(self) -> None:
        if self._open and not self._closed:
            self._open = False
            # where the connection is gone, so is the transaction; the next statement says so
            with contextlib.suppress(SourceFailed):
                self.execute("ROLLBACK")
        self._spoilt = False

    def close(self) -> None:
        if not self._closed:
            self.rollback()
            self._closed = True
            with contextlib.suppress(DriverError):
                self._connection.close()

    # what a dialect fills in

    #: where its temporary tables live
    temporary_schema: str

    def begun(self) -> None:
        """A transaction is open now."""
        self._open, self._spoilt = True, False

    def prepare(self, cursor: Cursor) -> None:
        """Set what the driver needs before it reads."""

    def changed(self, cursor: Cursor) -> int:
        """How many rows the statement just run changed."""
        raise NotImplementedError

    def failure(self, text: str, sqlstate: str | None) -> SourceFailed:
        """The failure in the project's words."""
        raise NotImplementedError

    def _failures(self) -> contextlib.AbstractContextManager[None]:
        return _Translated(self)


class _Translated(contextlib.AbstractContextManager[None]):
    """Turns what the driver and its Arrow streams raise into SourceFailed, and marks the transaction as spoilt."""

    def __init__(self, session: AdbcSession) -> None:
        self._session = session

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        # a stream that breaks off in its middle comes as one of pyarrow's own errors, all OSError or ValueError
        if isinstance(error, DriverError | OSError | ValueError):
            text = str(error)
            if isinstance(error, NotSupportedError) and "NOT_IMPLEMENTED" in text:
                # Ctrl-C: the driver manager asks the driver to cancel the statement, and SQLite's driver cannot
                self._session._spoilt = True
                raise KeyboardInterrupt from error
            found = re.search(r"SQLSTATE: (\w{5})", text)
            sqlstate = getattr(error, "sqlstate", None) or (found.group(1) if found else None)
            failure = self._session.failure(text, sqlstate)
            self._session._spoilt |= not isinstance(failure, MixedColumn)
            raise failure from error
        self._session._spoilt = True
