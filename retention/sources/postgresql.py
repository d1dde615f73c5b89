"""PostgreSQL 15 or later, through ADBC: rows leave as Arrow by COPY. Advisory locks are the fences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import sqlalchemy as sa
from adbc_driver_manager import Error as DriverError
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import make_url

from retention.errors import Refused, SourceFailed
from retention.sources.adbc import AdbcSession
from retention.sources.column_entry import Travels
from retention.sources.foreign import no_postgresql
from retention.sources.postgresql_rights import postgresql_lacks
from retention.sources.postgresql_schema import read_table, read_tables
from retention.sources.rights import Lack, Need
from retention.sources.server import Server
from retention.sources.source import PATIENCE, Outcome, Source, SourceBusy, fence_key, names
from retention.sources.sql import column as sa_column
from retention.sources.table import Column, Table
from retention.sources.trial import taken
from retention.url import LIBPQ

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

#: What a value's text form, a literal and a wait mean must not depend on a role's or a database's settings.
_SETTINGS = {
    "application_name": "retention",
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "standard_conforming_strings": "on",
    # a row that a policy hides from this role raises an error instead of being overlooked
    "row_security": "off",
    "lock_timeout": "10s",
    # a suspended worker does not keep its locks for ever
    "idle_in_transaction_session_timeout": "10min",
    # nor does one that was suspended while it read; over a unix socket the server cannot tell, and waits
    "tcp_user_timeout": "10min",
}

#: Arrow carries every value of these without loss (dates and timestamps: within the years 1 to 9999, which is checked)
_NATIVE = frozenset(
    {
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "text",
        "bytea",
        "date",
    }
)
_NATIVE_FAMILIES = ("character varying", "timestamp")

#: a lock not granted in time, a deadlock, a row changed meanwhile, a server that is full or shutting down
_BUSY = frozenset({"55P03", "40P01", "40001", "53300", "57P01", "57P03"})

_ADVICE = {
    "42501": "grant this role what it lacks",
    "42P01": "the table is gone, or this role may not see it",
    "42703": "the table has changed: run `retention validate`",
    "23503": "another table refers to the records: declare it under `dependents:`",
    "22021": "the database holds text that is no UTF-8: correct the record, or leave it out by a `where`",
    "23514": "create the partition that the row belongs to, or lift the check",
    "25P03": "the worker was suspended for longer than 10 minutes; run the command again",
    "57014": "the server or somebody ended a statement: raise statement_timeout for this role, if that is why",
    "28P01": "check the user and password in the source's url",
}


class PostgresqlSession(AdbcSession):
    """One connection to the server."""

    temporary_schema = "pg_temp"

    def begin(self, *, write: bool) -> None:
        # so that `deleted_in_transaction` counts from zero: earlier transactions' counts leave for the shared statistics
        self.rows("SELECT 1 FROM (SELECT pg_stat_force_next_flush()) AS flushed")
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE")
        self.begun()

    def keep_definitions(self, tables: Sequence[Table], shared: Sequence[Table] = ()) -> None:
        # the mode of a DELETE; LOCK takes no snapshot, so that the transaction's comes after it
        self._lock(tables, "ROW EXCLUSIVE")
        if shared:
            # two batches that each delete one of two references would each see the other's, in their snapshots, and leave
            # what is shared for ever. This mode is in the way of itself (of VACUUM too, and of no reader or writer)
            self._lock(shared, "SHARE UPDATE EXCLUSIVE")

    def _lock(self, tables: Sequence[Table], mode: str) -> None:
        named = sorted(_regclass(self._source, one) for one in tables)
        self.execute(f"LOCK TABLE {', '.join(named)} IN {mode} MODE")

    def actions(self, tables: Sequence[Table] | None = None) -> Mapping[str, str]:
        oids = "" if tables is None else ", ".join(f"({self._oid(one)})" for one in tables)
        # partitions act for themselves, those of partitions too
        tree = f"WITH named (one) AS (VALUES {oids}) SELECT one FROM named UNION SELECT relid FROM named, pg_partition_tree(one)"
        named = "" if tables is None else f" WHERE rel IN ({tree})"
        found = self.rows(
            "SELECT rel::regclass::text, string_agg(mark, ' ' ORDER BY mark) FROM ("
            "SELECT tgrelid AS rel, 't' || oid || tgenabled::text AS mark FROM pg_trigger"
            " UNION ALL SELECT ev_class, 'r' || oid || ev_enabled::text FROM pg_rewrite"
            " UNION ALL SELECT inhparent, 'p' || inhrelid FROM pg_inherits"
            f") AS acting{named} GROUP BY 1"
        )
        return dict(found)

    def column_names(self, table: Table) -> set[str]:
        # not by SELECT *: what it answers comes in binary, a form that types of extensions need not have
        rows = self.rows(
            "SELECT attname::text FROM pg_attribute"
            f" WHERE attrelid = {self._oid(table)} AND attnum > 0 AND NOT attisdropped"
        )
        return {str(name) for (name,) in rows}

    def lacks(self, tables: Sequence[Table], need: Need) -> Iterable[Lack]:
        return postgresql_lacks(self, self._source, tables, need)

    def server(self) -> Server:
        # reset_val: what a session has that says nothing itself; this one reads and writes in UTC
        [(version, zone, now, durable)] = self.rows(
            "SELECT current_setting('server_version'), (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'),"
            " clock_timestamp(), current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'"
        )
        what = "fsync or full_page_writes is off: a crash of the machine loses what was committed, evidence of it stays"
        remedy = "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();"
        risks = () if durable else (Lack(what=what, remedy=remedy),)
        return Server(version=f"PostgreSQL {version}", zone=zone, now=now, risks=risks)

    def table_bytes(self, table: Table) -> int:
        of_partitions = f"SELECT sum(pg_table_size(relid)) FROM pg_partition_tree({self._oid(table)})"
        [(size,)] = self.rows(f"SELECT coalesce(({of_partitions}), pg_table_size({self._oid(table)}))::bigint")
        return int(size)

    def _oid(self, table: Table) -> str:
        return f"{self._source.text(_regclass(self._source, table))}::regclass"

    def commit(self) -> None:
        # COMMIT of a transaction in which something failed unnoticed is a rollback without a word; a reading tells
        if not self._spoilt:
            self.rows("SELECT 1")
        super().commit()

    def share_fence(self, addresses: Sequence[str]) -> None:
        for address in names(addresses):
            # read to its end: of an error, as a wait that was too long is, the driver tells only who reads
            self.rows(f"SELECT pg_advisory_xact_lock_shared({fence_key(address)})::text")

    def pass_fence(self, addresses: Sequence[str], *, patience: int = PATIENCE) -> None:
        try:
            self.execute("BEGIN")
            self.begun()
            # a batch lasts seconds; the lock waits in line, and no later batch overtakes it
            self.execute(f"SET LOCAL lock_timeout = '{patience}s'")
            for address in names(addresses):
                self.rows(f"SELECT pg_advisory_xact_lock({fence_key(address)})::text")
            self.commit()
        except SourceBusy as error:
            raise SourceFailed(
                f"{self._source.name}: a batch that was under way did not end within {patience} seconds",
                hint="try again; pg_stat_activity shows it under application_name 'retention'",
            ) from error
        finally:
            self.rollback()

    def changed(self, cursor: Cursor) -> int:
        """The driver reads it from the server's own command tag."""
        return max(int(cursor.rowcount), 0)

    def deleted_in_transaction(self, table: Table) -> int | None:
        # a partitioned table has no rows itself; the tree is as it is now, whatever the transaction's snapshot says
        counts = f"SELECT sum(pg_stat_get_xact_tuples_deleted(relid)) FROM pg_partition_tree({self._oid(table)})"
        [(count,)] = self.rows(
            f"SELECT coalesce(({counts}), pg_stat_get_xact_tuples_deleted({self._oid(table)}))::bigint"
        )
        return int(count)

    def transaction_id(self) -> str | None:
        return str(self.rows("SELECT pg_current_xact_id()::text")[0][0])

    def failure(self, text: str, sqlstate: str | None) -> SourceFailed:
        message = f"{self._source.name}: {_first_line(text)}"
        if sqlstate in _BUSY:
            return SourceBusy(message, hint="it is tried again")
        failed = SourceFailed(message, hint=_ADVICE.get(sqlstate or "", ""))
        failed.sqlstate = sqlstate  # type: ignore[attr-defined]
        return failed


class PostgresqlSource(Source):
    """One database of a PostgreSQL server. ``url`` is SQLAlchemy's form, any driver."""

    one_writer = False
    in_flight = 2
    streams_deleted = True

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        parsed = make_url(url).set(drivername="postgresql")
        self._url = parsed.set(query={**LIBPQ, **parsed.query})
        # "named" does not double the percent signs in literals, as the styles of %s would
        self.dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
        # standard_conforming_strings is on in every session: a backslash is a backslash
        self.dialect._backslash_escapes = False

    def session(self) -> PostgresqlSession:
        import adbc_driver_postgresql.dbapi as driver

        try:
            connection = driver.connect(self._url.render_as_string(hide_password=False), autocommit=True)
        except DriverError as error:
            raise SourceFailed(
                f"{self.name}: cannot connect to {self._place}: {self._without_password(_first_line(str(error)))}",
                hint="is the server up, and are host, database, user and password in the source's url right?",
            ) from error
        session = PostgresqlSession(self, connection)
        try:
            foreign = no_postgresql(str(session.rows("SELECT version()")[0][0]))
            if foreign is None:
                self._set(session)
            else:
                place = self._url.render_as_string(hide_password=False)
                taken(self, "PostgreSQL", foreign, place, lambda: self._set(session, supported=False))
        except (Refused, SourceFailed):
            session.close()
            raise
        return session

    def _set(self, session: PostgresqlSession, *, supported: bool = True) -> None:
        """Let the session mean what statements rely on."""
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
        session.rows(f"SELECT {settings}")
        # a reported commit must survive a crash of the server
        session.rows(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        if supported:  # of the others the trial tells, for they count their versions otherwise
            version = int(session.rows("SELECT current_setting('server_version_num')")[0][0])
            if version < 150000:
                raise SourceFailed(
                    f"{self.name}: the server is PostgreSQL {version // 10000}", hint="15 or later is needed"
                )

    def tables(self) -> list[str]:
        session = self.session()
        try:
            return read_tables(session)
        finally:
            session.close()

    def table(self, name: str) -> Table | None:
        session = self.session()
        try:
            return read_table(session, name, self.text)
        finally:
            session.close()

    def projection(
        self, column: Column, *, wide: frozenset[str] = frozenset()
    ) -> tuple[sa.ColumnElement[Any], Travels]:
        plain: sa.ColumnElement[Any] = sa_column(column.name)
        native = column.type in _NATIVE or column.type.startswith(_NATIVE_FAMILIES)
        if native and column.name not in wide and not column.type.endswith("[]"):
            return plain, "native"
        return sa.cast(plain, sa.Text()).label(column.name), "text"

    def index_sql(self, table: Table, columns: Sequence[str]) -> str:
        quote = self.dialect.identifier_preparer.quote
        place = f"{quote(str(table.schema))}.{quote(table.bare_name)}"
        # CONCURRENTLY lets the application write meanwhile; a partitioned table cannot have it
        how = "" if table.relation == "partitioned" else "CONCURRENTLY "
        return f"CREATE INDEX {how}ON {place} ({', '.join(map(quote, columns))});"

    def outcome(self, transaction_id: str) -> Outcome:
        session = self.session()
        try:
            status = session.rows(f"SELECT pg_xact_status('{int(transaction_id)}'::xid8)")[0][0]
        except SourceFailed as error:
            if getattr(error, "sqlstate", None) == "22023":  # an id of the future: another server's, or an older backup
                return Outcome.UNKNOWN
            raise
        finally:
            session.close()
        return {"committed": Outcome.COMMITTED, "aborted": Outcome.ROLLED_BACK, "in progress": Outcome.OPEN}.get(
            status, Outcome.UNKNOWN
        )

    @property
    def _place(self) -> str:
        host = self._url.host or self._url.query.get("host") or "the local socket"
        return f"database {self._url.database} on {host}"

    def _without_password(self, text: str) -> str:
        password = self._url.password
        for secret in {str(password), unquote(str(password))} if password else set():
            text = text.replace(secret, "***")
        return text


def _regclass(source: Source, table: Table) -> str:
    quote = source.dialect.identifier_preparer.quote_identifier
    return f"{quote(str(table.schema))}.{quote(table.bare_name)}"


def _first_line(text: str) -> str:
    """The server's message alone: neither the driver's decoration nor the statement, which may hold people's data."""
    message = text.split("ERROR:  ", 1)[-1].split("FATAL:  ", 1)[-1]
    return message.split("\n", 1)[0].split("Query was:", 1)[0].strip().removesuffix(".")
