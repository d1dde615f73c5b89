"""Every type of each database, with values that are hard to carry: as literals of PostgreSQL's text forms, of MariaDB's SQL; on
SQLite, where a column holds anything, the values themselves."""

from __future__ import annotations

from hypothesis import strategies as st

#: what some of PostgreSQL's types are, that no server has by itself
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad; ''ok''', 'happy')",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a integer, b text)",
    "CREATE DOMAIN labels AS text[]",
    # as extensions make theirs (geometry, hstore): a base type whose bytes nobody else reads, here without a binary form
    "CREATE TYPE opaque",
    "CREATE FUNCTION opaque_in(cstring) RETURNS opaque LANGUAGE internal IMMUTABLE STRICT AS 'textin'",
    "CREATE FUNCTION opaque_out(opaque) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'",
    "CREATE TYPE opaque (INPUT = opaque_in, OUTPUT = opaque_out, LIKE = text)",
)

#: PostgreSQL type -> values in its own text form
POSTGRESQL = {
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
MARIADB = {
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
    "time(6)": ["'-838:59:58.999999'", "'838:59:59'", "'00:00:00.000001'"],
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

#: what MySQL has of them, and its own
MYSQL: dict[str, list[str]] = {kind: values for kind, values in MARIADB.items() if kind not in ("uuid", "inet4", "inet6")} | {
    "json": ["'{\"b\": 1.5, \"a\": [null, \"é\\\\u0001\", true], \"big\": 18446744073709551615}'", "'null'", "'\"t\"'"],
}  # fmt: skip


#: what any column of SQLite may hold
ANY_VALUE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.binary(max_size=20),
    st.sampled_from(["it's", "NULL", "X'00'", "1.5", "-0.0", "CAST(X'41' AS TEXT)", "a\0b", "\udcff", "  12 "]),
    st.sampled_from([float("inf"), float("-inf"), 5e-324, -0.0, 0.1, 1e22, 2.0**63]),
)


def literal_of(value: object) -> str:
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
