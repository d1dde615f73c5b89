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
from retention.sources.table import Kind, Table

Sessions = Callable[[Source], Session]

#: PostgreSQL type -> values in its own text form
_POSTGRESQL = {
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648"],
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "oid": ["4294967295"],
    "numeric": ["NaN", "Infinity", "0.000000000000000000001", "123456789012345678901234567890.5"],
    "numeric(12,2)": ["-1.50"],
    "real": ["0.1", "NaN", "-0", "Infinity", "1e-45"],
    "double precision": ["0.1", "NaN", "-0", "-Infinity", "5e-324", "1.7976931348623157e308"],
    "money": ["$1,234.56", "-$0.01"],
    "boolean": ["t", "f"],
    "text": ["", "é😀", "a\\b'c\"d%e:f", "\t\n"],
    "varchar(5)": ["é😀"],
    "char(4)": ["a"],
    '"char"': ["x"],
    "name": ["n"],
    "bytea": ["\\x00ff", ""],
    "date": ["0001-01-01", "9999-12-31", "infinity", "-infinity", "0044-03-15 BC", "20000-01-01"],
    "timestamp": ["2024-02-29 12:00:00.123456", "infinity", "-infinity", "0044-03-15 12:00:00 BC", "294276-12-31 23:59:59"],
    "timestamptz": ["2024-02-29 12:00:00.123456+00", "infinity", "-infinity", "20000-01-01", "0001-01-01 BC"],
    "timestamp(0)": ["2024-02-29 12:00:00"],
    "time": ["24:00:00", "12:00:00.000001"],
    "timetz": ["12:00:00+05:30"],
    "interval": ["178000000 years", "-1 days +02:03:04.000005"],
    "uuid": ["00000000-0000-0000-0000-000000000001"],
    "json": ['{"b": 1,  "a": [null, "\\u00e9"]}'],
    "jsonb": ['{"a": 1.10}'],
    "text[]": ["{a,NULL,\"b c\"}", "{{a,b},{c,d}}", "[2:3]={a,b}", "{}"],
    "integer[]": ["{1,NULL}", "[0:1]={1,2}"],
    "inet": ["10.0.0.1/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(3)": ["101"],
    "varbit": [""],
    "point": ["(1,2)"],
    "box": ["(2,2),(1,1)"],
    "int4range": ["[1,5)", "empty"],
    "tstzrange": ['["2024-01-01 00:00:00+00",)'],
    "tsvector": ["'a':1 'b':2"],
    "mood": ["sad; 'ok'"],
    "positive": ["7"],
    "pair": ['(1,"a,b")'],
    "cidr": ["10.0.0.0/8"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "int4multirange": ["{[1,3),[5,7)}", "{}"],
    "datemultirange": ["{[2024-01-01,infinity)}"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(1,2),0.1>"],
    "tsquery": ["'a' & !'b':*"],
    "jsonpath": ['$."a"[*]?(@ > 1)'],
    "pg_lsn": ["16/B374D848"],
    "xid8": ["18446744073709551615"],
    "numeric[]": ["{NaN,Infinity,1.50,NULL}"],
    "timestamptz[]": ['{infinity,"0044-03-15 12:00:00+00 BC"}'],
    "bytea[]": ['{"\\\\x00ff"}'],
    "mood[]": ["{happy,NULL}"],
    "positive[]": ["{7,1}"],
    "pair[]": ['{"(1,\\"a,b\\")",NULL}'],
    "labels": ["{a,b}"],
    "opaque": ["anything (at) all, 'quoted' \\ é"],
}  # fmt: skip


#: MariaDB type -> literals of its values
_MARIADB = {
    "tinyint": ["-128", "127"],
    "tinyint(1)": ["2"],
    "smallint unsigned": ["65535"],
    "mediumint": ["-8388608"],
    "int(10) unsigned zerofill": ["4294967295", "7"],
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "bigint unsigned": ["18446744073709551615", "9223372036854775808", "0"],
    "decimal(65,30)": ["-12345678901234567890123456789012345.000000000000000000000000000001"],
    "decimal(12,2) unsigned": ["1.50"],
    "float": ["0.1", "'-0'", "3.4028234e38", "1e-45", "16777217"],
    "float(7,3)": ["1.0005"],
    "double": ["0.1", "'-0'", "1.7976931348623157e308", "5e-324", "123456789.12345679"],
    "double(20,3)": ["0.1"],
    "bit(1)": ["b'1'", "b'0'"],
    "bit(64)": ["b'1000000000000000000000000000000000000000000000000000000000000000'", "0"],
    "year": ["0", "1901", "2155"],
    "date": ["'0001-01-01'", "'9999-12-31'", "'0000-00-00'", "'2024-00-15'", "'2024-02-31'", "'0000-01-01'"],
    "datetime": ["'2024-02-29 12:00:00'", "'0000-00-00 00:00:00'", "'2024-02-31 10:00:00'"],
    "datetime(6)": ["'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'"],
    "timestamp(6) null": ["'1970-01-01 00:00:01.5'", "'2038-01-19 03:14:07.999999'"],
    "timestamp null": ["'0000-00-00 00:00:00'", "'2024-10-27 01:30:00'"],
    "time(6)": ["'-838:59:59.999999'", "'838:59:59'", "'00:00:00.000001'"],
    "char(4)": ["'a'", "'é😀'", "''"],
    "varchar(9)": ["'a  '", "''", "'A\\b''c\"%s'"],
    "varchar(9) character set latin1": ["'é'", "X'8190'"],
    "varchar(9) character set gbk": ["'中'", "'it''s'", "X'A2A0'"],
    "varchar(9) character set utf16": ["'é'"],
    "varchar(9) character set cp1251": ["'ж'", "X'98'"],
    "longtext": ["repeat('é', 70000)", "CONVERT(X'610062' USING utf8mb4)"],
    "binary(4)": ["X'00'", "X'00FF2000'"],
    "varbinary(4)": ["X'00FF'", "''", "' '"],
    "longblob": ["X'FFFE00'", "repeat(X'00', 70000)"],
    "enum('a','it''s','é')": ["'it''s'", "'é'"],
    "set('a','b','c')": ["'a,c'", "''"],
    "json": ["'{\"b\": 1,  \"a\": [null, 1.10]}'"],
    "uuid": ["'123e4567-e89b-12d3-a456-426655440000'"],
    "inet4": ["'10.0.0.1'"],
    "inet6": ["'::1'", "'2001:db8::ff00:42:8329'"],
    "geometry": ["ST_GeomFromText('POINT(1.5 -2)', 4326)"],
    "polygon": ["ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0))')"],
}  # fmt: skip


def _everything(session: Session, source: Source, table: Table) -> list[tuple[object, ...]]:
    """Every value as the database itself writes it, in key order."""
    return session.rows(_as_text(source, table))


def _as_text(source: Source, table: Table) -> sa.Select[tuple[object, ...]]:
    """Exact text of every column: type and bytes on SQLite, the output form on PostgreSQL, floats by their bits."""
    rows = rows_of(table)
    columns = []
    for one in table.columns:
        value = rows.c[one.name]
        if source.dialect.name == "sqlite":
            number = sa.func.typeof(value).in_(["integer", "real"])
            text = sa.func.typeof(value) + " " + sa.case((number, sa.func.quote(value)), else_=sa.func.hex(value))
        elif source.dialect.name == "mysql":
            exact = one.type.startswith(("float", "double"))
            by_bytes = one.kind in (Kind.TEXT, Kind.JSON, Kind.OTHER) and not one.type.startswith(
                ("time", "bit", "uuid", "inet")
            )
            text = sa.cast(value.op("*")(sa.literal_column("1e0")) if exact else value, sa.Text())
            text = sa.func.hex(value) if by_bytes else sa.func.bin(value) if one.type.startswith("bit") else text
        elif one.type in ("real", "double precision"):
            send = sa.func.float4send if one.type == "real" else sa.func.float8send
            text = sa.cast(send(value), sa.Text())
        else:
            text = sa.cast(value, sa.Text())
        columns.append(text.label(f"c{len(columns)}"))
    return sa.select(*columns).select_from(rows).order_by(rows.c.id)


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
    session.execute("CREATE TYPE mood AS ENUM ('sad; ''ok''', 'happy')")
    session.execute("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    session.execute("CREATE TYPE pair AS (a integer, b text)")
    session.execute("CREATE DOMAIN labels AS text[]")
    # as extensions make theirs (geometry, hstore): a base type whose bytes nobody else reads, here without a binary form
    session.execute("CREATE TYPE opaque")
    session.execute("CREATE FUNCTION opaque_in(cstring) RETURNS opaque LANGUAGE internal IMMUTABLE STRICT AS 'textin'")
    session.execute(
        "CREATE FUNCTION opaque_out(opaque) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'"
    )
    session.execute("CREATE TYPE opaque (INPUT = opaque_in, OUTPUT = opaque_out, LIKE = text)")
    return session


@pytest.mark.parametrize("declared", sorted(_POSTGRESQL))
@pytest.mark.postgresql15
def test_every_type_of_postgresql(postgres: Source, all_types: Session, declared: str) -> None:
    all_types.execute(f'CREATE TABLE t (id integer primary key, "va""l%ue" {declared})')
    values = [*(postgres.text(value) for value in _POSTGRESQL[declared]), "NULL"]
    for number, value in enumerate(values):
        all_types.execute(f"INSERT INTO t VALUES ({number}, {value})")
    table = postgres.table("t")
    assert table is not None
    before = _everything(all_types, postgres, table)
    found = _take_and_restore(all_types, postgres, table)
    assert _everything(all_types, postgres, table) == before
    assert len(before) == len(values)
    assert found.rows.schema.field(1).type in _CANONICAL


@pytest.mark.parametrize("declared", sorted(_MARIADB))
def test_every_type_of_mariadb(mariadb: Source, sessions: Sessions, declared: str) -> None:
    session = sessions(mariadb)
    session.execute(f'CREATE TABLE t (id integer primary key, "va""l%ue" {declared})')
    values = [*_MARIADB[declared], "NULL"]
    for number, value in enumerate(values):
        session.execute(f"INSERT INTO t VALUES ({number}, {value})")
    table = mariadb.table("t")
    assert table is not None
    before = _everything(session, mariadb, table)
    found = _take_and_restore(session, mariadb, table)
    assert _everything(session, mariadb, table) == before
    assert len(before) == len(values)
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


_VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.binary(max_size=20),
    st.sampled_from(["it's", "NULL", "X'00'", "1.5", "-0.0", "CAST(X'41' AS TEXT)", "a\0b", "\udcff", "  12 "]),
    st.sampled_from([float("inf"), float("-inf"), 5e-324, -0.0, 0.1, 1e22, 2.0**63]),
)


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return "-9223372036854775807 - 1" if value == -(2**63) else str(value)
        case float():
            return {"inf": "9e999", "-inf": "-9e999"}.get(repr(value), repr(value))
        case str():
            return f"CAST(X'{value.encode(errors='surrogateescape').hex()}' AS TEXT)"
        case bytes():
            return f"X'{value.hex()}'"
    raise AssertionError(value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(*[_VALUES] * 6), min_size=1, max_size=6))
def test_sqlite_columns_of_any_mixture(sqlite: Source, sessions: Sessions, rows: list[tuple[object, ...]]) -> None:
    session = sessions(sqlite)
    session.execute("DROP TABLE IF EXISTS t")
    session.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b REAL, c TEXT, d BLOB, e, "f ""%" NUMERIC)')
    for number, row in enumerate(rows):
        session.execute(f"INSERT INTO t VALUES ({number}, {', '.join(_literal(value) for value in row)})")
    table = sqlite.table("t")
    assert table is not None
    before = _everything(session, sqlite, table)
    found = _take_and_restore(session, sqlite, table)
    assert _everything(session, sqlite, table) == before
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
