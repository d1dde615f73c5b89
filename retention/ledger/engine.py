"""Connections to the control database: which URLs are taken, how each database is opened, how its errors read."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from retention.errors import ControlFailed, InputError
from retention.failpoint import failpoint
from retention.ledger import mysql
from retention.trace import carried
from retention.url import LIBPQ

#: how long a writer waits for the one before it, in seconds
PATIENCE = 30
#: after so long a writer who waits is told so, in seconds
NOTICE = 3
#: after this a server throws out a writer that was stopped in mid-transaction, so that others go on, in seconds
IDLE = 60
#: advisory lock of everybody who writes to the control database; any number, the same for ever
_WRITERS = 0x7265_7465_6E74_6E31

_log = logging.getLogger(__name__)

_EXPECTED = (
    "Write `sqlite:///FILE`, `postgresql://USER@HOST/DATABASE` or `mysql://USER@HOST/DATABASE` as `control:` in"
    " retention.yaml."
)


def control_url(text: str) -> sa.URL:
    """The URL with its driver. Raises InputError, which never shows the URL: it may hold a password."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise InputError("the URL of the control database cannot be read", hint=_EXPECTED) from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if url.database in (None, "", ":memory:") or "mode" in url.query:
            raise InputError("a control database must be a file: in memory it forgets what was done", hint=_EXPECTED)
        return url.set(drivername="sqlite+pysqlite")
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in mysql.DRIVERS:
        return mysql.with_driver(url)
    raise InputError(f"a control database cannot be of the kind `{url.drivername}`", hint=_EXPECTED)


def is_sqlite(url: sa.URL) -> bool:
    """Whether the control database is an SQLite file."""
    return url.get_backend_name() == "sqlite"


def is_mysql(url: sa.URL) -> bool:
    """Whether the control database is in a MariaDB or MySQL."""
    return url.get_backend_name() == "mysql"


def sqlite_file(url: sa.URL) -> Path:
    """The SQLite file. Raises InputError where its folder does not exist."""
    file = Path(url.database or "")
    if not file.parent.is_dir():
        raise InputError(
            f"the control database is to be {file}, but there is no folder {file.parent}",
            hint="Make the folder, or correct `control:` in retention.yaml.",
        )
    return file


def make_engine(url: sa.URL) -> sa.Engine:
    """A pool of connections that threads may share. Opens none yet."""
    if is_mysql(url):
        engine = mysql.make_engine(url)

        @sa.event.listens_for(engine, "begin")
        def begin_there(connection: sa.Connection) -> None:
            write = connection.get_execution_options().get("retention_write", False)
            mysql.begin(connection, write=write, patience=PATIENCE, idle=IDLE)

        return engine
    if not is_sqlite(url):
        patience = {name: value for name, value in LIBPQ.items() if name not in url.query}
        return sa.create_engine(url, pool_pre_ping=True, connect_args=patience)
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin in `writing` and `reading` alone
        # text that somebody damaged must reach the verification, which names it, instead of failing the read
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock before anything is read, so what was read is still so when it is written
        write = connection.get_execution_options().get("retention_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One write transaction; committed at the end, rolled back on any error.

    On every database one transaction writes at a time. They are short, and so no two can deadlock, the ledger cannot
    fork, and a state that was tested is still the state when it is changed. Raises ControlFailed.
    """
    with translated(engine.url), engine.connect() as connection, _letting_go(connection):
        connection.execution_options(retention_write=True)
        with _told():
            transaction = connection.begin()  # all but PostgreSQL wait here for the writer before us
            if engine.dialect.name == "postgresql":
                connection.execute(
                    sa.select(
                        sa.func.set_config("lock_timeout", f"{PATIENCE}s", True),
                        sa.func.set_config("idle_in_transaction_session_timeout", f"{IDLE}s", True),
                    )
                )
                # let go by the end of the transaction, however it ends; READ COMMITTED sees what the one before wrote
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))
        with transaction:
            failpoint("control.begun", ControlFailed)
            yield connection
            failpoint("control.before-commit", ControlFailed)
        failpoint("control.after-commit", ControlFailed)


@contextmanager
def _letting_go(connection: sa.Connection) -> Iterator[None]:
    """Where the writers' lock does not end with the transaction, end it after that."""
    try:
        yield
    finally:
        if is_mysql(connection.engine.url):
            mysql.let_go(connection)


@contextmanager
def _told() -> Iterator[None]:
    """Say that another process is writing, if that lasts: a command that waits in silence looks as if it hung."""
    notice = threading.Timer(
        NOTICE,
        carried(_log.warning),
        [f"waiting for another process that writes to the control database, {PATIENCE} seconds at most"],
    )
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that sees one state of the database; for reading. Raises ControlFailed."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """Turn the driver's errors into ControlFailed, without statement, parameters or password.

    Text that no database takes, typed on a terminal that is not UTF-8, becomes InputError.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"{error.object!r} is not valid Unicode text", hint="Write it as UTF-8.") from None
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        said = (mysql.said(cause) or str(cause)).strip()
        password = str(url.password or "")
        raw = password.encode(errors="surrogateescape")  # a password of the environment may be no text
        for secret in {password, quote(raw, safe=""), quote_plus(raw)} - {""}:
            said = said.replace(secret, "***")
        place = url.database if is_sqlite(url) else f"{url.host or 'the local server'}/{url.database}"
        raise ControlFailed(
            f"the control database {place} refused: {said}", hint=mysql.hint(cause) or _hint(said, url)
        ) from None


def _hint(said: str, url: sa.URL) -> str:
    if "locked" in said or "lock timeout" in said or "Lock wait timeout" in said:
        return f"Another process has been writing for {PATIENCE} seconds. Run the command again when it has ended."
    if is_sqlite(url):
        return "Check that the file and its folder can be written, and that the disk is not full."
    return "Check that the server runs, and that `control:` in retention.yaml names it and a user who may write."
