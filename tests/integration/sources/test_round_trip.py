"""What leaves for the archive comes back equal by value: every type, and every value that Arrow cannot carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.config import SourceConfig
from retention.errors import SourceFailed
from retention.sources import statements
from retention.sources.literal import value_of
from retention.sources.open import open_source
from retention.sources.read import Rows, Widen, read_rows
from retention.sources.restored import insert_restored
from retention.sources.source import Session, Source
from retention.sources.sql import rows_of
from retention.sources.table import Table
from tests.integration.sources.exact import everything
from tests.integration.sources.types import ANY_VALUE, MARIADB, MYSQL, OWN_TYPES, POSTGRESQL, literal_of

Sessions = Callable[[Source], Session]


def _take_and_restore(session: Session, source: Source, table: Table) -> Rows:
    session.begin(write=True)
    rows = rows_of(table)
    found = read_rows(session, source, table, lambda columns: sa.select(*columns).select_from(rows).order_by(rows.c.id))
    assert session.execute(sa.delete(rows)) == found.rows.num_rows
    session.load_temporary(statements.RESTORED, found.rows)
    assert session.execute(insert_restored(source, table, found.columns)) == found.rows.num_rows
    session.commit()
    return found


@pytest.fixture
def all_types(postgres: Source, sessions: Sessions) -> Session:
    session = sessions(postgres)
    for statement in OWN_TYPES:
        session.execute(statement)
    return session


@pytest.mark.parametrize("declared", sorted(POSTGRESQL))
@pytest.mark.every_server
def test_every_type_of_postgresql(postgres: Source, all_types: Session, declared: str) -> None:
    all_types.execute(f'CREATE TABLE t (id integer primary key, "va""l%ue" {declared})')
    values = [*(postgres.text(value) for value in POSTGRESQL[declared]), "NULL"]
    for number, value in enumerate(values):
        all_types.execute(f"INSERT INTO t VALUES ({number}, {value})")
    table = postgres.table("t")
    assert table is not None
    before = everything(all_types, postgres, table)
    found = _take_and_restore(all_types, postgres, table)
    assert everything(all_types, postgres, table) == before
    assert len(before) == len(values)
    assert found.rows.schema.field(1).type in _CANONICAL


@pytest.mark.parametrize("declared", sorted(MARIADB))
def test_every_type_of_mariadb(mariadb: Source, sessions: Sessions, declared: str) -> None:
    _all_come_back(mariadb, sessions(mariadb), declared, MARIADB[declared])


@pytest.mark.parametrize("declared", sorted(MYSQL))
def test_every_type_of_mysql(mysql: Source, sessions: Sessions, declared: str) -> None:
    _all_come_back(mysql, sessions(mysql), declared, MYSQL[declared])


@pytest.mark.parametrize(
    "value",
    ["CAST('12345678901234567890.123456789' AS DECIMAL(40, 9))", "TIMESTAMP'2024-02-29 12:00:00.5'", "X'00ff'"],
)
@pytest.mark.parametrize("where", ["CAST({} AS JSON)", "JSON_OBJECT('a', JSON_ARRAY(1, {}))"])
def test_json_of_mysql_that_its_text_does_not_say_is_not_taken(
    mysql: Source, sessions: Sessions, value: str, where: str
) -> None:
    session = sessions(mysql)
    session.execute("CREATE TABLE t (id integer primary key, value json)")
    session.execute(f"INSERT INTO t VALUES (1, {where.format(value)})")
    table = mysql.table("t")
    assert table is not None
    with pytest.raises(SourceFailed, match="error 3141") as caught:
        read_rows(session, mysql, table, lambda columns: sa.select(*columns).select_from(rows_of(table)))
    assert "a DECIMAL, a time or bytes" in caught.value.hint


def _all_come_back(source: Source, session: Session, declared: str, values: list[str]) -> None:
    session.execute(f'CREATE TABLE t (id integer primary key, "va""l%ue" {declared})')
    for number, value in enumerate([*values, "NULL"]):
        session.execute(f"INSERT INTO t VALUES ({number}, {value})")
    table = source.table("t")
    assert table is not None
    before = everything(session, source, table)
    found = _take_and_restore(session, source, table)
    assert everything(session, source, table) == before
    assert len(before) == len(values) + 1
    assert found.rows.schema.field(1).type in _CANONICAL


def test_generated_columns_of_mariadb(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    session.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY AUTO_INCREMENT, a integer, moment timestamp ON UPDATE current_timestamp,"
        " twice integer AS (a * 2) STORED, thrice integer AS (a * 3))"
    )
    session.execute("INSERT INTO t (id, a, moment) VALUES (0, 1, '2020-01-01'), (5, NULL, '2021-01-01')")
    table = mariadb.table("t")
    assert table is not None
    _take_and_restore(session, mariadb, table)
    assert session.rows("SELECT id, a, cast(moment AS char) AS m, twice, thrice FROM t ORDER BY id") == [
        (0, 1, "2020-01-01 00:00:00", 2, 3),
        (5, None, "2021-01-01 00:00:00", None, None),
    ]


#: the types that the digest of a row knows
_CANONICAL = {
    pa.bool_(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32(),
    pa.timestamp("us"), pa.timestamp("us", "UTC"),
}  # fmt: skip


def test_values_of_fifty_megabytes(source: Source, sessions: Sessions) -> None:
    """On MariaDB of three: a server takes 16 MB at a time unless it is told otherwise (max_allowed_packet)."""
    session = sessions(source)
    dialect = source.dialect.name
    size = (3 if dialect == "mysql" else 50) * 1024**2
    text, binary, filled = {
        "sqlite": ("TEXT", "BLOB", f"replace(hex(zeroblob({size // 2})), '0', 'a'), zeroblob({size})"),
        "postgresql": ("text", "bytea", f"repeat('a', {size}), decode(repeat('00', {size}), 'hex')"),
        "mysql": ("longtext", "longblob", f"repeat('a', {size}), repeat(x'00', {size})"),
    }[dialect]
    session.execute(f"CREATE TABLE t (id integer PRIMARY KEY, words {text}, bytes {binary})")
    session.execute(f"INSERT INTO t VALUES (1, {filled})")
    table = source.table("t")
    assert table is not None
    found = _take_and_restore(session, source, table)
    assert found.rows.nbytes > 2 * size
    whole = "replace(words, 'a', '') = ''"
    assert session.rows(f"SELECT length(words) AS a, length(bytes) AS b, {whole} AS c FROM t") == [(size, size, True)]


def test_text_of_a_database_without_an_encoding_is_refused_before_anything_goes(
    postgres_server: Any, sessions: Sessions
) -> None:
    """SQL_ASCII takes any bytes for text; what is no UTF-8 could not be archived as what it is."""
    import psycopg

    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE raw TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        url = postgres_server.get_uri(database="raw")
        raw = open_source(SourceConfig(name="crm", url=url, classes={}))
        session = raw.session()
        session.execute("CREATE TABLE t (id integer PRIMARY KEY, s text)")
        session.execute("INSERT INTO t VALUES (1, convert_from('\\xff41', 'SQL_ASCII'))")
        table = raw.table("t")
        assert table is not None
        with pytest.raises(SourceFailed, match="invalid byte sequence for encoding"):
            _take_and_restore(session, raw, table)
        session.rollback()
        assert session.rows("SELECT count(*) FROM t") == [(1,)]
        session.close()
    finally:
        with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
            connection.execute("DROP DATABASE raw WITH (FORCE)")


def test_identity_and_generated_columns(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer, "
        "twice integer GENERATED ALWAYS AS (a * 2) STORED)"
    )
    session.execute("INSERT INTO t (a) VALUES (1), (2), (3)")
    session.execute("DELETE FROM t WHERE id = 2")
    table = postgres.table("t")
    assert table is not None
    found = _take_and_restore(session, postgres, table)
    assert session.rows("SELECT id, a, twice FROM t ORDER BY id") == [(1, 1, 2), (3, 3, 6)]
    assert found.rows.column_names == ["id", "a", "twice"]


def test_generated_columns_of_sqlite(sqlite: Source, sessions: Sessions) -> None:
    session = sessions(sqlite)
    session.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, twice INTEGER AS (a * 2) STORED, thrice AS (a * 3))"
    )
    session.execute("INSERT INTO t (id, a) VALUES (1, 1), (5, NULL)")
    table = sqlite.table("t")
    assert table is not None
    _take_and_restore(session, sqlite, table)
    assert session.rows("SELECT id, a, twice, thrice FROM t ORDER BY id") == [(1, 1, 2, 3), (5, None, None, None)]


def test_the_types_of_columns_do_not_depend_on_the_values(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    session.execute("CREATE TABLE t (id integer primary key, n integer, r double precision, s text, d varchar(9))")
    table = source.table("t")
    assert table is not None
    schemas = []
    for values in ("", "(1, NULL, NULL, NULL, NULL)", "(2, 3, 4.5, 'x', 'y')"):
        if values:
            session.execute(f"INSERT INTO t VALUES {values}")
        build = statements_of(table)
        schemas.append(read_rows(session, source, table, build).rows.schema)
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].types == [pa.int64(), pa.int64(), pa.float64(), pa.string(), pa.string()]


def statements_of(table: Table) -> Callable[..., sa.Select[tuple[object, ...]]]:
    rows = rows_of(table)
    return lambda columns: sa.select(*columns).select_from(rows).order_by(rows.c.id)


def test_a_deletion_that_returns_what_arrow_cannot_carry_is_to_be_begun_anew(
    postgres: Source, sessions: Sessions
) -> None:
    session = sessions(postgres)
    session.execute("CREATE TABLE t (id integer primary key, d date, m timestamptz)")
    session.execute("INSERT INTO t VALUES (1, '2024-01-01', 'infinity'), (2, NULL, NULL)")
    table = postgres.table("t")
    assert table is not None
    rows = rows_of(table)

    def build(columns: object) -> sa.Delete:
        return sa.delete(rows).returning(*columns)  # type: ignore[misc]

    session.begin(write=True)
    with pytest.raises(Widen) as caught:
        read_rows(session, postgres, table, build, repeatable=False)
    session.rollback()
    assert caught.value.columns == {"m"}
    assert caught.value.retryable
    session.begin(write=True)
    found = read_rows(session, postgres, table, build, wide=caught.value.columns, repeatable=False)
    session.commit()
    assert found.rows.column("m").to_pylist() == ["infinity", None]
    assert [entry.travels for entry in found.columns] == ["native", "native", "text"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(*[ANY_VALUE] * 6), min_size=1, max_size=6))
def test_sqlite_columns_of_any_mixture(sqlite: Source, sessions: Sessions, rows: list[tuple[object, ...]]) -> None:
    session = sessions(sqlite)
    session.execute("DROP TABLE IF EXISTS t")
    session.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b REAL, c TEXT, d BLOB, e, "f ""%" NUMERIC)')
    for number, row in enumerate(rows):
        session.execute(f"INSERT INTO t VALUES ({number}, {', '.join(literal_of(value) for value in row)})")
    table = sqlite.table("t")
    assert table is not None
    before = everything(session, sqlite, table)
    found = _take_and_restore(session, sqlite, table)
    assert everything(session, sqlite, table) == before
    assert set(found.rows.schema.types) <= _CANONICAL
    types = session.rows("SELECT typeof(e) FROM t ORDER BY id")
    for (typed,), literal, entry in zip(
        types, found.rows.column("e").to_pylist(), [found.columns[5]] * len(rows), strict=True
    ):
        if entry.travels == "literal":
            value = value_of(literal)
            assert {"null": type(None), "integer": int, "real": float, "text": str, "blob": bytes}[typed] is type(value)
    session.close()


def test_more_rows_than_the_driver_looks_ahead(sqlite: Source, sessions: Sessions) -> None:
    """The driver takes a column's type from its first 65,536 rows, and breaks off where a later one differs."""
    session = sessions(sqlite)
    session.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    session.execute(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 70000) "
        "INSERT INTO t SELECT v, CASE WHEN v = 70000 THEN 'last' ELSE v END FROM n"
    )
    table = sqlite.table("t")
    assert table is not None
    session.begin(write=True)
    found = read_rows(session, sqlite, table, statements_of(table))
    session.commit()  # the transaction is not spoilt
    assert found.rows.num_rows == 70000
    assert found.rows.column("a")[69999].as_py() == "'last'"
    assert found.rows.column("a")[0].as_py() == "1"


def test_more_than_fifteen_columns(sqlite: Source, sessions: Sessions) -> None:
    """The types of fifteen columns fit into one number; the 17th and 31st column are told by others."""
    session = sessions(sqlite)
    names = [f"c{number}" for number in range(40)]
    session.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'{name} INTEGER' for name in names)})")
    values = ["'x'" if number in (14, 16, 31, 39) else str(number) for number in range(40)]
    session.execute(f"INSERT INTO t VALUES (1, {', '.join(values)})")
    table = sqlite.table("t")
    assert table is not None
    found = read_rows(session, sqlite, table, statements_of(table))
    assert found.wide == {"c14", "c16", "c31", "c39"}
    assert found.rows.column("c39").to_pylist() == ["'x'"]
    assert found.rows.column("c38").to_pylist() == [38]
