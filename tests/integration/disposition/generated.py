"""Tables that nobody would have thought of: columns of any type, keys of one or several of them, what refers to them, and rows.

A server joins by `TYPES`: each type with literals of its values, and whether records may be named by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.integration.sources.types import ANY_VALUE, MARIADB, MYSQL, POSTGRESQL, literal_of

#: names that have to be quoted, and more
NAMES = (
    "a",
    "select",
    "Ünï",
    "two words",
    'qu"o`te',
    ":p",
    "%s",
    "it's",
    "a.b",
    "x;--",
    "created",
    "id",
    "row",
    "$1",
    "K0",
)

OLD, YOUNG = "'2020-01-01 00:00:00'", "'2026-09-30 00:00:00'"
CLOCK = {"sqlite": "DATETIME", "postgresql": "timestamptz", "mariadb": "datetime(6)", "mysql": "datetime(6)"}


@dataclass(frozen=True, kw_only=True)
class Type:
    """A declared type, literals of its values, and what it may be used for."""

    declared: str
    values: st.SearchStrategy[str] = field(repr=False)
    key: bool = field(default=False, repr=False)
    #: another literal that the database may hold for the same value
    alike: Callable[[str], str] = field(default=str, repr=False)


def _text(literal: str) -> str:
    return "'" + literal.replace("'", "''") + "'"


def _hex(data: bytes) -> str:
    return f"X'{data.hex()}'"


def _fixed(values: Sequence[str], quoted: Callable[[str], str]) -> st.SearchStrategy[str]:
    return st.sampled_from([quoted(value) for value in values])


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_NO_NUL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)
_DECIMALS = st.decimals(-(10**9), 10**9, places=2).map(str)


# --- SQLite: a column holds anything; a key what it is declared as ---


def _sqlite_key(value: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Nearly always of the declared type; else the class must be refused."""
    return st.one_of(value, value, value, value, value, ANY_VALUE).map(literal_of)


_SQLITE_TEXT = st.one_of(
    st.text(max_size=6), st.sampled_from(["a", "A", "a ", "1", "01", "[1]", "null", "é", "e\u0301"])
)
_SQLITE = (
    *(
        Type(declared=declared, values=ANY_VALUE.map(literal_of))
        for declared in ("INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "", "BOOLEAN", "DATETIME", "DECIMAL(9,2)", "ANY")
    ),
    *(
        Type(declared=declared, values=_sqlite_key(st.integers(-(2**63), 2**63 - 1)), key=True)
        for declared in ("INTEGER", "BIGINT")
    ),
    Type(declared="TEXT", values=_sqlite_key(_SQLITE_TEXT), key=True),
    Type(declared="VARCHAR(9)", values=_sqlite_key(_SQLITE_TEXT), key=True),
    Type(declared="TEXT COLLATE NOCASE", values=_sqlite_key(_SQLITE_TEXT), key=True, alike=str.swapcase),
    Type(declared="TEXT COLLATE RTRIM", values=_sqlite_key(_SQLITE_TEXT), key=True),
)


# --- PostgreSQL: every exact type that has an order may be a key ---

_NO_KEYS = {"json", "point", "box", "polygon", "circle", "jsonpath", "opaque", "real", "double precision"}
_MORE_POSTGRESQL: dict[str, st.SearchStrategy[str]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1).map(lambda n: f"'{n}'"),
    "integer": st.integers(-(2**31), 2**31 - 1).map(lambda n: f"'{n}'"),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(lambda n: f"'{n}'"),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).map(
        lambda n: f"'{n:f}'"
    ),
    "numeric(12,2)": _DECIMALS.map(lambda n: f"'{n}'"),
    "real": st.floats(width=32).map(lambda n: f"'{n!r}'"),
    "double precision": st.floats().map(lambda n: f"'{n!r}'"),
    "text": _NO_NUL.map(_text),
    "varchar(5)": _NO_NUL.map(lambda text: _text(text[:5])),
    "char(4)": _NO_NUL.map(lambda text: _text(text[:4])),
    "name": _NO_NUL.map(_text),
    "bytea": st.binary(max_size=9).map(lambda data: f"'\\x{data.hex()}'"),
    "date": st.dates().map(lambda day: f"'{day.isoformat()}'"),
    "timestamp": st.datetimes().map(lambda moment: f"'{moment.isoformat()}'"),
    "timestamptz": st.datetimes().map(lambda moment: f"'{moment.isoformat()}+05:45'"),
    "time": st.times().map(lambda time: f"'{time.isoformat()}'"),
    "interval": st.timedeltas().map(lambda span: f"'{span.days} days {span.seconds} seconds {span.microseconds} us'"),
    "uuid": st.uuids().map(lambda one: f"'{one}'"),
    "jsonb": st.recursive(st.one_of(st.none(), st.booleans(), st.integers()), st.lists, max_leaves=4).map(
        lambda value: _text(repr(value).replace("None", "null").replace("T", "t").replace("F", "f"))
    ),
}
_POSTGRESQL = tuple(
    Type(
        declared=declared,
        values=st.one_of(_fixed(values, _text), _MORE_POSTGRESQL.get(declared, st.nothing())),
        key=declared not in _NO_KEYS,
        # what refers to 1.5 may say 1.50
        alike=(lambda literal: literal[:-1] + "0'" if "." in literal else literal) if declared == "numeric" else str,
    )
    for declared, values in POSTGRESQL.items()
)


# --- MariaDB and MySQL ---

_MARIADB_KEYS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "date", "char", "varchar", "binary", "varbinary",
                 "uuid", "year")  # fmt: skip
_NO_UNICODE = ("gbk", "cp1251")


def _mariadb_text(text: str) -> str:
    return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)"


_MORE_MARIADB: dict[str, st.SearchStrategy[str]] = {
    "tinyint": st.integers(-128, 127).map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "bigint unsigned": st.integers(0, 2**64 - 1).map(str),
    "decimal(12,2) unsigned": st.decimals(0, 10**9, places=2).map(str),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda n: f"'{n!r}'"),
    "double": _FLOATS.map(lambda n: f"'{n!r}'"),
    "bit(64)": st.integers(0, 2**64 - 1).map(lambda n: f"b'{n:b}'"),
    "date": st.dates().map(lambda day: f"'{day.isoformat()}'"),
    "datetime(6)": st.datetimes().map(lambda moment: f"'{moment.isoformat(' ')}'"),
    "char(4)": _NO_NUL.map(lambda text: _mariadb_text(text[:4])),
    "varchar(9)": st.text(st.characters(blacklist_categories=["Cs"]), max_size=9).map(_mariadb_text),
    "longtext": st.text(st.characters(blacklist_categories=["Cs"]), max_size=9).map(_mariadb_text),
    "binary(4)": st.binary(max_size=4).map(_hex),
    "varbinary(4)": st.binary(max_size=4).map(_hex),
    "longblob": st.binary(max_size=9).map(_hex),
    "uuid": st.uuids().map(lambda one: f"'{one}'"),
}


def _mariadb_types(literals: Mapping[str, Sequence[str]]) -> tuple[Type, ...]:
    return (
        *(
            Type(
                declared=declared,
                values=st.one_of(st.sampled_from(values), _MORE_MARIADB.get(declared, st.nothing())),
                key=declared.split("(")[0].split(" ")[0] in _MARIADB_KEYS and not declared.endswith(_NO_UNICODE),
            )
            for declared, values in literals.items()
        ),
        Type(
            declared="varchar(9) character set utf8mb4 collate utf8mb4_unicode_ci",
            values=st.sampled_from(["'a'", "'B'", "'é'", "'e'", "'ss'", "'ß'", "'a '", "''"]),
            key=True,
            alike=str.swapcase,
        ),
    )


TYPES: dict[str, tuple[Type, ...]] = {
    "sqlite": _SQLITE,
    "postgresql": _POSTGRESQL,
    "mariadb": _mariadb_types(MARIADB),
    "mysql": _mariadb_types(MYSQL),
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns with their types, and rows of literals."""

    name: str
    columns: tuple[tuple[str, Type], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Child:
    """A table that refers to the one above by ``refers``; with a foreign key, or by its declaration alone."""

    table: Table
    refers: tuple[str, ...]
    action: str | None
    #: whether its rows have a key of their own
    keyed: bool


@dataclass(frozen=True, kw_only=True)
class Case:
    """The class's table ``things`` with its ``key``, ``parts`` that refer to it, and ``bits`` to those.

    Every table has a column ``n``, by which the test knows its rows; that of things is no key.
    """

    things: Table
    #: in the order of the primary key, and in that of retention.yaml
    key: tuple[str, ...]
    declared_key: tuple[str, ...]
    options: str
    parts: Child | None
    bits: Table | None
    #: place of the row, of those that are due, on which a hold is placed
    held: int | None


_CLOCKS = st.sampled_from([OLD, OLD, OLD, YOUNG, "NULL"])
_ACTIONS = st.sampled_from([None, "NO ACTION", "CASCADE", "SET NULL", "RESTRICT"])


@st.composite
def cases(draw: st.DrawFn, server: str) -> Case:
    """A case for that server. The database itself may refuse some of its rows; those are left out."""
    types = TYPES[server]
    names = draw(st.permutations(NAMES))
    key_types = draw(st.lists(st.sampled_from([one for one in types if one.key]), min_size=1, max_size=3))
    value_types = draw(st.lists(st.sampled_from(types), min_size=1, max_size=5))
    columns = tuple(zip(names, [*key_types, *value_types], strict=False))
    key = tuple(names[: len(key_types)])
    rows = [
        tuple(
            draw(type_.values if name in key else st.one_of(type_.values, st.just("NULL"))) for name, type_ in columns
        )
        for _ in range(draw(st.integers(1, 7)))
    ]
    clocks = [draw(_CLOCKS) for _ in rows]
    options = draw(st.sampled_from(["", "", "WITHOUT ROWID"])) if server == "sqlite" else ""
    parts = draw(_children(server, tuple(zip(key, key_types, strict=True)), rows)) if draw(st.booleans()) else None
    bits = None
    if parts is not None and parts.keyed and draw(st.booleans()):
        value = draw(st.sampled_from(types))
        referring = [
            (str(draw(st.integers(0, 9))), draw(st.one_of(value.values, st.just("NULL"))))
            for _ in range(draw(st.integers(0, 8)))
        ]
        bits = Table(name="bits", columns=(("part", _INTEGER[server]), ("v", value)), rows=tuple(referring))
    return Case(
        things=Table(
            name="things",
            columns=(*columns, ("clock", Type(declared=CLOCK[server], values=_CLOCKS))),
            rows=tuple((*row, clock) for row, clock in zip(rows, clocks, strict=True)),
        ),
        key=key,
        declared_key=tuple(draw(st.permutations(key))),
        options=options,
        parts=parts,
        bits=bits,
        held=draw(st.one_of(st.none(), st.integers(0, 2))),
    )


@st.composite
def _children(
    draw: st.DrawFn, server: str, key: tuple[tuple[str, Type], ...], rows: Sequence[tuple[str, ...]]
) -> Child:
    refers = tuple((f"r {place}", type_) for place, (_, type_) in enumerate(key))
    value = draw(st.sampled_from(TYPES[server]))
    referring = []
    for _ in range(draw(st.integers(0, 9))):
        # to a record, as it writes its key or in another way, or to nothing, or to what is not there
        above = draw(st.sampled_from(rows))
        how = draw(st.sampled_from(["same", "same", "alike", "null", "dangling"]))
        row = []
        for place, (_, type_) in enumerate(refers):
            match how:
                case "same":
                    row.append(above[place])
                case "alike":
                    row.append(type_.alike(above[place]))
                case "null":
                    row.append(draw(st.sampled_from(["NULL", above[place]])))
                case _:
                    row.append(draw(type_.values))
        referring.append((*row, draw(st.one_of(value.values, st.just("NULL")))))
    table = Table(name="parts", columns=(*refers, ("v", value)), rows=tuple(referring))
    names = tuple(name for name, _ in refers)
    return Child(table=table, refers=names, action=draw(_ACTIONS), keyed=draw(st.sampled_from([True, True, False])))


_INTEGER = {server: Type(declared="integer", values=st.integers(0, 9).map(str)) for server in TYPES}
