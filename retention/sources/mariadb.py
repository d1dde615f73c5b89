"""MariaDB 10.6 and MySQL 8.0, or later, through PyMySQL. Named locks are the fences.

One path for both servers: what is due is noted in a temporary table, locked and read, then deleted under the whole
predicate; the counts must agree (`disposition/cut.py`). `DELETE ... RETURNING` gains 8% on MariaDB, and MySQL has none.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pymysql
import sqlalchemy as sa
from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.engine import make_url

from retention.errors import Refused, SourceFailed
from retention.sources import mariadb_types
from retention.sources.column_entry import Travels
from retention.sources.foreign import no_mysql
from retention.sources.mariadb_failures import failure
from retention.sources.mariadb_schema import read_table, read_tables
from retention.sources.mariadb_session import MariadbSession
from retention.sources.source import Outcome, Source
from retention.sources.sql import column as sa_column
from retention.sources.table import Column, Table
from retention.sources.trial import taken

if TYPE_CHECKING:
    pass

#: What a literal, a value's text and a comparison mean must not depend on the server's or a user's settings. Dates that do
#: not exist, and zero as a number of a row, come back from an archive as they were.
_MODES = (
    "ANSI_QUOTES", "PIPES_AS_CONCAT", "NO_BACKSLASH_ESCAPES", "STRICT_ALL_TABLES", "NO_ENGINE_SUBSTITUTION",
    "NO_AUTO_VALUE_ON_ZERO", "ALLOW_INVALID_DATES",
)  # fmt: skip
_SETTINGS = {
    "autocommit": "1",
    "sql_mode": f"'{','.join(_MODES)}'",
    # a TIMESTAMP is another wall time in another session's zone
    "time_zone": "'+00:00'",
    "lock_wait_timeout": "10",
    "innodb_lock_wait_timeout": "10",
    # nor does the server wait for ever until a suspended worker reads on
    "net_write_timeout": "60",
    # settings by which a server may answer with less than was asked for, or do other than was said
    "sql_select_limit": "18446744073709551615",
    "sql_auto_is_null": "0",
    "sql_safe_updates": "0",
    "sql_big_selects": "1",
    "completion_type": "'NO_CHAIN'",
    "foreign_key_checks": "1",
    "unique_checks": "1",
}
_MARIADB_SETTINGS = {
    # a suspended worker does not keep its locks for ever
    "idle_transaction_timeout": "600",
    "system_versioning_asof": "DEFAULT",
    "default_regex_flags": "''",
}
_MYSQL_SETTINGS = {
    # MySQL has none for transactions alone; here a session that is silent so long is one that is suspended
    "wait_timeout": "600",
    # what is told of a table's size is of now, not of yesterday
    "information_schema_stats_expiry": "0",
}
#: of a server that speaks the protocol and is something else
_FOREIGN_SETTINGS = {"wait_timeout": "600"}

#: seconds in which a server has to answer whoever connects
CONNECTING = 10

#: of the options that a URL may have, those that the driver takes
_OPTIONS = frozenset({"unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity"})
#: SQLAlchemy's word, which changes nothing here: the session's character set is utf8mb4
_IGNORED = frozenset({"charset"})

#: as `retention.url.LIBPQ` tells PostgreSQL's driver: a server that is gone without a word is noticed within two minutes
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6, "TCP_USER_TIMEOUT": 120_000}


class MariadbSource(Source):
    """One database of a MariaDB or MySQL server. ``url`` is SQLAlchemy's form, any driver."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = make_url(url)
        # "named" does not double the percent signs in literals, as the styles of %s would
        self.dialect = MySQLDialect(paramstyle="named")
        # NO_BACKSLASH_ESCAPES is on in every session: a backslash is a backslash
        self.dialect._backslash_escapes = False

    def session(self) -> MariadbSession:
        try:
            connection = self._connect()
        except (pymysql.Error, OSError, ValueError) as error:
            number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
            if number in (1044, 1045, 1049, 1698, 1040, 1203, 1053):
                raise failure(self.name, number, str(error.args[1])) from error
            raise SourceFailed(
                f"{self.name}: cannot connect to {self._place}",
                hint="is the server up, and are host, port and database in the source's url right?",
            ) from error
        session = MariadbSession(self, connection)
        try:
            [(version, comment)] = session.rows("SELECT version() AS v, @@version_comment AS c")
            foreign = no_mysql(version, comment)
            if foreign is None:
                _refuse_old(self.name, version, mariadb="mariadb" in version.lower())
                self._set(session, _MARIADB_SETTINGS if "mariadb" in version.lower() else _MYSQL_SETTINGS)
            else:
                place = self._url.render_as_string(hide_password=False)
                taken(self, "MySQL", foreign, place, lambda: self._set(session, _FOREIGN_SETTINGS))
        except (Refused, SourceFailed):
            session.close()
            raise
        return session

    def _set(self, session: MariadbSession, own: dict[str, str]) -> None:
        """Let the session mean what statements rely on."""
        [(session.most,)] = session.rows("SELECT @@max_allowed_packet AS p")
        settings = _SETTINGS | own
        session.execute(f"SET {', '.join(f'SESSION {name} = {value}' for name, value in settings.items())}")

    def tables(self) -> list[str]:
        with contextlib.closing(self.session()) as session:
            return read_tables(session)

    def table(self, name: str) -> Table | None:
        with contextlib.closing(self.session()) as session:
            return read_table(session, name, self.text)

    def projection(
        self, column: Column, *, wide: frozenset[str] = frozenset()
    ) -> tuple[sa.ColumnElement[Any], Travels]:
        return mariadb_types.travels(column, sa_column(column.name), wide=column.name in wide)

    def outcome(self, transaction_id: str) -> Outcome:
        """These servers give a transaction no name that outlives it; recovery looks for the keys instead."""
        return Outcome.UNKNOWN

    def quoted(self, name: str) -> str:
        """An identifier in quotes."""
        return self.dialect.identifier_preparer.quote_identifier(name)

    def place(self, table: Table) -> str:
        """The table with its database, in quotes."""
        return f"{self.quoted(str(table.schema))}.{self.quoted(table.bare_name)}"

    def _connect(self) -> pymysql.Connection[Any]:
        url = self._url
        if not url.database:
            raise SourceFailed(f"{self.name}: the url names no database", hint="write mysql://user@host/database")
        options = {key: value for key, value in url.query.items() if key not in _IGNORED}
        unknown = sorted(set(options) - _OPTIONS)
        if unknown:
            raise SourceFailed(
                f"{self.name}: the url has an option that is not known, {unknown[0]}",
                hint=f"take it away; known are {', '.join(sorted(_OPTIONS))}",
            )
        given: dict[str, Any] = {
            key: str(value).lower() in ("1", "true", "yes") if key.startswith("ssl_verify") else value
            for key, value in options.items()
        }
        connection = pymysql.connect(
            host=url.host or "localhost",
            port=url.port or 3306,
            user=url.username or "",
            password=url.password or "",
            database=url.database,
            charset="utf8mb4",
            collation="utf8mb4_bin",
            use_unicode=False,
            conv={},
            autocommit=None,  # as the settings say, for the driver cannot without its conversions
            connect_timeout=CONNECTING,
            read_timeout=CONNECTING,
            write_timeout=CONNECTING,
            program_name="retention",
            **given,
        )
        # the driver's own time for connecting is over before the server's first word; a plan may take as long as it takes
        connected: Any = connection
        connected._read_timeout = connected._write_timeout = None
        wire: Any = connected._sock
        if wire.family != socket.AF_UNIX:
            for option, value in _KEEPALIVE.items():
                if hasattr(socket, option):  # not every system has all of them
                    wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return connection

    @property
    def _place(self) -> str:
        return f"database {self._url.database} on {self._url.host or 'the local socket'}"


def _refuse_old(source: str, version: str, *, mariadb: bool) -> None:
    numbers = version.removeprefix("5.5.5-").split("-")[0].split(".")
    least = (10, 6) if mariadb else (8, 0)
    if tuple(int(one) for one in numbers[:2]) < least:
        raise SourceFailed(
            f"{source}: the server is {'MariaDB' if mariadb else 'MySQL'} {'.'.join(numbers)}",
            hint="MariaDB 10.6 or MySQL 8.0, or later, is needed",
        )
