"""MariaDB and MySQL as the control database: what of a URL is taken, the session, the writers' lock, exact text, hints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymysql
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable

from retention.errors import InputError
from retention.url import MYSQL

#: drivers' names that a URL may begin with; all of them mean pymysql
DRIVERS = frozenset({*MYSQL, *(f"{name}+pymysql" for name in MYSQL)})

#: what a URL may say after its question mark; anything else could change the session that is pinned here
_OPTIONS = frozenset(
    {
        "connect_timeout",
        "read_timeout",
        "write_timeout",
        "unix_socket",
        "ssl_ca",
        "ssl_cert",
        "ssl_key",
        "ssl_check_hostname",
    }
)

_FILES = frozenset({"ssl_ca", "ssl_cert", "ssl_key"})

#: as for PostgreSQL: a server that does not answer, or is gone without a word, is noticed within two minutes
_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 120, "write_timeout": 120}

#: strict, so that no value is ever cut; without ANSI_QUOTES and NO_BACKSLASH_ESCAPES, which change what a statement means
_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO"

#: each transaction says all of this, whatever the server's defaults are and whoever had the session before
_SESSION = (
    "SET SESSION wait_timeout = {idle}, innodb_lock_wait_timeout = {patience}, lock_wait_timeout = {patience},"
    " foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0, sql_auto_is_null = 0, sql_big_selects = 1,"
    " sql_select_limit = 18446744073709551615"
)
#: how long a reader may be silent, in seconds: whoever pages through an export may take his time
_READER_IDLE = 28_800

#: the writers' lock: of the whole server, so it names the database; at most 64 characters
_LOCK = "CONCAT('retention.control.', LEFT(SHA2(DATABASE(), 256), 32))"

_RIGHTS = (
    "Check user and password, and that the user has every right in that database: `GRANT ALL ON DATABASE.* TO USER`."
)
_FULL = "Make room on the server's disk."
_CROWD = "Raise `max_connections` of the server or of the user, or run fewer workers."
_READ_ONLY = "The server takes no writes: it is a replica or was set so. Name the primary in `control:`."

_HINTS: Mapping[int, str] = {
    1021: _FULL,
    1114: _FULL,
    1040: _CROWD,
    1203: _CROWD,
    1226: _CROWD,
    1044: _RIGHTS,
    1045: _RIGHTS,
    1142: _RIGHTS,
    1698: _RIGHTS,
    1049: "Make it: `CREATE DATABASE` and its name; or correct `control:` in retention.yaml.",
    1153: "Raise `max_allowed_packet` of the server.",
    1213: "Somebody else had locked the same rows. Nothing was changed: run the command again.",
    1273: "Use MariaDB 10.6 or MySQL 8.0.17, or later ones: the collation is one of theirs.",
    1290: _READ_ONLY,
    1792: _READ_ONLY,
    1836: _READ_ONLY,
    1406: "MariaDB and MySQL index 3072 bytes at most. Use shorter names or keys, or PostgreSQL or SQLite for control.",
}


def with_driver(url: sa.URL) -> sa.URL:
    """The URL with its driver. Raises InputError for one without a database, and for options that are not taken or name no
    file."""
    if not url.database:
        raise InputError(
            "the URL of the control database names no database",
            hint="Write `mysql://USER@HOST/DATABASE` as `control:` in retention.yaml.",
        )
    if unknown := sorted(url.query.keys() - _OPTIONS):
        raise InputError(
            f"the URL of the control database has an option `{unknown[0]}` that is not taken here",
            hint=f"Those that are: {', '.join(sorted(_OPTIONS))}.",
        )
    for name in _TIMEOUTS.keys() & url.query.keys():
        if not str(url.query[name]).isdecimal():
            raise InputError(
                f"`{name}` in the URL of the control database is no number of seconds", hint="Write a number."
            )
    for name in _FILES & url.query.keys():
        if not Path(str(url.query[name])).is_file():
            raise InputError(
                f"`{name}` in the URL of the control database names no file: {url.query[name]}",
                hint="Write the absolute path of a PEM file that this user may read.",
            )
    return url.set(drivername="mysql+pymysql")


def make_engine(url: sa.URL) -> sa.Engine:
    """A pool of connections that threads may share; `begin` has still to be told when a transaction begins."""
    pinned: dict[str, str | bytes] = {
        "charset": "utf8mb4",
        "sql_mode": _SQL_MODE,
        # a snapshot begins with the first read: after the writers' lock, so that a writer sees what the one before wrote
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    }
    if url.password is not None:
        # the driver would take it for Latin-1, and its error for what is not would show it
        pinned["password"] = str(url.password).encode(errors="surrogateescape")
    timeouts = {name: seconds for name, seconds in _TIMEOUTS.items() if name not in url.query}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=timeouts | pinned)
    # the driver throws away what is unread of a stream when the next statement comes: rows would be missing without an error
    engine.dialect.supports_server_side_cursors = False

    @sa.event.listens_for(engine, "before_cursor_execute")
    def only_unicode(
        _connection: sa.Connection, _cursor: object, _statement: str, parameters: Any, _context: object, many: bool
    ) -> None:
        # the driver's own error would have the whole statement, with everybody's values, in the place of the value
        for row in parameters if many else (parameters,):
            for value in row.values() if isinstance(row, Mapping) else row:
                if isinstance(value, str):
                    value.encode()

    return engine


def begin(connection: sa.Connection, *, write: bool, patience: float, idle: int) -> None:
    """Begin a transaction: a writer's when no other writes, a reader's at once. ``patience`` and ``idle`` in seconds.

    A writer that is silent for ``idle`` seconds loses its connection, and with it transaction and lock; MySQL has no
    setting for transactions alone, and the one for connections does the same on both.
    """
    seconds = max(1, math.ceil(patience))
    connection.exec_driver_sql(_SESSION.format(idle=idle if write else _READER_IDLE, patience=seconds))
    # the lock belongs to the session and not to the transaction, so that an upgrade keeps it, where every statement commits
    if write and connection.exec_driver_sql(f"SELECT GET_LOCK({_LOCK}, {patience})").scalar() != 1:
        waited = pymysql.err.OperationalError(1205, "Lock wait timeout exceeded")  # as the server says it of a row
        raise sa.exc.OperationalError("GET_LOCK", None, waited)
    connection.exec_driver_sql("START TRANSACTION" if write else "START TRANSACTION READ ONLY")


def let_go(connection: sa.Connection) -> None:
    """Let the next writer begin: after the end of the transaction, however it ended."""
    if connection.invalidated or connection.closed:  # the lock has ended with the session
        return
    try:
        connection.connection.cursor().execute("DO RELEASE_ALL_LOCKS()")
    except BaseException as error:  # then the session must end, or it would keep the lock in the pool
        connection.invalidate()
        if not isinstance(error, pymysql.Error):
            raise


def said(error: BaseException | None) -> str | None:
    """What the server said, without the number before it; None for what is no error of this driver."""
    if isinstance(error, pymysql.Error) and len(error.args) > 1:
        return str(error.args[1]) or "the connection was lost"
    return None


def hint(error: BaseException | None) -> str | None:
    """What to do about an error of the server; None where there is nothing better to say than for any other."""
    return _HINTS.get(error.args[0]) if isinstance(error, pymysql.Error) and error.args else None


@compiles(CreateTable, "mysql", "mariadb")
def _exactly(create: CreateTable, compiler: Any, **options: Any) -> str:
    """Every table in utf8mb4, compared byte by byte and without padding, whatever the server's or the database's default:
    names that differ by case, accent or a space at their end are different. And by InnoDB, which has transactions."""
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    made: str = compiler.visit_create_table(create, **options).rstrip()
    return f"{made} ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation}\n\n"
