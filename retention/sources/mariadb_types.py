"""What the column types of MariaDB and MySQL hold, and how their values travel to the archive and back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from retention.errors import SourceFailed
from retention.sources.column_entry import ColumnEntry, Travels
from retention.sources.sql import string
from retention.sources.table import Column, Kind

_WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_CHARACTERS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
#: the server's text form is exact, and it takes it back
_AS_TEXT = ("decimal", "time", "enum", "set", "json", "uuid", "inet4", "inet6")
_GEOMETRIES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
)  # fmt: skip

_KINDS = {
    **dict.fromkeys((*_CHARACTERS, "enum", "set", "uuid"), Kind.TEXT),
    **dict.fromkeys(_WHOLE, Kind.INTEGER),
    **dict.fromkeys(("decimal", "float", "double"), Kind.NUMBER),
    "date": Kind.DATE,
    "datetime": Kind.WALL,
    # stored in UTC, shown in the session's time zone, which is UTC
    "timestamp": Kind.INSTANT,
    "json": Kind.JSON,
    **dict.fromkeys(_BYTES, Kind.BINARY),
}
_ARROW = {
    **dict.fromkeys(_WHOLE, pa.int64()),
    **dict.fromkeys(_BYTES, pa.binary()),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
}
#: character sets whose every character has one of Unicode's, and the reverse within them
_UNICODE = frozenset({"utf8mb4", "utf8mb3", "utf8", "ucs2", "utf16", "utf16le", "utf32", "ascii", "latin1"})

_KEYS = frozenset((*_WHOLE, "char", "varchar", "binary", "varbinary", "decimal", "date", "uuid"))


def family(declared: str) -> str:
    """The type without its length and attributes: ``bigint`` of ``bigint(20) unsigned``."""
    return declared.split("(")[0].split(" ")[0]


def kind_of(declared: str) -> Kind:
    """What a column declared so holds for a policy."""
    return _KINDS.get(family(declared), Kind.OTHER)


def arrow_type(declared: str) -> pa.DataType:
    """The canonical Arrow type of a column that travels natively."""
    return _ARROW.get(family(declared), pa.string())


def charset(column: Column) -> str | None:
    """The character set of a column of text; a collation is named after it."""
    return None if column.collation is None else column.collation.split("_")[0]


def names_records(column: Column) -> bool:
    """Whether the column may be a key, or a part of one: its text in the archive is that in the database."""
    return family(column.type) in _KEYS and (column.collation is None or charset(column) in _UNICODE)


def text_of(expression: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Text as the bytes of its UTF-8, so that it compares by code point, whatever the column's collation holds for equal
    (case, accents, trailing spaces). Both servers have no collation of one name that does."""
    return sa.cast(in_utf8(expression), sa.BINARY())


def converted(expression: sa.ColumnElement[Any], declared: str) -> sa.ColumnElement[Any]:
    """The expression as that type. (SQLAlchemy leaves a CAST out where it does not know the type.)"""
    bare = declared.split(" ")[0]  # without attributes, as in "decimal(10,2) unsigned"
    return sa.func.convert(expression, sa.literal_column(bare))


def in_utf8(expression: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Text in the session's character set."""
    return sa.func.convert(expression.op("USING")(sa.literal_column("utf8mb4")))


def travels(column: Column, plain: sa.ColumnElement[Any], *, wide: bool) -> tuple[sa.ColumnElement[Any], Travels]:
    """See `Source.projection`. Raises SourceFailed for a type that is not known to travel without loss."""
    what = family(column.type)
    text = sa.cast(plain, sa.Text()).label(column.name)
    if what in _GEOMETRIES:
        return _bytes_literal(plain).label(column.name), "literal"
    if what in _CHARACTERS and charset(column) not in _UNICODE:
        return _text_literal(plain, str(charset(column))).label(column.name), "literal"
    if what == "bit":
        return sa.cast(converted(plain, "unsigned"), sa.Text()).label(column.name), "text"
    if what == "json" and column.collation is None:
        return _json_text(plain).label(column.name), "text"
    if what in _AS_TEXT or (wide and what in _ARROW):
        return text, "text"
    if what in ("float", "double"):  # the server writes a float with six digits; of a product of doubles it writes all
        return plain.op("*")(sa.literal_column("1e0")).label(column.name), "native"
    if what in _ARROW or what in _CHARACTERS:
        return plain, "native"
    raise SourceFailed(
        f"column {column.name} is {column.type}, which is not known to come back from an archive as it was",
        hint="move such values into a table of their own, or ask for the type to be supported",
    )


def restored(column: Column, entry: ColumnEntry, archived: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The archived value as the column takes it; of most types the server itself takes the text."""
    if entry.travels == "literal":
        digits = sa.func.unhex(sa.func.substring(archived, 3, sa.func.char_length(archived) - 3))
        own = charset(column)
        if own is None:
            return digits
        body = sa.func.substring(archived, 2, sa.func.char_length(archived) - 2)
        text = sa.func.replace(body, string("''"), string("'"))
        in_own = sa.cast(sa.func.convert(text.op("USING")(sa.literal_column(own))), sa.BINARY())
        return sa.case((sa.func.left(archived, 1) == string("'"), in_own), else_=digits)
    if family(column.type) == "bit":
        return converted(archived, "unsigned")
    return archived


def _json_text(plain: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """MySQL's JSON, which is no text, as its text; an error (3141) where that says less: for a DECIMAL, a time, bytes.
    (MariaDB's is text, and has a collation.)"""
    text = in_utf8(sa.cast(plain, sa.Text()))
    same = sa.func.coalesce(plain == converted(text, "json"), plain.is_(None))
    return sa.case((same, text), else_=converted(sa.func.left(text, 0), "json"))


def _bytes_literal(plain: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.concat(string("X'"), sa.func.hex(plain), string("'"))


def _text_literal(plain: sa.ColumnElement[Any], own: str) -> sa.ColumnElement[Any]:
    """Text in quotes, or its bytes where Unicode does not say the same."""
    text = in_utf8(plain)
    back = sa.func.convert(text.op("USING")(sa.literal_column(own)))
    quoted = sa.func.concat(string("'"), sa.func.replace(text, string("'"), string("''")), string("'"))
    same = sa.func.hex(back) == sa.func.hex(plain)
    return sa.case((plain.is_(None), sa.null()), (same, quoted), else_=_bytes_literal(plain))


def double(value: float) -> str:
    """A literal that the server takes for a double, not for a decimal number."""
    text = repr(value)
    return text if "e" in text else f"{text}e0"
